"""One save is one reading: what was compared is what is executed, and a file that is kept open delays no other."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import pytest
from watching import Watching, echo
from workspaces import mod_text, served

from devserver.loader import modules
from devserver.model.change import FilesChanged
from devserver.sources import files, settle
from devserver.sources.files import digest_of
from devserver.sources.settle import QUIET_WHEN_EMPTY, Settling


async def test_a_saved_source_is_read_hashed_and_compiled_once(desk: Watching, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the notification to the swap."""
    file = desk.write("mods/echo/mod.py", echo(0))
    await desk.begin()
    reads: list[Path] = []
    hashed: list[bytes] = []
    read, digest = files.read_bytes, files.digest_of

    def counted_read(path: Path) -> bytes | None:
        reads.append(path)
        return read(path)

    def counted_digest(data: bytes) -> str:
        hashed.append(data)
        return digest(data)

    compiled: list[Path] = []
    compile_text = modules.compile_text

    def counted_compile(path: Path, data: bytes, digest: str) -> modules.Text:
        compiled.append(path)
        return compile_text(path, data, digest)

    monkeypatch.setattr(modules, "compile_text", counted_compile)
    for room in ("sources.settle", "sources.files", "loader.finder", "loader.build"):
        monkeypatch.setattr(f"devserver.{room}.digest_of", counted_digest)
    for room in ("sources.settle", "sources.files", "loader.finder", "reload.declared"):
        monkeypatch.setattr(f"devserver.{room}.read_bytes", counted_read)
    desk.never_sweep()
    beside = file.with_name(".mod.py.swp")
    beside.write_text(echo(1))
    os.replace(beside, file)
    await desk.serves(1)
    assert reads.count(file) == compiled.count(file) == 1
    assert hashed.count(echo(1).encode()) == 1


async def test_sources_that_are_saved_while_another_is_read_are_one_change(
    desk: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first is read as soon as it is whole; the quiet time for the others runs meanwhile."""
    file = desk.write("mods/echo/mod.py", echo(0, "from mods.echo.words import ALL"))
    words = desk.write("mods/echo/words.py", "ALL = 0\n")
    await desk.begin()
    desk.never_sweep()
    read = settle.read_bytes

    def also_saved(path: Path) -> bytes | None:
        if path == file and words.read_text() == "ALL = 0\n":
            words.write_text("ALL = 1\n")
        return read(path)

    monkeypatch.setattr("devserver.sources.settle.read_bytes", also_saved)
    # A loaded machine may take longer for one reading than is waited for others.
    monkeypatch.setattr("devserver.sources.watch.AT_MOST", 60.0)
    desk.reported.clear()
    file.write_text(echo(1, "from mods.echo.words import ALL"))
    await desk.serves(1)
    assert desk.reported == [{path: digest_of(path.read_bytes()) for path in (file, words)}]


async def test_what_was_compared_is_executed_though_the_file_has_changed_since(desk: Watching) -> None:
    """What has come to be on disk is a save of its own."""
    file = desk.write("mods/echo/mod.py", echo(0))
    await desk.start("mods.echo")
    data = echo(1).encode()
    file.write_text(echo(2))
    await desk.net.submit(FilesChanged({file: digest_of(data)}, texts={file: data}))
    assert await desk.version("echo") == 1


async def test_a_file_that_is_kept_open_delays_no_other(desk: Watching) -> None:
    """One file's wait is its own."""
    open_one = desk.write("mods/echo/mod.py", echo(0))
    desk.mod("other", served("other", 0))
    await desk.begin("mods.echo", "mods.other")
    with open_one.open("r+b", buffering=0) as stream:
        stream.write(b"# kept open")
        desk.mod("other", served("other", 1))
        await desk.serves(1, "other")
        assert await desk.version("echo") == 0
        assert desk.reloads() == []


async def test_what_is_written_through_a_mapping_that_stays_open_is_seen(
    desk: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Again and again, by the second sweep: neither a notification nor the time of the file tells of it."""
    size, sweeps = 4096, []
    file = desk.write("mods/echo/mod.py", f"{echo(0)}# ".ljust(size, "x"))
    await desk.begin()
    sweep = desk.watch._sweep

    async def counted() -> set[Path]:
        sweeps.append(len(desk.reported))
        return await sweep()

    monkeypatch.setattr(desk.watch, "_sweep", counted)
    with file.open("r+b") as stream, mmap.mmap(stream.fileno(), size) as mapped:
        for version in (1, 2, 3):
            mapped[:] = f"{echo(version)}# ".ljust(size, "x").encode()
            await desk.serves(version)
    assert all(sweeps.count(before) <= 2 for before in range(3)), sweeps


def test_an_empty_file_that_is_touched_is_no_reason_to_wait(tmp_path: Path) -> None:
    """It holds what it is known to hold; another empty file may be one that is about to be written."""
    file = tmp_path / "__init__.py"
    file.touch()
    assert Settling(file, known=digest_of(b"")).look() is not None
    assert QUIET_WHEN_EMPTY > 0 and Settling(file, known=digest_of(b"X = 1")).look() is None


TOLD = """
class Search(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)
    query: str
    '''{text}'''
"""


async def test_a_text_below_a_field_is_a_change(desk: Watching) -> None:
    """It is no bytecode, and means something all the same."""
    head = "from pydantic import BaseModel, ConfigDict\n"
    body = served("echo", 0).replace('"version": 0', '"version": Search.model_fields["query"].description')
    assert "Search" in body
    desk.write("mods/echo/mod.py", mod_text("Echo", body, head + TOLD.format(text="one")))
    await desk.begin()
    assert await desk.version("echo") == "one"
    desk.write("mods/echo/mod.py", mod_text("Echo", body, head + TOLD.format(text="two")))
    await desk.serves("two")
