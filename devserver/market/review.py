"""Reads the answers, needs and touches of a mod from elsewhere in its source: none of it runs.

A reading, not a proof: code can hide what it does. It names what an honest author has written, with
file and line, and what is new in an update. Nothing is imported or executed; texts are at most 200
characters long.
"""

from __future__ import annotations

import ast
import difflib
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from devserver.market.package import LONGEST, Package, read_package

SOURCE_LIMIT = 4 * 1024 * 1024
"""The largest source in bytes that is read."""
_ALL_SOURCES_LIMIT = 32 * 1024 * 1024
_MOST_COMPARED = 20_000

NETWORK, FILES, STORAGE, PROCESSES = "network", "files", "storage", "processes"
ENVIRONMENT, CODE, NATIVE, MODS, UNREAD = "environment", "code", "native code", "mods", "not read"

_KINDS = {
    NETWORK: (
        "socket", "ssl", "socketserver", "http.client", "http.server", "urllib.request", "ftplib", "smtplib", "imaplib",
        "poplib", "xmlrpc", "requests", "httpx", "aiohttp", "urllib3", "websockets", "websocket", "grpc", "paramiko",
        "pycurl", "zmq", "nats", "redis", "asyncio.open_connection", "asyncio.start_server",
    ),
    PROCESSES: (
        "subprocess", "multiprocessing", "pty", "os.system", "os.popen", "os.fork", "os.forkpty", "os.kill",
        "os.posix_spawn", "os.execv", "os.execve", "os.execvp", "os.execvpe", "os.execl", "os.execle", "os.execlp",
        "os.spawnv", "os.spawnve", "os.spawnl", "asyncio.create_subprocess_exec", "asyncio.create_subprocess_shell",
        "concurrent.futures.ProcessPoolExecutor",
    ),
    FILES: (
        "open", "io.open", "io.FileIO", "os.open", "os.remove", "os.unlink", "os.rename", "os.replace", "os.mkdir",
        "os.makedirs", "os.rmdir", "os.removedirs", "os.listdir", "os.scandir", "os.walk", "os.link", "os.symlink",
        "os.chmod", "os.truncate", "shutil", "tempfile", "sqlite3", "dbm", "shelve", "glob", "fileinput", "mmap",
    ),
    ENVIRONMENT: ("os.environ", "os.environb", "os.getenv", "os.putenv", "os.unsetenv", "dotenv"),
    CODE: (
        "eval", "exec", "compile", "__import__", "importlib.import_module", "importlib.util", "importlib.machinery",
        "runpy", "pickle", "marshal", "dill", "cloudpickle", "sys.modules", "sys.path", "sys.meta_path", "builtins",
        "sys.settrace", "sys.setprofile", "sys._getframe", "gc.get_objects", "gc.get_referrers",
    ),
    NATIVE: ("ctypes", "cffi", "_ctypes"),
}  # fmt: skip
"""By kind of touch the names that do it; a name includes all below it."""

_TOUCHES = {name: kind for kind, names in _KINDS.items() for name in names}
_BUILT_IN = frozenset({"open", "eval", "exec", "compile", "__import__"})
_OF_PATHS = frozenset({
    "read_text", "read_bytes", "write_text", "write_bytes", "unlink", "rmdir", "mkdir", "iterdir", "rglob",
    "symlink_to", "hardlink_to", "open",
})  # fmt: skip
"""Methods of paths that read or write files."""
_OF_NETWORK = frozenset({"load_mod", "unload_mod", "reload_mod"})
_BY_TEXT = (
    "importlib.import_module", "importlib.resources", "importlib.metadata", "__import__", "pkgutil.get_data",
    "multiprocessing",
)  # fmt: skip
"""Calls that ask for a module by text: they get the first version's, from any version."""


@dataclass(frozen=True, slots=True, order=True)
class Touch:
    """A thing outside that a source touches, and its first place, as `polls/mod.py:31`."""

    kind: str
    what: str
    where: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """The effects of a package, by its sources. `files`: that it installs; `lines` of Python.

    `answers`: the events that it handles; `by_text`: the calls that a second version of it cannot
    serve.
    """

    package: Package
    answers: tuple[str, ...]
    needs: tuple[str, ...]
    touches: tuple[Touch, ...]
    files: int
    lines: int
    native: tuple[str, ...]
    by_text: tuple[Touch, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict, repr=False)

    def touched(self) -> dict[str, list[str]]:
        """Return the touches by kind, as in catalogues: `{"network": ["ssl (mod.py:3)"]}`."""
        return by_kind(self.touches)


