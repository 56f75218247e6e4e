"""The JSON Schema of network.yaml, for editors: that of the models that read it, in one piece.

A schema can state most rules of the reader, which has the last word: it resolves numbers and words
more strictly than YAML libraries do.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from devserver.config.network import Root, Section

Schema = dict[str, Any]


def network_schema() -> Schema:
    # Before pydantic 2.14 a default whose class is not built yet cannot be written.
    sections = [Section]
    for each in sections:
        sections += each.__subclasses__()
        each.model_rebuild()
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


_REF = "#/$defs/"


def with_mods(network: Schema, configs: Mapping[str, Schema]) -> Schema:
    """Return a schema of network.yaml in which the `config` of each mod has its own schema.

    `configs`: the path of a mod to the schema of its configuration, as pydantic makes it. Changes neither argument.
    """
    result = deepcopy(network)
    if not configs:
        return result
    models = result.setdefault("$defs", {})
    entry = _entry(result)
    rules = entry.setdefault("allOf", [])
    for path, schema in sorted(configs.items()):
        name = f"{_spellings(path)[0]}.Config"
        models[name] = _moved(schema, f"{_REF}{name}/$defs/")
        config: Schema = {"$ref": f"{_REF}{name}"}
        if not schema.get("required"):
            # An empty `config:` is null, which means no value.
            config = {"anyOf": [config, {"type": "null"}]}
        needs = {} if not schema.get("required") else {"required": ["config"]}
        named = {"properties": {"name": {"enum": _spellings(path)}}, "required": ["name"]}
        rules.append({"if": named, "then": {"properties": {"config": config}, **needs}})
    return result


def _spellings(path: str) -> list[str]:
    """Return the ways to write a mod's path in network.yaml."""
    plain = path.replace("./", "mods.", 1) if path.startswith("./") else path
    local = plain.removeprefix("mods.")
    return [plain, f"./{local}"] if local != plain and "." not in local else [plain]


def _entry(schema: Schema) -> Schema:
    """Return the schema of one entry of `mods`, through all references."""
    found: Any = schema
    for step in ("network", "mods"):
        found = _followed(schema, _followed(schema, found)["properties"][step])
    entry: Schema = _followed(schema, found["items"])
    return entry


def _followed(root: Schema, schema: Any) -> Any:
    while "$ref" in schema:
        schema = root["$defs"][schema["$ref"].removeprefix(_REF)]
    return schema


def _moved(value: Any, prefix: str) -> Any:
    """Return a schema whose references lead to the new place of its definitions."""
    if isinstance(value, dict):
        return {
            key: prefix + each.removeprefix(_REF) if key == "$ref" and isinstance(each, str) else _moved(each, prefix)
            for key, each in value.items()
        }
    return [_moved(each, prefix) for each in value] if isinstance(value, list) else value
