"""A second host as a process of its own: it carries out its parts, and answers on standard output what it is asked.

`python other_host.py FOLDER CREDENTIALS URL NAME AUTHOR`; each line of standard input is the name of an event.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

from devserver import AgentNetwork, Event
from devserver.hosts.code import Copies
from devserver.hosts.credentials import read
from devserver.hosts.follow import Followed
from devserver.hosts.link import Link
from devserver.hosts.members import Members
from devserver.hosts.names import CODE, DECISIONS, Names
from devserver.hosts.part import Follower
from devserver.model.config import NetworkConfig


async def main(folder: Path, creds: Path, url: str, name: str, author: str) -> None:
    """Join, and answer until the input ends."""
    credentials = read(creds)
    names = Names(credentials.network)
    link = Link(url, credentials, name=name, reads_only=names.bucket_stream(CODE))
    await link.connect()
    network = AgentNetwork.create_from_config(NetworkConfig("Test"), workspace_path=folder)
    network.engine.author = author
    await network.initialize()
    decisions = Followed(link, names, DECISIONS)
    await decisions.begin()
    members = Members(link, names, host=name, run=str(os.getpid()), beat=dict)
    follower = Follower(
        link,
        names,
        members,
        decisions=decisions,
        copies=Copies(link, names, folder),
        engine=network.engine,
        author=lambda: author,
    )
    await follower.begin()
    await members.begin()
    print(json.dumps({"ready": True}), flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        answer = await network.process_external_event(Event(event_name=line.strip(), source_id="agent:ana"))
        live = {each.mod_id: each.number for each in network.engine.registry.live}
        print(json.dumps({"data": answer.data, "live": live, "at": follower.opened}), flush=True)
    await members.end()
    await network.shutdown()
    await link.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:6]))
