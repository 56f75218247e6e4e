"""The restarts in place of a run: one at a time, the rehearsal, why a start fails."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from typing import Any

from devserver.config.settings import read_settings
from devserver.errors import DevServerError
from devserver.live.loops import run_in_thread
from devserver.model.config import NetworkConfig
from devserver.model.lifecycle import Phase
from devserver.model.plan import Plan
from devserver.reload.restarting import Arrival
from devserver.server.aside import Aside
from devserver.server.restart import IMPORTED, Parts, RestartInPlace
from devserver.server.run_options import RunOptions
from devserver.server.sockets import bind


class Restarts:
    """The restarts of one run, one at a time. `ready` waits until what survives is complete."""

    def __init__(
        self,
        options: RunOptions,
        parts: Parts,
        *,
        address: tuple[str, int],
        ready: Callable[[], Awaitable[None]],
        begin: Callable[[Coroutine[Any, Any, object]], None],
        read_network: Callable[[], NetworkConfig],
    ) -> None:
        self._options, self._parts, self._address = options, parts, address
        self._ready, self._begin, self._read_network = ready, begin, read_network
        self._under_way: RestartInPlace | None = None
        engine = parts.network.engine.restarts
        engine.replace = self.replace
        engine.problem = self.problem
        engine.rehearse = self.rehearse

    def insist(self) -> bool:
        """Stop a running restart from waiting for handlers; return whether there is one."""
        if self._under_way is None:
            return False
        self._under_way.insist()
        return True

    def replace(self, plan: Plan) -> None:
        """Have this process replaced, as a plan says. A running restart goes on."""
        if self._under_way is None:
            self._under_way = RestartInPlace(plan, self._parts)
            self._begin(self._once(self._under_way))

    async def _once(self, restart: RestartInPlace) -> None:
        try:
            await self._ready()
            await restart.run()
        finally:
            self._under_way = None

    async def rehearse(self, mods: Mapping[str, Arrival], failed_in: Phase) -> bool:
        """Try mods that failed in a phase in a fresh process; return whether all load there."""
        # Here and not above: rarely needed.
        from devserver.server.rehearsal import LIMIT, comes_up, rehearse

        aside = Aside(patience=LIMIT, environ=os.environ, forks=self._options.forks)
        tried = await run_in_thread(rehearse, self._options.path, mods, aside)
        return all(comes_up(tried.get(each.mod_path), failed_in) for each in mods.values())

    async def problem(self, proven: Collection[str] = ()) -> str | None:
        """Say why a start would fail now, by what the files hold; None where it would not.
        `proven`: the mods (plain paths) that a rehearsal tries."""
        image, options = self._options.image, self._options
        problem = image.problem()
        if problem is not None:
            return problem
        # Here and not above: rarely needed, and slow to import.
        from devserver.server.check import PATIENCE, check_network

        ends: list[Callable[[], None]] = []
        try:
            settings = read_settings(options.path.parent, {}, image.environ)
            config = self._read_network()
            if (config.host, config.port) != self._address:
                bind(config.host, config.port, strict=options.strict_port).close()
            environ = {**image.environ, **settings.variables}
            aside = Aside(patience=PATIENCE, environ=environ, also=IMPORTED, forks=options.forks, begun=ends.append)
            found = await run_in_thread(lambda: check_network(options.path, aside, proven=proven))
        except (DevServerError, OSError) as error:
            return str(error)
        except asyncio.CancelledError:
            for end in ends:
                end()
            raise
        running = {each.mod_id for each in self._parts.network.engine.registry.live} | {"mods"}
        failing = [f"{mod_id} ({error})" for mod_id, error in found.mods if mod_id in running]
        return "; ".join([*map(str, found.refused), *failing]) or None
