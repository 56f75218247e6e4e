"""The commands that a network answers itself: one row of `COMMANDS` for each `system.*` event.

The caller is the principal, whatever the event says. An unknown `system.*` is refused here and
reaches no mod. The commands act through the network; nothing here loads a mod or opens a socket.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from devserver.errors import EventRefused
from devserver.model.event import Event, EventResponse
from devserver.model.principal import Kind, Principal, Scope
from devserver.network.agent import Agent
from devserver.network.agents import Directory
from devserver.network.audit import Audit
from devserver.network.grants import proofs
from devserver.network.identity import bare

if TYPE_CHECKING:
    from devserver.agent_network import AgentNetwork

PREFIX = "system."

_ACTING_FOR_ANY = frozenset({Kind.LOCAL, Kind.ADMIN})
_BRIEF_STATS = ("network_id", "network_name", "agent_count", "is_running", "uptime_seconds")
_LONGEST_WORDS = 200
_audit = Audit()


Run = Callable[["AgentNetwork", Event, Principal], Awaitable[EventResponse]]


@dataclass(frozen=True, slots=True)
class Command:
    """A row of the table: the event's name after `system.`, its scope, its function."""

    name: str
    scope: Scope
    run: Run


async def run_system(network: AgentNetwork, event: Event, principal: Principal) -> EventResponse:
    """Answer a `system.*` event of `principal`; a refusal is an answer too, and is written to the audit log."""
    problem = _problem(network, event, principal)
    if problem is not None:
        _audit.refused(str(principal.id), event.event_name, problem.code)
        return refusal(event, problem.code, str(problem))
    try:
        return await COMMANDS[command_name(event)].run(network, event, principal)
    except EventRefused as refused:
        return refusal(event, refused.code, str(refused))


def command_name(event: Event) -> str:
    """Return the command that an event asks for, as in "mod.load"."""
    return event.event_name.removeprefix(PREFIX)


def answer(
    event: Event, data: Mapping[str, Any] | None = None, message: str = "", *, success: bool = True
) -> EventResponse:
    """Return an answer in OpenAgents' form: `data` names the command and a `request_id`."""
    told = {"type": "system_response", "command": command_name(event), **(data or {})}
    if "request_id" in event.payload:
        told["request_id"] = event.payload["request_id"]
    return EventResponse(success, message, told, event.event_name)


def refusal(event: Event, code: str, sentence: str) -> EventResponse:
    """Return the answer to a command that is not carried out."""
    return answer(event, {"code": code}, sentence, success=False)


# Who may


def _problem(network: AgentNetwork, event: Event, principal: Principal) -> EventRefused | None:
    command = COMMANDS.get(command_name(event))
    if command is None:
        return EventRefused("unknown_command", f"there is no command {event.event_name}")
    if not principal.may(command.scope):
        sentence = f"{event.event_name} needs the scope {command.scope}, which {principal.id} does not have"
        config = network.directory.config
        if principal.kind is Kind.AGENT and command.scope in config.grants.get(principal.id, ()):
            sentence = f"the grants of {principal.id} need a proof: register with {proofs(config, principal.id)}"
        return EventRefused("not_allowed", sentence)
    return _identity_problem(event, principal)


def _identity_problem(event: Event, principal: Principal) -> EventRefused | None:
    if principal.kind is not Kind.AGENT:
        return None
    for claimed in (event.source_id, event.payload.get("agent_id")):
        if claimed is not None and (not isinstance(claimed, str) or bare(claimed) != principal.id):
            sentence = f"{principal.id} cannot act for {str(claimed)[:80]!r}"
            return EventRefused("not_yourself", sentence)
    return None


def _subject(event: Event, principal: Principal) -> str:
    """Return the agent that a command is about: the caller, or one that a trusted caller names."""
    if principal.kind is Kind.AGENT:
        return principal.id
    named = event.payload.get("agent_id") or event.source_id
    if principal.kind not in _ACTING_FOR_ANY or not isinstance(named, str):
        raise EventRefused("no_agent", f"{event.event_name} needs payload.agent_id")
    return bare(named)


def _agent(network: AgentNetwork, event: Event, principal: Principal) -> Agent:
    agent_id = _subject(event, principal)
    agent = network.directory.agent(agent_id)
    if agent is None:
        raise EventRefused("unknown_agent", f"there is no agent {agent_id!r}")
    return agent


def _text(event: Event, key: str) -> str:
    value = event.payload.get(key)
    if not isinstance(value, str) or not value:
        raise EventRefused("bad_payload", f"{event.event_name} needs payload.{key}, a text")
    return value


def _optional_text(event: Event, key: str) -> str | None:
    return _text(event, key) if event.payload.get(key) not in (None, "") else None


def _flag(event: Event, key: str) -> bool:
    value = event.payload.get(key, False)
    if not isinstance(value, bool):
        raise EventRefused("bad_payload", f"payload.{key} of {event.event_name} is true or false")
    return value


