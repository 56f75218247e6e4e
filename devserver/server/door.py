"""Writes the file that leads this user's browser to the page with a ticket: `.oa-dev/open.html`.

Every user of the machine can read the arguments of a browser, and so learns the name of this file,
but not the ticket in it. Must not start a browser.
"""

from __future__ import annotations

import html
from contextlib import suppress
from pathlib import Path

from devserver.control.page_address import address_once
from devserver.errors import DevServerError
from devserver.server.runfile import FOLDER, remove_private, write_private

NAME = "open.html"

_PAGE = """<!doctype html>
<meta charset="utf-8">
<meta name="referrer" content="no-referrer">
<meta http-equiv="refresh" content="0; url={address}">
<title>oa-dev</title>
<a href="{address}">The dashboard of oa-dev</a>
"""


def write_door(workspace: Path, url: str, ticket: str) -> str | None:
    """Write the file for the server at `url`. Returns its address, or None if it cannot."""
    page = _PAGE.format(address=html.escape(address_once(url, ticket)))
    try:
        write_private(workspace, NAME, page)
    except (OSError, DevServerError):
        return None
    return (workspace.resolve() / FOLDER / NAME).as_uri()


def remove_door(workspace: Path) -> None:
    """Remove the file. Its ticket is worthless now, so a file that cannot be removed may stay."""
    with suppress(OSError, DevServerError):
        remove_private(workspace, NAME)
