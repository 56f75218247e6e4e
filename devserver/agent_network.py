"""The network as embedders, transports and the server hold it: the facade over both streams.

Forwards: changes of mods to the engine, events to the dispatcher, agents to the directory. Opens no
socket and watches no file.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Self, Unpack

from devserver.config.written import read_written
from devserver.errors import NoModClass
from devserver.live.background import Background
from devserver.live.generation import Generation, running_calls
from devserver.live.loops import Done, Home, SameLoop, Work
from devserver.live.overseer import Overseer
from devserver.live.registry import Gate
from devserver.loader.locate import find_mod_class, imported
from devserver.market.blocked import BlockedMods
from devserver.market.shelf import Shelf
from devserver.mod import BaseMod
from devserver.model.change import (
    ConfigChanged,
    DropAsked,
    Keep,
    LineAsked,
    LoadAsked,
    PromoteAsked,
    ReloadAsked,
    SplitAsked,
    Trigger,
    UnloadAsked,
)
from devserver.model.clock import Clock, RealClock
from devserver.model.config import NetworkConfig
from devserver.model.event import Event, EventResponse
from devserver.model.facts import (
    AgentsSeen,
    ErrorFacts,
    Fact,
    ModError,
    Notice,
    Outcome,
    PlanDone,
    Status,
)
from devserver.model.logs import log_fact
from devserver.model.names import module_of
from devserver.model.plan import RESTART, START, Plan
from devserver.model.principal import LOCAL, Kind, Principal
from devserver.model.split import Guard, Line, Rule, StateMode, default_label, label_of, main_of
from devserver.network.accounts import RECORDED
from devserver.network.agent import Agent, Registration, Wishes
from devserver.network.agents import Directory
from devserver.network.asks import Asks
from devserver.network.dispatch import Ask, Dispatcher, agent_event
from devserver.network.handle import NetworkHandle
from devserver.network.lines import Lines
from devserver.network.others import Asked as AskedElsewhere
from devserver.network.others import Others
from devserver.network.recorder import Recorder
from devserver.network.running import RunningMods, agent_stats, described, mod_event, readme_of
from devserver.network.shadow import HeldHandle
from devserver.network.system import run_system
from devserver.reload.engine import Engine
from devserver.reload.line_state import copy_folder
from devserver.reload.outcomes import response_of

if TYPE_CHECKING:
    from devserver.bridge import Bridge
    from devserver.bridge.network import EventGateway, Topology, Workspace
    from devserver.reload.adding import Adding

Tell = Callable[[Fact], None]
Tap = Callable[[Event, EventResponse], None]
"""Told of ended events, with their answers. Called in any loop; returns at once, never raises."""


class AgentNetwork:
    """A network of agents and mods.

    Made by `load`, started by `initialize`, ended by `shutdown`. Arguments: `config`, the
    network.yaml; `workspace`, its folder; `home`, where mods run (the caller's loop unless given);
    `tell`, told every fact (logged unless given).
    """

    def __init__(
        self, config: NetworkConfig, workspace: Path, *, home: Home | None = None, tell: Tell | None = None
    ) -> None:
        self.workspace = workspace.resolve()
        self.network_name = config.name
        self.network_id = config.node_id or f"network-{secrets.token_hex(4)}"
        self.directory = Directory(config)
        self.storage = self.workspace / ".oa-dev" / "storage"
        """The folders of mods' own data."""
        self.shelf = Shelf(lambda: self.config, self.workspace)
        """The available mods."""
        self._adding: Adding | None = None
        """The mods that were brought for this run."""
        self.asks = Asks(self.shelf, self.directory, lambda fact: self._tell(fact))
        """The mods that agents have asked for."""
        self.clock: Clock = RealClock()
        """The clock of mods."""
        self._home = home or SameLoop()
        self._tell = tell or log_fact
        self.engine = Engine(config, self.workspace, self._home, self, self._tell)
        self.engine.on_config.append(self.directory.reconfigure)
        self.lines = Lines(self.engine.registry, self.directory, self._tell)
        """The versions that run beside mods."""
        self._dispatcher = Dispatcher(self.engine.registry, self.directory, self._on_mod_error)
        self._process = self._home.bound(self._dispatcher.process)
        self._dispatcher.on_line_error = self.lines.on_error
        self._dispatcher.shadows.tell = self._tell
        self.blocked = BlockedMods(self, lambda: self.engine.environment.current, lambda fact: self._tell(fact))
        """The warnings of catalogues about installed mods."""
        self.engine.locate.admits.append(self.blocked.refuse)
        self._overseer = Overseer(self.engine, partial(self._dispatcher.give_up, self._home.answer), self._tell)
        self._release_tasks: Callable[[], None] | None = None
        self._started: float | None = None
        self._start_gate = Gate(sys.maxsize)
        """Holds events until the mods of network.yaml are loaded; these go before later ones."""
        self._bridge: Bridge | None = None
        self.metadata: dict[str, Any] = {}
        """Free for embedders, as in OpenAgents; the network itself uses none of it."""
        self._up_before = 0.0
        self._kept_before: Mapping[str, Any] = {}
        self._others: Others | None = None
        self._joins: asyncio.Event | None = None
        self.on_event: list[Tap] = []
        """Called with each event that has ended."""
        self.keep: Callable[[], Awaitable[None]] = lambda: asyncio.sleep(0)
        """Waited for before a registration is answered: a killed process then knows it again."""

    @classmethod
    def load(
        cls,
        config: str | Path | None = None,
        port: int | None = None,
        workspace_path: str | Path | None = None,
        *,
        home: Home | None = None,
        tell: Tell | None = None,
    ) -> Self:
        """Make a network as a network.yaml describes it. Nothing runs yet.

        Arguments: `config`, the file, or the folder that holds it; without it the file of
        `workspace_path` is taken. `workspace_path`, the folder of mods and data if it is not that
        of the file. `port` replaces the file's. Raises ConfigError with every problem at its line;
        FileNotFoundError if the file is missing; ValueError if neither a file nor a folder is
        named; TypeError for a configuration object, see `create_from_config`.
        """
        named = workspace_path if config is None else config
        if named is None:
            raise ValueError("name a network.yaml, or the workspace_path that holds one")
        if not isinstance(named, str | Path):
            raise TypeError(f"load() takes a path, not {type(named).__name__}: use create_from_config(config)")
        file = Path(named)
        file = file / "network.yaml" if file.is_dir() else file
        wanted = read_written(file).config
        wanted = wanted if port is None else replace(wanted, port=port)
        network = cls(wanted, Path(workspace_path or file.parent), home=home, tell=tell)
        network.engine.locate.config_file = file.resolve()
        return network

    @classmethod
    def create_from_config(
        cls, config: NetworkConfig, port: int | None = None, workspace_path: str | Path | None = None
    ) -> Self:
        """Make a network from values instead of a file; `workspace_path` is the current folder unless given."""
        wanted = config if port is None else replace(config, port=port)
        return cls(wanted, Path(workspace_path or Path.cwd()))

    @property
    def config(self) -> NetworkConfig:
        """The network.yaml, with the settings that need a restart as they run."""
        return self.engine.config

    @property
    def is_running(self) -> bool:
        """Whether the network was initialized and has not been shut down."""
        return self._started is not None

    # What code for OpenAgents asks of a network, as far as it exists here

    @cached_property
    def topology(self) -> Topology:
        """The agents and their groups, always up to date."""
        from devserver.bridge.network import Topology

        return Topology(self.directory)

    @cached_property
    def event_gateway(self) -> EventGateway:
        """Channels and their members."""
        from devserver.bridge.network import EventGateway

        return EventGateway(self.directory)

    @cached_property
    def workspace_manager(self) -> Workspace:
        """The folders of OpenAgents' mods."""
        from devserver.bridge.network import Workspace

        return Workspace(self.workspace)

    def record(self) -> Recorder:
        """Have every event recorded from now on, and get the recorder, the same each time."""
        if self._dispatcher.recorder is None:
            account = self.directory.accounts.open(RECORDED, self._recorded_by)
            self._dispatcher.recorder = recorder = Recorder(account, lambda words: self._tell(Notice(words)))
            self.directory.on_read = recorder.read
        return self._dispatcher.recorder

    def _recorded_by(self) -> dict[str, int]:
        """Count events that have just ended, too. No event is kept on behalf of one owner."""
        if self._dispatcher.recorder is not None:
            self._dispatcher.recorder.take_in()
        return {}

    # Life

    async def initialize(self) -> bool:
        """Load the mods that network.yaml lists and enables. A mod that cannot be loaded is told of, and left out."""
        self.hold_events()
        try:
            self.engine.start()
            await self._home.run(self._settle_in)
            self.lines.begin()
            self._started = time.monotonic() - self._up_before
            cause = RESTART if self.engine.restarts.cause else START
            left_out = frozenset(self.engine.restarts.unloaded)
            await self.engine.submit(ConfigChanged(self.config, cause, left_out=left_out))
            for each in self.engine.restarts.unlisted(tuple(each.path for each in self.config.enabled_specs)):
                packages = Path(each.packages) if each.packages else None
                await self.engine.submit(LoadAsked(each.mod_path, each.config, cause, packages=packages))
        finally:
            self._start_gate.open()
        return True

    def hold_events(self) -> None:
        """Have events wait until `initialize` has loaded the mods that hear them: agents may be here before."""
        self._start_gate.close()

    async def shutdown(self) -> bool:
        """End every mod, then the agents' queues."""
        # Mods first: in their `shutdown()` they may still send to agents.
        await self.engine.stop()
        await self._home.run(self._move_out)
        for agent in self.directory.agents():
            self.directory.unregister(agent.agent_id)
        self._started = None
        return True

    # Restart in place

    async def end_mods(self) -> None:
        """End every mod and pack its state, when no handler runs; `initialize` restores them."""
        engine = self.engine
        live, limit, sources = engine.lasting, engine.limits.initialize, engine.knowledge.made_from()
        folder, mods = engine.environment.brought, engine.environment.mods
        brought = {} if folder is None else dict.fromkeys(mods, str(folder))
        arrivals = await self._home.run(partial(engine.restarts.pack, live, limit, sources, brought=brought))
        await engine.stop()
        await self._home.run(self._move_out)
        engine.restarts.arrivals = arrivals

    def pack(self) -> dict[str, Any]:
        """Return, after `end_mods`, what the next image continues with, as plain values."""
        up = 0.0 if self._started is None else time.monotonic() - self._started
        return {
            "network": {"network_id": self.network_id, "up": up},
            "directory": self.directory.pack(),
            "dispatcher": self._dispatcher.pack(),
            "engine": self.engine.pack(),
            "recorder": None if self._dispatcher.recorder is None else self._dispatcher.recorder.pack(),
            "bridge": {} if self._bridge is None else self._bridge.pack(),
            "asks": self.asks.pack(),
        }

    def unpack(self, packed: Mapping[str, Any]) -> None:
        """Continue after an earlier image of this process. Call it before `initialize`."""
        self.network_id = self.config.node_id or packed["network"]["network_id"]
        self._up_before = packed["network"]["up"]
        self.directory.unpack(packed["directory"])
        self._dispatcher.unpack(packed["dispatcher"])
        self.engine.unpack(packed["engine"])
        if self._dispatcher.recorder is not None and packed.get("recorder") is not None:
            self._dispatcher.recorder.unpack(packed["recorder"])
        self._kept_before = packed["bridge"]
        if "asks" in packed:  # an older image has none
            self.asks.unpack(packed["asks"])
        self.hold_events()

    async def _settle_in(self) -> None:
        background = Background(self._on_mod_error, lambda: self.engine.registry.live)
        self._release_tasks = background.follow(asyncio.get_running_loop())
        self._overseer.start()

    async def _move_out(self) -> None:
        await self._overseer.stop()
        if self._release_tasks is not None:
            self._release_tasks()
            self._release_tasks = None

    # Mods

    async def load_mod(
        self,
        mod_path: str,
        config: Mapping[str, Any] | None = None,
        *,
        trusted: bool = True,
        generation: int | None = None,
        beside: str | None = None,
        share: float = 0.0,
    ) -> EventResponse:
        """Load a mod while the network runs.

        Arguments: `mod_path`, a dotted path as `mods.wiki`, or `./wiki` for mods/wiki beside
        network.yaml; `config`, which becomes the mod's `config`; `trusted`, False for callers that
        have to obey the allow list; `generation`, the one that the caller saw (0: none): if another
        one runs, nothing is done and `data` has the code stale_generation. `beside`, a mod that
        runs: this one serves as a version of it, `share` (0 to 1) of all agents get it.

        A fault of the mod is in the answer and is never raised; `data` holds mod_id, mod_path,
        generation and duration_ms.
        """
        if beside is not None:
            label = default_label(mod_path) or "next"
            line = Line(label=label, rule=Rule(share=share), code=module_of(mod_path))
            asked_line = LineAsked(beside, line, config, "load_mod", trusted)
            return response_of(await self.engine.submit(asked_line), f"{beside}@{label}")
        asked = LoadAsked(mod_path, dict(config or {}), "load_mod", trusted, generation)
        return response_of(await self.engine.submit(asked), mod_path)

    async def install(
        self,
        name: str,
        *,
        approve: Callable[[Mapping[str, Any]], bool | Awaitable[bool]],
        version: str = "",
        sha256: str = "",
        config: Mapping[str, Any] | None = None,
    ) -> EventResponse:
        """Bring a mod of a catalogue here, for this run: network.yaml and the lock stay.

        Arguments: `name`, as a catalogue lists it; `approve`, asked before anything of the mod is
        imported, with what it answers, needs and touches, its version and sha256; `version`, the
        newest by default; `sha256`, the only digest to take; `config`, as of `load_mod`. Nothing
        is raised: the code in `data` says why it was not brought. On success `data` has the entry
        that keeps it in network.yaml, and what was installed.
        """
        # Here and not above: it imports the market, which most networks never need.
        from devserver.reload.adding import Adding

        if self._adding is None:
            self._adding = Adding(self.workspace, self.engine, self.shelf)
        return await self._adding.bring(name, approve, version=version, sha256=sha256, config=config or {})

    async def unload_mod(
        self, mod: str, *, force: bool = False, cascade: bool = False, generation: int | None = None
    ) -> EventResponse:
        """Unload a mod by path or id; others that need it: `cascade` unloads them, `force` leaves them.

        The rest is as of `load_mod`.
        """
        return response_of(await self.engine.submit(UnloadAsked(mod, force, "unload_mod", generation, cascade)), mod)

    async def reload_mod(self, mod: str, *, generation: int | None = None) -> EventResponse:
        """Reload a mod (path or id) from disk; if it fails, its generation stays. As `load_mod`."""
        return response_of(await self.engine.submit(ReloadAsked((mod,), "reload_mod", generation)), mod)

    # Versions beside a mod

    async def try_mod(self, mod: str, rule: Rule | None = None, *, label: str = "next") -> EventResponse:
        """Let saves of a mod run as a version beside it from now on (`wiki@next`); the mod stays.

        `rule`, which events it gets: those that name it, unless given. Else as of `load_mod`.
        """
        wanted = Rule() if rule is None else rule
        state = StateMode.COPY if wanted.shadow else StateMode.SHARED
        line = Line(label=label, rule=wanted, state=state, guard=None if wanted.shadow else Guard())
        return response_of(await self.engine.submit(LineAsked(mod, line, cause="try_mod")), f"{mod}@{label}")

    async def split_mod(self, line: str, rule: Rule | float) -> EventResponse:
        """Give a line (`wiki@2`) other agents: by a rule, or a share of all. As `load_mod`."""
        wanted = rule if isinstance(rule, Rule) else Rule(share=rule)
        return response_of(await self.engine.submit(SplitAsked(line, wanted, "split_mod")), line)

    async def promote_mod(self, line: str, *, keep: Keep = "") -> EventResponse:
        """Let a line become its mod, in one reload. `keep`: whose state stays if both have one.

        The answer is about the mod.
        """
        return response_of(await self.engine.submit(PromoteAsked(line, keep, "promote_mod")), main_of(line))

    async def drop_mod(self, line: str, *, keep: Keep = "") -> EventResponse:
        """End a line: its agents get the main line again, at once. `keep`: as of `promote_mod`."""
        return response_of(await self.engine.submit(DropAsked(line, keep, "drop_mod")), line)

    async def shadows_seen(self) -> None:
        """Wait until shadows have seen every event of so far, for at most a second."""
        with suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await self._home.run(self._dispatcher.shadows.catch_up)

    def compare_mod(self, mod: str) -> list[dict[str, Any]]:
        """Return the differences of a mod's shadows (`wiki`), or of one (`wiki@next`), in rows."""
        return self._dispatcher.shadows.rows(mod) or []

    async def submit(self, trigger: Trigger) -> PlanDone:
        """Have a trigger carried out, and return all results. In the loop that started the network."""
        await self.all_loaded()
        return await self.engine.submit(trigger)

    def plan(self, trigger: Trigger) -> Plan:
        """Return the plan for a trigger, in the present situation. Changes nothing."""
        return self.engine.plan(trigger)

    async def foresee(self, trigger: Trigger) -> Plan:
        """Return the plan for a trigger, as `plan`, and let this loop go on meanwhile."""
        return await self.engine.foresee(trigger)

    def get_loaded_mods(self) -> dict[str, dict[str, Any]]:
        """Describe the mods that were loaded at run time, as OpenAgents does; network.yaml lists none of them.

        The form is that of `running_mods`, which describes all.
        """
        wanted = (each for each in self.engine.registry.live if not each.listed or label_of(each.mod_id) is not None)
        return {each.mod_id: self.described(each) for each in wanted}

    def versions(self) -> dict[str, str]:
        """Return the versions of running mods, by id; of a mod with several lines the main one."""
        return {each.mod_id: str(each.instance.version) for each in self.engine.registry.live if "@" not in each.mod_id}

    def running_mods(self) -> dict[str, dict[str, Any]]:
        """Describe all mods that run, by id, in the order in which they are asked.

        Each has mod_id, mod_path, generation, state, loaded_at (seconds since 1970) and more.
        """
        return {each.mod_id: self.described(each) for each in self.engine.registry.live}

    @property
    def mods(self) -> RunningMods:
        """The instances of the mods that run, by path, as in OpenAgents; called, a description."""
        return RunningMods(self.engine.registry, self.described)

    def described(self, generation: Generation) -> dict[str, Any]:
        """Describe a generation, as `running_mods` does."""
        failed = self.engine.knowledge.failed.get(generation.mod_path)
        return described(generation, None if failed is None else failed.outcome, self.lines.row(generation.mod_id))

    @property
    def uptime(self) -> float:
        """The seconds that the network has run."""
        return 0.0 if self._started is None else time.monotonic() - self._started

    @property
    def events(self) -> int:
        """The number of events, repeats not counted."""
        return self._dispatcher.events

    def get_network_stats(self, *, described: bool = True) -> dict[str, Any]:
        """Return the statistics of the network; `dynamic_mods` is shaped as in OpenAgents. `described`: with what
        agents say of themselves.
        """
        loaded = self.get_loaded_mods()
        return {
            "network_id": self.network_id,
            "network_name": self.network_name,
            "is_running": self.is_running,
            "uptime_seconds": self.uptime,
            "agent_count": len(self.directory.agents()),
            "connected": self.directory.connected(),
            "events": self.events,
            "reloads": self.engine.reloads,
            "failed_plans": self.engine.failures,
            "dynamic_mods": {
                "count": sum(label_of(each) is None for each in loaded),
                "lines": sum(label_of(each) is not None for each in loaded),
                "loaded": list(loaded),
                "details": loaded,
            },
            "readme": readme_of(self.config, self.workspace),
            **agent_stats(self.directory, described=described),
        }

    # Events

    def process_event(self, event: Event) -> Work[EventResponse]:
        """Send an event on its way through the mods and to agents; the answer comes when its way has ended.

        An `Event` of the package openagents is taken too, and answered with an `EventResponse` of that package.
        """
        if not isinstance(event, Event):
            # Here and not above: a network that meets no openagents never imports that package.
            from devserver.bridge.convert import process_theirs

            return process_theirs(event, self.process_event)
        event.source_agent_group = self.directory.group_of(event.source_id)
        if event.event_name[:7] == "system." and _is_request(event):
            return self.ingest(event, LOCAL)
        return self._process_seen(event) if self.on_event else self._process(event)

    async def _process_seen(self, event: Event) -> EventResponse:
        return self._seen(event, await self._process(event))

    async def send(self, event: Event) -> EventResponse:
        """Send an event of a mod of this network; never taken for a repeat."""
        if _is_request(event):
            return await self.ingest(event, LOCAL)
        return self._seen(event, await self._home.run(self._dispatcher.send, event))

    async def process_external_event(self, event: Event) -> EventResponse:
        """Send an event for code in this process, which may do all. Transports use `ingest`."""
        return await self.process_event(event)

    async def ingest(self, event: Event, principal: Principal) -> EventResponse:
        """Take an event from a transport, on behalf of the principal that the connection proved."""
        self._enter(event)
        if event.event_name.startswith("system."):
            return self._seen(event, await self._run_system(event, principal))
        await self.all_loaded()
        answer = self._before_mods(event, principal)
        if answer is None:
            answer = await self._process(event)
        return self._seen(event, answer)

    def take(self, event: Event, principal: Principal, done: Done) -> bool:
        """Take an event as `ingest` does, without a task on this thread, and have `done` called.

        False, with nothing done, for an event that may have to wait here.
        """
        if self._start_gate.shut or event.event_name.startswith("system."):
            return False
        self._enter(event)
        answer = self._before_mods(event, principal)
        if answer is not None:
            done(self._seen(event, answer), None)
        elif self._dispatcher.far is None:
            self._home.begin(partial(self._ended, event, done), self._dispatcher.process, event)
        else:
            self._dispatcher.far.take(event, partial(self._ended, event, done))
        return True

    def _ended(self, event: Event, done: Done, answer: EventResponse | None, error: BaseException | None) -> None:
        done(answer if answer is None else self._seen(event, answer), error)

    def _enter(self, event: Event) -> None:
        event.timestamp = int(self.clock.time())
        event.secret = None
        event.source_agent_group = self.directory.group_of(event.source_id)

    def _before_mods(self, event: Event, principal: Principal) -> EventResponse | None:
        """Return the answer to an event that needs no mod: one for a shadow, or that no mod hears.

        It does not wait for the mods' thread, which a mod may block.
        """
        if principal.kind is Kind.AGENT and "@" in (event.destination_id or ""):
            slot = self.engine.registry.find(event.destination.id)
            if slot is not None and slot.is_shadow:
                # Agents do not know shadows.
                message = f"Target mod {event.destination.id} not found"
                return EventResponse(False, message, event_name=event.event_name)
        return self._dispatcher.pass_by(event)

    async def _run_system(self, event: Event, principal: Principal) -> EventResponse:
        way = self._dispatcher.begin(event)
        if event.event_name.startswith("system.mod.") and principal is not LOCAL:
            await self.all_loaded()
        answer = await run_system(self, event, principal)
        way.end(event, answer)
        return answer

    async def _tell_mods(self, event: Event) -> None:
        if self._dispatcher.is_heard(event):
            await self._home.run(self._dispatcher.notify, event)

    def _seen(self, event: Event, answer: EventResponse) -> EventResponse:
        for tap in tuple(self.on_event):
            tap(event, answer)
        return answer

    def watch_events(
        self, through: Callable[[Ask], Ask], sending: Callable[[Event], Awaitable[None]], tell: Tell
    ) -> None:
        """Let replay see the way of events in a network of its own, which has no agents.

        Arguments: `through` wraps the call of one mod; `sending` is told of each event that a mod
        sends, before it goes; `tell` of every fact from now on.
        """
        self._dispatcher.ask_through(through)
        send = self.send

        async def seen(event: Event) -> EventResponse:
            await sending(event)
            return await send(event)

        self.send = seen  # type: ignore[method-assign]
        self._tell = tell

    # Other hosts

    def expect_others(self) -> asyncio.Event:
        """Be one host of several in a moment: an agent that registers waits until the returned event is set."""
        self._joins = asyncio.Event()
        return self._joins

    def join(self, others: Others, bring: Callable[[Event, tuple[Agent, ...]], None]) -> None:
        """Be one host of several from now on. `bring` takes an event to agents of others, without a wait."""
        self._others = others
        self._dispatcher.join(others, self._home)
        self.directory.send_away = bring

    def is_there(self, host: str) -> bool:
        """Return whether a host of this network is there."""
        return self._others is None or self._others.is_there(host)

    @property
    def serves(self) -> bool:
        """Whether `all_loaded` would wait for nothing."""
        return not self._start_gate.shut

    def serve(self, calls: Sequence[tuple[Done, AskedElsewhere]]) -> None:
        """Ask mods of this host on behalf of another one, and have each `done` called with their reply."""
        assert self._dispatcher.far is not None, "no other host asks"
        self._home.begin_all(self._dispatcher.far.serve, calls)

    async def all_loaded(self) -> None:
        """Wait for the mods of a start or a restart in place: what is asked of them may come sooner."""
        # A hook of theirs cannot wait for that.
        if self._start_gate.shut and not any(running_calls()):
            await self._start_gate.wait(self.network_name)

    # Agents

    async def register_agent(
        self,
        agent_id: str,
        metadata: Mapping[str, Any] | None = None,
        **wishes: Unpack[Wishes],
    ) -> Registration:
        """Register an agent, have it kept, and tell the mods. Raises EventRefused; see `Directory.admit`."""
        if self._joins is not None:
            await self._joins.wait()
        if self._others is None:
            made = self.directory.register(agent_id, metadata, **wishes)
        else:
            made = await self._others.register(agent_id, metadata, **wishes)
        if not made.resumed:
            event = agent_event(True, made.agent.agent_id, dict(made.agent.metadata))
            await asyncio.gather(self.keep(), self._tell_mods(event))
        return made

    async def unregister_agent(self, agent_id: str, *, dropped: bool = False) -> bool:
        """Forget an agent and tell the mods; `dropped` when it did not ask for that. False when it was not there."""
        if not self.directory.unregister(agent_id, dropped=dropped):
            return False
        await self._tell_mods(agent_event(False, agent_id, {}))
        return True

    def runs(self, mod_path: str) -> bool:
        """Return whether a mod, by path or id, runs."""
        slot = self.engine.registry.find(mod_path)
        return slot is not None and slot.live is not None

    # What the engine and the handles need

    def handle(self, mod_path: str, line: Line | None = None) -> NetworkHandle:
        """Return a handle for a new generation of a mod, or of a line of it."""
        kind = HeldHandle if line is not None and line.rule.shadow else NetworkHandle
        return kind(self, mod_path, line)

    def copy_folder(self, mod_path: str, line_path: str) -> str:
        """Give a line a copy of its mod's folder of data; return the result, in words."""
        source, target = (self.storage / folder_name(each) for each in (mod_path, line_path))
        return copy_folder(source, target)

    def mod_class(self, module: ModuleType, mod_id: str) -> type[BaseMod]:
        """Return the class of a mod in its module: ours, or bridged. Raises NoModClass."""
        try:
            return find_mod_class(module, mod_id)
        except NoModClass:
            bridge = self._bridge_for_openagents()
            found = bridge.find(module, mod_id) if bridge is not None else None
            if found is None:
                raise
            return found

    def _bridge_for_openagents(self) -> Bridge | None:
        """Return the bridge, once a mod has imported openagents."""
        if self._bridge is None and imported("openagents") is not None:
            # Here and not above: a network without such mods never imports that package.
            from devserver.bridge import make_bridge

            self._bridge = make_bridge(self.directory, self.workspace)
            if self._bridge is not None:
                self._bridge.unpack(self._kept_before)
        return self._bridge

    def is_replaced(self, generation: Generation) -> bool:
        """Return whether another generation has replaced this one."""
        slot = self.engine.registry.find(generation.mod_path)
        return slot is not None and slot.live is not None and slot.live is not generation

    async def introduce(self, generation: Generation) -> None:
        """Tell a newly loaded mod of the agents that are there."""
        agents = {each.agent_id: dict(each.metadata) for each in self.directory.agents()}
        await self._dispatcher.introduce(generation, agents)

    def agents_mark(self) -> int:
        """Return a mark for `agents_since`."""
        return self.directory.drops

    def agents_since(self, mark: int) -> AgentsSeen:
        """Connections now, and those that ended since the mark."""
        return AgentsSeen(self.directory.connected(), self.directory.drops - mark)

    def announce(self, outcome: Outcome) -> None:
        """Tell every agent that a mod was loaded, unloaded or reloaded."""
        if label_of(outcome.mod_id) is not None:
            # Agents see one mod, whichever of its versions they get.
            if outcome.status is Status.APPLIED:
                self.lines.told(outcome.mod_id)
                self._dispatcher.shadows.forget()
            return
        event = None if self._started is None else mod_event(outcome)
        if event is not None:
            self.directory.tell(event)

    def storage_path(self, mod_name: str) -> Path:
        """Return the folder for a mod's data, below the workspace's `.oa-dev`, made if missing."""
        folder = self.storage / folder_name(mod_name)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder

    def _on_mod_error(self, generation: Generation, what: str, error: BaseException) -> ErrorFacts:
        facts = self.engine.facts_of(error)
        self._tell(ModError(generation.mod_id, what, generation.number, facts))
        return facts


def folder_name(mod_name: str) -> str:
    """Return the name of the folder of a mod's data."""
    return mod_name.replace("/", "_").lstrip(".")


def _is_request(event: Event) -> bool:
    """Return whether an event asks the network itself for something, rather than its mods."""
    name = event.event_name
    return name.startswith("system.") and not name.startswith("system.notification.")
