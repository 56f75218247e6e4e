"""The replay process: it runs what the server runs, and what it runs leaves no trace."""

from __future__ import annotations

import asyncio
import fcntl
import os
import resource
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from replay_mods import CALLS_OUT, COUNTER, NAUGHTY

from devserver.model.event import Event
from devserver.model.principal import LOCAL
from devserver.replay import child, sandbox
from devserver.replay.code import code_now
from devserver.replay.host import ReplayFailed


def is_gone(pid: int) -> bool:
    """Whether a process has ended; one that no one has looked after yet has ended, too."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def children_of(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def ticks_of(pid: int) -> int:
    """Return the processor time that a process has used, in hundredths of a second."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11])


async def until_gone(pid: int) -> None:
    async with asyncio.timeout(60):
        while not is_gone(pid):  # noqa: ASYNC110 - nothing tells when a process has ended that is no child
            await asyncio.sleep(0.01)


async def test_an_event_is_observed(replayed):
    """Its answer, its way, what was sent, who was told, what changed."""
    async with replayed(counter=COUNTER) as net:
        seen = await net.run("count.up", {"name": "x"}, agents=[{"agent_id": "ana"}, {"agent_id": "charlie"}])
        assert (seen.success, seen.message, seen.data) == (True, "counted", {"count": 1, "times": 1, "seen": 1})
        assert seen.way == (("counter", "answered"),)
        assert [(each.event_name, each.source, each.payload) for each in seen.sends] == [
            ("count.changed", "mod:mods.counter", {"name": "x"})
        ]
        assert seen.told == {"ana": ("count.changed",), "charlie": ("count.changed",)}
        assert [(each.steps, each.after) for each in seen.changed["counter"]] == [(("counts", "x"), 1)]


async def test_nothing_outlives_a_replay_and_a_given_state_is_where_it_begins(replayed):
    """Neither state, nor attributes, nor module globals; a given state also where an attribute is made of it.

    The server's own mod never hears of it, and what a handler raises is observed with its place.
    """
    async with replayed(counter=COUNTER) as net:
        first, second = await net.run("count.up", {"name": "x"}), await net.run("count.up", {"name": "x"})
        assert first.data == second.data == {"count": 1, "times": 1, "seen": 1}
        assert net.network.mods["mods.counter"].times == 0

        seen = await net.run("count.up", {"name": "x"}, states={"counter": {"plain": {"counts": {"x": 41}}}})
        assert seen.data["count"] == 42
        assert [(each.before, each.after) for each in seen.changed["counter"]] == [(41, 42)]

        seen = await net.run("count.up", {})
        assert (seen.success, seen.way) == (False, (("counter", "raised"),))
        (raised,) = seen.raised
        assert (raised.kind, raised.message, raised.file) == ("KeyError", "'name'", "mods/counter.py")
        assert raised.function == "CounterMod.up"


async def test_a_kept_event_runs_in_a_fork_that_was_made_before_it(replayed):
    """Each time on the kept state and on the code of the latest save; also when something has killed that fork."""
    async with replayed(counter=COUNTER) as net:
        event = {"event_name": "count.up", "source_id": "ana", "payload": {"name": "x"}}
        where = code_now(net.network.engine), net.network.config
        await net.host.keep(*where, "one", {"event": event, "states": {"counter": {"plain": {"counts": {"x": 41}}}}})

        async def run() -> dict[str, object]:
            answer = await net.ask({"do": "run", "name": "one", "seconds": 5.0})
            return {key: answer["seen"][key] for key in ("message", "data")}

        def spares() -> list[int]:
            return [each for each in children_of(net.host.pid) if not is_gone(each)]

        once = {"message": "counted", "data": {"count": 42, "times": 1, "seen": 1}}
        assert [await run(), await run(), await run()] == [once] * 3

        for each in spares():
            os.kill(each, signal.SIGKILL)
            await until_gone(each)
        assert await run() == once

        await net.save("mods/counter.py", COUNTER.replace('"counted"', '"counted up"'))
        assert [await run(), await run()] == [{**once, "message": "counted up"}] * 2
        await net.host.drop("one")
        found = spares()
        await net.host.end()
        for each in found:
            await until_gone(each)


async def test_it_follows_a_save_in_place(replayed):
    """The same process runs the next generation, and knows it by the number that people know."""
    async with replayed(counter=COUNTER) as net:
        await net.run("count.up", {"name": "x"})
        pid = net.host.pid
        await net.save("mods/counter.py", COUNTER.replace('"counted"', '"counted up"'))
        seen = await net.run("count.up", {"name": "x"})
        assert (seen.message, seen.generations, net.host.pid) == ("counted up", {"counter": 2}, pid)


