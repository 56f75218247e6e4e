"""Kinds of code that reloaders are known to get wrong, each as a small mod: after a save the new code alone answers."""

from __future__ import annotations

import atexit
import builtins
import struct
import subprocess
import sys
import tracemalloc
from typing import Any
from urllib import request

import pytest
from workspaces import Workspace, until

from devserver.config.network_yaml import read_network
from devserver.errors import ConfigError
from devserver.loader.build import Build
from devserver.loader.refused import Others
from devserver.sources.effects import options_gone
from devserver.sources.files import LISTING, sources_now

PROBE = """
from devserver import BaseMod, EventResponse, mod_event_handler

{top}

class ProbeMod(BaseMod):
    def initialize(self):
        {start}

    @mod_event_handler("probe.ask")
    async def ask(self, event):
        return EventResponse(True, "", {{"answer": {answer}}})
"""


class Probe:
    """A network with the mod `mods.probe`, and what it answers."""

    def __init__(self, work: Workspace) -> None:
        self.work = work
        self.reasons: list[str] = []

    async def start(self, top: str = "", *, answer: str, start: str = "pass", **files: str) -> None:
        """Run the first version. `files` are modules of the folder mods by their names."""
        for name, text in files.items():
            self.work.write(f"mods/{name}.py", text)
        self._write(top, answer, start)
        await self.work.start("mods.probe")
        self.work.net.engine.restart = self.reasons.extend  # type: ignore[method-assign]

    def _write(self, top: str, answer: str, start: str) -> None:
        self.work.write("mods/probe.py", PROBE.format(top=top, answer=answer, start=start))

    async def save(self, top: str = "", *, answer: str, start: str = "pass") -> str:
        """Save the next version; what became of it."""
        self._write(top, answer, start)
        done = await self.work.saved(self.work.folder / "mods/probe.py")
        return done.outcomes[0].status.value

    async def save_helper(self, name: str, text: str) -> list[str]:
        """Save another module of the folder mods; what became of the mods."""
        done = await self.work.save(f"mods/{name}.py", text)
        return [each.status.value for each in done.outcomes]

    async def ask(self) -> object:
        """The answer of the mod."""
        answer = await self.work.ask("probe.ask")
        assert answer.success, answer.message
        return (answer.data or {})["answer"]

    async def collected(self) -> None:
        """Wait until replaced code is proven to be gone, or a restart is asked for."""
        await until(lambda: bool(self.reasons) or not self.work.net.engine.proof.waits)


@pytest.fixture
def probe(work: Workspace) -> Probe:
    """Nothing runs yet."""
    return Probe(work)


# Builtins


async def test_a_translation_that_is_installed_is_there_at_once(probe: Probe) -> None:
    """`gettext.install` puts a function among the builtins, and the next line calls it."""
    top = "import gettext\ngettext.install('none')\nWORD = _('hello {n}')"
    await probe.start(top.format(n=1), answer="WORD + _('!')")
    assert await probe.ask() == "hello 1!"
    assert await probe.save(top.format(n=2), answer="WORD + _('?')") == "applied"
    assert await probe.ask() == "hello 2?"


async def test_a_builtin_that_initialize_sets_is_known_and_goes(probe: Probe) -> None:
    """To the mod itself as to all others; a version that does not set it does not find it."""
    await probe.start(start="import builtins; builtins.OA_WORD = 1", answer="OA_WORD")
    assert await probe.ask() == 1
    await probe.save(start="import builtins; builtins.OA_WORD = 2", answer="OA_WORD")
    assert await probe.ask() == 2
    await probe.save(answer="'OA_WORD' in dir(__import__('builtins'))")
    assert await probe.ask() is False


async def test_a_patched_builtin_counts_for_the_one_who_patches(probe: Probe) -> None:
    """And for helpers that were imported before; afterwards Python's own is there again."""
    top = "import builtins\nfrom mods import teller\n_own = builtins.ascii\nbuiltins.ascii = lambda x: _own(x) * {n}"
    teller = "def told():\n    return ascii(7)\n"
    await probe.start(top.format(n=2), answer="(ascii(5), teller.told())", teller=teller)
    assert await probe.ask() == ("55", "77")
    await probe.save(top.format(n=3), answer="(ascii(5), teller.told())")
    assert await probe.ask() == ("555", "777")
    await probe.save("from mods import teller", answer="(ascii(5), teller.told())")
    assert await probe.ask() == ("5", "7")
    assert builtins.ascii(5) == "5"


async def test_what_exec_imports_in_a_dict_of_its_own_is_a_source(probe: Probe) -> None:
    """Code without a module belongs to the module that executes it."""
    top = "names = {}\nexec('from mods import fact', names)\nFACT = names['fact'].N"
    await probe.start(top, answer="FACT", fact="N = 1\n")
    assert await probe.ask() == 1
    assert await probe.save_helper("fact", "N = 2\n") == ["applied"]
    assert await probe.ask() == 2


# Saves of several files


async def test_a_helper_and_those_who_newly_import_it_are_one_save(work: Workspace) -> None:
    """Mods that import a helper for the first time find it as it was saved, also where another mod had it before."""
    reads = "@mod_event_handler('{name}.number.get')\ndef get(self, event):\n"
    reads += "    return EventResponse(True, '', {{'n': {n}}})"
    work.write("mods/lib/one.py", "A = 1\n")
    work.mod("last", reads.format(name="last", n="one.A"), head="from mods.lib import one\n")
    work.mod("first", reads.format(name="first", n="0"))
    await work.start("mods.first", "mods.last")
    helper = work.write("mods/lib/one.py", "A = 2\nB = 3\n")
    first = work.mod("first", reads.format(name="first", n="B"), head="from mods.lib.one import B\n")
    last = work.mod("last", reads.format(name="last", n="one.B"), head="from mods.lib import one\n")
    done = await work.saved(first, last, helper)
    assert [each.status.value for each in done.outcomes] == ["applied", "applied"]
    assert [(await work.ask(f"{name}.number.get")).data for name in ("first", "last")] == [{"n": 3}, {"n": 3}]


# Saves that fail


async def test_a_failed_save_leaves_no_classes_behind(probe: Probe) -> None:
    """A base class and a weak set in a helper know those of the running version alone, as before."""
    hub = "import weakref\nclass Base:\n    pass\nKNOWN = weakref.WeakSet()\n"
    top = "from mods import hub\nclass Known(hub.Base):\n    n = {n}\nhub.KNOWN.add(Known)\n"
    told = "([each.n for each in hub.Base.__subclasses__()], [each.n for each in hub.KNOWN])"
    await probe.start(top.format(n=1), answer=told, hub=hub)
    assert await probe.save(top.format(n=2) + "1 / 0", answer=told) == "rolled_back"
    await probe.collected()
    assert await probe.ask() == ([1], [1])
    assert probe.reasons == []


# Kinds from bug reports of reloaders


async def test_an_enum_that_a_helper_compares_by_identity_is_one(probe: Probe) -> None:
    """The mod is saved; what it gives to the helper is what the helper knows."""
    mode = "import enum\nclass Mode(enum.Enum):\n    FAST = 1\ndef is_fast(mode):\n    return mode is Mode.FAST\n"
    top = "from mods.mode import Mode, is_fast\nV = {n}"
    start = "self.state.setdefault('mode', Mode.FAST)"
    answer = "(V, is_fast(Mode.FAST), is_fast(self.state['mode']), {Mode.FAST: 1}.get(self.state['mode']))"
    await probe.start(top.format(n=1), answer=answer, start=start, mode=mode)
    await probe.save(top.format(n=2), answer=answer, start=start)
    assert await probe.ask() == (2, True, True, 1)
    await probe.save_helper("mode", mode + "# more\nX = 1\n")
    assert await probe.ask() == (2, True, True, 1)


async def test_singledispatch_of_a_helper_forgets_the_old_implementation(probe: Probe) -> None:
    """One that the new version does not register any more does not answer."""
    helper = "import functools\n@functools.singledispatch\ndef shown(x):\n    return 'any'\n"
    top = "from mods.helper import shown\n@shown.register\ndef _(x: {kind}):\n    return '{kind}'"
    answer = "(shown(1), shown('x'))"
    await probe.start(top.format(kind="int"), answer=answer, helper=helper)
    assert await probe.ask() == ("int", "any")
    await probe.save(top.format(kind="str"), answer=answer)
    assert await probe.ask() == ("any", "str")


