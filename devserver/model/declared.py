"""What a mod declares (its version, its needs, its Python packages), and places in sources.

Values alone. `sources/declarations` reads sources, `market/manifest` the files beside them.
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
    """What a mod declares. Requirements are texts as written: `mods.wiki>=1`, `idna>=3,<4`."""

    requires: tuple[str, ...] = ()
    """The mods that are loaded before it, because it needs them."""
    version: str = "0"
    optional: tuple[str, ...] = ()
    """The mods that it works with if they run."""
    packages: tuple[str, ...] = ()
    """The Python packages that it needs, as PEP 508 writes them."""
    where: Mapping[str, Place] = field(default_factory=dict, compare=False)
    """Where each requirement is written, and where the source sets each attribute (by its name)."""
    computed: frozenset[str] = frozenset()
    """The attributes (`version`, `requires`, `optional`) known only after executing the source."""
    problem: tuple[str, Place] | None = None
    """Why the packages cannot be read, and where."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One place in a trace. `line` and `column` count from 1; `excerpt` is (line number, text) around it."""

    file: str
    line: int
    column: int | None = None
    end_column: int | None = None
    function: str = ""
    excerpt: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ErrorFacts:
    """An error as people need it: the message, its place in their code, and the full trace."""

    kind: str
    message: str
    where: Frame | None = None
    trace: str = field(default="", repr=False)
    hint: str | None = None

    def __str__(self) -> str:
        place = f" at {self.where.file}:{self.where.line}" if self.where else ""
        return f"{self.kind}: {self.message}{place}"
