"""`check` finds what a start would stumble over, and starts nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from processes import NETWORK, oa_dev, write
from workspaces import Workspace, served

from devserver.cli.commands import check
from devserver.cli.exits import Exit
from devserver.config.network_yaml import read_network
from devserver.server.check import Aside, Checked, check_network

MOD = "from devserver import BaseMod\nclass Mod(BaseMod):\n"


def checked(work: Workspace, *mods: str, patience: float = 60.0) -> dict[str, str]:
    """What is wrong with each mod of a network."""
    found = check_network(work.yaml(*(f"mods.{name}" for name in mods)), Aside(patience=patience))
    assert found.refused == ()
    return {mod: str(error) for mod, error in found.mods}


@pytest.fixture
def files(tmp_path: Path) -> Workspace:
    """A workspace in which nothing runs."""
    return Workspace(tmp_path)


def test_good_mods_are_good(files: Workspace) -> None:
    """There is nothing to say of them."""
    files.mod("ant", served("ant", 1))
    files.mod("bee", served("bee", 1), "requires = ()")
    assert checked(files, "ant", "bee") == {}


STUMBLES = {
    "ant": ("def broken(:\n", "SyntaxError: invalid syntax at mods/ant.py:1"),
    "bee": ("import nosuch_module\n", "ModuleNotFoundError: No module named 'nosuch_module' at mods/bee.py:1"),
    "cow": ("\n{}['column']\n", "KeyError: 'column' at mods/cow.py:2"),
    "dog": ("import sys\nsys.exit(3)\n", "asked the process to end"),
    "elk": ("x = 1\n", "NoModClass"),
    "fox": (f"{MOD}    def __init__(self):\n        1/0\n", "ZeroDivisionError"),
    "gnu": (f"{MOD}    reload_mode = 'often'\n", "reload_mode is 'often'"),
    "hen": (f"{MOD}    requires = ['mods.none>=2']\n", "it needs mods.none"),
    "owl": ("import os\nos._exit(3)\n", "CheckEnded: its import ended the process with code 3"),
}
"""Sources of mods, each with what is said of it; the last one ends the process."""


def test_what_a_start_would_stumble_over_is_found(files: Workspace) -> None:
    """The mod, and where its source can be looked at; all are looked at in one go, and a good one has no words."""
    for name, (text, _) in STUMBLES.items():
        files.write(f"mods/{name}.py", text)
    files.mod("good", served("good", 1))
    found = checked(files, "good", *STUMBLES)
    assert set(found) == set(STUMBLES)
    assert [name for name, (_, said) in STUMBLES.items() if said not in found[name]] == [], found


def test_a_mod_that_is_nowhere_is_found(files: Workspace) -> None:
    """With the name that may have been meant."""
    files.mod("kanban", served("kanban", 1))
    assert "Did you mean 'mods.kanban'?" in checked(files, "kanbna")["kanbna"]


def test_an_import_that_hangs_is_given_up_and_named(files: Workspace) -> None:
    """Those before it were looked at."""
    files.mod("ant", served("ant", 1))
    files.write("mods/bee.py", "import threading\nthreading.Event().wait()\n")
    assert checked(files, "ant", "bee", patience=8.0) == {"bee": "CheckEnded: its import did not end within 8 s"}


def test_nothing_is_started_and_nothing_printed(files: Workspace, capfd: pytest.CaptureFixture[str]) -> None:
    """initialize() is not called, and what an import prints is no one's answer."""
    files.mod("ant", "def initialize(self):\n    open('started', 'w')", "print('imported')")
    assert checked(files, "ant") == {}
    assert not (files.folder / "started").exists()
    assert capfd.readouterr().out == ""


def test_python_itself_is_not_shadowed_by_the_workspace(files: Workspace) -> None:
    """A `typing.py` beside network.yaml is no one's typing."""
    files.write("typing.py", "1/0\n")
    files.mod("ant", served("ant", 1))
    assert checked(files, "ant") == {}


def test_disabled_mods_are_not_looked_at(files: Workspace) -> None:
    """They would not be started either."""
    files.write("mods/ant.py", "1/0\n")
    path = files.yaml({"name": "mods.ant", "enabled": False})
    assert check_network(path).good


