"""The page in a real browser: it shows what runs, and what anybody is called or says stays text."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from live import Live, Site, serving

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
HOSTILE = "<img src=x onerror=document.title=1><script>document.title=2</script>"
PATIENCE = 60

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no browser of the kind that can print a page is here")


def shown(live: Live, folder: Path) -> str:
    """The page as the browser has it a second after it was opened."""
    address = f"http://127.0.0.1:{live.port}/_dev/#k={live.token}"
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    options = ["--headless", "--disable-gpu", f"--user-data-dir={folder}", "--virtual-time-budget=3000", "--dump-dom"]
    done = subprocess.run(
        [str(BROWSER), *sandbox, *options, address], capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    return done.stdout


def test_the_page_shows_what_runs_as_text(tmp_path: Path) -> None:
    """The network's name, mods with generations, agents, outcomes, errors with their place; and no key in it."""
    site = Site(tmp_path / "network")
    site.settings = {"name": f"net {HOSTILE}"}
    site.mod("wiki", f"@mod_event_handler('wiki.page.get')\ndef get(self, event):\n    raise KeyError({HOSTILE!r})")
    with serving(site) as live:
        ana = live.join("ana")
        ana.send("wiki.page.get")
        site.write("mods/wiki.py", (site.folder / "mods/wiki.py").read_text() + f"raise RuntimeError({HOSTILE!r})\n")
        live.line("outcome", status="rolled_back")
        page = shown(live, tmp_path / "profile")
        assert live.token not in page
    assert re.search(r"<title>net &lt;img .*&lt;/script&gt; · oa-dev</title>", page)
    assert "<img" not in page
    assert len(re.findall("<script", page)) == 1
    assert "Running." in page
    assert "KeyError: '&lt;img src=x" in page
    assert re.search(r"RuntimeError: &lt;img [^\n]*mods/wiki\.py:\d+:1", page)
    assert ">v1<" in page
    assert "ana (http)" in page
    assert "rolled back in import" in page
