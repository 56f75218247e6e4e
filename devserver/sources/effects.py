"""Reads which lines of a source run when it is imported and started, and what they do to others.

Pure: text in, values out. Two questions are answered: which lines lead to an object that the module
has made in another one, and which lines set an option of a library. Both are compared between two
versions of a source: if the lines are the same, a fresh start would do the same again.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from devserver.sources.imports import dumped, parsed
from devserver.sources.large import reads_sources

_STARTS = frozenset({"initialize", "__init__"})
"""The methods of a mod that run when it starts."""
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_SETS = re.compile(r"(?:un)?(?:set|register|add|config|install|enable|disable|use|init|activate|default|start)")
"""How functions begin that change an option of their library: a convention of nearly all of them."""
_GETS = re.compile("get|current|default|global|instance")
_MAY_SET = re.compile(rb"^.*\.\w+\s*=[^=].*$|^.*\b" + _SETS.pattern.encode() + rb"\w*\(.*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Option:
    """A line that sets an option of a library: the name of its module, and the line in short."""

    module: str
    text: str
    shown: str


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """A part of a source that runs as a whole: the names that it binds and uses; `called`: it runs
    only if code that runs uses one of these names."""

    nodes: tuple[ast.AST, ...]
    binds: frozenset[str]
    uses: frozenset[str]
    called: frozenset[str] = frozenset()

    @property
    def text(self) -> str:
        return "\n".join(map(dumped, self.nodes))


@reads_sources
def lines_for(source: bytes, module: str) -> tuple[tuple[str, ...], frozenset[str]]:
    """Return the parts of a source that may have made an object in another module, with those that
    these depend on; and the names that they use.

    All that runs, if none of it names that module.
    """
    running = _running(source)
    last = module.rpartition(".")[2]
    names = {name for part in running for name in part.binds if any(last in _imports(each) for each in part.nodes)}
    touching = _closed([part for part in running if names & part.uses], running, "uses", "binds")
    chosen = _closed(touching or running, running, "binds", "uses")
    return tuple(sorted(each.text for each in chosen)), frozenset().union(*(each.uses for each in chosen))


@reads_sources
def options_gone(before: bytes, after: bytes) -> list[Option]:
    """Return the lines that set a library's option in one version of a source, not in the next."""
    if set(_MAY_SET.findall(before)) <= set(_MAY_SET.findall(after)):
        # Reading two sources takes longer than executing them.
        return []
    left = {each.text for each in _options(after)}
    return [each for each in _options(before) if each.text not in left]


def _options(source: bytes) -> Iterator[Option]:
    parts = _running(source)
    imported = {name: full for part in parts for node in part.nodes for name, full in _bound(node)}
    for node in (each for part in parts for top in part.nodes for each in ast.walk(top)):
        match node:
            case ast.Expr(value=ast.Call(func=target)):
                path = _path(target)
                sets = path and _SETS.match(path[-1])
            case ast.Assign(targets=[ast.Attribute() as target]):
                path = sets = _path(target)
            case _:
                continue
        if sets and path[0] in imported and (len(path) > 1 or isinstance(node, ast.Expr)):
            yield Option(imported[path[0]], dumped(node), ".".join(path))


def _running(source: bytes) -> list[_Part]:
    """Return the parts that run when the module is imported and a mod of it started."""
    parts = [part for each in parsed(source).body for part in _parts(each)]
    first = [part for part in parts if not part.called or part.called & _STARTS]
    return _closed(first, parts, "called", "uses")


def _closed(first: Iterable[_Part], parts: Iterable[_Part], has: str, joins: str) -> list[_Part]:
    """Return the first parts, with all that have a name that joins them to one of these, again and again."""
    having: dict[str, list[_Part]] = {}
    for each in parts:
        for name in getattr(each, has):
            having.setdefault(name, []).append(each)
    waiting = list(first)
    found = dict.fromkeys(waiting)
    while waiting:
        for name in getattr(waiting.pop(), joins):
            joined = [each for each in having.pop(name, ()) if each not in found]
            found.update(dict.fromkeys(joined))
            waiting += joined
    return list(found)


def _parts(node: ast.stmt, inside: str = "") -> Iterator[_Part]:
    if isinstance(node, _FUNCTIONS):
        head = [*node.decorator_list, *node.args.defaults, *(each for each in node.args.kw_defaults if each)]
        yield _Part((*head,), frozenset({node.name}), _used(head))
        is_special = inside and node.name.startswith("__")
        called = {node.name, inside} if is_special else {node.name}
        yield _Part((*node.body,), frozenset({node.name}), _used(node.body), frozenset(called))
    elif isinstance(node, ast.ClassDef):
        outer = [*node.decorator_list, *node.bases, *(each.value for each in node.keywords)]
        yield _Part((*outer,), frozenset({node.name}), _used(outer))
        for each in node.body:
            yield from _parts(each, node.name)
    elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
        binds = {each.id for each in ast.walk(node) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)}
        yield _Part((node,), frozenset(binds | {name for name, _ in _bound(node)}), _used([node]))


def _used(nodes: Iterable[ast.AST]) -> frozenset[str]:
    found = [each for node in nodes for each in ast.walk(node)]
    names = {each.id for each in found if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Load)}
    return frozenset(names | {each.attr for each in found if isinstance(each, ast.Attribute)})


def _bound(node: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield the names that an import binds, each with the full name that it stands for."""
    match node:
        case ast.Import(names=names):
            for each in names:
                yield each.asname or each.name.partition(".")[0], each.name
        case ast.ImportFrom(names=names, module=module, level=level):
            for each in names:
                yield each.asname or each.name, f"{'.' * level}{module or ''}.{each.name}"


def _imports(node: ast.AST) -> set[str]:
    """Return the parts of the names that an import statement has."""
    return {part for _, full in _bound(node) for part in full.split(".")}


def _path(node: ast.expr) -> list[str]:
    """Return the names of a dotted path, over calls that find an object; nothing for other expressions."""
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.Call):
        # What such a function returns is shared: `logging.getLogger("wiki")`.
        made_by = _path(node.func)
        return made_by if made_by and _GETS.match(made_by[-1]) else []
    inner = _path(node.value) if isinstance(node, ast.Attribute) else []
    return [*inner, node.attr] if inner and isinstance(node, ast.Attribute) else []
