"""Every setting of network.yaml counts at once, or is named as one that needs a restart: none is passed over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import pytest
from doors import HEAD, Doors, slow
from workspaces import Workspace, served

from devserver import AgentNetwork
from devserver.model.config import NetworkConfig, ReplayRules
from devserver.model.facts import Notice
from devserver.model.lifecycle import Limits, RestartPolicy, RestartRules


@dataclass(frozen=True)
class Setting:
    """One setting: how network.yaml says it, and what it is in force as."""

    written: dict[str, Any]
    said: str
    found: Callable[[AgentNetwork], Any] | None = None
    wanted: Any = None


def limit(name: str, before: float, value: float) -> Setting:
    """One of `dev.limits`."""
    return Setting(
        {"dev": {"limits": {name: value}}},
        f"dev.limits.{name} {before} → {value}: counts from now on",
        lambda net: getattr(net.engine.limits, name),
        value,
    )


TAKEN = {
    "agent_timeout": Setting(
        {"agent_timeout": 7},
        "network.agent_timeout 180.0 → 7.0: counts from now on",
        lambda net: net.directory.config.agent_timeout,
        7.0,
    ),
    "max_agents": Setting(
        {"max_connections": 3},
        "network.max_connections 1000 → 3: counts from now on",
        lambda net: net.directory.config.max_agents,
        3,
    ),
    "mod_paths": Setting(
        {"dev": {"mod_paths": ["mods", "more"]}},
        "dev.mod_paths mods → mods, more: counts from now on",
        lambda net: net.engine.config.mod_paths,
        ("mods", "more"),
    ),
    "grants": Setting(
        {"dev": {"grants": {"ana": ["read", "mods:write"]}}},
        "dev.grants.ana unset → read, mods:write: counts from now on",
        lambda net: net.config.grants,
        {"ana": ("read", "mods:write")},
    ),
    "restart": Setting(
        {"dev": {"restart": "ask"}},
        "dev.restart.policy auto → ask: counts from now on",
        lambda net: net.config.restart,
        RestartRules(RestartPolicy.ASK),
    ),
    "replay": Setting(
        {"dev": {"replay": {"allow": ["wiki"]}}},
        "dev.replay.allow none → wiki: counts from now on",
        lambda net: net.config.replay,
        ReplayRules(("wiki",)),
    ),
    "indexes": Setting(
        {"dev": {"indexes": ["more"]}},
        "dev.indexes none → more: counts from now on",
        lambda net: net.config.indexes,
        ("more",),
    ),
    "packages": Setting(
        {"dev": {"packages": "none"}},
        "dev.packages default → none: counts from now on",
        lambda net: net.config.packages,
        "none",
    ),
    "catalogues": Setting(
        {"dev": {"catalogues": ["more/index.json"]}},
        "dev.catalogues null → more/index.json: counts from now on",
        lambda net: net.config.catalogues,
        ("more/index.json",),
    ),
    "cooldown": Setting(
        {"dev": {"cooldown": "0d"}},
        "dev.cooldown 259200.0 → 0.0: counts from now on",
        lambda net: net.config.cooldown,
        0,
    ),
    "agents": Setting(
        {"dev": {"agents": ["agents/ana.py"]}},
        "dev.agents none → agents/ana.py: counts from now on",
        lambda net: net.config.agents,
        ("agents/ana.py",),
    ),
    "max_body": Setting(
        {"dev": {"max_body": 2097152}},
        "dev.max_body 16777216 → 2097152: counts from now on",
        lambda net: net.config.max_body,
        2097152,
    ),
    "host_commands": Setting(
        {"dev": {"hosts": {"commands": False}}},
        "dev.hosts.commands true → false: counts from now on",
        lambda net: net.config.host_commands,
        False,
    ),
    "take_over": Setting(
        {"dev": {"hosts": {"take_over": True}}},
        "dev.hosts.take_over false → true: counts from now on",
        lambda net: net.config.take_over,
        True,
    ),
    "limits.drain": limit("drain", 0.025, 0.5),
    "limits.exclusive_drain": limit("exclusive_drain", 5.0, 0.5),
    "limits.linger": limit("linger", 30.0, 0.5),
    "limits.imports": limit("imports", 30.0, 0.5),
    "limits.initialize": limit("initialize", 10.0, 0.5),
    "limits.shutdown": limit("shutdown", 5.0, 0.5),
    "limits.handler": limit("handler", 30.0, 0.5),
    "limits.held_events": limit("held_events", 1000, 5),
    "limits.outbox_events": limit("outbox_events", 1000, 5),
}

RESTART = {
    "name": Setting({"name": "Other"}, "network.name Test → Other"),
    "node_id": Setting({"node_id": "n2"}, "network.node_id unset → n2"),
    "port": Setting({"port": 9000}, "network.port 8700 → 9000"),
    "groups": Setting({"agent_groups": {"staff": {"password_hash": "0" * 64}}}, "network.agent_groups unset → staff"),
    "default_group": Setting({"default_agent_group": "staff"}, "network.default_agent_group guest → staff"),
    "requires_password": Setting({"requires_password": True}, "network.requires_password false → true"),
    "studio": Setting({"dev": {"studio": True}}, "dev.studio false → true"),
    "engine": Setting(
        {"dev": {"hosts": {"engine": "tls://10.0.0.5:4222"}}}, "dev.hosts.engine here → tls://10.0.0.5:4222"
    ),
    "verify_secrets": Setting(
        {"disable_agent_secret_verification": True}, "network.disable_agent_secret_verification false → true"
    ),
}

ELSEWHERE = {"mods", "host", "profile", "metadata", "unused", "lists_mods", "lost", "limits"}
"""Mods are steps of plans; only the loopback address may be written as a host; a profile is shown, as it is, to who
asks; metadata and what is unused have no effect; a list of mods that is missing is asked about; limits are settings of
their own, above."""


def test_every_setting_is_one_or_the_other() -> None:
    """A new one has to be added here, and with that to one of the two."""
    settings = {each.name for each in fields(NetworkConfig) if each.init} | {
        f"limits.{each.name}" for each in fields(Limits)
    }
    assert settings == TAKEN.keys() | RESTART.keys() | ELSEWHERE


@pytest.mark.parametrize("name", TAKEN)
async def test_a_setting_that_can_be_changed_counts_at_once_and_is_said(work: Workspace, name: str) -> None:
    """Nothing is reloaded for it; to say the same once more says nothing."""
    work.mod("echo", served("echo", 1))
    net = await work.start("mods.echo")
    setting = TAKEN[name]
    assert setting.found is not None
    for _ in range(2):
        done = await work.save_yaml("mods.echo", **setting.written)
        assert (done.outcomes, done.plan.not_applied) == ((), ())
    assert [each.message for each in work.told(Notice)] == [setting.said]
    assert setting.found(net) == setting.wanted


@pytest.mark.parametrize("name", RESTART)
async def test_a_setting_that_needs_a_restart_is_named_and_stays_as_it_runs(work: Workspace, name: str) -> None:
    """Also for who asks the network what is in force."""
    work.mod("echo", served("echo", 1))
    net = await work.start("mods.echo")
    before = getattr(net.config, name)
    done = await work.save_yaml("mods.echo", **RESTART[name].written)
    assert [str(each) for each in done.plan.not_applied] == [f"{RESTART[name].said}: needs a restart"]
    assert getattr(net.config, name) == getattr(net.directory.config, name) == before


async def test_gates_and_queues_that_are_there_take_a_changed_limit(work: Workspace, doors: Doors) -> None:
    """Not only those that are made afterwards."""
    work.mod("echo", slow("echo", 1), HEAD)
    net = await work.start("mods.echo")
    await net.register_agent("ana")
    await work.save_yaml("mods.echo", dev={"limits": {"held_events": 3, "outbox_events": 4}})
    agent, slot = net.directory.agent("ana"), net.engine.registry.find("echo")
    assert agent is not None and slot is not None
    assert (slot.gate.limit, agent.outbox.limit) == (3, 4)
    work.mod("more", "")
    await net.load_mod("mods.more")
    await net.register_agent("bob")
    agent, slot = net.directory.agent("bob"), net.engine.registry.find("more")
    assert agent is not None and slot is not None
    assert (slot.gate.limit, agent.outbox.limit) == (3, 4)
