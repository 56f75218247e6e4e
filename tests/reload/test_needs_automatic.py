"""What mods need comes along with them, stays as long as it is needed, and goes afterwards."""

from __future__ import annotations

import gc
import weakref
from textwrap import dedent

from workspaces import Workspace, mod_text, served, until

from devserver import AgentNetwork
from devserver.errors import ModFault
from devserver.model.change import UndoAsked, UnloadAsked
from devserver.model.facts import ModError, Notice, PlanMade, Status


def needing(name: str, *requires: str, version: str = "1", more: str = "") -> str:
    return served(name, 1, f"requires = {list(requires)!r}\nversion = {version!r}\n{more}")


def last(work: Workspace, mod: str):
    return [each for each in work.outcomes() if each.mod_id == mod][-1]


def plans(work: Workspace) -> list[list[tuple[str, str, str]]]:
    """Each plan that was told, as its steps with their reasons."""
    made = [each.plan for each in work.told(PlanMade)]
    return [[(step.action.value, step.mod_id, step.reason) for step in plan.steps] for plan in made]


async def test_a_save_that_adds_a_need_loads_it(work: Workspace) -> None:
    """Before the reload, with its reason; and it is not asked for again."""
    work.mod("text", needing("text", version="1.2"))
    work.mod("board", served("board", 1))
    await work.start("mods.board")
    await work.save_mod("board", needing("board", "mods.text>=1.1"))
    assert work.running() == {"board": 2, "text": 1}
    assert plans(work)[-1] == [
        ("load", "text", "needed by board (mods.text>=1.1)"),
        ("reload", "board", "mods/board.py changed"),
    ]


async def test_what_is_needed_and_fails_changes_nothing_of_what_runs(work: Workspace) -> None:
    """The mod that needs it keeps its version and says so; a save of what failed brings both."""
    work.mod("text", needing("text"), "LIMIT = {}['pages']\n")
    work.mod("board", served("board", 1))
    await work.start("mods.board")
    await work.save_mod("board", needing("board", "mods.text"))
    assert work.running() == {"board": 1}
    assert last(work, "text").status is Status.FAILED
    assert last(work, "text").error.where.line == 4
    board = last(work, "board")
    assert (board.status, board.generation) == (Status.SKIPPED, 1)
    assert board.reason == "it needs mods.text, which did not load"
    await work.save_mod("text", needing("text"))
    assert work.running() == {"board": 2, "text": 1}


async def test_a_helper_of_what_failed_brings_both_when_it_is_saved(work: Workspace) -> None:
    """What was looked for on behalf of a need belongs to the attempt of the mod that needs it."""
    work.write("mods/limits.py", "PAGES = {}['pages']\n")
    work.mod("text", needing("text"), "from mods.limits import PAGES\n")
    work.mod("board", needing("board", "mods.text"))
    await work.start("mods.board")
    assert work.running() == {}
    await work.save("mods/limits.py", "PAGES = 3\n")
    assert work.running() == {"board": 1, "text": 1}


async def test_what_is_needed_and_nowhere_is_loaded_once_it_is_there(work: Workspace) -> None:
    """A file that appears is reason enough."""
    work.mod("board", needing("board", "mods.text"))
    await work.start("mods.board")
    await work.save_mod("text", needing("text"))
    assert work.running() == {"board": 1, "text": 1}


async def test_what_came_along_goes_with_the_last_mod_that_needs_it(work: Workspace) -> None:
    """In a plan of its own, with what it needed itself; what is asked for by name stays."""
    for name, need in (("store", []), ("text", ["mods.store"]), ("board", ["mods.text"]), ("page", ["mods.text"])):
        work.mod(name, needing(name, *need))
    await work.start("mods.board", "mods.page")
    assert set(work.running()) == {"board", "page", "text", "store"}
    await work.save_yaml("mods.page")
    assert set(work.running()) == {"page", "text", "store"}
    await work.save_yaml()
    assert work.running() == {}
    assert plans(work)[-1] == [("unload", "text", "came with board"), ("unload", "store", "came with text")]
    assert work.told(PlanMade)[-1].plan.cause == "no mod needs it any more"


async def test_a_save_that_drops_a_need_lets_it_go(work: Workspace) -> None:
    """As an unload does."""
    work.mod("text", needing("text"))
    work.mod("board", needing("board", "mods.text"))
    await work.start("mods.board")
    await work.save_mod("board", served("board", 2))
    assert work.running() == {"board": 2}


