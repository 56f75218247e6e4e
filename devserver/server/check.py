"""Checks a whole network without running it: network.yaml here, the mods in a process of their own.

There each mod is found, imported and constructed, and nothing of it is started. The effects of its
import do not reach the calling process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from devserver.agent_network import AgentNetwork
from devserver.config.json_schema import unchecked
from devserver.config.network_yaml import read_network
from devserver.config.typed import config_schema_of
from devserver.errors import ConfigError, ModConfigError
from devserver.live.handlers import collect_handlers
from devserver.market.folder import NotInstalled, changed_by_hand, find_installed
from devserver.model.change import ConfigChanged
from devserver.model.config import NetworkConfig
from devserver.model.facts import ErrorFacts, Frame
from devserver.model.lifecycle import Phase
from devserver.model.names import LOCK, module_of
from devserver.model.plan import Group, Plan, Step
from devserver.network.grants import grant_notes
from devserver.reload.apply import Transaction
from devserver.reload.engine import Engine
from devserver.reload.lock_news import unsuited
from devserver.reload.outcomes import held_outcome
from devserver.server.aside import Aside, Done, Write, do_aside
from devserver.ui.words import listed

PATIENCE = 60.0
"""Seconds after which mods that are still being imported count as hanging."""

ModErrors = tuple[tuple[str, ErrorFacts], ...]
"""Ids of mods with the errors of each."""


@dataclass(frozen=True, slots=True)
class Checked:
    """The findings: why network.yaml cannot be used, or which mods cannot be loaded."""

    refused: tuple[ErrorFacts, ...] = ()
    mods: ModErrors = ()
    config: NetworkConfig | None = None
    name: str = "network.yaml"
    schemas: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    """The schemas of the mods' configurations, by the path of each mod that declares a model."""
    not_locked: tuple[str, ...] = ()
    """What is not as the lock has it: files changed by hand, versions in network.yaml; a sentence each."""
    unchecked: tuple[str, ...] = ()
    """The words of manifests' schemas that have no effect, a sentence for each mod."""

    @property
    def good(self) -> bool:
        """Whether there are no problems."""
        return not (self.refused or self.mods)

    @property
    def notes(self) -> tuple[str, ...]:
        """Return warnings about behaviour that an author may not expect, a sentence each."""
        return () if self.config is None else (*grant_notes(self.config), *self.not_locked, *self.unchecked)

    @property
    def summary(self) -> str:
        """Return a sentence about a network that can be read."""
        if self.config is None:
            return f"{self.name} cannot be used"
        enabled, lost = len(self.config.enabled_mods), ", ".join(self.config.lost)
        words = f"{self.name} is good: {self.config.name}, {enabled} of {len(self.config.mods)} mods enabled"
        beside = sum(len(each.versions) for each in self.config.enabled_mods)
        words += f", {beside} version{'s' if beside != 1 else ''} beside them" if beside else ""
        words += f"; without effect here: {lost}" if lost else ""
        others = len(self.config.unused) - len(self.config.lost)
        keys = "1 key has" if others == 1 else f"{others} keys have"
        return f"{words}; {keys} no effect in OpenAgents either" if others else words


def check_network(path: Path, aside: Aside | None = None, *, proven: Collection[str] = ()) -> Checked:
    """Check a network. Blocks until its mods have been imported, or the patience of `aside` ends.
    `proven`: plain paths of mods that are known to load."""
    aside = aside or Aside(patience=PATIENCE)
    try:
        config = read_network(path)
    except ConfigError as error:
        return Checked(error.problems, name=path.name)
    open_questions = [each for each in config.enabled_mods if module_of(each.path) not in proven]
    if not open_questions and not aside.also:
        return Checked((), (), config, path.name)
    done = do_aside(_check, {"path": str(path), "proven": tuple(proven)}, path.parent, aside)
    schemas = {row["path"]: row["schema"] for row in done.rows if "schema" in row}
    failed = [(row["mod"], _facts(row["error"])) for row in done.rows if row.get("error") is not None]
    problems = (*failed, *_unfinished(done, aside.patience))
    told = "{}: config_schema of its manifest says {}, which is not checked here"
    open_to = tuple(
        told.format(row["path"], listed(row["unchecked"], "and", 5)) for row in done.rows if row.get("unchecked")
    )
    not_locked = _not_locked(config, path.parent)
    return Checked((), problems, config, path.name, schemas, not_locked=not_locked, unchecked=open_to)


