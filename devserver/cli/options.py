"""Options and arguments that several commands share, as typer sees them."""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from devserver.config.settings import FORMATS, LEVELS

_HIGHEST_PORT = 65535


class OnDemand:
    """A file of this folder that is imported when a command uses it: help and completion stay fast."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, function: str) -> Any:
        return getattr(getattr(__import__(f"devserver.cli.{self._name}").cli, self._name), function)


class SchemaOf(StrEnum):
    """The subject of a JSON Schema."""

    NETWORK = "network"
    EVENTS = "events"


def port_of(text: str) -> int:
    """Return the port of an option. Raises BadParameter."""
    if not (text.isascii() and text.isdecimal()) or int(text[:6]) > _HIGHEST_PORT:
        raise typer.BadParameter(f"a port is a whole number from 0 to {_HIGHEST_PORT}, not {text!r}")
    return int(text)


def seconds_of(text: str | float) -> float:
    """Return the seconds of an option, or its default. Raises BadParameter."""
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", str(text), re.ASCII) is None:
        raise typer.BadParameter(f"seconds are a number from 0 on, not {text!r}")
    return float(text)


def count_of(text: str) -> int:
    """Return the number of an option. Raises BadParameter."""
    if re.fullmatch(r"[0-9]{1,15}", text, re.ASCII) is None:
        raise typer.BadParameter(f"that is a whole number from 0 on, not {text!r}")
    return int(text)


def yes_or_no(text: str) -> str:
    """Return the answer of an argument. Raises BadParameter."""
    if text.lower() not in ("yes", "no"):
        raise typer.BadParameter(f"the answer is yes or no, not {text!r}")
    return text.lower()


def level_of(text: str) -> str:
    """Return the level of log records of an option. Raises BadParameter."""
    if text.lower() not in LEVELS:
        raise typer.BadParameter(f"a level is one of {', '.join(LEVELS)}, not {text!r}")
    return text.lower()


def levels(incomplete: str) -> list[str]:
    """Return the levels for the completion of a shell."""
    return [each for each in LEVELS if each.startswith(incomplete)]


def format_of(text: str) -> str:
    """Return the log format of an option. Raises BadParameter."""
    if text.lower() not in FORMATS:
        raise typer.BadParameter(f"a format is one of {', '.join(FORMATS)}, not {text!r}")
    return text.lower()


def formats(incomplete: str) -> list[str]:
    """Return the formats for the completion of a shell."""
    return [each for each in FORMATS if each.startswith(incomplete)]


NetworkFile = Annotated[
    Path | None,
    typer.Argument(
        metavar="NETWORK.yaml",
        help="The network, or its folder (default: the nearest network.yaml, from here upwards).",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def mods_that_run(incomplete: str) -> list[str]:
    """Return the mods for the completion of a shell."""
    return [each for each in _of_handlers(lambda mod: [mod["mod_id"]]) if each.startswith(incomplete)]


def events_that_are_handled(incomplete: str) -> list[str]:
    """Return the names of events that mods handle, for the completion of a shell. Patterns are left out."""
    found = _of_handlers(lambda mod: [name for handler in mod["handlers"] for name in handler["events"]])
    return sorted({each for each in found if each.startswith(incomplete) and "*" not in each})


def _of_handlers(names: Callable[[dict[str, Any]], list[str]]) -> list[str]:
    """Return names that mods of the running server have; none without a server."""
    from devserver.cli.client import connect
    from devserver.cli.locate import workspace

    try:
        return [name for mod in connect(workspace()).handlers()["mods"] for name in names(mod)]
    except Exception:
        # The command itself will report any error; a completing shell shows nothing.
        return []
