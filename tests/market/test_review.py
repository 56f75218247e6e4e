"""What a mod answers, needs and touches is read from its source, with file and line, and nothing of it runs."""

from __future__ import annotations

import sys
import textwrap

import pytest
from wheels import MOD, wheel, wheel_file

from devserver.market.package import wheel_of
from devserver.market.review import Review, compared, review


def reviewed(source: str, **more: str) -> Review:
    """The review of a wheel with this source as its mod, and further files beside it."""
    files = {"extras/__init__.py": "", "extras/mod.py": textwrap.dedent(source)}
    return review(wheel_of(wheel(files=files | more), wheel_file("extras", "1.0")))


def touched(source: str, **more: str) -> list[str]:
    """What it touches, each as kind, name and place."""
    return [f"{each.kind}: {each.what} {each.where}" for each in reviewed(source, **more).touches]


def test_what_it_answers_is_read_from_its_handlers():
    """Texts, and names that stand for a text; a name that is computed is said with its place."""
    found = reviewed(
        """
        NAME = "extras.two"
        class ExtrasMod(BaseMod):
            @mod_event_handler("extras.one")
            def one(self, event): ...
            @devserver.mod_event_handler(NAME)
            def two(self, event): ...
            @mod_event_handler("extras." + other)
            def three(self, event): ...
        """
    )
    assert found.answers == ("computed at extras/mod.py:8", "extras.one", "extras.two")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import urllib.request", "network: urllib.request extras/mod.py:1"),
        ("from urllib.request import urlopen as load\nload('x')", "network: urllib.request extras/mod.py:1"),
        ("import httpx as h", "network: httpx extras/mod.py:1"),
        ("import os\nos.environ['X']", "environment: os.environ extras/mod.py:2"),
        ("from os import environ", "environment: os.environ extras/mod.py:1"),
        ("import os as o\n\no.system('x')", "processes: os.system extras/mod.py:3"),
        ("from subprocess import run", "processes: subprocess extras/mod.py:1"),
        ("def f():\n    import subprocess", "processes: subprocess extras/mod.py:2"),
        ("import asyncio\nasyncio.create_subprocess_exec", "processes: asyncio.create_subprocess_exec extras/mod.py:2"),
        ("open('x')", "files: open extras/mod.py:1"),
        ("from pathlib import Path\nPath('x').write_text('')", "files: write_text of a path extras/mod.py:2"),
        ("eval('1')", "code: eval extras/mod.py:1"),
        ("import importlib\nimportlib.import_module(n)", "code: importlib.import_module extras/mod.py:2"),
        ("import pickle", "code: pickle extras/mod.py:1"),
        ("import sys\nsys.modules['x'] = 1", "code: sys.modules extras/mod.py:2"),
        ("import ctypes", "native code: ctypes extras/mod.py:1"),
        ("self.network.load_mod('mods.x')", "mods: load_mod extras/mod.py:1"),
    ],
)
def test_what_it_touches_is_named_with_its_place(source, expected):
    """Under whatever name the source uses it."""
    assert touched(source) == [expected]


@pytest.mark.parametrize(
    "source",
    [
        "import json, re, asyncio, pathlib, os\nos.path.join('a')",
        "def open_page(x): return x\nopen_page(1)",
        "from .files import open\nopen('x')",
        "class A:\n    def open(self): ...\n",
        "environ = {}\nenviron['x']",
    ],
)
def test_what_touches_nothing_is_not_named(source):
    """Names that only look alike are others."""
    assert touched(source) == []


def test_files_of_its_own_storage_are_told_apart():
    """They are what every mod may use; another path beside them is still named."""
    source = """
        def save(self):
            folder = self.get_storage_path()
            self.file = folder / "x.json"
            self.file.write_text("")
            (folder / "y").read_text()
            Path("/etc/passwd").read_text()
        """
    assert touched(source) == [
        "files: read_text of a path extras/mod.py:7",
        "storage: files of its own storage extras/mod.py:3",
    ]


def test_what_cannot_be_read_is_said():
    """Broken and enormous sources, compiled code without a source, and what Python executes by itself."""
    deep = "x = " + "(" * 5000
    found = touched("def", **{"extras/deep.py": deep, "extras/c.pyc": "", "a.pth": "import os", "extras/n.so": ""})
    assert found == [
        "code: a .pth file, which Python may execute at its start a.pth:1",
        "native code: machine code extras/n.so",
        "not read: compiled code without its source extras/c.pyc:1",
        "not read: not readable as Python extras/deep.py:1",
    ]


def test_calls_that_a_second_version_cannot_serve_are_found():
    """Code that asks for its own package by text gets the first version's."""
    found = reviewed(
        """
        import importlib
        from importlib import resources, metadata
        importlib.import_module("extras.pages")
        resources.files("extras")
        metadata.version("idna")
        """
    )
    assert [(each.what, each.where) for each in found.by_text] == [
        ("importlib.import_module", "extras/mod.py:4"),
        ("importlib.resources.files", "extras/mod.py:5"),
    ]


def test_a_comparison_says_what_is_new():
    """Answers, needs, touches, and how much of the code is another."""
    name = wheel_file("extras", "1.0")
    old = review(wheel_of(wheel(requires=["idna>=3"]), name))
    source = MOD.replace("extras.ask", "extras.tags.list") + "\nimport urllib.request\n"
    files = {"extras/__init__.py": "", "extras/mod.py": source}
    new = review(wheel_of(wheel(files=files, requires=["idna>=3", "text-tools>=1"]), name))
    found = compared(old, new)

    assert (found.new_answers, found.gone_answers) == (("extras.tags.list",), ("extras.ask",))
    assert (found.new_needs, found.gone_needs) == (("text-tools>=1",), ())
    assert [(each.kind, each.what) for each in found.new_touches] == [("network", "urllib.request")]
    assert (found.files, found.added, found.removed) == (("extras/mod.py",), 3, 1)
    assert '+    @mod_event_handler("extras.tags.list")' in found.diff


def test_a_touch_that_moved_to_another_line_is_not_new():
    """What counts is what is touched."""
    assert compared(reviewed("import socket"), reviewed("\n\nimport socket")).new_touches == ()


def test_nothing_that_is_reviewed_is_imported():
    """An audit hook sees every import of this process; none is of the package."""
    seen: list[str] = []
    sys.addaudithook(lambda event, given: seen.append(str(given[0])) if event in ("import", "exec") else None)
    reviewed("raise SystemExit\n" + MOD)
    assert [each for each in seen if "extras" in each] == []
