"""The log is structlog: what is bound, what is shown, and what a mod's own set-up of logging cannot change."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import pytest
from workspaces import Workspace

from devserver.model import logs
from devserver.ui.jsonl import log_line, utc_now
from devserver.ui.log import LogLines, quiet_libraries
from devserver.ui.said import Said

LOGS = """
    @mod_event_handler("page.save")
    async def save(self, event):
        self.log.info("page saved", path="/a", size=3)
        self.log.info("old %s of %d", "style", 2)
        self.log.info("too %s %s", "few")
        self.log.debug("hidden")
        try:
            1 / 0
        except ZeroDivisionError:
            self.log.exception("failed", extra={"why": "zero"})
        return True
"""


@pytest.fixture
def said() -> Iterator[list[Said]]:
    """What a server would say, at the level that is the default."""
    found: list[Said] = []
    lines = LogLines(found.append)
    lines.addFilter(quiet_libraries)
    root = logging.getLogger()
    before = root.level
    root.addHandler(lines)
    logs.set_level("info")
    logs.listen(lines.tell)
    try:
        yield found
    finally:
        logs.listen(None)
        logs.set_level("warning")
        root.removeHandler(lines)
        root.setLevel(before)


async def test_a_mods_record_has_the_mod_its_generation_the_event_and_the_agent(
    work: Workspace, said: list[Said]
) -> None:
    """Bound by itself; the author's own values are fields."""
    work.mod("page", LOGS)
    await work.start("mods.page")
    await work.ask("page.save")
    first = said[0]
    assert (first.who, first.level, first.words, first.fields) == (
        "page v1",
        "info",
        "page saved",
        {"path": "/a", "size": 3},
    )
    assert first.bound == {"mod": "page", "generation": 1, "event_name": "page.save", "agent": "ana"}
    told = json.loads(log_line(first, utc_now()))
    assert {key: told[key] for key in ("message", "mod", "generation", "event", "agent", "path")} == {
        "message": "page saved",
        "mod": "page",
        "generation": 1,
        "event": "page.save",
        "agent": "ana",
        "path": "/a",
    }


async def test_arguments_are_filled_in_as_by_logging(work: Workspace, said: list[Said]) -> None:
    """Those that do not fit end no handler; an exception comes with its place and trace; each record is told once."""
    work.mod("page", LOGS)
    await work.start("mods.page")
    assert (await work.ask("page.save")).success
    assert [each.words for each in said[1:3]] == ["old style of 2", "too %s %s ('few',)"]
    failed = said[3]
    assert failed.words.startswith("failed (ZeroDivisionError: division by zero at ")
    assert (failed.level, failed.fields, "1 / 0" in failed.trace) == ("error", {"why": "zero"}, True)
    assert len(said) == 4


@pytest.mark.parametrize(
    "breaks",
    [
        "logging.basicConfig(handlers=[logging.NullHandler()], force=True)",
        "logging.config.dictConfig({'version': 1, 'disable_existing_loggers': True, 'root': {'level': 'ERROR'}})",
        "logging.disable(logging.CRITICAL)",
        "structlog.configure(processors=[lambda *a: 1 / 0], logger_factory=lambda *a: None)",
    ],
)
async def test_what_a_mod_does_to_logging_changes_nothing_for_our_loggers(
    work: Workspace, said: list[Said], breaks: str
) -> None:
    """Neither for `self.log` of any mod, nor for the log of the server."""
    root = logging.getLogger()
    handlers = root.handlers[:]
    body = f"""
    @mod_event_handler("page.break")
    def break_it(self, event):
        {breaks}
        self.log.info("after")
        return True
    """
    work.mod("page", body, "import logging, logging.config, structlog")
    await work.start("mods.page")
    try:
        await work.ask("page.break")
        logs.logger("devserver.api").warning("ours", code=5)
    finally:
        root.handlers[:] = handlers
        logging.disable(logging.NOTSET)
        for each in logging.root.manager.loggerDict.values():
            if isinstance(each, logging.Logger):
                each.disabled = False
        sys.modules["structlog"].reset_defaults()
    assert [(each.who, each.words) for each in said] == [("page v1", "after"), ("devserver.api", "ours")]


async def test_a_handler_of_a_mods_own_still_gets_its_records(work: Workspace, said: list[Said]) -> None:
    """What a mod attaches to its logger in the standard library is served as ever."""
    body = """
    def initialize(self):
        import logging
        handler = logging.FileHandler(self.get_storage_path() / "own.log")
        logging.getLogger(__name__).addHandler(handler)
        self.on_close(handler.close)
        self.on_close(lambda: logging.getLogger(__name__).removeHandler(handler))
        self.log.warning("written", n=1)
    """
    work.mod("page", body)
    await work.start("mods.page")
    file = work.net.storage_path("mods.page") / "own.log"
    assert file.read_text() == "written n=1\n"
    assert [each.words for each in said] == ["written"]


async def test_a_record_of_a_thread_has_its_mod_and_generation(work: Workspace, said: list[Said]) -> None:
    """Where no handler is known to run, whose logger it is says so."""
    body = """
    def initialize(self):
        import threading
        thread = threading.Thread(target=lambda: self.log.info("from a thread"))
        thread.start()
        thread.join()
    """
    work.mod("page", body)
    await work.start("mods.page")
    await work.save_mod("page", body + "\n    x = 1\n")
    assert [each.who for each in said] == ["page v1", "page v2"]


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        ("debug", ["mod debug", "mod info", "lib info", "lib warning"]),
        ("info", ["mod info", "lib warning"]),
        ("warning", ["lib warning"]),
    ],
)
def test_libraries_are_quieter_than_mods(said: list[Said], level: str, shown: list[str]) -> None:
    """At the default, `info` of a mod is shown, and of a library that it uses from `warning` on."""
    logs.set_level(level)
    mod, lib = logging.getLogger("mods.page"), logging.getLogger("httpx")
    mod.debug("mod debug")
    mod.info("mod info")
    lib.info("lib info")
    lib.warning("lib warning")
    assert [each.words for each in said] == shown


def test_a_mod_that_never_logs_never_imports_structlog(work: Workspace) -> None:
    """The import waits for the first record."""
    made: Any = logs.logger("mods.page")
    assert repr(made) == "<logger mods.page>"
    assert object.__getattribute__(made, "_made") is None


def test_a_structlog_that_another_thread_still_imports_is_left_alone() -> None:
    """It has no attributes yet that could be asked for."""
    half = ModuleType("structlog")
    half.__spec__ = ModuleSpec("structlog", None)
    half.__spec__._initializing = True  # type: ignore[attr-defined]
    logs.adopt(half)
