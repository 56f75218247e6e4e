"""What the torture tests share: worlds that are ended, and a process that is as it was before."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("torture_world")

from torture_world import MakeWorld, World, process_state  # noqa: E402

from devserver.live import garbage  # noqa: E402


@pytest.fixture(autouse=True)
def own_modules() -> Iterator[None]:
    """Each test has the names of its workspace for itself, whatever package `mods` was imported before."""
    names = {"m", "user", "pkg", "mods", "a", "b", "c", "d", "registry", "helper", "plugins"}
    others = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in names}
    for name in others:
        del sys.modules[name]
    yield
    left = sorted(name for name in sys.modules if name.partition(".")[0] in names)
    for name in left:
        del sys.modules[name]
    sys.modules.update(others)
    assert left == []


@pytest.fixture(autouse=True)
def bytecode(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python writes and reads .pyc files, as it does for most people."""
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    monkeypatch.setattr(sys, "dont_write_bytecode", False)


@pytest.fixture(autouse=True)
def exits_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A SystemExit ends a thread without a word, as it does in Python; pytest would keep it, with all its frames."""
    others = threading.excepthook
    monkeypatch.setattr(threading, "excepthook", lambda a: None if a.exc_type is SystemExit else others(a))


@pytest.fixture
async def world(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[MakeWorld]:
    """Makes a world in an empty folder; afterwards the process is as it was, and no one complained."""
    # What other tests left ends before the look. What lies frozen of their networks is never looked at meanwhile: the
    # census, too, unfreezes nothing.
    gc.collect()
    monkeypatch.setattr(garbage, "_policy", garbage._Policy())
    monkeypatch.setattr(gc, "unfreeze", lambda: None)
    garbage.freeze_own()
    # The pieces that pytest, asyncio and weakref bring on first use are there before the look.
    await asyncio.sleep(0)
    weakref.finalize(monkeypatch, id, None)
    before = process_state()
    made: list[World] = []

    def make(**options: object) -> World:
        made.append(World(tmp_path / f"w{len(made)}", **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for each in made:
        if getattr(each, "network", None) is not None:
            await each.stop()
    _join_ending_threads(before["threads"])
    assert process_state() == before
    assert len(asyncio.all_tasks()) == 1
    gc.collect()
    records = [*caplog.get_records("call"), *caplog.records]
    said = [r.getMessage() for r in records if r.levelno >= logging.ERROR and r.name in ("asyncio", "root")]
    assert said == []


def _join_ending_threads(known: list[str]) -> None:
    """A thread that has been told to end needs a moment; one that does not end fails the test."""
    for thread in threading.enumerate():
        if thread.name not in known:
            thread.join(5)
