"""Edits that fail, that change nothing, that delete files, and what module-level state they leave."""

from __future__ import annotations

import os
import sys

import pytest
from torture_world import Files, MakeWorld, World, assert_sound, probe

from devserver.model.facts import Status

pytestmark = pytest.mark.filterwarnings("error")

GOOD = "A = 1\ndef f(): return 1\ndef g(): return 1\nB = 1\n"
FIXED = "A = 2\ndef f(): return 2\ndef g(): return 2\nB = 2\n"
STATE = "m.A, m.f(), m.B, m.g()"


async def started(world: MakeWorld, files: Files, imports: str = "import m") -> World:
    """A world with the probe and these files, running."""
    here = world()
    here.write({"mods/probe.py": probe(imports), **files})
    await here.start()
    return here


BROKEN = {
    "syntax_error": ("A = 2\ndef f(: return 2\n", "SyntaxError", 2),
    "import_exc_halfway": ("A = 2\ndef f(): return 2\n1 / 0\ndef g(): return 2\nB = 2\n", "ZeroDivisionError", 3),
    "import_error_missing_dep": ("import no_such_module_anywhere\n", "ModuleNotFoundError", 1),
    "name_error": ("A = 2\nA + undefined\n", "NameError", 2),
    "exit": ("import sys\nsys.exit(3)\n", "SystemExit", 2),
    "null_bytes": ("A = 2\0\n", "SyntaxError", None),
}


@pytest.mark.parametrize("kind", BROKEN)
async def test_a_failed_edit_changes_nothing(world: MakeWorld, kind: str) -> None:
    """The very instance goes on serving the old code whole; the error is told with its place; the fix takes over."""
    here = await started(world, {"m.py": GOOD})
    await here.hold({"f": "m.f", "n": "1"})
    serving, table = id(here.generation().instance), {name: id(module) for name, module in sys.modules.items()}
    broken, error, line = BROKEN[kind]

    (outcome,) = await here.change({"m.py": broken})

    assert (outcome.status, outcome.generation) == (Status.ROLLED_BACK, 1)
    assert outcome.error is not None
    assert error in f"{outcome.error.kind} {outcome.error.message}"
    if line is not None:
        assert outcome.error.where is not None
        assert (outcome.error.where.file, outcome.error.where.line) == ("m.py", line)
    assert id(here.generation().instance) == serving
    assert {name: id(sys.modules.get(name)) for name in table} == table
    assert await here.ask(STATE) == (1, 1, 1, 1)
    assert await here.ask("held['f'](), held['f'] is m.f, held['n']") == (1, True, 1)
    assert_sound(here)

    (outcome,) = await here.change({"m.py": FIXED})
    assert (outcome.status, outcome.generation) == (Status.APPLIED, 2)
    assert await here.ask(STATE) == (2, 2, 2, 2)
    await here.quiet()
    assert_sound(here)


async def test_the_source_of_a_failed_edit_put_back_runs_on_without_a_reload(world: MakeWorld) -> None:
    """Undo in the editor is no change: generation 1 has never stopped."""
    here = await started(world, {"m.py": GOOD})
    await here.change({"m.py": "1 / 0\n"})
    assert await here.change({"m.py": GOOD}) == []
    assert here.generation().number == 1
    assert await here.ask(STATE) == (1, 1, 1, 1)


async def test_a_deleted_file_keeps_serving_and_is_named_until_it_is_back(world: MakeWorld) -> None:
    """file_deleted: a warning, no half of a mod; what is put back is served."""
    here = await started(world, {"m.py": GOOD})
    (outcome,) = await here.change({"m.py": None})
    assert outcome.status is Status.ROLLED_BACK
    assert "m" in str(outcome.error)
    assert await here.ask(STATE) == (1, 1, 1, 1)
    assert_sound(here)

    await here.change({"m.py": FIXED})
    assert await here.ask(STATE) == (2, 2, 2, 2)
    await here.quiet()
    assert_sound(here)


