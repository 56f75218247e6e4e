"""One attempt to execute a set of modules again: all of them, or the old ones are restored.

A build never touches a live module. It takes the affected names out of `sys.modules`, gives each a
fresh module object, and lets `importlib.reload` execute it. Modules that a fresh start would not
import any more are not imported.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import importlib.util
import linecache
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar, copy_context
from dataclasses import replace
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from devserver.errors import HookFailed, ModNotFound
from devserver.loader.census import Remains, remains_of
from devserver.loader.changes import is_taken, outdated_by, refuse, source_of
from devserver.loader.finder import (
    Abandoned,
    Execution,
    HashedSourceLoader,
    WatchedFinder,
    import_lock,
    module_names_on_stack,
    release_locks,
    take_names,
    wait_for_import,
)
from devserver.loader.keeping import is_same_code, keep_state, keepable, note_filled, note_untouched, reline
from devserver.loader.modules import Loaded, LoadedModules, ModuleSet, Reading, Text, bind, compile_text, unbind
from devserver.loader.places import MISSING, note_main_loop
from devserver.loader.reads import on_bound, record_into
from devserver.loader.scope import scope_in
from devserver.loader.started import interrupt, place_of_mods
from devserver.loader.successor import let_recognise
from devserver.model.change import Sources
from devserver.sources import settle
from devserver.sources.effects import lines_for, options_gone
from devserver.sources.files import digest_of, sources_now
from devserver.sources.large import is_large


class NeedsModsThread(Exception):
    """A module makes an object at its top level that is bound to a thread. The text has both."""


class _WrongThread(BaseException):
    """Ends a module before such an object is made. Not an Exception: it is not to be caught."""


_SHORT = 16 * 1024
"""The most bytes that are compiled between the answers to agents: some hundred lines."""

_LINES = frozenset(
    {"f_lineno", "co_firstlineno", "tb_lineno", "lineno", "currentframe", "getframeinfo", "getsourcelines"}
)
"""Names of what tells the number of a line."""
_IMPORT_BY_NAME = frozenset({"import_module", "__import__"})


class Build:
    """Executes `affected` and what it needs, so that `entries` are importable, fresh.

    For one use, on one thread that records nothing else: `compile()`, `execute()`, then either
    `keep()` or `undo()`. After a failure `touched` says which sources the attempt depended on. If
    the edit has only moved code, nothing is executed and the modules stay; `kept` names the
    module-level state that stays (see `keeping`).

    Arguments: `affected`, the names to execute again, in the order of their first import;
    `entries`, the modules that mods are made from, in the order in which to import them; `changed`,
    the sources that differ on disk; `read`, the bytes of those that were read for the comparison;
    `texts`, readings to execute instead of the sources on disk, with or without their code;
    `unpinned`, the pinned mod that gets other sources nevertheless (`lines`).
    """

    def __init__(
        self,
        finder: WatchedFinder,
        affected: Sequence[str],
        entries: Sequence[str],
        changed: Sources | None = None,
        *,
        read: Mapping[Path, bytes] | None = None,
        texts: Mapping[Path, Reading] | None = None,
        unpinned: str = "",
    ) -> None:
        self._finder = finder
        self._modules: LoadedModules = finder.modules
        self._affected = tuple(affected)
        self._entries = tuple(entries)
        self._changed = dict(changed or {})
        self._read = dict(read or {})
        note_main_loop()
        given = dict(texts or {})
        compiled = {path: each for path, each in given.items() if isinstance(each, Text)}
        self._execution = Execution(texts=compiled, unpinned=unpinned)
        self._uncompiled = {path: each for path, each in given.items() if path not in compiled}
        self.on_mods_thread = any(name in self._modules.bound for name in self._affected)
        """Whether it is to be executed on the thread of handlers."""
        self._bound: dict[str, str] = {}
        """By module, the objects bound to one thread that it was about to make, in words."""
        self._locals: list[tuple[threading.local, dict[str, Any]]] = []
        """The values that modules have put into `threading.local`s."""
        self._replaced_locals: list[tuple[threading.local, dict[str, Any]]] = []
        """The values that these had on the mods' thread before."""
        self._before: ModuleSet = ModuleSet({})
        """The current set before the execution; empty once nothing can be undone."""
        self._reads: dict[str, Sources] = {}
        """By module, the data files that the replaced version was made from."""
        self._relined: dict[str, Text] = {}
        self._is_over = False
        self.remains: list[Remains] = []
        """The code to look for once the generations that ran the replaced modules are gone; after
        `undo()`, the new code."""
        self.outdated: list[str] = []
        """The objects that replaced modules have left in others and that a fresh start would make
        with other values, in words; known after `keep()`."""
        self._ended: list[tuple[Loaded, Loaded]] = []
        """The replaced modules, each with its successor, until `options_gone`."""
        self.importing: str | None = None
        self._keepable: dict[str, list[str]] = {}
        self.kept: tuple[str, ...] = ()

    @property
    def touched(self) -> Sources:
        """Every source that the attempt opened or missed, with its digest then."""
        return dict(self._execution.touched)

    @property
    def texts(self) -> Mapping[Path, Text]:
        """The sources that it has compiled so far."""
        return self._execution.texts

    @property
    def replaced(self) -> dict[Path, Text]:
        """The sources of the replaced modules; empty before `keep()`."""
        return {each.path: each.text for each in self._old().values()}

    @property
    def replaced_modules(self) -> dict[str, ModuleType]:
        """The modules that were taken out, by name; empty once `keep()` was called."""
        return {name: loaded.module for name, loaded in self._old().items()}

    def again(self) -> Build:
        """Return the same build for the mods' thread, after NeedsModsThread and `undo()`."""
        other = Build(self._finder, self._affected, self._entries, self._changed, texts=self._execution.texts)
        other._execution.unpinned = self._execution.unpinned
        other._execution.touched.update(self._execution.touched)
        other.on_mods_thread = True
        return other

    def context(self, name: str) -> Mapping[ContextVar[Any], Any]:
        """Return the context variables that a module and those it needs have set."""
        return self._modules.context_of(name)

    @property
    def moves_only(self) -> bool:
        """Whether the edit has only moved code: nothing is executed. Known after `compile()`."""
        return bool(self._relined)

    @property
    def executed(self) -> tuple[str, ...]:
        """The modules that were executed, in that order."""
        return tuple(self._execution.executed)

    @property
    def is_short(self) -> bool:
        """Whether `compile()` takes a few milliseconds and reads nothing from disk."""
        texts = [self._read.get(path) for path in self._changed if path.suffix == ".py"]
        is_read = len(self._affected) <= len(self._changed) and None not in texts
        return is_read and not self._uncompiled and sum(len(each) for each in texts if each is not None) <= _SHORT

    def compile(self) -> None:
        """Compile the changed sources, before all else. Raises SyntaxError, ValueError, OSError."""
        self._execution.thread = threading.get_ident()
        for path, given in self._uncompiled.items():
            self._execution.texts[path] = compile_text(given.path, given.data, given.digest)
        for path in self._changed:
            if path.suffix == ".mo" and "gettext" in sys.modules:
                # By path alone it remembers what a catalogue says.
                vars(sys.modules["gettext"])["_translations"].clear()
            if path.suffix != ".py":
                continue
            # Python takes a compiled file for current if its source has the same size and second.
            for each in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
                with contextlib.suppress(OSError):
                    each.unlink()
            # An error of the new source shows its lines; `show_lines` restores those of the code
            # that runs afterwards.
            linecache.cache.pop(str(path), None)
            data = self._read.get(path)
            digest = self._changed[path] if data is not None else None
            if data is None:
                data = settle.read_whole(path)
                digest = None if data is None else digest_of(data)
            self._execution.touched[path] = digest
            if data is not None and digest is not None:
                self._execution.texts[path] = self._modules.compiled(path, data, digest)
        self._relined = self._only_moved()

    def _only_moved(self) -> dict[str, Text]:
        """Return the affected modules' new readings if an edit changed no code; else nothing."""
        texts = self._execution.texts
        moved: dict[str, Text] = {}
        for name in self._affected if self._changed else ():
            loaded = self._modules.get(name)
            # First: nearly every save changes code, and that is seen quickly.
            if loaded is None or (loaded.path in texts and not is_same_code(loaded.text, texts[loaded.path])):
                return {}
            # A mod that reads a source as text may depend on its comments, or keep the number of a line.
            if not (loaded.reads.keys().isdisjoint(texts) and _LINES.isdisjoint(self._modules.names_around(name))):
                return {}
            now = sources_now(each for each in loaded.sources() if each not in texts)
            if any(digest != loaded.sources()[path] for path, digest in now.items()):
                return {}
            moved.update({name: texts[loaded.path]} if loaded.path in texts else {})
        return moved

    def execute(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        """Execute fresh modules. Raises the exceptions of a module; call `undo()` then.

        `loop`: the result of `asyncio.get_event_loop()` outside of a running loop. Raises
        NeedsModsThread if a module needs the thread of handlers.
        """
        if self._relined:
            return
        self._execution.thread = threading.get_ident()
        try:
            with _current_loop(None if self.on_mods_thread else loop):
                # In a context of its own, also inside of a task's.
                copy_context().run(self._execute)
        except BaseException as error:
            if self._execution.abandoned:
                raise Abandoned from error
            self._note_missing_loop(error)
            if self._bound:
                self._check_thread()
            raise
        if self._bound or self.on_mods_thread:
            self._check_thread()

    def _check_thread(self) -> None:
        """Raise NeedsModsThread on another thread, if modules asked for objects bound to it."""
        new = {name: words for name, words in self._bound.items() if name not in self._modules.bound}
        for name in (*self._affected, *self._execution.executed):
            self._modules.bound.pop(name, None)
        self._modules.bound.update(self._bound)
        if self._bound and not self.on_mods_thread:
            raise NeedsModsThread(", ".join(new.values())) from None

    def _note_bound(self, what: str) -> None:
        name = next((each for each in module_names_on_stack() if each in self._modules), self.importing or "")
        self._bound.setdefault(name, f"{what} at {place_of_mods()}")
        if not self.on_mods_thread:
            raise _WrongThread

    def _note_missing_loop(self, error: BaseException) -> None:
        """Note a missing loop: outside of the server mods are imported in a running loop, where
        `asyncio.create_task` at the top level works."""
        if type(error) is not RuntimeError or error.args != ("no running event loop",) or self.on_mods_thread:
            return
        steps = traceback.walk_tb(error.__traceback__)
        own = [(frame, line, scope) for frame, line in steps if (scope := scope_in(frame.f_globals)) is not None]
        for frame, line, scope in own[-1:]:
            place = scope.place(frame.f_code.co_filename, line)
            self._bound[str(frame.f_globals.get("__name__"))] = f"running loop at {place}"

    def bring_locals(self) -> None:
        """Let handlers see what modules have put into `threading.local`s at their top.

        On the mods' thread.
        """
        for local, contents in self._locals:
            self._replaced_locals.append((local, dict(vars(local))))
            for name, value in contents.items():
                if value is MISSING:
                    vars(local).pop(name, None)
                else:
                    vars(local)[name] = value

    def _take_locals(self) -> None:
        if self.on_mods_thread:
            return
        for loaded in {
            id(each): each for name in self._execution.executed for each in self._modules.around(name)
        }.values():
            for each in list(vars(loaded.module).values()):
                # Not of a subclass: its constructor runs on each thread, and would run here.
                if type(each) is threading.local and not _is_same_content(vars(each), _brought.get(each, {})):
                    gone = dict.fromkeys(_brought.get(each, {}).keys() - vars(each).keys(), MISSING)
                    _brought[each] = dict(vars(each))
                    self._locals.append((each, gone | _brought[each]))

    def _execute(self) -> None:
        on_bound.set(self._note_bound)
        with (
            record_into(self._note_read),
            self._finder.executing(self._execution),
            ExitStack() as directory,
        ):
            try:
                for name in self._affected:
                    wait_for_import(name)
                self._finder.drop_short_names()
                self._before = self._modules.take_out(self._affected)
                self._reads = {name: loaded.reads for name, loaded in self._old().items()}
                for loaded in reversed(self._old().values()):
                    loaded.changes.detach()
                # Not earlier: that would hide a directory which the old code has changed to.
                directory.enter_context(_working_directory(self._finder.directory))
                for entry in self._entries:
                    self.importing = entry
                    # In a context of its own: each mod sees its own values and those of the modules
                    # that it needs.
                    copy_context().run(self._run, entry)
                while (wanted := self._next_wanted()) is not None:
                    self.importing = wanted
                    copy_context().run(self._run, wanted)
                for name, loaded in self._old().items():
                    if name in self._execution.executed:
                        self._execution.executed[name].changes.give_way(loaded.changes)
                for name, loaded in self._old().items():
                    if name not in sys.modules:
                        unbind(name, loaded.exported)
                        self._modules.put({name: None})
                self._note_imports_by_name()
                self._take_locals()
                executed = self._executed()
                for loaded in executed.values():
                    note_untouched(loaded)
                self._read_large_lines(executed)
                if any(loaded.untouched for loaded in executed.values()):
                    self._keepable = keepable(self._old(), executed)
            except (SystemExit, KeyboardInterrupt, GeneratorExit) as request:
                raise HookFailed(f"{self.importing} asked the process to end while imported ({request!r})") from request

    def _read_large_lines(self, executed: Mapping[str, Loaded]) -> None:
        """Read what `keep` asks for: where that runs, agents would wait for the process that reads."""
        for name, loaded in self._old().items():
            if name in executed and is_large(executed[name].text.data):
                for module in {each.module for each in loaded.changes.made}:
                    lines_for(executed[name].text.data, module)

    def module(self, name: str) -> ModuleType:
        """Return a module. Raises KeyError for one that was not imported."""
        return sys.modules[name]

    def keep(self, ends: Callable[[str], bool] = lambda module: False) -> None:
        """Make the new modules final: nothing can be undone any more. `ends`: see `outdated_by`."""
        self._is_over = True
        for each in self._execution.executed.values():
            each.changes.attempt = None
        for name, text in self._relined.items():
            loaded = self._modules.get(name)
            if loaded is not None:
                reline(loaded.text, text)
                self._modules.put({name: replace(loaded, text=text)})
        for loaded in self._old().values():
            new = self._execution.executed.get(loaded.name)
            if new is not None:
                source = source_of(loaded.name)
                self.outdated += outdated_by(loaded.changes, new.changes, source, self._execution.executed, ends)
                self._ended.append((loaded, new))
            let_recognise(loaded.module)
            loaded.changes.end()
            self.remains.append(remains_of(loaded.name, str(loaded.path), vars(loaded.module)))
        self._before = ModuleSet({})

    def options_gone(self) -> list[tuple[str, str]]:
        """Return the options of libraries that replaced modules have set, the new ones do not set, and
        nothing has taken back: the library, and words. Once, after `keep()`."""
        found = []
        for old, new in self._ended:
            gone = [(each.module.partition(".")[0], each.shown) for each in options_gone(old.text.data, new.text.data)]
            found += [
                (library, f"{shown}, set by {old.name} before, still counts")
                for library, shown in gone
                if library and library not in self._modules.tops and not is_taken(library, old.changes)
            ]
        self._ended = []
        return found

    def undo(self) -> None:
        """Put every old module back, and restore the process."""
        self._is_over = True
        self._note_imported()
        refuse(loaded.changes for loaded in self._execution.executed.values())
        for loaded in reversed(self._execution.executed.values()):
            self.remains.append(remains_of(loaded.name, str(loaded.path), vars(loaded.module)))
        self._modules.put_back((*self._execution.executed, *self._old()), self._before)
        for loaded in self._old().values():
            loaded.changes.attach()
        for local, before in reversed(self._replaced_locals):
            vars(local).clear()
            vars(local).update(before)

    def read_imports(self) -> None:
        """Read the imports and named data files of fresh modules before a plan needs them."""
        self._modules.graph()
        for name in self._execution.executed:
            loaded = self._modules.get(name)
            if loaded is not None:
                for path, digest in self._named_files(loaded).items():
                    self._modules.note_read(name, path, digest)

    def _named_files(self, loaded: Loaded) -> Sources:
        """Return the data files, also missing, that a module names and no audit event showed."""
        before = self._execution.named.get(loaded.name)
        found = {} if before is None else before.now(self._reads.get(loaded.name, {}))
        unseen = {path: digest for path, digest in found.items() if path not in loaded.reads}
        return {path: digest for path, digest in unseen.items() if self._finder.watches_data(path)}

    def show_lines(self) -> None:
        """Let tracebacks show the lines of running code; after a failure, once it was reported."""
        self._modules.show_lines({*self._affected, *self._execution.executed, *self._execution.reread})

    def _note_imported(self) -> None:
        """Add to `touched` the modules that fresh ones import, and the places of missing ones."""
        graph, touched = self._modules.graph(), self._execution.touched
        for name in {each for loaded in self._execution.executed.values() for each in loaded.imports}:
            found = (
                self._modules.sources(graph.closure(name)) if name in graph else sources_now(self._finder.places(name))
            )
            touched.update({path: digest for path, digest in found.items() if path not in touched})

    def stack(self) -> list[FrameType]:
        """Return the stack of `execute()`, outermost frame first."""
        frame = sys._current_frames().get(self._execution.thread)
        found = []
        while frame is not None:
            found.append(frame)
            frame = frame.f_back
        return found[::-1]

    def abandon(self) -> None:
        """Abandon an `execute()` that hangs in some module's code; `undo()` follows.

        Its thread can execute no more modules, is interrupted as soon as it runs Python again, and
        leaves Python's table unchanged. Its locks on modules are released, so that the next build
        need not wait for it.
        """
        self._execution.abandoned = True
        release_locks(self._execution.executed)
        take_names([each.module for each in list(self._execution.executed.values())])
        interrupt(self._execution.thread, Abandoned)

    def keep_state(self) -> None:
        """Let fresh modules take over module-level state; after all instances are initialised."""
        executed = self._executed()
        if not any(loaded.untouched for loaded in executed.values()):
            return
        for loaded in executed.values():
            note_filled(loaded)
        self.kept = keep_state(self._keepable, self._old(), executed)

    def _executed(self) -> dict[str, Loaded]:
        return {name: loaded for name, loaded in self._execution.executed.items() if name in self._modules}

    def _old(self) -> dict[str, Loaded]:
        """Return the modules that this build replaces."""
        return {name: self._before[name] for name in self._affected if name in self._before}

    def _run(self, name: str) -> None:
        """Execute one module in a fresh object, unless an import has done it already."""
        if name in sys.modules:
            return
        parent = name.rpartition(".")[0]
        if parent and parent not in sys.modules:
            importlib.import_module(parent)
        if name in sys.modules:
            return
        spec = importlib.util.find_spec(name)
        if spec is None:
            raise ModNotFound(f"there is no module {name}")
        if isinstance(spec.loader, HashedSourceLoader):
            self._execution.found[name] = spec
        module = importlib.util.module_from_spec(spec)
        # Handlers on other threads may ask for it meanwhile: they wait, as for any import.
        with import_lock(name):
            sys.modules[name] = module
            try:
                importlib.reload(module)
            except BaseException:
                # Where this build was abandoned, it may be that of a later one.
                if sys.modules.get(name) is module:
                    del sys.modules[name]
                raise
        bind(name, sys.modules[name])

    def _next_wanted(self) -> str | None:
        """Return a module that was loaded and still exists, and that a loaded one imports later.

        A fresh start would import it later, inside a function; a failure of it is better known
        before the swap.
        """
        for name, old in self._old().items():
            if name not in sys.modules and old.path.is_file() and self._is_named(name):
                return name
        return None

    def _is_named(self, name: str) -> bool:
        return any(name in loaded.imports for each, loaded in self._modules.current.items() if each in sys.modules)

    def _note_imports_by_name(self) -> None:
        """Keep the imports of modules by computed names. Python emits no event for an import of a
        loaded module, so a second execution may show none."""
        for name, old in self._old().items():
            new = self._modules.get(name)
            if new is not None and not _IMPORT_BY_NAME.isdisjoint(new.names):
                for each in sorted(old.seen):
                    if each in self._modules:
                        self._modules.note_import(name, each)

    def _note_read(self, path: str) -> None:
        found = Path(path)
        if self._is_over or found.suffix == ".so" or not self._finder.watches_data(found):
            return
        names = [name for name in module_names_on_stack() if not name.startswith("devserver.loader.")]
        if names[:1] == ["zipimport"]:
            return  # code and no data, which stays as imported: a restart applies a change of it
        # On a thread of its own a library reads without any code of a mod on the stack.
        reader = next((name for name in names if name in self._modules), self.importing)
        if reader is not None:
            digest = sources_now([found])[found]
            self._execution.touched[found] = digest
            self._modules.note_read(reader, found, digest)


@contextmanager
def _current_loop(loop: asyncio.AbstractEventLoop | None) -> Iterator[None]:
    """Let `asyncio.get_event_loop()` return this loop, as on its own thread."""
    if loop is None:
        yield
        return
    asyncio.set_event_loop(loop)
    try:
        yield
    finally:
        asyncio.set_event_loop(None)


_brought: WeakKeyDictionary[threading.local, dict[str, Any]] = WeakKeyDictionary()
"""The value of each that the mods' thread got last, if handlers may have changed it since."""


def _is_same_content(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return one.keys() == other.keys() and all(one[key] is other[key] for key in one)


@contextmanager
def _working_directory(start: str) -> Iterator[None]:
    """Execute in the working directory of a fresh start. Changes by the code itself stay."""
    try:
        before = os.getcwd()
    except FileNotFoundError:
        before = ""
    if before == start:
        yield
        return
    os.chdir(start)
    try:
        yield
    finally:
        if before and os.getcwd() == start:
            with suppress(OSError):
                os.chdir(before)
