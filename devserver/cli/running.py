"""The commands that ask a running server, as typer sees them; `remote` has their functions."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from devserver.cli.options import (
    OF_LEVEL,
    Json,
    OnDemand,
    count_of,
    events_that_are_handled,
    mods_that_run,
    seconds_of,
)

if TYPE_CHECKING:
    from devserver.cli import events as asked
    from devserver.cli import line_commands, remote
else:
    asked = OnDemand("events")
    line_commands = OnDemand("line_commands")
    remote = OnDemand("remote")


wait = typer.Typer(help="Wait for something to happen in the running network.", rich_markup_mode=None)

Mods = Annotated[
    list[str] | None,
    typer.Argument(metavar="MOD", help="Mod ids or paths (default: all).", autocompletion=mods_that_run),
]


Timeout = Annotated[
    float, typer.Option("--timeout", metavar="SECONDS", parser=seconds_of, help="How long to wait at most.")
]


class RecordDo(StrEnum):
    """What to do with a session."""

    START = "start"
    STOP = "stop"


def add_running(app: typer.Typer) -> None:
    app.command("open")(open_page)
    asking = (
        status,
        reload,
        load,
        unload,
        why,
        restart,
        undo,
        redo,
        send,
        events,
        pause,
        apply,
        resume,
        settle,
        trace,
        edit,
        contract,
        record,
        log,
        stop,
    )
    for command in asking:
        app.command()(command)
    app.add_typer(wait, name="wait")


def status(
    mod: Annotated[str | None, typer.Argument(metavar="[MOD]", help="One mod alone, by its name or path.")] = None,
    held: Annotated[bool, typer.Option("--held", help="Show what still holds replaced code.")] = False,
    memory: Annotated[bool, typer.Option("--memory", help="Show what is kept for agents, in bytes.")] = False,
    as_json: Json = False,
) -> int:
    """Show what runs here: address, mods, agents, errors."""
    return remote.status(mod, held=held, memory=memory, as_json=as_json)


def open_page(
    print_only: Annotated[bool, typer.Option("--print", help="Print the address; open no browser.")] = False,
    as_json: Json = False,
) -> int:
    """Open the dashboard."""
    return remote.open_page(print_only=print_only, as_json=as_json)


def reload(mods: Mods = None, as_json: Json = False) -> int:
    """Reload mods, and show the outcome."""
    return remote.asked("reload", {"mods": mods or []}, as_json=as_json)


def load(
    mod: Annotated[str, typer.Argument(metavar="MOD", help="A path, as in ./wiki or mods.wiki.")],
    config: Annotated[str, typer.Option(metavar="JSON", help="The mod's configuration.")] = "{}",
    anyway: Annotated[
        str | None, typer.Option(metavar="SHA256", help="Of a mod that a catalogue has blocked, as show tells it.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Load a mod into the running network; network.yaml stays."""
    from devserver.cli.inputs import object_of

    body = {"mod_path": mod, "config": object_of(config, "the configuration"), "anyway": anyway}
    return remote.asked("load", body, as_json=as_json)


def unload(
    mod: Annotated[str, typer.Argument(metavar="MOD", help="An id or a path.", autocompletion=mods_that_run)],
    cascade: Annotated[bool, typer.Option("--cascade", help="With the mods that need it, these first.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Also if other mods need it; these stay without it.")] = False,
    as_json: Json = False,
) -> int:
    """Unload a mod from the running network; network.yaml stays."""
    return remote.unload(mod, force=force, cascade=cascade, as_json=as_json)


def why(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A mod, by id or path, or a Python package.")],
    mod: Annotated[
        str, typer.Argument(metavar="[MOD]", help="With a mod, NAME is an agent: which version of it the agent gets.")
    ] = "",
    as_json: Json = False,
) -> int:
    """Show what needs a mod or a Python package, and what it needs."""
    return line_commands.which(name, mod, as_json=as_json) if mod else remote.why(name, as_json=as_json)


def restart(as_json: Json = False) -> int:
    """Restart in place: connections stay, and state moves along."""
    return remote.restart(as_json=as_json)


def undo(mods: Mods = None, as_json: Json = False) -> int:
    """Undo the latest reload; asked again, the one before."""
    return remote.undo(tuple(mods or ()), as_json=as_json)


def redo(mods: Mods = None, as_json: Json = False) -> int:
    """Redo what was undone last."""
    return remote.asked("redo", {"mods": mods or []}, as_json=as_json)


