"""A reload can be undone: the code before it, and the state it had."""

from __future__ import annotations

from pathlib import Path

import pytest

from devserver import AgentNetwork, Event
from devserver.config.network_yaml import read_network
from devserver.loader.moving import MOST_REMEMBERED
from devserver.model.change import ConfigChanged, FilesChanged, ReloadAsked, UndoAsked
from devserver.model.facts import PlanDone, Status
from devserver.sources.files import sources_now

MOD = """
from dataclasses import dataclass

from devserver import BaseMod, EventResponse, mod_event_handler
from mods.words import WORD


@dataclass
class Count:
    value: int = 0


class TallyMod(BaseMod):
    @mod_event_handler("tally.add")
    def add(self, event):
        count = self.state.setdefault("count", Count())
        assert isinstance(count, Count)
        count.value += 1
        return EventResponse(True, "", {"code": VERSION, "word": WORD, "count": count.value})
"""


@pytest.fixture
async def network(tmp_path: Path):
    (tmp_path / "mods").mkdir()
    write(tmp_path, 1)
    (tmp_path / "mods" / "words.py").write_text("WORD = 'one'\n")
    (tmp_path / "network.yaml").write_text("network:\n  name: undo\n  mods:\n    - name: mods.tally\n")
    network = AgentNetwork.load(tmp_path)
    await network.initialize()
    yield network
    await network.shutdown()


def write(folder: Path, version: int) -> None:
    (folder / "mods" / "tally.py").write_text(MOD.replace("VERSION", str(version)))


async def add(network: AgentNetwork) -> dict[str, object]:
    answer = await network.process_event(Event(event_name="tally.add", source_id="ana"))
    assert answer.success, answer.message
    assert answer.data is not None
    return answer.data


async def undo(network: AgentNetwork, *mods: str) -> PlanDone:
    return await network.submit(UndoAsked(mods))


async def test_undo_brings_back_the_code_and_the_state_before_the_last_reload(network: AgentNetwork) -> None:
    """What happened since the swap is gone, and the generation has a number of its own."""
    await add(network)
    write(network.workspace, 2)
    await network.reload_mod("tally")
    assert await add(network) == {"code": 2, "word": "one", "count": 2}

    done = await undo(network, "tally")

    assert [each.status for each in done.outcomes] == [Status.APPLIED]
    assert "state restored" in done.outcomes[0].note
    assert await add(network) == {"code": 1, "word": "one", "count": 2}
    assert network.running_mods()["tally"]["generation"] == 3


async def test_undo_twice_goes_two_generations_back_and_redo_comes_forward(network: AgentNetwork) -> None:
    """Each says which generation's code it is again, and that the disk has something else."""
    for version in (2, 3):
        write(network.workspace, version)
        await network.reload_mod("tally")
    codes, reasons = [], []
    for redo in (False, False, True, True):
        done = await network.submit(UndoAsked(redo=redo))
        codes.append((await add(network))["code"])
        reasons.append(done.outcomes[0].reason)
    assert codes == [2, 1, 2, 3]
    assert reasons == [
        "undone: v2 again, mods/tally.py on disk differs",
        "undone: v1 again, mods/tally.py on disk differs",
        "redone: v2 again, mods/tally.py on disk differs",
        "redone: v3 again",
    ]


async def test_a_save_that_only_moved_code_is_not_in_the_way_of_an_undo(network: AgentNetwork) -> None:
    """A comment replaced no code: an undo after it goes back to the code before the last change of code, and forth."""
    write(network.workspace, 2)
    await network.submit(FilesChanged(sources_now([network.workspace / "mods" / "tally.py"])))
    file = network.workspace / "mods" / "tally.py"
    for _ in range(2):
        file.write_text("# a comment\n" + file.read_text())
        await network.submit(FilesChanged(sources_now([file])))
    assert (await add(network))["code"] == 2
    assert [each.status for each in (await undo(network)).outcomes] == [Status.APPLIED]
    assert (await add(network))["code"] == 1
    await network.submit(UndoAsked((), redo=True))
    assert (await add(network))["code"] == 2


async def test_beyond_the_first_generation_and_the_last_undo_there_is_nothing(network: AgentNetwork) -> None:
    """Both say so, and what runs keeps running; after a new reload there is nothing to redo."""
    write(network.workspace, 2)
    await network.reload_mod("tally")
    await undo(network)
    assert "nothing to undo" in (await undo(network)).outcomes[0].reason
    assert "no further reload of tally can be undone; v" in (await undo(network, "tally")).outcomes[0].reason
    file = network.workspace / "mods" / "tally.py"
    write(network.workspace, 1)
    file.write_text("# a comment\n" + file.read_text())
    await network.submit(FilesChanged(sources_now([file])))
    for names in ((), ("tally",)):
        assert "(a save of comments alone replaces no code)" in (await undo(network, *names)).outcomes[0].reason
    write(network.workspace, 3)
    await network.reload_mod("tally")
    assert "nothing to redo" in (await network.submit(UndoAsked(redo=True))).outcomes[0].reason
    assert (await add(network))["code"] == 3


