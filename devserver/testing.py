"""Test mods in a network of their own: storage, agents, reloads, a clock that a test moves, facts.

A test never touches the data of a server that runs: the network has a storage folder of its own,
opens no port, and ends with the test. With pytest the fixture `network` is there by itself:

    async def test_it_greets(network):
        async with network(mods=["mods.hello"]) as net:
            ana = await net.agent("ana")
            answer = await ana.send("hello.greet", {"name": "Ana"})
            assert answer.message == "Hello, Ana"

Test functions may be `async`: the plugin runs those that no other plugin runs. One network at a
time: Python has one table of modules.
"""

from __future__ import annotations

import asyncio
import heapq
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

from devserver.agent_network import AgentNetwork
from devserver.config.network_yaml import parse_network, read_network
from devserver.model import logs
from devserver.model.change import FilesChanged
from devserver.model.config import ModSpec, NetworkConfig
from devserver.model.event import Event, EventResponse
from devserver.model.facts import Fact, ModError, Outcome, PlanDone, Status
from devserver.model.logs import Entry
from devserver.model.observation import Observation
from devserver.network.compare import path_of
from devserver.replay.observe import Watched
from devserver.replay.stand import Given, set_up
from devserver.sources.files import sources_now

__all__ = ["Clock", "Record", "Seen", "TestAgent", "TestNetwork", "network", "replay"]

PATIENCE = 10.0
"""Seconds after which an event that a test waits for counts as never coming."""


class Clock:
    """A clock that is moved by hand; `self.every`, `self.network.sleep` and `time` use it."""

    def __init__(self, now: float = 1_750_000_000.0) -> None:
        self._now = now
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = count()

    def time(self) -> float:
        """Return the seconds since 1970."""
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock was moved so far."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        due: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._numbers), due))
        await due

    async def move(self, seconds: float) -> None:
        """Let time pass: everything that is due on the way happens in order, each at its time."""
        until = self._now + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= until:
            self._now, _, due = heapq.heappop(self._sleepers)
            if not due.done():
                due.set_result(None)
            await settle()
        self._now = until


async def settle(turns: int = 20) -> None:
    """Let ready tasks run, and those that become ready by that."""
    for _ in range(turns):
        await asyncio.sleep(0)


@dataclass(frozen=True, slots=True)
class Record:
    """A record of a mod's `self.log`: `mod` is its id, `fields` are the author's own values."""

    level: str
    message: str
    mod: str | None
    fields: Mapping[str, Any]


class TestAgent:
    """An agent in a test's network."""

    __test__ = False  # pytest takes classes of this name for tests

    def __init__(self, owner: AgentNetwork, agent_id: str) -> None:
        self._network = owner
        self.agent_id = agent_id
        self.received: list[Event] = []
        """Every event that was delivered to it and looked at so far, in order."""

    async def send(
        self, event_name: str, payload: Mapping[str, Any] | None = None, *, to: str | None = None
    ) -> EventResponse:
        """Send an event; returns its answer."""
        event = Event(event_name=event_name, source_id=self.agent_id, destination_id=to, payload=dict(payload or {}))
        return await self._network.process_external_event(event)

    def events(self, name: str = "*") -> list[Event]:
        """Return the events that have been delivered to it so far, those whose name `name` covers (as in "wiki.*")."""
        agent = self._network.directory.agent(self.agent_id)
        if agent is not None:
            self.received += [each.event for each in agent.outbox.take_nowait()]
        return [each for each in self.received if each.matches_pattern(name)]

    async def wait_for(self, name: str, seconds: float = PATIENCE) -> Event:
        """Return the first event whose name `name` covers, waiting for it. Raises TimeoutError after `seconds`."""
        async with asyncio.timeout(seconds):
            while not (found := self.events(name)):
                agent = self._network.directory.agent(self.agent_id)
                if agent is None:
                    raise LookupError(f"{self.agent_id} is not in the network any more")
                self.received += [each.event for each in await agent.outbox.take(seconds)]
        return found[0]

    async def leave(self) -> None:
        """Leave the network; mods are told."""
        await self._network.unregister_agent(self.agent_id)


