"""Writes the list of the mods that are built in again: `python tests/catalogue/built_in_index.py`,
after a new version.

A version that was released never changes: a test compares each wheel with the digest that is
listed.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from devserver.market.catalogue import BUILT_IN
from devserver.market.index import FILE, made
from devserver.market.wheel import HOME, build_wheel

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        wheels = Path(folder)
        if (HOME / FILE).exists():
            shutil.copy(HOME / FILE, wheels)
        for project in sorted(HOME.glob("*/pyproject.toml")):
            build_wheel(project.parent, wheels)
        (HOME / FILE).write_text(made(wheels, named=BUILT_IN).text, encoding="utf-8")