async def test_undo_without_a_name_takes_the_latest_change_of_any_mod(network: AgentNetwork) -> None:
    """And then the one before it, of another mod."""
    write_other(network.workspace, 1)
    await network.load_mod("mods.other")
    write(network.workspace, 2)
    await network.reload_mod("tally")
    write_other(network.workspace, 2)
    await network.reload_mod("other")
    undone = [[each.mod_id for each in (await undo(network)).outcomes] for _ in range(2)]
    assert undone == [["other"], ["tally"]]


async def test_a_state_goes_back_two_generations_with_objects_of_the_first(network: AgentNetwork) -> None:
    """Also one that was not in the state any more when the second one came."""
    await add(network)
    write(network.workspace, 2)
    await network.reload_mod("tally")
    await add(network)
    del state_of(network)["count"]
    write(network.workspace, 3)
    await network.reload_mod("tally")
    await undo(network)
    assert "count" not in state_of(network)
    await undo(network)
    assert await add(network) == {"code": 1, "word": "one", "count": 2}


async def test_what_is_newer_on_disk_is_known_until_it_runs(network: AgentNetwork) -> None:
    """After an undo the source is named; after a reload it is not."""
    write(network.workspace, 2)
    await network.reload_mod("tally")
    newer = network.engine.knowledge.newer_on_disk
    assert newer() == {}
    await undo(network)
    assert newer() == {"tally": (network.workspace / "mods" / "tally.py",)}
    await network.reload_mod("tally")
    assert newer() == {}


async def test_undo_takes_back_a_helper_too(network: AgentNetwork) -> None:
    """The modules that the reload executed come back with the mod."""
    (network.workspace / "mods" / "words.py").write_text("WORD = 'two'\n")
    await network.reload_mod("tally")
    assert (await add(network))["word"] == "two"
    await undo(network)
    assert (await add(network))["word"] == "one"


async def test_the_next_reload_serves_the_disk_again(network: AgentNetwork) -> None:
    """An undo holds until someone asks for what is on disk."""
    write(network.workspace, 2)
    await network.reload_mod("tally")
    await undo(network)
    await network.reload_mod("tally")
    assert (await add(network))["code"] == 2


async def test_without_a_reload_there_is_nothing_to_undo(network: AgentNetwork) -> None:
    """The first generation has none before it; it keeps running."""
    done = await undo(network, "tally")
    assert [each.status for each in done.outcomes] == [Status.SKIPPED]
    assert "can be undone" in done.outcomes[0].reason
    assert (await add(network))["code"] == 1


async def test_an_unknown_mod_cannot_be_undone(network: AgentNetwork) -> None:
    """The answer says which mods there are."""
    done = await undo(network, "talli")
    assert done.outcomes[0].status is Status.SKIPPED
    assert "tally" in done.outcomes[0].reason


async def test_a_state_comes_back_with_objects_that_cannot_be_copied(network: AgentNetwork) -> None:
    """Nothing is pickled: what a state held is in it again, the very objects."""
    await add(network)
    state = state_of(network)
    state["open"] = opened = (each for each in ())
    write(network.workspace, 2)
    await network.reload_mod("tally")
    await add(network)
    del state["open"]
    done = await undo(network)
    assert "state restored" in done.outcomes[0].note
    assert await add(network) == {"code": 1, "word": "one", "count": 2}
    assert state_of(network)["open"] is opened


async def test_a_state_that_is_too_large_stays_as_it_is(network: AgentNetwork) -> None:
    """The code goes back; the state goes on."""
    await add(network)
    state_of(network)["many"] = [[] for _ in range(MOST_REMEMBERED)]
    write(network.workspace, 2)
    await network.reload_mod("tally")
    await add(network)
    done = await undo(network)
    assert "state kept" in done.outcomes[0].note
    assert await add(network) == {"code": 1, "word": "one", "count": 3}


async def test_an_undo_that_fails_leaves_the_state_as_it_is(network: AgentNetwork) -> None:
    """What happened since the reload is still there when the code before it cannot be started any more."""
    (network.workspace / "mods" / "tally.py").write_text(MOD.replace("VERSION", "1") + STOPS)
    await network.reload_mod("tally")
    write(network.workspace, 2)
    await network.reload_mod("tally")
    await add(network)
    state_of(network)["stop"] = True
    done = await undo(network)
    assert [each.status for each in done.outcomes] == [Status.ROLLED_BACK]
    assert state_of(network)["stop"]
    assert await add(network) == {"code": 2, "word": "one", "count": 2}


