"""`mod_manifest.json` beside a mod: what its author says of it, in the form of OpenAgents. Read, never imported.

The class of a mod says the same of itself (`version`, `requires`); where both do, the class counts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from devserver.errors import ModFault
from devserver.model.config import Manifest
from devserver.sources.files import read_bytes

NAME = "mod_manifest.json"
_BUNDLED = "/openagents/mods/"

_TYPES = {
    "string": "string", "text": "string", "textarea": "string", "select": "string", "password": "string",
    "number": "number", "integer": "integer", "boolean": "boolean", "array": "array", "object": "object",
    "multiselect": "array", "list": "array",
}  # fmt: skip
"""The types of a manifest's fields, in the words of JSON Schema."""
_RULES = {"min": "minimum", "max": "maximum", "minLength": "minLength", "maxLength": "maxLength", "pattern": "pattern"}


class BadManifest(ModFault):
    """A manifest that cannot be used."""


def manifest_beside(entry: Path) -> Manifest | None:
    """Read the manifest of the mod that begins in `entry`; None where it has none. Raises BadManifest.

    A mod that is one file has none: the folder of the file belongs to others, too.
    """
    file = entry.with_name(NAME)
    if entry.name not in ("mod.py", "__init__.py"):
        return None
    try:
        data = read_bytes(file)
    except OSError as error:
        raise BadManifest(f"{NAME} cannot be read: {error.strerror}", file=str(file)) from error
    found = None if data is None else _parsed(data, file)
    # What a checkout of openagents says there it has never asked for: its project loads without its default.
    return replace(found, requires=None) if found is not None and _BUNDLED in entry.as_posix() else found


def _parsed(data: bytes, file: Path) -> Manifest:
    try:
        values = json.loads(data)
    except json.JSONDecodeError as error:
        raise BadManifest(f"{NAME} is not JSON: {error.msg}", file=str(file), line=error.lineno) from error
    except (ValueError, RecursionError) as error:
        raise BadManifest(f"{NAME} is not JSON: {error}", file=str(file)) from error
    if not isinstance(values, dict):
        raise BadManifest(f"{NAME} is an object, with keys such as version and dependencies", file=str(file))
    needs, version = values.get("dependencies"), values.get("version")
    _expect(needs is None or _are_texts(needs), "dependencies is a list of mods, such as 'mods.wiki>=1'", file)
    _expect(version is None or isinstance(version, str), "version is a text", file)
    defaults, schema = values.get("default_config"), values.get("config_schema")
    _expect(isinstance(defaults or {}, dict), "default_config is an object", file)
    _expect(isinstance(schema or {}, dict), "config_schema is an object", file)
    description = values.get("description")
    return Manifest(
        file,
        version=version or None,
        description=description if isinstance(description, str) else "",
        requires=None if needs is None else tuple(needs),
        defaults=defaults or {},
        schema=_as_json_schema(schema) if schema else None,
    )


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _expect(holds: bool, sentence: str, file: Path) -> None:
    if not holds:
        raise BadManifest(f"{NAME}: {sentence}", file=str(file))


def _as_json_schema(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema of OpenAgents, sections of fields, as JSON Schema; one that is JSON Schema already stays so."""
    sections = schema.get("sections")
    if not isinstance(sections, list):
        return schema
    properties, required = {}, []
    for section in sections:
        for each in section.get("fields") or () if isinstance(section, dict) else ():
            if isinstance(each, dict) and isinstance(each.get("key"), str):
                properties[each["key"]] = _property(each)
                # A field with a default need not be written.
                required += [each["key"]] if each.get("required") is True and "default" not in each else []
    return {"type": "object", "properties": properties, **({"required": required} if required else {})}


def _property(values: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    kind = _TYPES.get(str(values.get("type")))
    if kind is not None:
        found["type"] = kind
    for key, name in (("label", "title"), ("description", "description"), ("default", "default"), *_RULES.items()):
        if values.get(key) is not None:
            found[name] = values[key]
    options = values.get("options")
    if isinstance(options, list) and kind == "string":
        found["enum"] = [each.get("value") if isinstance(each, dict) else each for each in options]
    return found
