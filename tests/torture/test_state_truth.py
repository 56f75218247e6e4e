"""What a save does to the state of a mod: which objects answer with the new code, and what is said of the others."""

from __future__ import annotations

import asyncio
import gc
import sys
from types import ModuleType

import pytest
from torture_world import MakeWorld, World, probe

from devserver.model.facts import Outcome, Status

pytestmark = pytest.mark.filterwarnings("error")


async def started(world: MakeWorld, source: str, imports: str = "import m") -> World:
    """A network whose mod imports the module `m`."""
    here = world()
    here.write({"mods/probe.py": probe(imports), "m.py": source})
    await here.start()
    return here


async def failed(here: World, statement: str, source: str) -> Outcome:
    """The outcome of an edit of `m` after which `initialize()` executes a statement and raises."""
    changed = {"m.py": source, "mods/probe.py": probe(initialize=f"{statement}; 1 / 0")}
    (outcome,) = await here.change(changed)
    assert outcome.status is Status.ROLLED_BACK
    return outcome


JOB = """
import asyncio, collections, queue, types, weakref

class Job:
    def __init__(self, name="a"):
        self.name = name
    def __lt__(self, other):
        return False
    def v(self):
        return {n}
"""

CONTAINERS = {
    "user_dict": ("m.collections.UserDict(a=m.Job())", "{}['a']"),
    "user_list": ("m.collections.UserList([m.Job()])", "{}[0]"),
    "chain": ("m.collections.ChainMap({'a': m.Job()})", "{}['a']"),
    "proxy": ("m.types.MappingProxyType({'a': m.Job()})", "{}['a']"),
    "heap": ("self.filled(m.queue.PriorityQueue())", "{}.queue[0]"),
    "fifo": ("self.filled(m.queue.Queue())", "{}.queue[0]"),
    "asyncio": ("self.filled(m.asyncio.Queue())", "{}._queue[0]"),
    "iterator": ("iter([m.Job()])", "{}.__reduce__()[1][0][0]"),
    "weak": ("m.weakref.WeakValueDictionary(a=self.kept)", "{}['a']"),
    "reference": ("m.weakref.ref(self.kept)", "{}()"),
}

FILLED = """
    kept = m.Job()
    def filled(self, queue):
        queue.put_nowait(m.Job())
        return queue
"""


async def test_objects_in_containers_of_the_standard_library_answer_with_the_new_code(world: MakeWorld) -> None:
    """Whatever the container: it is looked through as the garbage collector does."""
    here = world()
    here.write({"mods/probe.py": probe() + FILLED, "m.py": JOB.format(n=1)})
    await here.start()
    await here.hold({key: make for key, (make, _) in CONTAINERS.items()})
    (outcome,) = await here.change({"m.py": JOB.format(n=2)})
    for key, (_, question) in CONTAINERS.items():
        asked = question.format(f"held[{key!r}]")
        assert await here.ask(f"({asked}.v(), isinstance({asked}, m.Job))") == (2, True), key
    assert outcome.stale_keys == ()


async def test_an_object_inside_one_of_another_package_answers_with_the_new_code(world: MakeWorld) -> None:
    """What only a client or a frame of another package leads to is found there."""
    here = await started(world, JOB.format(n=1), "import m, argparse")
    await here.hold({"space": "argparse.ArgumentParser()"})
    await here.run("held['space'].job = m.Job(); held['space']._defaults['job'] = held['space'].job")
    await here.change({"m.py": JOB.format(n=2)})
    assert await here.ask("held['space'].job.v(), held['space']._defaults['job'] is held['space'].job") == (2, True)


NESTED = "def migrate(tasks):\n    for each in tasks: each['name'] = each.pop('title')\nV = {n}\n"


async def test_a_failed_migration_leaves_nested_values_as_they_were(world: MakeWorld) -> None:
    """initialize() had renamed the keys of dicts in a list before it raised."""
    here = await started(world, NESTED.format(n=1))
    await here.hold({"tasks": "[{'title': 'a'}, {'title': 'b'}]"})
    await failed(here, "m.migrate(self.state['tasks'])", NESTED.format(n=2))
    assert await here.ask("held['tasks']") == [{"title": "a"}, {"title": "b"}]