STOPS = """
    def initialize(self):
        self.state.setdefault("started", []).append(1)
        if len(self.state["started"]) > 1:
            raise RuntimeError("once is enough")
"""


def state_of(network: AgentNetwork) -> dict[str, object]:
    slot = network.engine.registry.find("tally")
    assert slot is not None and slot.live is not None
    return slot.live.instance.state


OTHER = """
from devserver import BaseMod, EventResponse, mod_event_handler


class OtherMod(BaseMod):
    @mod_event_handler("other.ask")
    def ask(self, event):
        return EventResponse(True, "", {"code": VERSION, "most": self.config.get("most")})
"""


def write_other(folder: Path, version: int) -> None:
    (folder / "mods" / "other.py").write_text(OTHER.replace("VERSION", str(version)))


async def ask_other(network: AgentNetwork) -> dict[str, object]:
    answer = await network.process_event(Event(event_name="other.ask", source_id="ana"))
    assert answer.data is not None
    return answer.data


async def test_undo_takes_back_all_that_one_request_has_reloaded(network: AgentNetwork) -> None:
    """Mods that have nothing to do with each other are reloaded each for itself, and undone together."""
    write_other(network.workspace, 1)
    await network.load_mod("mods.other")
    write(network.workspace, 2)
    write_other(network.workspace, 2)
    done = await network.submit(ReloadAsked())
    assert len(done.plan.groups) == 2
    assert ((await add(network))["code"], (await ask_other(network))["code"]) == (2, 2)
    done = await undo(network)
    assert [each.status for each in done.outcomes] == [Status.APPLIED] * 2
    assert ((await add(network))["code"], (await ask_other(network))["code"]) == (1, 1)
    await network.submit(UndoAsked(redo=True))
    assert ((await add(network))["code"], (await ask_other(network))["code"]) == (2, 2)


async def test_undo_takes_back_what_was_applied_of_a_request_and_no_earlier_one(network: AgentNetwork) -> None:
    """Of two mods one failed to reload: the other goes back alone."""
    write_other(network.workspace, 1)
    await network.load_mod("mods.other")
    write_other(network.workspace, 2)
    await network.reload_mod("other")
    write(network.workspace, 2)
    (network.workspace / "mods" / "other.py").write_text("def broken(:\n")
    await network.submit(ReloadAsked())
    done = await undo(network)
    assert [(each.mod_id, each.status) for each in done.outcomes] == [("tally", Status.APPLIED)]
    assert ((await add(network))["code"], (await ask_other(network))["code"]) == (1, 2)


def network_yaml(folder: Path, *entries: str) -> ConfigChanged:
    text = "network:\n  name: undo\n  mods:\n" + "".join(f"    - {each}\n" for each in entries)
    (folder / "network.yaml").write_text(text)
    return ConfigChanged(read_network(folder / "network.yaml"))


async def test_undo_says_what_it_cannot_take_back_of_a_change_of_network_yaml(network: AgentNetwork) -> None:
    """Not that nothing was reloaded: each thing by name. What was reloaded before that stays."""
    write_other(network.workspace, 1)
    write(network.workspace, 2)
    await network.reload_mod("tally")
    await network.submit(network_yaml(network.workspace, "name: mods.tally", "name: mods.other"))
    asked = "{name: mods.other, config: {most: 2}}"
    await network.submit(network_yaml(network.workspace, asked))
    done = await undo(network)
    assert [(each.status, each.reason) for each in done.outcomes] == [
        (
            Status.SKIPPED,
            "not undone: unloaded tally, reloaded other (config.most unset → 2); undo takes back reloads of code "
            "alone: change network.yaml back, or load and unload by name",
        )
    ]
    assert await ask_other(network) == {"code": 1, "most": 2}


async def test_a_change_that_came_to_nothing_leaves_what_can_be_undone(network: AgentNetwork) -> None:
    """A failed reload is no change, and neither is a network.yaml that says the same."""
    write(network.workspace, 2)
    await network.reload_mod("tally")
    (network.workspace / "mods" / "tally.py").write_text("def broken(:\n")
    await network.reload_mod("tally")
    await network.submit(network_yaml(network.workspace, "name: mods.tally"))
    done = await undo(network)
    assert [each.status for each in done.outcomes] == [Status.APPLIED]
    assert (await add(network))["code"] == 1
