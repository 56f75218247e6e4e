"""What a module binds to a thread or a context at its top works in its handlers, as where one thread does both."""

from __future__ import annotations

import pytest
from workspaces import Workspace

from devserver.model.facts import Notice

HOMES = ("same", "thread")
ASK = """
    @mod_event_handler("top.ask")
    async def ask(self, event):
        return EventResponse(True, "", {"code": %s})
"""
SQLITE = "import sqlite3\nDB = sqlite3.connect(':memory:')\nDB.execute('create table t (n)')\n"
COUNT = "[V, DB.execute('insert into t values (1) returning n').fetchone()[0]]"


def said(work: Workspace) -> list[str]:
    """The notices about threads."""
    return [each.message for each in work.facts if isinstance(each, Notice) and "mods' thread" in each.message]


async def answer(work: Workspace, event: str = "top.ask") -> object:
    """What the mod answers."""
    return (await work.ask(event)).data["code"]


@pytest.mark.parametrize("home", HOMES)
async def test_a_connection_of_sqlite_made_at_the_top_works_in_handlers(work: Workspace, home: str) -> None:
    """Its module is imported where they run, which is said once; the edits after it need no second attempt."""
    work.mod("top", ASK % COUNT, head=f"{SQLITE}V = 1\n")
    await work.start("mods.top", home=home)
    assert await answer(work) == [1, 1]
    assert len(said(work)) == 1
    assert "sqlite3 connection at " in said(work)[0]
    assert said(work)[0].endswith("mods/top.py:5")
    work.mod("top", ASK % COUNT, head=f"{SQLITE}V = 2\n")
    await work.net.reload_mod("top")
    assert await answer(work) == [2, 1]
    assert len(said(work)) == 1


async def test_a_module_without_such_a_thing_is_imported_beside_the_handlers_again(work: Workspace) -> None:
    """The edit that removes the connection is the last one that they wait for."""
    where = "import threading\nWHERE = threading.get_ident()\n"
    here = "[WHERE == threading.get_ident()]"
    work.mod("top", ASK % here, head=SQLITE + where)
    await work.start("mods.top", home="thread")
    assert await answer(work) == [True]
    for _ in range(2):
        work.mod("top", ASK % here, head=where)
        await work.net.reload_mod("top")
    assert await answer(work) == [False]


async def test_a_failed_import_on_the_mods_thread_leaves_the_last_generation(work: Workspace) -> None:
    """The error is the author's, and the connection of what runs still works."""
    work.mod("top", ASK % COUNT, head=f"{SQLITE}V = 1\n")
    await work.start("mods.top", home="thread")
    work.mod("top", ASK % COUNT, head=f"{SQLITE}V = 1 / 0\n")
    failed = await work.net.reload_mod("top")
    assert "division by zero" in failed.message
    assert await answer(work) == [1, 1]


@pytest.mark.parametrize("home", HOMES)
async def test_the_running_loop_is_there_at_the_top(work: Workspace, home: str) -> None:
    """A task that is started there runs in the mods' loop."""
    head = "async def work():\n    return 7\nTASK = asyncio.get_running_loop().create_task(work())\n"
    work.mod("top", ASK % "await TASK", head="import asyncio\n" + head)
    await work.start("mods.top", home=home)
    assert await answer(work) == 7


async def test_get_event_loop_gives_the_loop_of_the_handlers(work: Workspace) -> None:
    """Without moving the import to their thread."""
    work.mod(
        "top", ASK % "LOOP is asyncio.get_running_loop()", head="import asyncio\nLOOP = asyncio.get_event_loop()\n"
    )
    await work.start("mods.top", home="thread")
    assert await answer(work) is True
    assert not said(work)


