"""Two unmodified clients of openagents: `python clients_openagents.py PORT COUNT SEED LEAST MOST [FOLDER ...]`.

One sends the other so many events, LEAST to MOST seconds apart; prints a JSON list of the milliseconds until each was
handled. With folders, in which `devserver` and what it needs lie, its `push()` has been called before.
"""

# mypy: disable-error-code="import-not-found"
# Its imports are those of another environment.

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
import random
import sys
import time

logging.disable(logging.CRITICAL)

from openagents.core.client import AgentClient  # noqa: E402
from openagents.models.event import Event  # noqa: E402

_LONGEST = 10.0


async def main(port: int, count: int, least: float, most: float) -> list[float]:
    """Send, and take the time."""
    sender, receiver = AgentClient("bench-sender"), AgentClient("bench-receiver")
    for client in (sender, receiver):
        assert await client.connect_to_server(network_host="127.0.0.1", network_port=port)
    got: asyncio.Queue[float] = asyncio.Queue()

    async def note(event: Event) -> None:
        await got.put(time.perf_counter())

    receiver.register_event_handler(note, ["bench.told.one"])
    # Until the first poll has begun.
    await asyncio.sleep(1.5)
    began: list[float] = []
    for _ in range(count):
        await asyncio.sleep(random.uniform(least, most))
        began.append(time.perf_counter())
        to = {"destination_id": "agent:bench-receiver", "payload": {"text": "psst"}}
        await sender.send_event(Event(event_name="bench.told.one", source_id="bench-sender", **to))
    came = [await asyncio.wait_for(got.get(), _LONGEST) for _ in range(count)]
    took = [(then - now) * 1000 for now, then in zip(began, came, strict=True)]
    for client in (sender, receiver):
        await client.disconnect()
    return took


random.seed(int(sys.argv[3]))
if sys.argv[6:]:
    sys.path += sys.argv[6:]
    from devserver.bridge.push import push

    push()
with contextlib.redirect_stdout(io.StringIO()):
    found = asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[4]), float(sys.argv[5])))
print(json.dumps(found))
