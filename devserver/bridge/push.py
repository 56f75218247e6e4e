"""Delivery by our WebSocket for agents of openagents, whose client polls and rests for a second.

`push` gives the client's HTTP connector another way to wait for events; how it handles events,
sends, registers and leaves stays its own. If no WebSocket is possible (another server, a proxy), it
polls as before.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from devserver.agent import NoWebSocket, WebSocketLine
from devserver.errors import AgentError
from devserver.model.logs import logger

OPEN_SECONDS = 10.0
"""Seconds for a WebSocket to open and to register."""

AGAIN_SECONDS = 60.0
"""Seconds after which a server that has no WebSocket is asked again: another one may run there."""

_POLLS = "_oa_dev_polls"
"""The time of the loop until which a connector polls, set on it."""

_log = logger(__name__)

Poll = Callable[[Any], Coroutine[Any, Any, list[Any]]]


def push() -> None:
    """Deliver to all `AgentClient`s and `WorkerAgent`s here by WebSocket. Twice is once.

    Connected ones change with their next poll. Raises ImportError without the package openagents.
    """
    connector = _connector_class()
    poll = connector.poll_messages
    if not getattr(poll, "is_push", False):
        connector.poll_messages = _pushed(poll)


def pull() -> None:
    """Let agents poll again; those that have a WebSocket keep it until it ends."""
    connector = _connector_class()
    connector.poll_messages = getattr(connector.poll_messages, "poll", connector.poll_messages)


def _connector_class() -> Any:
    try:
        from openagents.sdk.connectors.http_connector import (  # type: ignore[import-not-found, unused-ignore]
            HTTPNetworkConnector,
        )
    except ImportError:
        # Its name before 0.9.
        from openagents.core.connectors.http_connector import (  # type: ignore[import-not-found, unused-ignore]
            HTTPNetworkConnector,
        )
    return HTTPNetworkConnector


def _pushed(poll: Poll) -> Poll:
    """Replace `poll_messages`: it returns when the connection ends, and is then called again."""

    async def poll_messages(connector: Any) -> list[Any]:
        now = asyncio.get_running_loop().time()
        if not connector.is_connected or now < getattr(connector, _POLLS, 0.0):
            return await poll(connector)
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                line = await WebSocketLine.open(connector.base_url.removesuffix("/api"), _joining(connector))
        except NoWebSocket as refused:
            if refused.lasts:
                setattr(connector, _POLLS, now + AGAIN_SECONDS)
            return await poll(connector)
        except (OSError, AgentError):
            # The server is away, or no longer knows the agent: a poll reports that as before.
            return await poll(connector)
        connector.secret = line.secret
        try:
            return await _receive(connector, line)
        except AgentError as ended:
            # Another connection of the same agent took over: two competing ones would receive half
            # each.
            if ended.code == "superseded":
                setattr(connector, _POLLS, math.inf)
        except OSError as error:
            _log.info("connection lost, trying again", agent=connector.agent_id, error=str(error))
        return []

    poll_messages.is_push, poll_messages.poll = True, poll  # type: ignore[attr-defined]
    return poll_messages


def _joining(connector: Any) -> dict[str, Any]:
    """Return the connector's registration, and the secret with which it continues there."""
    return {
        "agent_id": connector.agent_id,
        "metadata": connector.metadata or {},
        "password_hash": connector.password_hash or "",
        "secret": connector.secret,
    }


async def _receive(connector: Any, line: WebSocketLine) -> list[Any]:
    """Give each event to the connector, in order, until the connection ends, which is raised."""
    from openagents.models.event import Event  # type: ignore[import-not-found, unused-ignore]

    come: asyncio.Queue[Mapping[str, Any] | None] = asyncio.Queue()
    reading = asyncio.create_task(line.run(come.put_nowait))
    # Received events are handed out before the connector asks again.
    reading.add_done_callback(lambda _: come.put_nowait(None))
    try:
        while (values := await come.get()) is not None:
            try:
                await connector.consume_message(Event(**values))
            except Exception:
                # As with polls: a bad event does not cost the next ones.
                _log.exception("an event for an agent failed", agent=connector.agent_id)
        await reading
    finally:
        reading.cancel()
        await line.close(leave=False)
    return []
