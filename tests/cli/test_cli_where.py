"""Which network a command is about: from folders below it, from elsewhere with -C, by the name of its folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from processes import Running, oa_dev, write


def test_commands_work_from_a_folder_below(server: Running) -> None:
    """They find the running server of the nearest network, and its files."""
    below = server.folder / "mods" / "echo"
    assert "echo" in oa_dev(below, "status").stdout
    assert oa_dev(below, "check").returncode == 0
    assert oa_dev(below, "send", "echo.say", "--payload", '{"text": "hi"}').returncode == 0


def test_new_mod_writes_beside_network_yaml(tmp_path: Path) -> None:
    """Not into the folder below from which it was called."""
    write(tmp_path)
    assert oa_dev(tmp_path / "mods", "new", "mod", "HelloWorld").returncode == 0
    assert "class HelloWorldMod(" in (tmp_path / "mods" / "HelloWorld.py").read_text()


def test_a_directory_before_the_command_is_where_it_runs(
    server: Running, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """`-C` takes a path, also more than one, each relative to the one before."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    status = oa_dev(elsewhere, "-C", str(server.folder), "-C", "mods", "status", "--json")
    assert json.loads(status.stdout)["url"]
    assert oa_dev(elsewhere, "-C", "missing", "status").stderr.startswith("error: cannot change to missing: ")
    assert "needs a directory" in oa_dev(elsewhere, "-C").stderr
    assert "-C DIR" in oa_dev(elsewhere, "--help").stdout


def test_a_server_that_was_started_with_a_directory_restarts_in_place(tmp_path: Path) -> None:
    """The next image of the process begins in that directory, and not in one of that name below it."""
    folder = write(tmp_path / "my net")
    running = Running(tmp_path, before=("-C", "my net"))
    try:
        running.until(type="ready")
        assert oa_dev(folder, "restart", "--json").returncode == 0
    finally:
        running.end()


def test_a_folder_names_the_network_in_it(tmp_path: Path) -> None:
    """`check demo` reads demo/network.yaml; a folder without one is refused."""
    write(tmp_path / "demo")
    (tmp_path / "empty").mkdir()
    assert oa_dev(tmp_path, "check", "demo").returncode == 0
    assert "there is no network.yaml in empty" in oa_dev(tmp_path, "check", "empty").stderr


def test_what_to_type_next_is_quoted_for_a_shell(tmp_path: Path) -> None:
    """A name with spaces can be pasted; in the folder itself there is nowhere to go."""
    assert "now: cd 'my net' && oa-dev run" in oa_dev(tmp_path, "new", "network", "my net").stdout
    (tmp_path / "here").mkdir()
    assert oa_dev(tmp_path / "here", "new", "network", ".").stdout.endswith("now: oa-dev run\n")
