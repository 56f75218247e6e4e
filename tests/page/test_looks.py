"""How the page looks to everyone: no violation of axe in any theme, view and width; narrow screens; the theme."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from sampled import sampled

AXE = Path(os.environ.get("OA_DEV_AXE", "axe.min.js"))
WIDE, NARROW = {"width": 1400, "height": 860}, {"width": 390, "height": 800}
SCENES = {
    "j": ".waterfall",
    "2": ".chosen-change .diff, .chosen-change .outcomes",
    "3": ".state",
    "4": ".chosen-change >> text=Accepted",
    "5": ".loglines li",
    "6": "text=Ask again",
    "7": ".shelf .change",
    "n": ".send",
    "?": "dialog tr",
}
"""Keys, and what is there after them."""


@pytest.mark.skipif(
    not AXE.exists(), reason="axe-core is missing: npm install axe-core, then OA_DEV_AXE=…/axe-core/axe.min.js"
)
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_axe_finds_nothing(opened, acted, theme, size) -> None:
    """In every view, and with a session open."""
    sampled(acted)
    page = opened(viewport=size, color_scheme=theme, bypass_csp=True)
    page.add_script_tag(path=str(AXE))
    for key, there in SCENES.items():
        page.keyboard.press(key)
        page.wait_for_selector(there)
        assert violations(page) == [], key
        page.keyboard.press("Escape")
    page.keyboard.press("4")
    page.click("[aria-label=Sessions] button")
    page.wait_for_selector("text=As recorded")
    assert violations(page) == []


def violations(page: Any) -> Any:
    """What axe finds: its rules, each with the elements."""
    return page.evaluate(
        "async () => (await axe.run()).violations.map(v => [v.id, v.nodes.map(n => n.html.slice(0, 160))])"
    )


def test_a_narrow_page_has_two_lines_a_row_and_its_tabs_at_the_bottom(opened, acted) -> None:
    """Nothing stands beyond its edge; the mods have a tab of their own, and what is chosen lies over the list."""
    sampled(acted)
    page = opened(viewport=NARROW)
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
    assert page.locator("#events [role=option] >> nth=0").bounding_box()["height"] == 46
    assert page.locator(".tabs").bounding_box()["y"] > 700
    page.click("#tab-rail")
    page.wait_for_selector(".rail:visible >> text=messaging")
    page.click(".tabs >> text=Events")
    page.click("#events [role=option] >> nth=0")
    page.wait_for_selector(".aside-column:visible")
    page.click(".aside-column >> text=← back")
    page.wait_for_selector(".aside-column", state="detached")


def test_the_right_column_is_a_sheet_over_the_list_where_there_is_no_room_beside_it(opened, acted) -> None:
    """Below 1080 pixels."""
    sampled(acted)
    page = opened(viewport={"width": 1000, "height": 800})
    before = page.locator("main").bounding_box()
    page.keyboard.press("j")
    page.wait_for_selector(".aside-column")
    assert page.locator("main").bounding_box() == before


def test_the_theme_is_the_systems_until_another_is_chosen(opened, acted) -> None:
    """It is kept for this tab, and is no cookie."""
    page = opened(color_scheme="dark")
    back = "() => getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(back)
    page.click("text=Theme: system")
    page.wait_for_selector("text=Theme: light")
    light = page.evaluate(back)
    page.reload()
    page.wait_for_selector("text=Theme: light")
    assert (dark, light, page.evaluate(back)) == ("rgb(22, 24, 29)", "rgb(255, 255, 255)", "rgb(255, 255, 255)")


def targets(page: Any) -> list[tuple[str, float]]:
    """Buttons that are too small to be hit."""
    found = [(each.inner_text(), each.bounding_box()) for each in page.locator("button:visible").all()]
    return [(words, box["height"]) for words, box in found if box and box["height"] < 24]


def test_buttons_are_large_enough_to_be_hit(opened, acted) -> None:
    """24 pixels at least."""
    sampled(acted)
    page = opened()
    page.keyboard.press("j")
    assert targets(page) == []
