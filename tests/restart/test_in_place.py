"""A restart in place: the same process with a fresh image, which goes on where the one before it was."""

from __future__ import annotations

import asyncio
import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from restarts import KEEPER, asked, command, restarted, start_of
from rig.running import Running, serving
from rig.workspace import Workspace
from workspaces import until

from devserver.cli.client import connect
from devserver.model.trace import EVENT_NAME, NUMBER

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


RESTARTS = 'class KeeperMod(BaseMod):\n    reload_mode = "restart"\n'


async def test_process_port_and_state_stay_and_the_code_is_fresh(workspace: Workspace) -> None:
    """The process id, the port and the objects in a mod's state are as before; the generation goes on counting."""
    workspace.add_mod("keeper", KEEPER)
    async with serving(workspace) as server:
        await asked(server, "keeper.page.add", text="one")
        image = start_of(server.pid)
        line = await restarted(server)
        assert start_of(server.pid) != image
        assert line["url"] == server.told("ready")[0]["url"]
        assert (line["failed"], line["ended"]) == ([], [])
        keeper = next(each for each in line["mods"] if each["mod_id"] == "keeper")
        assert (keeper["generation"], keeper["moves"], keeper["lost"]) == (1, ["'pages'"], [])
        assert await asked(server, "keeper.page.add", text="two") == {"pages": ["one", "two"]}
        outcome = server.told("outcome", mod_id="keeper")[-1]
        assert (outcome["action"], outcome["way"], outcome["generation"]) == ("reload", "restart", 2)
        assert outcome["note"] == "state kept (1 key)"


async def test_what_cannot_move_is_told_before_and_asked_for(workspace: Workspace) -> None:
    """Who asks for a restart is told what is lost before it happens, and afterwards."""
    workspace.add_mod("keeper", KEEPER)
    async with serving(workspace) as server:
        await asked(server, "keeper.lock.make")
        line = await restarted(server)
        plan = server.told("plan")[-2]
        for told in (plan["restart"]["mods"], line["mods"]):
            keeper = next(each for each in told if each["mod_id"] == "keeper")
            assert keeper["lost"] == ["key 'lock' (TypeError: cannot pickle '_thread.lock' object)"]


async def test_a_network_yaml_that_cannot_be_used_is_not_tried(server: Running, workspace: Workspace) -> None:
    """What is known to fail is not tried: everything runs as before, and why is said."""
    good = workspace.read("network.yaml")
    image = start_of(server.pid)
    mark = server.mark()
    workspace.write("network.yaml", "network: [")
    code, said = await command(server, "restart")
    assert (code, "network.yaml" in said) == (1, True)
    assert start_of(server.pid) == image
    workspace.write("network.yaml", good)
    assert server.told("restart", mark) == []


async def test_a_mod_whose_saved_code_fails_keeps_running(server: Running, workspace: Workspace) -> None:
    """A fresh process would run nothing of it, so there is no restart before it is mended."""
    mark, good = server.mark(), workspace.read("mods/wiki/mod.py")
    workspace.write("mods/wiki/mod.py", "syntax error")
    await server.outcome("wiki", mark)
    image = start_of(server.pid)
    code, said = await command(server, "restart")
    assert (code, "some mods would not load: wiki" in said) == (1, True)
    assert start_of(server.pid) == image
    mark = server.mark()
    workspace.write("mods/wiki/mod.py", good + "\n# mended\n")
    await server.outcome("wiki", mark)
    await restarted(server)


async def test_reloads_before_a_restart_can_be_undone_after_it(workspace: Workspace) -> None:
    """The code goes back, one reload after the other; states of then are not known any more, and stay as they are."""
    workspace.add_mod("keeper", KEEPER)
    async with serving(workspace) as server:
        mark = server.mark()
        workspace.replace("mods/keeper/mod.py", '"added"', '"added by v2"')
        await server.outcome("keeper", mark)
        await asked(server, "keeper.page.add", text="one")
        await restarted(server)
        mark = server.mark()
        code, _ = await command(server, "undo", "keeper")
        assert code == 0
        assert "state kept" in (await server.outcome("keeper", mark))["note"]
        code, said = await command(server, "send", "keeper.page.add", "--json", "--payload", '{"text": "two"}')
        told = json.loads(said)
        assert (code, told["message"], told["data"]) == (0, "added", {"pages": ["one", "two"]})


