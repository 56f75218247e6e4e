"""Half a file is never loaded: writers that are slow, that are killed, and that never stop."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from watching import Watching, echo
from workspaces import until

from devserver.model.facts import Status

FILLING = "\n".join(f"TEXT_{number} = {'x' * 60!r}" for number in range(1000))

CUT_WRITER = """
import sys, time
with open(sys.argv[1], "wb", buffering=0) as file:
    text = sys.stdin.buffer.read()
    cut = int(sys.argv[2])
    for start in range(0, cut, 16):
        file.write(text[start:min(start + 16, cut)])
    print("cut", flush=True)
    sys.stdin.readline()
    time.sleep(60)
"""


def in_chunks(file: Path, text: str, chunks: int, pause: float) -> None:
    data = text.encode()
    size = len(data) // chunks + 1
    with file.open("wb", buffering=0) as open_file:
        for start in range(0, len(data), size):
            open_file.write(data[start : start + size])
            time.sleep(pause)  # the pause is what is tested


async def test_a_slow_save_is_loaded_when_its_writer_is_done(desk: Watching) -> None:
    """Twenty pieces in 600 ms are one reload, of the whole file."""
    file = desk.write("mods/echo/mod.py", echo(0))
    await desk.begin()
    await asyncio.to_thread(in_chunks, file, echo(1, FILLING), 20, 0.03)
    await desk.serves(1)
    await desk.seen()
    desk.assert_reloaded(1)


async def test_two_files_saved_slowly_at_once_are_one_reload(desk: Watching) -> None:
    """What is saved while another file is waited for belongs to the same change."""
    file = desk.write("mods/echo/mod.py", echo(0, "from mods.echo import words"))
    words = desk.write("mods/echo/words.py", "ALL = 0\n")
    await desk.begin()
    texts = ((file, echo(1, "from mods.echo import words\nassert words.ALL == 1\n" + FILLING)), (words, "ALL = 1\n"))
    await asyncio.gather(*(asyncio.to_thread(in_chunks, path, text, 10, 0.02) for path, text in texts))
    await desk.serves(1)
    await desk.seen()
    desk.assert_reloaded(1)


async def test_a_file_that_is_only_emptied_is_waited_for(desk: Watching) -> None:
    """Between the emptying and the writing of a file nothing is loaded."""
    file = desk.write("mods/echo/mod.py", echo(0))
    await desk.begin()
    for version in range(1, 6):
        with file.open("wb", buffering=0):
            pass
        await asyncio.to_thread(time.sleep, 0.01)  # the pause is what is tested
        file.write_text(echo(version))
        await desk.serves(version)
    await desk.seen()
    desk.assert_reloaded(5)


async def test_a_writer_that_never_closes_the_file_is_not_waited_for_for_ever(desk: Watching) -> None:
    """What it has written so far is served within two seconds."""
    file = desk.write("mods/echo/mod.py", echo(0))
    await desk.begin()
    with file.open("w") as open_file:
        open_file.write(echo(1))
        open_file.flush()
        async with asyncio.timeout(60):
            await desk.serves(1)
    await desk.seen()
    desk.assert_reloaded(1)


async def kill_while_saving(desk: Watching, file: Path, text: str, cut: int) -> None:
    """Let a process write the first `cut` bytes and kill it there."""
    writer = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CUT_WRITER, str(file), str(cut), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert writer.stdin is not None and writer.stdout is not None
    writer.stdin.write(text.encode())
    writer.stdin.write_eof()
    await writer.stdout.readline()
    writer.send_signal(signal.SIGKILL)
    await writer.wait()


def whole_or_nothing(version: int) -> str:
    """The source of a mod of which no beginning is a source."""
    return f"exec({echo(version)!r})"


async def assert_cut_saves_do_no_harm(desk: Watching, cuts: int) -> None:
    file = desk.write("mods/echo/mod.py", echo(0))
    await desk.begin()
    chance = random.Random(7)
    for version in range(1, cuts + 1):
        text = whole_or_nothing(version)
        before = await desk.version("echo")
        await kill_while_saving(desk, file, text, chance.randrange(len(text)))
        await desk.seen()
        assert await desk.version("echo") == before
        file.write_text(text)
        await desk.serves(version)
    assert {each.status for each in desk.reloads()} <= {Status.APPLIED, Status.ROLLED_BACK}


async def test_a_save_that_is_cut_off_leaves_the_old_generation_serving(desk: Watching) -> None:
    """Wherever its writer was killed; the next save recovers."""
    await assert_cut_saves_do_no_harm(desk, 25)


@pytest.mark.slow
async def test_a_hundred_saves_that_are_cut_off_do_no_harm(desk: Watching) -> None:
    """A hundred times, wherever their writers were killed."""
    await assert_cut_saves_do_no_harm(desk, 100)


def storm(save: Callable[[int], None], seconds: float) -> int:
    """Save as fast as it goes for so long; how often that was."""
    until_then = time.monotonic() + seconds
    times = 0
    while time.monotonic() < until_then:
        times += 1
        save(times)
    return times


@pytest.mark.parametrize("replacing", [False, True], ids=["written over", "renamed over"])
async def test_a_storm_of_saves_ends_with_the_last_one_serving(desk: Watching, replacing: bool) -> None:
    """Two seconds of saves are few reloads, none of which fails, and the last save is served."""
    file = desk.write("mods/echo/mod.py", echo(0))
    await desk.begin()

    def save(version: int) -> None:
        target = file.with_name("mod.py~") if replacing else file
        target.write_text(echo(version))
        if replacing:
            target.replace(file)
        time.sleep(0.002)  # a thousand in two seconds

    saves = await asyncio.to_thread(storm, save, 2.0)
    async with asyncio.timeout(60):
        await desk.serves(saves)
    await desk.seen()
    found = desk.reloads()
    assert {each.status for each in found} == {Status.APPLIED}, [str(each.error) for each in found]
    # A thousand saves are ten reloads at most; on a busy machine a storm has lulls.
    assert len(found) <= max(10, saves // 10)


async def test_a_save_while_a_plan_is_carried_out_is_seen_after_it(desk: Watching) -> None:
    """What was saved while the mod was starting is loaded next."""
    file = desk.write("mods/echo/mod.py", echo(0))
    await desk.begin()
    reached, go = asyncio.Event(), asyncio.Event()
    desk.net.pause = (reached, go)  # type: ignore[attr-defined]
    wait = """
        async def initialize(self):
            reached, go = self.network._services.pause
            reached.set()
            await go.wait()
    """
    file.write_text(echo(1, more=wait))
    await reached.wait()
    file.write_text(echo(2))
    await until(lambda: str(file) in desk.watch._notified)
    go.set()
    await desk.serves(2)
    await desk.seen()
    desk.assert_reloaded(2)