async def test_what_came_along_goes_when_the_mod_that_needs_it_fails(work: Workspace) -> None:
    """The good version runs on without it."""
    work.mod("text", needing("text"))
    work.mod("board", served("board", 1))
    await work.start("mods.board")
    await work.save_mod("board", needing("board", "mods.text"), "raise ValueError('no')\n")
    assert work.running() == {"board": 1}
    assert plans(work)[-1] == [("unload", "text", "came with board, which did not load")]


async def test_what_came_along_and_is_asked_for_stays(work: Workspace) -> None:
    """By a load, and by network.yaml."""
    for name in ("text", "store"):
        work.mod(name, needing(name))
    work.mod("board", needing("board", "mods.text", "mods.store"))
    await work.start("mods.board")
    kept = await work.net.load_mod("mods.text")
    assert (kept.success, kept.message) == (True, "Successfully kept mod: text")
    await work.save_yaml("mods.board", "mods.store")
    await work.save_yaml("mods.store")
    assert set(work.running()) == {"text", "store"}


async def test_an_unload_refuses_cascades_or_is_forced(work: Workspace) -> None:
    """And says which mods need it."""
    work.mod("wiki", needing("wiki"))
    work.mod("board", needing("board", "mods.wiki"))
    work.mod("search", needing("search", "mods.wiki", "mods.board"))
    await work.start("mods.wiki", "mods.board", "mods.search")
    refused = await work.net.unload_mod("wiki")
    assert refused.message == "Failed to unload mod wiki: board, search need it; wiki v1 keeps running"
    done = await work.net.submit(UnloadAsked("board"))
    assert done.plan.holds[0].cascade == ("search",)
    assert (await work.net.unload_mod("wiki", cascade=True)).success
    assert plans(work)[-1] == [
        ("unload", "search", "needs wiki"),
        ("unload", "board", "needs wiki"),
        ("unload", "wiki", "unload_mod"),
    ]
    assert work.running() == {}
    assert [each.mod_id for each in work.outcomes()][-3:] == ["search", "board", "wiki"]
    await work.net.load_mod("mods.search")
    assert (await work.net.unload_mod("wiki", force=True)).success
    assert set(work.running()) == {"board", "search"}


async def test_a_cascade_and_a_tidy_leave_python_as_before_the_load(work: Workspace) -> None:
    """No module of them is left, and nothing holds their classes."""
    work.mod("echo", served("echo", 1))
    for name, need in (("store", []), ("text", ["mods.store"]), ("board", ["mods.text"])):
        work.mod(name, needing(name, *need))
    await work.start("mods.echo")
    before = work.modules()
    await work.net.load_mod("mods.board")
    classes = [weakref.ref(type(work.instance(name))) for name in ("store", "text", "board")]
    await work.net.unload_mod("text", cascade=True)
    assert work.running() == {"echo": 1}
    assert work.modules() == before
    work.facts.clear()
    await until(lambda: gc.collect() >= 0 and all(each() is None for each in classes))


async def test_mods_that_need_each_other_are_named_and_come_once_the_circle_is_cut(work: Workspace) -> None:
    """Wherever it is cut."""
    work.mod("text", needing("text", "mods.board"))
    work.mod("board", needing("board", "mods.text"))
    await work.start("mods.board")
    assert work.running() == {}
    reason = "they need each other: board → text → board (mods/text.py:11); make one of the needs optional"
    assert last(work, "board").reason == reason
    await work.save_mod("text", needing("text"))
    assert set(work.running()) == {"board", "text"}
    await work.save_mod("text", needing("text", "mods.board"))
    assert last(work, "text").reason == (
        "they need each other: text → board → text (mods/board.py:11); make one of the needs optional; "
        "text v1 keeps running"
    )


async def test_a_version_that_is_held_comes_when_the_other_side_is_saved(work: Workspace) -> None:
    """Whichever of the two was saved first."""
    work.mod("wiki", needing("wiki", version="1"))
    work.mod("board", needing("board", "mods.wiki<2"))
    await work.start("mods.wiki", "mods.board")
    await work.save_mod("wiki", needing("wiki", version="2"))
    assert work.running() == {"wiki": 1, "board": 1}
    await work.save_mod("board", needing("board", "mods.wiki>=2"))
    assert work.running() == {"wiki": 2, "board": 2}
    await work.save_mod("board", needing("board", "mods.wiki>=3"))
    assert work.running() == {"wiki": 2, "board": 2}
    await work.save_mod("wiki", needing("wiki", version="3"))
    assert work.running() == {"wiki": 3, "board": 3}


async def test_an_undo_takes_along_what_the_code_of_before_needs(work: Workspace) -> None:
    """And lets go what the undone code had brought."""
    work.mod("text", needing("text"))
    work.mod("store", needing("store"))
    work.mod("board", needing("board", "mods.text"))
    await work.start("mods.board")
    await work.save_mod("board", needing("board", "mods.store"))
    assert set(work.running()) == {"board", "store"}
    done = await work.net.submit(UndoAsked())
    assert (done.plan.holds, set(work.running())) == ((), {"board", "text"})
    await work.net.submit(UndoAsked(redo=True))
    assert set(work.running()) == {"board", "store"}


