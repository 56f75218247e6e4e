"""Many doors: mods on one host, agents on any. Two hosts in one process, with a real engine between them."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any
from unittest.mock import AsyncMock

import pytest
from engines import Proxy, Together, until

from devserver.agent_network import AgentNetwork
from devserver.config.network_yaml import read_network
from devserver.errors import EventRefused
from devserver.hosts.asks import HOLD_SECONDS
from devserver.hosts.host import HostTaken
from devserver.hosts.wire import again, ask_of, head_of, numbered, reply_from
from devserver.model.change import ConfigChanged
from devserver.model.event import Event, EventResponse
from devserver.model.facts import EngineSeen, HostSeen, HostState
from devserver.model.principal import agent_principal
from devserver.network.others import Asked
from devserver.transports.http.answers import Answer

CHAT = """
class ChatMod(BaseMod):
    def initialize(self):
        self.state.setdefault("handled", [])
        self.state.setdefault("came", [])
        self.state.setdefault("slow", [])
        return True

    @mod_event_handler("chat.say")
    async def say(self, event):
        self.state["handled"].append(event.event_id)
        return EventResponse(True, "said", {"n": len(self.state["handled"]), "from": event.source_id})

    @mod_event_handler("chat.slow")
    async def slow(self, event):
        self.state["slow"].append(event.event_id)
        await asyncio.sleep(event.payload["seconds"])
        return EventResponse(True, "slept")

    @mod_event_handler("chat.fail")
    async def fail(self, event):
        raise ValueError("no")

    @mod_event_handler("chat.pass")
    async def passes(self, event):
        return None

    @mod_event_handler("chat.tell")
    async def tell(self, event):
        to, payload = event.payload["to"], event.payload
        await self.send_event(Event(event_name="chat.told", destination_id=to, payload=payload))
        return EventResponse(True, "told")

    @mod_event_handler("chat.open")
    async def opens(self, event):
        self.network.create_channel("room")
        self.network.add_channel_member("room", event.payload["who"])
        return EventResponse(True, "open")

    @mod_event_handler("system.notification.register_agent")
    async def came(self, event):
        self.state["came"].append(event.payload["agent_id"])
"""


def event(name: str, source: str, **values: Any) -> Event:
    payload = values.pop("payload", {})
    return Event(event_name=name, source_id=source, payload=payload, **values)


async def send(network: AgentNetwork, sent: Event) -> Any:
    """Send an event as HTTP does: where its mods are all on one other host, that is asked directly."""
    answered = asyncio.get_running_loop().create_future()

    def done(answer: EventResponse | None, error: BaseException | None) -> None:
        answered.set_exception(error) if error is not None else answered.set_result(answer)

    taken = network.take(sent, agent_principal(sent.source.id, ()), done)
    return await (answered if taken else network.ingest(sent, agent_principal(sent.source.id, ())))


def waiting(network: AgentNetwork, agent_id: str) -> list[dict[str, Any]]:
    agent = network.directory.agent(agent_id)
    assert agent is not None
    return [each.to_dict() for each in agent.outbox.take_nowait()]


async def taken(network: AgentNetwork, agent_id: str, number: int) -> list[Any]:
    """What an agent reads, once so many events have come; the payload's `n` of each."""
    agent = network.directory.agent(agent_id)
    assert agent is not None
    await until(lambda: len(agent.outbox) >= number)
    return [each["payload"].get("n") for each in waiting(network, agent_id)]


