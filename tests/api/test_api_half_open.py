"""Connections whose other end has fallen silent without a word: a machine that sleeps, a process that is stopped."""

import asyncio
import os
import signal
import subprocess
import sys

from devserver.transports.http.protocol import uvicorn_options

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


async def test_a_client_that_is_stopped_loses_its_lines_and_not_its_identities(served):
    """Nothing is heard of it, the kernel still acknowledges for it: a ping without an answer ends each of its lines."""
    served.server.config.ws_ping_interval = served.server.config.ws_ping_timeout = 0.5
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


async def test_a_line_that_answers_pings_stays(served):
    """However little happens on it."""
    served.server.config.ws_ping_interval = served.server.config.ws_ping_timeout = 0.05
    async with served.agent("ana") as (line, _):
        (protocol,) = served.connections()
        pings = []
        sent = protocol.conn.send_ping
        protocol.conn.send_ping = lambda payload: (pings.append(payload), sent(payload))
        await served.until(lambda: len(pings) >= 5)
        assert served.network.directory.agent("ana").sockets == 1
        await line.ping()


def test_a_silent_line_ends_within_forty_seconds():
    """As the server is run, nothing changes how often lines are asked: every 20 s, with 20 s to answer."""
    assert not [name for name in uvicorn_options() if name.startswith("ws_ping")]
