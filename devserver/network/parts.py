"""Keeps the numbers of the lines' agents over a start: `.oa-dev/splits.json`.

Without the file, shares are given out in the order of network.yaml. With it, an agent stays in its
line over a start, too, though shares have changed since the first one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from devserver.live.split import ALL, Part
from devserver.market.folder import private_folder, write_whole

LIMIT = 1024 * 1024
"""The largest file in bytes that is read."""


def read_parts(file: Path) -> dict[str, dict[str, Part]]:
    """Return the numbers of each line by its mod and its label; of a mod without sound ones nothing."""
    try:
        with open(file, "rb") as stream:
            values = json.loads(stream.read(LIMIT))
        return {str(mod_id): dict(_lines(rows)) for mod_id, rows in values.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        # A missing or damaged file costs stickiness over this start, and nothing else.
        return {}


def _lines(rows: Mapping[str, Any]) -> Iterator[tuple[str, Part]]:
    """Raise ValueError for numbers that two lines have, or that are not numbers."""
    last = 0
    for first, end in sorted((first, end) for part in rows.values() for first, end in part):
        if not (isinstance(first, int) and isinstance(end, int) and last <= first < end <= ALL):
            raise ValueError
        last = end
    yield from ((label, tuple((first, end) for first, end in part)) for label, part in rows.items())


def write_parts(file: Path, parts: Mapping[str, Mapping[str, Part]]) -> None:
    """Replace the file; without lines remove it. Raises OSError."""
    kept = {mod_id: {label: part for label, part in lines.items() if part} for mod_id, lines in parts.items()}
    kept = {mod_id: lines for mod_id, lines in kept.items() if lines}
    if kept:
        private_folder(file.parent)
        write_whole(file, json.dumps(kept).encode())
    else:
        file.unlink(missing_ok=True)
