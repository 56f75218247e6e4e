"""The files that `oa-dev new` writes: a small network, a small mod, a test for it. Texts only; writes nothing."""

from __future__ import annotations

import json
import keyword
import re

from devserver.config.schema import network_schema

SCHEMA_FILE = "network.schema.json"

_NETWORK = """\
# yaml-language-server: $schema={schema}
# Start it with `oa-dev run`, then change and save this file or anything in mods/: what changed is swapped in place.

network:
  name: {name}

  # For each event the mods are asked in this order, and the first answer ends the event's way.
  mods:
    - name: mods.hello
      config:
        greeting: Hello
"""

_MOD = '''\
"""{title}: says hello, and counts how often."""

from devserver import BaseMod, Event, EventResponse, mod_event_handler


class {title}Mod(BaseMod):
    """Greets whoever asks."""

    @mod_event_handler("{name}.greet")
    async def greet(self, event: Event) -> EventResponse:
        """Answer with a greeting. `self.state` is a plain dict that survives reloads."""
        self.state["greeted"] = self.state.get("greeted", 0) + 1
        text = f"{{self.config.get('greeting', 'Hello')}}, {{event.payload.get('name', 'world')}}"
        return EventResponse(True, text, {{"greeted": self.state["greeted"]}})
'''

_TEST = '''\
"""The mod in a network, as agents meet it. Run it with `python -m pytest`."""

import asyncio
from pathlib import Path

from devserver import AgentNetwork, Event, EventResponse

NETWORK = Path(__file__).resolve().parents[1] / "network.yaml"


async def greeted() -> EventResponse:
    """The answer to one greeting."""
    network = AgentNetwork.load(NETWORK)
    await network.initialize()
    try:
        if "{name}" not in network.running_mods():
            await network.load_mod("mods.{name}")
        return await network.process_external_event(
            Event(event_name="{name}.greet", source_id="ana", payload={{"name": "Ana"}})
        )
    finally:
        await network.shutdown()


def test_it_greets_by_name():
    """Whoever gives a name is greeted by it."""
    answer = asyncio.run(greeted())
    assert (answer.success, answer.message) == (True, "Hello, Ana")
'''

_IGNORED = ".oa-dev/\n__pycache__/\n.venv/\n"


def network_files(name: str) -> dict[str, str]:
    """A network with one mod, by path within its folder."""
    return {
        "network.yaml": _NETWORK.format(schema=SCHEMA_FILE, name=json.dumps(name, ensure_ascii=False)),
        SCHEMA_FILE: json.dumps(network_schema(), indent=2) + "\n",
        **mod_files("hello"),
        ".gitignore": _IGNORED,
    }


def mod_files(name: str) -> dict[str, str]:
    """A mod and its test, by path within the network's folder. `name` is a Python name (see `mod_name`)."""
    title = "".join(part.capitalize() for part in name.split("_"))
    values = {"name": event_part(name), "title": title}
    return {
        f"mods/{name}.py": _MOD.format(**values),
        f"tests/test_{name}.py": _TEST.format(**{**values, "name": name}).replace(
            f'event_name="{name}.greet"', f'event_name="{values["name"]}.greet"'
        ),
    }


def mod_name(given: str) -> str:
    """A mod's name as its module has it: without `mods.` or `./`, with `_` for `-`."""
    plain = given.removeprefix("./").removeprefix("mods.").replace("-", "_")
    return plain if not keyword.iskeyword(plain) else f"{plain}_"


def event_part(name: str) -> str:
    """A mod's name as a part of an event's name: two or more of a-z, 0-9 and _, beginning with a letter."""
    part = re.sub(r"[^a-z0-9_]", "", name.lower()).lstrip("_0123456789")
    return part if len(part) > 1 else f"{part or 'my'}_mod"
