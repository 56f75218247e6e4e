"""The events that mods handle, as lines: names, payloads and descriptions. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from devserver.ui.look import View
from devserver.ui.segments import Line, dim, plain, strong


def handler_lines(mods: Sequence[Mapping[str, Any]], view: View) -> tuple[Line, ...]:
    """Return the handlers of mods in lines.

    Args:
        mods: each with `mod_id`, `generation` and `handlers` (each with `events`, `description` and `payload`, which
            is a JSON schema or null).
    """
    return tuple(line for each in mods for line in _mod(each, view))


def _mod(row: Mapping[str, Any], view: View) -> Iterator[Line]:
    nothing = "" if row["handlers"] else "  handles no event"
    yield (strong(str(row["mod_id"])), plain(f" v{row['generation']}"), dim(nothing))
    for handler in row["handlers"]:
        first = str(handler["description"]).partition("\n")[0]
        for event in handler["events"]:
            yield (plain("  "), strong(str(event)), dim(f"  {first}" if first else ""))
        if handler["payload"] is not None:
            for line in _payload(handler["payload"]):
                yield (plain(f"   {view.dot}"), plain(line))


def _payload(schema: Mapping[str, Any]) -> Iterator[str]:
    """Return a line for each field: its name, type, whether it is optional, its description."""
    needed = set(schema.get("required", ()))
    for name, field in schema.get("properties", {}).items():
        default = "" if name in needed else ", optional"
        about = f": {field['description']}" if field.get("description") else ""
        yield f"{name} ({_type(field, schema.get('$defs', {}))}{default}){about}"


_TYPES = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false", "null": "null"}


def _type(field: Mapping[str, Any], models: Mapping[str, Any]) -> str:
    if "$ref" in field:
        name = str(field["$ref"]).rpartition("/")[2]
        return _type(models.get(name, {"type": "object"}), {})
    if "enum" in field or "const" in field:
        return " | ".join(map(str, field.get("enum", [field.get("const")])))
    if "anyOf" in field:
        return " or ".join(dict.fromkeys(_type(each, models) for each in field["anyOf"]))
    if field.get("type") == "array":
        items = field.get("items")
        return f"list of {_type(items, models)}" if isinstance(items, dict) and items else "list"
    return _TYPES.get(str(field.get("type")), str(field.get("type", "anything")))
