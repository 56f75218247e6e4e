"""The states that outlive a crash: of mods with `persist_state = True`, as far as they are plain.

Written at most once a second, when something has changed, to `.oa-dev/state.json` (0600, by
rename). A clean end empties the file; its content at a start is that of a run that crashed. Read
and written as JSON: a file on disk is never executed.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from devserver.errors import DevServerError
from devserver.live.generation import Generation
from devserver.live.loops import Home
from devserver.server.runfile import read_private, write_private

FILE = "state.json"
PERIOD = 1.0
"""Seconds between two looks at the states."""

MOST_BYTES = 4 * 1024 * 1024
"""The largest file that is read back."""

MOST_VALUES = 50_000
"""The most values of one state that are kept: looking at each of them takes time from handlers."""


class KeptStates:
    """Arguments: `workspace`, the folder; `tell`, told why a state cannot be kept."""

    def __init__(self, workspace: Path, tell: Callable[[str], None]) -> None:
        self._workspace = workspace
        self._tell = tell
        self._found: dict[str, Any] = {}
        self._last: dict[str, tuple[str, float]] = {}
        """The last written state of each mod, and its time."""
        self._named: set[tuple[str, str]] = set()
        self.brought_back: list[str] = []
        """The mods whose states came back from the run before."""

    def begin(self) -> None:
        """Read the states of a run that crashed. Never raises."""
        try:
            data = read_private(self._workspace, FILE, MOST_BYTES)
            found = json.loads(data) if data else {}
        except (OSError, ValueError, DevServerError) as error:
            self._tell(f"no state is brought back: .oa-dev/{FILE} cannot be read ({error})")
            return
        self._found = found if type(found) is dict else {}

    def give(self, generation: Generation) -> str:
        """Give a mod that is being loaded its state of before the crash; return the result."""
        found = self._found.pop(generation.mod_path, None)
        if not _persists(generation) or type(found) is not dict or type(found.get("state")) is not dict:
            return ""
        generation.kept.update(found["state"])
        self.brought_back.append(generation.mod_id)
        return f"state of {_clock(found.get('time'))} brought back"

    async def run(self, home: Home, live: Callable[[], Iterable[Generation]]) -> None:
        """Write the states periodically."""
        while True:
            await asyncio.sleep(PERIOD)
            await self.write(home, live)

    async def write(self, home: Home, live: Callable[[], Iterable[Generation]]) -> None:
        """Write the states, if they have changed."""
        now = await home.run(self._texts, live)
        if {path: text for path, (text, _) in self._last.items()} == now:
            return
        moment = time.time()
        last = {
            path: self._last[path] if path in self._last and self._last[path][0] == text else (text, moment)
            for path, text in now.items()
        }
        entries = (f'{json.dumps(path)}:{{"time":{at},"state":{text}}}' for path, (text, at) in last.items())
        try:
            await asyncio.to_thread(write_private, self._workspace, FILE, f"{{{','.join(entries)}}}")
            self._last = last
        except (OSError, DevServerError) as error:
            self._say("", f"the states of mods cannot be kept: {error}")

    def end(self) -> None:
        """Empty the file at a clean end. Never raises."""
        try:
            if self._last or self.brought_back:
                write_private(self._workspace, FILE, "{}")
        except (OSError, DevServerError) as error:
            self._tell(f"the states of mods stay in .oa-dev/{FILE}: {error}")

    async def _texts(self, live: Callable[[], Iterable[Generation]]) -> dict[str, str]:
        """Return the states as JSON. Call it on the mods' loop, so that none changes meanwhile."""
        room = [MOST_BYTES * 3 // 4]
        return {each.mod_path: self._plain_state(each, room) for each in live() if _persists(each)}

    def _plain_state(self, generation: Generation, room: list[int]) -> str:
        """Return the keys of a state that hold plain data, as JSON; the others are named, once. `room`: the
        characters that are left for all mods: what was written has to be read again."""
        left = [MOST_VALUES]
        kept = []
        for key, value in list(generation.kept.items()):
            text = _text_of(key, value, left)
            if text is not None and len(text) <= room[0]:
                room[0] -= len(text)
                kept.append(text)
            else:
                why = "the state is too large" if text is not None or left[0] <= 0 else "is not plain data"
                self._say(f"{key}", f"{generation.mod_id}: key {str(key)!r} would not survive a crash: {why}")
        return f"{{{','.join(kept)}}}"

    def _say(self, what: str, sentence: str) -> None:
        if (what, sentence) not in self._named:
            self._named.add((what, sentence))
            self._tell(sentence)


def lost_words(how: str, began: float, brought_back: Iterable[str]) -> str:
    """Return what a crash of the run before means for the states of mods."""
    since = f" since {_clock(began)}" if began else ""
    back = ", ".join(brought_back)
    but = f", but for what came back: {back}" if back else "; persist_state = True in a mod keeps plain data"
    return f"the run before crashed ({how}): what mods had in their state{since} is lost{but}"


def _persists(generation: Generation) -> bool:
    return getattr(type(generation.instance), "persist_state", False) is True


def _text_of(key: object, value: Any, left: list[int]) -> str | None:
    try:
        return f"{json.dumps(key)}:{json.dumps(value)}" if type(key) is str and _is_plain(value, left) else None
    except (ValueError, RecursionError):
        return None  # a circle, nested too deep, or an integer of thousands of digits


def _is_plain(value: Any, left: list[int]) -> bool:
    """Return whether JSON returns a value unchanged. `left`: how many more to look at."""
    left[0] -= 1
    if left[0] <= 0:
        return False
    kind = type(value)
    if kind is dict:
        return all(type(key) is str and _is_plain(each, left) for key, each in value.items())
    if kind is list:
        return all(_is_plain(each, left) for each in value)
    # Infinite numbers and NaN are no JSON: such a value minus itself is not 0.
    return kind in (str, int, bool, type(None)) or (kind is float and value - value == 0)


def _clock(seconds: Any) -> str:
    return time.strftime("%H:%M:%S", time.localtime(seconds)) if type(seconds) in (int, float) else "an unknown time"
