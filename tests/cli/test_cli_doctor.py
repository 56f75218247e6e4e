"""`doctor` shows every setting with its source, what of the machine matters, and what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from processes import NETWORK, oa_dev, write

from devserver.cli import doctor
from devserver.config.settings import SETTINGS, read_settings


def rows(folder: Path, **environ: str) -> dict[str, dict[str, Any]]:
    """What is found, by name."""
    done = oa_dev(folder, "doctor", "--json", **environ)
    return {each["name"]: each for each in json.loads(done.stdout)}


def test_each_setting_is_shown_with_its_source(tmp_path: Path) -> None:
    """Environment, .env, pyproject.toml, network.yaml, default."""
    write(tmp_path, NETWORK + "  port: 8801\n")
    (tmp_path / ".env").write_text("OA_DEV_CONFIRM=yes\n")
    (tmp_path / "pyproject.toml").write_text("[tool.oa-dev]\nwatch = false\n")
    found = rows(tmp_path, OA_DEV_LOG_LEVEL="debug")
    shown = {name: (row["value"], row["note"]) for name, row in found.items() if row["group"] == "settings"}
    assert shown.keys() == {each.key for each in SETTINGS}
    assert shown["log-level"] == ("debug", "OA_DEV_LOG_LEVEL")
    assert shown["confirm"] == ("true", ".env")
    assert shown["watch"] == ("false", "pyproject.toml")
    assert shown["port"] == ("8801", "network.yaml")
    assert shown["keys"] == ("true", "default")
    assert shown["host"] == ("127.0.0.1", "default")
    assert "unknown" not in [value for value, _ in shown.values()]


def test_without_a_network_the_machine_is_looked_at(tmp_path: Path) -> None:
    """A person who has no network yet wants to know whether the machine will do."""
    found = rows(tmp_path)
    assert found["network.yaml"]["value"] == "none"
    assert found["python"]["group"] == "machine"
    assert found["replays"]["value"] == "no network"
    assert oa_dev(tmp_path, "doctor").returncode == 0


def test_what_is_wrong_is_marked_and_ends_with_1(tmp_path: Path) -> None:
    """A variable that no setting has, and a network.yaml that cannot be used."""
    write(tmp_path, "network: [\n")
    done = oa_dev(tmp_path, "doctor", OA_DEV_PROT="1")
    assert done.returncode == 1
    marked = [line for line in done.stdout.splitlines() if line.startswith("! ")]
    assert [line.split()[1] for line in marked] == ["OA_DEV_PROT", "network.yaml"]


def test_a_setting_that_cannot_be_used_is_said_by_itself(tmp_path: Path) -> None:
    """Before anything else, with its source."""
    done = oa_dev(write(tmp_path), "doctor", OA_DEV_PORT="high")
    assert (done.returncode, "OA_DEV_PORT is a whole number" in done.stderr) == (2, True)


def test_few_watches_and_few_files_are_marked_with_what_helps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits of the machine, and the command that raises them."""
    path = write(tmp_path) / "network.yaml"
    (tmp_path / "max_user_watches").write_text("100\n")
    monkeypatch.setattr(doctor, "_INOTIFY", tmp_path)
    monkeypatch.setattr(doctor.resource, "getrlimit", lambda which: (64, 64))
    found = {row.name: row for row in doctor.examined(path, read_settings(tmp_path, {}, {}))}
    assert (found["open files"].good, found["open files"].note) == (False, "raise it: ulimit -n")
    assert "sysctl fs.inotify.max_user_watches=" in found["inotify max_user_watches"].note
    assert found["inotify max_user_instances"].value == "unknown"
