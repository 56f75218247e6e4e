"""The listening sockets of a run: of the image before, of its supervisor, or new ones."""

from __future__ import annotations

import socket

from devserver.errors import CannotListen, PortInUse
from devserver.model.config import NetworkConfig
from devserver.model.facts import Notice
from devserver.server.before import Before
from devserver.server.run_options import RunOptions
from devserver.server.sockets import beside, bind
from devserver.ui.face import Face


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
