"""Catalogues: read strictly, searched, compared by name. What is none is refused in a sentence, whatever its bytes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devserver.market import catalogue as catalogues
from devserver.market.catalogue import (
    BadCatalogue,
    Catalogue,
    Entry,
    Release,
    find,
    in_order,
    near_names,
    read_catalogue,
    search,
    written,
)

SHA = "0" * 64


def release(**values: object) -> dict[str, object]:
    """A release as a catalogue writes it."""
    return {"file": "polls-1.0.0-py3-none-any.whl", "sha256": SHA, **values}


def file(mods: object = None, **values: object) -> bytes:
    """A catalogue as a file."""
    mods = (
        {"polls": {"summary": "Polls", "mods": ["polls"], "releases": {"1.0.0": release()}}} if mods is None else mods
    )
    return json.dumps({"format": 1, "name": "team", "made": "2026-11-20", "mods": mods, **values}).encode()


def read(data: bytes) -> Catalogue:
    """A catalogue from its bytes."""
    return read_catalogue(data, Path("mods-index"), named="mods-index")


def refused(data: bytes) -> str:
    """The sentence by which a catalogue is refused."""
    with pytest.raises(BadCatalogue) as caught:
        read(data)
    return str(caught.value)


def test_a_catalogue_says_what_can_be_had():
    """By the name of the distribution, or by the path of a mod."""
    found = read(file())
    assert found.name == "mods-index"
    assert found.find("Polls") == found.find("polls") == ("polls", found.entries["polls"])
    assert found.find("wiki") is None
    assert found.entries["polls"].newest() == "1.0.0"


def test_what_is_written_is_read_again():
    """The file that `oa-dev index` writes is one that it reads."""
    entries = {"b": Entry(summary="B", releases={"1.0": Release(**release(touches={"network": ["ssl (b/mod.py:3)"]}))})}
    text = written("team", "2026-11-20", entries | {"a": Entry()})
    assert read(text.encode()).entries == {"a": Entry(), **entries}
    assert list(json.loads(text)["mods"]) == ["a", "b"]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"<!doctype html>", "it is HTML"),
        (b"", "it is not JSON"),
        (b"[1]", "it is not an object"),
        (b"\xff\xfe", "it is not JSON"),
        (b'{"format": 1, "format": 1, "name": "x"}', "a key is there twice"),
        (b'{"format": NaN, "name": "x"}', "NaN is not a JSON number"),
        (b"[" * 100_000, "nested too deeply"),
        (b" " * (catalogues.MOST_BYTES + 1), "more than 2 MiB"),
        (file(format=2), '"format" must be at most 1, not 2'),
        (file(extra=1), "unknown key \"extra\""),
        (file({"../evil": {}}), "mods"),
        (file({"polls": {"releases": {"1.0": release(file="../evil.whl")}}}), "file"),
        (file({"polls": {"releases": {"1.0": release(file="x/evil.whl")}}}), "file"),
        (file({"polls": {"releases": {"1.0": release(sha256="0")}}}), "sha256"),
        (file({"polls": {"releases": {"1.0": release(run="rm")}}}), "unknown key"),
        (file({"polls": {"releases": {"../1": release()}}}), "releases"),
        (file({"polls": {"summary": "x" * 201}}), "summary"),
        (file({"my-mod": {}, "My.Mod": {}}), "my-mod and My.Mod are the same name"),
    ],
)  # fmt: skip
def test_what_is_no_catalogue_is_refused_in_a_sentence(data, sentence):
    """With the name of the catalogue, and what is wrong in it."""
    found = refused(data)
    assert found.startswith("mods-index ")
    assert sentence in found


@given(st.binary(max_size=200))
def test_any_bytes_are_a_catalogue_or_refused(data):
    """Nothing else is raised."""
    try:
        read(data)
    except BadCatalogue as error:
        assert str(error)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(["summary", "mods", "releases", "blocked", "replaced_by", "keywords", "x"])
RELEASE_KEYS = st.sampled_from(["file", "sha256", "size", "requires", "touches", "yanked", "made", "blocked"])


@given(
    st.dictionaries(
        st.sampled_from(["polls", "a", "../x"]) | st.text(max_size=5),
        st.dictionaries(KEYS, JSON | st.dictionaries(st.just("1.0"), st.dictionaries(RELEASE_KEYS, JSON))) | JSON,
        max_size=3,
    )
)
def test_any_json_is_a_catalogue_or_refused(mods):
    """What is read can be searched, looked through and written again."""
    try:
        found = read(file(mods))
    except BadCatalogue as error:
        assert str(error)
        return
    search([found], "a")
    assert read(written("x", "", found.entries).encode()).entries == found.entries
    for each in found.entries.values():
        each.newest()


# Looking for mods


def test_the_newest_version_that_may_be_chosen_is_found():
    """A final one where there is one; none that was yanked or is blocked."""

    def newest(**versions: dict[str, object]) -> str | None:
        known = {each.replace("_", "."): Release(**release(**said)) for each, said in versions.items()}
        return Entry(releases={each.lstrip("v"): it for each, it in known.items()}).newest()

    assert newest(v1_10={}, v1_9={}) == "1.10"
    assert newest(v1_0={}, v2_0rc1={}) == "1.0"
    assert newest(v2_0rc1={}) == "2.0rc1"
    assert newest(v1_0={}, v1_1={"yanked": "loses votes"}, v1_2={"blocked": "steals"}) == "1.0"
    assert newest(v1_0={"yanked": True}) is None


def test_words_are_looked_for_in_all_that_an_entry_says():
    """Names first, then keywords, then what it says of itself, then its events; every word has to be there."""
    found = read(
        file(
            {
                "weekly": {"summary": "A report of polls"},
                "votes": {"releases": {"1.0": release(answers=["polls.open"])}},
                "polls": {"summary": "Ask agents"},
                "survey": {"keywords": ["polls"]},
                "wiki": {},
            }
        )
    )
    assert [each.name for each in search([found], "POLLS")] == ["polls", "survey", "weekly", "votes"]
    assert [each.name for each in search([found], "polls report")] == ["weekly"]
    assert len(search([found], "")) == 5


def test_the_first_catalogue_that_has_a_name_has_it():
    """A later one cannot put another mod in its place, however it writes the name."""
    first = read(file({"my-mod": {"summary": "ours"}}))
    second = read(file({"My_Mod": {"summary": "theirs", "releases": {"9.0": release()}}, "other": {}}))
    assert [(each.name, each.entry.summary) for each in search([first, second])] == [("my-mod", "ours"), ("other", "")]
    found = find([first, second], "my.mod")
    assert found is not None
    assert found.entry.summary == "ours"


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("wiki-extrs", ["wiki-extras"]),
        ("wikiextras", ["wiki-extras"]),
        ("wiki_extras", []),
        ("wkii-extras", ["wiki-extras"]),
        ("wiki-extra5", ["wiki-extras"]),
        ("wiki-extensions", []),
        ("pols", ["polls"]),
        ("po", []),
        ("poll", ["polls"]),
    ],
)
def test_names_that_could_be_mistaken_are_found(name, near):
    """Two letters apart at most, one in short names; what indexes take for one name is the name itself."""
    assert list(near_names(name, ["wiki-extras", "polls", "reminders"])) == near


@given(st.text("ab-", max_size=8), st.text("ab-", max_size=8))
def test_nearness_has_no_direction(one, other):
    """Whichever of two names is known."""
    assert bool(near_names(one, [other])) == bool(near_names(other, [one]))


def test_versions_are_ordered_as_versions():
    """What is no version comes last."""
    assert in_order(["1.9", "x", "1.10", "2.0rc1"]) == ["2.0rc1", "1.10", "1.9", "x"]
