"""A mod that is listed before its source is there, or whose place was refused, is loaded as soon as it can be."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from watching import Watching, echo
from workspaces import mod_text, served, until

from devserver.model.facts import Status
from devserver.model.lifecycle import Action

NEW = mod_text("Fresh", served("fresh", 1))


@pytest.mark.parametrize(
    "order",
    [
        ("mods/fresh/mod.py",),
        ("mods/fresh/__init__.py", "mods/fresh/mod.py"),
        ("mods/fresh/mod.py", "mods/fresh/__init__.py"),
        ("mods/fresh", "mods/fresh/mod.py"),
        ("mods/fresh", "mods/fresh/__init__.py", "mods/fresh/mod.py"),
        ("mods/fresh", "mods/fresh/words.py", "mods/fresh/mod.py"),
        ("mods/fresh.py",),
        ("mods/fresh", "mods/fresh.py"),
    ],
)
@pytest.mark.parametrize("listed", ["live", "at the start"])
async def test_a_mod_that_is_written_after_it_was_listed_is_loaded(
    desk: Watching, order: tuple[str, ...], listed: str
) -> None:
    """In whatever order its folder and files are made, and whether network.yaml named it at the start or later."""
    desk.write("mods/echo/mod.py", echo(0))
    await desk.begin(*(["mods.echo"] if listed == "live" else ["mods.echo", "mods.fresh"]))
    if listed == "live":
        desk.yaml("mods.echo", "mods.fresh")
    await until(lambda: any(each.mod_id == "fresh" for each in desk.outcomes()))
    for path in order:
        if path.endswith(".py"):
            desk.write(path, {"__init__.py": "", "words.py": ""}.get(Path(path).name, NEW))
        else:
            (desk.folder / path).mkdir()
        await desk.seen()
    await desk.serves(1, "fresh")
    assert desk.running()["echo"] == 1


async def test_a_network_yaml_that_names_a_mod_which_is_not_there_applies_the_rest(desk: Watching) -> None:
    """That mod is held, and told with the line that names it."""
    desk.write("mods/echo/mod.py", echo(0))
    desk.mod("other", served("other", 1))
    await desk.begin("mods.echo")
    desk.yaml("mods.echo", "mods.fresh", "mods.other")
    await desk.serves(1, "other")
    held = next(each for each in desk.outcomes() if each.mod_id == "fresh")
    assert (held.action, held.status, held.generation) == (Action.LOAD, Status.SKIPPED, 0)
    assert held.reason.startswith("no mod mods.fresh: looked for mods/fresh/mod.py")
    assert held.error is not None and held.error.where is not None
    assert (held.error.where.file, held.error.where.line) == ("network.yaml", 5)


def _world_writable(desk: Watching, file: Path) -> None:
    file.chmod(0o666)


def _folder_world_writable(desk: Watching, file: Path) -> None:
    file.parent.chmod(0o777)


def _of_another(desk: Watching, file: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can give files away")
    os.chown(file, 4321, -1)


def _linked_out(desk: Watching, file: Path) -> None:
    outside = desk.folder.parent / "outside.py"
    os.replace(file, outside)
    file.symlink_to(outside)


def _mended(file: Path) -> None:
    if file.is_symlink():
        text = file.read_text()
        file.unlink()
        file.write_text(text)
    file.parent.chmod(0o755)
    file.chmod(0o644)
    if os.getuid() == 0:
        os.chown(file, 0, -1)


BAD_PLACES = [_world_writable, _folder_world_writable, _of_another, _linked_out]


@pytest.mark.parametrize("spoil", BAD_PLACES)
async def test_a_mod_whose_place_was_refused_is_loaded_when_the_place_is_mended_and_saved(
    desk: Watching, spoil
) -> None:
    """Also where it is saved as it was: what was refused was its place."""
    desk.write("mods/echo/mod.py", echo(0))
    file = desk.write("mods/fresh/mod.py", NEW)
    spoil(desk, file)
    await desk.begin("mods.echo", "mods.fresh")
    failed = next(each for each in desk.outcomes() if each.mod_id == "fresh")
    assert failed.error is not None and failed.error.kind == "ModRefused"
    await desk.seen()
    assert len([each for each in desk.outcomes() if each.mod_id == "fresh"]) == 1
    _mended(file)
    os.replace(desk.write("mods/fresh/.mod.py.swp", NEW), file)
    await desk.serves(1, "fresh")


@pytest.mark.parametrize("spoil", BAD_PLACES[:3])
async def test_a_helper_that_others_may_have_written_is_not_executed(desk: Watching, spoil) -> None:
    """The rule for the source of a mod holds for everything that is executed; what runs keeps running."""
    helper = desk.write("lib/words.py", "WORD = 1\n")
    desk.write("mods/echo/mod.py", echo(0, "import lib.words"))
    await desk.begin()
    spoil(desk, helper)
    helper.write_text("WORD = 2\n")
    await until(lambda: len(desk.reloads()) == 1)
    outcome = desk.reloads()[0]
    assert outcome.status is Status.ROLLED_BACK
    assert outcome.error is not None and outcome.error.kind == "ModRefused"
    assert "lib/words.py is not executed" in outcome.error.message
    _mended(helper)
    helper.write_text("WORD = 2\n")
    await until(lambda: desk.running() == {"echo": 2})
