"""The control API, part 2: plans, held saves, undo, log, stop, and long polls. Decides nothing.

All of it needs this run's admin token. A question about later events has the number of the last
known one; it is held until there is another, or for HOLD_SECONDS.
"""

from __future__ import annotations

from typing import Any, Protocol

from devserver.control import bodies
from devserver.control.bodies import named, read
from devserver.control.control import carried_out, cause_of
from devserver.control.feed import number, seconds_of
from devserver.control.tape import Tape
from devserver.errors import ConfigError, DevServerError
from devserver.model.change import Trigger, UndoAsked
from devserver.model.facts import PlanDone
from devserver.model.logs import set_level
from devserver.model.plan import Plan
from devserver.model.principal import Scope
from devserver.model.wire_form import done_to_dict, error_to_dict, plan_to_dict
from devserver.transports.http.answers import Answer, told
from devserver.transports.http.routes import Request, Route
from devserver.transports.strict import Malformed


class SavesAsked(Protocol):
    """Saves on their way to the network."""

    @property
    def paused(self) -> bool: ...
    def waiting_names(self) -> list[str]: ...
    def pause(self) -> None: ...
    async def apply(self) -> tuple[PlanDone, ...]: ...
    async def resume(self) -> tuple[PlanDone, ...]: ...
    async def plans(self) -> tuple[Plan, ...]: ...


class SettlingAsked(Protocol):
    """Whether the code on disk runs."""

    async def settled(self, seconds: float) -> dict[str, Any]: ...


class RecordingAsked(Protocol):
    """The recording of sessions."""

    @property
    def path(self) -> str | None:
        """The file that is written; None without a recording."""

    async def start(self) -> str:
        """Record from now on. Raises DevServerError or OSError."""

    async def begun(self) -> None:
        """Wait until a session that is starting has its file."""

    def stop(self) -> dict[str, Any] | None:
        """End the session: `path`, `events`, `bytes`; None if there was none."""


class ContractAsked(Protocol):
    """The effects of changes of mods on their users."""

    async def current(self) -> dict[str, Any]: ...


class Desk(Protocol):
    """The server, as this API needs it. The results of plans are plain values."""

    @property
    def saves(self) -> SavesAsked: ...
    @property
    def settling(self) -> SettlingAsked: ...
    @property
    def recording(self) -> RecordingAsked: ...
    @property
    def contracts(self) -> ContractAsked: ...
    @property
    def reloads(self) -> Tape[dict[str, Any]]: ...
    async def submit(self, trigger: Trigger) -> PlanDone: ...
    def stop(self) -> None: ...


class DeskApi:
    """The endpoints, over one server."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def routes(self) -> tuple[Route, ...]:
        return (
            Route("GET", "/_dev/plan", Scope.ADMIN, self.plan),
            Route("GET", "/_dev/reloads", Scope.ADMIN, self.reloads, waits=True),
            Route("GET", "/_dev/settle", Scope.ADMIN, self.settle, waits=True),
            Route("POST", "/_dev/undo", Scope.ADMIN, self.undo),
            Route("POST", "/_dev/redo", Scope.ADMIN, self.redo),
            Route("POST", "/_dev/saves", Scope.ADMIN, self.saves),
            Route("GET", "/_dev/contract", Scope.ADMIN, self.contract),
            Route("POST", "/_dev/record", Scope.ADMIN, self.record),
            Route("POST", "/_dev/log", Scope.ADMIN, self.log),
            Route("POST", "/_dev/stop", Scope.ADMIN, self.stop),
        )

    async def plan(self, request: Request) -> Answer:
        """Return the plans for everything on disk, or why network.yaml cannot be used."""
        try:
            plans = await self._desk.saves.plans()
        except ConfigError as error:
            return told({"plans": [], "problems": [error_to_dict(each) for each in error.problems]})
        except OSError as error:
            raise Malformed("unreadable", f"network.yaml cannot be read ({error.strerror})", 409) from error
        return told({"plans": [plan_to_dict(each) for each in plans], "problems": []})

    async def reloads(self, request: Request) -> Answer:
        """Return the results of the plans after `after`; without it, the number of the latest."""
        tape, after = self._desk.reloads, number(request, "after")
        found = () if after is None else await tape.wait_after(after, seconds_of(request))
        rows = [{"number": place, **each} for place, each in found]
        return told({"next": found[-1][0] if found else tape.number, "reloads": rows})

    async def settle(self, request: Request) -> Answer:
        """Return whether the code on disk runs, once that is decided."""
        return told(await self._desk.settling.settled(seconds_of(request)))

    async def undo(self, request: Request) -> Answer:
        """Go back to before the last reload of the named mods, or to before the latest reload; again: further back."""
        mods, seen = named(request)
        return carried_out(await self._desk.submit(UndoAsked(mods, cause_of(request), seen)))

    async def redo(self, request: Request) -> Answer:
        """Take back the last undo of the named mods, or the latest undo."""
        mods, seen = named(request)
        return carried_out(await self._desk.submit(UndoAsked(mods, cause_of(request), seen, redo=True)))

    async def saves(self, request: Request) -> Answer:
        """Hold saves (`pause`), apply them once (`apply`), or reload on save again (`resume`)."""
        saves = self._desk.saves
        done: tuple[PlanDone, ...] = ()
        match read(bodies.models.Saves, request).do:
            case "pause":
                saves.pause()
            case "apply":
                done = await saves.apply()
            case "resume":
                done = await saves.resume()
        waiting = saves.waiting_names()
        return told({"paused": saves.paused, "waiting": waiting, "done": [done_to_dict(each) for each in done]})

    async def contract(self, request: Request) -> Answer:
        """Return the events without their last handler, and those with answers of another shape."""
        return told(await self._desk.contracts.current())

    async def record(self, request: Request) -> Answer:
        """Record a session from now on (`start`), or end it (`stop`); return its file."""
        recording = self._desk.recording
        try:
            if read(bodies.models.Record, request).do == "start":
                await recording.start()
            else:
                await recording.begun()
                return told({"recording": None, "session": recording.stop()})
        except (DevServerError, OSError) as error:
            raise Malformed("cannot_record", str(error), 409) from error
        return told({"recording": recording.path, "session": None})

    async def log(self, request: Request) -> Answer:
        """Show log records from `level` on."""
        level = read(bodies.models.Log, request).level
        set_level(level)
        return told({"level": level})

    async def stop(self, request: Request) -> Answer:
        """End the server."""
        self._desk.stop()
        return told({"stopping": True})
