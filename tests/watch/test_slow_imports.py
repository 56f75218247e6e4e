"""What takes long is told with its line, keeps no other save waiting, and ends when it is saved again."""

from __future__ import annotations

import threading

import pytest
from watching import Watching, echo
from workspaces import served, until

from devserver.model.facts import Status

MANY = f"def f(**given):\n    pass\n\n\nf({', '.join(f'word_{n}=1' for n in range(20_000))})\n"
"""It takes Python ten seconds to compile this, and no other thread runs meanwhile."""
HANGS = {
    "compiling": (echo(1, MANY), ()),
    "importing": (echo(1, "import time\nfor _ in range(600):\n    time.sleep(0.05)\n"), (6, 7)),
    "initialize()": (
        echo(1, "", "async def initialize(self):\n    await asyncio.sleep(9)\n"),
        (12, 13),
    ),
}


@pytest.mark.parametrize("doing", HANGS)
async def test_what_takes_long_is_told_and_ended_by_the_next_save(desk: Watching, doing: str) -> None:
    """No one waits for its limit to find out that it hangs, and where."""
    desk.write("mods/echo/mod.py", echo(0))
    await desk.begin(home="thread")
    text, lines = HANGS[doing]
    desk.write("mods/echo/mod.py", text)
    await until(lambda: bool(desk.notices()))
    told = f"echo v2: {doing} for 1 s"
    assert desk.notices()[0] in ({f"{told} at mods/echo/mod.py:{number}" for number in lines} or {told})
    desk.write("mods/echo/mod.py", echo(2))
    await desk.serves(2)
    ended = desk.reloads()[0]
    assert (ended.status, ended.reason) == (Status.SKIPPED, "given up, because it was saved again")


async def test_the_save_of_another_mod_does_not_wait_for_an_import_that_hangs(desk: Watching) -> None:
    """That one has its turn again afterwards."""
    desk.write("mods/echo/mod.py", echo(0))
    desk.mod("other", served("other", 0))
    await desk.begin("mods.echo", "mods.other", home="thread")
    wait = "import pathlib, time\nwhile not pathlib.Path(__file__).with_name('go').exists():\n    time.sleep(0.01)\n"
    desk.write("mods/echo/mod.py", echo(1, wait))
    await until(lambda: bool(desk.notices()))
    desk.mod("other", served("other", 1))
    await desk.serves(1, "other")
    assert await desk.version("echo") == 0
    (desk.folder / "mods/echo/go").touch()
    await desk.serves(1)


async def test_an_import_that_was_given_up_takes_nothing_from_a_later_one(desk: Watching) -> None:
    """Its code ends late, in the middle of another import, and Python then takes a failed module out of its table."""
    others = {each.ident for each in threading.enumerate()}  # as the import that another test has left hanging
    desk.write("mods/echo/mod.py", echo(0))
    await desk.begin(home="thread")
    go, take_part = "pathlib.Path(__file__).with_name('go')", "from . import part\n"
    pause = "        time.sleep(0.01)\n"
    hangs = f"try:\n    while True:\n{pause}finally:\n    while not {go}.exists():\n{pause}"
    desk.write("mods/echo/part.py", f"import pathlib, time\n{hangs}")
    desk.write("mods/echo/mod.py", echo(1, take_part))
    await until(lambda: bool(desk.notices()))
    desk.write("mods/echo/mod.py", echo(2))
    await desk.serves(2)
    await desk.end()
    waits = (
        "for each in threading.enumerate():\n"
        f"    if each is not me and each.name == me.name and each.ident not in {others}:\n"
        "        each.join(20)\n"
    )
    desk.write(
        "mods/echo/part.py", f"import pathlib, threading\n{go}.touch()\nme = threading.current_thread()\n{waits}"
    )
    desk.write("mods/echo/mod.py", echo(3, take_part))
    await desk.begin(home="thread")
    await desk.serves(3)
