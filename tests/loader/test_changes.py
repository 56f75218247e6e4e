"""What code of mods does to the process: taken back before its successor runs, put back when that fails."""

from __future__ import annotations

import http.cookies
import json
import logging
import os
import socket
import sys
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from devserver.live.generation import Activity
from devserver.loader.changes import (
    ProcessChanges,
    Stepwise,
    _Recording,
    changes_of,
    outdated_by,
    recording,
    refuse,
    source_of,
)
from devserver.loader.places import attribute_place, dict_place, list_place
from devserver.loader.refused import Attempt, Others, take_back
from devserver.loader.tables import Change, differences
from devserver.mod import BaseMod
from devserver.reload import hooks
from tests.loader.conftest import Workshop

GUARDS: dict[str, tuple[str, Callable[[], Any]]] = {
    "a default of the environment": (
        "import os\nos.environ.setdefault('TRUTH_GUARD', '{n}')\n",
        lambda: os.environ.get("TRUTH_GUARD"),
    ),
    "a handler that is added once": (
        "import logging\nlog = logging.getLogger('truth.guard')\n"
        "if not log.handlers:\n    log.addHandler(logging.NullHandler())\nX = {n}\n",
        lambda: len(logging.getLogger("truth.guard").handlers),
    ),
    "a wrapped function": (
        "import json\nbefore = json.dumps\ndef dumps(value, **options):\n    return before(value, **options) + '{n}'\n"
        "json.dumps = dumps\n",
        lambda: json.dumps(0)[1:],
    ),
    "a wrapped method": (
        "from http.cookies import SimpleCookie\nbefore = SimpleCookie.value_encode\n"
        "def encode(self, value):\n    return (*before(self, value), '{n}')\nSimpleCookie.value_encode = encode\n",
        lambda: http.cookies.SimpleCookie().value_encode("a")[2:],
    ),
    "a registered converter": (
        "import copyreg\ncopyreg.pickle(complex, lambda value: (complex, ({n}, 0)))\n",
        lambda: str(sys.modules["copyreg"].dispatch_table.get(complex) is not None),
    ),
    "a limit": ("import sys\nsys.setrecursionlimit(4000 + {n})\n", lambda: sys.getrecursionlimit() - 4000),
    "a timeout": ("import socket\nsocket.setdefaulttimeout({n}.5)\n", socket.getdefaulttimeout),
    "a stream": ("import io, sys\nsys.stderr = io.StringIO('{n}')\n", lambda: getattr(sys.stderr, "getvalue", str)()),
}


@pytest.fixture(autouse=True)
def activity(monkeypatch: pytest.MonkeyPatch) -> Activity:
    """The calls of mods' code, without those that other tests have left hanging in this process."""
    own = Activity()
    monkeypatch.setattr("devserver.loader.changes.activity", own)
    return own


@pytest.mark.parametrize("kind", GUARDS)
async def test_after_reloads_the_process_is_as_after_one_start(workshop: Workshop, kind: str) -> None:
    """Guards find nothing of the old code, wrappers wrap the original, and in the end nothing is left."""
    source, state = GUARDS[kind]
    untouched = state()
    expected = []
    for n in (1, 2, 3):
        workshop.write("entry", source.format(n=n))
        workshop.build(entry="entry").keep()
        expected.append(state())
        workshop.finder.modules.forget(["entry"])
        assert state() == untouched
    seen = []
    for n in (1, 2, 3):
        workshop.write("entry", source.format(n=n))
        workshop.build(*(["entry"] if n > 1 else []), entry="entry").keep()
        seen.append(state())
    assert seen == expected


@pytest.mark.parametrize("kind", GUARDS)
async def test_a_failed_build_leaves_what_the_old_code_did(workshop: Workshop, kind: str) -> None:
    """What was taken back before the attempt is put back exactly after it."""
    source, state = GUARDS[kind]
    workshop.write("entry", source.format(n=1))
    workshop.build(entry="entry").keep()
    running = state()
    workshop.write("entry", source.format(n=2))
    workshop.build("entry", entry="entry").undo()
    assert state() == running


