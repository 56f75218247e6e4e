"""The composition root: two threads, one network, one watch, one face; starts them, joins them, ends them.

The control side (this thread) answers agents, watches files and reads keys; mods run on a thread of their own. Decides
nothing about mods and formats nothing for people.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Coroutine, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from devserver.agent_network import AgentNetwork
from devserver.config.network_yaml import read_network
from devserver.config.settings import has_changed, read_settings
from devserver.control.desk import DeskApi
from devserver.control.followed import Followed
from devserver.control.page import PageApi, Tickets
from devserver.control.page_address import address, address_shortened
from devserver.control.tape import Tape
from devserver.errors import CannotListen, DevServerError, PortInUse
from devserver.live import garbage
from devserver.live.loops import LoopThread, Worker, run_in_thread
from devserver.loader import InstalledCode
from devserver.model.change import ReloadAsked, RestartAsked, Trigger, UndoAsked
from devserver.model.config import NetworkConfig
from devserver.model.event import Event, EventResponse
from devserver.model.facts import (
    AgentSeen,
    ConfigRefused,
    Fact,
    Ignored,
    ModRunning,
    Notice,
    PlanDone,
    Ready,
    Restarted,
    Stopped,
)
from devserver.model.lifecycle import Phase
from devserver.model.logs import level as current_level
from devserver.model.logs import set_level
from devserver.model.names import LOCAL_NAMES
from devserver.model.plan import Plan
from devserver.model.principal import ADMIN
from devserver.model.wire_form import done_to_dict, error_to_dict, iso_of, restarted_to_dict
from devserver.network.accounts import EVENTS, RELOADS
from devserver.reload.restarting import Arrival
from devserver.server.app import make_app
from devserver.server.before import LISTENING, Before
from devserver.server.exposure import Exposure
from devserver.server.image import hear_signals
from devserver.server.kept_states import KeptStates, lost_words
from devserver.server.leaving import Leaving, left_running
from devserver.server.redact import Redactor
from devserver.server.restart import IMPORTED, Parts, RestartInPlace
from devserver.server.run_options import RunOptions
from devserver.server.runfile import process_began
from devserver.server.saves import Saves
from devserver.server.settled import Settling
from devserver.server.sockets import beside, bind, url_of
from devserver.server.status import Standing, catalogue_of, status_of
from devserver.server.studio import PATH as STUDIO
from devserver.server.studio import studio_build, studio_routes, why_none
from devserver.server.watchdog import Watchdog, frames_of_thread
from devserver.server.workspace_files import WorkspaceFiles
from devserver.sources.watch import Watch
from devserver.transports.http.serving import HttpServer
from devserver.ui.face import Face
from devserver.ui.keymap import KeyPressed

STOP_SECONDS = 2.5
"""How long a stop may take before what does not end is left to the end of the process."""

_PATIENCE = 0.4
"""Seconds after which a stop says whom it waits for."""
_PRESENCE_SECONDS = 5.0
_INSTALLED_SECONDS = 0.5
"""How often installed packages and our own code are compared with what was loaded: some hundred calls of stat."""
_SHOWN_AGAIN = (
    "a link to the dashboard was used twice; if that was not you, another user of this machine has seen it:"
    " restart oa-dev"
)
_SECOND_INTERRUPT = 130


def run_server(options: RunOptions, face: Face) -> int:
    """Run a network until it is stopped; the exit code.

    Raises ConfigError for a network.yaml that cannot be used, PortInUse where no port is free; nothing runs then.
    """
    began = options.supervised.began or process_began()
    # What was imported by now lives as long as the process: looking through it again would stop everything for 20 ms.
    garbage.freeze_own()
    config = options.with_address(read_network(options.path))
    heard = _heard(options, config, face)
    options.supervised.entrust(heard[0], config.host, config.port)
    try:
        return asyncio.run(Server(options, config, heard, face, began).run())
    finally:
        for each in heard:
            each.close()


def _heard(options: RunOptions, config: NetworkConfig, face: Face) -> list[socket.socket]:
    """The sockets to listen on: those of before where the same address is wanted, else new ones."""
    before = options.before
    if before is not None and before.is_wanted(config.host, config.port):
        return before.listening()
    if before is not None:
        return _heard_instead(before, options, config, face)
    listening = options.supervised.listening(config.host, config.port)
    listening = listening or bind(config.host, config.port, strict=options.strict_port)
    return _with_own(listening)


def _heard_instead(before: Before, options: RunOptions, config: NetworkConfig, face: Face) -> list[socket.socket]:
    """The sockets of another address than before; those of before where that one cannot be had."""
    try:
        heard = _with_own(bind(config.host, config.port, strict=options.strict_port))
    except (PortInUse, CannotListen) as error:
        kept = before.listening()
        face.tell(Notice(f"{error}; the address of before is kept"))
        return kept
    # After the new one is there: whoever connects meanwhile is heard by either.
    before.close_listening()
    return heard


def _with_own(listening: socket.socket) -> list[socket.socket]:
    """A listening socket, and one for this machine's own agents where it needs one."""
    try:
        own = beside(listening)
    except BaseException:
        listening.close()
        raise
    return [listening] if own is None else [listening, own]


