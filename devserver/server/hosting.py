"""This server as one host of several: nothing of `hosts` is imported unless that was asked for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from devserver.agent_network import AgentNetwork
from devserver.control.hosts import COMMANDS, HostsApi
from devserver.errors import DevServerError
from devserver.model.facts import Fact, HostsStarted, Outcome, PlanDone
from devserver.server.moving import Moving
from devserver.transports.http.answers import Answer
from devserver.transports.http.routes import Request
from devserver.transports.strict import Malformed

if TYPE_CHECKING:
    from devserver.hosts.host import Host
    from devserver.hosts.requests import Request as Asked
    from devserver.hosts.wanted import Wanted


class Hosting:
    """Arguments: `wanted`, None for a network of one process; `path`, its network.yaml; `url`, where agents come in."""

    def __init__(
        self, wanted: Wanted | None, network: AgentNetwork, *, path: Path, url: str, tell: Callable[[Fact], None]
    ) -> None:
        self.host: Host | None = None
        self.started: HostsStarted | None = None
        """Where there are several hosts, once others may ask this one."""
        self.on_secrets: Callable[..., None] = lambda *secrets: None
        """Told what must not be shown: the passwords of the engine."""
        self.api = HostsApi(self)
        """Answers what people ask at other hosts."""
        self.moving: Moving | None = None
        self._wanted, self._network, self._path = wanted, network, path
        self._url, self._tell = url, tell
        # An id that another host knows must not be given away before that is heard.
        self._joined = None if wanted is None else network.expect_others()

    async def begin(self) -> None:
        """Find the engine and the other hosts, before the mods are loaded. Raises what `Host.begin` raises."""
        if self._wanted is None:
            return
        from devserver.hosts.host import Host  # an extra: not installed for one host

        folder = self._path.parent / ".oa-dev" / "hosts"
        host = self.host = Host(
            self._wanted, self._network, folder=folder, path=self._path, url=self._url, tell=self._tell
        )
        if self._wanted.is_author:
            self._network.engine.on_config.append(lambda config: host.settings_changed())
        await host.begin()
        if self._joined is not None:
            self._joined.set()
        self.on_secrets(*host.secrets)

    async def open(self) -> None:
        """Let others ask, once the mods are loaded."""
        if self.host is not None:
            self.host.requests.answer = partial(self._answer, self.host)
            self.started = await self.host.open()

    async def _answer(self, host: Host, asked: Asked) -> Answer:
        given = await self.api.answer(asked.path, asked.by, asked.body, asked.query)
        if asked.path in COMMANDS:
            # Before the answer: the asker looks, and finds the mods that run here.
            await host.rooms.publish_if_possible()
        return given

    async def end(self) -> None:
        """Leave the others; an engine that this workspace has started ends."""
        if self.host is not None:
            await self.host.end()

    def note(self, fact: Fact) -> None:
        """Tell others of mods that have changed. From any thread."""
        if self.host is not None and isinstance(fact, PlanDone | Outcome):
            self.host.mods_changed()

    # What people ask

    @property
    def name(self) -> str:
        """The name of this host; empty in a network of one process."""
        return "" if self.host is None else self.host.name

    @property
    def author(self) -> str:
        """The host that has network.yaml."""
        return "" if self.host is None else self.host.author

    @property
    def allows(self) -> bool:
        """Whether people at other hosts may ask this one."""
        return self._network.config.host_commands

    async def ask(self, host: str, path: str, request: Request) -> Answer:
        assert self.host is not None, "a network of one process asks no other host"
        given = await self.host.requests.ask(host, path, request.body, request.query)
        with suppress(DevServerError):  # without an engine, this host knows what it knew
            await self.host.rooms.look()
        return given

    async def read(self, host: str, path: str, request: Request) -> Answer:
        assert self.host is not None, "a network of one process asks no other host"
        return await self.host.requests.read(host, path, request.query)

    async def move(self, mod: str, to: str) -> dict[str, Any]:
        """Bring a mod to another host. Raises Malformed where it cannot be tried."""
        rows = self.rows()
        if rows is None or self.moving is None:
            raise Malformed("one_host", "this network has one host; start it with: oa-dev run --hosts", 409)
        there = {each["host"] for each in rows["hosts"] if each["state"] != "away"}
        return await self.moving.move(mod, to, here=self.name, hosts=there)

    def rows(self) -> dict[str, Any] | None:
        """Return the engine and the hosts; None in a network of one process."""
        return None if self.host is None else self.host.rows()
