"""Pins: an event is pinned, its mod is saved, and what it does otherwise is told."""

from __future__ import annotations

import json
import stat

import pytest
from replay_mods import CHANCE, COUNTER, NOTES

from devserver.errors import DevServerError
from devserver.model.facts import PinResult
from devserver.model.observation import Differs
from devserver.server import replays
from devserver.ui.glyphs import RICH
from devserver.ui.replay_lines import brief, pace_words

NOISE_SECONDS = replays.NOISE_SECONDS


async def with_agents(net) -> None:
    for each in ("ana", "charlie", "critic"):
        await net.network.register_agent(each)


async def test_a_pin_says_what_the_event_does_and_what_is_noise(pinning, monkeypatch):
    """Ids, times also where they are whole seconds, and state that is keyed by a random id; nothing else."""
    monkeypatch.setattr(replays, "NOISE_SECONDS", NOISE_SECONDS)
    async with pinning(notes=NOTES) as net:
        await with_agents(net)
        made = await net.replays.pin(await net.send("notes.add", {"title": "milk"}))
        assert (made["name"], made["generations"]) == (f"notes.add-{made['number']}", {"notes": 1})
        assert made["noise"] == ["answer.data.at", "answer.data.id", "answer.data.of", "state.notes.byid{}"]
        assert made["state"] == {"notes": {"keys": 2}}
        assert made["accepted"]["told"] == {
            "ana": ("notes.added",),
            "charlie": ("notes.added", "notes.counted"),
            "critic": ("notes.added",),
        }


async def test_saves_that_move_lines_leave_all_the_same(pinning):
    """Three of them."""
    async with pinning(notes=NOTES) as net:
        await with_agents(net)
        await net.replays.pin(await net.send("notes.add", {"title": "milk"}))
        for number in range(1, 4):
            told = await net.saved("mods/notes.py", "\n" * number + NOTES)
            assert [each.result for each in told.pins] == [PinResult.SAME], told


ADDED = 'await self.tell("notes.added", "agent:broadcast", title)'
COUNTED = 'await self.tell("notes.counted", "agent:charlie", number)'
CHANGES = [
    ("f'note {number}'".replace("'", '"'), 'f"Note {number}"', ["answer.message"]),
    ('{"number": number, **', '{"count": number, **', ["answer.data.number", "answer.data.count"]),
    ('{"number": number, **', '{"number": str(number), **', ["answer.data.number"]),
    ("EventResponse(True, f", "EventResponse(False, f", ["answer.success"]),
    (COUNTED, "pass", ["sends[1]", "told.charlie[1]"]),
    (
        COUNTED,
        COUNTED + '\n        await self.tell("notes.more", "agent:critic", number)',
        ["sends[2]", "told.critic[1]"],
    ),
    ('payload={"what": what}', 'payload={"what": what, "more": 1}', ["sends[0].payload.more", "sends[1].payload.more"]),
    ('"by": event.source.id', '"by": event.source.role', ["state.notes.notes.tea.by"]),
    (
        "number = len(notes) + 1",
        "number = 1 / 0",
        [f"answer.{what}" for what in ("success", "message", "data.number", "data.code", "data.mod_id")]
        + ["way[0][1]", "sends[0]", "sends[1]", *(f"told.{name}" for name in ("ana", "charlie", "critic"))]
        + ["state.notes", "raised[0]"],
    ),
    (
        'return EventResponse(True, f"note {number}"',
        'return None and EventResponse(True, f"note {number}"',
        ["answer.message", "answer.data.number", "answer.data.delivered", "way[0][1]"],
    ),
    (
        'title = event.payload["title"]',
        'title = event.payload["title"].upper()',
        ["sends[0].payload.what", "state.notes.notes.tea", "state.notes.notes.TEA"],
    ),
    (
        f"{ADDED}\n        {COUNTED}",
        f"{COUNTED}\n        {ADDED}",
        [f"sends[{place}].{what}" for place in (0, 1) for what in ("event_name", "destination", "payload.what")]
        + ["told.charlie[0]", "told.charlie[1]"],
    ),
]


