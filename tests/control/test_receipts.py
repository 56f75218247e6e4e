"""Receipts of changes: what became of a plan, how long each phase took, and the diff of the code that it changed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest
from workspaces import Workspace, served

from devserver.control.receipts import ReceiptsApi
from devserver.model.change import FilesChanged, UndoAsked
from devserver.model.facts import CodeChange, ErrorFacts, ModError, PlanDone, Status
from devserver.model.principal import ADMIN, Scope
from devserver.server.changes import MOST_BYTES, MOST_CHANGES, MOST_DIFF, Changes, diffs_of
from devserver.server.redact import Redactor
from devserver.server.views import LiveViews
from devserver.sources.files import sources_now
from devserver.transports.http.answers import Answer
from devserver.transports.http.routes import Request

TOKEN = "the-token-of-this-run"


def asked(**query: Any) -> Request:
    return Request(ADMIN, {}, {key: str(value) for key, value in query.items()})


def told(answer: Answer) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(answer.body)
    return found


class Receipts:
    """The receipts of a network that runs in this process."""

    def __init__(self, work: Workspace) -> None:
        self._work = work
        self.views = LiveViews(work.net, Redactor(TOKEN, lambda digest: False))
        self.api = ReceiptsApi(self.views)
        self._noted = len(work.facts)

    async def latest(self) -> dict[str, Any]:
        """The receipt of the latest change, whole."""
        for fact in self._work.facts[self._noted :]:
            self.views.note(fact)
        self._noted = len(self._work.facts)
        return told(await self.api.change(asked(number=self.views.reloads.number)))


@pytest.fixture
async def receipts(work: Workspace) -> Receipts:
    """Those of a network with one mod."""
    work.mod("ant", served("ant", 1))
    await work.start("mods.ant")
    return Receipts(work)


async def test_a_receipt_has_the_phases_of_a_change_and_the_diff_of_its_code(
    work: Workspace, receipts: Receipts
) -> None:
    """Each phase with its milliseconds and its thread; the diff is that of what was replaced and what runs."""
    await work.save_mod("ant", served("ant", 2))
    found = await receipts.latest()
    assert [each[0] for each in found["phases"]] == [
        "compile", "import", "construct", "gate", "drain", "hand over", "initialize", "commit", "open", "close",
    ]  # fmt: skip
    assert {each[2] for each in found["phases"]} == {"build", "mods"}
    assert sum(each[1] for each in found["phases"]) <= found["outcomes"][0]["duration_ms"] + 0.1
    (diff,) = found["diff"]
    assert (diff["path"], diff["added"], diff["removed"]) == ("mods/ant.py", 1, 1)
    lines = diff["text"].splitlines()
    assert [each[0] for each in lines if each.startswith(("+", "-")) and each[:3] not in ("+++", "---")] == ["-", "+"]


async def test_a_save_that_failed_shows_what_was_tried(work: Workspace, receipts: Receipts) -> None:
    """And the same after it was mended, once more from what runs."""
    await work.save_mod("ant", served("ant", 1), "raise ValueError('no')")
    found = await receipts.latest()
    assert (found["success"], found["outcomes"][0]["status"]) == (False, "rolled_back")
    assert "+raise ValueError('no')" in found["diff"][0]["text"]
    await work.save_mod("ant", served("ant", 3))
    assert "-raise" not in (await receipts.latest())["diff"][0]["text"]


async def test_a_source_that_is_back_to_what_runs_has_not_changed(work: Workspace) -> None:
    """It was saved with another one that has, as an editor saves all files."""
    head = "from mods.helper import NAME"
    work.write("mods/helper.py", "NAME = 'ant'\n")
    work.mod("ant", served("ant", 1), head)
    await work.start("mods.ant")
    receipts = Receipts(work)
    await work.save("mods/helper.py", "raise ValueError('no')\n")
    both = [work.write("mods/helper.py", "NAME = 'ant'\n"), work.mod("ant", served("ant", 2), head)]
    await work.net.submit(FilesChanged(sources_now(both), texts={each: each.read_bytes() for each in both}))
    assert [each["path"] for each in (await receipts.latest())["diff"]] == ["mods/ant.py"]


async def test_an_undo_shows_the_way_back(work: Workspace, receipts: Receipts) -> None:
    """The diff is the other way round."""
    await work.save_mod("ant", served("ant", 2))
    forth = (await receipts.latest())["diff"][0]["text"].splitlines()[3:]
    done = await work.net.submit(UndoAsked())
    assert done.outcomes[0].status is Status.APPLIED
    back = (await receipts.latest())["diff"][0]["text"].splitlines()[3:]
    assert {each for each in back if each[0] == "+"} == {f"+{each[1:]}" for each in forth if each[0] == "-"}


async def test_receipts_are_listed_with_the_numbers_that_facts_carry(work: Workspace, receipts: Receipts) -> None:
    """So that a swap among the events leads to its receipt."""
    for version in (2, 3):
        await work.save_mod("ant", served("ant", version))
        await receipts.latest()
    listed = told(await receipts.api.changes(asked()))
    assert [each["number"] for each in listed["changes"]] == [1, 2]
    assert [each["number"] for each in told(await receipts.api.changes(asked(after=1)))["changes"]] == [2]
    outcomes = [each for _, each in receipts.views.facts.after(0) if each["type"] == "outcome"]
    assert [each["change"] for each in outcomes] == [1, 2]


async def test_a_burst_of_errors_leaves_the_swaps_among_the_facts(work: Workspace, receipts: Receipts) -> None:
    """A page that is opened then shows them; the row of the mod counts the errors."""
    await work.save_mod("ant", served("ant", 2))
    await receipts.latest()
    for _ in range(2000):
        receipts.views.note(ModError("ant", "ant.say", 2, ErrorFacts("KeyError", "'x'")))
    types = Counter(each["type"] for _, each in receipts.views.facts.after(0))
    assert types["outcome"] == 1
    assert sum(types.values()) < 20
    assert receipts.views.standing.of("ant")["raised"]["times"] == 2000


async def test_what_others_know_of_a_change_stands_in_its_receipt(work: Workspace, receipts: Receipts) -> None:
    """Pins, say."""
    await work.save_mod("ant", served("ant", 2))
    await receipts.latest()
    receipts.views.note_beside(1, pins={"same": 2})
    receipts.views.note_beside(1, contract=None)
    found = await receipts.latest()
    assert (found["pins"], found["contract"]) == ({"same": 2}, None)


async def test_a_change_that_is_not_kept_says_so(work: Workspace) -> None:
    """With a code for programs."""
    await work.start()
    answer = await Receipts(work).api.change(asked(number=9))
    assert (answer.status, told(answer)["code"]) == (404, "no_such_change")
    assert {each.scope for each in Receipts(work).api.routes()} == {Scope.ADMIN}


def change(before: str | None, after: str | None, path: str = "mods/a.py") -> CodeChange:
    return CodeChange(path, *(None if each is None else each.encode() for each in (before, after)))


def test_a_large_file_is_told_in_numbers() -> None:
    """And so is one that would make the whole diff too long."""
    large = diffs_of([change("x\n" * 4000, "y\n" * 4001)])[0]
    assert (large.added, large.removed, large.text) == (4001, 4000, "")
    wide = [change("", "w" * (MOST_DIFF * 2 // 3), f"mods/{n}.py") for n in range(2)]
    assert [bool(each.text) for each in diffs_of(wide)] == [True, False]


def test_a_file_that_came_or_went_is_compared_with_nothing() -> None:
    """As in any diff."""
    came, gone = diffs_of([change(None, "a = 1\n"), change("a = 1\n", None)])
    assert (came.added, came.removed, gone.added, gone.removed) == (1, 0, 0, 1)
    assert came.text.startswith("--- /dev/null\n+++ mods/a.py\n")


def test_the_code_of_changes_is_bounded() -> None:
    """In number, and in bytes: the oldest goes first."""
    kept = Changes()
    for n in range(MOST_CHANGES + 1):
        kept.keep(n, [change("a", "b")])
    assert (kept.of(0), len(kept.of(1))) == ((), 1)
    kept = Changes()
    for n in range(3):
        kept.keep(n, [change("a" * (MOST_BYTES // 2), "b")])
    assert [len(kept.of(n)) for n in range(3)] == [0, 0, 1]


@pytest.mark.parametrize("secret", [TOKEN])
async def test_no_secret_is_in_a_diff(work: Workspace, receipts: Receipts, tmp_path: Path, secret: str) -> None:
    """Not even one that an author has pasted into a source."""
    await work.save_mod("ant", served("ant", 2) + f"    key = {secret!r}\n")
    await receipts.latest()
    assert secret.encode() not in (await receipts.api.change(asked(number=1))).body


def test_equal_plans_stay_equal_whatever_code_they_keep() -> None:
    """Facts are compared by what they tell."""
    from devserver.model.plan import Plan

    assert PlanDone(Plan("saved"), (), 1.0, code=(change("a", "b"),)) == PlanDone(Plan("saved"), (), 1.0)
