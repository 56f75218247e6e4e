"""What a mod declares is read from its text, each thing with its line: needs, works with, packages."""

from __future__ import annotations

from pathlib import Path

import pytest

from devserver.model.declared import Place
from devserver.sources.declarations import read_declarations

FILE = Path("mods/search/mod.py")
SOURCE = """\
# /// script
# dependencies = [
#     "idna>=3,<4",
#     'text-tools',
# ]
# ///
from devserver import BaseMod


class SearchMod(BaseMod):
    version = "0.2"
    requires = [
        "mods.wiki>=1",
        "mods.text",
    ]
    optional = ["mods.analytics"]
"""


def test_each_declaration_has_its_line() -> None:
    """Needs, what it works with, packages of a PEP 723 block, and the version."""
    found = read_declarations(SOURCE, FILE)
    assert (found.requires, found.optional) == (("mods.wiki>=1", "mods.text"), ("mods.analytics",))
    assert (found.packages, found.version, found.problem) == (("idna>=3,<4", "text-tools"), "0.2", None)
    assert {what: place.line for what, place in found.where.items()} == {
        "idna>=3,<4": 3,
        "text-tools": 4,
        "version": 11,
        "requires": 12,
        "mods.wiki>=1": 13,
        "mods.text": 14,
        "optional": 16,
        "mods.analytics": 16,
    }
    assert {place.file for place in found.where.values()} == {FILE}


def test_nothing_of_a_source_is_executed() -> None:
    """Text alone is read."""
    found = read_declarations('raise SystemExit\nclass AMod(BaseMod):\n    requires = ["mods.b"]\n')
    assert found.requires == ("mods.b",)


@pytest.mark.parametrize(
    ("block", "line", "says"),
    [
        ("# /// script\n# dependencies = [\n# ///\n", 1, "Invalid value"),
        ("# /// script\n# dependencies = 'idna'\n# ///\n", 1, "dependencies is a list"),
        ("\n# /// script\n# dependencies = ['idna']\n", 2, "has no last line, # ///"),
        ("# /// script\n# ///\nx = 1\n# /// script\n# ///\n", 1, "is there again at line 4"),
    ],
)
def test_a_block_that_cannot_be_read_is_told_with_its_line(block: str, line: int, says: str) -> None:
    """A mistake in it is no missing package."""
    found = read_declarations(block, FILE)
    assert found.problem is not None
    assert says in found.problem[0]
    assert (found.packages, found.problem[1]) == ((), Place(FILE, line))


@pytest.mark.parametrize(
    "block", ["# /// tool\n# dependencies = ['x']\n# ///\n", "# /// script\n# name = 1\n# ///\n", '"""# /// script"""']
)
def test_what_names_no_package_is_no_block_of_packages(block: str) -> None:
    """Another block, one without dependencies, and the words in a text."""
    found = read_declarations(block, FILE)
    assert (found.packages, found.problem) == ((), None)


def test_the_last_end_of_the_comment_ends_the_block() -> None:
    """As PEP 723 has it: a line that ends a block may stand in it."""
    found = read_declarations("# /// script\n# dependencies = ['idna']\n# ///\n#\n# ///\n", FILE)
    assert found.problem is not None  # the first `///` is TOML of the block then, and none that can be read
