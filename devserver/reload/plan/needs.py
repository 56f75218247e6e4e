"""What mods need of each other and of installed packages: needed mods to load, missing ones,
unneeded ones, with reasons.

Pure, as all of `plan`. The sentences name the lines of both sides.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from devserver.market.manifest import completed
from devserver.market.packages import Package, parse_package
from devserver.market.requirements import Requirement, load_order
from devserver.model.config import ModSpec
from devserver.model.declared import Declarations, Place
from devserver.model.lifecycle import Action
from devserver.model.names import mod_id_of, module_of, near
from devserver.model.plan import LiveMod, Plan, Step
from devserver.reload.plan.situation import Situation, needed_paths, required
from devserver.sources.declarations import read_declarations

# What is declared


def declared(path: str, situation: Situation) -> Declarations:
    """Return a mod's declarations after a plan, which may load its source on disk."""
    return situation.declared.get(path) or _as_it_runs(situation.at(path))


def _as_it_runs(mod: LiveMod | None) -> Declarations:
    return Declarations() if mod is None else Declarations(mod.requires, mod.version, mod.optional)


def at(text: str, path: str, situation: Situation) -> str:
    """Return where a mod declares something, as in ` (mods/board/mod.py:9)`; empty if unknown."""
    place = place_of(text, path, situation)
    return "" if place is None else f" ({situation.shown(place.file)}:{place.line})"


def place_of(text: str, path: str, situation: Situation) -> Place | None:
    """Return the line where a mod declares a requirement, or "version"."""
    known, mod = situation.declared.get(path), situation.at(path)
    if known is not None:
        return known.where.get(text)
    return None if mod is None else as_loaded(mod).where.get(text)


def as_loaded(mod: LiveMod) -> Declarations:
    """Return the declarations of the source that a live mod was loaded from, with their places."""
    try:
        said = Declarations() if mod.file is None else read_declarations(mod.text, mod.file)
    except SyntaxError:
        said = Declarations()
    return completed(said, mod.manifest)


# What comes along


def coming(
    paths: Iterable[str], situation: Situation, leaving: Collection[str] = (), brought: Collection[str] = ()
) -> dict[str, tuple[str, Requirement]]:
    """Return the mods that have to be loaded because these need them, directly or through others.

    By path, each with the mod (path) that needs it first and its requirement. Without mods that run
    and stay, mods that are missing or that network.yaml disables, and mods that the plan brings
    already.
    """
    found: dict[str, tuple[str, Requirement]] = {}
    pending = list(paths)
    for path in pending:
        for needed in required(declared(path, situation).requires):
            name = module_of(needed.path)
            if name in found or name in brought or not _can_come(name, situation, leaving):
                continue
            found[name] = (path, needed)
            pending.append(name)
    return found


def _can_come(path: str, situation: Situation, leaving: Collection[str]) -> bool:
    live, spec = situation.at(path), situation.listed(path)
    runs = live is not None and live.mod_id not in leaving
    return not runs and path not in situation.absent and (spec is None or spec.enabled)


def step_of(path: str, by: str, needed: Requirement, situation: Situation) -> Step:
    """Return the load of a mod because another needs it; as network.yaml lists it, if it does."""
    spec = situation.listed(path)
    wanted = spec or ModSpec(needed.path)
    reason = f"needed by {mod_id_of(by)} ({needed})"
    came_with = "" if spec is not None else mod_id_of(by)
    return Step(
        Action.LOAD,
        mod_id_of(path),
        wanted.path,
        reason,
        config=wanted.config,
        listed=spec is not None,
        came_with=came_with,
    )


def without_unneeded(plan: Plan, situation: Situation) -> Plan:
    """Return the plan without automatic loads that no step needs, because those were held."""
    if not any(step.came_with and step.action is Action.LOAD for step in plan.steps):
        return plan
    own = (step for step in plan.steps if not step.came_with or step.action is not Action.LOAD)
    wanted = dict.fromkeys(module_of(step.mod_path) for step in own)
    pending = list(wanted)
    for path in pending:
        new = [each for each in needed_paths(declared(path, situation).requires) if each not in wanted]
        wanted.update(dict.fromkeys(new))
        pending += new
    return plan.only(lambda step: not step.came_with or module_of(step.mod_path) in wanted)


# What is missing


