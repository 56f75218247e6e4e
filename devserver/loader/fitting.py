"""How instances of a replaced class become instances of its successor: worked out once for a class.

Knows plain classes, slots, dataclasses, attrs, pydantic models, named tuples and exceptions; knows
nothing of containers. Everything that an instance needs is computed before anything is changed
(`Fit.prepared`), and the change runs no code of the instance.
"""

from __future__ import annotations

import functools
import pickle
from collections.abc import Callable, Iterator
from dataclasses import MISSING
from types import CodeType, FunctionType
from typing import Any

from devserver.loader import raw
from devserver.loader.successor import Gone, is_watched
from devserver.sources.imports import FirstValue, read_first_values

_EMPTY: dict[str, Callable[[], object]] = {"dict": dict, "list": list, "set": set}

Make = Callable[[], object]
"""Makes the first value of an attribute."""

_FOREIGN_METACLASSES = frozenset({"pydantic._internal._model_construction"})
"""Modules of metaclasses that record nothing about the instances of their classes."""

_PLAIN_VALUES = (int, str, bytes, float, bool, complex, type(None), list, dict, set, frozenset, tuple)


class Fit:
    """The way from one class to its successor.

    Raises Gone for a class whose instances might not work after that: one that another package
    keeps records of, or whose layout cannot be taken over. `lacks` names attributes that the new
    class gives its instances and that the old ones cannot be given. `in_place`: the objects stay
    and only change their class.
    """

    def __init__(self, old: type, new: type, sample: object) -> None:
        _refuse_kept_books(old)
        _refuse_kept_books(new)
        self.old, self.new = old, new
        self.getter = raw.dict_getter(old)
        self.is_exception = raw.derives(old, BaseException)
        self.in_place = _same_fields(old, new) and _same_layout(sample, old, new)
        if not self.in_place:
            _refuse_other_build(old, new)
        wanted = {} if _is_named_tuple(new) else _wanted(old, new)
        self._makes = {name: make for name, make in wanted.items() if make is not None}
        before = _pydantic_private(old)
        self._private = {name: make for name, make in _pydantic_private(new).items() if name not in before}
        self.lacks = [name for name, make in wanted.items() if make is None]
        self.hash_differs = not _same_hash(old, new)
        if self.lacks and self.hash_differs:
            raise Gone(f"{raw.qualname_of(new)}.{self.lacks[0]} has no value for it, and its hash needs one")
        self._caches = list(_cached_names(old))

    @property
    def is_trivial(self) -> bool:
        """Whether nothing but the class changes."""
        return self.in_place and not (self._makes or self._private or self._caches or self.is_exception)

    def prepared(self, thing: Any) -> tuple[Any, Callable[[], None]]:
        """Compute the replacement of an instance (often itself), and what makes it that.

        Raises the exceptions of a default factory.
        """
        if raw.derives(self.old, tuple) and not self.in_place:
            return _other_tuple(thing, self.new), lambda: None
        own = {name for name, _ in raw.attributes(thing)}
        added = {name: make() for name, make in self._makes.items() if name not in own}
        private = dict(raw.slots_in(thing)).get(_PRIVATE) if self._private else None
        if self._private:
            # Another dict: the old one is what a rollback puts back.
            added[_PRIVATE] = {**{name: make() for name, make in self._private.items()}, **(private or {})}
        dropped = [name for name in self._caches if name in own and self._is_stale(thing, name)]
        after = thing if self.in_place else _copied(thing, self.new)

        def change() -> None:
            if after is thing:
                raw.set_class(thing, self.new)
            for name, value in added.items():
                raw.set_attribute(after, name, value)
            getter = raw.dict_getter(self.new)
            if getter is not None:
                for name in dropped:
                    dict.pop(getter(after), name, None)
            if self.is_exception:
                # As in a pickle: its frames would keep the whole old generation alive.
                BaseException.__dict__["__traceback__"].__set__(after, None)

        return after, change

    def _is_stale(self, thing: Any, name: str) -> bool:
        """Return whether a cached value is dropped: the new code might compute another one.

        A value that is more than data (a connection, a client) stays as long as the code that made
        it is the same.
        """
        assert self.getter is not None
        value = dict.get(self.getter(thing), name)
        before, after = raw.lookup(self.old, name), raw.lookup(self.new, name)
        if type(after) is not functools.cached_property or not _same_code(before.func, after.func):
            return True
        return any(type(value) is each for each in _PLAIN_VALUES)


