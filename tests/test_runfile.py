"""The run file holds the admin token: it is written privately and believed only when it is private."""

from __future__ import annotations

import os
import resource
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from devserver.errors import DevServerError
from devserver.market.folder import private_folder
from devserver.server.runfile import (
    RunFile,
    is_running,
    process_started,
    read_run_file,
    remove_run_file,
    run_file_path,
    write_run_file,
)

URL = "http://127.0.0.1:8700"
TOKEN = "secret-token"


def written(workspace: Path) -> Path:
    """The run file of this process."""
    return write_run_file(workspace, URL, TOKEN, os.getpid())


def test_what_was_written_is_read(tmp_path: Path) -> None:
    """Address, token, process and its start time come back."""
    written(tmp_path)
    assert read_run_file(tmp_path) == RunFile(URL, TOKEN, os.getpid(), process_started(os.getpid()))


def test_the_file_and_its_folder_are_private_whatever_the_umask(tmp_path: Path) -> None:
    """The file has mode 0600, its folder 0700, and git ignores both."""
    before = os.umask(0)
    try:
        path = written(tmp_path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert (path.parent / ".gitignore").read_text() == "*\n"


@pytest.mark.parametrize("make", [written, lambda folder: private_folder(folder / ".oa-dev")], ids=["run", "market"])
def test_a_full_disk_leaves_no_empty_gitignore(tmp_path: Path, make: Callable[[Path], object]) -> None:
    """With one git would take what is secret there."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        with pytest.raises(OSError):
            make(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list((tmp_path / ".oa-dev").iterdir()) == []


def test_a_folder_that_others_could_read_is_made_private(tmp_path: Path) -> None:
    """A folder that is there already gets the mode it should have."""
    (tmp_path / ".oa-dev").mkdir(mode=0o755)
    assert stat.S_IMODE(written(tmp_path).parent.stat().st_mode) == 0o700


def test_writing_replaces_an_older_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    """The file of an earlier server is replaced as a whole."""
    write_run_file(tmp_path, "http://127.0.0.1:1", "old", 1)
    path = written(tmp_path)
    assert read_run_file(tmp_path) == RunFile(URL, TOKEN, os.getpid(), process_started(os.getpid()))
    assert sorted(each.name for each in path.parent.iterdir()) == [".gitignore", "run.json"]


def test_a_link_planted_in_its_place_is_replaced_and_not_followed(tmp_path: Path) -> None:
    """The token never goes where a link leads."""
    target = tmp_path / "target"
    target.write_text("untouched")
    path = run_file_path(tmp_path)
    path.parent.mkdir()
    path.symlink_to(target)
    written(tmp_path)
    assert target.read_text() == "untouched"
    assert not path.is_symlink()


def test_a_link_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    """A folder that leads elsewhere is not written to."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".oa-dev").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError):
        written(tmp_path)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_no_file_is_no_error(tmp_path: Path) -> None:
    """Where no server ever ran there is nothing to read and nothing to remove."""
    assert read_run_file(tmp_path) is None
    remove_run_file(tmp_path, 1)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o660, 0o604, 0o400])
def test_a_file_of_another_mode_is_refused(tmp_path: Path, mode: int) -> None:
    """A token that others may know is not used."""
    written(tmp_path).chmod(mode)
    with pytest.raises(DevServerError, match="0600"):
        read_run_file(tmp_path)


def test_a_link_is_not_read(tmp_path: Path) -> None:
    """A link to someone's file is refused, also where that file is private."""
    path = written(tmp_path)
    path.rename(tmp_path / "moved")
    path.symlink_to(tmp_path / "moved")
    with pytest.raises(DevServerError, match="cannot be read"):
        read_run_file(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    """What someone else wrote is not believed."""
    os.chown(written(tmp_path), 12345, 12345)
    with pytest.raises(DevServerError, match="another user"):
        read_run_file(tmp_path)


def test_a_fifo_in_its_place_blocks_nobody(tmp_path: Path) -> None:
    """What is not a regular file is refused at once."""
    path = run_file_path(tmp_path)
    path.parent.mkdir(mode=0o700)
    os.mkfifo(path, 0o600)
    with pytest.raises(DevServerError, match="regular"):
        read_run_file(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        "\xff",
        '{"url": 1, "token": "t", "pid": 2, "started": null}',
        '{"url": "u", "token": "t", "pid": 0, "started": null}',
        '{"url": "u", "token": "t", "pid": true, "started": null}',
        '{"url": "u", "token": "t", "pid": 2, "started": 3}',
        "[" * 100_000,
    ],
    ids=lambda text: text[:40] or "empty",
)
def test_a_file_of_another_form_is_refused(tmp_path: Path, text: str) -> None:
    """Whatever stands in the file, the answer is a sentence."""
    path = written(tmp_path)
    path.write_text(text, encoding="latin-1")
    with pytest.raises(DevServerError, match="not the file of a server"):
        read_run_file(tmp_path)


def test_the_process_that_wrote_it_is_known_by_pid_and_start_time(tmp_path: Path) -> None:
    """A process that got the pid later is another one."""
    pid = os.getpid()
    assert is_running(RunFile(URL, TOKEN, pid, process_started(pid)))
    assert not is_running(RunFile(URL, TOKEN, pid, "1"))
    assert is_running(RunFile(URL, TOKEN, pid, None))


def test_a_server_removes_only_its_own_file(tmp_path: Path) -> None:
    """The file of a server that was started later stays."""
    path = written(tmp_path)
    remove_run_file(tmp_path, os.getpid() + 1)
    assert path.exists()
    remove_run_file(tmp_path, os.getpid())
    assert not path.exists()


def test_its_representation_holds_no_token(tmp_path: Path) -> None:
    """A run file may be logged."""
    written(tmp_path)
    assert TOKEN not in repr(read_run_file(tmp_path))
