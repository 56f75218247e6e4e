"""`oa-dev status`, `reload` and `send` against a running server, and without one."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from nursery import forking
from rig.agents import Crowd
from rig.running import OA_DEV, Running, environment
from rig.workspace import Workspace

CLEAN, FATAL, USAGE = 0, 1, 2
CREATE = {"page_path": "/a", "title": "A", "wiki_content": "text"}


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    errors: str

    @property
    def values(self) -> dict[str, Any]:
        """The JSON object that it printed."""
        found: dict[str, Any] = json.loads(self.out)
        return found


async def oa_dev(workspace: Workspace, *arguments: str) -> Ended:
    """Run a command in a workspace until it ends."""
    pipe = asyncio.subprocess.PIPE
    with forking():
        process = await asyncio.create_subprocess_exec(
            *(OA_DEV, *arguments), cwd=workspace.root, env=environment(), stdout=pipe, stderr=pipe
        )
    out, errors = await process.communicate()
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), errors.decode())


async def test_status_says_what_runs(workspace: Workspace, server: Running, agents: Crowd) -> None:
    """It names the address, each mod with its generation, and the agents; as JSON it is the control API's answer."""
    said = await oa_dev(workspace, "status")
    values = (await oa_dev(workspace, "status", "--json")).values
    assert (said.code, said.errors) == (CLEAN, "")
    assert all(words in said.out for words in (server.told("ready")[0]["url"], "wiki v1", "3 agents"))
    assert [each["mod_id"] for each in values["mods"]] == ["analytics", "messaging", "wiki", "project"]
    assert {each["agent_id"]: each["transport"] for each in values["agents"]} == {
        "ana": "ws",
        "bea": "http",
        "cem": "http",
    }


async def test_reload_reloads_one_mod_or_all(workspace: Workspace, server: Running) -> None:
    """`reload MOD` brings a new generation of that mod alone, `reload` one of each; state is kept."""
    assert (await oa_dev(workspace, "send", "wiki.page.create", "--payload", json.dumps(CREATE))).code == CLEAN
    one = await oa_dev(workspace, "reload", "wiki", "--json")
    everything = await oa_dev(workspace, "reload", "--json")
    got = await oa_dev(workspace, "send", "wiki.page.get", "--payload", '{"page_path": "/a"}', "--json")
    assert [each["mod_id"] for each in one.values["outcomes"]] == ["wiki"]
    assert {each["mod_id"]: each["generation"] for each in everything.values["outcomes"]} == {
        "analytics": 2,
        "messaging": 2,
        "wiki": 3,
        "project": 2,
    }
    assert (one.code, everything.code, got.code) == (CLEAN, CLEAN, CLEAN)
    assert got.values["data"]["title"] == "A"


async def test_reload_of_a_mod_that_fails_says_what_keeps_running(workspace: Workspace, server: Running) -> None:
    """It ends with 1 and names the error's place and the generation that runs."""
    mark = server.mark()
    workspace.write("mods/wiki/mod.py", workspace.read("mods/wiki/mod.py") + "\ndef broken(:\n")
    await server.outcome("wiki", mark)
    said = await oa_dev(workspace, "reload", "wiki")
    assert said.code == FATAL
    assert "wiki v2 did not load, v1 keeps running" in said.out
    assert f"mods/wiki/mod.py:{workspace.line_of('mods/wiki/mod.py', 'def broken(:')}" in said.out


async def test_reload_of_an_unknown_mod_is_no_success(workspace: Workspace, server: Running) -> None:
    """A name that no mod has ends with 1 and the name that was probably meant."""
    said = await oa_dev(workspace, "reload", "wikki")
    assert said.code == FATAL
    assert "Did you mean 'wiki'?" in said.out


async def test_send_reaches_mods_and_agents(workspace: Workspace, server: Running, agents: Crowd) -> None:
    """An event goes to a mod as from an agent, or to an agent; a refusal ends with 1."""
    posted = await oa_dev(
        workspace,
        *("send", "thread.channel_message.post", "--as", "ana", "--json"),
        *("--payload", '{"channel": "general", "text": "from outside"}'),
    )
    sent = await oa_dev(workspace, "send", "greeting.from.outside", "--to", "agent:bea", "--json")
    refused = await oa_dev(workspace, "send", "wiki.page.get", "--payload", '{"page_path": "/none"}')
    assert (posted.code, posted.values["data"]["notified"]) == (CLEAN, 2)
    assert (sent.code, sent.values["data"]) == (CLEAN, {"delivered": 1})
    assert refused.code == FATAL


async def test_without_a_server_commands_say_how_to_start_one(workspace: Workspace) -> None:
    """`status`, `reload` and `send` end with 1 and one sentence that names `oa-dev run`."""
    ended = await asyncio.gather(
        oa_dev(workspace, "status"), oa_dev(workspace, "reload"), oa_dev(workspace, "send", "wiki.pages.list")
    )
    assert [each.code for each in ended] == [FATAL] * 3
    assert all("no oa-dev is running for" in each.errors and "oa-dev run" in each.errors for each in ended)


async def test_a_payload_that_is_no_json_is_a_usage_error(workspace: Workspace) -> None:
    """It ends with 2 and says where, before any server is asked."""
    said = await oa_dev(workspace, "send", "wiki.pages.list", "--payload", "{oops")
    assert said.code == USAGE
    assert "column 2" in said.errors