async def test_log_handlers_are_put_back_in_their_order_and_open(workshop: Workshop) -> None:
    """An undo puts the very handlers back between those that were around them, and closes none."""
    log = logging.getLogger("truth.order")
    workshop.write(
        "entry",
        "import logging\nclosed = []\nclass Mine(logging.NullHandler):\n"
        "    def close(self):\n        closed.append(self)\n        super().close()\n"
        "logging.getLogger('truth.order').addHandler(Mine())\n",
    )
    workshop.build(entry="entry").keep()
    log.addHandler(logging.NullHandler())
    before = list(log.handlers)
    workshop.build("entry", entry="entry").undo()
    assert log.handlers == before
    assert before[0] not in sys.modules["entry"].closed
    log.handlers.clear()


async def test_what_a_library_does_when_it_is_first_imported_is_the_librarys(
    workshop: Workshop, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not imported again, so its set-up stays; the mod's other changes go."""
    place = tmp_path_factory.mktemp("site")
    (place / "truthlib.py").write_text("import os, sys\nos.environ['TRUTH_LIB'] = '1'\nsys.path.append('/truth/lib')\n")
    monkeypatch.syspath_prepend(str(place))
    workshop.write("entry", "import os\nos.environ['TRUTH_A'] = '1'\nimport truthlib\nos.environ['TRUTH_B'] = '1'\n")
    workshop.build(entry="entry").keep()
    workshop.write("entry", "import truthlib\n")
    workshop.build("entry", entry="entry").keep()
    assert {name for name in os.environ if name.startswith("TRUTH_")} == {"TRUTH_LIB"}
    assert "/truth/lib" in sys.path
    sys.path.remove("/truth/lib")
    del os.environ["TRUTH_LIB"], sys.modules["truthlib"]


async def test_what_others_do_between_the_steps_of_an_async_hook_is_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what runs within a step of the hook itself is noted, by one photograph that is kept current."""
    changes, photographs = ProcessChanges(), []
    begin = _Recording.__init__
    monkeypatch.setattr(_Recording, "__init__", lambda self: (photographs.append(self), begin(self))[1])

    class Pause:
        def __await__(self) -> Any:
            yield

    async def hook() -> int:
        os.environ["TRUTH_MINE"] = "1"
        await Pause()
        os.environ["TRUTH_MINE_TOO"] = "1"
        return 5

    steps = Stepwise(hook(), changes, None).__await__()
    next(steps)
    os.environ["TRUTH_THEIRS"] = "1"
    with pytest.raises(StopIteration) as stop:
        next(steps)
    assert stop.value.value == 5 and len(photographs) == 1
    changes.end()
    assert {name for name in os.environ if name.startswith("TRUTH_")} == {"TRUTH_THEIRS"}
    del os.environ["TRUTH_THEIRS"]


def test_what_a_handler_did_meanwhile_on_its_thread_is_its_own(activity: Activity) -> None:
    """While a module is executed on one thread, changes of others count as its own only where its code shows them."""
    changes = ProcessChanges()
    with recording(changes, None):
        activity.begun += 1
        os.environ["TRUTH_THEIRS"] = "1"
        activity.ended += 1
    changes.end()
    assert os.environ.pop("TRUTH_THEIRS") == "1"


def test_a_thread_that_ran_while_an_attempt_was_made_is_seen() -> None:
    """What happened meanwhile may be its own: a refused attempt takes nothing of that back."""
    asked, done = threading.Event(), threading.Event()
    thread = threading.Thread(target=lambda: asked.wait() and done.set(), name="oa-dev mods", daemon=True)
    thread.start()
    others = Others()
    asked.set()
    thread.join()
    assert done.is_set() and others.have_run()
    others.close()


def test_a_thread_that_begins_while_an_attempt_is_made_is_seen() -> None:
    """A handler's first `asyncio.to_thread` starts one, which may register."""
    over = threading.Event()
    others = Others()
    assert not others.have_run()
    thread = threading.Thread(target=over.wait, daemon=True)
    thread.start()
    assert others.have_run()
    over.set()
    thread.join()
    others.close()


@pytest.mark.parametrize("kind", ["list", "tuple"])
def test_a_refused_version_takes_nothing_back_twice(kind: str) -> None:
    """Another mod has registered the same object: its entry went with the second time."""
    helper = ModuleType("helper")
    helper.HOOKS = hooks = [print]  # type: ignore[attr-defined]
    helper.NAMES = (print,)  # type: ignore[attr-defined]
    which, shared = ("helper", ""), {"is_of_mods": True}
    if kind == "list":
        place = list_place("registration", lambda: hooks, which=which, is_shared=True, **shared)
    else:
        place = attribute_place("registration", helper, which=which, **shared)
    owner, before = ProcessChanges(attempt=Attempt()), place.read()
    hooks.append(print)
    helper.NAMES += (print,)
    after = place.read()
    owner.attempt.note(place, before, after)
    owner.changes += [Change(place, *each) for each in differences(before, after)]
    refuse([owner])
    found = hooks if kind == "list" else helper.NAMES
    assert ([*found], owner.failed) == ([print], [])


def test_an_attempt_keeps_one_copy_of_a_table_that_it_alone_changes_step_by_step() -> None:
    """An `initialize()` of thousands of steps kept thousands of copies until its commit."""
    table: dict[int, int] = {}
    place = dict_place("registration", table, which=("helper", id(table)), is_shared=True, is_of_mods=True)
    attempt, seen = Attempt(), [place.read()]
    for number in range(3):
        table[number] = number
        seen.append(place.read())
        attempt.note(place, *seen[-2:])
    assert [each[2:] for each in attempt.turns] == [(seen[0], seen[3])]
    table["theirs"] = 1  # type: ignore[index]
    seen.append(place.read())
    table[3] = 3
    attempt.note(place, seen[-1], place.read())
    assert len(attempt.turns) == 2
    take_back([attempt])
    assert table == {"theirs": 1}


async def test_caches_of_libraries_are_no_changes_of_a_mod(workshop: Workshop) -> None:
    """A library that remembers what it was asked is not made to forget it half."""
    import re

    workshop.write("entry", "import re\nX = re.compile('truth[0-9]+cache')\n")
    workshop.build(entry="entry").keep()
    known = set(re._cache)  # type: ignore[attr-defined]
    workshop.write("entry", "X = 1\n")
    workshop.build("entry", entry="entry").keep()
    assert known <= set(re._cache)  # type: ignore[attr-defined]


async def test_a_timer_that_arms_itself_ends_with_its_code(workshop: Workshop) -> None:
    """Its next turn is started by Python's own thread: the code on the stack tells whose it is."""
    import threading

    workshop.write(
        "entry",
        "import threading\ndef tick():\n    arm()\ndef arm():\n    timer = threading.Timer(0.001, tick)\n"
        "    timer.daemon = True\n    timer.start()\narm()\nX = 1\n",
    )
    workshop.build(entry="entry").keep()
    workshop.write("entry", "X = 2\n")
    workshop.build("entry", entry="entry").keep()
    for each in threading.enumerate():
        if isinstance(each, threading.Timer):
            each.join(10)
    assert not [each for each in threading.enumerate() if isinstance(each, threading.Timer)]


async def test_what_code_leaves_in_a_package_without_code_is_taken_back(workshop: Workshop) -> None:
    """The empty package itself is not watched while it runs; what others put into it is theirs."""
    (workshop.folder / "holder").mkdir()
    (workshop.folder / "holder" / "__init__.py").write_text("")
    asked = "import importlib\nholder = importlib.import_module('holder')\n"
    workshop.write("entry", f"{asked}class Kept: pass\nholder.kept = Kept\n")
    workshop.build(entry="entry").keep()
    holder = sys.modules["holder"]
    assert holder.kept.__module__ == "entry"
    workshop.write("entry", "import holder\nX = 2\n")
    workshop.build("entry", entry="entry").keep()
    assert sys.modules["holder"] is holder and not hasattr(holder, "kept")


async def test_what_a_library_counts_in_an_object_of_its_own_stays(workshop: Workshop) -> None:
    """The code of a mod has called it; what the call has changed is the library's."""
    workshop.write("helper", "import queue\nheld = queue.Queue()\ndef turn(): helper.held = held\n")
    put = "import helper\nhelper.held.put({n})\n"
    workshop.write("entry", put.format(n=1))
    workshop.build(entry="entry").keep()
    for n in (2, 3):
        workshop.write("entry", put.format(n=n))
        workshop.build("entry", entry="entry").keep()
    assert sys.modules["helper"].held.unfinished_tasks == 3


async def test_what_a_successor_makes_too_is_noted_once(workshop: Workshop) -> None:
    """Also where that is asked again."""
    workshop.write("helper", "class Kind:\n    pass\nheld = []\n")
    made = "import helper\nhelper.held.append(helper.Kind())\n"
    workshop.write("entry", made)
    workshop.build(entry="entry").keep()
    loaded = workshop.finder.modules.current["entry"]
    before, source = loaded.changes, source_of("entry")
    after = ProcessChanges()
    for _ in range(2):
        outdated_by(before, after, source, frozenset())
    assert len(after.made) == len(before.made) == 1


async def test_many_objects_in_a_helper_are_looked_at_together(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mod of two thousand entries took half a minute: each asked again what all the lines say."""
    workshop.write("helper", "class Kind:\n    pass\nheld = []\n")
    many = "import helper\nfor n in range(100):\n    helper.held.append(helper.Kind())\n"
    asked: list[str] = []
    for each in ("made", "changes"):
        module = sys.modules[f"devserver.loader.{each}"]
        monkeypatch.setattr(module, "said_by", lambda *names: (asked.append("said"), frozenset()))
    workshop.write("entry", many)
    workshop.build(entry="entry").keep()
    workshop.write("entry", many + "N = 2\n")
    workshop.build("entry", entry="entry").keep()
    loaded = workshop.finder.modules.current["entry"]
    assert (len(loaded.changes.made), len(asked)) == (100, 2)


class Registers(BaseMod):
    def __init__(self, mod_name: str = "") -> None:
        super().__init__(mod_name)
        os.environ["TRUTH_MADE"] = "1"


class Watches(BaseMod):
    def __setattr__(self, name: str, value: object) -> None:
        os.environ["TRUTH_MADE"] = "1"
        super().__setattr__(name, value)


class Middle(BaseMod):
    def __init__(self, mod_name: str = "", *more: str) -> None:
        os.environ["TRUTH_MADE"] = "1"


class Below(Middle):
    def __init__(self, mod_name: str = "") -> None:
        super().__init__(mod_name)


@pytest.mark.parametrize("mod_class", [Registers, Watches, Middle, Below])
def test_what_making_an_instance_changes_is_taken_back(mod_class: type[BaseMod]) -> None:
    """Whether its constructor, what it sets, or a class below does it."""
    instance = hooks.make_instance(mod_class, "mods.a")
    assert os.environ["TRUTH_MADE"] == "1"
    changes_of(instance).end()
    assert "TRUTH_MADE" not in os.environ


class Plain(BaseMod):
    """Has no constructor."""


class Passing(BaseMod):
    def __init__(self, mod_name: str = "passing") -> None:
        super().__init__(mod_name)


class Nameless(BaseMod):
    def __init__(self) -> None:
        super().__init__("own")


class Demanding(BaseMod):
    def __init__(self, mod_name: str, *, key: str) -> None:
        super().__init__(mod_name)


@pytest.mark.parametrize(
    ("mod_class", "name"), [(Plain, "mods.a"), (Passing, "mods.a"), (Nameless, "own"), (Demanding, None)]
)
def test_a_constructor_gets_the_name_where_it_takes_one(mod_class: type[BaseMod], name: str | None) -> None:
    """As `inspect.signature` says it, which takes a hundred times as long."""
    if name is None:
        with pytest.raises(TypeError):
            hooks.make_instance(mod_class, "mods.a")
    else:
        assert hooks.make_instance(mod_class, "mods.a").mod_name == name
