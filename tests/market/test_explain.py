"""Derivations that uv has printed, each with what people are told of it: two sides with their places, or a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from devserver.market.explain import Side, explain
from devserver.market.wants import Listed, Needing, Wants

RECORDED = Path(__file__).with_name("derivations")
WANTS = Wants(
    listed=(
        Listed("wiki_extras", "wiki-extras", "<2", 14),
        Listed("board", "board", "", 15),
        Listed("wiki_extrs", "wiki-extrs", "", 16),
    ),
    needing=(
        Needing("mods.search", "0.2", ("idna",), "mods/search/mod.py:2"),
        Needing("wiki_extras@2", "2.0.0", ("idna",), "network.yaml:18"),
        Needing("mods.board", "1", ("idna",), "mods/board/mod.py:3"),
    ),
    server={"pydantic": "2.14.4", "pydantic-core": "2.50.5", "oa-dev": "0.2.0"},
    server_version="0.2.0",
)
SEARCH, SEARCH_AT = "mods.search 0.2", "mods/search/mod.py:2"

CASES: dict[str, tuple[str, tuple[Side, ...] | str]] = {
    "two_mods": (
        "idna",
        (Side(SEARCH, "idna<3.8", SEARCH_AT), Side("wiki_extras@2 2.0.0", "idna>=3.8", "network.yaml:18")),
    ),
    "two_listed": (
        "text-tools",
        (
            Side("wiki-extras <=1.5.0", "text-tools>=1,<2", "network.yaml:14"),
            Side("board", "text-tools>=2", "network.yaml:15"),
        ),
    ),
    "listed_and_workspace": (
        "text-tools",
        (
            Side("wiki-extras <=1.5.0", "text-tools>=1,<2", "network.yaml:14"),
            Side("mods.board 1", "text-tools>=2", "mods/board/mod.py:3"),
        ),
    ),
    "workspace_and_listed": (
        "text-tools",
        (Side("board", "text-tools>=2", "network.yaml:15"), Side(SEARCH, "text-tools>=1,<2", SEARCH_AT)),
    ),
    "listed_twice": (
        "wiki-extras",
        (
            Side("network.yaml", "wiki-extras<2", "network.yaml:14"),
            Side("network.yaml", "wiki-extras>=2", "network.yaml:14"),
        ),
    ),
    "contradicts_itself": ("idna", (Side(SEARCH, "idna<3", SEARCH_AT), Side(SEARCH, "idna>=3.5", SEARCH_AT))),
    "three": (
        "text-tools",
        (
            Side("wiki-extras >=2.0.0", "text-tools>=2", "network.yaml:14"),
            Side(SEARCH, "text-tools<2", SEARCH_AT),
        ),
    ),
    "the_server": (
        "pydantic",
        f"{SEARCH} needs pydantic>=3 ({SEARCH_AT}), and oa-dev 0.2.0 itself runs with pydantic 2.14.4",
    ),
    "the_server_indirectly": (
        "pydantic-core",
        f"{SEARCH} needs pydantic-core<2 ({SEARCH_AT}), and oa-dev 0.2.0 itself runs with pydantic-core 2.50.5",
    ),
    "the_server_version": ("oa-dev", f"{SEARCH} needs oa-dev>=0.9 ({SEARCH_AT}), and oa-dev 0.2.0 runs"),
    "no_such_version": (
        "wiki-extras",
        "network.yaml needs wiki-extras>=3 (network.yaml:14), and the indexes have only wiki-extras<=2.0.0",
    ),
    "version_to_come": ("idna", f"{SEARCH} needs idna>=99 ({SEARCH_AT}), and the indexes have only idna<=3.20"),
    "too_old": ("numpy", f"{SEARCH} needs numpy<1.0 ({SEARCH_AT}), and the indexes have only numpy>=1.3.0"),
    "hole": (
        "text-tools",
        f"{SEARCH} needs text-tools>1.0.0,<2 ({SEARCH_AT}), and the indexes have only text-tools<=1.0.0, text-tools>=2",
    ),
    "no_such_name": (
        "wiki-extrs",
        "network.yaml needs wiki-extrs (network.yaml:16), and none of the indexes has wiki-extrs",
    ),
    "nowhere": (
        "nonexistent-package-xyz-q1",
        f"{SEARCH} needs nonexistent-package-xyz-q1 ({SEARCH_AT}),"
        " and none of the indexes has nonexistent-package-xyz-q1",
    ),
    "source_only": ("docopt", f"{SEARCH} needs docopt ({SEARCH_AT}), and the indexes have no wheel of docopt"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_recorded_derivation_is_told_in_our_words(name: str) -> None:
    """Both sides, with what each needs and where that is written; or one sentence where there is one side."""
    found = explain((RECORDED / f"{name}.txt").read_text(encoding="utf-8"), WANTS)
    package, told = CASES[name]
    assert (found.package, found.sides or found.sentence) == (package, told)


def test_every_recorded_derivation_has_a_case() -> None:
    """None was recorded that nothing is expected of."""
    assert {each.stem for each in RECORDED.glob("*.txt")} == set(CASES)


@pytest.mark.parametrize(
    "said",
    [
        "",
        "error: Failed to fetch: https://packages.example/simple/idna/",
        "Because the moon is full and board depends on luck, we can conclude that your requirements are unsatisfiable.",
        "Because 1 and 2 and 3",
    ],
)
def test_what_is_not_known_is_shown_as_uv_says_it(said: str) -> None:
    """Nothing is made up of a derivation of another form, or of no derivation at all."""
    found = explain(said, WANTS)
    assert not found.known
    assert found.raw == said
