"""An agent: joins a network, sends and receives events, reconnects when its connection is lost.

    async with Agent("ana", url="http://127.0.0.1:8700") as me:
        print(await me.send("hello.greet", {"name": "Ana"}))
        async for event in me:
            print(event.event_name, event.payload)

Speaks the WebSocket of `/ws`; where no WebSocket comes through, HTTP with long polls. A send whose
answer was lost with its connection goes out again with the same event id, which the network never
handles twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import http.client
import json
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, urlsplit

from devserver.errors import AgentError
from devserver.model.event import Event, EventResponse, new_event_id
from devserver.model.logs import logger

MOST_WAITING = 10_000
"""Events that wait to be read; new ones replace the oldest, and `lost` counts these."""

MOST_BYTES = 1024 * 1024
"""The most bytes of a message to a server: it ends a WebSocket that brings more, with all that is on its way."""

POLL_SECONDS = 40.0
"""Seconds for an answer to a long poll; the server answers after 20."""

_DEFAULT_URL = "http://127.0.0.1:8700"
_FIRST_DELAY, _LONGEST_DELAY = 0.1, 2.0
_LEFT, _SUPERSEDED = 4000, 4001

_log = logger("devserver.agent")

Received = Callable[[Mapping[str, Any]], None]


class _Lost(Exception):
    """The connection ended before an answer came, or the network no longer knows the agent."""


class NoWebSocket(Exception):
    """No WebSocket to the server is possible; `lasts` unless for a reason that passes."""

    def __init__(self, *, lasts: bool = True) -> None:
        super().__init__()
        self.lasts = lasts


class Agent:
    """An agent of a network, as an async context manager; iterate over it for its events.

    Args:
        agent_id: its id in the network.
        url: where the network answers; by default what OA_DEV_URL says, which `oa-dev run` sets for the agents that
            it starts, else the network that runs in the working directory or above, else http://127.0.0.1:8700.
        metadata: what the network and its mods are told of the agent.
        password: that of the group it joins; without one it is in the default group.
        secret: of an earlier stay, to go on there. `agent.secret` is that of this stay.
        token: the join token, which a network on another machine asks for.
        patience: seconds that the first connection is tried for. Later ones are tried without end.
    """

    def __init__(
        self,
        agent_id: str,
        url: str | None = None,
        *,
        metadata: Mapping[str, Any] | None = None,
        password: str | None = None,
        secret: str | None = None,
        token: str | None = None,
        patience: float = 30.0,
    ) -> None:
        self.agent_id = agent_id
        self._given = url or os.environ.get("OA_DEV_URL")
        self.secret = secret
        self.lost = 0
        """The number of events that newer ones replaced before they were read."""
        self._joining: dict[str, Any] = {"agent_id": agent_id, "metadata": dict(metadata or {})}
        if password is not None:
            self._joining["password_hash"] = hashlib.sha256(password.encode()).hexdigest()
        if token is not None:
            self._joining["join_token"] = token
        self._patience = patience
        self._events: asyncio.Queue[Event | None] = asyncio.Queue(MOST_WAITING)
        self._line: _Line | None = None
        self._changed = asyncio.Condition()
        self._failure: AgentError | None = None
        self._refused: _Passing | None = None
        """Why the network does not let it in for now."""
        self._task: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Where the network answers: looked up each time, as a server may begin or take another port meanwhile."""
        return (self._given or _running_here() or _DEFAULT_URL).rstrip("/")

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._keep_staying(), name=f"agent {self.agent_id}")
        try:
            async with asyncio.timeout(self._patience):
                await self._connected()
        except BaseException as error:
            await self._end(leave=False)
            if isinstance(error, TimeoutError):
                if self._refused is not None:
                    raise AgentError(self._refused.code, str(self._refused)) from None
                raise AgentError("no_answer", f"no network answers at {self.url}; start one with: oa-dev run") from None
            raise
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self._end(leave=True)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        """Return the next event for the agent. Raises AgentError once the network ended its stay."""
        if self._failure is not None and self._events.empty():
            raise self._failure
        event = await self._events.get()
        if event is None:
            raise self._failure or StopAsyncIteration
        return event

    @property
    def transport(self) -> str | None:
        """The kind of its connection: "websocket", "http", or None while it has no connection."""
        return {WebSocketLine: "websocket", _HttpLine: "http"}[type(self._line)] if self._line is not None else None

    async def send(
        self,
        event_name: str,
        payload: Mapping[str, Any] | None = None,
        *,
        to: str | None = None,
        timeout: float = 60.0,  # noqa: ASYNC109 - it holds over several connections
    ) -> EventResponse:
        """Send an event and return its answer, also over a reconnection.

        Args:
            event_name: as in "wiki.page.create".
            payload: an object.
            to: "agent:ben", "channel:general", "mod:wiki", "agent:broadcast"; without it the network's mods are asked.
            timeout: seconds after which TimeoutError is raised.

        Raises AgentError when the network has ended the agent's stay.
        """
        values = {
            "event_name": event_name,
            "source_id": self.agent_id,
            "destination_id": to,
            "payload": dict(payload or {}),
            "event_id": new_event_id(),
        }
        delay = _FIRST_DELAY
        async with asyncio.timeout(timeout):
            while True:
                line = await self._connected()
                try:
                    answer = await line.send(values)
                except _Lost:
                    # Longer each time: the server may have too much to do.
                    await asyncio.sleep(delay)
                    delay = min(delay * 2, _LONGEST_DELAY)
                    continue
                return EventResponse(
                    answer.get("success") is True, str(answer.get("message") or ""), answer.get("data"), event_name
                )

    # The connection

    async def _connected(self) -> _Line:
        async with self._changed:
            await self._changed.wait_for(lambda: self._line is not None or self._failure is not None)
        if self._failure is not None:
            raise self._failure
        assert self._line is not None
        return self._line

    async def _set(self, line: _Line | None, failure: AgentError | None = None) -> None:
        async with self._changed:
            self._line, self._failure = line, failure
            self._changed.notify_all()

    async def _keep_staying(self) -> None:
        try:
            await self._stay()
        except Exception as error:
            # Its caller waits for events, and would wait without end.
            await self._over(AgentError("failed", f"{type(error).__name__}: {error}"))

    async def _stay(self) -> None:
        """Connect, hear, and connect again, until the network ends the stay."""
        delay = _FIRST_DELAY
        while True:
            try:
                line = await self._open()
            except AgentError as refused:
                await self._over(refused)
                return
            except (OSError, http.client.HTTPException, TimeoutError) as error:
                self._refused = error if isinstance(error, _Passing) else None
                await asyncio.sleep(delay)
                delay = min(delay * 2, _LONGEST_DELAY)
                continue
            delay, self.secret = _FIRST_DELAY, line.secret
            await self._set(line)
            try:
                await line.run(self._take)
            except AgentError as ended:
                await self._over(ended)
                return
            except (OSError, http.client.HTTPException, TimeoutError) as error:
                _log.info("connection lost, trying again", agent=self.agent_id, error=str(error))
            finally:
                await line.close(leave=False)
            await self._set(None)

    async def _over(self, failure: AgentError) -> None:
        await self._set(None, failure)
        self._put(None)

    async def _open(self) -> _Line:
        joining = self._joining | ({} if self.secret is None else {"secret": self.secret})
        try:
            return await WebSocketLine.open(self.url, joining)
        except NoWebSocket:  # polling passes where WebSocket does not
            return await _HttpLine.open(self.url, joining)

    def _take(self, values: Mapping[str, Any]) -> None:
        try:
            event = Event.from_dict(values)
        except (TypeError, ValueError, AttributeError) as error:
            _log.warning("an event for the agent cannot be read", agent=self.agent_id, error=str(error))
            return
        self._put(event)

    def _put(self, event: Event | None) -> None:
        if self._events.full():
            self._events.get_nowait()
            self.lost += 1
        self._events.put_nowait(event)

    async def _end(self, *, leave: bool) -> None:
        line, task = self._line, self._task
        if line is not None and leave:
            # Without it the server notices the end of the line itself, only later.
            with contextlib.suppress(OSError, _Lost, http.client.HTTPException, TimeoutError, AgentError):
                await line.close(leave=True)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        self._line = None


