"""What was asked of a host: its name, the engine, whether it reads network.yaml."""

from __future__ import annotations

import platform
from dataclasses import dataclass

from devserver.hosts.credentials import Credentials
from devserver.hosts.names import as_host_name


@dataclass(frozen=True, slots=True)
class Wanted:
    """`url` and `credentials`: of an engine that runs elsewhere; without them one is started. `writer`: of the author,
    where what hosts run is written. `is_author`: whether this host reads network.yaml."""

    name: str
    is_author: bool
    url: str = ""
    credentials: Credentials | None = None
    writer: Credentials | None = None
    take_authorship: bool = False


def own_name() -> str:
    """Return the name of a host that was given none: that of its machine."""
    return as_host_name(platform.node().partition(".")[0])