async def test_a_need_outside_of_the_workspace_does_not_come_along(work: Workspace) -> None:
    """What a person has not listed or allowed is not imported from elsewhere."""
    work.mod("board", needing("board", "yaml"))
    await work.start("mods.board")
    assert work.running() == {}
    assert (
        "it needs yaml (mods/board.py:11), which is nowhere: the mod yaml is not on the list"
        in last(work, "board").reason
    )


# Mods that work with others

HEARS = """
    def initialize(self):
        self.seen = [self.network.mods()]

    def handle_mod_change(self, mod_id, version):
        self.seen.append((mod_id, version))
"""


def working(name: str, *others: str) -> str:
    return served(name, 1, f"optional = {list(others)!r}\n") + "\n" + dedent(HEARS)


async def test_a_mod_is_told_when_one_that_it_works_with_comes_changes_and_goes(work: Workspace) -> None:
    """It is not reloaded for that, and does not wait for it."""
    work.mod("search", working("search", "mods.analytics>=1"))
    await work.start("mods.search")
    search = work.instance("search")
    work.mod("analytics", needing("analytics", version="1.4"))
    await work.net.load_mod("mods.analytics")
    await until(lambda: len(search.seen) == 2)
    await work.save_mod("analytics", needing("analytics", version="1.5"))
    await work.save_mod("analytics", needing("analytics", version="1.5", more="x = 1\n"))
    await work.net.unload_mod("analytics")
    await until(lambda: len(search.seen) == 4)
    assert search.seen == [{}, ("analytics", "1.4"), ("analytics", "1.5"), ("analytics", None)]
    assert work.running() == {"search": 1}


async def test_a_version_that_does_not_suit_counts_as_absent_and_that_is_said(work: Workspace) -> None:
    """Once."""
    work.mod("search", working("search", "mods.analytics>=2"))
    work.mod("analytics", needing("analytics", version="1.4"))
    await work.start("mods.search", "mods.analytics")
    said = "search runs without analytics: it works with mods.analytics>=2 (mods/search.py:11), which is 1.4"
    assert [each.message for each in work.told(Notice)] == [said]
    assert work.instance("search").seen == [{"analytics": "1.4"}]
    await work.save_mod("analytics", needing("analytics", version="2.0"))
    await until(lambda: work.instance("search").seen[-1] == ("analytics", "2.0"))
    await work.save_mod("analytics", needing("analytics", version="1.4"))
    await until(lambda: work.instance("search").seen[-1] == ("analytics", None))
    assert [each.message for each in work.told(Notice)] == [said]


async def test_a_hook_that_raises_is_an_error_of_its_mod(work: Workspace) -> None:
    """And of nothing else."""
    raising = "def handle_mod_change(self, mod_id, version):\n    raise KeyError(mod_id)\n"
    work.mod("search", served("search", 1, f"optional = ['mods.analytics']\n{raising}"))
    work.mod("analytics", needing("analytics"))
    await work.start("mods.search")
    await work.net.load_mod("mods.analytics")
    await until(lambda: bool(work.told(ModError)))
    [error] = work.told(ModError)
    assert (error.mod_id, error.event_name, error.error.kind) == ("search", "handle_mod_change", "KeyError")


# What only the code tells

COMPUTED = "VERSION = '{}'\nNEEDS = {}\n"
SAYS = "version = VERSION\nrequires = [*NEEDS]\n"


async def test_a_computed_version_that_does_not_suit_is_not_served(work: Workspace) -> None:
    """It is seen before anything that serves is touched, at its line."""
    work.mod("wiki", served("wiki", 1, SAYS), COMPUTED.format("1.5", []))
    work.mod("board", needing("board", "mods.wiki<2"))
    await work.start("mods.wiki", "mods.board")
    await work.save_mod("wiki", served("wiki", 2, SAYS), COMPUTED.format("2.0", []))
    wiki = last(work, "wiki")
    assert (wiki.status, wiki.error.message) == (
        Status.ROLLED_BACK,
        "wiki 2.0 does not suit board, which needs mods.wiki<2",
    )
    assert (wiki.error.where.file, wiki.error.where.line) == ("mods/wiki.py", 13)
    assert work.running() == {"wiki": 1, "board": 1}
    await work.save_mod("wiki", served("wiki", 2, SAYS), COMPUTED.format("1.6", []))
    assert work.running() == {"wiki": 2, "board": 1}


