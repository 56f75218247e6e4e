"""`oa-dev test`: a pinned event becomes a plain pytest file, which passes, and fails once the mod does otherwise."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from replay_mods import COUNTER, NOTES

from devserver.errors import DevServerError
from devserver.replay.export import literal, with_any


async def pytest_in(folder: Path, file: str) -> tuple[int, str]:
    """Run plain pytest on a file of a workspace."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        file,
        cwd=folder,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return process.returncode or 0, said.decode()


async def test_a_written_test_passes_and_fails_after_a_change(pinning):
    """It is as a formatter leaves it, and needs no plugin."""
    async with pinning(notes=NOTES) as net:
        for each in ("ana", "charlie"):
            await net.network.register_agent(each)
        await net.send("notes.add", {"title": "milk"})
        event = {"event_name": "notes.add", "source_id": "ana", "payload": {"title": "tea"}}
        await net.replays.pin(event, name="tea")
        made = await net.replays.test("tea", None)
        assert made["path"] == "tests/test_notes_add.py"
        assert 'assert seen.data == {"number": 2, "id": ANY, "at": ANY, "of": ANY}' in made["text"]
        assert '"charlie": ["notes.added", "notes.counted"],' in made["text"]
        file = net.folder / made["path"]
        formatted = subprocess.run(  # noqa: ASYNC221 - a moment of a test
            [Path(sys.executable).with_name("ruff"), "format", "--isolated", "--diff", file],
            capture_output=True,
            text=True,
            check=False,
        )
        assert formatted.returncode == 0, formatted.stdout
        code, said = await pytest_in(net.folder, made["path"])
        assert (code, "1 passed" in said) == (0, True), said
        mod = net.folder / "mods" / "notes.py"
        mod.write_text(NOTES.replace('"number": number, **', '"number": str(number), **'))
        code, said = await pytest_in(net.folder, made["path"])
        assert (code, "1 failed" in said) == (1, True), said


async def test_nothing_is_overwritten_and_nothing_written_elsewhere(pinning):
    """The next test of the same event has a number."""
    async with pinning(counter=COUNTER) as net:
        number = await net.send("count.up", {"name": "x"})
        first, second = await net.replays.test(number, None), await net.replays.test(number, None)
        assert (first["path"], second["path"]) == ("tests/test_count_up.py", "tests/test_count_up_2.py")
        for path in ("../test_x.py", "mods/test_x.py", "tests/x.py", "tests/../test_x.py", first["path"]):
            with pytest.raises(DevServerError):
                await net.replays.test(number, path)
        (net.folder / "tests" / "out").symlink_to(net.folder.parent)
        with pytest.raises(DevServerError, match="is not a place for a test"):
            await net.replays.test(number, "tests/out/test_x.py")


async def test_a_test_that_would_not_pass_is_not_written(pinning):
    """What the mod keeps outside of its state is not in it."""
    text = COUNTER.replace("self.times += 1", "self.times += __import__('os').getpid()")
    async with pinning(counter=text) as net:
        number = await net.send("count.up", {"name": "x"})
        made = await net.replays.test(number, None)
        # Each run has a process of its own: that is noise.
        assert '"times": ANY' in made["text"]
        other = COUNTER.replace('"counted"', 'str(bool(__import__("os").environ.get("PYTHONHASHSEED") == "0"))')
        await net.save("mods/counter.py", other)
        with pytest.raises(DevServerError, match="was not written, because it does not pass"):
            await net.replays.test(number, None)
        assert [each.name for each in (net.folder / "tests").iterdir()] == ["test_count_up.py"]


async def test_a_secret_is_hidden_and_a_large_state_has_a_file(pinning):
    """The test says so."""
    log = 'self.state["log"] = [{"n": n, "t": "x" * 60} for n in range(400)]'
    text = COUNTER.replace("self.times = 0", f"self.times = 0\n        {log}")
    async with pinning(counter=text) as net:
        number = await net.send("count.up", {"name": "x", "api_key": "k-123456"})
        made = await net.replays.test(number, None)
        assert "k-123456" not in made["text"]
        assert made["warnings"] == ["api_key: written as '…'"]
        assert (net.folder / "tests" / "data" / "count_up.json").is_file()
        code, said = await pytest_in(net.folder, made["path"])
        assert code == 0, said


VALUES = [{}, [], {"a": [1, "x", None, True, 1.5]}, {"a": {"b": ["x" * 40] * 5}}, "a 'b'", 'a "b"']


@pytest.mark.parametrize("value", VALUES)
def test_a_literal_is_the_value(value):
    """Whatever its length."""
    assert eval(literal(value)) == value


def test_any_stands_where_noise_is():
    """Also for all places of a list, and for a mapping with noisy keys."""
    value = {"id": "x", "rows": [{"n": 1, "at": 2}], "by": {"u1": 1}}
    noise = frozenset({"answer.data.id", "answer.data.rows[].at", "answer.data.by{}"})
    written = literal(with_any(value, ("answer", "data"), noise))
    assert written == '{"id": ANY, "rows": [{"n": 1, "at": ANY}], "by": ANY}'
