"""The view Events: rows with their ways, swaps among them, one event in full, search, and what a tab misses."""

from __future__ import annotations

import re
from typing import Any

from acted import ZERO, error, mod, outcome
from sampled import sampled

HOSTILE = "<img src=x onerror=document.title=1>\u202e<script>document.title=2</script>\x1b[31m"
ROWS = "#events [role=option]"


def texts(page: Any, selector: str) -> list[str]:
    """The texts of all that a selector finds."""
    return [re.sub(r"\s+", " ", each).strip() for each in page.locator(selector).all_inner_texts()]


def test_what_happened_stands_newest_first_with_swaps_among_it(opened, acted) -> None:
    """An event, its way and its answer, a swap where it was, and a child below its parent's number."""
    acted.event("wiki.page.get", ["wiki", 4, 10, 0, 80, 1], at=1, took=95)
    acted.fact(outcome("wiki", 5, 2.0))
    parent = acted.event("wiki.page.edit", ["wiki", 5, 10, 3400, 1200, 1], at=3, took=4700)
    acted.event("wiki.told", at=3.001, parent=parent, source="mod:wiki", to=["ana", "critic"])
    page = opened()
    found = texts(page, ROWS)
    assert [re.sub(r"^\d\d:\d\d:\d\d\.\d{3} ", "", each) for each in found] == [
        "3 └ wiki.told mod:wiki delivered to 2 agents 0.80 ms",
        "2 wiki.page.edit ana wiki v5 4.70 ms",
        "↻ wiki v4 → v5 12.4 ms · mods/wiki/mod.py changed · state kept (4 keys)"
        " · 3 agents, 0 dropped · 2 events held 3.40 ms",
        "1 wiki.page.get ana wiki v4 95 µs",
    ]
    assert page.locator(f"{ROWS} >> nth=1").locator(".piece.held").count() == 1


def test_an_event_opens_with_way_payload_answer_and_deliveries(opened, acted) -> None:
    """All that is kept of it; Esc goes back and follows again."""
    sampled(acted)
    page = opened()
    page.click(f"{ROWS} >> text=4.70 ms")
    page.wait_for_selector(".waterfall >> text=2 told")
    assert texts(page, ".waterfall li") == [
        "analytics v1 14 µs passed",
        "gate of wiki 3.40 ms",
        "wiki v5 1.20 ms answered",
        "↳ page.notification 62 µs",
        "↳ charlie, critic 2 told 1 read, 0.40 ms",
    ]
    assert '"reason": "shorter"' in page.inner_text(".aside-column")
    assert '"version": 8' in page.inner_text(".aside-column")
    page.keyboard.press("Escape")
    page.wait_for_selector(".following")
    assert page.locator(".aside-column").count() == 0


def test_an_event_that_failed_shows_what_was_raised_with_its_source(opened, acted) -> None:
    """The frame, the line, and the whole trace on request."""
    number = acted.event("wiki.page.get", ["wiki", 5, 10, 0, 80, 2], ok=False, said="the mod wiki failed")
    acted.events[number] = {"errors": [{**error("no titel"), "mod_id": "wiki", "trace": "Traceback …"}]}
    page = opened()
    page.keyboard.press("j")
    page.wait_for_selector("text=AttributeError: no titel")
    assert "❱  118" in page.inner_text(".aside-column .excerpt")
    assert texts(page, f"{ROWS} .answer.bad") == ["the mod wiki failed"]


def test_an_event_that_is_kept_no_more_is_what_its_row_says(opened, acted) -> None:
    """And the page says so."""
    acted.event("wiki.page.get", number=7)
    page = opened()
    acted.rows.clear()
    page.keyboard.press("j")
    page.wait_for_selector("text=keeps this event no more")
    assert '"page_path": "home"' in page.inner_text(".aside-column")


def test_rows_come_at_the_top_only_while_the_page_follows(opened, acted) -> None:
    """Else a counter says how many came; pressing it shows them."""
    for _ in range(5):
        acted.event("wiki.page.get")
    page = opened()
    page.keyboard.press("j")
    page.wait_for_selector(".aside-column")
    before = texts(page, f"{ROWS} .number")
    acted.event("wiki.page.edit", at=5)
    acted.event("wiki.page.edit", at=6)
    page.wait_for_selector("text=2 new ↑")
    assert texts(page, f"{ROWS} .number") == before
    page.click("text=2 new ↑")
    page.wait_for_selector(f"{ROWS} >> nth=6")


