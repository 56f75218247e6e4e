"""The only file that starts uv: it resolves, locks, installs, builds and publishes.

No shell, no names that could be options, no `PYTHON*` of this process, none of the settings of uv
that would weaken these rules, and a time limit. Its output is escaped before it is shown.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from devserver.errors import DevServerError

PATIENCE = 300.0
"""Seconds after which uv is ended: a large package on a slow line takes time."""

_KEPT = frozenset({
    "UV_CACHE_DIR", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_HTTP_TIMEOUT", "UV_KEYRING_PROVIDER", "UV_NATIVE_TLS",
    "UV_SYSTEM_CERTS", "UV_OFFLINE", "UV_CREDENTIALS_DIR",
})  # fmt: skip
"""The settings of uv that are taken from the environment: places. None says what is trusted."""
_SECRETS = ("UV_PUBLISH_", "UV_INDEX_")
_LONGEST_LINE = 400
_MOST_LINES = 60
_HINT = "install uv, which comes with oa-dev: python -m pip install --upgrade oa-dev"


class UvMissing(DevServerError):
    """No uv can be found."""


class UvFailed(DevServerError):
    """uv has failed. `said` is its output, escaped."""

    def __init__(self, sentence: str, said: str = "") -> None:
        super().__init__(sentence)
        self.said = said


@dataclass(frozen=True, slots=True)
class Done:
    """A successful run of uv: its output and duration."""

    out: str
    said: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """The input of a resolution: the folder with `wants` as texts, and the lock to read and write.

    `upgrade` are the distributions that may move, beside those that are not locked. `without` are
    left out of the lock. `before`: releases of remote indexes that are younger than this (RFC 3339)
    are not chosen.
    """

    folder: Path
    lock: Path
    upgrade: Sequence[str] = ()
    without: Sequence[str] = ()
    before: str = ""
    offline: bool = False
    alone: bool = False
    """Whether what the packages need is left out."""


def find_uv() -> str:
    """Find uv: the one installed with this package, else on PATH. Raises UvMissing."""
    try:
        from uv import find_uv_bin

        return os.fspath(find_uv_bin())
    except (ImportError, FileNotFoundError):
        found = shutil.which("uv")
    if found is None:
        raise UvMissing(f"there is no uv here, which installs packages; mods of the workspace work without it: {_HINT}")
    return found


def resolve(asked: Resolution) -> Done:
    """Write the lock of the wants, for every platform, with hashes. Raises UvFailed, UvMissing."""
    options = ["--universal", "--generate-hashes", "--no-build", "--no-header", "--format", "pylock.toml"]
    options += ["--config-file", str(asked.folder / "uv.toml"), "--python", sys.executable, "-o", str(asked.lock)]
    options += [part for name in asked.upgrade for part in ("--upgrade-package", name)]
    options += [part for name in asked.without for part in ("--no-emit-package", name)]
    options += ["--exclude-newer", asked.before] if asked.before else []
    options += ["--offline"] if asked.offline else []
    options += ["--no-deps"] if asked.alone else []
    return run_uv(["pip", "compile", *options, "--", str(asked.folder / "pyproject.toml")], cwd=asked.folder)


def install(lock: Path, target: Path, *, offline: bool = False) -> Done:
    """Install exactly a lock's packages into a new folder: no links. Raises UvFailed, UvMissing."""
    options = ["--no-deps", "--require-hashes", "--no-build", "--link-mode", "copy", "--no-config"]
    options += ["--preview-features", "pylock", "--python", sys.executable, "--target", str(target)]
    options += ["--offline"] if offline else []
    return run_uv(["pip", "install", *options, "-r", str(lock)], cwd=lock.parent)


def build(source: Path, into: Path, *, isolated: bool = True) -> Path:
    """Build the wheel of a folder, and return its path.

    uv itself builds projects of `uv_build`, without network and without running code of the
    project. With `isolated` false other build backends run, with their requirements fetched. Raises
    UvFailed, UvMissing.
    """
    before = set(into.glob("*.whl")) if into.is_dir() else set()
    options = ["--wheel", "--no-config", "--python", sys.executable, "--out-dir", str(into)]
    options += ["--offline"] if isolated else []
    done = run_uv(["build", *options, "--", str(source)], cwd=source, more={"SOURCE_DATE_EPOCH": "315532800"})
    made = sorted(set(into.glob("*.whl")) - before) or sorted(into.glob("*.whl"), key=os.path.getmtime)
    if not made:
        raise UvFailed(f"no wheel came of {source.name}", done.said)
    return made[-1]


def publish(files: Sequence[Path], url: str) -> Done:
    """Upload wheels to an index; credentials, trusted publishing and attestations are uv's own. Raises UvFailed."""
    return run_uv(["publish", "--no-config", "--publish-url", url, "--", *map(str, files)], cwd=files[0].parent)


def run_uv(arguments: Sequence[str], *, cwd: Path, more: Mapping[str, str] | None = None) -> Done:
    """Run uv to its end. Raises UvFailed if it fails or takes too long, UvMissing without it."""
    began = time.monotonic()
    command = [find_uv(), *arguments]
    try:
        with subprocess.Popen(
            command,
            cwd=cwd,
            env={**_environment(), **(more or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="backslashreplace",
            # Ctrl-C is ours: the change is taken back before we exit.
            start_new_session=True,
        ) as process:
            out, errors = _ended(process)
    except OSError as error:
        raise UvMissing(f"uv cannot be started ({error.strerror}); {_HINT}") from error
    said = escaped(errors)
    if process.returncode != 0:
        raise UvFailed(_sentence(said) or f"uv ended with {process.returncode}", said)
    return Done(out, said, time.monotonic() - began)


def _ended(process: subprocess.Popen[str]) -> tuple[str, str]:
    try:
        return process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired as late:
        process.kill()
        process.communicate()
        raise UvFailed(f"uv was ended after {PATIENCE:g} s") from late
    except BaseException:
        process.kill()
        raise


def _environment() -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "UV_", "PIP_", "VIRTUAL_ENV", "CONDA_"))
        or name in _KEPT
        or (name.startswith(_SECRETS) and name not in ("UV_INDEX_STRATEGY", "UV_INDEX_URL"))
    }
    return {
        **kept,
        "UV_HTTP_RETRIES": "1",
        "UV_HTTP_TIMEOUT": os.environ.get("UV_HTTP_TIMEOUT", "10"),
        "UV_NO_PROGRESS": "1",
        "NO_COLOR": "1",
        "UV_PYTHON_DOWNLOADS": "never",
    }


def escaped(text: str) -> str:
    """Return a program's output as it may be shown: bounded, without control characters."""
    lines = ["".join(c if c.isprintable() else ascii(c)[1:-1] for c in line) for line in text.split("\n")]
    return "\n".join(line[:_LONGEST_LINE] for line in lines[:_MOST_LINES]).strip("\n")


def _sentence(said: str) -> str:
    """Return the first line that says what failed."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    told = next((line for line in lines if line.startswith("error:")), lines[0] if lines else "")
    return told.removeprefix("error:").lstrip(" ×").strip()
