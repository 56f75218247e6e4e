"""What the wiki mod does for those who write, and for those who read."""

from __future__ import annotations

import pytest

from devserver.config.typed import fitted
from mods.wiki.mod import WikiMod


@pytest.fixture
async def mod(network, start):
    """A wiki with two agents and no pages."""
    network.join("ana", "ben")
    return await start(WikiMod)


def page(path: str = "guide", **facts) -> dict:
    """The payload that creates a page."""
    return {"page_path": path, "title": "The guide", "wiki_content": "Begin here.", **facts}


async def test_a_created_page_can_be_got(mod, ask):
    """With everything that was said about it, under OpenAgents' names, times in milliseconds."""
    created = await ask(mod, "wiki.page.create", page(category="docs", tags=["new", "new"]), timestamp=7)
    got = await ask(mod, "wiki.page.get", {"page_path": "guide"}, event_id="e1")

    assert created.success
    assert (created.data["page_path"], created.data["version"]) == ("guide", 1)
    assert got.data == {
        "page_path": "guide",
        "title": "The guide",
        "category": "docs",
        "tags": ["new"],
        "created_by": "ana",
        "creator_id": "ana",
        "created_timestamp": 7000,
        "current_version": 1,
        "wiki_content": "Begin here.",
        "version": 1,
        "last_modified": 7000,
        "edited_by": "ana",
        "edit_timestamp": 7000,
        "request_id": "e1",
    }


async def test_agents_hear_of_new_pages_and_of_changes(mod, network, ask):
    """Each in its channel, of which every agent is a member."""
    await ask(mod, "wiki.page.create", page())
    await ask(mod, "wiki.page.edit", {"page_path": "guide", "wiki_content": "Begin there."}, by="ben")

    assert [event.destination_id for event in network.sent] == ["channel:wiki_new_pages", "channel:wiki_recent_changes"]
    assert {event.event_name for event in network.sent} == {"wiki.page.notification"}
    assert {event.source_id for event in network.sent} == {None}
    created, edited = (event.payload for event in network.sent)
    assert (created["action"], created["created_by"], created["content"]) == ("page_created", "ana", "Begin here.")
    assert (edited["action"], edited["edited_by"], edited["version"]) == ("page_edited", "ben", 2)
    assert network.channel_members("wiki_new_pages") == ("ana", "ben")


async def test_a_refused_notification_is_logged_and_the_page_stands(mod, network, ask, caplog):
    """The network's refusal is told to the log, not to the one who wrote."""
    caplog.set_level("INFO")
    network.refuse = True

    assert (await ask(mod, "wiki.page.create", page())).success
    assert "channel='wiki_new_pages' reason='recorded'" in caplog.text


async def test_an_edit_makes_a_version_and_keeps_the_one_before(mod, ask):
    """Old versions can be got by number, and the history lists them newest first."""
    await ask(mod, "wiki.page.create", page())
    edited = await ask(mod, "wiki.page.edit", {"page_path": "guide", "wiki_content": "Begin there."}, by="ben")
    old = await ask(mod, "wiki.page.get", {"page_path": "guide", "version": 1})
    history = await ask(mod, "wiki.page.history", {"page_path": "guide"})

    assert edited.data["version"] == 2
    assert (old.data["wiki_content"], old.data["version"], old.data["current_version"]) == ("Begin here.", 1, 2)
    listed = [(each["version_number"], each["edited_by"], each["parent_version"]) for each in history.data["versions"]]
    assert listed == [(2, "ben", 1), (1, "ana", None)]
    assert history.data["total_versions"] == 2


async def test_an_edit_of_an_old_version_is_a_conflict_that_says_who_was_faster(mod, ask):
    """With `base_version` no one overwrites what they have not read; the page stays as it is."""
    await ask(mod, "wiki.page.create", page())
    edit = {"page_path": "guide", "wiki_content": "Mine.", "base_version": 1}
    faster = await ask(mod, "wiki.page.edit", edit | {"wiki_content": "Theirs."}, by="ben")
    slower = await ask(mod, "wiki.page.edit", edit)
    got = await ask(mod, "wiki.page.get", {"page_path": "guide"})

    assert faster.success
    assert not slower.success
    assert "edit conflict: page 'guide' is at version 2, edited by ben" in slower.message
    assert (slower.data["current_version"], slower.data["edited_by"], slower.data["base_version"]) == (2, "ben", 1)
    assert got.data["wiki_content"] == "Theirs."


