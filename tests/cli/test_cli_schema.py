"""The JSON Schema of network.yaml agrees with the parser, as far as a schema can."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from processes import oa_dev

from devserver.cli.scaffold import network_files
from devserver.config.network_yaml import parse_network
from devserver.config.schema import network_schema
from devserver.errors import ConfigError
from devserver.model.forms_of_answers import json_schema

ROOT = Path(__file__).resolve().parents[2]
HEAD = "network:\n  name: team\n"

ACCEPTED = {
    "name alone": HEAD,
    "the sample": (ROOT / "network.yaml").read_text(encoding="utf-8"),
    "a new one": network_files("team")["network.yaml"],
    "mods": f"{HEAD}  mods:\n    - name: ./echo\n    - {{name: mods.wiki, enabled: false, config: {{a: [1]}}}}\n",
    "transports": f"{HEAD}  transports:\n    - {{type: http, config: {{host: localhost, port: 8}}}}\n    - type: mcp\n",
    "groups": f"{HEAD}  agent_groups:\n    admins: {{password_hash: abc, description: x, metadata: {{a: 1}}}}\n",
    "dev": f"{HEAD}dev:\n  mod_paths: [mods]\n  grants: {{ana: [read]}}\n  limits: {{drain: 0.5, held_events: 5}}\n",
    "restart": f"{HEAD}dev:\n  restart: ask\n",
    "restart rules": f"{HEAD}dev:\n  restart: {{policy: never, drain: 5}}\n",
    "older keys": f"{HEAD}  transport: http\n  host: localhost\n  port: 8800\n",
    "known elsewhere": f"{HEAD}  heartbeat_interval: 5\nlog_level: INFO\n",
    "unknown": f"{HEAD}  something_else_entirely: 1\n",
}

REFUSED = {
    "mods left empty": f"{HEAD}  mods:\n",
    "no network": "metadata: {}\n",
    "no name": "network:\n  mods: []\n",
    "empty name": "network:\n  name: ''\n",
    "number as name": "network:\n  name: 5\n",
    "network is a list": "network: [1]\n",
    "mod without name": f"{HEAD}  mods:\n    - enabled: true\n",
    "mod as text": f"{HEAD}  mods: [mods.echo]\n",
    "mod name": f"{HEAD}  mods:\n    - name: ../echo\n",
    "enabled": f"{HEAD}  mods:\n    - {{name: mods.echo, enabled: 'true'}}\n",
    "config": f"{HEAD}  mods:\n    - {{name: mods.echo, config: [1]}}\n",
    "mods as mapping": f"{HEAD}  mods: {{name: mods.echo}}\n",
    "port": f"{HEAD}  port: 70000\n",
    "transport": f"{HEAD}  transports:\n    - type: pigeon\n",
    "transport without type": f"{HEAD}  transports:\n    - config: {{port: 1}}\n",
    "mode": f"{HEAD}  mode: chaotic\n",
    "scope": f"{HEAD}dev:\n  grants: {{ana: [everything]}}\n",
    "limit": f"{HEAD}dev:\n  limits: {{drain: soon}}\n",
    "unknown limit": f"{HEAD}dev:\n  limits: {{patience: 5}}\n",
    "unknown in dev": f"{HEAD}dev:\n  colour: 5\n",
    "mods at the root": f"{HEAD}mods: []\n",
    "agents": f"{HEAD}  max_connections: 0\n",
}

_TYPES: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "null": type(None),
}


def fits(value: Any, schema: Any) -> bool:
    """Whether a value fits a schema: the part of JSON Schema that ours uses."""
    if isinstance(schema, bool):
        return schema
    unknown = schema.keys() - _CHECKS.keys() - {"$schema", "title", "description", "default"}
    assert not unknown, f"the schema uses {unknown}, which this test does not know"
    return all(_CHECKS[key](value, schema) for key in schema if key in _CHECKS)


def _is_typed(value: Any, schema: Any) -> bool:
    names = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    # To Python a truth is a number as well.
    return any(isinstance(value, _TYPES[name]) for name in names if isinstance(value, bool) == (name == "boolean"))


def _has_fitting_properties(value: Any, schema: Any) -> bool:
    known = schema["properties"]
    return not isinstance(value, dict) or all(fits(value[key], known[key]) for key in value if key in known)


def _has_fitting_others(value: Any, schema: Any) -> bool:
    others = schema["additionalProperties"]
    known = schema.get("properties", {})
    return not isinstance(value, dict) or all(fits(value[key], others) for key in value if key not in known)


_CHECKS: dict[str, Any] = {
    "anyOf": lambda value, schema: any(fits(value, each) for each in schema["anyOf"]),
    "type": _is_typed,
    "enum": lambda value, schema: value in schema["enum"],
    "properties": _has_fitting_properties,
    "additionalProperties": _has_fitting_others,
    "required": lambda value, schema: not isinstance(value, dict) or set(schema["required"]) <= value.keys(),
    "items": lambda value, schema: not isinstance(value, list) or all(fits(each, schema["items"]) for each in value),
    "pattern": lambda value, schema: not isinstance(value, str) or re.search(schema["pattern"], value) is not None,
    "minLength": lambda value, schema: not isinstance(value, str) or len(value) >= schema["minLength"],
    "minimum": lambda value, schema: not isinstance(value, int) or value >= schema["minimum"],
    "maximum": lambda value, schema: not isinstance(value, int) or value <= schema["maximum"],
    "exclusiveMinimum": lambda value, schema: not isinstance(value, int | float) or value > schema["exclusiveMinimum"],
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_the_parser_accepts_fits_the_schema(name: str) -> None:
    """An editor complains of nothing that runs."""
    parse_network(ACCEPTED[name])
    assert fits(yaml.safe_load(ACCEPTED[name]), network_schema())


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_schema_refuses_the_parser_refuses(name: str) -> None:
    """Both say no to the same mistakes."""
    with pytest.raises(ConfigError):
        parse_network(REFUSED[name])
    assert not fits(yaml.safe_load(REFUSED[name]), network_schema())


ODD = ("null", "''", "[]", "{}", "1", "0", "1.5", "true", "x", "{a: null}", "{a: []}", "[a]", "['']", "[null]")
NETWORK_KEYS = sorted(network_schema()["properties"]["network"]["properties"].keys() - {"name"})
DEV_KEYS = sorted(network_schema()["properties"]["dev"]["properties"])


@pytest.mark.parametrize(
    "line",
    [
        *(f"  {key}: " for key in NETWORK_KEYS),
        *(f"dev:\n  {key}: " for key in DEV_KEYS),
        *(f"{key}: " for key in ("dev", "metadata", "network_profile")),
    ],
)
def test_of_every_odd_value_both_say_the_same(line: str) -> None:
    """Empty, null, of another type: what one takes the other takes."""
    texts, schema = {odd: f"{HEAD}{line}{odd}\n" for odd in ODD}, network_schema()
    assert {odd: accepts(text) for odd, text in texts.items()} == {
        odd: fits(yaml.safe_load(text), schema) for odd, text in texts.items()
    }


def accepts(text: str) -> bool:
    """Whether the parser takes it."""
    try:
        parse_network(text)
    except ConfigError:
        return False
    return True


def test_the_command_prints_the_schema(tmp_path: Path) -> None:
    """As one JSON document, without a network."""
    assert json.loads(oa_dev(tmp_path, "schema").stdout) == network_schema()


def test_the_command_prints_the_schema_of_the_json_lines(tmp_path: Path) -> None:
    """Programs find the type of every line and of what each command prints."""
    told = json.loads(oa_dev(tmp_path, "schema", "events").stdout)
    assert told == json_schema()
    lines = {told["$defs"][each["$ref"].rpartition("/")[2]]["properties"]["type"]["const"] for each in told["anyOf"]}
    assert lines == {
        "ready",
        "plan",
        "outcome",
        "restart",
        "ignored",
        "notice",
        "mod_error",
        "agent",
        "asked",
        "blocked",
        "compared",
        "contract",
        "split",
        "guard",
        "replayed",
        "stopped",
        "error",
        "installed",
    }
    assert {"status", "reload", "wait reload", "check", "send"} <= told["commands"].keys()


def test_a_schema_of_something_else_is_refused(tmp_path: Path) -> None:
    """The problem names what there is."""
    done = oa_dev(tmp_path, "schema", "agents")
    assert done.returncode == 2
    assert "network" in done.stderr and "events" in done.stderr


def test_the_schema_describes_what_editors_show() -> None:
    """Descriptions, defaults and ranges come from the models that read the file."""
    network = network_schema()["properties"]["network"]["properties"]
    mod = network["mods"]["items"]["properties"]
    assert mod["name"]["description"].startswith("The import path")
    assert (network["port"]["default"], network["port"]["minimum"], network["port"]["maximum"]) == (8700, 1, 65535)
    assert "without effect here" in network["heartbeat_interval"]["description"]
