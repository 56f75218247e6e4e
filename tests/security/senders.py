"""Agents behind either door of a real server, HTTP or a WebSocket, and a mod that hears everything."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import websockets
import websockets.sync.client as websocket
from live import PATIENCE, Agent, Json, Live

LISTENER = """
    def initialize(self):
        self.state.setdefault("seen", [])

    @mod_event_handler("*")
    async def see(self, event):
        if event.event_name == "seen.all.get":
            seen, self.state["seen"] = self.state["seen"], []
            return EventResponse(True, data={"seen": seen})
        self.state["seen"].append([event.event_name, event.source_id, event.source_agent_group])
"""


@dataclass
class Sender:
    """An agent behind one of the two doors. `status` is HTTP's, 200 for every answer over a WebSocket."""

    agent: Agent
    line: websocket.ClientConnection | None = None
    pushed: list[Json] = field(default_factory=list)

    def send(self, **values: Any) -> Json:
        """Send an event with these fields; the answer, in which `code` says what was wrong."""
        return self.send_raw(json.dumps(values))

    def send_raw(self, event: str) -> Json:
        """Send an event that is JSON text already, perhaps bad."""
        if self.line is not None:
            return self._over_line(f'{{"type":"send","id":"1","event":{event}}}')
        mine = f'"source_id":{json.dumps(self.agent.agent_id)},"secret":{json.dumps(self.agent.secret)}'
        body = f"{{{mine},{event.strip()[1:]}" if event.strip() != "{}" else f"{{{mine}}}"
        return self._over_http(body.encode("utf-8", "surrogatepass"))

    def _over_http(self, body: bytes) -> Json:
        head = "POST /api/send_event HTTP/1.1\r\nHost: @HOST@\r\nContent-Type: application/json\r\n"
        answer = self.agent.live.raw(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        assert answer.status < 500, answer
        return {"status": answer.status, **_with_code(answer.json)}

    def _over_line(self, message: str) -> Json:
        assert self.line is not None
        self.line.send(message)
        while True:
            got = json.loads(self.line.recv(PATIENCE))
            if got["type"] != "event":
                return {"status": 200, "success": got.get("success", False), **_with_code(got)}
            self.pushed.append(got["event"])

    def received(self) -> list[Json]:
        """The events that have come for it, without what the network tells of loads and unloads."""
        return [each for each in self._received() if not each["event_name"].startswith("system.notification.mod")]

    def _received(self) -> list[Json]:
        if self.line is None:
            return self.agent.taken()
        assert self._over_line('{"type":"ping","id":"2"}')["type"] == "pong"
        events, self.pushed = self.pushed, []
        return events


def _with_code(answer: Json) -> Json:
    return {**answer, "code": answer.get("code") or (answer.get("data") or {}).get("code")}


@contextmanager
def joined(net: Live, door: str, name: str) -> Iterator[Sender]:
    """An agent called `name` and the door, which leaves at the end."""
    agent_id = f"{name}-{door}"
    agent = Agent(net, agent_id, register(net, "http", agent_id=agent_id)["secret"])
    try:
        if door == "http":
            yield Sender(agent)
            return
        with websocket.connect(f"ws://127.0.0.1:{net.port}/ws", max_size=None) as line:
            line.send(json.dumps({"type": "register", "agent_id": agent.agent_id, "secret": agent.secret}))
            assert json.loads(line.recv(PATIENCE))["type"] == "registered"
            yield Sender(agent, line)
    finally:
        net.post("/api/unregister", agent_id=agent.agent_id, secret=agent.secret)


def register(net: Live, door: str, **values: Any) -> Json:
    """Try to register over a connection of its own; with the token of the run, so that no rate limits it."""
    bearer = {"Authorization": f"Bearer {net.token}"}
    if door == "http":
        answer = net.request("POST", "/api/register", values, bearer)
        assert answer.status < 500
        return answer.json
    with websocket.connect(f"ws://127.0.0.1:{net.port}/ws", additional_headers=bearer) as line:
        line.send(json.dumps({"type": "register", **values}))
        with suppress(websockets.ConnectionClosed):
            told = json.loads(line.recv(PATIENCE))
            return {"success": told["type"] == "registered", **told}
        return {"success": False, "code": "closed"}


def seen(sender: Sender) -> list[list[str]]:
    """What the mod has heard since it was last asked, but for its own and the notices."""
    heard = sender.send(event_name="seen.all.get", payload={})["data"]["seen"]
    return [each for each in heard if not each[0].startswith("system.notification.")]