async def test_a_revert_is_a_version_of_its_own(mod, ask):
    """What was reverted stays in the history."""
    await ask(mod, "wiki.page.create", page())
    await ask(mod, "wiki.page.edit", {"page_path": "guide", "wiki_content": "Begin there."})
    reverted = await ask(mod, "wiki.page.revert", {"page_path": "guide", "target_version": 1})
    got = await ask(mod, "wiki.page.get", {"page_path": "guide"})
    history = await ask(mod, "wiki.page.history", {"page_path": "guide", "limit": 1})

    assert (reverted.data["reverted_to_version"], reverted.data["new_version"]) == (1, 3)
    assert got.data["wiki_content"] == "Begin here."
    assert [each["edit_type"] for each in history.data["versions"]] == ["revert"]
    assert history.data["total_versions"] == 3


async def test_search_finds_every_word_in_title_tags_or_text(mod, ask):
    """Upper and lower case are the same; a page that lacks one of the words is not found."""
    await ask(mod, "wiki.page.create", page("one", title="Cats", wiki_content="They sleep."))
    await ask(mod, "wiki.page.create", page("two", title="Dogs", wiki_content="They run.", tags=["Pets"]))

    async def found(query):
        answer = await ask(mod, "wiki.pages.search", {"query": query})
        return [each["page_path"] for each in answer.data["pages"]]

    assert await found("they") == ["two", "one"]
    assert await found("THEY cats") == ["one"]
    assert await found("pets dogs run") == ["two"]
    assert await found("cats run") == []


async def test_lists_begin_with_the_last_created_page(mod, ask):
    """They may be limited, or of one category, and show how each text begins."""
    await ask(mod, "wiki.page.create", page("one", category="a1", wiki_content="x" * 300))
    await ask(mod, "wiki.page.create", page("two", category="b2"))
    everything = await ask(mod, "wiki.pages.list")
    limited = await ask(mod, "wiki.pages.list", {"limit": 1})
    of_one = await ask(mod, "wiki.pages.list", {"category": "a1"})

    assert [each["page_path"] for each in everything.data["pages"]] == ["two", "one"]
    assert [each["page_path"] for each in limited.data["pages"]] == ["two"]
    assert [each["page_path"] for each in of_one.data["pages"]] == ["one"]
    assert of_one.data["pages"][0]["wiki_content"] == "x" * 200 + "..."


@pytest.mark.parametrize(
    ("name", "payload", "words"),
    [
        ("wiki.page.create", page(), "page 'guide' exists already"),
        ("wiki.page.create", page("new", title="\x07\n"), "at least one visible character"),
        ("wiki.page.create", page("new", title="x" * 121), "a title has at most 120 characters"),
        ("wiki.page.create", page("new", wiki_content=None), 'wiki.page.create: "wiki_content" is missing'),
        ("wiki.page.get", {"page_path": "nowhere"}, "there is no page 'nowhere'"),
        ("wiki.page.get", {"page_path": "guide", "version": 9}, "no version 9, only 1 to 1"),
        ("wiki.page.edit", {"page_path": "nowhere", "wiki_content": "x"}, "there is no page 'nowhere'"),
        ("wiki.page.revert", {"page_path": "guide"}, '"target_version" is missing'),
        ("wiki.page.history", {"page_path": "nowhere"}, "there is no page 'nowhere'"),
        ("wiki.pages.search", {"query": " "}, '"query": a text that is not blank is needed'),
        ("wiki.pages.list", {"limit": 0}, '"limit" must be at least 1, not 0'),
    ],
)
async def test_what_cannot_be_done_is_refused_with_a_sentence(mod, ask, name, payload, words):
    """The answer says what is wrong, in its message and in `data["error"]`."""
    await ask(mod, "wiki.page.create", page())
    answer = await ask(mod, name, payload)

    assert not answer.success
    assert words in answer.message
    assert answer.data["error"] == answer.message


