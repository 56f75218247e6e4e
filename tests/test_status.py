"""What is known of each mod: its latest outcome, why its saved code does not run, what its handlers raised."""

from __future__ import annotations

from typing import Any

import pytest
from workspaces import Workspace, served

from devserver.config.network_yaml import read_network
from devserver.model.facts import ErrorFacts, HostSeen, HostState, ModError, Notice, Outcome, PlanDone, Status
from devserver.model.lifecycle import Action, Phase
from devserver.model.plan import Plan
from devserver.server.saves import Saves
from devserver.server.status import Standing, status_of

ERROR = ErrorFacts("KeyError", "'column'", trace="the trace")


def done(status: Status, generation: int, error: ErrorFacts | None = None, action: Action = Action.RELOAD) -> PlanDone:
    """A plan about the wiki."""
    outcome = Outcome(
        action, "wiki", "mods.wiki", status, phase=Phase.CLOSE, generation=generation, duration_ms=1.0, error=error
    )
    return PlanDone(Plan("saved"), (outcome,), 1.0)


def raised(generation: int, message: str = "'x'") -> ModError:
    """A handler of the wiki failed."""
    return ModError("wiki", "wiki.page.get", generation, ErrorFacts("KeyError", message))


def after(*facts: Any) -> tuple[Any, Any, Any]:
    """What is known of the wiki: how its latest step ended, what its saved code and its handlers failed with."""
    standing = Standing(lambda: 7.0)
    for each in facts:
        standing.note(each)
    known = standing.of("wiki")
    outcome, failed, error = known["outcome"], known["failed"], known["raised"]
    return (
        outcome and (outcome["status"], outcome["generation"]),
        failed and failed["message"],
        error and (error["message"], error["times"]),
    )


GOOD, BAD = done(Status.APPLIED, 2), done(Status.ROLLED_BACK, 2, ERROR)
HELD = done(Status.SKIPPED, 0, action=Action.LOAD)
AGAIN = Notice("mods/wiki/mod.py matches wiki v2 again", calm=True, mended=("wiki",))


@pytest.mark.parametrize(
    ("facts", "known"),
    [
        ((), (None, None, None)),
        ((GOOD,), (("applied", 2), None, None)),
        ((HELD, HostSeen("gpu-1", HostState.AWAY, mods=("wiki",))), (("skipped", 0), None, None)),
        ((HELD, HostSeen("gpu-1", HostState.CAME, mods=("wiki",))), (None, None, None)),
        ((GOOD, HostSeen("gpu-1", HostState.CAME, mods=("wiki",))), (("applied", 2), None, None)),
        ((GOOD, BAD), (("rolled_back", 2), "'column'", None)),
        ((GOOD, BAD, done(Status.SKIPPED, 2)), (("skipped", 2), "'column'", None)),
        ((GOOD, BAD, done(Status.APPLIED, 3)), (("applied", 3), None, None)),
        ((GOOD, raised(2), raised(2)), (("applied", 2), None, ("'x'", 2))),
        ((GOOD, raised(2), raised(2, "'y'")), (("applied", 2), None, ("'y'", 1))),
        ((GOOD, raised(2), BAD), (("rolled_back", 2), "'column'", ("'x'", 1))),
        ((GOOD, raised(2), done(Status.APPLIED, 3)), (("applied", 3), None, None)),
        ((GOOD, done(Status.APPLIED, 3), raised(2)), (("applied", 3), None, None)),
        ((done(Status.SKIPPED, 0),), (None, None, None)),
        ((GOOD, done(Status.SKIPPED, 2), AGAIN), (("applied", 2), None, None)),
        ((GOOD, BAD, AGAIN), (("applied", 2), None, None)),
    ],
)
def test_an_error_stays_until_it_is_overcome(facts: tuple[Any, ...], known: Any) -> None:
    """That of saved code until a later one runs, that of a handler until another generation does."""
    assert after(*facts) == known


def test_a_handlers_error_is_the_latest_one_too() -> None:
    """`oa-dev trace` shows it, until a plan went well after it."""
    standing = Standing()
    standing.note(raised(2))
    assert standing.last_error == raised(2).error
    standing.note(GOOD)
    assert standing.last_error is None


async def test_the_status_tells_of_each_mod_what_became_of_it(work: Workspace) -> None:
    """Those that run, and those that network.yaml wants and that could not be loaded; none that it dropped."""
    work.mod("ant", served("ant", 1))
    work.write("mods/bee.py", "raise RuntimeError('at import')\n")
    standing = Standing()
    network = await work.start("mods.ant", "mods.bee")
    path = work.folder / "network.yaml"
    saves = Saves(network, path, lambda: read_network(path), work.facts.append)
    for each in work.facts:
        standing.note(each)
    told = status_of(network, saves, standing)
    (ant,), (bee,) = told["mods"], told["down"]
    assert (ant["mod_id"], ant["generation"], ant["outcome"]["status"], ant["failed"]) == ("ant", 1, "applied", None)
    assert (ant["file"], ant["version"]) == ("mods/ant.py", "0")
    assert (bee["mod_id"], bee["state"], bee["failed"]["message"]) == ("bee", "not loaded", "at import")
    assert (bee["failed"]["file"], bee["failed"]["line"], told["refused"]) == ("mods/bee.py", 1, [])
    await work.save_yaml("mods.ant")
    assert status_of(network, saves, standing)["down"] == []


async def test_a_network_yaml_that_cannot_be_used_is_in_the_status_until_it_can(work: Workspace) -> None:
    """With its line, as it was refused."""
    work.mod("ant", served("ant", 1))
    network = await work.start("mods.ant")
    path = work.folder / "network.yaml"
    saves, good = Saves(network, path, lambda: read_network(path), work.facts.append), path.read_text()
    path.write_text(good + "  mods: twice\n")
    await saves.config_changed()
    (problem,) = status_of(network, saves, Standing())["refused"]
    assert (problem["file"], problem["line"]) == ("network.yaml", len(good.splitlines()) + 1)
    path.write_text(good)
    await saves.config_changed()
    assert status_of(network, saves, Standing())["refused"] == []


async def test_a_typing_mistake_in_network_yaml_ends_nothing_and_is_forgotten_when_it_is_mended(
    work: Workspace,
) -> None:
    """The mod keeps running and is shown as held; repaired it is the same generation, and held no more."""
    work.mod("ant", served("ant", 1))
    standing = Standing()
    network = await work.start("mods.ant")
    path = work.folder / "network.yaml"
    saves = Saves(network, path, lambda: read_network(path), work.facts.append)
    for each in work.facts:
        standing.note(each)
    standing.note(await work.save_yaml("mods.annt"))
    (ant,) = status_of(network, saves, standing)["mods"]
    assert (ant["outcome"]["status"], ant["outcome"]["reason"].split(",")[0]) == (
        "skipped",
        "network.yaml lists mods.annt",
    )
    standing.note(await work.save_yaml("mods.ant"))
    (ant,) = status_of(network, saves, standing)["mods"]
    assert (ant["outcome"]["status"], ant["generation"]) == ("applied", 1)
    await work.save_yaml()
    assert work.running() == {}
