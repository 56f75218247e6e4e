"""Reads the arguments of plain commands without a parser, which alone would take a fifth of the time
to ready, and a third of an `add`.

Reads only unmistakable arguments; everything else is left to `app`, which reads these the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from devserver.config.settings import SETTINGS

SWITCHES: dict[str, tuple[str, bool]] = {
    "--strict-port": ("strict_port", True),
    "--any-port": ("strict_port", False),
    "--keys": ("keys", True),
    "--no-keys": ("keys", False),
    "--watch": ("watch", True),
    "--no-watch": ("watch", False),
    "--poll": ("poll", True),
    "--no-poll": ("poll", False),
    "--confirm": ("confirm", True),
    "--no-confirm": ("confirm", False),
    "--supervise": ("supervise", True),
    "--no-supervise": ("supervise", False),
}

VALUES = {each.flag: each for each in SETTINGS if each.name in ("port", "log_level", "log_format")}
"""The options with a value that the parser reads as the setting itself does."""


_CHOICES = {"--json": "as_json", "--offline": "offline", "--yes": "yes", "-y": "yes"}
_UPDATE = _CHOICES | {"--now": "now", "--new-publisher": "new_publisher"}
_ADD = {"--build": "build", "--exactly": "exactly", "--from-index": "from_index"}
MARKET = {
    "add": _UPDATE | _ADD | {"--keep": "keep"},
    "update": _UPDATE | {"--keep": "keep"},
    "remove": _CHOICES,
    "sync": _UPDATE,
}
"""The commands that change what comes from elsewhere, with the switches that are read here."""


class Run(NamedTuple):
    """The arguments of `run`: the file, settings by name (None if not given), and JSON or not."""

    network: Path | None
    flags: dict[str, Any]
    as_json: bool


class Changed(NamedTuple):
    """The arguments of a command of `MARKET`: its names, and the chosen switches."""

    command: str
    names: list[str]
    chosen: set[str]


def run_arguments(arguments: Sequence[str]) -> Run | None:
    """Return the meaning of `oa-dev run` and its arguments, or None if a parser has to look."""
    if not arguments or arguments[0] != "run":
        return None
    network: Path | None = None
    flags: dict[str, Any] = dict.fromkeys(each.name for each in SETTINGS)
    as_json = False
    rest = list(arguments[1:])
    while rest:
        word = rest.pop(0)
        if word == "--json":
            as_json = True
        elif word in SWITCHES:
            name, flags[name] = SWITCHES[word][0], SWITCHES[word][1]
        elif word in VALUES and rest:
            try:
                flags[VALUES[word].name] = VALUES[word].read(rest.pop(0))
            except ValueError:
                return None
        elif word.endswith((".yaml", ".yml")) and not word.startswith("-") and network is None:
            network = Path(word)
        else:
            return None
    return Run(network, flags, as_json)


def market_arguments(arguments: Sequence[str]) -> Changed | None:
    """Return such a command's meaning, or None if a parser has to look."""
    command, *rest = arguments or [""]
    switches = MARKET.get(command, {})
    names = [word for word in rest if word and not word.startswith("-")]
    chosen = {switches[word] for word in rest if word in switches}
    if not switches or len(names) + sum(word in switches for word in rest) < len(rest):
        return None
    # A parser says what is missing, or too much.
    misused = bool(names) if command == "sync" else not names and command != "update"
    return None if misused else Changed(command, names, chosen)
