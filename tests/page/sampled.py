"""A day's work on the sample network, made up: the events, swaps and sums that pictures and tests of looks show."""

from __future__ import annotations

from typing import Any

from acted import ZERO, Acted, error, mod, outcome

Json = dict[str, Any]
CODE = """--- mods/wiki/mod.py
+++ mods/wiki/mod.py
@@ -71,7 +71,9 @@ class WikiMod
     @mod_event_handler("wiki.page.edit")
     async def edit(self, event: Event):
         page = self._page(event)
-        new = pages.add(page, text(event))
+        why = optional_text(event, "reason")
+        new = pages.append(page, text(event), why)
         told = await self._tell(page, new)
-        return done(page, version=new.number)
+        return done(page, version=str(new.number),
+                    edited_by=new.by, notified=told)
"""


DIFFERENCES = [
    {"path": "answer.data.version", "before": 8, "after": "8", "kind": "changed"},
    {"path": "answer.data.edited_by", "before": None, "after": "ana", "kind": "added"},
]


def seen(**more: Any) -> Json:
    """What a run of an event did."""
    row: Json = {
        "success": True,
        "message": "",
        "data": {"page_path": "home", "version": 8},
        "way": [["wiki", "answered"]],
        "sends": [],
        "told": {"charlie": ["wiki.page.notification"]},
        "changed": {"wiki": [{"steps": ["pages", "home", "head"], "before": 6, "after": 7, "kind": "changed"}]},
        "raised": [],
        "refused": [],
        "printed": "",
        "took_us": 1100,
        "at": ZERO,
        "generations": {"wiki": 5},
        "notes": [],
    }
    return row | more


def pin(name: str, number: int, event_name: str, result: str, differences: list[Json] | None = None) -> Json:
    """A pin as the server describes it."""
    last = {"name": name, "number": number, "event_name": event_name, "result": result, "why": ""}
    return {
        "name": name,
        "number": number,
        "event_name": event_name,
        "at": ZERO,
        "generations": {"wiki": 4},
        "state": {"wiki": {"keys": 4}},
        "accepted": seen(),
        "noise": ["answer.data.edited_at"],
        "ignore": [],
        "last": {**last, "differences": differences or []},
    }


