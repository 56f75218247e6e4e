"""What the commands of a terminal ask besides: plans, saves that wait, and what happens next. Decides nothing.

All of it needs this run's admin token. What happens next is asked for with the number of what is known already; the
question is held until there is something, or for HOLD_SECONDS.
"""

from __future__ import annotations

from typing import Any, Protocol

from devserver.control import bodies
from devserver.control.bodies import named, read
from devserver.control.control import carried_out
from devserver.control.feed import number, seconds_of
from devserver.control.tape import Tape
from devserver.errors import ConfigError, DevServerError
from devserver.model.change import Trigger, UndoAsked
from devserver.model.facts import PlanDone
from devserver.model.plan import Plan
from devserver.model.principal import Scope
from devserver.model.wire_form import done_to_dict, error_to_dict, plan_to_dict
from devserver.transports.http.answers import Answer, told
from devserver.transports.http.routes import Request, Route
from devserver.transports.strict import Malformed

HOLD_SECONDS = 20.0


class SavesAsked(Protocol):
    """Saves on their way to the network."""

    @property
    def paused(self) -> bool:
        """Whether saves wait."""

    def waiting_names(self) -> list[str]:
        """The files that wait."""

    def pause(self) -> None:
        """Let saves wait."""

    async def apply(self) -> tuple[PlanDone, ...]:
        """Apply what waits."""

    async def resume(self) -> tuple[PlanDone, ...]:
        """Apply what waits, and everything that comes."""

    async def plans(self) -> tuple[Plan, ...]:
        """What applying everything on disk would lead to."""


class SettlingAsked(Protocol):
    """Whether what is on disk is what runs."""

    async def settled(self, seconds: float) -> dict[str, Any]:
        """Return when that is decided, or after so many seconds."""


class RecordingAsked(Protocol):
    """The recording of sessions."""

    @property
    def path(self) -> str | None:
        """The file that is written; None where nothing is recorded."""

    async def start(self) -> str:
        """Record from now on. Raises DevServerError or OSError."""

    def stop(self) -> dict[str, Any] | None:
        """End the session: `path`, `events`, `bytes`; None where there was none."""


class ContractAsked(Protocol):
    """What changes of mods mean for those who use them."""

    async def current(self) -> dict[str, Any]:
        """`lost` events, and `changed` shapes, as they are now."""


class Desk(Protocol):
    """What this API needs of the server. What became of plans is plain values."""

    @property
    def saves(self) -> SavesAsked:
        """Saves on their way."""

    @property
    def settling(self) -> SettlingAsked:
        """Whether what is on disk is what runs."""

    @property
    def recording(self) -> RecordingAsked:
        """The recording of sessions."""

    @property
    def contracts(self) -> ContractAsked:
        """What changes of mods mean for those who use them."""

    @property
    def reloads(self) -> Tape[dict[str, Any]]:
        """What became of each plan."""

    async def submit(self, trigger: Trigger) -> PlanDone:
        """Queue a trigger, and wait until its plan was carried out."""

    def stop(self) -> None:
        """End the server."""

    def set_log_level(self, level: str) -> None:
        """Show log records from this level on."""


class DeskApi:
    """The endpoints, over one server; `hold` is how many seconds a question is held."""

    def __init__(self, desk: Desk, hold: float = HOLD_SECONDS) -> None:
        self._desk = desk
        self._hold = hold

    def routes(self) -> tuple[Route, ...]:
        """The table."""
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
        """What applying everything on disk would lead to, or why network.yaml cannot be used."""
        try:
            plans = await self._desk.saves.plans()
        except ConfigError as error:
            return told({"plans": [], "problems": [error_to_dict(each) for each in error.problems]})
        except OSError as error:
            raise Malformed("unreadable", f"network.yaml cannot be read ({error.strerror})", 409) from error
        return told({"plans": [plan_to_dict(each) for each in plans], "problems": []})

    async def reloads(self, request: Request) -> Answer:
        """What became of the plans after `after`; without it, where they stand now."""
        tape, after = self._desk.reloads, number(request, "after")
        found = () if after is None else await tape.wait_after(after, seconds_of(request, self._hold))
        rows = [{"number": place, **each} for place, each in found]
        return told({"next": found[-1][0] if found else tape.number, "reloads": rows})

    async def settle(self, request: Request) -> Answer:
        """Whether what is on disk is what runs, once that is decided."""
        return told(await self._desk.settling.settled(seconds_of(request, self._hold)))

    async def undo(self, request: Request) -> Answer:
        """Go back to before the last reload of the named mods, or to before the latest reload; again: further back."""
        mods, seen = named(request)
        return carried_out(await self._desk.submit(UndoAsked(mods, "asked by a command", seen)))

    async def redo(self, request: Request) -> Answer:
        """Take back the last undo of the named mods, or the latest undo."""
        mods, seen = named(request)
        return carried_out(await self._desk.submit(UndoAsked(mods, "asked by a command", seen, redo=True)))

    async def saves(self, request: Request) -> Answer:
        """Let saves wait (`pause`), apply what waits (`apply`), or go on as usual (`resume`)."""
        saves = self._desk.saves
        done: tuple[PlanDone, ...] = ()
        match read(bodies.Saves, request).do:
            case "pause":
                saves.pause()
            case "apply":
                done = await saves.apply()
            case "resume":
                done = await saves.resume()
        waiting = saves.waiting_names()
        return told({"paused": saves.paused, "waiting": waiting, "done": [done_to_dict(each) for each in done]})

    async def contract(self, request: Request) -> Answer:
        """Which events have lost their last handler, and which are answered with something else than before."""
        return told(await self._desk.contracts.current())

    async def record(self, request: Request) -> Answer:
        """Record a session from now on (`start`), or end that (`stop`); what is written, or was."""
        recording = self._desk.recording
        try:
            if read(bodies.Record, request).do == "start":
                await recording.start()
            else:
                return told({"recording": None, "session": recording.stop()})
        except (DevServerError, OSError) as error:
            raise Malformed("cannot_record", str(error), 409) from error
        return told({"recording": recording.path, "session": None})

    async def log(self, request: Request) -> Answer:
        """Show log records from `level` on."""
        level = read(bodies.Log, request).level
        self._desk.set_log_level(level)
        return told({"level": level})

    async def stop(self, request: Request) -> Answer:
        """End the server."""
        self._desk.stop()
        return told({"stopping": True})
