"""What the first log record of a mod needs is imported before it, and only where a mod may log."""

from __future__ import annotations

import threading

from workspaces import Workspace

from devserver.model.facts import PlanDone, Ready
from devserver.model.plan import Plan
from devserver.server.log_ahead import LogAhead

READY = Ready("http://127.0.0.1:8700", (), 1.0, ())
SILENT = "def initialize(self):\n    self.state['a'] = 1\n"
LOGS = "def initialize(self):\n    self.state['a'] = 1\n\ndef say(self):\n    self.log.info('said')\n"


async def test_it_is_brought_once_when_a_mod_that_may_log_runs(work: Workspace) -> None:
    """Not before the network is ready, not for mods that never log, in a thread of its own."""
    brought, threads = threading.Event(), []
    work.mod("page", SILENT)
    ahead = LogAhead(await work.start("mods.page"), lambda: (threads.append(threading.current_thread()), brought.set()))
    ahead.note(READY)
    done = await work.save_mod("page", LOGS)
    assert threads == []
    ahead.note(done)
    assert brought.wait(20)
    ahead.note(done)
    assert [each.name for each in threads] == ["oa-dev log"]


async def test_the_start_waits_for_nothing(work: Workspace) -> None:
    """Plans before the network is ready bring nothing; the first fact that says that it is does."""
    brought = threading.Event()
    work.mod("page", LOGS)
    ahead = LogAhead(await work.start("mods.page"), brought.set)
    ahead.note(PlanDone(Plan("start"), (), 1.0))
    assert not brought.is_set()
    ahead.note(READY)
    assert brought.wait(20)
