"""What a decision depends on, and the names and sentences that all decisions share. Decides nothing itself."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from devserver.market.requirements import Requirement, parse_requirement
from devserver.model.config import ModSpec, NetworkConfig
from devserver.model.names import mod_id_of, module_of
from devserver.model.plan import LiveMod, StateMove
from devserver.model.split import main_of
from devserver.sources.graph import Declarations, ModuleGraph


@dataclass(frozen=True, slots=True)
class Returns:
    """What undoing brings of a mod: the generation whose code it is, and the sources that differ from it on disk."""

    generation: int
    differing: tuple[Path, ...] = ()
    code: str = ""
    """The path of the code that runs again where that is another's, or was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LockNews:
    """How the lock on disk differs from what is loaded.

    `problem`: why nothing of it can be used, in words. `moved` are the loaded modules that it has in another version,
    each with where that is; `changes` what has changed of the mods (by path) that these belong to, in words; `waiting`
    those of them whose new version needs what is imported in another one, each with that. `gone` are the mods that it
    has no more, `imported` the packages of other people of which another version is imported, with both.
    """

    problem: str = ""
    moved: Mapping[str, Path] = field(default_factory=dict)
    changes: Mapping[str, str] = field(default_factory=dict)
    waiting: Mapping[str, str] = field(default_factory=dict)
    gone: frozenset[str] = frozenset()
    imported: Mapping[str, tuple[str, str]] = field(default_factory=dict)


