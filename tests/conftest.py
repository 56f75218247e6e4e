"""What the tests of the embedded network share: a workspace of real files, in which one network at a time runs."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path

import pytest
from doors import Doors
from hypothesis import settings
from workspaces import Workspace, without_mods

from devserver.live import garbage
from devserver.live.generation import activity
from devserver.live.overseer import frames_of

# An example that comes late on a busy machine is not a wrong one; `timeout` of pytest bounds what hangs.
settings.register_profile("facts", deadline=None, max_examples=40)
settings.register_profile("thorough", deadline=None, max_examples=200)  # of `make test-all`
settings.load_profile("facts")


def pytest_configure() -> None:
    """Hear Ctrl-C. Where a shell runs the tests in the background they ignore it, and so would all that they start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage while tests are collected: all that is made stays."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_finish() -> None:
    """Set apart what collecting the tests has made: hundreds of them look through all objects at their end."""
    gc.collect()
    garbage.freeze_own()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show with a failed test what its network told, and where its tasks wait: the cause is most often there."""
    report = yield
    for each in getattr(item, "funcargs", {}).values() if report.failed else ():
        if isinstance(each, Workspace):
            report.sections.append(("facts", "\n".join(map(str, [*each.facts, *each.refused]))))
            tasks = [] if each.loop is None or each.loop.is_closed() else asyncio.all_tasks(each.loop)
            report.sections.append(("tasks", "\n".join(map(_waiting, tasks))))
    return report


def _waiting(task: asyncio.Task[object]) -> str:
    frames = (f"{each.f_code.co_filename}:{each.f_lineno} {each.f_code.co_qualname}" for each in frames_of(task))
    return "\n  ".join((task.get_name(), *frames))


@pytest.fixture
async def work(tmp_path: Path) -> AsyncIterator[Workspace]:
    """An empty workspace. Its network is shut down after the test, and must leave no module and no task behind."""
    with without_mods():
        workspace = Workspace(tmp_path)
        workspace.loop = asyncio.get_running_loop()
        yield workspace
        await workspace.end()
        # A handler of this test that never ends is not in flight in the next one of the process.
        activity.ended = activity.begun
        assert workspace.modules() == []


@pytest.fixture
def doors() -> Iterator[Doors]:
    """Doors for handlers, which mods import as `doors`."""
    before = sys.modules["doors"]
    sys.modules["doors"] = made = Doors()
    yield made
    sys.modules["doors"] = before


@pytest.fixture(params=["same", "thread"])
def at(request: pytest.FixtureRequest) -> str:
    """Where the mods run: in the test's own loop, or on a loop and thread of their own."""
    return str(request.param)
