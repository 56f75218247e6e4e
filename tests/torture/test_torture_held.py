"""What a state holds of code that is replaced is moved to the new code, wherever it lies, and back on a rollback."""

from __future__ import annotations

import asyncio

import pytest
from torture_world import MakeWorld, World, assert_sound, probe

from devserver.model.facts import Status

pytestmark = pytest.mark.filterwarnings("error")

KINDS = """
import collections, enum, functools, typing
from dataclasses import dataclass, field
from pydantic import BaseModel

class C:
    def __init__(self, n=0, other=None):
        self.n = n
        self.other = other
    def v(self): return {n}

class Slots:
    __slots__ = ("n", "next")
    def __init__(self): self.n, self.next = 1, None
    def v(self): return {n}

@dataclass(frozen=True, slots=True)
class Point:
    x: int
    def v(self): return {n}

class Color(enum.Enum):
    RED = 1
    def v(self): return {n}

class Flags(enum.Flag):
    A = 1
    B = 2

class Pair(typing.NamedTuple):
    a: object
    b: int = 2
    def v(self): return {n}

class Text(str):
    def v(self): return {n}

class Bag(dict):
    def v(self): return {n}

class Model(BaseModel):
    inner: object = None
    def v(self): return {n}

class Oops(Exception):
    def v(self): return {n}

def plain(): return {n}
def add(a, b): return {n}
def outer():
    kept = C()
    return lambda: (kept.v(), {n})
"""

HELD = {
    "plain": ("m.C()", "{}.v()"),
    "list": ("[[m.C()]]", "{}[0][0].v()"),
    "dict_value": ("{'a': {'b': m.C()}}", "{}['a']['b'].v()"),
    "dict_key": ("{m.Point(1): 'x'}", "({}[m.Point(1)] == 'x') * list({0})[0].v()"),
    "enum_key": ("{m.Color.RED: 'x'}", "({}[m.Color.RED] == 'x') * list({0})[0].v()"),
    "class_key": ("{m.C: 'x'}", "({}[m.C] == 'x') * next(iter({0}))().v()"),
    "set": ("{m.Point(1), m.Point(2)}", "(m.Point(1) in {}) * next(iter({0})).v()"),
    "frozenset": ("frozenset({m.Point(1)})", "(m.Point(1) in {}) * next(iter({0})).v()"),
    "tuple": ("(1, (m.plain, m.C()))", "{}[1][0]() * {0}[1][1].v() // {0}[1][0]()"),
    "deque": ("m.collections.deque([m.plain], maxlen=3)", "{}[0]()"),
    "ordered": ("m.collections.OrderedDict([(m.Color.RED, 1), ('z', m.plain)])", "{}['z']() * (list({0})[1] == 'z')"),
    "defaultdict": ("m.collections.defaultdict(m.C)", "{}['new'].v()"),
    "slots": ("m.Slots()", "{}.v()"),
    "frozen": ("m.Point(1)", "{}.v() * ({0} == m.Point(1))"),
    "enum": ("m.Color.RED", "{}.v() * ({0} is m.Color.RED)"),
    "flags": ("[m.Flags.A | m.Flags.B]", "m.plain() * ({}[0] == m.Flags.A | m.Flags.B)"),
    "namedtuple": ("m.Pair(m.C())", "{}.a.v() * ({0}.v() == {0}.a.v()) * (type({0}) is m.Pair)"),
    "text": ("m.Text('hello')", "{}.v() * ({0} == 'hello')"),
    "bag": ("m.Bag(x=m.C())", "{}['x'].v() * {0}.v() // m.plain()"),
    "model": ("m.Model(inner=[m.C()])", "{}.v() * ({0}.inner[0].v() == {0}.v())"),
    "exception": ("m.Oops('why')", "{}.v() * ({0}.args == ('why',))"),
    "attribute": ("m.C(other=[m.C(other=m.Slots())])", "{}.other[0].other.v() * ({0}.v() == m.plain())"),
    "partial": ("m.functools.partial(m.add, m.C())", "{}(1)"),
    "bound": ("m.C().v", "{}()"),
    "closure": ("[m.outer()]", "{}[0]()[0] * ({0}[0]() == (m.plain(), m.plain()))"),
    "own_method": ("self.ask", "m.plain() * ({}.__self__ is self)"),
    "module": ("m", "{}.plain()"),
}


def questions(key: str) -> str:
    """The expression that asks the held thing which version answers."""
    return HELD[key][1].replace("{}", "{0}").format(f"held[{key!r}]")


