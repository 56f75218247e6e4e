"""Unmodified agents of the package openagents talk to a real `oa-dev run`, and notice neither reloads nor a restart."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("openagents")

from openagents.agents.worker_agent import WorkerAgent
from openagents.core.client import AgentClient
from openagents.models.event import Event
from served_process import PATIENCE, Running, serving

YAML = """\
network:
  name: Home
  mods:
    - name: ./echo
    - name: openagents.mods.workspace.messaging
"""
ECHO = """
from openagents.core.base_mod import BaseMod, mod_event_handler
from openagents.models.event_response import EventResponse

VERSION = {version}


class EchoMod(BaseMod):
    @mod_event_handler("echo.text.say")
    async def say(self, event):
        return EventResponse(success=True, message="said", data={{"text": event.payload["text"], "version": VERSION}})
"""


class Client(AgentClient):
    """The client as it is; it is only watched when it polls and what it receives."""

    def __init__(self, agent_id: str) -> None:
        super().__init__(agent_id)
        self.received: asyncio.Queue[Event] = asyncio.Queue()
        self.polls = 0
        self.polling = asyncio.Event()

    async def join(self, port: int, **options: Any) -> None:
        """Connect, and listen to everything."""
        assert await self.connect_to_server(network_host="127.0.0.1", network_port=port, **options)
        poll = self.connector.poll_messages

        async def watched() -> Any:
            self.polls += 1
            self.polling.set()
            try:
                return await poll()
            finally:
                self.polling.clear()

        self.connector.poll_messages = watched
        self.register_event_handler(self._receive, ["*"])

    async def _receive(self, event: Event) -> None:
        self.received.put_nowait(event)

    async def ask(self, name: str, to: str | None = None, **payload: Any) -> Any:
        """Send an event; its answer."""
        return await self.send_event(
            Event(event_name=name, source_id=self.agent_id, destination_id=to, payload=payload)
        )

    async def next(self, name: str) -> Event:
        """The next event of that name."""
        async with asyncio.timeout(PATIENCE):
            while (event := await self.received.get()).event_name != name:
                continue
            return event


@contextlib.asynccontextmanager
async def joined(port: int, *names: str) -> AsyncIterator[list[Client]]:
    """Clients that are connected, and disconnect at the end."""
    clients = [Client(name) for name in names]
    try:
        for client in clients:
            await client.join(port)
        yield clients
    finally:
        for client in clients:
            await client.disconnect()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A workspace with a mod of its own and messaging, both of openagents."""
    (tmp_path / "network.yaml").write_text(YAML)
    (tmp_path / "mods" / "echo").mkdir(parents=True)
    save(tmp_path, 1)
    return tmp_path


def save(folder: Path, version: int) -> None:
    """Save a version of the mod `echo`."""
    (folder / "mods" / "echo" / "mod.py").write_text(ECHO.format(version=version))


@pytest.fixture
async def server(folder: Path) -> AsyncIterator[Running]:
    """A server of that workspace."""
    async with serving(folder) as running:
        yield running


async def test_a_client_connects_lists_sends_receives_and_disconnects(server: Running) -> None:
    """Everything that AgentClient can ask of a network is answered as it expects."""
    async with joined(server.port, "ana", "bob") as (ana, bob):
        assert {each["agent_id"] for each in await ana.list_agents()} == {"ana", "bob"}
        mods = await ana.list_mods()
        assert [each["name"] for each in mods] == ["./echo", "openagents.mods.workspace.messaging"]
        answer = await ana.ask("echo.text.say", text="hi")
        assert (answer.success, answer.message, answer.data) == (True, "said", {"text": "hi", "version": 1})
        assert (await ana.ask("note.for.bob", to="agent:bob", text="hello")).success
        event = await bob.next("note.for.bob")
        assert (event.source_id, event.payload, event.secret) == ("ana", {"text": "hello"}, None)
        assert await bob.disconnect()
        assert {each["agent_id"] for each in await ana.list_agents()} == {"ana"}


async def test_subscriptions_choose_what_a_client_receives(server: Running) -> None:
    """A subscribed client gets what it subscribed to, and after unsubscribing everything."""
    async with joined(server.port, "ana", "bob") as (ana, bob):
        subscribed = await bob.subscribe_events(["news.*"])
        assert subscribed.success
        for name in ("other.thing.came", "news.item.came"):
            await ana.ask(name, to="agent:bob")
        assert (await bob.next("news.item.came")).event_name == "news.item.came"
        assert bob.received.empty()
        assert (await bob.unsubscribe_events(subscribed.data["subscription_id"])).success
        await ana.ask("other.thing.came", to="agent:bob")
        assert (await bob.next("other.thing.came")).source_id == "ana"


async def test_what_is_sent_while_a_client_polls_arrives_with_that_poll(server: Running) -> None:
    """The poll is held until there is something: nothing waits for the client's next one, a second later."""
    async with joined(server.port, "ana", "bob") as (ana, bob):
        for _ in range(3):
            async with asyncio.timeout(PATIENCE):
                await bob.polling.wait()
            polls = bob.polls
            await ana.ask("note.for.bob", to="agent:bob")
            await bob.next("note.for.bob")
            assert bob.polls == polls


