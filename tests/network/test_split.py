"""Which version of a mod an event goes to: in a fixed order, evenly, and the same for an agent each time."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from devserver.live.split import Asker, Split, bucket
from devserver.model.split import Rule, label_problem, parse_share

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
    assert [round(found.count(each) / len(AGENTS), 2) for each in "abc"] == pytest.approx([0.2, 0.3, 0.4], abs=0.01)


def test_a_share_that_grows_keeps_its_agents() -> None:
    """From 10 to 25 percent no one leaves; falling to zero leaves no one in the line."""
    small, large = lines_of(0.1), lines_of(0.25)
    assert all(large[agent] == "a" for agent, line in small.items() if line == "a")
    assert set(lines_of(0.0).values()) == {None}


def test_nobody_leaves_a_line_that_keeps_its_share_and_its_place() -> None:
    """Over 20 random changes an agent leaves a line only where its share fell, or that of a line before it changed."""
    chance = random.Random(18)
    shares = [[chance.random() / 3 for _ in range(3)] for _ in range(1)]
    for _ in range(20):
        changed = list(shares[-1])
        changed[chance.randrange(3)] = chance.random() / 3
        shares.append(changed)
    for before, after in pairwise(shares):
        then, now = lines_of(*before), lines_of(*after)
        for agent, label in then.items():
            if label is None or now[agent] == label:
                continue
            place = "abc".index(label)
            assert after[place] < before[place] or after[:place] != before[:place]


def test_a_share_that_falls_moves_few_agents_of_the_lines_behind_it() -> None:
    """From 20 to 10 percent of the first line, no more than a tenth of the second one's agents changes places."""
    then, now = lines_of(0.2, 0.2), lines_of(0.1, 0.2)
    left = [agent for agent, line in then.items() if line == "b" and now[agent] != "b"]
    assert len(left) / list(then.values()).count("b") < 0.12


def test_another_line_moves_nobody_between_the_others() -> None:
    """A third line takes its agents from the main line alone."""
    then, now = lines_of(0.2, 0.2), lines_of(0.2, 0.2, 0.2)
    assert {then[agent] for agent, line in now.items() if line == "c"} == {None}
    assert all(now[agent] == line for agent, line in then.items() if line is not None)


def test_the_same_agents_are_in_a_line_after_a_restart() -> None:
    """The number of an agent depends on nothing of a process: these are what they were in every version so far."""
    numbers = [bucket("wiki", "2", agent) for agent in ("ana", "bob", "critic")]
    assert [round(each, 6) for each in numbers] == [0.452928, 0.373048, 0.801536]


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
