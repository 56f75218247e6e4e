"""A dashboard's server that a test writes: the real HTTP stack, gate and files, over answers that the test chooses."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from devserver.control.page import PageApi, Tickets
from devserver.model.change import Trigger
from devserver.model.config import NetworkConfig
from devserver.model.event import Event, EventResponse
from devserver.model.facts import PlanDone
from devserver.model.plan import Plan
from devserver.model.principal import Scope
from devserver.network.agents import Directory
from devserver.server.app import make_app
from devserver.transports.http.answers import Answer, refused, told
from devserver.transports.http.routes import Request, Route
from devserver.transports.http.serving import HttpServer

TOKEN = "admin-token-of-this-run"
ZERO = 1_795_974_000.0
COLUMNS = (
    *("number", "parent", "at_us", "took_us", "event_name", "source", "destination"),
    *("event_id", "ok", "said", "way", "to", "full", "payload"),
)
Json = dict[str, Any]


def mod(mod_id: str, generation: int = 1, **more: Any) -> Json:
    """A mod as status describes it."""
    row: Json = {
        "mod_id": mod_id,
        "mod_path": f"mods.{mod_id}",
        "generation": generation,
        "state": "live",
        "description": "",
        "handled": 0,
        "errors": 0,
        "failed": None,
        "raised": None,
        "outcome": None,
        "newer_on_disk": [],
    }
    return row | more


def error(message: str, **more: Any) -> Json:
    """An error as status tells it."""
    excerpt = [[116, "    page = find(state, path)"], [117, "    need_owner(page, who)"], [118, "    was = page.titel"]]
    where = {"file": "mods/wiki/pages.py", "line": 118, "column": 11, "function": "rename", "excerpt": excerpt}
    return {"kind": "AttributeError", "message": message, "hint": None, "time": iso(0), **where, **more}


def iso(seconds: float) -> str:
    """A moment in seconds after the zero of the run."""
    whole = ZERO + seconds
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + f".{int(whole * 1000) % 1000:03d}Z"


def outcome(mod_id: str | None, generation: int, at: float, **more: Any) -> Json:
    """The fact of a swap."""
    row: Json = {
        "type": "outcome",
        "time": iso(at),
        "action": "reload",
        "mod_id": mod_id,
        "status": "applied",
        "phase": "open",
        "generation": generation,
        "duration_ms": 12.4,
        "reason": f"mods/{mod_id}/mod.py changed",
        "error": None,
        "note": "state kept (4 keys)",
        "agents": {"connected": 3, "dropped": 0},
        "held": {"events": 2, "longest_ms": 3.4},
        "holders": [],
        "host": "",
    }
    return row | more


class Acted:
    """What the server answers. A test changes it from its own thread, through the methods."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.posted: list[tuple[str, Json]] = []
        self.rows: list[list[Any]] = []
        self.facts: list[Json] = []
        self.logs: list[list[Any]] = []
        self.sums: list[list[Any]] = []
        self.changes: list[Json] = []
        self.details: dict[int, Json] = {}
        self.events: dict[int, Json] = {}
        self.values: Json = {
            "name": "Sample network",
            "mods": [mod("analytics"), mod("messaging", 4), mod("wiki", 5), mod("project")],
            "down": [],
            "agents": [{"agent_id": name, "transport": "ws", "connected": True} for name in ("ana", "charlie")],
            "reloads": 9,
            "failed": 2,
            "refused": [],
            "paused": False,
            "waiting": [],
            "restart": None,
            "last_error": None,
        }
        self.answers: dict[str, Json] = {}
        self.pins: list[Json] = []
        self.states: dict[str, Json] = {}
        self.recorded: dict[str, list[list[Any]]] = {}
        self.moments: dict[tuple[int, str], Json] = {}
        self.shelf: list[Json] = []
        self.asks: list[Json] = []
        self.revision = 1
        self.ended = 0
        self.recording: str | None = None
        self.hosts: Json | None = None
        self.refuses: tuple[int, str, str] | None = None
        self.delay = 0.0
        self.news = asyncio.Event()
        self.loop: asyncio.AbstractEventLoop
        self.url = ""

    # What a test changes

    def tell(self, **values: Any) -> None:
        """Change parts of what status says."""

        def change() -> None:
            self.values |= values
            self.revision += 1
            self.news.set()

        self._there(change)

    def event(self, name: str, *visits: list[Any], at: float = 0.0, took: int = 800, **more: Any) -> int:
        """An event has ended; its number. `visits` have their `at` in µs after the event began."""
        number = more.pop("number", len(self.rows) + 1)
        begun = int(at * 1e6)
        way = [[mod_id, generation, begun + start, *rest] for mod_id, generation, start, *rest in visits]
        values: Json = {
            "number": number,
            "parent": 0,
            "at_us": begun,
            "took_us": took,
            "event_name": name,
            "source": "ana",
            "destination": None,
            "event_id": f"id-{number}",
            "ok": True,
            "said": "",
            "way": way,
            "to": [],
            "full": [],
            "payload": {"page_path": "home"},
        }
        row = [(values | more)[key] for key in COLUMNS]

        def change() -> None:
            self.rows.append(row)
            self.ended += 1
            self.news.set()

        self._there(change)
        return number

    def fact(self, fact: Json) -> None:
        """Something happened."""

        def change() -> None:
            self.facts.append({"n": len(self.facts) + 1, **fact})
            self.revision += 1
            self.news.set()

        self._there(change)

    def _there(self, change: Callable[[], None]) -> None:
        done = threading.Event()

        def run() -> None:
            change()
            done.set()

        self.loop.call_soon_threadsafe(run)
        assert done.wait(10)

    def feeds(self) -> int:
        """How often the feed was asked."""
        return sum(each == "feed" for each in self.asked)

    # What it answers

    def routes(self) -> tuple[Route, ...]:
        """The data plane."""
        reads = {"feed": self._feed, "event": self._event, "search": self._search, "reloads": self._changes}
        reads |= {"change": self._change, "plan": self._plan, "mods": self._mods}
        reads |= {"catalogue": self._catalogue, "catalogue/show": self._show, "asked": self._asked}
        reads |= {"sessions": self._sessions, "session": self._session, "session/state": self._moment}
        reads |= {"pins": self._pins, "state": self._state, "hosts": self._hosts}
        posts = (
            "undo",
            "redo",
            "saves",
            "replay",
            "test",
            "pins",
            "pins/accept",
            "pins/ignore",
            "pins/remove",
            "promote",
            "drop",
            "asked",
            "record",
            "add",
        )
        return (
            *(
                Route("GET", f"/_dev/{name}", Scope.ADMIN, self._noted(name, does), waits=True)
                for name, does in reads.items()
            ),
            *(Route("POST", f"/_dev/{name}", Scope.ADMIN, self._post(name)) for name in posts),
        )

    def _noted(self, name: str, does: Any) -> Any:
        async def endpoint(request: Request) -> Answer:
            self.asked.append(name)
            if self.refuses is not None:
                status, code, words = self.refuses
                return refused(code, words, status)
            return await does(request)

        return endpoint

    def _post(self, name: str) -> Callable[[Request], Coroutine[Any, Any, Answer]]:
        async def endpoint(request: Request) -> Answer:
            self.posted.append((name, dict(request.body)))
            if name == "saves":
                return told({"paused": request.body["do"] == "pause", "waiting": [], "done": []})
            if name in self.answers:
                return told(self.answers[name])
            return told({"success": True, "outcomes": [outcome("wiki", 6, 0)], "holds": []})

        return endpoint

    async def _hosts(self, request: Request) -> Answer:
        return told(self.hosts or {"network": None, "engine": None, "hosts": None})

    async def _feed(self, request: Request) -> Answer:
        asked = {
            key: int(request.query.get(key, "0")) for key in ("after", "facts", "logs", "second", "most", "seconds")
        }
        await asyncio.sleep(0.05)
        is_first = "after" not in request.query
        seen = (asked["after"], asked["facts"], len(self.logs))
        if not is_first and seen[:2] == (self.ended, len(self.facts)) and not self.news.is_set():
            try:
                await asyncio.wait_for(self.news.wait(), asked["seconds"])
            except TimeoutError:
                pass
        self.news.clear()
        came = self.ended - asked["after"]
        rows = self.rows[-min(came, asked["most"], 100) :] if came else []
        form = {"columns": list(COLUMNS), "zero": ZERO} if is_first else {}
        return told(
            {
                **form,
                "next": self.ended,
                "skipped": came - len(rows),
                "rows": rows,
                "seconds": [each for each in self.sums if each[0] > asked["second"]],
                "facts": [each for each in self.facts if each["n"] > asked["facts"]],
                "logs": [each for each in self.logs if each[0] > asked["logs"]],
                "mods": self.revision,
                "recording": self.recording,
                "agents": {"n": len(self.values["agents"]), "dropped": 0},
            }
        )

    async def _event(self, request: Request) -> Answer:
        number = int(request.query["number"])
        row = next((each for each in self.rows if each[0] == number), None)
        if row is None:
            return refused("not_kept", f"event {number} is not kept", 404)
        children = [each for each in self.rows if each[1] == number]
        return told({"row": row, "children": children, "payload": row[-1], **self.events.get(number, {})})

    async def _search(self, request: Request) -> Answer:
        found = [each for each in reversed(self.rows) if request.query["q"] in str(each)]
        return told(
            {
                "rows": found[: int(request.query["most"])],
                "scanned": len(self.rows),
                "kept": len(self.rows),
                "next": None,
            }
        )

    async def _changes(self, request: Request) -> Answer:
        after = int(request.query.get("after", "0"))
        return told({"next": len(self.changes), "reloads": [each for each in self.changes if each["number"] > after]})

    async def _change(self, request: Request) -> Answer:
        number = int(request.query["number"])
        return told({**self.changes[number - 1], **self.details.get(number, {})})

    async def _mods(self, request: Request) -> Answer:
        mods = self.values["mods"]
        order = [each["mod_id"] for each in mods]
        return told({"revision": self.revision, "order": order, "mods": mods, "down": self.values["down"]})

    async def _pins(self, request: Request) -> Answer:
        return told({"pins": self.pins, "off": "", "kernel": True, "skipped": 0, "problems": []})

    async def _state(self, request: Request) -> Answer:
        path = request.query.get("since") or request.query.get("path", "")
        found = self.states.get(path)
        if found is None:
            return refused("cannot_replay", f"{path} cannot be shown: nothing lies there", 409)
        return told({"mod_id": request.query["mod"], "path": path, "lost": [], **found})

    async def _sessions(self, request: Request) -> Answer:
        return told({"sessions": sorted(self.recorded)})

    async def _session(self, request: Request) -> Answer:
        events = self.recorded[request.query["name"]]
        return told({"name": request.query["name"], "notes": [], "events": events, "of": len(events)})

    async def _moment(self, request: Request) -> Answer:
        return told(self.moments[int(request.query["number"]), request.query.get("path", "")])

    async def _catalogue(self, request: Request) -> Answer:
        found = [each for each in self.shelf if request.query.get("q", "") in each["name"]]
        told_besides = {"found": len(found), "of": len(self.shelf), "catalogues": ["built-in"], "problems": []}
        return told({"mods": found, **told_besides})

    async def _show(self, request: Request) -> Answer:
        row = next(each for each in self.shelf if each["name"] == request.query["name"])
        more = {
            "license": "MIT",
            "homepage": None,
            "answers": ["poll.open"],
            "requires": [],
            "touches": {"files": ["x.db"]},
            "sha256": "ab" * 32,
        }
        return told({**row, **more, "lines": 120, "files": 2, "size": 4096, "read_from": "source"})

    async def _asked(self, request: Request) -> Answer:
        return told({"asked": self.asks})

    async def _plan(self, request: Request) -> Answer:
        return told({"plans": [], "problems": []})

    # The control API's server

    def status(self, *, mods: bool = True) -> Json:
        """What runs."""
        return {key: value for key, value in self.values.items() if mods or key not in ("mods", "down")}

    def catalogue(self) -> Json:
        """What can be asked."""
        payload = {
            "type": "object",
            "required": ["page_path"],
            "properties": {"page_path": {"type": "string"}, "reason": {"type": "string", "default": ""}},
        }
        handler = {"events": ["wiki.page.get"], "handler": "get", "description": "Get a page.", "payload": payload}
        return {"mods": [{"mod_id": "wiki", "mod_path": "mods.wiki", "generation": 5, "handlers": [handler]}]}

    async def submit(self, trigger: Trigger) -> PlanDone:
        """Remember what was asked for."""
        self.posted.append((type(trigger).__name__, {"trigger": trigger}))
        return PlanDone(Plan("asked"), (), 1.5)

    async def send(self, event: Event, as_agent: str | None) -> EventResponse:
        """Remember an event."""
        self.posted.append(("send", {"event_name": event.event_name, "payload": event.payload, "as": as_agent}))
        return EventResponse(True, "sent", {"page_path": "home"})


class _NoAgents:
    """A network that only has what an application needs to be made."""

    def __init__(self) -> None:
        self.config = NetworkConfig(name="Acted")
        self.directory = Directory(self.config)


@contextmanager
def acting() -> Iterator[Acted]:
    """Serve on a thread of its own."""
    acted, ready, listener = Acted(), threading.Event(), socket.create_server(("127.0.0.1", 0))
    acted.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    over: list[asyncio.Event] = []

    async def serve() -> None:
        network: Any = _NoAgents()
        routes = (*acted.routes(), *PageApi(TOKEN, Tickets(lambda: None)).routes())
        app = make_app(network, acted, token=TOKEN, port_of=lambda: listener.getsockname()[1], routes=routes)
        server = HttpServer(app, network.directory.accounts)
        acted.loop, end = asyncio.get_running_loop(), asyncio.Event()
        over.append(end)
        server.begin([listener])
        ready.set()
        await end.wait()
        await server.end()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield acted
    finally:
        acted.loop.call_soon_threadsafe(over[0].set)
        thread.join(10)
        listener.close()
