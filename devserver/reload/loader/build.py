"""One attempt to execute a set of modules anew: all of them, or the old ones stand again as if nothing had happened.

A build never touches a live module. It takes the affected names out of `sys.modules`, gives each a fresh module object,
and lets `importlib.reload` execute it. Modules that a fresh start would not import any more are not imported here.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType

from devserver.errors import HookFailed, ModNotFound
from devserver.model.change import Sources
from devserver.reload.loader.finder import Execution, WatchedFinder, module_names_on_stack
from devserver.reload.loader.reads import record_into
from devserver.reload.loader.scope import scope_of
from devserver.reload.loader.shelf import Loaded, Shelf, bind, compile_text, digest_of, read_bytes, sources_now, unbind


class Build:
    """Executes `affected` and what it needs, so that `entries` are importable, fresh.

    To be used once, on one thread that records nothing else: `compile()`, `execute()`, then either `keep()` or
    `undo()`. After a failure `touched` says which sources the attempt depended on.

    Arguments: `affected`, the names to execute anew, in the order of their first import; `entries`, the modules that
    mods are made from, in the order in which they shall be imported; `changed`, the sources that differ on disk.
    """

    def __init__(
        self, finder: WatchedFinder, affected: Sequence[str], entries: Sequence[str], changed: Iterable[Path] = ()
    ) -> None:
        self._finder = finder
        self._shelf: Shelf = finder.shelf
        self._affected = tuple(affected)
        self._entries = tuple(entries)
        self._changed = tuple(changed)
        self._execution = Execution()
        self._old: dict[str, Loaded] = {}
        self._old_modules: dict[str, ModuleType] = {}
        self._past: dict[str, ModuleType] = {}
        self.importing: str | None = None

    @property
    def touched(self) -> Sources:
        """Every source that the attempt opened or missed, as it found it."""
        return dict(self._execution.touched)

    @property
    def executed(self) -> tuple[str, ...]:
        """The modules that were executed, in that order."""
        return tuple(self._execution.executed)

    def compile(self) -> None:
        """Compile every changed source before anything is touched. Raises SyntaxError, ValueError or OSError."""
        for path in self._changed:
            if path.suffix != ".py":
                continue
            data = read_bytes(path)
            if data is None:
                self._execution.touched[path] = None
                continue
            self._execution.touched[path] = digest_of(data)
            self._execution.texts[path] = compile_text(path, data)

    def execute(self) -> None:
        """Execute fresh modules. Raises whatever a module raises; `undo()` is then still to be called."""
        self._execution.thread = threading.get_ident()
        with record_into(self._note_read), self._finder.executing(self._execution):
            try:
                self._take_out()
                for entry in self._entries:
                    self.importing = entry
                    self._run(entry)
                while (wanted := self._next_wanted()) is not None:
                    self.importing = wanted
                    self._run(wanted)
                self._forget_dropped()
            except (SystemExit, KeyboardInterrupt) as request:
                raise HookFailed(f"{self.importing} asked the process to end while imported ({request!r})") from request

    def module(self, name: str) -> ModuleType:
        """A module as it now is. Raises KeyError for one that was not imported."""
        return sys.modules[name]

    def keep(self) -> None:
        """The new modules are live: nothing can be undone any more."""
        self._old.clear()
        self._old_modules.clear()

    def undo(self) -> None:
        """Put every old module back where it was."""
        for name in self._execution.executed:
            module = sys.modules.pop(name, None)
            if module is not None:
                unbind(name, module)
        self._shelf.put(dict.fromkeys(self._execution.executed))
        self._shelf.put(dict(self._old))
        for name, module in self._old_modules.items():
            sys.modules[name] = module
            bind(name, module)
            scope = scope_of(module)
            if scope is not None:
                scope.past = None
        self._old.clear()
        self._old_modules.clear()

    def _take_out(self) -> None:
        self._past = self._shelf.snapshot()
        for name in self._affected:
            loaded, module = self._shelf.get(name), sys.modules.get(name)
            if loaded is None or module is None:
                continue
            self._old[name], self._old_modules[name] = loaded, module
            scope = scope_of(module)
            if scope is not None:
                scope.past = self._past
            del sys.modules[name]

    def _run(self, name: str) -> None:
        """Execute one module in a fresh object, unless an import has done it already."""
        if name in sys.modules:
            return
        self._import_parents(name)
        if name in sys.modules:
            return
        spec = importlib.util.find_spec(name)
        if spec is None:
            raise ModNotFound(f"there is no module {name}")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            importlib.reload(module)
        except BaseException:
            sys.modules.pop(name, None)
            raise
        bind(name, sys.modules[name])

    def _import_parents(self, name: str) -> None:
        parent = name.rpartition(".")[0]
        if parent and parent not in sys.modules:
            importlib.import_module(parent)

    def _next_wanted(self) -> str | None:
        """A module that was loaded, is still there, and that some module now loaded imports when it runs.

        A fresh start would import it later, inside a function; whether it works is better known before the swap.
        """
        for name, old in self._old.items():
            if name not in sys.modules and old.path.is_file() and self._is_named(name):
                return name
        return None

    def _is_named(self, name: str) -> bool:
        loaded = ((each, self._shelf.get(each)) for each in self._shelf.snapshot() if each in sys.modules)
        return any(found is not None and name in found.imports for _, found in loaded)

    def _forget_dropped(self) -> None:
        for name, module in self._old_modules.items():
            if name not in sys.modules:
                unbind(name, module)
                self._shelf.put({name: None})

    def _note_read(self, path: str) -> None:
        found = Path(path)
        if found.suffix in (".py", ".pyc", ".so") or not self._finder.watches(found):
            return
        reader = next((name for name in module_names_on_stack() if name in self._shelf), None)
        if reader is not None:
            digest = sources_now([found])[found]
            self._execution.touched[found] = digest
            self._shelf.note_read(reader, found, digest)