async def test_a_computed_need_is_looked_at_too(work: Workspace) -> None:
    """On a load and on a reload; nothing comes along for it, and that is said."""
    work.mod("text", needing("text", version="1"))
    work.mod("board", served("board", 1, SAYS), COMPUTED.format("1", ["mods.text>=1"]))
    await work.start("mods.board")
    assert work.running() == {}
    assert (
        "it needs mods.text>=1, which is not loaded; what requires names in a list" in last(work, "board").error.message
    )
    await work.net.load_mod("mods.text")
    await work.net.load_mod("mods.board")
    await work.save_mod("board", served("board", 1, SAYS), COMPUTED.format("1", ["mods.text>=2"]))
    assert last(work, "board").error.message == "it needs mods.text>=2, and text is 1"
    assert work.running() == {"text": 1, "board": 1}


async def test_what_was_forced_out_is_not_asked_for_again_by_a_helper(work: Workspace) -> None:
    """Who has forced it knows; a save of the mod itself brings it back."""
    work.write("mods/lib.py", "X = 1\n")
    work.mod("text", needing("text"))
    work.mod("board", needing("board", "mods.text"), "from mods.lib import X\n")
    await work.start("mods.board")
    await work.net.unload_mod("text", force=True)
    await work.save("mods/lib.py", "X = 2\n")
    assert work.running() == {"board": 2}
    await work.save_mod("board", needing("board", "mods.text", version="2"), "from mods.lib import X\n")
    assert work.running() == {"board": 3, "text": 2}


# Packages

BLOCK = "# /// script\n# dependencies = ['{}']\n# ///\n"


async def test_a_save_that_needs_a_missing_package_is_held_with_its_line(work: Workspace) -> None:
    """What ran keeps running; a save without it is reloaded, and a package that is there is enough."""
    work.mod("search", served("search", 1))
    await work.start("mods.search")
    await work.save_mod("search", served("search", 2), BLOCK.format("no-such-package>=3"))
    assert last(work, "search").reason == (
        "it needs no-such-package>=3 (mods/search.py:5), which is not installed: oa-dev sync brings it; "
        "search v1 keeps running"
    )
    await work.save_mod("search", served("search", 2), BLOCK.format("pydantic>=99"))
    assert "(mods/search.py:5), and pydantic 2." in last(work, "search").reason
    await work.save_mod("search", served("search", 2), BLOCK.format('no-such >= 1; python_version < "3"'))
    assert work.running() == {"search": 2}
    await work.save_mod("search", served("search", 3), BLOCK.format("pydantic>=2"))
    assert work.running() == {"search": 3}


async def test_a_saved_project_that_needs_a_missing_package_holds_its_mod(work: Workspace) -> None:
    """What lies beside a mod counts as what it says itself, also when that alone is saved."""
    work.write("mods/search/mod.py", mod_text("Search", served("search", 1)))
    work.write("mods/search/pyproject.toml", "[project]\nname = 'search'\n")
    await work.start("mods.search")
    await work.save("mods/search/pyproject.toml", "[project]\nname = 'search'\ndependencies = ['no-such-package']\n")
    assert "it needs no-such-package (mods/search/pyproject.toml:3)" in last(work, "search").reason
    await work.save("mods/search/pyproject.toml", "[project]\nname = 'search'\nversion = '2'\n")
    assert (work.running(), work.net.versions()) == ({"search": 2}, {"search": "2"})


async def test_a_need_that_is_dropped_lets_the_other_side_go_on(work: Workspace) -> None:
    """Both saved together: what it no longer says counts no more."""
    work.mod("wiki", needing("wiki", version="1"))
    work.mod("board", needing("board", "mods.wiki<2"))
    await work.start("mods.wiki", "mods.board")
    files = [work.mod("wiki", needing("wiki", version="2")), work.mod("board", served("board", 2))]
    await work.saved(*files)
    assert work.running() == {"wiki": 2, "board": 2}


async def test_a_mod_that_may_not_be_loaded_leaves_out_those_that_need_it(work: Workspace) -> None:
    """As where an earlier run has ended at its code: the rest comes."""
    for name, need in (("text", []), ("board", ["mods.text"]), ("echo", [])):
        work.mod(name, needing(name, *need))
    work.yaml("mods.board", "mods.echo")
    work.network = AgentNetwork.load(work.folder, tell=work.facts.append)

    def admit(mod_path: str) -> None:
        if mod_path == "mods.text":
            raise ModFault("it ended the process 3 times")

    work.net.engine.locate.admits.append(admit)
    await work.net.initialize()
    assert work.running() == {"echo": 1}
    assert last(work, "board").reason == "it needs mods.text, which did not load"