async def test_a_save_that_a_restart_brings_serves_or_the_code_of_before_does(workspace: Workspace) -> None:
    """One that does not start there is told like any broken save: what ran keeps running, with its state. One that
    does can be undone."""
    workspace.add_mod("keeper", KEEPER.replace("class KeeperMod(BaseMod):", RESTARTS))
    async with serving(workspace, "--record") as server:
        await asked(server, "keeper.page.add", text="one")
        event = {"event_name": "keeper.page.add", "source_id": "ana", "payload": {"text": "pinned"}}
        pin = await _dev(server, "pins", {"event": event, "name": "add"})
        assert "Page" in pin["state"]["keeper"]["lost"], "its state is kept in memory alone"
        mark, good = server.mark(), workspace.read("mods/keeper/mod.py")
        broken = good.replace('self.state.setdefault("pages", [])', 'raise ValueError("not today")')
        workspace.write("mods/keeper/mod.py", broken.replace('"added"', '"added by v2"'))
        outcome = await server.line("outcome", mark, mod_id="keeper", phase="initialize")
        assert (outcome["status"], outcome["way"], outcome["generation"]) == ("rolled_back", "restart", 2)
        assert outcome["error"]["message"] == "not today"
        line = broken[: broken.index("raise")].count("\n") + 1
        assert (outcome["error"]["file"], outcome["error"]["line"]) == ("mods/keeper/mod.py", line)
        assert (await server.line("restart", mark))["failed"] == []
        assert await _message(server) == "added"
        assert await asked(server, "keeper.page.add", text="two") == {"pages": ["one", "x", "two"]}
        # Known to fail now, so that the next restart waits for the repair, which is brought by one.
        assert "some mods would not load: keeper" in (await command(server, "restart"))[1]
        mark = server.mark()
        brought = good.replace('"added"', '"added by v3"').replace("keeper.lock.make", "keeper.lock.get")
        workspace.write("mods/keeper/mod.py", brought)
        await server.line("restart", mark)
        (pin,) = (await server.line("replayed", mark, differ=1))["pins"]
        assert [each["after"] for each in pin["differences"]] == ["added by v3"]
        assert [each["event_name"] for each in (await server.line("contract", mark))["lost"]] == ["keeper.lock.make"]
        changes = (await _dev(server, "changes"))["changes"]
        (change,) = [each for each in changes if each.get("cause") == "restart in place"][1:]
        beside = await _dev(server, f"change?number={change['number']}")
        assert '+        return EventResponse(True, "added by v3"' in beside["diff"][0]["text"]
        assert (beside["pins"][0]["name"], beside["contract"]["lost"][0]["event_name"]) == ("add", "keeper.lock.make")
        assert await _message(server) == "added by v3"
        code, said = await command(server, "undo", "keeper")
        assert code == 0, said
        assert await _message(server) == "added"
        # What is told of earlier changes outlives one more restart, and the recording goes on in the same file.
        await restarted(server)
        assert await _dev(server, f"change?number={change['number']}") == beside
        (session,) = (workspace.root / ".oa-dev" / "sessions").iterdir()
        await _message(server)
        await until(lambda: len(_events(session)) == 6)
        assert _events(session) == [(number, "keeper.page.add") for number in range(1, 7)]


async def test_a_listed_mod_that_was_unloaded_stays_so(workspace: Workspace) -> None:
    """A person has unloaded it; that it stays so is said, and a load brings it back."""
    workspace.add_mod("keeper", KEEPER)
    async with serving(workspace) as server:
        code, said = await command(server, "unload", "keeper")
        assert code == 0, said
        mark = server.mark()
        await restarted(server)
        status = json.loads((await command(server, "status", "--json"))[1])
        assert "keeper" not in {each["mod_id"] for each in status["mods"]}
        said = [each["message"] for each in server.told("notice", mark)]
        assert "keeper stays unloaded, as before; oa-dev load mods.keeper brings it back" in said
        code, said = await command(server, "load", "mods.keeper")
        assert code == 0, said
        assert await asked(server, "keeper.page.add", text="one") == {"pages": ["one"]}


def _events(session: Path) -> list[tuple[int, str]]:
    """The number and the name of each event in the file of a session."""
    rows = [json.loads(line)["e"] for line in session.read_bytes().splitlines() if line.startswith(b'{"e"')]
    return [(row[NUMBER], row[EVENT_NAME]) for row in rows]


async def _dev(server: Running, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Ask the control API, as the page does."""
    client = connect(server.workspace.root)
    return await asyncio.to_thread(client.get if body is None else partial(client.post, body=body), path)


async def _message(server: Running) -> str:
    _, said = await command(server, "send", "keeper.page.add", "--json", "--payload", '{"text": "x"}')
    message: str = json.loads(said)["message"]
    return message
