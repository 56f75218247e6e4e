"""What no one needs to hear of: what the server and the mods write themselves. What is not seen is told, once."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nursery import forking
from process import OA_DEV, PATIENCE
from watching import Watching, echo
from workspaces import Workspace, served, until

from devserver.sources import watch as watch_module
from devserver.sources.ignore import UNSEEN, Walk, walk_directories

WRITES = """
    @mod_event_handler("echo.write")
    def write(self, event):
        path = pathlib.Path(__file__).parent / "data.json"
        path.with_suffix(".part").write_text(str(event.payload))
        path.with_suffix(".part").replace(path)
"""


async def test_what_a_mod_writes_itself_is_never_told(desk: Watching) -> None:
    """Beside its source, by a rename too; also after its code has changed, and when it has been unloaded."""
    desk.write("mods/echo/mod.py", echo(0, "import pathlib", WRITES))
    await desk.begin()
    await desk.ask("echo.write", n=1)
    await desk.seen()
    desk.write("mods/echo/mod.py", echo(1, "import pathlib", WRITES))
    await desk.serves(1)
    data = desk.folder / "mods/echo/data.json"
    data.write_text("what lingered has written this")
    await desk.seen()
    await desk.net.unload_mod("echo")
    data.write_text("its end has written this")
    await desk.seen()
    assert desk.explained() == {}
    desk.write("mods/echo/notes.txt", "a person has written this")
    await until(lambda: desk.explained() == {"mods/echo/notes.txt": UNSEEN})


READS = """
    @mod_event_handler("echo.write")
    async def write(self, event):
        await asyncio.sleep(0)
        self.file().write_text(str(event.payload))

    def initialize(self):
        self.text = self.file().read_text() if self.file().exists() else ""

    def file(self):
        return pathlib.Path(__file__).parent / "data.json"
"""


async def test_data_that_an_earlier_generation_wrote_is_no_source_of_the_next(desk: Watching) -> None:
    """The next reads it when it starts; what lingers of the first may write it after that."""
    desk.write("mods/echo/mod.py", echo(0, "import pathlib", READS))
    await desk.begin()
    await desk.ask("echo.write", n=1)
    desk.write("mods/echo/mod.py", echo(1, "import pathlib", READS))
    await desk.serves(1)
    assert desk.instance("echo").text == "{'n': 1}"
    (desk.folder / "mods/echo/data.json").write_text("written late")
    await desk.seen()
    desk.assert_reloaded(1)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    """A network in whose folder the server's own output goes."""
    work = Workspace(tmp_path)
    work.mod("echo", served("echo", 1))
    work.yaml("mods.echo")
    yield tmp_path / "out.log"


def lines(log: Path) -> list[dict[str, Any]]:
    """What was written to the log so far, whole lines only."""
    return [json.loads(each) for each in log.read_text().splitlines(keepends=True) if each.endswith("\n")]


async def test_the_servers_own_output_in_the_workspace_is_never_told(log: Path) -> None:
    """`oa-dev run > out.log`: what is said of a save would be a save itself."""
    with log.open("ab") as stream, forking():
        process = await asyncio.create_subprocess_exec(
            *(OA_DEV, "run", "--json", "--port", "0"),
            cwd=log.parent,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
        )
    try:
        await until(lambda: any(each["type"] == "ready" for each in lines(log)))
        for number in range(4):
            mark = log.with_name(f"mark{number}.md")

            def told(name: str = mark.name) -> bool:
                log.with_name(name).write_text("seen?")
                return any(each.get("path") == name for each in lines(log))

            await until(told)
        assert {each["path"] for each in lines(log) if each["type"] == "ignored"} == {f"mark{n}.md" for n in range(4)}
    finally:
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(PATIENCE):
            assert await process.wait() == 0


async def test_a_folder_with_too_many_directories_is_told_of_once(
    desk: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often it is looked through again."""

    def cut_short(root: Path, rules: Any) -> Walk:
        return walk_directories(root, rules, 3)

    monkeypatch.setattr(sys.modules["devserver.sources.notify"], "walk_directories", cut_short)
    for number in range(5):
        desk.write(f"mods/many{number}/words.txt", "")
    desk.write("mods/echo/mod.py", echo(0))
    await desk.begin()
    for number in range(3):
        desk.write(f"mods/echo/more{number}/words.txt", "")
        await desk.seen()
    limit = watch_module.MAX_DIRECTORIES
    assert desk.notices() == [f"mods holds more than {limit} directories; changes in the others are not seen"]


async def test_a_folder_that_may_not_be_read_is_told_of_once(desk: Watching, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read everything, so the walk says so in its place."""

    def refused(root: Path, rules: Any) -> Walk:
        found = walk_directories(root, rules)
        secret = tuple(each for each in found.directories if each.name == "secret")
        return Walk((), tuple(each for each in found.directories if each not in secret), secret)

    monkeypatch.setattr(sys.modules["devserver.sources.notify"], "walk_directories", refused)
    desk.write("mods/secret/words.txt", "")
    desk.write("mods/echo/mod.py", echo(0))
    await desk.begin()
    desk.write("mods/echo/more/words.txt", "")
    await until(lambda: any(each.endswith("mods/echo/more") for each in desk.watch._ground.directories))
    await desk.seen()
    assert desk.notices() == ["mods/secret may not be read; changes in it are not seen"]
