"""The composition root: two threads, one network, one watch, one face; starts them, joins them, ends them.

The control side (this thread) answers agents, watches files and reads keys; mods run on a thread of their own. Decides
nothing about mods and formats nothing for people.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import socket
import time
from collections.abc import Awaitable, Coroutine
from typing import Any

import uvicorn

from devserver.agent_network import AgentNetwork
from devserver.api.app import make_app
from devserver.api.control import plan_done_to_dict
from devserver.api.desk import DeskApi
from devserver.api.followed import Followed
from devserver.api.protocol import stay_calm_when_full, uvicorn_options
from devserver.home import LoopThread, run_in_thread
from devserver.model.change import ReloadAsked, Trigger, UndoAsked
from devserver.model.config import NetworkConfig
from devserver.model.event import Event, EventResponse
from devserver.model.facts import (
    AgentSeen,
    ConfigRefused,
    ErrorFacts,
    Fact,
    Ignored,
    ModRunning,
    Notice,
    PlanDone,
    Ready,
    Stopped,
)
from devserver.model.principal import ADMIN
from devserver.model.wire_form import error_to_dict
from devserver.network.store import IdentityStore
from devserver.redact import Redactor
from devserver.reload.network_yaml import read_network
from devserver.reload.watch import Watch
from devserver.run_options import RunOptions
from devserver.runfile import process_began, remove_run_file, write_run_file
from devserver.saves import Saves
from devserver.settings import has_changed
from devserver.sockets import bind, url_of
from devserver.tape import Tape
from devserver.ui.face import Face
from devserver.ui.keymap import KeyPressed
from devserver.watchdog import Watchdog

STOP_SECONDS = 2.5
"""How long a stop may take before what does not end is left to the end of the process."""

_PRESENCE_SECONDS = 5.0
_SECOND_INTERRUPT = 130


def run_server(options: RunOptions, face: Face) -> int:
    """Run a network until it is stopped; the exit code.

    Raises ConfigError for a network.yaml that cannot be used, PortInUse where no port is free; nothing runs then.
    """
    began = process_began()
    config = options.with_address(read_network(options.path))
    listening = options.supervised.listening(config.host, config.port)
    listening = listening or bind(config.host, config.port, strict=options.strict_port)
    options.supervised.entrust(listening, config.host, config.port)
    try:
        return asyncio.run(Server(options, config, listening, face, began).run())
    finally:
        listening.close()


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
        self._redactor = Redactor(self._token, lambda digest: self._network.directory.is_secret(digest))
        face.log.say = self._redactor.before(face.log.say)
        self._network = AgentNetwork(config, options.path.parent, home=self._home, tell=self.tell)
        self._network.engine.admit = options.supervised.quarantine(config, self._network.engine.roots).refuse
        self._identities = IdentityStore(self._network.workspace, lambda words: self.tell(Notice(words)))
        self.reloads: Tape[dict[str, Any]] = Tape(100)
        self.followed = Followed(self._network.on_event)
        how = "space" if options.keys else "oa-dev apply"
        self.saves = Saves(self._network, options.path, self._read_network, self.tell, confirm=options.confirm, how=how)
        self._watch = self._make_watch()
        self._http = _Http(uvicorn.Config(self._app(), log_config=None, **uvicorn_options()))
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self) -> int:
        """Start, serve until asked to stop, end."""
        self._loop = asyncio.get_running_loop()
        self._handle_signals()
        stay_calm_when_full(self._loop)
        self._home.start()
        self._network.directory.on_change.append(self._agent_changed)
        self._identities.follow(self._network.directory)
        serving = asyncio.create_task(self._http.serve(sockets=[self._listening]))
        starting, stopping = asyncio.create_task(self._start()), asyncio.create_task(self._stop.wait())
        try:
            # A mod that never starts must not keep who wants to stop.
            await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
            if not stopping.done():
                await starting
            await stopping
        finally:
            await _cancelled(starting, stopping)
            await self._end(serving)
        return 0

    # Start

    async def _start(self) -> None:
        await self._network.initialize()
        await self._announce_ready()

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

    def _begin(self, work: Coroutine[Any, Any, object]) -> None:
        self._tasks.append(asyncio.create_task(self._guarded(work)))

    async def _guarded(self, work: Coroutine[Any, Any, object]) -> None:
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
        return make_app(self._network, self, token=self._token, port_of=self._port, routes=DeskApi(self).routes())

    def _port(self) -> int:
        return int(self._listening.getsockname()[1])

    def _make_watch(self) -> Watch:
        engine = self._network.engine
        return Watch(
            engine.roots,
            engine.knowledge.sources,
            self._options.path.resolve(),
            on_change=self.saves.files_changed,
            on_config=self.saves.config_changed,
            ignored=self._ignored,
            notice=lambda words: self.tell(Notice(words)),
            folders=lambda: engine.config.mod_paths,
        )

    # What comes in

    def _ignored(self, save: Ignored) -> None:
        settings = self._options.settings
        if settings is not None and has_changed(settings, self._options.path.parent, save.path):
            self.tell(Notice(f"{save.path} has changed: restart needed, it is read at the start"))
        else:
            self.tell(save)

    def _read_network(self) -> NetworkConfig:
        return self._options.with_address(read_network(self._options.path))

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
                self._begin(self._check())
            case "undo":
                self._ask(UndoAsked(cause="key z"))
            case "pause":
                self._begin(self.saves.toggle())
            case "apply":
                self._begin(self.saves.apply())
            case "quit":
                self._stop.set()

    def _ask(self, trigger: Trigger) -> None:
        self._begin(self._network.submit(trigger))

    async def _check(self) -> None:
        # Here and not above: rarely asked for, and what it needs is slow to import.
        from devserver.check import check_network

        found = await run_in_thread(check_network, self._options.path)
        if found.refused:
            self.tell(ConfigRefused(found.refused))
        for mod, error in found.mods:
            self.tell(Notice(f"check: {mod}: {error}"))
        if found.good:
            self.tell(Notice(f"check: {found.summary}"))

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
            "paused": self.saves.paused,
            "waiting": self.saves.waiting_names(),
            "reload_number": self.reloads.number,
        }

    async def submit(self, trigger: Trigger) -> PlanDone:
        """Have a trigger carried out."""
        return await self._network.submit(trigger)

    async def send(self, event: Event, as_agent: str | None) -> EventResponse:
        """Send an event as an agent, or as the one who runs the network."""
        event.source_id = as_agent or event.source_id or "agent:admin"
        return await self._network.ingest(event, ADMIN)

    def stop(self) -> None:
        """End this run."""
        self._stop.set()

    def set_log_level(self, level: str) -> None:
        """Show log records from this level on."""
        logging.getLogger().setLevel(level.upper())

    # What goes out

    def tell(self, fact: Fact) -> None:
        """Tell the face. From any thread."""
        if isinstance(fact, PlanDone):
            failed = [each.error for each in fact.outcomes if each.error is not None]
            self._last_error = failed[0] if failed else None
            self.reloads.put(plan_done_to_dict(fact))
        elif isinstance(fact, ConfigRefused):
            self.reloads.put({"success": False, "refused": [error_to_dict(each) for each in fact.errors]})
        self._face.tell(self._redactor.of(fact))

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
        self._identities.close()
        self._network.directory.close()
        self.reloads.close()
        self.followed.tape.close()
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
        logging.getLogger("uvicorn.error").addFilter(_is_fault)
        super().__init__(config)

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        """Take no signals."""
        yield


async def _cancelled(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _is_fault(record: logging.LogRecord) -> bool:
    """Whether a log record of uvicorn says more than that a stop cut a request off, which is told already."""
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


def _error_row(error: ErrorFacts | None) -> dict[str, Any] | None:
    if error is None:
        return None
    return {**error_to_dict(error), "trace": error.trace}
