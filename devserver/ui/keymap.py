"""The keys as a table, and the meaning of a terminal's bytes. Pure. Help is printed from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

ENTER = ("\n", "\r")
ERASE = ("\x7f", "\x08")
ESCAPE = "\x1b"
_MOST_SHOWN = 9
REPEAT_SECONDS = 0.15
"""Equal keys closer than this are one key held down; keyboards repeat in 20 to 100 ms."""


@dataclass(frozen=True, slots=True)
class Key:
    """One shortcut, and the command that does it from another terminal ("" if that has its own)."""

    key: str
    name: str
    description: str
    command: str


KEYS: tuple[Key, ...] = (
    Key("r", "reload", "reload all", "reload"),
    Key("R", "restart", "restart in place", "restart"),
    Key("m", "reload_one", "reload one…", "reload MOD"),
    Key("c", "check", "check", "check"),
    Key("i", "install", "install", "sync"),
    Key("y", "asked", "asked mods", "asked"),
    Key("z", "undo", "undo reload", "undo"),
    Key("Z", "redo", "redo", "redo"),
    Key("s", "pause", "pause saves", "pause"),
    Key(" ", "apply", "apply saves", "apply"),
    Key("t", "trace", "full trace", "trace"),
    Key("e", "edit", "edit error", "edit"),
    Key("p", "replay", "replay, pin", "pin"),
    Key("d", "differences", "differences", "pins"),
    Key("v", "events", "show events", "events"),
    Key("o", "open", "dashboard", "open"),
    Key("u", "urls", "URLs", "status"),
    Key("l", "log_level", "log level", "log"),
    Key("k", "clear", "clear", ""),
    Key("h", "help", "help", "--help"),
    Key("q", "quit", "quit", "stop"),
)

_NAMES = {each.key: each.name for each in KEYS} | {"?": "help"}


@dataclass(frozen=True, slots=True)
class KeyPressed:
    """A shortcut was used: its name in `KEYS`, and for `reload_one` the chosen mod."""

    name: str
    mod: str | None = None


def shortcuts() -> tuple[tuple[str, str], ...]:
    """Keys and descriptions, as help shows them."""
    return tuple((each.key.replace(" ", "space"), each.description) for each in KEYS)


def key_named(burst: str) -> str | None:
    """Return the shortcut of a burst of input, or None for one without a meaning.

    A burst is input without a pause. One character, perhaps repeated by a held key, is a key; other
    bursts are pasted text or the escape sequence of an arrow, and must not trigger the keys of
    their letters.
    """
    return _NAMES.get(burst[0]) if burst and len(set(burst)) == 1 else None


@dataclass(frozen=True, slots=True)
class Answer:
    """A line being typed: the text so far, and whether it was finished or given up."""

    typed: str = ""
    done: bool = False
    cancelled: bool = False


def typed_on(answer: Answer, burst: str) -> Answer:
    """Return the answer after some input. Arrows and the like change nothing, Escape gives up."""
    if burst.startswith(ESCAPE):
        return Answer(answer.typed, cancelled=True) if burst == ESCAPE else answer
    typed = answer.typed
    for each in burst:
        if each in ENTER:
            return Answer(typed, done=True)
        if each in ERASE:
            typed = typed[:-1]
        elif each.isprintable():
            typed += each
    return Answer(typed[:100])


def chosen(typed: str, mods: Sequence[str]) -> str | None:
    """Return the mod of an answer: by its number in the question, its name, or its beginning."""
    typed = typed.strip()
    if typed.isdecimal() and 1 <= int(typed) <= len(mods):
        return mods[int(typed) - 1]
    if typed in mods:
        return typed
    found = [each for each in mods if typed and each.startswith(typed)]
    return found[0] if len(found) == 1 else None


def settled_by(typed: str, mods: Sequence[str]) -> bool:
    """Return whether a typed number is complete, for no further digit fits: no Enter is needed."""
    return typed.isdecimal() and len(mods) < int(typed) * 10 and not any(each.startswith(typed) for each in mods)


def question(mods: Sequence[str], typed: str = "", refused: str = "") -> str:
    """Return the one line that asks which mod. `refused` is an answer that names none, or several.
    The typed text narrows the choices, which keep their numbers."""
    numbered = [
        (number, each) for number, each in enumerate(mods, 1) if each.startswith(typed) or str(number).startswith(typed)
    ]
    choices = "  ".join(f"{number} {each}" for number, each in numbered[:_MOST_SHOWN])
    more = f"  … {len(numbered) - _MOST_SHOWN} more" if len(numbered) > _MOST_SHOWN else ""
    no = f'no mod "{refused}"; ' if refused else ""
    return f"{no}which mod? {choices}{more} (Enter, Esc cancels): {typed}"
