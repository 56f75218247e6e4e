"""What mods need of each other: mods, versions, and the order that follows from it."""

from __future__ import annotations

import sys
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devserver.market.packages import Package, parse_package
from devserver.market.requirements import Requirement, load_order, parse_requirement


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mods.wiki", Requirement("mods.wiki")),
        ("wiki", Requirement("wiki")),
        ("./wiki", Requirement("./wiki")),
        ("mods.wiki>=1", Requirement("mods.wiki", ">=1")),
        (" mods.wiki == 1.2.3 ", Requirement("mods.wiki", "==1.2.3")),
        ("mods.wiki<2", Requirement("mods.wiki", "<2")),
        ("mods.wiki>2", Requirement("mods.wiki", ">2")),
        ("mods.wiki<=2.0", Requirement("mods.wiki", "<=2.0")),
        ("mods.wiki!=2", Requirement("mods.wiki", "!=2")),
        ("mods.wiki >=1, <2", Requirement("mods.wiki", ">=1,<2")),
        ("mods.wiki~=1.2", Requirement("mods.wiki", "~=1.2")),
        ("mods.wiki==1.*", Requirement("mods.wiki", "==1.*")),
    ],
)
def test_a_requirement_is_a_mod_and_perhaps_a_version(text: str, expected: Requirement) -> None:
    """Blanks say nothing, and the text can be made again."""
    found = parse_requirement(text)
    assert (found, str(found)) == (expected, text.replace(" ", ""))


@pytest.mark.parametrize(
    "text",
    [
        *("", ">=1", "mods.wiki>=", "mods.wiki=1", "mods.wiki~=1", "mods.wiki>=1.x", "mods.wiki>=-1"),
        *("mods wiki", "mods..wiki", "a/b", "a>=1,,<2", "a>=1<2", "оps", "a>=" + "9" * 5000),
    ],
)
def test_any_other_text_is_no_requirement(text: str) -> None:
    """The error says how to write one."""
    with pytest.raises(ValueError, match="is not a requirement: write it like"):
        parse_requirement(text)


@pytest.mark.parametrize(
    ("requirement", "allowed", "refused"),
    [
        ("a", "0 1 2.5 x", ""),
        ("a>=1", "1 1.0 1.0.0 1.1 2 10 2rc1", "0 0.9 0.9.9 1rc1 x"),
        ("a>=1,<2", "1 1.9.9 1.5b1", "0.9 2 2.0 3"),
        ("a~=1.4", "1.4 1.9", "1.3 2.0"),
        ("a==1.*", "1 1.7", "2.0 0.1"),
        ("a>1", "1.0.1 2", "1 1.0 0.9"),
        ("a==1.2", "1.2 1.2.0 1.2.0.0", "1.20 1.1 1.2.1 1"),
        ("a!=1.2", "1.20 1", "1.2 1.2.0"),
        ("a<1.10", "1.9 1.2 1", "1.10 1.10.1 1.11 2"),
        ("a<=2", "2 2.0 1.99", "2.0.1 3"),
        ("a>=1.2", "1.2.post1 1.3-beta", "1.2-beta 1-beta.9"),
    ],
)
def test_versions_are_compared_as_those_of_packages(requirement: str, allowed: str, refused: str) -> None:
    """As PEP 440 has it: 1.10 is more than 1.9, 1.0 is 1, a pre-release comes before its release and may run."""
    needed = parse_requirement(requirement)
    assert [each for each in allowed.split() if not needed.allows(each)] == []
    assert [each for each in refused.split() if needed.allows(each)] == []


@pytest.mark.parametrize(
    ("mods", "order", "cycles"),
    [
        ({}, "", ()),
        ({"c": "", "a": "", "b": ""}, "c a b", ()),
        ({"a": "c", "b": "", "c": ""}, "c a b", ()),
        ({"a": "b", "b": "c>=1", "c": ""}, "c b a", ()),
        ({"a": "gone", "b": ""}, "a b", ()),
        ({"x": "", "a": "b", "b": "a", "y": "a"}, "x a b y", (("a", "b"),)),
        ({"a": "b", "b": "c", "c": "a"}, "a b c", (("a", "b", "c"),)),
        ({"a": "a", "b": ""}, "a b", (("a",),)),
        ({"a": "b", "b": "a", "c": "d", "d": "c"}, "a b c d", (("a", "b"), ("c", "d"))),
    ],
)
def test_mods_are_loaded_after_what_they_need(
    mods: Mapping[str, str], order: str, cycles: tuple[tuple[str, ...], ...]
) -> None:
    """Otherwise they keep their places, and mods that need each other are named."""
    needs = {path: tuple(requires.split()) for path, requires in mods.items()}
    assert load_order(needs) == (tuple(order.split()), cycles)


@given(
    st.permutations("abcdef").flatmap(
        lambda o: st.fixed_dictionaries({n: st.sets(st.sampled_from("abcdef")) for n in o})
    )
)
def test_every_mod_is_in_the_order_once_and_after_its_needs(mods: dict[str, set[str]]) -> None:
    """Only a cycle excuses a mod that comes before one it needs."""
    order, cycles = load_order(mods)
    assert sorted(order) == sorted(mods)
    for mod, needs in mods.items():
        for need in needs:
            together = any(mod in cycle and need in cycle for cycle in cycles)
            assert together or order.index(need) < order.index(mod)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [(">=2", "<2", True), (">=1", "<2", False), ("==1.*", "~=2.0", True), ("", "<2", False), ("<=1", ">=1", False)],
)
def test_ranges_that_no_version_suits_exclude_each_other(one: str, other: str, expected: bool) -> None:
    """Either way round."""
    first, second = Requirement("a", one), Requirement("a", other)
    assert (first.excludes(second), second.excludes(first)) == (expected, expected)


def test_a_package_without_a_range_needs_no_packaging(monkeypatch: pytest.MonkeyPatch) -> None:
    """A start with locked packages does not wait for that import; every version suits."""
    for name in ("requirements", "specifiers"):
        monkeypatch.setitem(sys.modules, f"packaging.{name}", None)
    parse_package.cache_clear()
    found = parse_package("Bench_Package.1")
    assert (found, found.allows("1.0"), found.allows("odd")) == (Package("bench-package-1", ""), True, True)
    with pytest.raises(ImportError):
        parse_package("bench-package>=1")