async def test_agents_of_two_doors_talk_and_mods_answer_both(together: Together) -> None:
    """An event of either door is answered by the mod, once; agents get what the other door's agents send; a failure,
    a missing receiver and a mod that returns nothing are told as in one process."""
    laptop = await together.author(chat=CHAT)
    gpu = await together.join("gpu-1")
    await together.all_know()
    await laptop.register_agent("ana")
    await gpu.register_agent("bob")
    await until(lambda: laptop.directory.agent("bob") is not None and gpu.directory.agent("ana") is not None)
    chat = laptop.engine.registry.find("chat")
    assert chat is not None and chat.live is not None
    state = chat.live.instance.state
    assert state["came"] == ["ana", "bob"]
    assert (await send(laptop, event("chat.say", "ana"))).data["n"] == 1
    sent = event("chat.say", "bob")
    answer = await send(gpu, sent)
    assert answer.success and answer.data == {"n": 2, "from": "bob"}
    again = await send(gpu, event("chat.say", "bob", event_id=sent.event_id))
    assert again.data == answer.data and len(state["handled"]) == 2
    direct = await send(gpu, event("chat.note", "bob", destination_id="agent:ana", payload={"n": 7}))
    assert direct.success and direct.data == {"delivered": 1}
    assert await taken(laptop, "ana", 1) == [7]
    assert (await send(laptop, event("chat.tell", "ana", payload={"to": "agent:bob", "n": 8}))).success
    assert await taken(gpu, "bob", 1) == [8]
    failed = await send(gpu, event("chat.fail", "bob"))
    assert failed.data["code"] == "mod_error" and "ValueError: no" in failed.message
    assert "no agent:eve here" in (await send(gpu, event("chat.note", "bob", destination_id="agent:eve"))).message
    to_mod = await send(gpu, event("chat.pass", "bob", destination_id="mod:chat"))
    assert to_mod.message == "Event not processed by mod chat, mod returns None"
    assert (await send(gpu, event("chat.say", "bob", destination_id="mod:./chat"))).data["n"] == 3
    assert "not found" in (await send(gpu, event("chat.say", "bob", destination_id="mod:none"))).message


async def test_an_event_for_mods_of_one_other_host_needs_no_mods_thread_here(together: Together) -> None:
    """A repeat that comes meanwhile gets the same answer; what no mod answers is delivered once; an event does not
    overtake one of its sender that waits; each is counted and recorded once, as one that went through the mods."""
    laptop = await together.author(chat=CHAT)
    gpu = await together.join("gpu-1")
    await together.all_know()
    await laptop.register_agent("ana")
    await gpu.register_agent("bob")
    await until(lambda: gpu.directory.agent("ana") is not None)
    await until(lambda: together.hosts["gpu-1"].identities.is_settled)
    state, far = laptop.engine.registry.find("chat").live.instance.state, gpu._dispatcher.far
    events = gpu._dispatcher.events

    def not_here(*work: Any) -> None:
        raise AssertionError(f"mods of this host were asked: {work}")

    far._home.begin = not_here
    slow = event("chat.slow", "bob", payload={"seconds": 0.05})
    first, again, other = await asyncio.gather(
        send(gpu, slow), send(gpu, replace(slow)), send(gpu, event("chat.say", "bob"))
    )
    assert first is again and first.message == "slept" and other.message == "said" and state["slow"] == [slow.event_id]
    assert (await send(gpu, replace(slow))).message == "slept" and len(state["slow"]) == 1
    assert gpu._dispatcher.events == events + 2
    del far._home.begin
    together.hosts["gpu-1"].asks.held = 1  # as where an event waits for a host that is away
    waits = asyncio.create_task(send(gpu, event("chat.slow", "bob", payload={"seconds": 0.01})))
    await asyncio.sleep(0)
    together.hosts["gpu-1"].asks.held = 0
    behind = asyncio.create_task(send(gpu, event("chat.say", "bob")))
    await asyncio.sleep(0)
    assert far._by_home == {"bob": 2}
    assert (await waits).message == "slept" and (await behind).message == "said" and not far._by_home
    noted = event("chat.pass", "bob", destination_id="agent:ana", payload={"n": 5})
    told = await asyncio.gather(send(gpu, noted), send(gpu, replace(noted)))
    assert [each.data for each in told] == [{"delivered": 1}] * 2
    assert await taken(laptop, "ana", 1) == [5] and not waiting(laptop, "ana") and not far._direct


