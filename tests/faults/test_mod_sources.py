"""Sources that no mod should have: each is one clear error, at a load and at a reload, or always the same choice."""

from __future__ import annotations

from pathlib import Path

import pytest
from workspaces import Workspace, served

from devserver.model.facts import Status

IMPORTS = "from devserver import BaseMod, EventResponse, mod_event_handler\n"
CLASS = f"{IMPORTS}class BadMod(BaseMod):\n"
PLAIN = f"{CLASS}    pass\n"
HANDLER = "    def f(self, event): ...\n"

BAD: dict[str, tuple[bytes, str]] = {
    "a line of five megabytes": (f"{PLAIN}x = '{'y' * 5_000_000}'\n".encode(), "larger than 4 MiB"),
    "null bytes": (PLAIN.encode() + b"x = 1\0\n", "null bytes at mods/bad.py:4"),
    "latin-1 without a word": (PLAIN.encode() + "x = 'é'\n".encode("latin-1"), "can't decode byte 0xe9"),
    "an encoding that there is not": (b"# coding: nonsense\n" + PLAIN.encode(), "unknown encoding: nonsense"),
    "UTF-16": (PLAIN.encode("utf-16"), "SyntaxError"),
    "tabs and spaces": (f"{PLAIN}def f():\n\tif 1:\n        x = 1\n\ty = 2\n".encode(), "TabError"),
    "a future that never comes": (b"from __future__ import nope\n" + PLAIN.encode(), "future feature nope"),
    "nothing": (b"", "defines no mod"),
    "no class": (b"x = 1\n", "defines no mod"),
    "only another's class": (b"from mods.echo import EchoMod\n", "defines no mod"),
    "two classes of which none has its name": (
        f"{IMPORTS}class AMod(BaseMod):\n    pass\nclass BMod(BaseMod):\n    pass\n".encode(),
        "defines several mods (AMod, BMod): name one BadMod",
    ),
    "an abstract class": (
        f"import abc\n{IMPORTS}class BadMod(BaseMod, abc.ABC):\n    @abc.abstractmethod\n{HANDLER}".encode(),
        "defines no mod",
    ),
    "a metaclass that makes no instance": (
        f"{IMPORTS}class M(type(BaseMod)):\n    def __call__(cls, *a, **k):\n        raise RuntimeError('none')\n"
        "class BadMod(BaseMod, metaclass=M):\n    pass\n".encode(),
        "RuntimeError: none at mods/bad.py:4",
    ),
    "a metaclass that makes no class": (
        f"{IMPORTS}class M(type(BaseMod)):\n    def __new__(m, *a, **k):\n        raise RuntimeError('none')\n"
        "class BadMod(BaseMod, metaclass=M):\n    pass\n".encode(),
        "RuntimeError: none at mods/bad.py:4",
    ),
    "files to watch that are no list": (f"{CLASS}    watch = 5\n".encode(), "watch is 5; it is a list of patterns"),
    "requirements that are no list": (f"{CLASS}    requires = 5\n".encode(), "requires is 5"),
    "an endless pattern": (
        f"{CLASS}    @mod_event_handler('{'x' * 10_000}')\n{HANDLER}".encode(),
        "at most 200 characters",
    ),
    "no pattern": (
        f"{CLASS}    @mod_event_handler('')\n{HANDLER}".encode(),
        "a pattern is a non-empty text",
    ),
}

ODD: dict[str, tuple[str, str]] = {
    "form feeds": (f"\f{PLAIN}\f\ndef f():\n    return 1\n", "BadMod"),
    "two classes of which one has its name": (f"{PLAIN}class WorseMod(BaseMod):\n    pass\n", "BadMod"),
    "a class of another name": (f"{IMPORTS}class Something(BaseMod):\n    pass\n", "Something"),
    "an imported base": ("from mods.echo import EchoMod\nclass BadMod(EchoMod):\n    pass\n", "BadMod"),
    "attributes that mean something else": (f"{CLASS}    _event_handlers = 5\n    mod_id = 5\n", "BadMod"),
}


def write(work: Workspace, source: bytes) -> Path:
    """The source of the mod."""
    file = work.folder / "mods" / "bad.py"
    file.write_bytes(source)
    return file


@pytest.mark.parametrize("case", BAD)
async def test_a_bad_source_is_one_error_and_harms_nobody(work: Workspace, case: str) -> None:
    """At a load there is no such mod; at a reload the one that ran runs on; corrected, it is served."""
    source, said = BAD[case]
    work.mod("echo", served("echo", 1))
    await work.start("mods.echo")
    write(work, source)
    answer = await work.net.load_mod("mods.bad")
    assert not answer.success and said in answer.message and len(answer.message) < 1000
    assert work.running() == {"echo": 1}
    work.mod("bad", served("bad", 1))
    assert (await work.net.load_mod("mods.bad")).success
    (outcome,) = (await work.saved(write(work, source))).outcomes
    assert (outcome.status, outcome.generation) == (Status.ROLLED_BACK, 1)
    assert outcome.error is not None and said in f"{outcome.error.kind}: {outcome.error}"
    assert await work.version("bad") == 1
    assert (await work.save_mod("bad", served("bad", 2))).outcomes[0].status is Status.APPLIED
    assert await work.version("bad") == 2


@pytest.mark.parametrize("case", ODD)
async def test_an_odd_source_is_taken_for_what_it_is(work: Workspace, case: str) -> None:
    """Each time for the same."""
    source, name = ODD[case]
    work.mod("echo", served("echo", 1))
    await work.start("mods.echo")
    write(work, source.encode())
    for _ in range(2):
        assert (await work.net.load_mod("mods.bad")).success
        assert type(work.instance("bad")).__name__ == name
        assert (await work.net.unload_mod("bad")).success


async def test_a_file_that_everybody_may_write_is_not_loaded(work: Workspace) -> None:
    """Another user of the machine could have written it; the answer says what helps."""
    work.mod("echo", served("echo", 1))
    await work.start("mods.echo")
    write(work, PLAIN.encode()).chmod(0o666)
    answer = await work.net.load_mod("mods.bad")
    assert not answer.success and "chmod o-w" in answer.message
    (work.folder / "mods" / "bad.py").chmod(0o644)
    assert (await work.net.load_mod("mods.bad")).success