async def held(world: MakeWorld) -> World:
    """A world whose state holds one of each kind, and some knots."""
    here = world()
    here.write({"mods/probe.py": probe(), "m.py": KINDS.format(n=1)})
    await here.start()
    await here.hold({key: make for key, (make, _) in HELD.items()})
    await here.run(
        """
        a, b = m.C(), m.C()
        a.other, b.other = b, [a, (a, b)]
        held["knot"] = a
        held["again"] = [a]
        loop = []
        loop.append((loop, m.plain))
        held["loop"] = loop
        held["deep"] = deep = []
        for _ in range(5000):
            deep.append([])
            deep = deep[0]
        deep.append(m.C())
        chain = m.plain
        for _ in range(5000):
            chain = (chain,)
        held["chain"] = chain
        """
    )
    return here


async def assert_version(here: World, n: int) -> None:
    """Everything that is held answers as that version does, and is of the classes that the module has now."""
    answers = {key: await here.ask(questions(key)) for key in HELD}
    assert answers == dict.fromkeys(HELD, n)
    knot = "held['knot']"
    assert await here.ask(f"{knot}.v(), {knot}.other.v(), {knot}.other.other[0] is {knot}") == (n, n, True)
    assert await here.ask(f"{knot}.other.other[1] == ({knot}, {knot}.other), held['again'][0] is {knot}") == (
        True,
        True,
    )
    assert await here.ask("held['loop'][0][0] is held['loop'], held['loop'][0][1]()") == (True, n)
    await here.run("here = held['deep']\nwhile isinstance(here[0], list): here = here[0]\nheld['bottom'] = here[0].v()")
    assert await here.ask("held.pop('bottom')") == n
    await here.run("here = held['chain']\nwhile isinstance(here, tuple): here = here[0]\nheld['end'] = here()")
    assert await here.ask("held.pop('end')") == n


async def test_what_is_held_answers_with_the_new_code_wherever_it_lies(world: MakeWorld) -> None:
    """In containers, keys, attributes, closures, knots and 5,000 levels deep; and nothing keeps the old code alive."""
    here = await held(world)
    await assert_version(here, 1)
    for n in (2, 3):
        (outcome,) = await here.change({"m.py": KINDS.format(n=n)})
        assert (outcome.status, outcome.note) == (Status.APPLIED, f"state kept ({len(HELD) + 5} keys)")
        await assert_version(here, n)
        await here.quiet()
    assert_sound(here)


async def test_a_rollback_gives_everything_back_exactly(world: MakeWorld) -> None:
    """Also where the new generation has seen the moved state before it failed."""
    here = await held(world)
    await here.run("held['ids'] = {key: id(value) for key, value in held.items()}")
    seen = "held = self.state; import m\n        assert held['plain'].v() == 2 and m.Point(1) in held['set']; 1 / 0"
    changed = {"m.py": KINDS.format(n=2), "mods/probe.py": probe(initialize=seen)}
    (outcome,) = await here.change(changed)

    assert (outcome.status, outcome.generation) == (Status.ROLLED_BACK, 1)
    assert outcome.error is not None
    assert outcome.error.kind == "ZeroDivisionError"
    await assert_version(here, 1)
    assert await here.ask("{key: id(held[key]) for key in held['ids']} == held['ids']")
    assert_sound(here)


LAYOUTS = {
    "slots": (
        "class S:\n    __slots__ = ('a',)\n    def __init__(self): self.a = 1\n    def v(self): return self.a\n",
        "class S:\n    __slots__ = ('a', 'b')\n    def __init__(self): self.a = 1; self.b = []\n"
        "    def v(self): return self.a, self.b\n",
        (1, []),
    ),
    "slots_to_dict": (
        "class S:\n    __slots__ = ('a',)\n    def __init__(self): self.a = 1\n    def v(self): return self.a\n",
        "class S:\n    def __init__(self): self.a = 1\n    def v(self): return vars(self)\n",
        {"a": 1},
    ),
    "dataclass_slots": (
        "from dataclasses import dataclass, field\n@dataclass(slots=True)\nclass S:\n    a: int = 1\n"
        "    def v(self): return self.a\n",
        "from dataclasses import dataclass, field\n@dataclass(slots=True)\nclass S:\n    a: int = 1\n"
        "    b: list = field(default_factory=list)\n    c: int = 3\n    def v(self): return self.a, self.b, self.c\n",
        (1, [], 3),
    ),
    "namedtuple": (
        "import typing\nclass S(typing.NamedTuple):\n    a: int = 1\n    def v(self): return self.a\n",
        "import typing\nclass S(typing.NamedTuple):\n    a: int = 1\n    b: int = 2\n"
        "    def v(self): return tuple(self)\n",
        (1, 2),
    ),
    "attribute": (
        "class S:\n    def __init__(self): self.a = 1\n    def v(self): return self.a\n",
        "class S:\n    def __init__(self):\n        self.a = 5\n        self.b = {'x': 1}\n"
        "    def v(self): return self.a, self.b\n",
        (1, {"x": 1}),
    ),
}


