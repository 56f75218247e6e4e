"""Carries out commands that other processes of this user hand over (`server/hand_over`): each in a fork of its own.

The fork is such a process in all that counts: it has its folder, environment, umask and outputs, it ends when that
process is interrupted, and it goes on when the server ends or is replaced. The server takes no part.
"""

from __future__ import annotations

import hmac
import io
import json
import os
import secrets
import signal
import socket
import struct
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NoReturn

from devserver.loader.installed import changed_since
from devserver.server.aside import become
from devserver.server.hand_over import BEGUN, STALE, code_of_commands, folder_now

_PATIENCE = 5.0
"""Seconds in which a process has to say what it hands over."""
_MOST = 1 << 20
_QUEUE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Commands:
    """How commands are carried out: `run` returns the exit code of one, `prepare` imports what they need."""

    run: Callable[[list[str]], int]
    prepare: Callable[[], None]
    listener: socket.socket = field(default_factory=lambda: _listener())
    secret: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)

    @property
    def told(self) -> dict[str, str]:
        """Return what the run file tells of it."""
        # Under a name of the kernel's: no path is too long, and it is reached from where the server's port is.
        return {"at": self.listener.getsockname()[1:].decode(), "secret": self.secret}

    def accept(self) -> socket.socket | None:
        """Return the line to a process of this user that hands something over. Never waits."""
        try:
            line, _ = self.listener.accept()
        except OSError:  # the other process has gone again
            return None
        _, user, _ = struct.unpack("3i", line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
        if user == os.geteuid():
            return line
        line.close()
        return None

    def carry_out(self, line: socket.socket, fits: Callable[[Mapping[str, str]], bool], began: float) -> NoReturn:
        """Do what is handed over, or say that it is not the same here; the end of this process."""
        line.settimeout(_PATIENCE)
        message, descriptors, _, _ = socket.recv_fds(line, _MOST, 2)
        asked = json.loads(message)
        known = hmac.compare_digest(str(asked.get("secret")).encode(), self.secret.encode())
        if not known or asked["code"] != code_of_commands() or not fits(asked["environ"]) or changed_since(began):
            line.send(STALE)
            os._exit(0)
        become(asked["folder"], asked["environ"])
        if folder_now() != asked["is_folder"]:
            line.send(STALE)
            os._exit(0)
        os.umask(asked["umask"])
        _take_outputs(descriptors)
        sys.argv[:] = ["oa-dev", *asked["arguments"]]
        signal.signal(signal.SIGINT, signal.default_int_handler)
        line.settimeout(None)
        line.send(BEGUN)
        code = 1
        try:
            threading.Thread(target=_interrupt_after, args=(line,), daemon=True).start()
            code = self.run(asked["arguments"])
        except KeyboardInterrupt:
            # Before it has begun, or after it has ended.
            code = 128 + signal.SIGINT
        except Exception:  # as the end of an interpreter tells it
            traceback.print_exc()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):  # its reader may be gone; the code still counts
                stream.flush()
        with suppress(OSError):  # and so may the other process
            line.send(b"%d" % code)
        os._exit(code)


def _listener() -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind("")
    listener.listen(_QUEUE)
    listener.setblocking(False)
    return listener


def _take_outputs(descriptors: list[int]) -> None:
    for own, given in enumerate(descriptors, start=1):
        os.dup2(given, own)
        os.close(given)
    for own, name in ((1, "stdout"), (2, "stderr")):
        before = getattr(sys, f"__{name}__")
        raw = io.FileIO(own, "w", closefd=False)
        written = io.TextIOWrapper(io.BufferedWriter(raw), before.encoding, "backslashreplace", line_buffering=True)
        setattr(sys, name, written)


def _interrupt_after(line: socket.socket) -> None:
    """Interrupt this process once the other one has ended, or has been interrupted."""
    with suppress(OSError):  # a reset is an end, too
        line.recv(1)
    os.kill(os.getpid(), signal.SIGINT)
