"""The first line says the worst thing first: whether the server is there, what is saved runs, and works."""

from __future__ import annotations

import time
from typing import Any

import pytest
from acted import ZERO, acting, error, iso, mod

FAILED, RAISED = error("no titel"), {**error("'column'"), "event_name": "wiki.page.get", "times": 14}
BROKEN = mod("wiki", 5, failed=FAILED)
RAISES = mod("project", 2, raised=RAISED)
REFUSED = {
    "kind": "ConfigError",
    "message": "mods is a list",
    "file": "network.yaml",
    "line": 3,
    "column": 1,
    "hint": None,
}

TABLE: tuple[tuple[dict[str, Any], str, str, str], ...] = (
    ({}, "good", "live", ""),
    ({"paused": True}, "warn", "saves wait", "saves wait"),
    ({"waiting": ["mods/wiki.py"]}, "warn", "saves wait", "saved and not applied yet: mods/wiki.py"),
    (
        {"mods": [mod("wiki", 4, newer_on_disk=["mods/wiki.py"])]},
        "warn",
        "older code runs",
        "wiki v4 is not what is on disk: mods/wiki.py differs",
    ),
    (
        {"restart": {"reasons": ["devserver changed"], "waits": "busy"}},
        "warn",
        "restart needed",
        "a restart in place is needed",
    ),
    ({"mods": [RAISES], "paused": True}, "warn", "a handler raises", "project v2 raised on wiki.page.get, 14 times"),
    (
        {"refused": [REFUSED], "mods": [RAISES]},
        "bad",
        "network.yaml is not applied",
        "network.yaml is not applied, what ran before runs on",
    ),
    (
        {"mods": [BROKEN, RAISES], "refused": [REFUSED]},
        "bad",
        "saved code does not run",
        "wiki v6 did not load, v5 keeps running",
    ),
    (
        {"down": [mod("kanban", 0, failed=FAILED)]},
        "bad",
        "saved code does not run",
        "kanban did not load, nothing of it runs",
    ),
)


@pytest.mark.parametrize(
    ("values", "kind", "standing", "title"), TABLE, ids=[each[2] + str(n) for n, each in enumerate(TABLE)]
)
def test_the_worst_thing_comes_first(opened, acted, values, kind, standing, title) -> None:
    """In the first line, in the strip below it, and in the title of the tab."""
    acted.tell(**values)
    page = opened()
    page.wait_for_selector(f".standing.{kind} >> text={standing}")
    assert (page.inner_text(".alarm .title") if title else "") == title or title in page.inner_text(".alarm")
    assert page.title().startswith(standing if kind != "good" else "Sample network")


def test_a_mod_that_blocks_is_named_with_its_line(opened, acted) -> None:
    """While it does; it stands above a handler that raised."""
    acted.tell(mods=[RAISES])
    page, now = opened(), time.time() - ZERO
    fact = {"type": "notice", "time": iso(now), "about": "blocked", "mod_id": "kanban", "seconds": 4.1, "message": ""}
    acted.fact({**fact, "file": "mods/kanban/mod.py", "line": 41})
    page.wait_for_selector("text=kanban blocks the mods' thread, 4.1 s at mods/kanban/mod.py:41")


def test_the_strip_goes_when_the_code_loads(opened, acted) -> None:
    """And nothing else is pushed away."""
    acted.tell(mods=[BROKEN])
    page = opened()
    page.wait_for_selector(".alarm.bad")
    acted.tell(mods=[mod("wiki", 6)])
    page.wait_for_selector(".standing.good")
    assert page.locator(".alarm").count() == 0


def test_a_server_that_is_gone_leaves_what_was_known_greyed(browser) -> None:
    """It says since when, and asks again."""
    context = browser.new_context()
    page = context.new_page()
    with acting() as gone:
        gone.event("wiki.page.get")
        page.goto(f"{gone.url}/_dev/#k=admin-token-of-this-run")
        page.wait_for_selector("#events [role=option]")
    page.wait_for_selector("text=/stopped \\d\\d:\\d\\d:\\d\\d, asking again/")
    assert page.locator(".body.old #events [role=option]").count() == 1
    context.close()


