"""The state of a mod on its way to another host: packed here, read there, and believed little.

What packs a state is pickle, which can be made to call anything. So what comes from another host names classes of the
mod's own modules and a few of Python's, and nothing else is looked up for it.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from devserver.live.generation import Generation
from devserver.loader import raw
from devserver.loader.locate import imported
from devserver.model.names import module_of
from devserver.reload.carry import PackedState, pack_state, packed_keys, unpack_state

MOST_BYTES = 1024 * 1024
"""The largest state that moves."""

_AROUND_BYTES = 64 * 1024
"""What a message has beside states."""

_SAFE: Mapping[str, frozenset[str]] = {
    "builtins": frozenset({"set", "frozenset", "bytearray", "complex", "range", "slice", "object"}),
    "collections": frozenset({"OrderedDict", "deque", "defaultdict", "Counter"}),
    "datetime": frozenset({"date", "datetime", "time", "timedelta", "timezone"}),
    "decimal": frozenset({"Decimal"}),
    "fractions": frozenset({"Fraction"}),
    "uuid": frozenset({"UUID"}),
    "copyreg": frozenset({"_reconstructor"}),
}
"""The names outside of a mod that a state may have."""

_FACTORIES = frozenset({"dict", "list", "int", "float", "str", "bool", "bytes", "tuple"})
"""What a defaultdict may make."""


def size_of(state: PackedState) -> int:
    """Return how many bytes a packed state has. The whole and the parts are the same state twice."""
    return max(len(state.whole or b""), sum(map(len, state.parts))) + len(state.captured or b"")


def weight_of(state: PackedState) -> int:
    """Return how many bytes of a state travel."""
    return sum(map(len, (state.whole or b"", state.captured or b"", *state.parts)))


def room_in(message_bytes: int) -> int:
    """Return how many bytes of states fit into a message: as text they are a third longer."""
    return (message_bytes - _AROUND_BYTES) * 3 // 4


async def packed(generation: Generation, limit: float, room: int) -> PackedState:
    """Return the state of a mod that leaves, where mods run. What is too large stays behind, which
    is said. `room`: how many bytes may travel."""
    state = await pack_state(generation, limit)
    if state.whole is not None and weight_of(state) > room:
        # Then a key that cannot be read there takes the others with it.
        state = replace(state, parts=())
    most = min(MOST_BYTES, room)
    if size_of(state) <= most:
        return state
    return PackedState(lost=(f"all of it: {size_of(state)} bytes, and at most {most} move",))


async def copied(generation: Generation) -> PackedState:
    """The state of a mod that goes on running, where mods run. It is not asked for what it would hand over."""
    state = packed_keys(generation.kept)
    if callable(raw.own(generation.instance, "capture_state")):
        state = replace(state, lost=(*state.lost, "what capture_state() returns"))
    if size_of(state) <= MOST_BYTES:
        return state
    return PackedState(lost=(f"all of it: {size_of(state)} bytes, and at most {MOST_BYTES} are copied",))


async def give(generation: Generation, state: PackedState, limit: float) -> str:
    """Give a mod that comes the state that it had on another host; what became of it, in words."""
    top = module_of(generation.mod_path).partition(".")[0]
    said = await unpack_state(generation, state, limit, loads=lambda data: _read(data, {top, generation.entry}))
    moved = said.replace("state kept", "state moved").replace("state restored", "state moved")
    return moved.replace(")", f", {shown_size(size_of(state))})", 1) if "(" in moved else moved


def shown_size(number: int) -> str:
    """Bytes as people read them."""
    return f"{number} bytes" if number < 1024 else f"{number / 1024:.0f} KiB"


def _read(data: bytes, own: set[str]) -> Any:
    return _Reader(io.BytesIO(data), own).load()


class _Reader(pickle.Unpickler):
    """Reads what another host has packed."""

    def __init__(self, file: io.BytesIO, own: set[str]) -> None:
        super().__init__(file)
        self._own = own

    def find_class(self, module: str, name: str) -> Any:
        """Return a class of the mod, or a harmless one. Raises UnpicklingError for all else."""
        if name in _SAFE.get(module, ()) or (module == "builtins" and name in _FACTORIES):
            return super().find_class(module, name)
        is_own = any(module == each or module.startswith(f"{each}.") for each in self._own)
        found = _attribute(imported(module), name) if is_own else None
        # Also of the mod's modules classes alone, and those that it has made itself: not what it has imported.
        if isinstance(found, type) and found.__module__ == module:
            return found
        raise pickle.UnpicklingError(f"{module}.{name} is not a class of the mod")


def _attribute(owner: Any, path: str) -> Any:
    for part in path.split("."):
        owner = getattr(owner, part, None)
    return owner
