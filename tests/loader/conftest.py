"""A folder whose modules can be built, without a network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from devserver.loader.build import Build
from devserver.loader.finder import WatchedFinder
from devserver.loader.modules import LoadedModules
from devserver.sources.roots import Roots


@dataclass(frozen=True)
class Workshop:
    """Writes modules and builds them."""

    folder: Path
    finder: WatchedFinder

    def write(self, name: str, text: str) -> None:
        """Put a source there, in a package where the name has dots."""
        file = self.folder / f"{name.replace('.', '/')}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def build(self, *affected: str, entry: str) -> Build:
        """A build that was executed, and that can still be undone."""
        build = Build(self.finder, affected, [entry])
        build.compile()
        build.execute()
        return build


@pytest.fixture
async def workshop(tmp_path: Path) -> Iterator[Workshop]:  # type: ignore[misc]
    """A workshop in an empty folder."""
    finder = WatchedFinder(Roots(tmp_path), LoadedModules())
    finder.install()
    yield Workshop(tmp_path, finder)
    finder.modules.forget(list(finder.modules.current))
    finder.remove()
