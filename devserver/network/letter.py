"""One event as its receivers get it: JSON bytes that all of their outboxes share.

Bytes, because their length is the memory that they take: an object of many small values takes ten
times its JSON, and later changes of the event by a mod do not reach receivers.
"""

from __future__ import annotations

from typing import Any, ClassVar

from devserver.model.encoding import from_json, to_json
from devserver.model.event import Event

OVERHEAD = 160
"""The rough bytes of a letter without its text."""


class Letter:
    """An event that waits for its receivers; the same letter may wait in many outboxes."""

    __slots__ = ("holders", "number", "raw")
    kept: ClassVar[bool] = False
    """Whether it is kept elsewhere until its receivers have it."""

    def __init__(self, raw: bytes, number: int = 0) -> None:
        self.raw = raw
        self.number = number
        """The recorder's number of the event; 0 if it was not recorded."""
        self.holders = 0
        """The number of outboxes in which it waits; `accounts` counts its bytes once."""

    @classmethod
    def of(cls, event: Event, number: int = 0) -> Letter:
        """Write an event, without its secret. Never raises: what JSON cannot carry becomes text."""
        return cls(to_json(event.to_dict()), number)

    def taken(self) -> None:
        """Note that a receiver has got it, or has gone. A host that keeps it until then is told."""

    @property
    def size(self) -> int:
        """The rough bytes of its memory."""
        return len(self.raw) + OVERHEAD

    @property
    def event(self) -> Event:
        """The event, read for receivers in this process."""
        return Event.from_dict(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Read the fields of the event."""
        values = from_json(self.raw)
        return values if isinstance(values, dict) else {}
