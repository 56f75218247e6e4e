"""From changed modules to the mods made from them: which reload, why, and which together.

Pure, as all of `plan`. The cost of one change depends on the modules that it concerns, not on the
number of mods.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from devserver.market.requirements import load_order
from devserver.model.lifecycle import Action
from devserver.model.names import module_of
from devserver.model.plan import Group, LiveMod, Step
from devserver.reload.plan.situation import Situation, needed_paths
from devserver.sources.imports import ancestors


def reloads(
    situation: Situation, changed: Mapping[str, Path], forced: Mapping[str, str], news: Collection[Path] = ()
) -> list[Step]:
    """Return reloads of the mods made from `changed` modules, of those in `forced` (by id, with the
    reason), and of those that read a file of `news`."""
    affected = {name: place for place, name in enumerate(situation.graph.affected(changed))}
    return [
        reload_step(mod, _why(mod, changed, forced, affected, situation), _modules(mod, affected, situation), situation)
        for mod in situation.live
        if mod.entry in affected or mod.mod_id in forced or situation.stale_reads.get(mod.mod_id) in news
    ]


def reload_step(mod: LiveMod, reason: str, modules: tuple[str, ...], situation: Situation) -> Step:
    """Return a reload. A listed mod gets its configuration of network.yaml, failed or not."""
    spec = situation.listed(mod.mod_path) if mod.listed else None
    config = mod.config if spec is None else spec.config
    return Step(
        Action.RELOAD,
        mod.mod_id,
        mod.mod_path,
        reason,
        config=config,
        modules=modules,
        listed=mod.listed,
        came_with=mod.came_with,
    )


def _modules(mod: LiveMod, affected: Mapping[str, int], situation: Situation) -> tuple[str, ...]:
    """Return the affected modules of a mod, in order; that of its class if none is."""
    if mod.entry in affected:
        return tuple(sorted(situation.needs_of(mod) & affected.keys(), key=affected.__getitem__))
    return (mod.entry,) if mod.entry in situation.graph else ()


def with_stale(news: Mapping[str, Path], mods: Iterable[LiveMod], situation: Situation) -> dict[str, Path]:
    """Return the changed modules, and all stale ones of these mods: the disk is the truth."""
    found = dict(news)
    if situation.stale.keys() <= found.keys():
        return found
    reached = {mod.mod_id: mod for mod in mods}
    while True:
        affected = frozenset(situation.graph.affected(found))
        reached.update((mod.mod_id, mod) for mod in situation.live if mod.entry in affected)
        more = _also_stale(found, reached.values(), situation)
        if not more:
            return found
        found.update(more)


def _also_stale(found: Mapping[str, Path], mods: Iterable[LiveMod], situation: Situation) -> dict[str, Path]:
    others = {name: path for name, path in situation.stale.items() if name not in found}
    if not others:
        return {}
    needed = {name for mod in mods for name in situation.needs_of(mod)}
    return {name: path for name, path in others.items() if name in needed}


def own_code(mod: LiveMod, situation: Situation) -> dict[str, Path]:
    """Return what a reload by hand executes: the mod's modules, and changed needed ones."""
    package, graph = mod.code or module_of(mod.mod_path), situation.graph
    own = (
        name
        for name in situation.needs_of(mod)
        if name == package or name.startswith(f"{package}.") or name in situation.stale
    )
    return {name: graph[name].path for name in own}


# Reasons


def _why(
    mod: LiveMod,
    changed: Mapping[str, Path],
    forced: Mapping[str, str],
    affected: Collection[str],
    situation: Situation,
) -> str:
    if mod.mod_id in forced:
        return forced[mod.mod_id]
    if mod.entry not in affected:
        return f"{situation.shown(situation.stale_reads[mod.mod_id])} is read by {mod.mod_id}"
    chain: tuple[str, ...] = (mod.entry,)
    if mod.entry not in changed:
        chain = _chain(mod.entry, changed, situation) or situation.graph.why(mod.entry, changed)
    source = situation.stale.get(chain[0], changed[chain[0]])
    more = len(_also_changed(mod, changed, situation) - {source})
    what = f"{situation.shown(source)}{f' and {more} more' if more else ''} {_news_of(chain[0], situation)}"
    through = f", through {' → '.join(chain[1:-1])}" if len(chain) > 2 else ""
    return what if len(chain) < 2 else f"{what}{through}, imported by {mod.mod_id}"


def _also_changed(mod: LiveMod, changed: Collection[str], situation: Situation) -> set[Path]:
    """Return the sources of a mod that have changed, with the file that it reads; not those that are gone."""
    own = situation.stale.keys() & changed & situation.needs_of(mod)
    read = situation.stale_reads.get(mod.mod_id)
    return {*(situation.stale[name] for name in own), *([read] if read else ())} - situation.deleted


def _news_of(module: str, situation: Situation) -> str:
    if module not in situation.stale:
        return "is reloaded"
    return "is gone" if situation.stale[module] in situation.deleted else "changed"


def _chain(entry: str, changed: Collection[str], situation: Situation) -> tuple[str, ...]:
    """Return the shortest chain from a changed module up to `entry`, searched from `entry` down: a
    module has fewer imports than a helper has importers. Empty if only `import *` leads there."""
    above: dict[str, str | None] = {entry: None}
    for name in (pending := [entry]):
        if name in changed:
            return _upwards(name, above)
        below = sorted({*situation.graph[name].imports, *ancestors(name)})
        new = [each for each in below if each in situation.graph and each not in above]
        above.update(dict.fromkeys(new, name))
        pending += new
    return ()


def _upwards(name: str | None, above: Mapping[str, str | None]) -> tuple[str, ...]:
    chain = []
    while name is not None:
        chain.append(name)
        name = above[name]
    return tuple(chain)


# Groups


def together(steps: Collection[Step], situation: Situation) -> tuple[Group, ...]:
    """Return groups: mods that share changed modules or need each other succeed or fail as one.

    A new import counts like a present one. Within a group needed mods come before those that need
    them. Groups with helpers come first: all others may import these.
    """
    if len(steps) < 2:
        return tuple(Group((each,)) for each in steps)
    by_path = {module_of(each.mod_path): each for each in steps}
    needs = {path: [each for each in _needs(path, situation) if each in by_path] for path in by_path}
    leaders: dict[str, str] = {}
    for path, step in by_path.items():
        gained = (name for module in step.modules for name in situation.gains.get(module, ()))
        for linked in (*step.modules, *needs[path], *gained):
            leaders[_leader(linked, leaders)] = _leader(path, leaders)
    groups: dict[str, list[Step]] = {}
    for path in load_order(needs)[0]:
        groups.setdefault(_leader(path, leaders), []).append(by_path[path])
    found = [Group(tuple(each)) for each in groups.values()]
    return tuple(sorted(found, key=lambda group: not _has_helpers(group, situation)))


def _has_helpers(group: Group, situation: Situation) -> bool:
    """Return whether a group executes changed modules that are not mods themselves."""
    entries = {mod.entry for mod in situation.live}
    return any(name in situation.stale and name not in entries for step in group.steps for name in step.modules)


def _needs(path: str, situation: Situation) -> tuple[str, ...]:
    mod = situation.at(path)
    return needed_paths(mod.requires) if mod is not None else ()


def _leader(name: str, leaders: dict[str, str]) -> str:
    """Return the name that stands for all that are linked with `name` (union and find)."""
    while (above := leaders.setdefault(name, name)) != name:
        leaders[name] = leaders[above]
        name = above
    return name
