"""How the page "what runs now" is reached: its path, and what stands in the fragment that lets a browser in. Pure."""

from __future__ import annotations

PATH = "/_dev/"
_SHOWN = 4


def address(url: str, token: str) -> str:
    """The page of the server at `url`, with the token that lets it in: for the eyes of this user alone."""
    return f"{url}{PATH}#k={token}"


def address_once(url: str, ticket: str) -> str:
    """The page of the server at `url`, for the browser that opens it first."""
    return f"{url}{PATH}#t={ticket}"


def address_shortened(url: str, token: str) -> str:
    """The same as `address` where others may look on; it lets nobody in."""
    return f"{url}{PATH}#k=…{token[-_SHOWN:]}"