class _Passing(ConnectionError):
    """A network does not let the agent in for now: it may come again soon."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def _refusal(answer: Mapping[str, Any], message: str) -> Exception:
    """Return the exception for a network that refuses the agent."""
    code = str(answer.get("code"))
    return (_Passing if code in _PASSING else AgentError)(code, message)


_PASSING = frozenset({"stopping", "restarted", "too_many_connections", "no_room"})
"""Why a server that ends, begins again, or has much to do, refuses for a moment."""


def _too_large(text: str) -> str:
    return f"a message has at most {MOST_BYTES} bytes over a WebSocket, and this one has {len(text)}"


class WebSocketLine:
    """A connection by WebSocket, registered.

    `run` gives each event for the agent to `received` until the connection is lost, and raises AgentError
    when the stay has ended. `send` returns an event's answer, or raises _Lost. `close` ends the connection;
    with `leave`, the agent is unregistered first.
    """

    def __init__(self, socket: Any, secret: str) -> None:
        self.secret = secret
        self._socket = socket
        self._waiting: dict[int, asyncio.Future[Mapping[str, Any]]] = {}
        self._number = 0
        self._leaves = False

    @classmethod
    async def open(cls, url: str, joining: Mapping[str, Any]) -> WebSocketLine:
        from websockets.asyncio.client import connect, process_exception  # type: ignore[attr-defined]  # documented
        from websockets.exceptions import ConnectionClosed, InvalidHandshake

        hello = json.dumps({"type": "register", **joining})
        if len(hello) > MOST_BYTES:
            raise AgentError("bad_metadata", _too_large(hello))
        address = f"{url.replace('http', 'ws', 1)}/ws"
        try:
            socket = await connect(address, proxy=None, max_size=None)
        except InvalidHandshake as error:
            raise NoWebSocket(lasts=process_exception(error) is not None) from error
        try:
            await socket.send(hello)
            answer = json.loads(await socket.recv())
        except ConnectionClosed as error:
            raise ConnectionError(str(error)) from error
        except BaseException:
            # Given up: the server would push into a line that has no reader.
            socket.transport.abort()
            raise
        if answer.get("type") != "registered":
            await socket.close()
            raise _refusal(answer, str(answer.get("message")))
        return cls(socket, str(answer["secret"]))

    async def run(self, received: Received) -> None:
        from websockets.exceptions import ConnectionClosed

        try:
            async for text in self._socket:
                self._heard(json.loads(text), received)
            raise ConnectionError("the server ended the connection")
        except ConnectionClosed as error:
            code = error.rcvd.code if error.rcvd is not None else None
            if code == _SUPERSEDED:
                raise AgentError("superseded", "a newer connection of the same agent took over") from error
            if code == _LEFT and not self._leaves:
                raise AgentError("unregistered", "the agent was unregistered") from error
            raise ConnectionError(str(error)) from error
        finally:
            for each in self._waiting.values():
                if not each.done():
                    each.set_exception(_Lost())

    def _heard(self, message: Mapping[str, Any], received: Received) -> None:
        kind = message.get("type")
        if kind == "event":
            received(message["event"])
            return
        number = message.get("id")
        waiting = self._waiting.get(number) if isinstance(number, int) else None
        if waiting is None or waiting.done():
            return
        if kind == "error" and message.get("code") == "restarted":
            waiting.set_exception(_Lost())
        elif kind == "error":
            data = {"code": message.get("code")}
            waiting.set_result({"success": False, "message": message.get("message"), "data": data})
        else:
            waiting.set_result(message)

    async def send(self, event: Mapping[str, Any]) -> Mapping[str, Any]:
        from websockets.exceptions import ConnectionClosed

        self._number += 1
        number = self._number
        # In this order: of a message that it cannot read a server finds the id at its beginning.
        text = json.dumps({"type": "send", "id": number, "event": dict(event)})
        if len(text) > MOST_BYTES:
            return {"success": False, "message": _too_large(text), "data": {"code": "body_too_large"}}
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            await self._socket.send(text)
            found: Mapping[str, Any] = await answer
            return found
        except ConnectionClosed as error:
            raise _Lost from error
        finally:
            del self._waiting[number]

    async def close(self, *, leave: bool) -> None:
        from websockets.exceptions import ConnectionClosed

        if leave:
            self._leaves = True
            with contextlib.suppress(ConnectionClosed):
                await self._socket.send('{"type": "unregister"}')
        await self._socket.close()


class _HttpLine:
    """The same over HTTP: a request for each event, and a long poll for the agent's events."""

    def __init__(self, url: str, agent_id: str, secret: str) -> None:
        self.secret = secret
        self._url = url
        self._agent_id = agent_id
        self._polls: http.client.HTTPConnection | None = None

    @classmethod
    async def open(cls, url: str, joining: Mapping[str, Any]) -> _HttpLine:
        answer = await _asked(_connection(url), "POST", "/api/register", joining)
        if answer.get("success") is not True:
            message = answer.get("error_message") or answer.get("message") or "the network refused the agent"
            raise _refusal(answer, str(message))
        return cls(url, str(joining["agent_id"]), str(answer["secret"]))

    async def run(self, received: Received) -> None:
        path = f"/api/poll?agent_id={quote(self._agent_id)}&secret={quote(self.secret)}"
        while True:
            self._polls = _connection(self._url, POLL_SECONDS)
            answer = await _asked(self._polls, "GET", path, None)
            if answer.get("success") is not True:
                raise ConnectionError(str(answer.get("error_message")))
            for each in answer.get("messages", ()):
                received(each)

    async def send(self, event: Mapping[str, Any]) -> Mapping[str, Any]:
        body = {**event, "secret": self.secret}
        try:
            answer = await _asked(_connection(self._url, POLL_SECONDS), "POST", "/api/send_event", body)
        except (OSError, http.client.HTTPException) as error:
            raise _Lost from error
        if answer.get("code") in {"not_proven", *_PASSING}:
            # A server that was killed may have forgotten the agent: its poll finds out, and registers again.
            raise _Lost
        return answer

    async def close(self, *, leave: bool) -> None:
        if leave:
            body = {"agent_id": self._agent_id, "secret": self.secret}
            await _asked(_connection(self._url), "POST", "/api/unregister", body)
        if self._polls is not None and self._polls.sock is not None:
            # Ends the poll that a thread waits for.
            with contextlib.suppress(OSError):
                self._polls.sock.shutdown(2)


