"""Imports watched modules: finds them on disk each time, and executes the hashed bytes.

Python's own path finder caches directory listings, and its loader takes a `.pyc` whose stamp has a
resolution of one second; both serve stale code after a quick save. This finder asks the disk and
compiles.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import linecache
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import copy_context
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any

from devserver.errors import ModRefused
from devserver.loader import scope
from devserver.loader.changes import recording, recording_owner
from devserver.loader.lines import candidates as candidates_of_line
from devserver.loader.lines import line_of, plain_part
from devserver.loader.modules import Loaded, LoadedModules, Text, compile_text
from devserver.loader.named import Before, look
from devserver.loader.reads import leave_threads, watch_threads
from devserver.loader.refused import Attempt
from devserver.loader.scope import Scope
from devserver.model.change import Digest
from devserver.sources.files import LISTING, digest_of, read_bytes
from devserver.sources.roots import REFUSED, Roots


@dataclass(slots=True)
class Execution:
    """The modules that one build executes, on its own thread: the readings to use instead of the
    disk, and the results.

    `touched` holds every source that was opened, with its digest, so that a failure can be retried
    when one changes.
    """

    thread: int = field(default_factory=threading.get_ident)
    texts: dict[Path, Text] = field(default_factory=dict)
    executed: dict[str, Loaded] = field(default_factory=dict)
    touched: dict[Path, Digest | None] = field(default_factory=dict)
    abandoned: bool = False
    entries: dict[str, bool] = field(default_factory=dict)
    """The folders that an import has searched, each with whether sources may lie there."""
    found: dict[str, importlib.machinery.ModuleSpec] = field(default_factory=dict)
    """The specs that `importlib.reload` is about to ask for once more."""
    unpinned: str = ""
    """The plain name of a pinned mod that is made from other sources nevertheless."""
    named: dict[str, Before] = field(default_factory=dict)
    """By module, the data files that its source names, as they were before it ran."""
    reread: set[str] = field(default_factory=set)
    """The modules whose errors show other lines than the code that runs has."""

    def forget_lines(self, module: str, path: Path) -> None:
        """Let a module's error show its new source; `show_lines` restores that of running code."""
        linecache.cache.pop(str(path), None)
        self.reread.add(module)


class Abandoned(BaseException):
    """Ends an abandoned build's code. Not an Exception: that code must not continue."""


