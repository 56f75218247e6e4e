"""The action of each key of the terminal."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

from devserver.agent_network import AgentNetwork
from devserver.live.loops import run_in_thread
from devserver.model.change import ReloadAsked, RestartAsked, Trigger, UndoAsked
from devserver.model.facts import ConfigRefused, Fact, Notice
from devserver.server.replaying import Replaying
from devserver.server.restarts import Restarts
from devserver.server.saves import Saves
from devserver.server.shown_events import ShownEvents
from devserver.ui.face import Face
from devserver.ui.keymap import KeyPressed


class KeyActions:
    """Carries out the keys that a person presses. `address`: the dashboard's, with its key in it;
    `clean` removes live secrets from a shown event."""

    def __init__(
        self,
        network: AgentNetwork,
        saves: Saves,
        restarts: Restarts,
        replaying: Replaying,
        *,
        face: Face,
        clean: Callable[[bytes], bytes],
        path: Path,
        url: str,
        address: str,
        ticket: Callable[[], str],
        tell: Callable[[Fact], None],
        begin: Callable[[Coroutine[Any, Any, object]], None],
        stop: Callable[[], None],
    ) -> None:
        self._network, self._saves, self._restarts, self._replaying = network, saves, restarts, replaying
        self._events = ShownEvents(network.record(), show=face.event, clean=clean, tell=tell, begin=begin)
        self._face, self._path = face, path
        self._url, self._address, self._ticket = url, address, ticket
        self._tell, self._begin, self._stop = tell, begin, stop

    def do(self, pressed: KeyPressed) -> None:
        """Carry out one key, on the control side's loop."""
        match pressed.name:
            case "reload":
                self._ask(ReloadAsked(cause="key r"))
            case "reload_one" if pressed.mod is not None:
                self._ask(ReloadAsked((pressed.mod,), cause="key m"))
            case "check":
                self._begin(self._check())
            case "install":
                self._begin(self._install())
            case "asked":
                self._begin(self._show_asked())
            case "undo":
                self._ask(UndoAsked(cause="key z"))
            case "redo":
                self._ask(UndoAsked(cause="key Z", redo=True))
            case "restart" if not self._restarts.insist():
                self._ask(RestartAsked(cause="key R", by_person=True))
            case "pause":
                self._begin(self._saves.toggle())
            case "apply":
                self._begin(self._saves.apply())
            case "replay":
                self._begin(self._replaying.replays.key())
            case "urls":
                self._face.reveal(self._address, "")
            case "events":
                self._events.turn()
            case "open":
                self._begin(self.open_page())
            case "quit":
                self._stop()

    def _ask(self, trigger: Trigger) -> None:
        self._begin(self._network.submit(trigger))

    async def open_page(self) -> None:
        """Open the dashboard in the browser, or show its address without one."""
        # Here and not above: rarely needed.
        from devserver.server.door import write_door
        from devserver.ui.browser import browse

        door = write_door(self._network.workspace, self._url, self._ticket())
        if door is not None and await run_in_thread(browse, door):
            self._tell(Notice("opened the dashboard in the browser", calm=True))
        else:
            self._face.reveal(self._address, "no browser to open here, the dashboard is")

    async def _install(self) -> None:
        """Lock and install the wants, as the command does; the changes are followed too."""
        self._tell(Notice("sync: locking and installing what network.yaml and the mods need", calm=True))
        await self._command("sync: ", "sync", "--yes")

    async def _show_asked(self) -> None:
        """Show the mod that an agent has asked for first; the answer is a command of its own."""
        waiting = self._network.asks.waiting()
        if not waiting:
            self._tell(Notice("no agent asks for a mod", calm=True))
            return
        await self._command("", "asked", str(waiting[0].number))

    async def _command(self, prefix: str, *words: str) -> None:
        """Carry out a command as another terminal does, and tell the lines that it prints."""
        command = [sys.executable, "-P", "-m", "devserver", *words]
        done = await run_in_thread(
            partial(
                subprocess.run, command, cwd=self._path.parent, capture_output=True, text=True, stdin=subprocess.DEVNULL
            )
        )
        for line in (done.stdout if done.returncode == 0 else done.stdout + done.stderr).splitlines():
            self._tell(Notice(f"{prefix}{line.strip() if prefix else line}", calm=done.returncode == 0))

    async def _check(self) -> None:
        # Here and not above: rarely needed, and slow to import.
        from devserver.server.check import check_network

        found = await run_in_thread(check_network, self._path)
        if found.refused:
            self._tell(ConfigRefused(found.refused))
        for mod, error in found.mods:
            self._tell(Notice(f"check: {mod}: {error}"))
        if found.good:
            self._tell(Notice(f"check: {found.summary}", calm=True))
        for each in found.notes:
            self._tell(Notice(f"check: {each}"))
