"""Which version of a mod an event goes to: in a fixed order, evenly, and the same for an agent each time."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from devserver.live.split import ALL, Asker, Part, Split, number_of, parts_of
from devserver.model.split import Rule, label_problem, parse_share
from devserver.network.lines import read_parts, write_parts

AGENTS = [f"agent-{number}" for number in range(10_000)]


def lines_of(*shares: float, mod_id: str = "wiki") -> dict[str, str | None]:
    """The line of each of 10,000 agents, where the lines a, b, c … have these shares."""
    split = Split(mod_id, {label: Rule(share=share) for label, share in zip("abcdef", shares, strict=False)})
    return {agent: split.choose(Asker(agent)) for agent in AGENTS}


@pytest.mark.parametrize("share", [0.01, 0.1, 0.25, 0.5, 1.0])
def test_a_share_is_that_part_of_all_agents(share: float) -> None:
    """Of 10,000 agents a line has its share, within one part in a hundred."""
    found = list(lines_of(share).values()).count("a") / len(AGENTS)
    assert found == pytest.approx(share, abs=0.01)


def test_every_line_has_its_share() -> None:
    """Lines that stand behind others have their share of all agents too."""
    found = list(lines_of(0.2, 0.3, 0.4).values())
    assert [found.count(each) / len(AGENTS) for each in "abc"] == pytest.approx([0.2, 0.3, 0.4], abs=0.01)


def test_a_share_that_grows_keeps_its_agents() -> None:
    """From 10 to 25 percent no one leaves; falling to zero leaves no one in the line."""
    small, large = lines_of(0.1), lines_of(0.25)
    assert all(large[agent] == "a" for agent, line in small.items() if line == "a")
    assert set(lines_of(0.0).values()) == {None}


def after(parts: dict[str, Part], shares: dict[str, float]) -> tuple[dict[str, Part], dict[str, str | None]]:
    """The numbers of the lines with other shares, and the line of each of 10,000 agents."""
    parts = parts_of(shares, parts)
    split = Split("wiki", {label: Rule(share=share) for label, share in shares.items()}, parts)
    return parts, {agent: split.choose(Asker(agent)) for agent in AGENTS}


@pytest.mark.parametrize("seed", range(3))
def test_no_agent_leaves_a_line_whose_share_did_not_fall(seed: int) -> None:
    """Through 20 random changes of one or two shares of four lines, each line has its share all the time."""
    chance = random.Random(seed)
    parts, line_of = after({}, dict.fromkeys("abcd", 0.1))
    shares = dict.fromkeys("abcd", 0.1)
    for _ in range(20):
        changed = dict(shares)
        for label in chance.sample("abcd", chance.choice((1, 2))):
            left = 1 - sum(share for each, share in changed.items() if each != label)
            changed[label] = round(chance.random() * left, 4)
        parts, now = after(parts, changed)
        assert {line for agent, line in line_of.items() if now[agent] != line and line is not None} <= {
            label for label, share in changed.items() if share < shares[label]
        }
        counts = Counter(now.values())
        assert {each: counts[each] / len(AGENTS) for each in changed} == pytest.approx(changed, abs=0.01)
        shares, line_of = changed, now


def test_another_line_and_one_that_ends_move_no_other_agents() -> None:
    """A new line takes its agents from the main line, and gives them back to it."""
    parts, then = after({}, {"a": 0.2, "b": 0.2})
    parts, three = after(parts, {"new": 0.3, "a": 0.2, "b": 0.2})
    assert {then[agent] for agent, line in three.items() if line == "new"} == {None}
    parts, now = after(parts, {"a": 0.2, "b": 0.2})
    assert now == then
    _, alone = after(parts, {"b": 0.2})
    assert {agent for agent, line in alone.items() if line} == {agent for agent, line in then.items() if line == "b"}


def test_a_line_that_loads_later_finds_its_agents_free() -> None:
    """Those of a line that is still to load are taken last, and are lost to it only then."""
    parts, then = after({}, {"a": 0.2, "b": 0.3})
    started, _ = after(parts, {"a": 0.6})
    _, now = after(started, {"a": 0.6, "b": 0.3})
    assert all(now[agent] == line for agent, line in then.items() if line is not None)
    crowded, _ = after(parts, {"a": 1.0})
    assert crowded["b"] == ()


def test_the_same_agents_are_in_a_line_after_a_restart(tmp_path: Path) -> None:
    """The number of an agent depends on nothing of a process, and the numbers of lines are kept in a file."""
    numbers = [number_of("wiki", agent) / ALL for agent in ("ana", "bob", "critic")]
    assert [round(each, 4) for each in numbers] == [0.3457, 0.4274, 0.5884]
    file = tmp_path / ".oa-dev" / "splits.json"
    parts, _ = after({}, {"a": 0.2, "b": 0.2})
    parts, then = after(parts, {"a": 0.1, "b": 0.2})
    write_parts(file, {"wiki": parts, "board": {"next": ()}})
    assert read_parts(file) == {"wiki": parts}
    assert after(read_parts(file)["wiki"], {"a": 0.1, "b": 0.2})[1] == then
    write_parts(file, {"wiki": {}})
    assert not file.exists()


@pytest.mark.parametrize(
    "text",
    ["", "{", "[1]", '{"wiki": {"a": [[0, 5]], "b": [[4, 9]]}}', '{"wiki": {"a": [[5, 5]]}}', '{"wiki": {"a": 1}}'],
)
def test_a_damaged_file_of_numbers_counts_as_none(tmp_path: Path, text: str) -> None:
    """Numbers of two lines at once, or of none, say nothing."""
    file = tmp_path / "splits.json"
    file.write_text(text)
    assert read_parts(file) == {}


def test_splits_of_two_mods_do_not_depend_on_each_other() -> None:
    """One agent in a hundred is in both of two lines that have a tenth each."""
    wiki, board = lines_of(0.1), lines_of(0.1, mod_id="board")
    both = sum(wiki[agent] == board[agent] == "a" for agent in AGENTS)
    assert both / len(AGENTS) == pytest.approx(0.01, abs=0.005)


def test_agents_come_before_groups_before_metadata_before_shares() -> None:
    """Who is named goes where its name stands, whatever else would fit."""
    rules = {
        "all": Rule(share=1.0),
        "beta": Rule(when={"beta": True}),
        "staff": Rule(groups=("reviewers",)),
        "ana": Rule(agents=("ana",)),
    }
    split = Split("wiki", rules)
    everything = Asker("ana", "reviewers", {"beta": True})
    assert split.choose(everything) == "ana"
    assert split.choose(Asker("bob", "reviewers", {"beta": True})) == "staff"
    assert split.choose(Asker("bob", "guest", {"beta": True})) == "beta"
    assert split.choose(Asker("bob", "guest", {"beta": 1.5})) == "all"


def test_what_is_of_no_agent_goes_to_the_main_line() -> None:
    """A share of all agents is none of timers and of the network."""
    assert Split("wiki", {"all": Rule(share=1.0)}).choose(Asker()) is None


def test_a_shadow_is_chosen_for_nobody() -> None:
    """A shadow sees copies of what the main line got."""
    assert Split("wiki", {"next": Rule(shadow=True, share=1.0, agents=("ana",))}).choose(Asker("ana")) is None


def test_why_says_the_number_and_the_share() -> None:
    """The reason names what decided."""
    split = Split("wiki", {"next": Rule(share=0.25, agents=("ana",))})
    assert split.why(Asker("ana")).words == "named in its agents"
    inside = next(agent for agent in AGENTS if split.choose(Asker(agent)) == "next")
    outside = next(agent for agent in AGENTS if split.choose(Asker(agent)) is None)
    assert split.why(Asker(inside)).words.startswith("bucket ")
    assert split.why(Asker(inside)).words.endswith(" of 25 %")
    assert split.why(Asker(outside)).label is None


@pytest.mark.parametrize(("text", "share"), [("10%", 0.1), ("2.5 %", 0.025), ("100%", 1.0), ("0%", 0.0)])
def test_a_share_is_written_as_a_percentage(text: str, share: float) -> None:
    """A number with a percent sign is a part of all."""
    assert parse_share(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["10", "101%", "-1%", "ten%", "", "1e1%", "1%%"])
def test_anything_else_is_no_share(text: str) -> None:
    """Without the sign, or above 100, it is none."""
    assert parse_share(text) is None


def test_a_label_is_a_short_word_and_never_main() -> None:
    """Labels stand in names of modules and in addresses."""
    assert [each for each in ("2", "next", "v_2") if label_problem(each)] == []
    assert all(label_problem(each) for each in ("", "main", "Next", "a.b", "a@b", "x" * 21))
