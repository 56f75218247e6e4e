"""The layers of the house, read from the source: who may import whom, and who owns what."""

from __future__ import annotations

import ast
import functools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "devserver"

FOLDERS = (
    "model",
    "config",
    "live",
    "sources",
    "market",
    "loader",
    "reload.plan",
    "reload",
    "network",
    "bridge",
    "replay",
    "transports",
    "transports.http",
    "hosts",
    "control",
    "ui",
    "server",
    "cli",
)
"""From the bottom up. A file imports from its own folder, and from folders that stand before it."""

ROOT = {
    "agent": "model",
    "testing": "replay",
    "pytest_plugin": "replay",
    "errors": "model",
    "mod": "model",
    "agent_network": "bridge",
    "openagents": "server",
    "": "model",
    "__main__": "cli",
}
"""The files in the root, each with the folder beside which it stands."""

OWNERS: dict[str, tuple[str, ...]] = {
    "watchfiles": ("sources.notify",),
    "httptools": ("transports.http.http_connection",),
    "websockets": ("transports.http.websocket", "agent"),
    "socket": ("server", "transports.http.serving", "loader.places"),  # the loader opens none: it reads a setting
    "typer": ("cli",),
    "importlib": ("loader",),
    "uv": ("market.uv",),
    "nats": ("hosts.link",),
}
"""Modules that only one part of the house imports."""

STRANGERS = (("reload", "network"), ("transports", "ui"), ("control", "ui"), ("transports", "bridge"), ("ui", "bridge"))
"""Packages that never import each other."""


@dataclass(frozen=True)
class Module:
    """What the tests ask of a file: its name in the package, what it imports, where it names `sys.modules`."""

    name: str
    imports: tuple[str, ...]
    touches: tuple[int, ...]

    @property
    def own(self) -> list[str]:
        """What it imports of this package."""
        return [each.removeprefix("devserver.") for each in self.imports if each.startswith("devserver.")]


@functools.cache
def modules() -> tuple[Module, ...]:
    """Every file of the package. Read once, by the process that needs it; no tree is kept."""
    return tuple(_modules())


def _modules() -> Iterator[Module]:
    for file in sorted(PACKAGE.rglob("*.py")):
        if file.is_relative_to(PACKAGE / "catalogue"):
            continue  # mods that are built in: data of the package, no modules of it
        text = file.read_text(encoding="utf-8")
        name = ".".join(file.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
        yield Module(name.removeprefix("__init__"), tuple(imports(ast.parse(text))), tuple(touched(text)))


def touched(text: str) -> Iterator[int]:
    """The lines at which a source names `sys.modules`."""
    if "sys.modules" in text:
        attributes = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Attribute))
        yield from (node.lineno for node in attributes if ast.unparse(node) == "sys.modules")


def imports(tree: ast.AST) -> Iterator[str]:
    """The absolute names that a module imports when it runs: what stands under TYPE_CHECKING does not run."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        yield from imports(node)


def folder_of(name: str) -> str:
    """The longest folder that a module lies in; for a file in the root, the folder beside which it stands."""
    found = [each for each in FOLDERS if _lies_in(name, each)]
    return max(found, key=len) if found else ROOT.get(name, "")


def floor_of(name: str) -> int:
    return FOLDERS.index(folder_of(name))


def _lies_in(name: str, part: str) -> bool:
    return name == part or name.startswith(f"{part}.")


def test_every_module_has_a_folder() -> None:
    """Every module lies in a folder of the house, or is a public file of the root."""
    assert [each.name for each in modules() if not folder_of(each.name)] == []


def test_a_module_imports_only_from_its_own_folder_or_from_below() -> None:
    """The graph of folders is a line: no circle, no arrow upwards."""
    # The package itself exposes public names of upper folders, lazily; no module below uses them.
    named = [each for each in modules() if each.name]
    upwards = [(each.name, used) for each in named for used in each.own if floor_of(used) > floor_of(each.name)]
    assert upwards == []


def test_strangers_never_import_each_other() -> None:
    """The two streams, and the faces, meet only in what lies below or above them."""
    for one, other in (*STRANGERS, *((b, a) for a, b in STRANGERS)):
        ours = [each for each in modules() if _lies_in(each.name, one)]
        assert [(each.name, used) for each in ours for used in each.own if _lies_in(used, other)] == []


@pytest.mark.parametrize("module", OWNERS)
def test_what_has_an_owner_is_used_by_nobody_else(module: str) -> None:
    """importlib, watchfiles, sockets and the web framework each have one place."""
    others = [each for each in modules() if not any(_lies_in(each.name, owner) for owner in OWNERS[module])]
    assert [(each.name, used) for each in others for used in each.imports if _lies_in(used, module)] == []


def test_only_the_loader_touches_the_table_of_modules() -> None:
    """`sys.modules` belongs to `loader`."""
    assert [(each.name, each.touches) for each in modules() if each.touches and not _lies_in(each.name, "loader")] == []


def test_sample_mods_import_only_devserver_and_each_other() -> None:
    """A mod needs nothing of the server but its public names."""
    for file in (*(PACKAGE.parent / "mods").rglob("*.py"), *(PACKAGE / "catalogue").rglob("*.py")):
        names = set(imports(ast.parse(file.read_text(encoding="utf-8"))))
        assert {name for name in names if name.startswith("devserver.")} == set(), file.name


def test_no_two_files_of_tests_have_the_same_name() -> None:
    """They are imported by their bare names, so the whole suite could not be collected."""
    names = Counter(file.name for file in Path(__file__).parent.rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []
