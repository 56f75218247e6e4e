"""Buttons and keys: each has its command and does it; a field is for typing; what was not seen is not undone."""

from __future__ import annotations

import re
from typing import Any

import pytest
from acted import error, mod
from sampled import sampled

from devserver.ui.keymap import KEYS

VIEWS = ("Events", "Changes", "State", "Replay", "Logs", "Plan", "Mods")
SCENES = (
    (("j",), "button >> text=Edit and send"),
    (("Escape", "["), "text=Show the change"),
    (("Escape", "n"), ".send"),
    (("Escape", "2"), ".chosen-change"),
    (("j",), "button[title='oa-dev undo wiki']"),
    (("3",), ".state"),
    (
        ("4",),
        ".chosen-change",
    ),
    (("5",), ".loglines li"),
    (("6",), "text=Ask again"),
    (("7",), ".shelf .change"),
)
"""Keys, and what is there after them."""
NO_COMMAND = re.compile(r"^(view |change |back |close |follow |look |light, dark)")
"""Titles of buttons that change nothing but what this tab shows."""


def table(page: Any) -> list[dict[str, str]]:
    """The page's own table of keys."""
    found = page.evaluate("async () => (await import('/_dev/keys.js')).KEYS")
    assert isinstance(found, list)
    return found


def until(page: Any, acted: Any, name: str) -> dict[str, Any]:
    """What was posted to an endpoint, waited for."""
    for _ in range(400):
        found = [values for posted, values in acted.posted if posted == name]
        if found:
            return dict(found[-1])
        page.wait_for_timeout(25)
    raise AssertionError(f"{name} was never asked: {acted.posted}")


def test_the_keys_of_the_page_are_those_of_the_terminal(opened, acted) -> None:
    """Where both have a key for a command, it is the same one."""
    page, terminal = opened(), {each.command: each.key for each in KEYS if each.command} | {"--help": "?"}
    ours = {each["command"]: each["key"] for each in table(page) if each["command"] in terminal}
    assert ours == {command: terminal[command] for command in ours}
    assert len(ours) >= 7


def test_help_is_printed_from_the_table(opened, acted) -> None:
    """Every key stands in it, with its words and its command."""
    page = opened()
    page.keyboard.press("?")
    page.wait_for_selector("dialog tbody tr")
    rows = [re.sub(r"\s+", " ", each) for each in page.locator("dialog tr").all_inner_texts()]
    wanted = [
        f"{each.get('shown', each['key'])} {each['words']} {'oa-dev ' + each['command'] if each['command'] else ''}"
        for each in table(page)
    ]
    assert [each.strip() for each in rows[len(VIEWS) :]] == [each.strip() for each in wanted]
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="detached")


@pytest.mark.parametrize(
    ("key", "endpoint", "wanted"),
    [
        ("r", "ReloadAsked", None),
        ("R", "RestartAsked", None),
        ("z", "undo", {}),
        ("Z", "redo", {}),
        ("s", "saves", {"do": "pause"}),
        (" ", "saves", {"do": "apply"}),
    ],
)
def test_a_key_does_its_command_and_in_a_field_it_is_a_letter(opened, acted, key, endpoint, wanted) -> None:
    """The same key in a text field does nothing else."""
    page = opened()
    page.focus("#search")
    page.keyboard.type(key)
    assert page.input_value("#search") == key
    assert acted.posted == []
    page.keyboard.press("Escape")
    page.keyboard.press(key)
    posted = until(page, acted, endpoint)
    assert wanted is None or posted == wanted
    page.wait_for_selector(".told")


def test_every_button_says_its_command(opened, acted) -> None:
    """In every view, with an event, a swap and the form that sends open."""
    sampled(acted)
    page = opened()
    titles: set[str] = set()
    for keys, there in SCENES:
        for each in keys:
            page.keyboard.press(each)
        page.wait_for_selector(there)
        found = page.locator("button:visible")
        titles |= {str(each.get_attribute("title") or f"no title: {each.inner_text()}") for each in found.all()}
    assert [each for each in sorted(titles) if not each.startswith("oa-dev ") and not NO_COMMAND.match(each)] == []
    assert {"oa-dev reload", "oa-dev pause", "oa-dev undo wiki", "oa-dev edit", "oa-dev trace"} <= titles


@pytest.mark.parametrize(
    ("words", "endpoint"),
    [("Reload all", "ReloadAsked"), ("Pause saves", "saves"), ("Try again", "ReloadAsked")],
)
def test_a_button_does_its_command(opened, acted, words, endpoint) -> None:
    """As its key does."""
    acted.tell(mods=[mod("wiki", 5, failed=error("no titel"))])
    page = opened()
    page.click(f"button >> text={words}")
    until(page, acted, endpoint)


def test_undo_sends_the_generation_that_was_shown(opened, acted) -> None:
    """A tab that has not seen a swap undoes nothing of it."""
    sampled(acted)
    page = opened()
    page.keyboard.press("2")
    page.click(".change >> nth=1")
    page.click("button[title='oa-dev undo wiki']")
    assert until(page, acted, "undo") == {"mods": ["wiki"], "generation": 5}


def test_an_event_is_sent_with_the_payload_that_its_schema_begins(opened, acted) -> None:
    """The form shows what is taken, why a payload cannot be sent, and the command; Ctrl-Enter sends."""
    page = opened()
    page.keyboard.press("n")
    page.fill("input[list=heard]", "wiki.page.get")
    page.wait_for_selector("text=reason")
    assert page.input_value("textarea") == '{\n  "page_path": ""\n}'
    page.fill("textarea", "{")
    assert page.locator(".send button.main").is_disabled()
    page.fill("textarea", '{"page_path": "it\'s"}')
    title = page.get_attribute(".send button.main", "title")
    assert title == """oa-dev send wiki.page.get --payload '{"page_path":"it'\\''s"}'"""
    page.keyboard.press("Control+Enter")
    assert until(page, acted, "send") == {"event_name": "wiki.page.get", "payload": {"page_path": "it's"}, "as": None}
    page.wait_for_selector(".send >> text=success")


def test_an_event_can_be_edited_and_sent_again(opened, acted) -> None:
    """Its name, destination and payload stand in the form."""
    sampled(acted)
    page = opened()
    page.click("#events >> text=4.70 ms")
    page.click("text=Edit and send")
    page.wait_for_selector("text=Edit #62 and send it")
    assert page.input_value("input[list=heard]") == "wiki.page.edit"
    assert '"reason": "shorter"' in page.input_value("textarea")


def test_what_the_server_refuses_is_told_in_its_words(opened, acted) -> None:
    """In one line under the first."""
    acted.tell(mods=[])
    page = opened()
    page.evaluate("async () => (await import('/_dev/ask.js')).useToken('of another run')")
    page.keyboard.press("r")
    page.wait_for_selector(".told.bad")


def test_the_editor_is_a_link_of_the_server(opened, acted) -> None:
    """Its path is escaped; without one the page says how to open the place."""
    acted.tell(mods=[mod("wiki", 5, failed=error("x"))])
    page = opened()
    page.keyboard.press("e")
    page.wait_for_selector("text=mods/wiki/pages.py:118:11: oa-dev edit opens it")
    acted.tell(editor_link={"pattern": "vscode://file{path}:{line}:{column}", "root": "/srv/a b#c"})
    led: list[str] = []
    devtools = page.context.new_cdp_session(page)
    devtools.send("Page.enable")
    devtools.on("Page.frameRequestedNavigation", lambda asked: led.append(asked["url"]))
    for _ in range(400):
        page.keyboard.press("e")
        if led:
            break
        page.wait_for_timeout(25)
    assert led[0] == "vscode://file/srv/a%20b%23c/mods/wiki/pages.py:118:11"
