"""`oa-dev` is stopped and started again: an unmodified client, which never registers twice, goes on as before."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

pytest.importorskip("openagents")

from served_process import PATIENCE, serving
from test_bridged_agents import Client, folder

__all__ = ["folder"]


async def arrival(ana: Client, bob: Client) -> None:
    """Let the first send to the second until something has arrived: a client that finds no server waits for a while."""
    async with asyncio.timeout(PATIENCE):
        while not (await ana.ask("note.for.bob", to="agent:bob")).success:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.01)
    await bob.next("note.for.bob")


@pytest.mark.parametrize("ending", ["stopped", "killed"])
async def test_clients_go_on_after_a_restart_of_the_server(folder: Path, ending: str) -> None:
    """Their secrets are known to the next process, also where the first one was killed; the mod knows them too."""
    ana, bob = Client("ana"), Client("bob")
    async with serving(folder) as server:
        port = server.port
        for client in (ana, bob):
            await client.join(port)
        await arrival(ana, bob)
        if ending == "killed":
            server.process.kill()
            await server.process.wait()
    async with serving(folder, port):
        try:
            await arrival(ana, bob)
            listed = await ana.ask("thread.channels.list", message_type="channel_info", action="list_channels")
            general = next(each for each in listed.data["channels"] if each["name"] == "general")
            assert set(general["agents"]) == {"ana", "bob"}
            assert {each["agent_id"] for each in await bob.list_agents()} == {"ana", "bob"}
        finally:
            for client in (ana, bob):
                await client.disconnect()
