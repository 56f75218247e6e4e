"""Random programs of mods and random edits of them, as data: so a failure can be made smaller and shown.

A program is a set of pieces, each a few lines in the sources of mods, in helpers that mods share, or in data files,
with the questions whose answers tell which code runs. An edit replaces pieces; sources follow from the pieces.
"""

# ruff: noqa: E501 (lines of programs)

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

MODS = ("a", "b", "c")
LIBS = ("one", "two")

HEAD = """\
from devserver import BaseMod, EventResponse, mod_event_handler
"""

MOD = """\
{top}

class {name}Mod(BaseMod{bases}):
{body}
    def initialize(self):
{initialize}
        return True

    @mod_event_handler("probe.ask")
    def ask(self, event):
        names = {{**globals(), "self": self, "held": self.state}}
        return EventResponse(True, "", {{"answer": repr(eval(event.payload["text"], names))}})

    @mod_event_handler("probe.run")
    def run(self, event):
        exec(event.payload["text"], {{**globals(), "self": self, "held": self.state}})
        return EventResponse(True, "", {{}})
"""


@dataclass(frozen=True, slots=True)
class Piece:
    """A few lines that belong together. `n` and `m` are the constants that edits change, `n` in mods, `m` in helpers."""

    kind: str
    number: int
    mods: tuple[str, ...]
    lib: str
    n: int = 1
    m: int = 1
    name: str = "x"
    """Part of every name that the piece defines in mods."""
    variant: int = 0
    comment: str = ""

    @property
    def at(self) -> str:
        """What tells this piece's names from those of others."""
        return f"{self.kind}_{self.number}"


@dataclass(slots=True)
class _Source:
    top: list[str] = field(default_factory=list)
    body: list[str] = field(default_factory=list)
    initialize: list[str] = field(default_factory=list)
    bases: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Question:
    """An expression that a handler of a mod evaluates. `key`: the key of the state whose objects it asks."""

    mod: str
    text: str
    key: str = ""


@dataclass(frozen=True, slots=True)
class Kept:
    """A key of a mod's state: how a handler fills it, how it is told as plain data, and made from that."""

    mod: str
    key: str
    fill: str
    tell: str
    make: str
    """Statements; `plain` is what `tell` has told."""


class World:
    """What the pieces of a program come to: sources, data files, questions, states."""

    def __init__(self) -> None:
        self.mods = {name: _Source(top=[HEAD]) for name in MODS}
        self.libs = {name: _Source() for name in LIBS}
        self.data: dict[str, str] = {}
        self.questions: list[Question] = []
        self.kept: list[Kept] = []

    def mod(self, name: str, *lines: str) -> None:
        self.mods[name].top += lines

    def lib(self, name: str, *lines: str) -> None:
        self.libs[name].top += lines

    def ask(self, mod: str, text: str, key: str = "") -> None:
        self.questions.append(Question(f"mods.{mod}", text, key))

    def keep(self, mod: str, key: str, *, fill: str, tell: str, make: str) -> None:
        self.kept.append(Kept(f"mods.{mod}", key, fill, tell, make))


@dataclass(frozen=True, slots=True)
class Program:
    """A set of pieces, and what is broken: by file, the lines that break it."""

    pieces: tuple[Piece, ...]
    broken: Mapping[str, str] = field(default_factory=dict)

    def world(self) -> World:
        """The sources, questions and states that the pieces come to."""
        world = World()
        for piece in self.pieces:
            for name in piece.mods:
                world.mod(name, f"# {piece.kind} {piece.number} {piece.comment}")
            KINDS[piece.kind](piece, world)
        return world

    def files(self) -> dict[str, str]:
        """All files of the workspace, by path."""
        world = self.world()
        found = {"mods/__init__.py": "", "mods/lib/__init__.py": "", "network.yaml": _yaml()}
        for name, source in world.mods.items():
            found[f"mods/{name}.py"] = _source_of_mod(name, source)
        for name, source in world.libs.items():
            found[f"mods/lib/{name}.py"] = "\n".join(source.top) + "\n"
        found.update(world.data)
        for name, lines in self.broken.items():
            found[name] = found.get(name, "") + lines
        return found


def _yaml() -> str:
    listed = "".join(f"    - name: mods.{name}\n" for name in MODS)
    return f"network:\n  name: truth\n  node_id: truth\n  mods:\n{listed}"


def _source_of_mod(name: str, source: _Source) -> str:
    return MOD.format(
        top="\n".join(source.top),
        name=name.upper(),
        bases="".join(f", {each}" for each in source.bases),
        body="".join(f"    {line}\n" for line in source.body),
        initialize="\n".join(f"        {line}" for line in source.initialize or ["pass"]),
    )


# Kinds of pieces

Kind = Callable[[Piece, World], None]
KINDS: dict[str, Kind] = {}


def kind(make: Kind) -> Kind:
    """Take a function as a kind of pieces."""
    KINDS[make.__name__] = make
    return make


