"""Tells mods of the mods that they name: which ones came, in which version, and which ones went.

An optional mod in a version that does not suit counts as absent, and a person is told that.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from weakref import WeakSet

from devserver.live.generation import Generation
from devserver.live.loops import Home
from devserver.live.registry import Registry
from devserver.market.requirements import Requirement
from devserver.mod import BaseMod
from devserver.model.facts import ErrorFacts, Fact, ModError, Notice, Outcome, Status
from devserver.model.lifecycle import Action, Limits, ModState
from devserver.model.names import mod_id_of, module_of
from devserver.reload import hooks
from devserver.reload.plan.situation import required

_CHANGES = (Action.LOAD, Action.RELOAD, Action.UNLOAD)


class ModNews:
    """The memory of one engine: the versions that run, and the mods that name others. `where` says
    where a generation declares something, as in ` (mods/search/mod.py:9)`."""

    def __init__(
        self,
        registry: Registry,
        home: Home,
        limits: Callable[[], Limits],
        *,
        tell: Callable[[Fact], None],
        facts_of: Callable[[BaseException], ErrorFacts],
        where: Callable[[Generation, str], str],
    ) -> None:
        self._registry = registry
        self._home = home
        self._limits = limits
        self._tell = tell
        self._facts_of = facts_of
        self._where = where
        self._versions: dict[str, str] = {}
        self._naming: WeakSet[Generation] = WeakSet()
        """The generations that name other mods: most name none."""
        self._said: set[tuple[str, str, str]] = set()
        self._calls: set[asyncio.Task[None]] = set()

    async def look(self, outcomes: Iterable[Outcome]) -> None:
        """Tell mods of the versions that these outcomes have changed."""
        calls: list[Callable[[], asyncio.Future[None]]] = []
        for outcome in outcomes:
            if outcome.status is Status.APPLIED and outcome.action in _CHANGES:
                self._note(outcome.mod_path)
                calls += self._changed(module_of(outcome.mod_path))
        if calls:
            await self._home.run(self._begin, calls)

    def _note(self, path: str) -> None:
        """Note a new generation that names others; and its optional mods that do not suit."""
        generation = self._registry.running(path)
        if generation is None or not any(_named(generation)):
            return
        self._naming.add(generation)
        for needed, is_optional in _named(generation):
            other = self._registry.running(needed.path)
            if other is not None and is_optional:
                self._suits(generation, needed, str(other.instance.version))

    def _changed(self, path: str) -> Iterator[Callable[[], asyncio.Future[None]]]:
        """Return the hooks to call because another version of a mod runs than before, or none."""
        live = self._registry.running(path)
        before, now = self._versions.get(path), None if live is None else str(live.instance.version)
        if now is None:
            self._versions.pop(path, None)
        else:
            self._versions[path] = now
        for generation in list(self._naming) if before != now else ():
            names = [each for each in _named(generation) if module_of(each[0].path) == path]
            if not names or generation.state is not ModState.LIVE or generation is live:
                continue
            needed, is_optional = names[0]
            was = before if before is not None and needed.allows(before) else None
            suits = now is not None and (self._suits(generation, needed, now) if is_optional else True)
            told = now if suits else None
            if told != was and _hears(generation):
                yield partial(self._call, generation, mod_id_of(path), told)

    def _suits(self, generation: Generation, needed: Requirement, version: str) -> bool:
        """Return whether a version suits; one that does not is told once."""
        if needed.allows(version):
            return True
        key = (generation.mod_path, str(needed), version)
        if key not in self._said:
            self._said.add(key)
            other, where = mod_id_of(needed.path), self._where(generation, needed.written)
            words = f"{generation.mod_id} runs without {other}: it works with {needed}{where}, which is {version}"
            self._tell(Notice(words, calm=True))
        return False

    # Where mods run

    async def _begin(self, calls: Iterable[Callable[[], asyncio.Future[None]]]) -> None:
        """Call the hooks in tasks of their own: the caller does not wait for them."""
        for call in calls:
            call()

    def _call(self, generation: Generation, mod_id: str, version: str | None) -> asyncio.Future[None]:
        work = self._tell_mod(generation, mod_id, version)
        # Empty context: these hooks must not count as part of a mod's call.
        task = asyncio.get_running_loop().create_task(work, context=contextvars.Context())
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        return task

    async def _tell_mod(self, generation: Generation, mod_id: str, version: str | None) -> None:
        hook, limit = generation.instance.handle_mod_change, self._limits().initialize
        try:
            await hooks.call_hook(generation, hook, "handle_mod_change()", limit, mod_id, version)
        except Exception as error:
            facts = self._facts_of(error)
            self._tell(ModError(generation.mod_id, "handle_mod_change", generation.number, facts))


def _named(generation: Generation) -> Iterator[tuple[Requirement, bool]]:
    """Return the mods that a generation works with or needs, and whether they are optional."""
    for name, is_optional in (("optional", True), ("requires", False)):
        texts = getattr(generation.instance, name, ())
        if isinstance(texts, list | tuple):
            yield from ((each, is_optional) for each in required(t for t in texts if isinstance(t, str)))


def _hears(generation: Generation) -> bool:
    return type(generation.instance).handle_mod_change is not BaseMod.handle_mod_change
