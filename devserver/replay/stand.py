"""The initial state of an event: agents, channels, each mod's state, put into a network."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from devserver.agent_network import AgentNetwork
from devserver.loader import raw
from devserver.model.event import Event
from devserver.reload.carry import PackedState
from devserver.replay.plain import NotPlain, decode, encode

# Mods keep attributes of containers near the top of their state; deeper ones are replaced whole.
_FILLED_DEPTH = 8


@dataclass(slots=True, kw_only=True)
class Given:
    """The state of a mod: `keys` of its `self.state`, and in a tuple that of `capture_state()`."""

    keys: dict[Any, Any] = field(default_factory=dict)
    captured: tuple[Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data. Raises NotPlain."""
        values = {"plain": encode(self.keys)}
        return values if self.captured is None else {**values, "captured": encode(self.captured[0])}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Given:
        """Read the result of `to_dict`. Raises ValueError."""
        keys = decode(values["plain"])
        if not isinstance(keys, dict):
            raise ValueError("a state is a mapping")
        return cls(keys=keys, captured=(decode(values["captured"]),) if "captured" in values else None)

    @classmethod
    def unpacked(cls, packed: PackedState) -> Given:
        """Return a state that our own server has packed, with the classes that are loaded now."""
        keys: dict[Any, Any] = {}
        if packed.whole is not None:
            keys = pickle.loads(packed.whole)
        else:
            keys = dict(pickle.loads(each) for each in packed.parts)
        return cls(keys=keys, captured=None if packed.captured is None else (pickle.loads(packed.captured),))


def plain_of(packed: PackedState) -> dict[str, Any]:
    """Return a packed state as plain data, or in `lost` why it has no plain form ("key 'board' holds mods.k.Board")."""
    if packed.lost:
        return {"lost": "; ".join(packed.lost)}
    try:
        return Given.unpacked(packed).to_dict()
    except NotPlain as error:
        return {"lost": str(error)}
    except Exception as error:
        return {"lost": f"{type(error).__name__}: {error}"}


async def set_up(
    network: AgentNetwork,
    agents: list[Mapping[str, Any]],
    channels: Mapping[str, list[str]],
    states: Mapping[str, Given],
) -> None:
    """Create agents and channels, and give mods these states; others keep their own."""
    directory = network.directory
    directory.import_identities(
        {
            "agent_id": each["agent_id"],
            "metadata": each.get("metadata") or {},
            "group": each.get("group") or network.config.default_group,
            "transport": "http",
            "secret_sha256": "",
        }
        for each in agents
    )
    for channel, members in channels.items():
        directory.create_channel(channel)
        for each in members:
            directory.add_channel_member(channel, each)
    for generation in network.engine.registry.live:
        if generation.mod_id in states:
            given = states[generation.mod_id]
            _fill(generation.kept, given.keys, _FILLED_DEPTH)
            restore = raw.own(generation.instance, "restore_state")
            if given.captured is not None and callable(restore):
                answer = restore(given.captured[0])
                if inspect.isawaitable(answer):
                    await answer


def _fill(old: dict[Any, Any], new: Mapping[Any, Any], depth: int) -> None:
    """Give a mapping the contents of another one; containers in it stay the same objects. A mod may
    have made attributes of them in `initialize()` (`self.pages = self.state["pages"]`)."""
    for key in [each for each in old if each not in new]:
        del old[key]
    for key, value in new.items():
        before: Any = old.get(key)
        if type(before) is not type(value) or not depth:
            old[key] = value
        elif isinstance(before, dict):
            _fill(before, value, depth - 1)
        elif isinstance(before, list):
            before[:] = value
        elif isinstance(before, set):
            before.clear()
            before.update(value)
        else:
            old[key] = value


def event_of(values: Mapping[str, Any]) -> Event:
    """Return an event out of kept values. Raises ValueError."""
    return Event.from_dict({key: value for key, value in values.items() if value is not None})
