"""The address of the page: its path, and the fragment that lets a browser in. Pure."""

from __future__ import annotations

PATH = "/_dev/"
_SHOWN = 4


def address(url: str, token: str) -> str:
    """Return the page of the server at `url`, with the token that lets it in."""
    return f"{url}{PATH}#k={token}"


def address_once(url: str, ticket: str) -> str:
    """Return the page of the server at `url`, for the browser that opens it first."""
    return f"{url}{PATH}#t={ticket}"


def address_shortened(url: str, token: str) -> str:
    """Return the address without the token, for a terminal that others may see."""
    return f"{url}{PATH}#k=…{token[-_SHOWN:]}"
