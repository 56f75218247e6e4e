"""The page of a real `oa-dev run`: real events, saves and undos are told as they are."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from live import Live, Site, serving

GET = "@mod_event_handler('wiki.page.get')\ndef get(self, event):\n    return EventResponse(True, 'v', {'page': 1})"
FAILS = "@mod_event_handler('wiki.page.fail')\ndef fail(self, event):\n    raise KeyError('column')"


@pytest.fixture
def show(visit: Callable[..., Any]) -> Callable[[Live], Any]:
    """Opens the page of a server."""
    return lambda live: visit(f"http://127.0.0.1:{live.port}/_dev/#k={live.token}")


def test_events_saves_and_an_undo_are_on_one_screen(tmp_path, show) -> None:
    """An event with its way, a save with its code, one that does not load with its frame, and the way back."""
    site = Site(tmp_path)
    site.mod("wiki", GET, FAILS)
    with serving(site) as live:
        page, ana = show(live), live.join("ana")
        ana.send("wiki.page.get")
        page.wait_for_selector("#events >> text=wiki v1")
        ana.send("wiki.page.fail")
        page.wait_for_selector(".standing.warn >> text=a handler raises")
        assert "KeyError: 'column'" in page.inner_text(".alarm")
        assert re.search(r"❱ +\d+ │ +raise KeyError", page.inner_text(".alarm .excerpt"))
        site.mod("wiki", GET, FAILS, "extra = 1")
        page.wait_for_selector("#events >> text=wiki v1 → v2")
        page.wait_for_selector(".standing.good")
        site.write("mods/wiki.py", (tmp_path / "mods/wiki.py").read_text() + "raise RuntimeError('no')\n")
        page.wait_for_selector(".alarm.bad >> text=wiki v3 did not load, v2 keeps running")
        page.keyboard.press("2")
        page.click(".change >> text=wiki v1 → v2")
        page.click("button[title='oa-dev undo wiki']")
        page.wait_for_selector(".change >> text=/wiki v2 → v3.*undone: v1 again/s")


def test_an_event_is_opened_with_its_answer_and_who_got_it(tmp_path, show) -> None:
    """What an agent is called by a mod is told with it."""
    site = Site(tmp_path)
    site.mod("wiki", GET)
    with serving(site) as live:
        page, ana = show(live), live.join("ana")
        live.join("charlie")
        ana.send("wiki.page.get")
        ana.send("chat.said", to="agent:charlie")
        page.wait_for_selector("#events .name >> text=chat.said")
        page.click("#events >> text=wiki.page.get")
        page.wait_for_selector(".aside-column >> text=answered")
        assert '"page": 1' in page.inner_text(".aside-column")
        page.click("#events [role=option] >> text=chat.said")
        page.wait_for_selector(".waterfall >> text=1 told")


def test_saves_that_wait_are_told_and_applied_with_a_key(tmp_path, show) -> None:
    """Pausing is seen at once, and so is what was saved since."""
    site = Site(tmp_path)
    site.mod("wiki", GET)
    with serving(site) as live:
        page = show(live)
        page.keyboard.press("s")
        page.wait_for_selector(".standing.warn >> text=saves wait")
        site.mod("wiki", GET, "extra = 1")
        page.wait_for_selector(".alarm >> text=mods/wiki.py")
        page.keyboard.press(" ")
        live.line("outcome", action="reload", status="applied")
        page.wait_for_selector("#events >> text=wiki v1 → v2")


def test_a_page_goes_on_after_a_restart_in_place(tmp_path, show) -> None:
    """With the numbers of before, and the restart as a row of the list."""
    site = Site(tmp_path)
    site.mod("wiki", GET)
    with serving(site) as live:
        page, ana = show(live), live.join("ana")
        ana.send("wiki.page.get")
        page.wait_for_selector("#events >> text=wiki.page.get")
        page.keyboard.press("R")
        page.wait_for_selector("#events >> text=restarted in place")
        ana.send("wiki.page.get")
        page.wait_for_selector("#events .number >> text='2'")
