"""Two versions of one mod in one process: each sees its own modules, however it asks for them."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from workspaces import without_mods

from devserver.loader.lines import line_of
from devserver.model.change import Digest
from devserver.sources.files import sources_now

FORMS = {
    "import a.b.c": "import mods.wiki.pages\nfound = mods.wiki.pages",
    "import a.b.c as d": "import mods.wiki.pages as found",
    "import a.b": "import mods.wiki\nfound = mods.wiki.pages",
    "from a.b import c": "from mods.wiki import pages as found",
    "from a import b": "from mods import wiki\nfound = wiki.pages",
    "from a import b, other": "from mods import lib, wiki\nfound = wiki.pages; assert lib.NAME == 'lib'",
    "from . import c": "from . import pages as found",
    "from .c import x": "from .pages import SELF as found",
    "from a.b.c import x": "from mods.wiki.pages import SELF as found",
    "from .. import b": "from .. import wiki\nfound = wiki.pages",
    "from ..b import c": "from ..wiki import pages as found",
    "import c by its short name": "import wiki.pages\nfound = wiki.pages",
    "from the short name": "from wiki import pages as found",
    "another module of the package after it": "import mods.wiki.pages\nimport mods.lib\nfound = mods.wiki.pages",
    "another module of the package before it": "import mods.lib\nimport mods.wiki.pages\nfound = mods.wiki.pages",
    "import_module": "import importlib\nfound = importlib.import_module('.pages', __package__)",
    "from a.b import *": "from mods.wiki import *\nfound = pages",
}
"""Each way to write it, and the statements; `found` is a module whose VERSION tells whose it is, or that itself."""

REPLACED = [each for each in FORMS if not any(word in each for word in ("*", "short", "module", "import_"))]
"""The forms in which code that was replaced is held to what it was loaded with."""

PAGES = """
    import dataclasses, enum, sys
    VERSION = {version}
    SELF = sys.modules[__name__]
    class Kind(enum.Enum):
        PAGE = {version}
    @dataclasses.dataclass
    class Page:
        title: str = ""
        kind: "Kind" = Kind.PAGE
