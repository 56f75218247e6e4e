"""Shows events in the terminal of a run on demand: key v."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from devserver.model.encoding import from_json
from devserver.model.facts import Fact, Notice
from devserver.model.trace import row_to_dict
from devserver.network.recorder import Recorder

_GATHER_SECONDS = 0.25
_MOST_AT_ONCE = 20
_MOST_BYTES = 64 * 1024


class ShownEvents:
    """Arguments: `show` is given each event by names; `clean` removes live secrets from a row."""

    def __init__(
        self,
        recorder: Recorder,
        *,
        show: Callable[[Mapping[str, Any]], None],
        clean: Callable[[bytes], bytes],
        tell: Callable[[Fact], None],
        begin: Callable[[Coroutine[Any, Any, object]], None],
    ) -> None:
        self._recorder, self._show, self._clean = recorder, show, clean
        self._tell, self._begin = tell, begin
        self._news: asyncio.Event | None = None
        self._is_on = False

    def turn(self) -> None:
        """Turn showing events on or off. For the control side's loop."""
        self._is_on = not self._is_on
        words = "events are shown; v again ends that" if self._is_on else "events are not shown any more"
        self._tell(Notice(words, calm=True))
        if self._news is not None:
            self._news.set()
        elif self._is_on:
            self._begin(self._follow())

    async def _follow(self) -> None:
        loop, after = asyncio.get_running_loop(), self._recorder.number
        self._news = news = asyncio.Event()

        def wake() -> None:
            loop.call_soon_threadsafe(news.set)

        try:
            while self._is_on:
                news.clear()
                self._recorder.arm(wake)
                if self._recorder.number == after:
                    await news.wait()
                await asyncio.sleep(_GATHER_SECONDS)  # a burst is shown at once
                if self._is_on:
                    after = self._show_after(after)
        finally:
            self._news = None

    def _show_after(self, after: int) -> int:
        found = self._recorder.after(after, _MOST_AT_ONCE, _MOST_BYTES)
        if found.skipped:
            self._tell(
                Notice(f"{found.skipped} more events: oa-dev events --last {found.skipped} shows them", calm=True)
            )
        for raw in found.rows:
            self._show(row_to_dict(from_json(self._clean(raw)), self._recorder.zero_at))
        return found.next
