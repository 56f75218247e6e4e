"""Versions of a mod from an index that run beside the one that is locked: names, state, upgrades, the end."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from locked_wheels import lock, make_lazy_wheel
from workspaces import Workspace

from devserver import Event
from devserver.market.lock import NAME, read_lock
from devserver.model.change import DropAsked, LineAsked, LockChanged, PromoteAsked, UndoAsked
from devserver.model.facts import PlanDone, Status
from devserver.model.split import Line, Rule

SOURCE = """
from devserver import BaseMod, EventResponse, mod_event_handler
from polls import words
import polls.words as same


class Polls(BaseMod):
    version = words.VERSION

    @mod_event_handler("polls.ask")
    async def ask(self, event):
        from polls import later

        self.state["asked"] = self.state.get("asked", 0) + 1
        return EventResponse(True, "asked", {"versions": [words.VERSION, same.VERSION, later.VERSION], **self.state})
"""

BESIDE = Line(label="2", rule=Rule(agents=("ana",)), code="polls@2", versions="~=2.0")


@pytest.fixture
async def work(tmp_path: Path) -> AsyncIterator[Workspace]:
    """A network with polls 1.0, and polls 2.0 locked beside it."""
    found = Workspace(tmp_path)
    lock(tmp_path, polls(found, "1.0"), lines={"polls@2": polls(found, "2.0")})
    await found.start("polls")
    yield found
    await found.end()
    assert not [each for each in sys.modules if each.partition("@")[0].partition(".")[0] == "polls"]


def polls(work: Workspace, version: str, source: str = SOURCE) -> Path:
    """A wheel of a mod of three modules, one of which is imported late."""
    return make_lazy_wheel(work.folder / "mods-index", version, source)


async def versions(work: Workspace, by: str, to: str | None = None) -> set[str]:
    """The versions of all modules that answer an agent."""
    event = Event(event_name="polls.ask", source_id=by, destination_id=to)
    response = await work.net.process_event(event)
    assert response is not None and response.success, response
    return set(response.data["versions"])


async def statuses(done: PlanDone) -> list[tuple[str, Status]]:
    return [(each.mod_id, each.status) for each in done.outcomes]


async def test_two_versions_of_a_distribution_serve_beside_each_other(work: Workspace) -> None:
    """Each sees its own modules alone, the late ones too; the state is shared; the end of a line leaves nothing."""
    done = await work.net.submit(LineAsked("polls", BESIDE))
    assert await statuses(done) == [("polls@2", Status.APPLIED)]
    assert await versions(work, "ana") == {"2.0"}
    assert await versions(work, "bob") == {"1.0"}
    assert await versions(work, "bob", "mod:polls@2") == {"2.0"}
    assert work.net.engine.registry.live[0].instance.state["asked"] == 3
    done = await work.net.submit(DropAsked("polls@2"))
    assert await versions(work, "ana") == {"1.0"}
    assert not [each for each in sys.modules if each.startswith("polls@2")]


async def test_a_newer_version_of_a_line_is_a_reload_of_the_line_alone(work: Workspace) -> None:
    """The lock moves the line to 2.1; its mod stays the very object that it was."""
    await work.net.submit(LineAsked("polls", BESIDE))
    main = work.net.engine.registry.find("polls").live.instance
    lock(work.folder, polls(work, "1.0"), lines={"polls@2": polls(work, "2.1")})
    done = await work.net.submit(LockChanged())
    assert [(each.mod_id, each.reason) for each in done.outcomes] == [("polls@2", "2.0 → 2.1")]
    assert await versions(work, "ana") == {"2.1"}
    assert work.net.engine.registry.find("polls").live.instance is main


async def test_a_version_from_an_index_is_promoted_and_undone(work: Workspace) -> None:
    """Its mod gets its code and keeps its state, and what keeps it after the next start is told; undo gives back
    both versions."""
    await work.net.submit(LineAsked("polls", BESIDE))
    await versions(work, "ana")
    done = await work.net.submit(PromoteAsked("polls@2"))
    assert all(each.status is Status.APPLIED for each in done.outcomes), done.outcomes
    told = done.outcomes[0].reason
    assert told.startswith(
        "was polls@2; the next start runs the version before: in network.yaml give polls version: '~=2"
    )
    assert told.endswith(", then oa-dev sync")
    assert await versions(work, "bob") == {"2.0"}
    await work.net.submit(UndoAsked(("polls",)))
    assert [await versions(work, each) for each in ("bob", "ana")] == [{"1.0"}, {"2.0"}]


async def test_a_promoted_version_that_the_lock_has_as_the_mods_own_is_reloaded_from_there(work: Workspace) -> None:
    """The state stays, and nothing of the version's own folder runs any more: an undo says what takes it back."""
    await work.net.submit(LineAsked("polls", BESIDE))
    await work.net.submit(PromoteAsked("polls@2"))
    await versions(work, "ana")
    lock(work.folder, polls(work, "2.0"))
    [outcome] = (await work.net.submit(LockChanged())).outcomes
    assert (outcome.status, outcome.reason) == (Status.APPLIED, "polls 2.0 of the lock")
    live = work.net.engine.registry.find("polls").live
    assert "@" not in live.entry
    [held] = (await work.net.submit(UndoAsked())).outcomes
    assert held.reason.startswith("it ran polls@2, which is not locked now: oa-dev undo polls takes back")
    assert await versions(work, "bob") == {"2.0"}
    assert live.instance.state["asked"] == 2


async def test_a_line_that_does_not_start_leaves_its_mod_alone(work: Workspace) -> None:
    """All events go to the mod, which is the very object that it was."""
    lock(work.folder, polls(work, "1.0"), lines={"polls@2": polls(work, "2.2", "raise KeyError('token')\n")})
    await work.net.submit(LockChanged())
    done = await work.net.submit(LineAsked("polls", BESIDE))
    assert [each.status for each in done.outcomes] == [Status.FAILED], done.outcomes
    assert await versions(work, "ana") == {"1.0"}


async def test_a_line_that_is_not_installed_is_held_with_what_brings_it(work: Workspace) -> None:
    """Nothing is fetched because something is loaded."""
    done = await work.net.submit(LineAsked("polls", Line(label="3", code="polls@3", versions="~=3.0")))
    said = " ".join([str(each.error) for each in done.outcomes] + [each.reason for each in done.plan.holds])
    assert "polls@3 is not locked and installed: oa-dev sync brings it" in said


def test_lines_are_written_to_the_lock_and_read_back(work: Workspace) -> None:
    """Each with its version, its wheel and the digest of that."""
    [line] = read_lock((work.folder / NAME).read_bytes()).lines
    assert (line.line, line.name, line.version) == ("polls@2", "polls", "2.0")
    assert line.where == "mods-index/polls-2.0-py3-none-any.whl"
