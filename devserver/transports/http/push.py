"""The WebSocket at `/ws`: an agent registers or resumes, sends events, and is pushed what is for it.

Messages are JSON objects with a `type`. From the client: register first, within 5 s; then send, ping, unregister. To
it: registered, response, event, pong, unregistered, error. An error answers one message and keeps the connection.

Closing codes: 1012 the server ends and may be back soon, 4000 the agent was unregistered, 4001 a newer connection took
over, 4002 the client did not read what was sent to it (slow_consumer); what it has not got waits for it to resume.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from devserver.errors import EventRefused
from devserver.model.event import Event
from devserver.model.principal import Principal
from devserver.network.agent import Agent
from devserver.network.audit import Audit
from devserver.transports.http.answers import to_json
from devserver.transports.http.guard import ASKED
from devserver.transports.http.routes import Asked
from devserver.transports.inbound import Joining, event_from, principal_of
from devserver.transports.ports import ServedNetwork
from devserver.transports.strict import Malformed, parse_object

HELLO_SECONDS = 5.0
MOST_IN_FLIGHT = 100
PATIENCE_SECONDS = 1.0
"""How long a send waits for a place among those in flight before it is refused."""

NOT_TEXT, POLICY, RESTARTING = 1003, 1008, 1012
LEFT, SUPERSEDED, SLOW_CONSUMER = 4000, 4001, 4002

_log = logging.getLogger("devserver.api")


class Push:
    """The WebSocket endpoint, as an ASGI application over one network."""

    def __init__(
        self, network: ServedNetwork, joining: Joining, audit: Audit, *, hello_seconds: float = HELLO_SECONDS
    ) -> None:
        self._network = network
        self._joining = joining
        self._audit = audit
        self._hello_seconds = hello_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection until it ends."""
        line = Line(WebSocket(scope, receive, send))
        await line.open()
        agent = await self._hello(line, scope[ASKED])
        if agent is None:
            await line.close(POLICY)
            return
        await Session(self._network, agent, line).run()

    async def _hello(self, line: Line, asked: Asked) -> Agent | None:
        deadline = asyncio.get_running_loop().time() + self._hello_seconds
        while (message := await _heard_before(line, deadline)) is not None:
            try:
                return await self._register(line, message, asked.principal)
            except (Malformed, EventRefused) as problem:
                self._audit.refused(asked.who, f"register {message.get('agent_id')}", problem.code)
                await line.complain(message, problem.code, str(problem))
        return None

    async def _register(self, line: Line, message: Mapping[str, Any], principal: Principal) -> Agent:
        if message.get("type") != "register":
            raise Malformed("not_registered", "the first message is a register")
        registration = await self._joining.register(message, "ws", principal)
        agent = registration.agent
        await line.tell(
            {
                "type": "registered",
                "agent_id": agent.agent_id,
                "secret": registration.secret,
                "assigned_group": agent.group,
                "resumed": registration.resumed,
            }
        )
        return agent


async def _heard_before(line: Line, deadline: float) -> dict[str, Any] | None:
    """The next message; None at the end of the line or when the loop's clock passes `deadline`."""
    try:
        async with asyncio.timeout_at(deadline):
            return await line.hear()
    except TimeoutError:
        return None


class Line:
    """One WebSocket that speaks JSON objects. Telling a line that has ended is no error: nobody is there to be told."""

    __slots__ = ("_ended", "_socket", "ended_by")

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        self._ended = False
        self.ended_by: int | None = None
        """The closing code of the other side, or that of `protocol` where it cut the line off."""

    async def open(self) -> None:
        """Accept the connection."""
        await self._socket.accept()

    async def hear(self) -> dict[str, Any] | None:
        """The next message that can be read; None at the end. What cannot be read is answered with an error."""
        while True:
            frame = await self._socket.receive()
            if frame["type"] == "websocket.disconnect":
                self._ended = True
                self.ended_by = frame.get("code")
                return None
            if frame.get("text") is None:
                await self.close(NOT_TEXT)
                return None
            try:
                return parse_object(frame["text"].encode())
            except Malformed as problem:
                await self.complain({}, problem.code, str(problem))

    async def tell(self, message: Mapping[str, Any]) -> bool:
        """Send a message; False when the line has ended."""
        return await self.say(to_json(message))

    async def say(self, raw: bytes) -> bool:
        """Send a message that is JSON already."""
        if self._ended:
            return False
        try:
            await self._socket.send_text(raw.decode())
        except WebSocketDisconnect:
            self._ended = True
        return not self._ended

    async def complain(self, message: Mapping[str, Any], code: str, sentence: str) -> None:
        """Answer a message with an error."""
        await self.tell({"type": "error", "id": message.get("id"), "code": code, "message": sentence})

    async def close(self, code: int) -> None:
        """End the line, if it has not ended."""
        if self._ended:
            return
        self._ended = True
        try:
            await self._socket.close(code)
        except WebSocketDisconnect:
            # It had ended a moment before.
            return