async def test_channels_groups_and_subscriptions_are_those_of_the_whole_network(together: Together) -> None:
    """A channel that a mod opens is there for the door that asked, before it has its answer; what an agent subscribes
    to at its door, the other door keeps to."""
    laptop = await together.author(chat=CHAT)
    gpu = await together.join("gpu-1")
    await together.all_know()
    await laptop.register_agent("ana")
    await gpu.register_agent("bob")
    assert (await send(gpu, event("chat.open", "bob", payload={"who": "ana"}))).success
    assert gpu.directory.channel_members("room") == ("ana",)
    said = await send(gpu, event("chat.note", "bob", destination_id="channel:room", payload={"n": 1}))
    assert said.data == {"delivered": 1} and await taken(laptop, "ana", 1) == [1]
    gpu.directory.subscribe("bob", ["chat.wanted"])
    await until(lambda: bool(laptop.directory.agent("bob").subscriptions))  # type: ignore[union-attr]
    for name in ("chat.other", "chat.wanted"):
        await send(laptop, event(name, "ana", destination_id="agent:broadcast", payload={"n": name}))
    assert await taken(gpu, "bob", 1) == ["chat.wanted"]


async def test_an_agent_that_comes_before_its_host_knows_the_others_waits(together: Together) -> None:
    """The door listens a moment earlier: an id of another host is not given away there."""
    laptop = await together.author(chat=CHAT)
    await laptop.register_agent("ana")
    coming: list[asyncio.Task[Any]] = []
    load = AgentNetwork.load

    def loaded(*arguments: Any, **options: Any) -> AgentNetwork:
        network = load(*arguments, **options)
        network.expect_others()
        coming.append(asyncio.create_task(network.register_agent("ana")))
        return network

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AgentNetwork, "load", loaded)
        gpu = await together.join("gpu-1")
    assert gpu._joins is not None and not coming[0].done()
    gpu._joins.set()
    with pytest.raises(EventRefused, match="is in use"):
        await coming[0]


async def test_a_host_that_comes_meets_the_others_at_once(together: Together, monkeypatch: pytest.MonkeyPatch) -> None:
    """They answer its first heartbeat; none waits for the time of the next one."""
    monkeypatch.setattr("devserver.hosts.members.BEAT_SECONDS", 60.0)
    await together.author(chat=CHAT)
    await together.join("gpu-1")
    await together.join("gpu-2")
    await together.all_know()


async def test_a_broadcast_comes_to_each_agent_of_three_hosts_once(together: Together) -> None:
    """One message for each host that has receivers, whatever their number; the answer counts all of them."""
    networks = [await together.author(chat=CHAT), await together.join("gpu-1"), await together.join("gpu-2")]
    await together.all_know()
    await networks[0].register_agent("ana")
    names = [f"a{number}" for number in range(9)]
    for number, name in enumerate(names):
        await networks[number % 3].register_agent(name)
    await until(lambda: networks[0].directory.count() == 10)
    sent = together.hosts["laptop"]._deliveries.sent
    answer = await send(networks[0], event("chat.note", "ana", destination_id="agent:broadcast", payload={"n": 1}))
    assert answer.data == {"delivered": 9}
    assert together.hosts["laptop"]._deliveries.sent == sent + 2
    for number, name in enumerate(names):
        assert await taken(networks[number % 3], name, 1) == [1]


async def test_a_plan_has_ended_once_the_host_of_network_yaml_knows_where_its_mods_are(together: Together) -> None:
    """Nothing but what the other host answers tells of the seat of the mod that was loaded there."""
    laptop = await together.author(chat=CHAT)
    await together.join("gpu-1")
    await together.all_know()
    path = together.folder / "laptop" / "network.yaml"
    path.write_text(path.read_text().replace('"mods.chat"', '"mods.chat", "runs_on": "gpu-1"'))
    await laptop.submit(ConfigChanged(read_network(path)))
    assert together.hosts["laptop"].rooms.of("gpu-1") == ("chat",)


