"""Tells whether the code on disk runs, and if not why: for programs that save and need to know.

Waits until that is decided and changes nothing: a save that the watch has not brought yet is
undecided, a failed one is decided.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from devserver.agent_network import AgentNetwork
from devserver.live.loops import run_in_thread
from devserver.model.change import LockChanged
from devserver.model.facts import Fact, Ignored, PlanDone, Status
from devserver.model.names import LOCK
from devserver.model.wire_form import iso_of
from devserver.reload.lock_news import unsuited
from devserver.server.saves import Saves
from devserver.sources.files import sources_now

Row = dict[str, Any]

_NOTICED = 0.1
"""Seconds in which the watch notices a save: files that are no module are known by it alone."""
_LOOK = 0.03
_PROOF = 1.0
"""Seconds in which replaced code is proven to be gone."""


class Settling:
    """Arguments: `path`, network.yaml; `watches`, whether saves are applied on their own; `status`,
    the running network, as plain values."""

    def __init__(
        self, network: AgentNetwork, saves: Saves, path: Path, *, watches: bool, status: Callable[[], Row]
    ) -> None:
        self._network, self._saves, self._path = network, saves, path
        self._watches, self._status = watches, status
        self._ignored: deque[Row] = deque(maxlen=20)

    def note(self, fact: Fact) -> None:
        """Remember the saves that were ignored since the latest plan."""
        if isinstance(fact, Ignored):
            self._ignored.append({"time": iso_of(time.time()), "path": fact.path, "rule": fact.rule})
        elif isinstance(fact, PlanDone):
            self._ignored.clear()

    async def settled(self, seconds: float) -> Row:
        """Return when it is decided, or after so many seconds."""
        latest = time.monotonic() + seconds
        await asyncio.sleep(min(_NOTICED, seconds))
        if self._comes() and await run_in_thread(self._network.engine.environment.is_behind):
            # A missing package is not watched: it comes into a folder that may have been removed.
            await self._network.submit(LockChanged())
        # The disk does not tell that it is quiet.
        while (news := await self._news(latest)) and time.monotonic() < latest and self._comes():  # noqa: ASYNC110
            await asyncio.sleep(_LOOK)
        proof, proven = self._network.engine.proof, time.monotonic() + _PROOF
        while not all(map(proof.is_proven, self._network.running_mods())) and time.monotonic() < min(latest, proven):  # noqa: ASYNC110
            await asyncio.sleep(_LOOK)
        decided = not news or not self._comes()
        status = self._status()
        problems = [*problems_of(status), *self._not_brought(news, status)]
        engine = self._network.engine
        others = await run_in_thread(unsuited, engine.config, engine.environment.current)
        problems += [problem("lock", each, files=[self._path.name]) for each in others]
        return {
            "settled": decided,
            "runs": decided and not problems,
            "reload_number": status["reload_number"],
            "problems": problems,
            "ignored": list(self._ignored),
        }

    def _comes(self) -> bool:
        """Return whether differing sources are applied on their own."""
        return self._watches and not self._saves.paused

    async def _news(self, latest: float) -> list[str]:
        """Return the files on disk about which nothing was decided yet."""
        engine = self._network.engine
        try:
            async with asyncio.timeout(max(0.0, latest - time.monotonic())):
                await engine.quiet()
        except TimeoutError:
            return ["what was saved before"]
        known = dict(engine.knowledge.sources())
        now = await run_in_thread(sources_now, [*known, self._path])
        differing = [path for path, digest in known.items() if now[path] != digest]
        if now[self._path] != self._saves.seen:
            differing.append(self._path)
        return [engine.shown(str(path)) for path in differing]

    def _not_brought(self, news: list[str], status: Row) -> Iterator[Row]:
        reasons = list(self._network.engine.restarts.waiting)
        if reasons:
            yield problem("restart", f"a restart is needed: {'; '.join(reasons)}")
        if lacks := self._network.engine.environment.lacks:
            yield problem("lock", lacks, files=[LOCK])
        others = [each for each in news if each not in status["waiting"]]
        if others:
            why = "not decided in time" if self._comes() else "saves are not brought before they are asked for"
            yield problem("pending", why, files=others)


def problem(kind: str, why: str, mod_id: str | None = None, **more: Any) -> Row:
    """Return one reason why the code on disk does not run."""
    return {"kind": kind, "mod_id": mod_id, "why": why, "files": [], "error": None, "holders": [], **more}


def problems_of(status: Mapping[str, Any]) -> Iterator[Row]:
    """Return everything in a status that prevents the code on disk from being all that runs."""
    for error in status["refused"]:
        yield problem("refused", "network.yaml cannot be used, what runs keeps running", error=error)
    if status["waiting"]:
        yield problem("waiting", "saved and not applied: oa-dev apply", files=status["waiting"])
    for mod in (*status["mods"], *status["down"]):
        yield from _problems_of_mod(mod)


def _problems_of_mod(mod: Row) -> Iterator[Row]:
    mod_id, outcome = mod["mod_id"], mod["outcome"] or {}
    runs = f"v{mod['generation']} keeps running" if mod["generation"] else "it does not run"
    if mod["failed"] is not None:
        yield problem("failed", f"the saved version failed, {runs}", mod_id, error=mod["failed"])
    elif outcome.get("status") == Status.SKIPPED.value:
        yield problem("held", outcome["reason"], mod_id)
    elif mod.get("newer_on_disk"):
        yield problem("differs", f"what is on disk differs, {runs}", mod_id, files=mod["newer_on_disk"])
    for key in outcome.get("stale_keys", ()):
        yield problem("stale_key", f"the state's key {key} holds objects of replaced code", mod_id)
    holders = mod.get("old_code", {}).get("holders", ())
    if holders:
        yield problem("old_code", "replaced code is still held", mod_id, holders=holders)