class Server:
    """One run of a network: what `oa-dev run` is."""

    def __init__(
        self, options: RunOptions, config: NetworkConfig, heard: list[socket.socket], face: Face, began: float
    ) -> None:
        self._options = options
        self._face = face
        self._began = began
        self._heard = heard
        before = options.before
        self._token = secrets.token_urlsafe(32) if before is None else before.values["server"]["token"]
        self._url = url_of(heard[-1])
        self._earlier_ports: tuple[int, ...] = () if before is None else before.values["server"]["ports"]
        self._stop = asyncio.Event()
        self._standing = Standing()
        self._tickets = Tickets(lambda: self.tell(Notice(_SHOWN_AGAIN)))
        self._address = (config.host, config.port)
        self._home = LoopThread("oa-dev mods", self._exit_requested)
        self._exposure = Exposure.of(options.allow_host, options.path.resolve().parent)
        hidden = tuple(filter(None, (self._exposure.join_token,)))
        self._redactor = Redactor(self._token, lambda digest: self._network.directory.is_secret(digest), hidden)
        face.log.say = self._redactor.before(face.log.say)
        self._network = AgentNetwork(config, options.path.parent, home=self._home, tell=self.tell)
        for each in options.watch_paths:
            self._network.engine.roots.ask(options.path.parent / each)
        self._network.engine.config_file = options.path.resolve()
        self._network.engine.admit = options.supervised.quarantine(config, self._network.engine.roots).refuse
        self._files = WorkspaceFiles(self._network.workspace, lambda words: self.tell(Notice(words)))
        self._kept = KeptStates(self._network.workspace, lambda words: self.tell(Notice(words)))
        self._network.engine.kept_state = self._kept.give
        accounts = self._network.directory.accounts
        self.reloads: Tape[dict[str, Any]] = Tape(100, accounts.open(RELOADS))
        self.followed = Followed(self._network.on_event, account=accounts.open(EVENTS))
        how = "space" if options.keys else "oa-dev apply"
        self._overridden: tuple[str, ...] = ()
        self.saves = Saves(
            self._network,
            options.path,
            self._read_network,
            self.tell,
            confirm=options.confirm,
            how=how,
            overridden=lambda: self._overridden,
        )
        self._settings_told: set[str] = set()
        self._installed = InstalledCode(self._network.engine.roots.holds, options.image.began)
        self.settling = Settling(
            self._network, self.saves, options.path.resolve(), watches=options.watch, status=self.status
        )
        self._watch = self._make_watch()
        self._http = HttpServer(self._app(), accounts)
        self._tasks: list[asyncio.Task[None]] = []
        self._asks = 0
        self._restart: RestartInPlace | None = None
        self._network.engine.restarts.replace = self._replace
        self._network.engine.restarts.problem = self._cannot_start
        self._network.engine.restarts.rehearse = self._rehearse
        if before is not None:
            self._go_on(before)

    def _go_on(self, before: Before) -> None:
        """Go on where the image before this one was."""
        self._network.unpack(before.values)
        self._network.engine.restarts.cause = before.cause
        self.reloads.unpack(before.values["server"]["reloads"])
        self.saves.paused = before.values["server"]["paused"]
        self.set_log_level(before.values["server"]["log_level"])

    async def run(self) -> int:
        """Start, serve until asked to stop, end."""
        self._loop = asyncio.get_running_loop()
        self._handle_signals()
        hear_signals()
        self._home.start()
        self._network.directory.on_presence.append(self._agent_changed)
        before = self._options.before
        self._files.begin(self._network.directory, before.descriptors.get("claim") if before is not None else None)
        if before is None and self._files.are_ours:
            self._kept.begin()
        self._network.keep = self._files.written
        self._http.begin(self._heard)
        if before is not None:
            await self._http.adopt(before.connections)
        starting, stopping = asyncio.create_task(self._start()), asyncio.create_task(self._stop.wait())
        try:
            # A mod that never starts must not keep who wants to stop.
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
        await self._network.initialize()
        garbage.end_start()
        await self._announce_ready()

    async def _announce_ready(self) -> None:
        self._begin(self._keep_presence())
        self._begin(self._watchdog().run())
        if self._files.are_ours:
            self._begin(self._kept.run(self._home, lambda: self._network.engine.registry.live))
        if self._options.watch:
            self._begin(self._watch.run())
            self._begin(self._watch_installed())
        self._files.announce(self._url, self._token)
        if (before := self._options.before) is None:
            self._announce_start()
        else:
            self.tell(replace(before.done(self._network, self._url, time.time()), ready=self._ready()))
        self._face_keys()

    def _announce_start(self) -> None:
        wanted = self._address[1]
        if wanted and self._port() != wanted:
            self.tell(Notice(f"port {wanted} is in use; listening on {self._port()} instead"))
        for each in self._options.watch_paths:
            if not (self._options.path.parent / each).is_dir():
                self.tell(Notice(f"watch-paths: there is no folder {each}"))
        self.tell(self._ready())
        if self._options.open_page and not self._options.supervised.crashes:
            self._begin(self._open_page())
        if self._studio is not None:
            self.tell(Notice(f"Studio: {self._url}{STUDIO}", calm=True))
        elif self._has_no_studio:
            self.tell(Notice(why_none()))
        if crashes := self._options.supervised.crashes:
            self.tell(Notice(lost_words(crashes[-1].how, crashes[-1].began, self._kept.brought_back)))
        if (exposed := self._exposure.told(self._heard[0])) is not None:
            self._face.tell(exposed)  # and not through the redactor: it is the one place where the join token is shown

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
            page=address_shortened(self._url, self._token),
            exposed=bool(self._options.allow_host),
        )

    def _app(self) -> Any:
        own, open_to = (*DeskApi(self).routes(), *PageApi(self._token, self._tickets).routes()), self._exposure
        # Who is connected at an address of before goes on calling us by it.
        earlier = [f"{name}:{port}" for name in LOCAL_NAMES for port in self._earlier_ports]
        names, join = (*open_to.names, *earlier), open_to.join_token
        wanted = self._network.config.studio if self._options.studio is None else self._options.studio
        self._studio = studio_build() if wanted else None
        self._has_no_studio = wanted and self._studio is None
        own = own if self._studio is None else (*own, *studio_routes(self._studio))
        return make_app(
            self._network, self, token=self._token, port_of=self._port, routes=own, allowed_hosts=names, join_token=join
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
            ignored=self._ignored,
            notice=lambda words: self.tell(Notice(words)),
            folders=lambda: engine.config.mod_paths,
            written=engine.knowledge.written,
            read_by=engine.read_by,
        )

    # What comes in

    def _ignored(self, save: Ignored) -> None:
        settings = self._options.settings
        if settings is not None and has_changed(settings, self._options.path.parent, save.path):
            return  # a restart brings it
        file = self._network.workspace / save.path
        if not self._installed.holds(file) and os.path.lexists(file):
            # A file that is gone by now was a step of an editor's save.
            # What modules were loaded from is no save that leads to nothing: a restart brings it.
            self.tell(save)

    def _read_network(self) -> NetworkConfig:
        written = read_network(self._options.path)
        self._overridden = self._options.overridden(written)
        return self._options.with_address(written)

    def _face_keys(self) -> None:
        if self._face.keys is not None:
            self._face.keys.start(self._on_key, lambda: tuple(self._network.running_mods()))

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
            case "redo":
                self._ask(UndoAsked(cause="key Z", redo=True))
            case "restart" if self._restart is not None:
                self._restart.insist()
            case "restart":
                self._ask(RestartAsked(cause="key R", by_person=True))
            case "pause":
                self._begin(self.saves.toggle())
            case "apply":
                self._begin(self.saves.apply())
            case "urls":
                self._face.reveal(address(self._url, self._token), "")
            case "open":
                self._begin(self._open_page())
            case "quit":
                self._asked_to_stop()

    def _ask(self, trigger: Trigger) -> None:
        self._begin(self._network.submit(trigger))

    async def _open_page(self) -> None:
        # Here and not above: rarely asked for.
        from devserver.server.door import write_door
        from devserver.ui.browser import browse

        door = write_door(self._network.workspace, self._url, self._tickets.make())
        if door is not None and await run_in_thread(browse, door):
            self.tell(Notice("opened the dashboard in the browser", calm=True))
        else:
            self._face.reveal(address(self._url, self._token), "no browser to open here, the dashboard is")

    async def _check(self) -> None:
        # Here and not above: rarely asked for, and what it needs is slow to import.
        from devserver.server.check import check_network

        found = await run_in_thread(check_network, self._options.path)
        if found.refused:
            self.tell(ConfigRefused(found.refused))
        for mod, error in found.mods:
            self.tell(Notice(f"check: {mod}: {error}"))
        if found.good:
            self.tell(Notice(f"check: {found.summary}", calm=True))
        for each in found.notes:
            self.tell(Notice(f"check: {each}"))

    async def _watch_installed(self) -> None:
        """Have code that is no mod's brought by a restart when it changes on disk."""
        worker = Worker("oa-dev installed")
        try:
            while True:
                changed = (*await worker.run(self._installed.changed), *self._changed_settings())
                if changed:
                    self._network.engine.restart(changed)
                await asyncio.sleep(_INSTALLED_SECONDS)
        finally:
            worker.stop()

    def _changed_settings(self) -> list[str]:
        """Which files that are read at the start hold something else now; each is named once."""
        settings, folder = self._options.settings, self._options.path.parent
        names = settings.files if settings is not None else ()
        changed = {name for name in names if settings is not None and has_changed(settings, folder, name)}
        news, self._settings_told = sorted(changed - self._settings_told), changed
        return [f"{name} changed, which is read at the start" for name in news]

    # Restart in place

    def _replace(self, plan: Plan) -> None:
        """Have this process replaced, as a plan says. One that is under way goes on."""
        if self._restart is None:
            self._restart = RestartInPlace(plan, self._restart_parts())
            self._begin(self._restart_once(self._restart))

    async def _restart_once(self, restart: RestartInPlace) -> None:
        try:
            await restart.run()
        finally:
            self._restart = None

    def _restart_parts(self) -> Parts:
        return Parts(
            image=self._options.image,
            network=self._network,
            home=self._home,
            connections=self._http,
            tell=self.tell,
            more=self._more,
            again=self._options.supervised.again,
            last=self._face.close,
        )

    def _more(self) -> tuple[dict[str, Any], dict[str, int]]:
        """What of this server survives a restart beside its network, and the descriptors that do."""
        claim = self._files.hand_over()
        self.reloads.close()
        self.followed.tape.close()
        descriptors = dict(zip(LISTENING, (each.fileno() for each in self._heard), strict=False))
        values = {
            "token": self._token,
            "address": self._address,
            "ports": tuple({*self._earlier_ports, self._port()}),
            "reloads": self.reloads.pack(),
            "paused": self.saves.paused,
            "log_level": current_level(),
        }
        return {"server": values}, descriptors | ({} if claim is None else {"claim": claim})

    async def _rehearse(self, mods: Mapping[str, Arrival], failed_in: Phase) -> bool:
        """Whether these mods, which have failed in a phase in place, all come up in a fresh process."""
        # Here and not above: rarely needed.
        from devserver.server.rehearsal import comes_up, rehearse

        tried = await run_in_thread(rehearse, self._options.path, mods, os.environ)
        return all(comes_up(tried.get(each.mod_path), failed_in) for each in mods.values())

    async def _cannot_start(self) -> str | None:
        """Why a start would fail now, by what stands in files; None where it would not."""
        image, options = self._options.image, self._options
        problem = image.problem()
        if problem is not None:
            return problem
        # Here and not above: rarely needed, and slow to import.
        from devserver.server.check import check_network

        try:
            settings = read_settings(options.path.parent, {}, image.environ)
            config = self._read_network()
            if (config.host, config.port) != self._address:
                bind(config.host, config.port, strict=options.strict_port).close()
            environ = {**image.environ, **settings.variables}
            found = await run_in_thread(partial(check_network, options.path, environ=environ, also=IMPORTED))
        except (DevServerError, OSError) as error:
            return str(error)
        running = {each.mod_id for each in self._network.engine.registry.live} | {"mods"}
        failing = [f"{mod_id} ({error})" for mod_id, error in found.mods if mod_id in running]
        return "; ".join([*map(str, found.refused), *failing]) or None

    # Control, for the API

    def status(self) -> dict[str, Any]:
        """What runs."""
        told = status_of(self._network, self.saves, self._standing)
        return self._redactor.of({**told, "url": self._url, "reload_number": self.reloads.number})

    def catalogue(self) -> dict[str, Any]:
        """What can be asked of the mods that run."""
        return catalogue_of(self._network)

    async def submit(self, trigger: Trigger) -> PlanDone:
        """Have a trigger carried out."""
        return self._redactor.of(await self._network.submit(trigger))

    async def send(self, event: Event, as_agent: str | None) -> EventResponse:
        """Send an event as an agent, or as the one who runs the network."""
        event.source_id = as_agent or event.source_id or "agent:admin"
        return await self._network.ingest(event, ADMIN)

    def stop(self) -> None:
        """End this run."""
        self._stop.set()

    def set_log_level(self, level: str) -> None:
        """Show log records from this level on."""
        set_level(level)

    # What goes out

    def tell(self, fact: Fact) -> None:
        """Tell the face. From any thread."""
        fact = self._redactor.of(fact)
        self._standing.note(fact)
        self.settling.note(fact)
        if isinstance(fact, PlanDone):
            self.reloads.put({"time": iso_of(time.time()), **done_to_dict(fact)})
        elif isinstance(fact, Restarted):
            told = restarted_to_dict(fact)
            self.reloads.put({"time": iso_of(time.time()), "success": not fact.failed, "restarted": told})
        elif isinstance(fact, ConfigRefused):
            refused = [error_to_dict(each) for each in fact.errors]
            self.reloads.put({"time": iso_of(time.time()), "success": False, "refused": refused})
        self._face.tell(fact)

    def _agent_changed(self, agent_id: str, came: bool, transport: str) -> None:
        if self._stop.is_set() and not came:
            return  # the last line counts them
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
        for number in (signal.SIGINT, signal.SIGTERM):
            self._loop.add_signal_handler(number, self._asked_to_stop)
        # A terminal that goes says so through the shell, too, and a supervisor what the server may have heard itself:
        # that is no insisting.
        self._loop.add_signal_handler(signal.SIGHUP, self._stop.set)

    def _asked_to_stop(self) -> None:
        self._asks += 1
        if self._asks == 1:
            self.tell(Notice("stopping; Ctrl-C again ends it at once", calm=True))
        if self._asks > 1:
            self._face.close()
            os._exit(_SECOND_INTERRUPT)
        self._stop.set()

    async def _end(self) -> None:
        """End everything in order; what does not end in time is left to the end of the process."""
        leaving = Leaving(self._face.close, code=0 if sys.exc_info()[0] is None else 1)
        leaving.begin()
        summary = self._summary()
        await _cancelled(*self._tasks)
        for what, end in (
            ("the states that outlive a crash", self._end_kept),
            ("the files in .oa-dev", self._files.end),
            ("the agents' queues", self._network.directory.close),
            ("what commands wait for", self.reloads.close),
            ("the followed events", self.followed.tape.close),
            ("the mods", self._end_mods),
            ("the connections", self._end_connections),
            ("the mods' thread", self._end_home),
        ):
            # A step that fails is told, and never keeps the next ones from happening.
            try:
                if (ending := end()) is not None:
                    await ending
            except Exception as error:
                self.tell(Notice(f"{what} did not end as they should: {type(error).__name__}: {error}"))
        self.tell(summary)
        leaving.all_told()

    def _end_kept(self) -> None:
        if self._files.are_ours:
            self._kept.end()

    async def _end_mods(self) -> None:
        work = asyncio.ensure_future(self._network.shutdown())
        if not (await asyncio.wait({work}, timeout=_PATIENCE))[0]:
            self.tell(Notice(f"waiting for {self._ending()} to shut down", calm=True))
        if not (await asyncio.wait({work}, timeout=STOP_SECONDS / 2 - _PATIENCE))[0]:
            self.tell(Notice(f"{self._ending()} did not shut down within {STOP_SECONDS / 2:.1f} s; not waited for"))
            work.cancel()
            return
        await work

    def _ending(self) -> str:
        stack = list(reversed(frames_of_thread(self._home.thread.ident)))
        return self._network.engine.ending(stack) or "a mod"

    async def _end_connections(self) -> None:
        await self._in_time(self._http.end(), "a connection does not end; cut off")

    async def _end_home(self) -> None:
        if not await asyncio.to_thread(self._home.stop, 0.5):
            self.tell(Notice("the mods' thread is blocked; left behind"))
        left = left_running(self._network.engine.shown, self._network.engine.is_own)
        if left:
            self.tell(Notice(f"left behind: {'; '.join(left)}"))

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
            len(self._network.mods()),
            stats["agent_count"],
        )


async def _cancelled(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
