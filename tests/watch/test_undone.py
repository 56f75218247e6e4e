"""What was undone stays undone while it is watched: only what is saved after that is served."""

from __future__ import annotations

from watching import Watching, echo
from workspaces import until

from devserver.model.change import UndoAsked
from devserver.model.facts import Status
from devserver.sources.files import sources_now


async def swept(desk: Watching, times: int = 2) -> None:
    """Return when everything was asked for and compared again, without any notification."""
    for _ in range(times):
        sweeps, asks = desk.watch._sweeps.due, desk.watch._asks.due
        await until(lambda sweeps=sweeps, asks=asks: desk.watch._sweeps.due > sweeps and desk.watch._asks.due > asks)
    await desk.seen()


async def test_an_undo_is_not_taken_back_by_the_watch(desk: Watching) -> None:
    """The source on disk is another one than what runs, and that is what was asked for; the next save is served."""
    file = desk.write("mods/echo/mod.py", echo(0))
    await desk.begin()
    file.write_text(echo(1))
    await desk.serves(1)
    await desk.net.submit(UndoAsked())
    await desk.serves(0)
    await swept(desk)
    assert (await desk.version("echo"), desk.running()) == (0, {"echo": 3})
    file.write_text(echo(2))
    await desk.serves(2)
    desk.assert_reloaded(3)


async def test_an_undo_holds_for_a_helper_and_for_what_could_not_be_loaded_after_it(desk: Watching) -> None:
    """Also where the last save before the undo was a broken one; when that is mended it is served."""
    desk.write("mods/echo/mod.py", echo("WORD", "from lib.words import WORD").replace("'WORD'", "WORD"))
    words = desk.write("lib/words.py", "WORD = 0\n")
    await desk.begin()
    words.write_text("WORD = 1\n")
    await desk.serves(1)
    words.write_text("WORD = (\n")
    await until(lambda: [each.status for each in desk.reloads()] == [Status.APPLIED, Status.ROLLED_BACK])
    await desk.net.submit(UndoAsked())
    await desk.serves(0)
    await swept(desk)
    assert desk.running() == {"echo": 3}
    words.write_text("WORD = 2\n")
    await desk.serves(2)


async def test_undo_and_back_again_is_as_it_was(desk: Watching) -> None:
    """What runs is what is on disk then, and every save counts as ever."""
    file = desk.write("mods/echo/mod.py", echo(0))
    await desk.begin()
    file.write_text(echo(1))
    await desk.serves(1)
    for version, redo in ((0, False), (1, True)):
        await desk.net.submit(UndoAsked(redo=redo))
        await desk.serves(version)
    await swept(desk)
    desk.assert_reloaded(3)
    file.write_text(echo(0))
    await desk.serves(0)
    desk.assert_reloaded(4)


async def test_a_broken_save_after_an_undo_is_dealt_with_once(desk: Watching) -> None:
    """It fails, and what is known of the source is what is on disk: nothing is left to decide."""
    file = desk.write("mods/echo/mod.py", echo(0))
    await desk.begin()
    file.write_text(echo(1))
    await desk.serves(1)
    await desk.net.submit(UndoAsked())
    file.write_text("def broken(:\n")
    await until(lambda: desk.reloads()[-1].status is Status.ROLLED_BACK)
    await swept(desk)
    known = dict(desk.net.engine.knowledge.sources())
    assert known[file] == sources_now([file])[file]
