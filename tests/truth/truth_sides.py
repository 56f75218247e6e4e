"""Both sides of the differential test: networks in processes of their own, all forked from one warm process.

Executed as a program this file is that warm process: it has imported what a network needs, and forks for each
connection to its socket. So a fresh process costs a fork, and both sides begin in the very same process settings.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from devserver import AgentNetwork, Event, EventResponse
from devserver.model.change import FilesChanged
from devserver.model.facts import Fact, PlanDone, Status
from devserver.sources.files import sources_now

_LIMIT = 20.0
"""Seconds after which a side that does not answer is a failure."""
_PATIENCE = 60.0
"""Seconds in which the census has to be taken; on a quiet machine it is two."""

Question = tuple[str, str]
"""A mod, and an expression that one of its handlers evaluates."""


class Side:
    """One network in a process of its own, as the test drives it."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(_LIMIT)
        self._socket.connect(address)
        self._lines = self._socket.makefile("rw")

    def start(self, folder: Path) -> dict[str, str]:
        """Run the network of a folder; why mods did not load, by mod."""
        return self._do("start", str(folder))

    def look(self) -> list[dict[str, Any]]:
        """Have the network see what differs on disk; the outcomes."""
        return self._do("look")

    def ask(self, questions: Sequence[Question]) -> list[str]:
        """The answers, as people would read them."""
        return self._do("ask", list(questions))

    def run(self, statements: Sequence[Question]) -> list[str]:
        """Have handlers execute statements; what they raised."""
        return self._do("run", list(statements))

    def restart_reasons(self, *, patient: bool = False) -> list[str]:
        """Why a restart in place was asked for; `patient` waits for the census."""
        return self._do("reasons", patient)

    def close(self) -> None:
        """End the process."""
        self._lines.close()
        self._socket.close()

    def _do(self, name: str, argument: Any = None) -> Any:
        self._lines.write(json.dumps([name, argument]) + "\n")
        self._lines.flush()
        answer = self._lines.readline()
        assert answer, f"the process ended while it was asked to {name}: {argument}"
        return json.loads(answer)


@contextmanager
def warm_process() -> Iterator[str]:
    """A process that forks a side for each connection to its address."""
    with tempfile.TemporaryDirectory(prefix="oa-truth-") as folder:
        address = f"{folder}/socket"
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        command = [sys.executable, __file__, address]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            try:
                yield address
            finally:
                process.terminate()


# In the forked process


class _Network:
    """What a side does when it is asked to."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []
        self.reasons: list[str] = []

    async def start(self, folder: str) -> dict[str, str]:
        self.network = AgentNetwork.load(folder, tell=self.facts.append)
        engine, ask_for_restart = self.network.engine, self.network.engine.restart

        def restart(reasons: tuple[str, ...]) -> None:
            self.reasons += reasons
            ask_for_restart(reasons)

        engine.restart = restart  # type: ignore[method-assign]
        await self.network.initialize()
        await engine._queue.join()  # type: ignore[union-attr]
        done = [each for each in self.facts if isinstance(each, PlanDone)]
        outcomes = [each for fact in done for each in fact.outcomes]
        return {each.mod_path: str(each.error or each.reason) for each in outcomes if each.status is not Status.APPLIED}

    async def look(self) -> list[dict[str, Any]]:
        engine = self.network.engine
        known = engine.knowledge.sources()
        changed = {path: digest for path, digest in sources_now(known).items() if known[path] != digest}
        if not changed:
            return []
        self.facts.clear()
        await self.network.submit(FilesChanged(changed))
        await engine._queue.join()  # type: ignore[union-attr]
        done = [each for each in self.facts if isinstance(each, PlanDone)]
        return [
            {
                "mod": each.mod_path,
                "status": each.status.value,
                "said": f"{each.reason}; {each.error or ''}; {each.note}",
                "stale": list(each.stale_keys),
                "holders": [str(holder) for holder in each.holders],
            }
            for fact in done
            for each in fact.outcomes
        ]

    async def ask(self, questions: Iterable[Question]) -> list[str]:
        return [_shown(await self._send(mod, "probe.ask", text)) for mod, text in questions]

    async def run(self, statements: Iterable[Question]) -> list[str]:
        answers = [await self._send(mod, "probe.run", text) for mod, text in statements]
        return [each.message for each in answers if not each.success]

    async def reasons_of_restart(self, patient: bool) -> list[str]:
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                while patient and not self.reasons and self.network.engine.proof.waits:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
        return self.reasons

    async def _send(self, mod: str, name: str, text: str) -> EventResponse:
        event = Event(event_name=name, source_id="agent:tester", destination_id=f"mod:{mod}", payload={"text": text})
        answer = await self.network.process_event(event)
        assert answer is not None
        return answer


def _shown(answer: EventResponse) -> str:
    text = answer.data["answer"] if answer.success and answer.data else f"error: {answer.message}"
    return re.sub(r"0x[0-9a-f]{6,}", "0x", text)


async def _serve(connection: socket.socket) -> None:
    reader, writer = await asyncio.open_connection(sock=connection)
    side = _Network()
    doors = {
        "start": side.start,
        "ask": side.ask,
        "run": side.run,
        "reasons": side.reasons_of_restart,
        "look": lambda _: side.look(),
    }
    while line := await reader.readline():
        name, argument = json.loads(line)
        answer = await doors[name](argument)
        # Programs change the usual separators, among other things.
        writer.write(json.dumps(answer, separators=(",", ":")).encode() + b"\n")
        await writer.drain()


def _main(address: str) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(address)
    listening.listen()
    print("ready", flush=True)
    while True:
        connection, _ = listening.accept()
        if os.fork() == 0:
            listening.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.dup2(2, 1)
            try:
                asyncio.run(_serve(connection))
            finally:
                os._exit(0)
        connection.close()


if __name__ == "__main__":
    _main(sys.argv[1])
