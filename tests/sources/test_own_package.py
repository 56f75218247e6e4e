"""Which files may be reloaded, in the folder that this project itself lies in."""

from __future__ import annotations

from pathlib import Path

import devserver
from devserver.sources.roots import Roots

PACKAGE = Path(devserver.__file__).resolve().parent


def test_in_a_clone_the_sample_mods_are_sources_and_devserver_is_not() -> None:
    """`make run` runs the network of the clone, beside the package: only the package itself is ours."""
    roots = Roots(PACKAGE.parent)
    assert roots.own == PACKAGE
    assert roots.holds(PACKAGE.parent / "mods" / "lib" / "text.py")
    assert not roots.holds(PACKAGE / "mod.py")
