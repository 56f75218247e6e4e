"""Messages of clients as values of the network: events and registrations.

Shared by every transport, so that an event means the same over HTTP and WebSocket. The sender is
known before and never taken from here. `ServedNetwork` is all that a transport knows of the network.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Protocol, Unpack

from devserver.errors import EventRefused
from devserver.live.loops import Done
from devserver.model.config import NetworkConfig
from devserver.model.event import Event, EventResponse, new_event_id
from devserver.model.principal import Principal, Scope, agent_principal
from devserver.network.agent import Agent, Registration, Wishes
from devserver.network.agents import Directory
from devserver.network.identity import same_text
from devserver.transports.strict import Malformed

MOST_TEXT = 200
"""The most characters of an id, an address or a name in an event."""
MOST_ALLOWED = 1000

_TEXTS: dict[str, int | None] = {
    **dict.fromkeys(("event_id", "destination_id", "target_agent_id", "relevant_mod"), MOST_TEXT),
    **dict.fromkeys(("response_to", "thread_name", "visibility"), MOST_TEXT),
    **dict.fromkeys(("event_name", "text_representation"), None),
}
"""The texts of an event, each with its most characters."""


class ServedNetwork(Protocol):
    """A network as transports see it: see `AgentNetwork`."""

    @property
    def directory(self) -> Directory: ...

    @property
    def config(self) -> NetworkConfig:
        """Its network.yaml."""

    async def ingest(self, event: Event, principal: Principal) -> EventResponse:
        """Take an event of `principal`, whose id is the event's `source_id`, on its whole way."""

    def take(self, event: Event, principal: Principal, done: Done) -> bool:
        """Do the same without a task, and have `done` called. False, with nothing done, where that
        cannot be."""

    async def register_agent(
        self, agent_id: str, metadata: Mapping[str, Any] | None, **wishes: Unpack[Wishes]
    ) -> Registration: ...
    async def unregister_agent(self, agent_id: str) -> bool: ...
    def mods(self) -> list[dict[str, Any]]: ...
    def get_network_stats(self, *, described: bool = True) -> dict[str, Any]: ...


def event_from(values: Mapping[str, Any], source_id: str | None, group: str | None = None) -> Event:
    """Make the event that `values` describe, sent by `source_id`.

    Fields that a sender cannot know or must not choose are set here: source, its type and group,
    and the time. The destination may be called `target_agent_id`, as unmodified OpenAgents clients
    do. Raises Malformed.
    """
    # Only those that are there: an event has few of its fields, and each look costs.
    texts = {name: text_of(values, name, _TEXTS[name]) for name in _TEXTS if name in values}
    text = texts.get
    try:
        return Event(
            event_name=text("event_name"),  # type: ignore[arg-type]  # None is refused with the rule
            event_id=text("event_id") or new_event_id(),
            source_id=source_id,
            source_agent_group=group,
            destination_id=text("destination_id") or text("target_agent_id"),
            relevant_mod=text("relevant_mod"),
            response_to=text("response_to"),
            thread_name=text("thread_name"),
            payload=values.get("payload", {}),
            metadata=values.get("metadata", {}),
            text_representation=text("text_representation"),
            requires_response=values.get("requires_response") is True,
            visibility=text("visibility") or "network",
            allowed_agents=_allowed(values.get("allowed_agents")),
        )
    except ValueError as error:
        raise Malformed("bad_event", str(error)) from error


def text_of(values: Mapping[str, Any], name: str, limit: int | None = MOST_TEXT) -> str | None:
    """Return a text of received values; None if it is missing, null or empty. Raises Malformed."""
    value = values.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise Malformed("bad_field", f"{name} is a text, not {type(value).__name__}")
    if limit is not None and len(value) > limit:
        raise Malformed("bad_field", f"{name} has at most {limit} characters")
    return value


