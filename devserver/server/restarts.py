"""What a restart in place needs of a run: what survives, the rehearsal, why a start fails."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from typing import Any

from devserver.agent_network import AgentNetwork
from devserver.config.settings import read_settings
from devserver.errors import DevServerError
from devserver.live.loops import LoopThread, run_in_thread
from devserver.model.config import NetworkConfig
from devserver.model.lifecycle import Phase
from devserver.model.plan import Plan
from devserver.reload.restarting import Arrival
from devserver.server.aside import Aside
from devserver.server.before import LISTENING
from devserver.server.restart import IMPORTED, Connections, Parts, RestartInPlace
from devserver.server.run_options import RunOptions
from devserver.server.sockets import bind
from devserver.ui.face import Face

Survives = Callable[[], tuple[dict[str, Any], dict[str, int]]]
Begin = Callable[[Coroutine[Any, Any, object]], None]


class Restarts:
    """The restarts of one run, one at a time.

    `give_way` ends processes that the next image starts itself; `survives` gives further surviving
    values, as plain values, and descriptors by their names; `ready` waits until these are complete;
    `serve_on` takes back what that and the end of the face have closed.
    """

    def __init__(
        self,
        options: RunOptions,
        network: AgentNetwork,
        home: LoopThread,
        connections: Connections,
        *,
        address: tuple[str, int],
        heard: list[socket.socket],
        face: Face,
        survives: Survives,
        ready: Callable[[], Awaitable[None]],
        give_way: Callable[[], Awaitable[None]],
        serve_on: Callable[[], None],
        tell: Callable[[Any], None],
        begin: Begin,
        read_network: Callable[[], NetworkConfig],
    ) -> None:
        self._options = options
        self._network = network
        self._home = home
        self._connections = connections
        self._address = address
        self._heard = heard
        self._face = face
        self._survives = survives
        self._ready = ready
        self._give_way = give_way
        self._serve_on = serve_on
        self._tell = tell
        self._begin = begin
        self._read_network = read_network
        self._under_way: RestartInPlace | None = None
        engine = network.engine.restarts
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
            self._under_way = RestartInPlace(plan, self._parts())
            self._begin(self._once(self._under_way))

    async def _once(self, restart: RestartInPlace) -> None:
        try:
            await self._ready()
            await restart.run()
        finally:
            self._under_way = None

    def _parts(self) -> Parts:
        return Parts(
            image=self._options.image,
            network=self._network,
            home=self._home,
            connections=self._connections,
            tell=self._tell,
            more=self._more,
            again=self._options.supervised.again,
            last=self._face.leave,
            give_way=self._give_way,
            serve_on=self._serve_on,
        )

    def _more(self) -> tuple[dict[str, Any], dict[str, int]]:
        values, descriptors = self._survives()
        sockets = dict(zip(LISTENING, (each.fileno() for each in self._heard), strict=False))
        forks = self._options.forks
        of_server = {"address": self._address, "forks": forks.pid if forks is not None else None}
        return {"server": values | of_server}, sockets | descriptors

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
        running = {each.mod_id for each in self._network.engine.registry.live} | {"mods"}
        failing = [f"{mod_id} ({error})" for mod_id, error in found.mods if mod_id in running]
        return "; ".join([*map(str, found.refused), *failing]) or None