CHANGES = {
    "list": ("[1, 2, 3]", "{}.reverse()", "{} == [1, 2, 3]"),
    "dict_order": ("{'a': 1, 'b': 2}", "{0}.update(a={0}.pop('a'))", "list({}) == ['a', 'b']"),
    "set": ("{1, 2}", "{}.discard(1)", "{} == {{1, 2}}"),
    "deque": ("m.collections.deque([1, 2])", "{}.popleft()", "list({}) == [1, 2]"),
    "ordered": ("m.collections.OrderedDict(a=1, b=2)", "{}.move_to_end('a')", "list({}) == ['a', 'b']"),
    "counter": ("m.collections.Counter('aab')", "{}.update('b')", "{}['b'] == 1"),
    "defaults": ("m.collections.defaultdict(list)", "{}['x'].append(1)", "len({}) == 0"),
    "attribute": ("m.Job('a')", "setattr({}, 'name', 'b')", "{}.name == 'a'"),
    "new_attribute": ("m.Job('a')", "setattr({}, 'more', 1)", "vars({}) == {{'name': 'a'}}"),
    "nested": ("{'a': [{'b': {1}}]}", "{}['a'][0]['b'].add(2)", "{} == {{'a': [{{'b': {{1}}}}]}}"),
    "swapped": ("[['x'], []]", "{0}[1].append({0}[0].pop())", "{} == [['x'], []]"),
    "user_dict": ("m.collections.UserDict(a=1)", "{}.clear()", "{}['a'] == 1"),
}


async def test_a_rollback_gives_the_contents_of_every_container_back(world: MakeWorld) -> None:
    """Whatever initialize() has done to them before it raised, each is the same object with the same contents."""
    here = await started(world, JOB.format(n=1))
    await here.hold({key: make for key, (make, _, _) in CHANGES.items()})
    await here.run("held['ids'] = {key: id(value) for key, value in held.items()}")
    done = "; ".join(change.format(f"self.state[{key!r}]") for key, (_, change, _) in CHANGES.items())
    await failed(here, f"import m; {done}", JOB.format(n=2))
    for key, (_, _, check) in CHANGES.items():
        assert await here.ask(check.format(f"held[{key!r}]")), key
    assert await here.ask("all(id(held[key]) == value for key, value in held['ids'].items())")


KEY = "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass Key:\n    name: str\n{more}V = {n}\n"


async def test_no_entry_is_lost_where_the_hash_of_its_key_fails(world: MakeWorld) -> None:
    """A frozen dataclass gets a field without a default: its instances stay with the old code, which is said."""
    here = await started(world, KEY.format(more="", n=1))
    await here.hold({"votes": "{m.Key('a'): 1, m.Key('b'): 2}", "voted": "{m.Key('a')}"})
    (outcome,) = await here.change({"m.py": KEY.format(more="    team: str\n", n=2)})
    assert outcome.stale_keys == ("votes", "voted")
    assert "Key.team has no value for it, and its hash needs one" in outcome.note
    assert await here.ask("sorted(held['votes'].values()), len(held['voted'])") == ([1, 2], 1)
    await here.change({"m.py": KEY.format(more="", n=3)})
    assert await here.ask("sorted(held['votes'].values()), len(held['voted'])") == ([1, 2], 1)


async def test_entries_are_found_again_under_a_key_whose_hash_has_changed(world: MakeWorld) -> None:
    """A new field with a default takes part in the hash."""
    here = await started(world, KEY.format(more="", n=1))
    await here.hold({"votes": "{m.Key('a'): 1}", "voted": "{m.Key('a')}", "frozen": "frozenset({m.Key('a')})"})
    await here.change({"m.py": KEY.format(more="    team: str = 'x'\n", n=2)})
    assert await here.ask("held['votes'][m.Key('a')], m.Key('a') in held['voted'], m.Key('a') in held['frozen']") == (
        1,
        True,
        True,
    )


HASH = "class Key:\n    def __init__(self, name): self.name = name\n    def __eq__(self, other): return True\n"
HASH += "    def __hash__(self): return {hash}\n"


async def test_a_state_whose_keys_cannot_be_entered_stays_with_the_old_code(world: MakeWorld) -> None:
    """The new `__hash__` raises: nothing is lost, and the key is named."""
    here = await started(world, HASH.format(hash="1"))
    await here.hold({"votes": "{m.Key('a'): 1}"})
    (outcome,) = await here.change({"m.py": HASH.format(hash="1 / 0")})
    assert outcome.status is Status.APPLIED
    assert outcome.stale_keys == ("votes",)
    assert await here.ask("list(held['votes'].values())") == [1]