@kind
def constant(p: Piece, w: World) -> None:
    """A global, a default of a function, a closure, a class."""
    at = f"{p.at}_{p.name}"
    for each in p.mods:
        w.mod(each, f"V_{at} = {p.n}", f"def f_{at}(x=V_{at}):\n    '''Say {p.n}.'''\n    return (x, V_{at})")
        w.mod(each, f"class C_{at}:\n    V = V_{at}\n    def __call__(self):\n        return self.V")
        w.ask(each, f"f_{at}(), C_{at}()(), f_{at}.__doc__")


@kind
def by_name(p: Piece, w: World) -> None:
    """A constant and a function that mods import by name from a helper, or with a star."""
    w.lib(p.lib, f"V_{p.at} = {p.m}", f"def f_{p.at}():\n    return V_{p.at} + 1")
    names = "*" if p.variant % 2 else f"V_{p.at}, f_{p.at} as f_{p.at}"
    for each in p.mods:
        w.mod(each, f"from mods.lib.{p.lib} import {names}", f"W_{p.at} = V_{p.at} * {p.n}")
        w.ask(each, f"V_{p.at}, f_{p.at}(), W_{p.at}")


@kind
def lazily(p: Piece, w: World) -> None:
    """A helper that a handler imports when it runs."""
    w.lib(p.lib, f"LAZY_{p.at} = {p.m}")
    for each in p.mods:
        w.mod(each, f"def lazy_{p.at}():\n    from mods.lib import {p.lib}\n    return {p.lib}.LAZY_{p.at} + {p.n}")
        w.ask(each, f"lazy_{p.at}()")


REGISTRIES = (
    ("R_{at} = []", "    R_{at}.append(f)", "sorted(f() for f in R_{at})"),
    ("R_{at} = {{}}", "    R_{at}[f.__name__] = f", "sorted((k, f()) for k, f in R_{at}.items())"),
    (
        "R_{at} = {{}}",
        "    R_{at}.setdefault(f.__name__, []).append(f)",
        "sorted((k, [g() for g in f]) for k, f in R_{at}.items())",
    ),
    ("R_{at} = set()", "    R_{at}.add(f)", "sorted(f() for f in R_{at})"),
    (
        "import collections\nR_{at} = collections.defaultdict(list)",
        "    R_{at}['k'].append(f)",
        "sorted(f() for f in R_{at}['k'])",
    ),
    ("import collections\nR_{at} = collections.deque()", "    R_{at}.append(f)", "sorted(f() for f in R_{at})"),
    ("import weakref\nR_{at} = weakref.WeakSet()", "    R_{at}.add(f)", "sorted(f() for f in R_{at})"),
    ("class R_{at}:\n    found = ()", "    R_{at}.found += (f,)", "sorted(f() for f in R_{at}.found)"),
    (
        "class A_{at}:\n    def __init__(self): self.routes = {{}}\nR_{at} = A_{at}()",
        "    R_{at}.routes[f.__name__] = f",
        "sorted((k, f()) for k, f in R_{at}.routes.items())",
    ),
    (
        "import functools\n@functools.singledispatch\ndef R_{at}(x): return 'none'",
        "    R_{at}.register(int, lambda x: f())",
        "[R_{at}(1), R_{at}('')]",
    ),
    ("F_{at} = None", "    global F_{at}\n    F_{at} = f", "F_{at} and F_{at}()"),
)


@kind
def registry(p: Piece, w: World) -> None:
    """A collection in a helper that mods fill by a decorator."""
    made, add, told = (each.format(at=p.at) for each in REGISTRIES[p.variant % len(REGISTRIES)])
    w.lib(p.lib, made, f"def register_{p.at}(f):\n{add}\n    return f")
    w.lib(p.lib, f"def all_{p.at}():\n    return ({p.m}, {told})")
    for each in p.mods:
        w.mod(each, f"from mods.lib import {p.lib}")
        function = f"def {each}_{p.at}_{p.name}():\n    return ({each!r}, {p.n})"
        if p.number % 2:
            w.mods[each].top.append(function)
            w.mods[each].initialize.append(f"{p.lib}.register_{p.at}({each}_{p.at}_{p.name})")
        else:
            w.mod(each, f"@{p.lib}.register_{p.at}\n{function}")
        w.ask(each, f"{p.lib}.all_{p.at}()")