@pytest.mark.parametrize("home", HOMES)
async def test_context_variables_set_at_the_top_are_set_in_handlers(work: Workspace, home: str) -> None:
    """Decimal's context is one of them. Those of another mod are not changed, and an edit that sets none ends it."""
    head = "import contextvars, decimal\nWHO = contextvars.ContextVar('who', default='nobody')\n"
    asked = "[WHO.get(), str(decimal.Decimal(1) / 3)]"
    work.mod("top", ASK % asked, head=head + "WHO.set('acme')\ndecimal.getcontext().prec = 4\n")
    work.mod("other", ASK.replace("top.", "other.") % "str(decimal.Decimal(1) / 3)", head="import decimal\n")
    await work.start("mods.top", "mods.other", home=home)
    assert await answer(work) == ["acme", "0.3333"]
    assert len(str(await answer(work, "other.ask"))) > 20
    work.mod("top", ASK % asked, head=head)
    await work.net.reload_mod("top")
    who, third = await answer(work)  # type: ignore[misc]
    assert who == "nobody"
    assert len(third) > 20


async def test_a_mod_sees_the_context_of_a_module_that_it_shares(work: Workspace) -> None:
    """While it is imported and in its handlers, though another mod has imported that first."""
    work.write("mods/shared.py", "import decimal\ndecimal.getcontext().prec = 3\n")
    head = "import decimal\nimport mods.shared\nTHIRD = str(decimal.Decimal(1) / 3)\n"
    for name in ("first", "top"):
        work.mod(name, ASK.replace("top.", f"{name}.") % "[THIRD, str(decimal.Decimal(1) / 3)]", head=head)
    await work.start("mods.first", "mods.top", home="thread")
    assert await answer(work) == ["0.333", "0.333"]
    work.mod("top", ASK % "[THIRD, str(decimal.Decimal(2) / 3)]", head=head)
    await work.net.reload_mod("top")
    assert await answer(work) == ["0.333", "0.667"]


async def test_what_a_handler_sets_in_its_context_ends_with_it(work: Workspace) -> None:
    """The next one finds what the module has set."""
    head = "import contextvars\nWHO = contextvars.ContextVar('who')\nWHO.set('acme')\n"
    work.mod("top", ASK % "[WHO.get(), WHO.set('else') and 1]", head=head)
    await work.start("mods.top")
    assert [await answer(work), await answer(work)] == [["acme", 1], ["acme", 1]]


async def test_the_constructor_and_initialize_see_the_context(work: Workspace) -> None:
    """As code of their module."""
    head = "import contextvars\nWHO = contextvars.ContextVar('who')\nWHO.set('acme')\n"
    hooks = """
    def __init__(self):
        super().__init__()
        self.seen = [WHO.get()]
    def initialize(self):
        self.seen.append(WHO.get())
        return True
    """
    work.mod("top", hooks + ASK % "self.seen", head=head)
    await work.start("mods.top", home="thread")
    assert await answer(work) == ["acme", "acme"]


async def test_a_thread_local_filled_at_the_top_is_filled_for_handlers(work: Workspace) -> None:
    """Also by a helper; what handlers put there since stays when a mod that only uses it is reloaded."""
    work.write("mods/own.py", "import threading\nLOCAL = threading.local()\nLOCAL.n = 1\n")
    asked = "[vars(LOCAL).setdefault('more', 0), LOCAL.n, setattr(LOCAL, 'n', LOCAL.n + 1)]"
    work.mod("top", ASK % asked, head="from mods.own import LOCAL\n")
    await work.start("mods.top", home="thread")
    assert await answer(work) == [0, 1, None]
    work.mod("top", ASK % asked, head="from mods.own import LOCAL\nV = 2\n")
    await work.net.reload_mod("top")
    assert await answer(work) == [0, 2, None]


async def test_a_thread_local_of_a_failed_reload_is_as_it_was(work: Workspace) -> None:
    """What the new code put into one that it shares goes again."""
    work.write("mods/own.py", "import threading\nLOCAL = threading.local()\nLOCAL.n = 1\n")
    work.mod("top", ASK % "LOCAL.n", head="from mods.own import LOCAL\n")
    await work.start("mods.top", home="thread")
    fails = "def initialize(self):\n        raise RuntimeError('no')\n"
    work.mod("top", f"    {fails}" + ASK % "LOCAL.n", head="from mods.own import LOCAL\nLOCAL.n = 5\n")
    assert not (await work.net.reload_mod("top")).success
    assert await answer(work) == 1