class TestNetwork:
    """A network in a test. `network` is the AgentNetwork itself, `clock` the clock of its mods."""

    __test__ = False

    def __init__(self, made: AgentNetwork, clock: Clock, facts: list[Fact], *, own_folder: bool) -> None:
        self.network = made
        self.folder = made.workspace
        self._own_folder = own_folder
        self.clock = clock
        self.facts = facts
        """All facts: outcomes of loads and reloads, errors of mods, notices."""
        self.sent: list[tuple[Event, EventResponse]] = []
        """Every event that has ended, with its answer."""
        self.records: list[Record] = []
        """The records of mods' `self.log`, from `debug` on."""

    async def agent(self, agent_id: str, metadata: Mapping[str, Any] | None = None) -> TestAgent:
        """Register an agent; the mods are told."""
        await self.network.register_agent(agent_id, metadata)
        return TestAgent(self.network, agent_id)

    async def send(
        self, event_name: str, payload: Mapping[str, Any] | None = None, *, by: str = "test", to: str | None = None
    ) -> EventResponse:
        """Send an event on behalf of `by`, which need not be registered; returns its answer."""
        event = Event(event_name=event_name, source_id=by, destination_id=to, payload=dict(payload or {}))
        return await self.network.process_external_event(event)

    def mod(self, mod_id: str) -> Any:
        """Return a mod's serving instance, by id or path. Raises LookupError if none serves."""
        slot = self.network.engine.registry.find(mod_id)
        if slot is None or slot.live is None:
            known = ", ".join(self.network.running_mods()) or "none"
            raise LookupError(f"no mod {mod_id!r} runs here, only {known}")
        return slot.live.instance

    async def reload(self, mod_id: str) -> EventResponse:
        """Reload a mod from disk. Raises AssertionError, with why and where, if that fails."""
        answer = await self.network.reload_mod(mod_id)
        if not answer.success:
            raise AssertionError(answer.message)
        return answer

    async def save(self, path: str, text: str) -> tuple[Outcome, ...]:
        """Write a file and have it reloaded, as a running server does; return the result.

        Only if the network was made of `files`. Raises ValueError otherwise: a save there is a real
        one.
        """
        if not self._own_folder:
            raise ValueError("save() is for networks that are made of files=: this folder is your own")
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return (await self.network.submit(FilesChanged(sources_now([file])))).outcomes

    @property
    def errors(self) -> list[ModError]:
        """Return the exceptions of handlers, tasks and hooks of mods so far."""
        return [each for each in self.facts if isinstance(each, ModError)]

    def events(self, name: str = "*") -> list[Event]:
        """Return the events that have ended so far, those whose name `name` covers."""
        return [event for event, _ in self.sent if event.matches_pattern(name)]


@asynccontextmanager
async def network(
    mods: Iterable[str | Mapping[str, Any]] | Mapping[str, Mapping[str, Any]] | None = None,
    config: str | Path | Mapping[str, Any] | None = None,
    *,
    files: Mapping[str, str] | None = None,
    beside: Path | None = None,
) -> AsyncIterator[TestNetwork]:
    """Run a network for a test, with storage of its own, which is removed at the end.

    Args:
        mods: the mods to load, by path; as a mapping, each with its configuration; as entries of network.yaml
            otherwise. Without it, those that network.yaml enables.
        config: a network.yaml or its folder, or the content of one. Without it, the network.yaml in `beside` or in
            the nearest folder above; the fixture passes the folder of the test.
        files: texts by path ("mods/echo.py"), of which a folder is made that takes the place of your own.
        beside: where the search for network.yaml begins; the working directory unless given.

    Raises AssertionError, which says why and where, if a mod does not load; ConfigError for a network.yaml that cannot
    be used.
    """
    with ExitStack() as stack:
        scratch = _resolved(stack.enter_context(tempfile.TemporaryDirectory(prefix="oa-dev-test-")))
        folder, wanted = _wanted(config, beside or Path.cwd(), None if files is None else scratch / "network", files)
        if mods is not None:
            wanted = replace(wanted, mods=tuple(_specs(mods)))
        facts: list[Fact] = []
        made, clock = AgentNetwork(wanted, folder, tell=facts.append), Clock()
        made.clock, made.storage = clock, scratch / "storage"
        running = TestNetwork(made, clock, facts, own_folder=files is not None)
        made.on_event.append(lambda event, answer: running.sent.append((event, answer)))
        logs.listen(lambda entry: running.records.append(_record(entry)), everything=True)
        try:
            await made.initialize()
            _raise_failures(facts)
            yield running
        finally:
            await made.shutdown()
            logs.listen(None)


def _resolved(folder: str) -> Path:
    return Path(folder).resolve()


def _wanted(
    config: str | Path | Mapping[str, Any] | None, beside: Path, folder: Path | None, files: Mapping[str, str] | None
) -> tuple[Path, NetworkConfig]:
    """Return the folder of the network, and its content."""
    if folder is not None and files is not None:
        for path, text in files.items():
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        beside = folder
    if isinstance(config, Mapping):
        return folder or _above(beside) or beside, parse_network(json.dumps(config))
    named = _above(beside) if config is None else Path(config)
    if named is None:
        return beside, NetworkConfig("test")
    file = named / "network.yaml" if named.is_dir() else named
    if folder is not None and not file.exists():
        return folder, NetworkConfig("test")
    return folder or file.resolve().parent, read_network(file)


def _above(folder: Path) -> Path | None:
    """Return the nearest folder, this one or above, that holds a network.yaml."""
    folder = folder.resolve()
    return next((each for each in (folder, *folder.parents) if (each / "network.yaml").is_file()), None)


