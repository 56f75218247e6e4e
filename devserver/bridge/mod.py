"""A mod of ours that stands for one of openagents: answers the network's hooks, and asks the other.

The instance inside is never told of a reload. It gets its new class (`rebind`), and the data that
it would lose at its end is kept for its next start (`keep`).
"""

from __future__ import annotations

import asyncio
import copy
import inspect
import pickle
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from devserver.bridge.construct import construct
from devserver.bridge.convert import response_from, twin_of
from devserver.bridge.keep import Channels, Files, Kept, changed_since, data_of, files_in, give_back, open_channels
from devserver.bridge.network import BridgedNetwork
from devserver.bridge.rebind import Birth, take_class
from devserver.bridge.upstream import OpenAgentsMod, Upstream, find_upstream
from devserver.live.generation import running
from devserver.live.handlers import AGENT_CAME, AGENT_WENT
from devserver.mod import BaseMod
from devserver.model.event import Event, pattern_problem
from devserver.model.lifecycle import HandOver, ModState
from devserver.network.agents import Directory


class Bridge:
    """Makes openagents mods runnable in one network, and keeps the belongings of ended ones.

    Arguments: `upstream`, the package; `directory`, the agents and channels; `workspace`, the
    folder of network.yaml.
    """

    def __init__(self, upstream: Upstream, directory: Directory, workspace: Path) -> None:
        self.upstream = upstream
        self.directory = directory
        self.workspace = workspace
        self.kept: dict[str, Kept] = {}
        """By mod path, the belongings of ended mods; the next start of the same mod takes them."""
        self.running: dict[str, BridgedMod] = {}
        """By mod path, those that have started and not ended."""

    def pack(self) -> dict[str, dict[str, Any]]:
        """Return the belongings of ended mods, by path, for the next image of this process, without
        those that cannot be pickled."""
        packed = {}
        for path, kept in self.kept.items():
            values = {each.name: getattr(kept, each.name) for each in fields(kept)}
            values["attributes"] = {name: each for name, each in kept.attributes.items() if _pickles(each)}
            packed[path] = values
        return packed

    def unpack(self, packed: Mapping[str, Mapping[str, Any]]) -> None:
        """Take the belongings of ended mods of an earlier image."""
        self.kept.update({path: Kept(**values) for path, values in packed.items()})

    def find(self, module: ModuleType, mod_id: str) -> type[BridgedMod] | None:
        """Return a class of ours for the openagents mod in a module, or None without one."""
        wrapped = find_class(module, mod_id, self.upstream.base_mod)
        if wrapped is None:
            return None
        asked = getattr(wrapped, "reload_mode", HandOver.REBIND.value)
        values = {
            "bridge": self,
            "wraps": wrapped,
            "reload_mode": asked if asked == HandOver.EXCLUSIVE.value else HandOver.REBIND.value,
            "__doc__": wrapped.__doc__,
            # Not theirs: code that looks a class up by its module and name must not find the
            # wrapped one.
            "__module__": __name__,
        }
        if hasattr(wrapped, "version"):
            values["version"] = str(wrapped.version)
        return type(wrapped.__name__, (BridgedMod,), values)


def make_bridge(directory: Directory, workspace: Path) -> Bridge | None:
    """Make a bridge for one network; None if openagents has not been imported."""
    upstream = find_upstream()
    return None if upstream is None else Bridge(upstream, directory, workspace)