async def test_singledispatch_does_not_remember_what_is_gone(probe: Probe) -> None:
    """What was looked up before the save is looked up again; in a helper and in the standard library."""
    helper = "import functools\n@functools.singledispatch\ndef shown(x):\n    return 'any'\n"
    register = (
        "shown.register(int)(lambda x: 'int')\n"
        "pkgutil.iter_importer_modules.register(int)(lambda x, prefix='': ['int'])"
    )
    top = "import pkgutil\nfrom mods.helper import shown\n{register}"
    answer = "(shown(1), [*pkgutil.iter_importer_modules(1)])"
    await probe.start(top.format(register=register), answer=answer, helper=helper)
    assert await probe.ask() == ("int", ["int"])
    await probe.save(top.format(register=""), answer="(shown(1), int in pkgutil.iter_importer_modules.registry)")
    assert await probe.ask() == ("any", False)


async def test_singledispatch_of_the_standard_library_too(probe: Probe) -> None:
    """Here of pkgutil.iter_importer_modules."""
    top = (
        "import pkgutil\nclass Own: pass\n"
        "@pkgutil.iter_importer_modules.register(Own)\ndef _(x, prefix=''): return [{n}]"
    )
    answer = "(len(pkgutil.iter_importer_modules.registry), pkgutil.iter_importer_modules(Own()))"
    await probe.start(top.format(n=1), answer=answer)
    count = (await probe.ask())[0]  # type: ignore[index]
    await probe.save(top.format(n=2), answer=answer)
    await probe.collected()
    assert await probe.ask() == (count, [2]) or probe.reasons


async def test_caches_of_functions_begin_again_with_their_code(probe: Probe) -> None:
    """`functools.cache`, `lru_cache` on a method, `cached_property` of an object in the state."""
    top = """
import functools
@functools.cache
def one(): return {n}
class Box:
    @functools.cached_property
    def two(self): return {n}
    @functools.lru_cache
    def three(self): return {n}
"""
    start = "self.state.setdefault('box', Box())"
    answer = "(one(), self.state['box'].three(), Box().two)"
    await probe.start(top.format(n=1), answer=answer, start=start)
    assert await probe.ask() == (1, 1, 1)
    await probe.save(top.format(n=2), answer=answer, start=start)
    assert await probe.ask() == (2, 2, 2)


async def test_equality_of_dataclasses_in_the_state(probe: Probe) -> None:
    """A dataclass is equal to one of its own class alone: what the state holds is of the new one."""
    top = "from dataclasses import dataclass\n@dataclass(frozen=True, order=True)\nclass At:\n    x: int\nV = {n}"
    start = "self.state.setdefault('at', At(1)); self.state.setdefault('seen', {At(1): 'here'})"
    answer = "(V, self.state['at'] == At(1), self.state['seen'].get(At(1)), At(0) < self.state['at'])"
    await probe.start(top.format(n=1), answer=answer, start=start)
    await probe.save(top.format(n=2), answer=answer, start=start)
    assert await probe.ask() == (2, True, "here", True)


async def test_abstract_classes_registered_by_a_mod(probe: Probe) -> None:
    """`abc` keeps what was registered in weak sets that no code sees."""
    helper = "import abc\nclass Shape(abc.ABC):\n    pass\n"
    top = "from mods.helper import Shape\n{register}class Box: pass\nV = {n}"
    answer = "(V, isinstance(Box(), Shape), issubclass(int, Shape))"
    await probe.start(top.format(register="@Shape.register\n", n=1), answer=answer, helper=helper)
    assert await probe.ask() == (1, True, False)
    await probe.save(top.format(register="", n=2), answer=answer)
    assert await probe.ask() == (2, False, False)


async def test_a_builtin_registered_with_an_abstract_class_of_a_helper(probe: Probe) -> None:
    """A registration that the saved version does not make any more is gone, also of a class that stays."""
    helper = "import abc\nclass Shape(abc.ABC):\n    pass\n"
    top = "from mods.helper import Shape\n{register}\nV = {n}"
    answer = "(V, isinstance(1, Shape))"
    await probe.start(top.format(register="Shape.register(int)", n=1), answer=answer, helper=helper)
    assert await probe.ask() == (1, True)
    assert await probe.save(top.format(register="1 / 0", n=2), answer=answer) == "rolled_back"
    assert await probe.ask() == (1, True)
    await probe.save(top.format(register="", n=2), answer=answer)
    assert await probe.ask() == (2, False)


async def test_what_belongs_to_python_and_is_registered_with_a_helper(probe: Probe) -> None:
    """A class or function that no mod has made, in a list and a table: gone with the version that registered it."""
    helper = "LIST = []\nTABLE = {}\n"
    top = "import json\nfrom mods import helper\n{register}\nV = {n}"
    register = "helper.LIST.append(json.JSONDecoder); helper.TABLE['dump'] = json.dumps"
    answer = "(V, len(helper.LIST), list(helper.TABLE))"
    await probe.start(top.format(register=register, n=1), answer=answer, helper=helper)
    assert await probe.ask() == (1, 1, ["dump"])
    await probe.save(top.format(register="", n=2), answer=answer)
    assert await probe.ask() == (2, 0, [])


async def test_hints_are_resolved_against_the_new_module(probe: Probe) -> None:
    """`typing.get_type_hints` of classes with names in quotes, of a mod and of its helper."""
    helper = "import dataclasses\n@dataclasses.dataclass\nclass Node:\n    next: 'Node | None' = None\n"
    top = "import typing\nfrom mods.helper import Node\nclass Leaf(Node):\n    own: 'Leaf'\nV = {n}"
    hint = "typing.get_type_hints(Leaf)"
    answer = f"(V, {hint}['own'] is Leaf, typing.get_args({hint}['next'])[0] is Node)"
    await probe.start(top.format(n=1), answer=answer, helper=helper)
    await probe.save(top.format(n=2), answer=answer)
    assert await probe.ask() == (2, True, True)
    await probe.save_helper("helper", helper + "X = 2\n")
    assert await probe.ask() == (2, True, True)


async def test_a_module_with_getattr_answers_with_its_new_code(probe: Probe) -> None:
    """PEP 562: names that a helper makes when they are asked for, and `__dir__`."""
    helper = "def __getattr__(name):\n    if name.startswith('__'): raise AttributeError(name)\n    return name, {n}\n"
    top = "from mods import helper\nfrom mods.helper import anything\n"
    answer = "(anything, helper.other)"
    await probe.start(top, answer=answer, helper=helper.format(n=1))
    assert await probe.ask() == (("anything", 1), ("other", 1))
    await probe.save_helper("helper", helper.format(n=2))
    assert await probe.ask() == (("anything", 2), ("other", 2))


async def test_star_imports_of_names_that_come_and_go(probe: Probe) -> None:
    """`__all__` decides, and what is no longer there is not there."""
    top = "from mods.helper import *\n"
    answer = "sorted(each for each in globals() if each in ('A', 'B', 'C'))"
    await probe.start(top, answer=answer, helper="A = 1\nB = 2\n")
    assert await probe.ask() == ["A", "B"]
    await probe.save_helper("helper", "__all__ = ['B', 'C']\nA = B = C = 1\n")
    assert await probe.ask() == ["B", "C"]


async def test_importlib_resources_are_sources(probe: Probe) -> None:
    """A text that a module reads at its top through `importlib.resources`."""
    probe.work.write("mods/data/__init__.py", "")
    data = probe.work.write("mods/data/word.txt", "one")
    top = "from importlib import resources\nWORD = resources.files('mods.data').joinpath('word.txt').read_text()"
    await probe.start(top, answer="WORD")
    assert await probe.ask() == "one"
    data.write_text("two!")
    done = await probe.work.saved(data)
    assert [each.status.value for each in done.outcomes] == ["applied"]
    assert await probe.ask() == "two!"


async def test_a_subpackage_that_is_renamed(probe: Probe) -> None:
    """The old name is gone from Python too, the new one serves."""
    probe.work.write("mods/old/__init__.py", "")
    probe.work.write("mods/old/part.py", "N = 1\n")
    await probe.start("from mods.old import part\nimport sys", answer="(part.N, 'mods.old.part' in sys.modules)")
    (probe.work.folder / "mods/old").rename(probe.work.folder / "mods/new")
    probe._write("from mods.new import part\nimport sys", "(part.N, 'mods.old.part' in sys.modules)", "pass")
    folder = probe.work.folder / "mods"
    done = await probe.work.saved(folder / "probe.py", folder / "old/part.py", folder / "old/__init__.py")
    assert [each.status.value for each in done.outcomes] == ["applied"]
    assert await probe.ask() == (1, False)