def by_kind(touches: Iterable[Touch]) -> dict[str, list[str]]:
    """Return touches as texts, by their kind."""
    found: dict[str, list[str]] = {}
    for each in touches:
        found.setdefault(each.kind, []).append(f"{each.what} ({each.where})")
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The differences of two versions: `+` for new effects, `-` for missing ones."""

    new_answers: tuple[str, ...] = ()
    gone_answers: tuple[str, ...] = ()
    new_needs: tuple[str, ...] = ()
    gone_needs: tuple[str, ...] = ()
    new_touches: tuple[Touch, ...] = ()
    gone_touches: tuple[Touch, ...] = ()
    files: tuple[str, ...] = ()
    added: int = 0
    removed: int = 0
    diff: tuple[str, ...] = field(default=(), repr=False)


def review(what: Path | Package) -> Review:
    """Read the effects of a wheel or a folder of sources. Raises PackageRefused."""
    package = read_package(what) if isinstance(what, Path) else what
    sources, touches = _sources(package)
    answers: list[str] = []
    by_text: list[Touch] = []
    for name, text in sources.items():
        try:
            reader = _Reader(name, _parsed(text))
            touches += reader.touches()
            answers += reader.answers()
            by_text += reader.by_text(package.tops)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            touches.append(Touch(UNREAD, "not readable as Python", f"{name}:1"))
    touches += [Touch(NATIVE, "machine code", each) for each in package.native]
    return Review(
        package=package,
        answers=tuple(sorted(set(answers))),
        needs=package.requires,
        touches=_first_of_each(touches),
        files=len(package.files),
        lines=sum(text.count("\n") + (not text.endswith("\n")) for text in sources.values() if text),
        native=package.native,
        by_text=_first_of_each(by_text),
        sources=sources,
    )


def compared(old: Review, new: Review) -> Difference:
    """Return the differences of `new` from `old`; a touch is the same at any place."""
    before, after = old.package.files, new.package.files
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    diff = tuple(line for name in changed for line in _diff(name, old.sources.get(name), new.sources.get(name)))
    known = {(each.kind, each.what) for each in old.touches}
    kept = {(each.kind, each.what) for each in new.touches}
    return Difference(
        new_answers=_only(new.answers, old.answers),
        gone_answers=_only(old.answers, new.answers),
        new_needs=_only(new.needs, old.needs),
        gone_needs=_only(old.needs, new.needs),
        new_touches=tuple(each for each in new.touches if (each.kind, each.what) not in known),
        gone_touches=tuple(each for each in old.touches if (each.kind, each.what) not in kept),
        files=tuple(changed),
        added=sum(line.startswith("+") and not line.startswith("+++") for line in diff),
        removed=sum(line.startswith("-") and not line.startswith("---") for line in diff),
        diff=diff,
    )


def _only(these: tuple[str, ...], without: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(each for each in these if each not in without)


def _diff(name: str, old: str | None, new: str | None) -> Iterator[str]:
    one, other = (old or "").splitlines(), (new or "").splitlines()
    if max(len(one), len(other)) > _MOST_COMPARED:
        # Comparing costs the product of both.
        yield from (f"--- {name}", f"+++ {name}", "@@ too long to be compared @@")
        return
    yield from difflib.unified_diff(one, other, name, name, lineterm="")


def _sources(package: Package) -> tuple[dict[str, str], list[Touch]]:
    """Return the sources of a package as texts, and the files that are not read."""
    sources: dict[str, str] = {}
    unread: list[Touch] = []
    left = _ALL_SOURCES_LIMIT
    for name, content in sorted(package.files.items()):
        if name.endswith(".pth"):
            unread.append(Touch(CODE, "a .pth file, which Python may execute at its start", f"{name}:1"))
        if name.endswith(".pyc"):
            unread.append(Touch(UNREAD, "compiled code without its source", f"{name}:1"))
        if not name.endswith((".py", ".pyw")):
            continue
        if len(content) > min(SOURCE_LIMIT, left):
            unread.append(Touch(UNREAD, "too large to be read", f"{name}:1"))
            continue
        left -= len(content)
        sources[name] = content.decode("utf-8", "replace")
    return sources, unread


def _parsed(text: str) -> ast.Module:
    with warnings.catch_warnings():
        # Python's warnings about a source are for its author.
        warnings.simplefilter("ignore")
        return ast.parse(text)


def _first_of_each(touches: list[Touch]) -> tuple[Touch, ...]:
    first: dict[tuple[str, str], Touch] = {}
    for each in touches:
        first.setdefault((each.kind, each.what), each)
    return tuple(sorted(first.values()))


class _Reader:
    """Reads one source: the dotted name behind each name in it, and its uses."""

    def __init__(self, name: str, tree: ast.Module) -> None:
        self._name = name
        placed = (each for each in ast.walk(tree) if isinstance(each, ast.expr | ast.stmt))
        self._nodes = sorted(placed, key=lambda each: (each.lineno, each.col_offset))
        self._names = dict(_bound(self._nodes))
        self._texts = dict(_constants(tree))
        self._own = self._of_storage()

    def touches(self) -> Iterator[Touch]:
        """Yield the touches, in the order of lines."""
        for node in self._nodes:
            if isinstance(node, ast.Import | ast.ImportFrom):
                for full in _imported(node):
                    yield from self._touch(node, full)
            elif isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Load):
                yield from self._touch(node, self._full(node))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                yield from self._method(node, node.func)

    def answers(self) -> Iterator[str]:
        """Yield the events of declared handlers; one with a computed name is named by its place."""
        for node in self._nodes:
            if isinstance(node, ast.Call) and _last(node.func) == "mod_event_handler" and node.args:
                yield self._text(node.args[0]) or f"computed at {self._name}:{node.lineno}"

    def by_text(self, tops: frozenset[str]) -> Iterator[Touch]:
        """Yield the calls that ask for the package's own modules by text, so that a second version is not served."""
        for node in self._nodes:
            if not isinstance(node, ast.Call):
                continue
            full = self._full(node.func)
            if full is None or not any(full == each or full.startswith(f"{each}.") for each in _BY_TEXT):
                continue
            asked = self._text(node.args[0]) if node.args else None
            if asked is None or asked.partition(".")[0].replace("-", "_") in tops:
                yield Touch("by text", full, f"{self._name}:{node.lineno}")

    def _touch(self, node: ast.expr | ast.stmt, full: str | None) -> Iterator[Touch]:
        parts = (full or "").split(".")
        for length in range(len(parts), 0, -1):
            known = ".".join(parts[:length])
            if known in _TOUCHES:
                yield Touch(_TOUCHES[known], known, f"{self._name}:{node.lineno}")
                return

    def _method(self, call: ast.Call, method: ast.Attribute) -> Iterator[Touch]:
        where = f"{self._name}:{call.lineno}"
        if method.attr == "get_storage_path":
            yield Touch(STORAGE, "files of its own storage", where)
        elif method.attr in _OF_NETWORK:
            yield Touch(MODS, method.attr, where)
        elif method.attr in _OF_PATHS and self._full(method) is None and not self._is_own(method.value):
            yield Touch(FILES, f"{method.attr} of a path", where)

    def _full(self, node: ast.AST) -> str | None:
        """Return an expression's dotted name, by the imports of the source; None for others."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return None
        first = self._names.get(node.id, node.id if node.id in _BUILT_IN and not parts else "")
        return ".".join([first, *reversed(parts)]) if first else None

    def _of_storage(self) -> frozenset[str]:
        """Return the names, as written, that hold paths below the mod's own storage."""
        own: set[str] = set()
        for node in self._nodes:
            if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
                written = ast.unparse(node.value)
                if "get_storage_path(" in written or _root(node.value) in own:
                    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                    own |= {ast.unparse(each) for each in targets}
        return frozenset(own)

    def _is_own(self, node: ast.expr) -> bool:
        return "get_storage_path(" in ast.unparse(node) or _root(node) in self._own

    def _text(self, node: ast.expr) -> str | None:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return node.value[:LONGEST]
        return self._texts.get(node.id) if isinstance(node, ast.Name) else None