async def test_an_id_belongs_to_one_agent_on_all_hosts(together: Together) -> None:
    """Two doors never give one id away twice; without its secret none is taken over; an agent that leaves is gone
    everywhere."""
    laptop = await together.author(chat=CHAT)
    gpu = await together.join("gpu-1")
    await together.all_know()
    claims = [network.register_agent("ana") for network in (laptop, gpu)]
    ended = await asyncio.gather(*claims, return_exceptions=True)
    won = [each for each in ended if not isinstance(each, BaseException)]
    assert len(won) == 1
    lost = [each for each in ended if isinstance(each, EventRefused)]
    assert [each.code for each in lost] == ["agent_id_taken"]
    with pytest.raises(EventRefused, match="another secret"):
        await gpu.register_agent("ana", secret="wrong")
    here = laptop if laptop.directory.agent("ana").host == "" else gpu  # type: ignore[union-attr]
    there = gpu if here is laptop else laptop
    assert there.directory.authenticate("ana", won[0].secret) is None
    await here.unregister_agent("ana")
    await until(lambda: there.directory.agent("ana") is None)
    assert (await there.register_agent("ana")).secret != won[0].secret


async def test_letters_of_an_agent_that_left_before_it_had_arrived_are_kept_for_none(together: Together) -> None:
    """It leaves while what waited at its door before is still on its way; what came meanwhile goes with it."""
    laptop = await together.author(chat=CHAT)
    gpu = await together.join("gpu-1")
    await together.all_know()
    together.hosts["laptop"].queues.say_end = AsyncMock()  # type: ignore[method-assign]
    secret = (await laptop.register_agent("bob")).secret
    await until(lambda: gpu.directory.agent("bob") is not None)
    bob = (await gpu.register_agent("bob", secret=secret)).agent
    gpu.directory.tell(event("chat.note", "ana", destination_id="agent:bob"))
    gpu.directory.unregister("bob")
    arrived = {"mark": "end", "agent": "bob", "epoch": bob.epoch}
    together.hosts["gpu-1"].identities._marked(arrived)
    outboxes = next(each for each in gpu.directory.accounts.rows() if each["name"] == "outboxes")
    assert outboxes["bytes"] == 0


@pytest.mark.parametrize("moves", [20, pytest.param(50, marks=pytest.mark.slow)])
async def test_an_agent_that_changes_its_door_finds_its_backlog_in_order(together: Together, moves: int) -> None:
    """Changes of door while another agent sends: each event comes once, in the order in which it was sent."""
    laptop = await together.author(chat=CHAT)
    gpu = await together.join("gpu-1")
    await together.all_know()
    await laptop.register_agent("ana")
    secret = (await gpu.register_agent("bob")).secret
    await until(lambda: laptop.directory.agent("bob") is not None)
    doors, got, events = (laptop, gpu), [], 10 * moves

    async def sends() -> None:
        for n in range(events):
            answer = await send(laptop, event("chat.note", "ana", destination_id="agent:bob", payload={"n": n}))
            assert answer.data["delivered"] == 1, answer

    sending = asyncio.create_task(sends())
    for move in range(moves):
        door = doors[move % 2]
        assert (await door.register_agent("bob", secret=secret)).resumed
        agent = door.directory.agent("bob")
        assert agent is not None and agent.host == ""
        # It reads a little, and leaves the rest.
        await agent.outbox.ready(agent.outbox.attach(), 0.02)
        for letter in agent.outbox.waiting()[:3]:
            got.append(letter.to_dict()["payload"]["n"])
            agent.outbox.handed_over(letter)
    await sending
    last = doors[(moves - 1) % 2].directory.agent("bob")
    assert last is not None
    await until(lambda: len(got) + len(last.outbox) >= events)
    got += [each["payload"]["n"] for each in waiting(doors[(moves - 1) % 2], "bob")]
    assert got == list(range(events))


