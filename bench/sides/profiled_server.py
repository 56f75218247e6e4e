"""`oa-dev run` under a profile of all its threads: `python profiled_server.py RESULT ARGUMENT...`.

From SIGUSR1 on it counts, and with the next one it writes JSON into the file RESULT: the threads that requests go
through, and of each its stages with their seconds. So neither start nor end is in it.
"""

from __future__ import annotations

import cProfile
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

_STAGES = {
    "devserver/transports/http/gate": "the gate: who may ask, limits",
    "devserver/transports/http/http_connection": "the connection: HTTP",
    "devserver/transports/http/channel": "the connection: HTTP",
    "devserver/transports/http/serving": "the connection: HTTP",
    "httptools/": "the connection: HTTP",
    "devserver/transports/strict": "the wire: request to event, answer to response",
    "devserver/transports/http/": "the wire: request to event, answer to response",
    "devserver/model/": "the event and its answer",
    "devserver/network/agents": "who sends: identity, last seen",
    "devserver/network/agent.": "who sends: identity, last seen",
    "devserver/network/identity": "who sends: identity, last seen",
    "devserver/network/": "dispatch",
    "devserver/live/registry": "dispatch",
    "devserver/live/generation": "dispatch",
    "devserver/agent_network": "dispatch",
    "devserver/live/loops": "from thread to thread",
    "concurrent/futures": "from thread to thread",
    "asyncio/": "asyncio's loop and its sockets",
    "selectors": "asyncio's loop and its sockets",
    "/threading": "from thread to thread",
    "devserver/": "the rest of devserver",
    "mods/": "the handler itself",
}
_OTHERS = "other code"
_WAITING = ("select", "poll", "acquire", "sleep", "wait")

_THREADS = {"MainThread": "control", "oa-dev mods": "mods"}
profiles: dict[str, cProfile.Profile] = {}
_run = threading.Thread.run


def profiled(thread: threading.Thread) -> None:
    """What `Thread.run` is while a profile is taken."""
    if thread.name not in _THREADS:
        _run(thread)
        return
    profile = profiles[_THREADS[thread.name]] = cProfile.Profile()
    profile.enable()
    try:
        _run(thread)
    finally:
        profile.disable()


def begin(end: Callable[..., None]) -> None:
    """From now on it counts, until the next signal."""
    signal.signal(signal.SIGUSR1, end)
    for each in profiles.values():
        # Names of functions are not unique: to subtract an earlier state would mix up those of the start.
        each.clear()


def write(result: Path) -> None:
    """Write what was counted, at once."""
    found = {name: stages(each) for name, each in profiles.items()}
    beside = result.with_suffix(".part")
    beside.write_text(json.dumps(found))
    os.replace(beside, result)


def stages(profile: cProfile.Profile) -> dict[str, float]:
    """Seconds in each stage's own functions; C functions count where most of their time was called from."""
    profile.snapshot_stats()
    spent: dict[str, float] = {}
    for (file, _, name), (_, _, own, _, callers) in profile.stats.items():
        if file == "~":
            if any(word in name for word in _WAITING):
                continue
            for (caller, _, _), (_, _, inside, _) in callers.items():
                _add(spent, caller, inside)
        else:
            _add(spent, file, own)
    return spent


def _add(spent: dict[str, float], file: str, seconds: float) -> None:
    if file == __file__ or file.endswith("cProfile.py"):
        return
    stage = next((told for part, told in _STAGES.items() if part in file), _OTHERS)
    spent[stage] = spent.get(stage, 0.0) + seconds


def main(result: Path, arguments: list[str]) -> None:
    """Serve until interrupted, then tell."""
    threading.Thread.run = profiled  # type: ignore[method-assign,assignment]
    signal.signal(signal.SIGUSR1, lambda *_: begin(lambda *_: write(result)))
    profile = profiles["control"] = cProfile.Profile()
    sys.argv = ["oa-dev", *arguments]
    from devserver.cli import main as serve

    profile.enable()
    try:
        serve()
    finally:
        profile.disable()


main(Path(sys.argv[1]), sys.argv[2:])
