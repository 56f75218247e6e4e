"""From a mod to the sources of a package: its pyproject.toml, and imports that it could not make.

`mods/polls/` becomes the top package `polls`. Nothing is executed here; a build and a first import
come afterwards.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import sys
import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from devserver.errors import DevServerError
from devserver.market.folder import GROUP
from devserver.market.package import PackageRefused, read_folder
from devserver.market.packages import name_in
from devserver.market.requirements import parse_requirement
from devserver.model.declared import Declarations
from devserver.model.names import is_range, normal
from devserver.sources.declarations import read_declarations

BACKEND = "uv_build"
PROJECT = "pyproject.toml"

_LEFT_OUT = (PROJECT, "__pycache__", "tests", "dist", "build")
_OF_OA_DEV = frozenset({"devserver", "pydantic", "pydantic_core", "structlog", "typing_extensions"})
"""The modules that a mod may import because it needs oa-dev: its names and dependencies."""


class CannotPack(DevServerError):
    """A mod that cannot be packed. `hint` says what to do."""

    def __init__(self, sentence: str, hint: str = "") -> None:
        super().__init__(sentence)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Packing:
    """The mod to pack: the folder, its pyproject.toml, and its top name.

    `is_mod`: the folder is a mod of the workspace, with its sources beside the project. `is_new`:
    its pyproject.toml does not exist yet. `notes`: what works differently elsewhere.
    """

    folder: Path
    project: str
    top: str
    is_mod: bool
    is_new: bool
    backend: str
    notes: tuple[str, ...] = ()


def look(folder: Path, oa_dev: str) -> Packing:
    """Look at the mod to pack; `oa_dev`: the least version that it needs. Raises CannotPack."""
    if os.path.isfile(folder) and folder.suffix == ".py":
        folder = folder.with_suffix("")
        raise CannotPack(f"{folder.name}.py is one file", f"make it {folder.name}/mod.py: a package is a folder")
    if not os.path.isdir(folder):
        raise CannotPack(f"there is no folder {folder}")
    text = _read(folder / PROJECT)
    is_mod = any((folder / each).is_file() for each in ("mod.py", "__init__.py"))
    if text is not None:
        values = _project(text, folder)
        backend = str(values.get("build-system", {}).get("build-backend", "setuptools.build_meta"))
        return Packing(folder, text, _top_of(folder), is_mod=is_mod, is_new=False, backend=backend)
    if not is_mod:
        raise CannotPack(
            f"{folder.name} has no {PROJECT} and is not a mod", "a mod is a folder with mod.py or __init__.py"
        )
    declared = _declared(folder)
    return Packing(
        folder,
        project_text(folder, declared, oa_dev),
        _top_of(folder),
        is_mod=True,
        is_new=True,
        backend=BACKEND,
        notes=_notes(declared),
    )


def _read(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise CannotPack(f"{file.name} cannot be read: {error}") from error


def _project(text: str, folder: Path) -> Mapping[str, dict[str, object]]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CannotPack(f"{folder.name}/{PROJECT} is not TOML: {error}") from error


def _top_of(folder: Path) -> str:
    top = folder.resolve().name.replace("-", "_")
    if not top.isidentifier() or top == "mods" or top in sys.stdlib_module_names:
        raise CannotPack(f"{top} cannot name a package", "rename the folder: Python has that name, or none can be so")
    return top


def _entry(folder: Path) -> Path:
    return next(file for name in ("mod.py", "__init__.py") if (file := folder / name).is_file())


def _declared(folder: Path) -> Declarations:
    file = _entry(folder)
    try:
        found = read_declarations(file.read_bytes(), Path(folder.name) / file.name)
    except SyntaxError as error:
        raise CannotPack(f"{folder.name}/{file.name}:{error.lineno}: {error.msg}") from error
    if found.version == "0" or not is_range(f"=={found.version}"):
        raise CannotPack(
            f"{folder.name}/{file.name} says no version", 'write version = "1.0.0" into the class of the mod'
        )
    return found


def project_text(folder: Path, declared: Declarations, oa_dev: str) -> str:
    """Return the pyproject.toml of a mod of the workspace, from what its source declares."""
    top = _top_of(folder)
    needs = [f"oa-dev>={'.'.join(oa_dev.split('.')[:2])}", *declared.packages, *_mods_needed(declared)]
    shown = ", ".join(json.dumps(each) for each in dict.fromkeys(needs))
    return f"""\
[build-system]
requires = ["uv_build>=0.11,<0.14"]
build-backend = "uv_build"

