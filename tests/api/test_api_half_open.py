"""Connections whose other end has fallen silent without a word: a machine that sleeps, a process that is stopped."""

import asyncio
import os
import signal
import subprocess
import sys

from devserver.transports.http.channel import Deadline
from devserver.transports.http.websocket import PING_SECONDS, WebSocket

LINES = 20
CLIENT = """
import json, signal, sys
import websockets.sync.client as websocket

url, token, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
lines = [websocket.connect(url, additional_headers={"Authorization": f"Bearer {token}"}) for _ in range(count)]
for number, line in enumerate(lines):
    line.send(json.dumps({"type": "register", "agent_id": f"agent{number}"}))
    print(json.loads(line.recv())["secret"], flush=True)
signal.pause()
"""


async def test_a_client_that_is_stopped_loses_its_lines_and_not_its_identities(served, monkeypatch):
    """Nothing is heard of it, the kernel still acknowledges for it: a ping without an answer ends each of its lines."""
    monkeypatch.setattr(WebSocket, "ping_seconds", 0.5)
    command = [sys.executable, "-c", CLIENT, f"ws://127.0.0.1:{served.port}/ws", served.token, str(LINES)]
    directory = served.network.directory
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as client:  # noqa: ASYNC220 - begins at once
        try:
            secrets = [(await asyncio.to_thread(client.stdout.readline)).strip() for _ in range(LINES)]
            assert sum(each.sockets for each in directory.agents()) == LINES
            os.kill(client.pid, signal.SIGSTOP)
            await served.until(lambda: not any(each.sockets for each in directory.agents()))
            await served.until(lambda: not served.connections())
        finally:
            client.kill()
    for number, secret in enumerate(secrets):
        async with served.agent(f"agent{number}", secret=secret) as (_, told):
            assert told["resumed"] is True


async def test_a_line_that_answers_pings_stays(served, monkeypatch):
    """However little happens on it."""
    monkeypatch.setattr(WebSocket, "ping_seconds", 0.05)
    async with served.agent("ana") as (line, _):
        (protocol,) = served.connections()
        asked = []
        due = protocol._due
        protocol._deadline = Deadline(lambda: (asked.append(1), due()))
        protocol._deadline.set(0.05)
        await served.until(lambda: len(asked) >= 5)
        assert served.network.directory.agent("ana").sockets == 1
        await line.ping()


def test_a_silent_line_ends_within_forty_seconds():
    """A line is asked after 20 s in which nothing came, with 20 s to answer."""
    assert (PING_SECONDS, WebSocket.ping_seconds) == (20.0, 20.0)
