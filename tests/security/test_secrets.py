"""No secret is anywhere but with whom it belongs to: not in a log, an answer, a file that others read, or a process."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest
from live import Live, Site, serving

from devserver.model.facts import ErrorFacts, Frame, ModError
from devserver.network.identity import secret_digest
from devserver.server.redact import HIDDEN, Redactor

TOKEN = "this-runs_token"
SECRET = "a1" * 32


@pytest.fixture
def redactor() -> Redactor:
    """One that knows a token and an agent's secret."""
    return Redactor(TOKEN, lambda digest: digest == secret_digest(SECRET))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"Bearer {TOKEN}", f"Bearer {HIDDEN}"),
        (f"a{TOKEN}b{TOKEN}", f"a{HIDDEN}b{HIDDEN}"),
        (f"?secret={SECRET}&x", f"?secret={HIDDEN}&x"),
        (f"{SECRET}\n'{SECRET}'", f"{HIDDEN}\n'{HIDDEN}'"),
        ("b2" * 32, "b2" * 32),
        (SECRET + "x", SECRET + "x"),
        ("nothing here", "nothing here"),
    ],
)
def test_a_live_secret_is_hidden_and_nothing_else_is(redactor: Redactor, text: str, shown: str) -> None:
    """The token wherever it stands, an agent's secret as a word of its own."""
    assert redactor.text(text) == shown


@dataclass(frozen=True)
class Told:
    """A line with fields."""

    words: str
    fields: dict[str, object]


def test_a_secret_is_hidden_however_deep_it_is(redactor: Redactor) -> None:
    """In facts, in the fields of log lines; what holds none is passed on as it is."""
    where = Frame("mods/a.py", 3, excerpt=((3, f"raise Error({SECRET!r})"),))
    fact = ModError("a", "a.b.c", 1, ErrorFacts("Error", f"no {TOKEN}", where, trace=f"...{SECRET}..."))
    clean = redactor.of(fact)
    assert TOKEN not in repr(clean) + clean.error.trace and SECRET not in repr(clean) + clean.error.trace
    assert redactor.of(Told("x", {"given": [TOKEN, 5]})) == Told("x", {"given": [HIDDEN, 5]})
    quiet = ModError("a", "a.b.c", 1, ErrorFacts("Error", "no", where=None))
    assert redactor.of(quiet) is quiet


LEAKY = """
    @mod_event_handler("work.leak.do")
    async def leak(self, event):
        token = json.loads(open(".oa-dev/run.json").read())["token"]
        self.log.error("the token is %s and the secret %s", token, event.payload["secret"])
        raise RuntimeError(f"{token} {event.payload['secret']} {event.secret}")

    @mod_event_handler("work.echo.do")
    async def echo(self, event):
        event.destination_id = "agent:bea"
"""


def test_no_secret_leaves_by_any_way(tmp_path: Path) -> None:
    """Not in what it prints, at the most talkative level; not in files but its own; not in a process's arguments."""
    site = Site(tmp_path / "network")
    site.mod("work", LEAKY, head="import json")
    with serving(site, "--log-level", "debug") as live:
        token, ana, bea = live.token, live.join("ana"), live.join("bea")
        assert ana.send("work.leak.do", {"secret": ana.secret})["success"] is False
        assert ana.send("work.echo.do")["success"] is True
        received = bea.poll()
        for path in (f"/_dev/status?token={token}", f"/api/poll?agent_id=cem&secret={bea.secret}", f"/{token}"):
            live.request("GET", path)
        live.line("mod_error")
        secrets = (token, ana.secret, bea.secret)
        assert _found(secrets, str(received)) == []
        assert _found(secrets, str(live.control("status"))) == []
        assert _found(secrets, live.join("cem").send("system.list_agents")["message"]) == []
        command = Path(f"/proc/{live.process.pid}/cmdline").read_text()
        assert _found(secrets, command) == []
        assert _found(secrets, Path(f"/proc/{live.process.pid}/environ").read_text()) == []
        own = site.folder / ".oa-dev" / "run.json"
        assert (own.stat().st_mode & 0o777, own.parent.stat().st_mode & 0o777) == (0o600, 0o700)
        others = [each for each in site.folder.rglob("*") if each.is_file() and each != own]
        assert [each for each in others if _found(secrets, each.read_bytes().decode("latin-1"))] == []
    assert _found(secrets, live.log() + str(live.lines)) == []
    assert HIDDEN in live.log()


def _found(secrets: tuple[str, ...], text: str) -> list[str]:
    return [each for each in secrets if each in text]


def test_the_token_is_compared_in_constant_time() -> None:
    """By inspection: a comparison that stops at the first difference is nowhere near a secret."""
    package = Path(__file__).parents[2] / "devserver"
    for file in ("transports/http/gate.py", "network/identity.py", "cli/client.py"):
        assert "compare_digest" in (package / file).read_text(), file
    for file in ("transports/inbound.py", "control/page/__init__.py"):
        assert "same_text(" in (package / file).read_text(), file


def test_a_refused_name_leaves_no_trace(live: Live, loaded: Path) -> None:
    """Nothing of it is imported, not even a parent package: with the token, and for one who was granted to load."""
    asking = live.join("loader", trusted=True)
    for name in ("mods.evil", "./evil", "secret", "os", "json.tool", "..evil", "mods/evil", "mods.evil\x00", "", "é"):
        assert live.control("load", mod_path=name)["success"] is False, name
        assert asking.send("system.mod.load", {"mod_path": name})["success"] is False, name
    assert not loaded.exists()
    assert not [name for name in os.listdir(live.site.folder / "mods") if "evil" in name and name != "evil.py"]
    assert list(live.running()) == ["echo"]


def test_who_was_granted_a_scope_may_what_it_says_and_no_more(live: Live) -> None:
    """The tester loads and unloads what may be loaded; it is no admin, and no one else may load."""
    tester, plain = live.join("tester", trusted=True), live.join("plain")
    assert plain.send("system.mod.load", {"mod_path": "mods.wanted"})["data"]["code"] == "not_allowed"
    for command in ("load", "reload", "unload"):
        assert tester.send(f"system.mod.{command}", {"mod_path": "mods.wanted"})["success"] is True
    for bearer in (tester.secret, "x", live.token[::-1]):
        assert live.request("GET", "/_dev/status", None, {"Authorization": f"Bearer {bearer}"}).status == 401
