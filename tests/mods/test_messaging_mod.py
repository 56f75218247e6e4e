"""What the messaging mod does for those who post, and for those who read."""

from __future__ import annotations

import asyncio

import pytest

from mods.messaging.mod import MessagingMod

CHANNELS = {"default_channels": ["general", {"name": "#dev", "description": "Changes"}]}


def said(text: str, channel: str = "general") -> dict:
    """The payload of a post."""
    return {"channel": channel, "content": {"text": text}}


def texts(events) -> list[str]:
    """What events say, in order."""
    return [event.payload["content"]["text"] for event in events]


@pytest.fixture
async def mod(network, start):
    """Messaging with two channels and three agents."""
    network.join("ana", "ben", "cleo")
    return await start(MessagingMod, CHANNELS)


async def test_a_post_is_told_to_every_member_but_its_sender(mod, network, ask):
    """Members get one notification each, as OpenAgents' agents expect it; the sender gets none."""
    answer = await ask(mod, "thread.channel_message.post", said("hello") | {"mood": "good"}, event_id="m1")

    assert answer.success
    assert answer.data == {
        "event_name": "thread.channel_message.post",
        "event_id": "m1",
        "message_id": "m1",
        "notified": 2,
    }
    assert [event.destination_id for event in network.sent] == ["agent:ben", "agent:cleo"]
    first = network.sent[0]
    assert (first.event_name, first.source_id) == ("thread.channel_message.notification", "ana")
    assert first.payload["message_type"] == "channel_message"
    assert first.payload["content"] == {"text": "hello"}
    assert first.payload["channel"] == "general"
    assert first.payload["sender_id"] == "ana"
    assert first.payload["original_event_id"] == "m1"
    assert first.payload["mood"] == "good"


async def test_each_notification_is_an_event_of_its_own(mod, network, ask):
    """Receivers do not share an event id or a payload, so what one mod does to one copy reaches no other."""
    await ask(mod, "thread.channel_message.post", said("hello"))

    first, second = network.sent
    assert first.event_id != second.event_id
    assert first.payload is not second.payload


async def test_a_channel_may_be_named_by_the_destination_and_with_a_hash(mod, ask):
    """`#dev` is `dev`, and `channel:dev` as destination needs no `channel` in the payload."""
    by_hash = await ask(mod, "thread.channel_message.post", said("one", "#dev"))
    by_address = await ask(mod, "thread.channel_message.post", {"text": "two"}, destination_id="channel:dev")

    assert by_hash.success
    assert by_address.success
    page = await ask(mod, "thread.channel_messages.retrieve", {"channel": "dev"})
    assert [each["content"]["text"] for each in page.data["messages"]] == ["two", "one"]


async def test_a_payload_cannot_claim_another_sender(mod, network, ask):
    """`sender_id` and `message_type` in a payload are replaced by what is so."""
    forged = said("hello") | {"sender_id": "cleo", "message_type": "reply", "message_id": "x"}
    await ask(mod, "thread.channel_message.post", forged, event_id="m1")

    payload = network.sent[0].payload
    assert (payload["sender_id"], payload["message_type"], payload["message_id"]) == ("ana", "channel_message", "m1")


async def test_an_event_id_that_is_taken_does_not_replace_a_message(mod, ask):
    """Two agents may choose the same event id; both messages stay."""
    await ask(mod, "thread.channel_message.post", said("first"), by="ana", event_id="same")
    second = await ask(mod, "thread.channel_message.post", said("second"), by="ben", event_id="same")

    assert second.data["message_id"] != "same"
    assert mod.state["messages"]["same"]["content"] == {"text": "first"}


async def test_posts_of_one_sender_arrive_in_order_although_the_first_is_slow(mod, network, ask, pause):
    """A second post neither overtakes the first one nor waits for it."""
    first = asyncio.create_task(ask(mod, "thread.channel_message.post", said("first")))
    await pause.reached.wait()
    second = await ask(mod, "thread.channel_message.post", said("second"))
    assert second.success
    assert network.sent == []

    pause.go.set()
    await first

    assert texts(network.sent_to("ben")) == ["first", "second"]
    assert texts(network.sent_to("cleo")) == ["first", "second"]


