"""A folder with a network.yaml and mods, and the network that runs from it in this process."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent
from typing import Any

import yaml

from devserver import AgentNetwork, Event, EventResponse
from devserver.config.network_yaml import read_network
from devserver.live.loops import Home, LoopThread
from devserver.model.change import ConfigChanged, FilesChanged
from devserver.model.facts import Fact, Outcome, PlanDone
from devserver.sources.files import sources_now

PATIENCE = 60.0
"""Seconds after which a fact that was waited for is taken to be never coming."""


@contextmanager
def without_mods() -> Iterator[None]:
    """Let no one's `mods` be imported or importable: other tests use those of the repository."""
    kept = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "mods"}
    path = list(sys.path)
    root = str(Path(__file__).resolve().parents[1])
    sys.path[:] = [each for each in sys.path if each not in (root, "")]
    for name in kept:
        del sys.modules[name]
    try:
        yield
    finally:
        sys.path[:] = path
        sys.modules.update(kept)


class Workspace:
    """The files, the network, and every fact that it told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.facts: list[Fact] = []
        self.refused: list[EventResponse] = []
        self.network: AgentNetwork | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        """The test's own."""
        self._thread: LoopThread | None = None
        self.exit_requests: list[BaseException] = []

    # Files

    def write(self, path: str, text: str) -> Path:
        """Write a file of the workspace, folders included."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(text))
        return file

    def mod(self, name: str, body: str, head: str = "") -> Path:
        """Write the mod `mods.<name>`: `body` is what stands in its class, `head` what stands before it."""
        title = name.title().replace("_", "")
        return self.write(f"mods/{name}.py", mod_text(title, body, head))

    def yaml(self, *mods: str | Mapping[str, Any], dev: Mapping[str, Any] | None = None, **settings: Any) -> Path:
        """Write network.yaml with these mods (paths, or entries), in order."""
        entries = [{"name": each} if isinstance(each, str) else dict(each) for each in mods]
        wanted: dict[str, Any] = {"network": {"name": "Test", "mods": entries, **settings}}
        if dev is not None:
            wanted["dev"] = dict(dev)
        return self.write("network.yaml", yaml.safe_dump(wanted, sort_keys=False))

    # The network

    async def start(self, *mods: str | Mapping[str, Any], home: str = "same", **rest: Any) -> AgentNetwork:
        """Write network.yaml and run it. `home` is "same" (this loop) or "thread" (a loop of its own)."""
        self.yaml(*mods, **rest)
        return await self.run(home)

    async def run(self, home: str = "same") -> AgentNetwork:
        """Run what network.yaml says."""
        self.network = AgentNetwork.load(self.folder, home=self._home(home), tell=self.facts.append)
        await self.network.initialize()
        return self.network

    def _home(self, home: str) -> Home | None:
        if home == "same":
            return None
        self._thread = LoopThread("mods of a test", self.exit_requests.append)
        self._thread.start()
        return self._thread

    async def end(self) -> None:
        """Shut the network down, where one runs."""
        if self.network is not None:
            await self.network.shutdown()
            self.network = None
        if self._thread is not None:
            assert await asyncio.to_thread(self._thread.stop, PATIENCE)
            self._thread = None

    @property
    def net(self) -> AgentNetwork:
        """The network that runs."""
        assert self.network is not None
        return self.network

    def modules(self) -> list[str]:
        """The modules of this workspace that Python has loaded."""
        # As text: after each test all modules are looked through, a thousand of them.
        inside = f"{self.folder}{os.sep}"
        found = [(name, getattr(module, "__file__", None)) for name, module in list(sys.modules.items())]
        return sorted(name for name, file in found if isinstance(file, str) and file.startswith(inside))

    async def save(self, path: str, text: str) -> PlanDone:
        """Save a file, and have the network look at it."""
        return await self.saved(self.write(path, text))

    async def save_mod(self, name: str, body: str, head: str = "") -> PlanDone:
        """Save the mod `mods.<name>`, and have the network look at it."""
        return await self.saved(self.mod(name, body, head))

    async def saved(self, *files: Path) -> PlanDone:
        """Have the network look at files that have changed."""
        return await self.net.submit(FilesChanged(sources_now(files)))

    async def save_yaml(self, *mods: str | Mapping[str, Any], **rest: Any) -> PlanDone:
        """Save network.yaml, and have the network look at it."""
        return await self.net.submit(ConfigChanged(read_network(self.yaml(*mods, **rest))))

    async def ask(self, name: str, by: str | None = "ana", to: str | None = None, **payload: Any) -> EventResponse:
        """Send an event."""
        event = Event(event_name=name, source_id=by, destination_id=to, payload=payload)
        answer = await self.net.process_event(event)
        if not answer.success:
            self.refused.append(answer)
        return answer

    async def version(self, name: str) -> Any:
        """What `mods.<name>` says of itself when it is asked, as `served` mods do; None when no one answers."""
        answer = await self.ask(f"{name}.version.get")
        return (answer.data or {}).get("version")

    # What is so

    def running(self) -> dict[str, int]:
        """The mods that run, in order, with their generations; the reports of the network agree on it."""
        mods = self.net.running_mods()
        by_hand = [mod_id for mod_id, each in mods.items() if not each["listed"]]
        assert self.net.get_network_stats()["dynamic_mods"]["loaded"] == by_hand == list(self.net.get_loaded_mods())
        assert [each["mod_id"] for each in self.net.mods()] == list(mods)
        return {mod_id: each["generation"] for mod_id, each in mods.items()}

    def instance(self, mod_id: str) -> Any:
        """The instance that serves."""
        slot = self.net.engine.registry.find(mod_id)
        assert slot is not None and slot.live is not None
        return slot.live.instance

    def told(self, kind: type[Fact]) -> list[Any]:
        """Every fact of a kind that was told so far."""
        return [each for each in self.facts if isinstance(each, kind)]

    def outcomes(self) -> list[Outcome]:
        """Every outcome that was told so far."""
        return [outcome for done in self.told(PlanDone) for outcome in done.outcomes]

    def assert_open(self) -> None:
        """No gate is left shut."""
        for slot in self.net.engine.registry.slots:
            assert not slot.gate.shut, slot.mod_id


def mod_text(title: str, body: str, head: str = "") -> str:
    """The source of a mod: `body` is what stands in its class, `head` what stands before it."""
    inside = "\n".join(f"    {line}" if line else "" for line in dedent(body).strip("\n").splitlines())
    imports = "import asyncio\n\nfrom devserver import BaseMod, Event, EventResponse, mod_event_handler\n"
    return f"{imports}{dedent(head)}\n\nclass {title}Mod(BaseMod):\n{inside or '    pass'}\n"


def served(name: str, version: object, more: str = "") -> str:
    """The body of a mod that answers `<name>.version.get` with a version and with how often it was asked."""
    return dedent(f"""
        @mod_event_handler("{name}.version.get")
        def get_version(self, event):
            self.state["asked"] = self.state.get("asked", 0) + 1
            return EventResponse(True, data={{"version": {version!r}, "asked": self.state["asked"]}})
    """) + dedent(more)


async def until(fact: Callable[[], bool]) -> None:
    """Wait until something is so, which another task or thread makes so."""
    async with asyncio.timeout(PATIENCE):
        while not fact():  # noqa: ASYNC110 - what makes it so knows nothing of this test
            await asyncio.sleep(0.001)
