"""Reads what a source imports, names, and binds at its top level, without executing it.

Pure: text in, values out. Must not find or import the modules that the text names.
"""

from __future__ import annotations

import ast
import pickle
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

from devserver.sources.large import LARGE, Question, Unread, ahead, answer_of, reads_sources

_T = TypeVar("_T")

# What a source imports


@dataclass(frozen=True, slots=True)
class Imports:
    """The absolute names that a module may import, packages on the way included.

    `from a import b` counts as `a` and `a.b`, because `b` may be a module; `from a import *` as `a`
    and `a.*`, because the `__all__` of `a` may name modules. `lazy` are those that only a call of a
    function imports.
    """

    eager: frozenset[str] = frozenset()
    lazy: frozenset[str] = frozenset()


@reads_sources
def read_imports(source: str | bytes, module: str, is_package: bool) -> Imports:
    """Return what the source of `module` imports, read without executing it.

    Counted are import statements of every form wherever they stand (but for what only type checkers
    see), and calls of `import_module` and `__import__` with literal names. Relative names are
    resolved against `module`.

    Raises SyntaxError for a source that Python cannot read.
    """
    package = module if is_package else module.rpartition(".")[0]
    eager: set[str] = set()
    lazy: set[str] = set()
    for node, is_lazy in _nodes(parsed(source), expressions=_calls_imports(source)):
        for name in _imported(node, package):
            (lazy if is_lazy else eager).update((*ancestors(name), name))
    return Imports(frozenset(eager), frozenset(lazy - eager))


def ancestors(name: str) -> tuple[str, ...]:
    """Return the packages that are imported before a module, outermost first: a, a.b for a.b.c."""
    parts = name.split(".")
    return tuple(".".join(parts[:count]) for count in range(1, len(parts)))


async def read_elsewhere(function: Callable[..., _T], *arguments: Any) -> _T:
    """Call a function that may read sources, on a loop: another thread waits for each large one, and the function is
    called again. It must have changed nothing until then."""
    from devserver.live.loops import run_in_thread  # commands read sources without a loop

    known: dict[Question, Any] = {}
    mark = ahead.set(known)
    try:
        while True:
            try:
                return function(*arguments)
            except Unread as unread:
                known[unread.question] = await run_in_thread(answer_of, unread.question)
    finally:
        ahead.reset(mark)


# One save reads the same source for its imports and for its containers. Trees are large: only the last two are kept.
@lru_cache(maxsize=2)
def parsed(source: str | bytes) -> ast.Module:
    """Parse a source, for a function that `reads_sources`. Raises SyntaxError for any that Python cannot read."""
    try:
        return _parse_again(source)
    except (ValueError, RecursionError, MemoryError) as error:
        # NUL bytes before Python 3.12, and sources nested too deep for its parser: unreadable all the same.
        raise SyntaxError(str(error) or "nested too deep") from error


def _parse_again(source: str | bytes) -> ast.Module:
    try:
        return ast.parse(source)
    except SystemError:
        # Before 3.11.8 and 3.12.1 a garbage collection in the middle may upset Python's own count of the depth
        # (python/cpython#106905); the source has no part in that.
        return ast.parse(source)


def _calls_imports(source: str | bytes) -> bool:
    """Return whether a call in it may import. Most have none: statements alone are fast."""
    text = source.encode("utf-8", "surrogatepass") if isinstance(source, str) else source
    return b"import_module" in text or b"__import__" in text


_BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")
"""The fields of nodes that hold statements, by the grammar of the module ast."""
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def _nodes(tree: ast.AST, *, expressions: bool) -> Iterator[tuple[ast.AST, bool]]:
    """Yield every node that can run, and whether a call runs it: on a stack, for depth."""
    pending = [(tree, False)]
    while pending:
        node, lazy = pending.pop()
        yield node, lazy
        hidden = _hidden_branch(node.test) if isinstance(node, ast.If) else None
        for name in node._fields if expressions else _BLOCKS:
            value = getattr(node, name, None)
            if not value or name == hidden:
                continue
            inside = lazy or (name == "body" and isinstance(node, _FUNCTIONS))
            children = value if isinstance(value, list) else (value,)
            pending += [(each, inside) for each in children if isinstance(each, ast.AST)]


def _hidden_branch(test: ast.expr) -> str | None:
    """Return which branch of an `if` is never entered, because it is for type checkers."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return "orelse" if last_name(test.operand) == "TYPE_CHECKING" else None
    return "body" if last_name(test) == "TYPE_CHECKING" else None


def last_name(node: ast.expr) -> str | None:
    """Return `c` for `c` and for `a.b.c`."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else None