async def test_a_hundred_reloads_and_an_edit_of_network_yaml_lose_no_event(server: Running, folder: Path) -> None:
    """Every question is answered while the mod is reloaded under it, by the version saved last once that is told."""
    async with joined(server.port, "ana", "bob") as (ana, bob):
        for version in range(2, 102):
            mark = len(server.lines)
            save(folder, version)
            early = await ana.ask("echo.text.say", text="early")
            assert early.success and early.data["version"] in (version - 1, version)
            assert (await server.outcome("echo", mark))["status"] == "applied"
            assert (await ana.ask("echo.text.say", text="late")).data == {"text": "late", "version": version}
        mark = len(server.lines)
        (folder / "network.yaml").write_text(YAML + "    - name: openagents.mods.core.shared_cache\n")
        assert (await server.outcome("shared_cache", mark))["status"] == "applied"
        assert (await ana.ask("shared_cache.create", value="v", mime_type="text/plain")).success
        await ana.ask("note.for.bob", to="agent:bob", text="still here")
        assert (await bob.next("note.for.bob")).payload == {"text": "still here"}


async def test_agents_are_told_of_mods_that_come_change_and_go(server: Running, folder: Path) -> None:
    """Each load, reload and unload is an event that every connected agent gets."""
    async with joined(server.port, "ana") as (ana,):
        save(folder, 2)
        assert (await ana.next("system.notification.mod_reloaded")).payload["mod_id"] == "echo"
        (folder / "network.yaml").write_text(YAML.replace("    - name: ./echo\n", ""))
        assert (await ana.next("system.notification.mod_unloaded")).payload["mod_id"] == "echo"
        (folder / "network.yaml").write_text(YAML)
        assert (await ana.next("system.notification.mod_loaded")).payload["mod_id"] == "echo"


class Worker(WorkerAgent):
    """Answers every post of the channel, and remembers direct messages."""

    default_agent_id = "worker"

    def __init__(self) -> None:
        super().__init__(mod_names=["openagents.mods.workspace.messaging"])
        self.direct: asyncio.Queue[str] = asyncio.Queue()
        self.ready = asyncio.Event()

    async def on_startup(self) -> None:
        """It listens from now on."""
        self.ready.set()

    async def on_channel_post(self, context: Any) -> None:
        """Answer."""
        await self.reply_to_message(context.channel, context.incoming_event.payload["original_event_id"], "I see")

    async def on_direct(self, context: Any) -> None:
        """Remember."""
        self.direct.put_nowait(context.incoming_event.payload["content"]["text"])


async def test_a_worker_agent_answers_posts_and_gets_direct_messages(server: Running, folder: Path) -> None:
    """WorkerAgent with the messaging mod works as it is, also when the mods were reloaded meanwhile."""
    worker = Worker()
    async with joined(server.port, "ana") as (ana,):
        await worker.async_start(network_host="127.0.0.1", network_port=server.port)
        try:
            async with asyncio.timeout(PATIENCE):
                await worker.ready.wait()
            for version in (2, 3):
                posted = await ana.ask(
                    "thread.channel_message.post",
                    message_type="channel_message",
                    channel="general",
                    content={"text": "look"},
                )
                assert posted.success
                reply = await ana.next("thread.reply.notification")
                assert (reply.payload["content"]["text"], reply.payload["sender_id"]) == ("I see", "worker")
                mark = len(server.lines)
                save(folder, version)
                await server.outcome("echo", mark)
            await ana.ask(
                "thread.direct_message.send",
                to="agent:worker",
                message_type="direct_message",
                target_agent_id="worker",
                content={"text": "psst"},
            )
            async with asyncio.timeout(PATIENCE):
                assert await worker.direct.get() == "psst"
        finally:
            await worker.async_stop()


async def test_groups_are_joined_by_password_hash(folder: Path) -> None:
    """The right hash brings into its group, any other into the default one; where one is needed, none is refused."""
    groups = "    - name: openagents.mods.discovery.agent_discovery\n  default_agent_group: guest\n"
    groups += "  agent_groups:\n    admin: {password_hash: abc}\n    guest: {password_hash: ''}\n"
    (folder / "network.yaml").write_text(YAML + groups)
    async with serving(folder) as server, contextlib.AsyncExitStack() as stack:
        clients = {name: Client(name) for name in ("ana", "bob", "cem")}
        for client, given in zip(clients.values(), ("abc", "wrong", None), strict=True):
            await client.join(server.port, password_hash=given)
            stack.push_async_callback(client.disconnect)
        listed = (await clients["cem"].ask("discovery.agents.list")).data["agents"]
        assert {each["agent_id"]: each["agent_group"] for each in listed} == {
            "ana": "admin",
            "bob": "guest",
            "cem": "guest",
        }
    (folder / "network.yaml").write_text(YAML + groups + "  requires_password: true\n")
    async with serving(folder) as server:
        assert not await Client("dan").connect_to_server(network_host="127.0.0.1", network_port=server.port)
