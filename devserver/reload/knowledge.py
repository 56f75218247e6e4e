"""The memory of the reload stream: what runs, its sources, the differing, failed attempts.

Gathers the situation that a decision depends on, and remembers the result. Decides nothing.
"""

from __future__ import annotations

import sys
from collections import ChainMap
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from devserver.errors import DevServerError, ModNotFound
from devserver.live.generation import Generation
from devserver.live.registry import Registry
from devserver.loader.distributions import versions_of
from devserver.loader.environment import Environment, Found
from devserver.loader.locate import locate
from devserver.loader.modules import LoadedModules, Reading, Text
from devserver.loader.reads import written_by_threads
from devserver.model.change import (
    ConfigChanged,
    Digest,
    FilesChanged,
    LoadAsked,
    LockChanged,
    ReloadAsked,
    RestartAsked,
    Sources,
    TidyAsked,
    Trigger,
    UndoAsked,
    UnloadAsked,
)
from devserver.model.config import ModSpec, NetworkConfig
from devserver.model.facts import Notice, Outcome, Status
from devserver.model.lifecycle import Action
from devserver.model.names import mod_id_of, module_of
from devserver.model.plan import Hold, LiveMod, Plan, Step
from devserver.model.split import main_of
from devserver.reload import hooks
from devserver.reload.attempts import Attempt, changed_of, is_held, moved_on, places_of
from devserver.reload.carried import Candidate, Carried
from devserver.reload.declared import Declared, bytes_of, codes_of
from devserver.reload.elsewhere import Elsewhere, Ran, StepEnded, merged, stale_elsewhere, with_elsewhere
from devserver.reload.live_mods import LiveMods
from devserver.reload.lock_news import lock_news
from devserver.reload.plan import Situation, taken, without_settings
from devserver.reload.plan.needs import as_loaded
from devserver.reload.plan.situation import LockNews
from devserver.reload.undoing import Undoing
from devserver.sources.files import is_gone, sources_now
from devserver.sources.graph import ModuleGraph
from devserver.sources.memory import Known
from devserver.sources.roots import Roots

_MOST_PINNED = 2000
"""The most sources of a package that are kept while its saves go to a line."""


