"""Faults that ended a server, or made it wait without end, found by reading."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest
from workspaces import Workspace, served

from devserver import AgentNetwork, Event
from devserver.loader.installed import InstalledCode
from devserver.loader.named import _named_folders
from devserver.model.config import NetworkConfig
from devserver.model.facts import Status
from devserver.model.principal import LOCAL
from devserver.network.agent import Agent
from devserver.network.agents import Directory
from devserver.network.running import agent_stats
from devserver.server.kept_states import KeptStates
from devserver.server.programs import Program
from devserver.server.supervised import VARIABLE, Supervised
from devserver.sources.ignore import _is_pattern
from devserver.ui.jsonl import line_of


def test_a_server_may_restart_in_place_many_times_before_its_supervisor_reads() -> None:
    """The line between the two has room for some hundred messages, and the next one waited."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, socket.create_server(("127.0.0.1", 0)) as listening:
        theirs.setblocking(False)
        values = {"line": theirs.detach()}
        for _ in range(600):
            supervised = Supervised(values)
            supervised.entrust(listening, "127.0.0.1", 8700)
            variables, descriptors = supervised.again()
            values = json.loads(variables[VARIABLE])
            assert descriptors == [values["line"]]
            supervised._line.detach()
        os.close(values["line"])


@pytest.mark.parametrize("top", ["first = next(iter(()))", "raise StopIteration"])
async def test_a_stop_iteration_at_the_top_of_a_module_fails_its_save_at_its_line(work: Workspace, top: str) -> None:
    """No future takes that exception, so that the import counted as one that hangs."""
    work.mod("odd", served("odd", 1))
    await work.start("mods.odd", home="thread")
    (outcome,) = (await work.save_mod("odd", served("odd", 2), top)).outcomes
    assert (outcome.status, outcome.error.where.line) == (Status.ROLLED_BACK, 4)
    assert await work.version("odd") == 1


async def test_a_fault_while_imports_are_read_ends_no_reload_after_it(
    work: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are read after the save was answered: it said applied, and all later saves waited without end."""
    work.mod("odd", served("odd", 1))
    await work.start("mods.odd")

    def unread(*_: object) -> None:
        raise SyntaxError("too deep")

    with monkeypatch.context() as patched:
        patched.setattr("devserver.loader.modules.read_imports", unread)
        await work.save_mod("odd", served("odd", 2))
        await work.net.engine.quiet()
    await work.save_mod("odd", served("odd", 3))
    assert await work.version("odd") == 3


def test_a_program_that_writes_without_end_is_read_some_lines_at_a_time() -> None:
    """The server serves agents in between."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    program = Program("agents/ana.py", 0, reading, "")
    try:
        os.write(writing, b"word\n" * 12_000)
        assert 0 < len(list(program.lines())) < 5000
    finally:
        os.close(writing)
        list(program.last_words())


def test_a_line_of_gitignore_that_git_cannot_read_is_no_rule() -> None:
    """Git ignores it, too."""
    assert not _is_pattern("data[z-a]/")


@pytest.mark.skipif(sys.platform != "linux", reason="names of other systems are texts")
def test_a_folder_whose_name_is_no_text_fails_no_import(tmp_path: Path) -> None:
    """It lies beside a module that names files."""
    os.mkdir(os.fsencode(tmp_path) + b"/caf\xe9")
    (tmp_path / "data").mkdir()
    assert list(_named_folders(tmp_path, b"open('data')")) == [tmp_path / "data"]


def test_what_a_mod_logs_is_a_line_whatever_it_is() -> None:
    """A log call failed its event where the log was shown as JSON."""

    class Odd:
        def __str__(self) -> str:
            raise ValueError

    circle: list[object] = []
    circle.append(circle)
    for value in ({(1, 2): 3}, circle, Odd()):
        assert json.loads(line_of({"message": "said", "cells": value}))["message"] == "said"


def test_a_file_of_the_future_asks_for_no_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was written by another clock, and would ask again in each new image until then."""
    file = tmp_path / "late_clock.py"
    file.write_text("")
    os.utime(file, (time.time() + 9999,) * 2)
    module = ModuleType("late_clock")
    module.__file__ = str(file)
    monkeypatch.setitem(sys.modules, "late_clock", module)
    installed = InstalledCode(lambda path: False, time.time() - 1)
    told = [words for _ in range(3) for words in installed.changed()]
    assert [each for each in told if "late_clock" in each] == []


async def test_what_a_mod_may_not_keep_is_said_and_the_rest_is_read_back(work: Workspace) -> None:
    """A circle, depth, a number of thousands of digits, or too much of all kept no state of any mod from then on."""
    body = """
    persist_state = True
    def initialize(self):
        deep = circle = []
        for _ in range(2000): deep = [deep]
        circle.append(circle)
        self.state |= {"a": 1, "deep": deep, "circle": circle, "long": 10**5000, "all": ["x" * 250] * 20_000, "z": 2}
    """
    work.mod("odd", body)
    await work.start("mods.odd")
    said: list[str] = []
    kept = KeptStates(work.folder, said.append)
    live = work.net.engine.registry.live
    await kept.write(work.net._home, lambda: live)
    assert [each.split("'")[1] for each in said] == ["deep", "circle", "long", "all"]
    after = KeptStates(work.folder, said.append)
    after.begin()
    assert after._found["mods.odd"]["state"] == {"a": 1, "z": 2}


def test_health_reads_nothing_that_agents_say_of_themselves_for_strangers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any client may ask for it as often as it likes."""
    directory = Directory(NetworkConfig(name="Test"))
    directory.register("ana", {"about": "x"})
    assert agent_stats(directory)["agents"]["ana"]["metadata"] == {"about": "x"}
    monkeypatch.setattr(Agent, "metadata", property(lambda self: pytest.fail("was read")))
    assert agent_stats(directory, described=False)["agents"] == {}


async def test_an_event_that_comes_before_the_mods_are_loaded_waits_for_them(work: Workspace) -> None:
    """A server hears agents a moment before that: its answer was that of a network without mods."""
    work.mod("odd", served("odd", 1))
    work.yaml("mods.odd")
    work.network = network = AgentNetwork.load(work.folder)
    network.hold_events()
    event = Event(event_name="odd.version.get", source_id="ana")
    assert not network.take(event, LOCAL, lambda *_: None)
    asked = asyncio.create_task(network.ingest(event, LOCAL))
    await network.initialize()
    assert (await asked).data["version"] == 1
