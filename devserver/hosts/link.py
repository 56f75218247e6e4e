"""The connection to the engine, and the only file that knows nats-py.

Asks, publishes, stores and listens; says when the engine is away and when it is back. Runs on the control loop. What is
sent while the engine is away fails at once: no message waits in a buffer unseen.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nats.aio.client import Client
from nats.errors import Error, MaxPayloadError, NoRespondersError
from nats.errors import TimeoutError as Late
from nats.js import api
from nats.js.errors import APIError, NotFoundError

from devserver.errors import DevServerError
from devserver.hosts.credentials import Credentials, tls_of
from devserver.hosts.names import READ_ONLY
from devserver.model.encoding import from_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription
    from nats.js import JetStreamContext

WIRE = 3
"""The number of what hosts say to each other. Hosts of another number are refused."""

CONNECT_SECONDS = 5.0
STORE_SECONDS = 5.0
_PENDING_BYTES = 1024 * 1024
_MOST_MESSAGES, _MOST_BYTES = 20_000, 64 * 1024 * 1024
MOST_UNREAD = 300_000
"""How many messages of its queue a host has without their receivers having read them: more than its outboxes hold, so
that agents that read nothing do not keep what comes from the others."""
_PING_SECONDS = 0.5
_MOST_SUBJECT = 3_800
"""The engine ends a connection whose line is longer than 4,096 bytes, the subject and what stands beside it."""
_WRONG_LAST = 10071
"""The engine's number for: another value of this key has been written meanwhile."""
_FULL = frozenset({10047, 10077})


class EngineAway(DevServerError):
    """The engine does not answer."""


class NoHost(DevServerError):
    """The host that was asked is not connected to the engine."""


class NoAnswer(DevServerError):
    """A host did not answer in time. It may have done what it was asked for."""


class Conflict(DevServerError):
    """Another host has changed the same key meanwhile."""


class QueueFull(DevServerError):
    """The engine keeps as much as it may."""


class EngineRefused(DevServerError):
    """The engine refuses what was asked, most often for want of a right."""


@dataclass(frozen=True, slots=True)
class Message:
    """What came on a subject. `revision`: its number in its stream; 0 outside of one."""

    subject: str
    data: bytes
    headers: Mapping[str, str]
    reply: str = ""
    revision: int = 0
    waiting: int = 0
    """How many messages of the stream wait behind it."""

    @property
    def is_deletion(self) -> bool:
        """Whether it says that a key is gone."""
        return self.headers.get("KV-Operation") in ("DEL", "PURGE")


Heard = Callable[[Message], Awaitable[None]]
"""Told of each message of a subscription, one after the other."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What a stream holds: the number of its last message, of messages, of bytes."""

    last: int
    messages: int
    bytes: int


class Listening:
    """A subscription, until `end`."""

    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription

    @property
    def waiting(self) -> int:
        """How many messages have come that are not heard yet."""
        return self._subscription.pending_msgs

    async def end(self) -> None:
        """Hear nothing more. Never raises: without a connection there is nothing to end."""
        try:
            await self._subscription.unsubscribe()
        except Error:
            pass


