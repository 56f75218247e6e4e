"""The JSON Schema of network.yaml, for editors: that of the models that read it, in one piece.

A schema can state most rules of the reader, which has the last word: it resolves numbers and words
more strictly than YAML libraries do.
"""

from __future__ import annotations

from typing import Any

from devserver.config.network import Root

Schema = dict[str, Any]


def network_schema() -> Schema:
    schema = Root.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_inlined(schema, schema.pop("$defs"))}


def _inlined(value: Any, models: Schema) -> Any:
    """Return a schema without references; nullable values have null in their type."""
    if isinstance(value, list):
        return [_inlined(each, models) for each in value]
    if not isinstance(value, dict):
        return value
    own = {key: each for key, each in value.items() if key not in ("$ref", "nullable", "anyOf")}
    own.pop("title", None) if isinstance(own.get("title"), str) else None
    if "$ref" in value:
        own = {**_inlined(models[value["$ref"].rpartition("/")[2]], models), **own}
    either = [each for each in value.get("anyOf", ()) if each.get("type") != "null"]
    own = {**own, **(either[0] if len(either) == 1 else {"anyOf": either} if either else {})}
    is_nullable = value.get("nullable") or len(either) < len(value.get("anyOf", ()))
    found = {key: _inlined(each, models) for key, each in own.items()}
    return {**found, "type": [found["type"], "null"]} if is_nullable else found
