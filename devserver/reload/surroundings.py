"""What the engine needs of the network that it changes."""

from __future__ import annotations

from types import ModuleType
from typing import Any, Protocol

from devserver.live.generation import Generation
from devserver.mod import BaseMod
from devserver.model.facts import AgentsSeen, Outcome
from devserver.model.split import Line


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
