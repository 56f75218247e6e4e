"""What is measured: reloads under load with a thousand connections open, and what an idle one costs."""

from __future__ import annotations

import asyncio
import json
import resource
import struct
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from live import Agent, Live, Site, Wire, serving

WORK = '@mod_event_handler("work.version.get")\nasync def version(self, event):\n    return {{"version": {0}}}'
SHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)

pytestmark = pytest.mark.slow


def framed(values: dict[str, object]) -> bytes:
    """A message as a masked frame."""
    data = json.dumps(values).encode()
    return struct.pack("!BBH", 0x81, 0x80 | 126, len(data)) + b"\0\0\0\0" + data


class Lines:
    """So many agents on WebSockets, in one thread; each line is raw, and never comes back once it has ended."""

    def __init__(self, live: Live) -> None:
        self._port, self._token = live.port, live.token
        self._opened = 0
        self._lines: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def open(self, count: int) -> None:
        """Register so many more, as the admin, to whom no rate applies."""
        last = self._opened + count
        while self._opened < last:
            some = range(self._opened, min(self._opened + 50, last))
            await asyncio.gather(*(self._join(number) for number in some))
            self._opened = some.stop

    async def _join(self, number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        head = (SHAKE % self._port).removesuffix(b"\r\n") + f"Authorization: Bearer {self._token}\r\n\r\n".encode()
        writer.write(head)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
        writer.write(framed({"type": "register", "agent_id": f"idle{number}"}))
        await reader.readuntil(b"resumed")
        self._lines.append((reader, writer))

    def ended(self) -> int:
        """How many the other side has ended."""
        return sum(reader.at_eof() or writer.is_closing() for reader, writer in self._lines)

    def close(self) -> None:
        """End them all."""
        for _, writer in self._lines:
            writer.transport.abort()


async def test_two_hundred_reloads_drop_nobody_and_fail_nothing(site: Site) -> None:
    """With a thousand WebSockets open, and eight keep-alive connections that ask all the time."""
    site.mod("work", WORK.format(0))
    site.settings = {"max_connections": 5000}
    with serving(site) as live, ThreadPoolExecutor(10) as pool:
        lines = Lines(live)
        await lines.open(1000)
        over = asyncio.Event()
        asking = [pool.submit(keep_asking, live, live.join(f"a{n}"), over) for n in range(8)]
        for number in range(1, 201):
            mark = live.mark()
            site.mod("work", WORK.format(number))
            outcome = await asyncio.to_thread(live.line, "outcome", mark, mod_id="work")
            assert (outcome["status"], outcome["agents"]["dropped"]) == ("applied", 0)
        over.set()
        versions = [await asyncio.wrap_future(each) for each in asking]
        assert lines.ended() == 0
        lines.close()
    assert all(each == sorted(each) for each in versions)
    assert len({version for each in versions for version in each}) > 100


def keep_asking(live: Live, agent: Agent, over: asyncio.Event) -> list[int]:
    """Ask over one connection until it is over; the versions that answered. A dropped connection is an error."""
    wire, seen = Wire(live.port), []
    body = json.dumps({"event_name": "work.version.get", "source_id": agent.agent_id, "secret": agent.secret})
    head = f"POST /api/send_event HTTP/1.1\r\nHost: 127.0.0.1:{live.port}\r\nContent-Type: application/json\r\n"
    while not over.is_set():
        wire.send(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        seen.append(wire.answer().json["data"]["version"])
    wire.close()
    return seen


async def test_ten_thousand_idle_lines_cost_little(site: Site) -> None:
    """At most 20 KiB each, and health answers as if they were not there."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(10_000, files - 1000)
    if count < 2000:
        pytest.skip(f"only {files} files may be open here")
    site.mod("work", "pass")
    site.settings = {"max_connections": 20_000}
    with serving(site) as live:
        lines = Lines(live)
        await lines.open(500)
        before = live.resident()
        await lines.open(count - 500)
        each = (live.resident() - before) / (count - 500)
        waits = sorted([timed_health(live) for _ in range(300)])
        print(f"{count} idle lines: {each / 1024:.1f} KiB each, health p99 {waits[-3] * 1000:.1f} ms")
        assert each < 20 * 1024
        assert lines.ended() == 0
        lines.close()
        await asyncio.to_thread(live.until, lambda: live.descriptors() < 200)


def timed_health(live: Live) -> float:
    """How many seconds health takes, connecting included."""
    began = time.perf_counter()
    assert live.healthy()
    return time.perf_counter() - began
