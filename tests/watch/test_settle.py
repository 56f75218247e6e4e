"""A file is read when its writer is done; what it held is remembered."""

from __future__ import annotations

import errno
import math
import os
import threading
from pathlib import Path

import pytest

from devserver.sources import settle
from devserver.sources.files import SOURCE_LIMIT, digest_of
from devserver.sources.memory import GONE_AFTER, Memory, Verdict
from devserver.sources.settle import (
    UNREADABLE,
    Reading,
    kept_from_writers,
    read_whole,
    settled,
    signature,
)
from devserver.sources.writers import git_lock

SOURCE = b"VALUE = 1\n"
DIGEST = digest_of(SOURCE)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A whole file."""
    path = tmp_path / "x.py"
    path.write_bytes(SOURCE)
    return path


def test_a_whole_file_is_read_at_once(file: Path) -> None:
    """With the signature that it had."""
    assert settled([file]) == {file: Reading(DIGEST, signature(file))}


def test_a_file_is_read_when_the_last_that_has_it_open_for_writing_has_closed_it(file: Path) -> None:
    """However long nothing is written."""
    writer = file.open("wb", buffering=0)
    found: dict[Path, Reading] = {}
    reader = threading.Thread(target=lambda: found.update(settled([file], 20)))
    reader.start()
    writer.write(b"VALUE")
    reader.join(0.2)
    assert reader.is_alive()
    writer.write(b" = 1\n")
    writer.close()
    reader.join(20)
    assert found[file].digest == DIGEST


def test_a_file_that_stays_open_is_read_when_patience_ends(file: Path) -> None:
    """As it is then."""
    with file.open("r+b"):
        assert settled([file], 0.02)[file].digest == DIGEST


def test_a_writer_waits_while_a_file_is_kept_from_it(file: Path) -> None:
    """And gets it as soon as it is given back."""
    opened = threading.Event()

    def write() -> None:
        with file.open("wb"):
            opened.set()

    with kept_from_writers(file) as kept:
        writer = threading.Thread(target=write)
        writer.start()
        assert (kept.is_whole, opened.wait(0.1)) == (True, False)
    assert opened.wait(20)
    writer.join()


def test_where_the_system_cannot_tell_a_file_has_to_stay_the_same(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on file systems without leases: two looks in a row have to agree."""
    looks: list[int] = []
    texts = [b"VALUE", b"VALUE =", SOURCE]

    def refused(handle: int) -> None:
        looks.append(handle)
        if texts:
            file.write_bytes(texts.pop(0))

    monkeypatch.setattr(settle, "_lease", refused)
    assert settled([file])[file].digest == DIGEST
    assert len(looks) >= 4