@kind
def subclasses(p: Piece, w: World) -> None:
    """Classes of mods that a base class in a helper knows: by `__init_subclass__`, a metaclass, or `__subclasses__`."""
    known, told = (
        (
            "    found = {}\n    def __init_subclass__(cls, **kw):\n        Base.found[cls.__name__] = cls",
            "Base.found.values()",
        ),
        ("    pass", "Base.__subclasses__()"),
        ("    pass", "__import__('gc') and Base.__subclasses__()"),
    )[p.variant % 3]
    base = f"Base_{p.at}"
    w.lib(p.lib, f"class {base}:\n    m = {p.m}\n" + known.replace("Base", base))
    w.lib(p.lib, f"def all_{p.at}():\n    return sorted((c.__name__, c.n, c.m) for c in {told.replace('Base', base)})")
    for each in p.mods:
        w.mod(each, f"from mods.lib import {p.lib}")
        w.mod(each, f"class K_{each}_{p.at}_{p.name}({p.lib}.{base}):\n    n = {p.n}")
        w.ask(each, f"{p.lib}.all_{p.at}()")


@kind
def wrapped(p: Piece, w: World) -> None:
    """A function of the standard library that mods wrap, with or without a guard."""
    for each in p.mods:
        lines = (
            f"_o_{p.at} = colorsys.rgb_to_yiq",
            f"def w_{p.at}(*x):\n    return ({p.n}, _o_{p.at}(*x))",
            f"w_{p.at}.mark = True",
            f"colorsys.rgb_to_yiq = w_{p.at}",
        )
        if p.variant % 2:
            guarded = "\n".join(lines).replace("\n", "\n    ")
            lines = (f"if not hasattr(colorsys.rgb_to_yiq, 'mark'):\n    {guarded}",)
        w.mod(each, "import colorsys", *lines)
        w.ask(each, "colorsys.rgb_to_yiq(0, 0, 0)")


@kind
def patched_class(p: Piece, w: World) -> None:
    """A method or an attribute of a class of the standard library, or of a helper, that a mod replaces."""
    each = p.mods[0]
    if p.variant % 2:
        w.lib(p.lib, f"class T_{p.at}:\n    def v(self):\n        return {p.m}")
        owner = f"T_{p.at}"
        w.mod(each, f"from mods.lib.{p.lib} import T_{p.at}")
        for other in p.mods[1:]:
            w.mod(other, f"from mods.lib.{p.lib} import T_{p.at}")
    else:
        owner = "configparser.RawConfigParser"
        w.mod(each, "import configparser")
    name = "v" if p.variant % 2 else "optionxform"
    w.mod(each, f"_m_{p.at} = {owner}.{name}")
    w.mod(each, f"def p_{p.at}(self, *x):\n    return ({p.n}, _m_{p.at}(self, *x))\n{owner}.{name} = p_{p.at}")
    for other in p.mods if p.variant % 2 else (each,):
        w.ask(other, f"{owner}().{name}({'' if p.variant % 2 else repr('K')})")


@kind
def attribute_of_helper(p: Piece, w: World) -> None:
    """A setting of a helper that a mod assigns."""
    each = p.mods[0]
    w.lib(
        p.lib,
        f"SETTING_{p.at} = {p.m}\nOPTIONS_{p.at} = {{'a': {p.m}}}\ndef s_{p.at}():\n    return SETTING_{p.at}, OPTIONS_{p.at}",
    )
    done = (
        f"{p.lib}.SETTING_{p.at} = {p.n + 100}",
        f"{p.lib}.OPTIONS_{p.at}['{p.name}'] = {p.n}",
        f"{p.lib}.OPTIONS_{p.at}.update(a={p.n})",
    )[p.variant % 3]
    w.mod(each, f"from mods.lib import {p.lib}", done)
    w.ask(each, f"{p.lib}.s_{p.at}()")


