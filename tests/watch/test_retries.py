"""An attempt that has failed is made again when anything that it depended on has changed, and not before."""

from __future__ import annotations

import asyncio

import pytest
from watching import Watching, echo
from workspaces import served, until

from devserver.model.facts import Status


def statuses(desk: Watching, mod: str = "echo") -> list[Status]:
    """What became of each step on a mod since it was loaded."""
    return [each.status for each in desk.reloads(mod)]


@pytest.mark.parametrize("folder_is_there", [True, False])
async def test_a_module_of_a_namespace_package_that_comes_later_is_noticed(
    desk: Watching, folder_is_there: bool
) -> None:
    """A folder without an __init__ is a package too, as soon as it is there with a module in it."""
    desk.write("mods/echo/mod.py", echo(0))
    if folder_is_there:
        (desk.folder / "lib").mkdir()
    await desk.begin()
    desk.write("mods/echo/mod.py", echo(1, "import lib.extra"))
    await until(lambda: statuses(desk) == [Status.ROLLED_BACK])
    await desk.seen()
    desk.write("lib/extra.py", "")
    await desk.serves(1)
    await until(lambda: statuses(desk) == [Status.ROLLED_BACK, Status.APPLIED])


async def test_a_deeper_namespace_package_that_comes_later_is_noticed(desk: Watching) -> None:
    """Its folders come one by one, as a person makes them."""
    desk.write("mods/echo/mod.py", echo(0))
    await desk.begin()
    desk.write("mods/echo/mod.py", echo(1, "from lib.deep.er import extra"))
    await until(lambda: statuses(desk) == [Status.ROLLED_BACK])
    for folder in ("lib", "lib/deep", "lib/deep/er"):
        (desk.folder / folder).mkdir()
        await desk.seen()
    desk.write("lib/deep/er/extra.py", "")
    await desk.serves(1)


async def test_a_helper_that_another_mod_has_loaded_is_something_an_attempt_depends_on(desk: Watching) -> None:
    """It was not read for the attempt: it was there already, without the name that is imported."""
    desk.write("lib/words.py", "OLD = 1\n")
    desk.mod("other", served("other", 1), "from lib.words import OLD\n")
    desk.write("mods/echo/mod.py", echo(0))
    await desk.begin("mods.echo", "mods.other")
    desk.write("mods/echo/mod.py", echo(1, "from lib.words import NEW"))
    await until(lambda: statuses(desk) == [Status.ROLLED_BACK])
    desk.mod("other", served("other", 2), "from lib.words import OLD\n")
    await desk.serves(2, "other")
    assert statuses(desk) == [Status.ROLLED_BACK]
    desk.write("lib/words.py", "OLD = NEW = 1\n")
    await desk.serves(1)
    await until(lambda: statuses(desk) == [Status.ROLLED_BACK, Status.APPLIED])


async def test_a_helper_that_only_passes_a_name_on_is_one_too(desk: Watching) -> None:
    """The name comes from a module behind it."""
    desk.write("lib/deep.py", "OLD = 1\n")
    desk.write("lib/words.py", "from lib.deep import *\n")
    desk.mod("other", served("other", 1), "from lib.words import OLD\n")
    desk.write("mods/echo/mod.py", echo(0))
    await desk.begin("mods.echo", "mods.other")
    desk.write("mods/echo/mod.py", echo(1, "from lib.words import NEW"))
    await until(lambda: statuses(desk) == [Status.ROLLED_BACK])
    desk.write("lib/deep.py", "OLD = NEW = 1\n")
    await desk.serves(1)


async def test_a_helper_that_another_mod_could_not_be_reloaded_with_counts_when_it_is_loaded(desk: Watching) -> None:
    """What was saved of it long ago reaches the attempt that needs it with the mod that has kept it away."""
    desk.write("lib/words.py", "OLD = 1\n")
    desk.mod("other", served("other", 1), "from lib.words import OLD\n")
    desk.write("mods/echo/mod.py", echo(0))
    await desk.begin("mods.echo", "mods.other")
    desk.write("lib/words.py", "NEW = 1\n")
    await until(lambda: statuses(desk, "other") == [Status.ROLLED_BACK])
    desk.write("mods/echo/mod.py", echo(1, "from lib.words import NEW"))
    await until(lambda: statuses(desk) == [Status.ROLLED_BACK])
    desk.mod("other", served("other", 2), "from lib.words import NEW\n")
    await desk.serves(2, "other")
    await desk.serves(1)
    await until(lambda: statuses(desk) == [Status.ROLLED_BACK, Status.APPLIED])


async def test_a_mod_that_did_not_load_is_tried_again_when_its_helper_of_another_changes(desk: Watching) -> None:
    """Not only reloads: what network.yaml lists and does not run yet waits for it as well."""
    desk.write("lib/words.py", "OLD = 1\n")
    desk.mod("other", served("other", 1), "from lib.words import OLD\n")
    desk.write("mods/echo/mod.py", echo(1, "from lib.words import NEW"))
    await desk.begin("mods.other", "mods.echo")
    assert list(desk.running()) == ["other"]
    desk.write("lib/words.py", "OLD = NEW = 1\n")
    async with asyncio.timeout(60):
        await desk.serves(1)