async def test_it_runs_what_runs_and_not_what_is_on_disk(replayed):
    """A save that does not load leaves the generation before it; a process that starts later runs that one, too."""
    async with replayed(counter=COUNTER) as net:
        await net.save("mods/counter.py", COUNTER.replace('"counted"', '"counted up"'))
        await net.save("mods/counter.py", "this is no python")
        seen = await net.run("count.up", {"name": "x"})
        assert (seen.message, seen.generations) == ("counted up", {"counter": 2})


async def test_a_process_that_came_to_other_code_is_started_again(replayed):
    """By the digests of its modules: here a save that the server has loaded does not load there. Old code runs in no
    case."""
    async with replayed(counter=COUNTER) as net:
        await net.run("count.up", {"name": "x"})
        pid = net.host.pid
        bind = 'import socket; line = socket.socket(); line.bind(("127.0.0.1", 0)); line.close(); self.times = 0'
        await net.save("mods/counter.py", COUNTER.replace("self.times = 0", bind))
        assert (await net.run("count.up", {"name": "x"})).way == ()
        assert net.host.failed == {"counter": "it wants socket.bind 127.0.0.1:0 to start"}
        assert net.host.pid != pid
        await net.save("mods/counter.py", COUNTER.replace('"counted"', '"counted up"'))
        assert (await net.run("count.up", {"name": "x"})).message == "counted up"


async def test_a_module_that_only_a_handler_imports_is_of_the_code_that_runs(replayed):
    """Before and after it was saved, whatever is on disk since."""
    text = "def words():\n    return {!r}\n"
    use = COUNTER.replace('"counted"', "__import__('mods.said').said.words()")
    async with replayed(counter=use) as net:
        (net.folder / "mods" / "said.py").write_text(text.format("one"))
        await net.network.ingest(Event(event_name="count.up", source_id="ana", payload={"name": "x"}), LOCAL)
        assert (await net.run("count.up", {"name": "x"})).message == "one"
        await net.save("mods/said.py", text.format("two"))
        (net.folder / "mods" / "said.py").write_text("no python")
        assert (await net.run("count.up", {"name": "x"})).message == "two"


LOGS = """
import sys
from devserver import BaseMod, Event, EventResponse, mod_event_handler


class LogsMod(BaseMod):
    @mod_event_handler("logs.do")
    def do(self, event: Event):
        was_there = "structlog" in sys.modules
        self.log.info("done")
        return EventResponse(True, "", {"was_there": was_there})
"""


async def test_what_a_first_record_needs_is_imported_before_the_fork(replayed):
    """Once there is a quiet moment: each fork would import it, which takes longer than all else."""
    async with replayed(logs=LOGS) as net:
        async with asyncio.timeout(60):
            while not (await net.run("logs.do")).data["was_there"]:  # noqa: ASYNC110 - the quiet moment
                await asyncio.sleep(0.6)


SEEN_OUTSIDE = {
    "connect": "socket.connect 127.0.0.1:",
    "dns": "socket.getaddrinfo api.openai.com:443",
    "bind": "socket.bind 127.0.0.1:0",
    "sendto": "socket.sendto 127.0.0.1:9",
    "subprocess": "subprocess.Popen touch ",
    "os.system": "os.system touch ",
    "write": "open ",
    "rename": "os.rename ",
    "rmtree": "shutil.rmtree ",
    "sqlite": "sqlite3.connect ",
    "ctypes": "ctypes.dl",
    "fork": "os.fork",
    "kill": "os.kill",
}
"""What a handler tries, with how its name in the observation begins."""


async def test_what_would_be_seen_outside_is_refused_and_named(replayed):
    """In the observation; nothing of it happens."""
    async with replayed(naughty=NAUGHTY) as net:
        outside = net.folder / "outside"
        outside.mkdir()
        (outside / "there").write_text("there")
        with_server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
        async with with_server:
            port = with_server.sockets[0].getsockname()[1]
            for what, named in SEEN_OUTSIDE.items():
                seen = await net.run("naughty.do", {"what": what, "port": port})
                assert any(each.startswith(named) for each in seen.refused), (what, seen)
                assert [each.name for each in outside.iterdir()] == ["there"], what