CACHED = """
from functools import cached_property
class Client:
    pass
class Doc:
    @cached_property
    def title(self): return {title!r}
    @cached_property
    def client(self): return Client()
V = {n}
"""


async def test_what_old_code_has_cached_in_an_object_is_computed_again(world: MakeWorld) -> None:
    """Also where the property's own body is as before, for it may use what is not; a client that it keeps stays."""
    here = await started(world, CACHED.format(title="old", n=1))
    await here.run("held['doc'] = m.Doc(); held['titles'] = [held['doc'].title]; held['client'] = held['doc'].client")
    await here.change({"m.py": CACHED.format(title="new", n=2)})
    assert await here.ask("held['doc'].title, held['doc'].client is held['client']") == ("new", True)


SENTINELS = "class _Missing: pass\nUNSET = object()\nMISSING = _Missing()\nV = {n}\n"


async def test_a_sentinel_in_the_state_is_recognised(world: MakeWorld) -> None:
    """`held["limit"] is UNSET`, as a bare object and as an instance that says something by being itself."""
    here = await started(world, SENTINELS.format(n=1))
    await here.hold({"limit": "m.UNSET", "nested": "[(m.MISSING,)]"})
    await here.change({"m.py": SENTINELS.format(n=2)})
    assert await here.ask("held['limit'] is m.UNSET, held['nested'][0][0] is m.MISSING") == (True, True)


TOUCHY = """
ASKED = []
class Touchy:
    def _asked(self, *args, **kwargs):
        ASKED.append(1)
        raise ConnectionError("no database here")
    __eq__ = __hash__ = __bool__ = __len__ = __iter__ = __getattr__ = __reduce_ex__ = __repr__ = __contains__ = _asked
    __class__ = property(_asked)
class Plain:
    __slots__ = ()
DB = Touchy()
TABLE = {{"db": DB}}
V = {n}
"""


async def test_loading_reloading_and_undoing_ask_nothing_of_an_object(world: MakeWorld) -> None:
    """One that cannot be compared, hashed, iterated, pickled or asked for its class, at the top and in the state."""
    here = await started(world, TOUCHY.format(n=1))
    await here.run("held['db'] = [m.DB]; held['asked'] = m.ASKED")
    (outcome,) = await here.change({"m.py": TOUCHY.format(n=2)})
    assert outcome.status is Status.APPLIED
    assert await here.ask("m.V, type(held['db'][0]) is m.Touchy, len(held['asked'])") == (2, True, 0)


MAPPED = """
class Descriptor:
    def __get__(self, owner, cls): return 1
    def __set__(self, owner, value): pass
Descriptor.__module__ = "somebodys_orm"
class Note:
    text = Descriptor()
class Register(type):
    pass
Register.__module__ = "somebodys_orm"
class Row(metaclass=Register):
    pass
V = {n}
"""


