"""What waits for agents, and what others are yet to know of them: over changes of door, and ends of hosts or engine."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import pytest
from engines import Together, until
from test_two_doors import CHAT, event, send, taken

from devserver.hosts import identities
from devserver.hosts.deliveries import Parcel
from devserver.hosts.link import Message
from devserver.hosts.names import Names
from devserver.hosts.queues import Queues, _TakenUp
from devserver.model.encoding import to_json
from devserver.model.facts import EngineSeen, Notice
from devserver.network.accounts import OUTBOXES, Account
from devserver.network.letter import Letter


async def test_an_agent_that_reads_nothing_keeps_nothing_from_others(together: Together) -> None:
    """What its outbox has no room for is taken off, which is said once; so the engine gives a host more than all its
    outboxes hold. It stopped at 20,000."""
    laptop = await together.author(chat=CHAT)
    gpu = await together.join("gpu-1")
    await together.all_know()
    await gpu.register_agent("bob")
    await until(lambda: laptop.directory.agent("bob") is not None)
    note, host = event("chat.note", "ana", destination_id="agent:bob"), together.hosts["gpu-1"]
    size = Letter.of(note).size
    outbox = gpu.directory.agent("bob").outbox  # type: ignore[union-attr]
    outbox._account = Account(replace(OUTBOXES, each=size, most=size, fair=0))
    for _ in range(3):
        await send(laptop, event("chat.note", "ana", destination_id="agent:bob"))
    await until(lambda: outbox.dropped == 2)
    told = [each.message for each in together.facts["gpu-1"] if isinstance(each, Notice)]
    assert told == ["the outbox of bob is full: further events from other hosts are dropped"]
    assert host._deliveries.waiting == len(outbox) == 1
    consumer = await host.link._context.consumer_info(host.names.out_stream, host.names.consumer("gpu-1"))
    assert (consumer.config.max_ack_pending or 0) > 2 * OUTBOXES.most // size


@pytest.mark.parametrize("ends", [False, True])
async def test_agents_that_change_their_door_together_all_find_what_was_sent_to_all(
    together: Together, ends: bool
) -> None:
    """The engine took what moves with the second one for a repeat of what had moved with the first. The queue of a host
    that had ended in order did not come, and held up for ten seconds what was new."""
    laptop = await together.author(chat=CHAT)
    gpu = await together.join("gpu-1")
    await together.all_know()
    await laptop.register_agent("ana")
    names = ("bob", "béa 的", "kim")
    secrets = {name: (await gpu.register_agent(name)).secret for name in names}
    await until(lambda: laptop.directory.count() == 4)
    for n in range(3):
        sent = event("chat.note", "ana", destination_id="agent:broadcast", payload={"n": n})
        assert (await send(laptop, sent)).data == {"delivered": 3}
    if ends:
        await together.leave("gpu-1")
        members = together.hosts["laptop"]._members
        await until(lambda: not members.alive("gpu-1"))
        members._silent_until = 0.0  # as after the first seconds
    for name in names:
        await laptop.register_agent(name, secret=secrets[name])
    assert {name: await taken(laptop, name, 3) for name in names} == {name: [0, 1, 2] for name in names}


async def test_what_a_host_that_ends_has_not_sent_on_any_more_comes_all_the_same(together: Together) -> None:
    """Its agent had come in elsewhere a moment before."""
    laptop = await together.author(chat=CHAT)
    gpu = await together.join("gpu-1")
    await together.all_know()
    secret = (await gpu.register_agent("bob")).secret
    await until(lambda: laptop.directory.agent("bob") is not None)
    await send(laptop, event("chat.note", "ana", destination_id="agent:bob", payload={"n": 0}))
    together.hosts["laptop"]._members._silent_until = 0.0  # as after the first seconds
    together.hosts["gpu-1"].identities._let_go = AsyncMock()  # type: ignore[method-assign]
    await laptop.register_agent("bob", secret=secret)
    await until(lambda: bool(gpu.directory.agent("bob").host))  # type: ignore[union-attr]
    await together.leave("gpu-1")
    assert await taken(laptop, "bob", 1) == [0]


async def test_what_agents_read_as_their_host_ended_is_not_taken_up(together: Together) -> None:
    """The engine was still to hear of it as another host made its consumer: it came a second time."""
    laptop = await together.author(chat=CHAT)
    gpu = await together.join("gpu-1")
    await together.all_know()
    secrets = [(await gpu.register_agent(name)).secret for name in ("bob", "kim")]
    await until(lambda: laptop.directory.count() == 2)
    together.hosts["laptop"]._members._silent_until = 0.0  # as after the first seconds
    await laptop.register_agent("kim", secret=secrets[1])
    for n in range(20):
        await send(laptop, event("chat.note", "ana", destination_id="agent:bob", payload={"n": n}))
    await taken(gpu, "bob", 20)
    await together.leave("gpu-1")
    queues = together.hosts["laptop"].queues
    await until(lambda: any(each.through for each in queues._taken_up.values()))
    assert queues.waiting("gpu-1") == 0


async def test_what_a_dead_host_has_comes_in_order_to_an_agent_that_moves_while_it_is_looked_at() -> None:
    """A later event was sent on at once, the earlier one when all had been looked at."""
    sent, places = AsyncMock(), iter([("gpu-1", 1)])
    parts: list[Any] = [AsyncMock(), Names("demo"), SimpleNamespace(host="laptop"), SimpleNamespace(send_parcel=sent)]
    queues = Queues(*parts)
    queues.where = lambda agent_id: next(places, ("laptop", 2))
    found = queues._taken_up["gpu-1"] = _TakenUp()
    for n in (1, 2):
        parcel = Parcel(str(n), to_json(event("chat.note", "ana").to_dict()), {"bob": 1})
        data = b'{"parcels":[' + parcel.to_bytes() + b"]}"
        await queues._look_at("gpu-1", found, Message("", data, {}, revision=n))
    assert [(each.args[0], each.args[1].delivery) for each in sent.await_args_list] == [
        ("laptop", "1"),
        ("laptop", "2"),
    ]


async def test_what_changes_while_the_engine_is_away_is_known_when_it_is_back(
    together: Together, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tries to write it ended after five seconds: others sent to an agent that had left, and to its wishes of before.
    An event that has to wait for the change is refused in time."""
    monkeypatch.setattr(identities, "_TRIES", 1)
    laptop = await together.author(chat=CHAT)
    gpu = await together.join("gpu-1")
    await together.all_know()
    for name in ("bob", "eve"):
        await gpu.register_agent(name)
    await until(lambda: laptop.directory.count() == 2)
    host = together.hosts["gpu-1"]
    host.asks.hold_seconds = 0.2
    tries = AsyncMock(wraps=host._agents.delete)
    monkeypatch.setattr(host._agents, "delete", tries)
    await together.rig.crash()
    await until(lambda: not host.link.connected)
    gpu.directory.unregister("eve")
    gpu.directory.subscribe("bob", ["chat.told"])
    answer = await send(gpu, event("chat.say", "bob"))
    assert answer.data["code"] == "engine_away"
    await until(lambda: tries.await_count == 2)
    await together.rig.engine.start("demo")
    await until(lambda: laptop.directory.agent("eve") is None)
    bob = laptop.directory.agent("bob")
    await until(lambda: bool(bob.subscriptions))  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["x" * 3000, 5])