async def test_a_run_that_ends_badly_is_named_and_the_next_one_runs(replayed):
    """It was a fork: the process goes on. Beyond its limit of memory the handler gets a MemoryError."""
    async with replayed(naughty=NAUGHTY) as net:
        for what, said in (
            ("loop", "did not end within 0.7 s"),
            ("exit", "ended the process (exit 3)"),
            ("crash", "ended the process (SIGSEGV)"),
        ):
            first = await net.answer("naughty.do", {"what": what}, seconds=0.2)
            pid = net.host.pid
            assert first == {"cannot": said}
            assert (await net.run("naughty.do", {"what": "nothing"})).success
            assert net.host.pid == pid
        seen = await net.run("naughty.do", {"what": "memory"})
        assert [each.kind for each in seen.raised] == ["MemoryError"]


async def test_a_mod_writes_into_a_copy_of_its_storage(replayed):
    """Each run finds what the server's mod has, and takes what it has written with it."""
    async with replayed(naughty=NAUGHTY) as net:
        real = Path(net.network.mods["mods.naughty"].get_storage_path())
        (real / "kept").write_text("kept")
        for _ in range(2):
            assert (await net.run("naughty.do", {"what": "own"})).data == {"names": ["kept", "made"]}
        assert os.listdir(real) == ["kept"]


async def test_the_kernel_keeps_the_network_away_where_it_can(replayed):
    """Code in C that opened a socket library before the hook was there finds no route either."""
    async with replayed(naughty=NAUGHTY) as net:
        await net.run("naughty.do", {"what": "nothing"})
        if not net.host.kernel:
            pytest.skip("this kernel allows no network namespace of one's own")
        assert os.readlink(f"/proc/{net.host.pid}/ns/net") != os.readlink("/proc/self/ns/net")


async def test_a_process_that_was_killed_is_started_again(replayed, monkeypatch):
    """Three times in half a minute; then replay is off until someone asks for it. One whose answer comes too late is
    ended: its answer would be taken for that of the next question."""
    async with replayed(counter=COUNTER) as net:
        for _ in range(3):
            assert (await net.run("count.up", {"name": "x"})).success
            pid = net.host.pid
            os.kill(pid, signal.SIGKILL)
            await until_gone(pid)
            with pytest.raises(ReplayFailed, match="has ended"):
                await net.run("count.up", {"name": "x"})
        with pytest.raises(ReplayFailed, match="replay is off: its process died 3 times; key p tries again"):
            await net.run("count.up", {"name": "x"})
        net.host.try_again()
        assert (await net.run("count.up", {"name": "x"})).success
        event = {"event_name": "count.up", "source_id": "ana", "payload": {"name": "x"}}
        await net.host.keep(code_now(net.network.engine), net.network.config, "one", {"event": event})
        monkeypatch.setattr("devserver.replay.host._SLACK", 0.0)
        with pytest.raises(ReplayFailed, match="did not answer within 0 s"):
            await net.host.drop("one")
        monkeypatch.undo()
        assert (await net.run("count.up", {"name": "x"})).success


async def test_a_fork_ends_with_the_process_and_the_process_goes_on_without_a_fork_that_was_killed(replayed):
    """By kill -9, each."""
    async with replayed(naughty=NAUGHTY) as net:
        await net.run("naughty.do", {"what": "pid"})
        pid = net.host.pid
        asking, fork = await looping(net)
        os.kill(fork, signal.SIGKILL)
        assert await asking == {"cannot": "ended the process (SIGKILL)"}
        assert (await net.run("naughty.do", {"what": "nothing"})).success
        assert net.host.pid == pid
        asking, fork = await looping(net)
        os.kill(pid, signal.SIGKILL)
        await until_gone(fork)
        with pytest.raises(ReplayFailed):
            await asking


async def looping(net) -> tuple[asyncio.Task, int]:
    """Run an event that never ends: who asks for it, and the process id of its fork."""
    asking = asyncio.create_task(net.answer("naughty.do", {"what": "loop"}, seconds=30.0))
    async with asyncio.timeout(60):
        # A fork that waits for its event uses no processor.
        while not (found := [each for each in children_of(net.host.pid) if ticks_of(each) > 10]):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return asking, found.pop()


