"""The API of mod authors: `BaseMod` and `mod_event_handler`.

A mod is a class. The network makes one instance, sets its configuration, binds it, calls
`initialize()`, and from then on calls its handlers. Nothing here knows how mods are loaded or
reloaded.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from devserver.model.event import Event, EventResponse, pattern_problem, unheard_problem
from devserver.model.logs import logger

if TYPE_CHECKING:
    from structlog.stdlib import BoundLogger

Handler = Callable[[Event], "Awaitable[EventResponse | None] | EventResponse | None"]
_Method = TypeVar("_Method", bound=Callable[..., Any])

_PATTERNS = "__oa_dev_patterns__"


class Network(Protocol):
    """The network as a mod sees it (`self.network`)."""

    @property
    def network_id(self) -> str:
        """The network's id, which is the `node_id` of network.yaml if that is set."""

    @property
    def network_name(self) -> str:
        """The name in network.yaml."""

    @property
    def is_shadow(self) -> bool:
        """Whether the mod is a shadow: it sees copies, and its events are held."""

    async def process_event(self, event: Event) -> EventResponse:
        """Send an event; without a `source_id` it goes out as `mod:<this mod's path>`.

        A generation that has been replaced may send only on behalf of a handler that still runs; anything else it
        sends is refused with `success=False`.
        """

    async def ask(self, to: str, event_name: str, payload: Mapping[str, Any] | None = None) -> EventResponse:
        """Send an event to `to` ("mod:wiki", "agent:ana", "channel:general", "agent:broadcast") and get its answer.

        To a mod, the answer is that mod's; without one, `success` is False and the message says why.
        """

    def time(self) -> float:
        """Return the seconds since 1970, by the clock of the network, which a test may move."""

    async def sleep(self, seconds: float) -> None:
        """Wait for so many seconds on the clock of the network."""

    def mods(self) -> dict[str, str]:
        """Return the mods that run: id to version."""

    def agents(self) -> dict[str, dict[str, Any]]:
        """Return the registered agents: id to metadata."""

    def agent_group(self, agent_id: str) -> str | None:
        """Return the group that an agent joined with, or None for an unknown agent."""

    def create_channel(self, channel: str) -> None:
        """Make sure that a channel exists; events to `channel:<name>` go to its members."""

    def remove_channel(self, channel: str) -> None:
        """Forget a channel and its members."""

    def add_channel_member(self, channel: str, agent_id: str) -> None:
        """Let an agent receive what is sent to a channel."""

    def remove_channel_member(self, channel: str, agent_id: str) -> None:
        """Take an agent out of a channel."""

    def channel_members(self, channel: str) -> tuple[str, ...]:
        """Return the members of a channel; none for a channel that does not exist."""

    async def load_mod(self, mod_path: str, config: Mapping[str, Any] | None = None) -> EventResponse:
        """Load a mod, as `AgentNetwork.load_mod`."""

    async def unload_mod(self, mod: str) -> EventResponse:
        """Unload a mod by path or id, as `AgentNetwork.unload_mod`."""

    async def reload_mod(self, mod: str) -> EventResponse:
        """Reload a mod by path or id, as `AgentNetwork.reload_mod`."""

    def storage_path(self, mod_name: str) -> Path:
        """Return the folder for a mod's own data, made if it is missing."""


class Refused(Exception):
    """What a sender asked for cannot be done: raised by a handler, answered with `success=False`, no error of the mod.

    Args:
        sentence: what cannot be done and why, for the sender.
        data: facts for programs, which become the answer's `data` beside `error`, the sentence.
    """

    def __init__(self, sentence: str, **data: Any) -> None:
        super().__init__(sentence)
        self.data = data

    def answer(self, event_name: str | None = None) -> EventResponse:
        """Return the refusal as an answer; `data["error"]` repeats the sentence, as OpenAgents' own mods do."""
        return EventResponse(False, str(self), {"error": str(self), **self.data}, event_name)


async def _called(function: Callable[[], Any]) -> None:
    answer = function()
    if inspect.isawaitable(answer):
        await answer


