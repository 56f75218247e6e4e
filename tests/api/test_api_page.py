"""The page in the browser: static files that hold nothing, text that stays text, and a key that is never told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from devserver.control import page
from devserver.control.page import TICKET_SECONDS, PageApi, Tickets
from devserver.transports.http.answers import PROTECTING_HEADERS

TOKEN = "admin-token-of-this-run"
FOLDER = Path(page.__file__).parent
FILES = {"": "text/html", "page.js": "text/javascript", "page.css": "text/css"}
NAVIGATES = {"sec-fetch-site": "none", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


class Clock:
    """A time that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def shown_again() -> list[str]:
    """An entry for each ticket that was shown again."""
    return []


@pytest.fixture
async def open_page(network, serve, shown_again):
    """A server with the page."""
    tickets = Tickets(lambda: shown_again.append("again"))
    async with serve(network, routes=PageApi(TOKEN, tickets).routes()) as served:
        yield served


@pytest.mark.parametrize("path", FILES)
async def test_a_file_needs_no_key_and_has_every_protecting_header(open_page, path):
    """Among them the content policy, which lets no inline script and no other origin in."""
    answer = await open_page.http.get(f"/_dev/{path}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == f"{FILES[path]}; charset=utf-8"
    assert all(answer.headers[name.decode()] == value.decode() for name, value in PROTECTING_HEADERS)
    assert TOKEN not in answer.text


@pytest.mark.parametrize("site", ["none", "cross-site", "same-site"])
async def test_a_browser_may_be_led_to_the_page_and_to_nothing_else(open_page, site):
    """By its address bar, a file or a link elsewhere; not into a frame, and never to its other files."""
    led = {**NAVIGATES, "sec-fetch-site": site}
    framed, read = {**led, "sec-fetch-dest": "iframe"}, {**led, "sec-fetch-mode": "no-cors"}
    asked = (("/_dev/", led), ("/_dev/", framed), ("/_dev/", read), ("/_dev/page.js", led), ("/_dev/status", led))
    assert [(await open_page.http.get(path, headers=each)).status_code for path, each in asked] == [200, *[403] * 4]


def test_the_markup_has_no_script_style_or_handler_of_its_own_and_nothing_from_elsewhere():
    """All of it comes from this server, as the content policy asks."""
    text = (FOLDER / "page.html").read_text()
    assert re.findall(r"<script(?![^>]*\bsrc=)", text) == []
    assert re.findall(r"<style|\bstyle=|\bon\w+=|javascript:|https?://", text) == []


def test_the_script_puts_text_and_never_markup_into_the_page():
    """What an agent is called, or an exception says, is shown and not obeyed."""
    text = (FOLDER / "page.js").read_text()
    forbidden = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|srcdoc|DOMParser|createContextualFragment"
        r"|\beval\b|\bFunction\(|setAttribute|\.href\b|\.src\b|console\.|localStorage|cookie|https?://"
    )
    assert re.findall(forbidden, text) == []


async def test_a_ticket_is_given_for_the_token_and_exchanged_for_it_once(open_page, shown_again):
    """A second use is refused and told: somebody else has seen it."""
    assert (await open_page.http.post("/_dev/tickets", json={})).status_code == 401
    made = await open_page.http.post("/_dev/tickets", json={}, headers={"authorization": f"Bearer {TOKEN}"})
    ticket = made.json()["ticket"]
    first = await open_page.http.post("/_dev/enter", json={"ticket": ticket})
    assert (first.json(), shown_again) == ({"token": TOKEN}, [])
    second = await open_page.http.post("/_dev/enter", json={"ticket": ticket})
    assert (second.status_code, second.json()["code"], shown_again) == (401, "ticket_spent", ["again"])


@pytest.mark.parametrize("values", [{}, {"ticket": ""}, {"ticket": "made up"}, {"ticket": TOKEN}, {"ticket": "ü"}])
async def test_what_is_no_ticket_lets_nobody_in(open_page, shown_again, values):
    """And it says nothing of a ticket that was used."""
    assert (await open_page.http.post("/_dev/enter", json=values)).status_code == 401
    assert shown_again == []


def test_a_ticket_admits_for_half_a_minute():
    """After that it was seen by more people than the one who asked for it."""
    clock = Clock()
    tickets = Tickets(lambda: None, clock)
    soon, late = tickets.make(), tickets.make()
    clock.now = TICKET_SECONDS - 1
    assert tickets.take(soon)
    clock.now = TICKET_SECONDS
    assert not tickets.take(late)


def test_old_tickets_make_room_for_new_ones():
    """However many are asked for, a few are kept."""
    tickets = Tickets(lambda: None)
    made = [tickets.make() for _ in range(20)]
    assert not tickets.take(made[0])
    assert tickets.take(made[-1])
