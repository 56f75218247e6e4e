"""Versions beside each other while agents ask: nothing fails, nothing is lost, no save concerns the other version."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from workspaces import Workspace, without_mods

from devserver.model.facts import Status

CLIENTS = 16
PAUSE = 0.005
"""Seconds between two notes of a client, so that the state that is handed over does not grow for ever."""

MESSAGES = """
    version = "{version}"

    @mod_event_handler("notes.note.put")
    async def put(self, event):
        self.state.setdefault("notes", []).append([event.source_id, event.payload["n"], "{version}"])
        return {{"version": "{version}"}}
"""


@pytest.fixture
async def work(tmp_path: Path) -> AsyncIterator[Workspace]:
    """Two versions that keep what they are sent in one list."""
    with without_mods():
        workspace = Workspace(tmp_path)
        for version in (1, 2):
            workspace.mod(f"notes_v{version}", MESSAGES.format(version=version))
        await workspace.start({"name": "mods.notes_v1", "versions": [{"name": "mods.notes_v2", "share": "50%"}]})
        yield workspace
        await workspace.end()


class Clients:
    """Agents that send one numbered note after the other, until they are told to end."""

    def __init__(self, work: Workspace) -> None:
        self.work = work
        self.failed: list[str] = []
        self.sent = dict.fromkeys((f"agent-{number}" for number in range(CLIENTS)), 0)
        self.versions: dict[str, list[str]] = {each: [] for each in self.sent}
        self.ends = False
        self._tasks = [asyncio.create_task(self._send(each)) for each in self.sent]

    async def _send(self, agent: str) -> None:
        while not self.ends:
            answer = await self.work.ask("notes.note.put", by=agent, n=self.sent[agent])
            if not answer.success:
                self.failed.append(answer.message)
            else:
                self.versions[agent].append((answer.data or {})["version"])
            self.sent[agent] += 1
            await asyncio.sleep(PAUSE)

    async def turns(self, count: int) -> None:
        """Return when every client has sent so many notes more."""
        wanted = {agent: sent + count for agent, sent in self.sent.items()}
        while any(self.sent[agent] < number for agent, number in wanted.items()):
            assert not any(each.done() for each in self._tasks)
            await asyncio.sleep(PAUSE)

    async def end(self) -> None:
        """Let the clients end after what they are sending."""
        self.ends = True
        await asyncio.gather(*self._tasks)

    def check(self, mod_id: str) -> None:
        """Nothing failed, and every note is there once, in the order in which its agent sent it."""
        assert self.failed == []
        notes = self.work.instance(mod_id).state["notes"]
        for agent, sent in self.sent.items():
            assert [number for source, number, _ in notes if source == agent] == list(range(sent))


async def test_two_versions_split_sixteen_clients_and_one_is_promoted(work: Workspace) -> None:
    """Each client meets one version until the promotion and the new one afterwards; no note is lost or there twice."""
    clients = Clients(work)
    await clients.turns(50)
    before = {agent: list(versions) for agent, versions in clients.versions.items()}
    assert (await work.net.promote_mod("notes_v1@v2")).success
    await clients.turns(50)
    await clients.end()
    clients.check("notes_v1")
    assert all(len(set(versions)) == 1 for versions in before.values())
    assert {versions[0] for versions in before.values()} == {"1", "2"}
    assert {versions[-1] for versions in clients.versions.values()} == {"2"}


@pytest.mark.parametrize("saves", [12, pytest.param(100, marks=pytest.mark.slow)])
async def test_alternating_saves_reload_their_own_version_alone(work: Workspace, saves: int) -> None:
    """Of saves in turn each reloads one version, and no event fails meanwhile."""
    clients = Clients(work)
    for number in range(saves):
        version = number % 2 + 1
        body = MESSAGES.format(version=version) + f"\n    saved = {number}\n"
        done = await work.save_mod(f"notes_v{version}", body)
        own = "notes_v1" if version == 1 else "notes_v1@v2"
        assert [(each.mod_id, each.status) for each in done.outcomes] == [(own, Status.APPLIED)]
        await clients.turns(1)
    await clients.end()
    clients.check("notes_v1")
    assert {mod_id: each["generation"] for mod_id, each in work.net.running_mods().items()} == {
        "notes_v1": saves // 2 + 1,
        "notes_v1@v2": saves // 2 + 1,
    }
