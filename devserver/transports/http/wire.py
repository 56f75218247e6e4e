"""The HTTP wire of OpenAgents: health, register, poll, send_event, unregister, for unmodified
clients.

Refusals that such a client must read have status 200 and `success` false, because it reads no other
body (contract, B1 and B2). Bad input is answered with 400 and a sentence.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from devserver.errors import EventRefused
from devserver.model.encoding import to_json
from devserver.model.event import Event, EventResponse
from devserver.model.principal import Principal, Scope
from devserver.network.agent import Agent
from devserver.network.audit import Audit
from devserver.network.letter import Letter
from devserver.network.outbox import Outbox
from devserver.transports.http.answers import Answer, events_to_json, refused, told
from devserver.transports.http.routes import Request, Route
from devserver.transports.inbound import Joining, ServedNetwork, event_from, principal_of, refuse_when_ending
from devserver.transports.strict import Malformed

HOLD_SECONDS = 20.0
"""Seconds that a poll waits for an event. Unmodified clients give up after 30."""

NOT_PROVEN = "Authentication failed: Invalid or missing secret"


class Wire:
    """The endpoints, over one network.

    Arguments: `hold` seconds that a poll waits; `port_of` the bound port, which health must name
    because clients connect to it.
    """

    def __init__(
        self,
        network: ServedNetwork,
        joining: Joining,
        audit: Audit,
        *,
        port_of: Callable[[], int],
        hold: float = HOLD_SECONDS,
    ) -> None:
        self._network = network
        self._joining = joining
        self._audit = audit
        self._port_of = port_of
        self._hold = hold

    def routes(self) -> tuple[Route, ...]:
        """Return the table of this wire."""
        return (
            Route("GET", "/healthz", Scope.OPEN, self.alive),
            Route("GET", "/api/health", Scope.OPEN, self.health),
            Route("POST", "/api/register", Scope.JOIN, self.register),
            Route("GET", "/api/poll", Scope.SELF, self.poll, waits=True),
            Route("POST", "/api/send_event", Scope.SELF, self.send_event, self.begin_event, uploads=True),
            Route("POST", "/api/unregister", Scope.SELF, self.unregister),
        )

    async def alive(self, request: Request) -> Answer:
        """Answer that the server is alive, and no more."""
        return told({"ok": True})

    async def health(self, request: Request) -> Answer:
        """Answer what a client needs to connect; agents and configurations only for clients that
        may read them."""
        in_full = request.principal.may(Scope.READ)
        data = health(self._network, self._port_of(), in_full=in_full)
        return told({"success": True, "status": "healthy", "data": data})

    async def register(self, request: Request) -> Answer:
        """Let an agent join; its secret is in the answer."""
        try:
            registration = await self._joining.register(request.body, "http", request.principal)
        except EventRefused as refusal:
            self._audit.refused(request.who, f"register {request.body.get('agent_id')}", refusal.code)
            status = 429 if refusal.code == "too_many_registrations" else 200
            return refused(refusal.code, f"Registration failed: {refusal}", status)
        stats = self._network.get_network_stats(described=False)
        return told(
            {
                "success": True,
                "network_name": self._network.config.name,
                "network_id": stats.get("network_id", self._network.config.name),
                "secret": registration.secret,
                "assigned_group": registration.agent.group,
                "resumed": registration.resumed,
            }
        )

    async def poll(self, request: Request) -> Answer:
        """Answer the events that wait for an agent, or the first to come while the poll is held."""
        agent_id = request.query.get("agent_id")
        if not agent_id:
            return refused("no_agent_id", "agent_id query parameter is required", 400)
        agent = self._proven(agent_id, request.query.get("secret"), "poll")
        if agent is None:
            values = {"messages": [], "agent_id": agent_id, "error_message": NOT_PROVEN}
            return told({"success": False, **values})
        self._network.directory.touch(agent.agent_id)
        try:
            events = await held_events(agent.outbox, self._hold)
        except asyncio.CancelledError:
            self._network.directory.poll_dropped(agent)
            raise
        # A held poll is a sign of life up to its end.
        self._network.directory.touch(agent.agent_id)
        name = to_json(agent.agent_id)
        return Answer(b'{"success":true,"agent_id":' + name + b',"messages":' + events_to_json(events) + b"}")

    async def send_event(self, request: Request) -> Answer:
        """Take an event on its way and return the answer."""
        sent = self._event_of(request)
        if isinstance(sent, Answer):
            return sent
        event, principal = sent
        return _answer_of(event, await self._network.ingest(event, principal))

    def begin_event(self, request: Request, tell: Callable[[Answer | None, BaseException | None], None]) -> bool:
        """Do the same without a task, unless the network itself is asked: that may wait here."""
        if str(request.body.get("event_name")).startswith("system."):
            return False
        sent = self._event_of(request)
        if isinstance(sent, Answer):
            tell(sent, None)
            return True
        event, principal = sent

        def done(response: EventResponse | None, error: BaseException | None) -> None:
            tell(None if response is None else _answer_of(event, response), error)

        return self._network.take(event, principal, done)

    def _event_of(self, request: Request) -> Answer | tuple[Event, Principal]:
        body = request.body
        source_id = body.get("source_id")
        if not body.get("event_name") or not source_id:
            return refused("no_event", "event_name and source_id are required", 400)
        agent = self._proven(source_id, body.get("secret"), "send an event")
        if agent is None:
            values = {"message": NOT_PROVEN, "event_id": body.get("event_id"), "code": "not_proven"}
            return told({"success": False, "data": None, "event_name": body.get("event_name"), **values})
        event = event_from(body, agent.agent_id, agent.group)
        self._network.directory.touch(agent.agent_id)
        return event, principal_of(self._network, agent)

    async def unregister(self, request: Request) -> Answer:
        """Let an agent leave."""
        agent_id = request.body.get("agent_id")
        if not agent_id:
            return refused("no_agent_id", "agent_id is required", 400)
        agent = self._proven(agent_id, request.body.get("secret"), "unregister")
        if agent is None:
            return refused("not_proven", f"Unregistration failed: {NOT_PROVEN}", 200)
        await self._network.unregister_agent(agent.agent_id)
        return told({"success": True})

    def _proven(self, agent_id: object, secret: object, what: str) -> Agent | None:
        """Return the agent that id and secret prove; a failure is logged."""
        if not isinstance(agent_id, str):
            raise Malformed("bad_field", "an agent's id is a text")
        agent = self._network.directory.authenticate(agent_id, secret)
        if agent is None:
            refuse_when_ending(self._network)
            self._audit.refused(agent_id, what, "not_proven")
        return agent


def _answer_of(event: Event, response: EventResponse) -> Answer:
    return told({**response.to_dict(), "event_id": event.event_id, "event_name": event.event_name})


async def held_events(outbox: Outbox, hold: float) -> list[Letter]:
    """Take the events of an outbox, waited for up to `hold` seconds. If the client goes away this
    is cancelled, and the events stay."""
    consumer = outbox.attach()
    if not len(outbox):
        await outbox.ready(consumer, hold)
        # The client may have hung up in the same moment: the loop reads that in its next turn, and
        # cancels this in the one after it.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    return outbox.take_nowait() if outbox.is_current(consumer) else []


def health(network: ServedNetwork, port: int, *, in_full: bool) -> dict[str, Any]:
    """Return the data of `/api/health` in the form that OpenAgents clients check (contract, B3)."""
    config, stats = network.config, network.get_network_stats(described=in_full)
    return {
        "network_id": stats.get("network_id", config.node_id or config.name),
        "network_uuid": stats.get("network_id", config.node_id or config.name),
        "network_name": config.name,
        "initialized": True,
        "is_running": True,
        "uptime_seconds": stats.get("uptime_seconds", 0),
        "agent_count": stats["agent_count"],
        "agents": stats["agents"] if in_full else {},
        "groups": stats["groups"] if in_full else {},
        "group_config": [each if in_full else {**each, "metadata": {}} for each in stats["group_config"]],
        "default_agent_group": config.default_group,
        "requires_password": config.requires_password,
        "mods": [_mod_detail(each, in_full) for each in network.mods()],
        "dynamic_mods": stats.get("dynamic_mods", {}) if in_full else {"loaded": [], "count": 0, "details": {}},
        "topology_mode": "centralized",
        # Only the transports served here, whatever the file says: an unknown transport makes
        # clients give up.
        "transports": [{"type": "http", "config": {"port": port}}],
        "manifest_transport": "http",
        "recommended_transport": "http",
        "max_connections": config.max_agents,
        "readme": stats.get("readme", ""),
        "network_profile": dict(config.profile),
    }


def _mod_detail(mod: Mapping[str, Any], in_full: bool) -> dict[str, Any]:
    row = {"name": mod["name"], "enabled": mod.get("enabled", True), "config": {}}
    return {**mod, **row, "config": mod.get("config", {})} if in_full else row