class Knowledge:
    """The memory of one engine. `failed`: each mod's last attempt (by path), if it failed."""

    def __init__(
        self,
        config: NetworkConfig,
        roots: Roots,
        modules: LoadedModules,
        registry: Registry,
        environment: Environment,
    ) -> None:
        self.config = config
        self.specs = config.by_module
        self._wanted = frozenset(each.path for each in self.specs.values() if each.enabled)
        self.failed: dict[str, Attempt] = {}
        self._roots = roots
        self._modules = modules
        self._registry = registry
        self._environment = environment
        self._lock = LockNews()
        """The differences between the last lock and what was loaded then."""
        self.undoing = Undoing(modules, registry, self._environment, lambda: self._ran)
        self.history = self.undoing.history
        self.ended: dict[str, ModSpec] = {}
        """The lines of network.yaml (by path) that a person has ended, each with its spec then."""
        self._written: dict[str, set[str]] = {}
        self._undone: dict[Path, tuple[Digest, Digest | None]] = {}
        """The digest of each source that the last undo loaded, and the digest on disk then."""
        self._differing: dict[Path, Digest | None] = {}
        self._reads: tuple[int, dict[Path, Digest | None]] = -1, {}
        """The data files that mods have read, and the number of commits when they were gathered."""
        self.elsewhere: Elsewhere | None = None
        """The other hosts, where there are any."""
        self.watches = True
        """Whether a change on disk is news: not on a host whose code another one brings."""
        self._live_mods = LiveMods(modules, registry)
        self._declared = Declared(self, roots, modules, registry, self._environment)

    def look(self, trigger: Trigger) -> None:
        """Note which sources differ from the loaded ones: the changed, or all of the request."""
        match trigger:
            case FilesChanged(changed=changed) if self.watches:
                now = changed
            case ReloadAsked(mods=mods):
                now = sources_now(self._modules.sources(self._modules_of(mods)))
            case _:
                return
        loaded = ChainMap(cast(dict[Path, Digest | None], self._modules.digests), self._sources_elsewhere())
        self._differing.update({path: digest for path, digest in now.items() if path in loaded})
        self._forget_same()

    def foreseen(self, trigger: Trigger) -> Situation:
        """Return the situation for a trigger, as a dry run: leaves no trace in memory."""
        kept, self._differing = self._differing, dict(self._differing)
        try:
            self.look(trigger)
            return self.situation(trigger)
        finally:
            self._differing = kept

    def _modules_of(self, mods: tuple[str, ...]) -> set[str]:
        """Return the modules that these mods are made from; of all mods, when none are named."""
        live = map(self._registry.running, mods) if mods else self._registry.live
        graph = self._modules.graph()
        return {name for each in live if each is not None for name in graph.closure(each.entry)}

    def _forget_same(self) -> None:
        """Drop sources that match the loaded ones."""
        self._differing = {path: digest for path, digest in self._differing.items() if self._stale({path: digest})}

    def _stale(self, now: Sources) -> dict[str, Path]:
        """Return the modules of all hosts that were made from other sources than these, each with its source."""
        found = self._modules.stale(now)
        return found if self.elsewhere is None else {**stale_elsewhere(self._ran, now), **found}

    def _graph(self) -> ModuleGraph:
        graph = self._modules.graph()
        return graph if self.elsewhere is None else with_elsewhere(graph, self._ran)

    def _all_live(self) -> tuple[LiveMod, ...]:
        live = self._live_mods.all()
        if self.elsewhere is None:
            return live
        return merged(live, self._ran, [mod_id_of(each.path) for each in self.config.enabled_specs])

    @property
    def _ran(self) -> Collection[Ran]:
        return () if self.elsewhere is None else self.elsewhere.mods.values()

    def ran(self, path: str) -> Ran | None:
        """Return a mod of this host, by its module, as another host knows it; None if it does not run."""
        live = self._registry.running(path)
        if live is None:
            return None
        graph = self._modules.graph()
        names = [name for name in sorted(graph.closure(live.entry)) if self._modules.get(name) is not None]
        loaded = {name: self._modules.current[name] for name in names}
        sources = {name: each.sources() for name, each in loaded.items()}
        return Ran(self._live_mods.of(live), {name: graph[name] for name in names}, sources)

    def _sources_elsewhere(self) -> dict[Path, Digest | None]:
        return {path: digest for each in self._ran for path, digest in each.sources.items()}

    def situation(self, trigger: Trigger) -> Situation:
        """Return everything that a decision about this trigger depends on."""
        live = self._all_live()
        changed, texts = (trigger.changed, trigger.texts) if isinstance(trigger, FilesChanged) else ({}, {})
        stale = self._stale(self._differing)
        wanted = self._to_load(trigger)
        redo = isinstance(trigger, UndoAsked) and trigger.redo
        declared, absent = self._declared.of(wanted, codes=codes_of(trigger)) if wanted else ({}, {})
        if isinstance(trigger, LoadAsked):
            absent = {}  # the load itself tells its caller that the mod does not exist
        undoable = self.undoing.possible(redo=redo) if isinstance(trigger, UndoAsked) else {}
        declared |= self._declared.before(undoable) if undoable else self._declared.changed(live, stale, texts, changed)
        config = trigger.config if isinstance(trigger, ConfigChanged) else self.config
        self._declared.add_needed(declared, absent, config)
        installed, imported = versions_of(declared.values())
        return Situation(
            config=self.config,
            live=live,
            graph=self._graph(),
            stale=stale,
            stale_reads={mod.mod_id: path for mod in live if mod.reads for path in changed_of(mod.reads, changed)},
            retry=frozenset(
                module_of(path)
                for path, attempt in self.failed.items()
                # A missing package may be the reason of an attempt's failure.
                if isinstance(trigger, LockChanged) or moved_on(attempt, changed)
            ),
            declared=declared,
            gains=self._declared.gained_imports(stale, texts) if len(stale) > 1 else {},
            workspace=self._roots.workspace,
            undoable={mod_id: (tuple(past.mods), past.modules) for mod_id, past in undoable.items()},
            returns={mod_id: self.undoing.returns(past, mod_id) for mod_id, past in undoable.items()},
            latest=self.history.latest(redo=redo),
            moved=frozenset(self.history.moved),
            final=() if redo else self.history.final,
            deleted=frozenset(path for path, digest in self._differing.items() if digest is None and is_gone(path)),
            missing=self._missing(live, stale) if stale else {},
            missed=frozenset(each.mod_id for each in live if is_held(self.failed.get(each.mod_path)))
            if self.failed
            else frozenset(),
            absent=absent,
            archives=frozenset(path for path in changed if path.suffix != ".py" and str(path) in sys.path),
            waiting={module_of(path): attempt.needs for path, attempt in self.failed.items() if attempt.needs},
            lock=self._lock if isinstance(trigger, LockChanged) else None,
            would_fail=self._would_fail(live) if isinstance(trigger, RestartAsked) else {},
            packages=installed,
            imported=imported,
            ended=self.ended,
            here="" if self.elsewhere is None else self.elsewhere.here,
            hosts=frozenset() if self.elsewhere is None else self.elsewhere.hosts,
            taken=frozenset() if self.elsewhere is None else self.elsewhere.taken,
        )

    def as_it_runs(self) -> Situation:
        """Return the loaded mods; of enabled mods that do not run, the sources on disk."""
        wanted = [each.path for each in self.config.enabled_mods if not self.runs(module_of(each.path))]
        declared, absent = self._declared.of(wanted)
        self._declared.add_needed(declared, absent, self.config)
        return Situation(
            config=self.config,
            live=self._all_live(),
            graph=self._graph(),
            declared=declared,
            absent=absent,
            workspace=self._roots.workspace,
        )

    def _would_fail(self, live: Iterable[LiveMod]) -> dict[str, str]:
        """Return the live mods whose code on disk has failed: a fresh process would fail too."""
        failed = ((mod, self.failed.get(mod.mod_path)) for mod in live)
        return {
            mod.mod_id: str(attempt.outcome.error or attempt.outcome.reason)
            for mod, attempt in failed
            if attempt is not None
            and not attempt.loads_elsewhere
            # What has been saved since is not known to fail: also of a mod that only a restart brings.
            and not moved_on(attempt, self._now(attempt.touched))
        }

    def _missing(self, live: Iterable[LiveMod], stale: Iterable[str]) -> dict[str, Path]:
        """Return the changed mods whose own source is gone, and that are nowhere else."""
        graph = self._graph()
        concerned = frozenset(graph.affected(stale))
        entries = [(mod, graph[mod.entry].path) for mod in live if mod.entry in concerned]
        return {mod.mod_id: path for mod, path in entries if is_gone(path) and not self._moved(mod, path)}

    def _moved(self, mod: LiveMod, gone: Path) -> bool:
        """Return whether a mod whose source is gone has moved. Its package was there before."""
        try:
            now = locate(mod.code_path, self._roots).file
        except ModNotFound:
            return False
        except (DevServerError, OSError):
            # Something is there, and loading it will say what is wrong with it.
            return True
        return now != gone and bool(self._modules.stale(sources_now([now])) or now not in self._modules.digests)

    def use_lock(self) -> str:
        """Use the packages of the lock on disk, and note what differs; return why not, or ""."""
        environment, found = self._environment, self._environment.look()
        self._lock = LockNews(problem="nothing has changed")
        if found.digest == environment.digest and not (environment.lacks and found.installed is not None):
            return ""
        if found.problem:
            # The loaded packages stay; told once for each lock.
            environment.digest, environment.lacks = found.digest, found.problem
            return found.problem
        self._lock = lock_news(self._registry.live, environment.news(found), found.installed)
        environment.use(found)
        return ""

    def undo(self, plan: Plan) -> Found | None:
        """Note the sources on disk that a plan goes back from: only a save serves them again.

        If the former sources lie among other packages, these are used from now on; returns the ones
        used until then.
        """
        texts = self.undoing.texts_before(plan)
        now = sources_now(texts)
        self._undone.update({path: (text.digest, now[path]) for path, text in texts.items()})
        return self._environment.back_to(texts)

    def _to_load(self, trigger: Trigger) -> list[str]:
        match trigger:
            case ConfigChanged() | LockChanged():
                config = trigger.config if isinstance(trigger, ConfigChanged) else self.config
                return [each.path for each in config.enabled_specs if not self._is_there(each.path)]
            case UnloadAsked() | TidyAsked():
                return []
            case _:
                asked = [trigger.path] if isinstance(trigger, LoadAsked) else []
                again = self.config.enabled_specs if self.failed else ()
                return asked + [each.path for each in again if each.path in self.failed]

    def has_spare(self) -> bool:
        """Return whether a mod runs that no person asks for."""
        return any(
            # Most are mods of network.yaml: the path that is written there is looked for first.
            each.came_with or (each.listed and each.mod_path not in self._wanted and not self._is_wanted(each.mod_path))
            for each in self._registry.live
        )

    def _is_wanted(self, path: str) -> bool:
        spec = self.specs.get(module_of(path))
        return spec is not None and spec.enabled

    def _is_there(self, path: str) -> bool:
        is_elsewhere = self.elsewhere is not None and module_of(path) in self.elsewhere.mods
        return is_elsewhere or self._registry.find(path) is not None

    def runs(self, path: str) -> bool:
        """Return whether a mod, by its module, runs."""
        if self.elsewhere is not None and path in self.elsewhere.mods:
            return True
        live = self._registry.running(path)
        return live is not None and module_of(live.mod_path) == path

    def code_of(self, path: str) -> str:
        """Return the path of the code of a mod or line."""
        spec = self.specs.get(module_of(path))
        line = None if spec is None else spec.beside
        if line is not None and line.code:
            return line.code
        return path if line is None and self._registry.find(path) is None else main_of(path)

    def place_in(self, generation: Generation, text: str) -> str:
        """Return where a generation declares something, as ` (mods/search/mod.py:9)`, or ""."""
        place = as_loaded(self._live_mods.of(generation)).where.get(text)
        return "" if place is None else f" ({self._roots.shown(place.file)}:{place.line})"

    def watched_for(self, mod_path: str) -> tuple[Path, ...]:
        """Return the files that network.yaml names as a mod's sources, and their folders."""
        spec = self.specs.get(module_of(mod_path))
        return hooks.matching(self._roots.workspace, spec.watch) if spec is not None and spec.watch else ()

    def _watch_again(self, before: Mapping[str, ModSpec]) -> None:
        """Add the files that network.yaml has begun to name to the sources of mods that run."""
        for generation in self._registry.live:
            path = module_of(generation.mod_path)
            now, then = self.specs.get(path), before.get(path)
            if now is not None and now.watch != (then.watch if then is not None else ()):
                generation.reads = {**generation.reads, **sources_now(self.watched_for(path))}
                self._live_mods.forget(generation)
                self._reads = -1, {}

    def take_config(self, config: NetworkConfig) -> list[Notice]:
        """Take a new network.yaml, but for settings that need a restart; return notices."""
        notices = [Notice(f"{each}: counts from now on", calm=True) for each in taken(config, self.config)]
        self.config, before = without_settings(config, self.config), self.specs
        self.specs = self.config.by_module
        self._wanted = frozenset(each.path for each in self.specs.values() if each.enabled)
        self._watch_again(before)
        self.ended = {path: spec for path, spec in self.ended.items() if self.specs.get(path) == spec}
        self._registry.hold_at_most(config.limits.held_events)
        listed, enabled = ({module_of(each.path) for each in mods} for mods in (config.specs, config.enabled_specs))
        for generation in self._registry.live:
            # network.yaml may unload a mod that it once listed, also later, but not a mod that was
            # loaded by others.
            generation.listed = generation.listed or module_of(generation.mod_path) in enabled
            generation.came_with = "" if generation.listed else generation.came_with
        for path in [each for each in self.failed if module_of(each) not in listed]:
            del self.failed[path]
        return notices

    # Versions beside a mod

    def pin(self, main: Generation) -> None:
        """Let saves of a mod go to a line of it: the sources that it runs stay as they are."""
        plain = main.code or module_of(main.mod_path)
        graph, loaded = self._modules.graph(), self._modules
        own = [each for name in graph if (each := loaded.get(name)) is not None and _is_inside(name, plain)]
        tops = (each for each in own if (each.name == plain and each.package) or each.name == f"{plain}.mod")
        folder = next((each.path.parent for each in tops), None)
        found = [] if folder is None else sorted(folder.rglob("*.py"))[:_MOST_PINNED]
        texts = {path: data for path in found if (data := bytes_of(path)) is not None}
        loaded.lines.pins[plain] = {**texts, **{each.path: each.text.data for each in own}}
        # Its failed attempt was one on the source of the line.
        self.failed.pop(main.mod_path, None)
        self._forget_same()

    def unpin(self, main: Generation) -> None:
        """Let saves go to a mod again; its source on disk is not served before the next save."""
        sources = self._modules.lines.pins.pop(main.code or module_of(main.mod_path), {})
        loaded = {path: self._modules.digests[path] for path in sources if path in self._modules.digests}
        now = sources_now(loaded)
        self._undone |= {path: (was, now[path]) for path, was in loaded.items() if was is not None and now[path] != was}

    def texts_of(self, line: Generation) -> dict[Path, Text]:
        """Return the sources that a line runs."""
        names = [name for name in self._modules.graph() if _is_inside(name, line.mod_path)]
        return {each.path: each.text for name in names if (each := self._modules.get(name)) is not None}

    def sources(self) -> Sources:
        """Return all sources of everything that runs, or was last tried: these are watched."""
        if not self.watches:
            return {}
        digests, far = cast(dict[Path, Digest | None], self._modules.digests), self._sources_elsewhere()
        # The sources of an undo: until they are loaded again, the different ones on disk are known.
        loaded = ChainMap(digests, far)
        tried = {path: digest for each in self.failed.values() for path, digest in each.touched.items()}
        return Known(ChainMap(self._back_from(loaded), tried, digests, self._reads_of_live(), far), self.written())

    def on_disk(self, loaded: Sources) -> Sources:
        """Return what is known of the disk for these loaded sources: of one that an undo has brought back, the digest
        that the disk had then."""
        return {**loaded, **self._back_from(loaded)}

    def _back_from(self, loaded: Mapping[Path, Digest | None]) -> dict[Path, Digest | None]:
        """Return the digests on disk of sources whose earlier text an undo has loaded."""
        return {path: disk for path, (was, disk) in self._undone.items() if path in loaded and loaded[path] == was}

    def _reads_of_live(self) -> dict[Path, Digest | None]:
        """Return the data files that mods read in `initialize()`; gathered once a commit."""
        commits = self._registry.commits
        if self._reads[0] != commits:
            live = (each for each in self._registry.live if each.reads)
            self._reads = commits, {path: digest for each in live for path, digest in each.reads.items()}
        return self._reads[1]

    def written(self) -> Collection[str]:
        """Return the files that mods have written: their data. Also those of unloaded mods."""
        # Copies: mods go on writing on their own thread.
        return written_by_threads().union(*(each.copy() for each in self._written.values() if each))

    def remember(self, candidate: Candidate, outcome: Outcome, carried: Carried) -> None:
        """Note how a step ended, and on a failure everything that it depended on."""
        path = candidate.step.mod_path
        if outcome.status is Status.APPLIED:
            # Keep the files that a mod has written as its data across generations, with those that
            # a former one still writes.
            if candidate.new is not None:
                own = candidate.new.written
                candidate.new.written = self._written.setdefault(candidate.step.mod_path, own)
                candidate.new.written.update(own.copy())
            self.failed.pop(path, None)
        elif candidate.brings:
            located = [candidate.located.file] if candidate.located is not None else []
            step = candidate.step
            self._note_failed(path, outcome, located, carried.touched, came_with=step.came_with, config=step.config)

    def remember_elsewhere(self, ended: StepEnded) -> None:
        """Note how a step ended on another host; as `remember`."""
        path = ended.step.mod_path
        if ended.outcome.status is Status.APPLIED:
            self.failed.pop(path, None)
        elif ended.step.action is not Action.UNLOAD:
            self._note_failed(path, ended.outcome, touched=ended.touched, came_with=ended.step.came_with)

    def skipped(self, step: Step, outcome: Outcome, needs: tuple[str, ...]) -> None:
        """Note a step that was not tried, because mods that it needs did not load."""
        self._note_failed(step.mod_path, outcome, needs=needs)

    def hold(self, holds: Iterable[Hold], outcomes: Iterable[Outcome], situation: Situation) -> None:
        """Note held steps: each is tried again when its source, or what it waits for, appears."""
        for hold, outcome in zip(holds, outcomes, strict=True):
            gone = situation.missing.get(outcome.mod_id) if hold.action is Action.RELOAD else None
            if gone is not None or hold.action is Action.LOAD or hold.needs or hold.packages or hold.repeats:
                places = hold.repeats if gone is None else [gone]
                self._note_failed(outcome.mod_path, outcome, places, needs=hold.needs, packages=hold.packages)

    def _note_failed(
        self,
        mod_path: str,
        outcome: Outcome,
        places: Iterable[Path] = (),
        touched: Sources | None = None,
        needs: tuple[str, ...] = (),
        packages: tuple[str, ...] = (),
        came_with: str = "",
        config: Mapping[str, Any] | None = None,
    ) -> None:
        """Note an attempt with all places that it, and the mods that it needs, searched.

        An attempt on a mod that a later trigger does not ask for is not noted.
        """
        is_listed = any(module_of(each.path) == module_of(mod_path) for each in self.config.specs)
        if is_listed or came_with or self._registry.find(mod_path) is not None:
            paths = (mod_path, *needs)
            looked_for = dict.fromkeys(
                (*places, *(each for path in paths for each in places_of(self.code_of(path), self._roots)))
            )
            theirs = [self.failed[path].touched for path in needs if path in self.failed]
            known = {place: digest for each in (*theirs, touched or {}) for place, digest in each.items()}
            touched = {**self._now(looked_for), **known}
            self.failed[mod_path] = Attempt(touched, outcome, needs, packages=packages, config=config)

    def _now(self, paths: Iterable[Path]) -> Sources:
        """Return the digests on disk at these places, as the watch sees them."""
        return {path: self._roots.judged(path, digest) for path, digest in sources_now(paths).items()}

    def revived(self, plan: Plan) -> Sources:
        """Return sources that justify retrying failed mods after a plan: reloaded modules that they
        had read in an older version, and mods held only because of one that is now unloaded."""
        freed = self._held_back() if any(step.action is Action.UNLOAD for step in plan.steps) else {}
        if not self.failed:
            return freed
        loaded = self._modules.sources(name for step in plan.steps for name in step.modules)
        return freed | {
            path: digest
            for path, digest in loaded.items()
            if path not in self._differing
            and any(attempt.touched.get(path, digest) != digest for attempt in self.failed.values())
        }

    def _held_back(self) -> dict[Path, Digest | None]:
        """Return differing sources of mods that have not failed: they waited for one of these."""
        graph, stale = self._modules.graph(), self._modules.stale(self._differing)
        mods = [each for each in self._registry.live if each.mod_path not in self.failed] if stale else []
        needed = {name for each in mods for name in graph.closure(each.entry)}
        return {path: self._differing[path] for name, path in stale.items() if name in needed}

    def settle(self, trigger: Trigger, plan: Plan) -> list[Notice]:
        """Forget failures whose sources or configurations match what runs again, and return notices of that."""
        self._forget_same()
        if isinstance(trigger, LockChanged):
            return self._settle_lock(plan)
        if isinstance(trigger, ConfigChanged):
            back = self._back_again(plan, self._is_configured_as_before)
            return [self._forgiven(each, f"{plan.cause} matches") for each in back]
        if not isinstance(trigger, FilesChanged) or not self.watches:
            return []
        for path in trigger.changed.keys() & self._undone.keys():
            # Whatever the result: the change is dealt with.
            self._undone[path] = (self._undone[path][0], trigger.changed[path])
        notices, changed = [], trigger.changed
        for each in self._back_again(plan, lambda _, attempt: moved_on(attempt, changed)):
            files = [self._roots.shown(path) for path in changed_of(self.failed[each.mod_path].touched, changed)]
            what = f"{files[0]} matches" if len(files) == 1 else "the sources on disk match"
            notices.append(self._forgiven(each, what))
        return notices

    def _forgiven(self, generation: Generation, what: str) -> Notice:
        del self.failed[generation.mod_path]
        words = f"{what} {generation.name} again, which kept running; nothing to reload"
        return Notice(words, calm=True, mended=(generation.mod_id,))

    def _is_configured_as_before(self, generation: Generation, attempt: Attempt) -> bool:
        """Return whether network.yaml has taken back the configuration of a failed attempt."""
        spec = self.specs.get(module_of(generation.mod_path))
        return attempt.config not in (None, generation.config) and spec is not None and spec.config == generation.config

    def _settle_lock(self, plan: Plan) -> list[Notice]:
        """Forget failures among packages that were in use before."""
        planned, elsewhere = {step.mod_path for step in plan.steps}, self._environment.is_elsewhere
        failed = {path: attempt for path, attempt in self.failed.items() if path not in planned}
        gone = [path for path, attempt in failed.items() if any(elsewhere(each) for each in attempt.touched)]
        live = [each for path in gone if (each := self._registry.running(path)) is not None]
        for path in gone:
            del self.failed[path]
        return [
            Notice(f"{each.name} kept running, and matches the lock again", calm=True, mended=(each.mod_id,))
            for each in live
        ]

    def _back_again(self, plan: Plan, is_back: Callable[[Generation, Attempt], bool]) -> list[Generation]:
        """Return the mods of failed attempts of which this is so, and whose sources are those that run."""
        planned, stale = {step.mod_path for step in plan.steps}, self._modules.stale(self._differing)
        return [
            each
            for each in self._registry.live
            if each.mod_path in self.failed
            and each.mod_path not in planned
            and is_back(each, self.failed[each.mod_path])
            and stale.keys().isdisjoint(self._modules.graph().closure(each.entry))
        ]

    def goes_on(self, outcome: Outcome, touched: Sources) -> None:
        """Note a mod that keeps its code of before a restart: that on disk, of `touched`, fails."""
        self._differing.update({path: digest for path, digest in touched.items() if path in self._modules.digests})
        self._forget_same()
        self._note_failed(outcome.mod_path, outcome, touched=touched)

    def made_from(self) -> dict[str, dict[str, Reading]]:
        """Return, by mod (id), the modules that it was made from, each with its source as it is loaded."""
        graph, loaded = self._modules.graph(), self._modules.current
        needs = ((each.mod_id, graph.closure(each.entry)) for each in self._registry.live)
        return {mod_id: {name: loaded[name].text for name in names if name in loaded} for mod_id, names in needs}

    def newer_on_disk(self) -> dict[str, tuple[Path, ...]]:
        """Return the mods (by id) that differ from their sources on disk, with these."""
        loaded = self._modules.digests
        undone = {path: disk for path, disk in self._back_from(loaded).items() if disk != loaded[path]}
        stale = self._modules.stale({**self._differing, **undone})
        if not stale:
            return {}
        graph = self._modules.graph()
        needs = ((each.mod_id, graph.closure(each.entry)) for each in self._registry.live)
        found = {mod: tuple(path for name, path in stale.items() if name in names) for mod, names in needs}
        return {mod: tuple(dict.fromkeys(paths)) for mod, paths in found.items() if paths}


def _is_inside(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")