def _refuse_kept_books(cls: type) -> None:
    """Raise Gone if another package has put descriptors or a metaclass of its own on a class. Such
    a package (an object-relational mapper, say) knows the instances by their class."""
    for each in raw.mro(type(cls)):
        if not (raw.is_standard(each) or is_watched(each) or raw.module_of(each) in _FOREIGN_METACLASSES):
            raise Gone(f"class {raw.qualname_of(cls)} is kept by {raw.module_of(each).partition('.')[0]}")
    for each in raw.mro(cls):
        if not is_watched(each):
            continue
        for value in list(raw.names_of(each).values()):
            kind = type(value)
            if not raw.is_standard(kind) and not is_watched(kind) and raw.lookup(kind, "__set__") is not None:
                raise Gone(f"class {raw.qualname_of(cls)} is kept by {raw.module_of(kind).partition('.')[0]}")


# Layout


def _is_named_tuple(cls: type) -> bool:
    return raw.derives(cls, tuple) and type(raw.lookup(cls, "_fields")) is tuple


def _same_fields(old: type, new: type) -> bool:
    return bool(raw.lookup(old, "_fields") == raw.lookup(new, "_fields")) if _is_named_tuple(old) else True


def _same_layout(sample: object, old: type, new: type) -> bool:
    """Return whether Python lets an instance change its class; tried at one, which is restored."""
    try:
        raw.set_class(sample, new)
    except TypeError:
        # Slots came or went, or another built-in base.
        return False
    raw.set_class(sample, old)
    return True


def _refuse_other_build(old: type, new: type) -> None:
    if _is_named_tuple(old) or _is_named_tuple(new):
        fields, defaults = raw.lookup(new, "_fields"), raw.lookup(new, "_field_defaults") or {}
        if type(fields) is not tuple or not set(fields) <= {*(raw.lookup(old, "_fields") or ()), *defaults}:
            raise Gone(f"class {raw.qualname_of(new)} has other fields")
        return
    try:
        object.__new__(new)
    except TypeError:
        raise Gone(f"class {raw.qualname_of(new)} is built in another way") from None


def _copied(thing: Any, target: type) -> Any:
    made: Any = object.__new__(target)
    for name, value in raw.attributes(thing):
        raw.set_attribute(made, name, value)
    return made


def _other_tuple(thing: Any, target: type) -> Any:
    """Return the successor of a named tuple whose fields have changed."""
    known = dict(zip(raw.lookup(type(thing), "_fields") or (), tuple.__iter__(thing), strict=False))
    values = {**(raw.lookup(target, "_field_defaults") or {}), **known}
    return tuple.__new__(target, [values[name] for name in raw.lookup(target, "_fields")])


# Hash and code


def _same_hash(old: type, new: type) -> bool:
    """Return whether an entry under an instance of `old` is found under one of `new`."""
    before, after = raw.lookup(old, "__hash__"), raw.lookup(new, "__hash__")
    return before is after or _same_code(before, after)


def _same_code(one: object, other: object) -> bool:
    if type(one) is not FunctionType or type(other) is not FunctionType:
        return False
    return _same_constant(one.__code__, other.__code__)


def _same_constant(one: object, other: object) -> bool:
    if type(one) is CodeType and type(other) is CodeType:
        return (
            one.co_code == other.co_code
            and one.co_names == other.co_names
            and len(one.co_consts) == len(other.co_consts)
            and all(map(_same_constant, one.co_consts, other.co_consts))
        )
    # Not by ==, for which 1 is True.
    return type(one) is type(other) and repr(one) == repr(other)