SETTINGS = (
    ("os.environ.setdefault('FUZZ_{at}', '{n}')", "os.environ.get('FUZZ_{at}')"),
    ("os.environ['FUZZ_{at}_{name}'] = '{n}'", "sorted((k, v) for k, v in os.environ.items() if k.startswith('FUZZ_{at}'))"),
    (
        "if not logging.getLogger('fuzz_{at}').handlers: logging.getLogger('fuzz_{at}').addHandler(logging.StreamHandler())\nlogging.getLogger('fuzz_{at}').setLevel({n})",
        "len(logging.getLogger('fuzz_{at}').handlers), logging.getLogger('fuzz_{at}').level",
    ),
    (
        "logging.getLogger('fuzz_{at}').addFilter(lambda record: {n})\nlogging.getLogger('fuzz_{at}').propagate = bool({n} % 2)",
        "[f(None) for f in logging.getLogger('fuzz_{at}').filters], logging.getLogger('fuzz_{at}').propagate",
    ),
    ("warnings.filterwarnings('ignore', 'fuzz {at} {n}')", "[f[1].pattern for f in warnings.filters if f[1] and f[1].pattern.startswith('fuzz {at}')]"),
    ("warnings.simplefilter('error', type('W{n}', (Warning,), {{}}))", "[f[2].__name__ for f in warnings.filters if f[2].__module__ == __name__]"),
    (
        "def bye_{at}_{name}(): return {n}\natexit.register(bye_{at}_{name})",
        "(lambda seen: (atexit.unregister(type('Spy', (), {{'__eq__': lambda s, o: seen.append(o), '__hash__': None}})()), sorted((f.__name__, f()) for f in seen if f.__name__.startswith('bye_{at}'))))([])",
    ),
    ("decimal.DefaultContext.prec = {n} + 20", "decimal.DefaultContext.prec"),
    ("sys.setrecursionlimit(3000 + {n})", "sys.getrecursionlimit()"),
    ("socket.setdefaulttimeout({n})", "socket.getdefaulttimeout()"),
    ("mimetypes.add_type('x/{n}', '.fuzz{at}')", "mimetypes.guess_type('a.fuzz{at}')"),
    ("logging.addLevelName(7, 'L{n}')", "logging.getLevelName(7)"),
    ("copyreg.pickle(complex, lambda c, n={n}: (complex, (n,)))", "copyreg.dispatch_table[complex](1)"),
    ("codecs.register_error('fuzz{at}', lambda e: ('{n}', e.end))", "'\\u20ac'.encode('ascii', 'fuzz{at}')"),
    ("builtins.FUZZ_{at} = {n}", "FUZZ_{at}"),
    ("sys.path.insert(0, '/fuzz/{at}/{n}')", "[p for p in sys.path if p.startswith('/fuzz/{at}')]"),
    ("sys.modules['fuzz_{at}'] = types.SimpleNamespace(n={n})", "__import__('fuzz_{at}').n"),
    ("sys.excepthook = functools.partial(print, {n})", "sys.excepthook.args"),
    ("string.Template.delimiter = '${n}'", "string.Template.delimiter"),
    ("json.JSONEncoder.item_separator = ', {n}'", "json.JSONEncoder.item_separator"),
    ("gc.set_threshold(700 + {n}, 10, 10)", "gc.get_threshold()"),
    ("random.seed({n})", "0"),
    ("collections.abc.Sized.register(type('S{n}', (), {{}}))", "0"),
    ("os.umask({n})", "os.umask(os.umask(0o22)) if False else 0"),
    ("locale.fuzz_{at} = {n}", "locale.fuzz_{at}"),
    ("csv.register_dialect('fuzz{at}', delimiter=chr(64 + {n}))", "csv.get_dialect('fuzz{at}').delimiter"),
    ("webbrowser.register('fuzz{at}', None, types.SimpleNamespace(n={n}))", "webbrowser.get('fuzz{at}').n"),
    ("urllib.request.install_opener(types.SimpleNamespace(n={n}))", "urllib.request._opener.n"),
    ("signal.signal(signal.SIGUSR1, lambda *_: {n})", "signal.getsignal(signal.SIGUSR1)()"),
    ("sys.set_int_max_str_digits(5000 + {n})", "sys.get_int_max_str_digits()"),
    ("faulthandler.enable(open(os.devnull, 'w')) if {n} % 2 else None", "faulthandler.is_enabled()"),
    ("ctx_{at} = contextvars.ContextVar('ctx_{at}', default={n})\nctx_{at}.set({n} + 5)", "ctx_{at}.get()"),
    ("decimal.getcontext().prec = 10 + {n}", "decimal.getcontext().prec"),
    ("sys.setswitchinterval(0.001 * {n})", "round(sys.getswitchinterval(), 6)"),
    ("threading.excepthook = functools.partial(print, {n})", "getattr(threading.excepthook, 'args', None)"),
    ("sys.breakpointhook = functools.partial(print, {n})", "getattr(sys.breakpointhook, 'args', None)"),
    ("tempfile.tempdir = '/fuzz/{n}'", "tempfile.tempdir"),
    ("shutil.register_archive_format('fuzz{at}', lambda *a: {n}, description='d{n}')", "dict(shutil.get_archive_formats()).get('fuzz{at}')"),
    ("re.purge() if {n} else None", "0"),
    ("linecache.cache['fuzz{at}'] = (1, None, ['{n}'], 'f')", "linecache.getline('fuzz{at}', 1)"),
    ("sys.meta_path.append(types.SimpleNamespace(find_spec=lambda *a, n={n}: None, n={n}, at='{at}'))", "[f.n for f in sys.meta_path if getattr(f, 'at', '') == '{at}']"),
    ("threading.Thread.fuzz_{at} = property(lambda s: {n})", "threading.Thread().fuzz_{at}"),
    ("logging.setLogRecordFactory(lambda *a, _n={n}, _o=logging.getLogRecordFactory(), **k: _o(*a, **k))", "logging.getLogRecordFactory().__kwdefaults__ and logging.getLogRecordFactory().__kwdefaults__['_n']"),
    ("sqlite3.register_adapter(complex, lambda c: {n})", "sqlite3.connect(':memory:').execute('select ?', (1j,)).fetchone()"),
)  # fmt: skip