[project]
name = {json.dumps(top.replace("_", "-"))}
version = {json.dumps(declared.version)}
description = {json.dumps(_summary(_entry(folder)))}
requires-python = ">=3.11"
dependencies = [{shown}]
keywords = ["openagents-mod"]

[project.entry-points."{GROUP}"]
{top} = "{top}"
"""


def _mods_needed(declared: Declarations) -> Iterator[str]:
    for each in declared.requires:
        need = parse_requirement(each)
        yield need.path.removeprefix("./").removeprefix("mods.").partition(".")[0].replace("_", "-") + need.range


def _notes(declared: Declarations) -> tuple[str, ...]:
    inside = [each for each in declared.requires if each.startswith(("mods.", "./"))]
    return tuple(
        f"it requires {each}, which elsewhere has to be a mod of the workspace too: a package is named without mods."
        for each in inside
    )


def _summary(file: Path) -> str:
    """Return the first sentence of a source's docstring, as a line."""
    text = ast.get_docstring(ast.parse(file.read_bytes())) or ""
    first = re.sub(r"\s+", " ", text.partition("\n\n")[0]).strip().rstrip(".")
    return "".join(each for each in first if each.isprintable())[:200]


# The sources of the package


def stage(packing: Packing, into: Path) -> Path:
    """Put the sources of a package into a folder that can be built, and return it."""
    target = into / packing.folder.resolve().name
    if not packing.is_mod:
        shutil.copytree(packing.folder, target, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        return target
    source = target / "src" / packing.top
    shutil.copytree(packing.folder, source, ignore=shutil.ignore_patterns(".*", *_LEFT_OUT))
    (source / "__init__.py").touch()
    (target / PROJECT).write_text(packing.project, encoding="utf-8")
    return target


@dataclass(frozen=True, slots=True)
class Imports:
    """The imports of a package's sources, by top name without its own, as `polls/mod.py:3`."""

    tops: Mapping[str, str]
    problems: tuple[str, ...]


def imports_of(staged: Path, packing: Packing) -> Imports:
    """Read a package's imports, and those that nothing can make. Raises PackageRefused."""
    tops: dict[str, str] = {}
    problems: list[str] = []
    package = read_folder(staged)
    for name, content in sorted(package.files.items()):
        if not name.endswith(".py"):
            continue
        try:
            tree = ast.parse(content)
        except (SyntaxError, ValueError) as error:
            raise PackageRefused("unreadable", f"{name} is not Python: {error}") from error
        for full, line in _needed(tree):
            where, top = f"{name}:{line}", full.partition(".")[0]
            if top == "mods":
                problems.append(_of_workspace(full, where, packing.top))
            elif top not in package.tops:
                tops.setdefault(top, where)
    return Imports(tops, tuple(problems))


def _needed(node: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield the absolute names that a source cannot do without, with their lines."""
    for each in ast.iter_child_nodes(node):
        if isinstance(each, ast.Try) and any(_catches_imports(handler) for handler in each.handlers):
            # It works without.
            continue
        if isinstance(each, ast.If) and "TYPE_CHECKING" in ast.unparse(each.test):
            continue
        if isinstance(each, ast.Import):
            yield from ((alias.name, each.lineno) for alias in each.names)
        elif isinstance(each, ast.ImportFrom) and each.module and not each.level:
            yield from ((f"{each.module}.{alias.name}", each.lineno) for alias in each.names)
        else:
            yield from _needed(each)


def _catches_imports(handler: ast.ExceptHandler) -> bool:
    return handler.type is None or any(
        each in ast.unparse(handler.type) for each in ("ImportError", "ModuleNotFoundError", "Exception")
    )


def _of_workspace(full: str, where: str, top: str) -> str:
    own = f"mods.{top}"
    if full == own or full.startswith(f"{own}."):
        module, _, name = full.removeprefix(own).lstrip(".").rpartition(".")
        return f"{where} imports {full}, which is {top} in the package: from .{module} import {name or '…'}"
    return f"{where} imports {full}, which is not part of the package: move it into {top}"


def undeclared(imports: Imports, requires: Collection[str], distributions: Mapping[str, list[str]]) -> tuple[str, ...]:
    """Return the packages that are imported and not declared, with their places. `distributions`
    says for a top name which distributions here bring it."""
    declared = {name_in(each) for each in requires}
    free = (_OF_OA_DEV if "oa-dev" in declared else frozenset()) | sys.stdlib_module_names
    found = []
    for top, where in imports.tops.items():
        known = {normal(each) for each in distributions.get(top, (top,))}
        if top not in free and not known & declared:
            found.append(f"{where} imports {top}, which is not declared: add {min(known)} to its dependencies")
    return tuple(found)
