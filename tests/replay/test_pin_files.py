"""Files of pins: plain data of this user alone. What is anything else is not used, and said."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from devserver.model.observation import Observation
from devserver.replay.pins import MOST_BYTES, MOST_PINS, Pin, PinRefused, Pins
from devserver.server.private_folder import PrivateFolder


def pin(name: str = "wiki.page.edit-57", **more) -> Pin:
    whole = {
        "name": name,
        "number": 57,
        "at": 5.0,
        "generations": {"wiki": 4},
        "event": {"event_name": "wiki.page.edit", "source_id": "ana", "payload": {"page_path": "home"}},
        "agents": [{"agent_id": "ana", "group": "guest", "metadata": {}}],
        "channels": {"general": ["ana"]},
        "state": {"wiki": {"plain": {"pages": {"home": 1}}}},
        "accepted": Observation(success=True),
    }
    return Pin(**{**whole, **more})


@pytest.fixture
def files(tmp_path: Path) -> PrivateFolder:
    return PrivateFolder(tmp_path, "pins")


@pytest.fixture
def folder(tmp_path: Path, files: PrivateFolder) -> Path:
    """The folder of pins, with one good pin in it."""
    Pins(files).put(pin())
    return tmp_path / ".oa-dev" / "pins"


def problem_of(files: PrivateFolder) -> str:
    """Why the one file beside the good one is not used."""
    pins = Pins(files)
    assert [each.name for each in pins.all()] == ["wiki.page.edit-57"]
    (problem,) = pins.problems
    return problem


def test_a_pin_is_read_back(files, folder):
    """With all that it has."""
    (back,) = Pins(files).all()
    assert back == pin(is_here=False)


def written(folder: Path, name: str, text: str, mode: int = 0o600) -> None:
    path = folder / name
    path.write_text(text)
    path.chmod(mode)


def text_of(**changes) -> str:
    return json.dumps({**pin("other").to_dict(), **changes})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (text_of(format=2), "it has the format 2, this oa-dev reads 1: update oa-dev"),
        ("{", "it cannot be read"),
        ("[]", "it is not a pin"),
        ("[" * 100_000, "it cannot be read"),
        (text_of(agents=json.loads("[" * 200 + "]" * 200)), "it is not a pin"),
        (text_of(name="../../etc/passwd"), "it says to be '../../etc/passwd'"),
        (text_of(state={"wiki": {"plain": {"$": "os.system", "of": "x"}}}), "it cannot be read"),
        (text_of(state={"wiki": {"plain": [1]}}), "it cannot be read"),
        (text_of(event={"event_name": "no"}), "it cannot be read"),
        (text_of(accepted={}), "it cannot be read"),
        (text_of(**{"from": {"number": 1, "at": 1, "generations": 5}}), "it cannot be read"),
    ],
)
def test_a_file_of_another_form_is_not_used(files, folder, text, why):
    """The others are."""
    written(folder, "other.json", text)
    assert why in problem_of(files)


def test_a_file_that_others_could_have_read_is_not_used(files, folder):
    """Nor one that they could have written."""
    written(folder, "other.json", text_of(), 0o644)
    assert "has mode 0644" in problem_of(files)


def test_a_link_is_not_followed(files, folder, tmp_path):
    """Wherever it leads."""
    written(tmp_path, "elsewhere.json", text_of())
    (folder / "other.json").symlink_to(tmp_path / "elsewhere.json")
    assert "cannot be read" in problem_of(files)


def test_a_huge_file_is_not_read(files, folder):
    """A sparse one of a gibibyte."""
    written(folder, "other.json", "{}")
    os.truncate(folder / "other.json", 1024**3)
    assert f"it is larger than {MOST_BYTES // 1024 // 1024} MiB" in problem_of(files)


def test_a_fifo_keeps_nobody_waiting(files, folder):
    """It is not a regular file."""
    os.mkfifo(folder / "other.json", 0o600)
    assert "is not a regular file" in problem_of(files)


def test_a_folder_that_is_a_link_is_not_used(tmp_path):
    """What is done in it would be done elsewhere."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".oa-dev").mkdir(mode=0o700)
    (tmp_path / ".oa-dev" / "pins").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError):
        PrivateFolder(tmp_path, "pins").write("x.json", "{}")


def test_so_many_pins_are_kept_and_one_more_is_refused(files):
    """Others are replaced under their names still."""
    pins = Pins(files)
    pins._pins = {f"pin-{number}": pin(f"pin-{number}") for number in range(MOST_PINS)}
    with pytest.raises(PinRefused, match="there are 500 pins already"):
        pins.name_for("wiki.page.edit", 58, None)
    assert pins.name_for("wiki.page.edit", 58, "pin-7") == "pin-7"


@pytest.mark.parametrize("name", ["../x", "a/b", ".hidden", "", "x" * 101, "a b"])
def test_a_name_leads_nowhere_else(files, name):
    """Names are of letters, digits, dots, dashes and underscores."""
    with pytest.raises(PinRefused):
        Pins(files).name_for("wiki.page.edit", 57, name)
