"""What has to be executed again after a change, in which order, and why; and the order that mods are loaded in."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devserver.sources.graph import ModuleFacts, ModuleGraph


def graph(imports: Mapping[str, str]) -> ModuleGraph:
    """A graph out of names and what each imports, in words; their imports began in the order given."""
    return ModuleGraph(
        {
            name: ModuleFacts(name, Path(f"{name}.py"), frozenset(needed.split()), order)
            for order, (name, needed) in enumerate(imports.items())
        }
    )


CHAIN = {"d": "c", "c": "b", "b": "a", "a": "", "other": ""}
DIAMOND = {"top": "left right", "left": "base", "base": "", "right": "base"}
CIRCLE = {"user": "a", "a": "b", "b": "c", "c": "a base", "base": ""}
PACKAGE = {"pkg": "pkg.impl", "pkg.impl": "pkg.util", "pkg.util": "", "user": "pkg pkg.impl"}
PLAIN_PACKAGE = {"pkg": "", "pkg.a": "", "pkg.b": "pkg pkg.a", "user": "pkg pkg.b"}


@pytest.mark.parametrize(
    ("imports", "changed", "expected"),
    [
        (CHAIN, "a", "a b c d"),
        (CHAIN, "c", "c d"),
        (CHAIN, "other", "other"),
        (CHAIN, "a other", "a b c d other"),
        (CHAIN, "", ""),
        (DIAMOND, "base", "base left right top"),
        (DIAMOND, "left", "left top"),
        (CIRCLE, "a", "a b c user"),
        (CIRCLE, "b", "a b c user"),
        (CIRCLE, "base", "base a b c user"),
        (CIRCLE, "user", "user"),
        (PACKAGE, "pkg.util", "pkg pkg.impl pkg.util user"),
        (PLAIN_PACKAGE, "pkg", "pkg pkg.a pkg.b user"),
        (PLAIN_PACKAGE, "pkg.a", "pkg.a pkg.b user"),
        (PLAIN_PACKAGE, "pkg.b", "pkg.b user"),
        ({"user": "gone x", "x": ""}, "gone", "user"),
        ({"user": "gone x", "x": ""}, "nobody", ""),
        ({"a": "a", "b": "a"}, "a", "a b"),
        ({"pkg": "", "pkg.x": "", "star": "pkg pkg.*"}, "pkg.x", "pkg.x star"),
        ({"pkg": "", "pkg.x.y": "", "star": "pkg pkg.*"}, "pkg.x.y", "pkg.x.y"),
    ],
)
def test_what_imports_a_changed_module_is_executed_after_it(
    imports: Mapping[str, str], changed: str, expected: str
) -> None:
    """What is imported comes before its importers; a cycle stays together in the order in which it began."""
    assert graph(imports).affected(changed.split()) == tuple(expected.split())


def test_a_package_that_was_executed_again_still_comes_before_its_modules() -> None:
    """In a cycle a package's place does not depend on when it was executed last."""
    facts = {
        "pkg": ModuleFacts("pkg", Path("pkg/__init__.py"), frozenset({"pkg.impl"}), 9),
        "pkg.impl": ModuleFacts("pkg.impl", Path("pkg/impl.py"), frozenset(), 2),
    }
    assert ModuleGraph(facts).affected(["pkg.impl"]) == ("pkg", "pkg.impl")


def test_dependents_hold_the_changed_names_and_all_that_import_them() -> None:
    """A changed name counts whether or not it is in the graph."""
    assert graph(CHAIN).dependents(["b", "gone"]) == frozenset({"b", "c", "d", "gone"})


@pytest.mark.parametrize(
    ("imports", "name", "expected"),
    [
        (CHAIN, "d", "a b c"),
        (CHAIN, "a", ""),
        (CIRCLE, "user", "a b c base"),
        (CIRCLE, "a", "b c base"),
        ({"a": "os json b", "b": ""}, "a", "b"),
        (PLAIN_PACKAGE, "pkg.a", "pkg"),
        ({"pkg": "", "pkg.x": "", "star": "pkg pkg.*"}, "star", "pkg pkg.x"),
        (CHAIN, "gone", ""),
    ],
)
def test_dependencies_are_all_that_a_module_imports_within_the_graph(
    imports: Mapping[str, str], name: str, expected: str
) -> None:
    """The module itself is not among them, nor is what lies outside."""
    assert graph(imports).dependencies(name) == frozenset(expected.split())


