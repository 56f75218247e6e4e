"""The quick start, as it is written in the README, on a copy of the sample network."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import chdir, contextmanager
from pathlib import Path

import pytest
from workspaces import without_mods

from devserver import AgentNetwork, Event

ROOT = Path(__file__).resolve().parents[1]


@contextmanager
def sample(folder: Path) -> Iterator[None]:
    """Be in a copy of the sample network, with the mods that no one has imported yet."""
    shutil.copytree(ROOT / "mods", folder / "mods", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "network.yaml", folder)
    with without_mods(), chdir(folder):
        yield


@pytest.fixture
async def network(tmp_path: Path) -> AsyncIterator[AgentNetwork]:
    """The sample network, running."""
    with sample(tmp_path):
        network = AgentNetwork.load("network.yaml")
        await network.initialize()
        yield network
        await network.shutdown()


def edit(file: Path, old: str, new: str) -> None:
    """Save a file with something in it replaced."""
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


async def test_the_quick_start_runs_as_written(tmp_path: Path) -> None:
    """Load, configure, count, unload, and load by an event: each does what it says."""
    with sample(tmp_path):
        network = AgentNetwork.load("network.yaml")
        assert await network.initialize()
        assert network.get_network_stats()["dynamic_mods"]["count"] == 0
        listed = len(network.running_mods())

        loaded = await network.load_mod("mods.heavy_analytics")
        assert (loaded.success, loaded.message) == (True, "Successfully loaded mod: heavy_analytics")
        second = await network.load_mod("mods.messaging_v2", config={"public": True})
        assert second.success
        assert second.data is not None
        assert {key: second.data[key] for key in ("mod_id", "mod_path", "generation")} == {
            "mod_id": "messaging_v2",
            "mod_path": "mods.messaging_v2",
            "generation": 1,
        }

        mods = network.get_loaded_mods()
        assert network.get_network_stats()["dynamic_mods"]["count"] == 2 == len(mods)
        assert len(network.running_mods()) == listed + 2
        assert mods["messaging_v2"]["config"] == {"public": True}

        assert (await network.unload_mod("heavy_analytics")).success
        assert "heavy_analytics" not in network.get_loaded_mods()
        by_event = Event(
            event_name="system.mod.load", source_id="agent:admin", payload={"mod_path": "mods.heavy_analytics"}
        )
        answer = await network.process_external_event(by_event)
        assert answer.success
        assert answer.data is not None
        assert (answer.data["mod_id"], answer.data["generation"]) == ("heavy_analytics", 2)
        assert "heavy_analytics" in network.get_loaded_mods()

        await network.shutdown()
        assert network.running_mods() == {}


async def test_every_enabled_mod_of_the_sample_runs(network: AgentNetwork) -> None:
    """What the sample lists is what runs, in its order."""
    wanted = [each.path for each in network.config.enabled_mods]
    assert [each["mod_path"] for each in network.running_mods().values()] == wanted


async def test_a_mod_of_the_sample_answers_after_an_edit_as_its_source_says(network: AgentNetwork) -> None:
    """Edit a mod, ask for a reload: the new code answers, under the next generation."""
    await network.load_mod("mods.heavy_analytics", {"rows": 1000})
    edit(Path("mods/heavy_analytics/mod.py"), 'version = "1.0"', 'version = "1.1"')
    answer = await network.reload_mod("heavy_analytics")
    assert answer.success
    mod = network.running_mods()["heavy_analytics"]
    assert (mod["version"], mod["generation"]) == ("1.1", 2)


async def test_an_unloaded_mod_answers_nothing(network: AgentNetwork) -> None:
    """After an unload by its short id a mod is really gone: no one answers its events any more."""
    await network.register_agent("ana")
    ask = {"event_name": "wiki.pages.list", "source_id": "ana"}
    assert (await network.process_event(Event(**ask))).data is not None
    await network.unload_mod("wiki")
    assert "no mod handles it" in (await network.process_event(Event(**ask))).message
