"""Large sources are compiled and parsed in a process of their own, with the same result."""

from __future__ import annotations

import ast
import sys

import pytest

from devserver.sources.effects import options_gone
from devserver.sources.imports import parsed, read_containers, read_imports
from devserver.sources.large import code_of, is_large, tree_of

FILLED = b"#" * 200_000
NUMBERS = ",".join(map(str, range(30_000))).encode()


def test_the_code_of_a_large_source_is_as_python_makes_it() -> None:
    """With its file, its lines and its warnings."""
    data = b"import os\n\ndef f(): return [each for each in (1, 2)]\nf('\\d')\n" + FILLED
    assert is_large(data)
    with pytest.warns(SyntaxWarning if sys.version_info >= (3, 12) else DeprecationWarning) as told:
        code = code_of(data, "mods/a.py")
    assert [(each.filename, each.lineno) for each in told] == [("mods/a.py", 4)]
    with pytest.warns():
        assert code == compile(data, "mods/a.py", "exec", dont_inherit=True)
    assert code.co_filename == "mods/a.py"


def test_the_error_of_a_large_source_is_pythons() -> None:
    """With its place and its line."""
    data = b"x = 1\nx = (\n" + FILLED
    with pytest.raises(SyntaxError) as expected:
        compile(data, "mods/a.py", "exec", dont_inherit=True)
    with pytest.raises(SyntaxError) as found:
        code_of(data, "mods/a.py")
    assert found.value.args == expected.value.args


def test_the_tree_of_a_large_source_has_all_but_long_literals() -> None:
    """What is read of it is the same; what stands for a literal differs where that does."""
    source = b"import os.path\nfrom . import near\nSHORT = [1]\nLONG = [%s]\nnear.set_all(%s)\n"
    data = source % (NUMBERS, NUMBERS)
    assert is_large(data) and len(ast.dump(tree_of(data))) < 2000
    assert read_imports(data, "mods.a", False).eager == {"os", "os.path", "mods", "mods.near"}
    assert read_containers(data).keys() == {"SHORT"}
    other = source % (NUMBERS, NUMBERS + b",1")
    assert ast.dump(parsed(data)) != ast.dump(parsed(other))
    assert [each.shown for each in options_gone(data, other)] == ["near.set_all"]


def test_where_no_process_can_be_started_python_does_it_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a program that has no interpreter of its own."""
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    assert code_of(b"x = 1\n" + FILLED, "a.py").co_names == ("x",)
    assert len(tree_of(b"x = 1\n" + FILLED).body) == 1


@pytest.mark.parametrize(
    "literal", [b"[%s]" % NUMBERS, b"[[%s]]" % b"],[".join([NUMBERS[:2000]] * 200), b"1 + [%s]" % NUMBERS]
)
def test_a_long_literal_is_one_constant_whatever_its_form(literal: bytes) -> None:
    """A thread that reads a tree lets no other thread run: the tree is small, and its statements come one by one."""
    body = b"X = %s\nclass A:\n    def f(self):\n        if x:\n            import os\n    Y = %s\n" % (
        literal,
        literal,
    )
    assert is_large(body) and len(ast.dump(tree_of(body))) < 2000
    assert read_imports(body, "mods.a", False).lazy == {"os"}
