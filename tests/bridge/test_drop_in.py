"""`import devserver.openagents`: the import lines of OpenAgents lead to our network; the announcement, literally."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from devserver.model.config import NetworkConfig
from devserver.model.event import Event
from devserver.server.drop_in import OpenAgentsNetwork

MOD = """
from openagents.core.base_mod import BaseMod, mod_event_handler
from openagents.models.event_response import EventResponse


class Wiki(BaseMod):
    @mod_event_handler("wiki.pages.list")
    async def pages(self, event):
        return EventResponse(success=True, message="pages", data={"public": self.config.get("public")})
"""


needs_openagents = pytest.mark.skipif(
    importlib.util.find_spec("openagents") is None, reason="the package openagents is not installed here"
)
HIDDEN = """import importlib.machinery
    found = importlib.machinery.PathFinder.find_spec
    importlib.machinery.PathFinder.find_spec = classmethod(
        lambda cls, name, *rest: None if name.partition(".")[0] == "openagents" else found(name, *rest)
    )
    import devserver.openagents"""
"""Hides the package from Python, then imports the drop-in."""


def run(folder: Path, script: str, *before: str) -> str:
    """What a script prints, run as a user's own process."""
    (folder / "script.py").write_text(textwrap.dedent(script))
    command = [sys.executable, *before, "script.py"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "network.yaml").write_text("network:\n  name: quick\n  mods: []\n")
    for name in ("wiki", "project"):
        folder = tmp_path / "mods" / name
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text("")
        (folder / "mod.py").write_text(MOD.replace("wiki.", f"{name}."))
    return tmp_path


QUICK_START = """
    import asyncio
    {first}
    from openagents.core.network import AgentNetwork
    from openagents.models.event import Event

    async def main():
        network = AgentNetwork.load("network.yaml")
        await network.initialize()
        await network.load_mod("mods.project")
        await network.load_mod("mods.wiki", config={{"public": True}})
        print(sorted(network.get_loaded_mods()), network.get_network_stats()["dynamic_mods"]["count"])
        answer = await network.process_external_event(Event(event_name="wiki.pages.list", source_id="agent:admin"))
        print(answer.success, answer.data, type(answer).__module__.partition(".")[0])
        event = Event(event_name="system.mod.unload", source_id="agent:admin", payload={{"mod_path": "mods.project"}})
        print((await network.process_external_event(event)).success, list(network.mods))
        print((await network.unload_mod("wiki")).success, (await network.unload_mod("wiki")).message)
        await network.shutdown()

    asyncio.run(main())
"""
SAID = "['project', 'wiki'] 2\nTrue {{'public': True}} {package}\nTrue ['mods.wiki']\nTrue {refused}\n"
REFUSED = "Failed to unload mod wiki: mod 'wiki' is not loaded. Loaded: none."


def test_the_quick_start_runs_without_the_package(workspace: Path) -> None:
    """Where openagents is not installed, its events and its base class for mods are ours."""
    assert run(workspace, QUICK_START.format(first=HIDDEN)) == SAID.format(package="devserver", refused=REFUSED)


@needs_openagents
def test_the_quick_start_runs_with_the_package(workspace: Path) -> None:
    """Where it is installed, an event of openagents is answered with an answer of openagents."""
    script = QUICK_START.format(first="import devserver.openagents")
    assert run(workspace, script) == SAID.format(package="openagents", refused=REFUSED)


def test_a_script_runs_by_exec_with_its_import_line_unchanged(workspace: Path) -> None:
    """`oa-dev exec SCRIPT ARGS`: the script sees its own arguments and folder, as with python."""
    script = """
        import sys
        from openagents.core.network import AgentNetwork, create_network
        print(AgentNetwork.__module__, create_network.__module__, sys.argv, sys.path[0].endswith("inner"), __name__)
        sys.exit(3)
    """
    (workspace / "inner").mkdir()
    (workspace / "inner" / "script.py").write_text(textwrap.dedent(script))
    command = [sys.executable, "-m", "devserver", "exec", "inner/script.py", "--flag", "x"]
    done = subprocess.run(command, cwd=workspace, capture_output=True, text=True, timeout=60, check=False)
    ours = "devserver.server.drop_in"
    assert done.stdout == f"{ours} {ours} ['inner/script.py', '--flag', 'x'] True __main__\n", done.stderr
    assert done.returncode == 3


def test_agents_find_the_network_of_a_script(workspace: Path) -> None:
    """As with OpenAgents, a network that has started listens, and one that has ended does not."""
    (workspace / "network.yaml").write_text("network:\n  name: quick\n  mods:\n    - name: mods.wiki\n")
    script = """
        import devserver.openagents, asyncio
        from devserver import Agent, AgentError
        from openagents.core.network import AgentNetwork

        async def main():
            network = AgentNetwork.load("network.yaml")
            await network.initialize()
            url = f"http://127.0.0.1:{network.port}"
            async with Agent("ana", url) as ana:
                print((await ana.send("wiki.pages.list")).message, [*network.get_network_stats()["agents"]])
            await network.shutdown()
            try:
                async with Agent("ana", url, patience=0.1):
                    pass
            except AgentError as error:
                print(error.code)
        asyncio.run(main())
    """
    assert run(workspace, script) == "pages ['ana']\nno_answer\n"