async def test_a_name_that_differs_in_case_alone(probe: Probe) -> None:
    """Helper.py instead of helper.py: another module."""
    await probe.start("from mods import helper", answer="helper.N", helper="N = 1\n")
    (probe.work.folder / "mods/helper.py").rename(probe.work.folder / "mods/Helper.py")
    probe._write("from mods import Helper as helper\nimport sys", "(helper.N, 'mods.helper' in sys.modules)", "pass")
    folder = probe.work.folder / "mods"
    await probe.work.saved(folder / "probe.py", folder / "helper.py")
    assert await probe.ask() == (1, False)


async def test_a_helper_behind_a_symbolic_link(probe: Probe) -> None:
    """What the link leads to is what counts."""
    real = probe.work.write("mods/real_one.py", "N = 1\n")
    other = probe.work.write("mods/real_two.py", "N = 2\n")
    link = probe.work.folder / "mods/helper.py"
    link.symlink_to(real)
    await probe.start("from mods import helper", answer="helper.N")
    assert await probe.ask() == 1
    link.unlink()
    link.symlink_to(other)
    await probe.work.saved(link)
    assert await probe.ask() == 2


async def test_a_context_variable_default_and_set_at_the_top(probe: Probe) -> None:
    """A handler sees what the new version has set."""
    top = (
        "import contextvars\nWHO = contextvars.ContextVar('who', default='d{n}')\n"
        "WHAT = contextvars.ContextVar('what')\nWHAT.set({n})"
    )
    await probe.start(top.format(n=1), answer="(WHO.get(), WHAT.get())")
    assert await probe.ask() == ("d1", 1)
    await probe.save(top.format(n=2), answer="(WHO.get(), WHAT.get())")
    assert await probe.ask() == ("d2", 2)


async def test_decimal_and_locale_settings_of_the_new_version(probe: Probe) -> None:
    """A precision that is not set any more is the usual one."""
    top = "import decimal\n{set}"
    await probe.start(top.format(set="decimal.getcontext().prec = 5"), answer="decimal.getcontext().prec")
    assert await probe.ask() == 5
    await probe.save(top.format(set="decimal.getcontext().prec = 7"), answer="decimal.getcontext().prec")
    assert await probe.ask() == 7
    await probe.save(top.format(set=""), answer="decimal.getcontext().prec")
    assert await probe.ask() == 28


async def test_asyncio_locks_at_the_top_and_in_the_state(probe: Probe) -> None:
    """A lock that is held when the save comes is the same afterwards."""
    top = "import asyncio\nTOP = asyncio.Lock()\nV = {n}"
    start = "self.state.setdefault('lock', asyncio.Lock())"
    answer = "(V, await self.both())"
    both = "\n    async def both(self):\n        async with TOP, self.state['lock']: return True\n"
    await probe.start(top.format(n=1), answer=answer, start=start + both)
    assert await probe.ask() == (1, True)
    await probe.save(top.format(n=2), answer=answer, start=start + both)
    assert await probe.ask() == (2, True)


async def test_weak_references_to_code_do_not_answer(probe: Probe) -> None:
    """A weak dictionary and `weakref.finalize` in a helper."""
    helper = "import weakref\nBY_NAME = weakref.WeakValueDictionary()\nENDED = []\n"
    top = "from mods import helper\nimport weakref\nclass C:\n    n = {n}\nhelper.BY_NAME['C{n}'] = C\n"
    answer = "sorted(helper.BY_NAME)"
    await probe.start(top.format(n=1), answer=answer, helper=helper)
    await probe.save(top.format(n=2), answer=answer)
    await probe.collected()
    assert await probe.ask() == ["C2"]


async def test_a_metaclass_that_keeps_a_registry(probe: Probe) -> None:
    """By name, in a list, and by an attribute of the base."""
    helper = """
class Meta(type):
    known = {}
    order = []
    def __new__(meta, name, bases, names):
        cls = super().__new__(meta, name, bases, names)
        meta.known[name] = cls
        meta.order.append(cls)
        return cls
class Plugin(metaclass=Meta): n = 0
"""
    top = "from mods.helper import Meta, Plugin\nclass {name}(Plugin):\n    n = {n}"
    answer = "(sorted((k, v.n) for k, v in Meta.known.items()), [c.n for c in Meta.order])"
    await probe.start(top.format(name="A", n=1), answer=answer, helper=helper)
    assert await probe.ask() == ([("A", 1), ("Plugin", 0)], [0, 1])
    await probe.save(top.format(name="B", n=2), answer=answer)
    assert await probe.ask() == ([("B", 2), ("Plugin", 0)], [0, 2])


async def test_a_method_of_an_installed_library_that_is_patched(probe: Probe) -> None:
    """Wrapped again by each version, it is wrapped once."""
    top = (
        "import string\n_own = string.Template.substitute\n"
        "def _new(self, *a, **k): return '{n}' + _own(self, *a, **k)\nstring.Template.substitute = _new"
    )
    answer = "string.Template('x').substitute()"
    await probe.start(top.format(n=1), answer=answer)
    await probe.save(top.format(n=2), answer=answer)
    assert await probe.ask() == "2x"
    await probe.save("import string", answer=answer)
    assert await probe.ask() == "x"


async def test_a_cache_on_a_class_of_a_helper(probe: Probe) -> None:
    """What a handler has put there is the helper's data and stays while the mod alone is saved."""
    helper = (
        "class Store:\n    cache = {}\n    @classmethod\n"
        "    def of(cls, key):\n        return cls.cache.setdefault(key, len(cls.cache))\n"
    )
    top = "from mods.helper import Store\nV = {n}"
    answer = "(V, Store.of('a'), Store.of('b'))"
    await probe.start(top.format(n=1), answer=answer, helper=helper)
    assert await probe.ask() == (1, 0, 1)
    await probe.save(top.format(n=2), answer=answer)
    assert await probe.ask() == (2, 0, 1)


async def test_a_logger_gets_no_second_handler(probe: Probe) -> None:
    """Also of `basicConfig(force=True)`, of filters, and of a log record factory."""
    top = """
import logging
log = logging.getLogger('oa.kinds')
log.addHandler(logging.NullHandler())
log.addFilter(lambda record: {n})
_before = logging.getLogRecordFactory()
def factory(*a, **k): return _before(*a, **k)
logging.setLogRecordFactory(factory)
"""
    made = "logging.getLogRecordFactory() is factory, _before is logging.LogRecord"
    answer = f"(len(log.handlers), [f(None) for f in log.filters], {made})"
    await probe.start(top.format(n=1), answer=answer)
    assert await probe.ask() == (1, [1], True, True)
    await probe.save(top.format(n=2), answer=answer)
    assert await probe.ask() == (1, [2], True, True)


async def test_signal_handlers_and_exit_callbacks_are_those_of_the_new_version(probe: Probe) -> None:
    """One each, however often the mod is saved."""
    top = "import atexit, signal\ndef on(*a): return {n}\nsignal.signal(signal.SIGUSR2, on)\natexit.register(on)"
    answer = "signal.getsignal(signal.SIGUSR2)()"
    await probe.start(top.format(n=1), answer=answer)
    await probe.save(top.format(n=2), answer=answer)
    assert await probe.ask() == 2
    seen = _Seen()
    atexit.unregister(seen)  # type: ignore[arg-type]
    assert [each() for each in seen.callbacks if each.__module__ == "mods.probe"] == [2]


class _Seen:
    """Equal to nothing; `atexit.unregister` compares each callback with it."""

    def __init__(self) -> None:
        self.callbacks: list[Any] = []

    def __eq__(self, other: object) -> bool:
        self.callbacks.append(other)
        return False

    __hash__ = None  # type: ignore[assignment]


async def test_a_package_instead_of_a_module(probe: Probe) -> None:
    """helper/__init__.py instead of helper.py, and back."""
    await probe.start("from mods import helper", answer="helper.N", helper="N = 1\n")
    package = probe.work.write("mods/helper/__init__.py", "N = 2\n")
    (probe.work.folder / "mods/helper.py").unlink()
    await probe.work.saved(probe.work.folder / "mods/helper.py", package)
    assert await probe.ask() == 2


