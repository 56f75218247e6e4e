"""A rig for tests of several hosts: a real nats-server, with the buckets of a network, and links to it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent

from live import Live

from devserver.agent_network import AgentNetwork
from devserver.hosts.engine import AUTHOR, CODE_WRITER, HOST, Binary, Engine, _is_engine
from devserver.hosts.host import Host
from devserver.hosts.link import Link
from devserver.hosts.names import BUCKETS, CODE, Names
from devserver.hosts.shared import fetch, write_workspace
from devserver.hosts.wanted import Wanted
from devserver.model.facts import Fact


@dataclass
class Rig:
    """An engine of a network named demo, and who is connected to it."""

    engine: Engine
    names: Names = field(default_factory=lambda: Names("demo"))
    links: list[Link] = field(default_factory=list)

    async def link(self, user: str = HOST, name: str = "gpu-1", *, url: str | None = None) -> Link:
        reads_only = "" if user == CODE_WRITER else self.names.bucket_stream(CODE)
        made = Link(url or self.engine.url, self.engine.record.credentials(user), name=name, reads_only=reads_only)
        await made.connect()
        self.links.append(made)
        return made

    async def make_all(self) -> Link:
        author, writer = await self.link(AUTHOR, "laptop"), await self.link(CODE_WRITER, "laptop")
        for kind in BUCKETS:
            await (writer if kind == CODE else author).make_bucket(self.names.bucket(kind))
        await author.make_queue(self.names.out_stream, f"oa.{self.names.n}.out.*", seconds=3600, most_bytes=2**20)
        return author

    async def crash(self) -> None:
        """End the engine as a crash does, and start it again on the same port and files."""
        os.kill(self.engine.record.pid, signal.SIGKILL)
        assert self.engine._process is not None
        self.engine._process.wait()


class TlsEngine(Engine):
    """An engine that speaks TLS alone, as one elsewhere does; its configuration is else that of ours."""

    def __init__(self, folder: Path, openssl: str, address: str = "127.0.0.1") -> None:
        super().__init__(folder)
        self.address = address
        folder.mkdir(parents=True)
        key, self.certificate = folder / "key.pem", folder / "ca.pem"
        made = f"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=engine -keyout {key}"
        subject = ["-addext", f"subjectAltName=IP:{address}", "-out", str(self.certificate)]
        subprocess.run([openssl, *made.split(), *subject], check=True, capture_output=True)
        self._tls = f'tls {{ cert_file: "{self.certificate}", key_file: "{key}" }}\n'

    def _run(self, binary: Binary, config: Path) -> subprocess.Popen[bytes]:
        config.write_text(config.read_text().replace('listen: "127.0.0.1:', f'listen: "{self.address}:') + self._tls)
        return super()._run(binary, config)


class Together:
    """Several hosts of one network, in this process: real links to a real engine, one loop for all."""

    def __init__(self, rig: Rig, folder: Path) -> None:
        self.rig, self.folder = rig, folder
        self.hosts: dict[str, Host] = {}
        self.networks: dict[str, AgentNetwork] = {}
        self.facts: dict[str, list[Fact]] = {}

    async def author(self, name: str = "laptop", *, url: str | None = None, **mods: str) -> AgentNetwork:
        """Start the host that runs the mods: `mods` are their classes' bodies, by name; `url` as of `join`."""
        folder = self.folder / name
        (folder / "mods").mkdir(parents=True)
        for mod, body in mods.items():
            (folder / "mods" / f"{mod}.py").write_text(HEAD + dedent(body))
        listed = [{"name": f"mods.{mod}"} for mod in mods]
        text = {"network": {"name": "Demo", "node_id": "demo", "mods": listed}}
        (folder / "network.yaml").write_text(json.dumps(text))
        record = self.rig.engine.record
        wanted = Wanted(
            name,
            is_author=True,
            url=url or self.rig.engine.url,
            credentials=record.credentials(AUTHOR),
            writer=record.credentials(CODE_WRITER),
        )
        return await self.start(wanted, folder)

    async def join(self, name: str, *, url: str | None = None) -> AgentNetwork:
        """Start a host that has joined; `url` leads to the engine, where that is not the engine itself."""
        credentials = self.rig.engine.record.credentials(HOST)
        wanted = Wanted(name, is_author=False, url=url or self.rig.engine.url, credentials=credentials)
        settings, author = await fetch(wanted.url, credentials, name)
        write_workspace(self.folder / name, settings, author)
        return await self.start(wanted, self.folder / name)

    async def start(self, wanted: Wanted, folder: Path) -> AgentNetwork:
        """Start a host in a folder that holds its network.yaml."""
        facts = self.facts.setdefault(wanted.name, [])
        network = AgentNetwork.load(folder, tell=facts.append)
        path = folder / "network.yaml"
        host = Host(wanted, network, folder=folder / "hosts", path=path, url="", tell=facts.append)
        self.hosts[wanted.name], self.networks[wanted.name] = host, network
        await host.begin()
        await network.initialize()
        await host.open()
        return network

    async def leave(self, name: str) -> None:
        """End a host in order, its agents' identities kept, as a server that stops does."""
        network, host = self.networks.pop(name), self.hosts.pop(name)
        await host.end()
        network.directory.close()
        await network.shutdown()

    async def kill(self, name: str) -> None:
        """Let a host be gone as after kill -9: nothing is said, nothing written."""
        host, network = self.hosts.pop(name), self.networks.pop(name)
        host.link.on_away.clear()
        network.directory.on_change.clear()
        await host.link.close()
        if host._writer is not None:
            await host._writer.close()
        for part in (host._members, host.queues, host.identities, host._deliveries):
            for task in getattr(part, "_work", ()):
                task.cancel()
        await network.shutdown()

    async def all_know(self) -> None:
        """Wait until every host has heard each other one."""
        names = set(self.hosts)
        await until(lambda: all(names - {name} <= alive(host) for name, host in self.hosts.items()))

    async def end(self) -> None:
        """End what still runs."""
        for name in tuple(self.hosts):
            await self.leave(name)


