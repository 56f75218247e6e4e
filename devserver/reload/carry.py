"""The state of mods on its way into another process: packed by the old, unpacked by the new.

Packed as pickle does: values, and instances of a mod's classes by name, so that they come back as
instances of the code that the new process has loaded. Keys that cannot be packed are named. The
bytes are trusted because they come from our own memory file; nothing here reads a file.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from devserver.errors import HookFailed
from devserver.live.generation import Generation
from devserver.loader import raw
from devserver.model.lifecycle import HandOver
from devserver.model.plan import StateMove
from devserver.reload import hooks

_CAPTURED = "what capture_state() returned"


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedState:
    """The state of one mod as bytes.

    `whole`: `self.state` in one piece, which keeps objects that its keys share; None if a key
    cannot be packed. `parts`: each key by itself, for a process that cannot read the whole.
    `captured`: the result of `capture_state()`, or None.
    """

    names: tuple[str, ...] = ()
    whole: bytes | None = None
    parts: tuple[bytes, ...] = ()
    captured: bytes | None = None
    lost: tuple[str, ...] = ()


async def pack_state(generation: Generation, limit: float) -> PackedState:
    """Pack a running mod's state, where mods run; `limit`: seconds for `capture_state()`."""
    instance, lost = generation.instance, []
    captured = None
    capture = raw.own(instance, "capture_state")
    if callable(capture) and callable(raw.own(instance, "restore_state")):
        try:
            value = await hooks.call_hook(generation, capture, "capture_state()", limit)
            captured = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
        except Exception as error:
            lost.append(f"{_CAPTURED} ({_why(error)})")
    elif raw.own(instance, "take_class") is not None:
        # It stands for another object, whose data is kept for its next start.
        return PackedState(names=("its data",))
    elif generation.hand_over is HandOver.REBIND:
        lost.append("what its instance keeps (reload_mode is rebind, and it has no capture_state)")
    if captured is None and instance.state is not None and generation.kept is not instance.state:
        lost.append("self.state, which is no dict")
    packed = packed_keys(generation.kept)
    lost += packed.lost
    names = (*(("capture_state()",) if captured is not None else ()), *packed.names)
    return PackedState(names=names, whole=packed.whole, parts=packed.parts, captured=captured, lost=tuple(lost))


def packed_keys(state: Mapping[Any, Any]) -> PackedState:
    names, parts, lost = [], [], []
    for key, value in tuple(state.items()):
        try:
            parts.append(pickle.dumps((key, value), pickle.HIGHEST_PROTOCOL))
        except Exception as error:
            # Objects of a mod may do anything when they are pickled: this key is lost, and named.
            lost.append(f"key {key!r} ({_why(error)})")
        else:
            names.append(repr(key))
    whole = None if lost else pickle.dumps(dict(state), pickle.HIGHEST_PROTOCOL)
    return PackedState(names=tuple(names), whole=whole, parts=tuple(parts), lost=tuple(lost))


def _why(error: BaseException) -> str:
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words[:120]}" if words else type(error).__name__


def move_of(generation: Generation, packed: PackedState) -> StateMove:
    """Return a packed state in the words of a plan."""
    return StateMove(
        mod_id=generation.mod_id,
        mod_path=generation.mod_path,
        generation=generation.number,
        moves=packed.names,
        lost=packed.lost,
    )


async def unpack_state(
    generation: Generation, packed: PackedState, limit: float, loads: Callable[[bytes], Any] = pickle.loads
) -> str:
    """Give a generation that starts its former state; return the result, in a few words. `loads`
    reads what is packed: bytes of another process than the former image are not to be believed.

    Keys that the new code cannot read are named and left out. Raises the exceptions of
    `restore_state()`.
    """
    restore = raw.own(generation.instance, "restore_state")
    lost = list(packed.lost)
    if packed.captured is not None and callable(restore):
        try:
            value = loads(packed.captured)
        except Exception as error:
            lost.append(f"{_CAPTURED} ({_why(error)})")
        else:
            answer = await hooks.call_hook(generation, restore, "restore_state()", limit, value)
            if answer is False:
                raise HookFailed(f"{generation.mod_id}: restore_state() returned False")
            return _said("state restored", lost)
    state, unread = _unpacked(packed, loads)
    generation.kept.update(state)
    count = f"{len(state)} key" if len(state) == 1 else f"{len(state)} keys"
    words = f"state kept ({count})" if state else "no state"
    return _said(words, [*lost, *unread])


def _unpacked(packed: PackedState, loads: Callable[[bytes], Any]) -> tuple[dict[Any, Any], list[str]]:
    if packed.whole is not None:
        try:
            whole: dict[Any, Any] = loads(packed.whole)
            return whole, []
        except Exception:
            # A key is of a class that no longer exists: the others come one by one.
            pass
    state, lost = {}, []
    names = packed.names[len(packed.names) - len(packed.parts) :]
    for name, part in zip(names, packed.parts, strict=True):
        try:
            key, value = loads(part)
            state[key] = value
        except Exception as error:
            lost.append(f"key {name} ({_why(error)})")
    return state, lost


def _said(words: str, lost: list[str]) -> str:
    return f"{words}; lost: {'; '.join(lost)}" if lost else words
