"""How two versions of one small mod take over from each other."""

from __future__ import annotations

import pytest

from devserver.mod import handler_patterns
from mods.messaging_v1 import MessagingV1Mod
from mods.messaging_v2 import MessagingV2Mod, mentions_in

POST = "thread.channel_message.post"
RETRIEVE = "thread.channel_messages.retrieve"
VERSIONS = [MessagingV1Mod, MessagingV2Mod]


def said(text: str) -> dict:
    """The payload of a post."""
    return {"channel": "general", "text": text}


async def test_the_versions_answer_the_same_events_and_say_which_they_are(start, ask):
    """1.0 and 2.0, declared and in every answer."""

    def names(mod_class):
        return {pattern for each in vars(mod_class).values() for pattern in handler_patterns(each)}

    assert names(MessagingV1Mod) == names(MessagingV2Mod) == {POST, RETRIEVE}
    for mod_class, version in zip(VERSIONS, ("1.0", "2.0"), strict=True):
        answer = await ask(await start(mod_class), POST, said("hello"))
        assert (mod_class.version, answer.data["version"]) == (version, version)


@pytest.mark.parametrize("mod_class", VERSIONS)
async def test_what_was_posted_comes_back_newest_first(start, ask, mod_class):
    """Only that of the channel that was asked for, and no more than was asked for."""
    mod = await start(mod_class)
    for text in ("one", "two", "three"):
        await ask(mod, POST, said(text), by="ana")
    await ask(mod, POST, said("elsewhere") | {"channel": "other"})
    answer = await ask(mod, RETRIEVE, {"channel": "general", "limit": 2})

    assert [(each["text"], each["sender_id"]) for each in answer.data["messages"]] == [("three", "ana"), ("two", "ana")]
    assert answer.data["total_count"] == 3


@pytest.mark.parametrize("mod_class", VERSIONS)
async def test_the_oldest_make_room(start, ask, mod_class):
    """`max_messages` are kept."""
    mod = await start(mod_class, {"max_messages": 2})
    for text in ("one", "two", "three"):
        await ask(mod, POST, said(text))

    assert [each["text"] for each in mod.state["messages"]] == ["two", "three"]


async def test_the_second_version_takes_over_and_knows_who_is_mentioned(start, ask):
    """Also in what the first version has kept."""
    first = await start(MessagingV1Mod)
    old = await ask(first, POST, said("ask @ben"))
    second = await start(MessagingV2Mod, None, first.state)
    new = await ask(second, POST, said("@ana @ben @ana: done"))
    answer = await ask(second, RETRIEVE, {"channel": "general"})

    assert "mentions" not in old.data
    assert new.data["mentions"] == ["ana", "ben"]
    assert [each["mentions"] for each in answer.data["messages"]] == [["ana", "ben"], ["ben"]]


async def test_the_first_version_takes_back_over(start, ask):
    """What the second has kept is shown as the first would have kept it."""
    second = await start(MessagingV2Mod)
    await ask(second, POST, said("ask @ben"), event_id="m1", by="ana")
    first = await start(MessagingV1Mod, None, second.state)
    answer = await ask(first, RETRIEVE, {"channel": "general"})

    expected = {"message_id": "m1", "sender_id": "ana", "channel": "general", "text": "ask @ben"}
    assert answer.data["messages"] == [expected]


@pytest.mark.parametrize("mod_class", VERSIONS)
async def test_a_missing_key_is_refused_with_its_name(start, ask, mod_class):
    """Nothing is kept of such a post."""
    mod = await start(mod_class)
    answer = await ask(mod, POST, {"channel": "general"})

    assert answer.message == 'thread.channel_message.post: "text" is missing'
    assert mod.state == {"messages": []}


def test_an_address_mentions_nobody():
    """An `@` after a letter is part of a word."""
    assert mentions_in("write to ana@example.org, @ben-2 or @@cleo") == ["ben-2"]