def test_versions_that_cannot_run_beside_their_mods_are_found_at_their_lines(files: Workspace) -> None:
    """An unknown path, a version that no index can have, and code of which there is one."""
    for name, extra in (("wiki", ""), ("port", 'reload_mode = "exclusive"'), ("poll", "def capture_state(self): ...")):
        files.mod(name, f"{served(name, 1)}\n{extra}\n")
    path = files.yaml(
        {"name": "mods.wiki", "versions": [{"name": "mods.wikki"}, {"version": "~=2.0"}, {"label": "good"}]},
        {"name": "mods.port", "versions": [{"label": "next"}]},
        {"name": "mods.poll", "versions": [{"label": "next"}, {"label": "two", "name": "mods.wiki", "state": "copy"}]},
    )
    lines = {each.beside.label: each.line for mod in read_network(path).mods for each in mod.versions if each.beside}
    found = {mod: (error.where.line if error.where else 0, error.message) for mod, error in check_network(path).mods}
    assert {mod: line for mod, (line, _) in found.items()} == {
        "wiki@wikki": lines["wikki"], "wiki@2": lines["2"], "port@next": found["port@next"][0],
        "poll@next": found["poll@next"][0],
    }  # fmt: skip
    wikki = next(error.where for mod, error in check_network(path).mods if mod == "wiki@wikki")
    text = path.read_text().splitlines()[wikki.line - 1]
    assert text[wikki.column - 1 :].startswith("mods.wikki"), text
    said = {mod: message for mod, (_, message) in found.items()}
    assert "Did you mean 'mods.wiki'?" in said["wiki@wikki"]
    assert "lies in the workspace, and no index has versions of it" in said["wiki@2"]
    assert "reload_mode is exclusive" in said["port@next"]
    assert "say state: copy or empty" in said["poll@next"]
    assert 0 not in (found["port@next"][0], found["poll@next"][0])


def test_a_network_yaml_that_cannot_be_used_ends_the_check(tmp_path: Path) -> None:
    """Its problems are all there is to say."""
    path = tmp_path / "network.yaml"
    path.write_text("network: [\n")
    found = check_network(path)
    assert (found.good, found.mods, len(found.refused)) == (False, (), 1)
    assert Checked(name="network.yaml").summary == "network.yaml cannot be used"


def test_every_problem_of_a_network_yaml_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """However many there are: a screen of `oa-dev run` counts those beyond three."""
    (tmp_path / "network.yaml").write_text("network:\n  name: demo\n  mods:\n" + "    - {nam: mods.echo}\n" * 5)
    assert check(tmp_path / "network.yaml", as_json=False) == Exit.CONFIG
    said = capsys.readouterr().out
    assert [line for line in range(4, 9) if f"network.yaml:{line}:" not in said] == []
    assert "more problems" not in said


def test_mods_that_cannot_be_loaded_end_the_command_with_5(tmp_path: Path) -> None:
    """Their place and source for people, the same as values for programs."""
    write(tmp_path, NETWORK, "import json\njson.loads(5)\n")
    done = oa_dev(tmp_path, "check")
    told = json.loads(oa_dev(tmp_path, "check", "--json").stdout)
    assert done.returncode == 5
    assert "error: echo cannot be loaded: mods/echo/mod.py:2:1" in done.stdout
    assert (told["ok"], told["mods"][0]["mod_id"], told["mods"][0]["error"]["line"]) == (False, "echo", 2)


def test_each_value_of_a_configuration_that_does_not_fit_is_told_at_its_place(files: Workspace) -> None:
    """All of them, not the first alone."""
    model = "from pydantic import BaseModel\nclass Config(BaseModel):\n    times: int = 1\n    name: str = ''\n"
    files.mod("ant", "", model)
    found = check_network(files.yaml({"name": "mods.ant", "config": {"times": "x", "name": 5}}))
    assert [(mod, str(error)) for mod, error in found.mods] == [
        ("ant", 'ConfigError: config of mods.ant: "times" must be a whole number, not "x" at network.yaml:6'),
        ("ant", 'ConfigError: config of mods.ant: "name" must be a text, not 5 at network.yaml:7'),
    ]


def test_a_mod_that_exists_nowhere_is_told_with_its_line(files: Workspace) -> None:
    """Where network.yaml lists it, also for a mod of a package."""
    [(_, error)] = check_network(files.yaml("openagents.mods.workspace.nothing")).mods
    line = files.yaml("openagents.mods.workspace.nothing").read_text().splitlines()[error.where.line - 1]
    assert (error.where.file, "openagents.mods.workspace.nothing" in line) == ("network.yaml", True)
