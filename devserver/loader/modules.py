"""The watched modules that are loaded, in sets, each with all that it was made from.

A `ModuleSet` is immutable: a generation runs on the set that it was built in, and its code goes on
importing from that set after its successor has taken its place. Python's table, `sys.modules`,
shows the current set; only this file writes watched modules into it and takes them out. Plans read
here (`graph`, `sources`); the finder writes here while modules are executed, on any thread.
Executes nothing.
"""

from __future__ import annotations

import linecache
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from importlib.util import decode_source
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from devserver.loader.changes import ProcessChanges
from devserver.loader.libraries import names_in
from devserver.loader.lines import Lines, line_of
from devserver.loader.scope import scope_in
from devserver.model.change import Digest, Sources
from devserver.sources.graph import ModuleFacts, ModuleGraph, read_imports
from devserver.sources.imports import Imports, ancestors
from devserver.sources.large import code_of, is_large


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading of a source file: its bytes, and their digest."""

    path: Path
    data: bytes
    digest: Digest


@dataclass(frozen=True, slots=True)
class Text(Reading):
    """A reading with the code compiled from exactly these bytes."""

    code: CodeType


@dataclass(slots=True)
class Loaded:
    """One watched module in its loaded version.

    `exported` is the object in Python's table: the module, or its own replacement. `seen` are
    imports of it that ran; `absent` places where a module was not found on behalf of this one;
    `reads` data files that it opened; `untouched` its containers that importing left as the source
    says; `context` the context variables that executing it has set; `changes` its changes of the
    process.
    """

    name: str
    path: Path
    module: ModuleType
    text: Text
    package: bool
    order: int
    seen: set[str] = field(default_factory=set)
    absent: set[Path] = field(default_factory=set)
    reads: dict[Path, Digest | None] = field(default_factory=dict)
    untouched: frozenset[str] = frozenset()
    context: Mapping[ContextVar[Any], Any] = field(default_factory=dict)
    changes: ProcessChanges = field(default_factory=ProcessChanges)
    exported: Any = None
    _imports: frozenset[str] | None = field(default=None, init=False, repr=False)
    _names: frozenset[str] | None = field(default=None, init=False, repr=False)
    _near: frozenset[str] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self.exported = self.module

    @property
    def names(self) -> frozenset[str]:
        """The names that its code uses."""
        if self._names is None:
            self._names = names_in(self.text.code)
        return self._names

    @property
    def near(self) -> frozenset[str]:
        """The full names that the names in its code may stand for, from its place: relative imports
        name a module by its last part alone."""
        if self._near is None:
            places = ("", *(f"{each}." for each in (*ancestors(self.name), self.name)))
            found = [f"{place}{used}" for used in self.names for place in places]
            line = line_of(self.name)
            self._near = frozenset(found if line is None else [line.meant(each) or each for each in found])
        return self._near

    @property
    def imports(self) -> frozenset[str]:
        """The imports that its source names, read on demand, and those that ran beside these.

        Reading takes as long as executing many a module, and is not needed before the module
        serves.
        """
        if self._imports is None:
            try:
                found = read_imports(self.text.data, self.name, self.package)
            except SyntaxError:
                found = Imports()  # Python compiles some sources that it cannot parse into a tree; `seen` has what ran
            line = line_of(self.name)
            named = {*found.eager, *found.lazy}
            if line is not None:
                named = {line.meant(each) or each for each in named}
            self._imports = frozenset(named - {self.name})
        return self._imports | self.seen

    def facts(self) -> ModuleFacts:
        """Return its facts for the graph of imports."""
        return ModuleFacts(self.name, self.path, self.imports, self.order)

    def sources(self) -> dict[Path, Digest | None]:
        """Return everything that this module was made from."""
        return {self.path: self.text.digest, **dict.fromkeys(self.absent), **self.reads}


def compile_text(path: Path, data: bytes, digest: Digest) -> Text:
    """Compile a source from its bytes, whose digest is known, never from a cache.

    Raises SyntaxError, also for NUL bytes: for those Python raises ValueError before 3.11.4, and later names no line.
    """
    if (place := data.find(0)) >= 0:
        before = data[:place]
        column = place - before.rfind(b"\n")
        raise SyntaxError("source code cannot contain null bytes", (str(path), before.count(b"\n") + 1, column, None))
    return Text(path, data, digest, code_of(data, str(path)))


class ModuleSet(Mapping[str, Loaded]):
    """Modules by name that belong together. Immutable."""

    __slots__ = ("_members",)

    def __init__(self, members: Mapping[str, Loaded]) -> None:
        self._members = dict(members)

    def __getitem__(self, name: str) -> Loaded:
        return self._members[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)


class LoadedModules:
    """All watched modules of one network, by name, with an index from sources to modules. The cost
    of one change depends on the modules that it concerns, not on their total number."""

    def __init__(self) -> None:
        self.lines = Lines()
        self._loaded: dict[str, Loaded] = {}
        self._current: ModuleSet | None = ModuleSet({})
        """The value of `current`, until something changes."""
        self.bound: dict[str, str] = {}
        """The modules that make an object bound to one thread, with it and its place, in words."""
        self._has_context = False
        self.tops: set[str] = set()
        """The first parts of the names of all watched modules so far."""
        self._placed: set[str] = set()
        """The names of all watched modules so far: what lies in a package is imported after it."""
        self._users: dict[Path, dict[str, Digest | None]] = {}
        self._lock = threading.RLock()
        self._ahead: dict[Path, Text] = {}
        """Saved sources that were compiled before a plan asked for them."""
        self._counter = 0
        self._graph = ModuleGraph()
        self._closures: dict[str, frozenset[str]] = {}
        self._altered: set[str] = set()
        """The modules of which the graph may be incomplete."""

    def __contains__(self, name: str) -> bool:
        return name in self._loaded

    def get(self, name: str) -> Loaded | None:
        return self._loaded.get(name)

    def text_of(self, path: Path, digest: Digest) -> Text | None:
        """Return the reading that a loaded module was made from, if of this source in this form."""
        with self._lock:
            readings = (self._loaded[name].text for name in self._users.get(path, ()) if name in self._loaded)
            return next((each for each in readings if each.path == path and each.digest == digest), None)

    def compile_ahead(self, path: Path, data: bytes, digest: Digest) -> None:
        """Compile the saved source of a loaded module, while the files that are saved with it are waited
        for. For any thread; an error comes again when the source is needed.

        A large one waits for its plan: the next save shall not wait for it.
        """
        with self._lock:
            is_needed = not is_large(data) and any(
                self._loaded[name].path == path for name in self._users.get(path, ())
            )
        if is_needed:
            with suppress(Exception):
                self._ahead[path] = compile_text(path, data, digest)

    def compiled(self, path: Path, data: bytes, digest: Digest) -> Text:
        """Return a reading of a source with its code. Raises as `compile_text`."""
        ahead = self._ahead.pop(path, None)
        return ahead if ahead is not None and ahead.digest == digest else compile_text(path, data, digest)

    def place(self, name: str, module: ModuleType, text: Text, package: bool) -> Loaded:
        """Note that `module` is executed from `text` next, in the order of its first import."""
        with self._lock:
            before = self._loaded.get(name)
            self._counter += before is None
            order = self._counter if before is None else before.order
            self.tops.add(name.partition(".")[0])
            loaded = Loaded(name, text.path, module, text, package=package, order=order)
            self._set(name, loaded)
        if package and name in self._placed:
            bind_namespaces(module)
        self._placed.add(name)
        return loaded

    def put(self, entries: Mapping[str, Loaded | None]) -> None:
        """Make these entries the loaded ones; None removes a name."""
        with self._lock:
            for name, loaded in entries.items():
                self._set(name, loaded)

    def note_import(self, importer: str, imported: str) -> None:
        """Remember an import that only its execution showed."""
        with self._lock:
            loaded = self._loaded.get(importer)
            if loaded is not None and imported not in loaded.seen and imported != importer:
                loaded.seen.add(imported)
                self._altered.add(importer)

    def note_absent(self, importer: str, paths: Iterable[Path]) -> None:
        """Remember places where a module was not found."""
        with self._lock:
            loaded = self._loaded.get(importer)
            if loaded is not None:
                for path in paths:
                    loaded.absent.add(path)
                    self._users.setdefault(path, {})[importer] = None

    def note_read(self, reader: str, path: Path, digest: Digest | None) -> None:
        """Remember a data file that a module opened while it was executed, as it was the first time."""
        with self._lock:
            loaded = self._loaded.get(reader)
            if loaded is not None:
                # It was made from its executed source, whatever has been saved since.
                first = loaded.text.digest if path == loaded.path else loaded.reads.setdefault(path, digest)
                loaded.reads[path] = first
                self._users.setdefault(path, {})[reader] = first

    def note_context(self, loaded: Loaded, values: Mapping[ContextVar[Any], Any]) -> None:
        """Remember the context variables that executing a module has set."""
        loaded.context = values
        self._has_context = self._has_context or bool(values)

    def context_of(self, name: str) -> Mapping[ContextVar[Any], Any]:
        """Return the context variables that a module and its needs have set; its own win."""
        if not self._has_context:
            return {}
        with self._lock:
            around = sorted(self.around(name), key=lambda each: (each.name == name, each.order))
            return {variable: value for each in around for variable, value in each.context.items()}

    def graph(self) -> ModuleGraph:
        """Return the graph of imports among the watched modules."""
        with self._lock:
            if any(self._is_other(name) for name in self._altered):
                self._closures.clear()
                self._graph = ModuleGraph({each.name: each.facts() for each in self._loaded.values()})
            self._altered.clear()
            return self._graph

    def names_around(self, name: str) -> frozenset[str]:
        """Return the names that the code of a module and of those that it needs uses."""
        with self._lock:
            near = self._loaded[name].near if name in self._loaded else frozenset()
            return near.union(*(each.names for each in self.around(name)))

    def codes_around(self, name: str) -> list[CodeType]:
        """Return the code of a module and of those that it needs."""
        with self._lock:
            return [each.text.code for each in self.around(name)]

    def around(self, name: str) -> list[Loaded]:
        """Return a module and those that it needs. The imports of a module during its execution
        have not been read yet: it counts as needing all that it names."""
        if name not in self._loaded:
            return []
        near = [name, *(self._named(self._loaded[name]) if name in self._altered else ())]
        needed = {each for one in near for each in (one, *self._closure(one))}
        return [self._loaded[each] for each in needed if each in self._loaded]

    def _closure(self, name: str) -> frozenset[str]:
        # The same for all modules of one build, each of which asks for those of many others.
        if name not in self._closures:
            self._closures[name] = self._graph.closure(name)
        return self._closures[name]

    def _named(self, loaded: Loaded) -> list[str]:
        """Yield the loaded modules that a module may name, and those that it has imported."""
        return [each for each in (*loaded.near, *loaded.seen) if each in self._loaded]

    def _is_other(self, name: str) -> bool:
        loaded = self._loaded.get(name)
        return self._graph.get(name) != (None if loaded is None else loaded.facts())

    @property
    def current(self) -> ModuleSet:
        """The set of modules that Python's table shows."""
        with self._lock:
            if self._current is None:
                self._current = ModuleSet(self._loaded)
            return self._current

    def show_lines(self, names: Iterable[str]) -> None:
        """Let tracebacks show the lines of the code that runs, whatever is on disk."""
        for name in names:
            loaded = self._loaded.get(name)
            if loaded is not None:
                data = loaded.text.data
                lines = decode_source(data).splitlines(keepends=True)
                # Without a time, which tells Python not to compare it with the file.
                linecache.cache[str(loaded.path)] = (len(data), None, lines, str(loaded.path))

    def sources(self, names: Iterable[str] | None = None) -> dict[Path, Digest | None]:
        """Return the sources of the named modules (of all, when none are named)."""
        with self._lock:
            chosen = self._loaded.values() if names is None else [self._loaded[n] for n in names if n in self._loaded]
            return {path: digest for each in chosen for path, digest in each.sources().items()}

    @property
    def digests(self) -> Sources:
        """Return the digests of all modules, as a view that costs nothing to make."""
        return _Digests(self._users, self.lines)

    def stale(self, now: Sources) -> dict[str, Path]:
        """Return the modules whose source differs from `now`, with its path; never pinned ones."""
        with self._lock:
            found = {
                name: path
                for path, digest in now.items()
                for name, used in self._users.get(path, {}).items()
                if used != digest
            }
        if not self.lines.pins:
            return found
        return {name: path for name, path in found.items() if self.lines.pin_of(name) is None}

    # Python's table

    def take_out(self, names: Iterable[str]) -> ModuleSet:
        """Take modules out of Python's table, so that they can be executed again; return the set
        that they belonged to.

        Their own code goes on importing from that set.
        """
        before = self.current
        for name in names:
            loaded = before.get(name)
            if loaded is not None and _taken(name) is not None:
                _pin(loaded, before)
        return before

    def put_back(self, names: Iterable[str], before: ModuleSet) -> None:
        """Restore `before` under these names exactly, in Python's table too."""
        chosen = list(dict.fromkeys(names))
        for name in chosen:
            now = self._loaded.get(name)
            if now is not None and now is not before.get(name) and sys.modules.get(name) is now.exported:
                unbind(name, _taken(name))
        self.put({name: before.get(name) for name in chosen})
        for name in chosen:
            loaded = before.get(name)
            if loaded is not None:
                _pin(loaded, None)
                sys.modules[name] = loaded.exported
                bind(name, loaded.exported)

    def show(self) -> None:
        """Make Python's table show the current set, after others have written into it."""
        for name, loaded in self.current.items():
            if sys.modules.get(name) is not loaded.exported:
                sys.modules[name] = loaded.exported
                bind(name, loaded.exported)

    def forget(self, names: Iterable[str]) -> None:
        """Take modules out for good. What still runs of them imports the modules that it had."""
        with self._lock:
            before = self.current
            for name in names:
                loaded = before.get(name)
                self._set(name, None)
                if loaded is None:
                    continue
                _pin(loaded, before)
                loaded.changes.end()
                if sys.modules.get(name) is loaded.exported:
                    unbind(name, _taken(name))
                    drop_empty_namespaces(name)

    def _set(self, name: str, loaded: Loaded | None) -> None:
        self._current = None
        before = self._loaded.pop(name, None)
        if before is not None:
            for path in before.sources():
                self._users.get(path, {}).pop(name, None)
                if not self._users.get(path, True):
                    del self._users[path]
        if loaded is not None:
            self._loaded[name] = loaded
            for path, digest in loaded.sources().items():
                self._users.setdefault(path, {})[name] = digest
        self._altered.add(name)


