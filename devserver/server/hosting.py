"""This server as one host of several: nothing of `hosts` is imported unless that was asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from devserver.agent_network import AgentNetwork
from devserver.model.facts import Fact, HostsStarted, Outcome, PlanDone

if TYPE_CHECKING:
    from devserver.hosts.host import Host
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
        self._wanted, self._network, self._path = wanted, network, path
        self._url, self._tell = url, tell

    async def begin(self) -> None:
        """Find the engine and the other hosts, before the mods are loaded. Raises what `Host.begin` raises."""
        if self._wanted is None:
            return
        from devserver.hosts.host import Host

        folder = self._path.parent / ".oa-dev" / "hosts"
        host = self.host = Host(
            self._wanted, self._network, folder=folder, path=self._path, url=self._url, tell=self._tell
        )
        if self._wanted.is_author:
            self._network.engine.on_config.append(lambda config: host.settings_changed())
        await host.begin()
        self.on_secrets(*host.secrets)

    async def open(self) -> None:
        """Let others ask, once the mods are loaded."""
        if self.host is not None:
            self.started = await self.host.open()

    async def end(self) -> None:
        """Leave the others; an engine that this workspace has started ends."""
        if self.host is not None:
            await self.host.end()

    def note(self, fact: Fact) -> None:
        """Tell others of mods that have changed. From any thread."""
        if self.host is not None and isinstance(fact, PlanDone | Outcome):
            self.host.mods_changed()

    def rows(self) -> dict[str, Any] | None:
        """Return the engine and the hosts; None in a network of one process."""
        return None if self.host is None else self.host.rows()
