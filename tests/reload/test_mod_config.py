"""A mod that declares `Config` gets its configuration as that model; what does not fit is told at its line."""

from __future__ import annotations

import pytest
from workspaces import Workspace

from devserver.model.facts import ErrorFacts, Notice, Status

HEAD = """
from pydantic import BaseModel, Field
"""

GREETS = """
    class Config(BaseModel):
        greeting: str = "Hello"
        times: int = Field(1, ge=1)

    config: Config

    @mod_event_handler("hello.greet")
    def greet(self, event):
        self.state["asked"] = self.state.get("asked", 0) + 1
        return {"text": " ".join([self.config.greeting] * self.config.times), "kind": type(self.config).__module__}
"""

TAKES = """
    def update_config(self, config):
        self.state["offered"] = type(config).__name__
        return True
"""


def hello(**config: object) -> dict[str, object]:
    """The entry of network.yaml."""
    return {"name": "mods.hello", "config": config}


async def greeted(work: Workspace) -> object:
    """What the mod answers."""
    return (await work.ask("hello.greet")).data


def error_of(work: Workspace) -> ErrorFacts:
    """The error of the latest outcome."""
    error = work.outcomes()[-1].error
    assert error is not None
    return error


def place_of(error: ErrorFacts) -> tuple[str, int, int | None]:
    """Where an error points."""
    assert error.where is not None
    return error.where.file, error.where.line, error.where.column


async def test_the_configuration_is_the_model(work: Workspace, at: str) -> None:
    """With its defaults."""
    work.mod("hello", GREETS, HEAD)
    await work.start(hello(times=2), home=at)
    assert await greeted(work) == {"text": "Hello Hello", "kind": "mods.hello"}


async def test_a_model_beside_the_class_will_do(work: Workspace) -> None:
    """`class Config(BaseModel)` may stand in the module, before the mod's class."""
    head = f"{HEAD}\nclass Config(BaseModel):\n    greeting: str\n"
    work.mod(
        "hello", '@mod_event_handler("hello.greet")\ndef greet(self, event):\n    return self.config.greeting', head
    )
    await work.start(hello(greeting="Ahoy"))
    assert await greeted(work) == {"result": "Ahoy"}


async def test_a_class_named_config_that_is_no_model_changes_nothing(work: Workspace) -> None:
    """The configuration is a plain dict as ever."""
    work.mod("hello", "class Config:\n    pass")
    await work.start(hello(any=1))
    assert work.instance("hello").config == {"any": 1}


async def test_a_wrong_value_is_refused_at_its_line_and_column(work: Workspace) -> None:
    """Nothing of the mod runs; the place is that of the value in network.yaml."""
    work.mod("hello", GREETS, HEAD)
    await work.start(hello(greeting="Hello", times=0))
    error = error_of(work)
    assert (error.kind, error.message) == ("ConfigError", 'config of mods.hello: "times" must be at least 1, not 0')
    assert place_of(error) == ("network.yaml", 7, 14)
    assert work.running() == {}


async def test_every_wrong_value_is_told(work: Workspace) -> None:
    """In one message, at the place of the first."""
    work.mod("hello", GREETS, HEAD)
    await work.start(hello(greetng="x", times="many"))
    error = error_of(work)
    assert "unknown key \"greetng\" (did you mean 'greeting'?)" in error.message
    assert '"times" must be a whole number, not "many"' in error.message
    assert place_of(error) == ("network.yaml", 6, 7)


async def test_a_missing_value_points_at_the_configuration_or_the_mod(work: Workspace) -> None:
    """What is not written has no place of its own."""
    work.mod("hello", GREETS.replace('= "Hello"', ""), HEAD)
    await work.start(hello(times=1))
    assert (error_of(work).message, place_of(error_of(work))) == (
        'config of mods.hello: "greeting" is missing',
        ("network.yaml", 6, 7),
    )
    await work.save_yaml("mods.hello")
    assert place_of(error_of(work)) == ("network.yaml", 4, 5)


async def test_a_good_value_after_a_bad_one_loads_the_mod(work: Workspace) -> None:
    """The attempt is made again with the new configuration."""
    work.mod("hello", GREETS, HEAD)
    await work.start(hello(times=0))
    await work.save_yaml(hello(times=1))
    assert work.running() == {"hello": 1}


async def test_a_bad_value_leaves_the_mod_that_runs_as_it_is(work: Workspace, at: str) -> None:
    """It keeps its configuration, its state and its generation."""
    work.mod("hello", GREETS, HEAD)
    await work.start(hello(greeting="Ahoy"), home=at)
    before = await greeted(work)
    await work.save_yaml(hello(greeting=5))
    assert work.outcomes()[-1].status is Status.ROLLED_BACK
    assert await greeted(work) == before
    assert work.running() == {"hello": 1}


