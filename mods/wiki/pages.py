"""The pages of the wiki and their versions. Works on plain dicts, sends nothing, knows no network.

A page is a dict with its facts and `versions`, oldest first; the last one is what the page says. Times are in
milliseconds since 1970, as in OpenAgents' wiki.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from devserver import Refused
from mods.lib.settings import Count, Settings
from mods.lib.text import excerpt, finds

Page = dict[str, Any]
Version = dict[str, Any]
Pages = dict[str, Page]


class Rules(Settings):
    """How much the wiki holds (characters in a page, versions of a page, pages) and who may edit."""

    max_pages: Count = 500
    max_versions: Count = 20
    max_content: Count = 20_000
    owner_only: bool = False


@dataclass(frozen=True, slots=True)
class Edit:
    """What becomes a version: the text, who wrote it, when, and how it came about ("direct" or "revert")."""

    content: str
    by: str
    at: int
    kind: str = "direct"


def create(pages: Pages, rules: Rules, path: str, facts: dict[str, Any], first: Edit) -> Page:
    """Add a page. `facts` are its title, category and tags. Raises Refused where there is one, or no room."""
    if path in pages:
        raise Refused(f"page {path!r} exists already", page_path=path, current_version=current(pages[path]))
    if len(pages) >= rules.max_pages:
        raise Refused(f"the wiki is full: max_pages is {rules.max_pages}")
    page = {
        "page_path": path,
        **facts,
        "created_by": first.by,
        "created_timestamp": first.at,
        "versions": [],
    }
    _append(page, first, rules.max_versions)
    pages[path] = page
    return page


def find(pages: Pages, path: str) -> Page:
    """Return the page at a path. Raises Refused if it is missing."""
    page = pages.get(path)
    if page is None:
        raise Refused(f"there is no page {path!r}", page_path=path)
    return page


def find_version(page: Page, number: int | None) -> Version:
    """Return a version of a page, the newest for None. Raises Refused where it is not kept."""
    versions: list[Version] = page["versions"]
    if number is None:
        return versions[-1]
    for version in versions:
        if version["version_number"] == number:
            return version
    oldest, newest = versions[0]["version_number"], current(page)
    raise Refused(f"page {page['page_path']!r} has no version {number}, only {oldest} to {newest}")


def change(page: Page, rules: Rules, edit: Edit, based_on: int | None = None) -> Version:
    """Append a version to a page. `based_on` is the version that the writer has read, None where it does not say.

    Raises Refused where someone else was faster, or only the owner may edit.
    """
    if rules.owner_only and edit.by != page["created_by"]:
        raise Refused(f"only {page['created_by']}, who created page {page['page_path']!r}, may edit it")
    newest = find_version(page, None)
    if based_on is not None and based_on != newest["version_number"]:
        raise _conflict(page, newest, based_on)
    return _append(page, edit, rules.max_versions)


def _conflict(page: Page, newest: Version, based_on: int) -> Refused:
    return Refused(
        f"edit conflict: page {page['page_path']!r} is at version {newest['version_number']}, edited by "
        f"{newest['edited_by']}; your edit is based on version {based_on}. Get the page and edit again",
        page_path=page["page_path"],
        current_version=newest["version_number"],
        edited_by=newest["edited_by"],
        base_version=based_on,
    )


def _append(page: Page, edit: Edit, most: int) -> Version:
    versions: list[Version] = page["versions"]
    parent = current(page) if versions else None
    version = {
        "version_id": uuid.uuid4().hex,
        "version_number": (parent or 0) + 1,
        "content": edit.content,
        "edited_by": edit.by,
        "edit_timestamp": edit.at,
        "edit_type": edit.kind,
        "parent_version": parent,
    }
    versions.append(version)
    del versions[:-most]
    return version


def current(page: Page) -> int:
    """Return the number of a page's newest version."""
    number: int = page["versions"][-1]["version_number"]
    return number


def newest_first(pages: Pages, category: str | None = None) -> list[Page]:
    """Return all pages, or those of one category, the last created one first."""
    return [page for page in reversed(pages.values()) if category in (None, page["category"])]


def matching(pages: Pages, query: str) -> list[Page]:
    """Return the pages in whose title, tags or text every word of `query` occurs, the last created
    one first."""
    return [page for page in newest_first(pages) if finds(query, page["title"], *page["tags"], _text(page))]


def _text(page: Page) -> str:
    text: str = page["versions"][-1]["content"]
    return text


def shown(page: Page, version: Version) -> dict[str, Any]:
    """Return a page as `wiki.page.get` answers it, with the text of one version."""
    return {
        **_summary(page),
        "wiki_content": version["content"],
        "version": version["version_number"],
        "last_modified": version["edit_timestamp"],
        "edited_by": version["edited_by"],
        "edit_timestamp": version["edit_timestamp"],
    }


def listed(page: Page) -> dict[str, Any]:
    """Return a page as lists and search results show it, with the beginning of its text."""
    newest = find_version(page, None)
    beginning = excerpt(newest["content"])
    return {
        **_summary(page),
        "version": newest["version_number"],
        "last_modified": newest["edit_timestamp"],
        "wiki_content": beginning,
        "content_snippet": beginning,
    }


def _summary(page: Page) -> dict[str, Any]:
    facts = {key: value for key, value in page.items() if key != "versions"}
    return {**facts, "creator_id": page["created_by"], "current_version": current(page)}


def listed_version(version: Version) -> dict[str, Any]:
    """Return a version as a history shows it, with the beginning of its text."""
    facts = {key: value for key, value in version.items() if key != "content"}
    return {**facts, "content_snippet": excerpt(version["content"])}
