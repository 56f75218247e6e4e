"""Saves while agents work: every save is serving, and no agent notices."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable

import httpx
import pytest
from rig.agents import Asker, Crowd, post, under_load
from rig.ledger import NOTHING
from rig.running import Running
from rig.workspace import Workspace

MESSAGING = "mods/messaging/mod.py"
SHARED = "mods/lib/text.py"
POSTED = 'f"Posted, {len(told)} told"'
CUT = 'f"{text[:longest]}..."'
NO_TITLE = '"a title needs at least one visible character"'
LONG = "word " * 60
INVISIBLE = "\u200b"


class Sources:
    """The two sources that are edited, as they were; each edit leaves its number where agents can see it."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        # Room for everything that is said, so that the history can be complete.
        workspace.configure("mods.messaging", max_messages=1_000_000)
        self._messaging, self._shared = workspace.read(MESSAGING), workspace.read(SHARED)

    def edit_messaging(self, number: int) -> None:
        """Save messaging's own module, in place and by rename in turns."""
        text = self._messaging.replace(POSTED, f'f"Posted, {{len(told)}} told (edit {number})"')
        self._save(number)(MESSAGING, text)

    def edit_shared(self, number: int) -> None:
        """Save the helper that messaging and wiki share."""
        text = self._shared.replace(CUT, f'f"{{text[:longest]}}... (edit {number})"')
        text = text.replace(NO_TITLE, f'"a title needs a character (edit {number})"')
        self._save(number)(SHARED, text)

    def _save(self, number: int) -> Callable[[str, str], None]:
        return self._workspace.write if number // 2 % 2 else self._workspace.rename_over


def edit_in(text: str) -> int:
    """The number of the edit that a text shows; 0 for the code before the first."""
    found = re.search(r"\(edit (\d+)\)", text)
    return int(found[1]) if found else 0


async def quoted_by_messaging(agent: Asker, quoted_id: str) -> int:
    """The edit of the shared helper that messaging serves: it cuts the quotation in a direct message to oneself."""
    content = {"content": {"text": "quote"}, "target_agent_id": agent.name, "quoted_message_id": quoted_id}
    assert (await agent.ask("thread.direct_message.send", content))["success"]
    page = await agent.ask("thread.direct_messages.retrieve", {"target_agent_id": agent.name, "limit": 500})
    return edit_in(page["data"]["messages"][-1]["quoted_text"])


async def refused_by_wiki(agent: Asker) -> int:
    """The edit of the shared helper that the wiki serves: it words the refusal of a title."""
    page = {"page_path": "/probe", "title": INVISIBLE, "wiki_content": "none"}
    return edit_in((await agent.ask("wiki.page.create", page))["message"])


async def history(agent: Asker) -> set[str]:
    """Every text that messaging keeps of the channel."""
    texts: set[str] = set()
    while True:
        asked = {"channel": "general", "offset": len(texts), "limit": 500, "include_threads": False}
        page = (await agent.ask("thread.channel_messages.retrieve", asked))["data"]
        texts |= {message["content"]["text"] for message in page["messages"]}
        if not page["has_more"]:
            return texts


async def save_and_see(server: Running, sources: Sources, agent: Asker, number: int, quoted_id: str) -> None:
    """One edit of each of the two sources; the first answer after each outcome is of the new code."""
    mark = server.mark()
    sources.edit_messaging(number)
    assert (await server.outcome("messaging", mark))["status"] == "applied"
    assert edit_in((await post(agent, "probe"))["message"]) == number
    mark = server.mark()
    sources.edit_shared(number + 1)
    _, outcomes = await server.plan(mark)
    assert {"messaging", "wiki"} <= {each["mod_id"] for each in outcomes}
    assert {(each["status"], each["agents"]["dropped"]) for each in outcomes} == {("applied", 0)}
    assert (await quoted_by_messaging(agent, quoted_id), await refused_by_wiki(agent)) == (number + 1,) * 2


@pytest.mark.parametrize(
    "edits",
    [
        # Two saves each: messaging's own module, then the shared helper.
        pytest.param(8, id="16 saves"),
        pytest.param(50, id="100 saves", marks=[pytest.mark.slow, pytest.mark.timeout(600)]),
    ],
)
async def test_every_save_serves_and_no_agent_notices(
    workspace: Workspace, sources: Sources, server: Running, agents: Crowd, edits: int
) -> None:
    """With 200 posts a second each save is serving, nothing is lost, repeated, reordered, refused or cut off."""
    first = await post(agents.bea, LONG)
    async with under_load(agents):
        for number in range(1, 2 * edits, 2):
            await save_and_see(server, sources, agents.bea, number, first["data"]["message_id"])
    ledger = agents.ledger
    assert ledger.faults() == NOTHING
    # The load stood still for none of the saves, and each answer came from code at least as new as the one before.
    served = [edit_in(ledger.answers["ana", number]["message"]) for number in range(ledger.sent["ana"])]
    assert served == sorted(served)
    assert len(set(served)) > edits // 2
    assert {f"ana {number}" for number in range(ledger.sent["ana"])} <= await history(agents.bea)


async def test_a_reader_of_the_feed_is_noticed_by_no_agent(
    workspace: Workspace, sources: Sources, server: Running, agents: Crowd
) -> None:
    """With a reader that asks again and again nothing is lost or reordered, and it sees every event or is told."""
    first = await post(agents.bea, LONG)
    known = json.loads(workspace.read(".oa-dev/run.json"))
    headers = {"Authorization": f"Bearer {known['token']}"}
    rows = skipped = 0
    async with httpx.AsyncClient(base_url=known["url"], headers=headers, timeout=60) as reader:
        begun = start = (await reader.get("/_dev/feed")).json()["next"]

        async def read() -> None:
            nonlocal start, rows, skipped
            while True:
                answer = (await reader.get("/_dev/feed", params={"after": start})).json()
                start, rows, skipped = answer["next"], rows + len(answer["rows"]), skipped + answer["skipped"]

        reading = asyncio.create_task(read())
        async with under_load(agents):
            for number in range(1, 11, 2):
                await save_and_see(server, sources, agents.bea, number, first["data"]["message_id"])
        reading.cancel()
        await asyncio.wait([reading])
    assert agents.ledger.faults() == NOTHING
    assert rows > 100
    assert rows + skipped == start - begun


@pytest.fixture
def sources(workspace: Workspace) -> Sources:
    """The sources of messaging and of what it shares with the wiki; asked for before `server` starts."""
    return Sources(workspace)
