"""The names of lines: modules of a version beside a mod, and what plain names mean in it.

A line of `mods.wiki` is `mods.wiki@2`, with its modules below that (`mods.wiki@2.pages`). Its code
is written as that of any mod and says `mods.wiki.pages`, by which it means its own module. Relative
imports, type hints, pickles and references of pydantic use `__package__` and `__module__`, and need
nothing.

A mod whose own source on disk runs as a line is *pinned*: its sources stay as they were read,
whatever is saved. Imports and executes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple


class Name(NamedTuple):
    """The name of a line, and the name that its code uses: `mods.wiki@2` and `mods.wiki`."""

    own: str
    plain: str

    def meant(self, absolute: str) -> str | None:
        """Return the module that a line's code means by an absolute name; None if not its own."""
        if absolute == self.plain or absolute.startswith(f"{self.plain}."):
            return self.own + absolute[len(self.plain) :]
        return None


def line_of(module: str) -> Name | None:
    """Return the line that a module belongs to, or None: `mods.w@2.pages` is of `mods.w@2`."""
    plain, at, rest = module.partition("@")
    return Name(f"{plain}@{rest.partition('.')[0]}", plain) if at else None


def candidates(name: str, folder: Path) -> Iterator[tuple[Path, bool]]:
    """Return where a line's top module may lie below `folder`, and whether as a package."""
    last = plain_part(name)
    yield folder / last / "__init__.py", True
    yield folder / f"{last}.py", False


def plain_part(name: str) -> str:
    """Return the last part of the plain name of a line: `wiki` of `mods.wiki@2`."""
    return name.partition("@")[0].rpartition(".")[2]


class Lines:
    """The loaded lines, each with the folder of its top module, and the pinned mods."""

    def __init__(self) -> None:
        self.folders: dict[str, Path] = {}
        self.pins: dict[str, Mapping[Path, bytes]] = {}
        """The plain names of pinned mods, each with its sources at that time."""

    def pin_of(self, module: str) -> Mapping[Path, bytes] | None:
        """Return the sources of the pinned mod that a module belongs to, or None."""
        for plain, sources in self.pins.items():
            if module == plain or module.startswith(f"{plain}."):
                return sources
        return None
