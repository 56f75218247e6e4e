"""A save that changes nothing reloads nothing, and why nothing happened is said in one line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from watching import Watching, echo

from devserver.model.facts import Ignored
from devserver.sources.ignore import NEW_FOLDER, SAME, UNSEEN, Explainer, Rules


@pytest.mark.parametrize("way", ["touch", "the same again", "chmod", "renamed over by the same"])
async def test_what_leaves_the_content_as_it_was_reloads_nothing(desk: Watching, way: str) -> None:
    """A hundred times, and the rule is told."""
    file = desk.write("mods/echo/mod.py", echo(0))
    await desk.begin()
    for number in range(100):
        match way:
            case "touch":
                os.utime(file)
            case "chmod":
                file.chmod(0o600 + number % 2 * 0o44)
            case "the same again":
                file.write_text(echo(0))
            case _:
                file.with_name("mod.py~").write_text(echo(0))
                file.with_name("mod.py~").replace(file)
    await desk.seen()
    assert (desk.reloads(), desk.reported, desk.explained()) == ([], [], {"mods/echo/mod.py": SAME})


async def test_a_save_that_is_notified_of_twice_is_one_change_and_one_line(desk: Watching) -> None:
    """A second notification of the same save says nothing new."""
    file = desk.write("mods/echo/mod.py", echo(0))
    await desk.begin()
    file.write_text(echo(1))
    await desk.serves(1)
    desk.watch._wake({str(file)})
    desk.write("mods/echo/notes.md", "once")
    await desk.seen()
    desk.watch._wake({str(file.with_name("notes.md"))})
    await desk.seen()
    desk.assert_reloaded(1)
    assert [each.path for each in desk.told(Ignored) if not each.path.startswith("mark")] == ["mods/echo/notes.md"]


RULES = {
    "mods/echo/notes.md": UNSEEN,
    "mods/echo/unused.py": "no mod imports it",
    "mods/another/mod.py": "no mod imports it",
    "mods/echo/trace.log": ".gitignore: *.log",
    "mods/.hidden/x.py": "not code of a mod: restart to use it",
    "README.md": UNSEEN,
}
"""By path: the rule that a new file there is told with."""

SILENT = ("mods/echo/.mod.py.swp", "mods/echo/mod.py~", "mods/echo/__pycache__/mod.pyc", "mods/echo/4913", ".oa-dev/x")


@pytest.mark.parametrize("path", RULES)
async def test_a_save_that_led_to_nothing_is_told_with_its_rule(desk: Watching, path: str) -> None:
    """Whether the file is new, in a new folder, or was there before."""
    desk.write(".gitignore", "*.log\n")
    desk.write("mods/echo/mod.py", echo(0))
    await desk.begin()
    desk.write(path, "new")
    await desk.seen()
    assert desk.explained() == {path: RULES[path]}
    assert desk.reloads() == []


async def test_a_new_folder_that_no_mod_imports_from_is_told(desk: Watching) -> None:
    """Saves in it are not seen, which a person should know; a folder of an environment or a cache is passed over."""
    desk.write("mods/echo/mod.py", echo(0))
    await desk.begin()
    desk.write("helpers/words.py", "ALL = 1\n")
    desk.write(".venv/pyvenv.cfg", "")
    await desk.seen()
    assert (desk.explained(), desk.reloads()) == ({"helpers": NEW_FOLDER}, [])


async def test_what_no_person_saves_is_passed_over(desk: Watching) -> None:
    """Temporary files, caches and our own files lead to no line."""
    desk.write("mods/echo/mod.py", echo(0))
    await desk.begin()
    for path in SILENT:
        desk.write(path, "x")
    await desk.seen()
    assert (desk.explained(), desk.reloads()) == ({}, [])


async def test_a_changed_gitignore_counts_from_then_on(desk: Watching) -> None:
    """The line that is told is the new one."""
    desk.write("mods/echo/mod.py", echo(0))
    await desk.begin()
    desk.write(".gitignore", "*.md\n")
    await desk.seen()
    desk.write("mods/echo/notes.md", "new")
    await desk.seen()
    assert desk.explained() == {"mods/echo/notes.md": ".gitignore: *.md"}


async def test_many_saves_at_once_are_one_line_for_each_rule(desk: Watching) -> None:
    """The first is named, and the number of the others."""
    desk.write("mods/echo/mod.py", echo(0))
    await desk.begin()
    outside = desk.folder.parent / "texts"
    outside.mkdir()
    for number in range(50):
        (outside / f"n{number:02}.md").write_text("x")
    outside.rename(desk.folder / "mods" / "texts")
    await desk.seen()
    assert desk.explained() == {"mods/texts/n00.md and 49 more": UNSEEN}


async def test_a_new_module_that_is_imported_by_the_same_change_is_no_stranger(desk: Watching) -> None:
    """A helper and the mod that begins to use it, saved together, are one reload and no line."""
    file = desk.write("mods/echo/mod.py", echo(0))
    await desk.begin()
    desk.write("mods/echo/words.py", "ALL = 1\n")
    file.write_text(echo(1, "from mods.echo.words import ALL"))
    await desk.serves(1)
    await desk.seen()
    desk.assert_reloaded(1)
    desk.write("mods/echo/words.py", "ALL = 2\n")
    await desk.seen()
    desk.assert_reloaded(2)


def explained(tmp_path: Path, times: tuple[float, ...]) -> list[Ignored]:
    told: list[Ignored] = []
    explainer = Explainer(lambda path: True, lambda path: path.name, told.append)
    file = tmp_path / "data.json"
    file.write_text("{}")
    for now in times:
        explainer.explain(set(), {file}, Rules(tmp_path), now)
    return told


def test_a_file_that_is_written_all_the_time_is_told_once_a_second(tmp_path: Path) -> None:
    """A mod may write its data at every event."""
    assert len(explained(tmp_path, (0.0, 0.1, 0.5, 0.9, 1.1, 1.2, 2.2))) == 3