def mod_event_handler(*patterns: str) -> Callable[[_Method], _Method]:
    """Mark a method as the handler of events whose name matches one of `patterns`.

    A pattern is an event name, a prefix ending in `*` ("wiki.*"), or "*". The method takes the
    event and returns an `EventResponse` to answer it, which ends the event's way, or None to let it
    pass. It may be sync or async, and may raise `Refused` to answer that something cannot be done.

    A method whose second argument is annotated with a pydantic model, as in `edit(self, event:
    Event, page: EditPage)`, gets the payload as an instance of it. A payload that does not fit is
    refused with a sentence for each value.

    Raises ValueError for a pattern that could match nothing.
    """
    if not patterns:
        raise ValueError("mod_event_handler needs a pattern, as in @mod_event_handler('wiki.page.create')")
    _check(patterns)

    def mark(method: _Method) -> _Method:
        setattr(method, _PATTERNS, (*patterns, *getattr(method, _PATTERNS, ())))
        return method

    return mark


def _check(patterns: Sequence[str]) -> None:
    for pattern in patterns:
        problem = pattern_problem(pattern) or unheard_problem(pattern)
        if problem is not None:
            raise ValueError(problem)


def handler_patterns(function: object) -> tuple[str, ...]:
    """Return the patterns that `mod_event_handler` gave to a method; none for any other."""
    found = getattr(function, _PATTERNS, ())
    return found if isinstance(found, tuple) else ()


