"""The JSON Schema of network.yaml, for editors: the keys out of the parser's own tables, their values out of one here.

An editor that goes by it accepts what the parser accepts as far as a schema can say so; the parser has the last word
(it resolves numbers and words more strictly than YAML libraries do). Reads nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from devserver.config import network_yaml as parser
from devserver.config.yaml_values import Keys
from devserver.model.config import DEFAULT_PORT
from devserver.model.lifecycle import Limits, RestartPolicy, RestartRules
from devserver.model.names import MOD_PATH
from devserver.model.principal import Scope

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string", "minLength": 1}
_MAYBE_TEXT: Schema = {"type": ["string", "null"], "minLength": 1}
_FREE: Schema = {"type": ["object", "null"]}
_FLAG: Schema = {"type": "boolean"}
_SECONDS: Schema = {"type": "number", "exclusiveMinimum": 0}
_PORT: Schema = {"type": "integer", "minimum": 1, "maximum": 65535, "default": DEFAULT_PORT}
_WITHOUT_EFFECT: Schema = {"description": "Known to OpenAgents; without effect here."}


def network_schema() -> Schema:
    """The schema (draft 2020-12)."""
    root = _section(parser._ROOT, {"network": _network(), "network_profile": _FREE, "metadata": _FREE, "dev": _dev()})
    for misplaced in ("mods", "transports", "agent_groups"):
        root["properties"][misplaced] = False
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "network.yaml of an OpenAgents network, as oa-dev reads it",
        **root,
        "required": ["network"],
    }


def _section(keys: Keys, values: Mapping[str, Any]) -> Schema:
    """An object with the keys of a parser's table. Raises KeyError where one that is read has no schema here."""
    read = {key: values[key] for key in sorted(keys.read)}
    known = dict.fromkeys(sorted(keys.known - keys.read), _WITHOUT_EFFECT)
    strict = {"additionalProperties": False} if keys.strict else {}
    return {"type": "object", "properties": read | known, **strict}


def _network() -> Schema:
    transports = {"enum": sorted(parser._TRANSPORT_TYPES)}
    values: dict[str, Any] = {
        "name": _TEXT,
        "node_id": {**_MAYBE_TEXT, "description": "The network's id; a new one at each start where it is left out."},
        "mode": {"enum": ["centralized", "decentralized"]},
        "transports": _list(_section(parser._TRANSPORT, {"type": transports, "config": _http()}) | _needs("type")),
        "manifest_transport": _MAYBE_TEXT,
        "recommended_transport": _MAYBE_TEXT,
        "mods": _list(_mod()),
        "agent_groups": {"type": ["object", "null"], "additionalProperties": _group()},
        "default_agent_group": _TEXT,
        "requires_password": _FLAG,
        "disable_agent_secret_verification": _FLAG,
        "agent_timeout": _SECONDS,
        "connection_timeout": _SECONDS,
        "max_connections": {"type": "integer", "minimum": 1},
        "transport": transports,
        "transport_config": _http(),
        "host": _TEXT,
        "port": _PORT,
    }
    return _section(parser._NETWORK, values) | _needs("name")


def _http() -> Schema:
    host = {**_TEXT, "description": "A loopback address. Another one has no effect: ask for it on the command line."}
    return _or_null(_section(parser._HTTP, {"host": host, "port": _PORT}))


def _mod() -> Schema:
    name = {
        "type": "string",
        "pattern": f"^{MOD_PATH}$",
        "description": "The import path, as in mods.wiki, or ./wiki for mods/wiki beside this file.",
    }
    enabled = {**_FLAG, "default": True}
    config = {**_FREE, "description": "Becomes the mod's self.config."}
    return _section(parser._MOD, {"name": name, "enabled": enabled, "config": config}) | _needs("name")


def _group() -> Schema:
    text = {"type": ["string", "null"]}
    hashed = {**text, "description": "SHA-256 in hexadecimal. Only the default group may go without."}
    return _section(parser._GROUP, {"password_hash": hashed, "description": text, "metadata": _FREE})


def _dev() -> Schema:
    scopes = {"enum": [each.value for each in Scope]}
    limits = _section(parser._LIMITS, {each.name: _limit(getattr(Limits(), each.name)) for each in fields(Limits)})
    values = {
        "mod_paths": {**_list(_TEXT), "description": "Where mods may be loaded from at run time."},
        "grants": {"type": ["object", "null"], "additionalProperties": _list(scopes)},
        "limits": _or_null(limits),
        "restart": _restart(),
    }
    return _or_null(_section(parser._DEV, values))


def _restart() -> Schema:
    policy = {"enum": [each.value for each in RestartPolicy], "default": RestartRules().policy.value}
    values = {"policy": policy, "drain": {**_SECONDS, "default": RestartRules().drain}}
    described = "Who decides that the process replaces itself in place, and how long handlers have to finish."
    return {"anyOf": [policy, _section(parser._RESTART, values)], "description": described}


def _limit(default: float) -> Schema:
    kind = {"type": "integer", "minimum": 1} if isinstance(default, int) else _SECONDS
    return {**kind, "default": default}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _or_null(section: Schema) -> Schema:
    """A section that may be left empty."""
    return {**section, "type": ["object", "null"]}


def _needs(*keys: str) -> Schema:
    return {"required": list(keys)}
