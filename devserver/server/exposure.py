"""Access from other machines: the token that their agents show, and the fact that tells it.

Decides nothing about a request: the gate does. Opens no socket.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from devserver.model.facts import Exposed
from devserver.server.runfile import FOLDER, read_private, write_private
from devserver.server.sockets import heard_addresses

if TYPE_CHECKING:
    import socket

NAME = "join_token"
SHORTEST = 16
"""A shorter token in the file was put there by others, and can be guessed."""

_MOST_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Exposure:
    """The names for access from other machines, and their agents' token; neither without access."""

    names: tuple[str, ...] = ()
    join_token: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, names: tuple[str, ...], workspace: Path) -> Exposure:
        """Return that of a run. Raises DevServerError or OSError if the token cannot be kept."""
        return cls(names, kept_token(workspace)) if names else cls()

    def told(self, listening: socket.socket) -> Exposed | None:
        """Return what a person has to know; None without access from other machines."""
        if self.join_token is None:
            return None
        port = int(listening.getsockname()[1])
        addresses = tuple(_with_port(each, port) for each in heard_addresses(listening))
        urls = tuple(f"http://{_with_port(each, port)}" for each in self.names)
        return Exposed(addresses, urls, self.join_token, f"{FOLDER}/{NAME}")


def kept_token(workspace: Path) -> str:
    """Return the join token of a workspace, the same in every run: no restart locks an agent out.

    Raises DevServerError for a file that others could have written or read.
    """
    kept = (read_private(workspace, NAME, _MOST_BYTES) or b"").decode("ascii", "replace").strip()
    if len(kept) >= SHORTEST:
        return kept
    token = secrets.token_urlsafe(24)
    write_private(workspace, NAME, token + "\n")
    return token


def _with_port(name: str, port: int) -> str:
    if name.count(":") > 1 and not name.startswith("["):
        return f"[{name}]:{port}"
    return name if ":" in name.rpartition("]")[2] else f"{name}:{port}"