def sampled(acted: Acted) -> None:
    """Fill a server with it."""
    names = ("thread.channel_message.post", "wiki.page.get", "thread.reaction.add", "thread.channels.list")
    heard = {"thread": ("messaging", 4), "wiki": ("wiki", 4)}
    for each in range(60):
        name = names[each % 4]
        by, version = heard[name.partition(".")[0]]
        took = (820, 90, 200, 70)[each % 4]
        ways = (["analytics", 1, 2, 0, 14, 0], [by, version, 20, 0, took - 30, 1])
        acted.event(name, *ways, at=each * 1.5, took=took, source=("ana", "charlie", "critic")[each % 3])
    acted.event(
        "wiki.page.delete",
        ["wiki", 4, 10, 0, 100, 1],
        at=91,
        took=130,
        ok=False,
        said="only ana may delete home",
        source="critic",
    )
    acted.fact(outcome("wiki", 5, 93.0))
    payload = {"page_path": "home", "wiki_content": "# Home\nStart here.", "reason": "shorter"}
    way = (["analytics", 1, 2, 0, 14, 0], ["wiki", 5, 3450, 3400, 1200, 1])
    number = acted.event("wiki.page.edit", *way, at=93.2, took=4700, payload=payload, to=["charlie", "critic"])
    acted.event(
        "wiki.page.notification",
        at=93.2045,
        took=62,
        parent=number,
        source="mod:wiki",
        destination="channel:general",
        to=["charlie", "critic"],
    )
    answer = {
        "success": True,
        "message": "",
        "data": {"page_path": "home", "version": 8, "edited_by": "ana", "notified": 2},
    }
    deliveries = [{"agent": "charlie", "read_us": 400}, {"agent": "critic", "waits_us": 3000}]
    acted.events[number] = {"answer": answer, "deliveries": deliveries}
    failed = error("'Page' object has no attribute 'titel'. Did you mean: 'title'?")
    acted.fact(outcome("wiki", 5, 101.0, status="rolled_back", phase="initialize", error=failed, note=""))
    for each in range(8):
        acted.event("wiki.page.get", ["analytics", 1, 2, 0, 14, 0], ["wiki", 5, 20, 0, 70, 1], at=102 + each, took=95)
    sums = [
        [
            int(ZERO) + s,
            {
                "": [41, s % 9 == 0, 300, 900 + 40 * (s % 7)],
                "messaging": [17, 0, 400, 920 + 30 * (s % 5)],
                "wiki": [11, 0, 120, 5200 if s == 93 else 880 + 20 * (s % 11)],
                "analytics": [41, 0, 12, 60],
            },
        ]
        for s in range(122)
    ]
    acted.sums = sums
    acted.logs = [
        [
            each + 1,
            ZERO + each,
            ("info", "warning", "error")[each % 3],
            ("wiki", "messaging")[each % 2],
            0,
            f"line {each} of a log",
        ]
        for each in range(40)
    ]
    receipts = [("wiki", 4, 5, "applied", None), ("wiki", 5, 5, "rolled_back", failed)]
    for place, (name, _, generation, status, problem) in enumerate(receipts):
        row = outcome(
            name,
            generation,
            93.0 + 8 * place,
            status=status,
            error=problem,
            phase="open" if not problem else "initialize",
        )
        acted.changes.append(
            {
                "number": place + 1,
                "time": row["time"],
                "success": not problem,
                "cause": "save of mods/wiki/mod.py",
                "steps": [],
                "holds": [],
                "outcomes": [row],
                "duration_ms": 12.4,
                "agents": row["agents"],
                "held": row["held"],
            }
        )
    phases = [
        ["compile", 1.9, "build"],
        ["import", 3.1, "build"],
        ["construct", 0.8, "mods"],
        ["gate", 0.1, "mods"],
        ["drain", 0.4, "mods"],
        ["hand over", 0.9, "mods"],
        ["initialize", 2.0, "mods"],
        ["commit", 0.1, "mods"],
        ["open", 0.2, "mods"],
        ["close", 1.6, "mods"],
    ]
    acted.details[1] = {
        "phases": phases,
        "diff": [{"path": "mods/wiki/mod.py", "added": 4, "removed": 2, "text": CODE}],
    }
    agents = [
        {"agent_id": "ana", "transport": "ws", "connected": True},
        {"agent_id": "charlie", "transport": "ws", "connected": True},
        {"agent_id": "critic", "transport": "http", "connected": True, "waiting": 2},
        {"agent_id": "old one", "transport": "http", "connected": False},
    ]
    mods = [
        mod("analytics", handled=400),
        mod("messaging", 4, handled=170),
        mod("wiki", 5, failed=failed),
        mod("project"),
    ]
    acted.shelf = [
        {"name": name, "version": "1.2", "summary": "Polls", "catalogue": "built-in", "mods": [], "blocked": None}
        for name in ("oa-mod-poll", "oa-mod-<b>")
    ]
    acted.pins = [
        pin("wiki.page.create-41", 41, "wiki.page.create", "same"),
        pin("wiki.page.edit-57", 57, "wiki.page.edit", "differs", DIFFERENCES),
    ]
    acted.recorded = {
        "2026-11-29T1009.jsonl": [[57, "wiki.page.edit", "ana", True], [58, "wiki.page.get", "bo", False]]
    }
    level = {"type": "dict", "of": 1, "items": [{"key": "pages", "type": "dict", "of": 2}]}
    acted.moments[58, ""] = {"seen": seen(), "recorded": answer, **level}
    acted.tell(mods=mods, agents=agents, lingering={"wiki": [4]})
