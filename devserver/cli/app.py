"""The commands and options of `oa-dev` as typer sees them, and how a problem becomes text and an exit code.

What the commands do is in `commands`, which is imported only when one is called: `--help` and `--version` stay fast.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, cast

import typer

from devserver import __version__
from devserver.cli.exits import Exit, Problem
from devserver.errors import DevServerError
from devserver.ui.escape import cut, safe

_USAGE_ERROR = cast("type[Exception]", typer.BadParameter.__mro__[1])
"""UsageError, of which typer exports only this subclass: older versions take it from Click, newer have their own."""


class LogLevel(StrEnum):
    """Which log records are shown."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


app = typer.Typer(
    name="oa-dev",
    help="A hot-reload development server for OpenAgents networks.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

NetworkFile = Annotated[
    Path | None, typer.Argument(metavar="NETWORK.yaml", help="The network; ./network.yaml where none is named.")
]
Json = Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")]


def _version(wanted: bool) -> None:
    if wanted:
        print(f"oa-dev {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say the version and end.")
    ] = False,
) -> None:
    """The options that stand before a command."""


@app.command()
def run(
    network: NetworkFile = None,
    host: Annotated[str | None, typer.Option(envvar="OA_DEV_HOST", help="The loopback address to listen on.")] = None,
    port: Annotated[
        int | None, typer.Option(envvar="OA_DEV_PORT", min=0, max=65535, help="The port; 0 takes any free one.")
    ] = None,
    strict_port: Annotated[bool, typer.Option("--strict-port", help="End with 4 where the port is taken.")] = False,
    as_json: Json = False,
    no_keys: Annotated[bool, typer.Option("--no-keys", help="Read no single keys from the terminal.")] = False,
    no_watch: Annotated[bool, typer.Option("--no-watch", help="Reload only when asked to.")] = False,
    log_level: Annotated[
        LogLevel, typer.Option(envvar="OA_DEV_LOG_LEVEL", help="The log records to show.")
    ] = LogLevel.WARNING,
) -> int:
    """Run a network and reload its mods when they change."""
    from devserver.cli import commands

    return commands.run(
        network,
        host=host,
        port=port,
        strict_port=strict_port,
        as_json=as_json,
        keys=not no_keys,
        watch=not no_watch,
        log_level=log_level.value,
    )


@app.command()
def check(network: NetworkFile = None, as_json: Json = False) -> int:
    """Say every problem in a network.yaml; imports nothing of any mod."""
    from devserver.cli import commands

    return commands.check(network, as_json=as_json)


@app.command()
def status(as_json: Json = False) -> int:
    """Say what runs in this directory: address, mods, agents, the latest error."""
    from devserver.cli import commands

    return commands.status(as_json=as_json)


@app.command()
def reload(
    mods: Annotated[list[str] | None, typer.Argument(metavar="MOD", help="Ids or paths; all where none.")] = None,
    as_json: Json = False,
) -> int:
    """Reload mods of the running network, and say what became of it."""
    from devserver.cli import commands

    return commands.reload(tuple(mods or ()), as_json=as_json)


@app.command()
def send(
    event_name: Annotated[str, typer.Argument(metavar="EVENT_NAME", help="As in wiki.page.create.")],
    to: Annotated[str | None, typer.Option("--to", metavar="DEST", help="As in agent:ana or channel:general.")] = None,
    payload: Annotated[str | None, typer.Option("--payload", metavar="JSON", help="A JSON object.")] = None,
    sender: Annotated[str | None, typer.Option("--as", metavar="AGENT", help="The agent it comes from.")] = None,
    as_json: Json = False,
) -> int:
    """Send one event into the running network, and say its answer."""
    from devserver.cli import commands

    return commands.send(event_name, to=to, payload=payload, sender=sender, as_json=as_json)


def main() -> None:
    """The entry point of `oa-dev`: runs the command in the process's arguments and ends the process."""
    for stream in (sys.stdout, sys.stderr):
        # Names of files need not be text: what cannot be encoded is spelled out.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    sys.exit(call(sys.argv[1:]))


def call(arguments: Sequence[str]) -> int:
    """Run a command and return its exit code; problems are said on stderr in a line with a hint."""
    try:
        return int(app(args=list(arguments) or ["--help"], prog_name="oa-dev", standalone_mode=False) or Exit.CLEAN)
    except Problem as problem:
        return _said(str(problem), problem.hint, problem.code)
    except DevServerError as error:
        return _said(str(error), "", Exit.FATAL)
    except typer.Abort:
        return Exit.INTERRUPTED
    except _USAGE_ERROR as error:
        return _misused(error)


def _misused(error: BaseException) -> int:
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "oa-dev"
    return _said(error.format_message(), f"see {command} --help", Exit.USAGE)  # type: ignore[attr-defined]


def _said(sentence: str, hint: str, code: Exit) -> int:
    print(f"error: {cut(safe(sentence))}", file=sys.stderr)
    if hint:
        print(f"  {cut(safe(hint))}", file=sys.stderr)
    return code