UNPRIVILEGED = """
import ctypes, errno, os, socket, struct, sys, tempfile
from pathlib import Path
from devserver.replay import sandbox
try:
    os.setgroups([]); os.setgid(1234); os.setuid(1234)
except PermissionError:
    pass  # it is no root that runs this
user, before = os.getuid(), os.readlink("/proc/self/ns/net")
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # as after an exec: its files in /proc are its own
# As an extension in C that has looked its functions up before the hook is there.
library = ctypes.CDLL(None, use_errno=True)
make, connect = library.socket, library.connect
address = struct.pack("=H", socket.AF_INET) + struct.pack("!H4s8x", int(sys.argv[1]), bytes((127, 0, 0, 1)))

def connected():
    done = connect(make(socket.AF_INET, socket.SOCK_STREAM, 0), address, len(address))
    return "connected" if done == 0 else errno.errorcode[ctypes.get_errno()]

first = connected()
box = sandbox.shut(Path(tempfile.gettempdir()))
print(first, connected() if box.kernel else "not here")
assert os.getuid() == user and (os.readlink("/proc/self/ns/net") != before) == box.kernel
"""


def test_code_in_c_that_was_there_before_the_hook_has_no_route_to_the_network():
    """For a user without rights either: by a user namespace, in which it is still known by its own id."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        arguments = [sys.executable, "-c", UNPRIVILEGED, str(server.getsockname()[1])]
        done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, then = done.stdout.split(maxsplit=1)
    assert first == "connected"
    if then.strip() == "not here":
        pytest.skip("this kernel allows no user namespace")
    assert then.strip() == "ENETUNREACH"


ELSEWHERE = """
import sys
sys.platform = "darwin"  # no namespace there, no /proc, no signal at the end of a parent
from pathlib import Path
from devserver.replay import sandbox
assert (sandbox._unshare, sandbox._prctl) == (None, None)
import asyncio, os, socket
sandbox.Path = lambda path: Path("/missing") / path.lstrip("/")
sandbox.step_back()
assert sandbox.end_with_parent(os.getppid())
box = sandbox.shut(Path("/tmp"))
try:
    socket.socket().connect(("127.0.0.1", 9))
except sandbox.Refusal as refusal:
    print(box.kernel, refusal)
"""


@pytest.mark.skipif(resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 2000, reason="no descriptor has such a number")
def test_what_it_is_asked_comes_by_a_descriptor_of_any_number():
    """Also above those that select() knows."""
    reading, writing = os.pipe()
    high = fcntl.fcntl(reading, fcntl.F_DUPFD, 1024)
    try:
        assert not child._comes(high, 0)
        os.write(writing, b"!")
        assert child._comes(high, 0)
    finally:
        for each in (reading, writing, high):
            os.close(each)


def test_where_there_are_no_namespaces_the_hook_alone_refuses(monkeypatch):
    """On macOS, and where a container refuses the system call: weaker, and said; no error."""
    done = subprocess.run([sys.executable, "-c", ELSEWHERE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("False a replay does nothing that is seen outside of it: socket.connect 127.0.0.1:9")
    monkeypatch.setattr(sandbox, "_unshare", lambda flags: -1)
    assert not sandbox._leave_network()


async def test_a_server_that_is_about_to_be_replaced_leaves_no_process(replayed, caplog):
    """And nothing is said about it."""
    async with replayed(counter=COUNTER) as net:
        await net.run("count.up", {"name": "x"})
        pid = net.host.pid
        await net.host.end()
        assert not Path(f"/proc/{pid}").exists()  # noqa: ASYNC240 - a look at the system's own table
        assert (await net.run("count.up", {"name": "x"})).success
    assert [each.getMessage() for each in caplog.records] == []


async def test_a_mod_that_is_allowed_the_network_has_it_and_each_result_says_so(replayed):
    """Another mod is refused in the same process."""
    rules = "  replay:\n    allow: [allowed]\n"
    mods = {name: CALLS_OUT.replace("NAME", name) for name in ("allowed", "other")}
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        async with replayed(dev=rules, **mods) as net:
            seen = await net.run("allowed.call", {"port": port})
            assert seen.success
            assert seen.notes == (f"with network: allowed; socket.connect 127.0.0.1:{port}",)
            other = await net.run("other.call", {"port": port})
            assert other.refused == (f"socket.connect 127.0.0.1:{port}",)
            assert other.notes == ()
            assert not net.host.kernel


async def test_a_fresh_process_for_each_event_forks_nothing(replayed):
    """It ends afterwards; one that does not end is killed, and the next one runs."""
    async with replayed(dev="  replay:\n    fresh: true\n", counter=COUNTER, naughty=NAUGHTY) as net:
        for _ in range(2):
            assert (await net.run("count.up", {"name": "a"})).data == {"count": 1, "times": 1, "seen": 1}
            assert net.host.pid is None
        assert await net.answer("naughty.do", {"what": "exit"}) == {"cannot": "ended the process"}
        assert (await net.run("count.up", {"name": "a"})).success
