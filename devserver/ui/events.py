"""One event that was followed, as a line. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from devserver.ui.glyphs import Style
from devserver.ui.look import View
from devserver.ui.segments import Line, Segment, dim, plain, strong


def event_line(row: Mapping[str, Any], view: View) -> Line:
    """When, which, from whom to whom, what came of it, and what is in it.

    Args:
        row: `time`, `event_name`, `source_id`, `destination_id`, `success`, `message`, `payload`.
    """
    glyphs = view.look.glyphs
    at = datetime.fromisoformat(str(row["time"])).astimezone().strftime("%H:%M:%S")
    way = f"  {row.get('source_id') or 'unknown'} {glyphs.arrow} {row.get('destination_id') or 'network'}"
    good = row.get("success") is True
    sign = Segment(f"  {glyphs.dot if good else glyphs.failed} ", Style.GOOD if good else Style.BAD)
    payload = row.get("payload")
    told = dim(f"  {json.dumps(payload, ensure_ascii=False)}") if payload else plain("")
    return (
        plain(f"{at} "),
        strong(str(row.get("event_name"))),
        plain(way),
        sign,
        plain(str(row.get("message") or ("ok" if good else "failed"))),
        told,
    )
