"""`oa-dev open`: the page of what runs, for this user's browser and no one else's."""

from __future__ import annotations

import json
import re
import stat
import sys
from html import unescape
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit
from urllib.request import Request, urlopen

import pytest
from processes import Running, oa_dev


def run_file(server: Running) -> dict[str, str]:
    """What the server left for commands."""
    values: dict[str, str] = json.loads((server.folder / ".oa-dev" / "run.json").read_text())
    return values


def led_to(door: str) -> str:
    """The address that a file leads a browser to."""
    text = Path(unquote(urlsplit(door).path)).read_text()
    return unescape(re.findall(r'http-equiv="refresh" content="0; url=([^"]*)"', text)[0])


def enter(url: str) -> str:
    """The token that a ticket in an address is exchanged for."""
    base, _, ticket = url.partition("/_dev/#t=")
    body, headers = json.dumps({"ticket": ticket}).encode(), {"Content-Type": "application/json"}
    with urlopen(Request(f"{base}/_dev/enter", body, headers)) as answer:
        return str(json.load(answer)["token"])


@pytest.fixture
def browser(tmp_path: Path) -> tuple[str, Path]:
    """A command for BROWSER, and the file where it leaves the address that it was started with."""
    seen = tmp_path / "seen"
    return f'{sys.executable} -c \'import sys; open("{seen}", "w").write(sys.argv[1])\' %s', seen


def test_the_address_with_the_key_is_said_where_no_browser_is_wanted_or_there(server: Running) -> None:
    """Also with --json, which says whether a browser was opened."""
    found = run_file(server)
    address = f"{found['url']}/_dev/#k={found['token']}"
    nowhere = {"DISPLAY": "", "WAYLAND_DISPLAY": "", "BROWSER": ""}
    assert oa_dev(server.folder, "open", "--print").stdout.strip() == address
    assert oa_dev(server.folder, "open", **nowhere).stdout.strip() == address
    assert json.loads(oa_dev(server.folder, "open", "--json", **nowhere).stdout) == {"url": address, "opened": False}


def test_a_browser_is_started_with_a_private_file_that_holds_a_ticket(
    server: Running, browser: tuple[str, Path]
) -> None:
    """Every user of the machine can read what it was started with: neither key nor ticket is in it.

    A second use of the ticket is refused and told; the file goes with the server.
    """
    command, seen = browser
    opened = oa_dev(server.folder, "open", BROWSER=command)
    token, door = run_file(server)["token"], server.folder / ".oa-dev" / "open.html"
    assert (opened.returncode, opened.stdout) == (0, "opened the dashboard in the browser\n")
    assert seen.read_text() == door.resolve().as_uri()
    assert stat.S_IMODE(door.stat().st_mode) == 0o600
    address = led_to(seen.read_text())
    assert token not in door.read_text()
    assert address.startswith(f"{run_file(server)['url']}/_dev/#t=")
    assert enter(address) == token
    with pytest.raises(HTTPError, match="401"):
        enter(address)
    assert "a second time" in server.until(type="notice")["message"]
    oa_dev(server.folder, "stop")
    server.until(type="stopped")
    assert not door.exists()


def test_where_the_file_cannot_be_written_the_address_is_said(server: Running, browser: tuple[str, Path]) -> None:
    """No browser is started with anything else in its place."""
    (server.folder / ".oa-dev" / "open.html").mkdir()
    opened = oa_dev(server.folder, "open", BROWSER=browser[0])
    assert opened.stdout.strip().startswith(f"{run_file(server)['url']}/_dev/#k=")
    assert not browser[1].exists()


def test_the_key_is_in_nothing_that_is_told(server: Running) -> None:
    """Also where a mod has read it, and puts it into what it raises: what runs, and what became of plans, hide it."""
    token = run_file(server)["token"]
    mod = server.folder / "mods" / "echo" / "mod.py"
    mod.write_text(f"{mod.read_text()}\nraise RuntimeError(open('.oa-dev/run.json').read())\n")
    told = server.until(type="outcome", status="rolled_back")
    answers = [oa_dev(server.folder, *each).stdout for each in (("status", "--json"), ("status",), ("trace",))]
    answers.append(oa_dev(server.folder, "wait", "reload", "--after", "0", "--json").stdout)
    assert all("RuntimeError" in each for each in answers[:3])
    assert token not in json.dumps(told) + "".join(answers)


def test_without_a_server_it_says_so(tmp_path: Path) -> None:
    """With what starts one."""
    done = oa_dev(tmp_path, "open")
    assert done.returncode == 1
    assert "oa-dev run" in done.stderr