def _bound(nodes: list[ast.expr | ast.stmt]) -> Iterator[tuple[str, str]]:
    """Return the names that imports bind, with their meaning: none for its own package's."""
    for node in nodes:
        if isinstance(node, ast.Import):
            for each in node.names:
                yield (each.asname, each.name) if each.asname else (each.name.partition(".")[0],) * 2
        elif isinstance(node, ast.ImportFrom):
            before = f"{node.module}." if node.module and not node.level else ""
            yield from ((each.asname or each.name, before and before + each.name) for each in node.names)


def _imported(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (each.name for each in node.names)
    elif node.module and not node.level:
        yield from (f"{node.module}.{each.name}" for each in node.names)


def _constants(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Return the names at the top level of a source that stand for a text."""
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=str(text))):
                yield name, text[:LONGEST]


def _root(node: ast.expr) -> str:
    """Return the first name of an expression, as written: `self.file` of `self.file / "x"`."""
    while True:
        match node:
            case ast.BinOp(left=left):
                node = left
            case ast.Call(func=ast.Attribute(value=value)) | ast.Subscript(value=value):
                node = value
            case ast.Attribute(value=ast.Name()) | ast.Name():
                return ast.unparse(node)
            case ast.Attribute(value=value):
                node = value
            case _:
                return ""


def _last(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
