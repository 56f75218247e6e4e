"""The page of errors is true: every class that is raised on purpose stands in it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import devserver.errors

PACKAGE = Path(devserver.errors.__file__).parent


def public_errors() -> set[str]:
    """The names of all classes of the package that are exceptions by their bases."""
    found: dict[str, list[str]] = {}
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                found[node.name] = [ast.unparse(each).rpartition(".")[2] for each in node.bases]
    builtin = {"Exception", "BaseException", "LookupError", "ValueError", "RuntimeError"}

    def is_error(name: str) -> bool:
        return name in builtin or any(map(is_error, found.get(name, ())))

    return {name for name in found if is_error(name) and not name.startswith("_")}


def test_every_error_is_named_on_the_page() -> None:
    """A new class of errors gets its line, a gone one loses it."""
    page = devserver.errors.__doc__ or ""
    lines = re.findall(r"(?:── |^    )([A-Z]\w+(?:, [A-Z]\w+)*)", page, re.MULTILINE)
    assert {name for each in lines for name in each.split(", ")} == public_errors()