class Link:
    """One connection to an engine. Connects again by itself, for as long as it takes. `reads_only`:
    the stream that lies in another account, and can be read from here."""

    def __init__(self, url: str, credentials: Credentials, *, name: str, reads_only: str = "") -> None:
        self.url = url
        self.name = name
        """What this host is called; the engine shows it in its own statistics."""
        self.on_away: list[Callable[[], None]] = []
        """Called when the engine does not answer any more."""
        self.on_back: list[Callable[[float], Awaitable[None]]] = []
        """Called when it answers again, with the seconds that it was away: what ended meanwhile is made again here."""
        self.on_refused: list[Callable[[str], None]] = []
        """Told the words of an engine that refuses something."""
        self.away_since: float | None = None
        """When the engine was last heard from, on the monotonic clock, where it is away."""
        self._credentials = credentials
        self._client = Client()
        self._lost: asyncio.Future[None]
        """What is done once the connection is lost."""
        self._storing: dict[int, tuple[str, asyncio.Future[Msg | DevServerError]]] = {}
        """What is done once the engine has kept, or refused, a message to that subject; by number."""
        self._number = 0
        self._inbox = ""
        """The beginning of the subjects where the engine says that."""
        self._reads_only = reads_only
        self._js: JetStreamContext | None = None
        self._other: JetStreamContext | None = None

    @property
    def connected(self) -> bool:
        """Whether the engine answers, and those that wait for it are told."""
        # The client says so a moment before: what was lost with the last connection is not renewed yet.
        return self._client.is_connected and self.away_since is None

    @property
    def version(self) -> str:
        """The engine's version."""
        return str(self._client.connected_server_version).strip("<>").removeprefix("nats server v")

    @property
    def most_bytes(self) -> int:
        """The largest message that the engine takes."""
        return int(self._client.max_payload)

    async def connect(self) -> None:
        """Connect. Raises EngineAway; EngineRefused for credentials that it does not know; BadCredentials."""
        prefix = f"_INBOX_{self._credentials.user}"
        connecting = self._client.connect(
            self.url,
            name=f"oa-dev {self.name}",
            user=self._credentials.user,
            password=self._credentials.password,
            tls=tls_of(self.url, self._credentials),
            inbox_prefix=prefix,
            error_cb=self._failed,
            disconnected_cb=self._gone,
            reconnected_cb=self._back,
            reconnect_time_wait=0.05,  # type: ignore[arg-type]  # takes seconds of any kind
            max_reconnect_attempts=-1,
            connect_timeout=2,
            ping_interval=_PING_SECONDS,  # type: ignore[arg-type]
            max_outstanding_pings=2,
            pending_size=_PENDING_BYTES,
        )
        self._problem: Exception | None = None
        self._lost = asyncio.get_running_loop().create_future()
        try:
            await asyncio.wait_for(connecting, CONNECT_SECONDS)
        except (TimeoutError, OSError, Error) as error:
            reason = self._problem or self._client.last_error or error
            await self.close()
            if "uthorization" in str(reason):
                raise EngineRefused(f"the engine at {self.url} does not know these credentials") from error
            raise EngineAway(f"no engine answers at {self.url}: {reason or 'it took too long'}") from error
        self._js = self._client.jetstream(timeout=STORE_SECONDS)
        self._other = self._client.jetstream(prefix=READ_ONLY, timeout=STORE_SECONDS)
        self._inbox = self.new_inbox()
        try:
            with self._speaking():
                await self._client.subscribe(f"{self._inbox}.*", cb=self._kept)
        except BaseException:
            # It would connect again without end.
            await self.close()
            raise

    async def close(self) -> None:
        """End. What is on its way is sent before."""
        self.on_away.clear()
        self.on_back.clear()
        try:
            await asyncio.wait_for(self._client.close(), 2.0)
        except (TimeoutError, Error, OSError):
            pass

    # Subjects

    async def publish(self, subject: str, data: bytes, *, reply: str = "") -> None:
        """Tell all that listen now. Raises EngineAway."""
        # Without `_speaking`: this is on the way of every ask.
        if not self.connected:
            raise EngineAway(f"the engine at {self.url} is unreachable")
        try:
            await self._client.publish(subject, data, reply=reply)
        except (Error, OSError) as error:
            raise EngineAway(f"the engine at {self.url} is unreachable: {error}") from error

    def new_inbox(self) -> str:
        """Return the beginning of subjects where this host alone hears answers."""
        return self._client.new_inbox()

    async def request(self, subject: str, data: bytes, *, seconds: float) -> bytes:
        """Ask, and wait for the answer. Raises NoHost, NoAnswer, EngineAway."""
        with self._speaking():
            return bytes((await self._client.request(subject, data, timeout=seconds)).data)

    async def subscribe(self, subject: str, heard: Heard) -> Listening:
        """Hear what comes on a subject. Lasts over the engine's absence. Raises EngineAway."""

        async def told(message: Msg) -> None:
            await heard(_message(message))

        with self._speaking():
            subscription = await self._client.subscribe(
                subject, cb=told, pending_msgs_limit=_MOST_MESSAGES, pending_bytes_limit=_MOST_BYTES
            )
        return Listening(subscription)

    async def flush(self) -> None:
        """Wait until the engine has all that was sent. Raises EngineAway."""
        with self._speaking():
            await self._client.flush(timeout=2)

    # Streams and buckets

    async def make_bucket(self, name: str) -> None:
        """Make a bucket: on file, the last value of each key. One that is there stays. Raises EngineRefused."""
        with self._speaking():
            await self._context.create_key_value(bucket=name, history=1, storage=api.StorageType.FILE, direct=True)

    async def make_queue(self, name: str, subject: str, *, seconds: float, most_bytes: int) -> None:
        """Make a stream that keeps each message until it is taken; when it is full it takes no new one."""
        config = api.StreamConfig(
            name=name,
            subjects=[subject],
            retention=api.RetentionPolicy.WORK_QUEUE,
            storage=api.StorageType.FILE,
            discard=api.DiscardPolicy.NEW,
            max_age=seconds,
            max_bytes=most_bytes,
            duplicate_window=120.0,
        )
        with self._speaking():
            try:
                await self._context.add_stream(config)
            except APIError as error:
                if error.err_code != 10058:  # it is there, made by a version with other limits: these are taken
                    raise
                await self._context.update_stream(config)

    async def store(
        self, subject: str, data: bytes, *, message_id: str = "", last: int | None = None, deletes: bool = False
    ) -> int:
        """Have a message kept, and return its revision once it is on disk.

        Arguments: `message_id`, by which a repeat within two minutes is dropped; `last`, the revision that the key
        must still have (0: none); `deletes`, whether it says that the key is gone. Raises Conflict, QueueFull,
        EngineAway (the message may have been kept), EngineRefused.
        """
        if len(subject) > _MOST_SUBJECT:
            raise EngineRefused(f"its name takes more than {_MOST_SUBJECT} characters")
        headers: dict[str, Any] = {"Nats-Msg-Id": message_id} if message_id else {}
        if last is not None:
            headers["Nats-Expected-Last-Subject-Sequence"] = str(last)
        if deletes:
            headers["KV-Operation"] = "DEL"
        # Not by nats-py's own way, which takes half as much processor time again, and knows of no refusal.
        loop = asyncio.get_running_loop()
        self._number = number = self._number + 1
        told: asyncio.Future[Msg | DevServerError] = loop.create_future()
        self._storing[number] = subject, told
        late = loop.call_later(STORE_SECONDS, _settle, told, NoAnswer("no answer in time"))
        try:
            with self._speaking():
                await self._client.publish(subject, data, reply=f"{self._inbox}.{number}", headers=headers or None)
            return _stored(await told)
        finally:
            late.cancel()
            del self._storing[number]

    async def _kept(self, message: Msg) -> None:
        storing = self._storing.get(int(message.subject.rpartition(".")[2]))
        if storing is not None:
            _settle(storing[1], message)

    async def stored(self, stream: str) -> Stored:
        """Return what a stream holds. Raises EngineAway, EngineRefused."""
        with self._speaking():
            state = (await self._reading(stream).stream_info(stream)).state
        return Stored(int(state.last_seq), int(state.messages), int(state.bytes))

    async def last_value(self, stream: str, subject: str) -> Message | None:
        """Return a key's last value, also if it is gone. Raises EngineAway, EngineRefused."""
        with self._speaking():
            try:
                return _read_value(await self._reading(stream).get_last_msg(stream, subject, direct=True))
            except NotFoundError:
                return None

    async def last_values(self, stream: str, subject: str) -> list[Message]:
        """Return the last value of each key, by revision. Raises EngineAway, EngineRefused.

        Read one by one: a consumer could be made to send what it reads to any subject, so hosts may
        make none here.
        """
        found: list[Message] = []
        with self._speaking():
            while True:
                after = found[-1].revision + 1 if found else 1
                try:
                    each = await self._reading(stream).get_msg(
                        stream, seq=after, subject=subject, direct=True, next=True
                    )
                except NotFoundError:
                    return found
                found.append(_read_value(each))

    async def consume(
        self, stream: str, consumer: str, subject: str, heard: Heard, *, most: int = _MOST_MESSAGES
    ) -> Listening:
        """Take what a queue keeps for a subject, all that was not taken before included, in order.

        An earlier consumer of the same name gets nothing more. Each message stays until `take` of its
        `reply`. Ends with the connection: what the engine sends to the next one comes behind what it
        has sent to this one in vain. `most`: how many of them come before the first is taken. Raises
        EngineAway, EngineRefused.
        """
        lost = self._lost

        async def told(message: Msg) -> None:
            if not lost.done():
                await heard(_message(message))

        config = api.ConsumerConfig(
            durable_name=consumer,
            ack_policy=api.AckPolicy.EXPLICIT,
            ack_wait=3600.0,  # a message waits for its agent: it comes again with the next consumer
            max_ack_pending=most,
        )
        with self._speaking():
            try:
                await self._context.delete_consumer(stream, consumer)
            except NotFoundError:  # the first time it finds nothing to end
                pass
            subscription = await self._context.subscribe(
                subject, stream=stream, config=config, cb=told, manual_ack=True
            )
        return Listening(subscription)

    async def take(self, reply: str) -> None:
        """Say that a message of a queue has been taken. Raises EngineAway: it then comes again."""
        await self.publish(reply, b"+ACK")

    async def left(self, stream: str, consumer: str) -> int:
        """Return how many messages wait for a consumer. Raises EngineAway, EngineRefused."""
        with self._speaking():
            return int((await self._context.consumer_info(stream, consumer)).num_pending or 0)

    @property
    def _context(self) -> JetStreamContext:
        assert self._js is not None, "connect first"
        return self._js

    def _reading(self, stream: str) -> JetStreamContext:
        return self._other if stream == self._reads_only and self._other is not None else self._context

    @contextmanager
    def _speaking(self) -> Iterator[None]:
        """What nats-py raises becomes one of the errors above."""
        if not self.connected:
            raise EngineAway(f"the engine at {self.url} is unreachable")
        try:
            yield
        except NoRespondersError as error:
            raise NoHost("no host answers there") from error
        except MaxPayloadError as error:
            raise EngineRefused(f"the engine takes no message of more than {self.most_bytes} bytes") from error
        except APIError as error:
            raise EngineRefused(f"the engine refuses: {error.description}") from error
        except (Late, TimeoutError) as error:
            if not self.connected:
                raise EngineAway(f"the engine at {self.url} is unreachable") from error
            raise NoAnswer("no answer in time") from error
        except (Error, OSError) as error:
            raise EngineAway(f"the engine at {self.url} is unreachable: {error}") from error

    async def _failed(self, error: Exception) -> None:
        self._problem = error
        if "permissions violation" in str(error):
            # It says the subject in small letters.
            refused = str(error).partition('"')[2].rstrip('"')
            for subject, storing in self._storing.values():
                if subject.lower() == refused:
                    _settle(storing, EngineRefused(f"the engine lets {self.name} not write there"))
            for told in tuple(self.on_refused):
                told(str(error))

    async def _gone(self) -> None:
        if self.away_since is None:
            self.away_since = time.monotonic()
            self._lost.set_result(None)
            for _, storing in self._storing.values():
                # No answer comes any more to what was on its way.
                _settle(storing, EngineAway(f"the engine at {self.url} was lost"))
            for told in tuple(self.on_away):
                told()

    async def _back(self) -> None:
        since, self.away_since = self.away_since, None
        self._lost = asyncio.get_running_loop().create_future()
        for told in tuple(self.on_back):
            await told(0.0 if since is None else time.monotonic() - since)


