"""(c) Events per second over HTTP, from the first byte sent to the last received, answered by a mod."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from bench.agents import event, events_per_second, register
from bench.harness import Options, Table, rates, ratio, take_turns
from bench.networks import LOUD, OURS, QUIET, THEIRS, command, missing, sides, write_network
from bench.processes import free_port, running, wait_for_port

_AGENT = "bench-agent"
_THEIRS_LOUD = f"{THEIRS}, its default log level"


def measure(options: Options) -> Table:
    """The table."""
    with contextlib.ExitStack() as stack:
        served = {side: (side, QUIET) for side in sides()}
        served |= {_THEIRS_LOUD: (THEIRS, LOUD)} if THEIRS in served else {}
        ports = {name: _serve(stack, *how) for name, how in served.items()}
        rows = tuple(_row(ports, clients, options) for clients in (1, 16))
    notes = (
        "POST /api/send_event on kept connections, one event on its way each; median / p5; more is better. Both at log"
        f" level {QUIET} but for the last column.",
    )
    columns = ("clients", OURS, THEIRS, "ours : theirs", _THEIRS_LOUD)
    return Table("Events over HTTP, a second", columns, rows, (*notes, *missing()))


def _row(ports: dict[str, int], clients: int, options: Options) -> tuple[str, ...]:
    seconds = options.count(3, 1)
    asked: dict[str, Callable[[], float | None]] = {
        name: partial(events_per_second, port, _body(port, clients), clients, seconds) for name, port in ports.items()
    }
    samples = take_turns(asked, options.count(7, 3))
    theirs, loud = samples.get(THEIRS, []), samples.get(_THEIRS_LOUD, [])
    return str(clients), rates(samples[OURS]), rates(theirs), ratio(samples[OURS], theirs), rates(loud)


def _body(port: int, clients: int) -> dict[str, Any]:
    """An event of an agent of its own for each number of clients: an agent registers once."""
    agent_id = f"{_AGENT}-{clients}"
    return event(agent_id, register(port, agent_id), "bench.answer.get")


def _serve(stack: contextlib.ExitStack, side: str, level: str) -> int:
    port = free_port()
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    write_network(folder, side, port)
    started = command(side, port, level)
    assert started is not None
    wait_for_port(port, stack.enter_context(running(started, folder)))
    return port