async def test_a_mod_that_posts_while_it_is_told_does_not_lock_up(mod, network, ask):
    """A post from within a notification is answered at once and told after what was there before."""

    async def echo(event):
        if event.payload["content"]["text"] == "hello" and event.destination_id == "agent:ben":
            answer = await ask(mod, "thread.channel_message.post", said("echo"), by="ben")
            assert answer.success

    network.meanwhile = echo
    await asyncio.wait_for(ask(mod, "thread.channel_message.post", said("hello")), 5)

    assert texts(network.sent_to("cleo")) == ["hello", "echo"]
    assert texts(network.sent_to("ana")) == ["echo"]


async def test_what_a_cancelled_handler_left_goes_out_with_the_next_post_of_the_next_generation(
    mod, network, start, ask, pause
):
    """The queue is part of the state: what waits is sent in order by the next one."""
    first = asyncio.create_task(ask(mod, "thread.channel_message.post", said("first")))
    await pause.reached.wait()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)

    following = await start(MessagingMod, CHANNELS, mod.state)
    await ask(following, "thread.channel_message.post", said("second"))

    assert texts(network.sent_to("cleo")) == ["first", "second"]


async def test_a_full_queue_refuses_a_post_and_keeps_nothing_of_it(network, start, ask, pause):
    """`max_waiting` bounds what is on its way; the refused message is not in the history."""
    network.join("ana", "ben", "cleo", "dora")
    mod = await start(MessagingMod, {"max_waiting": 3})
    first = asyncio.create_task(ask(mod, "thread.channel_message.post", said("first")))
    await pause.reached.wait()

    second = await ask(mod, "thread.channel_message.post", said("second"))
    pause.go.set()
    await first

    assert not second.success
    assert "2 notifications are still on their way" in second.message
    assert [each["content"]["text"] for each in mod.state["messages"].values()] == ["first"]


async def test_a_refused_notification_is_logged_and_the_post_stands(mod, network, ask, caplog):
    """The network's refusal is told to the log, not to the one who posted."""
    caplog.set_level("INFO")
    network.refuse = True
    answer = await ask(mod, "thread.channel_message.post", said("hello"))

    assert answer.success
    assert "receiver='ben' reason='recorded'" in caplog.text


async def test_a_direct_message_reaches_its_target_alone(mod, network, ask):
    """The target may stand in the payload or be the destination."""
    await ask(mod, "thread.direct_message.send", {"target_agent_id": "ben", "content": {"text": "psst"}})
    await ask(mod, "thread.direct_message.send", {"text": "again"}, destination_id="agent:ben")

    assert texts(network.sent_to("ben")) == ["psst", "again"]
    assert {event.event_name for event in network.sent} == {"thread.direct_message.notification"}
    assert network.sent_to("cleo") == []


async def test_a_direct_message_to_somebody_away_can_be_retrieved_later(mod, network, ask):
    """No one is told, and both sides find it in their history."""
    answer = await ask(mod, "thread.direct_message.send", {"target_agent_id": "zoe", "text": "welcome"})
    page = await ask(mod, "thread.direct_messages.retrieve", {"target_agent_id": "ana"}, by="zoe")

    assert answer.data["notified"] == 0
    assert network.sent == []
    assert [each["content"] for each in page.data["messages"]] == [{"text": "welcome"}]


async def test_a_direct_message_to_everybody_is_refused(mod, ask):
    """`agent:broadcast` is what an address-less event gets upstream, and no target."""
    answer = await ask(mod, "thread.direct_message.send", {"text": "hi"}, destination_id="agent:broadcast")

    assert not answer.success
    assert '"target_agent_id" is missing' in answer.message


async def test_direct_messages_are_for_their_two_agents(mod, ask):
    """A third one can neither retrieve, quote, answer nor react to them."""
    await ask(mod, "thread.direct_message.send", {"target_agent_id": "ben", "text": "secret"}, event_id="d1")

    page = await ask(mod, "thread.direct_messages.retrieve", {"target_agent_id": "ana"}, by="cleo")
    reply = await ask(mod, "thread.reply.post", {"reply_to_id": "d1", "text": "?"}, by="cleo")
    reaction = await ask(mod, "thread.reaction.add", {"target_message_id": "d1", "reaction_type": "eyes"}, by="cleo")
    await ask(mod, "thread.channel_message.post", said("look") | {"quoted_message_id": "d1"}, by="cleo", event_id="q")

    assert page.data["messages"] == []
    assert reply.message == reaction.message == "there is no message 'd1'"
    assert mod.state["messages"]["q"]["quoted_text"] == "[Quoted message d1 not found]"


