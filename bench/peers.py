"""Peers in virtual environments of their own below `.bench/`, made when they are first needed.

A peer that cannot be installed is missing from the results, and the results say so; it never ends a run.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / ".bench"
_INSTALL_SECONDS = 600

OPENAGENTS = ("openagents==0.8.6", "mcp<2")
RELOADERS = ("uvicorn", "starlette", "httptools", "watchfiles", "hupper", "jurigged", "uvicorn-hmr")


@cache
def openagents() -> Path | None:
    """The `bin` of an environment with OpenAgents, or None where it cannot be installed."""
    found = _environment("openagents")
    return found if _install(found, OPENAGENTS) else None


@cache
def reloaders() -> tuple[Path, tuple[str, ...]]:
    """The `bin` of an environment with the reloaders that can be installed, and the names of the others."""
    found = _environment("reloaders")
    return found, tuple(name for name in RELOADERS if not _install(found, (name,)))


def _environment(name: str) -> Path:
    folder = FOLDER / name
    if not (folder / "bin" / "python").exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    return folder / "bin"


def _install(found: Path, packages: Sequence[str]) -> bool:
    """Install what is not there already; whether it is there now."""
    marker = found / f".has-{packages[0]}"
    if marker.exists():
        return True
    command = [str(found / "python"), "-m", "pip", "install", "--quiet", *packages]
    try:
        ended = subprocess.run(command, check=False, capture_output=True, timeout=_INSTALL_SECONDS)
    except subprocess.TimeoutExpired:
        return False
    if ended.returncode == 0:
        marker.touch()
    return ended.returncode == 0
