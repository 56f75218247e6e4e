"""Requirements between mods: a path and a range of PEP 440; and the order to load in.

`packaging` does the work. It is imported with the first range that is read: most mods state none.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from devserver.model.names import in_range, is_range
from devserver.sources.graph import components

_REQUIREMENT = re.compile(r"(?P<path>(?:\./)?[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)(?P<range>[<>=!~].*)?", re.ASCII)
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class Requirement:
    """A needed mod, and its versions as in `>=1,<2`; without them any version suits."""

    path: str
    range: str = ""
    written: str = field(default="", compare=False, repr=False)
    """The text that states it."""

    def __str__(self) -> str:
        return f"{self.path}{self.range}"

    def allows(self, version: str) -> bool:
        """Return whether a mod of this version suits; an invalid version only without a range."""
        return not self.range or in_range(self.range, version)

    def excludes(self, other: Requirement) -> bool:
        """Return whether no version suits both this and another requirement of the same mod."""
        if not self.range or not other.range:
            return False
        from packaging.specifiers import SpecifierSet  # slow to import, and few needs have a range

        return SpecifierSet(f"{self.range},{other.range}", prereleases=True).is_unsatisfiable()


# The same texts are read with every plan, and a network may have thousands.
@lru_cache(maxsize=16384)
def parse_requirement(text: str) -> Requirement:
    """Read a requirement such as "mods.wiki>=1,<2": a mod, perhaps with a range of versions.

    Raises ValueError, with the rule, for any other text.
    """
    # Blanks stand only around operators and commas: "a b" names no mod.
    is_spaced_well = len(text) <= _LONGEST and re.search(r"[\w.]\s+[\w.]", text) is None
    found = _REQUIREMENT.fullmatch("".join(text.split()) if is_spaced_well else "")
    if found is None or not is_range(found["range"] or ""):
        shown = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
        raise ValueError(f"{shown!a} is not a requirement: write it like mods.wiki or mods.wiki>=1.2,<2")
    return Requirement(found["path"], found["range"] or "", text)


def load_order(
    mods: Mapping[str, Collection[str]], optional: Mapping[str, Collection[str]] | None = None
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Return the order to load mods in, and the cycles; `mods` maps paths to requirements.

    Each mod comes after those of `mods` that it needs, and after those that it works with
    (`optional`) unless that makes a circle; otherwise in its place. A cycle is named in the order
    of need, a mod that needs itself as a cycle of one; its members are in the order too.

    Raises ValueError for an invalid requirement.
    """
    needs = {path: [parse_requirement(each).path for each in requires] for path, requires in mods.items()}
    found = components(mods, lambda path: [each for each in needs[path] if each in needs])
    cycles = tuple(tuple(each) for each in found if len(each) > 1 or each[0] in needs[each[0]])
    if optional:
        found = _with_optional(needs, optional)
    return tuple(path for component in found for path in component), cycles


def _with_optional(needs: Mapping[str, Collection[str]], optional: Mapping[str, Collection[str]]) -> list[list[str]]:
    """Return the order with the optional edges that are in no circle."""
    likes = {path: [parse_requirement(each).path for each in texts] for path, texts in optional.items()}
    every = {path: [each for each in (*own, *likes.get(path, ())) if each in needs] for path, own in needs.items()}
    of = {path: number for number, each in enumerate(components(needs, every.__getitem__)) for path in each}
    edges = {
        path: [each for each in reached if each in needs[path] or of[each] != of[path]]
        for path, reached in every.items()
    }
    return components(needs, edges.__getitem__)
