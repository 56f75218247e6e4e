"""What the tests of restarts share: asking a server to restart, and asking it things."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from nursery import forking
from rig.running import OA_DEV, Line, Running

KEEPER = '''\
"""Keeps objects of its own class, and what cannot move, in its state."""

import threading

from devserver import BaseMod, Event, EventResponse, mod_event_handler


class Page:
    def __init__(self, text):
        self.text = text


class KeeperMod(BaseMod):
    def initialize(self):
        self.state.setdefault("pages", [])

    @mod_event_handler("keeper.page.add")
    def add(self, event: Event) -> EventResponse:
        self.state["pages"].append(Page(event.payload["text"]))
        return EventResponse(True, "added", {"pages": [each.text for each in self.state["pages"]]})

    @mod_event_handler("keeper.lock.make")
    def lock(self, event: Event) -> EventResponse:
        self.state["lock"] = threading.Lock()
        return EventResponse(True, "locked")
'''


async def command(running: Running, *arguments: str) -> tuple[int, str]:
    """A command in the server's workspace: its exit code and what it says."""
    with forking():
        process = await asyncio.create_subprocess_exec(
            *(OA_DEV, *arguments), cwd=running.workspace.root, stdout=asyncio.subprocess.PIPE
        )
    said, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode()


async def asked(running: Running, event_name: str, **payload: Any) -> dict[str, Any]:
    """An event as the one who runs the network; the data of its answer."""
    code, said = await command(running, "send", event_name, "--json", "--payload", json.dumps(payload))
    assert code == 0, said
    data: dict[str, Any] = json.loads(said)["data"] or {}
    return data


async def restarted(running: Running) -> Line:
    """Restart in place by a command; the line that tells of it."""
    mark = running.mark()
    code, said = await command(running, "restart")
    assert code == 0, said + running.story(mark)
    return await running.line("restart", mark)


def start_of(pid: int) -> bytes:
    """What tells one image of a process from the next: its stack and vdso lie elsewhere (address space is random)."""
    return Path(f"/proc/{pid}/auxv").read_bytes()


def is_alive(pid: int) -> bool:
    """Whether a process is there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
