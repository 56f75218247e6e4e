"""OpenAgents side by side: delivery between two of its clients, and requests that fail while a mod comes and goes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sysconfig
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bench import peers
from bench.agents import Line, ask_for, event, register, wait_for_mod
from bench.harness import Options, Result, Table, Target, at_most, median, spread
from bench.networks import LISTED, LOADED, LOADER, OURS, command, missing, mod_of, sides, token, write_network
from bench.processes import free_port, running, wait_for_port
from bench.upstream import system_event

_CLIENTS_PROGRAM = Path(__file__).parent / "sides" / "clients_openagents.py"
_OURS_FOLDERS = (str(Path(__file__).resolve().parents[1]), sysconfig.get_path("purelib"))
"""Where our package lies, and what it needs."""
PUSHED = f"{OURS}, push()"
_NOW_AND_THEN = (1.1, 2.1)
"""Seconds between events; a client rests for a second after each poll, and whoever sends then measures the rest."""
_FLOWING = (0.05, 0.05)
_INTERVALS = (0.2, 0.05, 0.01)
_CLIENTS = 16
_SLOW = """\
import asyncio
from {package} import BaseMod, mod_event_handler


class SlowMod(BaseMod):
    def __init__(self, mod_name="slow"):
        super().__init__(mod_name)

    @mod_event_handler("bench.answer.get")
    async def wait(self, event):
        await asyncio.sleep(0.005)
        return None
"""
_COMES = """\
from {package} import BaseMod, mod_event_handler


class LoadedMod(BaseMod):
    def __init__(self, mod_name="loaded"):
        super().__init__(mod_name)

    @mod_event_handler("bench.loaded.get")
    async def get(self, event):
        return None
