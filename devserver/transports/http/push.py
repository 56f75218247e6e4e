"""The WebSocket at `/ws`: an agent registers or resumes, sends events, and is pushed its own.

Messages are JSON objects with a `type`. From the client: register first, within 5 s; then send,
ping, unregister. To it: registered, response, event, pong, unregistered, error. An error answers
one message and keeps the connection.

Closing codes: 1008 no registration came in time, 1012 the server ends and may be back soon, 4000
the agent was unregistered, 4001 a newer connection took over, 4002 the client did not read
(slow_consumer); undelivered events wait for it to resume.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from devserver.errors import EventRefused
from devserver.model.encoding import to_json
from devserver.model.event import Event
from devserver.model.logs import logger
from devserver.network.agent import Agent, Registration
from devserver.network.audit import Audit
from devserver.transports.http.channel import Deadline
from devserver.transports.http.websocket import POLICY, RESTARTING, WebSocket
from devserver.transports.inbound import Joining, ServedNetwork, event_from, principal_of
from devserver.transports.strict import Malformed, parse_object

HELLO_SECONDS = 5.0
MOST_IN_FLIGHT = 100
MOST_CARRIED = 8 * 1024 * 1024
"""The most bytes of messages in flight; the next one waits for a place, as at MOST_IN_FLIGHT."""
PATIENCE_SECONDS = 1.0
"""Seconds that a send waits for a place among those in flight before it is refused."""
MOST_TRIES = 10
"""The most messages without a registration that are answered before the line is closed."""
REST_SECONDS = 0.01
"""Seconds that a line is not heard after a bad message; the more in a row the longer, to one."""
MOST_AT_ONCE = 64
"""The most events that are pushed in one turn of the loop."""
LEFT, SUPERSEDED = 4000, 4001
_BEGINNING = re.compile(rb'\{"type": ?"send", ?"id": ?([0-9]{1,15}),')

_log = logger("devserver.api")


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """The values that all lines share: one network, how to join it, seconds to register."""

    network: ServedNetwork
    joining: Joining
    audit: Audit
    hello_seconds: float = HELLO_SECONDS

    def __call__(self, socket: WebSocket) -> None:
        """Speak on a WebSocket that has opened, or that another server has handed over."""
        Session(self, socket)


class Session:
    """One line: hears its messages, and pushes the events of its agent's outbox in order."""

    __slots__ = (
        "_agent",
        "_bad",
        "_carried",
        "_consumer",
        "_held",
        "_hello",
        "_in_flight",
        "_is_over",
        "_is_waiting",
        "_of",
        "_socket",
    )

    def __init__(self, of: Push, socket: WebSocket) -> None:
        self._of = of
        self._socket = socket
        socket.speaker = self
        self._agent: Agent | None = None
        self._consumer = 0
        self._in_flight: dict[asyncio.Task[None], tuple[Any, int]] = {}
        """The tasks of this line, each with the id of its message and the bytes of it."""
        self._carried = 0
        """The bytes of all of these."""
        self._held: tuple[Any, Event, bytes] | None = None
        """A send that waits for a place."""
        self._bad = 0
        """The number of bad messages in a row."""
        self._is_over = self._is_waiting = False
        self._hello: Deadline | None = None
        if socket.agent_id is not None:
            # Continue for an agent that had registered before the server was restarted.
            agent_id = socket.agent_id
            agent = self._of.network.directory.agent(agent_id)
            if agent is None:
                self._socket.close(LEFT)
            else:
                self._serve(agent)
        else:
            self._hello = Deadline(self._too_late)
            self._hello.set(of.hello_seconds)

    @property
    def agent_id(self) -> str | None:
        """The agent that has registered on this line."""
        return self._agent.agent_id if self._agent is not None else None

    @property
    def size(self) -> int:
        """The bytes of messages that run or wait for a place."""
        return self._carried + (len(self._held[2]) if self._held is not None else 0)

    def is_working(self) -> bool:
        """Return whether messages run that are not answered."""
        return bool(self._in_flight)

    def unanswered(self) -> tuple[list[bytes], list[bytes]]:
        """Return the message that waits for its place, and an error for each that is in flight."""
        sentence = "the server was restarted before this was answered"
        errors = [_error(key, "restarted", sentence) for key, _ in self._in_flight.values()]
        return ([self._held[2]] if self._held is not None else []), errors

    # Messages

    def heard(self, raw: bytes) -> None:
        """Process a message."""
        message: Mapping[str, Any] = {}
        try:
            message = parse_object(raw)
            if self._agent is None:
                if message.get("type") != "register":
                    raise Malformed("not_registered", "the first message is a register")
                self._socket.hold()
                self._start(message.get("id"), self._join(message))
            else:
                self._of.network.directory.touch(self._agent.agent_id)
                self._deal_with(message, self._agent, raw)
            self._bad = 0 if self._agent is not None else self._bad
        except Malformed as problem:
            self._complain(message or _beginning(raw), problem.code, str(problem))
            self._misbehaved()

    def _deal_with(self, message: Mapping[str, Any], agent: Agent, raw: bytes) -> None:
        kind = message.get("type")
        if kind == "send":
            self._send(message, agent, raw)
        elif kind == "ping":
            self._tell({"type": "pong", "id": message["id"]} if "id" in message else {"type": "pong"})
        elif kind == "unregister":
            self._tell({"type": "unregistered", "agent_id": agent.agent_id})
            self._start(message.get("id"), self._leave(agent))
        else:
            raise Malformed("unknown_type", "a message's type is one of send, ping, unregister")

    async def _leave(self, agent: Agent) -> None:
        await self._of.network.unregister_agent(agent.agent_id)

    def _send(self, message: Mapping[str, Any], agent: Agent, raw: bytes) -> None:
        values = message.get("event")
        if not isinstance(values, dict):
            raise Malformed("bad_event", "a send has an event, which is an object")
        if values.get("source_id") not in (None, agent.agent_id):
            raise Malformed("not_yourself", f"the source of your events is {agent.agent_id}")
        event, key = event_from(values, agent.agent_id, agent.group), message.get("id")
        # One alone always goes, however large it is.
        if not self._in_flight or (len(self._in_flight) < MOST_IN_FLIGHT and self._carried < MOST_CARRIED):
            self._start(key, self._carry(key, agent, event), len(raw))
            return
        self._held = held = (key, event, raw)
        self._socket.hold()
        asyncio.get_running_loop().call_later(PATIENCE_SECONDS, self._refuse_held, held)

    def _refuse_held(self, held: tuple[Any, Event, bytes]) -> None:
        if self._held is held:
            self._held = None
            sentence = f"{len(self._in_flight)} events of this connection wait for their answers"
            self._complain({"id": held[0]}, "too_many_in_flight", sentence)
            self._socket.release()

    def _start(self, key: Any, work: Coroutine[Any, Any, None], size: int = 0) -> None:
        """Start `work` beside hearing: the end of the line does not cancel it."""
        task = asyncio.get_running_loop().create_task(work)
        self._in_flight[task] = key, size
        self._carried += size
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._carried -= self._in_flight.pop(task)[1]
        if self._held is not None and self._agent is not None:
            (key, event, raw), self._held = self._held, None
            self._start(key, self._carry(key, self._agent, event), len(raw))
            self._socket.release()
        self._socket.count()

    async def _carry(self, key: Any, agent: Agent, event: Event) -> None:
        try:
            response = await self._of.network.ingest(event, principal_of(self._of.network, agent))
        except Exception:
            _log.exception("the event %s of %r failed", event.event_name, agent.agent_id)
            self._complain({"id": key}, "internal", "the server failed; its log says more")
            return
        answer = {**response.to_dict(), "event_id": event.event_id, "event_name": event.event_name}
        self._tell({"type": "response", "id": key, **answer})

    def _misbehaved(self) -> None:
        """Make a bad message cost its sender time; before it has registered, at last its line."""
        self._bad += 1
        if self._agent is None and self._bad >= MOST_TRIES:
            self._socket.close(POLICY)
        else:
            self._socket.rest(min(REST_SECONDS * self._bad, 1.0))

    def _tell(self, message: Mapping[str, Any]) -> None:
        self._socket.say(to_json(message))

    def _complain(self, message: Mapping[str, Any], code: str, sentence: str) -> None:
        self._socket.say(_error(message.get("id"), code, sentence))

    # Registration

    async def _join(self, message: Mapping[str, Any]) -> None:
        try:
            made = await self._of.joining.register(message, "ws", self._socket.principal)
        except (Malformed, EventRefused) as problem:
            self._of.audit.refused(self._socket.who, f"register {message.get('agent_id')}", problem.code)
            self._complain(message, problem.code, str(problem))
            self._misbehaved()
        except Exception:
            _log.exception("the registration of %r failed", message.get("agent_id"))
            self._complain(message, "internal", "the server failed; its log says more")
            self._misbehaved()
        else:
            self._registered(made)
            self._socket.release()

    def _registered(self, made: Registration) -> None:
        agent = made.agent
        self._tell(
            {
                "type": "registered",
                "agent_id": agent.agent_id,
                "secret": made.secret,
                "assigned_group": agent.group,
                "resumed": made.resumed,
            }
        )
        if not self._is_over:
            self._serve(agent)

    def _too_late(self) -> None:
        if self._in_flight:
            # The registration is on its way.
            assert self._hello is not None
            self._hello.set(self._of.hello_seconds)
        else:
            self._socket.close(POLICY)

    # Events for the agent

    def _serve(self, agent: Agent) -> None:
        if self._hello is not None:
            self._hello.end()
            self._hello = None
        self._agent = agent
        self._bad = 0
        self._consumer = agent.outbox.attach()
        self._of.network.directory.socket_opened(agent)
        self._push()

    def _push(self) -> None:
        """Push the waiting events of the agent, as long as it reads; end if it has left or speaks
        on a newer line."""
        self._is_waiting = False
        if self._agent is None or self._is_over:
            return
        outbox = self._agent.outbox
        for _ in range(MOST_AT_ONCE):
            if not outbox.is_current(self._consumer):
                self._end(self._why_it_ends())
                return
            if self._socket.is_sending:
                return
            letter = outbox.peek()
            if letter is None:
                news = outbox.news(self._consumer)
                if news is not None:
                    self._is_waiting = True
                    news.add_done_callback(self._woken)
                    return
            else:
                self._socket.say(b'{"type":"event","event":' + letter.raw + b"}")
                if self._socket.transport.is_closing():
                    return  # nothing was written: it waits until its agent is back
                outbox.handed_over(letter)
        self._is_waiting = True
        asyncio.get_running_loop().call_soon(self._push)

    def _woken(self, news: asyncio.Future[None]) -> None:
        self._push()

    def sent(self) -> None:
        """Continue: the client has read everything."""
        if not self._is_waiting:
            self._push()

    def _why_it_ends(self) -> int:
        if self._of.network.directory.closed:
            return RESTARTING
        return LEFT if self._agent is not None and self._agent.outbox.closed else SUPERSEDED

    def _end(self, code: int) -> None:
        self.ended()
        self._socket.close(code)

    def ended(self) -> None:
        """Let go of the agent; may be called twice. Accepted messages are carried out, though no one
        will hear the answer."""
        if self._is_over:
            return
        self._is_over = True
        self._held = None
        if self._hello is not None:
            self._hello.end()
        if self._agent is not None:
            dropped = self._agent.outbox.is_current(self._consumer)
            self._of.network.directory.socket_closed(self._agent, dropped=dropped)
            if self._socket.was_cut_off:
                name = self._agent.agent_id
                _log.warning("%r was cut off: slow_consumer, it did not read what was sent to it", name)


def _beginning(raw: bytes) -> Mapping[str, Any]:
    """Return the id of a message that cannot be read, if it stands where our client writes it: it waits for that."""
    found = _BEGINNING.match(raw)
    return {"id": int(found[1])} if found is not None else {}


def _error(key: Any, code: str, sentence: str) -> bytes:
    return to_json({"type": "error", "id": key, "code": code, "message": sentence})
