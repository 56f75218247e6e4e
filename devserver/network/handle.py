"""What one generation of a mod sees of the network.

A generation that was replaced changes nothing through it any more, but on behalf of a handler that still runs. Its
`shutdown()` does so least of all: what it would take back is its successor's by then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from devserver.live.generation import Call, Generation, detached_call, running_in
from devserver.live.loops import current_task
from devserver.model.event import Event, EventResponse
from devserver.model.lifecycle import ModState
from devserver.model.logs import logger
from devserver.model.split import Line, StateMode, main_of

if TYPE_CHECKING:
    from devserver.agent_network import AgentNetwork

_log = logger(__name__)


class NetworkHandle:
    """The network, bound to one generation (`self.network` of its instance); see `devserver.mod.Network`."""

    def __init__(self, services: AgentNetwork, mod_path: str, line: Line | None = None) -> None:
        self._services = services
        self._mod_path = main_of(mod_path)
        """What other mods and agents know it by: they see one mod, whichever of its lines speaks."""
        self._storage = mod_path if line is not None and line.state is not StateMode.SHARED else ""
        self._generation: Generation | None = None
        self._made: list[str] = []

    is_shadow = False
    """Whether what it sends is held."""

    def bind(self, generation: Generation) -> None:
        """Speak for `generation` from now on."""
        self._generation = generation

    def take_back(self) -> None:
        """The generation did not come to life: the channels that it made are gone again."""
        for channel in self._made:
            self._services.directory.remove_channel(channel)

    @property
    def network_id(self) -> str:
        return self._services.network_id

    @property
    def network_name(self) -> str:
        return self._services.network_name

    async def process_event(self, event: Event) -> EventResponse:
        """Send an event, where this generation still may."""
        refusal = self._refusal()
        if refusal is not None:
            refusal.event_name = event.event_name
            return refusal
        if event.source_id is None:
            event.source_id = f"mod:{self._mod_path}"
        return await self._services.send(event)

    async def ask(self, to: str, event_name: str, payload: Mapping[str, Any] | None = None) -> EventResponse:
        """Send an event to an address and get its answer."""
        return await self.process_event(Event(event_name=event_name, destination_id=to, payload=dict(payload or {})))

    def time(self) -> float:
        """Return the seconds since 1970."""
        return self._services.clock.time()

    async def sleep(self, seconds: float) -> None:
        """Wait for so many seconds."""
        await self._services.clock.sleep(seconds)

    def _refusal(self) -> EventResponse | None:
        """Return why this generation may not act; None if it may. One that lingers acts only for a
        handler that still runs."""
        generation = self._generation
        detached = detached_call()
        if detached is not None:
            return _refused(detached)
        if generation is None or generation.state in (ModState.STARTING, ModState.LIVE):
            return None
        if generation.state is ModState.LINGERING and running_in(generation):
            return None
        if generation.outliving and current_task() in generation.outliving:
            # A task that the state holds goes on, whichever generation has started it.
            return None
        message = f"{generation.name} does not serve any more: it may neither send events nor change anything"
        return EventResponse(False, message, {"code": "retired_generation"})

    def mods(self) -> dict[str, str]:
        """Return the mods that run: id to version."""
        return self._services.versions()

    def agents(self) -> dict[str, dict[str, Any]]:
        """Return the registered agents: id to metadata."""
        return {each.agent_id: dict(each.metadata) for each in self._services.directory.agents()}

    def agent_group(self, agent_id: str) -> str | None:
        agent = self._services.directory.agent(agent_id)
        return None if agent is None else agent.group

    def create_channel(self, channel: str) -> None:
        """Make sure that a channel exists."""
        # If it never comes to life, `take_back` removes what it has made, and nothing that was there.
        starts = self._generation is None or self._generation.state is ModState.STARTING
        if starts and channel not in self._services.directory.channels():
            self._made.append(channel)
        self._change(self._services.directory.create_channel, channel)

    def remove_channel(self, channel: str) -> None:
        """Forget a channel and its members."""
        self._change(self._services.directory.remove_channel, channel)

    def add_channel_member(self, channel: str, agent_id: str) -> None:
        """Let an agent receive what is sent to a channel."""
        self._change(self._services.directory.add_channel_member, channel, agent_id)

    def remove_channel_member(self, channel: str, agent_id: str) -> None:
        """Stop that again."""
        self._change(self._services.directory.remove_channel_member, channel, agent_id)

    def _change(self, change: Callable[..., None], *names: str) -> None:
        """Change the channels. A generation that ended for good may still take back what it made."""
        generation = self._generation
        if self._refusal() is None or generation is None or not self._services.is_replaced(generation):
            change(*names)
        else:
            _log.debug("%s was replaced: %s%s is left to its successor", generation.name, change.__name__, names)

    def channel_members(self, channel: str) -> tuple[str, ...]:
        return tuple(self._services.directory.channel_members(channel))

    async def load_mod(self, mod_path: str, config: Mapping[str, Any] | None = None) -> EventResponse:
        return self._refusal() or await self._services.load_mod(mod_path, config)

    async def unload_mod(self, mod: str) -> EventResponse:
        return self._refusal() or await self._services.unload_mod(mod)

    async def reload_mod(self, mod: str) -> EventResponse:
        return self._refusal() or await self._services.reload_mod(mod)

    def storage_path(self, mod_name: str) -> Path:
        """Return the folder for a mod's own data."""
        return self._services.storage_path(self._storage or mod_name)


def _refused(call: Call) -> EventResponse:
    """Return the answer to a handler that was given up: said once, however much it tries."""
    name = call.event.event_name if call.event is not None else "a hook"
    message = (
        f"{call.generation.name} was ended on {name} and still runs: it may neither send events nor change anything"
    )
    if not call.refused:
        call.refused = True
        _log.warning("%s", message)
    return EventResponse(False, message, {"code": "retired_generation"})
