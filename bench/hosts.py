"""Several hosts: what an event and a delivery cost over a second host, beside the same in one process.

Two hosts with their agents, in one process of their own, with a real nats-server between them: what is measured is the
way between hosts, without HTTP.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.agents import Line, Window, ask_for, event, fresh, register, wait_for_mod
from bench.harness import Options, Result, Table, Target, at_least, at_most
from bench.networks import OURS, command, token, write_network
from bench.processes import cpu_seconds, free_port, running, wait_for_port
from devserver.cli.client import connect

_SIDES = Path(__file__).parent / "sides"
_MS = 1000.0
_CLIENTS = 64
_EVENT = "bench.answer.get"
_SHUT = ("gate", "drain", "hand over", "initialize", "commit", "open")
_SAVED = """
from devserver import BaseMod, EventResponse, mod_event_handler
from mods.word import WORD

class SavedMod(BaseMod):
    @mod_event_handler("{name}.word")
    async def word(self, event):
        return EventResponse(True, "", {{"word": WORD}})
"""
_LOOKED_AT = 13.0
"""Seconds after a start in which servers get ready for commands, and look at answers of before: no cost of events."""
_LOOKS = 3
"""How often the way of an event looks whether there are other hosts."""
_CROWDS = 3
"""How often the three hosts of the thousand are started: from one start to the next the figures differ most."""
_ASK_EVERY, _REST = 0.0005, 0.1
"""Seconds between two questions, and between two saves."""
_LONGEST = 180.0
"""Seconds for all of it: two hosts that do not find each other would wait for ever."""


def measure(options: Options) -> Result:
    """The tables, with the targets of the contract; without a nats-server there is nothing to measure with."""
    missing = _missing()
    if missing:
        return Result((Table("Several hosts", ("",), (("nothing was measured",),), (missing,)),))
    found = asyncio.run(_run("hosts_pair.py", options.count(2000, 300)))
    crowds = [asyncio.run(_run("hosts_crowd.py", options.count(60, 20))) for _ in range(_CROWDS)]
    found |= {name: [each for crowd in crowds for each in crowd[name]] for name in crowds[0]}
    alone, many = _processes(options, hosts=False), _processes(options, hosts=True)
    far, here = found["delivery_far"], found["delivery_here"]
    all_far, all_here = found["broadcast_far"], found["broadcast_here"]
    thousand_far, thousand_here = found["thousand_far"], found["thousand_here"]
    rows = (
        ("event through a second host and back, one at a time", _times(found["far"]), _times(found["here"])),
        ("delivery to an agent on another host, kept on disk", _times(far), _times(here)),
        ("asks a second into one host, 100 in flight", f"{found['asks']:,.0f}", f"{found['asks_here']:,.0f}"),
        ("to 100 agents, half of them on the other host", _times(all_far), _times(all_here)),
        ("to 1,000 agents on three hosts", _times(thousand_far), _times(thousand_here)),
        ("an agent changes its door, 100 events behind it", _times(found["move"]), "-"),
    )
    notes = (
        "Milliseconds, median / p99. Two hosts in one process: they share its core, and a third is the engine's."
        " The three hosts of the thousand are processes; all of it on the machine's two cores.",
        f"nats-server {found['version']}.",
    )
    tables = (Table("Several hosts", ("what", "two hosts", "one process"), rows, notes), _of_processes(alone, many))
    targets = (*_targets(found), *_targets_of_processes(alone, many))
    return Result(tables, targets, (), {"nats-server": str(found["version"])}, {})


def _targets(found: dict[str, Any]) -> tuple[Target, ...]:
    times = _median(found["thousand_far"]) / _median(found["thousand_here"])
    looks = found["look"] / _median(found["here"])
    return (
        at_most("hosts: event through a second host, median", _median(found["far"]) * _MS, 1.0, "ms"),
        at_most("hosts: delivery to another host, median", _median(found["delivery_far"]) * _MS, 1.0, "ms"),
        at_most("hosts: to 1,000 agents on three hosts against one", times, 1.5, "×"),
        at_most("hosts: looks for other hosts, of an event in one process", 100 * _LOOKS * looks, 1.0, "%"),
    )


@dataclass(frozen=True, slots=True)
class Ran:
    """What processes did: seconds of their processors for an event (of each), events a second of all, milliseconds from
    a save to the first answer of the new code, where the second mod runs, and of shut gates."""

    cpu: dict[str, float]
    rate: float
    saves: list[float]
    gates: list[float]


def _processes(options: Options, *, hosts: bool) -> Ran:
    """One process; or two doors and a seat, each a process, with half of the mods' code on the second one."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        ports, servers = _serve(stack, folder, hosts=hosts)
        lines = [
            event(name, register(port, name, token(OURS, at)), _EVENT)
            for number in range(_CLIENTS)
            for port, at in [list(ports.items())[number % len(ports)]]
            for name in [f"client-{number}"]
        ]
        pids = {name: each.pid for name, each in servers.items()}
        if hosts:
            pids["engine"] = int(_record(folder)["pid"])
        time.sleep(_LOOKED_AT)
        parts, seconds = (
            [(port, lines[number :: len(ports)]) for number, port in enumerate(ports)],
            options.count(50, 15),
        )
        rate = sum(each.rate for each in asyncio.run(_ask(parts, seconds / 10)))
        with _on_one_core([*pids.values(), os.getpid()]):
            before = {name: cpu_seconds(pid) for name, pid in pids.items()}
            count = sum(len(each.milliseconds) for each in asyncio.run(_ask(parts, seconds / 10)))
            cpu = {name: (cpu_seconds(pid) - before[name]) / count for name, pid in pids.items()}
        saves, gates = _saves(folder, *next(iter(ports.items())), options.count(30, 8))
    return Ran(cpu, rate, saves, gates)