async def test_an_object_that_another_package_keeps_books_of_stays_and_is_named(
    world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its class has a metaclass or descriptors of that package, which knows its instances by their class."""
    monkeypatch.setitem(sys.modules, "somebodys_orm", ModuleType("somebodys_orm"))
    here = await started(world, MAPPED.format(n=1))
    await here.hold({"session": "object()", "note": "m.Note()", "row": "m.Row()"})
    (outcome,) = await here.change({"m.py": MAPPED.format(n=2)})
    assert outcome.stale_keys == ("note", "row")
    assert "class Note is kept by somebodys_orm" in outcome.note


async def test_the_key_of_a_stale_object_is_told_to_programs(world: MakeWorld) -> None:
    """A class that was renamed: the outcome has the keys apart from the note."""
    here = await started(world, JOB.format(n=1))
    await here.hold({"jobs": "[m.Job()]", "count": "1"})
    (outcome,) = await here.change({"m.py": JOB.format(n=2).replace("Job", "Work")})
    assert (outcome.stale_keys, "key 'jobs' still runs v1 code: class Job is gone" in outcome.note) == (("jobs",), True)


ATTRS = "import attrs\n@attrs.define\nclass Job:\n    name: str = 'a'\n{more}    def v(self): return {n}\n"


async def test_attrs_instances_take_the_defaults_of_new_fields(world: MakeWorld) -> None:
    """Slotted as attrs makes them; a field that only a caller knows is named."""
    pytest.importorskip("attrs")
    here = await started(world, ATTRS.format(more="", n=1))
    await here.hold({"job": "m.Job('b')"})
    more = "    tags: list = attrs.field(factory=list)\n    size: int = 3\n"
    await here.change({"m.py": ATTRS.format(more=more, n=2)})
    assert await here.ask("held['job'].v(), held['job'].name, held['job'].tags, held['job'].size") == (2, "b", [], 3)


async def test_a_default_that_fails_leaves_its_object_with_the_old_code(world: MakeWorld) -> None:
    """The default factory of a new field raises: the reload is applied, and the key named."""
    source = "from dataclasses import dataclass, field\ndef make(): 1 / 0\n@dataclass\nclass D:\n    a: int = 1\n"
    here = await started(world, source)
    await here.hold({"d": "m.D()"})
    (outcome,) = await here.change({"m.py": source + "    b: list = field(default_factory=make)\n"})
    assert (outcome.status, outcome.stale_keys) == (Status.APPLIED, ("d",))
    assert await here.ask("held['d'].a") == 1


async def test_what_changes_while_the_state_is_looked_through_is_moved_too(world: MakeWorld) -> None:
    """Between the walk and the gate a handler has put an object into a list that was looked at already."""
    from devserver.loader.moving import StateMove

    here = await started(world, JOB.format(n=1))
    await here.hold({"jobs": "[]"})
    state = here.generation().instance.state
    add = await here.ask("lambda: held['jobs'].append(m.Job())")
    looked = StateMove.look

    def look(move: StateMove) -> bool:
        more = looked(move)
        if not more and move.walk.root is state:
            add()
        return more

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StateMove, "look", look)
        await here.change({"m.py": JOB.format(n=2)})
    assert await here.ask("[each.v() for each in held['jobs']]") == [2]


async def test_the_collector_goes_on_after_a_walk(world: MakeWorld) -> None:
    """It is only held back while many objects are made at once."""
    here = await started(world, JOB.format(n=1))
    await here.hold({"jobs": "[m.Job() for _ in range(5000)]"})
    await here.change({"m.py": JOB.format(n=2)})
    assert gc.isenabled()
    assert await here.ask("{each.v() for each in held['jobs']}") == {2}


FILLS = "COMMANDS = []\nSEEN = {{}}\nTABLE = []\nV = {n}\n"
FILLING = "m.COMMANDS.append('help'); self.table = m.TABLE"


async def test_what_initialize_fills_at_the_top_of_a_module_is_there_once(world: MakeWorld) -> None:
    """It is filled again, as in a fresh start; what handlers fill stays, also where initialize() keeps a way to it."""
    here = world()
    here.write({"mods/probe.py": probe(initialize=FILLING), "m.py": FILLS.format(n=1)})
    await here.start()
    for n in (2, 3):
        await here.run(f"m.SEEN['k{n}'] = {n}; m.TABLE.append({n})")
        await here.change({"m.py": FILLS.format(n=n)})
        assert await here.ask("m.COMMANDS") == ["help"]
    assert await here.ask("m.SEEN, m.TABLE, self.table is m.TABLE") == ({"k2": 2, "k3": 3}, [2, 3], True)


ARRAY = """
class Array:
    def __eq__(self, other): return self
    def __bool__(self): raise ValueError("the truth value of an array is ambiguous")
TABLES = {{"words": None}}
TABLES["words"] = Array()
V = {n}
"""


async def test_a_table_with_an_array_in_it_loads_and_reloads(world: MakeWorld) -> None:
    """Whether a table is as its source says is found without comparing what lies in it."""
    here = await started(world, ARRAY.format(n=1))
    (outcome,) = await here.change({"m.py": ARRAY.format(n=2)})
    assert (outcome.status, await here.ask("m.V")) == (Status.APPLIED, 2)


SHARED = """
import asyncio, enum
from dataclasses import dataclass

class Mode(enum.Enum):
    FAST = 1
    SLOW = 2
{more}
@dataclass
class Job:
    name: str
V = {n}
"""

WAITS = """
    @mod_event_handler("probe.wait")
    async def wait(self, event):
        own = m.Job("own")
        mode = m.Mode.FAST if event.payload.get("holds") else None
        self.state["begun"].set()
        await self.state["gate"].wait()
        jobs = [*self.state["jobs"], own]
        return EventResponse(True, "", {
            "v": m.V,
            "mine": [isinstance(each, m.Job) for each in jobs] + [isinstance(each, int | m.Job) for each in jobs],
            "classes": [issubclass(type(each), (str, m.Job)) for each in jobs],
            "fast": (mode or self.state["mode"]) is m.Mode.FAST,
        })
"""


@pytest.mark.parametrize("holds", [False, True])
@pytest.mark.parametrize("more", ["", "    IDLE = 3\n"])
async def test_a_handler_that_lingers_recognises_its_objects(world: MakeWorld, more: str, holds: bool) -> None:
    """Those in the state, which have been moved, and those that it had before; members of its enums too."""
    here = world()
    here.write({"mods/probe.py": probe() + WAITS, "m.py": SHARED.format(more="", n=1)})
    await here.start()
    await here.run("held['gate'], held['begun'] = m.asyncio.Event(), m.asyncio.Event()")
    await here.hold({"jobs": "[m.Job('a'), m.Job('b')]", "mode": "m.Mode.FAST"})
    waits = asyncio.ensure_future(here.send("probe.wait", {"holds": holds}))
    await here.generation().instance.state["begun"].wait()
    await here.change({"m.py": SHARED.format(more=more, n=2)})
    assert await here.ask("[type(each) is m.Job for each in held['jobs']], held['mode'] is m.Mode.FAST") == (
        [True, True],
        True,
    )
    await here.run("held['gate'].set()")
    assert (await waits).data == {"v": 1, "mine": [True] * 6, "classes": [True] * 3, "fast": True}
    await here.quiet()


POLLS = """
    def poll(self):
        async def run():
            while True:
                self.state["ticks"] += 1
                answer = await self.send_event(Event(event_name="probe.ask", payload={"question": "1"}))
                self.state["sent"] = answer.success
                self.state["ticked"].set()
                await asyncio.sleep(0)
        return asyncio.create_task(run())
"""


async def test_a_task_that_the_state_holds_goes_on_and_is_named(world: MakeWorld) -> None:
    """It belongs to the state: also its events are sent; it ends with the mod."""
    here = world()
    here.write({"mods/probe.py": probe("import m, asyncio\nfrom devserver import Event") + POLLS, "m.py": "V = 1"})
    await here.start()
    await here.run("held['ticks'], held['ticked'] = 0, asyncio.Event(); held['poller'] = {'task': self.poll()}")
    task = here.generation().instance.state["poller"]["task"]
    for n in (2, 3):
        (outcome,) = await here.change({"m.py": f"V = {n}"})
        assert outcome.stale_keys == ("poller",)
        assert "task ProbeMod.poll.<locals>.run goes on" in outcome.note
        await here.quiet()
        state = here.generation().instance.state
        state["ticked"].clear()
        await asyncio.wait_for(state["ticked"].wait(), 5)
        assert not task.done()
        assert state["sent"]
    assert here.left_behind() == []
    await here.network.unload_mod("mods.probe")
    await asyncio.wait([task], timeout=5)
    assert task.cancelled()


async def test_a_task_of_the_state_outlives_an_edit_that_fails(world: MakeWorld) -> None:
    """Whatever becomes of the reload, the task belongs to whom it belonged before."""
    here = world()
    polls = probe("import m, asyncio\nfrom devserver import Event") + POLLS
    here.write({"mods/probe.py": polls, "m.py": "V = 1"})
    await here.start()
    await here.run("held['ticks'], held['ticked'] = 0, asyncio.Event(); held['task'] = self.poll()")
    task = here.generation().instance.state["task"]
    (outcome,) = await here.change({"mods/probe.py": polls.replace("return True", "1 / 0")})
    assert outcome.status is Status.ROLLED_BACK
    assert not task.done()
    await here.network.unload_mod("mods.probe")
    await asyncio.wait([task], timeout=5)
    assert task.cancelled()


THREADS = """
    def begin(self):
        import threading
        def run():
            while not self.state["end"].wait(0.001):
                self.state["turns"].set()
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread
"""


async def test_a_thread_that_the_state_holds_goes_on_and_is_named(world: MakeWorld) -> None:
    """The end of the generation that started it does not end it."""
    here = world()
    here.write({"mods/probe.py": probe("import m, threading") + THREADS, "m.py": "V = 1"})
    await here.start()
    await here.run("held['end'], held['turns'] = threading.Event(), threading.Event(); held['t'] = self.begin()")
    (outcome,) = await here.change({"m.py": "V = 2"})
    await here.quiet()
    assert outcome.stale_keys == ("t",)
    state = here.generation().instance.state
    state["turns"].clear()
    assert state["turns"].wait(5)
    assert here.left_behind() == []
    state["end"].set()
    state["t"].join(5)
