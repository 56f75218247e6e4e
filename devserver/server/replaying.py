"""The door to replay: nothing of it is imported or runs before there is a pin or a question."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any

from devserver.agent_network import AgentNetwork
from devserver.errors import DevServerError
from devserver.model.facts import Fact, PlanDone, Restarted
from devserver.model.plan import RESTART
from devserver.network.recorder import Recorder
from devserver.server.private_folder import PrivateFolder
from devserver.server.recording import FOLDER as SESSIONS

if TYPE_CHECKING:
    from devserver.server.replays import Replays
    from devserver.server.sessions import Sessions

FOLDER = "pins"


class Replaying:
    """Arguments are those of `Replays`, which it makes on demand."""

    def __init__(
        self,
        network: AgentNetwork,
        recorder: Recorder,
        *,
        redact: Callable[[dict[str, Any]], dict[str, Any]],
        tell: Callable[[Fact], None],
        begin: Callable[[Coroutine[Any, Any, object]], None],
    ) -> None:
        self._network, self._recorder = network, recorder
        self._redact, self._tell, self._begin = redact, tell, begin
        self._files = PrivateFolder(network.workspace, FOLDER)
        self._replays: Replays | None = None
        self._sessions: Sessions | None = None
        self._has_pins: bool | None = None
        self._kept_before: dict[str, Any] = {}
        """What pins have kept in memory in the image before."""
        self._came_back: list[PlanDone] = []
        """The plans that have brought the mods back after a restart in place."""

    @property
    def replays(self) -> Replays:
        """Replay itself. For the control side's loop."""
        if self._replays is None:
            # Here and not above: most runs pin nothing.
            from devserver.replay.host import Host
            from devserver.server.replays import Replays

            host = Host(self._network.workspace, dict(os.environ))
            self._replays = Replays(
                self._network,
                self._recorder,
                host,
                self._files,
                redact=self._redact,
                tell=self._tell,
                begin=self._begin,
            )
            self._replays.unpack(self._kept_before)
        return self._replays

    @property
    def sessions(self) -> Sessions:
        if self._sessions is None:
            from devserver.server.sessions import Sessions  # most runs never open a session

            files = PrivateFolder(self._network.workspace, SESSIONS)
            self._sessions = Sessions(files, lambda message, seconds: self.replays.ask(message, seconds))
        return self._sessions

    def __iter__(self) -> Iterator[int]:
        """Return the numbers of the pinned events, for the search."""
        return iter(() if self._replays is None else self._replays.numbers)

    def __contains__(self, number: object) -> bool:
        return self._replays is not None and number in self._replays.numbers

    def __len__(self) -> int:
        return 0 if self._replays is None else len(self._replays.numbers)

    def note(self, fact: Fact) -> None:
        """Note a plan that was carried out, and run the pins again, if any. Returns at once."""
        match fact:
            case PlanDone() if fact.plan.cause == RESTART:
                # Nothing is imported, and no pin run, before agents are answered again.
                self._came_back.append(fact)
                return
            case PlanDone():
                done = [fact]
            case Restarted():
                done, self._came_back = self._came_back, []
            case _:
                return
        for each in done:
            if each.outcomes and (self._replays is not None or self._pinned_before()):
                self.replays.saved(each)

    def _pinned_before(self) -> bool:
        """Return whether an earlier run has left pins; looked for once."""
        if self._has_pins is None:
            try:
                self._has_pins = any(each.endswith(".json") for each in self._files.names())
            except (OSError, DevServerError):
                self._has_pins = False
        return self._has_pins

    def pack(self) -> dict[str, Any]:
        """Return what the next image of this process needs, as plain values."""
        return self._kept_before if self._replays is None else self._replays.pack()

    def unpack(self, packed: dict[str, Any]) -> None:
        """Continue after an earlier image of this process."""
        self._kept_before = packed

    async def give_way(self) -> None:
        """Make way for this process's next image, which starts a replay process on demand."""
        if self._replays is not None:
            await self._replays.end()

    async def end(self) -> None:
        """End everything that was begun."""
        if self._replays is not None:
            await self._replays.end()
