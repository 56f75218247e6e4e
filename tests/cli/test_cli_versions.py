"""`oa-dev try`, `split`, `promote`, `drop`, `compare` and `why AGENT MOD`, against a server that runs."""

from __future__ import annotations

import json
import re
from pathlib import Path

from processes import ECHO_V2, Running, oa_dev


def said(folder: Path, agent: str, to: str = "mod:echo") -> str:
    """What the mod answers an agent."""
    sent = ("send", "echo.say", "--as", agent, "--to", to, "--payload", '{"text": "hi"}')
    return oa_dev(folder, *sent).stdout.splitlines()[0]


def save(server: Running) -> None:
    """Save version 2, and wait until it is decided what becomes of it."""
    (server.folder / "mods" / "echo" / "mod.py").write_text(ECHO_V2)
    assert oa_dev(server.folder, "settle").returncode == 0


def test_a_try_is_widened_promoted_and_undone(server: Running) -> None:
    """Each command says what it did, and agents get what it says."""
    folder = server.folder
    tried = oa_dev(folder, "try", "echo", "--agents", "ana")
    assert (tried.returncode, "saves of it run as echo@next" in tried.stdout) == (0, True)
    save(server)
    assert [said(folder, each) for each in ("ana", "bob")] == ["said again", "said"]
    assert "ana (not registered) gets echo@next: named in its agents" in oa_dev(folder, "why", "ana", "echo").stdout
    assert "100 % of agents" in oa_dev(folder, "split", "echo@next", "100%").stdout
    assert said(folder, "bob") == "said again"
    rows = json.loads(oa_dev(folder, "status", "--json").stdout)["mods"]
    assert [(each["mod_id"], each["label"]) for each in rows] == [("echo", "main"), ("echo@next", "next")]
    assert "was echo@next" in oa_dev(folder, "promote", "echo@next").stdout
    assert oa_dev(folder, "restart").returncode == 0
    assert said(folder, "bob") == "said again"
    damaged = folder / ".oa-dev" / "promoted.json"
    damaged.write_text("{")
    damaged.chmod(0o600)
    assert "echo@next" in oa_dev(folder, "undo", "echo").stdout
    assert [said(folder, each, "mod:echo@main") for each in ("ana", "bob")] == ["said", "said"]
    yaml = folder / "network.yaml"
    listed = yaml.read_text().replace("mods.echo\n", "mods.echo\n      versions: [{label: next, share: 100%}]\n")
    yaml.write_text(listed)
    assert oa_dev(folder, "settle").returncode == 0
    assert "network.yaml" in oa_dev(folder, "promote", "echo@next").stdout and yaml.read_text() != listed
    assert (oa_dev(folder, "undo").returncode, yaml.read_text()) == (0, listed)
    assert oa_dev(folder, "drop", "echo@next").returncode == 0
    assert said(folder, "bob") == "said"


def test_a_shadow_is_compared_and_dropped(server: Running) -> None:
    """What it does differently is shown, with exit code 1 where there is no shadow."""
    folder = server.folder
    none = oa_dev(folder, "compare", "echo")
    assert (none.returncode, "echo has no shadow: oa-dev try echo --shadow" in none.stderr) == (1, True)
    assert oa_dev(folder, "try", "echo", "--shadow").returncode == 0
    (server.folder / "mods" / "echo" / "mod.py").write_text(ECHO_V2.replace('event.payload["text"]', "None"))
    assert oa_dev(folder, "settle").returncode == 0
    assert said(folder, "ana") == "said"
    shown = oa_dev(folder, "compare", "echo").stdout
    assert "data.text" in shown
    assert re.search(r"time +p50 [\d.]*[1-9]\d* (→|->) [\d.]*[1-9]\d* ms", shown), "also where it is of microseconds"
    assert oa_dev(folder, "drop", "echo@next").returncode == 0
    assert oa_dev(folder, "drop", "echo@next").returncode == 1


def test_what_cannot_be_asked_is_refused_with_what_is_right(server: Running) -> None:
    """In one line, with code 2 for a wrong argument and 1 for what is not there."""
    folder = server.folder
    wrong = oa_dev(folder, "split", "echo@next", "ten")
    assert (wrong.returncode, "write a percentage, as in 10%" in wrong.stderr) == (2, True)
    absent = oa_dev(folder, "promote", "echo@2")
    assert (absent.returncode, absent.stdout) == (1, "there is no echo@2; echo has main\n")