async def test_two_mods_that_share_a_helper_and_one_is_saved(work: Workspace) -> None:
    """The helper's objects are the same for both, and data in it stays."""
    body = (
        "@mod_event_handler('{name}.get.it')\n"
        "def get(self, event):\n    return EventResponse(True, '', {{'n': {n}, 'all': shared.add()}})"
    )
    work.write("mods/shared.py", "ALL = []\ndef add():\n    ALL.append(1)\n    return len(ALL)\n")
    for name in ("first", "second"):
        work.mod(name, body.format(name=name, n=1), head="from mods import shared\n")
    await work.start("mods.first", "mods.second")
    assert (await work.ask("first.get.it")).data == {"n": 1, "all": 1}
    await work.save_mod("first", body.format(name="first", n=2), head="from mods import shared\n")
    assert (await work.ask("first.get.it")).data == {"n": 2, "all": 2}
    assert (await work.ask("second.get.it")).data == {"n": 1, "all": 3}


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
async def test_configuration_read_at_import(probe: Probe) -> None:
    """json, toml and configparser files that a module reads at its top, by any call."""
    top = """
import json, tomllib, configparser, pathlib
HERE = pathlib.Path(__file__).parent
A = json.loads((HERE / 'a.json').read_bytes())['n']
B = tomllib.load(open(HERE / 'b.toml', 'rb'))['n']
read = configparser.ConfigParser()
read.read(HERE / 'c.ini')
C = int(read['s']['n'])
"""
    files = [
        probe.work.write(f"mods/{name}", text)
        for name, text in (("a.json", '{"n": 1}'), ("b.toml", "n = 1\n"), ("c.ini", "[s]\nn = 1\n"))
    ]
    await probe.start(top, answer="(A, B, C)")
    assert await probe.ask() == (1, 1, 1)
    for file in files:
        file.write_text(file.read_text().replace("1", "22"))
        await probe.work.saved(file)
    assert await probe.ask() == (22, 22, 22)


async def test_a_plugin_registry_by_entry_in_sys_modules(probe: Probe) -> None:
    """A module that puts another object in its place in Python's table."""
    helper = (
        "import sys\nclass Facade:\n    n = {n}\n"
        "    def __getattr__(self, name): return self.n\nsys.modules[__name__] = Facade()\n"
    )
    await probe.start("from mods import helper", answer="helper.whatever", helper=helper.format(n=1))
    assert await probe.ask() == 1
    await probe.save_helper("helper", helper.format(n=2))
    assert await probe.ask() == 2


async def test_click_groups_pydantic_and_attrs(probe: Probe) -> None:
    """Models that refer to each other across modules are those of the new helper."""
    helper = "from pydantic import BaseModel\nclass Inner(BaseModel):\n    n: int = {n}\n"
    top = (
        "from pydantic import BaseModel\nfrom mods.helper import Inner\n"
        "class Outer(BaseModel):\n    inner: Inner = Inner()\n"
    )
    answer = "(Outer().inner.n, isinstance(Outer().inner, Inner), Outer(inner={'n': 5}).inner.n)"
    await probe.start(top, answer=answer, helper=helper.format(n=1))
    assert await probe.ask() == (1, True, 5)
    await probe.save_helper("helper", helper.format(n=2))
    assert await probe.ask() == (2, True, 5)


@pytest.mark.parametrize("form", ["import mods.lib.left as left", "from mods.lib import left", "from . import left"])
@pytest.mark.parametrize("first", ["left", "right"])
async def test_helpers_that_import_each_other_have_the_new_one(probe: Probe, form: str, first: str) -> None:
    """Whichever is imported first, by whatever form, when one or both are saved."""
    left = "from mods.lib import right\nL = {n}\ndef both():\n    return L, right.R\n"
    right = form + "\nR = {n}\ndef both():\n    return left.L, R\n"
    texts = {"left": left, "right": right}
    probe.work.write("mods/lib/__init__.py", "")
    files = [probe.work.write(f"mods/lib/{name}.py", text.format(n=1)) for name, text in texts.items()]
    other = "right" if first == "left" else "left"
    top = f"from mods.lib import {first}, {other}"
    await probe.start(top, answer="(left.both(), right.both())")
    for n in (2, 3):
        for file, text in zip(files, (left, right), strict=True):
            file.write_text(text.format(n=n))
        await probe.work.saved(*files)
        assert await probe.ask() == ((n, n), (n, n))
    files[0].write_text(left.format(n=4))
    await probe.work.saved(files[0])
    assert await probe.ask() == ((4, 3), (4, 3))
    files[1].write_text(right.format(n=5))
    probe._write(top + "\nX = 1", "(left.both(), right.both())", "pass")
    await probe.work.saved(files[1], probe.work.folder / "mods/probe.py")
    assert await probe.ask() == ((4, 5), (4, 5))


# Files that no one sees a mod read


async def test_network_yaml_names_files_that_a_mod_is_made_from(work: Workspace) -> None:
    """A change of one reloads the mod, and so does a new one; patterns that are added later count at once."""
    first, second = work.write("prompts/a.txt", "a"), work.write("texts/b.txt", "b")
    work.mod("wiki", "pass")
    await work.start({"name": "mods.wiki", "watch": ["prompts/**"]})
    first.write_text("changed")
    assert [each.reason for each in (await work.saved(first)).outcomes] == ["prompts/a.txt is read by wiki"]
    new = work.write("prompts/new.txt", "new")
    assert [each.status.value for each in (await work.saved(new, new.parent / LISTING)).outcomes] == ["applied"]
    second.write_text("changed")
    assert (await work.saved(second)).outcomes == ()
    done = await work.save_yaml({"name": "mods.wiki", "watch": ["prompts/**", "texts/*.txt"]})
    assert done.outcomes == ()
    second.write_text("again")
    assert [each.status.value for each in (await work.saved(second)).outcomes] == ["applied"]


@pytest.mark.parametrize("pattern", ["/etc/*", "../secrets/**", "~/x"])
def test_a_pattern_that_leads_out_of_the_workspace_is_refused(work: Workspace, pattern: str) -> None:
    """With its line, as every value that cannot be used."""
    with pytest.raises(ConfigError, match="leads out of the workspace"):
        read_network(work.yaml({"name": "mods.wiki", "watch": [pattern]}))


TELL = """
@mod_event_handler('{name}.told.get')
def get(self, event):
    return EventResponse(True, data={{'told': {told}}})
"""


@pytest.mark.parametrize(
    ("helper", "register"),
    [
        ("LAST = None\ndef told():\n    return LAST and LAST()", "helper.LAST = mine"),
        ("TABLE = {'x': None}\ndef told():\n    return TABLE['x']()", "helper.TABLE['x'] = mine"),
        (
            "import functools\n@functools.singledispatch\ndef told(x=1):\n    return 0",
            "helper.told.register(int, lambda x: mine())",
        ),
    ],
)
@pytest.mark.parametrize("at_top", [True, False])
async def test_who_registered_last_is_who_would_in_a_fresh_start(
    work: Workspace, helper: str, register: str, at_top: bool
) -> None:
    """Of three mods that share one place the last listed has it, whichever is saved, and also after a failed save."""
    work.write("mods/helper.py", helper)
    called = "helper.told(1)" if "singledispatch" in helper else "helper.told()"

    def text(name: str, n: int, more: str = "") -> tuple[str, str]:
        head = f"from mods import helper\ndef mine(): return {(name, n)!r}\n"
        if at_top:
            return TELL.format(name=name, told=called), f"{head}{register}\n{more}"
        starts = f"def initialize(self):\n    {register}\n    {more}\n"
        return starts + TELL.format(name=name, told=called), head

    async def told() -> object:
        return ((await work.ask("first.told.get")).data or {})["told"]

    for name in ("first", "second", "third"):
        work.mod(name, *text(name, 1))
    await work.start("mods.first", "mods.second", "mods.third")
    assert await told() == ("third", 1)
    for n, name in enumerate(("first", "second", "first"), 2):
        await work.save_mod(name, *text(name, n, more="1 / 0"))
        assert await told() == ("third", 1)
        await work.save_mod(name, *text(name, n))
        assert await told() == ("third", 1)
    await work.save_mod("third", *text("third", 9))
    assert await told() == ("third", 9)
    await work.net.unload_mod("third")
    assert await told() == ("second", 3)
    await work.net.unload_mod("second")
    assert await told() == ("first", 4)


# What a version has set and the next one does not


