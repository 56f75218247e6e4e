"""The wiki mod: answers `wiki.page.*` and `wiki.pages.*`, and tells its channels of new pages and changes.

What a page is and what may be done to it is decided in `pages`. Event names and payload keys are those of OpenAgents.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from devserver import BaseMod, Event, EventResponse, mod_event_handler
from mods.lib.ask import (
    answers,
    done,
    needed_whole,
    optional_text,
    optional_whole,
    request_id,
    sender_of,
    text,
    texts,
    whole,
)
from mods.wiki import pages
from mods.wiki.pages import Edit, Page, Rules, Version

NEW_PAGES = "wiki_new_pages"
RECENT_CHANGES = "wiki_recent_changes"
CHANNELS = (NEW_PAGES, RECENT_CHANGES)

MOST_TAGS = 20
MOST_LISTED = 500
HIGHEST_VERSION = 10**9


class WikiMod(BaseMod):
    """Pages by path. Everybody may edit, unless the configuration says `owner_only`; every edit is a new version."""

    version = "1.0"

    rules: Rules

    def initialize(self) -> bool:
        """Open the wiki's channels. Raises ValueError for a configuration that cannot be used."""
        self.rules = Rules.of(self.config)
        self.state.setdefault("pages", {})
        for channel in CHANNELS:
            self.network.create_channel(channel)
        return True

    def update_config(self, config: Mapping[str, Any]) -> bool:
        """Take new limits in place; no reload is needed for them."""
        self.rules = Rules.of(config)
        self.config = dict(config)
        return True

    def handle_register_agent(self, agent_id: str, metadata: dict[str, Any]) -> None:
        """Let an agent hear of new pages and of changes."""
        for channel in CHANNELS:
            if agent_id not in self.network.channel_members(channel):
                self.network.add_channel_member(channel, agent_id)

    def handle_unregister_agent(self, agent_id: str) -> None:
        """Take an agent out of the wiki's channels."""
        for channel in CHANNELS:
            if agent_id in self.network.channel_members(channel):
                self.network.remove_channel_member(channel, agent_id)

    @mod_event_handler("wiki.page.create")
    @answers
    async def create(self, event: Event) -> EventResponse:
        """Create `page_path` with `title` and `wiki_content`, optionally a `category` and `tags`."""
        path = text(event, "page_path").strip()
        facts = {
            "title": text(event, "title"),
            "category": optional_text(event, "category"),
            "tags": texts(event, "tags", MOST_TAGS),
        }
        page = pages.create(self.state["pages"], self.rules, path, facts, self._edit(event))
        await self._tell_created(page)
        return done(f"Created page {path}", page_path=path, version=1, request_id=request_id(event))

    @mod_event_handler("wiki.page.get")
    @answers
    def get(self, event: Event) -> EventResponse:
        """The page at `page_path`, as its newest or the wanted `version`."""
        page = self._page(event)
        version = pages.find_version(page, optional_whole(event, "version", 1, HIGHEST_VERSION))
        return done(f"Page {page['page_path']}", **pages.shown(page, version), request_id=request_id(event))

    @mod_event_handler("wiki.page.edit")
    @answers
    async def edit(self, event: Event) -> EventResponse:
        """Give a page new `wiki_content`. With `base_version` the edit is refused if somebody else was faster."""
        page = self._page(event)
        based_on = optional_whole(event, "base_version", 1, HIGHEST_VERSION)
        version = pages.change(page, self.rules, self._edit(event), based_on)
        await self._tell_changed(page, version)
        path, number = page["page_path"], version["version_number"]
        return done(f"Page {path} is at version {number}", page_path=path, version=number, request_id=request_id(event))

    @mod_event_handler("wiki.page.revert")
    @answers
    async def revert(self, event: Event) -> EventResponse:
        """Make `target_version` the newest again, as a version of its own: nothing is lost."""
        page = self._page(event)
        target = needed_whole(event, "target_version", 1, HIGHEST_VERSION)
        content = pages.find_version(page, target)["content"]
        edit = Edit(content, sender_of(event), _milliseconds(event), "revert")
        version = pages.change(page, self.rules, edit)
        await self._tell_changed(page, version)
        return done(
            f"Page {page['page_path']} says again what it said in version {target}",
            page_path=page["page_path"],
            reverted_to_version=target,
            new_version=version["version_number"],
            request_id=request_id(event),
        )

    @mod_event_handler("wiki.page.history")
    @answers
    def history(self, event: Event) -> EventResponse:
        """The newest versions of a page, at most `limit`, newest first."""
        page = self._page(event)
        limit = whole(event, "limit", 20, 1, MOST_LISTED)
        shown = [pages.listed_version(version) for version in reversed(page["versions"][-limit:])]
        return done(
            f"{len(shown)} versions of page {page['page_path']}",
            versions=shown,
            page_path=page["page_path"],
            total_versions=len(page["versions"]),
            request_id=request_id(event),
        )

    @mod_event_handler("wiki.pages.list")
    @answers
    def list_pages(self, event: Event) -> EventResponse:
        """The last created pages, at most `limit`, optionally of one `category`."""
        category = optional_text(event, "category")
        limit = whole(event, "limit", 50, 1, MOST_LISTED)
        shown = [pages.listed(page) for page in pages.newest_first(self.state["pages"], category)[:limit]]
        return done(
            f"{len(shown)} pages",
            pages=shown,
            category=category,
            total_listed=len(shown),
            request_id=request_id(event),
        )

    @mod_event_handler("wiki.pages.search")
    @answers
    def search(self, event: Event) -> EventResponse:
        """The pages where every word of `query` occurs, at most `limit`, the last created first."""
        query = text(event, "query")
        limit = whole(event, "limit", 10, 1, MOST_LISTED)
        found = pages.matching(self.state["pages"], query)
        return done(
            f"{len(found)} pages found",
            pages=[pages.listed(page) for page in found[:limit]],
            query=query,
            total_found=len(found),
            request_id=request_id(event),
        )

    def _page(self, event: Event) -> Page:
        return pages.find(self.state["pages"], text(event, "page_path").strip())

    def _edit(self, event: Event) -> Edit:
        content = text(event, "wiki_content", self.rules.max_content)
        return Edit(content, sender_of(event), _milliseconds(event))

    async def _tell_created(self, page: Page) -> None:
        keys = ("page_path", "title", "created_by", "created_timestamp", "category", "tags")
        facts = {key: page[key] for key in keys}
        content = pages.find_version(page, None)["content"]
        await self._tell(NEW_PAGES, {"action": "page_created", **facts, "content": content})

    async def _tell_changed(self, page: Page, version: Version) -> None:
        keys = ("content", "edited_by", "edit_timestamp", "edit_type")
        facts = {"page_path": page["page_path"], "title": page["title"], "version": version["version_number"]}
        payload = {"action": "page_edited", **facts, **{key: version[key] for key in keys}}
        await self._tell(RECENT_CHANGES, payload)

    async def _tell(self, channel: str, payload: dict[str, Any]) -> None:
        name = "wiki.page.notification"
        answer = await self.send_event(Event(event_name=name, destination_id=f"channel:{channel}", payload=payload))
        if not answer.success:
            self.log.info("%s for channel %s was refused: %s", name, channel, answer.message)


def _milliseconds(event: Event) -> int:
    return event.timestamp * 1000
