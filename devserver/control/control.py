"""The control API under `/_dev/`: what commands and the dashboard ask of a running server.

All of it needs this run's admin token, except the proof that the server knows the token, which a
client asks for before it shows its own. The trigger queue behind `Control` answers every request;
nothing is decided here.

A request about one mod may have the `generation` that its caller saw. If another one runs at its
turn in the queue, nothing is done, and the answer is 409 with the code stale_generation and the
`generation` that runs.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Any, Protocol

from devserver.control import bodies
from devserver.control.bodies import named, read
from devserver.model.change import LoadAsked, ReloadAsked, RestartAsked, Trigger, UnloadAsked
from devserver.model.event import Event, EventResponse
from devserver.model.facts import PlanDone
from devserver.model.principal import Scope
from devserver.model.wire_form import done_to_dict
from devserver.network.identity import agent_id_problem, bare
from devserver.sources.imports import read_elsewhere
from devserver.transports.http.answers import Answer, told
from devserver.transports.http.routes import Request, Route
from devserver.transports.inbound import event_from, text_of
from devserver.transports.strict import Malformed

STALE = "stale_generation"
"""The code of a refusal because the caller had seen another generation."""
_CAUSE = "asked by a command"


class Control(Protocol):
    """The server, as the control API needs it."""

    def status(self, *, mods: bool = True) -> dict[str, Any]:
        """Return the running network: mods with generations unless left out, agents, limits."""

    def catalogue(self) -> dict[str, Any]: ...
    def why(self, name: str) -> dict[str, Any]: ...
    async def submit(self, trigger: Trigger) -> PlanDone: ...
    def allow_blocked(self, sha256: str) -> None: ...
    async def send(self, event: Event, as_agent: str | None) -> EventResponse: ...


class ControlApi:
    """The endpoints, over one server; `token` is this run's admin token."""

    def __init__(self, control: Control, token: str) -> None:
        self._control = control
        self._token = token

    def routes(self) -> tuple[Route, ...]:
        """Return the table of the control API."""
        return (
            Route("POST", "/_dev/prove", Scope.OPEN, self.prove),
            Route("GET", "/_dev/status", Scope.READ, self.status),
            Route("GET", "/_dev/handlers", Scope.READ, self.handlers),
            Route("GET", "/_dev/why", Scope.READ, self.why),
            Route("POST", "/_dev/reload", Scope.MODS_WRITE, self.reload),
            Route("POST", "/_dev/restart", Scope.ADMIN, self.restart),
            Route("POST", "/_dev/load", Scope.MODS_WRITE, self.load),
            Route("POST", "/_dev/unload", Scope.MODS_WRITE, self.unload),
            Route("POST", "/_dev/send", Scope.ADMIN, self.send),
        )

    async def prove(self, request: Request) -> Answer:
        """Prove that this server knows the token: the HMAC-SHA256 of the client's nonce, in hex."""
        nonce = read(bodies.models.Prove, request).nonce.encode()
        return told({"proof": hmac.new(self._token.encode(), nonce, hashlib.sha256).hexdigest()})

    async def status(self, request: Request) -> Answer:
        """Describe the running network; with `mods=no` without the mods (see `/_dev/mods`)."""
        return told(self._control.status(mods=request.query.get("mods") != "no"))

    async def handlers(self, request: Request) -> Answer:
        """Return the handlers of running mods, and the schemas of payloads and configurations."""
        return told(self._control.catalogue())

    async def why(self, request: Request) -> Answer:
        """Return why a mod or a package (`name`) runs, or does not."""
        name = request.query.get("name", "")
        if not 0 < len(name) <= bodies.LONGEST_TEXT:
            raise Malformed("bad_query", "name is a mod or a package")
        return told(await read_elsewhere(self._control.why, name))

    async def reload(self, request: Request) -> Answer:
        """Reload the named mods, or all."""
        mods, seen = named(request)
        return await self._carry_out(ReloadAsked(mods, cause_of(request), seen))

    async def restart(self, request: Request) -> Answer:
        """Restart in place; answers the plan. `/_dev/reloads` tells the result afterwards."""
        return await self._carry_out(RestartAsked(_CAUSE, by_person=True))

    async def load(self, request: Request) -> Answer:
        """Load a mod. The allow list of network.yaml holds here too: a token is not a person at the keyboard."""
        body = read(bodies.models.Load, request)
        if body.anyway:
            self._control.allow_blocked(body.anyway)
        cause = cause_of(request)
        trigger = LoadAsked(body.mod_path, body.config or {}, cause, trusted=False, seen=body.generation)
        return await self._carry_out(trigger)

    async def unload(self, request: Request) -> Answer:
        """Unload a mod; `cascade` unloads its dependents first, `force` leaves them."""
        body = read(bodies.models.Unload, request)
        return await self._carry_out(
            UnloadAsked(body.mod_path, body.force, cause_of(request), body.generation, cascade=body.cascade)
        )

    async def send(self, request: Request) -> Answer:
        """Send an event as an agent (`source_id`), or as the operator of the network."""
        as_agent = _agent_id(text_of(request.body, "source_id"))
        event = event_from(request.body, as_agent)
        response = await self._control.send(event, as_agent)
        return told({**response.to_dict(), "event_id": event.event_id, "event_name": event.event_name})

    async def _carry_out(self, trigger: Trigger) -> Answer:
        return carried_out(await self._control.submit(trigger))


def _agent_id(source_id: str | None) -> str | None:
    """Return the agent to send as. No event from a wire is from the system or a mod."""
    problem = agent_id_problem(bare(source_id)) if source_id is not None else None
    if problem is not None:
        raise Malformed("not_an_agent", problem)
    return source_id


def cause_of(request: Request) -> str:
    """Return why a plan is made, in words."""
    return f"asked on {request.asked_on}" if request.asked_on else _CAUSE


def carried_out(done: PlanDone) -> Answer:
    """Answer the result of a trigger; 409 if its caller had seen another generation."""
    if not done.plan.stale:
        return told(done_to_dict(done))
    outcome = done.outcomes[0]
    refusal = {"code": STALE, "message": f"{outcome.mod_id}: {outcome.reason}", "generation": outcome.generation}
    return told({**done_to_dict(done), **refusal, "error_message": refusal["message"]}, 409)