@pytest.mark.parametrize(
    ("top", "answer", "expected"),
    [
        ("import logging\nlogging.captureWarnings(True)", "__import__('logging')._warnings_showwarning is None", True),
        ("import sys\nsys.set_int_max_str_digits(5100)", "__import__('sys').get_int_max_str_digits()", 4300),
        ("import os\nos.chdir('/')", "__import__('os').getcwd() == '/'", False),
        # Asking for it resets it.
        ("import threading\nthreading.stack_size(524288)", "__import__('threading').stack_size()", 0),
        (
            "import signal\nsignal.signal(signal.SIGALRM, int)\nsignal.setitimer(signal.ITIMER_REAL, 90, 90)",
            "__import__('signal').getitimer(0)",
            (0.0, 0.0),
        ),
        ("import csv\ncsv.field_size_limit(1000)", "__import__('csv').field_size_limit()", 131072),
        (
            "import csv\ncsv.register_dialect('bars', delimiter='|')",
            "'bars' in __import__('csv').list_dialects()",
            False,
        ),
        ("import decimal\ndecimal.DefaultContext.prec = 11", "__import__('decimal').DefaultContext.prec", 28),
        ("import __main__\n__main__.of_a_mod = 1", "hasattr(__import__('__main__'), 'of_a_mod')", False),
        (
            "import sys, types\nsys.modules['made_by_hand'] = types.ModuleType('made_by_hand')",
            "'made_by_hand' in __import__('sys').modules",
            False,
        ),
        (
            "import os\nos.environ['OF_A_MOD'] = 'x'",
            "__import__('subprocess').run('echo $OF_A_MOD', shell=True, capture_output=True).stdout",
            b"\n",
        ),
    ],
)
async def test_a_setting_of_the_process_goes_with_the_version(
    probe: Probe, top: str, answer: str, expected: object
) -> None:
    """What a version set and the next one does not set is as in a fresh start, for child processes too."""
    await probe.start(top, answer=answer)
    assert await probe.ask() != expected
    assert await probe.save(answer=answer) == "applied"
    assert await probe.ask() == expected


@pytest.mark.parametrize(
    ("helper", "top", "read"),
    [
        ("from collections import deque\nheld = deque()", "helper.held.append({n})", "list(helper.held)"),
        ("from collections import Counter\nheld = Counter()", "helper.held['k{n}'] += 1", "dict(helper.held)"),
        ("import queue\nheld = queue.Queue()", "helper.held.put({n})", "list(helper.held.queue)"),
        (
            "from collections import defaultdict\nheld = defaultdict(list)",
            "helper.held['k{n}'].append('v{n}')",
            "dict(helper.held)",
        ),
        (
            "held = []",
            "helper.held.append({{'name': 'search', 'n': {n}, 'more': {{'q': [], 'r': {{}}}}}})",
            "helper.held",
        ),
        ("held = {}", "helper.held['x'] = {{'run': lambda: {n}, 'more': []}}", "helper.held['x']['run']()"),
        (
            "import contextlib\nheld = contextlib.ExitStack()",
            "helper.held.callback(print, {n})",
            "len(helper.held._exit_callbacks)",
        ),
        ("held = bytearray()", "helper.held.extend(b'{n}')", "bytes(helper.held)"),
        ("import random\nheld = random.Random(7)", "N = helper.held.random() + {n}", "N"),
        ("import numpy\nheld = numpy.zeros(4)", "helper.held[{n}] = {n}", "helper.held.tolist()"),
        (
            "import attrs\n@attrs.define\nclass Held:\n    n: int = 0\nheld = Held()",
            "if {n} == 1: helper.held.n = 1",
            "helper.held.n",
        ),
        ("held = frozenset()", "helper.held |= {{{n}}}", "sorted(helper.held)"),
        ("import threading\nheld = threading.Event()", "if {n} == 1: helper.held.set()", "helper.held.is_set()"),
        (
            "import logging\nheld = logging.Formatter()",
            "if {n} == 1: helper.held.datefmt = 'x'",
            "helper.held.datefmt",
        ),
        (
            "import dataclasses\n@dataclasses.dataclass(frozen=True)\nclass Row:\n    a: int = 1\nheld = Row()",
            "if {n} == 1: object.__setattr__(helper.held, 'a', 7)",
            "helper.held.a",
        ),
        ("held = [3, 1, 2]", "if {n} == 1: helper.held.sort()", "helper.held"),
        ("held = [3, 1, 2]", "if {n} == 1: helper.held.reverse(); helper.held[1:] = [4, 2]", "helper.held"),
        (
            "import collections\nheld = collections.deque('ab', 2)",
            "if {n} == 1: helper.held.append('c')",
            "helper.held",
        ),
        ("import asyncio\nheld = asyncio.Event()", "if {n} == 1: helper.held.set()", "helper.held.is_set()"),
        (
            "import xml.etree.ElementTree as ET\nheld = ET.fromstring('<a><b/><c/></a>')",
            "if {n} == 1: helper.held[:] = helper.held[::-1]",
            "[each.tag for each in helper.held]",
        ),
        (
            "class Row:\n    a: int\nheld = Row",
            "if {n} == 1: helper.held.__annotations__['b'] = str",
            "helper.held.__annotations__",
        ),
        ("from mods.helping import Switch\nheld = Switch()", "if {n} == 1: helper.held.turn_on()", "helper.held.on"),
        (
            "def held(a=0, *, b=0): return a, b",
            "if {n} == 1: helper.held.__code__, helper.held.__kwdefaults__ = (lambda a, *, b: b).__code__, {{'b': 7}}",
            "helper.held()",
        ),
    ],
)
async def test_what_a_version_put_into_a_helper_is_there_once(probe: Probe, helper: str, top: str, read: str) -> None:
    """Whatever it is put into: after a save that of the new version alone is there."""
    if "numpy" in helper:
        pytest.importorskip("numpy")
    own, answer = "from mods import helper\n" + top, f"repr({read})"
    await probe.start(own.format(n=2), answer=answer, helper=helper, helping=HELPING)
    fresh = await probe.ask()
    await probe.save(own.format(n=1), answer=answer)
    assert await probe.save(own.format(n=2), answer=answer) == "applied"
    assert await probe.ask() == fresh
    assert probe.reasons == []


@pytest.mark.parametrize("made", ["{'a': 1, 'b': 'xy'}", "{'a': 1, 'b': {'c': 2}}", "[3, 'xy']", "[{}]"])
@pytest.mark.parametrize("keeps", ["_made = value", "memo['x'] = value"])
async def test_what_a_helper_makes_at_the_first_call_is_not_taken_apart(probe: Probe, keeps: str, made: str) -> None:
    """As settings that are read once: the mod that asks for them first is no owner of theirs, and others have them."""
    helper = (
        f"_made, memo = None, {{}}\ndef get():\n    global _made\n    if _made is None and not memo:\n"
        f"        value = {made}\n        {keeps}\n    return memo.get('x', _made)\n"
    )
    top, answer = "from mods import helper\nMINE = helper.get()\nN = {n}", "(MINE, MINE is helper.get() is other.IT)"
    other = "from mods import helper\nIT = helper.get()\n"
    own = top + "\nfrom mods import other"
    await probe.start(own.format(n=1), answer=answer, helper=helper, other=other)
    for n in (2, "1 / 0", 3):
        assert await probe.save(own.format(n=n), answer=answer) == ("rolled_back" if n == "1 / 0" else "applied")
        assert repr(await probe.ask()) == f"({made}, True)"
    assert probe.reasons == []


HELPING = """
class Switch:
    def __init__(self): self.on = False
    def turn_on(self): self.on = True
"""


async def test_the_next_head_of_a_linked_list_holds_what_was_there(probe: Probe) -> None:
    """The first version's node is no table's entry, and the second has put its own before it: a restart brings one."""
    helper = "class Node:\n    def __init__(self, n, next): self.n, self.next = n, next\nHEAD = None\n"
    helper += "def add(n):\n    global HEAD\n    HEAD = Node(n, HEAD)\n"
    top = "from mods import helper\nhelper.add({n})"
    await probe.start(top.format(n=1), answer="helper.HEAD.n", helper=helper)
    await probe.save(top.format(n=2), answer="helper.HEAD.n")
    assert (await probe.ask(), probe.reasons) == (2, ["mods.helper.HEAD holds what was put there before"])


CLIENT = """
class Client:
    def __init__(self, url): self.url, self.asked = url, []
_client = None
def client(url):
    global _client
    if _client is None: _client = Client(url)
    return _client
"""


@pytest.mark.parametrize("at_top", [True, False])
async def test_an_object_that_a_helper_makes_once_with_values_of_a_mod(probe: Probe, at_top: bool) -> None:
    """It stays with its data while the mod says the same values; where it says others, a restart brings them."""
    top, made = "from mods import helper\n{made}", "helper.client('{url}')"

    def version(url: str, more: str = "") -> dict[str, str]:
        own = made.format(url=url)
        return {"top": top.format(made=f"C = {own}" if at_top else "") + more, "start": "pass" if at_top else own}

    answer = "(helper._client.asked.append(1), helper._client.url, len(helper._client.asked))[1:]"
    await probe.start(**version("v1"), answer=answer, helper=CLIENT)
    assert await probe.ask() == ("v1", 1)
    assert await probe.save(**version("v1", "\nX = 1"), answer=answer) == "applied"
    assert (await probe.ask(), probe.reasons) == (("v1", 2), [])
    await probe.save(**version("v2"), answer=answer)
    assert probe.reasons == ["mods.helper._client was made by lines of mods.probe that have changed since"]


