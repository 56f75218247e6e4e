"""The view Changes, and the views beside it: receipts, phases, the code that changed, plan and logs."""

from __future__ import annotations

import re

from acted import error, iso, mod
from sampled import sampled

HOSTILE = "<img src=x>"


def test_a_save_has_a_receipt_with_its_phases_and_the_code_that_changed(opened, acted) -> None:
    """The stretch in which events were held is one; a line that changed shows what of it did."""
    sampled(acted)
    page = opened()
    page.keyboard.press("2")
    page.click(".change >> nth=1")
    page.wait_for_selector(".diff .plus")
    phases = page.get_attribute(".phases", "aria-label")
    assert phases == (
        "compile 1.90 ms, import 3.10 ms, construct 0.80 ms,"
        " events held (gate, drain, hand over, initialize, commit) 3.50 ms, open 0.20 ms, close 1.60 ms"
    )
    assert page.locator(".phase:visible").count() == 6
    lines = page.locator(".diff .line").all_inner_texts()
    shown = [re.sub(r"\s+", " ", each) for each in lines]
    assert shown[0] == "mods/wiki/mod.py"
    assert "74 − new = pages.add(page, text(event))" in shown
    assert '74 + why = optional_text(event, "reason")' in shown
    assert "77 + return done(page, version=str(new.number)," in shown
    assert page.locator(".diff .word >> text=await").count() == 1


def test_a_line_that_takes_the_place_of_another_shows_what_differs(opened, acted) -> None:
    """Where as many lines came as went."""
    page = opened()
    diff = "--- a.py\n+++ a.py\n@@ -1,2 +1,2 @@\n-    return done(page, 8)\n+    return done(page, str(8))\n x = 1\n"
    lines = page.evaluate("async (diff) => (await import('/_dev/code.js')).linesOf(diff)", diff)
    found = [(each["kind"], each.get("before"), each.get("after"), each.get("mark")) for each in lines]
    assert found == [
        ("file", None, None, None),
        ("hunk", None, None, None),
        ("minus", 1, None, [22, 23]),
        ("plus", None, 1, [22, 28]),
        ("same", 2, 2, None),
    ]


def test_a_save_that_did_not_load_says_where(opened, acted) -> None:
    """The latest change is shown first."""
    sampled(acted)
    page = opened()
    page.keyboard.press("2")
    page.wait_for_selector(".chosen-change h2 >> text=wiki v6 did not load, v5 keeps running")
    assert "AttributeError: 'Page' object has no attribute 'titel'" in page.inner_text(".outcomes")


def test_the_keys_for_rows_walk_through_changes(opened, acted) -> None:
    """Down is older, up is newer."""
    sampled(acted)
    page = opened()
    page.keyboard.press("2")
    page.wait_for_selector(".change.chosen >> text=did not load")
    page.keyboard.press("j")
    page.wait_for_selector(".change.chosen >> text=wiki v4 → v5")
    page.keyboard.press("k")
    page.wait_for_selector(".change.chosen >> text=did not load")


def test_a_refused_network_yaml_and_a_restart_are_changes_too(opened, acted) -> None:
    """Each in its own words."""
    refused = {"kind": "ConfigError", "message": "mods is a list", "file": "network.yaml", "line": 3, "column": 1}
    restarted = {
        "reasons": ["devserver changed"],
        "pause_ms": 321.0,
        "connections": {"kept": 3, "closed": 0},
        "agents": {"connected": 3, "dropped": 0},
        "failed": [],
    }
    acted.changes.append({"number": 1, "time": iso(1), "success": False, "refused": [refused]})
    acted.changes.append({"number": 2, "time": iso(2), "success": True, "restarted": restarted})
    page = opened()
    page.keyboard.press("2")
    page.wait_for_selector(".change >> nth=1")
    found = [re.sub(r"\s+", " ", each) for each in page.locator(".change").all_inner_texts()]
    assert [re.sub(r"\d\d:\d\d:\d\d ", "", each) for each in found] == [
        "⟳ restarted in place devserver changed · paused 321 ms",
        "✗ network.yaml not applied network.yaml:3:1 · ConfigError: mods is a list",
    ]


def test_views_that_are_empty_say_why(opened, acted) -> None:
    """And what to do."""
    page = opened()
    for key, words in (
        ("2", "Nothing was reloaded yet."),
        ("3", "Choose a mod, and what it keeps is here."),
        ("4", "Nothing is pinned."),
        ("5", "Nothing was logged yet"),
        ("6", "there is nothing to do"),
    ):
        page.keyboard.press(key)
        page.wait_for_selector(f".empty >> text={words}")


def test_logs_are_chosen_by_mod_and_level_and_say_how_many_are_hidden(opened, acted) -> None:
    """A line that only redraws the one before it takes its place."""
    acted.logs = [
        [1, 0.0, "info", "wiki", 0, "one"],
        [2, 1.0, "error", "wiki", 7, "two"],
        [3, 2.0, "info", "project", 0, "10 %"],
        [4, 3.0, "info", "project", 0, "\r20 %"],
    ]
    page = opened()
    page.keyboard.press("5")
    page.wait_for_selector(".loglines li >> nth=2")
    assert page.locator(".loglines .text").all_inner_texts() == ["one", "two", "20 %"]
    page.select_option(".logs select >> nth=1", "error")
    page.wait_for_selector("text=1 of 3 lines; 2 are hidden by this choice")
    page.select_option(".logs select >> nth=0", "project")
    page.wait_for_selector("text=No line is of that mod and level.")


