"""A bucket as of now: a copy in memory that follows the engine's.

Messages are hints: what is true is what the engine keeps. On connect, on reconnect and every five seconds the number of
its last message is compared with the highest that was seen; where it differs, all values are read again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from devserver.errors import DevServerError
from devserver.hosts.link import Link, Listening, Message
from devserver.hosts.names import Names
from devserver.hosts.work import Work
from devserver.model.encoding import to_json
from devserver.transports.strict import Malformed, parse_object

LOOK_SECONDS = 5.0
_STORED_WITHIN = (0.0, 0.001, 0.005, 0.02, 0.1)
"""Seconds between looks for a value that was told of."""

_MOST_VALUE_BYTES = 256 * 1024
Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """The value of a key, and its revision: with it a change can be refused that has not seen this one."""

    values: Mapping[str, Any]
    revision: int


Changed = Callable[[Key, Row | None, Row | None], None]
"""Told of each change: the key, what it was, what it is (None: not there)."""


class Followed:
    """The rows of one bucket. `rows` is replaced as a whole, so that any thread may read it."""

    def __init__(self, link: Link, names: Names, kind: str) -> None:
        self.rows: Mapping[Key, Row] = {}
        self.revision = 0
        """The highest revision that was seen."""
        self.on_change: list[Changed] = []
        self._link, self._names, self._kind = link, names, kind
        self._stream = names.bucket_stream(kind)
        self._subject = f"$KV.{names.bucket(kind)}.>"
        self._seen: dict[Key, int] = {}
        """The revision of the last message of each key, those that say that it is gone included."""
        self._ahead = 0
        """The highest revision that was read: one before it may still be to be seen."""
        self._missed = self._caught = 0
        """How many values that were told of could not be read, and how many of them all values were read since."""
        self._listening: Listening | None = None
        self._looking = Work()
        self._moved = asyncio.Event()

    async def begin(self) -> None:
        """Follow from now on; the values of now are there on return. Raises EngineAway, EngineRefused."""
        self._listening = await self._link.subscribe(self._subject, self._hint)
        await self._link.flush()
        await self.read()
        self._link.on_back.append(self._came_back)
        self._looking.begin(self._keep_looking())

    async def end(self) -> None:
        """Follow no more."""
        await self._looking.end()
        if self._came_back in self._link.on_back:
            self._link.on_back.remove(self._came_back)
        if self._listening is not None:
            await self._listening.end()

    async def look(self) -> None:
        """Read all values again if the engine has any that was not seen. Raises EngineAway, EngineRefused."""
        if self._missed != self._caught or (await self._link.stored(self._stream)).last != self.revision:
            await self.read()

    async def catch_up(self) -> None:
        """Wait until all that the engine has now was seen; most of it is on its way. Raises EngineAway and others."""
        await self.until((await self._link.stored(self._stream)).last)

    async def read(self) -> None:
        """Read all values, and take those as gone that the engine has no more. Raises EngineAway, EngineRefused."""
        missed = self._missed
        last = (await self._link.stored(self._stream)).last
        values = await self._link.last_values(self._stream, self._subject)
        found = {self._take(each) for each in values}
        for key in [each for each, revision in self._seen.items() if each not in found and revision <= last]:
            self._seen.pop(key)
            self._put(key, None)
        # Two reads may overlap.
        self._caught = max(self._caught, missed)
        self._advance(last)

    async def refresh(self, *ids: str) -> None:
        """Ask for one value now: another host may have written it a moment ago. Raises EngineAway, EngineRefused."""
        value = await self._link.last_value(self._stream, self._names.key(self._kind, *ids))
        if value is not None:
            self._take(value)

    async def until(self, revision: int, *, seconds: float = 1.0) -> bool:
        """Wait until this revision has been seen; False when it took too long, or the engine has gone."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while self.revision < revision:
            self._moved.clear()
            try:
                await asyncio.wait_for(self._moved.wait(), max(0.0, min(0.1, end - loop.time())))
            except TimeoutError:
                if loop.time() >= end:
                    return False
                try:
                    await self.look()
                except DevServerError:
                    return False
        return True

    def get(self, *ids: str) -> Row | None:
        """The row of a key, by its ids."""
        return self.rows.get(ids)

    def revision_of(self, *ids: str) -> int:
        """The revision that a key has, also one that says that it is gone; 0 where it never was."""
        return self._seen.get(ids, 0)

    async def put(self, ids: Key, values: Mapping[str, Any], *, last: int | None = None) -> int:
        """Write a row, and return its revision. `last`: the revision that it must still have (0: none).

        The row is in `rows` on return. Raises Conflict, EngineAway (it may be written), EngineRefused.
        """
        data = to_json(dict(values))
        subject = self._names.key(self._kind, *ids)
        revision = await self._link.store(subject, data, last=last)
        self._taken(ids, Row(parse_object(data), revision), revision)
        # Its own hint advances: a revision before it may not be here yet.
        return revision

    async def delete(self, ids: Key, *, last: int | None = None) -> int:
        """Take a row away. As of `put`."""
        revision = await self._link.store(self._names.key(self._kind, *ids), b"", last=last, deletes=True)
        self._taken(ids, None, revision)
        return revision

    async def _hint(self, message: Message) -> None:
        """Ask for the value of a key that was written: the message itself does not say its revision."""
        before = self.revision
        value = None
        for pause in _STORED_WITHIN:
            try:
                value = await self._link.last_value(self._stream, message.subject)
            except DevServerError:
                # The next look, or the reconnect, finds it.
                self._missed += 1
                return
            if value is not None and (value.data == message.data or value.revision > before):
                break
            # Listeners hear of a write a moment before the engine has stored it.
            await asyncio.sleep(pause)
        else:
            self._missed += 1
        if value is not None:
            self._take(value)
            self._ahead = max(self._ahead, value.revision)
            # It may be a later one than was told of: the hints of those between are here, and still to be heard.
            if self._listening is not None and not self._listening.waiting:
                self._advance(self._ahead)
            elif value.revision == before + 1:
                self._advance(value.revision)

    async def _came_back(self, seconds: float) -> None:
        """Read all again: what was written meanwhile, no message has told."""
        try:
            await self.read()
        except DevServerError:  # away again: its next return reads
            return

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.look()
            except DevServerError:
                continue  # the engine is away, which the link tells

    def _take(self, message: Message) -> Key | None:
        """Take a value that was read; its key, or None where it is not readable."""
        try:
            key = self._names.ids(self._kind, message.subject)
            if message.is_deletion:
                row = None
            elif len(message.data) > _MOST_VALUE_BYTES:
                raise ValueError("too long")
            else:
                row = Row(parse_object(message.data), message.revision)
        except (ValueError, Malformed):
            return None
        self._taken(key, row, message.revision)
        return key

    def _taken(self, key: Key, row: Row | None, revision: int) -> None:
        if revision > self._seen.get(key, 0):
            self._seen[key] = revision
            self._put(key, row)

    def _put(self, key: Key, row: Row | None) -> None:
        before = self.rows.get(key)
        rows = dict(self.rows)
        if row is None:
            rows.pop(key, None)
        else:
            rows[key] = row
        self.rows = rows
        for told in tuple(self.on_change):
            told(key, before, row)

    def _advance(self, revision: int) -> None:
        self.revision = max(self.revision, revision)
        self._moved.set()
