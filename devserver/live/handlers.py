"""The handlers of one instance of a mod: how each is called, and its description.

Calls none of them. A handler with a model for its payload is wrapped, so that a payload that does
not fit never reaches it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from devserver.config.typed import DoesNotFit, fitted, is_model, schema_of
from devserver.errors import HandlerFault
from devserver.mod import BaseMod, Handler, handler_patterns
from devserver.model.event import Event, EventResponse, matches

AGENT_CAME = "system.notification.register_agent"
AGENT_WENT = "system.notification.unregister_agent"

_MEMORY = 1000


class HandlerTable:
    """The handlers of one instance, in the order of its classes, those registered by hand last."""

    def __init__(self, entries: Iterable[tuple[Sequence[str], Handler]]) -> None:
        self._entries: tuple[tuple[tuple[str, ...], Handler], ...] = tuple((tuple(p), h) for p, h in entries)
        self._memory: dict[str, tuple[Handler, ...]] = {}
        self.patterns = tuple(dict.fromkeys(pattern for patterns, _ in self._entries for pattern in patterns))
        """Every pattern of some handler, each once."""

    def find(self, event_name: str) -> tuple[Handler, ...]:
        """Return the handlers for an event of this name, in order."""
        known = self._memory.get(event_name)
        if known is None:
            known = tuple(h for patterns, h in self._entries if any(matches(p, event_name) for p in patterns))
            if len(self._memory) >= _MEMORY:
                self._memory.clear()
            self._memory[event_name] = known
        return known

    def names(self, event_name: str) -> bool:
        """Return whether a pattern other than `*` covers an event."""
        return any(matches(pattern, event_name) for pattern in self.patterns if pattern != "*")

    def needed(self) -> dict[str, frozenset[str]]:
        """Return the keys that each event's payload needs, as far as its handler's model says."""
        declared = ((p, h) for p, h in self._entries if isinstance(h, PayloadHandler))
        return {each: _required(handler.model) for patterns, handler in declared for each in patterns}

    def described(self) -> list[dict[str, Any]]:
        """Describe each handler: events (patterns), handler (its name), description (its docstring), payload.

        `payload` is the JSON schema of the payload that the handler declares, None for a handler that takes any.
        """
        shown = (each for each in self._entries if not {AGENT_CAME, AGENT_WENT}.issuperset(each[0]))
        return [_described(patterns, handler) for patterns, handler in shown]


class PayloadHandler:
    """A handler that takes its payload as an instance of a model. A payload that does not fit never reaches it."""

    __slots__ = ("handler", "model")

    def __init__(self, handler: Callable[[Event, Any], Any], model: Any) -> None:
        self.handler = handler
        self.model = model

    def __call__(self, event: Event) -> Any:
        try:
            payload = fitted(self.model, event.payload)
        except DoesNotFit as error:
            # Answer a payload that does not fit: a sentence for each value, and the same in
            # `data.errors` for programs.
            message = f"{event.event_name}: {error}"
            errors = [{"loc": list(each.loc), "type": each.kind, "message": each.sentence} for each in error.misfits]
            return EventResponse(
                False, message, {"code": "payload_refused", "error": message, "errors": errors}, event.event_name
            )
        return self.handler(event, payload)


def _required(model: Any) -> frozenset[str]:
    fields = getattr(model, "model_fields", None)
    if not isinstance(fields, dict):
        return frozenset()
    return frozenset(str(field.alias or name) for name, field in fields.items() if field.is_required())


def collect_handlers(instance: BaseMod) -> HandlerTable:
    """Collect an instance's handlers: marked methods (most derived class), notices, added by hand.

    Raises TypeError, naming it, for a handler that cannot be called with an event, or with an event
    and its payload.
    """
    own = [each for each in reversed(type(instance).__mro__) if each not in (object, BaseMod)]
    # As they stand in the classes: to ask for a descriptor runs code of the mod.
    attributes = {name: value for cls in own for name, value in vars(cls).items()}
    marked = [
        (patterns, getattr(instance, name))
        for name, value in attributes.items()
        if (patterns := handler_patterns(value))
    ]
    entries: list[tuple[Sequence[str], Handler]] = [*_notices(instance), *marked, *instance._registered]
    return HandlerTable((names, as_called(handler, names, type(instance))) for names, handler in entries)


def as_called(handler: Callable[..., Any], names: Sequence[str], owner: type) -> Handler:
    """Return the function to call with an event; of a handler with a model, a `PayloadHandler`.

    `owner`: the class whose names an annotation may use. Raises TypeError as `collect_handlers`.
    """
    if not callable(handler):
        raise TypeError(f"the handler for {', '.join(names)} cannot be called: {handler!r}")
    model = _payload_model(handler, owner)
    if model is not None:
        return PayloadHandler(handler, model)
    if not takes_one(handler):
        name = getattr(handler, "__name__", repr(handler))
        code = getattr(getattr(handler, "__func__", handler), "__code__", None)
        raise HandlerFault(
            f"{name}(), the handler for {', '.join(names)}, must take one argument: def {name}(self, event); "
            f"to get the payload too, annotate it with a pydantic model: def {name}(self, event, payload: Model)",
            file=None if code is None else code.co_filename,
            line=1 if code is None else code.co_firstlineno,
        )
    return handler


def _payload_model(handler: Callable[..., Any], owner: type) -> Any:
    """Return the pydantic model that annotates the second argument of a handler, or None."""
    function = getattr(handler, "__func__", handler)
    code = getattr(function, "__code__", None)
    if code is not None and code.co_flags & inspect.CO_VARARGS:
        # A decorator's wrapper, which passes on all its arguments.
        function = inspect.unwrap(function)
        code = getattr(function, "__code__", None)
    own = 1 if hasattr(handler, "__func__") else 0
    if code is None or code.co_argcount < own + 2:
        return None
    annotation = function.__annotations__.get(code.co_varnames[own + 1])
    if isinstance(annotation, str):
        # Left as text by `from __future__ import annotations`.
        try:
            annotation = eval(annotation, function.__globals__, dict(vars(owner)))
        except Exception as error:
            if takes_one(handler):
                return None
            problem = f"{function.__qualname__}: cannot evaluate the annotation {annotation!r}: {error}"
            raise TypeError(problem) from error
    return annotation if is_model(annotation) else None


def takes_one(handler: Callable[..., Any]) -> bool:
    """Return whether a function can be called with one argument. Other callables count so."""
    function = getattr(handler, "__func__", handler)
    code = getattr(function, "__code__", None)
    if code is None:
        return True
    most = code.co_argcount - (function is not handler)
    fewest = most - len(function.__defaults__ or ())
    named = code.co_kwonlyargcount - len(function.__kwdefaults__ or {})
    return fewest <= 1 and not named and (most >= 1 or bool(code.co_flags & inspect.CO_VARARGS))


def _notices(instance: BaseMod) -> list[tuple[Sequence[str], Handler]]:
    """Return the methods that hear of agents that come and go, if its class has them."""
    found: list[tuple[Sequence[str], Handler]] = []
    if type(instance).handle_register_agent is not BaseMod.handle_register_agent:

        def came(event: Event) -> Any:
            return instance.handle_register_agent(event.payload["agent_id"], event.payload.get("metadata") or {})

        found.append(((AGENT_CAME,), came))
    if type(instance).handle_unregister_agent is not BaseMod.handle_unregister_agent:

        def went(event: Event) -> Any:
            return instance.handle_unregister_agent(event.payload["agent_id"])

        found.append(((AGENT_WENT,), went))
    return found


def _described(patterns: tuple[str, ...], handler: Handler) -> dict[str, Any]:
    model = handler.model if isinstance(handler, PayloadHandler) else None
    named = handler.handler if isinstance(handler, PayloadHandler) else handler
    return {
        "events": list(patterns),
        "handler": getattr(named, "__name__", type(named).__name__),
        "description": inspect.cleandoc(getattr(named, "__doc__", None) or ""),
        "payload": None if model is None else schema_of(model),
    }
