"""The same network for both sides: one mod of the same text, listed in a network.yaml that both read."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from bench import peers
from bench.processes import wait_until

OURS, THEIRS = "oa-dev", "OpenAgents 0.8.6"
QUIET, LOUD = "WARNING", "INFO"
"""The log level of ours unless another is asked for, and that of theirs."""

_MOD = """\
from {package} import BaseMod, mod_event_handler
from {events} import Event
from {answers} import EventResponse


class BenchMod(BaseMod):
    def __init__(self, mod_name="bench_mod"):
        super().__init__(mod_name)

    @mod_event_handler("bench.answer.get")
    async def get_answer(self, event: Event):
        return EventResponse(success=True, message="answered", data={{"number": 1}})

    @mod_event_handler("bench.other.one")
    async def other_one(self, event: Event):
        return None

    @mod_event_handler("bench.other.two")
    async def other_two(self, event: Event):
        return None
"""

_OTHER = """\
from {package} import BaseMod, mod_event_handler
from {events} import Event
from {answers} import EventResponse


class OtherMod(BaseMod):
    def __init__(self, mod_name="other"):
        super().__init__(mod_name)

    @mod_event_handler("bench.otherNUMBER.get")
    async def get(self, event: Event):
        return EventResponse(success=True, message="", data={{"number": NUMBER}})
"""

IMPORTS = {
    OURS: {"package": "devserver", "events": "devserver", "answers": "devserver"},
    THEIRS: {
        "package": "openagents.core.base_mod",
        "events": "openagents.models.event",
        "answers": "openagents.models.event_response",
    },
}
"""Where the mods of each side import from."""

_NETWORK = """\
network:
  name: bench
  node_id: bench
  mode: centralized
  initialized: true
  created_by_version: 0.8.6
  max_connections: 5000
  transports:
    - type: http
      config:
        host: 127.0.0.1
        port: {port}
  mods: {mods}
network_profile:
  discoverable: false
  name: bench
  description: bench
  required_openagents_version: 0.8.6
"""


IN_A_FOLDER = 100
LISTED = ("./bench_mod",)
LOADER, LOADED = "bench-loader", "mods.loaded"
"""The agent that ours lets load a mod, and that mod; theirs lets anyone load any."""
_GRANT = f"dev:\n  grants: {{{LOADER}: ['mods:write']}}\n  mod_paths: [{LOADED}]\n"


def write_network(folder: Path, side: str, port: int, mods: Sequence[str] = LISTED) -> None:
    """Write network.yaml, which lists `mods`, and mods/bench_mod for one side."""
    mod_of(folder, side, "bench_mod", _MOD)
    listed = json.dumps([{"name": each, "enabled": True} for each in mods])
    grant = _GRANT if side == OURS else ""
    (folder / "network.yaml").write_text(grant + _NETWORK.format(port=port, mods=listed))


def mod_of(folder: Path, side: str, name: str, text: str) -> None:
    """Write a package mods/NAME with a mod of `text`, in which {package} and the like stand for a side's imports."""
    package = folder / "mods" / name
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "mod.py").write_text(text.format(**IMPORTS[side]))


def write_many(folder: Path, side: str, port: int, mods: int) -> str:
    """The same with so many mods, each a package; gives the event that the last of them answers."""
    names = [f"./other_{number}" for number in range(1, mods)]
    write_network(folder, side, port, (*LISTED, *names))
    for number in range(1, mods):
        mod_of(folder, side, f"other_{number}", _OTHER.replace("NUMBER", str(number)))
    return f"bench.other{mods - 1}.get" if mods > 1 else "bench.answer.get"


def write_files(folder: Path, files: int) -> None:
    """So many modules that no mod imports, some to a folder, below mods/."""
    for number in range(files):
        file = folder / "mods" / f"part_{number // IN_A_FOLDER}" / f"module_{number}.py"
        if number % IN_A_FOLDER == 0:
            file.parent.mkdir()
        file.write_text(f'TEXT = "{number}"\n\n\ndef text() -> str:\n    return TEXT\n')


def command(side: str, port: int, level: str = QUIET) -> list[str] | None:
    """What starts a side's server in its folder; None for a side that is not installed.

    Both sides log alike unless `level` says otherwise: what they do beside answering shall not decide.
    """
    if side == OURS:
        return [
            str(Path(sys.executable).with_name("oa-dev")),
            "run",
            "--json",
            "--port",
            str(port),
            "--log-level",
            level.lower(),
        ]
    found = peers.openagents()
    return None if found is None else [str(found / "openagents"), "--log-level", level, "network", "start", "."]


def token(side: str, folder: Path) -> str:
    """The token of ours that runs in a folder; theirs has none."""
    if side == THEIRS:
        return ""
    file = folder / ".oa-dev" / "run.json"
    wait_until(file.exists, "the server tells where it is")
    return str(json.loads(file.read_text())["token"])


def sides() -> tuple[str, ...]:
    """The sides that are there."""
    return (OURS,) if peers.openagents() is None else (OURS, THEIRS)


def missing() -> tuple[str, ...]:
    """A note for each side that is not there."""
    return () if peers.openagents() is not None else (f"Missing: {THEIRS}: {peers.why_missing()}.",)