"""

TYPES = {
    "type hints": """
        from typing import get_type_hints
        from mods.wiki.pages import Page
        def check():
            return get_type_hints(Page)["kind"].PAGE.value
    """,
    "type hints of a function": """
        from typing import get_type_hints
        def opened(page: "mods.wiki.pages.Page"): ...
        def check():
            import mods.wiki.pages
            return get_type_hints(opened, {"mods": mods})["page"].kind.value
    """,
    "a reference of pydantic to its own module": """
        from pydantic import BaseModel
        class Book(BaseModel):
            pages: "list[Leaf]" = []
        class Leaf(BaseModel):
            version: int = VERSION
        def check():
            Book.model_rebuild()
            book = Book(pages=[{}])
            assert type(book.pages[0]) is Leaf
            return book.pages[0].version
    """,
    "a field of pydantic from another module": """
        from pydantic import BaseModel
        from mods.wiki.pages import Page
        class Shelf(BaseModel):
            page: Page
        def check():
            return Shelf(page={"title": "x"}).page.kind.value
    """,
    "a pickle": """
        import pickle
        from mods.wiki.pages import Page
        def check():
            again = pickle.loads(pickle.dumps(Page("x")))
            assert type(again) is Page and again.kind is Page.kind
            return again.kind.value
    """,
    "a pickle of its own class": """
        import pickle
        class Own:
            version = VERSION
        def check():
            return pickle.loads(pickle.dumps(Own())).version
    """,
    "a dataclass that derives from another module's": """
        from dataclasses import dataclass, fields
        from mods.wiki import pages
        @dataclass
        class Long(pages.Page):
            size: int = 0
        def check():
            assert [each.name for each in fields(Long)] == ["title", "kind", "size"]
            return Long().kind.value
    """,
    "a deep copy": """
        import copy
        from mods.wiki.pages import Page
        def check():
            return copy.deepcopy(Page("x")).kind.value
    """,
    "super() and isinstance": """
        from mods.wiki.pages import Page as Base
        import mods.wiki.pages
        class Page(Base):
            def __init__(self):
                super().__init__("x")
        def check():
            assert isinstance(Page(), mods.wiki.pages.Page)
            return Page().kind.value
    """,
    "what its __init__ offers": """
        from mods.wiki import VERSION as offered
        def check():
            return offered
    """,
}
"""Whole sources, of which `check()` gives the version whose code it met."""


class Two:
    """One mod in two versions: `mods.wiki`, whose source is version 1, and the line `mods.wiki@2` of version 2."""

    def __init__(self, workshop: Any) -> None:
        self.workshop = workshop
        self.folder = workshop.folder
        workshop.finder.modules.lines.folders["mods.wiki@2"] = self.folder / "two"
        self._write("mods/__init__.py", "")
        self._write("mods/lib.py", "NAME = 'lib'")

    def _write(self, path: str, text: str) -> Path:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(text))
        return file

    def write(self, module: str, text: str) -> None:
        """Write a module of the mod into both versions; {version} is the number."""
        for version, place in ((1, "mods/wiki"), (2, "two/wiki")):
            self._write(f"{place}/{module}.py", dedent(text).replace("{version}", str(version)))

    def load(self, entry: str = "mod") -> tuple[Any, Any]:
        """The entry module of each version, executed."""
        self.write("__init__", "from . import pages\nVERSION = {version}\n__all__ = ['pages']")
        self.write("pages", PAGES)
        for name in ("mods.wiki", "mods.wiki@2"):
            self.workshop.build(entry=f"{name}.{entry}").keep()
        return sys.modules[f"mods.wiki.{entry}"], sys.modules[f"mods.wiki@2.{entry}"]

    def save(self, version: int, module: str, text: str) -> None:
        """Save a module of one version, and serve it."""
        place, name = {1: ("mods/wiki", "mods.wiki"), 2: ("two/wiki", "mods.wiki@2")}[version]
        file = self._write(f"{place}/{module}.py", text)
        now: dict[Path, Digest | None] = dict(sources_now([file]))
        modules = self.workshop.finder.modules
        affected = modules.graph().affected(modules.stale(now))
        assert affected and all((line_of(each) is not None) == (version == 2) for each in affected), affected
        self.workshop.build(*affected, entry=f"{name}.mod").keep()


@pytest.fixture
def two(workshop: Any) -> Iterator[Two]:
    """Both versions, nothing of them written yet."""
    with without_mods():
        yield Two(workshop)
        workshop.finder.modules.forget(list(workshop.finder.modules.current))


def versions(ask: Callable[[Any], Any], modules: tuple[Any, Any]) -> list[Any]:
    """What each version says."""
    return [ask(each) for each in modules]


@pytest.mark.parametrize("form", FORMS)
async def test_an_import_at_the_top_is_of_the_own_version(two: Two, form: str) -> None:
    """Whatever its form, an import finds the modules of its own version."""
    two.write("mod", FORMS[form])
    assert versions(lambda module: module.found.VERSION, two.load()) == [1, 2]


@pytest.mark.parametrize("form", [each for each in FORMS if "*" not in each])
async def test_an_import_inside_a_function_is_of_the_own_version(two: Two, form: str) -> None:
    """So does one that only runs when a handler does."""
    body = "\n".join(f"    {line}" for line in FORMS[form].splitlines())
    two.write("mod", f"def ask():\n{body}\n    return found.VERSION")
    assert versions(lambda module: module.ask(), two.load()) == [1, 2]


@pytest.mark.parametrize("form", REPLACED)
async def test_code_that_was_replaced_goes_on_in_its_own_version(two: Two, form: str) -> None:
    """A function of a generation that lingers imports what that generation was loaded with, of its own version."""
    body = "\n".join(f"    {line}" for line in FORMS[form].splitlines())
    text = f"from mods.wiki import pages\ndef ask():\n{body}\n    return found.VERSION"
    two.write("mod", text)
    old = two.load()
    assert versions(lambda module: module.ask(), old) == [1, 2]
    two.save(1, "pages", PAGES.replace("{version}", "10"))
    two.save(2, "pages", PAGES.replace("{version}", "20"))
    assert versions(lambda module: module.ask(), old) == [1, 2]
    now = sys.modules["mods.wiki.mod"], sys.modules["mods.wiki@2.mod"]
    assert versions(lambda module: module.ask(), now) == [10, 20]


@pytest.mark.parametrize("what", TYPES)
async def test_classes_are_those_of_the_own_version(two: Two, what: str) -> None:
    """Whatever looks classes up by their names finds those of its own version."""
    two.write("mod", f"VERSION = {{version}}\n{dedent(TYPES[what])}")
    assert versions(lambda module: module.check(), two.load()) == [1, 2]


async def test_a_save_concerns_its_own_version_alone(two: Two) -> None:
    """The modules of the other version stay the very same objects."""
    two.write("mod", "from mods.wiki import pages\nimport mods.wiki.pages")
    two.load()
    before = dict(sys.modules)
    two.save(2, "pages", PAGES.replace("{version}", "20"))
    assert sys.modules["mods.wiki@2.pages"] is not before["mods.wiki@2.pages"]
    assert all(sys.modules[name] is before[name] for name in ("mods.wiki", "mods.wiki.pages", "mods.wiki.mod"))


async def test_a_shared_module_is_one_for_both(two: Two) -> None:
    """Only the modules of the mod itself are there twice: a save of another concerns both versions."""
    two.write("mod", "from mods import lib\nfrom mods.wiki import pages")
    one, other = two.load()
    assert one.lib is other.lib
    assert {"mods.wiki.mod", "mods.wiki@2.mod"} <= set(two.workshop.finder.modules.graph().affected(["mods.lib"]))


async def test_a_mod_of_one_module_has_versions_too(two: Two) -> None:
    """Where there is no package the line is a module with its name."""
    two._write("mods/wiki.py", "VERSION = 1\ndef ask():\n    import mods.wiki\n    return mods.wiki.VERSION")
    two._write("two/wiki.py", "VERSION = 2\ndef ask():\n    from . import wiki\n    return wiki.VERSION")
    for name in ("mods.wiki", "mods.wiki@2"):
        two.workshop.build(entry=name).keep()
    assert [sys.modules[name].ask() for name in ("mods.wiki", "mods.wiki@2")] == [1, 2]


async def test_a_mod_whose_package_has_no_source_has_versions_too(two: Two) -> None:
    """A folder with mod.py and without __init__.py is a package of Python's, whichever version."""
    text = "import mods.wiki.pages\nfrom mods.wiki import pages\nVERSION = mods.wiki.pages.VERSION, pages.VERSION"
    for version, place in ((1, "mods/wiki"), (2, "two/wiki")):
        two._write(f"{place}/pages.py", f"VERSION = {version}")
        two._write(f"{place}/mod.py", text)
    for name in ("mods.wiki.mod", "mods.wiki@2.mod"):
        two.workshop.build(entry=name).keep()
    assert [sys.modules[name].VERSION for name in ("mods.wiki.mod", "mods.wiki@2.mod")] == [(1, 1), (2, 2)]
    modules = two.workshop.finder.modules
    modules.forget([name for name in modules.current if line_of(name) is not None])
    assert [name for name in sys.modules if "@" in name] == []