async def test_a_host_that_dies_loses_no_delivery(together: Together) -> None:
    """Its agent comes in at another door and gets all that waited; what it had read does not come again."""
    laptop = await together.author(chat=CHAT)
    gpu = await together.join("gpu-1")
    await together.all_know()
    await laptop.register_agent("ana")
    secret = (await gpu.register_agent("bob")).secret
    await until(lambda: laptop.directory.agent("bob") is not None)

    async def note(n: int) -> Any:
        return await send(laptop, event("chat.note", "ana", destination_id="agent:bob", payload={"n": n}))

    for n in range(3):
        assert (await note(n)).data == {"delivered": 1}
    assert await taken(gpu, "bob", 3) == [0, 1, 2]
    await until(lambda: together.hosts["gpu-1"]._deliveries.waiting == 0)
    await together.hosts["gpu-1"].link.flush()
    for n in range(3, 8):
        await note(n)
    await together.kill("gpu-1")
    await until(lambda: not together.hosts["laptop"]._members.alive("gpu-1"))
    away = next(
        each for each in together.facts["laptop"] if isinstance(each, HostSeen) and each.state is HostState.AWAY
    )
    assert away.host == "gpu-1" and 2.5 <= away.seconds < 10
    assert (await note(8)).data == {"delivered": 1}
    assert (await laptop.register_agent("bob", secret=secret)).resumed
    assert await taken(laptop, "bob", 6) == [3, 4, 5, 6, 7, 8]


async def test_a_host_that_comes_back_gives_its_agents_what_waited(together: Together) -> None:
    """The same identity with the same secret, and every delivery of the time between."""
    laptop = await together.author(chat=CHAT)
    gpu = await together.join("gpu-1")
    await together.all_know()
    await laptop.register_agent("ana")
    secret = (await gpu.register_agent("bob")).secret
    await until(lambda: laptop.directory.agent("bob") is not None)
    await together.kill("gpu-1")
    for n in range(5):
        sent = event("chat.note", "ana", destination_id="agent:bob", payload={"n": n})
        assert (await send(laptop, sent)).data == {"delivered": 1}
    back = await together.join("gpu-1")
    assert await taken(back, "bob", 5) == [0, 1, 2, 3, 4]
    assert back.directory.authenticate("bob", secret) is not None


async def test_a_question_about_events_ends_with_the_host_that_it_was_asked(together: Together) -> None:
    """Who follows the events of all hosts is told, and asks again; it took 85 seconds."""
    await together.author(chat=CHAT)
    await together.join("gpu-1")
    await together.all_know()
    held = asyncio.Event()

    async def hold(asked: object) -> Answer:
        held.set()
        return await asyncio.Future()

    together.hosts["gpu-1"].requests.answer = hold
    asking = asyncio.create_task(together.hosts["laptop"].requests.read("gpu-1", "/_dev/feed", {"seconds": "20"}))
    await held.wait()
    await together.kill("gpu-1")
    answer = await asyncio.wait_for(asking, 30)
    assert (answer.status, json.loads(answer.body)["code"]) == (503, "host_away")


async def test_the_author_away_is_waited_for_and_then_named(together: Together) -> None:
    """Events for its mods wait; one that was on its way is unknown, and sent again with the same id it is handled; one
    that waited too long is refused with host_away."""
    laptop = await together.author(chat=CHAT)
    gpu = await together.join("gpu-1")
    await together.all_know()
    await gpu.register_agent("bob")
    together.hosts["gpu-1"].asks.hold_seconds = 0.2
    slow = event("chat.slow", "bob", payload={"seconds": 30})
    asking = asyncio.create_task(send(gpu, slow))
    await until(lambda: sum(together.hosts["gpu-1"].asks.in_flight.values()) == 1)
    await until(lambda: any(each.calls for each in laptop.engine.registry.live))
    await together.kill("laptop")
    lost = await asyncio.wait_for(asking, 10)
    assert lost.data["code"] == "host_lost" and "send it again with the same event_id" in lost.message
    away = await send(gpu, event("chat.say", "bob"))
    assert away.data["code"] == "host_away" and "host laptop has been away" in away.message


