"""What a mod is made from is more than its code: what it reads, lists, executes and names. What it writes is data."""

from __future__ import annotations

import json
import os
import sys

import pytest
from watching import Watching
from workspaces import mod_text, served, until

from devserver.model.facts import Status
from devserver.sources.ignore import UNSEEN

HERE = "import os, pathlib, threading\nHERE = pathlib.Path(__file__).parent\n"


def saying(expression: str) -> str:
    """The body of a mod that answers with the value of an expression as its version."""
    return served("echo", "?").replace("'?'", expression)


READS = {
    "a file of any size": ("VALUE = json.loads((HERE / 'data.json').read_text())[0]", "data.json"),
    "a file on another thread": (
        "def read(): globals().update(VALUE=json.loads((HERE / 'data.json').read_text())[0])\n"
        "thread = threading.Thread(target=read)\nthread.start()\nthread.join()\n",
        "data.json",
    ),
    "a file that code in C opens": (
        "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n"
        "handle = libc.open(os.fsencode(HERE / 'data.json'), os.O_RDONLY)\n"
        "VALUE = json.loads(os.read(handle, 10_000_000))[0]\nos.close(handle)\n",
        "data.json",
    ),
}


@pytest.mark.parametrize("how", READS)
async def test_what_a_mod_reads_at_its_top_is_a_source(desk: Watching, how: str) -> None:
    """However it is read."""
    code, name = READS[how]
    table = ["old", "x" * (5_000_000 if "any size" in how else 10)]
    desk.write(f"mods/echo/{name}", json.dumps(table))
    desk.write("mods/echo/mod.py", mod_text("Echo", saying("VALUE"), f"import json\n{HERE}{code}\n"))
    await desk.begin()
    assert await desk.version("echo") == "old"
    table[0] = "new"
    desk.write(f"mods/echo/{name}", json.dumps(table))
    await desk.serves("new")


FOLDER = HERE + "PROMPTS = {each.stem: each.read_text() for each in sorted((HERE / 'prompts').glob('*.md'))}\n"


async def test_a_folder_that_a_mod_lists_is_a_source(desk: Watching) -> None:
    """A file that comes, changes or goes is a change; what editors put there for a moment is none."""
    desk.write("mods/echo/prompts/one.md", "1")
    desk.write("mods/echo/mod.py", mod_text("Echo", saying("PROMPTS"), FOLDER))
    await desk.begin()
    desk.write("mods/echo/prompts/.two.md.swp", "2")
    desk.write("mods/echo/prompts/two.md", "2")
    await desk.serves({"one": "1", "two": "2"})
    (desk.folder / "mods/echo/prompts/one.md").unlink()
    await desk.serves({"two": "2"})
    assert {each.status for each in desk.reloads()} == {Status.APPLIED}


async def test_a_link_to_a_file_elsewhere_and_one_through_hidden_folders_are_followed(desk: Watching) -> None:
    """A prompt that projects share, and a file as Kubernetes mounts it."""
    shared = desk.folder.parent / "shared.md"
    shared.write_text("old")
    mounted = desk.folder / "mods/echo/mounted"
    desk.write("mods/echo/mounted/..v1/prompt.md", "one")
    (mounted / "..data").symlink_to("..v1")
    (mounted / "prompt.md").symlink_to("..data/prompt.md")
    (desk.folder / "mods/echo/shared.md").symlink_to(shared)
    code = "VALUE = [(HERE / each).read_text() for each in ('shared.md', 'mounted/prompt.md')]\n"
    desk.write("mods/echo/mod.py", mod_text("Echo", saying("VALUE"), HERE + code))
    await desk.begin()
    shared.write_text("new")
    await desk.serves(["new", "one"])
    desk.write("mods/echo/mounted/..v2/prompt.md", "two")
    (mounted / "..tmp").symlink_to("..v2")
    os.replace(mounted / "..tmp", mounted / "..data")
    await desk.serves(["new", "two"])


RUN = """
import importlib.util, runpy
spec = importlib.util.spec_from_file_location("by_spec_of_a_test", HERE / "scripts" / "by_spec.py")
by_spec = importlib.util.module_from_spec(spec)
spec.loader.exec_module(by_spec)
VALUE = [by_spec.N, runpy.run_path(str(HERE / "scripts" / "by_run.py"))["N"]]
"""


async def test_a_file_that_a_mod_executes_itself_is_a_source(desk: Watching) -> None:
    """Also where it has the same size and was saved in the same second: no stale .pyc is taken for it."""
    for name in ("by_spec", "by_run"):
        desk.write(f"mods/echo/scripts/{name}.py", "N = 1")
    desk.write("mods/echo/mod.py", mod_text("Echo", saying("VALUE"), HERE + RUN))
    await desk.begin()
    for expected in (2, 3):
        desk.write("mods/echo/scripts/by_spec.py", f"N = {expected}")
        await desk.serves([expected, 1])
    desk.write("mods/echo/scripts/by_run.py", "N = 2")
    await desk.serves([3, 2])


