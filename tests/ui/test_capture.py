"""What mods print becomes lines with their name: none is lost, none is mixed, none breaks the layout."""

from __future__ import annotations

import asyncio
import io
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from devserver.live.generation import running
from devserver.ui.capture import Capture, captured
from devserver.ui.console import Console
from devserver.ui.escape import LINE_LIMIT
from devserver.ui.log import LogLines, next_level
from devserver.ui.said import Said


@pytest.fixture
def said() -> list[Said]:
    """What was said."""
    return []


@pytest.fixture
def capture(said: list[Said]) -> Iterator[Capture]:
    """A stand-in for standard output."""
    stand_in = Capture(io.StringIO(), said.append)
    yield stand_in
    stand_in.finish()


def words(said: list[Said]) -> list[str]:
    """The words of each line."""
    return [each.words for each in said]


class In:
    """Code of a mod that runs, as far as a line is concerned."""

    def __init__(self, name: str, entry: str = "mods.wiki.mod") -> None:
        mod_id, _, number = name.partition(" v")
        generation = SimpleNamespace(name=name, entry=entry, mod_id=mod_id, number=int(number))
        self._call: Any = SimpleNamespace(generation=generation, event=None, active=True)

    def __enter__(self) -> None:
        self._token = running.set(self._call)

    def __exit__(self, *raised: object) -> None:
        running.reset(self._token)


def test_a_line_belongs_to_the_generation_whose_code_runs(capture: Capture, said: list[Said]) -> None:
    """Also where it is printed in pieces, as print does."""
    with In("wiki v2"):
        print("page", 5, "created", file=capture)
    assert said == [Said("wiki v2", "print", "page 5 created")]


def test_a_line_that_no_mod_prints_belongs_to_its_module(capture: Capture, said: list[Said]) -> None:
    """At import no generation runs yet."""
    exec("print('hello', file=capture)", {"__name__": "mods.wiki.mod", "capture": capture})
    assert said[0].who == "mods.wiki.mod"


def test_lines_of_two_mods_do_not_mix(capture: Capture, said: list[Said]) -> None:
    """Each goes on where it stopped."""
    for _ in range(2):
        for name in ("wiki v2", "echo v1"):
            with In(name):
                capture.write(f"{name[0]}…")
    for name in ("wiki v2", "echo v1"):
        with In(name):
            capture.write("\n")
    assert [(each.who, each.words) for each in said] == [("wiki v2", "w…w…"), ("echo v1", "e…e…")]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("one\ntwo\n", ["one", "two"]),
        ("10 %\r20 %\rdone\n", ["10 %", "20 %", "done"]),
        ("dos\r\n\r\nlines\r\n", ["dos", "lines"]),
        ("\x1b[1;31mred\x1b[0m\n", ["red"]),
        ("\x1b[2Jevil\n", ["\x1b[2Jevil"]),
        ("\n\n", []),
    ],
)
def test_every_line_is_told_without_its_colours(
    capture: Capture, said: list[Said], text: str, lines: list[str]
) -> None:
    """What is left of escape sequences is escaped by the face."""
    capture.write(text)
    assert words(said) == lines


def test_what_is_never_ended_is_told_at_the_end(capture: Capture, said: list[Said]) -> None:
    """Nothing that was printed is lost."""
    capture.write("half a line")
    assert said == []
    capture.finish()
    assert words(said) == ["half a line"]


def test_a_line_without_end_is_told_in_parts(capture: Capture, said: list[Said]) -> None:
    """A gigabyte without a line break does not wait in memory."""
    for _ in range(5):
        capture.write("x" * LINE_LIMIT)
    assert [len(each) for each in words(said)] == [2 * LINE_LIMIT, 2 * LINE_LIMIT]


def test_bytes_are_printed_as_text(capture: Capture, said: list[Said]) -> None:
    """What is no text is spelled out."""
    capture.buffer.write(b"h\xc3\xa4\xff\n")
    assert words(said) == ["hä\\xff"]


