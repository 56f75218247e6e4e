"""The commands and options of `oa-dev` as typer sees them.

`commands` and `remote` have their functions, and are imported only on a call: `--help` and
`--version` stay fast.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from devserver import __version__
from devserver.cli.catalogue import add_catalogue
from devserver.cli.exits import Exit, Problem
from devserver.cli.lines import add_lines
from devserver.cli.market import add_market
from devserver.cli.options import OF_FORMAT, OF_LEVEL, Json, NetworkFile, OnDemand, SchemaOf, port_of
from devserver.cli.replays import add_replays
from devserver.cli.running import add_running

if TYPE_CHECKING:
    from devserver.cli import commands, hosts, serve
else:
    commands = OnDemand("commands")
    hosts = OnDemand("hosts")
    serve = OnDemand("serve")


_USAGE_ERROR = cast("type[Exception]", typer.BadParameter.__mro__[1])
"""UsageError, of which typer exports only this subclass: older versions take it from Click, newer have their own."""

app = typer.Typer(
    name="oa-dev",
    help="A hot-reload development server for OpenAgents networks.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
new = typer.Typer(help="Write a small network, or a small mod, that runs.", rich_markup_mode=None)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"oa-dev {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    directory: Annotated[
        str | None, typer.Option("-C", metavar="DIR", help="Run as if started in DIR. Stands before all else.")
    ] = None,
) -> None:
    """The options that stand before a command."""
    if directory is not None:
        # `start` handles it, before any command is imported.
        raise typer.BadParameter("-C DIR stands before all else, as in: oa-dev -C demo status")


# An option that was not given is None, so that the environment, .env and pyproject.toml are read.
Host = Annotated[str | None, typer.Option(metavar="ADDRESS", help="The address to listen on.")]
AllowHost = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="A hostname other machines may use to connect; they need the join token."),
]
Port = Annotated[
    int | None, typer.Option(metavar="PORT", parser=port_of, help="The port, 0 to 65535; 0 takes any free one.")
]
Strict = Annotated[
    bool | None,
    typer.Option(
        "--strict-port/--any-port", help="Exit with code 4 if the port is in use (default: use the next free one)."
    ),
]
Keys = Annotated[bool | None, typer.Option("--keys/--no-keys", help="Read single keys from the terminal.")]
Watch = Annotated[bool | None, typer.Option("--watch/--no-watch", help="Reload on save, or only when asked.")]
Confirm = Annotated[
    bool | None, typer.Option("--confirm/--no-confirm", help="Apply changes of network.yaml only when asked.")
]
Supervise = Annotated[bool | None, typer.Option("--supervise/--no-supervise", help="Restart the server after a crash.")]
Studio = Annotated[bool | None, typer.Option("--studio/--no-studio", help="Serve OpenAgents' Studio at /studio.")]
Level = Annotated[
    str | None,
    typer.Option(metavar="LEVEL", **OF_LEVEL, help="debug, info, warning or error."),
]


LogFormat = Annotated[
    str | None,
    typer.Option(metavar="FORMAT", **OF_FORMAT, help="human or json (default: as the rest is told)."),
]


Creds = Annotated[
    Path | None, typer.Option("--creds", metavar="FILE", help="What proves this host (or OA_DEV_HOSTS_CREDS).")
]
HostName = Annotated[
    str | None, typer.Option("--as", metavar="NAME", help="What this host is called (default: the machine's name).")
]


@app.command()
def run(
    network: NetworkFile = None,
    host: Host = None,
    allow_host: AllowHost = None,
    port: Port = None,
    strict_port: Strict = None,
    as_json: Json = False,
    keys: Keys = None,
    watch: Watch = None,
    confirm: Confirm = None,
    poll: Annotated[
        bool | None, typer.Option("--poll/--no-poll", help="Look for saves again and again, without notifications.")
    ] = None,
    watch_paths: Annotated[
        list[str] | None, typer.Option("--watch-paths", metavar="DIR", help="Reload the modules in this folder, too.")
    ] = None,
    editor: Annotated[
        str | None, typer.Option(metavar="COMMAND", help="Opens a file at a line, as in: code -g {file}:{line}")
    ] = None,
    supervise: Supervise = None,
    studio: Studio = None,
    log_level: Level = None,
    log_format: LogFormat = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Start in the background if it does not run, and return once it answers.")
    ] = False,
    sync: Annotated[bool, typer.Option("--sync", help="Install the lock first: for fresh clones, and for CI.")] = False,
    open_page: Annotated[bool, typer.Option("--open", help="Open the dashboard in the browser.")] = False,
    record: Annotated[bool, typer.Option("--record", help="Record a session that oa-dev replay runs again.")] = False,
    hosts: Annotated[bool, typer.Option("--hosts", help="Let other hosts join: start an engine for them.")] = False,
    engine: Annotated[
        str | None, typer.Option(metavar="URL", help="With --hosts: an engine that runs, as in tls://10.0.0.5:4222.")
    ] = None,
    creds: Creds = None,
    name: HostName = None,
    take_authorship: Annotated[
        bool, typer.Option("--take-authorship", help="With --hosts: be the author, though another one runs.")
    ] = False,
) -> int:
    """Run a network and reload its mods when they change."""
    if detach:
        return serve.detach(network, as_json=as_json)

    exposed = {"host": host, "allow_host": allow_host or None}
    more = {"poll": poll, "watch_paths": watch_paths or None, "editor": editor, "studio": studio}
    flags = {**exposed, "port": port, "strict_port": strict_port, "keys": keys, "supervise": supervise}
    return serve.run(
        network,
        {**flags, **more, "watch": watch, "confirm": confirm, "log_level": log_level, "log_format": log_format},
        as_json=as_json,
        open_page=open_page,
        sync=sync,
        record=record,
        hosts=_author(hosts, name, engine, creds, take_authorship=take_authorship),
    )


def _author(wanted: bool, name: str | None, engine: str | None, creds: Path | None, *, take_authorship: bool) -> Any:
    if not wanted:
        if name or engine or creds or take_authorship:
            raise Problem("--as, --engine, --creds and --take-authorship stand with --hosts", "oa-dev run --hosts")
        return None
    return hosts.author(name, engine, creds, take_authorship=take_authorship)


@app.command()
def join(
    url: Annotated[str, typer.Argument(metavar="URL", help="The engine, as oa-dev run --hosts tells it.")],
    creds: Creds = None,
    name: HostName = None,
    host: Host = None,
    allow_host: AllowHost = None,
    port: Port = None,
    strict_port: Strict = None,
    as_json: Json = False,
    keys: Keys = None,
    supervise: Supervise = None,
    log_level: Level = None,
    log_format: LogFormat = None,
) -> int:
    """Be another host of a running network: agents come in here, too."""
    flags = {"host": host, "allow_host": allow_host or None, "port": port, "strict_port": strict_port, "keys": keys}
    more = {"supervise": supervise, "log_level": log_level, "log_format": log_format}
    return hosts.join(url, creds, name, {**flags, **more}, as_json=as_json)


@app.command("hosts")
def hosts_(as_json: Json = False) -> int:
    """Show the hosts of the running network and their engine."""
    return hosts.hosts(as_json=as_json)


@app.command()
def move(
    mod: Annotated[str, typer.Argument(metavar="MOD", help="Its path or id.")],
    to: Annotated[str, typer.Option("--to", metavar="HOST", help="The host that is to run it.")],
    as_json: Json = False,
) -> int:
    """Bring a mod to another host, with its state."""
    return hosts.move(mod, to, as_json=as_json)


@app.command()
def mcp() -> int:
    """Serve the commands as tools for coding agents (MCP, stdio)."""
    from devserver.cli.mcp import serve

    return serve()


@app.command()
def check(network: NetworkFile = None, as_json: Json = False) -> int:
    """Check network.yaml and every mod without starting the network."""
    return commands.check(network, as_json=as_json)


@app.command()
def plan(network: NetworkFile = None, as_json: Json = False) -> int:
    """Show what saved files would change, or what a start would do."""
    return commands.plan(network, as_json=as_json)


@app.command()
def schema(
    of: Annotated[
        SchemaOf, typer.Argument(metavar="[network|events]", help="Of network.yaml, or of all that --json prints.")
    ] = SchemaOf.NETWORK,
) -> int:
    """Print the JSON Schema of network.yaml, or of what --json prints."""
    return commands.schema(of.value)


@app.command()
def doctor(network: NetworkFile = None, as_json: Json = False) -> int:
    """Show every setting with its source, and what else matters here."""
    return commands.doctor(network, as_json=as_json)


@app.command("exec", context_settings={"allow_interspersed_args": False, "ignore_unknown_options": True})
def exec_(
    script: Annotated[Path, typer.Argument(metavar="SCRIPT", help="A Python program written for openagents.")],
    arguments: Annotated[list[str] | None, typer.Argument(metavar="[ARGS]...", help="Handed to the program.")] = None,
) -> int:
    """Run a program for OpenAgents on this network."""
    from devserver.cli.script import run_script

    return run_script(script, arguments or [])


@new.command("network")
def new_network(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Created if it does not exist.")], as_json: Json = False
) -> int:
    """Write a network with one mod and its test."""
    return commands.new_network(folder, as_json=as_json)


@new.command("mod")
def new_mod(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As in kanban.")],
    package: Annotated[bool, typer.Option("--package", help="As a package of its own, to be published.")] = False,
    as_json: Json = False,
) -> int:
    """Write a mod and its test into the network here."""
    return commands.new_mod(name, package=package, as_json=as_json)


@new.command("agent")
def new_agent(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The agent's id, as in ana.")], as_json: Json = False
) -> int:
    """Write an agent, as a script that joins the network here."""
    return commands.new_agent(name, as_json=as_json)


add_running(app)
add_market(app)
add_lines(app)
add_catalogue(app)
add_replays(app)
app.add_typer(new, name="new")


@functools.cache
def _command() -> Callable[..., object]:
    """Make the commands of `app`, once: typer would read their signatures again at each call."""
    return typer.main.get_command(app)


def parsed(arguments: Sequence[str]) -> int:
    """Run the command of `arguments` and return its exit code. Raises Problem for invalid ones."""
    try:
        code = _command()(args=list(arguments) or ["--help"], prog_name="oa-dev", standalone_mode=False)
        return code if isinstance(code, int) and code else Exit.CLEAN
    except typer.Abort:
        return Exit.INTERRUPTED
    except _USAGE_ERROR as error:
        raise _misused(error) from error


def _misused(error: BaseException) -> Problem:
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "oa-dev"
    sentence = _unknown_option(error) or error.format_message()  # type: ignore[attr-defined]
    # Choices come with line breaks, and with the name of Python's exception.
    sentence = " ".join(sentence.split()).replace(": Value error, ", ": ")
    if command.endswith(" send") and "extra argument" in sentence:
        return Problem(sentence, f"a payload follows --payload, as in: {command} EVENT_NAME --payload '{{…}}'")
    return Problem(sentence, f"see {command} --help")


def _unknown_option(error: BaseException) -> str:
    """Return the sentence about an unknown option, with the closest known one."""
    name, known = getattr(error, "option_name", ""), getattr(error, "possibilities", None)
    if not name or not isinstance(known, Sequence):
        return ""
    close = difflib.get_close_matches(name, known, n=1)
    return f"unknown option {name}{f'. Did you mean {close[0]}?' if close else ''}"
