"""What modules of mods register with each other: taken back alone, so that the module that holds it goes on."""

from __future__ import annotations

import sys

import pytest

from devserver.loader.refused import Others
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


OWNED = (
    "S = 1\nO = {'a': 1}\nL = []\nT = ()\nclass K:\n    n = 1\n    def v(self): return 1\n"
    "class App: pass\nAPP = App()\nAPP.n = 1\n"
)
SETS = {
    "a global": ("hub.S = {n}", "hub.S", 1, 6),
    "an entry": ("hub.O.update(a={n})", "hub.O", {"a": 1}, {"a": 6}),
    "a new entry": ("hub.O['b{n}'] = {n}", "hub.O", {"a": 1}, {"a": 1, "b6": 6}),
    "a text in a list": ("hub.L.append('help'); hub.L.append('help')", "hub.L", [], ["help", "help"]),
    "an attribute of a class": ("hub.K.n = {n}", "hub.K.n", 1, 6),
    "a method of a class": ("v = hub.K.v\ndef mine(self): return v(self) + {n}\nhub.K.v = mine", "hub.K().v()", 1, 7),
    "an attribute of an object": ("hub.APP.n = {n}", "hub.APP.n", 1, 6),
    "a tuple": ("hub.T += (lambda: {n},)", "[f() for f in hub.T]", [], [6]),
}


@pytest.mark.parametrize("kind", SETS)
async def test_what_a_module_sets_in_another_one_is_set_as_by_a_fresh_start(workshop: Workshop, kind: str) -> None:
    """Once, by the code that runs, on top of what was there; and not at all when the code does not set it any more."""
    statement, asked, at_first, then = SETS[kind]
    workshop.write("hub", OWNED)
    workshop.write("one", f"import hub\n{statement.format(n=5)}\n")
    workshop.build(entry="one").keep()
    names = {"hub": sys.modules["hub"]}
    workshop.write("one", f"import hub\n{statement.format(n=6)}\n")
    workshop.build("one", entry="one").keep()
    assert eval(asked, names) == then
    workshop.write("one", "import hub\n")
    workshop.build("one", entry="one").keep()
    assert eval(asked, names) == at_first


async def test_of_two_that_add_to_a_tuple_each_takes_its_own_back(workshop: Workshop) -> None:
    """Whichever was first."""
    workshop.write("hub", OWNED)
    for name in ("one", "two"):
        workshop.write(name, f"import hub\nhub.T += (lambda: {name!r},)\n")
        workshop.build(entry=name).keep()
    workshop.write("one", "import hub\nhub.T += (lambda: 1,)\n")
    workshop.build("one", entry="one").keep()
    assert [each() for each in sys.modules["hub"].T] == ["two", 1]


async def test_a_part_of_a_package_that_is_imported_for_the_first_time_is_looked_at(workshop: Workshop) -> None:
    """`from lib import part` executes the part before its package has it as an attribute."""
    workshop.write("lib/__init__", "")
    workshop.write("lib/part", "O = {}\n")
    workshop.write("one", "from lib import part\npart.O['a'] = 1\n")
    workshop.build(entry="one").keep()
    workshop.write("one", "from lib import part\n")
    workshop.build("one", entry="one").keep()
    assert sys.modules["lib.part"].O == {}


async def test_plain_values_that_others_put_there_during_an_import_are_theirs(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They went when that import failed, or at the next save of its mod. What the importing code itself says is its
    own, and goes with it."""
    monkeypatch.setattr(Others, "have_run", lambda self: True)
    workshop.write(
        "hub",
        "SEEN, JOBS, LIMITS, NAMES = {}, ['first', 'second'], {}, []\n"
        "def meanwhile():\n    SEEN.setdefault('ann', 41)\n    SEEN['n'] = len(SEEN)\n    del JOBS[:1]\n",
    )
    top = "import hub\nhub.meanwhile()\nhub.LIMITS['rows'] = {n}\nhub.NAMES.append(__name__)\n"
    workshop.write("one", top.format(n=1))
    workshop.build(entry="one").keep()
    hub = sys.modules["hub"]
    del hub.SEEN["ann"]
    workshop.write("one", top.format(n=2))
    workshop.build("one", entry="one").undo()
    assert (hub.SEEN["ann"], hub.JOBS, hub.LIMITS, hub.NAMES) == (41, [], {"rows": 1}, ["one"])
    workshop.write("one", "import hub\n")
    workshop.build("one", entry="one").keep()
    assert (hub.SEEN["ann"], hub.JOBS, hub.LIMITS, hub.NAMES) == (41, [], {}, [])