async def test_a_planted_change_is_found_at_its_path_and_nothing_else(pinning):
    """A field, a type, an answer, a delivery too few or too many, the order, a payload, a state, an exception, way."""
    async with pinning(notes=NOTES) as net:
        await with_agents(net)
        await net.send("notes.add", {"title": "milk"})
        await net.replays.pin({"event_name": "notes.add", "source_id": "ana", "payload": {"title": "tea"}})
        for old, new, paths in CHANGES:
            assert old in NOTES
            told = await net.saved("mods/notes.py", NOTES.replace(old, new))
            (pin,) = told.pins
            assert pin.result is PinResult.DIFFERS, new
            assert [each.path for each in pin.differences] == paths, new


async def test_what_is_accepted_is_the_same_from_then_on_and_what_is_ignored_is_not_compared(pinning):
    """Both are a person's decision."""
    async with pinning(counter=COUNTER) as net:
        first = await net.replays.pin(await net.send("count.up", {"name": "x"}))
        changed = COUNTER.replace('"counted"', '"counted up"')
        assert (await net.saved("mods/counter.py", changed)).count(PinResult.DIFFERS) == 1
        await net.replays.accept(first["name"])
        assert (await net.saved("mods/counter.py", changed + "\nx = 1")).count(PinResult.SAME) == 1
        again = changed.replace('"times": self.times', '"times": 77')
        assert (await net.saved("mods/counter.py", again)).count(PinResult.DIFFERS) == 1
        await net.replays.ignore(first["name"], "answer.data.times")
        assert (await net.saved("mods/counter.py", again + "\nx = 1")).count(PinResult.SAME) == 1
        await net.replays.remove(str(first["number"]))
        assert net.replays.pins()["pins"] == []


async def test_what_failed_when_it_was_pinned_is_told_as_fixed(pinning):
    """The next save mends it."""
    async with pinning(counter=COUNTER) as net:
        number = await net.send("count.up", {})
        assert net.replays.latest_failed() == number
        await net.replays.key()
        told = await net.saved("mods/counter.py", COUNTER.replace('["name"]', '.get("name", "none")'))
        (pin,) = told.pins
        assert (pin.number, pin.result, pin.why) == (number, PinResult.FIXED, "KeyError 'name' → success")


async def test_a_pin_outlives_the_run(pinning):
    """As a file of this user alone, in plain data."""
    async with pinning(counter=COUNTER) as net:
        made = await net.replays.pin(await net.send("count.up", {"name": "x"}))
        file = net.folder / ".oa-dev" / "pins" / f"{made['name']}.json"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert json.loads(file.read_text())["state"] == {"counter": {"plain": {"counts": {"x": 1}}}}
        net.replays = net.made()
        assert (await net.saved("mods/counter.py", COUNTER + "\nx = 1")).count(PinResult.SAME) == 1


SECRET = "s3cret" * 8
KEEPS_A_SECRET = """
from devserver import BaseMod, Event, EventResponse, mod_event_handler


class VaultMod(BaseMod):
    def initialize(self):
        deep = {"given": "SECRET"}
        for name in "abcdefghij":
            deep = {name: deep}
        self.state["deep"] = deep

    @mod_event_handler("vault.open")
    def open(self, event: Event):
        return EventResponse(True, event.payload["key"], {"key": event.payload["key"], "state": dict(self.state)})
""".replace("SECRET", SECRET)


async def test_no_secret_of_the_run_is_in_a_pin_and_it_still_compares_the_rest(pinning):
    """Neither of the event, nor of a state at any depth, nor of the answer, nor of an agent."""
    async with pinning(vault=KEEPS_A_SECRET) as net:
        net.redactor.hide(SECRET)
        await net.network.register_agent("ana", {"note": f"Bearer {SECRET}"})
        made = await net.replays.pin(await net.send("vault.open", {"key": SECRET}))
        file = net.folder / ".oa-dev" / "pins" / f"{made['name']}.json"
        assert SECRET not in file.read_text() and SECRET not in json.dumps(made)
        assert made["noise"] == []
        assert file.read_text().count("[secret]") == 6
        assert (net.folder / ".oa-dev" / ".gitignore").read_text().startswith("*")
        told = await net.saved("mods/vault.py", KEEPS_A_SECRET.replace('{"key": event', '{"lock": event'))
        assert [[each.path for each in pin.differences] for pin in told.pins] == [
            ["answer.data.key", "answer.data.lock"]
        ]
        assert SECRET not in json.dumps(await net.replays.replay(made["number"]))
        assert SECRET not in (await net.replays.test(made["number"], None))["text"]


