"""Events that meet a gate: none is lost, none is handled twice, none overtakes another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from doors import HEAD, Doors, slow
from workspaces import Workspace, served, until

from devserver import Event, EventResponse
from devserver.model.facts import Status


async def test_events_that_wait_for_a_mod_that_is_unloaded_go_on_to_the_next(
    work: Workspace, doors: Doors, at: str
) -> None:
    """They are offered to the mods after it, and to no one twice."""
    work.mod("first", slow("echo", 1), HEAD)
    work.mod("second", served("echo", 2))
    await work.start("mods.first", "mods.second", home=at, dev={"limits": {"drain": 20}})
    work.write("mods/helper.py", "VERSION = 1\n")
    slow_one = asyncio.create_task(work.ask("echo.slow.get"))
    await doors.reached("echo")
    unloading = asyncio.create_task(work.net.unload_mod("first"))
    await until(lambda: work.net.engine.registry.find("first").gate.shut)
    waiting = [asyncio.create_task(work.ask("echo.version.get")) for _ in range(5)]
    await until(lambda: work.net.get_network_stats()["events"] == 6)
    doors.opened.add("echo")
    assert (await unloading).success
    assert [(await each).data for each in waiting] == [{"version": 2, "asked": n} for n in range(1, 6)]
    assert (await slow_one).data == {"version": 1, "helper": 1}


async def test_no_more_events_are_held_than_network_yaml_allows(work: Workspace, doors: Doors, at: str) -> None:
    """Those that find the gate full are told to send again; those before it are answered."""
    work.mod("echo", slow("echo", 1), HEAD)
    work.write("mods/helper.py", "VERSION = 1\n")
    await work.start("mods.echo", home=at, dev={"limits": {"drain": 20, "held_events": 3}})
    in_flight = asyncio.create_task(work.ask("echo.slow.get"))
    await doors.reached("echo")
    reloading = asyncio.create_task(work.save_mod("echo", slow("echo", 2), HEAD))
    await until(lambda: work.net.engine.registry.find("echo").gate.shut)
    waiting = [asyncio.create_task(work.ask("echo.version.get")) for _ in range(5)]
    await until(lambda: sum(each.done() for each in waiting) == 2)
    doors.opened.add("echo")
    done, answers = await reloading, await asyncio.gather(*waiting)
    assert [each.success for each in answers] == [True, True, True, False, False]
    assert answers[-1].data == {"code": "held_events_full"}
    assert [(each.data or {})["version"] for each in answers[:3]] == [2, 2, 2]
    assert done.held.events == 3
    assert done.held.longest_ms > 0
    assert (await in_flight).data == {"version": 1, "helper": 1}


COUNTS = """
    @mod_event_handler("count.next")
    async def next(self, event):
        if event.payload["slow"]:
            await asyncio.sleep(0)
        self.state.setdefault("log", []).append(event.payload["n"])
        return {{"n": event.payload["n"], "version": {version}}}
"""


async def numbered(
    work: Workspace, at_once: int, enough: Callable[[int], bool], *, slow: bool = False
) -> list[EventResponse]:
    """The answers to events 0, 1, 2, … of one sender, so many of them under way at a time, until it is enough."""
    answers: list[EventResponse] = []
    while not enough(len(answers)):
        first = len(answers)
        payloads = ({"n": n, "slow": slow} for n in range(first, first + at_once))
        events = (Event(event_name="count.next", source_id="ana", payload=each) for each in payloads)
        answers += await asyncio.gather(*map(work.net.process_event, events))
    return answers


async def reload(work: Workspace, times: int) -> None:
    """Save and reload the counting mod so many times."""
    for version in range(1, times + 1):
        done = await work.save_mod("count", COUNTS.format(version=version))
        assert [each.status for each in done.outcomes] == [Status.APPLIED]


def _reloads(most: int, at: str) -> int:
    """How many reloads: on one loop each of them waits behind the events, and a fifth of them shows the same."""
    return most if at == "thread" else most // 5


async def test_reloads_lose_and_overtake_none_of_ten_thousand_events(work: Workspace, at: str) -> None:
    """Every event of a sender is answered once, in order, by the generation before or after each swap."""
    times = _reloads(50, at)
    work.mod("count", COUNTS.format(version=0))
    await work.start("mods.count", home=at)
    reloading = asyncio.create_task(reload(work, times))
    answers = await numbered(work, 20, lambda count: count >= 10_000 and reloading.done())
    await reloading
    expected = list(range(len(answers)))
    assert [(each.data or {}).get("n") for each in answers] == expected
    versions = [(each.data or {})["version"] for each in answers]
    assert versions == sorted(versions)
    assert work.instance("count").state["log"] == expected
    assert work.running() == {"count": times + 1}


async def test_reloads_in_the_middle_of_handlers_lose_no_event(work: Workspace, at: str) -> None:
    """Handlers that have begun at a swap answer all the same, and what they write into the state is kept."""
    work.mod("count", COUNTS.format(version=0))
    await work.start("mods.count", home=at)
    reloading = asyncio.create_task(reload(work, _reloads(15, at)))
    answers = await numbered(work, 50, lambda count: count >= 2_000 and reloading.done(), slow=True)
    await reloading
    expected = list(range(len(answers)))
    assert [(each.data or {}).get("n") for each in answers] == expected
    assert sorted(work.instance("count").state["log"]) == expected
