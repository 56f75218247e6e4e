"""The same network for both sides: one mod of the same text, listed in a network.yaml that both read."""

from __future__ import annotations

import sys
from pathlib import Path

from bench import peers

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

_SOURCES = {
    OURS: _MOD.format(package="devserver", events="devserver", answers="devserver"),
    THEIRS: _MOD.format(
        package="openagents.core.base_mod",
        events="openagents.models.event",
        answers="openagents.models.event_response",
    ),
}

_NETWORK = """\
network:
  name: bench
  node_id: bench
  mode: centralized
  initialized: true
  created_by_version: 0.8.6
  transports:
    - type: http
      config:
        host: 127.0.0.1
        port: {port}
  mods:
    - name: ./bench_mod
      enabled: true
network_profile:
  discoverable: false
  name: bench
  description: bench
  required_openagents_version: 0.8.6
"""


def write_network(folder: Path, side: str, port: int) -> None:
    """Write network.yaml and mods/bench_mod for one side."""
    package = folder / "mods" / "bench_mod"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "mod.py").write_text(_SOURCES[side])
    (folder / "network.yaml").write_text(_NETWORK.format(port=port))


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


def sides() -> tuple[str, ...]:
    """The sides that are there."""
    return (OURS,) if peers.openagents() is None else (OURS, THEIRS)


def missing() -> tuple[str, ...]:
    """A note for each side that is not there."""
    return () if peers.openagents() is not None else (f"Missing: {THEIRS} could not be installed.",)
