"""A rig for tests of several hosts: a real nats-server, with the buckets of a network, and links to it."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field

from devserver.hosts.engine import AUTHOR, CODE_WRITER, HOST, Engine
from devserver.hosts.link import Link
from devserver.hosts.names import BUCKETS, CODE, Names


@dataclass
class Rig:
    """An engine of a network named demo, and who is connected to it."""

    engine: Engine
    names: Names = field(default_factory=lambda: Names("demo"))
    links: list[Link] = field(default_factory=list)

    async def link(self, user: str = HOST, name: str = "gpu-1", *, url: str | None = None) -> Link:
        reads_only = "" if user == CODE_WRITER else self.names.bucket_stream(CODE)
        made = Link(url or self.engine.url, self.engine.record.credentials(user), name=name, reads_only=reads_only)
        await made.connect()
        self.links.append(made)
        return made

    async def make_all(self) -> Link:
        author, writer = await self.link(AUTHOR, "laptop"), await self.link(CODE_WRITER, "laptop")
        for kind in BUCKETS:
            await (writer if kind == CODE else author).make_bucket(self.names.bucket(kind))
        await author.make_queue(self.names.out_stream, f"oa.{self.names.n}.out.*", seconds=3600, most_bytes=2**20)
        return author

    async def crash(self) -> None:
        """End the engine as a crash does, and start it again on the same port and files."""
        os.kill(self.engine.record.pid, signal.SIGKILL)
        assert self.engine._process is not None
        self.engine._process.wait()
