"""OpenAgents as a subject of saves: unload and load through its network, and its process started again.

It watches nothing: what its user does after a save is done here.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from bench import networks
from bench.agents import Line, event, fresh, register
from bench.processes import free_port, interrupt, running, wait_for_port
from bench.subjects import AGENT, Answer, Start, Subject, asker, mod_text

BY_EVENTS, BY_RESTART = "OpenAgents: unload, load", "OpenAgents: restart"
_MOD = "mods.bench_mod"


def start(name: str) -> Start:
    """What starts one of the two."""
    return _by_events if name == BY_EVENTS else _by_restart


def _text(number: int, lines: int) -> str:
    return mod_text(networks.THEIRS, number, lines)


def _written(folder: Path, mods: tuple[str, ...], port: int) -> tuple[Path, list[str]]:
    """Write the network; the file of its mod, and the command that starts it."""
    networks.write_network(folder, networks.THEIRS, port, mods)
    file = folder / "mods" / "bench_mod" / "mod.py"
    file.write_text(_text(0, 20))
    command = networks.command(networks.THEIRS, port)
    assert command is not None
    return file, command


def system_event(line: Line, body: Answer, name: str, mod_path: str) -> Answer | None:
    """Have the network load or unload a mod."""
    return line.ask("POST", "/api/send_event", fresh({**body, "event_name": name, "payload": {"mod_path": mod_path}}))


@contextlib.contextmanager
def _by_events(folder: Path) -> Iterator[Subject]:
    port = free_port()
    file, command = _written(folder, (), port)
    with running(command, folder, PYTHONPATH=str(folder)) as process:
        wait_for_port(port, process)
        line, body = Line(port), event(AGENT, register(port, AGENT), "bench.number.get")

        def again() -> None:
            system_event(line, body, "system.mod.unload", _MOD)
            system_event(line, body, "system.mod.load", _MOD)

        again()
        yield Subject(file, _text, asker(line, body), lambda: line.cuts, again)


@contextlib.contextmanager
def _by_restart(folder: Path) -> Iterator[Subject]:
    port = free_port()
    file, command = _written(folder, networks.LISTED, port)
    with contextlib.ExitStack() as stack:
        served = _Served(port, lambda: stack.enter_context(running(command, folder)))
        yield Subject(file, _text, served.ask, lambda: served.cuts, served.again)


class _Served:
    """A server that is ended and started again, and an agent that registers with each of them."""

    def __init__(self, port: int, run: Callable[[], subprocess.Popen[bytes]]) -> None:
        self.cuts = 0
        self._port = port
        self._run = run
        self._process = run()
        wait_for_port(port, self._process)
        self._join()

    def again(self) -> None:
        """Ctrl-C, and the command again."""
        interrupt(self._process)
        self._process = self._run()
        wait_for_port(self._port, self._process)
        self._join()
        self.cuts += 1

    def ask(self) -> Answer | None:
        """Ask whichever runs."""
        return self._ask()

    def _join(self) -> None:
        self._ask = asker(Line(self._port), event(AGENT, register(self._port, AGENT), "bench.number.get"))
