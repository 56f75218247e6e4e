"""Saves on their way to the network: applied at once, or held while a person wants that.

Reads network.yaml and passes triggers on; plans decide on the effects.
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
from devserver.reload.lock_news import unsuited
from devserver.sources.files import sources_now


@dataclass(frozen=True, slots=True)
class Waiting:
    """The held saves: files of mods, and whether network.yaml is among them."""

    files: Sources
    config: bool = False
    lock: bool = False

    def __len__(self) -> int:
        return len(self.files) + self.config + self.lock


class Saves:
    """Arguments: `path`, network.yaml; `read`, reads it with the options of this run; `tell`, told
    every fact; `confirm`, whether changes of network.yaml wait for `apply`; `how`, the command for
    people to apply held saves; `overridden`, the settings in network.yaml that this run does not
    use, in words."""

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
        self._network, self._path, self._read, self._tell = network, path, read, tell
        self._confirm, self._how, self._overridden = confirm, how, overridden
        self._files: dict[Path, Digest | None] = {}
        self._config_waits = self._config_asks = self._lock_waits = False
        self._shown = Plan("nothing yet")
        self.paused = False
        self.seen = sources_now([path])[path]
        """The digest of the network.yaml that was dealt with last."""
        self.refused: tuple[ErrorFacts, ...] = ()
        """Why the last saved network.yaml cannot be used."""

    # What the watch reports

    async def files_changed(self, changed: Sources, texts: Mapping[Path, bytes] | None = None) -> None:
        """Take sources that differ from the loaded ones; `texts`: the bytes that were compared."""
        if not self.paused:
            await self._network.submit(FilesChanged(changed, texts=texts or {}))
            return
        self._files.update(changed)
        self._say_waiting(f"{', '.join(self._name(each) for each in changed)} saved")

    async def lock_changed(self) -> None:
        if not self.paused:
            await self._network.submit(LockChanged())
            return
        self._lock_waits = True
        self._say_waiting(f"{LOCK} saved")

    async def look_for_packages(self) -> None:
        """Take the lock if its missing packages have come: nothing in the workspace tells it."""
        environment = self._network.engine.environment
        if environment.lacks and not self.paused and await run_in_thread(environment.is_behind):
            await self._network.submit(LockChanged())

    async def config_changed(self) -> None:
        """Take a saved network.yaml. A bad one is refused at once, also while saves are held."""
        # Before it is read: a save meanwhile is news.
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
        plan = await self._network.foresee(ConfigChanged(config))
        asks = self._asks(config, plan)
        if not self.paused and not asks:
            # It may list a mod that was locked just before, and notifications come in any order.
            await self._network.submit(LockChanged())
            if waited and plan.empty:
                self._tell(Notice(f"{self._path.name} is again as it runs, nothing of it waits", calm=True))
            await self._apply_config(config, was_refused=was_refused, is_told=waited)
            return
        self._config_waits, self._config_asks = True, asks
        self._show(plan)
        # A missing list is more often a mistake than the wish to run nothing.
        lost = " has no key mods, so no mod would run any more (mods: [] says so without a question)"
        self._say_waiting(f"{self._path.name}{lost if _loses_mods(config, plan) else ' saved'}")

    def _asks(self, config: NetworkConfig, plan: Plan) -> bool:
        """Return whether a plan for network.yaml is applied only on a person's command."""
        return not plan.empty and (self._confirm or _loses_mods(config, plan))

    async def _apply_config(self, config: NetworkConfig, *, was_refused: bool, is_told: bool) -> None:
        """Pass network.yaml on; a change without an effect is told, too."""
        before = self._network.engine.config
        done = await self._network.submit(ConfigChanged(config))
        if await self._tell_unsuited() or is_told or not done.plan.empty:
            return
        if was_refused:
            self._tell(Notice(f"{self._path.name} can be used again, and matches the running network", calm=True))
        elif self._is_as_before(before):
            without = (*(f"{each} has no effect" for each in config.unused), *self._overridden())
            self._tell(Ignored(self._path.name, "; ".join(("it matches the running network", *without))))

    def _is_as_before(self, before: NetworkConfig) -> bool:
        """Return whether a network.yaml differs from this one in mods that do not run, at most. Settings that are in
        effect at once are told elsewhere, and so are mods that run."""
        now, running = self._network.engine.config, self._network.engine.registry.running
        was, does = before.by_module, now.by_module
        differing = {path for path in {**was, **does} if was.get(path) != does.get(path)}
        same = replace(now, mods=before.mods, unused=before.unused, lost=before.lost) == before
        return same and not any(map(running, differing))

    async def _tell_unsuited(self) -> bool:
        """Tell which versions the lock has otherwise than network.yaml; return whether there are any."""
        engine = self._network.engine
        found = await run_in_thread(unsuited, engine.config, engine.environment.current)
        for each in found:
            self._tell(Notice(each))
        return bool(found)

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
        """The held saves."""
        return Waiting(dict(self._files), self._config_waits, self._lock_waits)

    def waiting_names(self) -> list[str]:
        """Return the held files, as people read them."""
        others = [LOCK] * self._lock_waits + [self._path.name] * self._config_waits
        return [*others, *(self._name(each) for each in self._files)]

    def pause(self) -> None:
        """Hold saves from now on."""
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
        """Apply the held saves, and then every save at once, but a network.yaml to be confirmed."""
        if self.paused:
            self.paused = False
            self._tell(Notice("resumed: reloading on save again", calm=True))
        done = await self._applied(config=not self._config_asks)
        if self._config_waits:
            self._say_waiting(f"{self._path.name} is not confirmed")
        return done

    async def apply(self) -> tuple[PlanDone, ...]:
        """Apply the held saves and hold later ones: network.yaml first, then one plan."""
        if not self.waiting:
            self._tell(Notice("no save waits", calm=True))
        return await self._applied()

    async def _applied(self, *, config: bool = True) -> tuple[PlanDone, ...]:
        files, config_waits, lock_waits = self._files, self._config_waits and config, self._lock_waits
        self._files, self._config_waits, self._lock_waits = {}, self._config_waits and not config, False
        wanted = self._usable() if config_waits else None
        if wanted is not None and not await self._was_shown(wanted):
            wanted = None
        triggers: list[Trigger] = [LockChanged()] if lock_waits else []
        triggers += [ConfigChanged(wanted)] if wanted is not None else []
        triggers += [FilesChanged(files)] if files else []
        done = tuple([await self._network.submit(each) for each in triggers])
        if wanted is not None:
            await self._tell_unsuited()
        return done

    async def _was_shown(self, config: NetworkConfig) -> bool:
        """Return whether people have seen the effects; else show them, and hold it."""
        plan = await self._network.foresee(ConfigChanged(config))
        if not self._asks(config, plan) or _seen_of(plan) == _seen_of(self._shown):
            return True
        self._config_waits = self._config_asks = True
        self._show(plan)
        self._say_waiting(f"{self._path.name} changed again, a new plan is above")
        return False

    async def plans(self) -> tuple[Plan, ...]:
        """Return the plans for everything that is on disk. Raises ConfigError, OSError."""
        config = self._read()
        engine = self._network.engine
        known, loaded = dict(engine.knowledge.sources()), engine.modules.digests
        now = await run_in_thread(sources_now, known)
        changed = {path: digest for path, digest in now.items() if loaded.get(path, known[path]) != digest}
        both = (await self._network.foresee(ConfigChanged(config)), await self._network.foresee(FilesChanged(changed)))
        return tuple(each for each in both if not each.empty)

    # network.yaml

    def _usable(self) -> NetworkConfig | None:
        """Return the network.yaml as values; None, after telling why, if it cannot be used."""
        try:
            config = self._read()
        except ConfigError as error:
            problems = error.problems
            self.refused = problems
            self._tell(ConfigRefused(problems))
            return None
        except OSError as error:
            self._tell(Notice(f"{self._path.name} cannot be read ({error.strerror}); what runs keeps running"))
            return None
        self.refused = ()
        return config

    def _name(self, path: Path) -> str:
        return self._network.engine.shown(str(path))


def _loses_mods(config: NetworkConfig, plan: Plan) -> bool:
    """Return whether mods would be unloaded because the file has no list of them."""
    return not config.lists_mods and any(each.action is Action.UNLOAD for each in plan.steps)


def _seen_of(plan: Plan) -> tuple[object, ...]:
    """Return the parts of a plan that people see."""
    steps = tuple((each.action, each.mod_id, each.mod_path, each.reason) for each in plan.steps)
    return steps, plan.holds, plan.not_applied