async def test_an_object_that_a_helper_made_with_values_computed_from_those_of_a_mod(probe: Probe) -> None:
    """Only the lines that lead to it count: what else the mod says may change in place."""
    helper = CLIENT.replace("self.url, self.asked = url, []", "self.url, self.asked = 'http://' + url, []")
    top = "from mods import helper\nHOST = '{}'\nC = helper.client(HOST * 2)\nWORD = '{}'"
    await probe.start(top.format("a", "x"), answer="(C.url, WORD)", helper=helper)
    await probe.save(top.format("a", "y"), answer="(C.url, WORD)")
    assert (await probe.ask(), probe.reasons) == (("http://aa", "y"), [])
    await probe.save(top.format("b", "y"), answer="(C.url, WORD)")
    assert probe.reasons == ["mods.helper._client was made by lines of mods.probe that have changed since"]


ITEMS = """
import dataclasses
@dataclasses.dataclass
class Item:
    title: str
    tags: list = dataclasses.field(default_factory=list)
MENU = []
"""


@pytest.mark.parametrize("at_top", [True, False])
async def test_an_item_that_a_mod_adds_to_a_helpers_list_is_there_once(probe: Probe, at_top: bool) -> None:
    """In its place before those of others, as after a fresh start. One that has got data since is not thrown away:
    a restart is asked for."""
    adds = "helper.MENU.append(helper.Item('a'))"
    top, start = "from mods import helper\n" + (adds if at_top else "") + "\nN = {n}", "pass" if at_top else adds
    answer = "(N, [each.title for each in helper.MENU])"
    await probe.start(top.format(n=1), answer=answer, start=start, helper=ITEMS)
    menu = sys.modules["mods.helper"].MENU
    menu.append(sys.modules["mods.helper"].Item("b"))
    for n in (2, 3):
        assert await probe.save(top.format(n=n), answer=answer, start=start) == "applied"
        assert (await probe.ask(), probe.reasons) == ((n, ["a", "b"]), [])
    menu[0].tags.append("seen")
    await probe.save(top.format(n=4), answer=answer, start=start)
    assert probe.reasons == ["mods.helper.MENU holds what was put there before"]


async def test_an_entry_that_differs_each_time_is_one_more_and_no_reason_for_a_restart(probe: Probe) -> None:
    """As a line in a log of a helper, which goes on when a mod is saved. One that has a lock, of which nothing shows,
    is the same item again: a restart is asked for."""
    top, answer = "from mods import helper\nhelper.MENU.append(helper.Item({made}))\nN = {n}", "len(helper.MENU)"
    made = "__import__('time').time_ns()"
    await probe.start(top.format(made=made, n=1), answer=answer, helper=ITEMS)
    for n in (2, 3):
        await probe.save(top.format(made=made, n=n), answer=answer)
        assert (await probe.ask(), probe.reasons) == (n, [])
    made = "'a', [__import__('threading').Lock()]"
    await probe.save(top.format(made=made, n=4), answer=answer)
    probe.reasons.clear()
    await probe.save(top.format(made=made, n=5), answer=answer)
    assert probe.reasons == ["mods.helper.MENU holds what was put there before"]


async def test_an_item_that_a_mod_takes_out_itself_at_its_end_is_left_to_it(probe: Probe) -> None:
    """It takes out the one that it has put there, not its successor's, which is equal."""
    top, answer = "from mods import helper\nN = {n}", "(N, [each.title for each in helper.MENU])"
    start = "self.item = helper.Item('a'); helper.MENU.append(self.item)\n"
    start += "    async def shutdown(self):\n        self.take_out()\n"
    start += "    def take_out(self):\n        helper.MENU.remove(self.item)"
    await probe.start(top.format(n=1), answer=answer, start=start, helper=ITEMS)
    for n in (2, 3):
        assert await probe.save(top.format(n=n), answer=answer, start=start) == "applied"
        await until(lambda: len(sys.modules["mods.helper"].MENU) == 1)
        assert (await probe.ask(), probe.reasons) == ((n, ["a"]), [])


@pytest.mark.parametrize(
    ("adds", "end"),
    [
        ("OUT = helper.add(helper.Item('a'))", "OUT()"),
        ("def gone(): helper.MENU.remove(ITEM)\nhelper.add(ITEM := helper.Item('a'))", "gone()"),
        ("import contextlib as c\n(STACK := c.ExitStack()).callback(helper.add(helper.Item('a')))", "STACK.close()"),
        ("class Part:\n  def close(self): del helper.MENU[0]\nhelper.add(helper.Item('a'))\nIT = Part()", "IT.close()"),
    ],
)
async def test_an_item_that_a_mod_takes_out_by_way_of_others_is_left_to_it(probe: Probe, adds: str, end: str) -> None:
    """As with what a helper gave it to sign off: else it would take out its successor's, which is equal."""
    helper = ITEMS + "def add(item):\n    MENU.append(item)\n    return lambda: MENU.remove(item)\n"
    top, answer = "from mods import helper\n" + adds + "\nN = {n}", "(N, [each.title for each in helper.MENU])"
    start = f"pass\n    async def shutdown(self):\n        {end}"
    await probe.start(top.format(n=1), answer=answer, start=start, helper=helper)
    assert await probe.save(top.format(n=2), answer=answer, start=start) == "applied"
    await until(lambda: len(sys.modules["mods.helper"].MENU) < 2)
    assert (await probe.ask(), probe.reasons) == ((2, ["a"]), [])


@pytest.mark.parametrize("keeps", ["names.setdefault(item.title, item)", "default = default or item"])
async def test_an_item_that_a_helper_keeps_elsewhere_too_is_not_replaced_in_its_list_alone(
    probe: Probe, keeps: str
) -> None:
    """What is written to the default of a helper would be missing in its list: a restart is asked for."""
    helper = f"default, names = None, {{}}\ndef add(item):\n    global default\n    MENU.append(item)\n    {keeps}\n"
    top, answer = "from mods import helper\nhelper.add(helper.Item('a'))\nN = {n}", "helper.default"
    await probe.start(top.format(n=1), answer=answer, helper=ITEMS + helper)
    await probe.save(top.format(n=2), answer=answer)
    at = sys.modules["mods.helper"]
    assert (at.default or at.names["a"]) is at.MENU[0]
    assert probe.reasons == ["mods.helper.MENU holds what was put there before"]


async def test_iterators_of_a_helper_cannot_go_back(probe: Probe) -> None:
    """An import that has moved them on finds them at their beginning in a fresh start: a restart brings that."""
    helper = "import itertools\nids = itertools.count(1)\nwords = iter(['a', 'b'])\nodd = (n for n in (1, 3))\n"
    top = "from mods import helper\nV = (next(helper.ids), next(helper.words), next(helper.odd))\n"
    await probe.start(top, answer="V", helper=helper)
    await probe.save(top + "X = 1", answer="V")
    stuck = "mods.helper.{} has moved on, and a fresh start begins it again"
    assert probe.reasons == [stuck.format(each) for each in ("odd", "words", "ids")]


async def test_an_option_of_a_library_that_is_set_no_more(probe: Probe) -> None:
    """No place shows it: the line that set it is gone, and what it did is not. Other settings explain nothing."""
    top = "import os, tracemalloc\nfrom urllib import request\nos.environ['OF_A_MOD'] = 'x'\n"
    sets = "request.install_opener(request.build_opener())\ntracemalloc.start()\n"
    try:
        await probe.start(top + sets, answer="tracemalloc.is_tracing()")
        await probe.save(top + sets + "X = 1", answer="tracemalloc.is_tracing()")
        assert (await probe.ask(), probe.reasons) == (True, [])
        await probe.save(top, answer="tracemalloc.is_tracing()")
        assert probe.reasons == [
            "request.install_opener, set by mods.probe before, still counts",
            "tracemalloc.start, set by mods.probe before, still counts",
        ]
    finally:
        request.install_opener(None)  # type: ignore[arg-type]
        tracemalloc.stop()


CONTENTS = """
import array, functools, io, threading
LOCAL, TEXT, NUMBERS, NAMES = threading.local(), io.StringIO(), array.array("i"), {}
class Part:
    def __init__(self): self.n = 0
class App:
    def __init__(self): self.part = Part()
    @functools.cached_property
    def names(self): return sorted(NAMES)
app = App()
def make():
    n = 0
    def count():
        nonlocal n
        n += 1
        return n
    return count
closure = make()
def attribute(): attribute.n = getattr(attribute, "n", 0) + 1; return attribute.n
def default(seen=[]): seen.append(1); return len(seen)
@functools.lru_cache(maxsize=8)
def bounded(name): return NAMES[name]()
@functools.cache
def unbounded(name): return NAMES[name]()
@functools.lru_cache(maxsize=8)
def shared(): return object()
first = shared()
"""