def send(
    event_name: Annotated[
        str,
        typer.Argument(
            metavar="EVENT_NAME",
            help="As in wiki.page.create; - or @FILE: events, one JSON object a line.",
            autocompletion=events_that_are_handled,
        ),
    ],
    to: Annotated[str | None, typer.Option("--to", metavar="DEST", help="As in agent:ana or channel:general.")] = None,
    payload: Annotated[
        str | None,
        typer.Option("--payload", metavar="JSON", help="A JSON object; - for standard input, @FILE for a file."),
    ] = None,
    sender: Annotated[str | None, typer.Option("--as", metavar="AGENT", help="The agent it comes from.")] = None,
    as_json: Json = False,
) -> int:
    """Send one event into the running network, and print the answer."""
    return remote.send(event_name, to=to, payload=payload, sender=sender, as_json=as_json)


def events(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[WHAT]...",
            help="As in wiki.*, mod:wiki, v:5, from:ana, to:critic, held, id:5f3a, a text; or a number, as in 1287.",
        ),
    ] = None,
    last: Annotated[
        int | None, typer.Option("--last", metavar="N", parser=count_of, help="Print the latest N, and exit.")
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only those that failed.")] = False,
    slow: Annotated[
        str | None, typer.Option("--slow", metavar="TIME", help="Only those that took longer, as in 5ms.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Keep printing until Ctrl-C (the default without --last).")
    ] = False,
    count: Annotated[
        int | None, typer.Option("--count", "-n", metavar="N", parser=count_of, help="Exit after N events.")
    ] = None,
    list_handlers: Annotated[
        bool, typer.Option("--list", help="List the events that mods handle, with their payloads, and exit.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Print events: follow them, search them, or show one whole."""
    if list_handlers:
        return remote.handlers(" ".join(what or ("*",)), as_json=as_json)
    words = asked.words_of(what or [], failed=failed, slow=slow)
    return asked.events(words, last=last, count=count, follow=follow, as_json=as_json)


def contract(as_json: Json = False) -> int:
    """Show which events lost their handler or changed their answer."""
    return remote.contract(as_json=as_json)


def record(
    do: Annotated[RecordDo, typer.Argument(metavar="start|stop", help="Begin a session, or end it.")],
    as_json: Json = False,
) -> int:
    """Record a session, which `oa-dev replay FILE` runs again."""
    return remote.record(do.value, as_json=as_json)


def pause(as_json: Json = False) -> int:
    """Hold saves until `apply` or `resume`."""
    return remote.saves("pause", as_json=as_json)


def apply(as_json: Json = False) -> int:
    """Apply held saves as one plan."""
    return remote.saves("apply", as_json=as_json)


def resume(as_json: Json = False) -> int:
    """Apply held saves and go back to reloading on save."""
    return remote.saves("resume", as_json=as_json)


def settle(timeout: Timeout = 30.0, as_json: Json = False) -> int:
    """Show whether what is on disk is what runs, and if not why."""
    return remote.settle(timeout=timeout, as_json=as_json)


def trace(as_json: Json = False) -> int:
    """Print the full trace of the latest error."""
    return remote.trace(as_json=as_json)


def edit(
    print_only: Annotated[bool, typer.Option("--print", help="Print the command; open nothing.")] = False,
) -> int:
    """Open the place of the latest error in your editor."""
    return remote.edit(print_only=print_only)


def log(
    level: Annotated[
        str,
        typer.Argument(metavar="LEVEL", **OF_LEVEL, help="debug, info, warning or error."),
    ],
    as_json: Json = False,
) -> int:
    """Change the running server's log level."""
    return remote.log(level, as_json=as_json)


def stop(as_json: Json = False) -> int:
    """Stop the running server."""
    return remote.stop(as_json=as_json)


@wait.callback()
def _wait() -> None:
    """What can be waited for."""


@wait.command("ready")
def wait_ready(timeout: Timeout = 60.0, as_json: Json = False) -> int:
    """Wait until a server answers: exit code 0 if one does, 1 if none came in time."""
    return remote.wait_ready(timeout=timeout, as_json=as_json)


@wait.command("reload")
def wait_reload(
    timeout: Timeout = 60.0,
    after: Annotated[
        int | None,
        typer.Option(
            "--after", metavar="N", parser=count_of, help="The number (status --json: reload_number) to wait beyond."
        ),
    ] = None,
    as_json: Json = False,
) -> int:
    """Show the outcome of the next reload: exit code 0 if it was applied, 1 if it failed or none came."""
    return remote.wait_reload(timeout=timeout, after=after, as_json=as_json)
