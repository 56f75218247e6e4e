"""The composition root: two threads, one network, one watch, one face; starts them, joins them, ends them.

The control side (this thread) answers agents, watches files and reads keys; mods run on a thread of their own. Decides
nothing about mods and formats nothing for people.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Coroutine
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import uvicorn

from devserver.agent_network import AgentNetwork
from devserver.api.app import make_app
from devserver.api.protocol import uvicorn_options
from devserver.errors import ConfigError, ModFault
from devserver.home import LoopThread
from devserver.model.change import ConfigChanged, FilesChanged, ReloadAsked, Sources, Trigger
from devserver.model.config import ModSpec, NetworkConfig
from devserver.model.event import Event, EventResponse
from devserver.model.facts import (
    AgentSeen,
    ConfigRefused,
    ErrorFacts,
    Fact,
    Frame,
    ModRunning,
    Notice,
    PlanDone,
    Ready,
    Stopped,
)
from devserver.model.principal import ADMIN
from devserver.reload.network_yaml import read_network
from devserver.reload.outcome import excerpt
from devserver.reload.watch import Watch
from devserver.runfile import remove_run_file, write_run_file
from devserver.sockets import bind, url_of
from devserver.ui.face import Face
from devserver.ui.keymap import KeyPressed
from devserver.watchdog import Watchdog

STOP_SECONDS = 2.5
"""How long a stop may take before what does not end is left to the end of the process."""

_PRESENCE_SECONDS = 5.0
_SECOND_INTERRUPT = 130


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the command line asks for. `path` is the network.yaml; host and port None mean what that says."""

    path: Path
    host: str | None = None
    port: int | None = None
    strict_port: bool = False
    watch: bool = True
    keys: bool = True


def run_server(options: RunOptions, face: Face) -> int:
    """Run a network until it is stopped; the exit code.

    Raises ConfigError for a network.yaml that cannot be used, PortInUse where no port is free; nothing runs then.
    """
    began = _process_began()
    config = _with_address(read_network(options.path), options)
    listening = bind(config.host, config.port, strict=options.strict_port)
    try:
        return asyncio.run(Server(options, config, listening, face, began).run())
    finally:
        listening.close()


def _with_address(config: NetworkConfig, options: RunOptions) -> NetworkConfig:
    host = config.host if options.host is None else options.host
    return replace(config, host=host, port=config.port if options.port is None else options.port)


