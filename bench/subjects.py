"""What reloads on a save, as the measures see it: a file with a number in it, and who can be asked for that number.

Here are ours and the floor; `reloaders` has the peers in Python, `node` those in JavaScript, `upstream` OpenAgents.
"""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import networks
from bench.agents import Line, event, fresh, register, wait_for_mod
from bench.processes import free_port, running, wait_for_port

OURS, FLOOR = "oa-dev", "floor: notify, compile, exec"
AGENT = "bench-agent"

Answer = dict[str, Any]
"""`number`, as the code that serves has it; `token`, made once by what keeps state for that code."""


def nothing() -> None:
    """What most subjects need after a save."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A running subject.

    Its `file` holds `text(number, lines)`; `ask` gives what it answers, or None where it does not; `cuts` counts how
    often it did not; `after_save` is what its user has to do by hand.
    """

    file: Path
    text: Callable[[int, int], str]
    ask: Callable[[], Answer | None]
    cuts: Callable[[], int]
    after_save: Callable[[], None] = nothing


Start = Callable[[Path], contextlib.AbstractContextManager[Subject]]
"""Starts a subject in an empty folder. Raises RuntimeError where it does not start."""

_FILLER = "def filler_{n}(value: int) -> int:\n    return value + {n}\n"
_MOD = """\
NUMBER = {number}
import uuid
from {package} import BaseMod, mod_event_handler
from {events} import Event
from {answers} import EventResponse


class BenchMod(BaseMod):
    def __init__(self, mod_name="bench_mod"):
        super().__init__(mod_name)

    @mod_event_handler("bench.number.get")
    async def get_number(self, event: Event):
        token = self.state.setdefault("token", uuid.uuid4().hex)
        return EventResponse(success=True, message="", data={{"number": NUMBER, "token": token}})


"""


def filled(template: str, number: int, lines: int, filler: str = _FILLER) -> str:
    """A module of so many lines."""
    text = template.format(number=number)
    missing = max(0, lines - text.count("\n")) // filler.count("\n")
    return text + "".join(filler.format(n=each) for each in range(missing))


def mod_text(side: str, number: int, lines: int) -> str:
    """The mod of a side, of the same text but for where its imports come from; only ours hands state over."""
    names = networks.IMPORTS[side]
    text = (
        _MOD.format(number="{number}", **names).replace("{", "{{").replace("}", "}}").replace("{{number}}", "{number}")
    )
    if side != OURS:
        text = text.replace("self.state.setdefault", "self.__dict__.setdefault")
    return filled(text, number, lines)


@contextlib.contextmanager
def ours(folder: Path) -> Iterator[Subject]:
    """`oa-dev run` with one mod, asked by an agent on a kept connection."""
    port = free_port()
    networks.write_network(folder, networks.OURS, port)
    file = folder / "mods" / "bench_mod" / "mod.py"
    file.write_text(mod_text(OURS, 0, 20))
    command = networks.command(networks.OURS, port)
    assert command is not None
    with running(command, folder) as process:
        wait_for_port(port, process)
        wait_for_mod(port, "bench.number.get")
        line, body = Line(port), event(AGENT, register(port, AGENT), "bench.number.get")
        yield Subject(file, lambda number, lines: mod_text(OURS, number, lines), asker(line, body), lambda: line.cuts)


def asker(line: Line, body: Answer) -> Callable[[], Answer | None]:
    """What asks by an event on a line."""

    def ask() -> Answer | None:
        answer = line.ask("POST", "/api/send_event", fresh(body))
        data = answer.get("data") if answer is not None else None
        return data if data is not None and "number" in data else None

    return ask


@contextlib.contextmanager
def floor(folder: Path) -> Iterator[Subject]:
    """The least that a reload can be."""
    file, port = folder / "module.py", free_port()
    template = "NUMBER = {number}\n"
    file.write_text(filled(template, 0, 20))
    program = str(Path(__file__).parent / "sides" / "floor.py")
    with running([sys.executable, program, str(file), str(port)], folder) as process:
        wait_for_port(port, process)
        with socket.create_connection(("127.0.0.1", port)) as line, line.makefile("rb") as answers:

            def ask() -> Answer:
                line.sendall(b"?")
                return {"number": int(answers.readline()), "token": "kept"}

            yield Subject(file, lambda number, lines: filled(template, number, lines), ask, lambda: 0)