def _optional_object(event: Event, key: str) -> dict[str, Any] | None:
    value = event.payload.get(key)
    if value is not None and not isinstance(value, dict):
        raise EventRefused("bad_payload", f"payload.{key} of {event.event_name} is an object")
    return value


# Agents


async def _register(network: AgentNetwork, event: Event, principal: Principal) -> EventResponse:
    registration = await network.register_agent(
        _text(event, "agent_id"),
        _optional_object(event, "metadata"),
        password_hash=_optional_text(event, "password_hash") or "",
        group=_optional_text(event, "agent_group"),
        transport=_optional_text(event, "transport_type") or "http",
        secret=event.secret or _optional_text(event, "secret"),
        trusted=principal.may(Scope.ADMIN),
        near=principal.may(Scope.JOIN),
    )
    agent = registration.agent
    told = {"secret": registration.secret, "assigned_group": agent.group}
    return answer(event, told, f"{agent.agent_id} registered")


async def _unregister(network: AgentNetwork, event: Event, principal: Principal) -> EventResponse:
    agent = _agent(network, event, principal)
    await network.unregister_agent(agent.agent_id)
    return answer(event, message=f"{agent.agent_id} unregistered")


async def _poll(network: AgentNetwork, event: Event, principal: Principal) -> EventResponse:
    agent = _agent(network, event, principal)
    network.directory.touch(agent.agent_id)
    return answer(event, {"messages": [each.to_dict() for each in agent.outbox.take_nowait()]})


async def _ping(network: AgentNetwork, event: Event, principal: Principal) -> EventResponse:
    network.directory.touch(_subject(event, principal))
    # Both names have one answer, as in OpenAgents.
    return answer(event, {"command": "ping_agent", "timestamp": event.payload.get("timestamp", int(time.time()))})


async def _list_agents(network: AgentNetwork, event: Event, principal: Principal) -> EventResponse:
    in_full, directory = principal.may(Scope.READ), network.directory
    return answer(event, {"agents": [_agent_row(each, directory, in_full) for each in directory.agents()]})


def _agent_row(agent: Agent, directory: Directory, in_full: bool) -> dict[str, Any]:
    return {
        "agent_id": agent.agent_id,
        "name": agent.metadata.get("name", agent.agent_id) if in_full else agent.agent_id,
        "connected": directory.is_connected(agent),
        "metadata": agent.metadata if in_full else {},
    }


# Subscriptions


async def _subscribe(network: AgentNetwork, event: Event, principal: Principal) -> EventResponse:
    patterns, channels = event.payload.get("event_patterns"), event.payload.get("channels")
    subscription = network.directory.subscribe(_subject(event, principal), patterns, channels)
    return answer(event, subscription.to_dict(), "subscribed")


async def _unsubscribe(network: AgentNetwork, event: Event, principal: Principal) -> EventResponse:
    agent_id, wanted = _subject(event, principal), _optional_text(event, "subscription_id")
    ended = network.directory.unsubscribe(agent_id, wanted)
    if wanted is not None and not ended:
        return refusal(event, "unknown_subscription", f"{agent_id} has no subscription {wanted!r}")
    return answer(event, {"subscription_id": wanted, "agent_id": agent_id}, "unsubscribed")


# Channels


async def _list_channels(network: AgentNetwork, event: Event, principal: Principal) -> EventResponse:
    return answer(event, {"channels": list(network.directory.channels())})


async def _channel_members(network: AgentNetwork, event: Event, principal: Principal) -> EventResponse:
    channel = _channel(event)
    members = network.directory.channel_members(channel)
    if not principal.may(Scope.READ) and principal.id not in members:
        raise EventRefused("not_allowed", f"only its members may see who is in the channel {channel!r}")
    return answer(event, {"channel_id": channel, "members": list(members)})


async def _join_channel(network: AgentNetwork, event: Event, principal: Principal) -> EventResponse:
    agent, channel = _agent(network, event, principal), _channel(event)
    if channel not in network.directory.channels():
        raise EventRefused("unknown_channel", f"there is no channel {channel!r}")
    network.directory.add_channel_member(channel, agent.agent_id)
    return answer(event, {"channel_id": channel, "agent_id": agent.agent_id})


async def _leave_channel(network: AgentNetwork, event: Event, principal: Principal) -> EventResponse:
    agent, channel = _agent(network, event, principal), _channel(event)
    network.directory.remove_channel_member(channel, agent.agent_id)
    return answer(event, {"channel_id": channel, "agent_id": agent.agent_id})


def _channel(event: Event) -> str:
    return _text(event, "channel_id").removeprefix("channel:")


# The network and its mods


async def _health(network: AgentNetwork, event: Event, principal: Principal) -> EventResponse:
    in_full = principal.may(Scope.READ)
    stats = network.get_network_stats(described=in_full)
    if not in_full:
        stats = {key: stats[key] for key in _BRIEF_STATS if key in stats}
    return answer(event, stats)