async def test_a_quote_says_who_said_what(mod, network, ask):
    """The quoted text is filled in, cut after a hundred characters."""
    await ask(mod, "thread.channel_message.post", said("y" * 150), event_id="m1")
    network.sent.clear()
    await ask(mod, "thread.channel_message.post", said("see") | {"quoted_message_id": "m1"}, by="ben")

    assert network.sent_to("ana")[0].payload["quoted_text"] == f"ana: {'y' * 100}..."


async def test_a_reply_is_told_to_the_author_and_the_channel_with_its_place_in_the_thread(mod, network, ask):
    """The author hears of it also when it is no member of the channel."""
    network.join("guest")
    await ask(mod, "thread.channel_message.post", said("question"), by="guest", event_id="m1")
    network.sent.clear()
    await ask(mod, "thread.reply.post", {"reply_to_id": "m1", "text": "answer"}, by="ben", event_id="r1")

    assert [event.destination_id for event in network.sent] == ["agent:guest", "agent:ana", "agent:cleo"]
    payload = network.sent[0].payload
    assert network.sent[0].event_name == "thread.reply.notification"
    assert (payload["reply_to_id"], payload["channel"], payload["thread_level"]) == ("m1", "general", 1)
    assert (payload["original_message_id"], payload["original_sender"]) == ("m1", "guest")
    assert payload["reply_event_id"] == "r1"


async def test_a_reply_to_a_direct_message_goes_to_the_other_side(mod, network, ask):
    """Whichever of the two answers, the other one hears of it, and no one else."""
    await ask(mod, "thread.direct_message.send", {"target_agent_id": "ben", "text": "ping"}, event_id="d1")
    network.sent.clear()
    await ask(mod, "thread.reply.post", {"reply_to_id": "d1", "text": "pong"}, by="ben", event_id="d2")
    await ask(mod, "thread.reply.post", {"reply_to_id": "d2", "text": "ping"}, by="ana")

    assert [event.destination_id for event in network.sent] == ["agent:ana", "agent:ben"]


async def test_threads_end_at_the_fifth_level(mod, ask):
    """A reply to a reply to a reply goes four levels down, and no further."""
    await ask(mod, "thread.channel_message.post", said("root"), event_id="m0")
    for level in range(1, 5):
        payload = {"reply_to_id": f"m{level - 1}", "text": "deeper"}
        assert (await ask(mod, "thread.reply.post", payload, event_id=f"m{level}")).success

    answer = await ask(mod, "thread.reply.post", {"reply_to_id": "m4", "text": "too deep"})

    assert not answer.success
    assert "4 replies deep" in answer.message


async def test_a_thread_is_counted_and_shown_with_its_root(mod, ask):
    """Two replies to one message make one thread, whose root knows that it is one."""
    await ask(mod, "thread.channel_message.post", said("root"), event_id="m1")
    for name in ("r1", "r2"):
        await ask(mod, "thread.reply.post", {"reply_to_id": "m1", "text": name}, event_id=name)

    page = await ask(mod, "thread.channel_messages.retrieve", {"channel": "general"})
    bare = await ask(mod, "thread.channel_messages.retrieve", {"channel": "general", "include_threads": False})
    channels = await ask(mod, "thread.channels.list")

    infos = [(each["message_id"], each["thread_info"]) for each in page.data["messages"]]
    assert infos == [
        ("r2", {"thread_id": "m1", "is_root": False, "thread_level": 1}),
        ("r1", {"thread_id": "m1", "is_root": False, "thread_level": 1}),
        ("m1", {"thread_id": "m1", "is_root": True, "thread_level": 0}),
    ]
    assert {each["thread_info"] for each in bare.data["messages"]} == {None}
    assert (channels.data["channels"][0]["message_count"], channels.data["channels"][0]["thread_count"]) == (3, 1)


