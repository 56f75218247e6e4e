"""Sources of mods that make a network's behaviour visible. Each is written to a workspace by the test that needs it."""

from __future__ import annotations

KEEPER = '''\
"""Counts in an attribute, which only the very same instance still has, and in its state."""

from devserver import BaseMod, Event, EventResponse, mod_event_handler


class Keeper(BaseMod):
    def initialize(self):
        self.count = 0
        return True

    @mod_event_handler("keeper.count.up")
    def count_up(self, event: Event) -> EventResponse:
        self.count += 1
        self.state["count"] = self.state.get("count", 0) + 1
        return EventResponse(True, "counted", {"here": self.count, "ever": self.state["count"]})
'''

WAITER = '''\
"""Waits in a handler until it is released, also over a reload: what it waits for is in the state."""

import asyncio

from devserver import BaseMod, Event, EventResponse, mod_event_handler

VERSION = 1


class Waiter(BaseMod):
    def initialize(self):
        self.state.setdefault("release", asyncio.Event())

    @mod_event_handler("waiter.wait.here")
    async def wait_here(self, event: Event) -> EventResponse:
        await self.state["release"].wait()
        return EventResponse(True, "released", {"version": VERSION})

    @mod_event_handler("waiter.version.get")
    def get_version(self, event: Event) -> EventResponse:
        return EventResponse(True, "", {"version": VERSION})

    @mod_event_handler("waiter.let.go")
    def let_go(self, event: Event) -> EventResponse:
        self.state["release"].set()
        return EventResponse(True, "let go")
'''

SLEEPER = '''\
"""Blocks the thread that mods run on until a file is there."""

import pathlib
import time

from devserver import BaseMod, Event, EventResponse, mod_event_handler


class Sleeper(BaseMod):
    @mod_event_handler("sleeper.block.all")
    def block_all(self, event: Event) -> EventResponse:
        while not pathlib.Path(event.payload["until"]).exists():
            time.sleep(0.01)  # blocks
        return EventResponse(True, "awake")
'''

SOAKED = '''\
"""Is reloaded again and again: keeps a task, a closing, a helper module and some state."""

import asyncio

from devserver import BaseMod, Event, EventResponse, mod_event_handler
from mods.soaked.part import Part

NUMBER = 0


class Soaked(BaseMod):
    def initialize(self):
        self.part = Part(self)
        self.on_close(self.part.close)
        self.create_task(self.idle())
        self.state["seen"] = self.state.get("seen", 0) + 1

    async def idle(self):
        await asyncio.Event().wait()

    @mod_event_handler("soaked.number.get")
    async def get_number(self, event: Event) -> EventResponse:
        return EventResponse(True, "", {"number": NUMBER, "seen": self.state["seen"]})
'''

PART = '''\
"""A part of the mod in a module of its own, which holds the mod in a circle."""


class Part:
    def __init__(self, whole):
        self.whole = whole

    def close(self):
        pass
'''

INSPECTOR = '''\
"""Counts over the wire what a process would collect if old generations did not go."""

import asyncio
import gc
import sys
import threading

from devserver import BaseMod, Event, EventResponse, mod_event_handler


class Inspector(BaseMod):
    @mod_event_handler("inspector.counts.get")
    async def get_counts(self, event: Event) -> EventResponse:
        gc.collect()
        types = [each for each in gc.get_objects() if isinstance(each, type)]
        modules = [each for each in gc.get_objects() if type(each) is type(sys)]
        counts = {
            "threads": threading.active_count(),
            "tasks": len(asyncio.all_tasks()),
            "modules": len(sys.modules),
            "classes": sum(each.__module__.startswith("mods.soaked") for each in types),
            "module objects": sum(each.__name__.startswith("mods.soaked") for each in modules),
        }
        return EventResponse(True, "", counts)
'''