_MODULES = (
    "atexit, builtins, codecs, collections.abc, contextvars, copyreg, csv, decimal, faulthandler, functools, gc, json, "
    "linecache, locale, logging, mimetypes, os, random, re, shutil, signal, socket, sqlite3, string, sys, tempfile, "
    "threading, types, urllib.request, warnings, webbrowser"
)


@kind
def setting(p: Piece, w: World) -> None:
    """A setting of the process that a mod makes at its top or in `initialize()`."""
    each = p.mods[0]
    done, asked = (text.format(at=p.at, n=p.n, name=p.name) for text in SETTINGS[p.variant % len(SETTINGS)])
    w.mod(each, f"import {_MODULES}")
    if p.number % 3 == 0 and "\n" not in done and "ctx_" not in done:
        w.mods[each].initialize.append(done)
    else:
        w.mod(each, done)
    w.ask(each, asked)


@kind
def filled(p: Piece, w: World) -> None:
    """Collections of a mod that its top, a loop or `initialize()` fills."""
    each, at = p.mods[0], p.at
    w.mod(each, f"L_{at} = []\nD_{at} = {{}}\nfor _i in range({p.n}):\n    L_{at}.append(_i)\n    D_{at}[_i] = {p.n}")
    w.mod(each, f"I_{at} = []\nE_{at} = dict()\nS_{at} = set()\nT_{at} = {{'n': {{}}}}")
    w.mods[each].initialize += [
        f"I_{at}.append({p.n})",
        f"E_{at}[{p.n}] = I_{at}",
        f"S_{at}.add({p.n})",
        f"T_{at}['n'][{p.n}] = 1",
        f"self.found_{at} = [{p.n}]",
    ]
    w.ask(each, f"L_{at}, D_{at}, I_{at}, E_{at}, S_{at}, T_{at}, self.found_{at}")


@kind
def class_of_mod(p: Piece, w: World) -> None:
    """Attributes of a mod's own class, and a mixin from a helper."""
    at = p.at
    w.lib(
        p.lib,
        f"class Mixin_{at}:\n    m_{at} = {p.m}\n    def mixed_{at}(self):\n        return self.m_{at}, super().__repr__ is not None",
    )
    for each in p.mods:
        w.mod(each, f"from mods.lib.{p.lib} import Mixin_{at}")
        w.mods[each].bases.append(f"Mixin_{at}")
        w.mods[each].body += [
            f"n_{at}_{p.name} = {p.n}",
            f"def own_{at}(self): return self.n_{at}_{p.name}, __class__ is type(self)",
        ]
        w.ask(each, f"self.mixed_{at}(), self.own_{at}(), type(self).n_{at}_{p.name}")


@kind
def data_file(p: Piece, w: World) -> None:
    """A file beside the mods that is read at the top, in `initialize()`, or is listed."""
    at = p.at
    read = (
        f"(pathlib.Path(__file__).parent / 'data' / '{at}.txt').read_text()",
        f"open(os.path.join(os.path.dirname(__file__), 'data', '{at}.txt')).read()",
        f"json.load(open(os.path.join(os.path.dirname(__file__), 'data', '{at}.txt')))",
        f"sorted(x.name for x in (pathlib.Path(__file__).parent / 'data' / '{at}').glob('*.txt'))",
        f"sorted(os.listdir(os.path.join(os.path.dirname(__file__), 'data', '{at}')))",
        f"os.path.exists(os.path.join(os.path.dirname(__file__), 'data', '{at}', 'more{p.m}.txt'))",
        f"[open(x).read() for x in sorted(glob.glob(os.path.join(os.path.dirname(__file__), 'data', '{at}', '*')))]",
        f"os.stat(os.path.join(os.path.dirname(__file__), 'data', '{at}.txt')).st_size",
        f"exec_of(os.path.join(os.path.dirname(__file__), 'data', '{at}.txt'))",
        f"runpy.run_path(os.path.join(os.path.dirname(__file__), 'data', '{at}.txt'))['N']",
        f"spec_of(os.path.join(os.path.dirname(__file__), 'data', '{at}.txt'))",
    )[p.variant % 11]
    text = str(p.m) if p.variant % 11 < 7 else "N = " + "1 + " * (p.m % 7) + str(p.m) + "\n"
    w.data[f"mods/data/{at}.txt"] = text
    w.data[f"mods/data/{at}/first.txt"] = "first"
    w.data[f"mods/data/{at}/more{p.m}.txt"] = str(p.m)
    for each in p.mods:
        w.mod(each, "import pathlib, os, json, glob, runpy, importlib.util, importlib.machinery")
        w.mod(each, "def exec_of(path):\n    names = {}\n    exec(open(path).read(), names)\n    return names['N']")
        w.mod(
            each,
            "def spec_of(path):\n    loader = importlib.machinery.SourceFileLoader('spec_of', path)\n"
            "    spec = importlib.util.spec_from_loader('spec_of', loader)\n"
            "    module = importlib.util.module_from_spec(spec)\n    loader.exec_module(module)\n    return module.N",
        )
        if p.number % 2:
            w.mods[each].initialize.append(f"self.data_{at} = {read}")
            w.ask(each, f"self.data_{at}")
        else:
            w.mod(each, f"DATA_{at} = {read}")
            w.ask(each, f"DATA_{at}")


