"""The options of one run of a network, from the command line, the environment or a file."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from devserver.config.settings import Settings
from devserver.model.config import DEFAULT_PORT, NetworkConfig
from devserver.model.names import LOOPBACK
from devserver.server.before import Before
from devserver.server.fork_server import ForkServer
from devserver.server.image import Image
from devserver.server.supervised import Supervised

if TYPE_CHECKING:
    from devserver.hosts.wanted import Wanted


@dataclass(frozen=True, slots=True)
class RunOptions:
    """The options of a run. `path` is the network.yaml; host and port None mean those of that.
    `allow_host`: the names for access from other machines; none without it."""

    path: Path
    host: str | None = None
    allow_host: tuple[str, ...] = ()
    port: int | None = None
    strict_port: bool = False
    watch: bool = True
    watch_paths: tuple[str, ...] = ()
    keys: bool = True
    confirm: bool = False
    open_page: bool = False
    record: bool = False
    """Whether a session is recorded."""
    studio: bool | None = None
    hosts: Wanted | None = None
    """Whether this is one host of several, and which."""
    settings: Settings | None = None
    supervised: Supervised = field(default_factory=Supervised)
    image: Image = field(default_factory=Image)
    before: Before | None = None
    """What the image before this one has left, after a restart in place."""
    forks: ForkServer | None = None
    """Forks for what is tried in a fresh process."""

    def overridden(self, config: NetworkConfig) -> tuple[str, ...]:
        """Return the address in network.yaml that this run does not use, in words; nothing of the usual one, which
        need not be in the file."""
        pairs = (("host", config.host, self.host, LOOPBACK), ("port", config.port, self.port, DEFAULT_PORT))
        return tuple(
            f"network.{name} {asked} does not count in this run, which was started with {name} {given}"
            for name, asked, given, usual in pairs
            if asked != usual and given is not None and given != asked
        )

    def with_address(self, config: NetworkConfig) -> NetworkConfig:
        """Return network.yaml with this run's address; from outside, secrets are verified."""
        host = config.host if self.host is None else self.host
        port = config.port if self.port is None else self.port
        return replace(config, host=host, port=port, verify_secrets=config.verify_secrets or bool(self.allow_host))