async def test_the_engine_crashes_and_comes_back(together: Together) -> None:
    """What is local goes on; a delivery waits; after it is back all that was accepted comes, once and in order."""
    laptop = await together.author(chat=CHAT)
    gpu = await together.join("gpu-1")
    await together.all_know()
    await laptop.register_agent("ana")
    await gpu.register_agent("bob")
    await until(lambda: laptop.directory.agent("bob") is not None)
    for n in range(5):
        await send(laptop, event("chat.note", "ana", destination_id="agent:bob", payload={"n": n}))
    assert together.hosts["gpu-1"]._deliveries is not None
    await until(lambda: len(gpu.directory.agent("bob").outbox) == 5)  # type: ignore[union-attr]
    await together.rig.crash()
    await until(lambda: not together.hosts["laptop"].link.connected and not together.hosts["gpu-1"].link.connected)
    assert (await send(laptop, event("chat.say", "ana"))).success
    with pytest.raises(EventRefused, match="engine is away"):
        await gpu.register_agent("eve")
    sending = asyncio.create_task(send(laptop, event("chat.note", "ana", destination_id="agent:bob", payload={"n": 5})))
    asking = asyncio.create_task(send(gpu, event("chat.say", "bob")))
    await together.rig.engine.start("demo")
    assert (await sending).data == {"delivered": 1}
    assert (await asking).success
    assert await taken(gpu, "bob", 6) == [0, 1, 2, 3, 4, 5]
    seen = [each.state for each in together.facts["gpu-1"] if isinstance(each, EngineSeen)]
    assert seen == [HostState.AWAY, HostState.BACK]


async def test_without_an_engine_an_event_is_refused_after_its_wait(together: Together) -> None:
    """The sender is told that the engine is unreachable; nothing hangs."""
    await together.author(chat=CHAT)
    gpu = await together.join("gpu-1")
    await together.all_know()
    await gpu.register_agent("bob")
    together.hosts["gpu-1"].asks.hold_seconds = 0.2
    together.hosts["gpu-1"]._deliveries._hold_seconds = 0.2
    await together.rig.crash()
    answer = await send(gpu, event("chat.say", "bob"))
    assert answer.data["code"] == "engine_away"
    await together.rig.engine.start("demo")
    await until(lambda: together.hosts["gpu-1"].link.connected)


@pytest.mark.parametrize(
    ("how", "seconds"), [("cut", 0.5), *(pytest.param("hold", n, marks=pytest.mark.slow) for n in (1, 3, 10))]
)
async def test_a_partition_of_one_door_loses_nothing(together: Together, how: str, seconds: float) -> None:
    """Nothing that was delivered before, meanwhile or after is lost or doubled; each event is answered or named."""
    laptop = await together.author(chat=CHAT)
    proxy = Proxy(together.rig.engine.record.port)
    gpu = await together.join("gpu-1", url=await proxy.begin())
    try:
        await together.all_know()
        await laptop.register_agent("ana")
        await gpu.register_agent("bob")
        await until(lambda: laptop.directory.agent("bob") is not None)
        accepted: list[int] = []
        ends = asyncio.Event()

        async def sends() -> None:
            n = 0
            while not ends.is_set():
                answer = await send(laptop, event("chat.note", "ana", destination_id="agent:bob", payload={"n": n}))
                accepted.extend([n] if answer.success else [])
                n += 1
                await asyncio.sleep(0.01)

        sending = asyncio.create_task(sends())
        await until(lambda: len(accepted) > 5)
        getattr(proxy, how)()
        await until(lambda: not together.hosts["gpu-1"].link.connected)
        await asyncio.sleep(seconds)  # the partition itself is what is tried here
        await proxy.open()
        await until(lambda: together.hosts["gpu-1"].link.connected)
        assert (await send(gpu, event("chat.say", "bob"))).success
        ends.set()
        await sending
        assert await taken(gpu, "bob", len(accepted)) == accepted
    finally:
        await proxy.end()