class Server:
    """One run of a network: what `oa-dev run` is."""

    def __init__(
        self, options: RunOptions, config: NetworkConfig, listening: socket.socket, face: Face, began: float
    ) -> None:
        self._options = options
        self._face = face
        self._began = began
        self._listening = listening
        self._token = secrets.token_urlsafe(32)
        self._url = url_of(listening)
        self._stop = asyncio.Event()
        self._last_error: ErrorFacts | None = None
        self._address = (config.host, config.port)
        self._home = LoopThread("oa-dev mods", self._exit_requested)
        self._network = AgentNetwork(config, options.path.parent, home=self._home, tell=self.tell)
        self._watch = self._make_watch()
        self._http = _Http(uvicorn.Config(self._app(), log_config=None, **uvicorn_options()))
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self) -> int:
        """Start, serve until asked to stop, end."""
        self._loop = asyncio.get_running_loop()
        self._handle_signals()
        self._home.start()
        self._network.directory.on_change.append(self._agent_changed)
        serving = asyncio.create_task(self._http.serve(sockets=[self._listening]))
        try:
            await self._network.initialize()
            await self._announce_ready()
            await self._stop.wait()
        finally:
            await self._end(serving)
        return 0

    # Start

    async def _announce_ready(self) -> None:
        self._begin(self._keep_presence())
        self._begin(self._watchdog().run())
        if self._options.watch:
            self._begin(self._watch.run())
        self._note_run_file()
        wanted = self._address[1]
        if wanted and self._port() != wanted:
            self.tell(Notice(f"port {wanted} is in use; listening on {self._port()} instead"))
        self.tell(self._ready())
        self._face_keys()

    def _watchdog(self) -> Watchdog:
        engine = self._network.engine
        return Watchdog(self._home, self._mod_of, engine.shown, lambda: engine.limits, self.tell)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(self._guarded(work)))

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        """A fault of ours in one task is told, and ends neither the others nor the server."""
        try:
            await work
        except Exception as error:
            self.tell(Notice(f"a part of oa-dev ended: {type(error).__name__}: {error}; restart it to have that back"))

    def _note_run_file(self) -> None:
        try:
            write_run_file(self._network.workspace, self._url, self._token, os.getpid())
        except OSError as error:
            self.tell(
                Notice(f"commands cannot reach this server: .oa-dev/run.json cannot be written ({error.strerror})")
            )

    def _ready(self) -> Ready:
        network = self._network
        return Ready(
            url=self._url,
            mods=tuple(ModRunning(g.mod_id, g.mod_path, g.number) for g in network.engine.registry.live),
            ready_ms=(time.time() - self._began) * 1000,
            watching=self._watch.watched() if self._options.watch else (),
            files=len(network.engine.knowledge.sources()) if self._options.watch else 0,
            disabled=sum(not each.enabled for each in network.config.mods),
            watcher=self._watch.kind if self._options.watch else "",
            name=network.network_name,
        )

    def _app(self) -> Any:
        return make_app(self._network, self, token=self._token, port_of=self._port)

    def _port(self) -> int:
        return int(self._listening.getsockname()[1])

    def _make_watch(self) -> Watch:
        engine = self._network.engine
        return Watch(
            engine.roots,
            engine.knowledge.sources,
            self._options.path.resolve(),
            on_change=self._files_changed,
            on_config=self._config_changed,
            ignored=self.tell,
            notice=lambda words: self.tell(Notice(words)),
            folders=lambda: engine.config.mod_paths,
        )

    # What comes in

    async def _files_changed(self, changed: Sources) -> None:
        await self._network.submit(FilesChanged(changed))

    async def _config_changed(self) -> None:
        try:
            config = _with_address(read_network(self._options.path), self._options)
        except ConfigError as error:
            self.tell(ConfigRefused(error.problems))
            return
        except OSError as error:
            self.tell(Notice(f"{self._options.path.name} cannot be read ({error.strerror}); what runs keeps running"))
            return
        missing = self._network.engine.not_found(config)
        if missing:
            self.tell(ConfigRefused(tuple(self._not_found(spec, fault) for spec, fault in missing)))
            return
        await self._network.submit(ConfigChanged(config))

    def _not_found(self, spec: ModSpec, fault: ModFault) -> ErrorFacts:
        path = self._options.path
        where = None if spec.line is None else Frame(path.name, spec.line, excerpt=excerpt(str(path), spec.line))
        return ErrorFacts(type(fault).__name__, str(fault), where)

    def _face_keys(self) -> None:
        if self._face.keys is not None:
            self._face.keys.start(self._on_key, lambda: tuple(self._network.get_loaded_mods()))

    def _on_key(self, pressed: KeyPressed) -> None:
        """From the thread that reads keys."""
        self._loop.call_soon_threadsafe(self._key, pressed)

    def _key(self, pressed: KeyPressed) -> None:
        match pressed.name:
            case "reload":
                self._ask(ReloadAsked(cause="key r"))
            case "reload_one" if pressed.mod is not None:
                self._ask(ReloadAsked((pressed.mod,), cause="key m"))
            case "check":
                self._check()
            case "quit":
                self._stop.set()

    def _ask(self, trigger: Trigger) -> None:
        async def carry_out() -> None:
            await self._network.submit(trigger)

        self._begin(carry_out())

    def _check(self) -> None:
        try:
            config = read_network(self._options.path)
        except ConfigError as error:
            self.tell(ConfigRefused(error.problems))
        except OSError as error:
            self.tell(Notice(f"{self._options.path.name} cannot be read ({error.strerror})"))
        else:
            self.tell(Notice(f"{self._options.path.name} is in order: {len(config.enabled_mods)} mods enabled"))

    # Control, for the API

    def status(self) -> dict[str, Any]:
        """What runs."""
        network = self._network
        stats = network.get_network_stats()
        return {
            "name": network.network_name,
            "network_id": network.network_id,
            "url": self._url,
            "pid": os.getpid(),
            "uptime_s": stats["uptime_seconds"],
            "mods": network.mods(),
            "agents": [{"agent_id": a.agent_id, "transport": a.transport} for a in network.directory.agents()],
            "events": stats["events"],
            "reloads": stats["reloads"],
            "failed": stats["failed_plans"],
            "last_error": _error_row(self._last_error),
        }

    async def submit(self, trigger: Trigger) -> PlanDone:
        """Have a trigger carried out."""
        return await self._network.submit(trigger)

    async def send(self, event: Event, as_agent: str | None) -> EventResponse:
        """Send an event as an agent, or as the one who runs the network."""
        event.source_id = as_agent or event.source_id or "agent:admin"
        return await self._network.ingest(event, ADMIN)

    # What goes out

    def tell(self, fact: Fact) -> None:
        """Tell the face. From any thread."""
        if isinstance(fact, PlanDone):
            failed = [each.error for each in fact.outcomes if each.error is not None]
            self._last_error = failed[0] if failed else None
        self._face.tell(fact)

    def _agent_changed(self, agent_id: str, came: bool, transport: str) -> None:
        self.tell(AgentSeen(agent_id, came, transport))

    def _exit_requested(self, request: BaseException) -> None:
        self.tell(Notice(f"a task of a mod asked the process to end ({request!r}); only that task has ended"))

    def _mod_of(self, module: str) -> str | None:
        for generation in self._network.engine.registry.live:
            package = generation.entry.removesuffix(".mod")
            if module == package or module.startswith(f"{package}."):
                return generation.mod_id
        return None

    async def _keep_presence(self) -> None:
        """Let go of agents that have been silent for longer than network.yaml allows."""
        while True:
            await asyncio.sleep(_PRESENCE_SECONDS)
            for agent_id in self._network.directory.silent(time.monotonic()):
                await self._network.unregister_agent(agent_id, dropped=True)

    # End

    def _handle_signals(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self._loop.add_signal_handler(number, self._asked_to_stop)

    def _asked_to_stop(self) -> None:
        if self._stop.is_set():
            self._face.close()
            os._exit(_SECOND_INTERRUPT)
        self._stop.set()

    async def _end(self, serving: asyncio.Task[None]) -> None:
        """End everything in order; what does not end in time is left to the end of the process."""
        summary = self._summary()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        remove_run_file(self._network.workspace, os.getpid())
        self._network.directory.close()
        await self._in_time(self._network.shutdown(), "a mod does not end; left behind")
        self._http.should_exit = True
        await self._in_time(serving, "a connection does not end; cut off")
        if not await asyncio.to_thread(self._home.stop, 0.5):
            self.tell(Notice("the mods' thread is blocked; left behind"))
        self.tell(summary)

    async def _in_time(self, work: Awaitable[Any], otherwise: str) -> None:
        try:
            async with asyncio.timeout(STOP_SECONDS / 2):
                await work
        except TimeoutError:
            self.tell(Notice(otherwise))

    def _summary(self) -> Stopped:
        stats = self._network.get_network_stats()
        return Stopped(
            stats["events"],
            stats["reloads"],
            stats["failed_plans"],
            stats["dynamic_mods"]["count"],
            stats["agent_count"],
        )


class _Http(uvicorn.Server):
    """uvicorn in our loop: signals are ours, and a stop waits for nobody's open stream."""

    def __init__(self, config: uvicorn.Config) -> None:
        config.timeout_graceful_shutdown = 1
        super().__init__(config)

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        """Take no signals."""
        yield


def _error_row(error: ErrorFacts | None) -> dict[str, Any] | None:
    if error is None:
        return None
    where = error.where
    return {
        "kind": error.kind,
        "message": error.message,
        "file": where.file if where is not None else None,
        "line": where.line if where is not None else None,
    }


def _process_began() -> float:
    """When this process was started, in seconds since 1970: what a person waits for begins there."""
    try:
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        up = float(Path("/proc/uptime").read_text().split()[0])
        return time.time() - up + ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return time.time() - time.perf_counter() if sys.platform == "linux" else time.time()
