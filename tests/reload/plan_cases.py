"""Situations to decide on, and both situations and plans in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devserver.model.change import ConfigChanged, FilesChanged, LoadAsked, ReloadAsked, TidyAsked, Trigger, UnloadAsked
from devserver.model.config import ModSpec, NetworkConfig
from devserver.model.plan import LiveMod, Plan
from devserver.reload.plan import Situation
from devserver.sources.graph import Declarations, ModuleFacts, ModuleGraph

WORK = Path("/work")


@dataclass(frozen=True)
class Case:
    """One decision: `fact` says in a sentence what it shows."""

    fact: str
    trigger: Trigger
    situation: Situation


def live(mod_id: str, generation: int = 1, path: str | None = None, **values: Any) -> LiveMod:
    """A mod that runs."""
    mod_path = path or f"mods.{mod_id}"
    return LiveMod(mod_id, mod_path, generation, values.pop("entry", mod_path), **values)


def spec(name: str, enabled: bool = True, **config: Any) -> ModSpec:
    """A mod in network.yaml; `name` without a dot is one in `mods`."""
    return ModSpec(name if "." in name else f"mods.{name}", config, enabled)


def yaml(*mods: str | ModSpec, **settings: Any) -> NetworkConfig:
    """A network.yaml."""
    return NetworkConfig("Test", tuple(spec(each) if isinstance(each, str) else each for each in mods), **settings)


def source(module: str) -> Path:
    """The file of a module; one that ends in `/` is a package."""
    if module.endswith("/"):
        return WORK.joinpath(*module[:-1].split("."), "__init__.py")
    return WORK.joinpath(*module.split(".")).with_suffix(".py")


def graph(imports: Mapping[str, Sequence[str]]) -> ModuleGraph:
    """Modules and what they import. A name that ends in `/` is a package."""
    facts = (
        ModuleFacts(name.rstrip("/"), source(name), frozenset(wanted), place)
        for place, (name, wanted) in enumerate(imports.items())
    )
    return ModuleGraph({each.name: each for each in facts})


def situation(
    mods: Sequence[LiveMod] = (),
    config: NetworkConfig | None = None,
    imports: Mapping[str, Sequence[str]] | None = None,
    stale: Sequence[str] = (),
    **rest: Any,
) -> Situation:
    """A situation; without a config network.yaml lists what runs."""
    config = config or yaml(*(ModSpec(each.mod_path, each.config) for each in mods if each.listed))
    declared = {f"mods.{name}": Declarations(*each) for name, each in rest.pop("declared", {}).items()}
    return Situation(
        config,
        tuple(mods),
        graph({each.entry: () for each in mods} | dict(imports or {})),
        {name.rstrip("/"): source(name) for name in stale},
        declared=declared,
        workspace=WORK,
        **rest,
    )


def saved(*names: str) -> FilesChanged:
    """These files, or modules, were saved."""
    return FilesChanged({WORK / each if "/" in each.rstrip("/") else source(each): "new" for each in names})


# In words


def in_words(case: Case, plan: Plan) -> str:
    """A case and its plan."""
    return "\n".join(
        (case.fact, "", *_situation(case), f"trigger       {_trigger(case.trigger)}", "", *_plan(plan), "")
    )


def _situation(case: Case) -> Iterator[str]:
    now = case.situation
    yield f"network.yaml  {_specs(now.config)}"
    yield f"runs          {', '.join(map(_live, now.live)) or 'nothing'}"
    if now.here:
        yield f"hosts         {', '.join((f'{now.here} (here)', *sorted(now.hosts)))}"
    for name, facts in now.graph.items():
        if facts.imports:
            yield f"imports       {name}: {', '.join(sorted(facts.imports))}"
    for name, declared in now.declared.items():
        needs = f" needs {', '.join(declared.requires)}" if declared.requires else ""
        likes = f" works with {', '.join(declared.optional)}" if declared.optional else ""
        packages = f" needs packages {', '.join(declared.packages)}" if declared.packages else ""
        yield f"says          {name} {declared.version}{needs}{likes}{packages}"
    for path, why in now.absent.items():
        yield f"nowhere       {path}: {why}"
    for name, version in now.packages.items():
        there = f", imported {now.imported[name]}" if name in now.imported else ""
        yield f"installed     {name} {version}{there}"
    for name, path in now.stale.items():
        what = "is gone" if path in now.deleted else "differs"
        yield f"on disk       {now.shown(path)} {what}, of which {name} was made"
    for name, gained in now.gains.items():
        yield f"will import   {name}: {', '.join(sorted(gained))}"
    for mod_id in now.missed:
        yield f"said          that the source of {mod_id} is gone"
    for mod_id, path in now.stale_reads.items():
        yield f"on disk       {now.shown(path)} differs, which {mod_id} read"
    for path in sorted(now.retry):
        yield f"failed        {path}, and its sources have changed since"


def _specs(config: NetworkConfig) -> str:
    return ", ".join(
        f"{each.path}{_config(each.config)}{'' if each.enabled else ' off'}{_on(each.runs_on)}" for each in config.mods
    )


def _on(host: str) -> str:
    return f" on {host}" if host else ""


def _config(config: Mapping[str, Any]) -> str:
    return f" {dict(config)}" if config else ""


def _live(mod: LiveMod) -> str:
    by_hand = "" if mod.listed else f" came with {mod.came_with}" if mod.came_with else " by hand"
    needs = f" needs {', '.join(mod.requires)}" if mod.requires else ""
    return f"{mod.mod_id} v{mod.generation}{_on(mod.host)}{_config(mod.config)}{by_hand}{needs}"


def _trigger(trigger: Trigger) -> str:
    match trigger:
        case FilesChanged(changed=changed):
            return f"saved {', '.join(str(path.relative_to(WORK)) for path in changed)}"
        case ConfigChanged(config=config):
            return f"network.yaml now says {_specs(config) or 'no mods'}"
        case ReloadAsked(mods=mods):
            return f"reload {', '.join(mods) or 'all'}"
        case LoadAsked(path=path, config=config):
            return f"load {path}{_config(config)}"
        case UnloadAsked(mod=mod, force=force, cascade=cascade):
            return f"unload {mod}{' by force' if force else ''}{' with what needs it' if cascade else ''}"
        case TidyAsked(failed=failed):
            return f"tidy{', after ' + ', '.join(failed) + ' failed' if failed else ''}"


def _plan(plan: Plan) -> Iterator[str]:
    yield f"plan          {plan.cause}{' (nothing to do)' if plan.empty else ''}"
    for group in plan.groups:
        alone = len(group.steps) == 1
        if not alone:
            yield "  as one:"
        for step in group.steps:
            modules = f" [{' '.join(step.modules)}]" if step.modules else ""
            by_hand = "" if step.listed else f" came with {step.came_with}" if step.came_with else " by hand"
            what = f"{step.action} {step.mod_id}{_on(step.host)}{_config(step.config)}{by_hand}: {step.reason}{modules}"
            yield f"{'  ' if alone else '    '}{what}"
    for hold in plan.holds:
        yield f"  no {hold.action} of {hold.mod_id}: {hold.reason}"
    for setting in plan.not_applied:
        yield f"  {setting}"
    if plan.order is not None:
        yield f"  order: {', '.join(plan.order)}"
