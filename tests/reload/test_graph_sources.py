"""What a source imports and what its mod declares, read without executing it."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devserver.sources.graph import Declarations, Imports, read_declarations, read_imports

NONE = Imports()


def eager(*names: str) -> Imports:
    return Imports(eager=frozenset(names))


def lazy(*names: str) -> Imports:
    return Imports(lazy=frozenset(names))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("", NONE),
        ("import a", eager("a")),
        ("import a.b.c", eager("a", "a.b", "a.b.c")),
        ("import a.b as x, c", eager("a", "a.b", "c")),
        ("from a.b import c, d as e", eager("a", "a.b", "a.b.c", "a.b.d")),
        ("from a import *", eager("a", "a.*")),
        ("from . import c", eager("pkg", "pkg.sub", "pkg.sub.c")),
        ("from .c import d", eager("pkg", "pkg.sub", "pkg.sub.c", "pkg.sub.c.d")),
        ("from .c.d import *", eager("pkg", "pkg.sub", "pkg.sub.c", "pkg.sub.c.d", "pkg.sub.c.d.*")),
        ("from .. import c", eager("pkg", "pkg.c")),
        ("from ..c import d", eager("pkg", "pkg.c", "pkg.c.d")),
        ("from ... import c", NONE),
        ("from ...... import c", NONE),
        ("if x:\n import a\nelif y:\n import b\nelse:\n import c", eager("a", "b", "c")),
        ("try:\n import a\nexcept E:\n import b\nelse:\n import c\nfinally:\n import d", eager("a", "b", "c", "d")),
        ("try:\n import a\nexcept* E:\n import b", eager("a", "b")),
        ("with x: import a", eager("a")),
        ("for x in y: import a", eager("a")),
        ("while x: import a", eager("a")),
        ("match x:\n case 1:\n  import a", eager("a")),
        ("class C:\n import a", eager("a")),
        ("def f():\n import a", lazy("a")),
        ("async def f():\n from .c import d", lazy("pkg", "pkg.sub", "pkg.sub.c", "pkg.sub.c.d")),
        ("class C:\n def f(self):\n  if x:\n   import a.b", lazy("a", "a.b")),
        ("def f():\n class C:\n  import a", lazy("a")),
        ("import a\ndef f():\n import a, b", Imports(frozenset({"a"}), frozenset({"b"}))),
        ("def f():\n import a.b\nimport a", Imports(frozenset({"a"}), frozenset({"a.b"}))),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n import a", eager("typing", "typing.TYPE_CHECKING")),
        ("if typing.TYPE_CHECKING:\n import a\nelse:\n import b", eager("b")),
        ("if t.TYPE_CHECKING:\n import a\nelif x:\n import b", eager("b")),
        ("if not TYPE_CHECKING:\n import a\nelse:\n import b", eager("a")),
        ("if not typing.TYPE_CHECKING:\n import a", eager("a")),
        ("if not x:\n import a\nelse:\n import b", eager("a", "b")),
        ("import_module('a.b')", eager("a", "a.b")),
        ("x = importlib.import_module(name='a.b')", eager("a", "a.b")),
        ("importlib.import_module('.c', __package__)", eager("pkg", "pkg.sub", "pkg.sub.c")),
        ("importlib.import_module('..c', package=__package__)", eager("pkg", "pkg.c")),
        ("importlib.import_module('.c', 'x.y')", eager("x", "x.y", "x.y.c")),
        ("importlib.import_module('.c', package='x.y')", eager("x", "x.y", "x.y.c")),
        ("importlib.import_module('....c', __package__)", NONE),
        ("importlib.import_module('.', __package__)", eager("pkg", "pkg.sub")),
        ("__import__('a.b')", eager("a", "a.b")),
        ("builtins.__import__('a', globals(), locals(), ['b', 'c'])", eager("a", "a.b", "a.c")),
        ("__import__('c', globals(), level=1, fromlist=('d',))", eager("pkg", "pkg.sub", "pkg.sub.c", "pkg.sub.c.d")),
        ("__import__('c', g, l, (), 2)", eager("pkg", "pkg.c")),
        ("__import__('c', g, l, (), 9)", NONE),
        ("importlib.import_module(name)", NONE),
        ("importlib.import_module(f'a.{b}')", NONE),
        ("importlib.import_module()", NONE),
        ("importlib.import_module('')", NONE),
        ("importlib.import_module(5)", NONE),
        ("__import__(*args)", NONE),
        ("f = lambda: importlib.import_module('a')", lazy("a")),
        ("f = lambda x=__import__('a'): x", eager("a")),
        ("def f(x=__import__('a')): pass", eager("a")),
        ("@__import__('a').b\ndef f(): pass", eager("a")),
        ("xs = [__import__('a') for x in y]", eager("a")),
        ("'import a'\n# import b", NONE),
    ],
)
def test_every_form_of_import_is_read(source: str, expected: Imports) -> None:
    """Names are absolute, packages on the way are counted, and what only a call imports is lazy."""
    assert read_imports(source, "pkg.sub.mod", is_package=False) == expected


@pytest.mark.parametrize(
    ("source", "module", "is_package", "expected"),
    [
        ("from . import c", "pkg.sub", True, eager("pkg", "pkg.sub", "pkg.sub.c")),
        ("from .. import c", "pkg.sub", True, eager("pkg", "pkg.c")),
        ("from . import c", "pkg", True, eager("pkg", "pkg.c")),
        ("from .. import c", "pkg", True, NONE),
        ("from . import c", "single", False, NONE),
        ("from .c import d", "single", False, NONE),
    ],
)
def test_relative_names_start_at_the_package_that_the_module_is_or_lies_in(
    source: str, module: str, is_package: bool, expected: Imports
) -> None:
    """What leads out of the outermost package names nothing."""
    assert read_imports(source, module, is_package) == expected


def test_bytes_are_read_by_their_own_encoding() -> None:
    """A byte order mark, CRLF and an encoding comment are Python's to understand."""
    for source in (b"\xef\xbb\xbfimport a\r\n", "# coding: latin-1\nx = 'é'\nimport a\n".encode("latin-1")):
        assert read_imports(source, "m", is_package=False) == eager("a")