async def test_titles_are_one_clean_line(mod, ask):
    """White space is collapsed and control characters are gone."""
    await ask(mod, "wiki.page.create", page(title="  The\n\x1b[31m guide "))
    got = await ask(mod, "wiki.page.get", {"page_path": "guide"})

    assert got.data["title"] == "The [31m guide"


async def test_the_wiki_holds_so_many_pages_and_so_many_versions_of_each(network, start, ask):
    """A full wiki refuses new pages; old versions make room for new ones."""
    mod = await start(WikiMod, {"max_pages": 1, "max_versions": 2})
    await ask(mod, "wiki.page.create", page())
    second = await ask(mod, "wiki.page.create", page("two"))
    for text in ("2", "3"):
        await ask(mod, "wiki.page.edit", {"page_path": "guide", "wiki_content": text})
    gone = await ask(mod, "wiki.page.get", {"page_path": "guide", "version": 1})

    assert second.message == "the wiki is full: max_pages is 1"
    assert gone.message == "page 'guide' has no version 1, only 2 to 3"
    assert len(mod.state["pages"]["guide"]["versions"]) == 2


async def test_a_long_page_is_refused(network, start, ask):
    """`max_content` counts characters."""
    mod = await start(WikiMod, {"max_content": 10})
    answer = await ask(mod, "wiki.page.create", page(wiki_content="x" * 11))

    assert answer.message == "'wiki_content' has at most 10 characters, this one has 11"


async def test_with_owner_only_nobody_else_edits_or_reverts(network, start, ask):
    """The owner still does."""
    mod = await start(WikiMod, {"owner_only": True})
    await ask(mod, "wiki.page.create", page())
    edit = ("wiki.page.edit", {"page_path": "guide", "wiki_content": "x"})
    revert = ("wiki.page.revert", {"page_path": "guide", "target_version": 1})

    assert "only ana, who created page 'guide', may edit it" in (await ask(mod, *edit, by="ben")).message
    assert not (await ask(mod, *revert, by="ben")).success
    assert (await ask(mod, *edit)).success


async def test_a_new_configuration_is_taken_in_place(mod, ask):
    """The very same instance obeys the new limits; a configuration that cannot be used is never made."""
    new = fitted(WikiMod.Config, {"max_pages": 1})
    assert mod.update_config(new) is True
    mod.config = new
    with pytest.raises(ValueError, match='"max_pages" must be a whole number'):
        fitted(WikiMod.Config, {"max_pages": "many"})

    assert (await ask(mod, "wiki.page.create", page())).success
    assert not (await ask(mod, "wiki.page.create", page("two"))).success


async def test_agents_join_the_wikis_channels_once_and_leave_them(mod, network):
    """Hearing of an agent twice changes nothing, neither when it comes nor when it goes."""
    mod.handle_register_agent("ana", {})
    assert network.channel_members("wiki_recent_changes") == ("ana", "ben")

    mod.handle_unregister_agent("ana")
    mod.handle_unregister_agent("ana")
    assert network.channel_members("wiki_recent_changes") == ("ben",)


async def test_pages_survive_a_new_instance(mod, start, ask):
    """With all their versions, and they can be edited on."""
    await ask(mod, "wiki.page.create", page())
    await ask(mod, "wiki.page.edit", {"page_path": "guide", "wiki_content": "2"})
    asked = ("wiki.page.history", {"page_path": "guide", "request_id": "x"})
    before = await ask(mod, *asked)

    following = await start(WikiMod, None, mod.state)

    assert await ask(following, *asked) == before
    edited = await ask(following, "wiki.page.edit", {"page_path": "guide", "wiki_content": "3", "base_version": 2})
    assert edited.data["version"] == 3
