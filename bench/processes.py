"""Processes that are measured: started, asked until they answer, watched from outside, ended."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

_START_SECONDS = 30.0
_END_SECONDS = 10.0


def free_port() -> int:
    """A port that no one listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(command: Sequence[str], folder: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process for as long as the context lasts, with all that it started. Its output goes nowhere."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    process = subprocess.Popen(
        list(command),
        cwd=folder,
        env={**kept, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        _kill(process)


def interrupt(process: subprocess.Popen[bytes]) -> None:
    """End a process as Ctrl-C does, and wait for it; by force where it does not come to an end."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_END_SECONDS)
    _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started, some of which lead groups of their own."""
    # Who is stopped starts no one while the list is made.
    _signal(family(process.pid), signal.SIGSTOP)
    _signal(family(process.pid), signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _signal(pids: Sequence[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    """Return when someone listens. Raises RuntimeError where the process ends before, or does not come."""
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.002)
    raise RuntimeError(f"{process.args!r} does not listen on {port}")


def wait_until(true: Callable[[], bool], what: str, seconds: float = _START_SECONDS, every: float = 0.002) -> None:
    """Return when something is so, looked at so often. Raises RuntimeError where it does not become so."""
    until = time.monotonic() + seconds
    while not true():
        if time.monotonic() > until:
            raise RuntimeError(f"{what}: not within {seconds:g} s")
        time.sleep(every)


def family(pid: int) -> list[int]:
    """A process and all its descendants, whichever of its threads has started them."""
    children: list[str] = []
    with contextlib.suppress(OSError):
        for each in Path(f"/proc/{pid}/task").glob("*/children"):
            children += each.read_text(encoding="ascii").split()
    return [pid, *(each for child in children for each in family(int(child)))]


def resident_mb(pid: int) -> float:
    """Resident memory of a process and its descendants in MB."""
    pages = sum(int(Path(f"/proc/{each}/statm").read_text().split()[1]) for each in family(pid))
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def cpu_seconds(pid: int) -> float:
    """Processor time that a process and its descendants have used, in seconds."""
    return sum(_ticks(each) for each in family(pid)) / os.sysconf("SC_CLK_TCK")


def _ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