@contextlib.contextmanager
def _on_one_core(pids: Sequence[int]) -> Iterator[None]:
    """Have processes share a core: each is busy whenever it runs, as one is that bounds how many events there can be.
    With time to spare it takes events one by one, and more processor for each."""
    cores = os.sched_getaffinity(0)

    def keep_to(cores: set[int]) -> None:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError, FileNotFoundError):  # one that has ended
                for task in list(Path(f"/proc/{pid}/task").iterdir()):
                    os.sched_setaffinity(int(task.name), cores)

    keep_to({min(cores)})
    try:
        yield
    finally:
        keep_to(cores)


def _serve(
    stack: contextlib.ExitStack, folder: Path, *, hosts: bool
) -> tuple[dict[int, Path], dict[str, subprocess.Popen[bytes]]]:
    """Start the processes; the ports where agents come in, each with its workspace, and the processes by name."""
    seat = free_port()
    write_network(folder, OURS, seat)
    (folder / "mods" / "word.py").write_text("WORD = 0\n")
    for name in ("near", "far"):
        (folder / "mods" / f"{name}.py").write_text(_SAVED.format(name=name))
    text = (folder / "network.yaml").read_text()
    far = ', {"name": "mods.near"}, {"name": "mods.far"' + (', "runs_on": "door-1"' if hosts else "") + "}]"
    (folder / "network.yaml").write_text(text.replace('"enabled": true}]', '"enabled": true}' + far, 1))
    run = command(OURS, seat)
    assert run is not None
    servers = {"seat": stack.enter_context(running([*run, *(("--hosts", "--as", "seat") if hosts else ())], folder))}
    wait_for_port(seat, servers["seat"])
    wait_for_mod(seat, _EVENT)
    if not hosts:
        return {seat: folder}, servers
    creds = folder / ".oa-dev" / "hosts" / "join.creds"
    doors, engine = {}, _record(folder)
    for name in ("door-1", "door-2"):
        port = free_port()
        url = f"nats://127.0.0.1:{engine['port']}"
        join = [run[0], "join", url, "--creds", str(creds), "--as", name, "--json", "--port", str(port)]
        servers[name] = stack.enter_context(running([*join, "--log-level", "warning"], folder))
        wait_for_port(port, servers[name])
        wait_for_mod(port, _EVENT, f"waits-at-{name}")
        doors[port] = folder / ".oa-dev" / "joined" / name
    return doors, servers


def _record(folder: Path) -> dict[str, Any]:
    """What is written of the engine that a host has started."""
    found: dict[str, Any] = json.loads((folder / ".oa-dev" / "hosts" / "engine.json").read_text())
    return found


async def _ask(parts: list[tuple[int, list[dict[str, Any]]]], seconds: float) -> list[Window]:
    return await asyncio.gather(*(ask_for(port, bodies, seconds) for port, bodies in parts))