"""


@dataclass(frozen=True, slots=True)
class Server:
    """A running side."""

    side: str
    port: int
    token: str


def measure(options: Options) -> Result:
    """The two tables; without OpenAgents there is nothing to measure with."""
    if peers.openagents() is None:
        table = Table("OpenAgents side by side", ("",), (("nothing was measured",),), missing())
        return Result((table,))
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(_serving(side)) for side in sides()]
        took = _deliveries(servers, options.count(14, 4), _NOW_AND_THEN)
        flowing = _deliveries(servers, options.count(200, 60), _FLOWING)
        failed = {
            interval: {each.side: _churned(each, interval, options.count(5, 1)) for each in servers}
            for interval in _INTERVALS
        }
    targets = (
        at_most("delivery between two unmodified clients", median(took[OURS]), 20, "ms"),
        at_most("delivery between two clients after push(), 20 events a second", median(flowing[PUSHED]), 5, "ms"),
        *(_none_failed(interval, *each[OURS]) for interval, each in failed.items()),
    )
    versions = peers.environment("openagents").versions
    tables = (_delivery_table(took, flowing), _churn_table(failed))
    return Result(tables, targets, (), versions, {"delivery, ms": dict(took)})


@contextlib.contextmanager
def _serving(side: str) -> Iterator[Server]:
    """A server with a mod that takes 5 ms, and one that answers after it."""
    port = free_port()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        write_network(folder, side, port, ("./slow", *LISTED))
        mod_of(folder, side, "slow", _SLOW)
        mod_of(folder, side, LOADED.rpartition(".")[2], _COMES)
        started = command(side, port)
        assert started is not None
        with running(started, folder, PYTHONPATH=name) as process:
            wait_for_port(port, process)
            wait_for_mod(port, "bench.answer.get")
            yield Server(side, port, token(side, folder))


def _deliveries(servers: list[Server], count: int, apart: tuple[float, float]) -> dict[str, list[float]]:
    """Milliseconds of each delivery. Both sides at the same time: they hardly do anything, for a long time.

    Then our side once more, with clients that are pushed to.
    """
    started = {each.side: _clients(each.port, count, number, apart) for number, each in enumerate(servers)}
    took = {side: json.loads(process.communicate()[0]) for side, process in started.items()}
    # Afterwards, because the clients have the same names.
    [ours] = [each for each in servers if each.side == OURS]
    pushed = _clients(ours.port, count, len(servers), apart, *_OURS_FOLDERS)
    return {**took, PUSHED: json.loads(pushed.communicate()[0])}


def _clients(port: int, count: int, seed: int, apart: tuple[float, float], *folders: str) -> subprocess.Popen[str]:
    found = peers.openagents()
    assert found is not None
    values = (port, count, seed, *apart)
    return subprocess.Popen(
        [str(found / "python"), str(_CLIENTS_PROGRAM), *map(str, values), *folders],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _churned(server: Server, interval: float, seconds: float) -> tuple[int, int, int]:
    """How many requests failed, of how many, while a mod came or went how often."""
    names = [f"bench-{interval:g}-{number}" for number in range(_CLIENTS)]
    bodies = [event(name, register(server.port, name, server.token), "bench.answer.get") for name in names]
    ended = threading.Event()
    with ThreadPoolExecutor(1) as thread:
        turns = thread.submit(_come_and_go, server, interval, ended)
        try:
            window = asyncio.run(ask_for(server.port, bodies, seconds))
        finally:
            ended.set()
        return window.failed, len(window.milliseconds), turns.result()


def _come_and_go(server: Server, interval: float, ended: threading.Event) -> int:
    """Have a mod come and go until `ended`; how often it did."""
    line = Line(server.port)
    secret = register(server.port, LOADER, server.token)
    body, turns, due = event(LOADER, secret, ""), 0, time.monotonic()
    # It ends unloaded, as it began.
    while not ended.is_set() or turns % 2:
        name = ("system.mod.load", "system.mod.unload")[turns % 2]
        answer = system_event(line, body, name, LOADED)
        if answer is None or not answer.get("success"):
            raise RuntimeError(f"{server.side} did not do {name}: {answer}")
        turns += 1
        due = max(time.monotonic(), due + interval)
        ended.wait(due - time.monotonic())
    line.ask("POST", "/api/unregister", {"agent_id": LOADER, "secret": secret})
    return turns


def _none_failed(interval: float, failed: int, asked: int, turns: int) -> Target:
    what = f"requests failed, a mod loaded or unloaded every {interval * 1000:g} ms"
    return Target(what, "0", f"{failed} of {asked:,}", failed == 0)


def _delivery_table(took: dict[str, list[float]], flowing: dict[str, list[float]]) -> Table:
    rows = tuple((side, spread(each), f"{max(each):,.1f}", spread(flowing[side])) for side, each in took.items())
    notes = (
        "Milliseconds from `AgentClient.send_event` of one client of openagents 0.8.6 to the handler of another, both"
        " unmodified and the same on both sides; events at random, 1.1 to 2.1 s apart (such a client rests for a second"
        " after each poll). The last row: the same clients after `devserver.openagents.push()`.",
    )
    return Table(
        "Delivery between two OpenAgents clients",
        ("server", "ms, median / p95", "worst", "at 20 events a second"),
        rows,
        notes,
    )


def _churn_table(failed: dict[float, dict[str, tuple[int, int, int]]]) -> Table:
    rows = []
    for interval, found in failed.items():
        cells = [f"{bad / max(1, asked) * 100:.1f} % of {asked:,} ({turns})" for bad, asked, turns in found.values()]
        rows.append((f"{interval * 1000:g} ms", *cells))
    notes = (
        f"{_CLIENTS} clients over HTTP; a mod before the one that answers takes 5 ms; an unrelated mod is loaded,"
        " unloaded, loaded … through events, each so often where the server is as quick. In brackets: how often.",
    )
    columns = ("loaded or unloaded every", *next(iter(failed.values())))
    return Table("Requests that fail while a mod comes and goes", columns, tuple(rows), notes)