def test_the_descriptor_stays_for_child_processes(tmp_path: Path) -> None:
    """A process that a mod starts writes straight through."""
    with (tmp_path / "out").open("w+") as stream:
        capture = Capture(stream, lambda line: None)
        subprocess.run([sys.executable, "-c", "print('child')"], stdout=capture, check=True)
        assert (tmp_path / "out").read_text() == "child\n"
    assert not capture.isatty()


def test_the_streams_are_given_back(said: list[Said]) -> None:
    """Also after an error, and what was not ended is told."""
    before = sys.stdout, sys.stderr, sys.breakpointhook

    def fail() -> None:
        with captured(said.append):
            print("out", end="")
            sys.stderr.write("err\n")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert (sys.stdout, sys.stderr, sys.breakpointhook) == before
    assert words(said) == ["err", "out"]


def test_many_threads_print_whole_lines(capture: Capture, said: list[Said]) -> None:
    """Each of a thousand lines is told once."""

    def speak(number: int) -> None:
        with In(f"mod{number} v1"):
            for line in range(100):
                print(f"{number}:{line}", file=capture)

    threads = [threading.Thread(target=speak, args=(number,)) for number in range(10)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(words(said)) == sorted(f"{number}:{line}" for number in range(10) for line in range(100))


@pytest.mark.parametrize(
    ("logger", "told"),
    [
        ("mods.wiki.mod", "saved"),
        ("mods.wiki.pages", "saved"),
        ("root", "saved"),
        ("httpx", "httpx: saved"),
        ("mods.wikipedia", "mods.wikipedia: saved"),
    ],
)
def test_a_library_that_a_mod_uses_is_named_besides(said: list[Said], logger: str, told: str) -> None:
    """The mod's own modules are what its name says already."""
    record = logging.LogRecord(logger, logging.INFO, "f.py", 1, "saved", (), None)
    with In("wiki v2"):
        LogLines(said.append).handle(record)
    assert said == [Said("wiki v2", "info", told)]


def test_structured_logging_comes_as_words_and_fields(tmp_path: Path) -> None:
    """A mod's structlog is shown as lines of the console, its values behind the words; no one has to configure it."""
    program = """
import io, logging, sys
import structlog
from devserver.ui.capture import captured
from devserver.ui.console import Console
from devserver.ui.log import LogLines

console = Console(sys.__stdout__, environ={})
logging.basicConfig(level="INFO", handlers=[LogLines(console.log)], force=True)
with captured(console.log):
    structlog.get_logger().info("first")
    structlog.get_logger("mods.wiki").info("page saved", page="/a", size=3)
    structlog.get_logger("mods.wiki").debug("hidden")
console.close(10)
"""
    path = tmp_path / "program.py"
    path.write_text(program)
    done = subprocess.run([sys.executable, path], capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()
    assert "first" in first
    assert second.partition(" ")[2] == "mods.wiki | info: page saved page=/a size=3"


def test_levels_go_round() -> None:
    """From the default on, each is reached; an unknown one leads back to the default."""
    levels = ["info"]
    for _ in range(4):
        levels.append(next_level(levels[-1]))
    assert levels == ["info", "debug", "warning", "error", "info"]
    assert next_level("critical") == "info"


async def test_a_task_that_a_handler_started_prints_under_its_name(capture: Capture, said: list[Said]) -> None:
    """Whose code runs is known from the context, which tasks inherit."""

    async def later() -> None:
        print("later", file=capture)

    with In("wiki v2"):
        task = asyncio.create_task(later())
    await task
    assert said == [Said("wiki v2", "print", "later")]


def test_a_question_is_kept_on_one_row() -> None:
    """On a narrow terminal its beginning and what is typed stay; a second row could not be wiped again."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    console = Console(stream, color=False, width_of=lambda: 20, environ={})
    console.ask("which mod? 1 analytics  2 messaging (Esc cancels): wi")
    console.close(10)
    assert stream.getvalue() == "\r\x1b[Kwhich mod…cels): wi\r\x1b[K"