async def test_reactions_are_added_removed_and_toggled(mod, network, ask):
    """Each is told to all who see the message, in both forms that OpenAgents' agents read."""
    await ask(mod, "thread.channel_message.post", said("hello"), event_id="m1")
    network.sent.clear()
    payload = {"target_message_id": "m1", "reaction_type": "heart"}
    added = await ask(mod, "thread.reaction.add", payload, by="ben")
    toggled = await ask(mod, "thread.reaction.toggle", payload, by="ben")
    again = await ask(mod, "thread.reaction.toggle", payload, by="ben")
    removed = await ask(mod, "thread.reaction.remove", payload, by="ben")

    taken = [(each.data["action_taken"], each.data["total_reactions"]) for each in (added, toggled, again, removed)]
    assert taken == [("add", 1), ("remove", 0), ("add", 1), ("remove", 0)]
    assert mod.state["messages"]["m1"]["reactions"] == {}
    first = network.sent_to("ana")[0]
    assert first.event_name == "thread.reaction.notification"
    assert (first.payload["action"], first.payload["reacting_agent"]) == ("added", "ben")
    assert first.payload["reaction"] == {
        "target_message_id": "m1",
        "reaction_type": "heart",
        "sender_id": "ben",
        "action": "add",
    }


async def test_reacting_twice_is_refused_with_the_reason(mod, ask):
    """The same reaction of the same agent counts once, and what is not there cannot be removed."""
    await ask(mod, "thread.channel_message.post", said("hello"), event_id="m1")
    payload = {"target_message_id": "m1", "reaction_type": "heart"}
    missing = await ask(mod, "thread.reaction.remove", payload)
    await ask(mod, "thread.reaction.add", payload)
    twice = await ask(mod, "thread.reaction.add", payload)

    assert missing.message == "ana has not reacted with 'heart' to this message"
    assert twice.message == "ana has already reacted with 'heart' to this message"
    page = await ask(mod, "thread.channel_messages.retrieve", {"channel": "general"})
    assert page.data["messages"][0]["reactions"] == {"heart": 1}


async def test_reactions_on_one_message_are_bounded(network, start, ask):
    """`max_reactions` counts all kinds together."""
    mod = await start(MessagingMod, {"max_reactions": 2})
    await ask(mod, "thread.channel_message.post", said("hello"), event_id="m1")
    payload = {"target_message_id": "m1", "reaction_type": "ok"}
    answers = [await ask(mod, "thread.reaction.add", payload, by=agent) for agent in ("a1", "a2", "a3")]

    assert [each.success for each in answers] == [True, True, False]
    assert answers[2].message == "a message has at most 2 reactions"


async def test_history_comes_in_pages(mod, ask):
    """Channels are shown newest first, direct messages oldest first, each with where the page lies."""
    for number in range(5):
        await ask(mod, "thread.channel_message.post", said(f"c{number}"))
        await ask(mod, "thread.direct_message.send", {"target_agent_id": "ben", "text": f"d{number}"})

    channel = await ask(mod, "thread.channel_messages.retrieve", {"channel": "general", "limit": 2, "offset": 1})
    direct = await ask(mod, "thread.direct_messages.retrieve", {"target_agent_id": "ben", "limit": 2, "offset": 3})

    assert [each["content"]["text"] for each in channel.data["messages"]] == ["c3", "c2"]
    assert (channel.data["total_count"], channel.data["has_more"]) == (5, True)
    assert [each["content"]["text"] for each in direct.data["messages"]] == ["d3", "d4"]
    assert (direct.data["total_count"], direct.data["has_more"]) == (5, False)


async def test_an_answer_carries_the_request_id_that_was_asked_with(mod, ask):
    """Otherwise it carries the event's id."""
    given = await ask(mod, "thread.channels.list", {"request_id": "mine"})
    not_given = await ask(mod, "thread.channels.list", event_id="e1")

    assert (given.data["request_id"], not_given.data["request_id"]) == ("mine", "e1")


async def test_the_oldest_messages_make_room(network, start, ask):
    """`max_messages` are kept; the channel's count goes on."""
    mod = await start(MessagingMod, {"max_messages": 3})
    for number in range(5):
        await ask(mod, "thread.channel_message.post", said(f"c{number}"), event_id=f"m{number}")

    assert list(mod.state["messages"]) == ["m2", "m3", "m4"]
    channels = await ask(mod, "thread.channels.list")
    assert channels.data["channels"][0]["message_count"] == 5