class WatchedFinder(importlib.abc.MetaPathFinder):
    """Finds modules below the roots."""

    def __init__(self, roots: Roots, modules: LoadedModules) -> None:
        self._roots = roots
        self.modules = modules
        self._executions: dict[int, Execution] = {}
        self._short: dict[str, str] = {}
        """The short names that are in Python's table, each with its module."""
        self.directory = os.getcwd()
        """The folder that mods' paths start from, whatever handlers change to: as at a start."""
        self._inside = f"{roots.workspace}{os.sep}"

    @contextmanager
    def executing(self, execution: Execution) -> Iterator[None]:
        """Let the imports of this thread belong to a build, until the block ends."""
        self._executions[execution.thread] = execution
        try:
            yield
        finally:
            del self._executions[execution.thread]

    @property
    def hangs(self) -> bool:
        """Whether an abandoned build still runs in its thread. May be asked from any thread."""
        return any(each.abandoned for each in self._executions.copy().values())

    def execution(self) -> Execution | None:
        """Return the build that runs on this thread, or None. Handlers import lazily on theirs at
        the same time. Raises Abandoned if the build was abandoned."""
        running = self._executions.get(threading.get_ident())
        if running is not None and running.abandoned:
            raise Abandoned
        return running

    def watches(self, path: Path) -> bool:
        """Return whether a path is a place for sources of mods."""
        return self._roots.holds(path)

    def watches_data(self, path: Path) -> bool:
        """Return whether a path is a place for data of mods; the whole workspace is not."""
        lists_all = path.name == LISTING and path.parent == self._roots.workspace
        return not lists_all and self._roots.holds_data(path)

    def shown(self, file: str) -> str:
        """Return a path as people read it: relative to the workspace if it lies in it."""
        return self._roots.shown(Path(file))

    @property
    def workspace(self) -> Path:
        """The folder of network.yaml."""
        return self._roots.workspace

    def install(self) -> None:
        """Start finding. On the import path the workspace follows the standard library."""
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)
            watch_threads()
            scope.install()
        workspace = str(self._roots.workspace)
        if workspace not in sys.path:
            installed = (n for n, each in enumerate(sys.path) if each.endswith(("site-packages", "dist-packages")))
            sys.path.insert(next(installed, len(sys.path)), workspace)

    def remove(self) -> None:
        """Stop finding, and restore the import path."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)
            leave_threads()
            scope.remove()
        self.drop_short_names()
        workspace = str(self._roots.workspace)
        if workspace in sys.path:
            sys.path.remove(workspace)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the spec of a watched module, or None: Python's other finders look then."""
        if path is None and fullname in sys.stdlib_module_names:
            return None
        running = self.execution()
        if running is not None and target is not None and (found := running.found.pop(fullname, None)) is not None:
            return found
        importer = self.importer()
        meant = self._meant_by(fullname, importer, is_top=path is None)
        if meant is not None:
            self._short[fullname] = meant
            return importlib.machinery.ModuleSpec(fullname, ShortName(meant, importer, self))
        missing: list[Path] = []
        folder = self.modules.lines.folders.get(fullname)
        places = _candidates(fullname, self._entries(path)) if folder is None else candidates_of_line(fullname, folder)
        for candidate, package in places:
            # A source that a build goes back to may be gone from disk.
            is_there = os.path.isfile(candidate) or (running is not None and candidate in running.texts)
            if is_there and self._roots.holds(candidate):
                self._note(importer, fullname, missing)
                return self._spec(fullname, candidate, package)
            missing.append(candidate)
        if folder is not None and (place := folder / plain_part(fullname)).is_dir():
            # A package without a source, which belongs to the mod of its modules.
            spec = importlib.machinery.ModuleSpec(fullname, None, is_package=True)
            spec.submodule_search_locations = [str(place)]
            return spec
        if missing and (path is not None or _nobody_has(fullname)):
            self._note(importer, None, missing)
        return None

    def places(self, fullname: str) -> Iterator[Path]:
        """Return where a missing module may appear: also as a package in a folder to come."""
        parts = fullname.split(".")
        if fullname in sys.modules or parts[0] in sys.stdlib_module_names or parts[-1] == "*":
            return
        known = next((n for n in range(len(parts) - 1, 0, -1) if ".".join(parts[:n]) in sys.modules), 0)
        package = sys.modules[".".join(parts[:known])] if known else None
        if package is not None and not hasattr(package, "__path__"):
            return
        for entry in self._entries(None if package is None else list(package.__path__)):
            folder = Path(entry, *parts[known:-1])
            yield from (path for path, _ in _candidates(parts[-1], [str(folder)]) if self._roots.holds(path))

    def full_name(self, importer: str, name: str, fromlist: Sequence[str]) -> str:
        """Return the full name of a module in `mods/`: `mods.my_mod.x` for `my_mod.x`.

        OpenAgents has that folder itself on the import path. Modules that Python finds under the
        short name come first.
        """
        top = name.partition(".")[0]
        if not self._is_short(top, importer) or self._means_another(name, importer):
            return name
        for each in (name, *(f"{name}.{item}" for item in fromlist)):
            self.modules.note_import(importer, f"mods.{each}")
        return f"mods.{name}"

    def _is_short(self, top: str, importer: str) -> bool:
        is_taken = top in sys.modules and top not in self._short
        if not importer.startswith("mods.") or is_taken or top in sys.stdlib_module_names:
            return False
        place = self._roots.workspace / "mods" / top
        return (place.is_dir() or place.with_suffix(".py").is_file()) and _nobody_has(top)

    def _means_another(self, name: str, importer: str) -> bool:
        """Return whether a module named like a package asks for it: it cannot mean itself."""
        top = name.partition(".")[0]
        return importer.partition("@")[0] == f"mods.{top}" and not (self._roots.workspace / "mods" / top).is_dir()

    def _meant_by(self, name: str, importer: str | None, *, is_top: bool) -> str | None:
        """Return the module that a short name stands for where `importlib` asks for it."""
        top = name.partition(".")[0]
        if importer is None or not (top in self._short or (is_top and self._is_short(top, importer))):
            return None
        return None if is_top and self._means_another(name, importer) else f"mods.{name}"

    def drop_short_names(self) -> None:
        """Take short names out of Python's table: they are about to stand for another module."""
        for name, meant in list(self._short.items()):
            found = sys.modules.get(name)
            if getattr(found, "__name__", meant) == meant:
                sys.modules.pop(name, None)
        self._short.clear()

    def imported(self, name: str, fromlist: Sequence[str]) -> None:
        """Let an executing module see context variables of one that it has just imported.

        Also if that was executed before, in a build of its own.
        """
        if not self._executions or self.execution() is None:
            return
        for each in (name, *(f"{name}.{item}" for item in fromlist)):
            for variable, value in self.modules.context_of(each).items():
                if variable.get(_UNSET) is _UNSET:
                    variable.set(value)

    def is_own(self, name: str) -> bool:
        """Return whether a name is that of a mod's module rather than of a library."""
        return name.partition(".")[0] in self.modules.tops

    def text(self, path: Path, module: str) -> Text:
        """Return the reading of a source to execute: the running build's, else a new one."""
        running = self.execution()
        pinned = self._pinned(path, module, running)
        if pinned is not None:
            return pinned
        if running is not None and path in running.texts:
            return running.texts[path]
        data = read_bytes(path)
        if data is None:
            raise ImportError(f"{self._roots.shown(path)} is gone", path=str(path))
        digest = digest_of(data)
        if running is not None:
            running.touched[path] = digest
        # A module that is executed again only because of another one is compiled already.
        text = self.modules.text_of(path, digest)
        if text is None:
            if running is not None:
                running.forget_lines(module, path)
            text = compile_text(path, data, digest)
        if running is not None:
            running.texts[path] = text
        return text

    def _pinned(self, path: Path, module: str, running: Execution | None) -> Text | None:
        """Return the reading that a module of a pinned mod keeps, or None for others."""
        pins = self.modules.lines.pins
        data = self.modules.lines.pin_of(module) if pins else None
        unpinned = "" if running is None else running.unpinned
        if data is None or path not in data or (unpinned and f"{module}.".startswith(f"{unpinned}.")):
            return None
        digest = digest_of(data[path])
        return self.modules.text_of(path, digest) or compile_text(path, data[path], digest)

    def check_place(self, path: Path) -> None:
        """Raise ModRefused for a source that must not be executed, because others may have written it."""
        refused = self._roots.why_refused(path)
        if refused is not None:
            running = self.execution()
            if running is not None:
                running.touched[path] = REFUSED
            raise ModRefused(f"{self._roots.shown(path)} is not executed: {refused}")

    def _entries(self, path: Sequence[str] | None) -> list[str]:
        if path is None:
            workspace, *others = self._roots.entries
            # A folder of the workspace that a mod put on the import path may have sources.
            added = [each for each in sys.path if self._is_added(each)]
            return [*added, str(workspace), *map(str, others)]
        return [each for each in path if self._holds_entry(each)]

    def _holds_entry(self, entry: str) -> bool:
        """Return whether sources may lie in a folder; asked once a build, as folders are few."""
        running = self.execution()
        known = {} if running is None else running.entries
        if entry not in known:
            known[entry] = self._roots.holds_in(entry)
        return known[entry]

    def _is_added(self, entry: str) -> bool:
        """Return whether an entry of the import path lies in the workspace, or an asked root."""
        asked = any(entry == each or entry.startswith(f"{each}{os.sep}") for each in self._roots.asked)
        return (asked or entry.startswith(self._inside)) and self._holds_entry(entry)

    def _spec(self, fullname: str, path: Path, package: bool) -> importlib.machinery.ModuleSpec:
        # A text of its own, by which classes are known to be of this execution (`successor`).
        fullname = fullname[:1] + fullname[1:]
        loader = HashedSourceLoader(fullname, path, self)
        spec = importlib.util.spec_from_file_location(
            fullname, path, loader=loader, submodule_search_locations=[str(path.parent)] if package else None
        )
        if spec is None:
            raise ImportError(f"no spec for {fullname} at {path}", name=fullname, path=str(path))
        spec.cached = None
        # As Python does: other threads that ask for the module wait until it is complete.
        spec._initializing = True  # type: ignore[attr-defined]
        return spec

    def _note(self, importer: str | None, found: str | None, missing: list[Path]) -> None:
        running = self.execution()
        if running is not None:
            running.touched.update(dict.fromkeys(missing))
        if importer is not None:
            self.modules.note_absent(importer, missing)
            if found is not None:
                self.modules.note_import(importer, found)

    def importer(self) -> str | None:
        """Return the watched module whose code asks for an import: the nearest one on the stack."""
        for name in module_names_on_stack():
            if name in self.modules:
                return name
        return None