def test_two_thousand_events_are_few_rows_of_the_page(opened, acted) -> None:
    """What cannot be seen is not in it; scrolling brings it."""
    for each in range(2000):
        acted.rows.append(
            [each + 1, 0, each * 1000, 90, "wiki.page.get", "ana", None, f"e{each}", True, "", [], [], [], {}]
        )
    acted.ended = 2000
    page = opened()
    page.wait_for_selector(ROWS)
    assert page.locator(ROWS).first.get_attribute("aria-setsize") == "500"
    assert page.locator(ROWS).count() <= 60
    page.evaluate("document.getElementById('events').scrollTop = 27 * 400")
    page.wait_for_selector(".number >> text='1600'")
    assert page.locator(ROWS).count() <= 60


def test_a_burst_is_sampled_and_what_is_not_shown_is_counted(opened, acted) -> None:
    """At most a hundred rows an answer, and the number of the others in the first line."""
    acted.event("wiki.page.get")
    page = opened()
    for each in range(400):
        acted.rows.append([each + 2, 0, each, 90, "wiki.page.get", "ana", None, f"e{each}", True, "", [], [], [], {}])
    acted.ended += 400
    acted.event("wiki.page.get", number=402)
    page.wait_for_selector("text=301 not shown")


def test_search_asks_the_server_and_says_how_much_it_looked_through(opened, acted) -> None:
    """Of all kept events, not of this tab's rows."""
    sampled(acted)
    page = opened()
    page.keyboard.press("/")
    page.keyboard.type("page.delete")
    page.wait_for_selector("text=/1 of 71 kept events · .*/")
    assert texts(page, f"{ROWS} .name") == ["wiki.page.delete"]
    page.keyboard.type("-what-is-not")
    page.wait_for_selector("text=No kept event matches page.delete-what-is-not.")
    page.keyboard.press("Escape")
    page.wait_for_selector(".following")


def test_a_mod_in_the_rail_shows_its_events_alone(opened, acted) -> None:
    """Its button is a search; pressed again it ends."""
    sampled(acted)
    page = opened()
    page.click(".mod >> text=messaging")
    page.wait_for_selector(".mod.chosen")
    assert page.input_value("#search") == "mod:messaging"
    page.click(".mod >> text=messaging")
    page.wait_for_selector(".following")


def test_hostile_names_stay_text(opened, acted) -> None:
    """Of events, agents, mods, errors and payloads: markup, marks that turn the text, escapes."""
    acted.tell(
        name=HOSTILE, mods=[mod(HOSTILE, failed=error(HOSTILE))], agents=[{"agent_id": HOSTILE, "transport": HOSTILE}]
    )
    acted.event(HOSTILE, [HOSTILE, 1, 0, 0, 50, 1], source=HOSTILE, payload={HOSTILE: HOSTILE}, said=HOSTILE, ok=False)
    acted.fact(outcome(HOSTILE, 2, 1.0, reason=HOSTILE))
    page = opened()
    for key in ("j", "j"):
        page.keyboard.press(key)
    page.wait_for_selector(".json >> text=<img")
    page.keyboard.press("5")
    assert page.locator("img").count() == 0
    scripts = {each.get_attribute("src") for each in page.locator("script").all()}
    assert scripts <= {"main.js", "vendor-uplot.js"}
    assert "<img src=x" in page.title()


def test_a_gap_of_a_tab_that_slept_for_ten_minutes_is_a_row_of_its_list(opened, acted) -> None:
    """Hidden it ends its question and asks nothing; back it shows the latest, how many are missing, and whole plots."""
    acted.event("wiki.page.get")
    page = opened()
    page.wait_for_selector(ROWS)
    page.evaluate("globalThis.asleep = true; Object.defineProperty(document, 'hidden', {get: () => globalThis.asleep})")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    acted.event("wiki.page.get", at=1)
    asked = acted.feeds()
    acted.sums = [[int(ZERO) + second, {"": [second % 50, 0, 90, 95]}] for second in range(1, 600)]
    for each in range(2310):
        acted.rows.append(
            [
                each + 3,
                0,
                2_000_000 + each * 258_000,
                90,
                "wiki.page.get",
                "ana",
                None,
                f"e{each}",
                True,
                "",
                [],
                [],
                [],
                {},
            ]
        )
    acted.ended += 2310
    acted.event("wiki.page.get", at=600, number=2313)
    assert acted.feeds() == asked
    page.evaluate("globalThis.asleep = false; document.dispatchEvent(new Event('visibilitychange'))")
    page.wait_for_selector("#events [aria-setsize='502'] >> nth=0")
    page.evaluate("document.getElementById('events').scrollTop = 1e6")
    page.wait_for_selector(
        "text=1,812 events came while this tab slept; the latest 500 are here, search finds the others"
    )
    page.wait_for_selector("[aria-label='At most 49 events a second in two minutes']")
    assert acted.feeds() > asked


def test_an_empty_list_says_why_and_what_to_do(opened, acted) -> None:
    """No event has come."""
    page = opened()
    page.wait_for_selector("text=No event has come yet.")
    assert "oa-dev send" in page.inner_text(".empty")
