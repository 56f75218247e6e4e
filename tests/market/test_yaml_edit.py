"""Commands edit network.yaml like a person: the lines concerned, byte for byte the same elsewhere."""

from __future__ import annotations

import difflib

import pytest
import yaml
from yaml_edits import CASES, GOLDEN, outcome

from devserver.market.yaml_edit import add_index, add_mod, remove_index, remove_mod


@pytest.mark.parametrize("name", CASES)
def test_an_edit_comes_out_as_its_golden_file(name):
    """Byte for byte, line ends and byte order mark included."""
    text, edit = CASES[name]
    assert outcome(text, edit).encode() == (GOLDEN / f"{name}.yaml").read_bytes()


def test_every_golden_file_has_a_case():
    """None is left of a case that went."""
    assert {each.stem for each in GOLDEN.glob("*.yaml")} == set(CASES)
    assert len(CASES) >= 40


@pytest.mark.parametrize("name", [each for each in CASES if each.startswith("add")])
def test_what_was_added_and_removed_leaves_no_trace(name):
    """The file is the one that it was; a list that was left empty says so."""
    text, edit = CASES[name]
    if outcome(text, edit).startswith("# refused"):
        return
    listed = add_index(edit(text).text, "mods-index").text
    assert remove_index(listed, "mods-index") in (edit(text).text, listed)
    back = remove_mod(edit(text).text, "extras").text
    ended = text if text.endswith("\n") else text + "\n"
    assert back in (text, ended) or yaml.safe_load(back)["network"]["mods"] == []


def test_only_the_lines_of_the_entry_are_new(request):
    """In the network of this repository, with all its comments."""
    before = (request.config.rootpath / "network.yaml").read_text(encoding="utf-8")
    after = add_mod(before, "wiki_extras", version="~=1.5").text
    lines = [each for each in difflib.ndiff(before.splitlines(), after.splitlines()) if each[0] != " "]
    assert lines == ["+     - name: wiki_extras", '+       version: "~=1.5"']
    assert remove_mod(after, "wiki_extras").text == before
    listed = add_index(before, "mods-index").text
    assert remove_index(listed, "mods-index") == before != listed
    mine = listed.replace("[mods-index]", "[mods-index]   # of the team")
    assert remove_index(mine, "mods-index") == mine != listed
