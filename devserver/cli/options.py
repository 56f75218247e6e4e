"""Options and arguments that several commands share, as typer sees them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from devserver.config.settings import FORMATS, LEVELS

_HIGHEST_PORT = 65535


class OnDemand:
    """A file of this folder, imported when a command uses it: help and completion stay fast."""

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


def one_of(what: str, known: Sequence[str]) -> dict[str, Any]:
    """Return how an option with few values is read and completed; that raises BadParameter."""

    def read(text: str) -> str:
        if text.lower() not in known:
            raise typer.BadParameter(f"{what} is one of {', '.join(known)}, not {text!r}")
        return text.lower()

    def completed(incomplete: str) -> list[str]:
        return [each for each in known if each.startswith(incomplete)]

    return {"parser": read, "autocompletion": completed}


OF_LEVEL = one_of("a level", LEVELS)
OF_FORMAT = one_of("a format", FORMATS)
OF_ANSWER = one_of("the answer", ("yes", "no"))


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
