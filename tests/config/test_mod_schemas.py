"""The schema for editors knows the configuration that each mod declares."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from pydantic import BaseModel

from devserver.config.schema import network_schema, with_mods
from devserver.config.typed import config_schema_of


class Channel(BaseModel):
    """A nested model, which the schema defines once."""

    name: str


class Config(BaseModel):
    """The configuration of a mod."""

    greeting: str
    channels: list[Channel] = []


def rule_of(schema: dict[str, Any]) -> dict[str, Any]:
    """The one rule for the entries of `mods`."""
    (rule,) = schema["properties"]["network"]["properties"]["mods"]["items"]["allOf"]
    return rule


def test_the_configuration_of_a_mod_has_the_schema_of_its_model() -> None:
    """For the mod of that name alone, in both spellings; references lead to the model's own definitions."""
    schema = with_mods(network_schema(), {"mods.hello": config_schema_of(Config)})
    rule = rule_of(schema)
    assert rule["if"]["properties"]["name"] == {"enum": ["mods.hello", "./hello"]}
    assert rule["then"] == {
        "properties": {"config": {"$ref": "#/$defs/mods.hello.Config"}},
        "required": ["config"],
    }
    model = schema["$defs"]["mods.hello.Config"]
    assert model["properties"]["channels"]["items"] == {"$ref": "#/$defs/mods.hello.Config/$defs/Channel"}
    assert model["$defs"]["Channel"]["properties"]["name"]["type"] == "string"
    assert model["additionalProperties"] is False


@pytest.mark.parametrize(("path", "names"), [("./a", ["mods.a", "./a"]), ("mods.a.b", ["mods.a.b"]), ("x.y", ["x.y"])])
def test_a_mod_is_named_in_every_spelling(path: str, names: list[str]) -> None:
    """`./a` and `mods.a` are one mod."""
    assert rule_of(with_mods(network_schema(), {path: {"type": "object"}}))["if"]["properties"]["name"]["enum"] == names


def test_a_configuration_without_needs_may_be_left_empty() -> None:
    """`config:` with nothing behind it is null."""
    (then,) = [rule_of(with_mods(network_schema(), {"mods.a": {"type": "object"}}))["then"]]
    assert then == {"properties": {"config": {"anyOf": [{"$ref": "#/$defs/mods.a.Config"}, {"type": "null"}]}}}


def test_the_given_schemas_stay_as_they_are() -> None:
    """The result is another object."""
    network, model = network_schema(), config_schema_of(Config)
    before = copy.deepcopy((network, model))
    with_mods(network, {"mods.hello": model})
    assert (network, model) == before
