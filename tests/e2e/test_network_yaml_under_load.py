"""network.yaml saved while agents work: the plan says what will be done, the outcomes what was, the status what is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from rig.agents import Crowd, under_load
from rig.ledger import NOTHING
from rig.mods import KEEPER, WAITER
from rig.running import Running
from rig.workspace import CONFIG, Workspace

from devserver.cli.client import connect

Rows = list[dict[str, Any]]


async def shown(workspace: Workspace) -> Rows:
    """The mods that run, as the control API shows them: in order, with path and configuration."""
    status = await asyncio.to_thread(connect(workspace.root).status)
    return [{"name": each["mod_path"], "config": each["config"]} for each in status["mods"]]


def wanted(workspace: Workspace) -> Rows:
    """The same, as network.yaml asks for it."""
    rows = (each for each in workspace.mods() if each.get("enabled", True))
    return [{"name": each["name"], "config": each.get("config", {})} for each in rows]


async def applied(server: Running, mark: int) -> list[tuple[str, str]]:
    """The steps of the plan since a mark. Every one was applied, and the status shows what network.yaml asks for."""
    plan, outcomes = await server.plan(mark)
    steps = [(step["action"], step["mod_id"]) for step in plan["steps"]]
    assert (plan["cause"], plan["holds"]) == (CONFIG, [])
    assert [(each["action"], each["mod_id"]) for each in outcomes] == steps
    assert [each["status"] for each in outcomes] == ["applied"] * len(steps)
    assert [each["agents"]["dropped"] for each in outcomes] == [0] * len(steps)
    assert await shown(server.workspace) == wanted(server.workspace)
    return steps


KEEPER_ROW = {"name": "mods.keeper"}


def _configured(rows: Rows, name: str, **settings: Any) -> Rows:
    return [{**row, "config": {**row["config"], **settings}} if row["name"] == name else row for row in rows]


EDITS: tuple[tuple[Callable[[Rows], Rows], list[tuple[str, str]]], ...] = (
    (lambda rows: [*rows, KEEPER_ROW], [("load", "keeper")]),
    (lambda rows: _configured(rows, "mods.wiki", max_pages=51), [("reconfigure", "wiki")]),
    (lambda rows: _configured(rows, "mods.messaging", max_reactions=7), [("reload", "messaging")]),
    (lambda rows: [rows[-1], *rows[:-1]], [("reorder", "keeper")]),
    (lambda rows: [{**rows[0], "enabled": False}, *rows[1:]], [("unload", "keeper")]),
    (lambda rows: [{**rows[0], "enabled": True}, *rows[1:]], [("load", "keeper")]),
    (lambda rows: rows[1:], [("unload", "keeper")]),
)
"""Edits of the list of mods, one after the other, and the steps that each of them has to lead to."""


async def test_every_edit_of_the_list_of_mods_is_carried_out_as_planned(
    workspace: Workspace, server: Running, agents: Crowd
) -> None:
    """Adding, reconfiguring, moving, disabling, enabling and removing mods does just that, and no agent notices."""
    workspace.write("mods/keeper.py", KEEPER)
    async with under_load(agents):
        for edit, steps in EDITS:
            mark = server.mark()
            workspace.set_mods(edit(workspace.mods()))
            assert await applied(server, mark) == steps
    assert agents.ledger.faults() == NOTHING


async def test_several_changes_in_one_save_are_one_plan(workspace: Workspace, server: Running, agents: Crowd) -> None:
    """One save that removes, adds and reconfigures is one plan, and its outcomes are its steps in its order."""
    workspace.write("mods/waiter.py", WAITER)
    async with under_load(agents):
        mark = server.mark()
        rows = [each for each in workspace.mods() if each["name"] != "mods.project"]
        next(each for each in rows if each["name"] == "mods.wiki")["config"]["max_pages"] = 9
        workspace.set_mods([*rows, {"name": "mods.waiter"}])
        steps = await applied(server, mark)
    assert set(steps) == {("unload", "project"), ("load", "waiter"), ("reconfigure", "wiki")}
    assert len(server.told("plan", mark)) == 1
    assert agents.ledger.faults() == NOTHING


async def test_a_broken_network_yaml_changes_nothing_until_it_is_repaired(
    workspace: Workspace, server: Running, agents: Crowd
) -> None:
    """A file that cannot be used is told of with its line; what ran runs on, and the repaired file is applied."""
    before = await shown(workspace)
    good = workspace.read(CONFIG)
    async with under_load(agents):
        mark = server.mark()
        workspace.write(CONFIG, good.replace("  mods:\n", "  mods: [\n", 1))
        refused = await server.line("outcome", mark)
        assert await shown(workspace) == before
        assert (await agents.bea.ask("wiki.pages.list"))["success"]
        mark = server.mark()
        workspace.write(CONFIG, good)
        workspace.configure("mods.wiki", max_pages=52)
        assert await applied(server, mark) == [("reconfigure", "wiki")]
    assert (refused["status"], refused["mod_id"], refused["error"]["file"]) == ("rolled_back", None, CONFIG)
    assert refused["error"]["line"] >= good.splitlines().index("  mods:") + 1
    assert agents.ledger.faults() == NOTHING


async def test_a_setting_that_needs_a_restart_is_brought_by_one(
    workspace: Workspace, server: Running, agents: Crowd
) -> None:
    """Another id of the network is named with both values, and agents stay connected."""
    mark = server.mark()
    workspace.replace(CONFIG, "node_id: sample-network", "node_id: another-network")
    plan = await server.line("plan", mark)
    setting = {"setting": "network.node_id", "running": "sample-network", "wanted": "another-network"}
    assert plan["not_applied"] == [setting]
    assert plan["steps"] == []
    line = await server.line("restart", mark)
    assert line["reasons"] == ["network.node_id sample-network → another-network"]
    assert agents.ledger.closed == []
    assert await shown(workspace) == wanted(workspace)
