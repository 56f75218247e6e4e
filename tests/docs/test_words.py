"""The words of code and documentation: a noun instead of a pronoun that a reader has to resolve."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]

NAMES = re.compile(r"`[^`]*`")
AVOIDED = re.compile(
    r"\b(nobody|somebody|whoever|anew|besides|by now|(?-i:is none|are none)|is no (such|longer|room|process))\b",
    re.IGNORECASE,
)
"""CONTRIBUTING says what to write instead: a noun, `again`, `beside`, `now`, `is missing`, `is not a`."""


def sources() -> Iterator[Path]:
    """Every source of the server and of the sample mods. A mod of the catalogue is listed by its bytes: it stays."""
    ours = (*(ROOT / "devserver").rglob("*.py"), *(ROOT / "mods").rglob("*.py"))
    yield from sorted(each for each in ours if "catalogue" not in each.relative_to(ROOT).parts)


def texts_of(source: str) -> Iterator[tuple[int, str]]:
    """The comments and texts of a source, with their lines; names are not among them."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.lineno, node.value


def test_code_and_messages_use_nouns() -> None:
    """Docstrings, comments and messages name what they mean; a search finds it."""
    found = [
        f"{file.relative_to(ROOT)}:{line}"
        for file in sources()
        if AVOIDED.search(source := file.read_text(encoding="utf-8"))
        for line, text in texts_of(source)
        if AVOIDED.search(NAMES.sub("", text))
    ]
    assert found == []


def test_documentation_uses_nouns() -> None:
    """The pages are held to the same words."""
    pages = [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "devserver/README.md"]
    found = [page.name for page in pages if AVOIDED.search(page.read_text(encoding="utf-8"))]
    assert found == []
