"""What modules of mods register with each other: taken back alone, so that the module that holds it goes on."""

from __future__ import annotations

import sys

import pytest

from tests.loader.conftest import Workshop

HUBS = {
    "a list": ("HELD = []\ndef add(f): HELD.append(f)\ndef held(): return [f() for f in HELD]\n"),
    "a table in a class": (
        "class Table:\n    rows = {}\ndef add(f): Table.rows.setdefault('rows', []).append((1, f))\n"
        "def held(): return [f() for _, f in Table.rows.get('rows', [])]\n"
    ),
    "an object of its own": (
        "class Hub:\n    def __init__(self): self.by_name = {}\nHUB = Hub()\n"
        "def add(f): HUB.by_name[f.__module__] = [f]\ndef held(): return [f() for (f,) in HUB.by_name.values()]\n"
    ),
    "a closure": (
        "def make():\n    held = set()\n    return held.add, lambda: sorted((f() for f in held), key=str)\n"
        "add, held = make()\n"
    ),
    "a table behind a large one": (
        "WORDS = {n: str(n) for n in range(5000)}\nHELD = []\ndef add(f): HELD.append(f)\n"
        "def held(): return [f() for f in HELD]\n"
    ),
}
USER = "from hub import add\ndef mine(): return {n!r}\nadd(mine)\n"


@pytest.mark.parametrize("kind", HUBS)
async def test_a_reload_replaces_its_own_registrations_alone(workshop: Workshop, kind: str) -> None:
    """The hub is the same module with the same data, the other's registration stays, and there is one of each."""
    workshop.write("hub", HUBS[kind])
    workshop.write("one", USER.format(n=1))
    workshop.write("two", USER.format(n="two"))
    workshop.build(entry="one").keep()
    workshop.build(entry="two").keep()
    hub = sys.modules["hub"]
    for n in (2, 3):
        workshop.write("one", USER.format(n=n))
        workshop.build("one", entry="one").keep()
        assert sorted(hub.held(), key=str) == [n, "two"]
    assert sys.modules["hub"] is hub


@pytest.mark.parametrize("kind", HUBS)
async def test_registrations_come_back_when_the_new_code_fails(workshop: Workshop, kind: str) -> None:
    """As many as before, of the code that runs, in their order."""
    workshop.write("hub", HUBS[kind])
    workshop.write("one", USER.format(n=1))
    workshop.write("two", USER.format(n="two"))
    workshop.build(entry="one").keep()
    workshop.build(entry="two").keep()
    before = sys.modules["hub"].held()
    workshop.write("one", USER.format(n=2))
    workshop.build("one", entry="one").undo()
    assert sorted(sys.modules["hub"].held(), key=str) == sorted(before, key=str)


async def test_data_that_a_handler_has_put_there_stays(workshop: Workshop) -> None:
    """It was not put there by the top of the module that is replaced, and nothing of it is that module's."""
    workshop.write("hub", "ROOMS = {}\nFILTERS = []\nclass Room: pass\n")
    workshop.write("one", "from hub import FILTERS\nFILTERS.append(lambda text: text)\n")
    workshop.build(entry="one").keep()
    hub = sys.modules["hub"]
    hub.ROOMS["lobby"] = hub.Room()
    workshop.write("one", "from hub import FILTERS\nFILTERS.append(lambda text: text.upper())\n")
    workshop.build("one", entry="one").keep()
    assert list(hub.ROOMS) == ["lobby"]
    assert [each("a") for each in hub.FILTERS] == ["A"]
