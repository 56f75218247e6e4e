"""How modules of mods are found and executed: under short names, in folders without a source, beside other threads."""

from __future__ import annotations

import importlib
import os
import sys
import threading
import traceback
from pathlib import Path

import pytest

from devserver.loader.build import Build
from tests.loader.conftest import Workshop


async def test_a_mod_with_the_name_of_a_package_gets_that_package(workshop: Workshop) -> None:
    """Where it is not installed, the error says so; the mod never gets itself, half imported."""
    workshop.write("mods.truthredis", "import truthredis\nCLIENT = truthredis.Redis\n")
    with pytest.raises(ModuleNotFoundError, match="No module named 'truthredis'"):
        workshop.build(entry="mods.truthredis")


async def test_a_short_name_can_be_imported_by_its_text(workshop: Workshop) -> None:
    """importlib.import_module finds it too, as the same module, and after an edit the new one."""
    for name, text in {"": "", ".texts": "N = 1\n"}.items():
        workshop.write(f"mods.truthshort{name}" if name else "mods.truthshort.__init__", text)
    workshop.write("mods.truthshort.mod", "import importlib\nN = importlib.import_module('truthshort.texts').N\n")
    workshop.build(entry="mods.truthshort.mod").keep()
    assert sys.modules["truthshort.texts"] is sys.modules["mods.truthshort.texts"]
    graph = workshop.finder.modules.graph()
    assert "mods.truthshort.mod" in graph.affected(["mods.truthshort.texts"])
    workshop.write("mods.truthshort.texts", "N = 2\n")
    workshop.build("mods.truthshort.texts", "mods.truthshort.mod", entry="mods.truthshort.mod").keep()
    assert sys.modules["mods.truthshort.mod"].N == 2


async def test_a_folder_without_a_source_stays_a_part_of_its_package(workshop: Workshop) -> None:
    """The package is executed again, the folder in it has nothing to execute: its name leads to it all the same."""
    workshop.write("pack.__init__", "N = 1\n")
    workshop.write("pack.parts.text", "def up(s): return s.upper()\n")
    workshop.write("pack.mod", "import pack.parts.text\ndef f(): return pack.parts.text.up('a'), pack.N\n")
    workshop.build(entry="pack.mod").keep()
    workshop.write("pack.__init__", "N = 2\n")
    affected = workshop.finder.modules.graph().affected(["pack"])
    workshop.build(*affected, entry="pack.mod").keep()
    assert sys.modules["pack.mod"].f() == ("A", 2)


async def test_modules_are_executed_where_the_process_started(
    workshop: Workshop, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A handler has changed the directory: it stays changed, and a fresh start would not know of it."""
    start, elsewhere = os.getcwd(), tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(elsewhere)
    workshop.write("entry", "import os\nHERE = os.getcwd()\n")
    workshop.build(entry="entry").keep()
    assert start == sys.modules["entry"].HERE
    assert Path.cwd() == elsewhere


async def test_a_module_is_complete_for_other_threads(workshop: Workshop) -> None:
    """A handler on a thread that imports what is being executed waits, as for any import."""
    workshop.write("entry", "import slow\n")
    workshop.write("slow", "import builtins\nbuiltins.truth_began.set()\nbuiltins.truth_go.wait(10)\nN = 1\n")
    began, go, seen = threading.Event(), threading.Event(), []
    sys.modules["builtins"].truth_began, sys.modules["builtins"].truth_go = began, go  # type: ignore[attr-defined]

    def ask() -> None:
        began.wait(10)
        asked.set()
        seen.append(importlib.import_module("slow").N)

    asked = threading.Event()
    thread = threading.Thread(target=ask)
    thread.start()
    builder = threading.Thread(target=lambda: workshop.build(entry="entry").keep())
    builder.start()
    assert asked.wait(10)
    go.set()
    builder.join(10)
    thread.join(10)
    assert seen == [1]
    del sys.modules["builtins"].truth_began, sys.modules["builtins"].truth_go  # type: ignore[attr-defined]


async def test_a_traceback_shows_the_code_that_runs(workshop: Workshop) -> None:
    """Whatever has been saved since, and also after an attempt that failed."""
    workshop.write("entry", "def f():\n    raise RuntimeError('here it is')\n")
    build = workshop.build(entry="entry")
    build.keep()
    build.show_lines()
    workshop.write("entry", "# one\n# two\n# three\n1 / 0\n")
    attempt = Build(workshop.finder, ["entry"], ["entry"])
    with pytest.raises(ZeroDivisionError):
        attempt.execute()
    attempt.undo()
    attempt.show_lines()
    try:
        sys.modules["entry"].f()
    except RuntimeError:
        assert "raise RuntimeError('here it is')" in traceback.format_exc()
