"""What the system and other processes do to a server: it goes on, or comes back, or ends as it was asked to."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from textwrap import dedent

import pytest
import websockets.sync.client as websocket
from invariants import log_faults
from live import Agent, Json, Live, Site, Wire, serving, start

from devserver.server.process_limits import raised_files

HELLO = '@mod_event_handler("work.hello.get")\nasync def hello(self, event):\n    return {"version": %d}'
FEW_FILES = ("sh", "-c", 'ulimit -n 64 && exec "$0" "$@"')


def hello(live: Live, agent_id: str) -> Json:
    """What the mod answers a new agent."""
    return dict(live.join(agent_id).send("work.hello.get")["data"])


def test_a_crowd_without_end_leaves_room_for_health_and_for_reloads(site: Site) -> None:
    """With 64 file descriptors and a hundred idle connections; and when these have gone, all is as before."""
    site.mod("work", HELLO % 1)
    with serving(site, wrapper=FEW_FILES) as live:
        wire, crowd = live.wire(), []
        for _ in range(100):
            crowd.append(live.wire())
        live.until(lambda: _is_alive(live))
        mark = live.mark()
        site.mod("work", HELLO % 2)
        assert live.line("outcome", mark, mod_id="work")["status"] == "applied"
        for each in crowd:
            each.close()
        live.until(lambda: live.descriptors() < 40)
        assert hello(live, "ana") == {"version": 2}
        assert len(live.log().splitlines()) < 20
        wire.close()


def _is_alive(live: Live) -> bool:
    try:
        return live.healthy()
    except (ConnectionError, TimeoutError):
        return False


@pytest.mark.slow
def test_a_server_has_room_and_leaves_no_core(site: Site) -> None:
    """It takes as many descriptors as it may, up to a bound, and a crash of it writes no secrets to the disk."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    site.mod("work", HELLO % 1)
    with serving(site, wrapper=("sh", "-c", 'ulimit -S -n 256 && exec "$0" "$@"')) as live:
        text = Path(f"/proc/{live.process.pid}/limits").read_text()
        limits = {line[:26].strip(): line[26:].split() for line in text.splitlines()}
        assert int(limits["Max open files"][0]) == raised_files(256, hard)
        assert limits["Max core file size"][0] == "0"


def test_the_collector_does_not_look_through_the_server_itself(site: Site) -> None:
    """What lives as long as the process is set apart before a mod is loaded; what a mod made is collected as ever."""
    count = """
    @mod_event_handler("work.frozen.get")
    async def frozen(self, event):
        import gc
        return {"frozen": gc.get_freeze_count(), "mine": any(each is type(self) for each in gc.get_objects())}
    """
    site.mod("work", dedent(count))
    with serving(site) as live:
        found = live.join("ana").send("work.frozen.get")["data"]
        assert found["frozen"] > 10_000 and found["mine"]


@pytest.mark.parametrize(
    ("soft", "hard", "raised"),
    [
        (1024, 4096, 4096),
        (1024, 1_048_576, 65_536),
        (1024, resource.RLIM_INFINITY, 65_536),
        (100_000, 1_048_576, 100_000),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, resource.RLIM_INFINITY),
    ],
)
def test_the_room_is_as_wide_as_allowed_and_useful(soft: int, hard: int, raised: int) -> None:
    """Never less than there was."""
    assert raised_files(soft, hard) == raised


def test_five_hundred_slow_heads_are_given_up(site: Site) -> None:
    """None of them is open after eleven seconds of one byte now and then; others are answered all the time."""
    site.mod("work", HELLO % 1)
    with serving(site) as live:
        wires = [live.wire() for _ in range(500)]
        over = threading.Event()

        def trickle() -> None:
            for byte in b"GET /healthz HTTP/1.1\r\nX: " + b"x" * 1000:
                for wire in wires:
                    try:
                        wire.send(bytes([byte]))
                    except ConnectionError:
                        continue
                if over.wait(1):
                    return

        with ThreadPoolExecutor(1) as pool:
            trickling = pool.submit(trickle)
            live.until(lambda: live.healthy() and live.descriptors() < 100)
            over.set()
            trickling.result()
        assert {each.answer().status for each in wires} == {408}


REQUESTS = {
    "a body": b"POST /api/register HTTP/1.1\r\nHost: @HOST@\r\nContent-Type: application/json\r\n"
    b'Content-Length: 18\r\n\r\n{"agent_id":"ana"}',
    "an upgrade": b"GET /ws HTTP/1.1\r\nHost: @HOST@\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n\x81\x82\0\0\0\0{}",
    "a poll": b"GET /api/poll?agent_id=bea&secret=@SECRET@ HTTP/1.1\r\nHost: @HOST@\r\n\r\n",
}