class BridgedMod(BaseMod):
    """Stands for one instance of an openagents mod, `inner`."""

    config_mode: ClassVar[str] = HandOver.EXCLUSIVE.value
    """A mod of openagents reads its configuration at its start, so a change starts it again."""
    version: ClassVar[str] = "1.0.0"
    """The version if neither the class nor a manifest has one, as in openagents."""

    bridge: ClassVar[Bridge]
    wraps: ClassVar[type[Any]]

    inner: OpenAgentsMod

    def __init__(self, mod_name: str) -> None:
        super().__init__(mod_name)
        self._make_inner()

    def _make_inner(self) -> None:
        self.inner = construct(self.wraps, self.mod_name)
        self._birth = Birth(self.inner)
        self._started: dict[str, Any] | None = None
        self._ended = False
        self._ending = asyncio.Lock()
        self._known: set[str] = set()
        bridge = self.bridge
        self._seen = BridgedNetwork(lambda: self.network, bridge.directory, bridge.workspace, bridge.upstream)

    # Hooks

    async def initialize(self) -> bool:
        """Start the mod: its configuration, its network, its `initialize()`, and its former data.

        Bound before it is initialized, as when openagents loads a mod at run time: then both can
        use the network.
        """
        if self._ended:
            self._make_inner()
        # End the former instance: an unloaded one may still wait for a handler, and must end before
        # this one starts.
        before = self.bridge.running.get(self.mod_name)
        if before is not None and before is not self:
            await before.shutdown()
        try:
            started = await self._start()
        except BaseException:
            self._withdraw()
            raise
        if not started:
            self._withdraw()
            return False
        self._started = data_of(self.inner)
        self.bridge.running[self.mod_name] = self
        await self._take_back()
        self._listen()
        return True

    async def _start(self) -> bool:
        # Mark files in a folder for data alone as data, even if the mod reads them while it starts.
        call, folder = running.get(), self._folder()
        if call is not None and not any(each.suffix == ".py" for each in folder.iterdir()):
            call.generation.written.update(str(path) for path in files_in(folder))
        if self.config:
            self.inner.update_config(copy.deepcopy(self.config))
        self.inner.bind_network(self._seen)
        return await _finished(self.inner.initialize()) is not False

    def _withdraw(self) -> None:
        """Remove the channels of a mod that did not start."""
        for channel in tuple(self._seen.event_gateway.made):
            self._seen.event_gateway.remove_channel(channel)

    async def _take_back(self) -> None:
        kept = self.bridge.kept.pop(self.mod_name, None)
        if kept is None:
            return
        give_back(self.inner, kept, self.config)
        open_channels(self.bridge.directory, kept.channels)
        self._known = set(kept.agents)
        for agent_id in sorted(kept.agents - set(self._seen.topology.agent_registry)):
            gone = Event(event_name=AGENT_WENT, source_id="system:system", payload={"agent_id": agent_id})
            await self._answer(gone)

    async def shutdown(self) -> bool:
        """End the mod, once; files that its `shutdown()` empties are restored."""
        async with self._ending:
            if self._ended:
                return True
            self._ended = True
            if self.bridge.running.get(self.mod_name) is self:
                del self.bridge.running[self.mod_name]
            return await self._shut_down()

    async def _shut_down(self) -> bool:
        attributes = None if self._started is None else changed_since(self._started, data_of(self.inner))
        agents, config = frozenset(self._known), dict(self.config)
        channels, files = Channels(self.bridge.directory), Files(self._folder())
        try:
            return await _finished(self.inner.shutdown()) is not False
        finally:
            for path in files.put_back():
                self.log.info("put back %s, which the end of %s had emptied", path.name, self.mod_name)
            if attributes is not None:
                self.bridge.kept[self.mod_name] = Kept(attributes, config, agents, channels.gone())

    def _folder(self) -> Path:
        return self._seen.workspace_manager.get_mod_storage_path(self.mod_name)

    # Events

    def _listen(self) -> None:
        """Listen to the patterns of the mod; to everything if it decides on that itself."""
        patterns = [pattern for entry in self.inner._event_handlers for pattern in entry.patterns]
        if type(self.inner).process_event is not self.bridge.upstream.base_mod.process_event:
            patterns = ["*"]
        # An invalid pattern matches nothing in openagents either.
        usable = tuple(dict.fromkeys(each for each in patterns if pattern_problem(each) is None))
        self._registered = [(usable, self._answer)]

    async def _answer(self, event: Event) -> Any:
        if event.event_name in (AGENT_CAME, AGENT_WENT) and not self._is_news(event):
            return None
        upstream = self.bridge.upstream
        answer = await self.inner.process_event(twin_of(event, upstream))
        return None if answer is None else response_from(answer, upstream)

    def _is_news(self, event: Event) -> bool:
        """Return whether the mod is told of an agent: after a start not of those that it knows."""
        agent_id = str(event.payload.get("agent_id"))
        if event.event_name == AGENT_WENT:
            self._known.discard(agent_id)
            return True
        call, is_known = running.get(), agent_id in self._known
        self._known.add(agent_id)
        return not (is_known and call is not None and call.generation.state is ModState.STARTING)

    # Reload

    def take_class(self, new_class: type[BaseMod]) -> Callable[[], None]:
        """Become what `new_class` stands for, with the same instance inside; return the undo.

        Raises the exceptions of the edited constructor, HookFailed if the instance cannot take its
        new class.
        """
        assert issubclass(new_class, BridgedMod)
        before = type(self), self._birth, self._registered
        self._birth, undo_inner = take_class(self.inner, self._birth, new_class.wraps, self.mod_name)
        self.__class__ = new_class
        self._listen()

        def undo() -> None:
            undo_inner()
            self.__class__, self._birth, self._registered = before

        return undo

    def get_state(self) -> dict[str, Any]:
        """Return the state that the mod shows."""
        shown = getattr(self.inner, "get_state", dict)
        return dict(shown() or {})


async def _finished(answer: Any) -> Any:
    """Return the result of a hook, sync or async."""
    return await answer if inspect.isawaitable(answer) else answer


def _pickles(value: Any) -> bool:
    try:
        pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    except Exception:
        # Data that contains an object of the mod's own nevertheless.
        return False
    return True


def find_class(module: ModuleType, mod_id: str, base: type[Any]) -> type[Any] | None:
    """Return the class of a mod, or None if the module has none (contract, D3).

    If no name fits, openagents takes the first subclass in alphabetical order, imported helpers included; here the
    classes of the mod's own code come first, of these the ones that are no bases of others.
    """
    found: dict[str, type[Any]] = {name: value for name, value in sorted(vars(module).items()) if _is_mod(value, base)}
    title = mod_id.title().replace("_", "")
    for name in ("NetworkMod", f"{title}NetworkMod", f"{title}Mod", "Mod"):
        if name in found:
            return found[name]
    own = [each for each in found.values() if _is_own(each, module)]
    leaves = [each for each in own if not any(o is not each and issubclass(o, each) for o in own)]
    return next(iter(leaves or found.values()), None)


def _is_mod(value: object, base: type[Any]) -> bool:
    return inspect.isclass(value) and issubclass(value, base) and value is not base and not inspect.isabstract(value)


def _is_own(value: type[Any], module: ModuleType) -> bool:
    package = module.__name__.removesuffix(".mod")
    return value.__module__ == package or value.__module__.startswith(f"{package}.")
