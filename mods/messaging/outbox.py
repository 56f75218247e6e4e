"""Notifications on their way to agents, one after the other. Knows nothing of what is in them.

One post is many events. Were each handler to send its own, two posts of one sender could overtake
each other wherever a mod on the way waits. So handlers put their notifications into one queue, and
the handler that finds it unattended sends until it is empty. No one waits for anyone: a mod that posts while
it handles a notification cannot lock itself up. The queue is part of the mod's state, so the next
generation goes on where the last one stopped.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from devserver import Event, EventResponse, Refused

State = dict[str, Any]
Log = Any
"""The log of a mod, `BaseMod.log`."""

Send = Callable[[Event], Awaitable[EventResponse]]


def prepare(state: State) -> None:
    """Make sure that the queue is there; what waits in it stays."""
    state.setdefault("outbox", [])
    state.setdefault("sending", False)


def need_room(state: State, notifications: int, most: int) -> None:
    """Raise Refused where `notifications` more would make more than `most` that wait."""
    waiting = len(state["outbox"])
    if waiting and waiting + notifications > most:
        raise Refused(f"{waiting} notifications are still on their way, try again when they have arrived")


def put(state: State, name: str, source_id: str | None, receivers: Sequence[str], payload: dict[str, Any]) -> None:
    """Queue one notification for each of `receivers`."""
    state["outbox"].extend([name, source_id, receiver, payload] for receiver in receivers)


async def flush(state: State, send: Send, log: Log) -> None:
    """Send what waits, in order, unless someone does so already."""
    if state["sending"]:
        return
    state["sending"] = True
    try:
        while state["outbox"]:
            await _send_one(state["outbox"].pop(0), send, log)
    finally:
        # Also where the handler is cancelled: what still waits goes out with the next message.
        state["sending"] = False


async def _send_one(entry: list[Any], send: Send, log: Log) -> None:
    name, source_id, receiver, payload = entry
    # A copy for each: a mod on the way may change the payload that it sees.
    event = Event(event_name=name, source_id=source_id, destination_id=f"agent:{receiver}", payload=dict(payload))
    answer = await send(event)
    if not answer.success:
        log.info("notification refused", name=name, receiver=receiver, reason=answer.message)
