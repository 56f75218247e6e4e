"""A copy of the sample network in a folder of its own, and the edits that people make in it. Starts nothing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import yaml

SAMPLE = Path(__file__).resolve().parents[3]
CONFIG = "network.yaml"


class Workspace:
    """A folder with network.yaml and mods/, as in the repository."""

    def __init__(self, root: Path) -> None:
        self.root = root
        shutil.copytree(SAMPLE / "mods", root / "mods", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(SAMPLE / CONFIG, root / CONFIG)

    def read(self, path: str) -> str:
        """The text of a file."""
        return (self.root / path).read_text(encoding="utf-8")

    def write(self, path: str, text: str) -> None:
        """Write a file in place, as most editors do."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def rename_over(self, path: str, text: str) -> None:
        """Write a file beside and rename it over the old one, as careful editors do."""
        file = self.root / path
        beside = file.with_name(f".{file.name}.swp")
        beside.write_text(text, encoding="utf-8")
        os.replace(beside, file)

    def replace(self, path: str, old: str, new: str) -> None:
        """Replace the one place where `old` stands in a file."""
        text = self.read(path)
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {path}"
        self.write(path, text.replace(old, new))

    def line_of(self, path: str, text: str) -> int:
        """The number of the first line of a file that holds `text`, counted from 1."""
        return next(number for number, line in enumerate(self.read(path).splitlines(), 1) if text in line)

    def add_mod(self, name: str, source: str) -> None:
        """Write the mod `mods.<name>` and list it last in network.yaml."""
        self.write(f"mods/{name}/__init__.py", "")
        self.write(f"mods/{name}/mod.py", source)
        self.set_mods([*self.mods(), {"name": f"mods.{name}"}])

    def mods(self) -> list[dict[str, Any]]:
        """The mods that network.yaml lists, as its rows."""
        rows: list[dict[str, Any]] = self._config()["network"]["mods"]
        return rows

    def set_mods(self, rows: list[dict[str, Any]]) -> None:
        """Let network.yaml list these mods."""
        values = self._config()
        values["network"]["mods"] = rows
        self.write(CONFIG, yaml.safe_dump(values, sort_keys=False))

    def configure(self, name: str, **settings: Any) -> None:
        """Set values in the configuration of one listed mod."""
        rows = self.mods()
        row = next(each for each in rows if each["name"] == name)
        row["config"] = {**row.get("config", {}), **settings}
        self.set_mods(rows)

    def _config(self) -> dict[str, Any]:
        values: dict[str, Any] = yaml.safe_load(self.read(CONFIG))
        return values
