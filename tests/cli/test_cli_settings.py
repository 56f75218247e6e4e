"""Settings come from flag, environment, .env, pyproject.toml and default, in this order; each knows its source."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from devserver.config.settings import SETTINGS, Found, SettingError, changed_files, read_settings

TABLE = "[tool.oa-dev]\n"


def read(folder: Path, flags: Mapping[str, Any] | None = None, **environ: str) -> Mapping[str, Found]:
    """The settings of a run in a folder."""
    return read_settings(folder, flags or {}, environ).found


def test_without_anything_every_setting_has_its_default(tmp_path: Path) -> None:
    """And says so."""
    assert read(tmp_path) == {each.name: Found(each.default, "default") for each in SETTINGS}


def test_a_nearer_source_wins(tmp_path: Path) -> None:
    """Flag, variable, .env, pyproject.toml: taken away one by one, each gives way to the next."""
    (tmp_path / "pyproject.toml").write_text(f"{TABLE}port = 1\n")
    assert read(tmp_path)["port"] == Found(1, "pyproject.toml")
    (tmp_path / ".env").write_text("OA_DEV_PORT=2\n")
    assert read(tmp_path)["port"] == Found(2, ".env")
    assert read(tmp_path, OA_DEV_PORT="3")["port"] == Found(3, "OA_DEV_PORT")
    assert read(tmp_path, {"port": 4}, OA_DEV_PORT="3")["port"] == Found(4, "--port")


@pytest.mark.parametrize(("name", "flag"), [("watch", False), ("port", 0), ("keys", False)])
def test_a_flag_that_says_no_is_a_flag(tmp_path: Path, name: str, flag: object) -> None:
    """Only None means that it was not given."""
    assert read(tmp_path, {name: flag})[name] == Found(flag, f"--{name}")


@pytest.mark.parametrize(
    ("text", "value"), [("1", True), ("true", True), ("ON", True), ("0", False), ("no", False), ("False", False)]
)
def test_a_variable_says_yes_or_no_in_the_usual_words(tmp_path: Path, text: str, value: bool) -> None:
    """As other tools read them."""
    assert read(tmp_path, OA_DEV_WATCH=text)["watch"].value is value


def test_names_are_given_in_the_way_of_each_source(tmp_path: Path) -> None:
    """A flag again and again, a variable with commas, TOML as a list; an address is written as requests write it."""
    (tmp_path / "pyproject.toml").write_text(f'{TABLE}allow-host = ["Dev.Example", "192.168.1.5:80"]\n')
    assert read(tmp_path)["allow_host"].value == ("dev.example", "192.168.1.5:80")
    assert read(tmp_path, OA_DEV_ALLOW_HOST="a, b c")["allow_host"].value == ("a", "b", "c")
    assert read(tmp_path, {"allow_host": ["a", "fe80::1"]})["allow_host"] == Found(("a", "[fe80::1]"), "--allow-host")


def test_an_empty_variable_is_none(tmp_path: Path) -> None:
    """`OA_DEV_PORT= oa-dev run` asks for nothing."""
    assert read(tmp_path, OA_DEV_PORT="")["port"].source == "default"


def test_toml_gives_values_of_its_own_types(tmp_path: Path) -> None:
    """Numbers, truths and texts, under keys with dashes."""
    (tmp_path / "pyproject.toml").write_text(f'{TABLE}port = 8800\nstrict-port = true\nlog-level = "debug"\n')
    found = read(tmp_path)
    assert (found["port"].value, found["strict_port"].value, found["log_level"].value) == (8800, True, "debug")


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("pyproject.toml", f"{TABLE}prot = 1\n", "did you mean 'port'"),
        ("pyproject.toml", f"{TABLE}colour = 1\n", "there are host, allow-host, port"),
        ("pyproject.toml", f"{TABLE}port = 70000\n", "pyproject.toml: port is a whole number from 0 to 65535"),
        ("pyproject.toml", f"{TABLE}port = true\n", "not True"),
        ("pyproject.toml", f"{TABLE}watch = 'maybe'\n", "true or false"),
        ("pyproject.toml", "[tool.oa-dev\n", "pyproject.toml cannot be read"),
        (".env", "OA_DEV_LOG_LEVEL=loud\n", ".env: OA_DEV_LOG_LEVEL is one of debug, info"),
        (".env", "# words\n\nnot an assignment\n", ".env:3 is not NAME=value"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_source(tmp_path: Path, file: str, text: str, said: str) -> None:
    """The file, the key and what is wanted."""
    (tmp_path / file).write_text(text)
    with pytest.raises(SettingError) as refused:
        read(tmp_path)
    assert said in str(refused.value)


def test_a_broken_pyproject_that_is_not_about_us_is_passed_over(tmp_path: Path) -> None:
    """What another tool has to complain of is that one's duty."""
    (tmp_path / "pyproject.toml").write_text("[tool.other\n")
    assert read(tmp_path)["port"].source == "default"


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("KEY=plain", "plain"),
        ("export KEY = spaced ", "spaced"),
        ("KEY='single # kept'", "single # kept"),
        ('KEY="double" # comment', "double"),
        ("KEY=value # comment", "value"),
        ("KEY=a#b=c", "a#b=c"),
        ("KEY=", ""),
        ("KEY='open", "'open"),
    ],
)
def test_an_env_file_is_read_as_shells_write_it(tmp_path: Path, line: str, value: str) -> None:
    """Quotes, comments, export."""
    (tmp_path / ".env").write_text(f"# head\n{line}\n")
    assert read_settings(tmp_path, {}, {}).variables == {"KEY": value}


def test_the_environment_wins_over_the_env_file(tmp_path: Path) -> None:
    """What the process was started with stays as it is."""
    (tmp_path / ".env").write_text("KEY=file\nOTHER=file\n")
    assert read_settings(tmp_path, {}, {"KEY": "shell"}).variables == {"OTHER": "file"}


def test_a_file_has_changed_when_its_content_has(tmp_path: Path) -> None:
    """Not when it is saved as it was; also when it comes or goes."""
    (tmp_path / ".env").write_text("KEY=1\n")
    settings = read_settings(tmp_path, {}, {})
    (tmp_path / ".env").write_text("KEY=1\n")
    assert changed_files(settings, tmp_path) == {}
    (tmp_path / ".env").write_text("KEY=2\n")
    (tmp_path / "pyproject.toml").write_text(TABLE)
    assert changed_files(settings, tmp_path) == {".env": b"KEY=2\n", "pyproject.toml": TABLE.encode()}


@pytest.mark.parametrize("name", [".env", "pyproject.toml"])
@pytest.mark.parametrize("kind", ["fifo", "folder", "device"])
def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path: Path, name: str, kind: str) -> None:
    """No one writes into a FIFO, and /dev/zero never ends."""
    path = tmp_path / name
    match kind:
        case "fifo":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "device":
            path.symlink_to("/dev/zero")
    with pytest.raises(SettingError, match=f"{name} cannot be read: "):
        read(tmp_path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (".env", "NAME=a\0b\n"),
        ("pyproject.toml", "tool = ['oa-dev']\n"),
        ("pyproject.toml", "[tool]\noa-dev = 1\n"),
        ("pyproject.toml", f"oa-dev = {'[' * 5000}{']' * 5000}\n"),
    ],
)
def test_settings_of_another_shape_are_refused(tmp_path: Path, name: str, text: str) -> None:
    """With the file, and no trace."""
    (tmp_path / name).write_text(text)
    with pytest.raises(SettingError, match=name):
        read(tmp_path)