async def test_the_number_of_another_run_means_another_event(pinning):
    """A pin of that is known by its name alone."""
    async with pinning(counter=COUNTER) as net:
        number = await net.send("count.up", {"name": "x"})
        made = await net.replays.pin(number)
        net.replays = net.made()
        assert net.replays.numbers == {number}, "the recorder knows the event: as after a restart in place"
        file = net.folder / ".oa-dev" / "pins" / f"{made['name']}.json"
        file.write_text(file.read_text().replace(json.loads(file.read_text())["event"]["event_id"], "of-another-run"))
        net.replays = net.made()
        assert net.replays.numbers == set()
        again = await net.replays.pin(number)
        assert again["name"] == f"{made['name']}-2"
        assert (await net.replays.replay(number))["pin"] == again["name"]


async def test_a_state_of_own_classes_lives_until_the_run_ends(pinning):
    """It is never read from disk."""
    text = COUNTER + "\n\nclass Board:\n    pass\n"
    text = text.replace("self.times = 0", 'self.times = 0\n        self.state["board"] = Board()')
    async with pinning(counter=text) as net:
        made = await net.replays.pin(await net.send("count.up", {"name": "x"}))
        assert made["state"] == {"counter": {"lost": "key 'board' holds mods.counter.Board"}}
        assert (await net.saved("mods/counter.py", text + "\nx = 1")).count(PinResult.SAME) == 1
        net.replays = net.made()
        (pin,) = (await net.saved("mods/counter.py", text + "\nx = 2")).pins
        assert pin.result is PinResult.CANNOT
        assert pin.why.startswith("its state was that of an earlier run (counter: key 'board' holds mods.counter.Board")


async def test_both_generations_are_shown_beside_each_other(pinning):
    """On one state; what differs is named."""
    async with pinning(counter=COUNTER) as net:
        number = await net.send("count.up", {"name": "x"})
        await net.save("mods/counter.py", COUNTER.replace('"counted"', '"counted up"'))
        answer = await net.replays.replay(number, on="both")
        assert [(each["on"], each["seen"]["generations"]) for each in answer["runs"]] == [
            ("before", {"counter": 1}),
            ("now", {"counter": 2}),
        ]
        assert [each["path"] for each in answer["differences"]] == ["answer.message"]
        assert (await net.replays.replay(number, payload={"name": "y"}))["runs"][0]["seen"]["data"]["count"] == 1


async def test_an_event_is_sent_again_only_on_the_generations_that_were_seen(pinning):
    """For real."""
    async with pinning(counter=COUNTER) as net:
        number = await net.send("count.up", {"name": "x"})
        assert (await net.replays.send_again(number, None, {"counter": 1}))["data"]["count"] == 2
        with pytest.raises(DevServerError, match="counter v1 runs now"):
            await net.replays.send_again(number, None, {"counter": 7})


async def test_a_mod_that_needs_the_network_to_start_is_named(pinning):
    """The server's own goes on."""
    bind = 'import socket; line = socket.socket(); line.bind(("127.0.0.1", 0)); line.close(); self.times = 0'
    text = COUNTER.replace("self.times = 0", bind)
    async with pinning(counter=text) as net:
        number = await net.send("count.up", {"name": "x"})
        with pytest.raises(
            DevServerError, match=r"counter cannot be replayed: it wants socket.bind 127.0.0.1:0 to start"
        ):
            await net.replays.pin(number)