class BaseMod:
    """The base of every mod.

    Class attributes a mod may set: `version`, `requires` (mods that are loaded before it, because it
    needs them, as in `["mods.wiki>=1"]`), `optional` (mods that it works with if they run),
    `reload_mode` ("fresh", "exclusive", "rebind" or "restart", see
    `devserver.model.lifecycle.HandOver`), `watch` (further sources beside its code and the files that
    it reads, as patterns from its own folder: `["prompts/**"]`).

    `persist_state = True` keeps plain data of `self.state` on disk (`.oa-dev/`, at most once a second).
    It comes back after a crash of the process; after a clean end the state starts empty.

    `self.state` is a plain dict that survives reloads. A mod whose state is something else defines both
    `capture_state()`, which returns it, and `restore_state(state)`, which takes it in the next generation.

    A mod may declare a pydantic model named `Config`, in its class or in its module: `self.config` is
    an instance of it then, and a misfit is told with its line in network.yaml, before the mod is made.

    Hooks (all sync or async): `initialize()`, where returning False refuses the load; `shutdown()`;
    `handle_register_agent(agent_id, metadata)` and `handle_unregister_agent(agent_id)`;
    `handle_mod_change(mod_id, version)`.
    """

    version: ClassVar[str] = "0"
    requires: ClassVar[Sequence[str]] = ()
    optional: ClassVar[Sequence[str]] = ()
    reload_mode: ClassVar[str] = "fresh"
    persist_state: ClassVar[bool] = False
    watch: ClassVar[Sequence[str]] = ()

    mod_name: str
    config: Any
    """The mod's configuration: a dict, or an instance of the mod's `Config`."""
    state: dict[str, Any]
    network: Network
    known_as: tuple[str, int] | None = None
    """The mod's id and the number of the generation this instance serves as; None before."""

    def __new__(cls, *_args: Any, **_kwargs: Any) -> BaseMod:
        # Here and not in __init__, so that a mod which forgets super().__init__() is still
        # complete.
        self = super().__new__(cls)
        self.mod_name = cls.__name__
        self.config = {}
        self.state = {}
        self._registered = []
        self._closing = []
        self._tasks = set()
        return self

    _registered: list[tuple[tuple[str, ...], Handler]]
    _closing: list[Callable[[], Any]]
    _tasks: set[asyncio.Task[Any]]

    def __init__(self, mod_name: str | None = None) -> None:
        if mod_name is not None:
            self.mod_name = mod_name

    @cached_property
    def log(self) -> BoundLogger:
        """The mod's log, a structlog logger: `self.log.info("page saved", path=path)`.

        Each record has the mod, its generation, the event and the agent by itself. Arguments after the words are
        filled in as by `logging`. What is logged from `info` on is shown by default.
        """
        return logger(getattr(type(self), "wraps", type(self)).__module__, self)

    def initialize(self) -> Any:
        """Start. Called when configuration, network and state are in place. False refuses the load."""
        return True

    def shutdown(self) -> Any:
        """End. Called once, when no handler of this generation runs any more."""
        return True

    def update_config(self, config: Any) -> Any:
        """Take a changed configuration in place. A mod that can, overrides this, and returns anything but False.

        `config` is what `self.config` becomes when it is taken: a dict, or an instance of the mod's `Config`.
        False (what this base returns) or an exception asks for a reload with the new configuration instead.
        """
        return False

    def bind_network(self, network: Network) -> None:
        """Take the network; called once before `initialize()`. `self.network` is it afterwards."""
        self.network = network

    def handle_register_agent(self, agent_id: str, metadata: dict[str, Any]) -> Any:
        """Note that an agent has joined; also called on load, for each agent that is there."""

    def handle_unregister_agent(self, agent_id: str) -> Any:
        """Note that an agent has left."""

    def handle_mod_change(self, mod_id: str, version: str | None) -> Any:
        """Note that a mod in this one's `optional` or `requires` runs in another version now.

        `version` is None if it no longer runs, or in a version that does not suit.
        `self.network.mods()` has the mods that run when this mod is loaded.
        """

    def register_event_handler(self, handler: Handler, patterns: str | Sequence[str]) -> None:
        """Add a handler by hand, by patterns as of `mod_event_handler`, before `initialize()` ends.

        Raises ValueError for a pattern that could match nothing.
        """
        wanted = (patterns,) if isinstance(patterns, str) else tuple(patterns)
        _check(wanted)
        self._registered.append((wanted, handler))

    async def send_event(self, event: Event) -> EventResponse:
        """Send an event as this mod; return its answer."""
        return await self.network.process_event(event)

    def create_task(self, work: Coroutine[Any, Any, Any], *, name: str | None = None) -> asyncio.Task[Any]:
        """Run `work` beside the handlers as long as this generation lives; it is cancelled then."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def every(self, seconds: float, function: Callable[[], Any]) -> asyncio.Task[Any]:
        """Call `function` (sync or async) every so many seconds while this generation lives.

        The first call comes after `seconds`, each further one that long after the end of the one
        before. An exception is told as an error of the mod, and the next call comes all the same.
        Cancel the task to end it.

        Raises ValueError for a time that is not above 0.
        """
        if not seconds > 0:
            raise ValueError(f"every() takes a number of seconds above 0, not {seconds!r}")
        name = getattr(function, "__name__", "function")
        return self.create_task(self._repeat(seconds, function), name=f"every {seconds:g} s: {name}")

    async def _repeat(self, seconds: float, function: Callable[[], Any]) -> None:
        name = function.__name__ if getattr(function, "__self__", None) is self else None
        while True:
            await self.network.sleep(seconds)
            # If the instance outlives a reload, its method is that of the new class then.
            call = self.create_task(_called(getattr(self, name) if name is not None else function), name=name)
            await asyncio.wait([call])
            del call  # the exception is told when the task has no holder any more

    def on_close(self, function: Callable[[], Any]) -> None:
        """Call `function` (sync or async) when this generation ends, last registered first."""
        self._closing.append(function)

    def get_storage_path(self) -> Path:
        """Return a folder of this mod's own that survives restarts, or a temporary one."""
        network: Network | None = getattr(self, "network", None)
        if network is None:
            import tempfile  # rarely needed, and no start should wait for it

            return Path(tempfile.mkdtemp(prefix=f"{self.mod_name}-"))
        return network.storage_path(self.mod_name)

    def get_state(self) -> dict[str, Any]:
        """Return the state that this mod shows of itself."""
        config = self.config.model_dump(mode="json") if hasattr(self.config, "model_dump") else self.config
        return {
            "mod_name": self.mod_name,
            "config": config,
            "keys": sorted(map(str, self.state if isinstance(self.state, dict) else ())),
        }
