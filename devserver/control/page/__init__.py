"""The dashboard, as a page in the browser: files without anything of this run in them, and how it gets its token.

They are served as they lie here; `vendor-…` are unmodified files of npm packages, with their licences beside them.
The files need no credential; all that the page shows it asks of the control API, with this run's token. That comes in
the fragment of the address, which no browser sends anywhere. A browser that is started by a command gets a ticket in
its place, out of a file: every user of this machine can read what a process was started with.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

from devserver.control.page_address import PATH
from devserver.model.principal import Scope
from devserver.network.identity import same_text
from devserver.transports.http.answers import Answer, refused, told
from devserver.transports.http.routes import Request, Route
from devserver.transports.inbound import text_of

TICKET_SECONDS = 30.0
MOST_TICKETS = 8
_TICKET_BYTES = 16
"""Too many to be guessed, few enough for an address that fits into one line of a terminal."""

INDEX = "index.html"
_KINDS = {
    ".html": b"text/html; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
}
_FOLDER = Path(__file__).parent


def files() -> tuple[Path, ...]:
    """Return the files of the page, in the order of their names."""
    return tuple(each for each in sorted(_FOLDER.iterdir()) if each.suffix in _KINDS)


class Tickets:
    """Each admits once, for TICKET_SECONDS or as long as is asked for.

    Arguments: `shown_again`, called when a ticket is shown that was used already; `clock`, monotonic seconds.
    """

    def __init__(self, shown_again: Callable[[], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._shown_again = shown_again
        self._clock = clock
        self._unused: list[tuple[str, float]] = []
        self._used: list[str] = []

    def make(self, seconds: float = TICKET_SECONDS) -> str:
        """Return a new ticket, at the price of the oldest where there are many."""
        now, ticket = self._clock(), secrets.token_urlsafe(_TICKET_BYTES)
        valid = [each for each in self._unused if each[1] > now]
        self._unused = [*valid, (ticket, now + seconds)][-MOST_TICKETS:]
        return ticket

    def take(self, shown: str) -> bool:
        """Return whether this is a ticket that admits; it does so no more."""
        if any(same_text(shown, each) for each in self._used):
            self._shown_again()
            return False
        found = next(((ticket, until) for ticket, until in self._unused if same_text(shown, ticket)), None)
        if found is None:
            return False
        self._unused.remove(found)
        self._used = [*self._used, found[0]][-MOST_TICKETS:]
        return self._clock() < found[1]


class PageApi:
    """The routes of the page. Arguments: `token`, this run's admin token; `tickets`, what it is given for."""

    def __init__(self, token: str, tickets: Tickets) -> None:
        self._token = token
        self._tickets = tickets

    def routes(self) -> tuple[Route, ...]:
        return (
            *(_route(each) for each in files()),
            Route("POST", "/_dev/tickets", Scope.ADMIN, self.ticket),
            Route("POST", "/_dev/enter", Scope.OPEN, self.enter),
        )

    async def ticket(self, request: Request) -> Answer:
        """Return a ticket, for a browser that is about to be started."""
        return told({"ticket": self._tickets.make()})

    async def enter(self, request: Request) -> Answer:
        """Return the token, for a ticket."""
        if self._tickets.take(text_of(request.body, "ticket") or ""):
            return told({"token": self._token})
        return refused("ticket_spent", "this link was used, or is too old: open the page again", 401)


def _route(file: Path) -> Route:
    is_page, kind = file.name == INDEX, _KINDS[file.suffix]

    async def endpoint(request: Request) -> Answer:
        return Answer(content(file), content_type=kind)

    return Route("GET", PATH if is_page else PATH + file.name, Scope.OPEN, endpoint, page=is_page)


@cache
def content(file: Path) -> bytes:
    """Return what a file holds, read once: page and Studio do not change during a run."""
    return file.read_bytes()
