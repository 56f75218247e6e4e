"""The modules that code names: found without reading its source, and none too few."""

from __future__ import annotations

import sys

import pytest

from devserver.loader.libraries import modules_named, names_in


def named(source: str) -> frozenset[str]:
    """The imported modules that a source names."""
    return modules_named(names_in(compile(source, "a.py", "exec")))


@pytest.mark.parametrize(
    ("source", "module"),
    [
        ("import json", "json"),
        ("import json as j", "json"),
        ("import os.path", "os.path"),
        ("from json import dumps", "json"),
        ("from json import decoder", "json.decoder"),
        ("from os import path", "posixpath"),
        ("def f():\n    import json", "json"),
        ("class A:\n    def f(self):\n        return lambda: __import__('x') or json.dumps", "json"),
    ],
)
def test_a_module_that_code_imports_is_named(source: str, module: str) -> None:
    """In whatever form, and however deep in functions and classes."""
    assert module in named(source)


def test_a_module_that_nobody_has_imported_is_not_named() -> None:
    """There is nothing in it that could be exchanged."""
    assert "antigravity" not in sys.modules
    assert named("import antigravity") == frozenset()


def test_what_is_no_module_in_pythons_table_is_passed_by(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some programs put lists, None or objects there."""
    monkeypatch.setitem(sys.modules, "a_list", [])  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "nothing", None)
    assert named("import a_list, nothing, json") >= {"json"}
    assert not named("import a_list, nothing")
