"""What is kept of a mod over its end: its data as it was, its emptied files, and nothing that is no data."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from pathlib import Path
from typing import Any

import pytest

from devserver.bridge.keep import MOST_BYTES, Files, Kept, changed_since, data_of, files_in, give_back


class Thing:
    """An object of its own, with a value."""

    def __init__(self, value: object) -> None:
        self.value = value


class Held:
    """Stands for a mod: any attributes."""

    def __init__(self, **attributes: Any) -> None:
        vars(self).update(attributes)


def passed(before: Held, at_birth: Held, after: Held, **configs: Any) -> Held:
    """`after`, with what `before` had and what `at_birth` had not."""
    kept = Kept(changed_since(data_of(at_birth), data_of(before)), configs.get("old", {}))
    give_back(after, kept, configs.get("new", {}))
    return after


@pytest.mark.parametrize("value", [{"a": [1]}, [1, {2}], {1}, deque([1]), 7, "text", None, (1, 2)], ids=repr)
def test_plain_data_goes_on(value: Any) -> None:
    """Containers of every kind, and single values."""
    empty = type(value)() if value is not None else 0
    after = passed(Held(value=value), Held(value=empty), Held(value=empty))
    assert after.value == value and type(after.value) is type(value)


def test_a_container_is_filled_in_place() -> None:
    """Another object of the mod may hold the very same one."""
    index: dict[str, int] = {}
    after = passed(Held(index={"a": 1}), Held(index={}), Held(index=index, other=index))
    assert after.index is index and index == {"a": 1}


def test_what_is_kept_is_a_copy() -> None:
    """`shutdown()` clears containers and stops the objects in them; what is kept is as it was before."""
    project = Thing("running")
    mod = Held(projects={"one": project})
    kept = data_of(mod)
    project.value = "stopped"
    mod.projects.clear()
    assert [each.value for each in kept["projects"].values()] == ["running"]


def test_what_was_not_changed_is_left_to_the_new_start() -> None:
    """A value that the start itself made is made again: another configuration may make another."""
    assert passed(Held(size=3), Held(size=3), Held(size=5)).size == 5


def test_under_another_configuration_what_the_start_makes_stands_first() -> None:
    """What is only in the old one goes on."""
    after = passed(
        Held(found={"a": "old", "b": "old"}), Held(found={}), Held(found={"a": "new"}), old={"x": 1}, new={"x": 2}
    )
    assert after.found == {"a": "new", "b": "old"}


def test_what_is_no_data_is_not_kept() -> None:
    """Tasks, locks and objects of their own belong to one life."""
    assert data_of(Held(lock=threading.Lock(), thing=Thing(1), mod=Held)) == {}


async def test_what_cannot_be_copied_is_shared_and_the_rest_kept() -> None:
    """A container with a task in it is still data."""
    task = asyncio.ensure_future(asyncio.Event().wait())
    kept = data_of(Held(documents={"a": {"task": task, "text": ["x"]}}))
    assert kept == {"documents": {"a": {"task": task, "text": ["x"]}}}
    task.cancel()


def test_what_is_one_object_in_two_places_stays_one() -> None:
    """A message in a history and in a thread."""
    message = Thing("hello")
    kept = data_of(Held(history={"m": message}, threads=[message]))
    assert kept["history"]["m"] is kept["threads"][0] is not message


def test_a_reference_to_the_mod_itself_is_not_followed() -> None:
    """Otherwise everything that the mod knows would be copied with it."""
    mod = Held(children=[])
    mod.children.append(Thing(mod))
    assert data_of(mod)["children"][0].value is mod


def test_objects_that_cannot_be_compared_count_as_changed() -> None:
    """Rather kept once too often."""

    class Odd:
        def __eq__(self, other: object) -> bool:
            raise RuntimeError("no")

        __hash__ = None  # type: ignore[assignment]

    assert list(changed_since({"a": [Odd()]}, {"a": [Odd()]})) == ["a"]


@pytest.mark.parametrize("left", ["{}", "[]", "", " {}\n", "null", None])
def test_a_file_that_is_emptied_or_removed_is_put_back(tmp_path: Path, left: str | None) -> None:
    """With the very bytes that it had."""
    file = tmp_path / "deep" / "history.json"
    file.parent.mkdir()
    file.write_bytes(b'{"a": 1}')
    files = Files(tmp_path)
    file.unlink() if left is None else file.write_text(left)
    assert files.put_back() == (file,)
    assert file.read_bytes() == b'{"a": 1}' and list(file.parent.iterdir()) == [file]


def test_a_file_that_is_saved_or_was_empty_stays_as_it_is(tmp_path: Path) -> None:
    """What a mod saves at its end is what it wants saved."""
    saved, empty, large = tmp_path / "saved.json", tmp_path / "empty.json", tmp_path / "large"
    saved.write_text("old")
    empty.write_text("{}")
    large.write_bytes(b"x" * (MOST_BYTES + 1))
    files = Files(tmp_path)
    saved.write_text("new")
    large.unlink()
    assert files.put_back() == ()
    assert saved.read_text() == "new" and not large.exists()


def test_sources_and_hidden_folders_are_no_data(tmp_path: Path) -> None:
    """The folder of a local mod's data is that of its source."""
    for name in ("mod.py", "data.json", ".git/config", "__pycache__/x.pyc", "posts/1.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = sorted(str(each.relative_to(tmp_path)) for each in files_in(tmp_path))
    assert found == ["data.json", "posts/1.json"]
