"""Configurations of mods, their order, settings of the network: differences and steps.

Pure, as all of `plan`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from devserver.model.config import ModSpec, NetworkConfig, ReplayRules
from devserver.model.lifecycle import Action, Limits, RestartRules
from devserver.model.names import mod_id_of, module_of
from devserver.model.plan import LiveMod, NotApplied, Step
from devserver.reload.plan.needs import misspelled
from devserver.reload.plan.situation import Situation

RESTART_SETTINGS = {
    "name": "network.name",
    "node_id": "network.node_id",
    "host": "network.host",
    "port": "network.port",
    "groups": "network.agent_groups",
    "default_group": "network.default_agent_group",
    "requires_password": "network.requires_password",
    "verify_secrets": "network.disable_agent_secret_verification",
    "studio": "dev.studio",
    "engine": "dev.hosts.engine",
}
"""The settings that need a restart, each with its name in network.yaml."""

_TAKEN_SETTINGS = {
    "agent_timeout": "network.agent_timeout",
    "max_agents": "network.max_connections",
    "profile": "network_profile",
    "mod_paths": "dev.mod_paths",
    "grants": "dev.grants",
    "limits": "dev.limits",
    "restart": "dev.restart",
    "replay": "dev.replay",
    "max_body": "dev.max_body",
    "indexes": "dev.indexes",
    "packages": "dev.packages",
    "catalogues": "dev.catalogues",
    "cooldown": "dev.cooldown",
    "agents": "dev.agents",
    "take_over": "dev.hosts.take_over",
    "host_commands": "dev.hosts.commands",
}
"""The settings that are in effect as soon as network.yaml has them, each with its place there."""

_UNSET = object()


def with_config(mod: LiveMod, spec: ModSpec) -> Step | None:
    """Return the step for a changed configuration, or None if it is the same."""
    if _is_same(dict(spec.config), dict(mod.config)):
        return None
    reason = ", ".join(_differences("config", mod.config, spec.config))
    if mod.takes_config:
        in_place = f"{reason}: in place, no reload"
        refused = Step(Action.RELOAD, mod.mod_id, mod.mod_path, f"{in_place} was refused", config=spec.config)
        return Step(Action.RECONFIGURE, mod.mod_id, mod.mod_path, in_place, config=spec.config, otherwise=refused)
    return Step(Action.RELOAD, mod.mod_id, mod.mod_path, reason, config=spec.config, modules=(mod.entry,))


def _differences(name: str, old: object, new: object) -> list[str]:
    """Return each setting that differs, with both values, as in `config.max_pages 50 → 200`."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        keys = dict.fromkeys([*old, *new])
        return [
            text for key in keys for text in _differences(f"{name}.{key}", old.get(key, _UNSET), new.get(key, _UNSET))
        ]
    return [] if _is_same(old, new) else [f"{name} {_value(old)} → {_value(new)}"]


def _is_same(one: object, other: object) -> bool:
    """Return whether two values of network.yaml are equal and of one type: 1, 1.0 and true are three."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_is_same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_is_same, one, other))
    return type(one) is type(other) and one == other


def _value(value: object) -> str:
    text = "unset" if value is _UNSET else "null" if value is None else str(value)
    text = text.lower() if isinstance(value, bool) else text
    return text if len(text) <= 40 else f"{text[:37]}..."


# Order


def order_of(config: NetworkConfig, situation: Situation, leaving: Collection[str] = ()) -> tuple[str, ...]:
    """Return the order of mods afterwards: as listed, then the others that stay."""
    paths = {module_of(spec.path) for spec in config.enabled_specs}
    spare = [mod for mod in situation.live if mod.mod_id not in leaving and module_of(mod.mod_path) not in paths]
    listed: dict[str, None] = {}
    for spec in config.enabled_specs:
        listed[mod_id_of(spec.path)] = None
        if spare and module_of(spec.path) in situation.absent:
            # What a typing mistake may mean keeps its place, too: the order is behaviour.
            listed |= dict.fromkeys(mod.mod_id for mod in spare if misspelled(mod, (spec.path,)))
    others = (mod.mod_id for mod in situation.live if mod.mod_id not in leaving)
    return (*listed, *(mod_id for mod_id in others if mod_id not in listed))


def reorder(order: Sequence[str], situation: Situation, leaving: Collection[str]) -> list[Step]:
    """Return a step for each mod that stays and has another place among those that stay."""
    live = {mod.mod_id: mod for mod in situation.live if mod.mod_id not in leaving}
    after = [mod_id for mod_id in order if mod_id in live]
    before = {mod_id: place for place, mod_id in enumerate(live)}
    kept = _longest_rising(after, before)
    return [
        _moved(live[mod_id], "first" if place == 0 else f"after {after[place - 1]}")
        for place, mod_id in enumerate(after)
        if mod_id not in kept
    ]


def _moved(mod: LiveMod, place: str) -> Step:
    return Step(Action.REORDER, mod.mod_id, mod.mod_path, place, config=mod.config, listed=mod.listed)


def _longest_rising(names: Sequence[str], place: Mapping[str, int]) -> set[str]:
    """Return the most names that are in order already: the others are the fewest that have to move.
    Patience sorting (Schensted, Longest increasing and decreasing subsequences, 1961)."""
    tops: list[str] = []
    below: dict[str, str | None] = {}
    for name in names:
        pile = bisect_left(tops, place[name], key=place.__getitem__)
        below[name] = tops[pile - 1] if pile else None
        tops[pile : pile + 1] = [name]
    found: set[str] = set()
    name_or_none = tops[-1] if tops else None
    while name_or_none is not None:
        found.add(name_or_none)
        name_or_none = below[name_or_none]
    return found


# Settings of the network


def not_applied(wanted: NetworkConfig, running: NetworkConfig) -> tuple[NotApplied, ...]:
    """Return the settings that differ from the running ones and need a restart."""
    changes = ((name, _written(field, running), _written(field, wanted)) for field, name in RESTART_SETTINGS.items())
    return tuple(NotApplied(name, *_brief(old, new)) for name, old, new in changes if old != new)


def taken(wanted: NetworkConfig, running: NetworkConfig) -> tuple[str, ...]:
    """Return the settings that differ and are in effect from now on, with both values."""
    values = ((name, getattr(running, field), getattr(wanted, field)) for field, name in _TAKEN_SETTINGS.items())
    return tuple(text for name, old, new in values for text in _differences(name, _as_written(old), _as_written(new)))


def _written(field: str, config: NetworkConfig) -> Any:
    """Return a setting as network.yaml has it, which negates one."""
    value = getattr(config, field)
    return not value if field == "verify_secrets" else value


def _as_written(value: Any) -> Any:
    if isinstance(value, Limits | RestartRules | ReplayRules):
        return _as_written(asdict(value))
    if isinstance(value, Mapping):
        return {key: _as_written(each) for key, each in value.items()}
    return (", ".join(map(str, value)) or "none") if isinstance(value, tuple) else value


def _brief(old: Any, new: Any) -> tuple[Any, Any]:
    """Return both values as people read them: groups by name, never their contents."""
    if not isinstance(old, Mapping):
        return old, new
    names, new_names = ", ".join(old), ", ".join(new)
    return (names, new_names) if names != new_names else (names, "the same with other contents")


def without_settings(config: NetworkConfig, running: NetworkConfig) -> NetworkConfig:
    """Return `config` with the settings that need a restart as they run: what is in force once it is applied."""
    return replace(config, **{field: getattr(running, field) for field in RESTART_SETTINGS})
