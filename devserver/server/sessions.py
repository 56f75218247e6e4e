"""Recorded sessions of a workspace, run again up to any of their events: the state of each mod at that point.

The replay process runs the events on the code of now; no state was kept for each of them.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from devserver.errors import DevServerError
from devserver.network.compare import steps_of
from devserver.replay.session import MOST_BYTES, BadSession, Session, read_session
from devserver.server.private_folder import PrivateFolder

MOST_EVENTS = 20_000
"""The most events of a session that are listed."""
SECONDS = 60.0
"""Seconds for all events up to the one that is looked at."""
_EVENT_SECONDS = 5.0
_ENDING = ".jsonl"


class Sessions:
    """Arguments: `files`, where sessions lie; `ask`, which asks the replay process within so many seconds."""

    def __init__(
        self, files: PrivateFolder, ask: Callable[[Mapping[str, Any], float], Awaitable[dict[str, Any]]]
    ) -> None:
        self._files, self._ask = files, ask
        self._latest: tuple[str, int, Session] | None = None
        """The session that was read last, with its name and its size: a file only grows."""

    async def sessions(self) -> dict[str, Any]:
        """Return the names of all sessions, the latest first."""
        return {"sessions": sorted(await self._names(), reverse=True)}

    async def session(self, name: str) -> dict[str, Any]:
        """Return the events of a session: `[number, event_name, source, success]`. Raises DevServerError."""
        found = await self._session(name)
        rows = [
            [each.number, each.event["event_name"], each.event["source_id"], each.did.success] for each in found.inputs
        ]
        return {"name": name, "notes": found.notes, "events": rows[:MOST_EVENTS], "of": len(rows)}

    async def moment(self, name: str, *, number: int, mod: str, path: str) -> dict[str, Any]:
        """Run a session up to an event: observation, recorded answer, a level of a mod's state.

        Raises DevServerError.
        """
        found = await self._session(name)
        asked = found.until(number)
        try:
            steps = steps_of(path)
        except ValueError as error:
            raise BadSession(str(error)) from error
        message = {"do": "moment", **asked.message(), "seconds": _EVENT_SECONDS, "most_seconds": SECONDS}
        answer = await self._ask({**message, "mod": mod, "steps": steps}, SECONDS)
        if "cannot" in answer:
            raise BadSession(f"#{number} of {name} cannot be shown: {answer['cannot']}")
        did = asked.inputs[-1].did
        recorded = {"success": did.success, "message": did.message, "data": did.data}
        return {"number": number, "mod_id": mod, "path": path, "recorded": recorded, **answer["moment"]}

    async def _names(self) -> list[str]:
        names = await asyncio.to_thread(self._files.names)
        return [each for each in names if each.endswith(_ENDING)]

    async def _session(self, name: str) -> Session:
        if name not in await self._names():
            raise DevServerError(f"session {name} does not exist: oa-dev run --record makes one")
        data = await asyncio.to_thread(self._files.read, name, MOST_BYTES + 1)
        size = len(data or b"")
        if self._latest is None or self._latest[:2] != (name, size):
            self._latest = (name, size, await asyncio.to_thread(read_session, io.BytesIO(data or b"")))
        return self._latest[2]