def alive(host: Host) -> set[str]:
    return {each.host for each in host._members.living}


async def until(holds: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for a fact."""
    end = asyncio.get_running_loop().time() + seconds
    while not holds():
        assert asyncio.get_running_loop().time() < end, "it never came to be"
        await asyncio.sleep(0.005)


HEAD = "import asyncio\nfrom devserver import BaseMod, Event, EventResponse, mod_event_handler\n\n"


class Proxy:
    """A way to the engine that can be held, cut and opened again: what is between two machines."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._flows = asyncio.Event()
        self._flows.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_cut = False
        self.held = b""
        """What did not get through at once."""

    async def begin(self) -> str:
        """Listen; the address for a host."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self._port = self._server.sockets[0].getsockname()[1]
        return f"nats://127.0.0.1:{self._port}"

    def hold(self) -> None:
        """Let nothing through, and end nothing: a cable that is out."""
        self._flows.clear()

    def cut(self) -> None:
        """End all connections, and take no new ones."""
        self._is_cut = True
        self._server.close()
        for each in tuple(self._writers):
            each.transport.abort()

    async def open(self) -> None:
        """Let everything through."""
        if self._is_cut:
            self._is_cut = False
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port)
        self._flows.set()

    async def end(self) -> None:
        """Listen no more."""
        self.cut()
        for each in self._tasks:
            each.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._to)
        except OSError:
            self._writers.discard(writer)
            writer.transport.abort()
            return
        if self._is_cut:
            back.transport.abort()
            writer.transport.abort()
            return
        self._writers |= {writer, back}
        for source, sink in ((reader, back), (there, writer)):
            task = asyncio.create_task(self._pass(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                self.held += b"" if self._flows.is_set() else data
                await self._flows.wait()
                sink.write(data)
                await sink.drain()
        except (ConnectionError, OSError):
            pass
        finally:
            sink.transport.abort()
            self._writers.discard(sink)


def end_all(*lives: Live) -> None:
    """End the processes that a failed test leaves, and the engine that one of them has started and that outlives it."""
    for each in lives:
        if each.process.poll() is None:
            each.process.kill()
            each.process.wait()
        record = each.site.folder / ".oa-dev" / "hosts" / "engine.json"
        pid = json.loads(record.read_text())["pid"] if record.is_file() else 0
        if pid and _is_engine(pid):
            os.kill(pid, signal.SIGTERM)