@pytest.mark.parametrize(
    "source",
    [
        "def f(:",
        "import",
        "from . import",
        "x = '",
        "\0",
        b"x = '\xff'",
        "(" * 10_000,
        "-" * 1_000_000 + "1",
        "\tx\n  y",
    ],
)
def test_what_python_cannot_read_is_a_syntax_error(source: str | bytes) -> None:
    """Both readers raise SyntaxError, also where Python itself raises something else."""
    with pytest.raises(SyntaxError):
        read_imports(source, "m", is_package=False)
    with pytest.raises(SyntaxError):
        read_declarations(source)


def test_a_syntax_error_keeps_its_place() -> None:
    """Line and column are those that Python gives."""
    with pytest.raises(SyntaxError) as caught:
        read_imports("x = 1\nx = = 2\n", "m", is_package=False)
    assert (caught.value.lineno, caught.value.offset) == (2, 5)


def test_a_source_deeper_than_the_stack_is_read() -> None:
    """Reading uses no recursion of its own: a sum of 900 terms nests 900 levels deep."""
    source = "x = " + "1 + " * 900 + "__import__('a')"
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(500)
    try:
        assert read_imports(source, "m", is_package=False) == eager("a")
    finally:
        sys.setrecursionlimit(limit)


STATEMENTS = [
    "import {0}",
    "import {0} as x",
    "from {0} import VALUE",
    "from {0} import *",
    "from . import {1}",
    "from .{1} import VALUE",
    "importlib.import_module('{0}')",
    "importlib.import_module('.{1}', __package__)",
    "__import__('{0}')",
    "try:\n    import missing\nexcept ImportError:\n    import {0}",
    "class C:\n    from {0} import VALUE",
]