class _Digests(Mapping[Path, Digest | None]):
    """Each source with the digest of the loaded module."""

    def __init__(self, users: Mapping[Path, Mapping[str, Digest | None]], lines: Lines) -> None:
        self._users = users
        self._lines = lines

    def __getitem__(self, path: Path) -> Digest | None:
        users = self._users[path]
        # The code of a pinned mod is older than the source of its line, and is not compared.
        free = (each for each in users if self._lines.pin_of(each) is None) if self._lines.pins else iter(users)
        for name in (*free, *users):
            return users[name]
        raise KeyError(path)

    def __contains__(self, path: object) -> bool:
        return path in self._users

    def __iter__(self) -> Iterator[Path]:
        return iter(list(self._users))

    def __len__(self) -> int:
        return len(self._users)


def _pin(loaded: Loaded, modules: ModuleSet | None) -> None:
    """Let the code of a module import from this set; None: from Python's table, as current code."""
    scope = scope_in(vars(loaded.module))
    if scope is not None:
        scope.own = modules


def _taken(name: str) -> Any:
    """Take a module out of Python's table and return it; None for none. The file of its name is
    forgotten where `inspect` keeps it: the next module of that name may have another, or none."""
    if (found := sys.modules.get("inspect")) is not None:
        tables = vars(found)
        tables.get("modulesbyfile", {}).pop(tables.get("_filesbymodname", {}).pop(name, None), None)
    return sys.modules.pop(name, None)


