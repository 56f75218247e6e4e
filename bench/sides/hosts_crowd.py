"""A thousand agents on three hosts, each a process, and on one: prints samples as JSON (seconds of each broadcast).

`hosts_crowd.py SAMPLES` is the author, with a third of them; it starts the other two, with `FOLDER URL NAME COUNT`.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack
from pathlib import Path

from hosts_pair import begin, each_of, run, send, with_host

from devserver.hosts.credentials import read
from devserver.hosts.engine import JOIN, Engine
from devserver.hosts.shared import fetch, write_workspace
from devserver.hosts.wanted import Wanted

_CROWD = 1000
_REST = 0.05


async def _measured(folder: Path, engine: Engine, samples: int, ends: AsyncExitStack) -> dict[str, list[float]]:
    alone, (author, _) = await begin(folder, engine, ends)
    share, others = _CROWD // 3, []
    for name in ("door", "third"):
        arguments = (str(folder), engine.url, name, str(share))
        pipe = asyncio.subprocess.PIPE
        each = await asyncio.create_subprocess_exec(sys.executable, __file__, *arguments, stdin=pipe)
        ends.push_async_callback(each.wait)
        assert each.stdin is not None
        ends.callback(each.stdin.close)
        others.append(each)
    await author.register_agent("ana")
    for number in range(_CROWD - 2 * share - 1):
        await author.register_agent(f"author{number}")
    for number in range(_CROWD):
        await alone.register_agent(f"crowd{number}")
    while author.directory.count() < _CROWD:
        assert all(each.returncode is None for each in others), "a host has ended"
        await asyncio.sleep(0.05)
    far, here = [], []
    for _ in range(samples):
        far += await each_of(1, lambda: send(author, "agent:broadcast"))
        # What is measured is a broadcast, and not how many a machine takes: the receivers come to rest.
        await asyncio.sleep(_REST)
        here += await each_of(1, lambda: send(alone, "agent:broadcast"))
    return {"thousand_far": far, "thousand_here": here}


async def host(folder: Path, url: str, name: str, count: int) -> None:
    """Join with so many agents, until the input ends."""
    credentials = read(folder / "engine" / JOIN)
    write_workspace(folder / name, *await fetch(url, credentials, name))
    async with AsyncExitStack() as ends:
        network, _ = await with_host(Wanted(name, False, url, credentials), folder / name, ends)
        for number in range(count):
            await network.register_agent(f"{name}{number}")
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    if len(sys.argv) == 2:
        asyncio.run(run(_measured, int(sys.argv[1])))
    else:
        asyncio.run(host(Path(sys.argv[1]), *sys.argv[2:4], int(sys.argv[4])))