@given(st.lists(st.tuples(st.sampled_from(STATEMENTS), st.sampled_from("abc")), max_size=6))
def test_whatever_executing_a_source_imports_was_read_from_it(lines: list[tuple[str, str]]) -> None:
    """No module of a package comes in that `read_imports` did not name."""
    source = "import importlib\n" + "\n".join(line.format(f"fixture_pkg.{name}", name) for line, name in lines)
    imported = _executed(source)
    assert imported <= read_imports(source, "fixture_pkg.main", is_package=False).eager


def _executed(source: str) -> set[str]:
    """The modules of the package that come into `sys.modules` when its main module is executed."""
    _forget()
    importlib.import_module("fixture_pkg")
    before = set(sys.modules)
    exec(compile(source, "main.py", "exec"), {"__name__": "fixture_pkg.main", "__package__": "fixture_pkg"})
    return {name for name in set(sys.modules) - before if name.startswith("fixture_pkg")}


def _forget() -> None:
    for name in [name for name in sys.modules if name.startswith("fixture_pkg")]:
        del sys.modules[name]


@pytest.fixture(autouse=True, scope="module")
def _package(tmp_path_factory: pytest.TempPathFactory) -> object:
    """A package with the modules a, b and c, importable while these tests run."""
    root: Path = tmp_path_factory.mktemp("path")
    (root / "fixture_pkg").mkdir()
    for name in ("__init__", "a", "b", "c"):
        (root / "fixture_pkg" / f"{name}.py").write_text("VALUE = 1\n", encoding="utf-8")
    sys.path.insert(0, str(root))
    yield
    sys.path.remove(str(root))
    _forget()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("", Declarations()),
        ("class Echo(BaseMod): pass", Declarations()),
        ("class Echo(BaseMod):\n version = '1.2.0'", Declarations(version="1.2.0")),
        ("class Echo(devserver.BaseMod):\n version: str = '2'", Declarations(version="2")),
        ("class Echo(BaseMod):\n requires = ['mods.a>=1', 'mods.b']", Declarations(("mods.a>=1", "mods.b"))),
        ("class Echo(BaseMod):\n requires: ClassVar[list[str]] = ['mods.a']", Declarations(("mods.a",))),
        ("class Echo(BaseMod):\n requires = ('mods.a',)", Declarations(("mods.a",))),
        ("class Echo(BaseMod):\n requires = 'mods.a'", Declarations(("mods.a",))),
        ("class Echo(BaseMod):\n requires = []", Declarations()),
        ("class Echo(BaseMod):\n requires = NEEDS", Declarations(computed=frozenset(["requires"]))),
        ("class Echo(BaseMod):\n requires = ['mods.a', NEED]", Declarations(computed=frozenset(["requires"]))),
        ("class Echo(BaseMod):\n requires = ['mods.a', 5]", Declarations(computed=frozenset(["requires"]))),
        ("class Echo(BaseMod):\n version = 1.10", Declarations(computed=frozenset(["version"]))),
        ("class Echo(BaseMod):\n version: str", Declarations()),
        ("class Echo(BaseMod):\n def f(self):\n  version = '9'", Declarations()),
        ("class Helper:\n version = '9'", Declarations()),
        ("version = '9'\nrequires = ['mods.x']", Declarations()),
        ("def f():\n class Echo(BaseMod):\n  version = '9'", Declarations()),
        ("from devserver import BaseMod as Base\nclass Echo(Base):\n version = '3'", Declarations(version="3")),
        (
            "class Common(BaseMod):\n version = '1'\n requires = ['mods.a']\nclass Echo(Common):\n version = '2'",
            Declarations(("mods.a",), "2"),
        ),
        ("class Generic(BaseMod[int]):\n version = '1'", Declarations()),
        ("class Echo(Mixin, BaseMod):\n version = '4'", Declarations(version="4")),
        ("class Echo(BaseMod):\n raise SystemExit\n version = '5'", Declarations(version="5")),
    ],
)
def test_a_mods_declarations_are_read_from_its_class(source: str, expected: Declarations) -> None:
    """`requires` and `version` count where they are literals in the body of a mod's class."""
    assert read_declarations(source) == expected
