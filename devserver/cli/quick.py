"""Reads the arguments of a plain `run` without a parser, which alone would take a fifth of the time to ready.

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


class Run(NamedTuple):
    """The arguments of `run`: the file, settings by name (None if not given), and JSON or not."""

    network: Path | None
    flags: dict[str, Any]
    as_json: bool


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
            except ValueError:  # the parser tells what is wrong
                return None
        elif word.endswith((".yaml", ".yml")) and not word.startswith("-") and network is None:
            network = Path(word)
        else:
            return None
    return Run(network, flags, as_json)
