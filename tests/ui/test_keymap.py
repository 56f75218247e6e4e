"""What bytes from a terminal mean is decided by tables and pure functions."""

from __future__ import annotations

import pytest

from devserver.ui.keymap import KEYS, Answer, Key, chosen, key_named, question, settled_by, shortcuts, typed_on


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.name)
def test_each_key_of_the_table_is_understood_and_explained(key: object) -> None:
    """A row of the table is all that a key needs: its letter gives its name, help shows its description."""
    assert key in KEYS
    assert key_named(key.key) == key.name  # type: ignore[attr-defined]
    assert (key.key.replace(" ", "space"), key.description) in shortcuts()  # type: ignore[attr-defined]


def test_no_letter_and_no_name_stands_for_two_keys() -> None:
    """The table is unambiguous."""
    assert len({each.key for each in KEYS}) == len({each.name for each in KEYS}) == len(KEYS)


@pytest.mark.parametrize(
    "burst", ["", "\x1b", "\x1b[A", "\x1bOP", "\x1b[200~r\x1b[201~", "\0", "\x1c", "\x04", "rq", "reload", "q\n", "ü"]
)
def test_arrows_pasted_text_and_unknown_keys_mean_nothing(burst: str) -> None:
    """Only a single known key, not letters inside of something longer, is a shortcut."""
    assert key_named(burst) is None


def test_a_key_held_down_is_one_key() -> None:
    """Repeats that arrive in one burst are a single press."""
    assert key_named("rrrrrrr") == "reload"


@pytest.mark.parametrize(
    ("bursts", "answer"),
    [
        (["k", "a"], Answer("ka")),
        (["kanban\n"], Answer("kanban", done=True)),
        (["kanban\nq"], Answer("kanban", done=True)),
        (["kx", "\x7f"], Answer("k")),
        (["\x7f"], Answer("")),
        (["k", "\x1b[A", "a"], Answer("ka")),
        (["k", "\x1b"], Answer("k", cancelled=True)),
        (["k\0\x02a"], Answer("ka")),
        (["x" * 5000], Answer("x" * 100)),
    ],
)
def test_a_line_is_typed_with_enter_backspace_and_escape(bursts: list[str], answer: Answer) -> None:
    """Arrows and control characters change nothing, Escape alone gives up, Enter ends."""
    found = Answer()
    for burst in bursts:
        found = typed_on(found, burst)
    assert found == answer


@pytest.mark.parametrize(
    ("typed", "mod"),
    [
        ("1", "echo"),
        ("3", "kanban"),
        ("4", None),
        ("0", None),
        ("kanban", "kanban"),
        ("wi", "wiki"),
        (" ka ", "kanban"),
        ("e", "echo"),
        ("", None),
        ("²", None),
    ],
)
def test_a_mod_is_chosen_by_number_name_or_beginning(typed: str, mod: str | None) -> None:
    """The numbers are those of the question."""
    assert chosen(typed, ("echo", "wiki", "kanban")) == mod


def test_an_ambiguous_beginning_chooses_nothing_but_a_whole_name_does() -> None:
    """`wiki` is meant where there is also `wiki_search`."""
    assert chosen("wik", ("wiki", "wiki_search")) is None
    assert chosen("wiki", ("wiki", "wiki_search")) == "wiki"


def test_the_question_is_one_line_with_numbers() -> None:
    """Which mods there are, how to get out, and what was typed."""
    assert question(("echo", "wiki"), "wi") == "which mod? 2 wiki (Enter, Esc cancels): wi"


def test_with_many_mods_a_number_waits_for_its_second_digit() -> None:
    """The question shows nine of them, and those that fit what is typed."""
    mods = tuple(f"mod_{n:02}" for n in range(1, 31))
    assert [settled_by(each, mods) for each in ("3", "4", "12", "31", "")] == [False, True, True, True, False]
    assert question(mods).startswith("which mod? 1 mod_01  2 mod_02")
    assert "9 mod_09  … 21 more (Enter" in question(mods)
    assert question(mods, "mod_3").startswith("which mod? 30 mod_30 (Enter")


def test_a_number_that_is_no_mods_needs_no_enter_to_be_refused() -> None:
    """As one that is a mod's; a name that begins with that digit is waited for."""
    assert settled_by("7", ("hello", "kanban"))
    assert chosen("7", ("hello", "kanban")) is None
    assert not settled_by("7", ("hello", "7up"))


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.name)
def test_every_key_has_a_command(key: Key) -> None:
    """What a key does, another terminal and a script can do as well; emptying it is the terminal's own affair."""
    from devserver.cli.app import app

    commands = {each.name or each.callback.__name__ for each in app.registered_commands if each.callback}
    groups = {each.name for each in app.registered_groups}
    assert key.command.split(" ")[0] in commands | groups | {"--help", ""}
    assert bool(key.command) == (key.name != "clear")