async def _list_mods(network: AgentNetwork, event: Event, principal: Principal) -> EventResponse:
    return answer(event, {"mods": [mod_row(mod) for mod in network.mods()]})


def mod_row(mod: Mapping[str, Any]) -> dict[str, Any]:
    """Return a mod as agents see it; unmodified clients need `name` and `version`."""
    return {
        "name": mod["name"],
        "version": mod["version"],
        "description": mod["description"],
        # Clients of OpenAgents read these, which mods here do not have.
        "requires_adapter": False,
        "capabilities": [],
        "implementation": mod["name"],
    }


async def _manifest(network: AgentNetwork, event: Event, principal: Principal) -> EventResponse:
    wanted = _text(event, "mod_name")
    for mod in network.mods():
        if wanted in (mod["name"], mod.get("mod_id")):
            return answer(event, {"mod_name": wanted, "manifest": {"mod_name": mod["name"], **mod_row(mod)}})
    return refusal(event, "unknown_mod", f"No manifest found for mod {wanted}")


async def _load(network: AgentNetwork, event: Event, principal: Principal) -> EventResponse:
    path, config, seen = _text(event, "mod_path"), _optional_object(event, "config"), _seen(event)
    local = principal.kind is Kind.LOCAL
    return _passed_on(event, await network.load_mod(path, config, trusted=local, generation=seen))


async def _unload(network: AgentNetwork, event: Event, principal: Principal) -> EventResponse:
    path, force, cascade = _text(event, "mod_path"), _flag(event, "force"), _flag(event, "cascade")
    return _passed_on(event, await network.unload_mod(path, force=force, cascade=cascade, generation=_seen(event)))


async def _reload(network: AgentNetwork, event: Event, principal: Principal) -> EventResponse:
    return _passed_on(event, await network.reload_mod(_text(event, "mod_path"), generation=_seen(event)))


async def _search(network: AgentNetwork, event: Event, principal: Principal) -> EventResponse:
    found = await network.shelf.search((_optional_text(event, "words") or "")[:_LONGEST_WORDS])
    return answer(event, found, f"{found['found']} of {found['of']} mods")


async def _ask(network: AgentNetwork, event: Event, principal: Principal) -> EventResponse:
    name, why = _text(event, "name"), _optional_text(event, "why") or ""
    asked = await network.asks.ask_for(principal.id, name, why)
    told = {"asked": asked.number, "state": asked.state.value, "name": asked.name, "version": asked.version}
    return answer(event, told, f"a person is asked for {asked.name} {asked.version}".rstrip())


async def _split(network: AgentNetwork, event: Event, principal: Principal) -> EventResponse:
    share = event.payload.get("share")
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
        raise EventRefused("bad_payload", f"{event.event_name} needs payload.share, a number from 0 to 1")
    return _passed_on(event, await network.split_mod(_text(event, "line"), float(share)))


async def _promote(network: AgentNetwork, event: Event, principal: Principal) -> EventResponse:
    return _passed_on(event, await network.promote_mod(_text(event, "line")))


def _seen(event: Event) -> int | None:
    """Return the generation of the mod that the sender saw; None if it does not say."""
    value = event.payload.get("generation")
    if value is not None and (type(value) is not int or value < 0):
        raise EventRefused("bad_payload", f"payload.generation of {event.event_name} is a whole number")
    return value


def _passed_on(event: Event, response: EventResponse) -> EventResponse:
    return answer(event, response.data, response.message, success=response.success)


COMMANDS: dict[str, Command] = {
    command.name: command
    for command in (
        Command("register_agent", Scope.JOIN, _register),
        Command("unregister_agent", Scope.SELF, _unregister),
        Command("poll_messages", Scope.SELF, _poll),
        Command("ping_agent", Scope.SELF, _ping),
        Command("heartbeat", Scope.SELF, _ping),
        Command("list_agents", Scope.SELF, _list_agents),
        Command("subscribe_events", Scope.SELF, _subscribe),
        Command("unsubscribe_events", Scope.SELF, _unsubscribe),
        Command("list_channels", Scope.SELF, _list_channels),
        Command("get_channel_members", Scope.SELF, _channel_members),
        Command("add_channel_member", Scope.SELF, _join_channel),
        Command("remove_channel_member", Scope.SELF, _leave_channel),
        Command("health_check", Scope.OPEN, _health),
        Command("list_mods", Scope.SELF, _list_mods),
        Command("get_mod_manifest", Scope.SELF, _manifest),
        Command("mod.load", Scope.MODS_WRITE, _load),
        Command("mod.unload", Scope.MODS_WRITE, _unload),
        Command("mod.reload", Scope.MODS_WRITE, _reload),
        Command("mod.search", Scope.MODS_ASK, _search),
        Command("mod.ask", Scope.MODS_ASK, _ask),
        Command("mod.split", Scope.MODS_WRITE, _split),
        Command("mod.promote", Scope.MODS_WRITE, _promote),
    )
}
"""Every command, by its name."""
