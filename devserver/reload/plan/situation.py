"""Everything that a decision depends on, and the names that all decisions share."""

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
    """The effect of an undo on a mod: the returning generation, and sources unlike the disk."""

    generation: int
    differing: tuple[Path, ...] = ()
    code: str = ""
    """The path of the code that runs again if that is another mod's, or was."""
    is_gone: bool = False
    """Whether that code is of an index, and no longer locked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LockNews:
    """The differences of the lock on disk from what is loaded.

    `problem`: why none of it can be used, in words. `moved`: the loaded modules that it has in
    another version, each with its place; `changes`: the changes of the mods (by path) of these, in
    words; `waiting`: those whose new version needs another version of an imported package, each
    with that. `gone`: the mods that it no longer has; `back`: those that run the code of a promoted
    version and are to run their own package, with its version in words; `imported`: the packages of
    other people of which another version is imported, with both.
    """

    problem: str = ""
    moved: Mapping[str, Path] = field(default_factory=dict)
    changes: Mapping[str, str] = field(default_factory=dict)
    waiting: Mapping[str, str] = field(default_factory=dict)
    gone: frozenset[str] = frozenset()
    back: Mapping[str, str] = field(default_factory=dict)
    imported: Mapping[str, tuple[str, str]] = field(default_factory=dict)


# No slots: frequent look-ups are indexed once.
@dataclass(frozen=True)
class Situation:
    """Everything that a decision depends on.

    `config`: what the process runs with. `stale`: the loaded modules with a source that differs on
    disk, each with that source, also those that an earlier plan has tried in vain; `stale_reads`:
    the same for data files that mods read in `initialize()`. `retry`: the mods (by path) whose last
    attempt failed and whose sources have changed since; `declared`: the requirements in the sources
    of mods that are to be loaded. `undoable`: for each mod whose last reload can be undone the mods
    and the modules of that; `latest`: the mods that the last change has reloaded; `final`: its
    other effects, which cannot be undone. `deleted`: those of the stale sources that are not
    on disk; `missing`: the live mods (by id) whose own source is among them and that are not found
    elsewhere, each with it; `missed`: those of them that have been told already. `absent`: the mods
    (by path) that network.yaml asks for and that do not exist, each with the searched places.
    `waiting`: the mods (by path) that were held or skipped because of others, each with the paths
    of those.
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
    """The effect of an undo on each mod that is `undoable`."""
    latest: tuple[str, ...] = ()
    moved: frozenset[str] = frozenset()
    """The mods whose latest save replaced no code: there is nothing of it to undo."""
    final: tuple[str, ...] = ()
    deleted: frozenset[Path] = frozenset()
    missing: Mapping[str, Path] = field(default_factory=dict)
    missed: frozenset[str] = frozenset()
    absent: Mapping[str, str] = field(default_factory=dict)
    waiting: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    ended: Mapping[str, ModSpec] = field(default_factory=dict)
    """The lines of network.yaml (by path) that a person has ended, each with its spec then."""
    archives: frozenset[Path] = frozenset()
    """The archives on the import path: modules imported from one stay until a restart."""
    gains: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """The imports between stale modules that are on disk and not in the loaded sources."""
    lock: LockNews | None = None
    """The differences of the lock on disk from what is loaded, on demand."""
    can_restart: bool = False
    """Whether this process can replace its own image; an embedded network cannot."""
    stale_in_process: tuple[str, ...] = ()
    """The reasons of restarts that wait, in words."""
    would_fail: Mapping[str, str] = field(default_factory=dict)
    """The live mods (by id) that would fail in a fresh process, each with why."""
    image_problem: str | None = None
    """Why a new process would not come up for another reason; for a restart only."""
    state_moves: tuple[StateMove, ...] = ()
    """What a restart would do with the state of each mod; for a restart only."""
    child_processes: tuple[str, ...] = ()
    """The processes that mods have started and that end with a restart, in words."""
    here: str = ""
    """The name of this host, in a network of several; nothing in any other."""
    hosts: frozenset[str] = frozenset()
    """The other hosts that are there."""
    taken: frozenset[str] = frozenset()
    """The mods (by path) that this host runs for one that is gone."""
    packages: Mapping[str, str] = field(default_factory=dict)
    """The packages that mods declare, by canonical name, each with the version that an import would get."""
    imported: Mapping[str, str] = field(default_factory=dict)
    """Those of them that are imported, each with its version in this process."""

    def find(self, path_or_id: str) -> LiveMod | None:
        """Return the live mod of that id or path; a line also goes by the path and the id of its code."""
        return self._by_id.get(path_or_id) or self.at(path_or_id) or self._by_code.get(module_of(path_or_id))

    def at(self, mod_path: str) -> LiveMod | None:
        """Return the live mod of that path. Another mod may have the path's last part as its id."""
        return self._by_path.get(module_of(mod_path))

    def listed(self, mod_path: str) -> ModSpec | None:
        """Return the spec of a mod in network.yaml, as the process runs with it."""
        return self.config.by_module.get(module_of(mod_path))

    @property
    def retried(self) -> list[LiveMod]:
        """Return the live mods whose last attempt is worth another one."""
        # Most plans have none, and walk through no mods for that.
        return [mod for mod in self.live if module_of(mod.mod_path) in self.retry] if self.retry else []

    def needing(self, path: str) -> tuple[LiveMod, ...]:
        """Return the live mods that need the mod of that path, now or by their sources on disk."""
        return tuple(self._needing.get(path, ()))

    def needs_of(self, mod: LiveMod) -> frozenset[str]:
        """Return the modules that a mod is made from."""
        return self.graph.closure(mod.entry)

    def shown(self, path: Path) -> str:
        """Return a path as people read it: relative to the workspace if it lies in it."""
        return str(path.relative_to(self.workspace)) if path.is_relative_to(self.workspace) else str(path)

    @cached_property
    def _by_id(self) -> Mapping[str, LiveMod]:
        return {each.mod_id: each for each in self.live}

    @cached_property
    def _by_path(self) -> Mapping[str, LiveMod]:
        return {module_of(each.mod_path): each for each in self.live}

    @cached_property
    def _by_code(self) -> Mapping[str, LiveMod]:
        coded = [(each.line.code, each) for each in self._lines if each.line is not None and each.line.code]
        return {name: each for code, each in coded for name in (mod_id_of(code), code)}

    @cached_property
    def _needing(self) -> Mapping[str, list[LiveMod]]:
        found: dict[str, list[LiveMod]] = {}
        for mod in self.live:
            known = self.declared.get(module_of(mod.mod_path))
            texts = mod.requires if known is None else (*mod.requires, *known.requires)
            for path in dict.fromkeys(needed_paths(texts)) if texts else ():
                found.setdefault(path, []).append(mod)
        return found

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
    """Say that the mod is unknown, and which one may be meant."""
    ids = [mod.mod_id for mod in situation.live]
    close = difflib.get_close_matches(mod_id_of(name), ids, n=1)
    hint = f"Did you mean {close[0]!r}?" if close else f"Loaded: {', '.join(ids) or 'none'}."
    return f"mod {name!r} is not loaded. {hint}"


def required(texts: Iterable[str]) -> tuple[Requirement, ...]:
    """Return the requirements that these texts state, without invalid ones (see `unreadable`)."""
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
