"""What people ask of another host: the commands that the author carries out for all, and the events of one host.

Each host decides for itself what it answers; the credentials of a host prove only that it is one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from devserver.errors import DevServerError
from devserver.hosts.link import EngineAway, Link, Listening, Message, NoHost
from devserver.hosts.members import Member, Members
from devserver.hosts.names import Names
from devserver.hosts.work import Work
from devserver.model.encoding import from_json, to_json
from devserver.transports.http.answers import Answer, refused
from devserver.transports.strict import Malformed, parse_object

_ANSWER_SECONDS = 85.0
"""Less than a command waits for the server that it asks."""
_MOST = 32
"""How many requests of other hosts a host answers at a time."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request to a host: a path of the control API, its body and query; `by`, the host that it was made on."""

    path: str
    by: str
    body: Mapping[str, Any] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)


class Requests:
    """Asks other hosts, and answers them. `answer` is set by the server, which knows the control API."""

    def __init__(self, link: Link, names: Names, members: Members) -> None:
        self.answer: Callable[[Request], Awaitable[Answer]] = _not_yet
        self._link, self._names, self._members, self._host = link, names, members, members.host
        self._listening: Listening | None = None
        self._work = Work()

    async def begin(self) -> None:
        """Answer from now on. Raises EngineAway."""
        self._listening = await self._link.subscribe(self._names.request(self._host), self._heard)

    async def end(self) -> None:
        """Answer no more."""
        if self._listening is not None:
            await self._listening.end()
        await self._work.end()

    async def read(self, host: str, path: str, query: Mapping[str, str]) -> Answer:
        """Ask a host for what changes nothing, as `ask` does, for as long as it is there."""
        asking, over = asyncio.ensure_future(self.ask(host, path, {}, query)), asyncio.Event()

        def went(member: Member, seconds: float | None) -> None:
            if member.host == host:
                over.set()

        # One that comes has ended before, perhaps unheard: it does not know of the question.
        hooks = (self._members.on_go, self._members.on_come)
        waiting = asyncio.ensure_future(over.wait())
        try:
            for each in hooks:
                each.append(went)
            await asyncio.wait((asking, waiting), return_when=asyncio.FIRST_COMPLETED)
            return asking.result() if asking.done() else self._away(host)
        finally:
            for each in hooks:
                each.remove(went)
            asking.cancel()
            waiting.cancel()

    def _away(self, host: str) -> Answer:
        return refused("host_away", f"host {host} is away; ask again when it is back", 503)

    async def ask(self, host: str, path: str, body: Mapping[str, Any], query: Mapping[str, str]) -> Answer:
        """Ask a host. Never raises: a host that does not answer is an answer with status 503."""
        if self._link.connected and not self._members.alive(host):
            return self._away(host)  # its connection may outlive it: it would not answer, and not be refused
        values = {"path": path, "by": self._host, "body": dict(body), "query": dict(query)}
        try:
            raw = await self._link.request(self._names.request(host), to_json(values), seconds=_ANSWER_SECONDS)
            told = parse_object(raw)
            return Answer(to_json(told["body"]), int(told["status"]))
        except NoHost:
            return self._away(host)
        except EngineAway:
            return refused("engine_away", f"the engine is unreachable, so host {host} was not asked; ask again", 503)
        except (DevServerError, Malformed, LookupError, TypeError, ValueError) as error:
            return refused("host_lost", f"host {host} did not answer, and may have done it: {error}", 503)

    async def _heard(self, message: Message) -> None:
        # An answer goes to inboxes alone: the asker could name any subject as its own.
        if not message.reply.startswith("_INBOX_"):
            return
        if len(self._work) >= _MOST:
            await self._send(message.reply, refused("host_busy", "this host answers other hosts already", 429))
            return
        self._work.begin(self._answer(message))

    async def _answer(self, message: Message) -> None:
        try:
            given = await self.answer(_read(parse_object(message.data)))
        except Malformed as problem:
            given = refused(problem.code, str(problem), problem.status)
        except (LookupError, TypeError, ValueError) as error:
            given = refused("bad_request", f"the request cannot be read: {error}", 400)
        await self._send(message.reply, given)

    async def _send(self, to: str, given: Answer) -> None:
        data = to_json({"status": given.status, "body": from_json(given.body)})
        if len(data) > self._link.most_bytes > 0:
            refusal = refused("too_large", "the answer is larger than hosts send each other", 413)
            data = to_json({"status": refusal.status, "body": from_json(refusal.body)})
        try:
            await self._link.publish(to, data)
        except DevServerError:
            return  # who has asked is told that this host did not answer


def _read(values: Mapping[str, Any]) -> Request:
    body, query = values["body"], values["query"]
    if not isinstance(body, dict) or not isinstance(query, dict):
        raise ValueError("a body and a query were expected")
    return Request(str(values["path"]), str(values["by"])[:64], body, {str(k): str(v) for k, v in query.items()})


async def _not_yet(request: Request) -> Answer:
    return refused("starting", "this host has not started yet; ask again", 503)
