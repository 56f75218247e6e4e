"""Records a session: every event from now on into a file that `oa-dev replay FILE` runs again.

Lines are made and written by a thread of their own, so that neither that nor a slow disk delays an
event. A full disk ends the recording, and no event; the file is whole up to its last line.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from devserver.agent_network import AgentNetwork
from devserver.errors import DevServerError
from devserver.model.encoding import to_json
from devserver.model.facts import Fact, Notice, PlanDone
from devserver.model.wire_form import form_of
from devserver.network.recorder import Recorder, number_of
from devserver.server.private_folder import PrivateFolder
from devserver.ui.words import session_words

if TYPE_CHECKING:
    from devserver.server.replays import Replays

FOLDER = "sessions"
MOST_WAITING = 50_000
"""The most lines, or batches of events, that may wait for the disk."""
FLUSH_SECONDS = 0.05
"""Seconds after which events are written: those that a killed process may lose."""
_JOIN_SECONDS = 1.0


class Recording:
    """The recording of one run; at most one session at a time. For the control side's loop.

    Arguments: `begins`, asked when a session starts; `clean` removes live secrets from a line.
    """

    def __init__(
        self,
        network: AgentNetwork,
        recorder: Recorder,
        begins: Callable[[], Replays],
        *,
        clean: Callable[[bytes], bytes],
        tell: Callable[[Fact], None],
    ) -> None:
        self._network, self._recorder, self._begins = network, recorder, begins
        self._clean, self._tell = clean, tell
        self._files = PrivateFolder(network.workspace, FOLDER)
        self._file: _SessionFile | None = None
        self._starting = asyncio.Lock()
        self._handed: tuple[dict[str, Any], dict[str, int]] = {}, {}
        network.directory.on_change.append(self._agent_changed)

    @property
    def path(self) -> str | None:
        """The file that is written, from the workspace on; None without a recording."""
        return None if self._file is None else self._file.shown

    async def start(self) -> str:
        """Record from now on; return the file. Raises DevServerError if impossible; OSError."""
        async with self._starting:
            return await self._start()

    async def begun(self) -> None:
        """Wait until a session that is starting has its file, which can be handed over."""
        async with self._starting:
            pass

    async def _start(self) -> str:
        if self._file is not None:
            raise DevServerError(f"a session is recorded already: {self._file.shown}")
        # Here and not above: most runs record nothing.
        from devserver.replay.session import first_line

        # What ends while the beginning is made belongs to the session, too.
        early: list[bytes] = []
        self._recorder.follow(early.extend)
        try:
            latest, sources, state, begins = await self._begins().begins_now()
            name = self._free_name()
            handle = self._files.create(name)
        except BaseException:
            self._recorder.follow(None)
            raise
        first = first_line(self._network.network_name, time.time(), sources, state, begins)
        file = self._opened(handle, f".oa-dev/{FOLDER}/{name}")
        file.put(first)
        # The effects of an event that began before are in the states.
        file.latest = latest
        self._recorder.follow(file.put)
        file.put(early)
        return file.shown

    def _opened(self, handle: int, shown: str) -> _SessionFile:
        flush = self._recorder.take_in
        self._file = _SessionFile(handle, shown, clean=self._clean, ended=self._ended, flush=flush)
        return self._file

    def hand_over(self) -> tuple[dict[str, Any], dict[str, int]]:
        """Stop writing; return the values and the descriptor with which `go_on` continues, in this image or the
        next. Empty without a recording."""
        self._handed = {}, {}
        if (file := self._file) is not None:
            self._recorder.take_in()
            self._recorder.follow(None)
            handle = os.dup(file.handle)
            if not file.close():
                self._ended("the disk is too slow")
            if self._file is None:  # it has ended, and that is told
                os.close(handle)
            else:
                self._handed = {"path": file.shown, "events": file.events, "size": file.size}, {FOLDER: handle}
                self._file = None
        return self._handed

    def take_back(self) -> None:
        """Write on in this image: there was no restart."""
        self.go_on(*self._handed)

    def go_on(self, values: Mapping[str, Any], descriptors: Mapping[str, int]) -> None:
        """Write on where `hand_over` has stopped. Call it before events come."""
        if values:
            file = self._opened(descriptors[FOLDER], values["path"])
            file.events, file.size = values["events"], values["size"]
            self._recorder.follow(file.put)

    def stop(self) -> dict[str, Any] | None:
        """End the session; return its `path`, `events` and `bytes`; None if there was none."""
        file, self._file = self._file, None
        if file is None:
            return None
        self._recorder.take_in()  # and so written to the file
        self._recorder.follow(None)
        file.close()
        return {"path": file.shown, "events": file.events, "bytes": file.size}

    def end(self) -> None:
        """End the session with the run, and name it."""
        if (done := self.stop()) is not None:
            self._tell(Notice(session_words(done), calm=True))

    def note(self, fact: Fact) -> None:
        """Note a plan that was carried out, for people who read the file. From any thread."""
        if isinstance(fact, PlanDone) and (file := self._file) is not None:
            self._recorder.take_in()  # what has ended before stands before it
            for each in fact.outcomes:
                file.put(to_json({"outcome": form_of(each)}) + b"\n")

    def _agent_changed(self, agent_id: str, came: bool, transport: str) -> None:
        if (file := self._file) is None:
            return
        agent = self._network.directory.agent(agent_id)
        metadata = {} if agent is None else {"metadata": dict(agent.metadata)}
        self._recorder.take_in()
        file.put(to_json({"agent": agent_id, "came": came, **metadata}) + b"\n")

    def _ended(self, why: str) -> None:
        """Note that the file cannot be written any more. From the thread that writes."""
        self._recorder.follow(None)
        file, self._file = self._file, None
        if file is not None:
            self._tell(Notice(f"the session is not recorded any more: {why}; {file.shown} is whole up to there"))

    def _free_name(self) -> str:
        taken, stem = set(self._files.names()), datetime.now().astimezone().strftime("%Y-%m-%dT%H%M%S")
        names = (f"{stem}{f'-{n}' if n else ''}.jsonl" for n in range(1000))
        return next(each for each in names if each not in taken)


class _SessionFile:
    """A file that a thread appends lines to. `ended` is told there why no more are possible; `flush` has events put
    that wait for a full batch."""

    def __init__(
        self,
        handle: int,
        shown: str,
        *,
        clean: Callable[[bytes], bytes],
        ended: Callable[[str], None],
        flush: Callable[[], None],
    ) -> None:
        # Here and not above: most runs record nothing.
        from devserver.replay.session import MOST_BYTES, event_line

        self.shown = shown
        self.events = self.size = self.latest = 0
        self.handle, self._clean, self._ended, self._flush = handle, clean, ended, flush
        self._most, self._event_line = MOST_BYTES, event_line
        self._waiting: deque[bytes | list[bytes] | None] = deque()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._write_all, name="oa-dev session", daemon=True)
        self._thread.start()

    def put(self, written: bytes | list[bytes]) -> None:
        """Have a line written, or the entries of events after `latest`. From any thread; returns at once."""
        self._waiting.append(written)

    def close(self) -> bool:
        """Write what waits, for at most a second, and end; return whether all is written."""
        self._waiting.append(None)
        self._closing.set()
        self._thread.join(_JOIN_SECONDS)
        return not self._thread.is_alive()

    def _write_all(self) -> None:
        try:
            while (put := self._next()) is not None:
                if len(self._waiting) > MOST_WAITING:
                    return self._ended("the disk is too slow")
                lines = [put] if isinstance(put, bytes) else self._lines_of(put)
                if self.size + sum(map(len, lines)) > self._most:
                    return self._ended(f"it has {self._most // 1024 // 1024} MiB, which is the most that is read")
                self._write(self._clean(b"".join(lines)))
                self.events += isinstance(put, list) and len(lines)
        except OSError as error:
            # What was written of the last lines is cut off again.
            os.ftruncate(self.handle, self.size)
            self._ended(error.strerror or str(error))
        finally:
            os.close(self.handle)
        return None

    def _next(self) -> bytes | list[bytes] | None:
        # It looks for itself: to be woken for each batch would cost the events more than all else of a session.
        while not self._waiting:
            if not self._closing.wait(FLUSH_SECONDS):
                self._flush()
        return self._waiting.popleft()

    def _lines_of(self, entries: list[bytes]) -> list[bytes]:
        return [self._event_line(each) for each in entries if number_of(each) > self.latest]

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            left = left[os.write(self.handle, left) :]
        self.size += len(data)