async def test_a_long_message_is_refused(network, start, ask):
    """`max_content` counts the characters of the content as JSON, attached files too."""
    mod = await start(MessagingMod, {"max_content": 100})
    long_text = await ask(mod, "thread.channel_message.post", said("x" * 100))
    many_files = {"channel": "general", "content": {"text": "", "files": [{"file_id": "x" * 100}]}}
    long_files = await ask(mod, "thread.channel_message.post", many_files)

    assert "at most 100 characters" in long_text.message
    assert "at most 100 characters" in long_files.message
    assert mod.state["messages"] == {}


async def test_files_travel_with_a_message(mod, ask):
    """A message may consist of files alone."""
    content = {"text": "", "files": [{"file_id": "f1"}]}
    await ask(mod, "thread.channel_message.post", {"channel": "general", "content": content})

    page = await ask(mod, "thread.channel_messages.retrieve", {"channel": "general"})
    assert page.data["messages"][0]["content"] == content


async def test_an_unknown_channel_is_refused_with_those_there_are(mod, ask):
    """Posting and retrieving say the same."""
    posted = await ask(mod, "thread.channel_message.post", said("hello", "nowhere"))
    retrieved = await ask(mod, "thread.channel_messages.retrieve", {"channel": "nowhere"})

    assert not posted.success
    assert posted.message == retrieved.message == "there is no channel 'nowhere', only general, dev"


async def test_registering_twice_changes_nothing(mod, network):
    """An agent is a member once, however often the mod hears of it."""
    mod.handle_register_agent("ana", {})
    mod.handle_register_agent("ana", {})

    assert network.channel_members("general").count("ana") == 1


async def test_an_agent_that_leaves_is_out_of_the_channels(mod, network):
    """Leaving twice is no error."""
    mod.handle_unregister_agent("ben")
    mod.handle_unregister_agent("ben")

    assert network.channel_members("general") == ("ana", "cleo")
    assert network.channel_members("dev") == ("ana", "cleo")


async def test_a_channel_that_is_new_in_the_configuration_has_the_connected_agents(mod, network, start):
    """And who left an old channel is not brought back into it."""
    network.remove_channel_member("general", "cleo")
    following = MessagingMod()
    following.config = MessagingMod.Config(default_channels=["general", "news"])
    following.state = mod.state
    following.bind_network(network)
    following.initialize()

    assert network.channel_members("news") == ("ana", "ben", "cleo")
    assert network.channel_members("general") == ("ana", "ben")


async def test_all_that_was_said_survives_a_new_instance(mod, start, ask):
    """Messages, threads, reactions and counts are the same as before."""
    await ask(mod, "thread.channel_message.post", said("root"), event_id="m1")
    await ask(mod, "thread.reply.post", {"reply_to_id": "m1", "text": "reply"}, event_id="r1")
    await ask(mod, "thread.reaction.add", {"target_message_id": "m1", "reaction_type": "ok"}, by="ben")
    asked = [("thread.channel_messages.retrieve", {"channel": "general", "request_id": "x"})]
    asked += [("thread.channels.list", {"request_id": "x"})]
    before = [await ask(mod, *each) for each in asked]

    following = await start(MessagingMod, CHANNELS, mod.state)

    assert [await ask(following, *each) for each in asked] == before
    assert (await ask(following, "thread.reply.post", {"reply_to_id": "r1", "text": "more"})).success


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"default_channels": "general"}, '"default_channels" must be a list, not "general"'),
        ({"default_channels": [7]}, r'"default_channels\[0\]" must be an object, not 7'),
        ({"default_channels": [{"description": "x"}]}, r'"default_channels\[0\].name" is missing'),
        ({"default_channels": ["#"]}, "at least one visible character"),
        ({"max_messages": 0}, '"max_messages" must be at least 1, not 0'),
        ({"max_waiting": True}, '"max_waiting" must be a whole number, not true'),
    ],
)
async def test_a_configuration_that_cannot_be_used_is_refused_with_its_key(start, config, words):
    """The load fails with a sentence for the author of network.yaml."""
    with pytest.raises(ValueError, match=words):
        await start(MessagingMod, config)
