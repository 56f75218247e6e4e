"""What may go wrong with pins, each told for what it is; the server's own mods go on."""

from __future__ import annotations

from types import SimpleNamespace

from replay_mods import COUNTER

from devserver.model.change import UnloadAsked
from devserver.model.facts import PinResult
from devserver.server import replays

LARGE = """
from devserver import BaseMod, Event, EventResponse, mod_event_handler


class LargeMod(BaseMod):
    @mod_event_handler("large.get")
    def get(self, event: Event):
        self.state["asked"] = self.state.get("asked", 0) + 1
        return EventResponse(True, "", {"text": "x" * 300_000})
"""


async def test_a_large_answer_is_compared_by_its_digest_and_a_state_that_does_not_fit_is_what_it_raises(pinning):
    """A change anywhere in it is one difference; a handler that cannot use the state has failed."""
    async with pinning(large=LARGE) as net:
        made = await net.replays.pin(await net.send("large.get"))
        assert made["accepted"]["data"].startswith("300,011 bytes, SHA-256 ")
        told = await net.saved("mods/large.py", LARGE.replace('"x" * 300_000', '"x" * 299_999 + "y"'))
        assert [[each.path for each in pin.differences] for pin in told.pins] == [["answer.data"]]
        told = await net.saved(
            "mods/large.py", LARGE.replace('self.state.get("asked", 0) + 1', 'self.state["asked"][0]')
        )
        raised = [each for pin in told.pins for each in pin.differences if each.path == "raised[0]"]
        assert raised[0].after["kind"] == "TypeError"


async def test_pins_that_do_not_come_to_their_turn_are_counted_and_saves_that_come_faster_are_one(pinning, monkeypatch):
    """The last save counts, also one that comes while pins are run: nothing is told of the one before, and no pin is
    run until saves pause. A pin that has differed is the first one to be run."""
    async with pinning(counter=COUNTER, large=LARGE) as net:
        for name in ("one", "two"):
            await net.replays.pin(await net.send("count.up", {"name": "a"}), name=name)
        await net.replays.pin(await net.send("large.get"), name="large")
        first = await net.save("mods/counter.py", "\n" + COUNTER)
        second = await net.save("mods/counter.py", "\n\n" + COUNTER)
        net.replays.saved(first)
        told = await net.told_of(second)
        assert (told.of, len(told.pins), told.skipped) == (3, 3, 1)

        asked, runs = net.host.ask, []

        async def ask(code, config, message, seconds):
            runs.append(message)
            if len(runs) == 1:
                net.replays.saved(await net.save("mods/large.py", "\n" + LARGE))
            return await asked(code, config, message, seconds)

        async def sleep(seconds):
            assert seconds == replays.PAUSE_SECONDS
            pauses.append(len(runs))
            if len(pauses) < 3:
                net.replays.saved(await net.save("mods/counter.py", COUNTER.replace('"counted"', f'"{len(pauses)}"')))

        pauses = []
        monkeypatch.setattr(net.host, "ask", ask)
        monkeypatch.setattr(replays, "asyncio", SimpleNamespace(sleep=sleep))
        told = await net.saved("mods/counter.py", "\n\n\n" + COUNTER)
        assert pauses == [1, 1, 1]
        assert (told.mods, told.skipped) == ({"counter": 6, "large": 2}, 3)
        assert (len(told.pins), told.count(PinResult.DIFFERS)) == (3, 2)
        monkeypatch.setattr(replays, "SAVE_SECONDS", 0.0)
        told = await net.saved("mods/counter.py", "\n\n\n\n" + COUNTER)
        assert (told.of, [pin.name for pin in told.pins]) == (3, ["one"])


async def test_a_pin_whose_mod_is_gone_says_so(pinning):
    """It is there again with the mod."""
    async with pinning(counter=COUNTER, large=LARGE) as net:
        await net.replays.pin(await net.send("count.up", {"name": "a"}))
        await net.network.submit(UnloadAsked("counter"))
        told = await net.saved("mods/large.py", "\n" + LARGE)
        assert [(pin.result, pin.why) for pin in told.pins] == [(PinResult.CANNOT, "no mod handles count.up")]
