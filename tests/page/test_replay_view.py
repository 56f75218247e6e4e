"""The views Replay and State: pins and what they do otherwise, events that are run again, and what a mod keeps."""

from __future__ import annotations

import re

from sampled import DIFFERENCES, sampled, seen
from test_acting import until

LEVEL = {
    "type": "dict",
    "of": 2,
    "items": [{"key": "pages", "type": "dict", "of": 1}, {"key": "title <b>", "type": "str", "value": "<i>"}],
}


def test_pins_say_what_differs_and_the_tab_says_how_many(opened, acted) -> None:
    """With both values at their path, and what is not compared."""
    sampled(acted)
    page = opened()
    page.wait_for_selector(".tabs >> text=1 differs")
    page.keyboard.press("4")
    page.click(".change >> text=wiki.page.edit")
    page.wait_for_selector(".chosen-change .diff")
    lines = page.locator(".chosen-change .diff .line").all_inner_texts()
    shown = [re.sub(r"\s+", " ", each).strip().removesuffix(" ignore") for each in lines]
    assert shown == ["~ answer.data.version", "− 8", '+ "8"', "+ answer.data.edited_by", '+ "ana"']
    assert "Differs from run to run, not compared: answer.data.edited_at" in page.inner_text(".chosen-change")


def test_what_a_pin_does_now_is_accepted_ignored_or_forgotten(opened, acted) -> None:
    """Each by its button; accepting has a key too."""
    sampled(acted)
    page = opened()
    page.keyboard.press("4")
    page.click(".change >> text=wiki.page.edit")
    page.keyboard.press("y")
    assert until(page, acted, "pins/accept") == {"name": "wiki.page.edit-57"}
    page.click("[aria-label='Ignore answer.data.version']")
    assert until(page, acted, "pins/ignore") == {"name": "wiki.page.edit-57", "path": "answer.data.version"}
    acted.answers["test"] = {"path": "tests/test_wiki_page_edit.py", "text": ""}
    page.click("text=Save as test")
    page.wait_for_selector("text=wrote tests/test_wiki_page_edit.py")
    page.click("button >> text=Remove")
    assert until(page, acted, "pins/remove") == {"name": "wiki.page.edit-57"}


def test_an_event_is_run_again_on_both_generations(opened, acted) -> None:
    """What came of it is shown where you are; nothing was sent."""
    sampled(acted)
    runs = [
        {"on": "before", "numbers": {"wiki": 4}, "seen": seen(generations={"wiki": 4})},
        {"on": "now", "numbers": {"wiki": 5}, "seen": seen(data={"version": "8"})},
    ]
    acted.answers["replay"] = {
        "number": 62,
        "event_name": "wiki.page.edit",
        "took_us": {"before": [900, 1000, 1100], "now": [1200, 1300, 1400]},
        "pin": None,
        "runs": runs,
        "differences": DIFFERENCES,
    }
    page = opened()
    page.click("#events >> text=4.70 ms")
    page.keyboard.press("a")
    page.wait_for_selector("text=run again; nothing was delivered")
    page.wait_for_selector("text=1.3× slower (1.00 ms before, 1.30 ms now)")
    assert until(page, acted, "replay") == {"number": 62, "on": "both"}
    titles = [each.replace("\n", " ") for each in page.locator(".aside-column h3").all_inner_texts()]
    assert titles[1:] == [
        "WIKI V4 success · 1.10 ms",
        "WIKI V5 success · 1.10 ms",
    ]
    assert not [name for name, _ in acted.posted if name == "send"]
    page.keyboard.press("Escape")
    page.wait_for_selector(".waterfall")


