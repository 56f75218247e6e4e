"""Packages that mods declare, as PEP 508 writes them. Pure; imports `packaging` on demand."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from devserver.model.names import in_range, normal

_PLAIN = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class Package:
    """A package and its versions, as in `>=3,<4`; any without a range. `counts_here`: its marker suits this Python."""

    name: str
    range: str
    counts_here: bool = True

    def allows(self, version: str) -> bool:
        """Return whether a version suits, pre-releases too."""
        return not self.range or in_range(self.range, version)


def name_in(requirement: str) -> str:
    """Return the canonical name that a requirement begins with, without reading its rest."""
    return normal(re.split(r"[^A-Za-z0-9._-]", requirement.strip(), maxsplit=1)[0])


@lru_cache(maxsize=1024)
def parse_package(text: str) -> Package:
    """Return the package that a text such as "idna>=3,<4" asks for, by its canonical name. Raises
    ValueError for other texts."""
    if _PLAIN.fullmatch(text):
        # Without a range, `packaging` has nothing to say, and a start need not wait for its import.
        return Package(normal(text), "")
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    try:
        found = Requirement(text)
    except InvalidRequirement as error:
        raise ValueError(str(error).partition("\n")[0]) from error
    counts = found.marker is None or found.marker.evaluate()
    return Package(canonicalize_name(found.name), str(found.specifier), counts)