@kind
def optional(p: Piece, w: World) -> None:
    """A helper that is there or not."""
    at = p.at
    if p.m % 2:
        w.data[f"mods/lib/opt_{at}.py"] = f"N = {p.m}\n"
    for each in p.mods:
        w.mod(each, f"try:\n    from mods.lib.opt_{at} import N as O_{at}\nexcept ImportError:\n    O_{at} = None")
        w.ask(each, f"O_{at}")


@kind
def chain(p: Piece, w: World) -> None:
    """A helper of a helper, in a package of its own, imported relatively."""
    at = p.at
    w.data[f"mods/lib/pack_{at}/__init__.py"] = "from .deep import *\nfrom . import deep\n"
    w.data[f"mods/lib/pack_{at}/deep.py"] = f"from ..deeper_{at} import BASE\nDEEP = BASE + {p.m}\n"
    w.data[f"mods/lib/deeper_{at}.py"] = f"BASE = {p.m if p.variant % 2 else 7} * 100\n"
    for each in p.mods:
        w.mod(each, f"from .lib import pack_{at}\nfrom .lib.pack_{at}.deep import DEEP as DEEP_{at}")
        w.ask(each, f"DEEP_{at} + {p.n}, pack_{at}.DEEP, pack_{at}.deep.DEEP")


@kind
def circular(p: Piece, w: World) -> None:
    """Two helpers that import each other."""
    at = p.at
    w.data[f"mods/lib/left_{at}.py"] = (
        f"from mods.lib import right_{at} as right\nL = {p.m}\ndef both():\n    return L, right.R\n"
    )
    w.data[f"mods/lib/right_{at}.py"] = (
        f"import mods.lib.left_{at} as left\nR = {p.m if p.variant % 2 else 3}\ndef both():\n    return left.L, R\n"
    )
    for each in p.mods:
        w.mod(each, f"from mods.lib import left_{at}, right_{at}")
        w.ask(each, f"left_{at}.both(), right_{at}.both(), {p.n}")


@kind
def other_mod(p: Piece, w: World) -> None:
    """A mod that imports another mod."""
    first, *others = p.mods
    w.mod(first, f"OTHER_{p.at} = {p.n}\ndef other_{p.at}():\n    return OTHER_{p.at}")
    w.ask(first, f"other_{p.at}()")
    for each in others:
        if p.variant % 2:
            w.mod(each, f"def via_{p.at}():\n    import mods.{first}\n    return mods.{first}.other_{p.at}()")
        else:
            w.mod(each, f"from mods.{first} import other_{p.at} as via_{p.at}")
        w.ask(each, f"via_{p.at}()")


@kind
def source_is_read(p: Piece, w: World) -> None:
    """Code that reads its own source or comments."""
    each = p.mods[0]
    w.mod(
        each, f"import inspect\ndef read_{p.at}():\n    # {p.comment} {p.n}\n    return inspect.getsource(read_{p.at})"
    )
    w.ask(each, f"read_{p.at}()")


@kind
def cached(p: Piece, w: World) -> None:
    """Caches in front of functions, in mods and in helpers."""
    at = p.at
    w.lib(p.lib, f"import functools\n@functools.cache\ndef cached_{at}(x):\n    return x + {p.m}")
    for each in p.mods:
        w.mod(each, "import functools", f"from mods.lib.{p.lib} import cached_{at}")
        w.mod(each, f"@functools.lru_cache\ndef mine_{at}(x):\n    return cached_{at}(x) + {p.n}")
        w.ask(each, f"mine_{at}(1), cached_{at}(2), mine_{at}(1)")


@kind
def subscribed(p: Piece, w: World) -> None:
    """A hub in a helper that handlers, or `initialize()`, subscribe methods to, once each."""
    at = p.at
    w.lib(
        p.lib, f"HUB_{at} = {{}}\ndef heard_{at}():\n    return ({p.m}, sorted((k, f()) for k, f in HUB_{at}.items()))"
    )
    for each in p.mods:
        w.mod(each, f"from mods.lib import {p.lib}")
        w.mods[each].body += [f"def hear_{at}(self): return {p.n}"]
        add = f"{p.lib}.HUB_{at}['{each}'] = self.hear_{at}"
        if p.variant % 2:
            w.mods[each].initialize.append(add)
        else:
            w.keep(each, "", fill=add, tell=f"'{each}' in {p.lib}.HUB_{at}", make=f"if plain: {add}")
        w.ask(each, f"{p.lib}.heard_{at}()")


