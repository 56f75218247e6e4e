"""Runs a function in a fork of this process, so that none of its effects stay."""

from __future__ import annotations

import json
import os
import select
import signal
import time
from collections.abc import Callable
from typing import Any

from devserver.replay.sandbox import Sandbox, end_with_parent, limit_memory

MOST_BYTES = 16 * 1024 * 1024
"""The longest result."""
_WHOLE = b"\n"
"""What a result ends with that is there to its last byte."""


class Failed(Exception):
    """The fork gave no result. The text says why, as in "did not end within 5 s"."""


def forked(sandbox: Sandbox, work: Callable[[], Any], seconds: float, most: int = MOST_BYTES) -> Any:
    """Return the result of `work`, as bounded JSON. Raises Failed if it takes too long."""
    return _Fork(sandbox, work, most).result(seconds)


class Spare:
    """A fork that is made before its order comes, so that no event waits for the fork. `prepare`
    runs in the fork at once, and returns what carries an order out."""

    def __init__(self, sandbox: Sandbox, prepare: Callable[[], Callable[[bytes], Any]]) -> None:
        taking, self._giving = os.pipe()

        def wait() -> Any:
            # Its own copy would keep it waiting after the end of this process.
            os.close(self._giving)
            carry_out = prepare()
            order = os.read(taking, select.PIPE_BUF)
            return carry_out(order) if order else None

        try:
            self._fork = _Fork(sandbox, wait, MOST_BYTES)
        except OSError:
            os.close(self._giving)
            raise
        finally:
            os.close(taking)

    def give(self, order: bytes) -> bool:
        """Give it its order, of at most PIPE_BUF bytes; return whether it was still there to take it. Only once."""
        try:
            os.write(self._giving, order)
        except BrokenPipeError:
            return False
        finally:
            os.close(self._giving)
        return True

    def result(self, seconds: float) -> Any:
        """Return the result of its order as `forked` does."""
        return self._fork.result(seconds)

    def end(self) -> None:
        """End it without an order."""
        os.close(self._giving)
        self._fork.kill()


class _Fork:
    """A process that works, and its result."""

    def __init__(self, sandbox: Sandbox, work: Callable[[], Any], most: int) -> None:
        reap(sandbox)
        self._sandbox, self._most = sandbox, most
        self._reading, writing = os.pipe()
        own = os.getpid()
        try:
            with sandbox.forking():
                self._pid = os.fork()
            if self._pid == 0:
                sandbox.forks = False
                _work(work, writing, own, most)
        except OSError:
            os.close(self._reading)
            raise
        finally:
            os.close(writing)

    def result(self, seconds: float) -> Any:
        """Wait for the result. Raises Failed."""
        try:
            data = _result(self._reading, time.monotonic() + seconds)
        except Failed:
            self.kill()
            raise Failed(f"did not end within {seconds:g} s") from None
        os.close(self._reading)
        how = 0
        if data.endswith(_WHOLE):
            # Its end takes as long as the event: giving back the memory that it has written to.
            self._sandbox.ending.append(self._pid)
        else:
            how = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        return _read(data, how, self._most)

    def kill(self) -> None:
        """End it."""
        os.close(self._reading)
        with self._sandbox.forking():
            os.kill(self._pid, signal.SIGKILL)
        self._sandbox.ending.append(self._pid)


def done_here(work: Callable[[], Any], most: int = MOST_BYTES) -> Any:
    """Return the result of `work` as `forked` does, without a fork. Raises Failed. For a process
    that ends afterwards; an endless loop is ended with it."""
    limit_memory()
    return _read(_answered(work), 0, most)


def reap(sandbox: Sandbox) -> None:
    """Note the forks that have given their results, or were killed, and have ended since."""
    sandbox.ending[:] = [each for each in sandbox.ending if not os.waitpid(each, os.WNOHANG)[0]]


def _read(data: bytes, how: int, most: int) -> Any:
    if how < 0:
        raise Failed(f"ended the process ({signal.Signals(-how).name})")
    if how or not data:
        raise Failed(f"ended the process (exit {how})")
    if len(data) >= most:
        raise Failed(f"did more than can be compared ({most // 1024 // 1024} MiB)")
    answer = json.loads(data)
    if "failed" in answer:
        raise Failed(answer["failed"])
    return answer["result"]


def _work(work: Callable[[], Any], writing: int, parent: int, most: int) -> None:
    """Work and exit: the code after the fork belongs to the parent alone."""
    code = 1
    try:
        if not end_with_parent(parent):
            return
        limit_memory()
        result = _answered(work)
        view = memoryview(result[:most] if len(result) >= most else result + _WHOLE)
        while view:
            view = view[os.write(writing, view) :]
        code = 0
        os.close(writing)
    finally:
        os._exit(code)


def _answered(work: Callable[[], Any]) -> bytes:
    try:
        answer = {"result": work()}
    except TimeoutError:
        answer = {"failed": "did not end in time"}
    except MemoryError:
        answer = {"failed": "wanted more than 2 GiB of memory"}
    except BaseException as error:
        # SystemExit too: a process ends in no other way than by its answer.
        answer = {"failed": f"{type(error).__name__}: {error}"}
    return json.dumps(answer).encode()


def _result(reading: int, latest: float) -> bytes:
    """Return everything up to the end of a pipe. Raises Failed if it does not come in time."""
    pieces: list[bytes] = []
    poll = select.poll()
    poll.register(reading, select.POLLIN)
    while True:
        left = latest - time.monotonic()
        if left <= 0 or not poll.poll(left * 1000):
            raise Failed
        piece = os.read(reading, 1 << 16)
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)