class ShortName(importlib.abc.Loader):
    """Makes `my_mod.x` a second name of `mods.my_mod.x` in Python's table, for one object."""

    def __init__(self, meant: str, importer: str | None, finder: WatchedFinder) -> None:
        self._meant = meant
        self._importer = importer
        self._finder = finder

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        """Leave it to Python to make a module, which `exec_module` replaces."""

    def exec_module(self, module: ModuleType) -> None:
        """Replace this module by the one that is meant."""
        if self._importer is not None:
            self._finder.modules.note_import(self._importer, self._meant)
        sys.modules[module.__name__] = importlib.import_module(self._meant)


class HashedSourceLoader(importlib.machinery.SourceFileLoader):
    """Executes a module from hashed bytes, in a scope of its own. Data files are found as usual."""

    def __init__(self, fullname: str, path: Path, finder: WatchedFinder) -> None:
        super().__init__(fullname, str(path))
        self._finder = finder
        self.executed: Text | None = None

    def get_code(self, fullname: str) -> CodeType:
        """Return the code of the module's bytes on disk, never of a `.pyc`."""
        return self._finder.text(Path(self.path), fullname).code

    def names(self) -> frozenset[str]:
        """Return the names that the code of this module and of those that it needs uses."""
        return self._finder.modules.names_around(self.name)

    def code(self) -> list[CodeType]:
        """Return the code of this module alone, once it is executed."""
        return [] if self.executed is None else [self.executed.code]

    def codes(self) -> list[CodeType]:
        """Return the code of these modules."""
        return self._finder.modules.codes_around(self.name)

    def text(self) -> bytes:
        """Return the source of this module alone."""
        return b"" if self.executed is None else self.executed.data

    def exec_module(self, module: ModuleType) -> None:
        """Execute the module's source in its own scope, and note it among the loaded ones."""
        finder = self._finder
        running = finder.execution()
        finder.check_place(Path(self.path))
        self.executed = text = finder.text(Path(self.path), module.__name__)
        package = hasattr(module, "__path__")
        loaded = finder.modules.place(module.__name__, module, text, package)
        if not package:
            # A fresh start would import a folder of the same name.
            finder.modules.note_absent(module.__name__, [text.path.with_suffix("") / "__init__.py"])
        if running is not None:
            running.executed[module.__name__] = loaded
            loaded.changes.attempt = Attempt()
            if (named := look(text.data, text.path, finder.workspace)) is not None:
                running.named[module.__name__] = named
        if module.__spec__ is not None:
            module.__spec__.loader_state = Scope(finder, loaded.changes.started, line_of(module.__name__))
        before = copy_context()
        try:
            # Code without a name, as that of most packages, reaches nothing outside of its module; an outer
            # recording has to hear of the module nevertheless.
            is_inert = loaded.names <= _SELF_MADE and recording_owner() is None
            with nullcontext() if is_inert else recording(loaded.changes, self):
                exec(text.code, module.__dict__)
            now = copy_context().items()
            finder.modules.note_context(loaded, {each: it for each, it in now if before.get(each, _UNSET) is not it})
            spec = module.__spec__
            if spec is not None and running is not None:
                spec._initializing = False  # type: ignore[attr-defined]
            loaded.exported = sys.modules.get(module.__name__, module)
        except BaseException:
            # The importing module may catch the error: it depends on this file nevertheless.
            importer = finder.importer()
            loaded.changes.end()
            if finder.modules.get(module.__name__) is loaded:
                finder.modules.put({module.__name__: None})
            if importer is not None:
                finder.modules.note_read(importer, text.path, text.digest)
            raise


