"""The running network as plain values: for `oa-dev status`, the page in the browser, and programs.

Remembers the latest outcome and errors of each mod, from facts. Changes nothing and words nothing.
"""

from __future__ import annotations

import inspect
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devserver.agent_network import AgentNetwork
from devserver.config.settings import Settings
from devserver.config.typed import config_schema_of
from devserver.live.generation import Generation
from devserver.model.config import Manifest
from devserver.model.facts import ErrorFacts, Fact, HostSeen, HostState, ModError, Notice, Outcome, PlanDone, Status
from devserver.model.lifecycle import Action, ModState
from devserver.model.wire_form import error_to_dict, form_of, iso_of
from devserver.network.agent import Agent
from devserver.server.saves import Saves
from devserver.ui.editor import chosen_editor, link_of

Row = dict[str, Any]

_NOT_LOADED = "not loaded"


@dataclass(slots=True)
class _Known:
    """Of one mod: its latest outcome, why its saved code does not run, what its handlers raised."""

    mod_path: str
    outcome: Row
    revision: int
    """When any of it changed last."""
    failed: Row | None = None
    raised: Row | None = None
    applied: Row | None = None
    """The latest outcome that was applied: what counts again once the disk is what runs."""


class Standing:
    """The latest facts of each mod. Told from any thread. `clock` gives seconds since 1970."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[str, _Known] = {}
        self.revision = 0
        """Grows with everything that changes here."""
        self.last_error: ErrorFacts | None = None
        """The latest error, None if a plan without one came after it."""

    def touch(self) -> None:
        """Note that the rows have changed without a fact."""
        with self._lock:
            self.revision += 1

    def note(self, fact: Fact) -> None:
        """Remember what a fact says."""
        with self._lock:
            self.revision += isinstance(fact, PlanDone | ModError) or (isinstance(fact, Notice) and bool(fact.mended))
            if isinstance(fact, PlanDone):
                self.last_error = next((each.error for each in fact.outcomes if each.error is not None), None)
                for outcome in fact.outcomes:
                    self._note_outcome(outcome)
            elif isinstance(fact, ModError):
                self.last_error = fact.error
                self._note_raised(fact)
            elif isinstance(fact, HostSeen):
                self._note_host(fact)
            elif isinstance(fact, Notice) and fact.mended:
                self.last_error = None
                for mod_id in fact.mended:
                    if (known := self._known.get(mod_id)) is not None:
                        known.failed = None
                        known.outcome = known.applied or known.outcome
                        known.revision = self.revision

    def _note_host(self, seen: HostSeen) -> None:
        """Forget that mods waited for a host which runs them now."""
        for mod_id in seen.mods if seen.state in (HostState.CAME, HostState.BACK) else ():
            known = self._known.get(mod_id)
            step = () if known is None else (known.outcome["action"], known.outcome["status"])
            if step == (Action.LOAD.value, Status.SKIPPED.value):
                del self._known[mod_id]
                self.revision += 1

    def _note_outcome(self, outcome: Outcome) -> None:
        before, row = self._known.get(outcome.mod_id), {**form_of(outcome), "time": iso_of(self._clock())}
        now = _Known(outcome.mod_path, row, self.revision)
        now.applied = row if outcome.status is Status.APPLIED else before.applied if before is not None else None
        is_held = outcome.status is Status.SKIPPED
        if is_held and before is None and not outcome.generation and outcome.action is not Action.LOAD:
            return  # no mod of that name has ever run here
        if outcome.error is not None:
            now.failed = _error_row(outcome.error, self._clock())
        elif outcome.status is not Status.APPLIED and before is not None:
            now.failed = before.failed
        if before is not None and before.outcome["generation"] == outcome.generation:
            now.raised = before.raised
        self._known[outcome.mod_id] = now

    def _note_raised(self, fact: ModError) -> None:
        known = self._known.get(fact.mod_id)
        if known is None or known.outcome["generation"] != fact.generation:
            return  # from a generation that lingers: the live one did not raise it
        before = known.raised
        row = {**_error_row(fact.error, self._clock()), "event_name": fact.event_name}
        same = before is not None and all(row[key] == before[key] for key in row if key != "time")
        known.revision = self.revision
        known.raised = {**row, "times": before["times"] + 1 if same and before is not None else 1}

    def of(self, mod_id: str, *, is_wanted: bool = False) -> Row:
        """Return the facts of a mod: `outcome`, `failed` and `raised`, each None if the mod has
        none. `is_wanted`: network.yaml lists it, so that an unload that was held counts no more."""
        with self._lock:
            known = self._known.get(mod_id)
        if known is None:
            return {"outcome": None, "failed": None, "raised": None}
        outcome = known.outcome
        if is_wanted and (outcome["action"], outcome["status"]) == (Action.UNLOAD.value, Status.SKIPPED.value):
            outcome = known.applied or outcome
        return {"outcome": outcome, "failed": known.failed, "raised": known.raised}

    def changed(self, mod_id: str, revision: int) -> bool:
        """Return whether a mod changed after a revision; an unknown one has, after 0 alone."""
        with self._lock:
            known = self._known.get(mod_id)
        return revision == 0 if known is None else known.revision > revision

    def down(self, wanted: set[str], live: set[str]) -> list[Row]:
        """Return the wanted mods (paths) that do not run: they failed, or wait."""
        with self._lock:
            known = self._known.items()
            found = [
                (mod_id, each.mod_path)
                for mod_id, each in known
                if each.failed is not None or each.outcome["status"] == Status.SKIPPED.value
            ]
        return [
            {"mod_id": mod_id, "mod_path": path, "generation": 0, "state": _NOT_LOADED, **_IDLE, **self.of(mod_id)}
            for mod_id, path in found
            if path in wanted and path not in live
        ]


_IDLE = {"loaded_at": None, "description": "", "in_flight": 0, "handled": 0, "errors": 0, "held_now": 0}


def status_of(network: AgentNetwork, saves: Saves, standing: Standing, *, mods: bool = True) -> Row:
    """Return the running network; the server adds its address. `mods`: with a row for each mod."""
    live, error, restarts = network.engine.registry.live, standing.last_error, network.engine.restarts
    lingering: dict[str, list[int]] = {}
    for each in network.engine.lingering():
        lingering.setdefault(each.mod_id, []).append(each.number)
    return {
        "name": network.network_name,
        "network_id": network.network_id,
        "pid": os.getpid(),
        "uptime_s": network.uptime,
        **({"mods": _all_rows(network, standing, live), "down": _down(network, standing, live)} if mods else {}),
        "lingering": lingering,
        "agents": [_agent_row(network, each) for each in network.directory.agents()],
        "memory": network.directory.accounts.rows(),
        "events": network.events,
        "reloads": network.engine.reloads,
        "failed": network.engine.failures,
        "last_error": None if error is None else {**error_to_dict(error), "trace": error.trace},
        "refused": [error_to_dict(each) for each in saves.refused],
        "paused": saves.paused,
        "waiting": saves.waiting_names(),
        "restart": {"reasons": list(restarts.waiting), "waits": restarts.why} if restarts.waiting else None,
    }


def mods_since(network: AgentNetwork, standing: Standing, revision: int) -> Row:
    """Return the rows of the mods that changed after a revision (0: all), and all ids, in order."""
    now, live = standing.revision, network.engine.registry.live
    changed = [each for each in live if standing.changed(each.mod_id, revision)]
    return {
        "revision": now,
        "order": [*(each.mod_id for each in live), *(each.mod_id for each in network.engine.registry.away)],
        "mods": _all_rows(network, standing, changed),
        "down": _down(network, standing, live),
    }


def _all_rows(network: AgentNetwork, standing: Standing, mods: Sequence[Generation]) -> list[Row]:
    """Return the rows of mods of this host, and of all that other hosts run."""
    away = [
        {
            "mod_id": each.mod_id,
            "mod_path": each.mod_path,
            "generation": each.number,
            "state": (ModState.LIVE if network.is_there(each.host) else ModState.AWAY).value,
            "host": each.host,
            **_IDLE,
            **standing.of(each.mod_id),
        }
        for each in network.engine.registry.away
    ]
    return [*_mod_rows(network, standing, mods), *away]


def _mod_rows(network: AgentNetwork, standing: Standing, mods: Sequence[Generation]) -> list[Row]:
    if not mods:
        return []
    held = {each.mod_id: each.gate.waiting for each in network.engine.registry.slots}
    wanted = {each.path for each in network.config.enabled_specs}
    newer = network.engine.knowledge.newer_on_disk()
    shown = {mod_id: [network.engine.shown(str(path)) for path in paths] for mod_id, paths in newer.items()}
    rows, proof = [], network.engine.proof
    for each in mods:
        row, holders = network.described(each), proof.held.get(each.mod_id, ())
        rows.append({
            **row,
            "loaded_at": iso_of(row["loaded_at"]),
            "held_now": held.get(each.mod_id, 0),
            **standing.of(each.mod_id, is_wanted=each.mod_path in wanted),
            "file": _file(network, each),
            "newer_on_disk": shown.get(each.mod_id, []),
            "old_code": {"proven": proof.is_proven(each.mod_id), "holders": [form_of(each) for each in holders]},
        })  # fmt: skip
    return rows


def _file(network: AgentNetwork, generation: Generation) -> str | None:
    """Return the file that a mod's class is in, as people read it."""
    loaded = network.engine.modules.get(generation.entry)
    if loaded is not None:
        return network.engine.shown(str(loaded.path))
    own = type(generation.instance)
    try:
        return network.engine.shown(inspect.getfile(getattr(own, "wraps", own)))
    except (TypeError, OSError):
        return None