def test_an_option_is_set_on_what_a_library_finds_too() -> None:
    """By a function that gets a shared object; what a constructor makes belongs to who made it."""
    sets = b"import lib\nlib.get_scope().set_tag('v', 1)\nlib.Parser().add_argument('v')\n"
    assert [each.shown for each in options_gone(sets, b"import lib\n")] == ["lib.get_scope.set_tag"]


OWN_TABLES = """
import collections, click, pluggy
class Once(dict):
    def __setitem__(self, key, value):
        if key in self: raise KeyError(key)
        super().__setitem__(key, value)
class Order(collections.OrderedDict): pass
class Bus(list):
    def append(self, each): super().append(each); self.n = len(self)
once, order, bus, pm = Once(), Order(z=None), Bus(), pluggy.PluginManager("oa")
impl = pluggy.HookimplMarker("oa")
class Spec:
    @pluggy.HookspecMarker("oa")
    def word(self): pass
pm.add_hookspecs(Spec)
@click.group()
def cli(): pass
"""


async def test_tables_that_derive_from_those_of_python(probe: Probe) -> None:
    """Whatever their classes do on the way; and those of libraries that a helper has made."""
    top = (
        "from mods import helper as h\nh.once['k'] = h.order['k{n}'] = lambda: {n}\nh.bus.append({n})\n"
        "@h.cli.command('go{n}')\ndef go(): pass\n"
        "class Plug:\n    @h.impl\n    def word(self): return {n}\nh.pm.register(Plug())\n"
    )
    answer = (
        "({k: v() for k, v in h.once.items()}, list(h.order), list(h.bus), h.bus.n, sorted(h.cli.commands),"
        " h.pm.hook.word())"
    )
    await probe.start(top.format(n=1), answer=answer, helper=OWN_TABLES)
    assert await probe.ask() == ({"k": 1}, ["z", "k1"], [1], 1, ["go1"], [1])
    await probe.save(top.format(n=2), answer=answer)
    assert (await probe.ask(), probe.reasons) == (({"k": 2}, ["z", "k2"], [2], 1, ["go2"], [2]), [])
    assert await probe.save(top.format(n=3) + "\n1 / 0", answer=answer) == "rolled_back"
    assert await probe.ask() == ({"k": 2}, ["z", "k2"], [2], 1, ["go2"], [2])


async def test_what_a_version_puts_into_the_standard_library_goes_with_it(probe: Probe) -> None:
    """Each version finds there what a fresh start finds; the last one puts nothing there."""
    top = """
import copyreg, fractions, json, mimetypes, sqlite3, sys, warnings, yaml
_hook, _default = sys.excepthook, json.JSONEncoder.default
def hook(*a): return {n}, _hook is sys.__excepthook__
sys.excepthook = hook
json.JSONEncoder.default = lambda self, o: ({n}, _default.__qualname__)
mimetypes.add_type("x/{n}", ".oak")
warnings.filterwarnings("error", message="oak{n}")
copyreg.pickle(fractions.Fraction, lambda f: {n})
sqlite3.register_converter("oak", lambda b: {n})
yaml.SafeLoader.add_constructor("!oak", lambda l, n: {n})
fractions.Fraction.oak = property(lambda self: {n})
"""
    answer = (
        "(sys.excepthook(), json.dumps(object()), mimetypes.guess_type('a.oak')[0],"
        " [f[1].pattern for f in warnings.filters if f[1] is not None and 'oak' in f[1].pattern],"
        " copyreg.dispatch_table[fractions.Fraction](0), sqlite3.converters['OAK'](b''), yaml.safe_load('!oak x'),"
        " fractions.Fraction(1).oak)"
    )
    gone = "import copyreg, fractions, json, mimetypes, sqlite3, sys, warnings, yaml"
    left = (
        "(sys.excepthook is sys.__excepthook__, json.JSONEncoder.default.__qualname__,"
        " mimetypes.guess_type('a.oak')[0], fractions.Fraction in copyreg.dispatch_table, 'OAK' in sqlite3.converters,"
        " '!oak' in yaml.SafeLoader.yaml_constructors, hasattr(fractions.Fraction, 'oak'))"
    )
    own = "JSONEncoder.default"
    await probe.start(top.format(n=1), answer=answer)
    for n in (1, 2):
        assert await probe.ask() == ((n, True), f'[{n}, "{own}"]', f"x/{n}", [f"oak{n}"], n, n, n, n)
        await probe.save(top.format(n=2) if n == 1 else gone, answer=answer if n == 1 else left)
    assert (await probe.ask(), probe.reasons) == ((True, own, None, False, False, False, False), [])


async def test_a_name_that_a_helper_lacks_comes_with_its_next_save(probe: Probe) -> None:
    """Python 3.12 imports a helper again to suggest another of its names: nothing of the failed attempt stays."""
    await probe.start("from mods.helper import WORD", answer="WORD", helper="OTHER = 1\n")
    assert "mods.helper" not in sys.modules
    assert await probe.save_helper("helper", "WORD = 2\n") == ["applied"]
    assert await probe.ask() == 2


async def test_content_of_a_helper_that_lies_in_no_table(work: Workspace) -> None:
    """Texts in memory, buffers, cells, attributes of parts and functions, values of a thread, remembered results."""
    probe, run = Probe(work), work.run
    work.run = lambda home="thread": run("thread")  # type: ignore[method-assign]
    top = (
        "from mods import helper as h\nh.NAMES['{n}'] = h.NAMES['x'] = lambda: {n}\nh.TEXT.write('{n}')\n"
        "h.NUMBERS.append({n})\nh.app.part.n += 1\nh.LOCAL.{name} = {n}\n"
        "V = h.closure(), h.attribute(), h.default(), h.bounded('x'), h.app.part.n, [*h.NUMBERS], h.TEXT.getvalue()"
    )
    answer = "(V, vars(h.LOCAL).copy(), h.bounded('x'), h.unbounded('x'), h.shared() is h.first)"
    await probe.start(top.format(n=1, name="a"), answer=answer, helper=CONTENTS)
    assert await probe.ask() == ((1, 1, 1, 1, 1, [1], "1"), {"a": 1}, 1, 1, True)
    await probe.save(top.format(n=2, name="b"), answer=answer)
    assert (await probe.ask(), probe.reasons) == (((1, 1, 1, 2, 1, [2], "2"), {"b": 2}, 2, 2, True), [])
    failing = top.format(n=3, name="c") + "\n1 / 0"
    assert await probe.save(failing, answer=answer) == "rolled_back"
    assert await probe.ask() == ((1, 1, 1, 2, 1, [2], "2"), {"b": 2}, 2, 2, True)


async def test_tables_that_appear_between_the_steps_of_initialize(probe: Probe) -> None:
    """A helper is looked through again where one of its tables has changed since the step before."""
    top = (
        "from mods import helper as h\nasync def go():\n    import asyncio\n    h.TABLES.append({{}})\n"
        "    await asyncio.sleep(0)\n    h.TABLES[-1]['k{n}'] = go\n"
    )
    answer = "[*map(list, h.TABLES)]"
    await probe.start(top.format(n=1), start="return go()", answer=answer, helper="TABLES = []")
    assert await probe.ask() == [["k1"]]
    await probe.save(top.format(n=2), start="return go()", answer=answer)
    assert await probe.ask() == [["k2"]]


OF_THE_LIVING = """
import collections
class Client:
    def __init__(self, url): self.url = url
class App: pass
app, client, ROWS, LAST, MENU, SEEN = App(), Client("v1"), [3, 1], collections.deque([1, 2], 2), {"a": [1]}, {1}
def make(url):
    global client
    client = Client(url)
"""