def _specs(mods: Iterable[str | Mapping[str, Any]] | Mapping[str, Mapping[str, Any]]) -> Iterator[ModSpec]:
    if isinstance(mods, Mapping):
        yield from (ModSpec(path, dict(config)) for path, config in mods.items())
        return
    for each in mods:
        entry: Mapping[str, Any] = {"name": each} if isinstance(each, str) else each
        yield ModSpec(entry["name"], dict(entry.get("config") or {}))


def _record(entry: Entry) -> Record:
    return Record(str(entry["level"]), str(entry["event"]), entry.get("mod"), logs.fields_of(entry))


def _raise_failures(facts: Iterable[Fact]) -> None:
    """Raise AssertionError for mods that did not load."""
    done = [each for each in facts if isinstance(each, PlanDone)]
    failed = [outcome for plan in done for outcome in plan.outcomes if outcome.status is not Status.APPLIED]
    said = [f"{each.mod_id} did not load: {each.error or each.reason}" for each in failed]
    if said:
        raise AssertionError("; ".join(said))


# Events that are run again


class Seen:
    """The effects of an event in `replay`: its answer, its deliveries, its changes of state."""

    def __init__(self, observation: Observation) -> None:
        self._observation = observation
        self.success = observation.success
        self.message = observation.message
        self.data: Any = observation.data
        self.way = [tuple(each) for each in observation.way]
        """The mods that were asked, each with passed, answered or raised."""
        self.sends = list(observation.sends)
        """The events that mods sent, in order: event_name, source, destination, payload."""
        self.told = {agent: list(names) for agent, names in observation.told.items()}
        """The names of the events that each agent got."""
        self.raised = list(observation.raised)
        """The exceptions of mods: mod_id, kind, message, file, line, function."""
        self.printed = observation.printed

    def changed(self, mod_id: str, path: str) -> tuple[Any, Any] | None:
        """Return the value of a place in a mod's state before and after, as in `("wiki",
        "pages.home.head")`; None: unchanged."""
        for each in self._observation.changed.get(mod_id, ()):
            if path_of(each.steps) == path:
                return each.before, each.after
        return None


def replay(
    network: str | Path | Mapping[str, Any],
    event_name: str,
    payload: Mapping[str, Any] | None = None,
    *,
    source: str | None = None,
    to: str | None = None,
    agents: Iterable[str] = (),
    groups: Mapping[str, str] | None = None,
    channels: Mapping[str, Sequence[str]] | None = None,
    state: Mapping[str, Mapping[str, Any]] | None = None,
    config: Mapping[str, Mapping[str, Any]] | None = None,
    seconds: float = PATIENCE,
) -> Seen:
    """Send one event into a network of its own, and observe its effects. It delivers nothing.

    Args:
        network: a network.yaml (found from the working directory, or above the file of the test), or its content.
        source: the agent that sends; `to` whom it sends to.
        agents: ids of agents that are there; `groups` gives those their groups that are in another one than the
            default; `channels` the members of channels.
        state: by mod, the state that it begins with; JSON, with tags where JSON has no form (`devserver.replay.plain`).
        config: by the mod's path, a configuration in the place of the one in network.yaml.

    Raises AssertionError if a mod does not load, TimeoutError if the event does not end in time.
    """
    found = (
        network if isinstance(network, Mapping) else _found(Path(network), Path(sys._getframe(1).f_code.co_filename))
    )
    event = Event(event_name=event_name, source_id=source, destination_id=to, payload=dict(payload or {}))
    rows: list[Mapping[str, Any]] = [{"agent_id": each, "group": (groups or {}).get(each)} for each in agents]
    members = {name: list(each) for name, each in (channels or {}).items()}
    states = {mod_id: Given.from_dict({"plain": each}) for mod_id, each in (state or {}).items()}
    begins = (rows, members, states)
    return Seen(asyncio.run(_replayed(found, event, begins, config or {}, seconds)))


async def _replayed(
    found: Path | Mapping[str, Any],
    event: Event,
    begins: tuple[list[Mapping[str, Any]], dict[str, list[str]], dict[str, Given]],
    config: Mapping[str, Mapping[str, Any]],
    seconds: float,
) -> Observation:
    with ExitStack() as stack:
        scratch = _resolved(stack.enter_context(tempfile.TemporaryDirectory(prefix="oa-dev-test-")))
        folder, wanted = _wanted(found, Path.cwd(), None, None)
        mods = tuple(replace(each, config=config.get(each.path, each.config)) for each in wanted.mods)
        facts: list[Fact] = []
        made = AgentNetwork(replace(wanted, mods=mods), folder, tell=facts.append)
        made.storage = scratch / "storage"
        try:
            await made.initialize()
            _raise_failures(facts)
            await set_up(made, *begins)
            return await Watched(made).run(event, seconds)
        finally:
            await made.shutdown()


def _found(path: Path, beside: Path) -> Path:
    """Return a network.yaml: of the working directory, else of the folders above the test."""
    if path.is_absolute() or path.exists():
        return path
    return next((each / path for each in beside.resolve().parents if (each / path).exists()), path)
