"""`devserver.testing`: a network for a test of a mod, with its own storage, agents, clock, and all that was told."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from workspaces import without_mods

from devserver.testing import Clock, network

HELLO = """
from pydantic import BaseModel
from devserver import BaseMod, Event, mod_event_handler

class HelloMod(BaseMod):
    class Config(BaseModel):
        greeting: str = "Hello"

    def initialize(self):
        (self.get_storage_path() / "began").write_text("x")
        self.every(60, self.tick)

    def tick(self):
        self.state.setdefault("ticks", []).append(int(self.network.time()))

    @mod_event_handler("hello.greet")
    async def greet(self, event):
        self.log.info("greeted", who=event.source_id)
        self.state["n"] = self.state.get("n", 0) + 1
        await self.network.ask("agent:broadcast", "hello.told", {"n": self.state["n"]})
        return {"text": self.config.greeting, "n": self.state["n"]}

    @mod_event_handler("hello.fail")
    def fail(self, event):
        raise KeyError("x")
"""

FILES = {"mods/hello.py": HELLO}


@pytest.fixture(autouse=True)
def _no_mods() -> Iterator[None]:
    with without_mods():
        yield


async def test_a_mod_is_asked_by_agents_and_its_events_reach_them() -> None:
    """Answers, deliveries, events on their way and log records are all there to look at."""
    async with network(["mods.hello"], files=FILES) as net:
        ana, bob = await net.agent("ana"), await net.agent("bob")
        answer = await ana.send("hello.greet")
        assert answer.data == {"text": "Hello", "n": 1}
        assert (await bob.wait_for("hello.*")).payload == {"n": 1}
        assert [each.payload for each in bob.events("hello.told")] == [{"n": 1}]
        assert [each.event_name for each in net.events("hello.*")] == ["hello.told", "hello.greet"]
        (record,) = net.records
        assert (record.level, record.message, record.mod, record.fields) == ("info", "greeted", "hello", {"who": "ana"})


async def test_errors_of_mods_are_there_to_look_at() -> None:
    """With their place."""
    async with network(["mods.hello"], files=FILES) as net:
        assert not (await net.send("hello.fail")).success
        (told,) = net.errors
        assert (told.mod_id, told.error.kind) == ("hello", "KeyError")


async def test_a_mod_gets_a_configuration_and_survives_a_reload() -> None:
    """As a mapping of paths; state is kept."""
    async with network({"mods.hello": {"greeting": "Ahoy"}}, files=FILES) as net:
        await net.send("hello.greet")
        await net.reload("hello")
        assert (await net.send("hello.greet")).data == {"text": "Ahoy", "n": 2}
        assert net.mod("hello").state["n"] == 2


async def test_a_save_is_served_at_once_in_a_network_of_files() -> None:
    """And a save that fails says so in its outcome."""
    async with network(["mods.hello"], files=FILES) as net:
        (outcome,) = await net.save("mods/hello.py", HELLO.replace('"Hello"', '"Good day"'))
        assert (outcome.status, (await net.send("hello.greet")).data["text"]) == ("applied", "Good day")
        (outcome,) = await net.save("mods/hello.py", "1 / 0")
        assert outcome.status == "rolled_back"


async def test_the_clock_stands_still_until_it_is_moved() -> None:
    """Then what is due happens, each at its time."""
    async with network(["mods.hello"], files=FILES) as net:
        began = net.clock.time()
        await net.clock.move(59)
        assert "ticks" not in net.mod("hello").state
        await net.clock.move(150)
        assert net.mod("hello").state["ticks"] == [int(began) + 60, int(began) + 120, int(began) + 180]


async def test_what_sleeps_shorter_wakes_first() -> None:
    """Whatever the order in which it began to sleep."""
    import asyncio

    clock, woken = Clock(0.0), []

    async def sleeper(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((seconds, clock.time()))

    tasks = [asyncio.ensure_future(sleeper(each)) for each in (3.0, 1.0, 2.0)]
    await clock.move(2.5)
    assert woken == [(1.0, 1.0), (2.0, 2.0)]
    await clock.move(1)
    await asyncio.gather(*tasks)


async def test_data_goes_to_a_folder_that_is_gone_afterwards(tmp_path: Path) -> None:
    """A test never touches the data of the network that its folder runs."""
    (tmp_path / "mods").mkdir()
    (tmp_path / "mods" / "hello.py").write_text(HELLO)
    (tmp_path / "network.yaml").write_text("network:\n  name: mine\n  mods:\n    - name: mods.hello\n")
    async with network(config=tmp_path) as net:
        storage = net.mod("hello").get_storage_path()
        assert (storage / "began").exists()
        assert not storage.is_relative_to(tmp_path)
        with pytest.raises(ValueError, match="this folder is your own"):
            await net.save("mods/hello.py", "")
    assert not storage.exists()
    assert not (tmp_path / ".oa-dev").exists()


@pytest.mark.parametrize(
    ("files", "config", "said"),
    [
        ({"mods/hello.py": "1 / 0"}, {}, "hello did not load: ZeroDivisionError: division by zero at mods/hello.py:1"),
        (FILES, {"greetng": "x"}, 'hello did not load: ConfigError: config of mods.hello: unknown key "greetng"'),
        ({}, {}, "hello did not load"),
    ],
)
async def test_a_mod_that_does_not_load_fails_the_test_with_the_reason(files, config, said) -> None:
    """And nothing of the network stays."""
    with pytest.raises(AssertionError) as caught:
        async with network({"mods.hello": config}, files=files):
            pytest.fail("it did load")
    assert str(caught.value).startswith(said)


async def test_a_mod_that_is_not_there_is_named_with_those_that_are() -> None:
    """As a LookupError."""
    async with network(["mods.hello"], files=FILES) as net:
        with pytest.raises(LookupError, match="no mod 'helo' runs here, only hello"):
            net.mod("helo")


async def test_the_content_of_a_network_yaml_may_be_given() -> None:
    """Limits and groups as there."""
    config = {"network": {"name": "given", "mods": [{"name": "mods.hello"}]}, "dev": {"limits": {"handler": 0.5}}}
    async with network(config=config, files=FILES) as net:
        assert net.network.network_name == "given"
        assert net.network.engine.limits.handler == 0.5
        assert list(net.network.running_mods()) == ["hello"]


def test_the_plugin_gives_the_fixture_and_runs_async_tests(tmp_path: Path) -> None:
    """With pytest alone, in a folder of mods and tests; network.yaml is found from the test's folder."""
    (tmp_path / "mods").mkdir()
    (tmp_path / "mods" / "hello.py").write_text(HELLO)
    (tmp_path / "network.yaml").write_text("network:\n  name: mine\n  mods:\n    - name: mods.hello\n")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_hello.py").write_text(
        "async def test_it(network):\n"
        "    async with network() as net:\n"
        "        ana = await net.agent('ana')\n"
        "        assert (await ana.send('hello.greet')).data['text'] == 'Hello'\n"
    )
    plugins = ["-p", "no:asyncio", "-p", "no:anyio", "-p", "no:cacheprovider"]
    if not any(each.value == "devserver.pytest_plugin" for each in entry_points(group="pytest11")):
        plugins += ["-p", "devserver.pytest_plugin"]  # an environment that was made before the plugin was
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *plugins], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
