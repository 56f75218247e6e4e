"""A WebSocket on one connection: messages in, one at a time, messages out, and its end.

The library `websockets` reads and writes the frames. The holder of the socket has further limits:
how long a client may not read or not answer, and in how many pieces a message may come. `push`
speaks on it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING

from websockets.datastructures import Headers
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import Protocol as Frames
from websockets.protocol import Side, State
from websockets.server import ServerProtocol

from devserver.model.principal import Principal
from devserver.transports.http.answers import PROTECTING_HEADERS, Answer, refused
from devserver.transports.http.channel import Channel, Deadline
from devserver.transports.http.gate import MOST_BODY, Verdict
from devserver.transports.http.handover import HandedConnection

if TYPE_CHECKING:
    import asyncio

    from devserver.transports.http.push import Session
    from devserver.transports.http.serving import HttpServer

PING_SECONDS = 20.0
"""Seconds of silence until the client is asked whether it is there, and then to answer."""
PARTING_SECONDS = 3.0
"""Seconds that a client which was cut off has to read its last messages and the reason."""
CLOSING_SECONDS = 10.0
"""Seconds that a client has to answer the closing of its line."""
# Each fragment is an object that is kept until the last one of its message has come.
MOST_FRAGMENTS = 1024

NOT_TEXT, NOT_UTF8, POLICY, TOO_BIG, SILENT, RESTARTING, AGAIN = 1003, 1007, 1008, 1009, 1011, 1012, 1013
SLOW_CONSUMER = 4002
_MOST_LINE = 8192 - 64
_MOST_FRAME = MOST_BODY + 14
# At debug level the library would log every message, and the first one holds a secret.
_log = logging.getLogger("devserver.frames")
_log.setLevel(logging.WARNING)
_KEY = re.compile(rb"[A-Za-z0-9+/]{22}==")


class WebSocket(Channel):
    """One WebSocket of a client; `principal` and `who` as its handshake proved them."""

    __slots__ = (
        "_deadline",
        "_fragments",
        "_frames",
        "_handed",
        "_is_held",
        "_is_text",
        "_partial",
        "_was_asked",
        "agent_id",
        "principal",
        "speaker",
        "was_cut_off",
        "who",
    )

    parting_seconds = PARTING_SECONDS
    ping_seconds = PING_SECONDS

    def __init__(
        self, server: HttpServer, principal: Principal, who: str, handed: HandedConnection | None = None
    ) -> None:
        super().__init__(server)
        self.principal = principal
        self.who = who
        self.speaker: Session | None = None
        self.agent_id = handed.agent_id if handed is not None else None
        """The agent that had registered on it before the server was restarted."""
        self._handed = handed
        self._frames = Frames(Side.SERVER, state=State.OPEN, max_size=MOST_BODY, logger=_log)
        self._fragments: list[bytes] = []
        self._partial = 0
        """Their bytes."""
        self._is_text = True
        self._is_held = False
        self.was_cut_off = False
        """Whether it ended because its client did not read."""
        self._was_asked = False
        self._deadline = Deadline(self._due)
        self._deadline.set(self.ping_seconds)

    # The connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Continue after another server."""
        super().connection_made(transport)
        handed, self._handed = self._handed, None
        if handed is None:
            return
        self.write(handed.unsent)
        if handed.ends:
            self.finish()
            return
        self.unread += handed.received
        self.server.open_socket(self)
        self.go_on()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._deadline.end()
        self._forget_fragments()
        self._end_speaker()

    def shut(self) -> None:
        """Say that the server ends and may be back soon."""
        self.close(RESTARTING)

    @property
    def size(self) -> int:
        """The bytes that are held for it, with those of incomplete or unanswered messages."""
        return super().size + self._partial + (self.speaker.size if self.speaker is not None else 0)

    @property
    def owner(self) -> str:
        """The agent that has registered on it; before that, its address."""
        return self.speaker_id or super().owner

    @property
    def speaker_id(self) -> str | None:
        """The agent that speaks on it, or did so before the server was restarted."""
        return self.speaker.agent_id if self.speaker is not None else self.agent_id

    def refuse_more(self) -> None:
        """Tell the reason, and end."""
        if self.is_sending:
            self.cut_off()
        else:
            self.close(AGAIN, "too many bytes wait on connections")

    def is_working(self) -> bool:
        """Return whether messages run that are not answered."""
        return self.speaker is not None and self.speaker.is_working()

    def handed(self) -> HandedConnection | None:
        """Return its values for a successor: an incomplete message as one first fragment, those in
        flight answered with an error."""
        if self.transport.is_closing():
            return None
        received, unsent = bytes(self.unread), self.unsent()
        if self._fragments:
            kind = Opcode.TEXT if self._is_text else Opcode.BINARY
            received = _masked(kind, b"".join(self._fragments), whole=False) + received
        if self.speaker is not None:
            again, errors = self.speaker.unanswered()
            received = b"".join(_masked(Opcode.TEXT, each) for each in again) + received
            unsent += b"".join(Frame(Opcode.TEXT, each).serialize(mask=False, extensions=[]) for each in errors)
        return HandedConnection(
            descriptor=self.transport.get_extra_info("socket").fileno(),
            kind="websocket",
            received=received,
            unsent=unsent,
            ends=not self.is_open or self._ends,
            agent_id=self.speaker_id,
            principal=self.principal,
            who=self.who,
        )

    @property
    def is_open(self) -> bool:
        """Whether neither side has begun to close it."""
        return self._frames.state is State.OPEN

    @property
    def is_busy(self) -> bool:
        """Whether a message is being processed, or the client does not read: it is not read."""
        return self.is_open and (self._is_held or self.is_sending)

    def hold(self) -> None:
        """Hear nothing more until `release`."""
        self._is_held = True

    def release(self) -> None:
        """Hear again."""
        self._is_held = False
        self.look_further()

    def rest(self, seconds: float) -> None:
        """Hear nothing for a while."""
        self.hold()
        self.server.loop.call_later(seconds, self.release)

    def sent(self) -> None:
        """Continue in both directions."""
        if self.speaker is not None and self.is_open:
            self.speaker.sent()
        super().sent()

    # Messages in

    def buffer_updated(self, nbytes: int) -> None:
        """Take read bytes, which are a sign of life, too."""
        if self.is_open:
            self._was_asked = False
            self._deadline.set(self.ping_seconds)
        super().buffer_updated(nbytes)

    def step(self) -> bool:
        """Take one frame."""
        size = frame_size(self.unread)
        if size is None or len(self.unread) < size <= _MOST_FRAME:
            return False
        # A too large one is refused by its head.
        self._frames.receive_data(bytes(self.unread[:size]))
        del self.unread[:size]
        for event in self._frames.events_received():
            if isinstance(event, Frame) and self.is_open:
                self._take(event)
        self._flush()
        return True

    def _take(self, frame: Frame) -> None:
        if frame.opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            return  # pings and closings are answered by the library, pongs are signs of life
        if frame.opcode is not Opcode.CONT:
            self._is_text = frame.opcode is Opcode.TEXT
        self._fragments.append(bytes(frame.data))
        self._partial += len(frame.data)
        if len(self._fragments) > MOST_FRAGMENTS:
            self._fail(TOO_BIG, "too many fragments")
        elif frame.fin:
            message = b"".join(self._fragments)
            self._forget_fragments()
            self._hear(message)

    def _forget_fragments(self) -> None:
        self._fragments.clear()
        self._partial = 0

    def _hear(self, message: bytes) -> None:
        if not self._is_text:
            self.close(NOT_TEXT)
        elif not _is_utf8(message):
            self._fail(NOT_UTF8, "not UTF-8")
        elif self.speaker is not None:
            self.speaker.heard(message)

    # Messages out, and the end

    def say(self, raw: bytes) -> None:
        """Send a message, unless the line has ended."""
        if self.is_open and not self.transport.is_closing():
            self._frames.send_text(raw)
            self._flush()

    def close(self, code: int, reason: str = "") -> None:
        """End the line, if it has not ended; its client has some seconds to answer that."""
        if not self.is_open:
            return
        self._frames.send_close(code, reason)
        self._flush()
        self._deadline.set(CLOSING_SECONDS)
        self._end_speaker()
        # The client's answer to the closing is yet to be read.
        self.adjust_reading(True)

    def _fail(self, code: int, reason: str) -> None:
        self._forget_fragments()
        self._frames.fail(code, reason)

    def cut_off(self) -> None:
        """Tell a client that does not read why it is cut off, and give it seconds to read it."""
        if self.is_open:
            self.was_cut_off = True
            self.close(SLOW_CONSUMER, "slow_consumer")
            self._deadline.set(self.parting_seconds)
            self.finish()

    def _due(self) -> None:
        """Ask a silent client whether it is there; end a line whose client does not."""
        if not self.is_open:
            self.transport.abort()
        elif not self._was_asked:
            self._was_asked = True
            self._frames.send_ping(b"")
            self._deadline.set(self.ping_seconds)
            self._flush()
        else:
            self._fail(SILENT, "keepalive ping timeout")
            self._flush()

    def _flush(self) -> None:
        for data in self._frames.data_to_send():
            if data:
                self.write(data)
            else:
                # The library's sign for the end of our messages.
                self._deadline.set(self.parting_seconds)
                self.finish()
                self._end_speaker()

    def _end_speaker(self) -> None:
        if self.speaker is not None:
            self.speaker.ended()


