"""The listening sockets of a run: of the image before, of its supervisor, or new ones; their
addresses, and the process that has a port which is wanted."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from devserver.errors import CannotListen, PortInUse
from devserver.model.facts import Notice
from devserver.model.names import is_loopback

if TYPE_CHECKING:
    # What only binds a port imports none of this.
    from devserver.model.config import NetworkConfig
    from devserver.server.before import Before
    from devserver.server.run_options import RunOptions
    from devserver.ui.face import Face

MOST_TRIES = 20
_BACKLOG = 2048
_ANYWHERE = {socket.AF_INET: ("192.0.2.1", 9), socket.AF_INET6: ("2001:db8::1", 9)}
"""Addresses of documentation, without hosts: the route to them shows our own address."""


def bind(host: str, port: int, *, strict: bool) -> socket.socket:
    """Return a listening socket on `host` and `port`, or unless `strict` the next free one; 0: any.

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
        # Else the connections of a server that has just ended would hold its port for a minute.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(_BACKLOG)
    except OSError:
        listening.close()
        raise
    listening.setblocking(False)
    return listening


def beside(listening: socket.socket) -> socket.socket | None:
    """Return a socket for this machine's own clients, if `listening` hears only one address.

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
    """Return the addresses of a socket; the one used to reach others stands for all of them.

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


def listening_sockets(options: RunOptions, config: NetworkConfig, face: Face) -> list[socket.socket]:
    """Return the sockets for the address that `config` names; the first hears that address.

    A second one is for agents of this machine, if the first hears only one address of the network.
    Raises PortInUse and CannotListen.
    """
    before = options.before
    if before is not None and before.is_wanted(config.host, config.port):
        return before.listening()
    if before is not None:
        return _instead(before, options, config, face)
    listening = options.supervised.listening(config.host, config.port)
    listening = listening or bind(config.host, config.port, strict=options.strict_port)
    return _with_own(listening)


def _instead(before: Before, options: RunOptions, config: NetworkConfig, face: Face) -> list[socket.socket]:
    """Listen on another address than before; keep the former one if the new one is not free."""
    try:
        heard = _with_own(bind(config.host, config.port, strict=options.strict_port))
    except (PortInUse, CannotListen) as error:
        kept = before.listening()
        face.tell(Notice(f"{error}; the earlier address is kept"))
        return kept
    # Only once the new one listens: a client that connects meanwhile reaches one of the two.
    before.close_listening()
    return heard


def _with_own(listening: socket.socket) -> list[socket.socket]:
    try:
        own = beside(listening)
    except BaseException:
        listening.close()
        raise
    return [listening] if own is None else [listening, own]


_PROC = Path("/proc")
_LISTENS = "0A"


def port_holder(port: int, proc: Path = _PROC) -> str:
    """Return what listens on `port`, as in `python (process 4711)`; nothing where that is not known: Linux shows it in
    /proc, but not for processes of other users."""
    wanted = {f"socket:[{inode}]" for inode in _inodes(port, proc)}
    if not wanted:
        return ""
    for process in proc.glob("[0-9]*"):
        if any(each in wanted for each in _open_files(process)):
            return f"{_name(process)} (process {process.name})"
    return ""


def _inodes(port: int, proc: Path) -> Iterator[str]:
    """Yield the sockets that listen on a port, by the numbers that the kernel gives them."""
    for table in ("net/tcp", "net/tcp6"):
        try:
            rows = (proc / table).read_text().splitlines()[1:]
        except OSError:  # without /proc, or without IPv6
            continue
        for row in rows:
            local, state, inode = (row.split()[n] for n in (1, 3, 9))
            if state == _LISTENS and int(local.rpartition(":")[2], 16) == port:
                yield inode


def _open_files(process: Path) -> Iterator[str]:
    try:
        with os.scandir(process / "fd") as files:
            for each in files:
                yield os.readlink(each.path)
    except OSError:
        return  # another user's, or it has ended meanwhile


def _name(process: Path) -> str:
    try:
        return (process / "comm").read_text().strip()
    except OSError:  # it has just ended
        return "a process"