def _settle(told: asyncio.Future[Msg | DevServerError], what: Msg | DevServerError) -> None:
    if not told.done():
        told.set_result(what)


def _stored(told: Msg | DevServerError) -> int:
    """Return the revision of a message that the engine has kept. Raises why it has not."""
    if isinstance(told, DevServerError):
        raise told
    if (told.headers or {}).get("Status") == "503":
        raise EngineRefused("the engine keeps nothing under this name, or this host may not write there")
    values = from_json(told.data)
    error = values.get("error")
    if error is None:
        return int(values["seq"])
    if error.get("err_code") == _WRONG_LAST:
        raise Conflict("another host was first")
    if error.get("err_code") in _FULL:
        raise QueueFull(error.get("description") or "full")
    raise EngineRefused(f"the engine refuses: {error.get('description')}")


def _read_value(message: api.RawStreamMsg) -> Message:
    return Message(message.subject or "", message.data or b"", message.headers or {}, "", int(message.seq or 0))


def _message(message: Msg) -> Message:
    revision = waiting = 0
    if message.reply.startswith("$JS.ACK."):
        facts = message.metadata
        revision, waiting = int(facts.sequence.stream), int(facts.num_pending or 0)
    return Message(message.subject, bytes(message.data), message.headers or {}, message.reply, revision, waiting)
