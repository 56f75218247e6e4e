"""The mods that are built in: their wheels are those that are listed, and each does what it says."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from workspaces import without_mods

from devserver import testing
from devserver.config.typed import is_model
from devserver.market.catalogue import BUILT_IN
from devserver.market.index import release_of
from devserver.market.package import read_package, refuse_shadowing
from devserver.market.review import review
from devserver.market.wheel import (
    HOME,
    OtherBytes,
    build_built_in,
    build_wheel,
    built_in,
    in_one_form,
    needed_built_in,
    sources_of,
)

NAMES = ("glossary", "poll-report", "polls", "reminders")


@pytest.fixture
def running() -> Callable[..., Any]:
    """A network of built-in mods, from their sources."""

    @asynccontextmanager
    async def start(*mods: str, **config: Any) -> AsyncIterator[testing.TestNetwork]:
        files = {
            str(path.relative_to(sources_of(mod) / "src")): path.read_text(encoding="utf-8")
            for mod in mods
            for path in (sources_of(mod) / "src").rglob("*.py")
        }
        with without_mods():
            async with testing.network(dict.fromkeys(mods, config), files=files) as net:
                yield net

    return start


# Their wheels


def test_the_list_names_all_that_are_there():
    """Each with one final version, without touching anything outside the network but its own storage."""
    found = built_in()
    assert found.name == BUILT_IN
    assert (
        tuple(found.entries)
        == NAMES
        == tuple(sorted(each.name.replace("_", "-") for each in HOME.iterdir() if each.is_dir()))
    )
    for entry in found.entries.values():
        version = entry.newest()
        assert version is not None
        assert set(entry.releases[version].touches) <= {"storage"}
        assert entry.license == "Apache-2.0"


@pytest.mark.parametrize("name", NAMES)
def test_a_wheel_that_is_built_here_is_the_one_that_is_listed(tmp_path, name):
    """Its digest, and all that is said of it. After a new version: tests/catalogue/built_in_index.py."""
    wheel = build_built_in(name, tmp_path)
    listed = next(iter(built_in().entries[name].releases.values()))
    found = review(wheel)

    assert hashlib.sha256(wheel.read_bytes()).hexdigest() == listed.sha256
    assert release_of(found, listed) == listed
    refuse_shadowing(read_package(wheel), {})
    assert not found.by_text


def test_the_same_sources_give_the_same_bytes(tmp_path):
    """From another folder, at another time, with caches beside them."""
    copy = tmp_path / "elsewhere" / "polls"
    shutil.copytree(sources_of("polls"), copy)
    (copy / "src/polls/__pycache__").mkdir(exist_ok=True)
    (copy / "src/polls/__pycache__/mod.cpython-311.pyc").write_bytes(b"x")
    one, other = build_wheel(copy, tmp_path / "a"), build_wheel(sources_of("polls"), tmp_path / "b")

    assert one.read_bytes() == other.read_bytes()
    assert in_one_form(one.read_bytes()) == one.read_bytes()


def test_sources_that_were_changed_are_not_what_was_released(tmp_path, monkeypatch):
    """What is installed is what is listed, or nothing is."""
    shutil.copytree(HOME, tmp_path / "catalogue")
    monkeypatch.setattr("devserver.market.wheel.HOME", tmp_path / "catalogue")
    with open(tmp_path / "catalogue/polls/src/polls/mod.py", "a") as file:
        file.write("# changed\n")
    with pytest.raises(OtherBytes, match=r"polls 1\.0\.0 is not what was released"):
        build_built_in("polls", tmp_path / "out")
    assert list((tmp_path / "out").glob("*.whl")) == []


def test_what_one_of_them_needs_is_among_them():
    """So that it can be added without any index."""
    assert needed_built_in("poll-report") == ["polls"]
    assert needed_built_in("polls") == needed_built_in("nowhere") == []


# What they do


@pytest.mark.parametrize("name", NAMES)
async def test_each_declares_its_configuration_and_its_payloads(running, name):
    """As models, so that what does not fit is told in a sentence."""
    needs = ("polls", name) if name == "poll-report" else (name,)
    async with running(*[each.replace("-", "_") for each in needs]) as net:
        assert is_model(net.mod(name.replace("-", "_")).Config)
        entry = built_in().entries[name]
        for event in next(iter(entry.releases.values())).answers:
            answer = await net.send(
                event, {"poll_id": 7, "word": 7, "reminder_id": 7, "days": "x", "limit": 0, "text": 7}
            )
            assert isinstance(answer.message, str)
        assert net.errors == []


async def test_a_poll_is_opened_voted_in_and_closed(running):
    """All agents are told of it, those who have voted of what came of it; a vote takes the place of an earlier one."""
    async with running("polls") as net:
        ana, ben = await net.agent("ana"), await net.agent("ben")
        opened = await ana.send("polls.open", {"question": "Lunch?", "options": ["soup", "rice"]})
        poll = {"poll_id": opened.data["poll_id"]}
        assert (await ben.wait_for("polls.notification.opened")).payload["question"] == "Lunch?"
        await ben.send("polls.vote", poll | {"options": ["soup"]})
        voted = await ben.send("polls.vote", poll | {"options": ["rice"]})
        assert (voted.data["counts"], voted.data["voters"]) == ({"soup": 0, "rice": 1}, 1)

        refused = await ben.send("polls.close", poll)
        assert refused.message == f"only ana, who opened poll {poll['poll_id']}, may close it"
        closed = await ana.send("polls.close", poll)
        assert closed.data["leading"] == ["rice"]
        assert (await ben.wait_for("polls.notification.closed")).payload["counts"] == {"soup": 0, "rice": 1}
        late = await ana.send("polls.vote", poll | {"options": ["soup"]})
        assert late.message.endswith("is closed")


@pytest.mark.parametrize(
    ("payload", "sentence"),
    [
        ({"question": "Lunch?", "options": ["soup"]}, "at least 2 entries"),
        ({"question": "Lunch?", "options": ["soup", "soup"]}, "each option may stand there once"),
        ({"question": " ", "options": ["a", "b"]}, "question"),
        ({"question": "Q", "options": ["a", "b", "c", "d"]}, "a poll has at most 3 options, this one has 4"),
    ],
)
async def test_a_poll_that_is_none_is_refused(running, payload, sentence):
    """With what is wrong with it."""
    async with running("polls", max_options=3) as net:
        answer = await net.send("polls.open", payload)
        assert not answer.success
        assert sentence in answer.message


async def test_closed_polls_make_room_and_open_ones_do_not(running):
    """Nothing that agents still vote in is dropped."""
    async with running("polls", max_polls=1, announce=False) as net:
        asked = {"question": "Q", "options": ["a", "b"]}
        first = await net.send("polls.open", asked)
        assert "close one first" in (await net.send("polls.open", asked)).message
        await net.send("polls.close", {"poll_id": first.data["poll_id"]})
        second = await net.send("polls.open", asked)
        listed = await net.send("polls.list", {"only_open": True})
        assert [each["poll_id"] for each in listed.data["polls"]] == [second.data["poll_id"]]


async def test_votes_survive_a_reload(running):
    """Counts and all."""
    async with running("polls") as net:
        opened = await net.send("polls.open", {"question": "Q", "options": ["a", "b"], "several": True})
        poll = {"poll_id": opened.data["poll_id"]}
        await net.send("polls.vote", poll | {"options": ["a", "b"]})
        await net.reload("polls")
        assert (await net.send("polls.get", poll)).data["counts"] == {"a": 1, "b": 1}


async def test_a_reminder_comes_when_its_time_has_come(running):
    """Not before, and once; one for an agent that is away waits."""
    async with running("reminders") as net:
        ana = await net.agent("ana")
        await ana.send("reminders.set", {"text": "stand up", "in_seconds": 60.0})
        await ana.send("reminders.set", {"text": "hello", "in_seconds": 5.0, "agent": "ben"})
        await net.clock.move(59)
        assert ana.events("reminders.due") == []
        await net.clock.move(2)
        assert [each.payload["text"] for each in ana.events("reminders.due")] == ["stand up"]
        await net.clock.move(5)
        assert len(ana.events("reminders.due")) == 1

        ben = await net.agent("ben")
        await net.clock.move(2)
        assert [each.payload["by"] for each in ben.events("reminders.due")] == ["ana"]
        assert (await ana.send("reminders.list")).data == {"reminders": []}


async def test_only_its_own_agent_cancels_a_reminder(running):
    """And one agent sets only so many."""
    async with running("reminders", max_per_agent=1) as net:
        made = await net.send("reminders.set", {"text": "x", "in_seconds": 60.0}, by="ana")
        wanted = {"reminder_id": made.data["reminder_id"]}
        assert (
            "more are not kept" in (await net.send("reminders.set", {"text": "y", "in_seconds": 6.0}, by="ana")).message
        )
        assert not (await net.send("reminders.cancel", wanted, by="ben")).success
        assert (await net.send("reminders.cancel", wanted, by="ana")).message == "Cancelled: x"
        neither = await net.send("reminders.set", {"text": "y"}, by="ana")
        assert "either in_seconds or at is needed" in neither.message


async def test_a_glossary_keeps_what_words_mean(running):
    """In upper or lower case, over a reload, and in a file."""
    async with running("glossary") as net:
        await net.send("glossary.define", {"word": "Slot", "meaning": "a mod's place"}, by="ana")
        await net.reload("glossary")
        assert (await net.send("glossary.explain", {"word": "slot"})).message == "a mod's place"
        assert (await net.send("glossary.find", {"text": "PLACE"})).data["total_count"] == 1
        kept = list((net.network.storage or Path()).rglob("words.json"))
        assert len(kept) == 1
        assert '"by": "ana"' in kept[0].read_text()
        await net.send("glossary.forget", {"word": "SLOT"})
        assert not (await net.send("glossary.explain", {"word": "slot"})).success


async def test_a_report_says_what_was_asked_and_decided(running):
    """On demand, and by itself once a week."""
    async with running("polls", "poll_report") as net:
        ana = await net.agent("ana")
        opened = await ana.send("polls.open", {"question": "Lunch?", "options": ["soup", "rice"]})
        await ana.send("polls.vote", {"poll_id": opened.data["poll_id"], "options": ["soup"]})
        report = await ana.send("poll_report.get", {})
        assert report.message == "1 polls in 7 days\nLunch?: soup (1 voters, open)"
        await net.clock.move(7 * 86_400 - 10)
        assert ana.events("poll_report.notification") == []
        await net.clock.move(3700)
        assert len(ana.events("poll_report.notification")) == 1


async def test_a_report_needs_polls(running):
    """Which it declares, so it is not loaded alone."""
    with pytest.raises(AssertionError, match="poll_report did not load: it needs polls>=1"):
        async with running("poll_report"):
            pass
