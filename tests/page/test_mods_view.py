"""The view Mods: versions beside a mod, what agents ask for, and the mods that can be had."""

from __future__ import annotations

from acted import mod
from sampled import sampled
from test_acting import until


def test_a_version_beside_a_mod_is_promoted_or_dropped(opened, acted) -> None:
    """Each by its button, with the name of the version."""
    line = mod("wiki@next", 2, line_of="wiki", label="next", gets="10% of agents", share=0.1)
    acted.tell(mods=[mod("wiki", 5, label="main", share=0.9, lines=["wiki@next"]), line])
    page = opened()
    page.keyboard.press("7")
    page.click("button[title='oa-dev promote wiki@next']")
    assert until(page, acted, "promote") == {"line": "wiki@next"}
    page.click("button[title='oa-dev drop wiki@next']")
    assert until(page, acted, "drop") == {"line": "wiki@next"}


def test_mods_are_searched_and_shown_with_what_they_answer_and_touch(opened, acted) -> None:
    """And with the command that adds them; what the page adds for this run has the digest that it showed."""
    sampled(acted)
    page = opened()
    page.keyboard.press("7")
    page.fill(".shelf input", "poll")
    page.wait_for_selector("text=1 of 2 mods")
    page.click(".shelf .change")
    page.wait_for_selector("text=oa-dev add oa-mod-poll")
    assert "poll.open" in page.inner_text(".shelf article")
    assert "files: x.db" in page.inner_text(".shelf article")
    page.click("button[title='oa-dev add oa-mod-poll']")
    assert until(page, acted, "add") == {"name": "oa-mod-poll", "version": "1.2", "sha256": "ab" * 32}


def test_what_an_agent_asks_for_is_told_and_can_be_refused(opened, acted) -> None:
    """Yes is said in a terminal, once the mod was added."""
    acted.asks = [
        {"number": 3, "agent_id": "ana", "name": "oa-mod-poll", "version": "1.2", "why": "to vote", "state": "waiting"}
    ]
    page = opened()
    page.keyboard.press("7")
    page.click("button[title='oa-dev asked 3 no']")
    assert until(page, acted, "asked") == {"number": 3, "answer": "no"}
