"""Values for the pydantic models that mods declare: configurations and payloads of handlers.

Turns the refusals of a model into one sentence for each value, in the words of JSON and YAML.
Imports no pydantic: a mod that declares a model has imported it, and a network without such mods
never pays for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from devserver.model.names import near

MOST_TOLD = 20
"""The most refused values of one mapping that are told."""

Loc = tuple[str | int, ...]

_SECRET_NAME = re.compile(r"password|secret|token|api_key", re.IGNORECASE)
_LONGEST_SHOWN = 40

_WANTED = {
    "string_type": "a text",
    "string_unicode": "a text that is valid Unicode",
    "string_too_short": "a text of at least {min_length} characters",
    "string_too_long": "a text of at most {max_length} characters",
    "string_pattern_mismatch": "a text that matches {pattern}",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a smaller whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "none_required": "null",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "frozen_set_type": "a list",
    "too_short": "{field_type} of at least {min_length} entries",
    "too_long": "{field_type} of at most {max_length} entries",
    "dict_type": "an object",
    "mapping_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "dataclass_type": "an object",
    "greater_than": "above {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "below {lt}",
    "less_than_equal": "at most {le}",
    "multiple_of": "a multiple of {multiple_of}",
    "literal_error": "one of {expected}",
    "enum": "one of {expected}",
}
"""What a value has to be, by pydantic's name for the error; its context fills the braces."""


class Misfit(NamedTuple):
    """A value that a model refuses. `loc` leads to it; `kind` is pydantic's word for the error.

    `about_key`: the key itself is wrong, not its value.
    """

    loc: Loc
    kind: str
    sentence: str
    hint: str | None = None
    about_key: bool = False


class DoesNotFit(ValueError):
    """Values that a model refuses; `misfits` has one entry for each, at most MOST_TOLD."""

    def __init__(self, misfits: tuple[Misfit, ...], more: int = 0) -> None:
        also = [f"and {more} more" if more > 1 else "and one more"] if more else []
        told = [each.sentence if each.hint is None else f"{each.sentence} ({each.hint})" for each in misfits]
        super().__init__("; ".join(told + also))
        self.misfits = misfits


def is_model(thing: object) -> bool:
    """Return whether something is a class of pydantic's `BaseModel`."""
    return isinstance(thing, type) and hasattr(thing, "model_validate") and hasattr(thing, "__pydantic_validator__")


def fitted(model: Any, values: Mapping[str, Any], *, closed: bool = False) -> Any:
    """Make an instance of `model`, a pydantic model, of `values`.

    With `closed`, a key that the model does not have is refused, unless the model decides on such
    keys itself (`extra`). Raises DoesNotFit.
    """
    unknown: list[Misfit] = []
    if closed and model.model_config.get("extra") is None:
        known = keys_of(model)
        unknown = [key_misfit((key,), known) for key in values if key not in known]
    try:
        found = model.__pydantic_validator__.validate_python(values)
    except ValueError as error:
        details = error.errors(include_url=False) if hasattr(error, "errors") else None
        if details is None:
            raise
        misfits = [*unknown, *(_misfit(model, values, each) for each in details)]
        raise DoesNotFit(tuple(misfits[:MOST_TOLD]), max(len(misfits) - MOST_TOLD, 0)) from None
    if unknown:
        raise DoesNotFit(tuple(unknown[:MOST_TOLD]), max(len(unknown) - MOST_TOLD, 0))
    return found


def schema_of(model: Any) -> dict[str, Any]:
    """Return the JSON schema of a pydantic model; for one that has none, an object whose description says why."""
    try:
        schema: dict[str, Any] = model.model_json_schema()
    except Exception as error:  # also exceptions of a mod's own types
        return {"type": "object", "title": model.__name__, "description": f"No schema: {error}".partition("\n")[0]}
    return schema


def config_schema_of(model: Any) -> dict[str, Any]:
    """Return the schema of a mod's configuration, closed if `fitted` refuses unknown keys."""
    closed = {} if model.model_config.get("extra") is not None else {"additionalProperties": False}
    return {**schema_of(model), **closed}


