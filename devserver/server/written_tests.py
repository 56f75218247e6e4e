"""Writes the test of an event below `tests/`, once it has passed in a process of its own."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from devserver.errors import DevServerError
from devserver.model.observation import Observation
from devserver.replay.export import Written, test_name, written
from devserver.replay.pins import Pin

SECONDS = 60.0
"""Seconds after which a test counts as failed."""
TESTS = "tests"
_PROGRAM = (
    "import runpy, sys; made = runpy.run_path(sys.argv[1]);"
    " [run() for name, run in made.items() if name.startswith('test_')]"
)


class NotWritten(DevServerError):
    """A test that was not written. The text says why."""


async def write_test(workspace: Path, pin: Pin, seen: Observation, *, asked: str, path: str | None) -> dict[str, Any]:
    """Write a test that passes: `{path, text, warnings}`. Raises NotWritten or OSError; nothing is overwritten."""
    name = test_name(pin)
    target = _target(workspace, name, path)
    name = target.stem.removeprefix("test_")
    made = written(pin, seen, asked, name)
    failed = await _failure(workspace, made, name)
    if failed:
        raise NotWritten(f"the test was not written, because it does not pass: {failed}")
    target.parent.mkdir(parents=True, exist_ok=True)
    _write_all(target.parent, made, name)
    return {"path": str(target.relative_to(workspace)), "text": made.text, "warnings": list(made.warnings)}


def _target(workspace: Path, name: str, path: str | None) -> Path:
    """Return the path of the test: below `tests/` alone, a file that does not exist yet."""
    tests = workspace / TESTS
    if path is not None:
        target = workspace / path
        if not _lies_below(target, tests) or not target.name.startswith("test_") or target.suffix != ".py":
            raise NotWritten(f"{path} is not a place for a test: use tests/test_NAME.py")
        if target.exists():
            raise NotWritten(f"{path} is there already")
        return target
    for number in range(1, 100):
        target = tests / (f"test_{name}.py" if number == 1 else f"test_{name}_{number}.py")
        if not target.exists():
            break
    if not _lies_below(target, tests):
        raise NotWritten("tests is a link that leads out of the workspace")
    return target


def _lies_below(target: Path, tests: Path) -> bool:
    """Return whether a file lies in the folder, links followed, and that in its workspace."""
    real = Path(os.path.realpath(tests.parent)) / TESTS
    return Path(os.path.realpath(target.parent)).is_relative_to(real) and not target.is_symlink()


def _write(path: Path, text: str) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o644), "w", encoding="utf-8") as stream:
        stream.write(text)


def _write_all(folder: Path, made: Written, name: str) -> Path:
    """Write a test and its data into a folder; return its path."""
    if made.data is not None:
        data = folder / "data" / f"{name}.json"
        data.parent.mkdir(exist_ok=True)
        _write(data, made.data)
    file = folder / f"test_{name}.py"
    _write(file, made.text)
    return file


async def _failure(workspace: Path, made: Written, name: str) -> str:
    """Return the assertion of a failing test and its message; "" if it passes."""
    with tempfile.TemporaryDirectory(prefix="oa-dev-") as folder:
        file = _write_all(Path(folder), made, name)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-c",
            _PROGRAM,
            str(file),
            cwd=workspace,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(SECONDS):
                _, errors = await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()
            return f"it did not end within {SECONDS:.0f} s"
    if process.returncode == 0:
        return ""
    lines = errors.decode("utf-8", "replace").strip().splitlines()
    shown = [each.strip() for each in lines if each.strip().startswith("assert ")][-1:]
    return "; ".join([*shown, *lines[-1:]]) or "it ended without a word"
