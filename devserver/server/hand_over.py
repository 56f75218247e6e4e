"""Hands a command over to the fork server of the network that runs here, which has imported what the command needs.

A fork of it carries the command out with the folder, environment and outputs of this process (`server/taken_over`).
Linux only. Imports next to nothing, which is its purpose.
"""

from __future__ import annotations

import json
import os
import stat
import sys

# Without Python's own module for sockets, which takes longer to import than all of this.
from _socket import AF_UNIX, SHUT_WR, SO_PEERCRED, SOCK_SEQPACKET, SOL_SOCKET, socket
from signal import SIGINT, default_int_handler, getsignal, signal

import devserver

RUN_FILE = ".oa-dev/run.json"
STALE, BEGUN = b"stale", b"begun"
"""The first word of a fork: it would not do what this process does, or it begins. Then follows its exit code."""
_SCM_RIGHTS = 1
_PATIENCE = 5.0
"""Seconds after which this process does it itself, if no fork has begun."""
_MOST = 64 * 1024


def hand_over(arguments: list[str]) -> int | None:
    """Have a command carried out, and return its exit code; None where this process has to do it: nothing was done.

    Ctrl-C is handed on: the fork takes back what it has begun, and tells how it ended.
    """
    line = socket(AF_UNIX, SOCK_SEQPACKET)
    before = getsignal(SIGINT)

    def interrupted(*_: object) -> None:
        # Another one ends this process alone.
        signal(SIGINT, default_int_handler)
        try:
            line.shutdown(SHUT_WR)
        except OSError:
            # It is not connected yet.
            raise KeyboardInterrupt from None

    try:
        # Before the command is sent: a fork may begin at once.
        if before is default_int_handler:
            signal(SIGINT, interrupted)
        if not (_connected(line, arguments) and _has_begun(line)):
            if getsignal(SIGINT) is not interrupted and before is default_int_handler:
                raise KeyboardInterrupt
            return None
        code = line.recv(_MOST)
        if not code:
            print("error: the process that carried this out was ended", file=sys.stderr)
        return int(code or 1)
    finally:
        # A fork that has not begun hears this, and does nothing.
        line.close()
        if before is default_int_handler:
            signal(SIGINT, before)


def _has_begun(line: socket) -> bool:
    try:
        begun = line.recv(_MOST) == BEGUN
        line.settimeout(None)
        return begun
    except OSError:  # then the command does it itself
        return False


def _connected(line: socket, arguments: list[str]) -> bool:
    """Connect, and say what is to be carried out."""
    try:
        found = _found()
        if found is None:
            return False
        line.settimeout(_PATIENCE)
        line.connect(b"\0" + found["at"].encode())
        peer = line.getsockopt(SOL_SOCKET, SO_PEERCRED, 12)
        # Any user of the machine may listen under that name once the server has ended.
        if int.from_bytes(peer[4:8], sys.byteorder) != os.geteuid():
            return False
        outputs = b"".join(each.to_bytes(4, sys.byteorder) for each in (1, 2))
        line.sendmsg([json.dumps(_asked(arguments, found["secret"])).encode()], [(SOL_SOCKET, _SCM_RIGHTS, outputs)])
        return True
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        # Without a run file, or with a damaged one: this process tells it.
        return False


def _found() -> dict[str, str] | None:
    """Return where the fork server listens, and its secret: from the private run file beside the nearest network.yaml.

    Raises OSError, ValueError and others where it is missing or cannot be believed.
    """
    folder, me = os.getcwd(), os.geteuid()
    while not os.path.exists(f"{folder}/network.yaml"):
        above = os.path.dirname(folder)
        if above == folder or os.stat(above).st_uid != me:
            return None
        folder = above
    handle = os.open(f"{folder}/{RUN_FILE}", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        found = os.fstat(handle)
        # Others may have written it, or read the secret.
        if not stat.S_ISREG(found.st_mode) or found.st_uid != me or stat.S_IMODE(found.st_mode) != 0o600:
            return None
        commands: dict[str, str] | None = json.loads(os.read(handle, _MOST)).get("commands")
        return commands
    finally:
        os.close(handle)


def _asked(arguments: list[str], secret: str) -> dict[str, object]:
    umask = os.umask(0o077)
    os.umask(umask)
    return {
        "secret": secret,
        "code": code_of_commands(),
        "arguments": arguments,
        "folder": os.getcwd(),
        "is_folder": folder_now(),
        "environ": dict(os.environ),
        "umask": umask,
    }


def code_of_commands() -> list[str]:
    """Return what tells a command's code: the interpreter, and where this package lies."""
    return [sys.executable, *devserver.__path__]


def folder_now() -> list[int]:
    """Return what tells the working directory from others, also where a path means another one."""
    found = os.stat(".")
    return [found.st_dev, found.st_ino]