def keys_of(model: Any) -> set[str]:
    """Return the keys that a model reads at its top level, aliases included."""
    found: set[str] = set()
    for name, field in model.model_fields.items():
        alias = field.validation_alias or field.alias
        choices = getattr(alias, "choices", [alias])
        found |= {each for each in choices if isinstance(each, str)}
        paths = (getattr(each, "path", None) for each in choices)
        found |= {path[0] for path in paths if path and isinstance(path[0], str)}
        if alias is None or model.model_config.get("populate_by_name") or model.model_config.get("validate_by_name"):
            found.add(name)
    return found


def key_misfit(loc: Loc, known: Collection[str]) -> Misfit:
    meant = near(str(loc[-1]), known)
    hint = None if meant is None else f"did you mean {meant!r}?"
    return Misfit(loc, "extra_forbidden", f"unknown key {named(loc)}", hint, about_key=True)


def _misfit(model: Any, values: Mapping[str, Any], error: Mapping[str, Any]) -> Misfit:
    kind, loc = error["type"], _found(values, error["loc"], error["type"])
    if kind == "extra_forbidden":
        return key_misfit(loc, keys_of(model) if len(loc) == 1 else ())
    return Misfit(loc, kind, _sentence(loc, error))


def _found(values: Any, loc: Loc, kind: str) -> Loc:
    """Return the part of a location that leads through values: pydantic names unions, too."""
    found: list[str | int] = []
    for number, step in enumerate(loc):
        is_index = isinstance(values, list) and isinstance(step, int) and step < len(values)
        if is_index or (isinstance(values, Mapping) and step in values):
            values = values[step]
        elif kind != "missing" or number + 1 < len(loc):
            continue
        found.append(step)
    return tuple(found)


def _sentence(loc: Loc, error: Mapping[str, Any]) -> str:
    kind, context = error["type"], error.get("ctx") or {}
    if kind == "missing":
        return f"{named(loc)} is missing"
    wanted = _WANTED.get(kind)
    if wanted is None:
        # A validator of the mod's own has its own words.
        text = str(context["error"]) if kind in ("value_error", "assertion_error") and "error" in context else ""
        message = str(error["msg"])
        text = text or message[:1].lower() + message[1:]
        return f"{named(loc)}: {text}" if loc else text
    shown = _filled(wanted, context)
    given = described(loc, error["input"], kind)
    return f"{named(loc) if loc else 'this'} must be {shown}, not {given}"


def _filled(wanted: str, context: Mapping[str, Any]) -> str:
    if "{expected}" in wanted:
        return wanted.format(expected=str(context.get("expected", "")).replace("'", ""))
    if wanted.endswith("{min_length} characters") and context.get("min_length") == 1:
        return "a text that is not empty"
    kinds = {"List": "a list", "Tuple": "a list", "Set": "a list", "Dictionary": "an object"}
    context = {**context, "field_type": kinds.get(str(context.get("field_type")), "a list")}
    return wanted.format(**context)


def described(loc: Loc, given: object, kind: str) -> str:
    """Return a refused value in few words; never the value of a name that sounds secret."""
    if kind == "string_too_long" and isinstance(given, str):
        return f"one of {len(given)}"
    if kind in ("too_long", "too_short") and isinstance(given, list | dict):
        return f"one of {len(given)}"
    if isinstance(given, list):
        return "a list"
    if isinstance(given, Mapping):
        return "an object"
    is_secret = any(isinstance(part, str) and _SECRET_NAME.search(part) for part in loc)
    if isinstance(given, str) and (is_secret or len(given) > _LONGEST_SHOWN):
        return "a text" if kind != "string_pattern_mismatch" else "this one"
    try:
        return json.dumps(given, ensure_ascii=not isinstance(given, str) or not given.isprintable())
    except (TypeError, ValueError):  # JSON has no form for it
        return f"a value of type {type(given).__name__}"


def named(loc: Loc) -> str:
    """Return a place in the values as people write it: "files[0].name"."""
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return json.dumps(text, ensure_ascii=not text.isprintable())