async def test_a_helper_on_an_import_path_inside_of_the_workspace_is_a_source(
    desk: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mod imports it by its bare name."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    desk.write("mods/echo/bare_helper_of_a_test.py", "N = 1")
    head = f"{HERE}import sys\nsys.path.insert(0, str(HERE))\nimport bare_helper_of_a_test\n"
    desk.write("mods/echo/mod.py", mod_text("Echo", saying("bare_helper_of_a_test.N"), head))
    await desk.begin()
    desk.write("mods/echo/bare_helper_of_a_test.py", "N = 2")
    await desk.serves(2)


async def test_a_mod_names_what_else_it_is_made_from(desk: Watching) -> None:
    """In `watch`, by patterns from its own folder."""
    body = saying("(HERE / 'texts' / 'deep' / 'one').read_text()") + "watch = ['texts/**']\n"
    desk.write("mods/echo/texts/deep/one", "1")
    desk.write("mods/echo/mod.py", mod_text("Echo", body, HERE))
    await desk.begin()
    desk.write("mods/echo/texts/deep/one", "2")
    await until(lambda: len(desk.reloads()) == 1)
    desk.write("mods/echo/texts/deep/two", "2")
    await until(lambda: len(desk.reloads()) == 2)
    assert {each.status for each in desk.reloads()} == {Status.APPLIED}


async def test_a_method_of_a_mod_may_be_called_watch(desk: Watching) -> None:
    """The name is a common one; only a list of patterns is what the server asks it for."""
    body = saying("1") + "async def watch(self):\n    pass\n"
    desk.write("mods/echo/mod.py", mod_text("Echo", body, HERE))
    await desk.begin()
    assert await desk.version("echo") == 1


async def test_a_file_that_a_handler_reads_is_told_with_the_mod_that_reads_it(desk: Watching) -> None:
    """It is no source, and that no one reads it would be false; a helper may keep what a reload does not make again."""
    desk.write("mods/echo/greet.txt2", "old")
    desk.write("mods/echo/kept.txt2", "old")
    desk.write("mods/texts.py", "import functools\n@functools.cache\ndef text(path):\n    return path.read_text()\n")
    version = "((HERE / 'greet.txt2').read_text(), text(HERE / 'kept.txt2'))[0]"
    desk.write("mods/echo/mod.py", mod_text("Echo", saying(version), HERE + "from mods.texts import text\n"))
    await desk.begin()
    assert await desk.version("echo") == "old"
    desk.write("mods/echo/greet.txt2", "new")
    desk.write("mods/echo/kept.txt2", "new")
    desk.write("mods/echo/other.txt2", "new")
    await until(lambda: len(desk.explained()) == 3)
    assert desk.explained() == {
        "mods/echo/greet.txt2": "echo reads it while it serves; oa-dev reload echo brings it",
        "mods/echo/kept.txt2": "echo reads it while it serves; oa-dev restart brings it",
        "mods/echo/other.txt2": UNSEEN,
    }


WRITES = """
async def write(self):
    await asyncio.get_running_loop().run_in_executor(None, FILE.write_text, "2")
    database = sqlite3.connect(HERE / "app.db")
    with database:
        database.execute("create table if not exists t (n integer)")
    database.close()

def initialize(self):
    self.read = FILE.read_text()
    self.listed = sorted(each.name for each in HERE.iterdir())

@mod_event_handler("echo.write")
async def on_write(self, event):
    await self.write()
    return EventResponse(True)
"""


async def test_what_a_mod_writes_itself_is_no_change(desk: Watching) -> None:
    """Whichever thread carried it out, and whatever C wrote it: it reloads nothing and is not told of."""
    head = f"import sqlite3\n{HERE}FILE = HERE / 'saved.json'\n"
    desk.write("mods/echo/saved.json", "1")
    desk.write("mods/echo/mod.py", mod_text("Echo", served("echo", 0) + WRITES, head))
    await desk.begin()
    for _ in range(3):
        assert (await desk.ask("echo.write")).success
        await desk.seen()
    assert desk.reloads() == []
    assert desk.explained() == {}
    assert (desk.folder / "mods/echo/app.db").is_file()


async def test_a_folder_that_a_mod_makes_for_its_data_is_no_change(desk: Watching) -> None:
    """Also in a folder that it has listed, where one that a person makes is a change."""
    own = (
        "def initialize(self):\n    store = HERE / 'store'\n    store.mkdir(exist_ok=True)\n"
        "    self.had = list(store.glob('*'))\n    (store / 'files').mkdir(exist_ok=True)\n"
    )
    desk.write("mods/echo/mod.py", mod_text("Echo", served("echo", 0) + own, HERE))
    await desk.begin()
    await desk.seen()
    assert desk.reloads() == []
    (desk.folder / "mods/echo/store/more").mkdir()
    await until(desk.reloads)