def test_an_empty_file_has_to_stay_empty(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written into it meanwhile is read instead."""
    file.write_bytes(b"")
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 1:
            file.write_bytes(SOURCE)

    monkeypatch.setattr("devserver.sources.settle.time.sleep", pause)
    assert settled([file])[file].digest == DIGEST


@pytest.mark.parametrize("kind", ["missing", "directory", "fifo", "below a file"])
def test_what_is_no_regular_file_holds_nothing(file: Path, kind: str) -> None:
    """It is not opened, so no one waits."""
    path = file.with_name("y.py")
    match kind:
        case "directory":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case "below a file":
            path = file / "y.py"
    assert settled([path]) == {path: Reading(None, None)}
    assert read_whole(path) is None


def test_a_file_that_cannot_be_read_says_so_without_its_content(file: Path) -> None:
    """Larger than is read, for one."""
    with file.open("wb") as stream:
        stream.truncate(SOURCE_LIMIT + 1)
    assert settled([file])[file].digest == UNREADABLE
    with pytest.raises(OSError, match="larger than") as refused:
        read_whole(file)
    assert refused.value.errno == errno.EFBIG


def test_what_is_read_whole_is_what_its_writer_meant(file: Path) -> None:
    """Though the file is saved again and again while it is read."""
    texts = [f"VALUE = {'x' * size!r}\n".encode() for size in (10, 100_000)]
    end = threading.Event()

    def save() -> None:
        while not end.is_set():
            for text in texts:
                file.write_bytes(text)

    writer = threading.Thread(target=save)
    writer.start()
    try:
        found = {read_whole(file, 20) for _ in range(50)}
    finally:
        end.set()
        writer.join()
    assert found - {SOURCE} <= set(texts)


# What was read

HERE = Path("x.py")


def reading(digest: str | None, stamp: int = 1) -> Reading:
    return Reading(digest, None if digest is None else (stamp * 10**9, stamp * 10**9, 1, 1))


def remembering(digest: str | None) -> Memory:
    """A memory of one source, that was loaded so and is so on disk."""
    memory = Memory()
    memory.learn({HERE: digest})
    assert memory.take(HERE, reading(digest), 0.0) is Verdict.NOTHING
    return memory


def test_what_was_loaded_is_unproven_until_it_has_been_compared() -> None:
    """What has changed meanwhile is news."""
    memory = Memory()
    memory.learn({HERE: "one"})
    assert memory.unproven == {HERE}
    assert memory.take(HERE, reading("two"), 0.0) is Verdict.NEWS
    assert memory.unproven == set()


@pytest.mark.parametrize(
    ("before", "now", "verdict"),
    [
        ("one", reading("two", 2), Verdict.NEWS),
        ("one", reading("one", 2), Verdict.SAVED_THE_SAME),
        ("one", reading("one", 1), Verdict.NOTHING),
        ("one", reading(UNREADABLE, 2), Verdict.NEWS),
        ("one", reading(None), Verdict.NOTHING),
        (None, reading(None), Verdict.NOTHING),
        (None, reading(UNREADABLE, 2), Verdict.NOTHING),
        (None, reading("one", 2), Verdict.NEWS),
    ],
)
def test_a_look_at_a_source_has_one_of_three_results(before: str | None, now: Reading, verdict: Verdict) -> None:
    """What cannot be read is as good as what is not there, but for the moment when that begins."""
    assert remembering(before).take(HERE, now, 10.0) is verdict


def test_a_missing_source_is_news_when_it_has_been_missing_for_a_while() -> None:
    """Once; and its return is news again."""
    memory = remembering("one")
    assert memory.take(HERE, reading(None), 10.0) is Verdict.NOTHING
    assert (memory.due(), memory.overdue(10.5), memory.overdue(11.0)) == (10.0 + GONE_AFTER, set(), {HERE})
    assert memory.take(HERE, reading(None), 11.0) is Verdict.NEWS
    assert memory.take(HERE, reading(None), 12.0) is Verdict.NOTHING
    assert memory.take(HERE, reading("one", 2), 13.0) is Verdict.NEWS


def test_a_source_that_comes_back_in_time_was_never_missing() -> None:
    """Nothing is due any more."""
    memory = remembering("one")
    memory.take(HERE, reading(None), 10.0)
    assert memory.take(HERE, reading("one", 1), 10.5) is Verdict.NOTHING
    assert memory.due() == math.inf


def test_a_fresh_save_is_looked_at_once_more() -> None:
    """The clock of a file system may be too coarse to tell a second save from the first."""
    memory = remembering("one")
    memory.take(HERE, reading("two", 2), 10.0)
    assert (memory.overdue(11.9), memory.overdue(12.0)) == (set(), {HERE})
    assert memory.take(HERE, reading("two", 2), 12.0) is Verdict.NOTHING
    assert memory.due() == math.inf


def test_what_was_loaded_from_something_else_than_was_seen_is_compared_again() -> None:
    """And what is on disk is news, if it is another one still."""
    memory = remembering("one")
    memory.learn({HERE: "two"})
    assert memory.unproven == {HERE}
    assert memory.take(HERE, reading("one", 2), 10.0) is Verdict.NEWS


def test_an_attempt_on_an_unreadable_source_leaves_it_as_it_was_seen() -> None:
    """It is not tried again before it can be read."""
    memory = remembering("one")
    memory.take(HERE, reading(UNREADABLE, 2), 10.0)
    memory.learn({HERE: None})
    assert memory.unproven == set()
    assert memory.take(HERE, reading(UNREADABLE, 3), 11.0) is Verdict.NOTHING


def test_what_is_no_source_any_more_is_forgotten() -> None:
    """And whether there are other sources than before is said."""
    memory = remembering("one")
    memory.take(HERE, reading(None), 10.0)
    assert [memory.learn(each) for each in ({HERE: "one"}, {}, {HERE: "two"})] == [False, True, True]
    assert memory.take(HERE, reading("two"), 20.0) is Verdict.NOTHING


@pytest.mark.parametrize(
    ("inside", "content", "lock"),
    [
        (".git/HEAD", "", ".git/index.lock"),
        (".git", "gitdir: kept/one\n", "kept/one/index.lock"),
        (".git", "gitdir: /kept/one\n", "/kept/one/index.lock"),
    ],
)
def test_the_lock_of_git_is_where_git_keeps_it(tmp_path: Path, inside: str, content: str, lock: str) -> None:
    """In the folder above that holds the working tree, or where its `.git` leads."""
    (tmp_path / inside).parent.mkdir(exist_ok=True)
    (tmp_path / inside).write_text(content)
    assert git_lock(tmp_path / "a" / "b") == tmp_path / lock