async def test_a_version_that_is_unloaded_is_gone(two: Two) -> None:
    """No name of it stays in Python's table, and its classes are collected."""
    two.write("mod", "from mods.wiki.pages import Page")
    _, line = two.load()
    page = weakref.ref(line.Page)
    del line
    modules = two.workshop.finder.modules
    modules.forget([name for name in modules.current if line_of(name) is not None])
    gc.collect()
    assert page() is None
    assert [name for name in sys.modules if "@" in name] == []
    assert not hasattr(sys.modules["mods"], "wiki@2")


async def test_a_pinned_mod_keeps_its_sources(two: Two) -> None:
    """What is saved of it is neither stale nor read, not even by an import that comes for the first time."""
    two.write("mod", "from mods import lib\ndef ask():\n    from mods.wiki import late\n    return late.VERSION")
    two.write("late", "VERSION = {version}")
    two.load()
    modules = two.workshop.finder.modules
    files = list((two.folder / "mods/wiki").glob("*.py"))
    modules.lines.pins["mods.wiki"] = {each: each.read_bytes() for each in files}
    late = two._write("mods/wiki/late.py", "VERSION = 10")
    broken = two._write("mods/wiki/mod.py", "this is no Python")
    assert modules.stale(sources_now([late, broken])) == {}
    assert sys.modules["mods.wiki.mod"].ask() == 1
    shared = two._write("mods/lib.py", "NAME = 'another'")
    affected = modules.graph().affected(modules.stale(sources_now([shared])))
    two.workshop.build(*affected, entry="mods.wiki.mod").keep()
    assert sys.modules["mods.wiki.mod"].lib.NAME == "another"
