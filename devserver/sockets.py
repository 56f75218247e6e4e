"""Binds the port that the network listens on. Owns the choice of the next free one and nothing else."""

from __future__ import annotations

import errno
import socket

from devserver.errors import PortInUse

MOST_TRIES = 20
_BACKLOG = 2048


def bind(host: str, port: int, *, strict: bool) -> socket.socket:
    """A listening socket on `host`, on `port` or, unless `strict`, the next free one; port 0 takes any.

    Raises PortInUse where none is free, OSError for a host that is not ours.
    """
    for candidate in (port,) if strict or port == 0 else range(port, min(port + MOST_TRIES, 65536)):
        try:
            return _listen(host, candidate)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
    raise PortInUse(host, port)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(_BACKLOG)
    except OSError:
        listening.close()
        raise
    listening.setblocking(False)
    return listening


def url_of(listening: socket.socket) -> str:
    """The address of a listening socket as people open it."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