def test_exec_ends_as_its_script_whatever_that_has_put_in_place_of_stdout(workspace: Path) -> None:
    """As with python."""
    (workspace / "none.py").write_text("import sys\nsys.stdout = None\n")
    (workspace / "tee.py").write_text(
        "import sys\nclass Tee:\n    def write(self, text): pass\n    def flush(self): pass\nsys.stdout = Tee()\n"
    )
    for name in ("none.py", "tee.py"):
        command = [sys.executable, "-m", "devserver", "exec", name]
        done = subprocess.run(command, cwd=workspace, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (0, "")


def test_exec_without_a_script_says_so(workspace: Path) -> None:
    """A script that is not there ends with one line, and not with a traceback."""
    command = [sys.executable, "-m", "devserver", "exec", "gone.py"]
    done = subprocess.run(command, cwd=workspace, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert "gone.py" in done.stderr


@needs_openagents
def test_a_configuration_of_openagents_makes_a_network(workspace: Path) -> None:
    """`create_from_config` takes their NetworkConfig; without a workspace the files are temporary."""
    script = """
        import devserver.openagents, asyncio
        from openagents.core.network import create_network
        from openagents.models.network_config import NetworkConfig

        network = create_network(NetworkConfig(name="made", mode="centralized", host="127.0.0.1", port=9999))
        async def main():
            await network.initialize()
            folder = network.workspace
            print(network.network_name, network.config.port, network.is_running, folder.is_dir())
            await network.shutdown()
            print(network.is_running, folder.is_dir())
        asyncio.run(main())
    """
    assert run(workspace, script) == "made 9999 True True\nFalse False\n"


@needs_openagents
def test_an_agent_is_registered_as_openagents_does_it(workspace: Path) -> None:
    """With `transport_type` the answer is a response; an event knows the group of its sender afterwards."""
    script = """
        import devserver.openagents, asyncio
        from openagents.core.network import create_network
        from openagents.models.event import Event

        async def main():
            network = create_network("network.yaml")
            await network.initialize()
            values = {"transport_type": "http", "metadata": {}, "certificate": None, "force_reconnect": False}
            print((await network.register_agent(agent_id="ana", **values)).success)
            print((await network.register_agent(agent_id="not\\nprintable", **values)).success)
            event = Event(event_name="note.text.post", source_id="agent:ana", destination_id="agent:ana", payload={})
            print((await network.event_gateway.process_event(event, enable_delivery=True)).success)
            print(event.source_agent_group)
            await network.shutdown()
        asyncio.run(main())
    """
    assert run(workspace, script) == "True\nFalse\nTrue\nguest\n"


class TheirConfig:
    """A `NetworkConfig` of openagents, as far as ours reads it."""

    def __init__(self, **values: object) -> None:
        self.values = values

    def model_dump(self, **_: object) -> dict[str, object]:
        """The values that were set."""
        return dict(self.values)


@pytest.mark.parametrize("readme", ["# Ours", None])
async def test_the_profile_of_a_configuration_and_the_context_are_as_there(readme: str | None) -> None:
    """The profile stands within a `NetworkConfig`; without any readme the statistics have None."""
    profile = {"network_profile": {"readme": readme}} if readme else {}
    network = OpenAgentsNetwork.create_from_config(TheirConfig(name="Here", **profile))
    try:
        context = network.topology.network_context  # type: ignore[attr-defined]
        assert (context.get_readme(), network.get_network_stats()["readme"]) == (readme, readme)
        assert (context.network_name, context.workspace_path) == ("Here", str(network.workspace))
    finally:
        assert network._temporary is not None
        network._temporary.cleanup()


async def test_without_delivery_only_mods_see_an_event() -> None:
    """`process_event(event, enable_delivery=False)` puts nothing into the queue of the receiver."""
    network = OpenAgentsNetwork(NetworkConfig("Here", (), port=0), None)
    await network.initialize()
    try:
        for agent_id in ("ana", "bo"):
            await network.register_agent(agent_id)
        event = Event(event_name="note.text.post", source_id="agent:ana", destination_id="agent:bo")
        answer = await network.event_gateway.process_event(event, enable_delivery=False)  # type: ignore[attr-defined]
        assert (answer.success, event.source_agent_group, event.destination_id) == (True, "guest", "agent:bo")
        assert await network._poll_events("bo") == []
    finally:
        await network.shutdown()


async def test_the_class_itself_makes_a_network_and_its_gateway_subscribes() -> None:
    """As tests of OpenAgents do it: without a workspace its files lie in a folder that goes with it."""
    network = OpenAgentsNetwork(NetworkConfig("Here", ()), None)
    try:
        assert network.workspace.is_dir()
        await network.register_agent("ana")
        made = network.event_gateway.subscribe(agent_id="ana", event_patterns=["note.*"])
        assert made.event_patterns == ("note.*",)
    finally:
        assert network._temporary is not None
        network._temporary.cleanup()
