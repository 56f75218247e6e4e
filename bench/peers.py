"""Peers in environments of their own below `.bench/`, at pinned versions, made when they are first needed.

A peer that cannot be installed is missing from the results, and the results say so and why; it never ends a run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / ".bench"
_INSTALL_SECONDS = 180
"""A registry that hangs costs the run this much for each environment, and a peer is missing."""
_BRIEFLY = ("--retries", "1", "--timeout", "20")

_RELOADERS = (
    "uvicorn==0.54.0",
    "starlette==1.10.0",
    "httptools==0.9.0",
    "watchfiles==1.3.0",
    "watchdog==7.1.0",
    "hupper==1.12.1",
    "jurigged==0.6.1",
    "granian==2.8.7",
    "fastapi[standard]==0.165.0",
    "ipython==9.18.1",
    "discord.py==2.7.1",
    "pydantic>=2.7",
    "orjson>=3.10",
)
_HMR = (
    "uvicorn==0.54.0",
    "starlette==1.10.0",
    "httptools==0.9.0",
    "hmr==0.7.6.3",
    "uvicorn-hmr==0.1.1.8",
    *_RELOADERS[-2:],
)
_NODE = ("bun@1.4.5", "vite@8.3.8")
_OPENAGENTS = ("openagents==0.8.6", "mcp<2")

# Beside watchdog it would watch every folder of sys.path; alone it is as most people have it.
_FLASK = ("flask==3.1.3",)

_PACKAGES = {
    "reloaders": _RELOADERS,
    "flask": _FLASK,
    "hmr": _HMR,
    "openagents": _OPENAGENTS,
    "market": ("uvicorn==0.54.0", "datasette==0.65.2", "pip"),
    "plots": ("matplotlib==3.11.2",),
    "node": _NODE,
}
_NEWER = (3, 12)
"""hmr needs this Python, or a later one."""


@dataclass(frozen=True, slots=True)
class Environment:
    """Where a peer's programs are; what is `missing` there, with why, and the versions of what is there."""

    bin: Path
    missing: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def __contains__(self, package: str) -> bool:
        return package not in self.missing


@cache
def environment(name: str) -> Environment:
    """An environment of this module's list, with what can be installed."""
    return _node() if name == "node" else _python(name)


def openagents() -> Path | None:
    """The `bin` of an environment with OpenAgents, or None where it cannot be installed."""
    found = environment("openagents")
    return found.bin if not found.missing else None


def why_missing() -> str:
    """Why there is no OpenAgents."""
    return ", ".join(environment("openagents").missing.values())


def _python(name: str) -> Environment:
    found = FOLDER / name / "bin"
    packages = _PACKAGES[name]
    python: str | None = sys.executable if name != "hmr" or sys.version_info >= _NEWER else _newer_python()
    if python is None:
        why = f"needs Python {'.'.join(map(str, _NEWER))} or later, and there is none here"
        return Environment(found, dict.fromkeys(map(bare, packages), why))
    if not (found / "python").exists():
        made = subprocess.run([python, "-m", "venv", str(found.parent)], check=False, capture_output=True, text=True)
        if made.returncode != 0:
            return Environment(found, dict.fromkeys(map(bare, packages), _few_words(made.stdout + made.stderr)))
    # All at once is quick; one by one tells which of them is not to be had.
    if _pip(found, packages) is None:
        return Environment(found, {}, _versions(found, packages))
    each_alone = {bare(each): _pip(found, (each,)) for each in packages}
    missing = {name: failed for name, failed in each_alone.items() if failed is not None}
    return Environment(found, missing, _versions(found, packages))


def bare(requirement: str) -> str:
    """The name in a requirement."""
    for sign in "[=<>@":
        requirement = requirement.partition(sign)[0]
    return requirement


def _newer_python() -> str | None:
    """A Python that is new enough: on the path, or one of pyenv's."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    others = sorted(str(each) for each in root.glob("versions/3.1[2-9]*/bin/python"))
    for each in ("python3.13", "python3.12", *reversed(others)):
        try:
            if subprocess.run([each, "-c", "import venv"], check=False, capture_output=True).returncode == 0:
                return each
        except OSError:
            continue
    return None


def _pip(found: Path, packages: Sequence[str]) -> str | None:
    """Install what is not there already; None, or why that cannot be."""
    marker, python, uv = found / ".installed", str(found / "python"), Path(sys.executable).with_name("uv")
    # It takes seconds where pip takes a minute, and `make` has installed it. Some indexes only pip knows.
    quick = [str(uv), "pip", "install", "--quiet", "--python", python, *packages]
    if uv.exists() and _once(marker, quick, found) is None:
        return None
    return _once(marker, [python, "-m", "pip", "install", "--quiet", *_BRIEFLY, *packages], found)


def _once(marker: Path, command: Sequence[str], folder: Path) -> str | None:
    """Run a command that installs something, unless `marker` says that it has been run; None, or why it failed."""
    done = marker.read_text().splitlines() if marker.exists() else []
    line = " ".join(command[1:])
    if line in done:
        return None
    try:
        ended = subprocess.run(
            command, cwd=folder, check=False, capture_output=True, text=True, timeout=_INSTALL_SECONDS
        )
    except subprocess.TimeoutExpired:
        return "could not be installed in time"
    if ended.returncode != 0:
        return _few_words(ended.stderr)
    marker.write_text("\n".join([*done, line]))
    return None


def _few_words(said: str) -> str:
    """Why an installation failed: what pip or npm call the error, without where they looked."""
    errors = [each for each in said.splitlines() if each.startswith(("ERROR: ", "npm error code "))]
    if not errors:
        return "could not be installed"
    return errors[-1].removeprefix("ERROR: ").removeprefix("npm error code ")[:100]


def _versions(found: Path, packages: Iterable[str]) -> dict[str, str]:
    program = (
        "import sys\nfrom importlib.metadata import version\n"
        "for each in sys.argv[1:]:\n try: print(each, version(each))\n except Exception: pass"
    )
    command = [str(found / "python"), "-c", program, *map(bare, packages)]
    said = subprocess.run(command, check=False, capture_output=True, text=True).stdout
    return dict(line.split() for line in said.splitlines())


def _node() -> Environment:
    folder = FOLDER / "node"
    found, names = folder / "node_modules" / ".bin", [each.rpartition("@")[0] for each in _NODE]
    if shutil.which("npm") is None:
        return Environment(found, dict.fromkeys(names, "there is no npm here"))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").touch()
    if not (folder / "package.json").read_text():
        (folder / "package.json").write_text("{}")
    why = _once(folder / ".installed", ["npm", "install", "--no-audit", "--no-fund", *_NODE], folder)
    if why is not None:
        return Environment(found, dict.fromkeys(names, why))
    return Environment(found, {}, dict(zip(names, (each.rpartition("@")[2] for each in _NODE), strict=True)))
