"""The commands of replay, as typer sees them; `replay_asks` has their functions."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from devserver.cli.options import Json, OnDemand

if TYPE_CHECKING:
    from devserver.cli import replay_asks
else:
    replay_asks = OnDemand("replay_asks")


pins = typer.Typer(
    help="List pinned events; accept, ignore or remove what differs.",
    rich_markup_mode=None,
    invoke_without_command=True,
)

Event = Annotated[str, typer.Argument(metavar="EVENT", help="The number of an event, as in 57, or the name of a pin.")]
Name = Annotated[str, typer.Argument(metavar="PIN", help="The name of a pin, or the number of its event.")]
Payload = Annotated[
    str | None, typer.Option("--payload", metavar="JSON", help="A JSON object; - for standard input, @FILE for a file.")
]


class StateOf(StrEnum):
    """The initial state of a pinned event."""

    NOW = "now"
    EMPTY = "empty"


class On(StrEnum):
    """The generations that an event is run on."""

    NOW = "now"
    BEFORE = "before"
    BOTH = "both"


def add_replays(app: typer.Typer) -> None:
    for command in (pin, replay, test):
        app.command()(command)
    app.add_typer(pins, name="pins")


def pin(
    number: Annotated[str | None, typer.Argument(metavar="[N]", help="The number of an event, as in 57.")] = None,
    event: Annotated[
        str | None, typer.Option("--event", metavar="EVENT_NAME", help="An event that is given, instead of a number.")
    ] = None,
    payload: Payload = None,
    sender: Annotated[str | None, typer.Option("--as", metavar="AGENT", help="The agent it comes from.")] = None,
    to: Annotated[str | None, typer.Option("--to", metavar="DEST", help="As in agent:ana or channel:general.")] = None,
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="What the pin is called.")] = None,
    state: Annotated[
        StateOf, typer.Option("--state", help="Its initial state: the present one, or that of fresh mods.")
    ] = StateOf.NOW,
    as_json: Json = False,
) -> int:
    """Pin an event: it is run again and compared after each change."""
    given = replay_asks.given_event(event, payload, sender, to)
    return replay_asks.pin(number, given, name=name, state=state.value, as_json=as_json)


def replay(
    event: Annotated[
        str, typer.Argument(metavar="EVENT", help="The number of an event, the name of a pin, or a session's file.")
    ],
    on: Annotated[On, typer.Option("--on", help="The running code, that before its last reload, or both.")] = On.NOW,
    payload: Payload = None,
    for_real: Annotated[
        bool, typer.Option("--for-real", help="Send it again, as a new event: mods and agents get it.")
    ] = False,
    at: Annotated[
        int | None, typer.Option("--at", metavar="N", min=1, help="Of a session: stop at this event, and show it.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Run an event or a session again; nothing is delivered or kept."""
    if replay_asks.is_session(event):
        from devserver.cli import sessions

        if on is not On.NOW or payload is not None or for_real:
            raise typer.BadParameter("--on, --payload and --for-real are of an event, not of a session")
        return sessions.replay(event, at=at, as_json=as_json)
    if at is not None:
        raise typer.BadParameter("--at is of a session, not of an event")
    return replay_asks.replay(event, on=on.value, payload=payload, for_real=for_real, as_json=as_json)


def test(
    event: Event,
    to: Annotated[
        str | None, typer.Option("--to", metavar="FILE", help="The file (default: tests/test_EVENT_NAME.py).")
    ] = None,
    as_json: Json = False,
) -> int:
    """Write a test of an event, in plain pytest; it passes first."""
    return replay_asks.write_test(event, to, as_json=as_json)


@pins.callback()
def list_pins(context: typer.Context, as_json: Json = False) -> int:
    """List pinned events, and what they came to last."""
    if context.invoked_subcommand is not None:
        return 0

    return replay_asks.pins(as_json=as_json)


@pins.command("show")
def show(name: Name, as_json: Json = False) -> int:
    """Show a pin: what it was accepted to do, what is not compared, what differs."""
    return replay_asks.show_pin(name, as_json=as_json)


@pins.command("accept")
def accept(name: Name, as_json: Json = False) -> int:
    """Take what a pinned event does now for what it shall do."""
    return replay_asks.accept(name, as_json=as_json)


@pins.command("ignore")
def ignore(
    name: Name,
    path: Annotated[str, typer.Argument(metavar="PATH", help="As in answer.data.rate or sends[].payload.id.")],
    as_json: Json = False,
) -> int:
    """Compare a path of a pinned event no more."""
    return replay_asks.ignore(name, path, as_json=as_json)


@pins.command("remove")
def remove(name: Name, as_json: Json = False) -> int:
    """Forget a pin."""
    return replay_asks.remove(name, as_json=as_json)