async def test_a_channel_that_cannot_be_told_holds_nothing_up(together: Together, name: Any) -> None:
    """The engine ended the connection for the long name, which was written again and again; the other ended all
    writing. Every later event between hosts waited."""
    laptop = await together.author(chat=CHAT)
    gpu = await together.join("gpu-1")
    laptop.directory.create_channel(name)
    laptop.directory.create_channel("told")
    await until(lambda: "told" in gpu.directory.channels())
    told = [each.message for each in together.facts["laptop"] if isinstance(each, Notice)]
    assert [str(name)[:80] in each for each in told] == [True]
    assert not [each for each in together.facts["laptop"] if isinstance(each, EngineSeen)]


@pytest.mark.parametrize("before", ["gpu-1", "gpu-2"])
async def test_only_the_host_before_says_that_nothing_more_comes(before: str) -> None:
    """Another one that was dead said so too: what came meanwhile overtook what the host before had still to send on."""
    said = AsyncMock()
    members = SimpleNamespace(host="laptop", alive=lambda host: True, is_deaf=False)
    parts: list[Any] = [AsyncMock(), Names("demo"), members, SimpleNamespace(send_mark=said)]
    queues = Queues(*parts)
    queues.where = lambda agent_id: ("laptop", 2)
    queues._taken_up["gpu-2"] = _TakenUp(through=True)
    queues.moved("bob", before)
    await until(lambda: not queues._work)
    assert said.await_count == (before == "gpu-2")


async def test_a_host_that_was_held_up_takes_its_queue_back(together: Together) -> None:
    """Another one counted it as gone and took up its queue: it never got anything any more."""
    laptop = await together.author(chat=CHAT)
    gpu = await together.join("gpu-1")
    await together.all_know()
    await gpu.register_agent("bob")
    await until(lambda: laptop.directory.agent("bob") is not None)
    members, queues = together.hosts["laptop"]._members, together.hosts["laptop"].queues
    held = together.hosts["gpu-1"]._members
    tell, held._tell = held._tell, AsyncMock()  # type: ignore[method-assign]
    gone = replace(members.all["gpu-1"], alive=False)
    members.all = {"gpu-1": gone}
    for told in members.on_go:
        told(gone, 3.0)
    await until(lambda: queues.took == {"gpu-1": 1})
    held._tell = tell  # type: ignore[method-assign]
    await until(lambda: members.alive("gpu-1"))
    for n in range(3):
        sent = event("chat.note", "ana", destination_id="agent:bob", payload={"n": n})
        assert (await send(laptop, sent)).data == {"delivered": 1}
    assert await taken(gpu, "bob", 3) == [0, 1, 2]


async def test_no_queue_is_taken_up_of_a_host_that_is_yet_to_be_heard(together: Together) -> None:
    """A host that starts knows of an agent's former host before it has heard whether that is there."""
    await together.author(chat=CHAT)
    members, queues = together.hosts["laptop"]._members, together.hosts["laptop"].queues
    assert members.is_deaf
    queues.moved("bob", "gpu-1")
    await together.join("gpu-1")
    await until(lambda: members.alive("gpu-1"))
    members._silent_until = 0.0
    await until(lambda: not queues._work)
    assert queues._taken_up == queues.took == {}
