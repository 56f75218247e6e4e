"""What a mod declares: its version, the mods that it needs or works with, and its Python packages.

Values alone. Sources are read in `sources/declarations`, what lies beside them in `market/manifest`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file, from 1."""

    file: Path
    line: int


@dataclass(frozen=True, slots=True)
class Declarations:
    """What a mod says of itself. Requirements are texts as they are written: `mods.wiki>=1`, `idna>=3,<4`."""

    requires: tuple[str, ...] = ()
    """The mods that are loaded before it, because of it."""
    version: str = "0"
    optional: tuple[str, ...] = ()
    """The mods that it works with where they run."""
    packages: tuple[str, ...] = ()
    """The Python packages that have to be installed, as PEP 508 writes them."""
    where: Mapping[str, Place] = field(default_factory=dict, compare=False)
    """Where each requirement is written, and (by their names) the attributes that the source sets."""
    computed: frozenset[str] = frozenset()
    """The attributes (`version`, `requires`, `optional`) that only executing the source tells."""
    problem: tuple[str, Place] | None = None
    """Why the packages cannot be read, and where, if so."""
