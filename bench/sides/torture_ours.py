"""The adapter for `oa-dev`: the user of the modules is a mod, which is asked by events."""

# mypy: disable-error-code="import-not-found,misc"
# It stands beside what it imports when it is run.

from __future__ import annotations

from pathlib import Path
from typing import Any

from torture_peers import Peer
from torture_world import World, probe

from devserver import Event
from devserver.model.change import FilesChanged
from devserver.model.facts import Status
from devserver.sources.files import sources_now

_WAIT = """
    @mod_event_handler("probe.wait")
    async def wait(self, event):
        names = {**globals(), "held": self.state, "self": self}
        return EventResponse(True, "", {"answer": await eval(event.payload["question"], names)})
"""


class Ours(Peer):
    """A network of one mod, `probe`."""

    def __init__(self, folder: Path, imports: str) -> None:
        super().__init__(folder, imports)
        self._initialize = "return True"
        self._world = World(folder)

    def at_load(self, text: str, statement: str) -> str:
        """A mod does such things when it is initialized, on the loop that it runs on."""
        name = statement.removesuffix("()")
        self._initialize = f"m.{name}(); return True"
        return text

    async def _start(self) -> None:
        mod = probe(self.imports, self._initialize) + _WAIT
        self._world.write({"mods/probe.py": mod})
        await self._world.start()

    async def _reload(self, changed: list[Path]) -> None:
        engine = self._world.network.engine
        known = engine.knowledge.sources()
        differing = {path: digest for path, digest in sources_now(known).items() if known[path] != digest}
        if differing:
            done = await self._world.network.submit(FilesChanged(differing))
            # What the world remembers of each reload is no growth of the network.
            self._world.facts.clear()
            self.told += [each.note or str(each.error) for each in done.outcomes if each.status is not Status.APPLIED]

    async def _evaluate(self, question: str) -> Any:
        return await self._world.ask(question)

    async def _execute(self, code: str) -> None:
        await self._world.run(code)

    async def _wait(self, question: str) -> Any:
        payload = {"question": question}
        event = Event(event_name="probe.wait", source_id="agent:w", destination_id="mod:mods.probe", payload=payload)
        answer = await self._world.network.process_event(event)
        return (answer.data or {}).get("answer", answer.message)

    def hold(self, expressions: dict[str, str]) -> None:
        """Keep objects in the state of the mod."""
        self.in_loop(self._world.hold(expressions))

    def stop(self) -> None:
        """End the network."""
        self.in_loop(self._world.stop())