def frame_size(data: bytearray) -> int | None:
    """Return how many bytes the first frame in `data` has, with its head; None if incomplete."""
    if len(data) < 2:
        return None
    length, head = data[1] & 0x7F, 6 if data[1] & 0x80 else 2
    wide = {126: 2, 127: 8}.get(length, 0)
    if wide:
        if len(data) < 2 + wide:
            return None
        length = int.from_bytes(data[2 : 2 + wide], "big")
    return head + wide + length


def _masked(opcode: Opcode, data: bytes, *, whole: bool = True) -> bytes:
    """Return a frame as a client sends it."""
    return Frame(opcode, data, fin=whole).serialize(mask=True, extensions=[])


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def opened(target: bytes, headers: Sequence[tuple[bytes, bytes]]) -> bytes | Answer:
    """Return the library's answer to a handshake, as bytes if it agrees to one, with the headers of
    all our answers.

    A refusal of its own is sent like all our answers.
    """
    named = Headers()
    for name, value in headers:
        named[name.decode("latin-1")] = value.decode("latin-1")
    response = ServerProtocol().accept(Request(target.decode("ascii"), named))
    if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
        return refused("bad_websocket", "this is not a WebSocket handshake", response.status_code)
    for key, content in PROTECTING_HEADERS:
        response.headers[key.decode()] = content.decode()
    return response.serialize()


