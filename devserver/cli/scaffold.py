"""The files of `oa-dev new`: a small network, mod, and test. Texts only; writes nothing."""

from __future__ import annotations

import json
import keyword
import re

from devserver.config.schema import network_schema

SCHEMA_FILE = "network.schema.json"

_NETWORK = """\
# yaml-language-server: $schema={schema}
# After a change of a mod's Config: `oa-dev schema > {schema}`
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

from pydantic import BaseModel, Field

from devserver import BaseMod, Event, EventResponse, mod_event_handler


class Greet(BaseModel):
    """What `{name}.greet` takes. A payload that does not fit is refused with a sentence for each value."""

    name: str = Field("world", min_length=1)


class {title}Mod(BaseMod):
    """Greets agents."""

    class Config(BaseModel):
        """What network.yaml may set under `config:`; what does not fit is told at its line there."""

        greeting: str = "Hello"

    config: Config

    @mod_event_handler("{name}.greet")
    async def greet(self, event: Event, payload: Greet) -> EventResponse:
        """Answer with a greeting. `self.state` is a plain dict that survives reloads."""
        self.state["greeted"] = self.state.get("greeted", 0) + 1
        self.log.info("greeted", name=payload.name)
        text = f"{{self.config.greeting}}, {{payload.name}}"
        return EventResponse(True, text, {{"greeted": self.state["greeted"]}})
'''

_TEST = '''\
"""The mod in a network, as agents meet it. Run it with `python -m pytest`.

The fixture `network` comes with oa-dev: each test has a network of its own, with storage of its own.
"""


async def test_it_greets_by_name(network):
    """An agent that gives a name is greeted by it."""
    async with network(mods=["mods.{module}"]) as net:
        ana = await net.agent("ana")
        answer = await ana.send("{name}.greet", {{"name": "Ana"}})
        assert (answer.success, answer.message) == (True, "Hello, Ana")


async def test_it_goes_on_counting_after_a_reload(network):
    """What is in `self.state` survives."""
    async with network(mods=["mods.{module}"]) as net:
        await net.send("{name}.greet")
        await net.reload("{module}")
        answer = await net.send("{name}.greet")
        assert answer.data == {{"greeted": 2}}


async def test_a_payload_that_does_not_fit_is_refused(network):
    """With a sentence for each value."""
    async with network(mods=["mods.{module}"]) as net:
        answer = await net.send("{name}.greet", {{"name": 5}})
        assert not answer.success
        assert '"name" must be a text, not 5' in answer.message
'''

_AGENT = '''\
"""The agent {agent_id}: prints what it receives.

Run it beside the network: `python {file}`. Or let `oa-dev run` start it, and restart it when it is saved:
list it in network.yaml under `dev:` as `agents: [{file}]`.
"""

import argparse
import asyncio

from devserver import Agent, AgentError


async def main(url: str | None) -> None:
    """Stay until Ctrl-C. The connection comes back by itself after a restart of the network."""
    async with Agent("{agent_id}", url=url) as me:
        print("{agent_id} has joined; Ctrl-C ends it")
        async for event in me:
            print(event.event_name, event.payload)
            # To ask a mod or another agent:
            #   answer = await me.send("hello.greet", {{"name": "{agent_id}"}})
            #   await me.send("note.take", {{"text": "hi"}}, to="agent:ben")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__.partition("\\n")[0])
    arguments.add_argument("--url", help="where the network answers (default: the one that runs in this folder)")
    try:
        asyncio.run(main(arguments.parse_args().url))
    except KeyboardInterrupt:
        pass
    except AgentError as error:
        raise SystemExit(f"{agent_id}: {{error}}") from None
'''

_AGENTS = """\
# For coding agents

This folder is a network of `oa-dev`: network.yaml lists the mods in mods/, and a running server brings what is saved
within milliseconds, in place. Do not restart it after an edit.

## The loop

    oa-dev run --detach --json      # starts the server; once it answers, its address
    # edit mods/*.py or network.yaml
    oa-dev settle --json            # is what is on disk what runs? "runs", and why not in "problems"
    oa-dev trace --json             # the latest error, with frames
    oa-dev send hello.greet --payload '{"name": "Ana"}' --json
    oa-dev undo --json              # back to the code and state before the last reload; redo goes forward
    oa-dev stop

