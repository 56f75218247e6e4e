"""Every way that a handler's code can end is an error of its mod: named, counted, and told to the sender."""

from __future__ import annotations

import asyncio

import pytest
from workspaces import Workspace

WAYS = [
    "GeneratorExit()",
    "SystemExit(3)",
    "KeyboardInterrupt()",
    "StopIteration(1)",
    "StopAsyncIteration()",
    "asyncio.CancelledError()",
    "BaseException('bare')",
    "BaseExceptionGroup('many', [GeneratorExit()])",
    "MemoryError()",
    "RecursionError()",
]

ENDS = """
    @mod_event_handler("end.async.get")
    async def later(self, event):
        await asyncio.sleep(0)
        raise {way}

    @mod_event_handler("end.sync.get")
    def at_once(self, event):
        raise {way}
"""


@pytest.mark.parametrize("way", WAYS)
async def test_whatever_a_handler_raises_is_its_mods_error(work: Workspace, way: str) -> None:
    """The answer names the mod, the mod counts it, and the next event is served."""
    work.mod("end", ENDS.format(way=way), "import asyncio")
    await work.start("mods.end", home="thread")
    for number, name in enumerate(("end.async.get", "end.sync.get"), 1):
        async with asyncio.timeout(60):
            answer = await work.ask(name)
        assert (answer.success, answer.data) == (False, {"code": "mod_error", "mod_id": "end"})
        (mod,) = work.net.mods()
        assert mod["errors"] == number


@pytest.mark.parametrize("way", ["GeneratorExit()", "BaseException('bare')"])
@pytest.mark.parametrize("kind", ["def", "async def"])
async def test_whatever_a_hook_raises_fails_its_load(work: Workspace, way: str, kind: str) -> None:
    """The others are loaded, and the network goes on."""
    work.mod(
        "ends",
        f"""
    {kind} initialize(self):
        raise {way}
    """,
    )
    work.mod("good", "pass")
    await work.start("mods.ends", "mods.good", home="thread")
    assert [each["mod_id"] for each in work.net.mods()] == ["good"]


@pytest.mark.parametrize(
    ("head", "body"), [("raise GeneratorExit()", "pass"), ("", "def __init__(self, *a): raise GeneratorExit()")]
)
async def test_an_import_or_a_constructor_that_ends_oddly_fails_its_load(work: Workspace, head: str, body: str) -> None:
    """Nothing of it runs, and the next mod is loaded."""
    work.mod("ends", body, head)
    work.mod("good", "pass")
    await work.start("mods.ends", "mods.good", home="thread")
    assert [each["mod_id"] for each in work.net.mods()] == ["good"]
