"""Reads the files beside a mod: `mod_manifest.json`, as OpenAgents has it, and `pyproject.toml`.

The class of a mod may say the same (`version`, `requires`); then the class counts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from devserver.errors import ModFault
from devserver.model.config import Manifest
from devserver.model.declared import Declarations, Place
from devserver.sources.declarations import line_of, read_declarations
from devserver.sources.files import read_bytes

NAME = "mod_manifest.json"
PROJECT = "pyproject.toml"
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


def declared_in(entry: Path, data: bytes) -> Declarations:
    """Return what the mod with the source `data` at `entry` declares, with the files beside it.

    Raises SyntaxError for a source that cannot be read, and BadManifest.
    """
    return completed(read_declarations(data, entry), manifest_beside(entry))


def completed(declared: Declarations, manifest: Manifest | None) -> Declarations:
    """Complete the declarations of a source by the files beside it, and always their packages."""
    if manifest is None:
        return declared
    said = {*declared.where, *declared.computed}
    return replace(
        declared,
        requires=declared.requires if "requires" in said else manifest.requires or (),
        version=declared.version if "version" in said else manifest.version or declared.version,
        packages=tuple(dict.fromkeys((*declared.packages, *manifest.packages))),
        where={**manifest.where, **declared.where},
    )


def manifest_beside(entry: Path) -> Manifest | None:
    """Read the files beside the mod that begins in `entry`; None without any. Raises BadManifest. A
    mod that is one file has none: the folder of the file belongs to others, too."""
    if entry.name not in ("mod.py", "__init__.py"):
        return None
    file, project = entry.with_name(NAME), entry.with_name(PROJECT)
    said, packaged = _read(file), _read(project)
    found = None if said is None else _parsed(said, file)
    if found is not None and _BUNDLED in entry.as_posix():
        # A checkout of openagents says there something that it never meant: its project loads
        # without its default.
        found = replace(found, requires=None)
    return found if packaged is None else _with_project(found or Manifest(()), packaged, project)


def _read(file: Path) -> bytes | None:
    try:
        return read_bytes(file)
    except OSError as error:
        raise BadManifest(f"{file.name} cannot be read: {error.strerror}", file=str(file)) from error


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
        (file,),
        version=version or None,
        description=description if isinstance(description, str) else "",
        requires=None if needs is None else tuple(needs),
        defaults=defaults or {},
        schema=_as_json_schema(schema) if schema else None,
        where=_places(needs or (), version, data.decode("utf-8", "replace"), file),
    )


def _with_project(found: Manifest, data: bytes, file: Path) -> Manifest:
    """Return the manifest with pyproject.toml's parts: packages, version, description."""
    import tomllib  # few mods have such a file

    try:
        text = data.decode()
        project = tomllib.loads(text).get("project", {})
    except ValueError as error:
        found_at = re.search(r"at line (\d+)", str(error))
        line = int(found_at[1]) if found_at else 1
        raise BadManifest(f"{PROJECT} is not TOML: {error}", file=str(file), line=line) from error
    _expect(isinstance(project, dict), "project is a table", file)
    packages, version = project.get("dependencies", []), project.get("version")
    _expect(_are_texts(packages), "dependencies is a list of packages, such as 'idna>=3,<4'", file)
    _expect(version is None or isinstance(version, str), "version is a text", file)
    description = project.get("description")
    return replace(
        found,
        files=(*found.files, file),
        version=found.version or version or None,
        description=found.description or (description if isinstance(description, str) else ""),
        packages=tuple(packages),
        where={**_places(packages, version, text, file), **found.where},
    )


def _places(needs: Iterable[str], version: str | None, text: str, file: Path) -> dict[str, Place]:
    lines = text.splitlines()
    found = {each: Place(file, line_of(each, lines)) for each in needs}
    return {**found, "version": Place(file, line_of(version, lines))} if version else found


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _expect(holds: bool, sentence: str, file: Path) -> None:
    if not holds:
        raise BadManifest(f"{file.name}: {sentence}", file=str(file))


def _as_json_schema(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the schema of OpenAgents, sections of fields, as JSON Schema, which stays as it is."""
    sections = schema.get("sections")
    if not isinstance(sections, list):
        return schema
    properties, required = {}, []
    for section in sections:
        for each in section.get("fields") or () if isinstance(section, dict) else ():
            if isinstance(each, dict) and isinstance(each.get("key"), str):
                properties[each["key"]] = _property(each)
                # A field with a default may be left out.
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