def _not_locked(config: NetworkConfig, workspace: Path) -> tuple[str, ...]:
    """Return what is installed, or wanted, otherwise than locked."""
    try:
        installed = find_installed(workspace, (workspace / LOCK).read_bytes())
    except (OSError, NotInstalled):  # without a lock nothing differs from it
        return ()
    changed = changed_by_hand(installed).items()
    words = "{} was changed by hand ({}); oa-dev sync --restore puts it back"
    by_hand = (words.format(name, listed(files, "and", 3)) for name, files in changed)
    return (*by_hand, *unsuited(config, installed))


def _unfinished(done: Done, patience: float) -> ModErrors:
    """Return the mod at which the process ended before its time."""
    if done.rows and done.rows[-1].get("end", False):
        return ()
    begun = [row["begin"] for row in done.rows if "begin" in row]
    how = f"its import did not end within {patience:.0f} s"
    if done.code is not None:
        how = f"its import ended the process with code {done.code}" if done.code else "its import ended the process"
        how += f": {done.said}" if done.code and done.said else ""
    return ((begun[-1] if begun else "mods", ErrorFacts("CheckEnded", how)),)


def _facts(values: Mapping[str, Any]) -> ErrorFacts:
    where = values["where"]
    frame = None if where is None else replace(Frame(**where), excerpt=tuple(map(tuple, where["excerpt"])))
    return ErrorFacts(**{**values, "where": frame})


# In the process of its own


def _check(values: Mapping[str, Any], write: Write) -> None:
    asyncio.run(_check_each(Path(values["path"]), values["proven"], write))


async def _check_each(path: Path, proven: Collection[str], write: Write) -> None:
    """Write a row for each mod that is begun, and one for what became of it."""
    network = AgentNetwork.load(path)
    network.engine.start()
    plan = network.plan(ConfigChanged(network.config, cause="check"))
    for hold in plan.holds:
        error = held_outcome(hold, network.engine.registry, path).error or ErrorFacts("NotLoaded", hold.reason)
        write({"mod": hold.mod_id, "error": asdict(error)})
    for step in plan.steps:
        if module_of(step.mod_path) in proven:
            continue
        write({"begin": step.mod_id})
        for error in await _tried(network.engine, step, write):
            write({"mod": step.mod_id, "error": asdict(error)})
    write({"end": True})


async def _tried(engine: Engine, step: Step, write: Write) -> tuple[ErrorFacts, ...]:
    """Return what is wrong with a mod: all values that do not fit, else one error at most.

    Writes the schema of a configuration that has a model.
    """
    # A load up to the point where traffic would be held: nothing has been started then.
    attempt = Transaction(engine, Group((step,)), Plan("check"))
    carried = await attempt.run(before=Phase.GATE)
    for candidate in carried.candidates:
        model, manifest = candidate.config_model, candidate.manifest
        if model is not None:
            write({"path": step.mod_path, "schema": config_schema_of(model)})
        elif manifest is not None and manifest.schema is not None:
            write({"path": step.mod_path, "schema": manifest.schema, "unchecked": unchecked(manifest.schema)})
    try:
        if carried.failure is not None:
            raise carried.failure.error
        if attempt.build is not None:
            # Modules that other mods import of it are there already.
            attempt.build.keep()
        for candidate in carried.candidates:
            if candidate.new is not None:
                collect_handlers(candidate.new.instance)
    except ModConfigError as error:
        return error.problems
    except Exception as error:
        return (engine.facts_of(error),)
    return ()
