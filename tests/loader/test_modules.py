"""Sets of modules: what a generation runs on, and what Python's table shows of them."""

from __future__ import annotations

import inspect
import sys

from tests.loader.conftest import Workshop


async def test_replaced_code_goes_on_importing_from_its_own_set(workshop: Workshop) -> None:
    """A function of the old module imports the old helper after both were replaced, also when it asks late."""
    workshop.write("helper", "N = 1\n")
    workshop.write("entry", "import helper\ndef late():\n    from helper import N\n    return N\n")
    workshop.build(entry="entry").keep()
    late = sys.modules["entry"].late
    workshop.write("helper", "N = 2\n")
    workshop.build("helper", "entry", entry="entry").keep()
    assert (late(), sys.modules["entry"].late()) == (1, 2)


async def test_undone_is_exactly_the_set_that_was_there(workshop: Workshop) -> None:
    """After an undo each name has the same entry and the same object, in the set and in Python's table."""
    workshop.write("helper", "N = 1\n")
    workshop.write("entry", "import helper\n")
    workshop.build(entry="entry").keep()
    before = workshop.finder.modules.current
    table = {name: sys.modules[name] for name in before}
    workshop.write("helper", "N = 2\n")
    workshop.build("helper", "entry", entry="entry").undo()
    now = workshop.finder.modules.current
    assert {name: id(each) for name, each in now.items()} == {name: id(each) for name, each in before.items()}
    assert {name: sys.modules[name] for name in now} == table
    assert sys.modules["entry"].helper.N == 1


async def test_what_a_module_put_in_its_own_place_is_put_back(workshop: Workshop) -> None:
    """A module that exports an object instead of itself has that object again after an undo."""
    workshop.write("settings", "import sys\nclass S:\n    level = 1\nsys.modules[__name__] = S()\n")
    workshop.write("entry", "import settings\n")
    workshop.build(entry="entry").keep()
    exported = sys.modules["settings"]
    workshop.write("settings", "import sys\nclass S:\n    level = 2\nsys.modules[__name__] = S()\n")
    workshop.build("settings", "entry", entry="entry").undo()
    assert sys.modules["settings"] is exported
    workshop.build("settings", "entry", entry="entry").keep()
    assert sys.modules["entry"].settings.level == 2


async def test_a_set_never_changes(workshop: Workshop) -> None:
    """The set that a reload began with is the same after it."""
    workshop.write("entry", "N = 1\n")
    workshop.build(entry="entry").keep()
    before = workshop.finder.modules.current
    old = before["entry"]
    workshop.write("entry", "N = 2\n")
    workshop.build("entry", entry="entry").keep()
    assert before["entry"] is old
    assert workshop.finder.modules.current["entry"] is not old


async def test_inspect_goes_along_where_a_file_becomes_a_folder(workshop: Workshop) -> None:
    """It keeps the file of each name, and would take the package without a file for a module that is built in."""
    code, file, folder = compile("", "", "exec"), workshop.folder / "echo.py", workshop.folder / "echo"
    workshop.write("echo", "N = 1\n")
    workshop.build(entry="echo").keep()
    assert inspect.getmodule(code, str(file)) is sys.modules["echo"]
    file.unlink()
    workshop.write("echo.mod", "N = 2\n")
    workshop.build("echo", entry="echo.mod").keep()
    assert inspect.getmodule(code, str(folder / "mod.py")) is sys.modules["echo.mod"]
    assert inspect.getmodule(code, str(file)) is None