async def test_a_reload_makes_the_model_of_the_new_code(work: Workspace, at: str) -> None:
    """Same name, new class: defaults are those of the new code, state is kept."""
    work.mod("hello", GREETS, HEAD)
    await work.start(hello(), home=at)
    await greeted(work)
    first = type(work.instance("hello").config)
    await work.save_mod("hello", GREETS.replace('"Hello"', '"Good day"'), HEAD)
    assert await greeted(work) == {"text": "Good day", "kind": "mods.hello"}
    assert type(work.instance("hello").config) is not first
    assert work.instance("hello").state == {"asked": 2}


async def test_new_code_that_no_longer_takes_the_configuration_is_rolled_back(work: Workspace) -> None:
    """The error is that of network.yaml's line, and the old code runs on."""
    work.mod("hello", GREETS, HEAD)
    await work.start(hello(times=5))
    await work.save_mod("hello", GREETS.replace("ge=1", "ge=1, le=3"), HEAD)
    assert work.outcomes()[-1].status is Status.ROLLED_BACK
    assert place_of(error_of(work)) == ("network.yaml", 6, 14)
    assert await greeted(work) == {"text": "Hello Hello Hello Hello Hello", "kind": "mods.hello"}


async def test_a_changed_configuration_is_offered_as_the_model(work: Workspace, at: str) -> None:
    """And is what `self.config` becomes, with no reload."""
    work.mod("hello", GREETS + TAKES, HEAD)
    await work.start(hello(), home=at)
    await work.save_yaml(hello(greeting="Ahoy"))
    assert work.running() == {"hello": 1}
    assert work.instance("hello").state["offered"] == "Config"
    assert await greeted(work) == {"text": "Ahoy", "kind": "mods.hello"}


async def test_a_changed_configuration_that_does_not_fit_is_never_offered(work: Workspace) -> None:
    """The mod goes on with what it had."""
    work.mod("hello", GREETS + TAKES, HEAD)
    await work.start(hello())
    await work.save_yaml(hello(times=-1))
    assert "offered" not in work.instance("hello").state
    assert place_of(error_of(work)) == ("network.yaml", 6, 14)
    assert await greeted(work) == {"text": "Hello", "kind": "mods.hello"}


@pytest.mark.parametrize("mode", ["fresh", "exclusive", "rebind"])
async def test_the_model_goes_with_every_way_to_hand_over(work: Workspace, mode: str) -> None:
    """Also where the instance stays; and is the old one again after a failure."""
    body = f"    reload_mode = {mode!r}\n{GREETS}"
    work.mod("hello", body, HEAD)
    await work.start(hello())
    await work.save_mod("hello", body.replace('"Hello"', '"Good day"'), HEAD)
    assert await greeted(work) == {"text": "Good day", "kind": "mods.hello"}
    bad = body.replace('"Hello"', '"Bad day"') + "\n    def restore_state(self, state): raise OSError\n"
    await work.save_mod("hello", bad + "    def capture_state(self): return 1\n    x = 1 / 0\n", HEAD)
    assert await greeted(work) == {"text": "Good day", "kind": "mods.hello"}


async def test_a_configuration_given_to_load_mod_is_checked_too(work: Workspace) -> None:
    """It has no place in a file."""
    work.mod("hello", GREETS, HEAD)
    await work.start()
    answer = await work.net.load_mod("mods.hello", {"times": 0})
    assert not answer.success
    assert '"times" must be at least 1, not 0' in answer.message
    assert error_of(work).where is None


async def test_a_value_that_comes_by_an_alias_has_its_own_place(work: Workspace) -> None:
    """Merged keys and anchors lead to where the value is written."""
    work.mod("hello", GREETS, HEAD)
    text = """
        network:
          name: Test
          mods:
            - name: mods.hello
              config:
                <<: &base
                  times: nine
    """
    work.write("network.yaml", text)
    await work.run()
    assert place_of(error_of(work)) == ("network.yaml", 8, 18)


async def test_a_refused_configuration_that_is_taken_back_is_forgotten(work: Workspace, at: str) -> None:
    """It is said, and a restart is not refused for it."""
    work.mod("hello", GREETS, HEAD)
    await work.start(hello(times=2), home=at)
    await work.save_yaml(hello(tmes=2))
    assert work.net.engine.knowledge.failed.keys() == {"mods.hello"}
    done = await work.save_yaml(hello(times=2))
    assert done.outcomes == ()
    told = work.told(Notice)
    assert [(each.message, each.mended) for each in told] == [
        ("network.yaml matches hello v1 again, which kept running; nothing to reload", ("hello",))
    ]
    assert work.net.engine.knowledge.failed == {}


async def test_a_failure_of_the_code_is_not_forgotten_with_a_configuration(work: Workspace) -> None:
    """The disk holds other code than what runs."""
    work.mod("hello", GREETS, HEAD)
    await work.start(hello(times=2))
    await work.save_mod("hello", "def broken(:")
    await work.save_yaml(hello(times=3))
    await work.save_yaml(hello(times=2))
    assert work.net.engine.knowledge.failed.keys() == {"mods.hello"}
