"""A process that has imported oa-dev and no mod, and forks: what is tried in a fresh process starts there at once.

It is forked from the server before that has a thread, a listening socket or a mod. It has a session of its own, holds
nothing of the server's, and ends with it. It forks only while what it has imported is what is on disk. Commands
of this user hand their work over to it, too (`server/taken_over`).
"""

from __future__ import annotations

import faulthandler
import gc
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from devserver.loader.installed import changed_since
from devserver.server.image import hear_signals

if TYPE_CHECKING:
    from devserver.server.taken_over import Commands

STALE = b"stale"
"""The answer where something that the fork server has imported is another on disk."""
_READ_ONCE = ("PYTHON", "LD_", "DYLD_", "LC_", "LANG")
"""How the names of variables begin that a process reads when it starts, and never again."""
_LOOKS = 2
"""Seconds after which the fork server looks whether the server is still there."""
_QUIET_LOOKS = 2
"""After so many looks without work, what commands need is imported."""
_TAKEN_OVER = frozenset({"PYTHONDONTWRITEBYTECODE"})

Work = Callable[[int, int, int], NoReturn]
"""What a fork does, given the descriptors of its request, of its results and of what it says of errors."""


class ForkServer:
    """The server's side of it. `begin` makes one."""

    def __init__(self, pid: int, control: socket.socket, commands: Mapping[str, str]) -> None:
        self.pid = pid
        self.commands = commands
        """Where commands find it, and what they have to know; empty where it takes none."""
        self._control = control
        self._environ = dict(os.environ)

    @classmethod
    def begin(
        cls, work: Work, began: float, before: int | None = None, commands: Callable[[], Commands] | None = None
    ) -> ForkServer | None:
        """Fork it from this process; None where that cannot be done. To be called before there is another thread.

        `began`: when this image began to import, in seconds since 1970; `before`: the pid of the fork server of the
        image before this one, which has ended with it; `commands`: how commands that are handed over are carried out.
        """
        if before is not None:
            with suppress(ChildProcessError):
                os.waitpid(before, os.WNOHANG)
        if sys.platform != "linux" or threading.active_count() > 1:
            return None
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            os.close(os.pidfd_open(os.getpid()))  # which not every kernel knows
            taken = commands() if commands is not None else None
            pid = os.fork()
        except OSError:
            return None
        if pid == 0:
            _live(theirs, work, began, taken)
        theirs.close()
        if taken is None:
            return cls(pid, ours, {})
        with taken.listener:
            return cls(pid, ours, taken.told)

    def fits(self, environ: Mapping[str, str]) -> bool:
        """Return whether a fork with this environment is what a fresh start with it would be."""
        return _fits(self._environ, environ)

    def fork(self, request: int, results: int, errors: int) -> socket.socket:
        """Have it fork for a request; the line on which STALE or the code of its end comes, as text.

        The line ends without a word where the fork server is gone. Who closes it ends the fork. Raises OSError.
        """
        line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                socket.send_fds(self._control, [b"."], [request, results, errors, theirs.fileno()])
            except OSError:
                line.close()
                raise
        return line

    def end(self) -> None:
        """End it, and take what it leaves to its parent."""
        # Not by closing: processes that mods have forked hold the same socket.
        with suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)
        with suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


def _fits(environ: Mapping[str, str], other: Mapping[str, str]) -> bool:
    differing = {name for name, _ in environ.items() ^ other.items()}
    return not any(name.startswith(_READ_ONCE) for name in differing - _TAKEN_OVER)


# In the process of its own


def _live(control: socket.socket, work: Work, began: float, commands: Commands | None) -> NoReturn:
    """Be the fork server, until the server is gone."""
    try:
        # It is not a process of a mod, and no signal of the terminal is meant for it.
        os.setsid()
        os.chdir("/")
        faulthandler.disable()
        hear_signals()
        _close_all_but([control.fileno(), *((commands.listener.fileno(),) if commands is not None else ())])
        # Collections of the forks do not look at what stays for good.
        gc.freeze()
        _Forks(control, work, began, commands).serve()
    finally:
        os._exit(0)


def _close_all_but(kept: Iterable[int]) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    for each in range(3):
        os.dup2(nothing, each)
    begin = 3
    for each in sorted(kept):
        os.closerange(begin, each)
        begin = each + 1
    os.closerange(begin, os.sysconf("SC_OPEN_MAX"))


