"""Which files may be reloaded."""

from __future__ import annotations

from pathlib import Path

from devserver.sources.roots import Roots


def test_a_checkout_of_openagents_holds_its_mods_alone(tmp_path: Path) -> None:
    """Mods build upon the rest of it: a base class made again would be no base of theirs any more."""
    package = tmp_path / "src" / "openagents"
    for name in ("__init__.py", "core/base_mod.py", "mods/__init__.py", "mods/wiki/mod.py", "utils/x.py"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).touch()
    around, inside = Roots(tmp_path), Roots(tmp_path / "work")
    inside.add(package)
    for roots in (around, inside):
        held = sorted(str(path.relative_to(package)) for path in package.rglob("*.py") if roots.holds(path))
        assert held == ["mods/__init__.py", "mods/wiki/mod.py"]


def test_a_folder_that_is_only_called_openagents_holds_sources(tmp_path: Path) -> None:
    """A workspace may have any name."""
    (tmp_path / "openagents").mkdir()
    (tmp_path / "openagents" / "helper.py").touch()
    assert Roots(tmp_path).holds(tmp_path / "openagents" / "helper.py")
    assert Roots(tmp_path / "openagents").holds(tmp_path / "openagents" / "helper.py")
