"""What was saved, on its way to the network: at once, or kept while a person has paused that or wants to see it first.

Reads network.yaml and hands triggers on; what they lead to is decided by plans.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from devserver.agent_network import AgentNetwork
from devserver.errors import ConfigError
from devserver.live.loops import run_in_thread
from devserver.model.change import ConfigChanged, Digest, FilesChanged, LockChanged, Sources, Trigger
from devserver.model.config import NetworkConfig
from devserver.model.facts import ConfigRefused, ErrorFacts, Fact, Ignored, Notice, PlanDone, PlanMade
from devserver.model.lifecycle import Action
from devserver.model.names import LOCK
from devserver.model.plan import Plan
from devserver.sources.files import sources_now


@dataclass(frozen=True, slots=True)
class Waiting:
    """What was saved and not applied: files of mods, and whether network.yaml is among it."""

    files: Sources
    config: bool = False
    lock: bool = False

    def __len__(self) -> int:
        return len(self.files) + self.config + self.lock


class Saves:
    """Arguments: `path`, network.yaml; `read`, reads it as this run is to have it; `tell`, told every fact; `confirm`,
    whether changes of network.yaml wait for `apply`; `how`, by what people apply what waits; `overridden`, what of
    network.yaml this run does not take, in words."""

    def __init__(
        self,
        network: AgentNetwork,
        path: Path,
        read: Callable[[], NetworkConfig],
        tell: Callable[[Fact], None],
        *,
        confirm: bool = False,
        how: str = "oa-dev apply",
        overridden: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self._network = network
        self._path = path
        self._read = read
        self._tell = tell
        self._confirm = confirm
        self._how = how
        self._overridden = overridden
        self._files: dict[Path, Digest | None] = {}
        self._config_waits = self._config_asks = self._lock_waits = False
        self._shown = Plan("nothing yet")
        self.paused = False
        self.seen = sources_now([path])[path]
        """The digest of network.yaml as it was dealt with last."""
        self.refused: tuple[ErrorFacts, ...] = ()
        """Why network.yaml, as it was saved last, cannot be used."""

    # What the watch reports

    async def files_changed(self, changed: Sources, texts: Mapping[Path, bytes] | None = None) -> None:
        """Sources differ from what is loaded; `texts` are the bytes that were compared."""
        if not self.paused:
            await self._network.submit(FilesChanged(changed, texts=texts or {}))
            return
        self._files.update(changed)
        self._say_waiting(f"{', '.join(self._name(each) for each in changed)} saved")

    async def lock_changed(self) -> None:
        """What is locked of what comes from outside has changed."""
        if not self.paused:
            await self._network.submit(LockChanged())
            return
        self._lock_waits = True
        self._say_waiting(f"{LOCK} saved")

    async def look_for_packages(self) -> None:
        """Take what is locked where it was lacking and has come: nothing in the workspace tells of that."""
        environment = self._network.engine.environment
        if environment.lacks and not self.paused and await run_in_thread(environment.is_behind):
            await self._network.submit(LockChanged())

    async def config_changed(self) -> None:
        """network.yaml was saved. One that cannot be used is refused at once, also while saves wait."""
        # Before it is read: what is saved meanwhile is news.
        seen = sources_now([self._path])[self._path]
        try:
            await self._config_saved()
        finally:
            self.seen = seen

    async def _config_saved(self) -> None:
        was_refused, waited = bool(self.refused), self._config_waits
        config, self._config_waits = self._usable(), False
        if config is None:
            return
        plan = self._network.plan(ConfigChanged(config))
        asks = self._asks(config, plan)
        if not self.paused and not asks:
            # It may list what was locked just before, and notifications come in any order.
            await self._network.submit(LockChanged())
            if waited and plan.empty:
                self._tell(Notice(f"{self._path.name} is again as it runs, nothing of it waits", calm=True))
            await self._apply_config(config, was_refused=was_refused, is_told=waited)
            return
        self._config_waits, self._config_asks = True, asks
        self._show(plan)
        self._say_waiting(self._what_waits(config, plan))

    def _asks(self, config: NetworkConfig, plan: Plan) -> bool:
        """Whether a plan for network.yaml is applied only when a person says so."""
        return not plan.empty and (self._confirm or _loses_mods(config, plan))

    def _what_waits(self, config: NetworkConfig, plan: Plan) -> str:
        if not _loses_mods(config, plan):
            return f"{self._path.name} saved"
        # A file that lost its list is more often a mistake than a wish to run nothing.
        return f"{self._path.name} has no key mods, so no mod would run any more (mods: [] says so without a question)"

    async def _apply_config(self, config: NetworkConfig, *, was_refused: bool, is_told: bool) -> None:
        """Hand network.yaml on; what comes to nothing is told, too."""
        before = self._network.engine.config
        done = await self._network.submit(ConfigChanged(config))
        if is_told or not done.plan.empty:
            return
        if was_refused:
            self._tell(Notice(f"{self._path.name} can be used again, and asks for what runs", calm=True))
        # Settings that count at once are told where they are taken, and are no part of a plan.
        elif replace(self._network.engine.config, unused=before.unused, lost=before.lost) == before:
            self._tell(Ignored(self._path.name, self._why_nothing(config)))

    def _why_nothing(self, config: NetworkConfig) -> str:
        """Why a network.yaml that was saved changes nothing."""
        without = (*(f"{each} has no effect" for each in config.unused), *self._overridden())
        return "; ".join(("it asks for what runs already", *without))

    def _show(self, plan: Plan) -> None:
        self._shown = plan
        if not plan.empty:
            self._tell(PlanMade(replace(plan, cause=f"{plan.cause}, not applied yet"), waits=True))

    def _say_waiting(self, what: str) -> None:
        number = len(self.waiting)
        words = "1 save waits" if number == 1 else f"{number} saves wait"
        self._tell(Notice(f"{what}; {words}, {self._how} applies {'it' if number == 1 else 'them'}", calm=True))

    # What people ask

    @property
    def waiting(self) -> Waiting:
        """What waits."""
        return Waiting(dict(self._files), self._config_waits, self._lock_waits)

    def waiting_names(self) -> list[str]:
        """The files that wait, as people read them."""
        others = [LOCK] * self._lock_waits + [self._path.name] * self._config_waits
        return [*others, *(self._name(each) for each in self._files)]

    def pause(self) -> None:
        """From now on saves wait."""
        if not self.paused:
            self.paused = True
            self._tell(Notice(f"paused: saves wait; {self._how} applies them", calm=True))

    async def toggle(self) -> None:
        """Pause, or go on."""
        if self.paused:
            await self.resume()
        else:
            self.pause()

    async def resume(self) -> tuple[PlanDone, ...]:
        """Apply what waits, and from now on every save at once. A network.yaml to be confirmed waits on."""
        if self.paused:
            self.paused = False
            self._tell(Notice("resumed: reloading on save again", calm=True))
        done = await self._applied(config=not self._config_asks)
        if self._config_waits:
            self._say_waiting(f"{self._path.name} is not confirmed")
        return done

    async def apply(self) -> tuple[PlanDone, ...]:
        """Apply what waits, and what comes later waits again: network.yaml first, then all files as one plan."""
        if not self.waiting:
            self._tell(Notice("no save waits", calm=True))
        return await self._applied()

    async def _applied(self, *, config: bool = True) -> tuple[PlanDone, ...]:
        files, config_waits, lock_waits = self._files, self._config_waits and config, self._lock_waits
        self._files, self._config_waits, self._lock_waits = {}, self._config_waits and not config, False
        wanted = self._usable() if config_waits else None
        if wanted is not None and not self._was_shown(wanted):
            wanted = None
        triggers: list[Trigger] = [LockChanged()] if lock_waits else []
        triggers += [ConfigChanged(wanted)] if wanted is not None else []
        triggers += [FilesChanged(files)] if files else []
        return tuple([await self._network.submit(each) for each in triggers])

    def _was_shown(self, config: NetworkConfig) -> bool:
        """Whether people have seen what this leads to; where they want to, it is shown otherwise, and waits on."""
        plan = self._network.plan(ConfigChanged(config))
        if not self._asks(config, plan) or _seen_of(plan) == _seen_of(self._shown):
            return True
        self._config_waits = self._config_asks = True
        self._show(plan)
        self._say_waiting(f"{self._path.name} changed again, a new plan is above")
        return False

    async def plans(self) -> tuple[Plan, ...]:
        """What would happen if everything that is on disk were applied now. Raises ConfigError, OSError."""
        config = self._read()
        changed = await self._differing()
        both = (self._network.plan(ConfigChanged(config)), self._network.plan(FilesChanged(changed)))
        return tuple(each for each in both if not each.empty)

    async def _differing(self) -> Sources:
        """The sources that are not on disk as they are loaded."""
        engine = self._network.engine
        known, loaded = dict(engine.knowledge.sources()), engine.modules.digests
        now = await run_in_thread(sources_now, known)
        return {path: digest for path, digest in now.items() if loaded.get(path, known[path]) != digest}

    # network.yaml

    def _usable(self) -> NetworkConfig | None:
        """What network.yaml asks for; None, and why is told, where that cannot be had."""
        try:
            config = self._read()
        except ConfigError as error:
            self._refuse(error.problems)
            return None
        except OSError as error:
            self._tell(Notice(f"{self._path.name} cannot be read ({error.strerror}); what runs keeps running"))
            return None
        self.refused = ()
        return config

    def _refuse(self, problems: tuple[ErrorFacts, ...]) -> None:
        self.refused = problems
        self._tell(ConfigRefused(problems))

    def _name(self, path: Path) -> str:
        return self._network.engine.shown(str(path))


def _loses_mods(config: NetworkConfig, plan: Plan) -> bool:
    """Whether mods would be unloaded because the file has no list of them."""
    return not config.lists_mods and any(each.action is Action.UNLOAD for each in plan.steps)


def _seen_of(plan: Plan) -> tuple[object, ...]:
    """What people see of a plan."""
    steps = tuple((each.action, each.mod_id, each.mod_path, each.reason) for each in plan.steps)
    return steps, plan.holds, plan.not_applied
