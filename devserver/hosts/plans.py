"""This host in the plans of a network of several: the author asks the others, and they carry out their parts.

What a host that comes, or comes back, has missed is found by comparing what it runs with what is on disk, and brought
by a plan like any other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from devserver.agent_network import AgentNetwork
from devserver.errors import DevServerError
from devserver.hosts.agree import Author
from devserver.hosts.code import Copies
from devserver.hosts.follow import Followed
from devserver.hosts.link import Link
from devserver.hosts.members import Member, Members
from devserver.hosts.names import DECISIONS, Names
from devserver.hosts.part import Follower
from devserver.model.change import ConfigChanged, FilesChanged
from devserver.model.config import NetworkConfig
from devserver.model.names import mod_id_of
from devserver.sources.files import sources_now

_SAYS_SECONDS = 5.0
_AGAIN = 0.1


class Plans:
    """Arguments: `writer`, the link that may write code, of the author alone; `author` gives its name; `folder`, where
    a host that follows has the code; `begin_work` has something done beside everything else; `ordered` is told the
    order of all mods."""

    def __init__(
        self,
        link: Link,
        names: Names,
        members: Members,
        network: AgentNetwork,
        *,
        writer: Link | None,
        author: Callable[[], str],
        folder: Path,
        begin_work: Callable[[Awaitable[Any]], object],
        ordered: Callable[[Sequence[str]], None],
    ) -> None:
        self._decisions = Followed(link, names, DECISIONS)
        self._members, self._network, self._begin_work = members, network, begin_work
        self._runs: dict[str, str] = {}
        self.author: Author | None = None
        self.follower: Follower | None = None
        if writer is not None:
            self.author = Author(link, names, members, decisions=self._decisions, writer=writer, engine=network.engine)
        else:
            self.follower = Follower(
                link,
                names,
                members,
                decisions=self._decisions,
                copies=Copies(link, names, folder),
                engine=network.engine,
                author=author,
            )
            self.follower.ordered = ordered
        self.came_back: Callable[[str], None] = lambda host: None
        """Told of a host that is there, before it is brought what it should run."""
        self._ordered = ordered

    async def begin(self, author: str) -> None:
        """Know what was decided, before any mod is loaded. Raises EngineAway and others."""
        await self._decisions.begin()
        engine = self._network.engine
        if self.author is not None:
            self.author.begin()
            engine.knowledge.elsewhere = self.author
            self._take_order(engine.config)
            engine.on_config.append(self._take_order)
            self._members.on_come.append(self._host_came)
        else:
            engine.author = author or "another host"
            engine.knowledge.watches = False

    async def open(self) -> None:
        """Be asked, from now on. Raises EngineAway."""
        if self.follower is not None:
            await self.follower.begin()

    async def end(self) -> None:
        """Be asked no more."""
        if self.follower is not None:
            await self.follower.end()
        await self._decisions.end()

    def is_ready(self, met: int) -> bool:
        """Return whether `ready` would wait for nothing."""
        return self.follower is None or self.follower.is_ready(met)

    async def ready(self, met: int) -> None:
        """Wait until an event that has met this revision meets no code from before it here."""
        if self.follower is not None:
            await self.follower.ready(met)

    @property
    def met(self) -> int:
        """The last revision that serves here."""
        if self.author is not None:
            return self.author.opened
        return self.follower.opened if self.follower is not None else 0

    def _take_order(self, config: NetworkConfig) -> None:
        self._ordered([mod_id_of(each.path) for each in config.enabled_mods])

    def _host_came(self, member: Member, away: float | None) -> None:
        self._begin_work(self._bring_up(member))

    async def _bring_up(self, member: Member) -> None:
        """Have a host run what it should: what the network.yaml on disk wants there."""
        author, engine = self.author, self._network.engine
        if author is None:
            return
        self.came_back(member.host)
        if self._runs.get(member.host) != member.run:
            author.forget(member.host)
            self._runs[member.host] = member.run
        try:
            # It may be heard a moment before it can be asked.
            while not await author.learn(member.host):
                if not self._members.alive(member.host):
                    return
                await asyncio.sleep(_AGAIN)
            await engine.submit(ConfigChanged(engine.config, f"host {member.host}"))
            mods = [each for each in author.mods.values() if each.mod.host == member.host]
            known = {path: digest for each in mods for path, digest in engine.knowledge.on_disk(each.sources).items()}
            now = await asyncio.to_thread(sources_now, list(known))
            changed = {path: digest for path, digest in now.items() if digest != known[path]}
            if changed:
                await engine.submit(FilesChanged(changed, cause=f"host {member.host}"))
            await author.ask(member.host, "current", {}, _SAYS_SECONDS)
        except DevServerError:
            return  # the network ends, or the host has gone again, and comes again