async def test_a_state_is_looked_at_one_level_at_a_time(pinning):
    """And what has changed since it was looked at last."""
    async with pinning(notes=NOTES) as net:
        await net.send("notes.add", {"title": "milk"})
        top = await net.replays.look("notes", "", None)
        assert [(each["key"], each["of"]) for each in top["items"]] == [("notes", 1), ("byid", 1)]
        assert (await net.replays.look("notes", "notes.milk.number", None))["value"] == 1
        await net.send("notes.add", {"title": "tea"})
        changed = await net.replays.look("notes", "", "look")
        assert changed["differences"][0]["steps"] == ["notes", "tea"]
        with pytest.raises(DevServerError, match="cannot be shown"):
            await net.replays.look("notes", "notes.nothing", None)


@pytest.mark.parametrize("what", [999_999, "nothing", {"event_name": "no"}, {"event_name": "a.b", "payload": 5}])
async def test_an_event_that_is_none_is_refused(pinning, what):
    """In a sentence."""
    async with pinning(counter=COUNTER) as net:
        with pytest.raises(DevServerError):
            await net.replays.replay(what)


async def test_a_pin_that_comes_to_two_results_on_the_same_code_is_unsteady(pinning):
    """A difference that shows once is none of a save; from the second flip on the pin is told apart."""
    async with pinning(chance=CHANCE, other=COUNTER) as net:
        side = net.folder / "side"
        side.write_text("heads")
        made = await net.replays.pin(await net.send("chance.take", {"file": str(side)}))
        found = []
        for number, what in enumerate(("tails", "heads", "tails"), start=1):
            side.write_text(what)
            told = await net.saved("mods/other.py", "\n" * number + COUNTER)
            found.append(told.pins[0].result)
        assert found == [PinResult.DIFFERS, PinResult.SAME, PinResult.UNSTEADY]
        (pin,) = net.replays.pins()["pins"]
        assert pin["flips"] == 2 and made["name"] in pin["last"]["why"]
        await net.replays.accept(made["name"])
        assert net.replays.pins()["pins"][0]["flips"] == 0


async def test_the_times_of_both_generations_are_compared(pinning):
    """As medians of some runs; where runs of both overlap, no ratio is told."""
    async with pinning(counter=COUNTER) as net:
        number = await net.send("count.up", {"name": "a"})
        await net.save("mods/counter.py", COUNTER.replace("self.times += 1", "sum(range(400_000)); self.times += 1"))
        answer = await net.replays.replay(number, on="both")
        before, now = answer["took_us"]["before"], answer["took_us"]["now"]
        assert pace_words({"before": [1000, 2000], "now": [1900, 4000]}).startswith("takes as long")
        assert pace_words({"before": [1000, 1100], "now": [2100, 2200]}).startswith("2.0x slower")
        assert len(before) == len(now) == 5 and now[2] > before[2] > 0


async def test_a_state_is_compared_with_that_of_before_the_last_reload(pinning):
    """Containers inside each other are as they were then, also those that were changed in place."""
    async with pinning(notes=NOTES) as net:
        with pytest.raises(DevServerError, match="no state of notes"):
            await net.replays.look("notes", "", "swap")
        await net.send("notes.add", {"title": "milk"})
        await net.save("mods/notes.py", NOTES + "\nmore = 1\n")
        await net.send("notes.add", {"title": "tea"})
        found = (await net.replays.look("notes", "", "swap"))["differences"]
        assert [each["steps"] for each in found if each["steps"][0] == "notes"] == [["notes", "tea"]]
        assert {each["kind"] for each in found} == {"added"}


def test_of_long_values_the_part_that_differs_is_shown():
    """Two sentences that begin alike would look the same when they are cut; short ones stay whole."""
    long = Differs("answer.message", f"{'a b ' * 20}before the end", f"{'a b ' * 20}after the end")
    assert brief((long,), RICH) == (
        'answer.message …a b a b a b a b a b before the end" → …a b a b a b a b a b after the end"'
    )
    assert brief((Differs("answer.message", "one", "two"),), RICH) == 'answer.message "one" → "two"'