def _imported(node: ast.AST, package: str) -> Iterable[str]:
    match node:
        case ast.Import():
            return [alias.name for alias in node.names]
        case ast.ImportFrom():
            return _from(_absolute(node.module or "", node.level, package), [alias.name for alias in node.names])
        case ast.Call():
            called = last_name(node.func)
            if called == "import_module":
                return _import_module(_argument(node, 0, "name"), _argument(node, 1, "package"), package)
            if called == "__import__":
                return _dunder_import(node, package)
            return ()
    return ()


def _from(base: str | None, names: Iterable[str]) -> list[str]:
    return [] if base is None else [base, *(f"{base}.{name}" for name in names)]


def _absolute(name: str, level: int, package: str) -> str | None:
    """Return the absolute name of a relative one; None outside of the outermost package."""
    if level == 0:
        return name
    parts = package.split(".") if package else []
    if level > len(parts):
        return None
    return ".".join(filter(None, (*parts[: len(parts) - level + 1], name)))


def _import_module(name: ast.expr | None, anchor: ast.expr | None, package: str) -> list[str]:
    text = text_of(name)
    if text is None:
        return []
    bare = text.lstrip(".")
    if isinstance(anchor, ast.Constant) and isinstance(anchor.value, str):
        package = anchor.value
    found = _absolute(bare, len(text) - len(bare), package)
    return [found] if found else []


def _dunder_import(call: ast.Call, package: str) -> list[str]:
    text = text_of(_argument(call, 0, "name"))
    level, names = _argument(call, 4, "level"), _argument(call, 3, "fromlist")
    if text is None:
        return []
    steps = level.value if isinstance(level, ast.Constant) and isinstance(level.value, int) else 0
    wanted = names.elts if isinstance(names, ast.List | ast.Tuple) else []
    return _from(_absolute(text, steps, package), filter(None, map(text_of, wanted)))


def _argument(call: ast.Call, position: int, keyword: str) -> ast.expr | None:
    if position < len(call.args):
        return call.args[position]
    return next((each.value for each in call.keywords if each.arg == keyword), None)


def text_of(node: ast.expr | None) -> str | None:
    """Return the text of a literal that is not empty."""
    return node.value or None if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


# The data files that a source names

_DATA = "json|jsonl|ya?ml|toml|ini|cfg|conf|md|rst|txt|csv|tsv|xml|html?|css|js|svg|png|jpe?g|gif|j2|jinja2?|tmpl|tpl"
_DATA_TOO = (
    "mako|sql|prompt|po|mo|npy|npz|parquet|arrow|pkl|onnx|xlsx|dat|bin|gz|zip|mmdb|flag|env|properties|pem|crt"
    "|json5|jsonc|ndjson|geojson|graphql|proto"
)
_FILE_NAME = re.compile(
    rf"""["']([\w.][\w ./-]{{0,150}}\.(?:{_DATA}|{_DATA_TOO}))["']""",
    re.ASCII,
)
_ENDS_OF_NAMES = re.compile(rf"""\.(?:{_DATA}|{_DATA_TOO})["']""".encode())
"""What is in every source that has a name of that form: most have none, and that is seen in a tenth of the time."""


_BARE_NAME = re.compile(r"""["']((?:[\w-]+/)?[\w-]{2,40})["']""", re.ASCII)
_ASKS = re.compile(rb"exists\(|is_?file\(|\baccess\(|getsize\(|\bst_size\b")
_ASKING = (b"exists(", b"file(", b"access(", b"getsize(", b"st_size")
"""What is in every source in which that is found."""
_MOST_BARE = 50


@lru_cache(maxsize=512)
def file_names(source: bytes) -> frozenset[str]:
    """Return the names of data files that stand in a source as literals: `menu.xml`,
    `prompts/system.md`; `maintenance` too, if it asks whether files exist."""
    asks = any(each in source for each in _ASKING) and _ASKS.search(source) is not None
    if not asks and _ENDS_OF_NAMES.search(source) is None:
        return frozenset()
    text = source.decode("utf-8", "replace")
    found = _FILE_NAME.findall(text)
    if asks:
        found += [each for each in _BARE_NAME.findall(text) if not each.startswith("__")][:_MOST_BARE]
    return frozenset(each for each in found if not each.startswith("/") and ".." not in each)


# The containers at the top of a module


@dataclass(frozen=True, slots=True)
class Initial:
    """How a source writes the first value of a container, and what that is (`empty`: a call made an empty one)."""

    text: str
    value: object = None
    empty: bool = False


_MAKES_EMPTY = {"dict": 0, "list": 0, "set": 0, "deque": 0, "OrderedDict": 0, "Counter": 0, "defaultdict": 1}