CLASSES = (
    "class J_{at}{name}:\n    def __init__(self, x):\n        self.x = x\n    def v(self):\n        return (self.x, {n})",
    "class J_{at}{name}:\n    __slots__ = ('x',)\n    def __init__(self, x):\n        self.x = x\n    def v(self):\n        return (self.x, {n})",
    "import dataclasses\n@dataclasses.dataclass\nclass J_{at}{name}:\n    x: int\n    def v(self):\n        return (self.x, {n})\n    __hash__ = object.__hash__",
    "import dataclasses\n@dataclasses.dataclass(frozen=True)\nclass J_{at}{name}:\n    x: int\n    def v(self):\n        return (self.x, {n})",
    "import enum\nclass J_{at}{name}(enum.Enum):\n    A = 1\n    B = 2\n    C = 3\n    def v(self):\n        return (self.name, {n}, self is J_{at}{name}[self.name])\n    @property\n    def x(self):\n        return self.value",
    "import dataclasses\n@dataclasses.dataclass(slots=True)\nclass J_{at}{name}:\n    x: int\n    def v(self):\n        return (self.x, {n})\n    __hash__ = object.__hash__",
    "import typing\nclass J_{at}{name}(typing.NamedTuple):\n    x: int\n    def v(self):\n        return (self.x, {n})",
    "class J_{at}{name}(dict):\n    def __init__(self, x):\n        self['x'] = x\n    x = property(lambda s: s['x'])\n    def v(self):\n        return (self.x, {n})\n    __hash__ = object.__hash__",
    "class J_{at}{name}(int):\n    x = property(int)\n    def v(self):\n        return (int(self), {n})",
    "class P_{at}:\n    def v(self):\n        return (self.x, {n})\nclass J_{at}{name}(P_{at}):\n    def __init__(self, x):\n        self.x = x",
)  # fmt: skip

CONTAINERS = (
    ("[make(x) for x in plain]", "list({})"),
    ("{x: make(x) for x in plain}", "list({}.values())"),
    ("__import__('collections').deque(make(x) for x in plain)", "list({})"),
    ("{make(x): x for x in plain}", "sorted({}, key=lambda j: j.x)"),
    ("{make(x) for x in plain}", "sorted({}, key=lambda j: j.x)"),
    ("[[make(x), {'in': make(x)}] for x in plain]", "[e for p in {} for e in (p[0], p[1]['in'])]"),
    ("tuple(make(x) for x in plain)", "list({})"),
    ("__import__('types').SimpleNamespace(all=[make(x) for x in plain])", "{}.all"),
    ("__import__('collections').OrderedDict((x, make(x)) for x in plain)", "list({}.values())"),
    ("frozenset(make(x) for x in plain)", "sorted({}, key=lambda j: j.x)"),
    ("[{'a': (make(x),)} for x in plain]", "[p['a'][0] for p in {}]"),
)