@pytest.mark.parametrize("kind", LAYOUTS)
async def test_an_instance_of_another_layout_takes_over_what_it_had(world: MakeWorld, kind: str) -> None:
    """New fields have their defaults, every reference leads to one object, and a rollback leads to the old one."""
    old, new, answer = LAYOUTS[kind]
    here = world()
    here.write({"mods/probe.py": probe(), "m.py": old})
    await here.start()
    await here.run("held['s'] = m.S(); held['same'] = [held['s'], (held['s'],)]; held['id'] = id(held['s'])")
    await here.change({"m.py": new, "mods/probe.py": probe(initialize="1 / 0")})
    assert await here.ask("held['s'].v(), held['s'] is held['same'][0], id(held['s']) == held['id']") == (1, True, True)

    (outcome,) = await here.change({"m.py": new, "mods/probe.py": probe()})
    assert outcome.note == "state kept (3 keys)"
    assert await here.ask("held['s'].v(), isinstance(held['s'], m.S)") == (answer, True)
    assert await here.ask("held['same'][0] is held['s'] and held['same'][1][0] is held['s']")
    await here.quiet()
    assert_sound(here)


async def test_what_cannot_be_given_a_value_is_named(world: MakeWorld) -> None:
    """A new field without a default, and an attribute that only a constructor's argument knows."""
    here = world()
    old = "from dataclasses import dataclass\n@dataclass\nclass D:\n    a: int\n"
    old += "class P:\n    def __init__(self, a): self.a = a\n"
    here.write({"mods/probe.py": probe(), "m.py": old})
    await here.start()
    await here.hold({"d": "m.D(1)", "p": "m.P(1)"})
    new = "from dataclasses import dataclass\n@dataclass\nclass D:\n    a: int\n    b: int\n"
    new += "class P:\n    def __init__(self, a, b): self.a = a; self.b = b\n"
    (outcome,) = await here.change({"m.py": new})
    assert outcome.note == "state kept (2 keys; key 'd' lacks D.b; key 'p' lacks P.b)"
    assert await here.ask("isinstance(held['d'], m.D), isinstance(held['p'], m.P)") == (True, True)


async def test_captured_state_is_moved_before_it_is_restored(world: MakeWorld) -> None:
    """`restore_state()` gets instances of the new classes."""
    hooks = """
    def capture_state(self): return [m.C()] if not self.state else self.state["all"]
    def restore_state(self, state): self.state["all"] = [(each, each.v(), isinstance(each, m.C)) for each in state]
"""
    here = world()
    here.write({"mods/probe.py": probe() + hooks, "m.py": KINDS.format(n=1)})
    await here.start()
    (outcome,) = await here.change({"m.py": KINDS.format(n=2)})
    assert outcome.note == "state restored"
    assert await here.ask("[each[1:] for each in held['all']]") == [(2, True)]


async def test_a_lingering_handler_goes_on_with_the_shared_state(world: MakeWorld) -> None:
    """It runs its own code to the end, and what it changes is in the state that its successor has."""
    here = world()
    here.write({"mods/probe.py": probe("import asyncio, m") + _SLOW, "m.py": KINDS.format(n=1)})
    await here.start()
    await here.run("held['gate'], held['begun'] = asyncio.Event(), asyncio.Event(); held['c'] = m.C()")
    slow = asyncio.ensure_future(here.send("probe.slow", {}))
    await here.generation().instance.state["begun"].wait()
    await here.change({"m.py": KINDS.format(n=2)})
    await here.run("held['gate'].set()")
    assert (await slow).data == {"versions": (1, 1)}
    assert await here.ask("held['done'], held['c'].v()") == (True, 2)
    await here.quiet()


_SLOW = """
    @mod_event_handler("probe.slow")
    async def slow(self, event):
        first = m.plain()
        self.state["begun"].set()
        await self.state["gate"].wait()
        self.state["done"] = True
        return EventResponse(True, "", {"versions": (first, m.plain())})
"""


async def test_a_rebound_instance_has_its_attributes_moved(world: MakeWorld) -> None:
    """reload_mode rebind: the same instance under its new class, and what it holds under theirs."""
    source = probe() + '    reload_mode = "rebind"\n    def keep(self): self.mine = [m.C()]\n'
    here = world()
    here.write({"mods/probe.py": source, "m.py": KINDS.format(n=1)})
    await here.start()
    await here.run("self.keep(); self.number = id(self)")
    (outcome,) = await here.change({"m.py": KINDS.format(n=2)})
    assert outcome.note == "same instance"
    assert await here.ask("self.mine[0].v(), isinstance(self.mine[0], m.C), id(self) == self.number") == (2, True, True)
    broken = KINDS.format(n=3) + "\n1 / 0\n"
    await here.change({"m.py": broken})
    assert await here.ask("self.mine[0].v(), isinstance(self.mine[0], m.C)") == (2, True)