def test_a_token_of_an_earlier_run_is_told_with_the_way_to_the_new_one(opened, acted) -> None:
    """The tab asks no more."""
    page = opened()
    acted.refuses = (401, "unauthorized", "this token is not of this run")
    acted.event("wiki.page.get")
    page.wait_for_selector("text=This key is of an earlier run of the server. Press o in the terminal")
    asked = len(acted.asked)
    acted.event("wiki.page.get")
    assert len(acted.asked) == asked
    assert page.evaluate("sessionStorage.getItem('oa-dev token')") is None


def test_too_many_watchers_are_told(opened, acted) -> None:
    """The ninth tab says why it shows nothing new."""
    acted.refuses = (429, "too_many_watchers", "8 pages and commands follow the events already; close one of them")
    page = opened(wait=False)
    page.wait_for_selector("text=8 pages and commands follow the events already")


@pytest.mark.parametrize(
    ("fragment", "words"),
    [
        ("", "This page needs a key. Press o in the terminal"),
        ("#k=…4f2c", "This address was shortened to show it."),
        ("#t=spent", "this link was used, or is too old"),
    ],
)
def test_a_tab_without_a_key_says_how_to_open_the_page(browser, acted, fragment, words) -> None:
    """And asks nothing."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{acted.url}/_dev/{fragment}")
    page.wait_for_selector(f"text={words}")
    assert acted.asked == []
    context.close()


def test_a_server_that_is_not_reached_over_this_machine_gets_no_token(browser, acted) -> None:
    """The key leaves the address at once, and the tab keeps it to itself."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{acted.url}/_dev/#k=admin-token-of-this-run")
    page.wait_for_selector(".standing.good")
    assert page.evaluate("location.href") == f"{acted.url}/_dev/"
    assert page.evaluate("document.cookie + JSON.stringify(localStorage)") == "{}"
    context.close()


def test_versions_beside_a_mod_stand_below_it_with_who_gets_them(opened, acted) -> None:
    """Whatever the order in which they were loaded."""
    line = mod("wiki@next", 2, line_of="wiki", label="next", gets="10% of agents", share=0.1)
    acted.tell(mods=[mod("wiki", 5, label="main", share=0.9, lines=["wiki@next"]), mod("project"), line])
    page = opened()
    page.wait_for_selector(".version")
    rows = [" ".join(each.split()) for each in page.locator(".mod").all_inner_texts()]
    assert rows == [
        "wiki v5 main not asked yet · 90 % of agents",
        "@next v2 not asked yet · 10% of agents",
        "project v1 not asked yet",
    ]


def test_generations_are_dots_with_their_words(opened, acted) -> None:
    """Gone, still finishing handlers, live, and the one that did not load."""
    acted.tell(mods=[BROKEN], lingering={"wiki": [4]})
    page = opened()
    page.wait_for_selector(".pips")
    assert page.get_attribute(".pips", "aria-label") == "v3 is gone, v4 lingers, v5 runs, v6 did not load"


def test_a_mod_whose_handlers_raise_is_not_green(opened, acted) -> None:
    """Nor is a version that gets no events any more."""
    raised = error("boom", event_name="wiki.page.get", times=6)
    out = mod("wiki@next", 3, raised=raised, line_of="wiki", label="next", gets="critic", share=0.0)
    out["out"] = "6 of its last 20 failed (guard 5 %) · AttributeError: boom"
    acted.tell(mods=[mod("wiki", 5, raised=raised), out])
    page = opened()
    page.wait_for_selector(".version .mod-state.warn")
    assert page.locator(".pip.live").count() == 0
    assert page.inner_text(".version .mod-state") == "gets no events: 6 of its last 20 failed (guard 5 %)"