@dataclass(frozen=True, slots=True)
class _Fork:
    pid: int
    ended: int
    """A descriptor that can be read once the process has ended."""
    line: socket.socket | None
    """Where it is told how that one has ended; None for a command, which tells it itself."""


class _Forks:
    """The forks that run."""

    def __init__(self, control: socket.socket, work: Work, began: float, commands: Commands | None) -> None:
        self._control = control
        self._work = work
        self._began = began
        self._commands = commands
        self._quiet_looks = 0
        self._is_prepared = commands is None
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN)
        if commands is not None:
            self._poll.register(commands.listener, select.POLLIN)
        self._running: dict[int, _Fork] = {}
        self._parent = os.getppid()

    def serve(self) -> None:
        """Fork for each request, until the server is gone; end what runs then."""
        while True:
            reported = self._poll.poll(_LOOKS * 1000)
            if os.getppid() != self._parent:
                # Killed, while a process that a mod has forked holds the other end.
                break
            if not reported:
                self._quiet_looks += 1
                if self._quiet_looks >= _QUIET_LOOKS:
                    self._prepare()
                continue
            # One at a time: what else was reported may be of the same fork.
            descriptor = reported[0][0]
            fork = self._running.get(descriptor)
            if self._commands is not None and descriptor == self._commands.listener.fileno():
                self._take(self._commands)
            elif fork is None:
                message, descriptors, _, _ = socket.recv_fds(self._control, 1, 4)
                if not message:
                    break
                self._begin(descriptors)
            elif descriptor == fork.ended:
                self._end(fork)
            else:
                self._poll.unregister(descriptor)
                # The asker has gone, and with it the use of the results.
                os.kill(fork.pid, signal.SIGKILL)
        # Commands go on: they are of other processes, and may wait for what comes after this server.
        for pid in {each.pid for each in self._running.values() if each.line is not None}:
            os.kill(pid, signal.SIGKILL)

    def _prepare(self) -> None:
        """Import what commands need: not while the server starts, because it takes a fifth of a second."""
        if self._is_prepared or self._commands is None:
            return
        self._is_prepared = True
        # A command meets the same problem, and tells it.
        with suppress(Exception):
            self._commands.prepare()
        gc.freeze()

    def _take(self, commands: Commands) -> None:
        """Fork for a command that is handed over."""
        line = commands.accept()
        if line is None:
            return
        self._prepare()
        with line:
            pid = os.fork()
            if pid == 0:
                self._carry_out(commands, line)
        ended = os.pidfd_open(pid)
        self._running[ended] = _Fork(pid, ended, None)
        self._poll.register(ended, select.POLLIN)

    def _carry_out(self, commands: Commands, line: socket.socket) -> NoReturn:
        try:
            _close_all_but([line.fileno()])
            environ = dict(os.environ)
            commands.carry_out(line, lambda other: _fits(environ, other), self._began)
        finally:
            os._exit(1)  # what follows is the fork server's own

    def _begin(self, descriptors: list[int]) -> None:
        *given, last = descriptors
        line = socket.socket(fileno=last)
        if changed_since(self._began):
            line.send(STALE)
            line.close()
        else:
            pid = os.fork()
            if pid == 0:
                self._do(given)
            fork = _Fork(pid, os.pidfd_open(pid), line)
            self._running[fork.ended] = self._running[last] = fork
            self._poll.register(fork.ended, select.POLLIN)
            self._poll.register(line, 0)
        for each in given:
            os.close(each)

    def _do(self, given: list[int]) -> NoReturn:
        try:
            _close_all_but(given)
            for each in given:
                os.set_inheritable(each, False)
            self._work(*given)
        finally:
            os._exit(1)  # what follows is the fork server's own

    def _end(self, fork: _Fork) -> None:
        _, status = os.waitpid(fork.pid, 0)
        for descriptor in (fork.ended, *((fork.line.fileno(),) if fork.line is not None else ())):
            del self._running[descriptor]
            with suppress(KeyError):
                self._poll.unregister(descriptor)
        if fork.line is not None:
            with suppress(OSError):  # the process that waits may have gone
                fork.line.send(b"%d" % os.waitstatus_to_exitcode(status))
            fork.line.close()
        os.close(fork.ended)
