"""Mods that take notes: small ones, for events to meet."""

from __future__ import annotations

from typing import Any

from devserver import Event

NOTES = """
    @mod_event_handler("note.*")
    def note(self, event):
        event.payload.setdefault("seen", []).append(self.mod_name)
"""
"""A mod that writes its name into every note, and answers nothing."""

ANSWERS = """
    @mod_event_handler("note.*")
    def note(self, event):
        event.payload.setdefault("seen", []).append(self.mod_name)
        return EventResponse(True, "answered", {"by": self.mod_name})
"""


def note(**fields: Any) -> Event:
    return Event(event_name="note.take", source_id=fields.pop("by", "ana"), **fields)
