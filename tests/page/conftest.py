"""A browser, and the page in it. Skipped, with one sentence that names what is missing, where there is none."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from acted import TOKEN, Acted, acting

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
QUIET = (
    *("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)
"""A browser for tests looks nothing up and asks for nothing elsewhere."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """The system's Chromium, driven by playwright, which brings none of its own.

    For one file of tests: where playwright runs, no other loop can be run in its thread.
    """
    api = pytest.importorskip("playwright.sync_api", reason="playwright is missing: pip install 'oa-dev[browser]'")
    if CHROMIUM is None:
        pytest.skip("a Chromium is missing: install the package chromium")
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=[*QUIET, *sandbox])
        yield started
        started.close()


@pytest.fixture
def acted() -> Iterator[Acted]:
    """A server whose answers the test writes."""
    with acting() as server:
        yield server


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens a page at its address; nothing may have been written to its console by the end of the test."""
    contexts: list[Any] = []
    written: list[str] = []

    def open_it(address: str, *, wait: bool = True, **options: Any) -> Any:
        context = browser.new_context(**{"viewport": {"width": 1400, "height": 860}, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("console", lambda line: written.append(line.text))
        page.on("pageerror", lambda problem: written.append(str(problem)))
        page.goto(address)
        if wait:
            page.wait_for_selector(".network:not(:empty)")
        return page

    yield open_it
    for each in contexts:
        each.close()
    assert [each for each in written if "Failed to load resource" not in each] == []


@pytest.fixture
def opened(visit: Callable[..., Any], acted: Acted) -> Callable[..., Any]:
    """Opens the page of `acted`."""
    return partial(visit, f"{acted.url}/_dev/#k={TOKEN}")
