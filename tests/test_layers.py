"""The layers of the house, read from the source: who may import whom, and who owns what."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "devserver"

LAYERS = tuple(
    layer.split()
    for layer in (
        "model mod errors tape page_address",
        "reload.graph reload.source reload.plan reload.outcome reload.ignore reload.network_yaml reload.yaml_text"
        " reload.yaml_values network.route network.subscriptions network.members network.identity network.audit"
        " network.outbox network.answers home redact",
        "background generation registry runfile sockets process_limits"
        " network.agent network.agents network.handle network.overseer network.store"
        " reload.loader reload.hooks reload.handover reload.history reload.inotify reload.notify reload.settle"
        " reload.watch",
        "reload.carried reload.apply reload.report reload.knowledge reload.retirement reload.engine"
        " network.dispatch network.system",
        "agent_network api bridge ui watchdog",
        "check saves settings run_options exposure status workspace_files server supervised supervisor client",
        "cli scaffold",
    )
)
"""From the bottom up. A module belongs to the longest name here that it is, or lies in."""

OWNERS: dict[str, tuple[str, ...]] = {
    "watchfiles": ("reload.notify",),
    "uvicorn": ("api",),
    "starlette": ("api",),
    "socket": ("sockets", "server", "supervised", "supervisor"),
    "typer": ("cli",),
    "importlib": ("reload.loader",),
}
"""Modules that only one part of the house imports."""

STRANGERS = (("reload", "network"), ("api", "ui"), ("api", "bridge"), ("ui", "bridge"))
"""Packages that never import each other."""


def modules() -> Iterator[tuple[str, ast.Module]]:
    for file in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(file.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
        yield name, ast.parse(file.read_text(encoding="utf-8"))


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


def own_imports(tree: ast.AST) -> Iterator[str]:
    yield from (name.removeprefix("devserver.") for name in imports(tree) if name.startswith("devserver."))


def layer_of(name: str) -> int:
    found = [(len(part), n) for n, parts in enumerate(LAYERS) for part in parts if _lies_in(name, part)]
    return max(found)[1] if found else -1


def _lies_in(name: str, part: str) -> bool:
    return name == part or name.startswith(f"{part}.")


ALL = [(name, tree) for name, tree in modules() if name not in ("__init__", "reload", "network")]


def test_every_module_has_a_layer() -> None:
    """No module stands outside the layers."""
    assert [name for name, _ in ALL if layer_of(name) < 0] == []


@pytest.mark.parametrize(("name", "tree"), ALL, ids=[name for name, _ in ALL])
def test_a_module_imports_from_its_own_layer_or_below(name: str, tree: ast.Module) -> None:
    """What is above a module is unknown to it."""
    above = [each for each in own_imports(tree) if layer_of(each) > layer_of(name)]
    # The package itself exposes names of upper layers lazily; nothing below uses that.
    assert above == []


@pytest.mark.parametrize(("name", "tree"), ALL, ids=[name for name, _ in ALL])
def test_strangers_never_import_each_other(name: str, tree: ast.Module) -> None:
    """The two streams, and the faces, meet only in what lies below or above them."""
    for one, other in (*STRANGERS, *((b, a) for a, b in STRANGERS)):
        if _lies_in(name, one):
            assert [each for each in own_imports(tree) if _lies_in(each, other)] == []


@pytest.mark.parametrize(("name", "tree"), ALL, ids=[name for name, _ in ALL])
def test_what_has_an_owner_is_used_by_nobody_else(name: str, tree: ast.Module) -> None:
    """importlib, watchfiles, sockets and the web framework each have one place."""
    for module, owners in OWNERS.items():
        if not any(_lies_in(name, owner) for owner in owners):
            assert [each for each in imports(tree) if _lies_in(each, module)] == []


@pytest.mark.parametrize(("name", "tree"), ALL, ids=[name for name, _ in ALL])
def test_only_the_loader_touches_the_table_of_modules(name: str, tree: ast.Module) -> None:
    """`sys.modules` belongs to `reload/loader`."""
    used = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.modules"]
    assert not used or _lies_in(name, "reload.loader")


def test_sample_mods_import_only_devserver_and_each_other() -> None:
    """A mod needs nothing of the server but its public names."""
    for file in (PACKAGE.parent / "mods").rglob("*.py"):
        names = set(imports(ast.parse(file.read_text(encoding="utf-8"))))
        assert {name for name in names if name.startswith("devserver.")} == set(), file.name