@pytest.mark.parametrize("case", REQUESTS)
def test_a_client_that_vanishes_anywhere_leaves_no_trace(site: Site, case: str) -> None:
    """Reset after every seventh byte of what it sends; the log says nothing, and no descriptor is left."""
    site.mod("work", HELLO % 1)
    with serving(site) as live:
        bea = live.join("bea")
        request = REQUESTS[case].replace(b"@HOST@", b"127.0.0.1:%d" % live.port)
        request = request.replace(b"@SECRET@", bea.secret.encode())
        live.until(live.watches)
        before = live.descriptors()
        for cut in [*range(1, len(request), 7), len(request)]:
            wire = live.wire()
            wire.send(request[:cut])
            wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            wire.close()
        live.until(lambda: live.descriptors() <= before)
        assert live.log() == ""
        assert hello(live, "cem") == {"version": 1}


def test_a_pipe_that_nobody_reads_stops_nothing(site: Site) -> None:
    """With stdout and stderr full, agents are answered and mods reloaded."""
    noisy = "import sys\nsys.stderr.write('x' * 200_000)\nprint('y' * 200_000)"
    site.mod("work", HELLO % 1, head=noisy)
    site.yaml()
    port = free_port()
    options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "cwd": site.folder}
    with subprocess.Popen([_oa_dev(), "run", "--json", "--port", str(port)], **options) as process:
        try:
            ana = _joined(port)
            for number in range(2, 6):
                site.mod("work", HELLO % number, head=noisy)
                _asked_until(port, ana, {"version": number})
        finally:
            process.send_signal(signal.SIGINT)
            assert process.stdout is not None and process.stderr is not None
            process.stdout.close()
            process.stderr.close()
            assert process.wait(30) == 0


def _oa_dev() -> str:
    return str(os.path.join(os.path.dirname(sys.executable), "oa-dev"))


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class _Quiet(Live):
    """A server whose output no one reads."""

    def __init__(self, port: int) -> None:
        self._known = port

    @property
    def port(self) -> int:
        return self._known


def _joined(port: int) -> object:
    live = _Quiet(port)
    while True:
        try:
            return live.join("ana")
        except ConnectionError:
            continue


def _asked_until(port: int, agent: object, wanted: Json) -> None:
    while agent.send("work.hello.get")["data"] != wanted:  # type: ignore[attr-defined]
        assert _Quiet(port).healthy()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_cleanly(site: Site, number: signal.Signals) -> None:
    """With connections open, a poll held, and without a word of complaint."""
    site.mod("work", HELLO % 1)
    site.yaml()
    live = start(site)
    live.line("ready")
    ana, idle = live.join("ana"), live.wire()
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(live.request, "GET", f"/api/poll?agent_id=ana&secret={ana.secret}")
        live.until(lambda: bool(live.control("status")["agents"]))
        assert live.stop(number) == 0
        assert held.result().status == 200
    assert idle.ended()
    assert (live.log(), len(live.told("stopped"))) == ("", 1)


HANGS = {
    "a handler that waits": ("async def", "await asyncio.Event().wait()"),
    "a handler that blocks": ("async def", "time.sleep(60)"),
    "a handler that never gives up": ("async def", "await self.stubborn()"),
}


@pytest.mark.parametrize("case", HANGS)
def test_it_ends_while_a_handler_hangs(site: Site, case: str) -> None:
    """In seconds, with the code of a clean end."""
    kind, statement = HANGS[case]
    site.mod(
        "hang",
        f"""
        async def stubborn(self):
            while True:
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    pass

        @mod_event_handler("hang.on.do")
        {kind} hang(self, event):
            open("started", "w").close()
            {statement}
        """,
    )
    site.yaml()
    live = start(site)
    live.line("ready")
    ana = live.join("ana")
    with ThreadPoolExecutor(1) as pool:
        hanging = pool.submit(ana.try_send, "hang.on.do")
        live.until(lambda: (site.folder / "started").exists())
        assert live.stop() == 0
        assert hanging.exception() is None or isinstance(hanging.exception(), ConnectionError)
    assert log_faults(live.log()) == [], live.log()


@pytest.mark.parametrize("hook", ["initialize", "shutdown"])
def test_it_ends_while_a_hook_hangs(site: Site, hook: str) -> None:
    """Also a load that never comes to its end is given up."""
    site.mod("hang", f"async def {hook}(self):\n    open('started', 'w').close()\n    await asyncio.Event().wait()")
    site.yaml()
    live = start(site)
    if hook == "initialize":
        live.until(lambda: (site.folder / "started").exists())
    else:
        live.line("ready")
    assert live.stop() == 0
    assert log_faults(live.log()) == [], live.log()


def test_a_killed_server_is_back_at_once_with_its_agents(site: Site) -> None:
    """Ten times, at whatever moment: the port is free, the files are whole, the secret is good."""
    site.mod("work", HELLO % 1)
    with serving(site) as first:
        port, ana = first.port, first.join("ana")
    for _ in range(10):
        live = start(site, "--port", str(port), "--strict-port")
        live.line("ready")
        assert live.port == port
        assert live.post("/api/register", agent_id="ana", secret=ana.secret)["resumed"] is True
        live.process.kill()
        live.process.wait()
        assert live.log() == ""


LARGE = """
    @mod_event_handler("work.large.get")
    async def large(self, event):
        return EventResponse(True, data={"text": "x" * 8_000_000})
"""


@pytest.mark.parametrize("read", [0, 1, 100, 100_000])
def test_a_client_that_vanishes_while_it_is_answered_leaves_no_trace(site: Site, read: int) -> None:
    """After so many bytes of eight million, over HTTP and over a WebSocket; the log says nothing."""
    site.mod("work", HELLO % 1, LARGE)
    with serving(site) as live:
        bea = live.join("bea")
        live.until(live.watches)
        before = live.descriptors()
        ask = {"event_name": "work.large.get", "source_id": "bea", "secret": bea.secret, "payload": {}}
        body = json.dumps(ask).encode()
        wire = live.wire()
        head = "POST /api/send_event HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        head = head.replace("127.0.0.1", f"127.0.0.1:{live.port}")
        wire.send(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        _read_and_reset(wire.socket, read)
        with websocket.connect(f"ws://127.0.0.1:{live.port}/ws", max_size=None) as line:
            line.send(json.dumps({"type": "register", "agent_id": "bea", "secret": bea.secret}))
            line.recv()
            line.send(json.dumps({"type": "send", "event": {"event_name": "work.large.get"}}))
            _read_and_reset(line.socket, 0)
        live.until(lambda: live.descriptors() <= before)
        assert live.log() == ""
        assert hello(live, "cem") == {"version": 1}


def _read_and_reset(line: socket.socket, size: int) -> None:
    """Read so many bytes, and end the connection as a machine does that is switched off."""
    while size > 0:
        size -= len(line.recv(size))
    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    line.close()


def test_an_agent_that_was_answered_is_known_after_a_kill(site: Site) -> None:
    """The kill comes with the last byte of the answer, over HTTP and over a WebSocket."""
    site.mod("work", HELLO % 1)
    site.yaml()
    for number in range(2):
        live = start(site)
        live.line("ready")
        if number % 2:
            with websocket.connect(f"ws://127.0.0.1:{live.port}/ws") as line:
                line.send(json.dumps({"type": "register", "agent_id": f"agent{number}"}))
                secret = json.loads(line.recv())["secret"]
                live.process.kill()
        else:
            secret = live.join(f"agent{number}").secret
            live.process.kill()
        live.process.wait()
        with serving(site) as again:
            assert Agent(again, f"agent{number}", secret).send("work.hello.get")["data"] == {"version": 1}


def test_a_suspended_server_goes_on_where_it_was(site: Site) -> None:
    """No agent is dropped, nothing is reloaded, and what came meanwhile is answered."""
    site.mod("work", HELLO % 1)
    with serving(site) as live, ThreadPoolExecutor(1) as pool:
        ana, bea = live.join("ana"), live.join("bea")
        held = pool.submit(bea.poll)
        mark = live.mark()
        live.process.send_signal(signal.SIGSTOP)
        wire = Wire(live.port)
        wire.send(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % live.port)
        with pytest.raises(TimeoutError):
            wire.socket.settimeout(1.5)
            wire.answer()
        live.process.send_signal(signal.SIGCONT)
        wire.socket.settimeout(30)
        assert wire.answer().json == {"ok": True}
        assert ana.send("note.for.bea", {"n": 1}, to="bea")["success"] is True
        assert [each["payload"] for each in held.result()] == [{"n": 1}]
        assert live.told("outcome", mark) == []
        wire.close()


def test_a_closed_stdout_ends_nothing(site: Site) -> None:
    """The reader of its lines has gone; agents have not."""
    site.mod("work", HELLO % 1)
    site.yaml()
    live = start(site)
    live.line("ready")
    port = live.port
    assert live.process.stdout is not None
    os.close(live.process.stdout.fileno())
    ana = _Quiet(port).join("ana")
    for number in range(2, 5):
        site.mod("work", HELLO % number)
        _asked_until(port, ana, {"version": number})
    live.process.send_signal(signal.SIGINT)
    assert live.process.wait(30) == 0
    assert log_faults(live.log()) == [], live.log()