_Line = WebSocketLine | _HttpLine


def _running_here() -> str | None:
    """Return the address of the network that runs in the working directory or above, as its server wrote it; only
    what this user owns is believed."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        try:
            with open(folder / ".oa-dev" / "run.json", encoding="utf-8") as file:
                if os.fstat(file.fileno()).st_uid == os.getuid():
                    return str(json.load(file)["url"])
        except (OSError, ValueError, KeyError, TypeError):
            continue  # none there, or one that is just being written
    return None


def _connection(url: str, seconds: float = 10.0) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(parts.hostname or "127.0.0.1", parts.port, timeout=seconds)


def _asked(
    connection: http.client.HTTPConnection, method: str, path: str, body: object
) -> Awaitable[Mapping[str, Any]]:
    """Make a request in a thread. Raises OSError and HTTPException for any answer but an object."""

    def ask() -> Mapping[str, Any]:
        try:
            data = None if body is None else json.dumps(body).encode()
            own = {"Content-Type": "application/json"} if data is not None else {}
            connection.request(method, path, data, own)
            answer = json.loads(connection.getresponse().read())
        except ValueError as error:
            raise http.client.HTTPException("the answer is not JSON") from error
        finally:
            connection.close()
        if not isinstance(answer, dict):
            raise http.client.HTTPException("the answer is not an object")
        return answer

    return asyncio.to_thread(ask)