@pytest.mark.parametrize("what", ["ask", "reply"])
async def test_what_is_lost_with_the_connection_of_one_host_alone_is_asked_again(together: Together, what: str) -> None:
    """The engine has gone for the host of the mods, and not for the asker: the ask or the reply that was on its way
    then does not come. The sender has its answer a moment later, and the mod handles the event once."""
    proxy = Proxy(together.rig.engine.record.port)
    try:
        laptop = await together.author(url=await proxy.begin(), chat=CHAT)
        gpu = await together.join("gpu-1")
        await together.all_know()
        await gpu.register_agent("bob")
        host = together.hosts["laptop"]
        if what == "ask":
            proxy.hold()
        sent = event("chat.slow", "bob", payload={"seconds": 0.1})
        asking = asyncio.create_task(send(gpu, sent))
        if what == "ask":
            await until(lambda: b"chat.slow" in proxy.held)
        else:
            await until(lambda: len(host.asks._replies) == 1)
        proxy.cut()
        await until(lambda: not host.link.connected and not host.asks._replies)
        handled = laptop.engine.registry.find("chat").live.instance.state["slow"]
        assert (len(handled), asking.done()) == (int(what == "reply"), False)
        await proxy.open()
        answer = await asyncio.wait_for(asking, 10)
        assert answer.success and answer.message == "slept" and handled == [sent.event_id]
    finally:
        await proxy.end()


async def test_an_ask_that_comes_again_to_another_run_of_a_host_is_not_handled(together: Together) -> None:
    """The run before may have handled it: that is said, with the code by which senders know to send again. To the run
    that it was sent to, it is one ask, and each time that it came has the same answer."""
    laptop = await together.author(chat=CHAT)
    host, names = together.hosts["laptop"], together.rig.names
    asker = await together.rig.link(name="asker")
    asked = Asked(event=event("chat.slow", "bob", payload={"seconds": 0.1}), mods=("chat",), key="k")

    async def ask(run: str) -> EventResponse | None:
        data = b"%b\n%b" % (again(head_of(asked, 0), run), ask_of(asked, 1))
        _, line = (await asker.request(names.ask("laptop"), data, seconds=5)).splitlines()
        return reply_from(numbered(line)[1]).answer

    state = laptop.engine.registry.find("chat").live.instance.state
    lost = await ask("before")
    assert lost is not None and lost.data == {"code": "host_lost"} and not state["slow"]
    answers = await asyncio.gather(*(ask(host.run) for _ in range(3)))
    assert [each and each.message for each in (*answers, await ask(host.run))] == ["slept"] * 4
    assert len(state["slow"]) == 1 and not host.asks._replies


async def test_an_ask_to_a_seat_that_its_host_is_still_writing_waits_for_it(together: Together) -> None:
    """Another host may hear of a new seat before the write is answered; an epoch that has passed is refused."""
    await together.author(chat=CHAT)
    laptop = together.hosts["laptop"]
    epoch = laptop.rooms.seat("chat").epoch
    asked = Asked(event=event("chat.say", "ana"), mods=("chat",), key="1", seats={"chat": epoch + 1})
    serving = asyncio.create_task(laptop._serve_own(asked))
    assert await laptop.rooms.take("chat")
    reply = await serving
    assert reply.answer is not None and reply.answer.success, reply.answer
    reply = await laptop._serve_own(replace(asked, key="2", seats={"chat": epoch}))
    assert reply.answer is not None and reply.answer.data == {"code": "stale_seat"}