def object_of(values: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """Return an object of received values; None if it is missing or null. Raises Malformed."""
    value = values.get(name)
    if value is not None and not isinstance(value, dict):
        raise Malformed("bad_field", f"{name} is an object, not {type(value).__name__}")
    return value


def _allowed(values: Any) -> list[str] | None:
    if values is None:
        return None
    if not isinstance(values, list) or len(values) > MOST_ALLOWED or not all(isinstance(each, str) for each in values):
        raise Malformed("bad_field", f"allowed_agents is a list of at most {MOST_ALLOWED} agent ids")
    return values


def principal_of(network: ServedNetwork, agent: Agent) -> Principal:
    """Return the principal of an agent, with the grants of its id in network.yaml if it has proven
    more than its name."""
    config = network.config
    proven = agent.proven and config.verify_secrets
    return agent_principal(agent.agent_id, config.grants.get(agent.agent_id, ()) if proven else ())


def refuse_when_ending(network: ServedNetwork) -> None:
    """Raise Malformed, with status 503, when the network ends: an agent must not conclude that its
    secret is wrong."""
    if network.directory.closed:
        raise Malformed("stopping", "the network is ending; try again when it is back", 503)


class Rate:
    """Allows `limit` actions in any `seconds`; `clock` gives monotonic seconds."""

    def __init__(self, limit: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._seconds = seconds
        self._clock = clock
        self._times: deque[float] = deque()

    def allows(self) -> bool:
        """Return whether one more action is allowed now, and count it then."""
        now = self._clock()
        while self._times and now - self._times[0] >= self._seconds:
            self._times.popleft()
        if len(self._times) >= self._limit:
            return False
        self._times.append(now)
        return True

    def take_back(self) -> None:
        """Take the last one back: it did not happen."""
        if self._times:
            self._times.pop()


class Joining:
    """Registers agents for every transport.

    Bounds the new ones in a minute. An agent from the network has to show the `token`, as
    `join_token` or, for clients that cannot send that, as `password_hash`; without a token no new
    agent comes from there. An agent that returns with a secret needs none.
    """

    def __init__(self, network: ServedNetwork, *, per_minute: int, token: str | None = None) -> None:
        self._network = network
        self._rate = Rate(per_minute, 60.0)
        self._per_minute = per_minute
        self._token = token

    async def register(self, values: Mapping[str, Any], transport: str, principal: Principal) -> Registration:
        """Register the agent that `values` describe. Raises Malformed for bad values, EventRefused for a refusal."""
        agent_id = values.get("agent_id")
        if not isinstance(agent_id, str) or not agent_id:
            raise Malformed("no_agent_id", "agent_id is required")
        secret = text_of(values, "secret")
        metadata, group = object_of(values, "metadata"), text_of(values, "agent_group")
        password_hash = text_of(values, "password_hash") or ""
        refuse_when_ending(self._network)
        directory = self._network.directory
        returns = secret is not None and (
            directory.authenticate(agent_id, secret) is not None or directory.proves_elsewhere(agent_id, secret)
        )
        counted = not principal.may(Scope.ADMIN) and not returns
        if counted:
            if not principal.may(Scope.JOIN):
                shown = (text_of(values, "join_token") or "", password_hash)
                if self._token is None or not any(same_text(each, self._token) for each in shown):
                    raise EventRefused("join_token_required", "clients of other machines have to show the join_token")
            if not self._rate.allows():
                sentence = f"more than {self._per_minute} new agents in a minute; try again later"
                raise EventRefused("too_many_registrations", sentence)
        try:
            return await self._network.register_agent(
                agent_id,
                metadata,
                password_hash=password_hash,
                group=group,
                transport=transport,
                secret=secret,
                trusted=principal.may(Scope.ADMIN),
                near=principal.may(Scope.JOIN),
            )
        except EventRefused:
            # A client that is refused again and again must not use up the places of newcomers.
            if counted:
                self._rate.take_back()
            raise
