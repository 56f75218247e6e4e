"""What can be asked of a network is told: by `events --list`, by `status --json`, by the schema for editors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import Running, oa_dev, write

from devserver.cli.options import events_that_are_handled, mods_that_run
from devserver.ui.handlers import handler_lines
from devserver.ui.look import View

MOD = """
from pydantic import BaseModel, Field
from devserver import BaseMod, Event, mod_event_handler

class Edit(BaseModel):
    path: str = Field(description="Where the page is.")
    tags: list[str] = []

class EchoMod(BaseMod):
    class Config(BaseModel):
        times: int = 1

    @mod_event_handler("page.edit")
    def edit(self, event: Event, page: Edit):
        '''Change a page.

        More of it.
        '''
        return {"path": page.path}

    @mod_event_handler("page.*", "other.thing")
    def any(self, event):
        return {}
"""


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    """A server of that mod."""
    server = Running(write(tmp_path, echo=MOD))
    try:
        server.until(type="ready")
        yield server
    finally:
        server.end()


def test_handlers_are_listed_with_their_payloads(running: Running, tmp_path: Path) -> None:
    """For people, for programs, and with the status; a pattern narrows the list."""
    told = oa_dev(tmp_path, "events", "--list")
    assert told.stdout.splitlines() == [
        "echo v1",
        "  page.edit  Change a page.",
        "    - path (text): Where the page is.",
        "    - tags (list of text, optional)",
        "  page.*",
        "  other.thing",
    ]
    (mod,) = json.loads(oa_dev(tmp_path, "events", "--list", "other.thing", "--json").stdout)["mods"]
    assert [each["handler"] for each in mod["handlers"]] == ["any"]
    (row,) = json.loads(oa_dev(tmp_path, "status", "--json").stdout)["mods"]
    assert row["handlers"][0]["payload"]["required"] == ["path"]
    assert row["config_schema"]["properties"]["times"]["default"] == 1


def test_a_shell_completes_mods_and_events(running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the running server; without one there is nothing to complete, and no error."""
    monkeypatch.chdir(tmp_path)
    assert (mods_that_run("e"), mods_that_run("x")) == (["echo"], [])
    assert events_that_are_handled("") == ["other.thing", "page.edit"]
    assert events_that_are_handled("pa") == ["page.edit"]
    running.end()
    assert (mods_that_run(""), events_that_are_handled("")) == ([], [])


def test_the_schema_for_editors_has_the_configuration_of_the_mods(running: Running, tmp_path: Path) -> None:
    """As they run; without a server, as they can be imported."""
    with_server = json.loads(oa_dev(tmp_path, "schema").stdout)
    assert with_server["$defs"]["mods.echo.Config"]["properties"]["times"]["type"] == "integer"
    running.end()
    assert json.loads(oa_dev(tmp_path, "schema").stdout) == with_server


def test_types_are_told_in_few_words() -> None:
    """Also those of nested models, unions and choices."""
    properties = {
        "a": {"$ref": "#/$defs/Inner"},
        "b": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "c": {"enum": ["x", "y"]},
        "d": {"type": "array", "items": {}},
        "e": {},
    }
    schema = {"properties": properties, "$defs": {"Inner": {"type": "object"}}}
    row = {"mod_id": "m", "generation": 2, "handlers": [{"events": ["x.y"], "description": "", "payload": schema}]}
    lines = ["".join(each.text for each in line) for line in handler_lines([row], View())]
    assert [each.split("- ")[1] for each in lines[2:]] == [
        "a (object, optional)",
        "b (whole number or null, optional)",
        "c (x | y, optional)",
        "d (list, optional)",
        "e (anything, optional)",
    ]