@pytest.mark.parametrize("kind", ["touch_only", "save_unchanged"])
async def test_a_save_without_a_change_executes_nothing(world: MakeWorld, kind: str) -> None:
    """The body has run once, and the class is the class."""
    here = await started(world, {"m.py": "import builtins\nclass C: pass\n"})
    await here.hold({"class": "m.C"})
    path = here.folder / "m.py"
    if kind == "touch_only":
        os.utime(path)
    else:
        path.write_bytes(path.read_bytes())
    assert await here.look() == []
    assert await here.ask("held['class'] is m.C")
    assert here.generation().number == 1


async def test_a_file_that_the_edit_brought_is_watched_from_then_on(world: MakeWorld) -> None:
    """new_file: editing it reloads what imports it."""
    here = await started(world, {"m.py": "def f(): return 1\n"})
    await here.change({"m.py": "from helper import g\ndef f(): return g()\n", "helper.py": "def g(): return 2\n"})
    assert await here.ask("m.f()") == 2
    await here.change({"helper.py": "def g(): return 3\n"})
    assert await here.ask("m.f()") == 3
    await here.quiet()
    assert_sound(here)


async def test_a_quick_save_of_equal_length_is_served(world: MakeWorld) -> None:
    """Python would take the .pyc of the same second for it."""
    here = await started(world, {"m.py": "def f(): return 1\n"})
    stamp = os.stat(here.folder / "m.py")
    for n in range(2, 9):
        here.write({"m.py": f"def f(): return {n}\n"})
        os.utime(here.folder / "m.py", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
        await here.look()
        assert await here.ask("m.f()") == n


# Module-level state

COUNTER = """
from collections import defaultdict
STATE = {{}}
SEEN: list = []
LIMITS = {{"day": 10}}
HITS = defaultdict(int)
NUMBER = 0
RESULTS_CACHE = {{}}
OBJECTS = []
FILLED = []
FILLED.append(1)
REBOUND = []
REBOUND = REBOUND + [0]
ALIASED = {{}}
DEFAULT = []
class C:
    shared = ALIASED
def g(seen=DEFAULT): return seen
def f(): return {n}
def count():
    global NUMBER
    NUMBER += 1
    STATE["n"] = STATE.get("n", 0) + 1
    SEEN.append(NUMBER)
    LIMITS["day"] -= 1
    HITS["x"] += 1
    RESULTS_CACHE["f"] = f()
    OBJECTS.append(C())
    FILLED.append(2)
    ALIASED["n"] = 1
    DEFAULT.append(1)
"""
HERE = "m.STATE, m.SEEN, m.LIMITS, dict(m.HITS)"
KEPT = ({"n": 1}, [1], {"day": 9}, {"x": 1})


async def test_module_state_survives_an_edit_where_it_is_data(world: MakeWorld) -> None:
    """module_state: unchanged containers of plain data stay the very objects; everything else begins again."""
    here = await started(world, {"m.py": COUNTER.format(n=1)})
    await here.run("m.count(); held['state'] = m.STATE")
    await here.change({"m.py": COUNTER.format(n=2)})

    assert await here.ask("m.f()") == 2
    assert await here.ask(HERE) == KEPT
    assert await here.ask("held['state'] is m.STATE")
    assert await here.ask("m.NUMBER, m.RESULTS_CACHE, m.OBJECTS, m.FILLED, m.REBOUND, m.ALIASED, m.DEFAULT") == (
        0,
        {},
        [],
        [1],
        [0],
        {},
        [],
    )
    await here.quiet()
    assert_sound(here)
    await here.run("m.count()")
    await here.change({"m.py": COUNTER.format(n=3)})
    assert await here.ask("m.STATE") == {"n": 2}


async def test_module_state_begins_anew_where_its_initial_value_was_edited(world: MakeWorld) -> None:
    """Who writes another first value wants to see it."""
    here = await started(world, {"m.py": "STATE = {'a': 1}\n"})
    await here.run("m.STATE['b'] = 2")
    await here.change({"m.py": "STATE = {'a': 3}\n"})
    assert await here.ask("m.STATE") == {"a": 3}


async def test_module_state_is_the_same_for_all_that_imported_it_by_name(world: MakeWorld) -> None:
    """`from m import STATE` leads to the one that was kept."""
    here = await started(
        world, {"m.py": "STATE = {}\ndef f(): return 1\n", "user.py": "from m import STATE\n"}, "import m, user"
    )
    await here.run("m.STATE['n'] = 1")
    await here.change({"m.py": "STATE = {}\ndef f(): return 2\n"})
    assert await here.ask("user.STATE is m.STATE, user.STATE") == (True, {"n": 1})


async def test_a_failed_edit_leaves_module_state_alone(world: MakeWorld) -> None:
    """Also where another module fails after this one was executed."""
    here = await started(world, {"m.py": "STATE = {}\nX = 1\n", "user.py": "import m\n"}, "import m, user")
    await here.run("m.STATE['n'] = 1; held['state'] = m.STATE")
    await here.change({"m.py": "STATE = {}\nX = 2\n", "user.py": "import m\n1 / 0\n"})
    assert await here.ask("m.X, m.STATE, m.STATE is held['state']") == (1, {"n": 1}, True)


COMMENTED = """
import registry
registry.RUNS.append(1)
STATE = []
LOADED = False
def f():
    raise ValueError
class C:
    def f(self): return f()
def wrap(): return lambda: f()
"""


async def test_a_comment_keeps_everything_and_moves_the_lines(world: MakeWorld) -> None:
    """comment_only_edit: nothing is executed, identities and all state stay, tracebacks show the new lines."""
    here = await started(world, {"m.py": COMMENTED, "registry.py": "RUNS = []\n"}, "import m, registry")
    await here.hold({"class": "m.C", "inner": "m.wrap()", "module": "m"})
    await here.run("m.LOADED = True; m.STATE.append(object())")
    (outcome,) = await here.change({"m.py": "# one\n\n# three\n" + COMMENTED.lstrip("\n")})

    assert (outcome.status, outcome.generation) == (Status.APPLIED, 2)
    assert await here.ask("m.LOADED, len(m.STATE), registry.RUNS, held['class'] is m.C") == (True, 1, [1], True)
    lines = "[line for file, line in self.caught({}) if file.endswith('m.py')]"
    await here.run(
        """
        def caught(call):
            import traceback
            try: call()
            except ValueError as error: frames = traceback.extract_tb(error.__traceback__)
            return [(each.filename, each.lineno) for each in frames]
        type(self).caught = staticmethod(caught)
        """
    )
    assert await here.ask(lines.format("m.f")) == [9]
    assert await here.ask(lines.format("m.C().f")) == [11, 9]
    assert await here.ask(lines.format("held['inner']")) == [12, 9]
    await here.quiet()
    assert_sound(here)

    await here.change({"m.py": "# one\n" + COMMENTED.lstrip("\n").replace("ValueError", "ValueError(2)")})
    assert await here.ask("str(self.caught(m.f)) if hasattr(self, 'caught') else None") is None
    assert await here.ask("m.LOADED, held['class'] is m.C") == (False, True)


async def test_a_comment_does_not_fill_a_collection_a_second_time(world: MakeWorld) -> None:
    """What stays was filled by initialize() already; the instance goes on with what it has."""
    here = await started(world, {"m.py": "HELD = []\nV = 1\n"})
    here.write({"mods/probe.py": probe(initialize="m.HELD.append('help'); self.started = True")})
    await here.look()
    (outcome,) = await here.change({"m.py": "# why\nHELD = []\nV = 1\n"})
    assert (outcome.status, outcome.generation) == (Status.APPLIED, 3)
    assert await here.ask("m.HELD, self.started") == (["help"], True)
    await here.change({"m.py": "# why\nHELD = []\nV = 2\n"})
    assert await here.ask("m.HELD, m.V") == (["help"], 2)
    await here.quiet()
    assert_sound(here)


async def test_lines_are_right_after_an_edit_that_moves_code(world: MakeWorld) -> None:
    """A traceback shows the file as it is."""
    here = await started(world, {"m.py": "def f():\n    raise ValueError\n"})
    await here.change({"m.py": "X = 1\n\n\ndef f():\n    raise ValueError\n"})
    answer = await here.send("probe.ask", {"question": "m.f()"})
    assert not answer.success
    assert "m.py:5" in here.mod_errors()[-1]


# What was registered with others


async def test_what_registers_itself_is_registered_once(world: MakeWorld) -> None:
    """registry_append: after three reloads there is one handler, and it is the new one."""
    source = "import registry\ndef handler(): return {n}\nregistry.HANDLERS.append(handler)\n"
    here = await started(
        world,
        {"m.py": source.format(n=1), "registry.py": "HANDLERS = []\ndef fire(): return [h() for h in HANDLERS]\n"},
        "import m, registry",
    )
    for n in (2, 3, 4):
        await here.change({"m.py": source.format(n=n)})
        assert await here.ask("registry.fire()") == [n]
    await here.quiet()
    assert_sound(here)


async def test_a_registry_keeps_what_others_registered(world: MakeWorld) -> None:
    """Two mods share a registry: editing one of them loses no registration of the other, and reloads that one alone."""
    here = world(mods=("mods.probe", "mods.other"))
    registered = "import registry\ndef handler(): return {n!r}\nregistry.add(handler)\n"
    registry = "class Table:\n    rows = {}\ndef add(h): Table.rows.setdefault('h', []).append((1, h))\n"
    here.write(
        {
            "mods/probe.py": probe("import m, registry"),
            "mods/other.py": probe("import user, registry").replace("ProbeMod", "OtherMod"),
            "m.py": registered.format(n=1),
            "user.py": registered.format(n="user"),
            "registry.py": registry,
        }
    )
    await here.start()
    outcomes = await here.change({"m.py": registered.format(n=2)})
    assert {each.mod_id: each.status for each in outcomes} == {"probe": Status.APPLIED}
    assert sorted(await here.ask("[h() for _, h in registry.Table.rows['h']]"), key=str) == [2, "user"]
    await here.quiet()
    assert_sound(here)


# In flight


async def test_what_is_in_flight_finishes_on_its_own_version(world: MakeWorld) -> None:
    """generator_in_flight, coroutine_in_flight: one version from beginning to end, and new calls get the new one."""
    source = """
    import helper
    def numbers():
        yield {n}
        yield helper.k()
    async def work(gate):
        first = K
        await gate.wait()
        import helper
        return first, K, inner(), helper.k()
    def inner(): return {n}
    K = {n}
    """
    here = await started(world, {"m.py": source.format(n=1), "helper.py": "def k(): return 1\n"}, "import asyncio, m")
    await here.run(
        """
        held["gate"] = asyncio.Event()
        held["numbers"] = m.numbers()
        held["first"] = next(held["numbers"])
        held["work"] = asyncio.ensure_future(m.work(held["gate"]))
        self._tasks.clear()
        """
    )
    generation = here.generation()
    task = generation.instance.state["work"]
    generation.tasks.discard(task)
    await here.change({"m.py": source.format(n=2), "helper.py": "def k(): return 2\n"})

    assert await here.ask("list(held['numbers'])") == [1]
    await here.run("held['gate'].set()")
    assert await task == (1, 1, 1, 1)
    assert await here.ask("list(m.numbers()), m.K") == ([2, 2], 2)