def _saves(folder: Path, port: int, at: Path, times: int) -> tuple[list[float], list[float]]:
    """Save a module of two mods. `port`, `at`: of the host where the far one runs, which is asked until it is new."""
    server, line = connect(folder), Line(port)
    body = event("saver", register(port, "saver", token(OURS, at)), "far.word")
    after, took, shut = int(server.reloads()["next"]), [], []
    for number in range(1, times + 1):
        began = time.perf_counter()
        (folder / "mods" / "word.py").write_text(f"WORD = {number}\n")
        while ((line.ask("POST", "/api/send_event", fresh(body)) or {}).get("data") or {}).get("word") != number:
            time.sleep(_ASK_EVERY)
        took.append((time.perf_counter() - began) * _MS)
        rows: list[dict[str, Any]] = []
        while not rows:
            rows = [row for row in server.reloads(after, 10.0)["reloads"] if row.get("outcomes")]
        after = rows[-1]["number"]
        outcomes = {each["mod_id"]: each for each in rows[-1]["outcomes"]}
        if {each["status"] for each in outcomes.values()} != {"applied"} or outcomes.keys() != {"near", "far"}:
            raise RuntimeError(f"a save was not applied: {outcomes}")
        shut.append(sum(ms for phase, ms, _ in outcomes["near"]["phases"] if phase in _SHUT))
        time.sleep(_REST)
    line.close()
    return took, shut


def _of_processes(alone: Ran, many: Ran) -> Table:
    doors, busiest = max(many.cpu["door-1"], many.cpu["door-2"]), max(many.cpu.values())
    rows = (
        (f"events a second, {_CLIENTS} clients", f"{many.rate:,.0f}", f"{alone.rate:,.0f}"),
        ("µs of processor for an event: the seat", f"{many.cpu['seat'] * 1e6:.0f}", f"{alone.cpu['seat'] * 1e6:.0f}"),
        ("of all events: each door, where half of them come in", f"{doors * 1e6:.0f}", "-"),
        ("of all events: the engine", f"{many.cpu['engine'] * 1e6:.0f}", "-"),
        ("events a second of processor of the busiest process", f"{1 / busiest:,.0f}", f"{1 / alone.cpu['seat']:,.0f}"),
        ("a save of two mods, until the second serves it, ms", _ms(many.saves), _ms(alone.saves)),
        ("their gates shut, ms", _ms(many.gates), _ms(alone.gates)),
    )
    notes = (
        "Real processes over HTTP; the mod that answers runs on the seat, agents come in at the two doors. Events a"
        " second: all share the machine's cores with the clients and the engine. Processor: all share one core, so that"
        " each is busy whenever it runs, as the busiest is where each has a core of its own: that one says how many"
        " events there can be. With time to spare a process takes events one by one, and more processor for each.",
        "The second of the two mods that a save changes runs on a door, where it is asked every 0.5 ms.",
    )
    return Table("Two doors and a seat", ("what", "three hosts", "one process"), rows, notes)


def _targets_of_processes(alone: Ran, many: Ran) -> tuple[Target, ...]:
    busiest = max(many.cpu.values())
    more = _median(many.saves) - _median(alone.saves)
    shut = _median(many.gates) - _median(alone.gates)
    return (
        at_least("hosts: asks a second that one seat's core answers", 1 / many.cpu["seat"], 10_000, "a second"),
        at_least(
            "hosts: two doors and a seat, events a second of processor of the busiest, against one process",
            alone.cpu["seat"] / busiest,
            1.7,
            "×",
        ),
        at_most("hosts: save to served on the farther host, beyond one host, median", more, 10.0, "ms"),
        at_most("hosts: gates shut longer than on one host, median", shut, 3.0, "ms"),
    )


def _ms(samples: list[float]) -> str:
    return f"{_median(samples):.1f} / {sorted(samples)[int(len(samples) * 0.99)]:.1f}"


def _missing() -> str:
    """A note on what is not installed here; empty where all is."""
    if importlib.util.find_spec("nats") is None:
        return "Missing: nats-py, of the extra `hosts`."
    from devserver.hosts.engine import find_binary

    return "" if find_binary() is not None else "Missing: a nats-server, on PATH or of the extra `hosts`."


async def _run(side: str, samples: int) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(_SIDES / side), str(samples), stdout=subprocess.PIPE, cwd=Path(__file__).parents[1]
    )
    try:
        out, _ = await asyncio.wait_for(process.communicate(), _LONGEST)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise RuntimeError(f"{side} did not end in {_LONGEST:g} s") from None
    if process.returncode:
        raise RuntimeError(f"{side} ended with {process.returncode}")
    found: dict[str, Any] = json.loads(out)
    return found


def _median(samples: list[float]) -> float:
    return sorted(samples)[len(samples) // 2]


def _times(samples: list[float]) -> str:
    p99 = sorted(samples)[int(len(samples) * 0.99)]
    return f"{_median(samples) * _MS:.2f} / {p99 * _MS:.2f}"
