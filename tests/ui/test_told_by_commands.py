"""What commands print: who is connected and who is only known, and JSON for people and for programs."""

from __future__ import annotations

import sys

import pytest
from terminals import FakeTerminal

from devserver.cli.output import say_json
from devserver.ui.look import View
from devserver.ui.status import status_lines

BASE = {"network": "demo", "url": "http://127.0.0.1:8700", "uptime_seconds": 5, "mods": [], "down": []}


def test_who_is_connected_is_told_apart_from_who_is_known() -> None:
    """An agent that ended is not counted among those that are here."""
    agents = [
        {"agent_id": "ana", "transport": "ws", "connected": True},
        {"agent_id": "bo", "transport": "http", "connected": False},
    ]
    lines = ["".join(each.text for each in line) for line in status_lines({**BASE, "agents": agents}, View())]
    assert lines[-1].strip() == "1 agent: ana (ws) - known, not connected: bo"


def test_people_see_letters_and_programs_get_ascii(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Lone surrogates survive for programs; for people nothing is spelled out that prints."""
    say_json({"text": "日本"})
    assert capsys.readouterr().out == '{"text": "\\u65e5\\u672c"}\n'
    terminal = FakeTerminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    say_json({"text": "日本"})
    assert '"text": "日本"' in terminal.getvalue()