# No slots: what is looked up again and again is indexed once.
@dataclass(frozen=True)
class Situation:
    """All that a decision depends on.

    `config` is what the process runs with. `stale` are the loaded modules one of whose sources differs on disk, each
    with that source, also those that an earlier plan has tried in vain; `stale_reads` the same for data files that mods
    read while they were initialised. `retry` are the mods (by path) whose last attempt failed and whose sources have
    changed since; `declared` is what the source of mods that are to be loaded says about their requirements.
    `undoable` gives for each mod whose last reload can be undone the mods and the modules that it concerned; `latest`
    are the mods that the last change has reloaded, `final` says what else it did, which cannot be undone. `deleted` are
    those of the stale sources that are on disk no more; `missing` the live mods (by id) whose own source is among them
    and that are nowhere else either, each with it; `missed` those of them of which that was said already. `absent` are
    the mods (by path) that network.yaml asks for and that are nowhere, each with where they were looked for. `waiting`
    are the mods (by path) that were held or skipped because of others, each with the paths of those.
    """

    config: NetworkConfig
    live: tuple[LiveMod, ...] = ()
    graph: ModuleGraph = field(default_factory=lambda: ModuleGraph({}))
    stale: Mapping[str, Path] = field(default_factory=dict)
    stale_reads: Mapping[str, Path] = field(default_factory=dict)
    retry: frozenset[str] = frozenset()
    declared: Mapping[str, Declarations] = field(default_factory=dict)
    workspace: Path = Path()
    undoable: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = field(default_factory=dict)
    returns: Mapping[str, Returns] = field(default_factory=dict)
    """What undoing brings of each mod that is `undoable`."""
    latest: tuple[str, ...] = ()
    final: tuple[str, ...] = ()
    deleted: frozenset[Path] = frozenset()
    missing: Mapping[str, Path] = field(default_factory=dict)
    missed: frozenset[str] = frozenset()
    absent: Mapping[str, str] = field(default_factory=dict)
    waiting: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    ended: Mapping[str, ModSpec] = field(default_factory=dict)
    """The lines of network.yaml (by path) that a person has ended, each as it stood there then."""
    archives: frozenset[Path] = frozenset()
    """The archives on the import path: what was imported from one stays as it is until a restart."""
    gains: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """What stale modules import of each other as they are on disk, and did not as they are loaded."""
    lock: LockNews | None = None
    """How the lock on disk differs from what is loaded, where that is asked for."""
    can_restart: bool = False
    """Whether this process can replace its own image; an embedded network cannot."""
    stale_in_process: tuple[str, ...] = ()
    """The reasons of restarts that wait, in words."""
    would_fail: Mapping[str, str] = field(default_factory=dict)
    """The live mods (by id) that would not come up in a fresh process, each with why."""
    state_moves: tuple[StateMove, ...] = ()
    """What a restart would do with the state of each mod; looked at for a restart only."""
    child_processes: tuple[str, ...] = ()
    """The processes that mods have started and that end with a restart, in words."""
    packages: Mapping[str, str] = field(default_factory=dict)
    """The packages that mods declare, by canonical name, each with the version that an import would get."""
    imported: Mapping[str, str] = field(default_factory=dict)
    """Those of them that are imported, each with its version in this process."""

    def find(self, path_or_id: str) -> LiveMod | None:
        """Return the live mod of that id or path."""
        return self._by_id.get(path_or_id) or self.at(path_or_id)

    def at(self, mod_path: str) -> LiveMod | None:
        """Return the live mod of that path. Another mod may have the path's last part as its id."""
        return self._by_path.get(module_of(mod_path))

    def listed(self, mod_path: str) -> ModSpec | None:
        """Return what network.yaml, as the process runs with it, says of a mod."""
        return self._listed.get(module_of(mod_path))

    def needing(self, path: str) -> tuple[LiveMod, ...]:
        """Return the live mods that need the mod of that path, or will once they are as on disk."""
        return tuple(self._needing.get(path, ()))

    def needs_of(self, mod: LiveMod) -> frozenset[str]:
        """Return the modules that a mod is made from."""
        return self.graph.closure(mod.entry)

    def shown(self, path: Path) -> str:
        """Return a path as people read it: relative to the workspace where it lies in it."""
        return str(path.relative_to(self.workspace)) if path.is_relative_to(self.workspace) else str(path)

    @cached_property
    def _by_id(self) -> Mapping[str, LiveMod]:
        return {each.mod_id: each for each in self.live}

    @cached_property
    def _by_path(self) -> Mapping[str, LiveMod]:
        return {module_of(each.mod_path): each for each in self.live}

    @cached_property
    def _needing(self) -> Mapping[str, list[LiveMod]]:
        found: dict[str, list[LiveMod]] = {}
        for mod in self.live:
            known = self.declared.get(module_of(mod.mod_path))
            texts = mod.requires if known is None else (*mod.requires, *known.requires)
            for path in dict.fromkeys(needed_paths(texts)) if texts else ():
                found.setdefault(path, []).append(mod)
        return found

    @cached_property
    def _listed(self) -> Mapping[str, ModSpec]:
        return {module_of(each.path): each for each in self.config.specs}

    def lines_of(self, mod: LiveMod) -> tuple[LiveMod, ...]:
        """Return the lines beside a mod, in order."""
        return tuple(each for each in self._lines if main_of(each.mod_id) == mod.mod_id)

    def is_pinned(self, mod: LiveMod) -> bool:
        """Return whether saves of a mod go to a line of it."""
        return mod.line is None and any(each.is_of_disk for each in self.lines_of(mod))

    @cached_property
    def _lines(self) -> tuple[LiveMod, ...]:
        return tuple(each for each in self.live if each.line is not None)


def not_loaded(name: str, situation: Situation) -> str:
    """That there is no such mod, and which one may be meant."""
    ids = [mod.mod_id for mod in situation.live]
    close = difflib.get_close_matches(mod_id_of(name), ids, n=1)
    hint = f"Did you mean {close[0]!r}?" if close else f"Loaded: {', '.join(ids) or 'none'}."
    return f"mod {name!r} is not loaded. {hint}"


def required(texts: Iterable[str]) -> tuple[Requirement, ...]:
    """Return the requirements that these texts state; what states none is left out (see
    `unreadable`)."""
    return tuple(parse_requirement(each) for each in texts if unreadable([each]) is None)


def unreadable(texts: Iterable[str]) -> str | None:
    """Return what is wrong with the first of these texts that is not a requirement, or None."""
    for text in texts:
        try:
            parse_requirement(text)
        except ValueError as error:
            return str(error)
    return None


def needed_paths(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the mods, by path, that these requirements name."""
    return tuple(module_of(each.path) for each in required(texts))
