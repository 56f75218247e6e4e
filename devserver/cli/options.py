"""Options and arguments that several commands share, as typer sees them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class LogLevel(StrEnum):
    """Which log records are shown."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


NetworkFile = Annotated[
    Path | None, typer.Argument(metavar="NETWORK.yaml", help="The network; ./network.yaml where none is named.")
]
Json = Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")]


def mods_that_run(incomplete: str) -> list[str]:
    """The mods that a shell can complete to; none where no server runs."""
    from devserver.cli.locate import working_directory
    from devserver.client import connect

    try:
        mods = connect(working_directory()).status().get("mods", [])
    except Exception:
        # Whatever is wrong, the command itself will say it; a shell that completes shows nothing.
        return []
    return [name for each in mods if (name := str(each.get("mod_id", ""))).startswith(incomplete)]
