"""The same instance under its edited class, with all its data.

A second instance, made and thrown away, shows the effects of the edited constructor: the handlers
that it registers, the attributes that it adds or changes. The live instance gets these, unless it
has changed them itself meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import FunctionType, MethodType
from typing import Any

from devserver.bridge.construct import construct
from devserver.bridge.keep import data_of
from devserver.bridge.upstream import Entry
from devserver.errors import HookFailed
from devserver.network.compare import same

Undo = Callable[[], None]

_MISSING = object()


class Birth:
    """The plain data and handlers that the constructor of an instance has made."""

    def __init__(self, instance: Any) -> None:
        self.data: Mapping[str, Any] = data_of(instance)
        self.entries: tuple[Entry, ...] = tuple(instance._event_handlers)


def take_class(instance: Any, birth: Birth, new_class: type[Any], mod_name: str) -> tuple[Birth, Undo]:
    """Make `instance` one of `new_class`, as if that had constructed it; return the undo.

    Raises the exceptions of the new constructor, HookFailed if the classes differ too much; nothing
    has changed then.
    """
    if new_class is type(instance):
        return birth, _nothing
    probe = construct(new_class, mod_name)
    reborn = Birth(probe)
    old_class, entries = type(instance), list(instance._event_handlers)
    try:
        instance.__class__ = new_class
    except TypeError as error:
        raise HookFailed(f"{mod_name}: the instance cannot take its new class: {error}") from error
    taken = _other_attributes(instance, probe, birth, reborn)
    before = {name: vars(instance).get(name, _MISSING) for name in taken}

    def undo() -> None:
        instance.__class__ = old_class
        instance._event_handlers = entries
        _set_attributes(instance, before)

    _set_attributes(instance, {name: _turned(value, probe, instance) for name, value in taken.items()})
    by_hand = [each for each in entries if not any(each is known for known in birth.entries)]
    instance._event_handlers = [*probe._event_handlers, *(_renewed(each, instance) for each in by_hand)]
    # The probe is thrown away: what is bound to it goes on with the instance.
    for entry in probe._event_handlers:
        entry.handler = _turned(entry.handler, probe, instance)
    return reborn, undo


def _nothing() -> None:
    """Undo nothing: the class is the same."""


def _other_attributes(instance: Any, probe: Any, birth: Birth, reborn: Birth) -> dict[str, Any]:
    """Return the edited constructor's attributes that the instance lacks, or has unchanged."""
    live = vars(instance)

    def is_wanted(name: str) -> bool:
        if name not in live:
            return True
        is_other = name in birth.data and name in reborn.data and not same(birth.data[name], reborn.data[name])
        return is_other and same(birth.data[name], live[name])

    return {name: value for name, value in vars(probe).items() if is_wanted(name)}


def _set_attributes(instance: Any, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        if value is _MISSING:
            vars(instance).pop(name, None)
        else:
            setattr(instance, name, value)


def _renewed(entry: Entry, instance: Any) -> Entry:
    """Return the new class's version of a handler that was registered later."""
    name = getattr(entry.handler, "__name__", "")
    is_method = getattr(entry.handler, "__self__", None) is instance and hasattr(type(instance), name)
    return entry.model_copy(update={"handler": getattr(instance, name)}) if is_method else entry


def _turned(value: Any, probe: Any, instance: Any) -> Any:
    """Return an object that the constructor made of `probe`, now of `instance`."""
    if value is probe:
        return instance
    if isinstance(value, MethodType) and value.__self__ is probe:
        return MethodType(value.__func__, instance)
    if isinstance(value, FunctionType):
        _turn_closure(value, probe, instance)
    elif not isinstance(value, type):
        for name, each in list(getattr(value, "__dict__", {}).items()):
            if each is probe:
                setattr(value, name, instance)
            elif isinstance(each, MethodType) and each.__self__ is probe:
                setattr(value, name, MethodType(each.__func__, instance))
            elif isinstance(each, FunctionType):
                _turn_closure(each, probe, instance)
    return value


def _turn_closure(function: FunctionType, probe: Any, instance: Any) -> None:
    for cell in function.__closure__ or ():
        try:
            if cell.cell_contents is probe:
                cell.cell_contents = instance
        except ValueError:
            # An empty cell: the variable has not been set.
            continue
