"""The wiki mod: answers `wiki.page.*` and `wiki.pages.*`, and tells its channels of new pages and changes.

What a page is and what may be done to it is decided in `pages`. Event names and payload keys are those of OpenAgents.
"""

from __future__ import annotations

from typing import Any

from devserver import BaseMod, Event, EventResponse, Refused, mod_event_handler
from mods.lib.ask import done, request_id, sender_of
from mods.wiki import pages
from mods.wiki.pages import Edit, Page, Rules, Version
from mods.wiki.payloads import CreatePage, EditPage, GetPage, ListPages, PageHistory, RevertPage, SearchPages

NEW_PAGES = "wiki_new_pages"
RECENT_CHANGES = "wiki_recent_changes"
CHANNELS = (NEW_PAGES, RECENT_CHANGES)


class WikiMod(BaseMod):
    """Pages by path. Everyone may edit, unless the configuration says `owner_only`; every edit is a new version."""

    version = "1.0"

    Config = Rules
    config: Rules

    def initialize(self) -> bool:
        """Open the wiki's channels."""
        self.state.setdefault("pages", {})
        for channel in CHANNELS:
            self.network.create_channel(channel)
        return True

    def update_config(self, config: Rules) -> bool:
        """Take new limits in place: each handler reads them when it is called."""
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
    async def create(self, event: Event, new: CreatePage) -> EventResponse:
        """Create a page."""
        facts = {"title": new.title, "category": new.category, "tags": new.tags}
        edit = self._edit(event, new.wiki_content)
        page = pages.create(self.state["pages"], self.config, new.page_path, facts, edit)
        await self._tell_created(page)
        return done(f"Created page {new.page_path}", page_path=new.page_path, version=1, request_id=request_id(event))

    @mod_event_handler("wiki.page.get")
    def get(self, event: Event, wanted: GetPage) -> EventResponse:
        """Get a page, as its newest or the wanted version."""
        page = self._page(wanted.page_path)
        version = pages.find_version(page, wanted.version)
        return done(f"Page {page['page_path']}", **pages.shown(page, version), request_id=request_id(event))

    @mod_event_handler("wiki.page.edit")
    async def edit(self, event: Event, wanted: EditPage) -> EventResponse:
        """Give a page a new text, unless another edit of the same version came first."""
        page = self._page(wanted.page_path)
        edit = self._edit(event, wanted.wiki_content)
        version = pages.change(page, self.config, edit, wanted.base_version)
        await self._tell_changed(page, version)
        path, number = page["page_path"], version["version_number"]
        return done(f"Page {path} is at version {number}", page_path=path, version=number, request_id=request_id(event))

    @mod_event_handler("wiki.page.revert")
    async def revert(self, event: Event, wanted: RevertPage) -> EventResponse:
        """Make an old version the newest again, as a version of its own: nothing is lost."""
        page = self._page(wanted.page_path)
        content = pages.find_version(page, wanted.target_version)["content"]
        edit = Edit(content, sender_of(event), _milliseconds(event), "revert")
        version = pages.change(page, self.config, edit)
        await self._tell_changed(page, version)
        return done(
            f"Page {page['page_path']} says again what it said in version {wanted.target_version}",
            page_path=page["page_path"],
            reverted_to_version=wanted.target_version,
            new_version=version["version_number"],
            request_id=request_id(event),
        )

    @mod_event_handler("wiki.page.history")
    def history(self, event: Event, wanted: PageHistory) -> EventResponse:
        """List the newest versions of a page, newest first."""
        page = self._page(wanted.page_path)
        shown = [pages.listed_version(version) for version in reversed(page["versions"][-wanted.limit :])]
        return done(
            f"{len(shown)} versions of page {page['page_path']}",
            versions=shown,
            page_path=page["page_path"],
            total_versions=len(page["versions"]),
            request_id=request_id(event),
        )

    @mod_event_handler("wiki.pages.list")
    def list_pages(self, event: Event, wanted: ListPages) -> EventResponse:
        """List the last created pages, of all categories or of one."""
        found = pages.newest_first(self.state["pages"], wanted.category)
        shown = [pages.listed(page) for page in found[: wanted.limit]]
        return done(
            f"{len(shown)} pages",
            pages=shown,
            category=wanted.category,
            total_listed=len(shown),
            request_id=request_id(event),
        )

    @mod_event_handler("wiki.pages.search")
    def search(self, event: Event, wanted: SearchPages) -> EventResponse:
        """Find the pages where every word of a query occurs, the last created first."""
        found = pages.matching(self.state["pages"], wanted.query)
        return done(
            f"{len(found)} pages found",
            pages=[pages.listed(page) for page in found[: wanted.limit]],
            query=wanted.query,
            total_found=len(found),
            request_id=request_id(event),
        )

    def _page(self, path: str) -> Page:
        return pages.find(self.state["pages"], path)

    def _edit(self, event: Event, content: str) -> Edit:
        longest = self.config.max_content
        if len(content) > longest:
            raise Refused(f"'wiki_content' has at most {longest} characters, this one has {len(content)}")
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
            self.log.info("notification refused", name=name, channel=channel, reason=answer.message)


def _milliseconds(event: Event) -> int:
    return event.timestamp * 1000