async def test_a_mod_that_moved_since_the_event_was_routed_is_asked_where_it_is(together: Together) -> None:
    """The table of an event is that of its start; the seat is looked at when its turn comes."""
    await together.author(chat=CHAT)
    await together.join("gpu-1")
    await together.all_know()
    await until(lambda: together.hosts["gpu-1"].rooms.seat("chat").host == "laptop")
    asked = Asked(event=event("chat.say", "ana"), mods=("chat",), key="1")
    for host in together.hosts.values():
        reply = await asyncio.wait_for(host.ask("gpu-1", replace(asked, key=host.name)), HOLD_SECONDS)
        assert reply.answer is not None and reply.answer.success, reply.answer


async def test_an_ask_whose_mod_has_left_meanwhile_is_sent_to_where_it_is(together: Together) -> None:
    """Between the look at the seat and the turn of the mods' thread it can move away: then the ask is refused and not
    passed by, and handled where it is sent again. An event that waits for another mod meets it at its new host."""
    laptop = await together.author(chat=CHAT)
    registry = laptop.engine.registry
    slot = registry.find("chat")
    asked = Asked(event=event("chat.say", "ana"), mods=("chat",), key="1")
    assert (await laptop.unload_mod("chat")).success
    registry.moved["chat"] = "gpu-1"
    reply = await laptop._dispatcher.far.serve(asked)
    assert reply.answer is not None and reply.answer.data == {"code": "stale_seat"}
    assert (await laptop.load_mod("mods.chat")).success
    reply = await laptop._dispatcher.far.serve(asked)
    assert reply.answer is not None and reply.answer.success, "the refusal was not its answer"
    slot.host = "laptop"
    way = laptop._dispatcher.begin(asked.event)
    told = await laptop._dispatcher.offer(slot, event("chat.say", "ana"), way)
    assert told is not None and told.success


async def test_a_second_author_and_a_second_host_of_one_name_are_refused(together: Together) -> None:
    """Each is told who is there, and what to do; the first goes on."""
    await together.author(chat=CHAT)
    gpu = await together.join("gpu-1")
    await together.all_know()
    first = together.hosts["gpu-1"], together.networks["gpu-1"]
    with pytest.raises(HostTaken, match="gpu-1 is taken: another process of this name runs"):
        await together.join("gpu-1")
    await together.hosts["gpu-1"].end()
    together.hosts["gpu-1"], together.networks["gpu-1"] = first
    with pytest.raises(HostTaken, match=r"laptop is the author \(pid \d+\); join it, or --take-authorship"):
        await together.author("other", chat=CHAT)
    await together.hosts.pop("other").end()
    together.networks.pop("other")
    await gpu.register_agent("bob")
    assert (await send(gpu, event("chat.say", "bob"))).success


async def test_a_host_of_another_version_is_named_and_not_heard(together: Together) -> None:
    """Its heartbeats, and those that cannot be read, make no host; what cannot be read as an ask is refused."""
    await together.author(chat=CHAT)
    host, names = together.hosts["laptop"], together.rig.names
    stranger = await together.rig.link(name="old")
    for beat in (b'{"host":"old","run":"1","wire":99}', b'{"host":"a b","run":"1","wire":1}', b"[", b'{"host":7}'):
        await stranger.publish(names.heartbeat, beat)
    seen = together.facts["laptop"]
    await until(lambda: any("speaks version 99" in str(each) for each in seen))
    assert host._members.all == {}
    asked = Asked(event=event("system.mod.load", "bob"), mods=("chat",), key="k")
    head = head_of(asked, 0)
    for ask in (b"[]", b"{}\n[]", head + b"\n[1,2,3,[]]", b"%b\n%b" % (head, ask_of(asked, 1))):
        _, line = (await stranger.request(names.ask("laptop"), ask, seconds=5)).splitlines()
        answer = reply_from(numbered(line)[1]).answer
        assert answer is not None and answer.data == {"code": "bad_ask"}
