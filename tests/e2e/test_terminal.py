"""What a person sees at a real terminal: the banner, a reload, an error with its place, and the keys."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import struct
import termios
from collections.abc import AsyncIterator

import pytest
from rig.agents import crowd
from rig.running import OA_DEV, PATIENCE, environment
from rig.workspace import Workspace

ROWS, COLUMNS = 40, 120
STEERING = re.compile(r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b\[[0-9;?]*[A-Za-z]")
"""Colours, cursor movements and links: everything that a terminal shows no character for."""
WIKI = "mods/wiki/mod.py"


class Screen:
    """A server at a terminal: what it has written, without colours, and a keyboard."""

    def __init__(self, process: asyncio.subprocess.Process, terminal: int) -> None:
        self.process = process
        self._terminal = terminal
        self._raw = b""
        self._news = asyncio.Event()
        asyncio.get_running_loop().add_reader(terminal, self._read)

    @property
    def text(self) -> str:
        """Everything that was written."""
        return STEERING.sub("", self._raw.decode(errors="replace")).replace("\r\n", "\n")

    async def shows(self, pattern: str, since: int = 0) -> re.Match[str]:
        """Wait until something was written that matches."""
        try:
            async with asyncio.timeout(PATIENCE):
                while (found := re.search(pattern, self.text[since:])) is None:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"{pattern!r} was never shown:\n{self.text[since:]}") from None
        return found

    def press(self, keys: str) -> int:
        """Type; the place from which on `shows` sees what came of it."""
        before = len(self.text)
        os.write(self._terminal, keys.encode())
        return before

    async def ended(self) -> int:
        """The exit code."""
        async with asyncio.timeout(PATIENCE):
            return await self.process.wait()

    def settings(self) -> list[object]:
        """How the terminal treats what is typed: lines or single keys, shown or not."""
        return termios.tcgetattr(self._terminal)

    def close(self) -> None:
        """Take the terminal away."""
        asyncio.get_running_loop().remove_reader(self._terminal)
        os.close(self._terminal)

    def _read(self) -> None:
        try:
            self._raw += os.read(self._terminal, 1 << 16)
        except OSError:
            # The other side has been closed: the process has ended.
            asyncio.get_running_loop().remove_reader(self._terminal)
        self._news.set()


def _take_terminal() -> None:
    """In the child: what is typed at this terminal, Ctrl-C too, is for this process."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@contextlib.asynccontextmanager
