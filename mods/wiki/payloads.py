"""What can be asked of the wiki: one model for each event. Keys are those of OpenAgents' wiki mod."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from mods.lib.ask import MaybeBlank, Name, Names, NotBlank, Payload
from mods.lib.text import clean_line, title_problem

MOST_TAGS = 20
MOST_LISTED = 500
HIGHEST_VERSION = 10**9


def _title(text: str) -> str:
    problem = title_problem(text)
    if problem is not None:
        raise ValueError(problem)
    return clean_line(text)


Path = Annotated[Name, AfterValidator(str.strip)]
Number = Annotated[int, Field(ge=1, le=HIGHEST_VERSION)]
Limit = Annotated[int, Field(ge=1, le=MOST_LISTED)]


class CreatePage(Payload):
    """A new page."""

    page_path: Path
    title: Annotated[str, AfterValidator(_title)]
    wiki_content: NotBlank
    category: MaybeBlank | None = None
    tags: Names = Field(default=[], max_length=MOST_TAGS)


class GetPage(Payload):
    """A page, as its newest or the wanted version."""

    page_path: Path
    version: Number | None = None


class EditPage(Payload):
    """A page's new text. With `base_version` the edit is refused if another one came first."""

    page_path: Path
    wiki_content: NotBlank
    base_version: Number | None = None


class RevertPage(Payload):
    """The version that shall be the newest again."""

    page_path: Path
    target_version: Number


class PageHistory(Payload):
    """The newest versions of a page."""

    page_path: Path
    limit: Limit = 20


class ListPages(Payload):
    """The last created pages, of all categories or of one."""

    category: MaybeBlank | None = None
    limit: Limit = 50


class SearchPages(Payload):
    """The words that a page has to hold."""

    query: Name
    limit: Limit = 10
