"""Makes an instance of a replaced class one of the class that replaced it, and can undo that exactly.

Knows plain classes, slots, dataclasses, pydantic models, named tuples and exceptions; knows nothing of containers.
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import FunctionType, TracebackType
from typing import Any

from devserver.loader.successor import Gone

_EMPTY: dict[str, Callable[[], object]] = {"dict": dict, "list": list, "set": set}


@dataclass(slots=True)
class Fit:
    """An instance before and after; the same object where only its class had to change.

    `lacks` names attributes that the new class gives its instances and that this one could not be given.
    """

    before: Any
    after: Any
    old_class: type
    added: list[str] = field(default_factory=list)
    lacks: list[str] = field(default_factory=list)
    trace: TracebackType | None = None

    def undo(self) -> None:
        """The object that was there before is exactly as it was."""
        if self.after is not self.before:
            return
        for name in self.added:
            object.__delattr__(self.before, name)
        object.__setattr__(self.before, "__class__", self.old_class)
        if isinstance(self.before, BaseException):
            self.before.__traceback__ = self.trace


def fit(instance: Any, target: type) -> Fit:
    """Make `instance` one of `target`: in place where its layout allows, else as a new object with its attributes.

    New fields get their defaults, and new attributes what `__init__` gives them where that is a literal. Raises Gone
    where it cannot be done.
    """
    old_class = type(instance)
    done = Fit(instance, _placed(instance, target), old_class)
    if isinstance(instance, BaseException):
        # As in a pickle: its frames would keep the whole old generation alive.
        done.trace, instance.__traceback__ = instance.__traceback__, None
    _fill(done, target)
    return done


def slots_of(instance: object) -> Iterator[str]:
    """The slots of an instance that hold a value."""
    for cls in type(instance).__mro__:
        names = cls.__dict__.get("__slots__", ())
        for name in (names,) if isinstance(names, str) else names:
            mangled = f"_{cls.__name__.lstrip('_')}{name}" if name.startswith("__") and name[-2:] != "__" else name
            if name not in ("__dict__", "__weakref__") and hasattr(instance, mangled):
                yield mangled


def _placed(instance: Any, target: type) -> Any:
    if getattr(target, "_fields", None) == getattr(type(instance), "_fields", None):
        try:
            object.__setattr__(instance, "__class__", target)
        except TypeError:
            # Another layout: slots came or went, or another built-in base.
            return _copied(instance, target)
        return instance
    return _copied_tuple(instance, target)


def _copied(instance: Any, target: type) -> Any:
    try:
        made: Any = object.__new__(target)
    except TypeError:
        raise Gone(f"class {target.__qualname__} is built in another way") from None
    values = {**{name: getattr(instance, name) for name in slots_of(instance)}, **getattr(instance, "__dict__", {})}
    for name, value in values.items():
        if hasattr(made, "__dict__") or any(name in getattr(each, "__slots__", ()) for each in target.__mro__):
            object.__setattr__(made, name, value)
    return made


def _copied_tuple(instance: Any, target: Any) -> Any:
    """A named tuple whose fields have changed."""
    fields, defaults = getattr(target, "_fields", None), getattr(target, "_field_defaults", {})
    known = dict(zip(getattr(instance, "_fields", ()), instance, strict=False)) if isinstance(instance, tuple) else {}
    values = {**defaults, **known}
    if fields is None or not set(fields) <= set(values):
        raise Gone(f"class {target.__qualname__} has other fields")
    return target._make(values[name] for name in fields)


def _fill(done: Fit, target: type) -> None:
    for name, make in _wanted(done.old_class, target):
        if _has(done.after, name):
            continue
        if make is None:
            done.lacks.append(f"{target.__qualname__}.{name}")
            continue
        object.__setattr__(done.after, name, make())
        done.added.append(name)


def _has(instance: object, name: str) -> bool:
    return name in getattr(instance, "__dict__", ()) or name in slots_of(instance)


def _wanted(old: type, new: type) -> Iterator[tuple[str, Callable[[], object] | None]]:
    """The attributes that an instance of `new` has, each with what makes its first value (None: nobody knows)."""
    if dataclasses.is_dataclass(new):
        yield from ((each.name, _default(each)) for each in dataclasses.fields(new))
    elif isinstance(models := getattr(new, "model_fields", None), dict):
        for name, info in models.items():
            yield name, None if info.is_required() else _bound(info.get_default, call_default_factory=True)
    else:
        before = _initial(old)
        yield from ((name, make) for name, make in _initial(new).items() if name not in before)


def _default(spec: dataclasses.Field[Any]) -> Callable[[], object] | None:
    if spec.default_factory is not dataclasses.MISSING:
        return spec.default_factory
    return None if spec.default is dataclasses.MISSING else _bound(lambda: spec.default)


def _bound(function: Callable[..., object], **keywords: Any) -> Callable[[], object]:
    return lambda: function(**keywords)


# What `__init__` gives an instance


def _initial(cls: type) -> dict[str, Callable[[], object] | None]:
    """The attributes that `__init__` sets outside of branches, each with what makes its value where it is a literal."""
    init = getattr(cls, "__init__", None)
    if not isinstance(init, FunctionType):
        return {}
    body = _definition(init)
    if body is None or not body.args.args:
        return {}
    return dict(_assigned(body, body.args.args[0].arg))


def _definition(function: FunctionType) -> ast.FunctionDef | None:
    """The source of a function of a watched module, as it was when that module was executed."""
    loader = getattr(function.__globals__.get("__spec__"), "loader", None)
    text = getattr(loader, "executed", None)
    if text is None:
        return None
    for node in ast.walk(ast.parse(text.data)):
        if isinstance(node, ast.FunctionDef) and node.name == function.__name__:
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            if first == function.__code__.co_firstlineno:
                return node
    return None


def _assigned(body: ast.FunctionDef, me: str) -> Iterator[tuple[str, Callable[[], object] | None]]:
    for statement in body.body:
        match statement:
            case ast.Assign(targets=[ast.Attribute(value=ast.Name(id=owner), attr=name)], value=value):
                pass
            case ast.AnnAssign(target=ast.Attribute(value=ast.Name(id=owner), attr=name), value=ast.expr() as value):
                pass
            case _:
                continue
        if owner == me:
            yield name, _literal(value)


def _literal(value: ast.expr) -> Callable[[], object] | None:
    match value:
        case ast.Call(func=ast.Name(id=name), args=[], keywords=[]) if name in _EMPTY:
            return _EMPTY[name]
    try:
        ast.literal_eval(value)
    except ValueError:
        return None
    return lambda: ast.literal_eval(value)
