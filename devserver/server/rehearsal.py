"""Tries mods in a fresh process: whether their sources load there, or fail as in this one, which
has run much before.

The process has no network and no agents, writes only into a folder that is thrown away, starts no
program, and ends within its limit. A refusal for that reason proves nothing about a mod.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from devserver.agent_network import AgentNetwork
from devserver.config.network_yaml import read_network
from devserver.model.config import ModSpec
from devserver.model.facts import Fact, Outcome, PlanDone, Status
from devserver.model.lifecycle import Phase
from devserver.reload.restarting import Arrival, arrival_from_dict, arrival_to_dict
from devserver.server.aside import Aside, Row, Write, do_aside

LIMIT = 10.0
"""Seconds for a rehearsal."""

_PROVEN = (Phase.COMPILE, Phase.IMPORT, Phase.CONSTRUCT)
_NEVER = frozenset({
    "socket.bind", "socket.connect", "socket.sendto", "socket.sendmsg", "subprocess.Popen", "os.fork", "os.forkpty",
    "os.posix_spawn", "os.exec", "os.system", "os.kill", "os.killpg",
})  # fmt: skip
_WRITES = frozenset({
    "os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink", "os.chmod", "os.chown",
    "os.utime", "shutil.rmtree", "shutil.move", "sqlite3.connect",
})  # fmt: skip
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


@dataclass(frozen=True, slots=True)
class Tried:
    """The result of one mod in the fresh process. `refused`: something was refused to it."""

    comes_up: bool
    phase: Phase
    error: str = ""
    refused: bool = False


def comes_up(tried: Tried | None, failed_in: Phase) -> bool:
    """Return whether a mod that has failed in a phase in place would load in a fresh process."""
    if tried is None or tried.comes_up:
        return tried is not None
    # It came further than in place, and then was refused something that a real start allows.
    return tried.refused and tried.phase not in _PROVEN and failed_in in _PROVEN


def rehearse(path: Path, mods: Mapping[str, Arrival], aside: Aside) -> dict[str, Tried]:
    """Load mods (by path, each with its state) in a fresh process; what became of each. Blocks.

    `path`: the network.yaml, which need not list them. A mod at which the process ended too early
    has no result.
    """
    with tempfile.TemporaryDirectory(prefix="oa-dev-") as folder:
        arrivals = {name: arrival_to_dict(each) for name, each in mods.items()}
        values = {"path": str(path), "arrivals": arrivals, "folder": folder}
        quiet = {"PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": folder}
        environ = {**(os.environ if aside.environ is None else aside.environ), **quiet}
        rows = do_aside(_rehearse, values, path.parent, replace(aside, environ=environ)).rows
    return {row.pop("mod"): Tried(**{**row, "phase": Phase(row["phase"])}) for row in rows}


# In the process of its own


class _Guard:
    """Refuses effects of mods' code outside of this process."""

    def __init__(self, folder: str) -> None:
        self._folder = os.path.realpath(folder) + os.sep
        self.refused = False

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Refuse the action of an audit event, unless it is allowed."""
        if event in _NEVER:
            self._refuse(event)
        elif event in _WRITES:
            self._refuse_outside(event, arguments[0] if arguments else "")
        elif event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITING:
            self._refuse_outside(event, arguments[0])

    def _refuse_outside(self, event: str, place: Any) -> None:
        if isinstance(place, int) or place in (os.devnull, ":memory:"):
            return
        if not os.path.realpath(os.fsdecode(place)).startswith(self._folder):
            self._refuse(event)

    def _refuse(self, event: str) -> None:
        self.refused = True
        raise PermissionError(f"a rehearsal does nothing that can be seen outside ({event})")


def _rehearse(values: Mapping[str, Any], write: Write) -> None:
    """Write a row for what became of each mod."""
    asyncio.run(_tried(values, _Guard(values["folder"]), write))


async def _tried(values: Mapping[str, Any], guard: _Guard, write: Write) -> None:
    arrivals = {name: arrival_from_dict(each) for name, each in values["arrivals"].items()}
    wanted = tuple(ModSpec(each.mod_path, each.config) for each in arrivals.values())
    path, told = Path(values["path"]), list[Fact]()
    network = AgentNetwork(replace(read_network(path), mods=wanted), path.parent, tell=told.append)
    network.storage_path = lambda mod_name: Path(tempfile.mkdtemp(dir=values["folder"]))  # type: ignore[method-assign]
    network.engine.restarts.arrivals = arrivals
    sys.addaudithook(guard.hear)
    await network.initialize()
    for outcome in (each for fact in told if isinstance(fact, PlanDone) for each in fact.outcomes):
        write(_row(outcome, guard))


def _row(outcome: Outcome, guard: _Guard) -> Row:
    good = outcome.status is Status.APPLIED
    error = str(outcome.error or outcome.reason)
    return {
        "mod": outcome.mod_path,
        "comes_up": good,
        "phase": outcome.phase.value,
        "error": error,
        "refused": guard.refused,
    }
