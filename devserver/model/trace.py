"""An event as it is recorded: the columns of a row, and of one visit to a mod. Values only.

A row is a JSON array, so that a page that shows thousands of them parses no names. Times are whole
microseconds; an `at` counts from the zero of the run, which the feed tells in seconds since 1970.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any

from devserver.model.wire_form import iso_of

ROW: tuple[tuple[str, str], ...] = (
    ("number", "counts the beginnings of events, from 1: what people type, as in #1287"),
    ("parent", "the number of the event on whose behalf a handler sent this one; 0 for none"),
    ("at_us", "when it began"),
    ("took_us", "how long its way was"),
    ("event_name", ""),
    ("source", "the sender's source_id, or null"),
    ("destination", "the destination_id, or null: the network itself"),
    ("event_id", ""),
    ("ok", "whether its answer says success"),
    ("said", "the message of its answer, at most 300 characters"),
    ("way", "the visits to mods, in order: each an array of the columns of VISIT"),
    ("to", "up to 20 ids of agents that got it; then, where there are more, how many more, as a number"),
    ("full", "up to 20 ids of agents whose outbox had no room for it"),
    (
        "payload",
        "as it came, before any mod saw it; beyond 16 KiB a sentence with its size instead; null for events whose"
        " name begins with system., in which secrets travel",
    ),
)
"""The columns of a row with their meaning, in order."""

VISIT: tuple[tuple[str, str], ...] = (
    ("mod_id", ""),
    ("generation", "the number of the generation that was asked; 0 if there was none"),
    ("at_us", "when its handlers began, or the wait at its gate where these did not"),
    ("held_us", "how long the event waited at the mod's gate before"),
    ("took_us", "how long its handlers took"),
    ("said", "one of Said"),
)
"""The columns of a visit with their meaning, in order."""

NUMBER, PARENT, AT, TOOK, EVENT_NAME, SOURCE, DESTINATION, EVENT_ID, OK, SAID, WAY, TO, FULL, PAYLOAD = range(len(ROW))
"""The place of each column in a row."""

MOST_SAID = 300
MOST_NAMED = 20
MOST_PAYLOAD = 16 * 1024
"""The most bytes of a payload, as JSON, in a row."""
MOST_WHOLE = 64 * 1024
"""The most bytes of a payload that are kept beside the row."""


class Said(IntEnum):
    """The result of a visit to a mod."""

    PASSED = 0
    ANSWERED = 1
    RAISED = 2
    GIVEN_UP = 3
    """It ran for too long, and was ended."""
    GONE = 4
    """The mod was unloaded while the event waited at its gate."""
    REFUSED = 5
    """The gate had too many events already."""


Visit = tuple[str, int, int, int, int, int]
"""One visit, in the columns of VISIT."""


def event_of_row(row: Sequence[Any], payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return the event of a row, with its whole payload, as it can be sent again."""
    return {
        "event_name": row[EVENT_NAME],
        "source_id": row[SOURCE],
        "destination_id": row[DESTINATION],
        "event_id": row[EVENT_ID],
        "payload": payload,
    }


def row_to_dict(row: Sequence[Any], zero: float) -> dict[str, Any]:
    """Return a row by names, as commands print it. `zero`: the zero of its times, since 1970."""
    return {
        "number": row[NUMBER],
        "parent": row[PARENT],
        "time": iso_of(zero + row[AT] / 1e6),
        "took_ms": row[TOOK] / 1000,
        "event_id": row[EVENT_ID],
        "event_name": row[EVENT_NAME],
        "source_id": row[SOURCE],
        "destination_id": row[DESTINATION],
        "success": row[OK],
        "message": row[SAID],
        "way": [
            {
                "mod_id": mod_id,
                "generation": generation,
                "held_ms": held / 1000,
                "took_ms": took / 1000,
                "said": Said(said).name.lower(),
            }
            for mod_id, generation, _, held, took, said in row[WAY]
        ],
        "to": [each for each in row[TO] if isinstance(each, str)],
        "full": list(row[FULL]),
        "payload": row[PAYLOAD],
    }
