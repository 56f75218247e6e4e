"""`oa-dev run --studio`: the build of the installed package at the network's own origin, behind its gate."""

from __future__ import annotations

from pathlib import Path

import pytest

from devserver.server import studio
from devserver.transports.http.routes import Request

INDEX = b"<!doctype html><script>run()</script><script defer src='/static/js/main.js'></script>"


@pytest.fixture
def build(tmp_path: Path) -> Path:
    """A build as openagents ships one."""
    folder = tmp_path / "openagents" / "studio" / "build"
    (folder / "static" / "js").mkdir(parents=True)
    (folder / "index.html").write_bytes(INDEX)
    (folder / "static" / "js" / "main.js").write_text("run()")
    (folder / "static" / "js" / "main.js.map").write_text("{}")
    return folder


def test_every_file_has_a_route_and_the_page_answers_below_its_path(build: Path) -> None:
    """Maps for debuggers are left out."""
    found = {each.path: (each.page, each.below) for each in studio.studio_routes(build)}
    assert found == {"/studio": (True, False), "/studio/": (True, True), "/static/js/main.js": (False, False)}


async def test_the_page_may_run_the_scripts_that_stand_in_it_and_no_others(build: Path) -> None:
    """Its policy names their digests; it may speak with this network alone."""
    [page] = [each for each in studio.studio_routes(build) if each.path == "/studio/"]
    assert page.endpoint is not None
    answer = await page.endpoint(Request(principal=None))  # type: ignore[arg-type]
    assert answer.body == INDEX
    assert answer.policy is not None
    assert b"script-src 'self' 'sha256-" in answer.policy
    assert b"connect-src 'self'" in answer.policy


def test_where_there_is_none_it_says_which_version_has_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without the package, and with one that ships none."""
    monkeypatch.setattr(studio, "installed_version", lambda _: None)
    assert "openagents is not installed" in studio.why_none()
    monkeypatch.setattr(studio, "installed_version", lambda _: "0.9.3.post20")
    assert "0.9.3.post20 ships none, 0.8.6 does" in studio.why_none()
    monkeypatch.setattr(studio, "package_folder", lambda _: tmp_path)
    assert studio.studio_build() is None