def test_an_event_is_pinned_with_a_key(opened, acted) -> None:
    """Where none is chosen, the page says so."""
    sampled(acted)
    acted.answers["pins"] = {"name": "wiki.page.edit-62", "event_name": "wiki.page.edit", "number": 62}
    page = opened()
    page.keyboard.press("P")
    page.wait_for_selector("text=choose an event first")
    page.click("#events >> text=4.70 ms")
    page.keyboard.press("P")
    page.wait_for_selector("text=pinned wiki.page.edit (#62) as wiki.page.edit-62")
    assert until(page, acted, "pins") == {"number": 62}


def test_what_cannot_be_replayed_says_why(opened, acted) -> None:
    """In the words of the server."""
    sampled(acted)
    acted.answers["replay"] = {
        "number": 1,
        "event_name": "a.b",
        "pin": None,
        "runs": [{"on": "now", "numbers": {}, "cannot": "no mod handles a.b"}],
    }
    page = opened()
    page.keyboard.press("j")
    page.keyboard.press("p")
    page.wait_for_selector(".aside-column >> text=no mod handles a.b")


def test_a_state_opens_one_level_at_a_time(opened, acted) -> None:
    """With types and sizes; keys and values stay text."""
    acted.states = {
        "": LEVEL,
        "pages": {"type": "dict", "of": 1, "items": [{"key": "home", "type": "int", "value": 7}]},
    }
    page = opened()
    page.keyboard.press("3")
    page.select_option(".state select", "wiki")
    page.wait_for_selector("text=title <b>")
    page.click("button >> text=pages")
    page.wait_for_selector(".tree .tree >> text=home")
    assert page.locator(".tree b, .tree i").count() == 0
    page.click("button >> text=pages")
    page.wait_for_selector(".tree .tree", state="detached")


def test_what_changed_in_a_state_is_shown_by_its_paths(opened, acted) -> None:
    """A key of other characters stands in quotes."""
    changed = {"steps": ["pages", "a b", 3], "before": 6, "after": 7, "kind": "changed"}
    acted.states = {"": LEVEL, "look": {"differences": [changed]}}
    page = opened()
    page.keyboard.press("3")
    page.select_option(".state select", "wiki")
    page.click("text=Since I looked")
    page.wait_for_selector('.diff >> text=pages["a b"][3]')


def test_a_session_has_a_slider_and_the_state_at_each_event(opened, acted) -> None:
    """The latest first; an entry of it opens, and what the event does now stands beside what was recorded."""
    acted.recorded = {
        "2026-11-29T1009.jsonl": [[41, "wiki.page.create", "ana", True], [57, "wiki.page.edit", "ana", True]]
    }
    answered = {"success": True, "message": "", "data": {"version": 7}}
    for number, pages in ((41, 1), (57, 2)):
        level = {"type": "dict", "of": 1, "items": [{"key": "pages", "type": "dict", "of": pages}]}
        acted.moments[number, ""] = {"seen": seen(), "recorded": answered, **level}
    rows = [{"key": "<b>home", "type": "int", "value": 8}]
    acted.moments[57, "pages"] = {"seen": seen(), "recorded": answered, "type": "dict", "of": 1, "items": rows}
    page = opened()
    page.keyboard.press("4")
    page.click("text=2026-11-29T1009.jsonl")
    page.wait_for_selector("text=#57 wiki.page.edit")
    page.click("role=treeitem >> text=pages")
    page.wait_for_selector("role=treeitem >> text=<b>home")
    assert [each.split(":")[-1].strip() for each in page.locator("pre.json .number").all_inner_texts()] == ["8", "7"]
    page.locator("input[type=range]").press("ArrowLeft")
    page.wait_for_selector("text=#41 wiki.page.create")
    page.wait_for_selector("role=treeitem >> text=1 entry")
    assert page.locator("text=<b>home").count() == 0
    assert (
        page.get_attribute("input[type=range]", "title")
        == "oa-dev replay .oa-dev/sessions/2026-11-29T1009.jsonl --at 41"
    )
    assert page.get_attribute("input[type=range]", "aria-valuetext") == "#41 wiki.page.create"