def bind(name: str, module: Any) -> None:
    """Make `module` the attribute of its parent package that `from parent import name` finds."""
    parent, _, child = name.rpartition(".")
    if parent in sys.modules:
        setattr(sys.modules[parent], child, module)


def unbind(name: str, module: Any) -> None:
    """Undo `bind`, if the attribute still is this module."""
    parent, _, child = name.rpartition(".")
    owner = sys.modules.get(parent)
    if owner is not None and owner.__dict__.get(child) is module:
        delattr(owner, child)


def bind_namespaces(package: ModuleType) -> None:
    """Give a fresh package the packages without a source that lie in it: they stay unexecuted."""
    inside = f"{package.__name__}."
    for name in [each for each in list(sys.modules) if each.startswith(inside)]:
        found = sys.modules.get(name)
        if isinstance(found, ModuleType) and hasattr(found, "__path__") and getattr(found, "__file__", None) is None:
            parent, _, child = name.rpartition(".")
            if parent == package.__name__:
                setattr(package, child, found)


def drop_empty_namespaces(name: str) -> None:
    """Forget the packages without a source around a module, once none of their modules is loaded.
    Another network's modules may lie in a folder of the same name."""
    for parent in reversed(ancestors(name)):
        module = sys.modules.get(parent)
        is_namespace = module is not None and getattr(module, "__file__", None) is None and hasattr(module, "__path__")
        inside = f"{parent}."
        if not is_namespace or any(each.startswith(inside) for each in list(sys.modules)):
            return
        unbind(parent, sys.modules.pop(parent))