def handshake_problem(
    method: str, target: bytes, headers: Mapping[bytes, tuple[bytes, ...]], *, is_current: bool
) -> Verdict | None:
    """Return the problem of a WebSocket handshake that the gate admits; `is_current`: whether it came as
    HTTP/1.1."""
    if method != "GET" or not is_current or b"content-length" in headers or b"transfer-encoding" in headers:
        return Verdict(400, "bad_websocket", "a WebSocket handshake is a GET without a body, in HTTP/1.1")
    if len(target) > _MOST_LINE:
        return Verdict(414, "target_too_long", f"the target of a WebSocket has at most {_MOST_LINE} bytes")
    if any(len(name) + len(value) > _MOST_LINE for name, values in headers.items() for value in values):
        return Verdict(431, "headers_too_large", f"the headers of a WebSocket have at most {_MOST_LINE} bytes each")
    if headers.get(b"sec-websocket-version") != (b"13",):
        asked = ((b"sec-websocket-version", b"13"),)
        return Verdict(426, "bad_websocket_version", "the WebSocket version spoken here is 13", asked)
    keys = headers.get(b"sec-websocket-key", ())
    if len(keys) != 1 or _KEY.fullmatch(keys[0]) is None:
        sentence = "a WebSocket handshake has one Sec-WebSocket-Key of 16 bytes in base64"
        return Verdict(400, "bad_websocket_key", sentence)
    return None
