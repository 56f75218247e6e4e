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
    """Return the result of `work`, by way of JSON of at most so many bytes.

    Raises Failed without a result within `seconds`.
    """
    reap(sandbox)
    reading, writing = os.pipe()
    own = os.getpid()
    try:
        with sandbox.forking():
            pid = os.fork()
        if pid == 0:
            sandbox.forks = False
            _work(work, writing, own, most)
        os.close(writing)
        writing = -1
        try:
            data = _result(reading, time.monotonic() + seconds)
        except Failed:
            with sandbox.forking():
                os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise Failed(f"did not end within {seconds:g} s") from None
        how = 0
        if data.endswith(_WHOLE):
            # Its end takes as long as the event: giving back the memory that it has written to.
            sandbox.ending.append(pid)
        else:
            how = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    finally:
        os.close(reading)
        if writing >= 0:
            os.close(writing)
    return _read(data, how, most)


def done_here(work: Callable[[], Any], most: int = MOST_BYTES) -> Any:
    """Return the result of `work` as `forked` does, without a fork. Raises Failed.

    For a process that ends afterwards; an endless loop is ended with it.
    """
    limit_memory()
    return _read(_answered(work), 0, most)


def reap(sandbox: Sandbox) -> None:
    """Wait for the ends of forks that have given their results."""
    while sandbox.ending:
        os.waitpid(sandbox.ending.pop(), 0)


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
