"""Large sources are compiled and read in a process of their own, with the same result."""

from __future__ import annotations

import pickle
import sys

import pytest

from devserver.sources import large
from devserver.sources.effects import options_gone
from devserver.sources.imports import is_same_tree, parsed, read_containers, read_first_values, read_imports
from devserver.sources.large import code_of, is_large

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


def test_what_is_read_of_a_large_source_is_as_of_a_small_one() -> None:
    """But for long literals, and no tree is made in this process: other threads would wait for it."""
    parsed.cache_clear()
    source = b"import os.path\nfrom . import near\nSHORT = [1]\nLONG = [%s]\nnear.set_all(%s)\n"
    data, other = source % (NUMBERS, NUMBERS), source % (NUMBERS, NUMBERS + b",1")
    assert is_large(data)
    assert read_imports(data, "mods.a", is_package=False).eager == {"os", "os.path", "mods", "mods.near"}
    assert read_containers(data).keys() == {"SHORT"}
    assert is_same_tree(data, data + b"# more\n") and not is_same_tree(data, other)
    assert [each.shown for each in options_gone(data, other)] == ["near.set_all"]
    attributes = read_first_values(b"class A:\n    def __init__(self):\n        self.a = 1\n" + FILLED)
    assert [(name, pickle.loads(value)) for name, value in attributes[2]] == [("a", 1)], "no tree comes back"
    with pytest.raises(SyntaxError, match="never closed"):
        read_imports(b"x = (\n" + FILLED, "mods.a", False)
    assert parsed.cache_info().misses == 0


def test_where_no_process_can_be_started_python_does_it_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a program that has no interpreter of its own."""
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    assert code_of(b"x = 1\n" + FILLED, "a.py").co_names == ("x",)
    assert read_imports(b"import os\n# here\n" + FILLED, "a", False).eager == {"os"}


def test_that_the_process_has_ended_is_no_error_of_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read of it then is not kept: the next time it is read again."""
    data = b"import os\n# once more\n" + FILLED
    with monkeypatch.context() as patched:
        patched.setattr(large, "_PROGRAM", "")
        with pytest.raises(SyntaxError, match="the process that read it ended with 0"):
            read_imports(data, "a", False)
    assert read_imports(data, "a", False).eager == {"os"}


def test_a_container_that_cannot_be_written_again_is_not_counted() -> None:
    """Before Python 3.12 some texts in an f-string have no other form; nor have integers of thousands of digits."""
    assert read_containers(b"a = [0x" + b"f" * 5000 + b"]\nb = [1]\n").keys() == {"b"}
    assert "b" in read_containers("a = [f\"{'\u00a0'.join(x)}\"]\nb = [1]\n")