@kind
def in_state(p: Piece, w: World) -> None:
    """Objects of own classes in a state, in all kinds of containers; the class is the mod's or a helper's."""
    at, each = p.at, p.mods[0]
    made = CLASSES[p.variant % len(CLASSES)].format(at=at, name=p.name, n=p.n if p.number % 2 else p.m)
    if p.number % 2:
        w.mod(each, made)
    else:
        w.lib(p.lib, made)
        w.mod(each, f"from mods.lib.{p.lib} import J_{at}{p.name}")
    make, told = CONTAINERS[(p.variant // len(CLASSES) + p.number) % len(CONTAINERS)]
    name = f"J_{at}{p.name}"
    held = f"held.get('{at}', ())" if "values" not in told and ".all" not in told else f"held['{at}']"
    all_of = f"({told.format(held)} if '{at}' in held else [])"
    code = (
        f"if plain:\n    make = lambda x: {name}(x)\n    plain = list(dict.fromkeys(plain))\n    held['{at}'] = {make}"
    )
    w.keep(each, at, fill=f"plain = [1, 2, 3]\n{code}", tell=f"[j.x for j in {all_of}]", make=code)
    w.ask(each, f"[(j.v(), type(j) is {name}, isinstance(j, {name})) for j in {all_of}]", at)


@kind
def kept_in_module(p: Piece, w: World) -> None:
    """A collection of plain data that only handlers fill, in a mod or in a helper that mods share: it stays."""
    at = p.at
    w.lib(p.lib, f"ROOMS_{at} = {{}}\ndef rooms_{at}():\n    return ({p.m}, sorted(ROOMS_{at}))")
    for each in p.mods:
        w.mod(
            each,
            f"from mods.lib import {p.lib}",
            f"COUNT_{at} = {{}}\ndef count_{at}():\n    return ({p.n}, COUNT_{at})",
        )
        w.ask(each, f"count_{at}(), {p.lib}.rooms_{at}()")
    each = p.mods[0]
    w.keep(
        each,
        "",
        fill=f"{p.lib}.ROOMS_{at}['r'] = 1; COUNT_{at}['c'] = COUNT_{at}.get('c', 0) + 1",
        tell=f"(sorted({p.lib}.ROOMS_{at}), dict(COUNT_{at}))",
        make=f"{p.lib}.ROOMS_{at}.update(dict.fromkeys(plain[0], 1)); COUNT_{at}.update(plain[1])",
    )


@kind
def at_module_level(p: Piece, w: World) -> None:
    """What a module may do to be more than its source: `__getattr__`, its own class, `__all__`, names of itself."""
    at = p.at
    w.data[f"mods/lib/dyn_{at}.py"] = (
        f"import sys, types\n__all__ = ['seen']\nhidden = {p.m}\nseen = {p.m}\ndef __getattr__(name):\n"
        f"    if name == 'made': return ('made', {p.m})\n    raise AttributeError(name)\n"
        f"class Own(types.ModuleType):\n    @property\n    def own(self): return {p.m}\n"
        + ("sys.modules[__name__].__class__ = Own\n" if p.variant % 2 else "own = 0\n")
    )
    for each in p.mods:
        w.mod(
            each,
            f"from mods.lib import dyn_{at}\nfrom mods.lib.dyn_{at} import *\nfrom mods.lib.dyn_{at} import made as made_{at}",
        )
        w.ask(each, f"made_{at}, dyn_{at}.made, dyn_{at}.own, seen, {p.n}, __name__, __spec__.name")


# Edits


def random_program(rng: random.Random) -> Program:
    """A program of four to eight pieces."""
    return Program(tuple(_piece(rng, number) for number in range(rng.randint(4, 8))))


def _piece(rng: random.Random, number: int) -> Piece:
    name = rng.choice(_WEIGHTED)
    mods = tuple(sorted(rng.sample(MODS, rng.choice((1, 1, 2, 3)))))
    return Piece(name, number, mods, rng.choice(LIBS), rng.randint(1, 9), rng.randint(1, 9), variant=rng.randrange(220))


_WEIGHTED = [*KINDS, *["registry", "in_state", "setting", "setting", "data_file"] * 2]


@dataclass(frozen=True, slots=True)
class Edit:
    """Pieces instead of others of the same number, pieces that go, what breaks, and what handlers do before it."""

    words: str
    put: tuple[Piece, ...] = ()
    gone: tuple[int, ...] = ()
    breaks: tuple[tuple[str, str], ...] = ()
    acts: bool = False

    def on(self, program: Program) -> Program:
        """The program afterwards. An edit of a piece that is not there does nothing; what was broken is mended."""
        if self.breaks:
            return replace(program, broken=dict(self.breaks))
        news = {each.number: each for each in self.put}
        numbers = {each.number for each in program.pieces}
        is_new = self.words in ("add", "revert")
        pieces = [news.get(each.number, each) for each in program.pieces if each.number not in self.gone]
        pieces += [each for each in self.put if each.number not in numbers and is_new]
        return Program(tuple(pieces))


BREAKS = ("\n(", "\n1 / 0\n", "\nimport no_such_module_anywhere\n", "\nraise SystemExit(3)\n")


def random_edit(rng: random.Random, program: Program, past: Iterable[Program]) -> Edit:
    """One save of a person who works on the program."""
    acts = rng.random() < 0.5
    earlier = list(past)
    choice = rng.choice(
        ("n", "n", "n", "m", "m", "rename", "variant", "add", "drop", "break", "comment", "revert", "two")
    )
    if choice == "break":
        names = [f"mods/{each}.py" for each in MODS] + [f"mods/lib/{each}.py" for each in LIBS]
        return Edit("break", breaks=((rng.choice(names), rng.choice(BREAKS)),), acts=acts)
    if choice == "add" or not program.pieces:
        taken = {each.number for known in (*earlier, program) for each in known.pieces}
        return Edit("add", (_piece(rng, max(taken, default=0) + 1),), acts=acts)
    if choice == "revert" and earlier:
        pieces = rng.choice(earlier).pieces
        gone = {each.number for each in program.pieces} - {each.number for each in pieces}
        return Edit("revert", pieces, tuple(gone), acts=acts)
    some = rng.sample(program.pieces, min(len(program.pieces), 2 if choice == "two" else 1))
    if choice == "drop":
        return Edit("drop", gone=(some[0].number,), acts=acts)
    return Edit(choice, tuple(_changed(rng, each, choice) for each in some), acts=acts)


def _changed(rng: random.Random, piece: Piece, what: str) -> Piece:
    if what == "m":
        return replace(piece, m=piece.m + rng.randint(1, 3))
    if what == "rename":
        return replace(piece, name=rng.choice("xyz"))
    if what == "variant":
        return replace(piece, variant=rng.randrange(220))
    if what == "comment":
        return replace(piece, comment=rng.choice(("why", "how", "what")))
    return replace(piece, n=piece.n + rng.randint(1, 3))
