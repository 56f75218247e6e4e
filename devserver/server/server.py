"""The composition root: two threads, one network, one watch, one face; starts and ends them.

The control side (this thread) answers agents, watches files and reads keys; mods run on a thread of
their own. Decides nothing about mods and formats nothing for people.
"""

from __future__ import annotations

import asyncio
import math
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from functools import partial
from typing import Any

from devserver.agent_network import AgentNetwork
from devserver.config.written import Written, read_written
from devserver.control.page import PageApi, Tickets
from devserver.control.page_address import address, address_once, address_shortened
from devserver.errors import DevServerError
from devserver.live import garbage
from devserver.live.loops import LoopThread, run_in_thread
from devserver.loader.reads import read_by
from devserver.model import logs
from devserver.model.change import Trigger
from devserver.model.config import NetworkConfig
from devserver.model.event import Event, EventResponse
from devserver.model.facts import AgentSeen, Fact, Ignored, ModRunning, Notice, PlanDone, Ready
from devserver.model.names import LOCAL_NAMES, mod_id_of
from devserver.model.principal import ADMIN
from devserver.model.split import main_of
from devserver.server import studio
from devserver.server.app import make_app, own_routes
from devserver.server.before import LISTENING, Before
from devserver.server.contracts import Contracts
from devserver.server.ending import Ending, summary_of
from devserver.server.exposure import Exposure
from devserver.server.hosting import Hosting
from devserver.server.image import hear_signals
from devserver.server.kept_states import KeptStates, lost_words
from devserver.server.key_actions import KeyActions
from devserver.server.leaving import Leaving
from devserver.server.log_ahead import LogAhead
from devserver.server.moving import Moving
from devserver.server.outside import Outside
from devserver.server.periodic import keep_presence, warn_of_blocked
from devserver.server.recording import Recording
from devserver.server.redact import Redactor
from devserver.server.replaying import Replaying
from devserver.server.restart import Parts
from devserver.server.restarts import Restarts
from devserver.server.run_options import RunOptions
from devserver.server.runfile import process_began
from devserver.server.saves import Saves
from devserver.server.settled import Settling
from devserver.server.sockets import listening_sockets, port_holder, url_of
from devserver.server.started_agents import StartedAgents
from devserver.server.status import catalogue_of, editor_link, status_of
from devserver.server.views import LiveViews
from devserver.server.watchdog import Watchdog
from devserver.server.workspace_files import WorkspaceFiles
from devserver.sources.watch import Watch
from devserver.transports.http.serving import App, HttpServer
from devserver.ui.face import Face

_SHOWN_AGAIN = (
    "a link to the dashboard was opened a second time: it admits once, and the second tab was refused. Key o opens"
    " another tab. If you did not click it twice, someone has read the link in your terminal or its log"
)
_MOD_EXITS = "a task of a mod asked the process to end ({!r}); only that task has ended"
_SECOND_INTERRUPT = 130
_REST_AFTER = 1.0


def import_rest() -> None:
    """Import what reads network.yaml and bodies of requests: a restart in place needs neither."""
    from devserver.config import network_yaml  # noqa: F401
    from devserver.control import models  # noqa: F401


def run_server(options: RunOptions, face: Face) -> int:
    """Run a network until it is stopped; return the exit code. Raises ConfigError for a
    network.yaml that cannot be used, PortInUse if no port is free; nothing runs then."""
    began = options.supervised.began or process_began()
    before = options.before
    written = read_written(options.path, None if before is None else before.values["server"].get("network_yaml"))
    config = options.with_address(written.config)
    heard = listening_sockets(options, config, face)
    options.supervised.entrust(heard[0], config.host, config.port)
    try:
        return asyncio.run(Server(options, written, heard, face, began).run())
    finally:
        for each in heard:
            each.close()


