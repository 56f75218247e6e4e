"""Binds the port that the network listens on, and knows this machine's addresses. Reads nothing."""

from __future__ import annotations

import errno
import ipaddress
import socket

from devserver.errors import CannotListen, PortInUse
from devserver.model.names import is_loopback
from devserver.server.port_holder import port_holder

MOST_TRIES = 20
_BACKLOG = 2048
_ANYWHERE = {socket.AF_INET: ("192.0.2.1", 9), socket.AF_INET6: ("2001:db8::1", 9)}
"""Addresses of documentation, without hosts: the route to them shows our own address."""


def bind(host: str, port: int, *, strict: bool) -> socket.socket:
    """Return a listening socket on `host`, on `port` or, unless `strict`, the next free one; port 0
    takes any.

    Raises PortInUse if none is free, CannotListen for an address that is not ours or a port that we
    may not take.
    """
    for candidate in (port,) if strict or port == 0 else range(port, min(port + MOST_TRIES, 65536)):
        try:
            return _listen(host, candidate)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise CannotListen(f"cannot listen on {host}, port {candidate}: {error.strerror or error}") from error
    raise PortInUse(host, port, port_holder(port))


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


def beside(listening: socket.socket) -> socket.socket | None:
    """Return a socket for this machine's own agents and commands, if `listening` hears only one
    address of the network.

    It has the same port. Raises PortInUse if that is taken on the loopback address.
    """
    host, port = listening.getsockname()[:2]
    if is_loopback(host) or ipaddress.ip_address(host).is_unspecified:
        return None
    return bind(_loopback(listening), port, strict=True)


def url_of(listening: socket.socket) -> str:
    """Return the address of a listening socket as people on this machine open it."""
    host, port = listening.getsockname()[:2]
    host = _loopback(listening) if ipaddress.ip_address(host).is_unspecified else host
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def heard_addresses(listening: socket.socket) -> tuple[str, ...]:
    """Return the addresses at which a socket listens; the one that this machine uses to reach
    others stands for all of them.

    Sends nothing.
    """
    host, _ = listening.getsockname()[:2]
    if not ipaddress.ip_address(host).is_unspecified:
        return (host,)
    with socket.socket(listening.family, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect(_ANYWHERE[listening.family])
        except OSError:
            return (host,)  # this machine has no network
        return (host, asking.getsockname()[0])


def _loopback(listening: socket.socket) -> str:
    return "::1" if listening.family == socket.AF_INET6 else "127.0.0.1"