`oa-dev mcp` serves the same as tools (pip install 'oa-dev[mcp]'). With `--json`, errors are JSON on standard output.
`oa-dev events --list --json` says what can be asked, with JSON Schemas; `oa-dev check --json` checks without a server;
`python -m pytest` (pip install pytest) runs the tests, each in a network of its own.

Exit codes: 0 done, 1 failed, 2 misused, 3 network.yaml cannot be used, 4 port in use, 5 `check` found mod errors.

## What to know

- A save that does not compile, import or start changes nothing: the last good version keeps running.
- `self.state` is a dict that survives reloads; attributes of the instance and globals of modules are made again.
- `oa-dev new mod NAME` writes a mod and its test; list it in network.yaml as `- name: mods.NAME`.
- Data of mods belongs into `self.get_storage_path()`; `.oa-dev/` belongs to the server.
"""

_PACKAGE = """\
[build-system]
requires = ["uv_build>=0.11,<0.14"]
build-backend = "uv_build"

[project]
name = "{distribution}"
version = "0.1.0"
description = "Says hello, and counts how often"
readme = "README.md"
license = "MIT"
requires-python = ">=3.11"
dependencies = ["oa-dev>={oa_dev}"]
keywords = ["openagents-mod"]

[project.entry-points."openagents.mods"]
{module} = "{module}"

[tool.pytest.ini_options]
pythonpath = ["src"]
"""

_README = """\
# {distribution}

A mod for networks of agents: answers `{name}.greet` with a greeting.

    oa-dev add {distribution}

## For its author

    python -m pytest                              # its tests, each in a network of its own
    oa-dev pack .                                 # dist/*.whl, checked
    oa-dev publish dist/*.whl --to DIR-OR-URL     # a folder of wheels, or an index
"""

_IGNORED = ".oa-dev/\n__pycache__/\n.venv/\n"


def network_files(name: str) -> dict[str, str]:
    """Return a network with one mod, by path within its folder."""
    return {
        "network.yaml": _NETWORK.format(schema=SCHEMA_FILE, name=json.dumps(name, ensure_ascii=False)),
        SCHEMA_FILE: json.dumps(network_schema(), indent=2) + "\n",
        **mod_files("hello"),
        "AGENTS.md": _AGENTS,
        ".gitignore": _IGNORED,
    }


def mod_files(name: str) -> dict[str, str]:
    """Return a mod and its test, by path in the network's folder. `name`: see `mod_name`."""
    title = "".join(part[:1].upper() + part[1:] for part in name.split("_"))
    values = {"name": event_part(name), "title": title, "module": name}
    return {f"mods/{name}.py": _MOD.format(**values), f"tests/test_{name}.py": _TEST.format(**values)}


def package_files(name: str, oa_dev: str) -> dict[str, str]:
    """Return a mod as a package, by path in its folder; `oa_dev`: the version that writes it."""
    mod, test = mod_files(name).values()
    values = {"module": name, "distribution": name.replace("_", "-"), "name": event_part(name)}
    return {
        "pyproject.toml": _PACKAGE.format(**values, oa_dev=".".join(oa_dev.split(".")[:2])),
        "README.md": _README.format(**values),
        f"src/{name}/__init__.py": "",
        f"src/{name}/mod.py": mod,
        f"tests/test_{name}.py": test.replace(f'"mods.{name}"', f'"{name}"'),
        ".gitignore": "__pycache__/\ndist/\n",
    }


def agent_files(agent_id: str) -> dict[str, str]:
    """Return an agent as a script, by path within the network's folder."""
    stem = re.sub(r"[^A-Za-z0-9_]", "_", agent_id)
    file = f"agents/{stem}.py"
    return {file: _AGENT.format(agent_id=agent_id, file=file)}


def mod_name(given: str) -> str:
    """Return a mod's name as its module has it: without `mods.` or `./`, with `_` for `-`."""
    plain = given.removeprefix("./").removeprefix("mods.").replace("-", "_")
    return plain if not keyword.iskeyword(plain) else f"{plain}_"


def event_part(name: str) -> str:
    """Return a mod's name for events: two or more of a-z, 0-9 and _, beginning with a letter."""
    part = re.sub(r"[^a-z0-9_]", "", name.lower()).lstrip("_0123456789")
    return part if len(part) > 1 else f"{part or 'my'}_mod"