class Server:
    """One run of a network: `oa-dev run`."""

    def __init__(
        self, options: RunOptions, written: Written, heard: list[socket.socket], face: Face, began: float
    ) -> None:
        self._options = options
        self._written = written
        config = options.with_address(written.config)
        self._face = face
        self._began = began
        self._heard = heard
        before = options.before
        self._token = secrets.token_urlsafe(32) if before is None else before.values["server"]["token"]
        self._url = url_of(heard[-1])
        self._earlier_ports: tuple[int, ...] = () if before is None else before.values["server"]["ports"]
        self._address = (config.host, config.port)
        self._is_asked = False
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._tickets = Tickets(lambda: self.tell(Notice(_SHOWN_AGAIN)))
        self._exposure = Exposure.of(options.allow_host, options.path.resolve().parent)
        hidden = tuple(filter(None, (self._exposure.join_token,)))
        self._redactor = Redactor(self._token, lambda digest: self._network.directory.is_secret(digest), hidden)
        self._home = LoopThread("oa-dev mods", lambda request: self.tell(Notice(_MOD_EXITS.format(request))))
        self._network = self._make_network(config)
        self._files = WorkspaceFiles(self._network.workspace, lambda words: self.tell(Notice(words)))
        self._kept = KeptStates(self._network.workspace, lambda words: self.tell(Notice(words)))
        self._network.engine.kept_state = self._kept.give
        self._compose_views()
        self._compose_saves()
        self._http = HttpServer(self._app(), self._network.directory.accounts)
        self._agents = StartedAgents(
            self._network.workspace,
            self._url,
            wanted=lambda: self._network.config.agents,
            may_restart=lambda: options.watch and not self.saves.paused,
            tell=self.tell,
            say=face.log.say,
        )
        self._keys = self._make_keys()
        if before is not None:
            self._go_on(before)

    def _make_network(self, config: NetworkConfig) -> AgentNetwork:
        """Make the network; nothing of it runs yet."""
        options = self._options
        network = AgentNetwork(config, options.path.parent, home=self._home, tell=self.tell)
        network.lines.kept = network.workspace / ".oa-dev" / "splits.json"
        engine = network.engine
        for each in options.watch_paths:
            engine.roots.ask(options.path.parent / each)
        engine.locate.config_file = options.path.resolve()
        # The mods that have ended the process may be among the packages of the lock.
        engine.environment.begin()
        engine.locate.admits.append(options.supervised.quarantine(config, engine.roots).refuse)
        return network

    def _compose_views(self) -> None:
        """Make the parts that are told every fact beside the face."""
        recorder = self._network.record()
        self.views = LiveViews(self._network, self._redactor)
        self.reloads = self.views.reloads
        self._face.log.say = self._redactor.before(self.views.hearing(self._face.log.say))
        self._replaying = Replaying(
            self._network, recorder, redact=self._redactor.plain, tell=self.tell, begin=self._begin
        )
        self.views.pinned = self._replaying
        self.recording = Recording(
            self._network, recorder, lambda: self._replaying.replays, clean=self._redactor.json, tell=self.tell
        )
        self.views.recording = lambda: self.recording.path
        self.contracts = Contracts(self._network, recorder, tell=self.tell, begin=self._begin)

    def _compose_saves(self) -> None:
        """Make the parts that bring changes on disk to the network."""
        options = self._options
        self._overridden: tuple[str, ...] = ()
        self.saves = Saves(
            self._network,
            options.path,
            self._read_network,
            self.tell,
            confirm=options.confirm,
            how="space" if options.keys else "oa-dev apply",
            overridden=lambda: self._overridden,
        )
        self._outside = Outside(
            self._network.engine.roots.holds,
            options.image.began,
            options.settings,
            options.path.parent,
            restart=self._network.engine.restart,
            forget=self._network.engine.restarts.forget,
            look_for_packages=self.saves.look_for_packages,
        )
        self._log_ahead = LogAhead(self._network)
        self.settling = Settling(
            self._network, self.saves, options.path.resolve(), watches=options.watch, status=self.status
        )
        self.hosting: Hosting = Hosting(options.hosts, self._network, path=options.path, url=self._url, tell=self.tell)
        self.hosting.on_secrets = self._redactor.hide
        self.hosting.moving = Moving(options.path, self.views.reloads, lambda: self.saves.paused or not options.watch)
        self._watch = self._make_watch()

    def _make_keys(self) -> KeyActions:
        options = self._options
        parts = Parts(
            image=options.image,
            network=self._network,
            home=self._home,
            connections=self._http,
            tell=self.tell,
            more=self._survives,
            again=options.supervised.again,
            last=self._face.leave,
            give_way=self._replaying.give_way,
            serve_on=self._serve_on,
        )
        restarts = Restarts(
            options,
            parts,
            address=self._address,
            ready=self.recording.begun,
            begin=self._begin,
            read_network=self._read_network,
        )
        return KeyActions(
            self._network,
            self.saves,
            restarts,
            self._replaying,
            face=self._face,
            clean=self._redactor.json,
            path=options.path,
            url=self._url,
            address=address(self._url, self._token),
            ticket=self._tickets.make,
            tell=self.tell,
            begin=self._begin,
            stop=self._asked_to_stop,
        )

    def _go_on(self, before: Before) -> None:
        """Continue after the image before this one."""
        self._network.unpack(before.values)
        self._network.engine.restarts.cause = before.cause
        self.views.unpack(before.values["server"]["views"])
        self._agents.adopt(before.values["server"]["agents"])
        # An image of another version may not have packed these.
        self.recording.go_on(before.values["server"].get("session", {}), before.descriptors)
        self._replaying.unpack(before.values["server"].get("pins", {}))
        if "contract" in before.values["server"]:
            self.contracts.unpack(before.values["server"]["contract"])
        self.saves.paused = before.values["server"]["paused"]
        logs.set_level(before.values["server"]["log_level"])

    async def run(self) -> int:
        """Start, serve until asked to stop, end."""
        self._loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            self._loop.add_signal_handler(number, self._asked_to_stop)
        # SIGHUP can come twice (shell and supervisor): unlike a second Ctrl-C it forces no exit.
        self._loop.add_signal_handler(signal.SIGHUP, self._stop.set)
        hear_signals()
        self._home.start()
        self._network.directory.on_presence.append(self._agent_changed)
        before = self._options.before
        self._files.begin(self._network.directory, before.descriptors.get("claim") if before is not None else None)
        if before is None and self._files.are_ours:
            self._kept.begin()
        self._network.keep = self._files.written
        self._network.hold_events()
        self._http.begin(self._heard)
        if before is not None:
            await self._http.adopt(before.connections)
        starting, stopping = asyncio.create_task(self._start()), asyncio.create_task(self._stop.wait())
        try:
            # A mod that never starts must not prevent a stop.
            await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
            if not stopping.done():
                await starting
            await stopping
        finally:
            await _cancelled(starting, stopping)
            await self._end()
        return 0

    # Start

    async def _start(self) -> None:
        await self.hosting.begin()
        # Before the mods: each census after a save looks through all that is not frozen.
        garbage.freeze_own()
        await self._network.initialize()
        await self.hosting.open()
        garbage.end_start()
        # Until then lasting objects come, agents among them.
        self._begin(_later(60.0, garbage.settle))
        await self._announce_ready()

    async def _announce_ready(self) -> None:
        engine = self._network.engine
        self._begin(keep_presence(self._network))
        watchdog = Watchdog(self._home, engine.registry.mod_of, engine.shown, lambda: engine.limits, self.tell)
        self._begin(watchdog.run())
        self._begin(warn_of_blocked(self._network, self.tell))
        if self._files.are_ours:
            self._begin(run_in_thread(engine.environment.purge))
            self._begin(self._kept.run(self._home, lambda: engine.lasting))
            self._begin(self._agents.run(first=self._options.before is None))
        if self._options.watch:
            self._begin(self._watch.run())
            self._begin(self._outside.run())
        forks = self._options.forks
        self._files.announce(
            self._url, self._token, self._options.path.name, forks.commands if forks is not None else {}
        )
        if (before := self._options.before) is None:
            self._announce_start()
        else:
            self.tell(replace(before.done(self._network, self._url, time.time()), ready=self._ready()))
            for path in sorted(self._network.engine.restarts.unloaded):
                words = f"{mod_id_of(path)} stays unloaded, as before; oa-dev load {path} brings it back"
                self.tell(Notice(words, calm=True))
            # Agents that waited for a restart are answered first; later no save and no command waits for it.
            self._begin(_later(_REST_AFTER, partial(run_in_thread, import_rest)))
        # After a restart in place it goes on, unless a person has ended it.
        if self._options.record and before is None:
            self._begin(self._record())
        if self._face.keys is not None:
            # Keys are read on a thread of their own.
            self._face.keys.start(
                lambda pressed: self._loop.call_soon_threadsafe(self._keys.do, pressed),
                lambda: tuple(self._network.running_mods()),
            )

    async def _record(self) -> None:
        try:
            self.tell(Notice(f"recording {await self.recording.start()}", calm=True))
        except (DevServerError, OSError) as error:
            self.tell(Notice(f"no session is recorded: {error}"))

    def _announce_start(self) -> None:
        wanted = self._address[1]
        if wanted and self._port() != wanted:
            by = f" by {holder}" if (holder := port_holder(wanted)) else ""
            self.tell(Notice(f"port {wanted} is in use{by}; listening on {self._port()} instead"))
        for each in self._options.watch_paths:
            if not (self._options.path.parent / each).is_dir():
                self.tell(Notice(f"watch-paths: there is no folder {each}"))
        self.tell(self._ready())
        if self._options.open_page and not self._options.supervised.crashes:
            self._begin(self._keys.open_page())
        if self._studio is not None:
            self.tell(Notice(f"Studio: {self._url}{studio.PATH}", calm=True))
        elif self._has_no_studio:
            self.tell(Notice(studio.why_none()))
        if crashes := self._options.supervised.crashes:
            self.tell(Notice(lost_words(crashes[-1].how, crashes[-1].began, self._kept.brought_back)))
        if (exposed := self._exposure.told(self._heard[0])) is not None:
            self._face.tell(exposed)  # past the redactor: this is the one place where the join token is shown

    def _begin(self, work: Coroutine[Any, Any, object]) -> None:
        task = asyncio.create_task(self._guarded(work))
        self._tasks.append(task)
        task.add_done_callback(self._tasks.remove)

    async def _guarded(self, work: Coroutine[Any, Any, object]) -> None:
        """Tell a fault of ours in one task; neither the others nor the server end with it."""
        try:
            await work
        except Exception as error:
            self.tell(Notice(f"a part of oa-dev ended: {type(error).__name__}: {error}; restart it to have that back"))

    def _ready(self) -> Ready:
        network = self._network
        # A link that opens the dashboard is for a person alone: logs are kept.
        is_person = self._face.keys is not None
        once = address_once(self._url, self._tickets.make(math.inf)) if is_person else ""
        return Ready(
            url=self._url,
            mods=tuple(ModRunning(g.mod_id, g.mod_path, g.number) for g in network.engine.registry.live),
            ready_ms=(time.time() - self._began) * 1000,
            watching=self._watch.watched() if self._options.watch else (),
            files=len(network.engine.knowledge.sources()) if self._options.watch else 0,
            disabled=sum(not each.enabled for each in network.config.mods),
            watcher=self._watch.kind if self._options.watch else "",
            name=network.network_name,
            page=once or address_shortened(self._url, self._token),
            exposed=bool(self._options.allow_host),
            hosts=self.hosting.started,
        )

    def _app(self) -> App:
        wanted = self._network.config.studio if self._options.studio is None else self._options.studio
        self._studio = studio.studio_build() if wanted else None
        self._has_no_studio = wanted and self._studio is None
        own = own_routes(
            self,
            self._network,
            hosts=self.hosting.api,
            views=self.views,
            replaying=self._replaying,
            page=PageApi(self._token, self._tickets),
            studio=self._studio,
        )
        # Clients connected at a former address go on using it.
        earlier = [f"{name}:{port}" for name in LOCAL_NAMES for port in self._earlier_ports]
        return make_app(
            self._network,
            self,
            token=self._token,
            port_of=self._port,
            routes=own,
            hosts=self.hosting.api,
            allowed_hosts=(*self._exposure.names, *earlier),
            join_token=self._exposure.join_token,
        )

    def _port(self) -> int:
        return int(self._heard[0].getsockname()[1])

    def _make_watch(self) -> Watch:
        engine = self._network.engine
        return Watch(
            engine.roots,
            engine.knowledge.sources,
            self._options.path.resolve(),
            on_change=self.saves.files_changed,
            on_config=self.saves.config_changed,
            on_lock=self.saves.lock_changed,
            ignored=self._ignored,
            notice=lambda words: self.tell(Notice(words)),
            folders=lambda: engine.config.mod_paths,
            whole=engine.modules.compile_ahead,
            written=engine.knowledge.written,
            read_by=read_by,
        )

    # What comes in

    def _ignored(self, save: Ignored) -> None:
        # A restart tells the changes that it applies, the plan of another host the code that it brings.
        if not self._network.engine.author and not self._outside.is_brought(save, self._network.workspace):
            self.tell(save)

    def _read_network(self) -> NetworkConfig:
        self._written = read_written(self._options.path)
        config = self._written.config
        self._overridden = self._options.overridden(config)
        return self._options.with_address(config)

    def _survives(self) -> tuple[dict[str, Any], dict[str, int]]:
        """Return what survives a restart beside the network, and the descriptors of that."""
        claim = self._files.hand_over()
        session, file = self.recording.hand_over()
        self.views.close()
        forks = self._options.forks
        values = {
            "address": self._address,
            "forks": forks.pid if forks is not None else None,
            "token": self._token,
            "ports": tuple({*self._earlier_ports, self._port()}),
            "views": self.views.pack(),
            "paused": self.saves.paused,
            "log_level": logs.level(),
            "terminal": self._face.keys.mode_before if self._face.keys is not None else None,
            "agents": self._agents.pack(),
            "session": session,
            "contract": self.contracts.pack(),
            "pins": self._replaying.pack(),
            "network_yaml": self._written.pack(),
        }
        sockets = dict(zip(LISTENING, (each.fileno() for each in self._heard), strict=False))
        files = file if claim is None else file | {"claim": claim}
        return {"server": values}, sockets | self._agents.descriptors() | files

    def _serve_on(self) -> None:
        """Open again what `_survives` and the end of the face have closed."""
        self._face.go_on()
        self._files.take_back(self._network.directory)
        self.views.open_again()
        self.recording.take_back()

    # Control, for the API

    def status(self, *, mods: bool = True) -> dict[str, Any]:
        """Describe the running network."""
        told = status_of(self._network, self.saves, self.views.standing, mods=mods)
        where = {"url": self._url, "editor_link": editor_link(self._options.settings, self._options.path)}
        own = {**where, "hosts": self.hosting.rows(), "reload_number": self.reloads.number}
        return self._redactor.of(told | own)

    def catalogue(self) -> dict[str, Any]:
        """Describe the handlers and configuration of each mod that runs."""
        return catalogue_of(self._network)

    def why(self, name: str) -> dict[str, Any]:
        """Return why a mod or a package runs, or does not."""
        # Here and not above: rarely needed.
        from devserver.reload.why import Why

        engine = self._network.engine
        return self._redactor.of(Why(engine.knowledge, engine.modules).of(name))

    def which(self, agent: str, mod: str) -> dict[str, Any] | None:
        """Return the version of a mod that an agent gets, and why."""
        return self._network.lines.why(agent, mod)

    async def compared(self, mod: str) -> list[dict[str, Any]] | None:
        """Return the differences of a mod's shadows; None for an unknown mod."""
        await self._network.shadows_seen()
        known = self._network.engine.registry.find(main_of(mod)) is not None
        return self._redactor.of(self._network.compare_mod(mod)) if known else None

    async def submit(self, trigger: Trigger) -> PlanDone:
        """Have a trigger carried out."""
        return self._redactor.of(await self._network.submit(trigger))

    def allow_blocked(self, sha256: str) -> None:
        """Let a mod of this digest be loaded despite a catalogue's warning."""
        self._network.blocked.allow(sha256)

    async def send(self, event: Event, as_agent: str | None) -> EventResponse:
        """Send an event as an agent, or as the operator of the network."""
        event.source_id = as_agent or event.source_id or "agent:admin"
        return await self._network.ingest(event, ADMIN)

    def stop(self) -> None:
        """End this run."""
        self._stop.set()

    # What goes out

    def tell(self, fact: Fact) -> None:
        """Tell the face. From any thread."""
        fact = self._redactor.of(fact)
        self.views.note(fact)
        self.settling.note(fact)
        self.hosting.note(fact)
        self._face.tell(fact)
        self._log_ahead.note(fact)
        self._replaying.note(fact)
        self.recording.note(fact)
        self.contracts.note(fact)

    def _agent_changed(self, agent_id: str, came: bool, transport: str) -> None:
        if came or not self._stop.is_set():  # the last line counts those that leave then
            self.tell(AgentSeen(agent_id, came, transport))

    # End

    def _asked_to_stop(self) -> None:
        if self._is_asked:
            self._face.close()
            os._exit(_SECOND_INTERRUPT)  # whatever hangs
        self._is_asked = True
        self.tell(Notice("stopping; Ctrl-C again ends it at once", calm=True))
        self._stop.set()

    async def _end(self) -> None:
        """End everything in order; unfinished work is left to the end of the process."""
        leaving = Leaving(self._face.close, code=0 if sys.exc_info()[0] is None else 1)
        leaving.begin()
        # Steps may block, as nothing else runs here now: that is nothing to warn of in Python's development mode.
        asyncio.get_running_loop().slow_callback_duration = math.inf
        summary, forks = summary_of(self._network), self._options.forks
        await _cancelled(*self._tasks)
        await Ending(self._network, self._home, self._http, self.tell).run(
            (
                ("the agents of dev.agents", self._agents.end),
                ("the other hosts", self.hosting.end),
                ("the states that outlive a crash", self._kept.end if self._files.are_ours else lambda: None),
                ("the files in .oa-dev", self._files.end),
                ("the contract", self.contracts.end),
                ("the session", self.recording.end),
                ("replay", self._replaying.end),
                ("the fork server", lambda: None if forks is None else forks.end()),
                ("the agents' queues", self._network.directory.close),
                ("what commands wait for", self.views.close),
            )
        )
        self.tell(summary)
        leaving.all_told()


async def _later(seconds: float, do: Callable[[], Awaitable[None] | None]) -> None:
    await asyncio.sleep(seconds)
    if (work := do()) is not None:
        await work


async def _cancelled(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
