"""What is told of a failure: ours is the sentence, the mod's is the place."""

from __future__ import annotations

import linecache

import pytest
from workspaces import Workspace

from devserver.model.facts import ErrorFacts, ModError


async def failed(work: Workspace, body: str, head: str = "") -> ErrorFacts:
    """The error of a load of this mod."""
    work.mod("bad", body, head)
    await work.start("mods.bad", dev={"limits": {"initialize": 0.2}})
    (outcome,) = work.outcomes()
    assert outcome.error is not None
    return outcome.error


async def test_a_hook_that_does_not_come_back_is_told_with_the_limit(work: Workspace) -> None:
    """The sentence says how long it was waited for; the place is in the mod."""
    error = await failed(work, "async def initialize(self):\n    await asyncio.Event().wait()")
    assert error.message == "bad: initialize() did not come back within 0.2 s"
    assert error.where is not None
    assert error.where.file == "mods/bad.py"


async def test_a_timeout_of_the_mods_own_is_no_limit_of_ours(work: Workspace) -> None:
    """A TimeoutError that a mod raises is told as what it is."""
    error = await failed(work, "async def initialize(self):\n    raise TimeoutError('the store is slow')")
    assert (error.kind, error.message) == ("TimeoutError", "the store is slow")


@pytest.mark.parametrize("hook", ["def __init__(self):", "def initialize(self):", "async def initialize(self):"])
async def test_who_asks_the_process_to_end_is_shown_where(work: Workspace, hook: str) -> None:
    """The line that does it is the line that is shown."""
    error = await failed(work, f"{hook}\n    raise SystemExit(3)")
    assert "asked the process to end (SystemExit(3))" in error.message
    assert error.where is not None
    assert "raise SystemExit(3)" in error.where.excerpt[-1][1]


async def test_of_a_deep_trace_its_end_is_kept(work: Workspace) -> None:
    """The place that raised stands in the trace, however deep it lies."""
    head = "def down(n):\n    if n == 0:\n        raise KeyError('bottom')\n    up = down(n - 1)\n    return up\n"
    error = await failed(work, "def initialize(self):\n    down(100)", head)
    assert "raise KeyError('bottom')" in error.trace
    assert error.where is not None
    assert error.where.function == "down"
    assert len(error.trace) < 64 * 1024


async def test_causes_that_lead_to_each_other_are_told_all_the_same(work: Workspace) -> None:
    """An exception may be its own cause's cause."""
    body = """
        @mod_event_handler("fail.now")
        def fail(self, event):
            one, other = KeyError("one"), KeyError("other")
            one.__cause__, other.__cause__ = other, one
            raise one
    """
    work.mod("bad", body)
    await work.start("mods.bad")
    assert "KeyError: 'one'" in (await work.ask("fail.now")).message
    (told,) = work.told(ModError)
    assert told.error.where is not None
    assert told.error.where.file == "mods/bad.py"


@pytest.mark.parametrize("broken", ["Too many words = 1\n", "WORDS = too_many\n"])
async def test_an_error_of_a_file_that_failed_before_shows_its_own_line(work: Workspace, broken: str) -> None:
    """Another save tries it again: the line that is shown is the one on disk, not that of the code that runs.

    Afterwards tracebacks show the lines of what runs again.
    """
    work.write("mods/helper.py", "WORDS = 1\n")
    work.mod("user", "x = 1", head="from mods import helper\n")
    await work.start("mods.user")
    await work.save("mods/helper.py", broken)
    await work.saved(work.mod("user", "x = 2", head="from mods import helper\n"))
    error = work.outcomes()[-1].error
    assert error is not None and error.where is not None
    assert error.where.excerpt == ((1, broken.rstrip()),)
    assert linecache.getline(str(work.folder / "mods/helper.py"), 1) == "WORDS = 1\n"
