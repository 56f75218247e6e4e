"""What a save costs as networks grow: counted are calls, never times."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from workspaces import Workspace

import devserver
from devserver.model.facts import Ready
from devserver.server.contracts import Contracts
from devserver.server.log_ahead import LogAhead

FEW, MORE = 5, 65
A_MOD = 8
"""The most calls of ours in a save for each mod that it does not concern: tables of what runs are made anew."""
MOD = """\
from devserver import BaseMod, EventResponse, mod_event_handler

VERSION = {version}

class Mod(BaseMod):
    @mod_event_handler("{name}.page.get")
    def get(self, event):
        return EventResponse(True, data={{"version": VERSION}})
"""


@contextmanager
def counted() -> Iterator[list[int]]:
    """Count the calls of functions of `devserver`, on this thread."""
    top, count = str(Path(devserver.__file__).parent), [0]

    def note(frame: FrameType, event: str, argument: object) -> None:
        count[0] += event == "call" and frame.f_code.co_filename.startswith(top)

    sys.setprofile(note)
    try:
        yield count
    finally:
        sys.setprofile(None)


async def test_a_save_asks_nothing_of_mods_that_it_does_not_concern(work: Workspace) -> None:
    """Neither the plan, the swap, nor what is told afterwards: lost events, and whether the new code may log."""
    names = [f"mod{number}" for number in range(MORE)]
    for name in names:
        work.write(f"mods/{name}.py", MOD.format(name=name, version=1))
    network = await work.start(*(f"mods.{each}" for each in names[:FEW]))
    ahead = LogAhead(network, lambda: None)
    contracts = Contracts(network, network.record(), tell=lambda fact: None, begin=lambda later: later.close())
    ahead.note(Ready("http://127.0.0.1:8700", (), 1.0, ()))

    async def cost(version: int) -> int:
        # The first save fills what is remembered.
        for each in (version, version + 1):
            with counted() as count:
                done = await work.save("mods/mod0.py", MOD.format(name="mod0", version=each))
                ahead.note(done)
                contracts.note(done)
        return count[0]

    few = await cost(2)
    await work.save_yaml(*(f"mods.{each}" for each in names))
    more = await cost(4)
    assert more - few <= A_MOD * (MORE - FEW), (few, more)
