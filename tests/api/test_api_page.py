"""The page in the browser: static files that hold nothing, text that stays text, and a key that is never told."""

from __future__ import annotations

import gzip
import hashlib
import math
import re
from pathlib import Path

import pytest

from devserver.control import page
from devserver.control.page import TICKET_SECONDS, PageApi, Tickets
from devserver.transports.http.answers import PROTECTING_HEADERS

TOKEN = "admin-token-of-this-run"
FOLDER = Path(page.__file__).parent
FILES = {"": "text/html", "main.js": "text/javascript", "page.css": "text/css", "vendor-uplot.js": "text/javascript"}
OURS = [each for each in page.files() if each.suffix == ".js" and not each.name.startswith("vendor-")]
VENDORED = {
    "vendor-preact-htm.js": "72284e8e9079c87817145df1110f74e8a2aa040b2fc384922e18dfcb46fc1fd7",
    "vendor-uplot.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
    "vendor-uplot.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
}
"""SHA-256 of `preact/standalone.module.js` of htm 3.1.1, and of `uPlot.iife.min.js` and `uPlot.min.css` of uplot 1."""
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
    asked = (("/_dev/", led), ("/_dev/", framed), ("/_dev/", read), ("/_dev/main.js", led), ("/_dev/status", led))
    assert [(await open_page.http.get(path, headers=each)).status_code for path, each in asked] == [200, *[403] * 4]


def test_the_markup_has_no_script_style_or_handler_of_its_own_and_nothing_from_elsewhere():
    """All of it comes from this server, as the content policy asks."""
    text = (FOLDER / "index.html").read_text()
    assert re.findall(r"<script(?![^>]*\bsrc=)", text) == []
    assert re.findall(r"<style|\bstyle=|\bon\w+=|javascript:|https?://", text) == []


@pytest.mark.parametrize("file", OURS, ids=lambda each: each.name)
def test_a_script_puts_text_and_never_markup_into_the_page(file):
    """What an agent is called, or an exception says, is shown and not obeyed."""
    forbidden = (
        r"(?i)innerHTML|outerHTML|insertAdjacentHTML|document\.write|srcdoc|DOMParser|createContextualFragment"
        r"|\beval\b|\bFunction\(|setAttribute|\.href\b|\.src\b|console\.|localStorage|cookie|https?://"
        r"|createElement|trustedTypes|setInterval"
    )
    assert re.findall(forbidden, file.read_text()) == []


@pytest.mark.parametrize("file", OURS, ids=lambda each: each.name)
def test_a_script_is_short_and_opens_with_its_duty(file):
    """A file is read in one go."""
    text = file.read_text()
    assert text.startswith("/* ")
    assert text.count("\n") <= 150


def test_an_editor_is_opened_in_one_place_and_by_a_link_of_the_server():
    """Nothing else leads a browser away."""
    used = [each.name for each in OURS if re.search(r"location\.(assign|replace)|window\.open", each.read_text())]
    assert used == ["doings.js"]


def test_styles_move_nothing_by_themselves():
    """Neither an animation nor a transition: an idle page costs nothing."""
    assert re.findall(r"@keyframes|animation|transition", (FOLDER / "page.css").read_text()) == []


@pytest.mark.parametrize(("name", "digest"), VENDORED.items())
def test_a_file_of_a_library_is_the_one_of_its_package(name, digest):
    """Byte for byte, and its licence lies beside it."""
    assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == digest
    library = name.removeprefix("vendor-").partition(".")[0]
    licences = {"preact-htm": ("preact", "htm")}.get(library, (library,))
    assert all((FOLDER / f"vendor-{each}.LICENSE").stat().st_size > 1000 for each in licences)


def test_every_file_of_a_library_is_known():
    """None comes in without its digest."""
    assert {each.name for each in page.files() if each.name.startswith("vendor-")} == set(VENDORED)


def test_the_page_is_light():
    """What a tab loads before it shows anything, as the files lie on disk and as gzip would send them."""
    first = _first({"index.html"})
    raw = {name: (FOLDER / name).read_bytes() for name in first}
    assert sum(map(len, raw.values())) <= 130_000
    assert sum(len(gzip.compress(each)) for each in raw.values()) <= 45_000


def test_all_that_comes_first_is_asked_for_at_once():
    """No file waits for another that names it: index.html lists them."""
    listed = re.findall(r'rel="modulepreload" href="([\w.-]+)"', (FOLDER / "index.html").read_text())
    modules = {each for each in _first({"main.js"}) if each != "main.js"}
    assert listed == sorted(modules)


def _first(names: set[str]) -> set[str]:
    """The files that these ask for, and so on; what is imported later, when a view is opened, is not among them."""
    found: set[str] = set()
    while names:
        name = names.pop()
        found.add(name)
        asked = r'(?:^import[^;]*? from|^import) "\./([^"]+)"|(?:src|href)="([\w.-]+\.(?:js|css))"'
        # What lies in a template is loaded by the first plot.
        text = re.sub(r"<template.*?</template>", "", (FOLDER / name).read_text(), flags=re.S)
        each = re.findall(asked, text, re.M)
        names |= {one or other for one, other in each} - found
    return found


async def test_a_ticket_is_given_for_the_token_and_exchanged_for_it_once(open_page, shown_again):
    """A second use is refused and told: someone else has seen it."""
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


def test_a_ticket_may_be_valid_until_it_is_used():
    """The one of the banner is; those that expired meanwhile do not take its place."""
    clock = Clock()
    tickets = Tickets(lambda: None, clock)
    lasting = tickets.make(math.inf)
    for _ in range(20):
        tickets.make()
        clock.now += TICKET_SECONDS
    assert (tickets.take(lasting), tickets.take(lasting)) == (True, False)


def test_old_tickets_make_room_for_new_ones():
    """However many are asked for, a few are kept."""
    tickets = Tickets(lambda: None)
    made = [tickets.make() for _ in range(20)]
    assert not tickets.take(made[0])
    assert tickets.take(made[-1])