async def at_terminal(workspace: Workspace) -> AsyncIterator[Screen]:
    """A server at a terminal of its own, for as long as the context lasts."""
    here, there = pty.openpty()
    fcntl.ioctl(there, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    process = await asyncio.create_subprocess_exec(
        *(OA_DEV, "run", "--port", "0"),
        cwd=workspace.root,
        env=environment(),
        stdin=there,
        stdout=there,
        stderr=there,
        start_new_session=True,
        preexec_fn=_take_terminal,
    )
    os.close(there)
    screen = Screen(process, here)
    try:
        yield screen
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        screen.close()


@pytest.fixture
async def screen(workspace: Workspace) -> AsyncIterator[Screen]:
    """A server at a terminal, ready."""
    async with at_terminal(workspace) as made:
        await made.shows(r"press h for shortcuts")
        yield made


async def test_the_banner_says_what_runs_in_at_most_eight_lines(screen: Screen) -> None:
    """Version, address, mods and what is watched."""
    lines = [line for line in screen.text.splitlines() if line.strip()]
    assert len(lines) <= 8
    assert re.search(r"oa-dev \S+ .*ready in [\d.]+ m?s", lines[0])
    assert "4 loaded (analytics, messaging, wiki, project)" in screen.text
    assert "1 disabled" in screen.text


async def test_a_save_is_one_line_that_counts_the_agents(workspace: Workspace, screen: Screen) -> None:
    """It names the mod's generation, the file, the state and that no agent was dropped."""
    port = int((await screen.shows(r"http://127\.0\.0\.1:(\d+)"))[1])
    async with crowd(port):
        workspace.write(WIKI, workspace.read(WIKI) + "\n# saved\n")
        found = await screen.shows(r"[^\n]*wiki v2[^\n]*\n")
    assert WIKI in found[0]
    assert "3 agents, 0 dropped" in found[0]


async def test_an_error_shows_the_line_that_is_wrong(workspace: Workspace, screen: Screen) -> None:
    """The frame names file and line, shows the source, says what keeps running, and fits in eight lines."""
    before = len(screen.text)
    workspace.write(WIKI, workspace.read(WIKI) + '\n{}["at import"]\n')
    await screen.shows(r"KeyError", before)
    await screen.shows(r"next save retries", before)
    shown = screen.text[before:].strip()
    assert "wiki v2 did not load, v1 keeps running" in shown
    assert f"{WIKI}:{workspace.line_of(WIKI, 'at import')}" in shown
    assert '{}["at import"]' in shown
    assert len(shown.splitlines()) <= 9


async def test_the_keys_do_what_the_help_says(workspace: Workspace, screen: Screen) -> None:
    """h shows the keys, r reloads all mods, m asks for one, q stops with 0."""
    await screen.shows(r"r reload all", screen.press("h"))
    await screen.shows(r"wiki v2", screen.press("r"))
    before = screen.press("m")
    await screen.shows(r"which mod\?", before)
    await screen.shows(r"wiki v3", screen.press("wiki\r"))
    screen.press("q")
    assert await screen.ended() == 0


async def test_the_key_to_the_dashboard_is_shown_only_when_asked_for(workspace: Workspace, screen: Screen) -> None:
    """The banner has a link that opens once; u shows the key."""
    token = json.loads(workspace.read(".oa-dev/run.json"))["token"]
    assert re.search(r"/_dev/#t=[\w-]+", screen.text)
    assert token not in screen.text
    await screen.shows(f"/_dev/#k={re.escape(token)}\n", screen.press("u"))


async def test_ctrl_c_at_the_terminal_stops_and_leaves_the_terminal_as_it_was(workspace: Workspace) -> None:
    """Ctrl-C ends with 0 and a line that sums up; single keys are switched off again."""
    async with at_terminal(workspace) as screen:
        before = screen.settings()
        await screen.shows(r"press h for shortcuts")
        await screen.shows(r"r reload all", screen.press("h"))
        during = screen.settings()
        pressed = screen.press("\x03")
        assert await screen.ended() == 0
        await screen.shows(r"stopped", pressed)
        assert during != before
        assert screen.settings() == before


async def test_shift_r_restarts_in_place_and_the_keys_go_on(screen: Screen) -> None:
    """The plan is told, then what it came to; no agent notices, no second banner comes, single keys work as before."""
    port = int((await screen.shows(r"http://127\.0\.0\.1:(\d+)"))[1])
    async with crowd(port) as made:
        before = screen.press("R")
        await screen.shows(r"restart in place: key R", before)
        told = await screen.shows(r"[^\n]*restarted in place[^\n]*\n", before)
        assert "3 agents, 0 dropped" in told[0]
        assert made.ledger.closed == []
        reload = screen.press("r")
        await screen.shows(r"wiki v3", reload)
        assert "ready in" not in screen.text[before:]
    end = screen.press("\x03")
    assert await screen.ended() == 0
    assert "Traceback" not in screen.text[end:]
    # As it was found: lines, and shown.
    assert screen.settings()[3] & (termios.ICANON | termios.ECHO) == termios.ICANON | termios.ECHO  # type: ignore[operator]


STOPPING = """\
from devserver import BaseMod, EventResponse, mod_event_handler


class StopperMod(BaseMod):
    @mod_event_handler("stopper.stop.here")
    def stop_here(self, event):
        breakpoint()
        return EventResponse(True, "went on")
"""


async def test_what_is_typed_during_a_restart_is_not_shown(workspace: Workspace) -> None:
    """Between two images the terminal stays as it is, single keys without echo; in the end it is as it was found."""
    async with at_terminal(workspace) as screen:
        found = screen.settings()
        await screen.shows(r"press h for shortcuts")
        before = screen.press("R")
        await screen.shows(r"restart in place: key R", before)
        while "restarted in place" not in screen.text[before:]:
            screen.press("%")
            await asyncio.sleep(0.03)
        # What was typed before is one burst, which means no key.
        while "r reload all" not in screen.text[before:]:
            screen.press("h")
            await asyncio.sleep(0.3)
        assert "%" not in screen.text[before:]
        screen.press("\x03")
        assert await screen.ended() == 0
        assert screen.settings() == found


async def test_after_a_restart_breakpoints_have_the_terminal_and_the_keys_come_back(workspace: Workspace) -> None:
    """`breakpoint()` in a handler asks at the terminal; so it is after a process that was stopped and continued."""
    workspace.add_mod("stopper", STOPPING)
    async with at_terminal(workspace) as screen:
        await screen.shows(r"press h for shortcuts")
        restart = screen.press("R")
        await screen.shows(r"restarted in place", restart)
        sending = await asyncio.create_subprocess_exec(
            *(OA_DEV, "send", "stopper.stop.here"), cwd=workspace.root, stdout=asyncio.subprocess.PIPE
        )
        await screen.shows(r"\(Pdb\)", restart)
        screen.press("c\n")
        said, _ = await sending.communicate()
        assert "went on" in said.decode()
        for number in (signal.SIGSTOP, signal.SIGCONT):
            os.kill(screen.process.pid, number)
        await screen.shows(r"r reload all", screen.press("h"))
        screen.press("\x03")
        assert await screen.ended() == 0


WAITING = """\
import asyncio

from devserver import BaseMod, EventResponse, mod_event_handler


class WaiterMod(BaseMod):
    @mod_event_handler("waiter.wait.here")
    async def wait_here(self, event):
        await asyncio.sleep(600)
"""


async def test_shift_r_twice_ends_the_handler_that_a_restart_waits_for(workspace: Workspace) -> None:
    """The first names it, the second ends it with an error to its sender."""
    workspace.add_mod("waiter", WAITING)
    async with at_terminal(workspace) as screen:
        await screen.shows(r"press h for shortcuts")
        sending = await asyncio.create_subprocess_exec(
            *(OA_DEV, "send", "waiter.wait.here"),
            cwd=workspace.root,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        waits = None
        while waits is None:
            # Until the handler runs a restart has nothing to wait for, and is done.
            before = screen.press("R")
            await screen.shows(r"restart in place: key R", before)
            await screen.shows(r"restart waits for waiter|restarted in place", before)
            waits = re.search(r"restart waits for waiter \(waiter.wait.here\); R again ends it", screen.text[before:])
        await screen.shows(r"restarted in place", screen.press("R"))
        said, _ = await sending.communicate()
        assert "restart" in said.decode()
        screen.press("\x03")
        assert await screen.ended() == 0
