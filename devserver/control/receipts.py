"""The results of plans, for the page: one receipt for each plan, and its diff of the code.

Receipts are the rows that `oa-dev wait reload` reads, with the same numbers. All of it needs this
run's admin token.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from devserver.control.feed import number
from devserver.control.tape import Tape
from devserver.model.encoding import from_json, to_json
from devserver.model.principal import Scope
from devserver.transports.http.answers import Answer, refused
from devserver.transports.http.routes import Request, Route

MOST_RECEIPTS = 200
DIFF_SECONDS = 0.5
"""Seconds that a diff is waited for: a slower one is too large to be read."""


class Receipts(Protocol):
    """The server, as this API needs it."""

    @property
    def reloads(self) -> Tape[dict[str, Any]]: ...

    async def diff(self, number: int) -> list[dict[str, Any]] | None:
        """Return each file's `path`, `added`, `removed`, `text` (a diff, or None: not kept)."""

    def beside(self, number: int) -> dict[str, Any]:
        """Return further facts about a change: `pins`, `contract`, `state`, without empty ones."""

    def clean(self, raw: bytes) -> bytes: ...


class ReceiptsApi:
    """The endpoints, over one server."""

    def __init__(self, receipts: Receipts) -> None:
        self._receipts = receipts

    def routes(self) -> tuple[Route, ...]:
        return (
            Route("GET", "/_dev/changes", Scope.ADMIN, self.changes),
            Route("GET", "/_dev/change", Scope.ADMIN, self.change),
        )

    async def changes(self, request: Request) -> Answer:
        """Return the receipts after the number `after`, or the latest, oldest first."""
        tape, most = self._receipts.reloads, min(number(request, "most") or MOST_RECEIPTS, MOST_RECEIPTS)
        found = tape.raw_after(number(request, "after") or 0, most)
        rows = b",".join(b'{"number":%d,%b' % (n, raw[1:]) for n, raw in found)
        return Answer(self._receipts.clean(b'{"next":%d,"changes":[%b]}' % (tape.number, rows)))

    async def change(self, request: Request) -> Answer:
        """Return one receipt with `phases` and `diff`: a list of files, null if it is not known."""
        asked = number(request, "number")
        found = dict(self._receipts.reloads.raw_after(0, MOST_RECEIPTS)).get(asked or 0)
        if asked is None or found is None:
            return refused("no_such_change", f"the change {asked} is not kept", 404)
        row = from_json(found)
        try:
            async with asyncio.timeout(DIFF_SECONDS):
                diff = await self._receipts.diff(asked)
        except TimeoutError:
            diff = None
        # Of the first step that has some; the steps of a group share them.
        phases: list[Any] = next((each["phases"] for each in row.get("outcomes", []) if each["phases"]), [])
        told = {"number": asked, **row, "phases": phases, "diff": diff, **self._receipts.beside(asked)}
        return Answer(self._receipts.clean(to_json(told)))