@pytest.mark.parametrize(
    ("imports", "name", "changed", "expected"),
    [
        (CHAIN, "d", "a", "a b c d"),
        (CHAIN, "d", "a c", "c d"),
        (CHAIN, "d", "d a", "d"),
        (CHAIN, "other", "a", ""),
        (CHAIN, "d", "", ""),
        (DIAMOND, "top", "base", "base left top"),
        (CIRCLE, "user", "b", "b a user"),
        ({"user": "gone"}, "user", "gone", "gone user"),
        (CHAIN, "nobody", "a", ""),
    ],
)
def test_why_is_the_shortest_chain_from_a_change(
    imports: Mapping[str, str], name: str, changed: str, expected: str
) -> None:
    """Each module of the chain is imported by the next; among equals the alphabet decides."""
    assert graph(imports).why(name, changed.split()) == tuple(expected.split())


def test_a_graph_is_a_mapping_that_equals_its_like() -> None:
    """Names lead to facts, and the same facts make the same graph."""
    assert graph(CHAIN) == graph(CHAIN) != graph(DIAMOND)
    assert (list(graph(CHAIN)), len(ModuleGraph()), graph(CHAIN)["b"].imports) == (list(CHAIN), 0, {"a"})


def test_a_chain_of_five_thousand_modules_is_ordered() -> None:
    """Neither the depth nor the number of modules is an error."""
    names = [f"m{number:04}" for number in range(5000)]
    chain = graph(dict(zip(names, ["", *names], strict=False)))
    assert chain.affected(["m0000"]) == tuple(names)
    assert chain.why("m4999", ["m0000"]) == tuple(names)


class _Counting(dict[str, ModuleFacts]):
    """Facts that count how often one is looked up."""

    looked_up = 0

    def __getitem__(self, name: str) -> ModuleFacts:
        self.looked_up += 1
        return super().__getitem__(name)


@pytest.mark.parametrize("size", [100, 1000])
def test_the_work_grows_with_the_affected_set_alone(size: int) -> None:
    """A second question costs a bounded number of look-ups for each affected module, however large the graph is."""
    facts = _Counting(graph({f"m{number}": f"m{number - 1}" for number in range(size)}))
    counted = ModuleGraph(facts)
    counted.affected([f"m{size - 1}"])
    counted.dependencies("m0")
    facts.looked_up = 0
    assert counted.affected([f"m{size - 5}"]) == tuple(f"m{size - left}" for left in (5, 4, 3, 2, 1))
    assert facts.looked_up <= 5 * 10


NAMES = ["a", "a.b", "a.b.c", "a.d", "e", "f", "g.h", "i"]
GRAPHS = st.permutations(NAMES).flatmap(
    lambda order: st.fixed_dictionaries(
        {name: st.sets(st.sampled_from(NAMES), max_size=3).map(" ".join) for name in order}
    )
)


@given(GRAPHS, st.sets(st.sampled_from(NAMES), min_size=1))
def test_the_order_is_topological_but_for_cycles(imports: dict[str, str], changed: set[str]) -> None:
    """Of two affected modules the imported one comes first, unless each imports the other in the end."""
    built = graph(imports)
    order = built.affected(changed)
    assert set(order) == built.dependents(changed)
    for at, name in enumerate(order):
        for later in order[at + 1 :]:
            assert later not in built.dependencies(name) or name in built.dependencies(later)


@given(GRAPHS, st.sets(st.sampled_from(NAMES), min_size=1))
def test_cycles_stay_together_and_packages_come_first(imports: dict[str, str], changed: set[str]) -> None:
    """Between two members of a cycle there is nothing else, and no module comes before its package."""
    built = graph(imports)
    order = built.affected(changed)
    needs = {name: built.dependencies(name) | {name} for name in order}
    cycles = [frozenset(other for other in order if name in needs[other] and other in needs[name]) for name in order]
    assert len([at for at in range(1, len(cycles)) if cycles[at] != cycles[at - 1]]) + 1 == len(set(cycles))
    for name in order:
        package = name.rpartition(".")[0]
        assert package not in order or order.index(package) < order.index(name)


@given(GRAPHS, st.sets(st.sampled_from(NAMES), min_size=1), st.sampled_from(NAMES))
def test_a_chain_is_made_of_imports(imports: dict[str, str], changed: set[str], name: str) -> None:
    """It begins with a change, ends with the module, exists exactly for dependents, and each link is an import."""
    built = graph(imports)
    chain = built.why(name, changed)
    assert bool(chain) == (name in built.dependents(changed))
    if chain:
        assert (chain[0] in changed, chain[-1]) == (True, name)
    for imported, importer in pairwise(chain):
        assert imported in built[importer].imports or importer.startswith(f"{imported}.")