def test_errors_name_their_place_in_the_receipt(opened, acted) -> None:
    """In the words of the terminal."""
    page = opened()
    found = page.evaluate("async (error) => (await import('/_dev/words.js')).placed(error)", error("x"))
    assert found == "mods/wiki/pages.py:118:11"


def test_what_replay_and_the_contract_say_of_a_change_stands_beside_it(opened, acted) -> None:
    """And below it where there is no room; the state is compared on request."""
    sampled(acted)
    pin = {"name": "p", "number": 57, "event_name": "wiki.page.edit", "result": "differs", "why": ""}
    paths = [{"path": f"answer.data.{each}", "before": 1, "after": 2, "kind": "changed"} for each in "abcde"]
    acted.fact({"type": "replayed", "time": iso(93.1), "change": 1, "pins": [{**pin, "differences": paths}]})
    lost = [{"event_name": "wiki.page.delete", "seen": 4, "senders": ["ana", "critic"]}]
    shape = {"event_name": "wiki.page.edit", "part": "answer", "path": "version", "before": "int", "after": "str"}
    shape["agents"] = ["ana", "critic"]
    acted.details[1] |= {"contract": {"lost": lost, "changed": [shape]}}
    page = opened()
    page.keyboard.press("2")
    page.click(".change >> nth=1")
    page.wait_for_selector("text=1 pinned: 0 same, 1 differs")
    page.wait_for_selector(".aside-column >> text=answer.data.a, answer.data.b, answer.data.c and 2 more")
    page.wait_for_selector(".aside-column >> text=no mod handles it any more · 4 events came lately · ana and critic")
    page.wait_for_selector(".aside-column >> text=int → str · read by ana and critic")
    page.set_viewport_size({"width": 700, "height": 800})
    page.wait_for_selector(".chosen-change >> text=int → str")
    assert page.locator(".aside-column").count() == 0


def test_a_recording_is_seen_in_the_first_line_and_stopped_there(opened, acted) -> None:
    """A session is written only while somebody wants it."""
    acted.recording = ".oa-dev/sessions/one.jsonl"
    acted.answers["record"] = {"recording": None, "session": {}}
    page = opened()
    page.click("button >> text=Recording")
    page.wait_for_selector("text=the session is written")
    assert acted.posted == [("record", {"do": "stop"})]


def test_mods_are_sorted_by_what_is_chosen(opened, acted) -> None:
    """As they are asked, until a person wants those with the most errors first."""
    acted.tell(mods=[mod("one"), mod("two", errors=3), mod("three", errors=9)])
    page = opened()
    names = page.locator(".rail .mod-name b")
    assert names.all_inner_texts() == ["one", "two", "three"]
    page.select_option(".sort select", "errors")
    page.wait_for_selector(".rail li:first-child >> text=three")
    assert names.all_inner_texts() == ["three", "two", "one"]


def test_the_hosts_of_a_network_have_a_view_where_there_are_several(opened, acted) -> None:
    """With what runs on each, and how far away it is; a network of one host has no such tab."""
    page = opened()
    page.wait_for_selector(".rail .mod")
    assert page.locator("#tab-hosts").count() == 0
    row = {"here": False, "state": "there", "author": False, "silent_s": 0.0, "agents": 6, "connected": 6, "waiting": 0}
    row |= {"away_ms": 0.4, "up_s": 180.0, "url": "http://10.0.0.6:8700", "host": "gpu-1"}
    row |= {"mods": [{"mod_id": "wiki", "generation": 5}]}
    here = row | {"host": "laptop", "here": True, "state": "here", "author": True, "away_ms": None, "mods": []}
    gone = row | {"host": HOSTILE, "state": "away", "silent_s": 4.0, "waiting": 41, "connected": 4}
    engine = {"url": "tls://10.0.0.5:4222", "version": "2.15.1", "connected": True, "started_here": True}
    engine |= {"pid": 1, "asks": 0, "held": 2, "unknown": 0}
    acted.hosts = {"network": "n", "engine": engine, "hosts": [here, row, gone]}
    page = opened()
    page.wait_for_selector("#tab-hosts >> text=3")
    page.wait_for_selector("text=0 here · of this host alone; oa-dev events shows those of all")
    page.keyboard.press("8")
    page.wait_for_selector(".hosts")
    rows = [re.sub(r"\s+", " ", each).strip() for each in page.locator(".hosts tbody tr").all_inner_texts()]
    assert rows[0].startswith("laptop here · author no mod 6 connected 3 min")
    assert rows[1].startswith("gpu-1 0.40 ms away wiki v5 6 connected")
    assert (
        rows[2].startswith(HOSTILE) and "silent for 4 s" in rows[2] and "4 connected · 2 known · 41 waiting" in rows[2]
    )
    assert page.locator("img").count() == 0
    assert "Engine tls://10.0.0.5:4222 · nats-server 2.15.1 · started here · 2 held" in page.inner_text("#view")