class Session:
    """One agent on one line: hears its messages, and pushes the events of its outbox in order."""

    __slots__ = ("_agent", "_consumer", "_in_flight", "_line", "_network")

    def __init__(self, network: ServedNetwork, agent: Agent, line: Line) -> None:
        self._network = network
        self._agent = agent
        self._line = line
        self._consumer = agent.outbox.attach()
        self._in_flight: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Serve until the line ends, the agent leaves, or a newer connection takes over."""
        self._network.directory.socket_opened(self._agent)
        work = (asyncio.ensure_future(self._push()), asyncio.ensure_future(self._listen()))
        try:
            await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
        finally:
            dropped = self._agent.outbox.is_current(self._consumer)
            self._network.directory.socket_closed(self._agent, dropped=dropped)
            for task in work:
                task.cancel()
            await asyncio.wait(work)
        if self._line.ended_by == SLOW_CONSUMER:
            _log.warning("%r was cut off: slow_consumer, it did not read what was sent to it", self._agent.agent_id)
        await self._line.close(self._why_it_ends())
        _raise_failure(work)
        # What was accepted is carried to its end, though nobody will hear the answer.
        await asyncio.gather(*self._in_flight)

    def _why_it_ends(self) -> int:
        if self._network.directory.closed:
            return RESTARTING
        return LEFT if self._agent.outbox.closed else SUPERSEDED

    async def _push(self) -> None:
        outbox = self._agent.outbox
        while await outbox.ready(self._consumer):
            event = outbox.peek()
            if event is None:
                continue
            if not await self._line.say(b'{"type":"event","event":' + to_json(event.to_dict()) + b"}"):
                return
            outbox.handed_over(event)

    async def _listen(self) -> None:
        while (message := await self._line.hear()) is not None:
            self._network.directory.touch(self._agent.agent_id)
            answer = _ANSWERS.get(_hashable(message.get("type")))
            if answer is None:
                known = ", ".join(_ANSWERS)
                await self._line.complain(message, "unknown_type", f"a message's type is one of {known}")
            else:
                await answer(self, message)

    async def _ping(self, message: Mapping[str, Any]) -> None:
        await self._line.tell({"type": "pong", "id": message["id"]} if "id" in message else {"type": "pong"})

    async def _unregister(self, message: Mapping[str, Any]) -> None:
        await self._line.tell({"type": "unregistered", "agent_id": self._agent.agent_id})
        self._start(self._leave())

    async def _leave(self) -> None:
        await self._network.unregister_agent(self._agent.agent_id)

    async def _send(self, message: Mapping[str, Any]) -> None:
        try:
            event = self._event(message)
        except Malformed as problem:
            await self._line.complain(message, problem.code, str(problem))
            return
        if not await self._has_place():
            sentence = f"{MOST_IN_FLIGHT} events of this connection wait for their answers"
            await self._line.complain(message, "too_many_in_flight", sentence)
            return
        self._start(self._carry(message, event))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        """Do `work` beside hearing: the end of the line does not cut it off."""
        task = asyncio.create_task(work)
        self._in_flight.add(task)
        task.add_done_callback(self._in_flight.discard)

    def _event(self, message: Mapping[str, Any]) -> Event:
        values = message.get("event")
        if not isinstance(values, dict):
            raise Malformed("bad_event", "a send has an event, which is an object")
        if values.get("source_id") not in (None, self._agent.agent_id):
            raise Malformed("not_yourself", f"the source of your events is {self._agent.agent_id}")
        return event_from(values, self._agent.agent_id, self._agent.group)

    async def _has_place(self) -> bool:
        if len(self._in_flight) >= MOST_IN_FLIGHT:
            await asyncio.wait(self._in_flight, timeout=PATIENCE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        return len(self._in_flight) < MOST_IN_FLIGHT

    async def _carry(self, message: Mapping[str, Any], event: Event) -> None:
        try:
            response = await self._network.ingest(event, principal_of(self._network, self._agent))
        except Exception:
            _log.exception("the event %s of %r failed", event.event_name, self._agent.agent_id)
            await self._line.complain(message, "internal", "the server failed; its log says more")
            return
        answer = {**response.to_dict(), "event_id": event.event_id, "event_name": event.event_name}
        await self._line.tell({"type": "response", "id": message.get("id"), **answer})


_ANSWERS: dict[Any, Callable[[Session, Mapping[str, Any]], Awaitable[None]]] = {
    "send": Session._send,
    "ping": Session._ping,
    "unregister": Session._unregister,
}
"""What answers each type of message."""


def _hashable(kind: Any) -> Any:
    return kind if isinstance(kind, str) else None


def _raise_failure(work: tuple[asyncio.Future[None], ...]) -> None:
    for task in work:
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error