@reads_sources
@lru_cache(maxsize=64)
def read_containers(source: str | bytes) -> Mapping[str, Initial]:
    """Return the containers that a module binds once, at its top, with their initial values.

    Counted are displays of literals, as in `{"a": [1]}`, but not above 128 KiB, and calls that make an empty
    container. Names that the module binds again at its top, in whatever way, are not counted, nor are those that
    Python itself uses (`__all__`).

    Raises SyntaxError for a source that Python cannot read.
    """
    tree = parsed(source)
    found = {name: initial for name, value in bindings(tree.body) if (initial := _initial(value)) is not None}
    bound = Counter(_bound_names(tree))
    return {name: initial for name, initial in found.items() if bound[name] == 1 and not name.startswith("__")}


def bindings(body: Iterable[ast.stmt]) -> Iterator[tuple[str, ast.expr]]:
    """Yield the single names that statements assign, with their values."""
    for each in body:
        match each:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                yield name, value
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                yield name, value


def _bound_names(tree: ast.Module) -> Iterator[str]:
    """Yield every name each time that a module's top binds it, also by `global` in functions."""
    pending: list[tuple[ast.AST, bool]] = [(each, True) for each in tree.body]
    while pending:
        node, at_top = pending.pop()
        if isinstance(node, ast.Global):
            yield from node.names
        elif at_top:
            yield from _names_bound_by(node)
        inside = at_top and not isinstance(node, (*_FUNCTIONS, ast.ClassDef))
        # What a function or class binds is its own; only a statement in it can declare a name global.
        children = ast.iter_child_nodes(node) if inside else _below(node)
        pending += [(child, inside) for child in children]


def _below(node: ast.AST) -> Iterator[ast.AST]:
    for name in _BLOCKS:
        found = getattr(node, name, ())
        yield from found if isinstance(found, list) else ()


def _names_bound_by(node: ast.AST) -> Iterable[str]:
    match node:
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
            return [name]
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            return [each.asname or each.name.partition(".")[0] for each in names]
    return ()


def _initial(value: ast.expr) -> Initial | None:
    match value:
        case ast.Call(func=function, args=arguments, keywords=[]):
            if _MAKES_EMPTY.get(last_name(function) or "") == len(arguments):
                return Initial(dumped(value), empty=True)
        case ast.Dict() | ast.List() | ast.Set():
            with suppress(ValueError, TypeError, RecursionError):  # it is computed
                found = ast.literal_eval(value)
                text = ast.unparse(value)
                return Initial(text, found) if len(text) <= LARGE else None
    return None


# What two versions of a source, and instances of two versions of a class, have in common

FirstValue = str | bytes | None
"""What an attribute is set to: a new "dict", "list" or "set", a literal (pickled), or something else."""


@reads_sources
def is_same_tree(one: bytes, other: bytes) -> bool:
    """Return whether two sources differ in comments, blank lines and layout at most."""
    return dumped(parsed(one)) == dumped(parsed(other))


def dumped(tree: ast.AST) -> str:
    """Return a text that only equal trees have, wherever they stand: on a stack, for depth."""
    found: list[str] = []
    pending: list[Any] = [tree]
    while pending:
        each = pending.pop()
        if isinstance(each, ast.AST):
            found.append(type(each).__name__)
            pending += [getattr(each, name, None) for name in each._fields]
        elif type(each) is list:
            found.append(str(len(each)))
            pending += each
        else:
            # Python writes no integer of thousands of digits.
            found.append(hex(each) if type(each) is int else repr(each))
    return " ".join(found)


@reads_sources
@lru_cache(maxsize=16)
def read_first_values(source: bytes) -> Mapping[int, tuple[tuple[str, FirstValue], ...]]:
    """Return the attributes of its first argument that each function sets outside of branches, by its first line."""
    found = {}
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.FunctionDef) and node.args.args:
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            found[first] = tuple(_assigned(node.body, node.args.args[0].arg))
    return found


def _assigned(body: Iterable[ast.stmt], me: str) -> Iterator[tuple[str, FirstValue]]:
    for statement in body:
        match statement:
            case ast.Assign(targets=[ast.Attribute(value=ast.Name(id=owner), attr=name)], value=value):
                pass
            case ast.AnnAssign(target=ast.Attribute(value=ast.Name(id=owner), attr=name), value=ast.expr() as value):
                pass
            case _:
                continue
        if owner == me:
            yield name, _first_value(value)


def _first_value(value: ast.expr) -> FirstValue:
    match value:
        case ast.Call(func=ast.Name(id="dict" | "list" | "set" as name), args=[], keywords=[]):
            return name
    try:
        return pickle.dumps(ast.literal_eval(value))
    except (ValueError, TypeError, RecursionError, MemoryError):
        return None
