"""What carrying out a plan needs of the engine, and the engine of the network that it changes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import FrameType, ModuleType
from typing import Any, Protocol

from devserver.live.generation import Generation
from devserver.live.loops import Home, Worker
from devserver.live.registry import Registry
from devserver.loader.build import Build
from devserver.mod import BaseMod
from devserver.model.config import PlaceOf
from devserver.model.facts import AgentsSeen, Outcome
from devserver.model.lifecycle import Limits
from devserver.model.plan import Plan, Step
from devserver.model.split import Line
from devserver.reload.knowledge import Knowledge
from devserver.reload.locator import Locator


class Surroundings(Protocol):
    """What the engine needs of the network that it changes."""

    def handle(self, mod_path: str, line: Line | None = None) -> Any: ...

    def copy_folder(self, mod_path: str, line_path: str) -> str:
        """Give a line a copy of its mod's folder of data; return the result, in words."""

    def mod_class(self, module: ModuleType, mod_id: str) -> type[BaseMod]:
        """Return the class of a mod in its module. Raises NoModClass."""

    async def introduce(self, generation: Generation) -> None: ...
    def agents_mark(self) -> int: ...
    def agents_since(self, mark: int) -> AgentsSeen: ...
    def announce(self, outcome: Outcome) -> None: ...


class Workshop(Protocol):
    """What carrying out a plan needs of the engine."""

    registry: Registry
    home: Home
    worker: Worker
    knowledge: Knowledge
    locate: Locator
    around: Surroundings

    @property
    def limits(self) -> Limits: ...
    def build(self, modules: Sequence[str], entries: Sequence[str], plan: Plan) -> Build: ...

    async def give_state(self, generation: Generation) -> str:
        """Give a mod that is being loaded the state that it had before a restart; what became of it, if anything."""

    def place_of_config(self, step: Step) -> PlaceOf | None:
        """Where the values of a step's configuration are written, if they are written in network.yaml."""

    def is_own(self, file: str) -> bool: ...
    def is_source(self, path: Any) -> bool: ...
    def say(self, words: str) -> None: ...

    def where(self, stack: Iterable[FrameType]) -> str:
        """The innermost line of mods on a stack (outermost first), as in ` at mods/wiki/mod.py:7`; or nothing."""

    def replace_worker(self) -> None: ...
    def retire(self, generation: Generation) -> None: ...
