"""Fills the reference pages from the code, so that a page cannot say something else than `--help` does.

A line `{{ name }}` of a page is replaced by the table that the function of that name in `TABLES` makes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import typer

_PLACE = re.compile(r"^\{\{ (\w+) \}\}$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by mkdocs with the text of each page. Raises KeyError for a table that does not exist."""
    return _PLACE.sub(lambda found: TABLES[found[1]](), markdown)


def rows(*cells: tuple[str, ...]) -> str:
    """Lay out a table; the first row is its head."""
    head, *body = cells
    lines = [head, tuple("---" for _ in head), *body]
    return "\n".join("| " + " | ".join(each.replace("|", "\\|") for each in line) + " |" for line in lines)


def commands() -> str:
    """Every command of `oa-dev` with its arguments and options."""
    from devserver.cli.app import app

    return "\n\n".join(_command(name, each) for name, each in _all_commands(typer.main.get_command(app)))


def _all_commands(group: Any, prefix: str = "oa-dev") -> Iterator[tuple[str, Any]]:
    for name, each in group.commands.items():
        if hasattr(each, "commands"):
            yield from _all_commands(each, f"{prefix} {name}")
        else:
            yield f"{prefix} {name}", each


def _command(name: str, command: Any) -> str:
    own = [each for each in command.params if each.name not in ("help", "prog_name")]
    table = [("option or argument", "what", "default")]
    for each in own:
        names = ", ".join(f"`{name}`" for name in (*each.opts, *each.secondary_opts)) if each.opts else each.name
        is_argument = each.param_type_name == "argument"
        shown = f"`{each.metavar or (each.name or '').upper()}`" if is_argument else names
        default = "" if each.default in (None, (), False) or callable(each.default) else f"`{each.default}`"
        table.append((shown, (getattr(each, "help", "") or "").strip(), default))
    text = f"### `{name}`\n\n{(command.help or '').strip()}\n"
    return text + (f"\n{rows(*table)}" if own else "")


def keys() -> str:
    """The keys of the terminal."""
    from devserver.ui.keymap import KEYS

    def shown(key: str, description: str, command: str) -> tuple[str, ...]:
        return f"`{key.replace(' ', 'space')}`", description, f"`oa-dev {command}`" if command else ""

    found = (shown(each.key, each.description, each.command) for each in KEYS)
    return rows(("key", "what", "the same from another terminal"), *found)


def settings() -> str:
    """The settings of a run, under each name that they have."""
    from devserver.config.settings import SETTINGS

    shown = (
        (f"`{each.flag}`", f"`{each.variable}`", f"`{each.key}`", each.what, f"`{each.default}`") for each in SETTINGS
    )
    return rows(("option", "environment, `.env`", "`[tool.oa-dev]`", "what", "default"), *shown)


def network_yaml() -> str:
    """The keys of network.yaml."""
    from devserver.config.schema import network_schema

    schema = network_schema()
    found = list(_keys(schema, schema.get("$defs", {}), ""))
    return rows(("key", "value", "default", "what"), *found)


def _keys(schema: Mapping[str, Any], definitions: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, ...]]:
    for name, value in _resolved(schema, definitions).get("properties", {}).items():
        found, path = _resolved(value, definitions), f"{prefix}{name}"
        value = value if isinstance(value, Mapping) else {}
        default = found.get("default", value.get("default"))
        yield (
            f"`{path}`",
            _kind(found),
            "" if default is None else f"`{default}`",
            str(value.get("description") or found.get("description") or ""),
        )
        yield from _keys(found, definitions, f"{path}.")
        items = found.get("items")
        if isinstance(items, Mapping):
            yield from _keys(items, definitions, f"{path}[].")
        each = found.get("additionalProperties")
        if isinstance(each, Mapping):
            yield from _keys(each, definitions, f"{path}.NAME.")


def _resolved(schema: Any, definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    """A schema with its reference followed, and of several forms the one that has keys of its own."""
    if not isinstance(schema, Mapping):  # `true`: anything may stand there
        return {}
    while "$ref" in schema:
        schema = definitions[str(schema["$ref"]).rpartition("/")[2]]
    for each in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        inner = _resolved(each, definitions)
        if "properties" in inner or "items" in inner or "additionalProperties" in inner:
            return {**inner, **{key: value for key, value in schema.items() if key != "anyOf"}}
    return schema


def _kind(schema: Mapping[str, Any]) -> str:
    kinds = schema.get("type") or [each.get("type", "") for each in schema.get("anyOf", ())]
    listed = [kinds] if isinstance(kinds, str) else [each for each in kinds if each and each != "null"]
    words = [str(each) for each in schema.get("enum", ())] or listed
    bounds = (("minimum", "at least"), ("exclusiveMinimum", "over"), ("maximum", "at most"))
    return ", ".join([" or ".join(words), *(f"{word} {schema[key]}" for key, word in bounds if key in schema)])


def json_lines() -> str:
    """The lines of `oa-dev run --json`, and what commands print with `--json`."""
    from devserver.model.forms_of_answers import json_schema

    schema = json_schema()
    definitions = schema["$defs"]
    found = [str(each["$ref"]).rpartition("/")[2] for each in schema["anyOf"]]
    return "\n\n".join(_line(definitions[name], definitions) for name in found)


def _line(form: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    fields = form.get("properties", {})
    kind = fields.get("type", {}).get("const", form.get("title", ""))
    shown = (
        (f"`{name}`", _kind(_resolved(value, definitions)), str(value.get("description", "")))
        for name, value in fields.items()
    )
    return f"### `{kind}`\n\n{form.get('description', '')}\n\n{rows(('field', 'value', 'what'), *shown)}"


def sample_events() -> str:
    """The events that the sample mods answer."""
    import asyncio
    from pathlib import Path

    from devserver import AgentNetwork
    from devserver.server.status import catalogue_of

    async def described() -> list[tuple[str, ...]]:
        network = AgentNetwork.load(Path(__file__).parents[1] / "network.yaml")
        await network.initialize()
        try:
            return [row for each in catalogue_of(network)["mods"] for row in _handler_rows(each)]
        finally:
            await network.shutdown()

    return rows(("event", "mod", "what", "payload"), *asyncio.run(described()))


def _handler_rows(mod: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for handler in mod["handlers"]:
        payload = (handler.get("payload") or {}).get("properties", {})
        needed = set((handler.get("payload") or {}).get("required", ()))
        shown = ", ".join(f"`{name}`" + ("" if name in needed else "?") for name in payload)
        for event in handler["events"]:
            yield f"`{event}`", mod["mod_id"], str(handler.get("description") or "").partition("\n")[0], shown


TABLES: Mapping[str, Callable[[], str]] = {
    each.__name__: each for each in (commands, keys, settings, network_yaml, json_lines, sample_events)
}