def _down(network: AgentNetwork, standing: Standing, live: Sequence[Generation]) -> list[Row]:
    wanted = {each.path for each in network.config.enabled_specs}
    running = {*(each.mod_path for each in live), *(each.mod_path for each in network.engine.registry.away)}
    return standing.down(wanted, running)


def editor_link(settings: Settings | None, path: Path) -> Row | None:
    """Return how a browser opens a file in the chosen editor: `pattern`, and paths' `root`."""
    pattern = link_of(chosen_editor(settings["editor"] if settings is not None else None, os.environ))
    return None if pattern is None else {"pattern": pattern, "root": str(path.resolve().parent)}


def catalogue_of(network: AgentNetwork) -> Row:
    """Return the handlers of each mod that runs, and its configuration's schema, if any."""
    return {
        "mods": [
            {
                "mod_id": each.mod_id,
                "mod_path": each.mod_path,
                "generation": each.number,
                "handlers": each.handlers.described(),
                "config_schema": _config_schema(each.config_model, each.manifest),
            }
            for each in network.engine.registry.live
        ]
    }


def _config_schema(model: Any, manifest: Manifest | None) -> Mapping[str, Any] | None:
    """Return the schema of a mod's configuration: of its model, else that of its manifest."""
    if model is not None:
        return config_schema_of(model)
    return None if manifest is None else manifest.schema


def _agent_row(network: AgentNetwork, agent: Agent) -> Row:
    """Return an agent that is connected or may come back; `waiting`: events for it."""
    connected, waiting = network.directory.is_connected(agent), len(agent.outbox)
    row = {"agent_id": agent.agent_id, "transport": agent.transport, "connected": connected, "waiting": waiting}
    return row | ({"host": agent.host} if agent.host else {})


def _error_row(error: ErrorFacts, now: float) -> Row:
    where = error.where
    place: Row = {"function": "", "end_column": None, "excerpt": []}
    if where is not None:
        excerpt = [list(each) for each in where.excerpt]
        place = {"function": where.function, "end_column": where.end_column, "excerpt": excerpt}
    return {**error_to_dict(error), **place, "time": iso_of(now)}
