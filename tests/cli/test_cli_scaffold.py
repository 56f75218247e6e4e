"""What `oa-dev new` writes runs, passes its own test, and is accepted by its own schema."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from processes import NETWORK, environment, oa_dev, write

from devserver.cli.scaffold import event_part, mod_files, mod_name, network_files
from devserver.config.network_yaml import parse_network


def own_tests(folder: Path) -> str:
    """The last line of pytest in a folder."""
    known = any(each.value == "devserver.pytest_plugin" for each in entry_points(group="pytest11"))
    plugin = [] if known else ["-p", "devserver.pytest_plugin"]  # an environment older than the plugin
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *plugin, str(folder / "tests")],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
    )
    return done.stdout.splitlines()[-1]


def test_a_new_network_is_good_and_passes_its_test(tmp_path: Path) -> None:
    """`new network`, then `check`, then its own test."""
    done = oa_dev(tmp_path, "new", "network", "team")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "now: cd team && oa-dev run")
    checked = oa_dev(tmp_path / "team", "check")
    assert (checked.returncode, checked.stdout) == (0, "network.yaml is good: team, 1 of 1 mods enabled\n")
    assert own_tests(tmp_path / "team").startswith("3 passed")


def test_a_new_mod_passes_its_test_in_the_network_that_is_there(tmp_path: Path) -> None:
    """Its file, its test, and the line to list it; network.yaml is not touched."""
    write(tmp_path)
    done = oa_dev(tmp_path, "new", "mod", "kan-ban")
    assert done.returncode == 0
    assert "    - name: mods.kan_ban\n" in done.stdout
    assert (tmp_path / "network.yaml").read_text() == NETWORK
    assert own_tests(tmp_path).startswith("3 passed")


def test_nothing_is_written_over(tmp_path: Path) -> None:
    """A file that is there already keeps everything from being written."""
    write(tmp_path)
    (tmp_path / "mods" / "kanban.py").write_text("mine")
    done = oa_dev(tmp_path, "new", "mod", "kanban")
    assert (done.returncode, done.stdout) == (2, "")
    assert "mods/kanban.py is there already, nothing was written" in done.stderr
    assert not (tmp_path / "tests").exists()


@pytest.mark.parametrize("name", ["a b", "1st", "../up", "", "a.b.c/d", "__init__"])
def test_a_name_that_no_mod_can_have_is_refused(tmp_path: Path, name: str) -> None:
    """Before anything is written."""
    write(tmp_path)
    done = oa_dev(tmp_path, "new", "mod", name)
    assert (done.returncode, "a mod is named like" in done.stderr) == (2, True)


def test_a_mod_needs_a_network(tmp_path: Path) -> None:
    """Where there is no network.yaml, that is what is said."""
    assert "no network.yaml" in oa_dev(tmp_path, "new", "mod", "kanban").stderr


@pytest.mark.parametrize(
    ("given", "name"), [("kanban", "kanban"), ("mods.kanban", "kanban"), ("./kan-ban", "kan_ban"), ("class", "class_")]
)
def test_a_mod_may_be_named_in_any_way_that_people_write_it(given: str, name: str) -> None:
    """As in network.yaml, as a folder, or plainly; what Python keeps for itself gets a line below."""
    assert mod_name(given) == name


@pytest.mark.parametrize(
    ("name", "part"), [("kanban", "kanban"), ("KanBan", "kanban"), ("a", "a_mod"), ("_9", "my_mod")]
)
def test_events_of_a_mod_begin_with_what_can_begin_an_event(name: str, part: str) -> None:
    """Lower case, at least two characters, a letter first."""
    assert event_part(name) == part
    assert f'"{part}.greet"' in mod_files(name)[f"mods/{name}.py"]


@pytest.mark.parametrize("name", ["team", 'a "b" c', "yes", "1.10", "ü: #", "\\"])
def test_any_folder_name_is_a_name_in_network_yaml(name: str) -> None:
    """It is written so that it is read as a text."""
    assert parse_network(network_files(name)["network.yaml"]).name == name


def test_editors_find_the_schema(tmp_path: Path) -> None:
    """The first line of a new network.yaml names the file that is written beside it."""
    files = network_files("team")
    line = files["network.yaml"].splitlines()[0]
    assert json.loads(files[line.removeprefix("# yaml-language-server: $schema=")])["required"] == ["network"]
