"""A mod that is nowhere: what may be meant is named, and nothing is imported to find that out."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from devserver.errors import ModNotFound
from devserver.loader.locate import locate
from devserver.loader.suggest import hint_for
from devserver.sources.roots import Roots


@pytest.fixture
def bundled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package openagents that nothing has imported, with two mods."""
    site = tmp_path / "site-packages"
    for name in ("openagents/mods/workspace/wiki", "openagents/mods/workspace/project"):
        (site / name).mkdir(parents=True)
        (site / name / "mod.py").write_text("raise SystemExit('imported')")
        (site / name / "__init__.py").write_text("raise SystemExit('imported')")
    (site / "openagents" / "__init__.py").write_text("raise SystemExit('imported')")
    monkeypatch.setattr(sys, "path", [str(site), *(each for each in sys.path if "site-packages" not in each)])
    return tmp_path


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("wiki", "Did you mean 'openagents.mods.workspace.wiki'?"),
        ("openagents.mods.wiki", "Did you mean 'openagents.mods.workspace.wiki'?"),
        ("openagents.mods.workspace.wikki", "Did you mean 'openagents.mods.workspace.wiki'?"),
        ("openagents.mods.workspace.analytics", "no version of openagents has a mod analytics. It has openagents.mods"),
    ],
)
def test_a_mod_of_openagents_is_found_by_its_last_part(bundled: Path, name: str, said: str) -> None:
    """The package is looked through, not imported."""
    assert said in hint_for(name, Roots(bundled))
    assert "openagents" not in sys.modules


def test_a_bare_name_of_a_local_mod_gets_its_dot(tmp_path: Path) -> None:
    """`- name: dev_assistant` with mods/dev_assistant beside network.yaml."""
    (tmp_path / "mods" / "dev_assistant").mkdir(parents=True)
    (tmp_path / "mods" / "dev_assistant" / "mod.py").write_text("")
    with pytest.raises(ModNotFound, match=r"Did you mean '\./dev_assistant'\?"):
        locate("dev_assistant", Roots(tmp_path))


def test_a_bare_name_that_is_nowhere_may_be_that_of_a_mod_from_elsewhere(tmp_path: Path) -> None:
    """As the command that adds it takes it; a name below mods is the workspace's own."""
    with pytest.raises(
        ModNotFound, match=r"looked for .* and wiki_extras\.py; if it is locked, .*, else oa-dev add wiki-extras"
    ):
        locate("wiki_extras", Roots(tmp_path))
    with pytest.raises(ModNotFound, match=r"there is no package mods$|mods/wiki_extras\.py$"):
        locate("mods.wiki_extras", Roots(tmp_path))


def test_without_the_package_the_way_to_install_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mod of openagents in network.yaml, and no openagents."""
    monkeypatch.setattr(sys, "path", [each for each in sys.path if "site-packages" not in each])
    assert hint_for("openagents.mods.workspace.wiki", Roots(tmp_path)) == ". Install it: pip install openagents"


def test_a_part_of_a_path_may_begin_with_a_digit(tmp_path: Path) -> None:
    """The demonstrations of OpenAgents are packages called so, and importlib takes any text."""
    folder = tmp_path / "demos" / "09_research" / "mods" / "evaluation"
    folder.mkdir(parents=True)
    (folder / "mod.py").write_text("")
    assert locate("demos.09_research.mods.evaluation", Roots(tmp_path)).file == folder / "mod.py"


def test_a_file_in_the_place_of_the_package_is_named(tmp_path: Path) -> None:
    """Python prefers mods.py to a folder mods without __init__.py; the file is named, and the way out."""
    (tmp_path / "mods").mkdir()
    (tmp_path / "mods" / "wiki.py").touch()
    stray = tmp_path / "mods.py"
    stray.touch()
    said = f"mods is the file {stray}, not a package; rename it, or put an __init__.py into mods"
    with pytest.raises(ModNotFound, match=re.escape(said)):
        locate("mods.wiki", Roots(tmp_path))
    (tmp_path / "mods" / "__init__.py").touch()
    assert locate("mods.wiki", Roots(tmp_path)).entry == "mods.wiki"
