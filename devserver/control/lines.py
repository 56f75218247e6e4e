"""The control API of versions beside mods: try, split, promote, drop, and the version of an agent.

Every change is a trigger of the one queue; nothing is decided here. Shares are parts of all agents,
from 0 to 1.
"""

from __future__ import annotations

from typing import Any, Protocol

from devserver.control import bodies
from devserver.control.bodies import read
from devserver.control.control import carried_out, cause_of
from devserver.model.change import DropAsked, LineAsked, PromoteAsked, SplitAsked, Trigger
from devserver.model.facts import PlanDone
from devserver.model.names import mod_name_problem, module_of
from devserver.model.principal import Scope
from devserver.model.split import Guard, Line, StateMode, label_problem
from devserver.transports.http.answers import Answer, told
from devserver.transports.http.routes import Request, Route
from devserver.transports.strict import Malformed


class LinesAsked(Protocol):
    """The server, as this API needs it."""

    async def submit(self, trigger: Trigger) -> PlanDone: ...
    def which(self, agent: str, mod: str) -> dict[str, Any] | None: ...
    async def compared(self, mod: str) -> list[dict[str, Any]] | None: ...


class LinesApi:
    """The endpoints."""

    def __init__(self, server: LinesAsked) -> None:
        self._server = server

    def routes(self) -> tuple[Route, ...]:
        return (
            Route("POST", "/_dev/try", Scope.MODS_WRITE, self.try_),
            Route("POST", "/_dev/split", Scope.MODS_WRITE, self.split),
            Route("POST", "/_dev/promote", Scope.MODS_WRITE, self.promote),
            Route("POST", "/_dev/drop", Scope.MODS_WRITE, self.drop),
            Route("GET", "/_dev/compare", Scope.READ, self.compare),
            Route("GET", "/_dev/which", Scope.READ, self.which),
        )

    async def try_(self, request: Request) -> Answer:
        """Load a version beside a mod."""
        body = read(bodies.models.Try, request)
        problem = label_problem(body.label)
        if problem is None and body.path is not None:
            problem = mod_name_problem(body.path)
        if problem is not None:
            raise Malformed("bad_field", f"{body.label if body.path is None else body.path}: {problem}")
        state = StateMode.COPY if body.shadow else StateMode(body.state or StateMode.SHARED)
        line = Line(
            label=body.label,
            rule=body.rule,
            state=state,
            guard=None if body.shadow else Guard(),
            code=module_of(body.path) if body.path is not None else "",
        )
        return carried_out(await self._server.submit(LineAsked(body.mod, line, cause=cause_of(request), trusted=False)))

    async def split(self, request: Request) -> Answer:
        """Give a line other agents."""
        body = read(bodies.models.SplitBody, request)
        return carried_out(await self._server.submit(SplitAsked(body.line, body.rule, cause_of(request))))

    async def promote(self, request: Request) -> Answer:
        """Let a line become its mod."""
        body = read(bodies.models.End, request)
        asked = PromoteAsked(body.line, body.keep, cause_of(request), written=body.write)
        return carried_out(await self._server.submit(asked))

    async def drop(self, request: Request) -> Answer:
        """End a line."""
        body = read(bodies.models.End, request)
        return carried_out(await self._server.submit(DropAsked(body.line, body.keep, cause_of(request))))

    async def compare(self, request: Request) -> Answer:
        """Return the differences of a mod's shadows; 404 for an unknown mod."""
        mod = request.query.get("mod", "")
        found = await self._server.compared(mod)
        if found is None:
            raise Malformed("unknown_mod", f"no mod {mod!a} runs here", 404)
        return told({"mod": mod, "shadows": found})

    async def which(self, request: Request) -> Answer:
        """Return which version of a mod an agent gets, and why; 404 for an unknown mod."""
        agent, mod = request.query.get("agent", ""), request.query.get("mod", "")
        found = self._server.which(agent, mod)
        if found is None:
            raise Malformed("unknown_mod", f"no mod {mod!a} runs here", 404)
        return told(found)
