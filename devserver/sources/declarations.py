"""Reads a mod's declarations without executing it: class attributes, and a PEP 723 block.

Pure: text in, values out.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from devserver.model.declared import Declarations, Place
from devserver.sources.imports import bindings, last_name, parsed, text_of
from devserver.sources.large import reads_sources

_LISTS = ("requires", "optional")
_BEGIN = re.compile(r"^# /// script\s*$")
_END = re.compile(r"^# ///\s*$")
_MARK = b"# /// script"


@reads_sources
def read_declarations(source: str | bytes, file: Path = Path()) -> Declarations:
    """Read the declarations of the mod in a source; `file` is named in the places.

    A mod is a class at the top level with a base whose name ends in "Mod", or with such a class of
    the same source as its base; of several, the later one's declaration counts, as it does for a
    subclass. A value that is not a literal is `computed`. Packages are the `dependencies` of the
    block that begins with `# /// script` (PEP 723).

    Raises SyntaxError for a source that Python cannot read.
    """
    declared = Declarations()
    for statement in _mod_classes(parsed(source)):
        for name, value in bindings(statement.body):
            declared = _with(declared, name, value, file)
    data = source.encode("utf-8", "surrogatepass") if isinstance(source, str) else source
    return _with_packages(declared, data.decode("utf-8", "replace"), file) if _MARK in data else declared


def _mod_classes(tree: ast.Module) -> Iterator[ast.ClassDef]:
    mods: set[str] = set()
    for statement in tree.body:
        if isinstance(statement, ast.ImportFrom):
            mods |= {each.asname for each in statement.names if each.asname and each.name.endswith("Mod")}
        elif isinstance(statement, ast.ClassDef):
            bases = {last_name(base) or "" for base in statement.bases}
            if any(base.endswith("Mod") or base in mods for base in bases):
                mods.add(statement.name)
                yield statement


def _with(declared: Declarations, name: str, value: ast.expr, file: Path) -> Declarations:
    if name != "version" and name not in _LISTS:
        return declared
    texts = [value] if text_of(value) is not None else _elements(value) if name in _LISTS else None
    if texts is None:
        where = {**declared.where, name: Place(file, value.lineno)}
        return replace(declared, computed=declared.computed | {name}, where=where)
    said: Any = tuple(text_of(each) or "" for each in texts)
    told = {text: Place(file, each.lineno) for text, each in zip(said, texts, strict=True) if name != "version"}
    where = {**declared.where, **told, name: Place(file, value.lineno)}
    said = said[0] if name == "version" else said
    return replace(declared, **{name: said}, where=where, computed=declared.computed - {name})


def _elements(value: ast.expr) -> list[ast.expr] | None:
    """Return the elements of a literal list or tuple of texts, or None for anything else."""
    if not isinstance(value, ast.List | ast.Tuple):
        return None
    return value.elts if all(text_of(each) is not None for each in value.elts) else None


# Packages


def _with_packages(declared: Declarations, text: str, file: Path) -> Declarations:
    """Add to the declarations those of the PEP 723 block of a source, or the problem with it."""
    lines = text.splitlines()
    begins = [number for number, line in enumerate(lines) if _BEGIN.match(line)]
    if not begins:
        return declared
    begin = begins[0]
    end = _end_of(lines, begin)
    if end is None or len(begins) > 1:
        what = "has no last line, # ///" if end is None else f"is there again at line {begins[1] + 1}"
        return replace(declared, problem=(f"the block # /// script {what}", Place(file, begin + 1)))
    try:
        packages = _dependencies("\n".join(line[2:] for line in lines[begin + 1 : end]))
    except ValueError as error:
        return replace(declared, problem=(f"the block # /// script: {error}", Place(file, begin + 1)))
    where = {each: Place(file, line_of(each, lines, begin)) for each in packages}
    return replace(declared, packages=packages, where={**where, **declared.where})


def _end_of(lines: Sequence[str], begin: int) -> int | None:
    """Return the last line's index of a block: its last `# ///`, as in the PEP."""
    last = None
    for number in range(begin + 1, len(lines)):
        if not (lines[number] == "#" or lines[number].startswith("# ")):
            break
        last = number if _END.match(lines[number]) else last
    return last


def _dependencies(toml: str) -> tuple[str, ...]:
    """Return a block's `dependencies`. Raises ValueError if they are not a list of texts."""
    import tomllib  # few sources have such a block

    found = tomllib.loads(toml).get("dependencies", [])
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise ValueError("dependencies is a list of packages, such as 'idna>=3,<4'")
    return tuple(found)


def line_of(text: str, lines: Sequence[str], begin: int = 0) -> int:
    """Return the first line (from 1) from `begin` on with a quoted text; else `begin`'s."""
    quoted = (f'"{text}"', f"'{text}'")
    found = (number for number in range(begin, len(lines)) if any(each in lines[number] for each in quoted))
    return next(found, begin) + 1