def _cached_names(cls: type) -> Iterator[str]:
    for each in raw.mro(cls):
        for name, value in list(raw.names_of(each).items()):
            if type(value) is functools.cached_property:
                yield name


# What new attributes begin with


def _wanted(old: type, new: type) -> dict[str, Make | None]:
    """Return the attributes that only `new` gives, with what makes their values (or None)."""
    for fields in (_dataclass_fields, _attrs_fields, _pydantic_fields):
        found = fields(new)
        if found is not None:
            before = fields(old) or {}
            return {name: make for name, make in found.items() if name not in before}
    if _same_code(raw.lookup(old, "__init__"), raw.lookup(new, "__init__")):
        return {}
    before = _initial(old)
    return {name: make for name, make in _initial(new).items() if name not in before}


def _dataclass_fields(cls: type) -> dict[str, Make | None] | None:
    found = raw.lookup(cls, "__dataclass_fields__")
    if type(found) is not dict:
        return None
    makes: dict[str, Make | None] = {}
    for name, spec in found.items():
        if spec._field_type.name == "_FIELD":
            makes[name] = _maker(spec.default, spec.default_factory, MISSING)
    return makes


def _attrs_fields(cls: type) -> dict[str, Make | None] | None:
    found = raw.lookup(cls, "__attrs_attrs__")
    if found is None:
        return None
    makes: dict[str, Make | None] = {}
    for spec in tuple.__iter__(found):
        default = spec.default
        if type(default).__name__ == "_Nothing":
            makes[spec.name] = None
        elif type(default).__name__ == "Factory":
            makes[spec.name] = None if default.takes_self else default.factory
        else:
            makes[spec.name] = functools.partial(_itself, default)
    return makes


def _pydantic_fields(cls: type) -> dict[str, Make | None] | None:
    found = raw.lookup(cls, "__pydantic_fields__")
    if type(found) is not dict:
        return None
    return {name: None if spec.is_required() else _pydantic_default(spec) for name, spec in found.items()}


def _pydantic_private(cls: type) -> dict[str, Make]:
    """Return the private attributes of a model that have a value from the start."""
    found = raw.lookup(cls, "__private_attributes__") if raw.lookup(cls, "__pydantic_fields__") is not None else None
    if type(found) is not dict:
        return {}
    return {
        name: spec.default_factory or functools.partial(_itself, spec.default)
        for name, spec in found.items()
        if spec.default_factory is not None or type(spec.default).__name__ != "PydanticUndefinedType"
    }


_PRIVATE = "__pydantic_private__"


def _pydantic_default(spec: Any) -> Make | None:
    if spec.default_factory is not None and getattr(spec, "default_factory_takes_validated_data", False):
        return None
    return functools.partial(spec.get_default, call_default_factory=True)


def _maker(default: object, factory: Any, missing: object) -> Make | None:
    if factory is not missing:
        return factory  # type: ignore[no-any-return]
    return None if default is missing else functools.partial(_itself, default)


def _itself(value: object) -> object:
    return value


def _initial(cls: type) -> dict[str, Make | None]:
    """Return the attributes that `__init__` sets outside of branches, and their literals, if its source is watched."""
    init = raw.lookup(cls, "__init__")
    # Its source as it was when that was executed.
    loader = getattr(init.__globals__.get("__spec__"), "loader", None) if type(init) is FunctionType else None
    text = getattr(loader, "executed", None)
    if text is None:
        return {}
    values = read_first_values(text.data).get(init.__code__.co_firstlineno, ())
    return {name: _maker_of(value) for name, value in values}


def _maker_of(value: FirstValue) -> Make | None:
    if isinstance(value, bytes):
        return functools.partial(pickle.loads, value)
    return None if value is None else _EMPTY[value]
