"""Names on the engine: no id can be a wildcard, or reach into the names of another."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devserver.hosts.names import AGENTS, Names, as_host_name, text_of, token
from devserver.model.change import ReloadAsked, RestartAsked, Trigger, UndoAsked, UnloadAsked, command_of
from devserver.model.names import host_name_problem

ANY = "aAzZ019.*>=-_ éßıİﬀ\0\n\ud800\U0001f600"
"""Letters of all kinds that matter: with a case, with none, of several bytes, half of a pair, wildcards."""


@settings(max_examples=50, deadline=None)
@given(st.text(ANY, max_size=40))
def test_a_token_is_one_part_of_a_subject_and_leads_back_to_its_id(text: str) -> None:
    """Any text becomes letters and digits only, and comes back."""
    assert re.fullmatch(r"[a-z2-7]+", token(text))
    assert text_of(token(text)) == text
    assert host_name_problem(as_host_name(text)) is None


@settings(max_examples=100, deadline=None)
@given(st.text(ANY, max_size=30), st.text(ANY, max_size=30))
def test_two_ids_have_two_tokens(one: str, other: str) -> None:
    """Ids that differ in nothing but case or an accent are two keys."""
    assert (token(one) == token(other)) == (one == other)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="abz27019A*>.=", max_size=12))
def test_what_is_no_token_is_refused(text: str) -> None:
    """A received part of a subject is a token that `token` wrote, or an error."""
    try:
        assert token(text_of(text)) == text
    except ValueError:
        pass


def test_a_key_leads_to_its_ids_and_no_other_subject_does() -> None:
    """The key of another network or bucket is none of ours."""
    names = Names("demo")
    assert names.ids(AGENTS, names.key(AGENTS, "ana", "x.*")) == ("ana", "x.*")
    for other in (Names("other").key(AGENTS, "ana"), names.key("mods", "ana"), names.ask("ana")):
        with pytest.raises(ValueError, match="is not a key"):
            names.ids(AGENTS, other)


@pytest.mark.parametrize(
    ("trigger", "typed"),
    [
        (ReloadAsked(("wiki", "board")), "oa-dev reload wiki board"),
        (UndoAsked(), "oa-dev undo"),
        (UndoAsked(("wiki",), redo=True), "oa-dev redo wiki"),
        (UnloadAsked("wiki"), "oa-dev unload wiki"),
        (RestartAsked("asked"), ""),
    ],
)
def test_what_a_joined_host_refuses_has_a_command_for_the_author(trigger: Trigger, typed: str) -> None:
    """A refusal says what to type where network.yaml is."""
    assert command_of(trigger) == typed
