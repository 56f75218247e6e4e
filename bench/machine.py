"""Names the machine and the versions that results belong to."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = ("oa-dev", "watchfiles", "httptools", "websockets", "orjson")


def description() -> str:
    """One paragraph: processor, cores, memory, system, Python and packages."""
    packages = ", ".join(f"{name} {_version(name)}" for name in _PACKAGES)
    hardware = f"{_processor()}, {os.cpu_count()} cores, {_memory()} GiB"
    return f"{hardware}; {platform.system()} {platform.release()}; Python {platform.python_version()}; {packages}."


def load() -> str:
    """How many processes wanted to run in the last minute."""
    return f"{os.getloadavg()[0]:.1f}"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "(none)"


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**30