def unmet(
    path: str,
    situation: Situation,
    brought: Collection[str],
    leaving: Collection[str] = (),
    refused: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return the mods (by path) that a mod needs and that are missing after a plan has brought and
    unloaded these, with why.

    `refused`: why the plan cannot load some of them.
    """
    found = {}
    for needed in required(declared(path, situation).requires):
        name = module_of(needed.path)
        wish = f"it needs {needed}{at(needed.written, path, situation)}"
        version = version_after(name, situation, brought, leaving)
        if version is None:
            found[name] = f"{wish}, {_why_not(name, situation, refused or {})}"
        elif not suits(needed, version):
            here = f"{wish}, and {mod_id_of(name)} is {version}{at('version', name, situation)}"
            found[name] = here + _no_version(needed, path, situation, brought)
    return found


def _why_not(path: str, situation: Situation, refused: Mapping[str, str]) -> str:
    """Return why a needed mod neither runs nor comes."""
    if path in refused:
        return f"which cannot be loaded: {refused[path]}"
    if path in situation.absent:
        return f"which is nowhere: {situation.absent[path].removeprefix(f'no mod {path}: ')}"
    spec = situation.listed(path)
    if spec is not None and not spec.enabled:
        line = "" if spec.line is None else f":{spec.line}"
        return f"which network.yaml{line} disables"
    return "which is not loaded"


def _requires(mod: LiveMod, situation: Situation, brought: Collection[str]) -> Sequence[str]:
    """Return a live mod's needs after a plan, which may load its source on disk."""
    path = module_of(mod.mod_path)
    return declared(path, situation).requires if path in brought else mod.requires


def _no_version(needed: Requirement, path: str, situation: Situation, brought: Collection[str]) -> str:
    """Return which other mod prevents any other version, in words."""
    target = module_of(needed.path)
    for mod in situation.needing(target):
        other = module_of(mod.mod_path)
        for each in required(_requires(mod, situation, brought)) if other != path else ():
            if module_of(each.path) == target and needed.excludes(each):
                where = at(each.written, other, situation)
                return f"; {mod.mod_id} needs {each}{where}: no version of {mod_id_of(target)} suits both"
    return ""


def version_after(
    path: str, situation: Situation, brought: Collection[str], leaving: Collection[str] = ()
) -> str | None:
    """Return a mod's version after a plan has brought and unloaded these; None: it does not run.

    "" if only executing the code tells: the version is checked then.
    """
    if path in brought and path in situation.declared:
        known = situation.declared[path]
        return "" if "version" in known.computed else known.version
    live = situation.at(path)
    if live is not None and live.mod_id not in leaving:
        return live.version
    return "" if path in brought else None


def suits(needed: Requirement, version: str) -> bool:
    """Return whether a version suits, as far as that is known."""
    return not version or needed.allows(version)


def refuser(step: Step, brought: Collection[str], leaving: Collection[str], situation: Situation) -> tuple[str, str]:
    """Return the mod (path) that stays and refuses a reload's version, with the reason."""
    path = module_of(step.mod_path)
    version, live = version_after(path, situation, brought), situation.at(path)
    is_news = version and (live is None or live.version != version)
    for mod in situation.needing(path) if is_news else ():
        other = module_of(mod.mod_path)
        needs = required(_requires(mod, situation, brought)) if mod.mod_id not in leaving else ()
        for each in needs:
            if module_of(each.path) == path and not suits(each, version or ""):
                here, there = at("version", path, situation), at(each.written, other, situation)
                mod_id = mod_id_of(path)
                return other, f"{mod_id} {version}{here} does not suit {mod.mod_id}, which needs {each}{there}"
    return "", ""


def circle(path: str, situation: Situation) -> tuple[str, ...]:
    """Return the mods that would need each other in a circle through this one, if any.

    Needs of a live mod that are met already make none: the plan never creates a circle.
    """
    live, new = situation.at(path), needed_paths(declared(path, situation).requires)
    if live is not None and {*new} <= {*needed_paths(live.requires)} and all(map(situation.at, new)):
        return ()
    above: dict[str, str] = {}
    pending = [path]
    for name in pending:
        for each in needed_paths(declared(name, situation).requires):
            if each == path:
                chain = [name]
                while chain[-1] != path:
                    chain.append(above[chain[-1]])
                return tuple(reversed(chain))
            if each not in above:
                above[each] = name
                pending.append(each)
    return ()


def in_a_circle(cycle: Sequence[str], situation: Situation) -> str:
    """Return why mods that need each other are not loaded, and the cure."""
    names = [mod_id_of(each) for each in cycle]
    needs = declared(cycle[-1], situation).requires
    text = next((each.written for each in required(needs) if module_of(each.path) == cycle[0]), "")
    if len(names) == 1:
        return f"it needs itself{at(text, cycle[0], situation)}: take that out of its requires"
    where = at(text, cycle[-1], situation)
    return f"they need each other: {' → '.join((*names, names[0]))}{where}; make one of the needs optional"


# Packages


def unmet_packages(path: str, situation: Situation) -> dict[str, str]:
    """Return the declared packages that an import would not get, each with the reason."""
    said = situation.declared.get(path)
    if said is None:
        return {}
    if said.problem is not None:
        sentence, place = said.problem
        return {"": f"its packages cannot be read: {sentence} ({situation.shown(place.file)}:{place.line})"}
    found = {}
    for text in said.packages:
        wish = f"it needs {text}{at(text, path, situation)}"
        try:
            package = parse_package(text)
        except ValueError as error:
            found[text] = f"{wish}, which names no package: {error}"
            continue
        why = _why_not_installed(package, situation) if package.counts_here else ""
        if why:
            found[package.name] = f"{wish}, {why}"
    return found


def _why_not_installed(package: Package, situation: Situation) -> str:
    """Return why an import does not get a package; "" if it does."""
    version = situation.packages.get(package.name)
    if version is None:
        return "which is not installed: oa-dev sync brings it"
    if not package.allows(version):
        return f"and {package.name} {version} is installed: oa-dev sync brings another one"
    imported = situation.imported.get(package.name, version)
    if not package.allows(imported):
        return f"and {package.name} {imported} is imported: a restart takes {version}"
    return ""


# What goes


def needed_by(mod: LiveMod, others: Iterable[LiveMod]) -> list[str]:
    """Return the ids of those of `others` that require a mod."""
    path = module_of(mod.mod_path)
    return [other.mod_id for other in others if other.requires and path in needed_paths(other.requires)]


def cascade(mod: LiveMod, situation: Situation) -> list[LiveMod]:
    """Return the mods that need this one, directly or not, in the order to unload, it last."""
    reached = {module_of(mod.mod_path): mod}
    pending = [mod]
    for each in pending:
        for other in situation.needing(module_of(each.mod_path)):
            if module_of(other.mod_path) not in reached and needed_by(each, [other]):
                reached[module_of(other.mod_path)] = other
                pending.append(other)
    return dependents_first(reached.values())


def orphans(situation: Situation) -> list[LiveMod]:
    """Return the mods that no person and no mod needs, in the order to unload them."""
    spare = {module_of(each.mod_path): each for each in situation.live if not _is_wanted(each, situation)}
    if not spare:
        return []
    pending = [each for each in situation.live if module_of(each.mod_path) not in spare]
    for mod in pending:
        pending += [each for path in needed_paths(mod.requires) if (each := spare.pop(path, None)) is not None]
    return dependents_first(spare.values())


def _is_wanted(mod: LiveMod, situation: Situation) -> bool:
    spec = situation.listed(mod.mod_path)
    if mod.came_with:
        return False
    if not mod.listed or spec is not None:
        return spec is None or spec.enabled or not mod.listed
    empty = (each.path for each in situation.config.enabled_specs if situation.at(each.path) is None)
    return bool(misspelled(mod, empty))


def misspelled(mod: LiveMod, paths: Iterable[str]) -> str:
    """Return which of these paths, where no mod is, may be a typing mistake for a mod that runs.
    Such a mistake in network.yaml ends nothing."""
    own = module_of(mod.mod_path)
    return next((each for each in paths if _is_near(module_of(each), own)), "")


def _is_near(path: str, other: str) -> bool:
    """Whether two paths are nearly one; in one package their last parts alone are compared."""
    (package, _, name), (other_package, _, other_name) = path.rpartition("."), other.rpartition(".")
    if package == other_package:
        return near(name, (other_name,)) is not None
    return near(path, (other,)) is not None


def why_orphan(mod: LiveMod, situation: Situation) -> str:
    """Return why an orphan was loaded."""
    if not mod.came_with:
        return "no longer listed" if situation.listed(mod.mod_path) is None else "disabled"
    return f"came with {mod.came_with}"


def dependents_first(mods: Iterable[LiveMod]) -> list[LiveMod]:
    """Return mods in the order to unload them."""
    by_path: Mapping[str, LiveMod] = {module_of(mod.mod_path): mod for mod in mods}
    order, _ = load_order({path: needed_paths(mod.requires) for path, mod in by_path.items()})
    return [by_path[path] for path in reversed(order)]
