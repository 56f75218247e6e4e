"""The wire: events over HTTP against OpenAgents, round trips on our WebSocket, and a broadcast to many agents."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from bench import peers
from bench.agents import ask_for, connect, event, register, wait_for_mod
from bench.harness import Options, Result, Table, at_least, many, median, p99, quotient, rates, spread, take_turns
from bench.networks import LOUD, OURS, QUIET, THEIRS, command, missing, sides, token, write_network
from bench.processes import free_port, running, wait_for_port, wait_until
from bench.sockets import crowd, milliseconds_to_all

_PROFILED = Path(__file__).parent / "sides" / "profiled_server.py"
_CLIENTS = (1, 16, 256)
_WANTED = {1: 1, 16: 2, 256: 2}
"""By number of clients: how many times as many events as OpenAgents."""
_AGENTS = 1000
_LOUD = f"{THEIRS}, its default log level"
_EVENT = "bench.answer.get"

Door = tuple[int, str]
"""A server's port, and the token of its run."""
Samples = dict[str, list[float]]
Found = dict[int, tuple[Samples, Samples]]
"""By number of clients: rates of each side's windows, and milliseconds of each of its answers."""


def measure(options: Options) -> Result:
    """The three tables."""
    with contextlib.ExitStack() as stack:
        served = {side: (side, QUIET) for side in sides()}
        served |= {_LOUD: (THEIRS, LOUD)} if THEIRS in served and not options.quick else {}
        doors = {name: _serve(stack, *how) for name, how in served.items()}
        found = {clients: _sample(doors, clients, options) for clients in _CLIENTS}
        sockets = (_websocket(doors[OURS][0], options), _broadcast(doors[OURS], options))
        tables = (_http(found, tuple(doors)), _stages(options), *sockets)
    targets = [
        at_least(
            f"HTTP against OpenAgents, {many(clients, 'client')}",
            quotient(each[OURS], each[THEIRS]),
            _WANTED[clients],
            "×",
        )
        for clients, (each, _) in found.items()
        if THEIRS in each
    ]
    samples = {f"a second, {many(clients, 'client')}": dict(each) for clients, (each, _) in found.items()}
    return Result(tables, tuple(targets), (), peers.environment("openagents").versions, samples)


def _serve(stack: contextlib.ExitStack, side: str, level: str) -> Door:
    port = free_port()
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
    write_network(folder, side, port)
    started = command(side, port, level)
    assert started is not None
    wait_for_port(port, stack.enter_context(running(started, folder)))
    wait_for_mod(port, _EVENT)
    return port, token(side, folder)


def _sample(doors: dict[str, Door], clients: int, options: Options) -> tuple[Samples, Samples]:
    took: dict[str, list[float]] = {name: [] for name in doors}
    windows: dict[str, Callable[[], float | None]] = {
        name: partial(_window, door[0], _bodies(door, clients), options.count(12, 5) / 10, took[name])
        for name, door in doors.items()
    }
    return take_turns(windows, options.count(5, 2)), took


def _bodies(door: Door, clients: int) -> list[dict[str, Any]]:
    """An event of an agent of its own for each client, as it is in life."""
    names = [f"bench-{clients}-{number}" for number in range(clients)]
    return [event(name, register(door[0], name, door[1]), _EVENT) for name in names]


def _window(port: int, bodies: list[dict[str, Any]], seconds: float, took: list[float]) -> float:
    window = asyncio.run(ask_for(port, bodies, seconds))
    if window.failed:
        raise RuntimeError(f"{window.failed} events were not answered")
    took += window.milliseconds
    return window.rate


def _http(found: Found, names: tuple[str, ...]) -> Table:
    rows = tuple(_http_row(clients, *each, names) for clients, each in found.items())
    notes = (
        "POST /api/send_event answered by a mod, on kept connections, one event on its way each: events a second"
        " (median / p5 of windows; more is better), and milliseconds of an answer (p50 / p99). Log level"
        f" {QUIET} on both sides unless said. The clients run on the same cores.",
        *missing(),
    )
    columns = ["clients", *(f"{name}, {what}" for name in names for what in ("a second", "ms")), "ours : theirs"]
    return Table("Events over HTTP", tuple(columns), rows, notes)