_SELF_MADE = frozenset({"__doc__"})
"""Names that code has although its author has written none."""


_UNSET = object()


# Python's own locks on modules that are being imported


def release_locks(modules: Iterable[str]) -> None:
    """Let others import these modules, although a thread that hangs is still importing them."""
    # Private names. Otherwise the next import would wait for the hanging one, or get its module.
    locks: dict[str, object] = vars(importlib)["_bootstrap"]._module_locks
    reloading: dict[str, object] = vars(importlib)["_RELOADING"]
    for name in list(modules):
        locks.pop(name, None)
        reloading.pop(name, None)


def take_names(modules: Iterable[ModuleType]) -> None:
    """Have the imports of these modules, which a thread may end much later, leave Python's table unchanged."""
    for module in modules:
        if module.__spec__ is not None:
            # Python takes out what has failed by this name: that would be a later module.
            module.__spec__.name = f"{module.__spec__.name} (given up)"


def import_lock(name: str) -> AbstractContextManager[Any]:
    """Keep imports of a module on other threads waiting."""
    return vars(importlib)["_bootstrap"]._ModuleLockManager(name)  # type: ignore[no-any-return]


def wait_for_import(name: str) -> None:
    """Wait until a module that another thread is importing is complete. Blocks."""
    spec = getattr(sys.modules.get(name), "__spec__", None)
    if getattr(spec, "_initializing", False):
        vars(importlib)["_bootstrap"]._lock_unlock_module(name)


def is_importing_library(stack: Sequence[FrameType], is_own: Callable[[str], bool]) -> bool:
    """Return whether what runs below the innermost line of mods is a library's import."""
    for frame in reversed(stack):
        file = frame.f_code.co_filename
        if is_own(file):
            return False
        if file.startswith("<frozen importlib"):
            return True
    return False


# What runs


def module_names_on_stack() -> Iterator[str]:
    """Yield the `__name__` of each frame's globals, innermost first, without those of importlib."""
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_globals.get("__name__")
        if isinstance(name, str) and not name.startswith("importlib"):
            yield name
        frame = frame.f_back  # type: ignore[assignment]


def _candidates(fullname: str, entries: Sequence[str]) -> Iterator[tuple[Path, bool]]:
    last = fullname.rpartition(".")[2]
    for entry in entries:
        yield Path(entry, last, "__init__.py"), True
        yield Path(entry, f"{last}.py"), False


def _nobody_has(fullname: str) -> bool:
    return importlib.machinery.PathFinder.find_spec(fullname) is None
