"""The imports of one module's own code, unchanged for as long as any of it runs.

A module imports from its own set. While that set is the current one its imports are Python's. After
the module has been replaced, a function of it that still runs goes on importing the modules that it
was loaded with, not their successors. Python calls `builtins.__import__` with the globals of the
importing code, and the `__spec__` in them leads to the scope. All builtins stay Python's own:
values that code puts there (`gettext.install`, a patched `print`) are there for every module at
once.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from functools import partial
from importlib.machinery import ModuleSpec
from importlib.util import resolve_name
from types import ModuleType
from typing import Any, Protocol

from devserver.loader.lines import Name

_real_import = builtins.__import__


unnoted: ContextVar[Callable[[], AbstractContextManager[None]] | None] = ContextVar("oa_dev_unnoted", default=None)
"""Set while changes of the process are noted: those in its block belong to no mod."""


class Member(Protocol):
    """A module of a set, with the object that stands for it in Python's table."""

    exported: Any


class Names(Protocol):
    """The names of modules of mods."""

    def full_name(self, importer: str, name: str, fromlist: Sequence[str]) -> str: ...
    def is_own(self, name: str) -> bool: ...
    def imported(self, name: str, fromlist: Sequence[str]) -> None: ...

    def shown(self, file: str) -> str:
        """Return a path as people read it."""


