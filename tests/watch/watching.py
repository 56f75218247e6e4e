"""A workspace whose network is watched, and what the watch told."""

from __future__ import annotations

import asyncio
import itertools
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workspaces import PATIENCE, Workspace, mod_text, served, until

from devserver import AgentNetwork
from devserver.config.network_yaml import read_network
from devserver.errors import ConfigError
from devserver.loader.reads import read_by
from devserver.model.change import ConfigChanged, FilesChanged, Sources
from devserver.model.facts import ConfigRefused, Ignored, Notice, Outcome, PlanDone, Status
from devserver.sources.watch import Watch


def echo(version: object, head: str = "", more: str = "") -> str:
    """The source of a mod `echo` that answers with this version."""
    return mod_text("Echo", served("echo", version, more), head)


def named(folder: Path, name: bytes) -> Path:
    """A path in a folder, of any bytes."""
    return Path(os.fsdecode(os.fsencode(folder) + b"/" + name))


class Watching(Workspace):
    """Files, a network, and a watch that is wired to it as in `devserver.server.server`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        super().__init__(folder)
        self.reported: list[Sources] = []
        self._watch: Watch | None = None
        self._task: asyncio.Task[None] | None = None
        self._marks = itertools.count()

    @property
    def watch(self) -> Watch:
        """The watch that runs."""
        assert self._watch is not None
        return self._watch

    async def begin(self, *mods: Any, **rest: Any) -> AgentNetwork:
        """Start the network, watch it, and return when what is on disk has been compared with it."""
        network = await self.start(*(mods or ("mods.echo",)), **rest)
        self.attach()
        await self.placed()
        return network

    def attach(self) -> None:
        """Watch the network that runs."""
        engine = self.net.engine
        self._watch = Watch(
            engine.roots,
            engine.knowledge.sources,
            (self.folder / "network.yaml").resolve(),
            on_change=self._files_changed,
            on_config=self._config_changed,
            ignored=self.facts.append,
            notice=lambda words: self.facts.append(Notice(words)),
            folders=lambda: engine.config.mod_paths,
            whole=engine.modules.compile_ahead,
            written=engine.knowledge.written,
            read_by=read_by,
        )
        self._task = asyncio.get_running_loop().create_task(self._watch.run())

    async def _files_changed(self, changed: Sources, texts: Mapping[Path, bytes]) -> None:
        self.reported.append(dict(changed))
        await self.net.submit(FilesChanged(changed, texts=texts))

    async def _config_changed(self) -> None:
        path = self.folder / "network.yaml"
        try:
            config = read_network(path)
        except ConfigError as error:
            self.facts.append(ConfigRefused(error.problems))
            return
        await self.net.submit(ConfigChanged(config))

    async def end(self) -> None:
        """End the watch, then the network."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            assert self._task.cancelled(), "the watch ended by itself"
        await super().end()

    def never_sweep(self) -> None:
        """From now on only notifications lead to a look."""
        self.watch._sweeps.due = math.inf

    def never_notify(self) -> None:
        """From now on only sweeps lead to a look, as where the system loses notifications."""
        self.watch._notifier._woken = lambda paths: None

    # What is so

    async def placed(self) -> None:
        """Return when the watches are in place, and what was on disk before has been looked at."""
        notifier = self.watch._notifier
        await until(lambda: (notifier._inotify or notifier._current) and not self.watch._memory.unproven)
        await self.seen()

    async def seen(self) -> None:
        """Return when everything that was written before this call has been looked at.

        Notifications come in order: what is told of a last file has been told of all before.
        """
        mark = self.folder / f"mark{next(self._marks)}.py"
        mark.write_text("seen?")
        await until(lambda: any(each.path == mark.name for each in self.told(Ignored)))
        mark.unlink()

    async def serves(self, version: object, mod: str = "echo") -> None:
        """Return when the mod answers with this version, and what brought it was told."""
        async with asyncio.timeout(PATIENCE):
            while await self.version(mod) != version:  # noqa: ASYNC110 - a plan makes it so
                await asyncio.sleep(0.001)
        number = self.running()[mod]
        await until(lambda: any((each.mod_id, each.generation) == (mod, number) for each in self.outcomes()))

    def explained(self) -> dict[str, str]:
        """The saves that led to nothing, each with the rule; but for those of `seen`."""
        return {each.path: each.rule for each in self.told(Ignored) if not each.path.startswith("mark")}

    def notices(self) -> list[str]:
        """What the watch and the network said in words."""
        return [each.message for each in self.told(Notice)]

    def reloads(self, mod: str = "echo") -> list[Outcome]:
        """What became of each step on a mod since it was loaded."""
        return [each for each in self.outcomes() if each.mod_id == mod][1:]

    def plans(self) -> list[PlanDone]:
        """Every plan that was carried out after the start."""
        return self.told(PlanDone)[1:]

    def assert_reloaded(self, times: int, mod: str = "echo") -> None:
        """The mod was reloaded so often, and nothing has failed."""
        found = self.reloads(mod)
        assert [each.status for each in found] == [Status.APPLIED] * times, [str(each.error) for each in found]