@pytest.mark.parametrize("place", ["top", "start"])
async def test_a_failed_save_leaves_nothing_in_a_helper(
    work: Workspace, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also what shows no registration, and only what others have not changed since: the running version works with
    that. What the failed one changes back in its `shutdown()` is not what stood there before."""
    # Threads of other tests may run.
    monkeypatch.setattr(Others, "have_run", lambda self: False)
    probe, run = Probe(work), work.run
    work.run = lambda home="thread": run("thread")  # type: ignore[method-assign]
    fails = (
        "h.client = h.Client('failed'); h.make('failed'); h.app.client = h.client; h.ROWS.sort(); h.ROWS.append({});"
        " h.LAST.append([]); h.MENU['a'].clear(); del h.MENU['a']; h.MENU['b'] = []; h.SEEN.clear();"
        " h.MENU = h.app; 1 / 0"
    )
    start = "self.shutdown = lambda: (setattr(h, 'client', None), h.MENU.clear() if type(h.MENU) is dict else 0)"
    answer = "(h.client.url, vars(h.app), h.ROWS, list(h.LAST), h.MENU, h.SEEN)"
    own = "from mods import helper as h\n"
    await probe.start(own + "h.app.v = 1", answer=answer, start=start, helper=OF_THE_LIVING)
    before = await probe.ask()
    assert before == ("v1", {"v": 1}, [3, 1], [1, 2], {"a": [1]}, {1})
    top, start = (own + fails, start) if place == "top" else (own, f"{start}; {fails}")
    assert await probe.save(top, answer=answer, start=start) == "rolled_back"
    assert await probe.ask() == before


@pytest.mark.parametrize(
    "top", ["import sys\nV = sys._getframe().f_lineno", "from mods import helper\nV = helper.line()"]
)
async def test_the_number_of_a_line_that_is_kept_as_a_value(probe: Probe, top: str) -> None:
    """An edit that only moves code changes it, so the code is executed."""
    helper = "import sys\ndef line(): return sys._getframe(1).f_lineno\n"
    await probe.start(top, answer="V", helper=helper)
    assert await probe.ask() == 5
    await probe.save(f"# moved\n{top}", answer="V")
    assert await probe.ask() == 6


async def test_sizes_in_a_folder_that_a_module_lists(probe: Probe) -> None:
    """No event tells of the question for a size: the names in the source tell."""
    file = probe.work.write("mods/data/a.txt", "abc")
    top = "import os\nV = sum(each.stat().st_size for each in os.scandir(os.path.dirname(__file__) + '/data'))"
    await probe.start(top, answer="V")
    assert await probe.ask() == 3
    await probe.work.saved(probe.work.write("mods/data/a.txt", "abcd"))
    assert file in probe.work.net.engine.knowledge.sources()
    assert await probe.ask() == 4


async def test_a_private_attribute_that_a_model_gains(probe: Probe) -> None:
    """A pydantic model in the state has the value of its default, and keeps those that it had."""
    top = (
        "from pydantic import BaseModel, PrivateAttr\nclass Book(BaseModel):\n    _pages: int = PrivateAttr(1)\n{more}"
    )
    start = "self.state.setdefault('book', Book())._pages += 1"
    await probe.start(top.format(more=""), start=start, answer="self.state['book']._pages")
    assert await probe.ask() == 2
    more = "    _shelf: str = PrivateAttr('a')"
    await probe.save(top.format(more=more), answer="(self.state['book']._pages, self.state['book']._shelf)")
    assert await probe.ask() == (2, "a")


async def test_a_key_of_the_state_that_the_reload_could_not_look_into_is_told(probe: Probe) -> None:
    """The result of a future belongs to C: its old class is found by the census, and a restart asked for."""
    top = "import asyncio\nclass Book:\n    n = {n}\n"
    start = (
        "if 'book' not in self.state: self.state['book'] = asyncio.get_running_loop().create_future();"
        " self.state['book'].set_result(Book())"
    )
    await probe.start(top.format(n=1), start=start, answer="self.state['book'].result().n")
    await probe.save(top.format(n=2), answer="self.state['book'].result().n")
    await probe.collected()
    assert probe.reasons == ['old code of mods.probe v1 is held by state key "book"']


async def test_subclasses_that_the_state_keeps_are_told(probe: Probe) -> None:
    """A class that only the state keeps is still among the subclasses of a helper's: the line names both."""
    helper = "class Base: pass\ndef names():\n    return [each.__name__ for each in Base.__subclasses__()]\n"
    top = "from mods import helper\nclass Own(helper.Base): pass\nclass {name}:\n    def ask(self): return Own\n"
    start = "self.state.setdefault('kept', globals().get('First', str)())"
    await probe.start(top.format(name="First"), start=start, answer="helper.names()", helper=helper)
    await probe.save(top.format(name="Second"), start=start, answer="helper.names()")
    await probe.collected()
    assert await probe.ask() == ["Own", "Own"]
    assert probe.reasons == [
        'old code of mods.probe v1 is held by the subclasses of mods.helper.Base, through state key "kept"'
    ]


# Files that no event shows


@pytest.mark.parametrize(
    ("name", "top"),
    [
        ("local.json", "from pathlib import Path\nV = Path(__file__).with_name('local.json').exists()"),
        ("debug.flag", "import os\nV = os.path.isfile(os.path.join(os.path.dirname(__file__), 'debug.flag'))"),
        ("maintenance", "from pathlib import Path\nV = (Path(__file__).parent / 'maintenance').is_file()"),
        ("own.env", "import os\nfrom pathlib import Path\nV = os.access(Path(__file__).parent / 'own.env', os.R_OK)"),
    ],
)
async def test_a_file_that_a_module_asked_for_in_vain(probe: Probe, name: str, top: str) -> None:
    """Python tells of no question whether a file exists: the name in the source tells."""
    await probe.start(top, answer="V")
    assert await probe.ask() is False
    place = probe.work.folder / "mods" / name
    await until(lambda: place in probe.work.net.engine.knowledge.sources())
    await probe.work.saved(probe.work.write(f"mods/{name}", "{}"))
    assert await probe.ask() is True


@pytest.mark.parametrize("told", ["os.path.getsize(F)", "os.path.exists(F)"])
@pytest.mark.parametrize("there", [True, False])
async def test_a_file_that_is_written_before_its_name_is_read_from_the_source(
    probe: Probe, monkeypatch: pytest.MonkeyPatch, told: str, there: bool
) -> None:
    """What the module found is not what is on disk: that is a change, though nothing happens to the file later."""
    place = probe.work.write("mods/local.json", "1") if there else probe.work.folder / "mods/local.json"
    real = Build.read_imports

    def late(self: Build) -> None:
        monkeypatch.undo()
        # By another process, as an editor: what threads of mods write is their data.
        subprocess.run(["rm" if "exists" in told and there else "tee", place], input=b"22", stdout=subprocess.DEVNULL)
        real(self)

    monkeypatch.setattr(Build, "read_imports", late)
    top = f"import os\nF = os.path.join(os.path.dirname(__file__), 'local.json')\nV = os.path.exists(F) and {told}"
    await probe.start(top, answer="V")
    known = probe.work.net.engine.knowledge
    await until(lambda: place in known.sources())
    assert known.sources()[place] != sources_now([place])[place]
    await probe.work.saved(place)
    await until(lambda: place in known.sources())
    assert known.sources()[place] == sources_now([place])[place]
    assert await probe.ask() == (2 if "size" in told else not there)


async def test_a_file_that_is_written_while_initialize_runs(probe: Probe) -> None:
    """What it has read before does not count as what is on disk."""
    place = probe.work.write("mods/local.json", "1")
    read = "__import__('pathlib').Path(__file__).with_name('local.json').read_text()"
    start = f"self.v = {read}; import subprocess; subprocess.run(['sh', '-c', 'printf 2 > {place}'])"
    await probe.start(start=start, answer="self.v")
    assert probe.work.net.engine.knowledge.sources()[place] != sources_now([place])[place]
    await probe.work.saved(place)
    assert await probe.ask() == "2"
    assert probe.work.net.engine.knowledge.sources()[place] == sources_now([place])[place]


async def test_a_catalogue_of_translations_that_is_compiled_again(probe: Probe) -> None:
    """`gettext` remembers what a file said by its path alone."""
    probe.work.folder.joinpath("mods").mkdir(exist_ok=True)
    top = (
        "import gettext\nfrom pathlib import Path\n"
        "gettext.find = lambda *a, **k: [str(Path(__file__).with_name('oa.mo'))]\n"
        "V = gettext.translation('oa').gettext('hi')"
    )
    file = probe.work.folder / "mods/oa.mo"
    file.write_bytes(_catalogue(b"hi", b"eins"))
    await probe.start(top, answer="V")
    assert await probe.ask() == "eins"
    file.write_bytes(_catalogue(b"hi", b"zwei"))
    await probe.work.saved(file)
    assert await probe.ask() == "zwei"


def _catalogue(text: bytes, translated: bytes) -> bytes:
    """A compiled catalogue of one message."""
    begin = 28 + 8 + 8
    head = (0x950412DE, 0, 1, 28, 36, 0, 0, len(text), begin, len(translated), begin + len(text) + 1)
    return struct.pack("<11I", *head) + text + b"\0" + translated + b"\0"