class Scope:
    """The imports of one module object: from Python's table or, once replaced, its own set.

    `names` knows the names of modules of mods; `started` notes what its code starts on threads of
    its own; `line` is the line that the module belongs to, if any.
    """

    __slots__ = ("__weakref__", "_line", "_names", "own", "started")

    def __init__(self, names: Names | None = None, started: Any = None, line: Name | None = None) -> None:
        self.started = started
        self.own: Mapping[str, Member] | None = None
        self._names = names
        self._line = line

    def import_(
        self,
        name: str,
        globals: Mapping[str, object] | None = None,
        locals: Mapping[str, object] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """Stands in for `builtins.__import__`, with its arguments (Python Language Reference, the import statement)."""
        full = name if level or self._names is None else self._names.full_name(_name(globals), name, fromlist or ())
        if full != name:
            module = self.import_(full, globals, locals, fromlist)
            # `import my_mod.x` binds `my_mod`, an attribute of the package that contains it.
            return module if fromlist else getattr(module, name.partition(".")[0])
        absolute = resolve_name("." * level + name, str((globals or {}).get("__package__") or "")) if level else name
        if self._line is not None:
            own_module = self._import_of_line(self._line, absolute, globals, tuple(fromlist or ()))
            if own_module is not None:
                return own_module
        own = self.own
        if own is None:
            _show_fresh(absolute)
            _import_replaced(absolute, fromlist or ())
            pause = unnoted.get()
            if self._names is not None and self._names.is_own(absolute):
                module = _real_import(name, globals, locals, fromlist or (), level)
                self._names.imported(absolute, fromlist or ())
                return module
            if pause is None or not _is_new(absolute, fromlist or ()):
                return _real_import(name, globals, locals, fromlist or (), level)
            # Changes by a library at its first import are the library's, not the mod's.
            with pause():
                return _real_import(name, globals, locals, fromlist or (), level)
        found = _from_set(own, absolute, tuple(fromlist or ()))
        return found if found is not None else _real_import(name, globals, locals, fromlist or (), level)

    def _import_of_line(
        self, line: Name, absolute: str, globals: Mapping[str, object] | None, fromlist: tuple[str, ...]
    ) -> ModuleType | None:
        """Import a module of the line itself that its code means by an absolute name; else None."""
        meant = line.meant(absolute)
        parent, _, last = line.plain.rpartition(".")
        if fromlist:
            if meant is not None:
                return self.import_(meant, globals, fromlist=fromlist)
            if absolute != parent or last not in fromlist:
                return None
            others = tuple(each for each in fromlist if each != last)
            package = self.import_(parent, globals, fromlist=others or _NONE)
            return _view(package, {last: self.import_(line.own, globals, fromlist=_NONE)})
        if absolute.partition(".")[0] != line.plain.partition(".")[0] or "@" in absolute:
            return None
        # `import mods.lib` binds `mods` again, which still leads to the line's own modules.
        leaf: ModuleType | None
        if meant is not None:
            leaf = self.import_(meant, globals, fromlist=_NONE)
        else:
            self.import_(absolute, globals, fromlist=_NONE)
            meant, leaf = line.own, self._known(line.own)
        return None if leaf is None else self._bound(line, meant, leaf)

    def place(self, file: str, line: int) -> str:
        """Return a line of the module's source as people read it, as file:line."""
        return f"{file if self._names is None else self._names.shown(file)}:{line}"

    def _known(self, name: str) -> ModuleType | None:
        found: ModuleType | None = _member(self.own or {}, name)
        return found

    def _bound(self, line: Name, meant: str, leaf: ModuleType) -> ModuleType | None:
        """Return the object that `import a.b.c` binds in a line: `a`, from which the plain names
        lead to the line's own modules."""
        plain = line.plain.split(".")
        inner = meant[len(line.own) :].split(".")[1:]
        names = [*(".".join(plain[: n + 1]) for n in range(len(plain) - 1)), line.own]
        names += [".".join((line.own, *inner[: n + 1])) for n in range(len(inner))]
        found = leaf
        for name, child in reversed(list(zip(names[:-1], (*plain, *inner)[1:], strict=True))):
            above = self._known(name)
            if above is None:
                return None
            found = _view(above, {child: found})
        return found


_NONE = ("__name__",)
"""A list of names for which nothing is imported: `__import__` then gives the module itself, not its top package."""


def _import(
    name: str,
    globals: Mapping[str, object] | None = None,
    locals: Mapping[str, object] | None = None,
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> ModuleType:
    """Import for the code that asks: from its scope for a watched module, else as Python does."""
    scope = None if globals is None else scope_in(globals)
    if scope is None and (globals is None or globals.get("__spec__") is None):
        # Code that `exec` runs in a dict of its own belongs to the calling code.
        scope = _scope_on_stack()
    if scope is None:
        return _real_import(name, globals, locals, fromlist or (), level)
    return scope.import_(name, globals, locals, fromlist, level)


def _scope_on_stack() -> Scope | None:
    """Return the scope of the nearest caller that is a module's."""
    frame = sys._getframe(2)
    while frame is not None:
        if frame.f_globals.get("__spec__") is not None:
            return scope_in(frame.f_globals)
        frame = frame.f_back  # type: ignore[assignment]
    return None


_users = 0
_stands = False
"""Return whether `_import` stands in for Python's own: directly, or in others' wrapper."""


def install() -> None:
    """Have Python's imports ask for scopes, until `remove` was called as often."""
    global _users, _real_import, _stands
    _users += 1
    if not _stands:
        _real_import, builtins.__import__, _stands = builtins.__import__, _import, True


def remove() -> None:
    """Restore Python's import."""
    global _users, _stands
    _users -= 1
    if _users == 0 and builtins.__import__ is _import:
        builtins.__import__, _stands = _real_import, False


def scope_of(module: ModuleType) -> Scope | None:
    """Return the scope that a watched module was executed in, or None for any other module."""
    return scope_in(module.__dict__)


def scope_in(globals: Mapping[str, object]) -> Scope | None:
    """Return the same for the globals of a module, as functions hold them."""
    spec = globals.get("__spec__")
    # Not `isinstance`: a module of mods may put anything there.
    state = spec.loader_state if type(spec) is ModuleSpec else None
    return state if type(state) is Scope else None


def _is_new(name: str, fromlist: Sequence[str]) -> bool:
    """Return whether an import executes modules, as far as that can be told without doing it."""
    module = sys.modules.get(name)
    if module is None:
        return True
    return any(
        each not in vars(module) and f"{name}.{each}" not in sys.modules
        for each in (fromlist if hasattr(module, "__path__") else ())
    )


def _import_replaced(package: str, fromlist: Sequence[str]) -> None:
    """Import the replaced module x where `from package import x` would find its successor.

    A package that runs on has its modules as attributes until their successors are imported.
    """
    for item in fromlist:
        name = f"{package}.{item}"
        if name in sys.modules:
            _show_fresh(name)
            continue
        known = getattr(sys.modules.get(package), item, None)
        if isinstance(known, ModuleType) and known.__name__ == name and scope_of(known) is not None:
            _real_import(name)


def _show_fresh(name: str) -> None:
    """Let a package have the fresh module of that name while it executes.

    Python sets the attribute when a module is complete. Of modules that import each other one would
    find the other's predecessor until then, and keep it.
    """
    parent, _, child = name.rpartition(".")
    package, fresh = sys.modules.get(parent), sys.modules.get(name)
    known = getattr(package, "__dict__", {}).get(child)
    if package is None or fresh is None or known is fresh or not isinstance(known, ModuleType):
        return
    replaced = scope_of(known)
    if replaced is not None and replaced.own is not None:
        setattr(package, child, fresh)


def _name(globals: Mapping[str, object] | None) -> str:
    return str((globals or {}).get("__name__") or "")


def _from_set(own: Mapping[str, Member], absolute: str, fromlist: tuple[str, ...]) -> ModuleType | None:
    if fromlist:
        return _with_submodules(own, absolute, fromlist)
    return _chain(own, absolute)


def _member(own: Mapping[str, Member], name: str) -> Any:
    """Return a module of the set, else a package that never changes; None for neither."""
    return own[name].exported if name in own else sys.modules.get(name)


def _with_submodules(own: Mapping[str, Member], absolute: str, fromlist: tuple[str, ...]) -> ModuleType | None:
    base = _member(own, absolute)
    if base is None:
        return None
    names = ((item, f"{absolute}.{item}") for item in fromlist)
    children = {item: own[name].exported for item, name in names if name in own}
    if not children and absolute not in own:
        return None
    return _view(base, children)


def _chain(own: Mapping[str, Member], absolute: str) -> ModuleType | None:
    """Return the object that `import a.b.c` binds: `a`, from which `.b.c` leads to the set's."""
    if absolute not in own:
        return None
    parts = absolute.split(".")
    found: ModuleType = own[absolute].exported
    for depth in range(len(parts) - 1, 0, -1):
        parent = _member(own, ".".join(parts[:depth]))
        if parent is None:
            return None
        found = _view(parent, {parts[depth]: found})
    return found


def _view(base: ModuleType, children: Mapping[str, ModuleType]) -> ModuleType:
    """Return `base` itself if its attributes are `children`, else a look-alike that has them."""
    if all(base.__dict__.get(name) is child for name, child in children.items()):
        return base
    view = ModuleType(base.__name__, base.__doc__)
    view.__dict__.update(base.__dict__)
    # Later attributes of the module are seen, too.
    view.__dict__["__getattr__"] = partial(getattr, base)
    view.__dict__.update(children)
    return view
