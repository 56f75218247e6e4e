"""Two unmodified clients of the package openagents: `python clients_openagents.py PORT COUNT SEED`.

One sends the other so many events, now and then; prints a JSON list of the milliseconds until each was handled.
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

# A client rests for a second after each poll: whoever sends in that time measures the rest.
_APART = (1.1, 2.1)
_LONGEST = 10.0


async def main(port: int, count: int) -> list[float]:
    """Send, and take the time."""
    sender, receiver = AgentClient("bench-sender"), AgentClient("bench-receiver")
    for client in (sender, receiver):
        assert await client.connect_to_server(network_host="127.0.0.1", network_port=port)
    got: asyncio.Queue[float] = asyncio.Queue()

    async def note(event: Event) -> None:
        await got.put(time.perf_counter())

    receiver.register_event_handler(note, ["bench.told.one"])
    took = []
    for _ in range(count):
        await asyncio.sleep(random.uniform(*_APART))
        began = time.perf_counter()
        to = {"destination_id": "agent:bench-receiver", "payload": {"text": "psst"}}
        await sender.send_event(Event(event_name="bench.told.one", source_id="bench-sender", **to))
        took.append((await asyncio.wait_for(got.get(), _LONGEST) - began) * 1000)
    for client in (sender, receiver):
        await client.disconnect()
    return took


random.seed(int(sys.argv[3]))
with contextlib.redirect_stdout(io.StringIO()):
    found = asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
print(json.dumps(found))
