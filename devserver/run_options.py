"""What is asked of one run of a network, wherever that was said: on the command line, in the environment, in a file."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from devserver.model.config import NetworkConfig
from devserver.settings import Settings
from devserver.supervised import Supervised


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What a run is asked for. `path` is the network.yaml; host and port None mean what that says."""

    path: Path
    host: str | None = None
    port: int | None = None
    strict_port: bool = False
    watch: bool = True
    keys: bool = True
    confirm: bool = False
    settings: Settings | None = None
    supervised: Supervised = field(default_factory=Supervised)

    def with_address(self, config: NetworkConfig) -> NetworkConfig:
        """What network.yaml asks for, with the address of this run."""
        host = config.host if self.host is None else self.host
        return replace(config, host=host, port=config.port if self.port is None else self.port)