def _http_row(
    clients: int, windows: dict[str, list[float]], took: dict[str, list[float]], names: tuple[str, ...]
) -> tuple[str, ...]:
    cells = [
        cell for name in names for cell in (rates(windows[name]), f"{median(took[name]):.2f} / {p99(took[name]):.2f}")
    ]
    times = f"{quotient(windows[OURS], windows[THEIRS]):.2f}×" if THEIRS in windows else "-"
    return str(clients), *cells, times


def _stages(options: Options) -> Table:
    """What a request costs in each part of the way, as told by a profile."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder, port = Path(name), free_port()
        write_network(folder, OURS, port)
        arguments = (command(OURS, port) or [])[1:]
        program = [sys.executable, str(_PROFILED), str(folder / "profile.json"), *arguments]
        with running(program, folder) as process:
            wait_for_port(port, process)
            wait_for_mod(port, _EVENT)
            bodies = _bodies((port, token(OURS, folder)), 16)
            process.send_signal(signal.SIGUSR1)
            window = asyncio.run(ask_for(port, bodies, options.count(40, 10) / 10))
            process.send_signal(signal.SIGUSR1)
            wait_until((folder / "profile.json").exists, "the profile is written", 30.0)
        found = json.loads((folder / "profile.json").read_text())
    return _stage_table(found, len(window.milliseconds))


def _stage_table(found: dict[str, dict[str, float]], requests: int) -> Table:
    parts = [(seconds, thread, stage) for thread, each in found.items() for stage, seconds in each.items()]
    whole = sum(seconds for seconds, *_ in parts)
    rows = [
        (thread, stage, f"{seconds / whole * 100:.0f} %", f"{seconds / requests * 1e6:.0f}")
        for seconds, thread, stage in sorted(parts, reverse=True)
        if seconds / whole >= 0.005
    ]
    notes = (
        "16 clients; shares of the time in each part's own functions, without waiting, in the two threads that a"
        " request goes through. A profile makes calls dearer than they are: the shares are what is told.",
    )
    return Table("Where the time of a request goes", ("thread", "part", "share", "µs, profiled"), tuple(rows), notes)


def _websocket(port: int, options: Options) -> Table:
    rows = []
    for clients in (1, 16):
        took: list[float] = []
        seconds = options.count(30, 5) / 10
        windows = [asyncio.run(_round_trips(port, clients, seconds, took)) for _ in range(options.count(3, 1))]
        rows.append((str(clients), rates(windows), f"{median(took):.2f} / {p99(took):.2f}"))
    notes = ("A send and its response; OpenAgents has no WebSocket. The client is Python's `websockets`.",)
    return Table("Round trips on the WebSocket", ("clients", "a second", "ms, p50 / p99"), tuple(rows), notes)


async def _round_trips(port: int, clients: int, seconds: float, took: list[float]) -> float:
    before, until = len(took), time.perf_counter() + seconds
    await asyncio.gather(*(_talk(port, f"ws-{clients}-{number}", until, took) for number in range(clients)))
    return (len(took) - before) / seconds


_numbers = itertools.count()


async def _talk(port: int, agent_id: str, until: float, took: list[float]) -> None:
    line = await connect(port, f"{agent_id}-{next(_numbers)}")
    while (began := time.perf_counter()) < until:
        await line.send(json.dumps({"type": "send", "id": "1", "event": {"event_name": _EVENT}}))
        answer = json.loads(await line.recv())
        assert answer["type"] == "response" and answer["success"], answer
        took.append((time.perf_counter() - began) * 1000)
    await line.close()


def _broadcast(door: Door, options: Options) -> Table:
    event_to_all = {"event_name": "bench.told.all", "destination_id": "agent:broadcast", "payload": {"text": "x" * 100}}
    with crowd(door[0], _AGENTS, door[1]) as lines:
        found = [milliseconds_to_all(lines, event_to_all) for _ in range(options.count(30, 5))]
    half, last = zip(*found, strict=True)
    rows = (("half of them have it", spread(half)), ("the last has it", spread(last)))
    notes = (
        f"{_AGENTS:,} agents on WebSockets, milliseconds from the send. An agent of OpenAgents asks once a second"
        " whether there is anything for it.",
    )
    return Table("Broadcast", ("", "ms, median / p95"), rows, notes)
