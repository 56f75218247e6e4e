"""Saves on their way to the network: at once, collected while paused, shown first where that is wished."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from workspaces import Workspace, served

from devserver.config.network_yaml import read_network
from devserver.model.facts import ConfigRefused, Ignored, Notice, PlanDone, PlanMade
from devserver.model.lifecycle import Action
from devserver.server.saves import Saves
from devserver.sources.files import sources_now


async def begin(work: Workspace, *mods: str, **options: Any) -> Saves:
    """A network that runs, and the way of saves to it."""
    for name in mods:
        work.mod(name, served(name, 1))
    network = await work.start(*(f"mods.{name}" for name in mods))
    path = work.folder / "network.yaml"
    work.facts.clear()
    return Saves(network, path, lambda: read_network(path), work.facts.append, **options)


async def saved(saves: Saves, *files: Path) -> None:
    """Report files as the watch does."""
    await saves.files_changed(sources_now(files))


def notices(work: Workspace) -> list[str]:
    """What was said beside plans."""
    return [each.message for each in work.told(Notice)]


async def test_files_that_were_collected_are_one_plan(work: Workspace) -> None:
    """Two mods saved while paused, one of them twice: nothing changes, then one plan reloads both as they are now."""
    saves = await begin(work, "ant", "bee")
    saves.pause()
    for version in (2, 3):
        await saved(saves, work.mod("ant", served("ant", version)))
    await saved(saves, work.mod("bee", served("bee", 2)))
    assert (await work.version("ant"), await work.version("bee")) == (1, 1)
    done = await saves.apply()
    assert [[each.mod_id for each in plan.outcomes] for plan in done] == [["ant", "bee"]]
    assert (await work.version("ant"), await work.version("bee")) == (3, 2)
    assert saves.waiting_names() == []


async def test_what_was_taken_back_while_paused_is_no_reload(work: Workspace) -> None:
    """A file that is again as it is loaded leads to an empty plan."""
    saves = await begin(work, "ant")
    saves.pause()
    await saved(saves, work.mod("ant", served("ant", 2)))
    await saved(saves, work.mod("ant", served("ant", 1)))
    assert [each.outcomes for each in await saves.apply()] == [()]
    assert work.running() == {"ant": 1}


async def test_a_pause_lasts_until_it_is_ended(work: Workspace) -> None:
    """`apply` leaves it, `resume` and the second toggle end it."""
    saves = await begin(work, "ant")
    await saves.toggle()
    await saves.apply()
    assert saves.paused
    await saves.toggle()
    assert not saves.paused
    await saved(saves, work.mod("ant", served("ant", 2)))
    assert work.running() == {"ant": 2}


async def test_network_yaml_goes_before_the_files(work: Workspace) -> None:
    """A mod that it does not list any more is unloaded, and its save leads to nothing."""
    saves = await begin(work, "ant", "bee")
    saves.pause()
    await saved(saves, work.mod("bee", served("bee", 2)))
    work.yaml("mods.ant")
    await saves.config_changed()
    assert saves.waiting_names() == ["network.yaml", "mods/bee.py"]
    done = await saves.resume()
    assert [[each.action.value for each in plan.outcomes] for plan in done] == [["unload"], []]
    assert work.running() == {"ant": 1}


async def test_each_save_that_waits_is_said_with_what_applies_it(work: Workspace) -> None:
    """Its name, how many wait, and the key or command."""
    saves = await begin(work, "ant", how="space")
    saves.pause()
    await saved(saves, work.mod("ant", served("ant", 2)))
    assert notices(work) == [
        "paused: saves wait; space applies them",
        "mods/ant.py saved; 1 save waits, space applies it",
    ]


async def test_a_network_yaml_that_cannot_be_used_is_refused_while_paused(work: Workspace) -> None:
    """At once and at its line; it does not wait, and what waited of it before does not either."""
    saves = await begin(work, "ant")
    saves.pause()
    work.yaml()
    await saves.config_changed()
    work.write("network.yaml", "network: [\n")
    await saves.config_changed()
    assert len(work.told(ConfigRefused)) == 1
    assert saves.waiting_names() == []
    await saves.resume()
    assert work.running() == {"ant": 1}


async def test_a_mod_that_is_nowhere_is_held_with_its_line(work: Workspace) -> None:
    """The rest of the file is applied."""
    saves = await begin(work, "ant")
    work.mod("cat", served("cat", 1))
    work.yaml("mods.ant", "mods.bee", "mods.cat")
    await saves.config_changed()
    problem = next(each.error for each in work.outcomes() if each.mod_id == "bee")
    assert problem is not None and problem.where is not None
    assert (problem.where.file, problem.where.line) == ("network.yaml", 5)
    assert work.running() == {"ant": 1, "cat": 1}


async def test_with_confirm_only_network_yaml_waits(work: Workspace) -> None:
    """Its plan is shown and changes nothing until it is applied; files of mods are applied at once."""
    saves = await begin(work, "ant", "bee", confirm=True)
    work.yaml("mods.bee")
    await saves.config_changed()
    await saved(saves, work.mod("bee", served("bee", 2)))
    assert work.told(PlanMade)[0].plan.cause == "network.yaml, not applied yet"
    assert work.running() == {"ant": 1, "bee": 2}
    await saves.apply()
    assert work.running() == {"bee": 2}


async def test_with_confirm_nothing_is_applied_that_was_not_shown(work: Workspace) -> None:
    """Where the file changed after its plan was shown, the plan is made again, shown, and waits to
    be applied again."""
    saves = await begin(work, "ant", "bee", confirm=True)
    work.yaml("mods.bee")
    await saves.config_changed()
    work.yaml("mods.ant")
    assert await saves.apply() == ()
    assert [[each.mod_id for each in told.plan.steps] for told in work.told(PlanMade)] == [["ant"], ["bee"]]
    assert notices(work)[-1] == "network.yaml changed again, a new plan is above; 1 save waits, oa-dev apply applies it"
    assert work.running() == {"ant": 1, "bee": 1}
    await saves.apply()
    assert work.running() == {"ant": 1}


async def test_with_confirm_what_was_taken_back_waits_no_more(work: Workspace) -> None:
    """And that is said."""
    saves = await begin(work, "ant", "bee", confirm=True)
    before = (work.folder / "network.yaml").read_text()
    work.yaml("mods.bee")
    await saves.config_changed()
    work.write("network.yaml", before)
    await saves.config_changed()
    assert (saves.waiting_names(), work.running()) == ([], {"ant": 1, "bee": 1})
    assert notices(work)[-1] == "network.yaml is again as it runs, nothing of it waits"


async def test_a_network_yaml_that_is_mended_is_said_to_be(work: Workspace) -> None:
    """Broken and put back, it is neither silent nor a plan."""
    saves = await begin(work, "ant")
    before = (work.folder / "network.yaml").read_text()
    work.write("network.yaml", "network: [\n")
    await saves.config_changed()
    work.write("network.yaml", before)
    await saves.config_changed()
    assert notices(work) == ["network.yaml can be used again, and matches the running network"]


async def test_a_mod_that_is_not_there_and_taken_out_again_is_said_to_change_nothing(work: Workspace) -> None:
    """The line of a typing error is told, and so is its end."""
    saves = await begin(work, "ant")
    path = work.folder / "network.yaml"
    before = path.read_text()
    work.yaml("mods.ant", "mods.ent")
    await saves.config_changed()
    work.facts.clear()
    path.write_text(before)
    await saves.config_changed()
    assert work.facts == [Ignored("network.yaml", "it matches the running network")]


async def test_a_network_yaml_without_effect_is_told_with_what_has_none(work: Workspace) -> None:
    """A comment, a key that nothing reads, and a port that a flag overrides."""
    saves = await begin(work, "ant", overridden=lambda: ("network.port 1 does not count in this run",))
    path = work.folder / "network.yaml"
    path.write_text(path.read_text() + "  network_port: 9000\n")
    await saves.config_changed()
    [told] = work.told(Ignored)
    assert told.path == "network.yaml"
    assert told.rule.startswith("it matches the running network; ")
    assert "network_port" in told.rule
    assert told.rule.endswith("; network.port 1 does not count in this run")


async def test_a_setting_that_counts_at_once_is_told_once(work: Workspace) -> None:
    """It is no plan, and no save without effect either."""
    saves = await begin(work, "ant")
    path = work.folder / "network.yaml"
    path.write_text(path.read_text() + "  agent_timeout: 99\n")
    await saves.config_changed()
    assert work.told(Ignored) == []
    assert [each for each in notices(work) if "agent_timeout" in each]


async def test_resume_leaves_a_network_yaml_that_is_to_be_confirmed(work: Workspace) -> None:
    """Files of mods are applied; it waits on, and that is said."""
    saves = await begin(work, "ant", "bee", confirm=True)
    saves.pause()
    await saved(saves, work.mod("bee", served("bee", 2)))
    work.yaml("mods.bee")
    await saves.config_changed()
    await saves.resume()
    assert (work.running(), saves.waiting_names()) == ({"ant": 1, "bee": 2}, ["network.yaml"])
    assert notices(work)[-1] == "network.yaml is not confirmed; 1 save waits, oa-dev apply applies it"


async def test_with_confirm_a_change_that_does_nothing_is_not_asked_about(work: Workspace) -> None:
    """A comment needs no one's consent."""
    saves = await begin(work, "ant", confirm=True)
    path = work.yaml("mods.ant")
    path.write_text(path.read_text() + "# a comment\n")
    await saves.config_changed()
    assert (saves.waiting_names(), notices(work)) == ([], [])


async def test_a_network_yaml_that_lost_its_mods_asks_before_it_unloads_everything(work: Workspace) -> None:
    """A missing key may be a mistake: it waits, told with what applies it; what is saved next counts as ever."""
    saves = await begin(work, "ant", "bee", how="a or oa-dev apply")
    listed = (work.folder / "network.yaml").read_text()
    lost = "network:\n  name: Test\n"
    work.write("network.yaml", lost)
    await saves.config_changed()
    assert (saves.waiting_names(), work.running()) == (["network.yaml"], {"ant": 1, "bee": 1})
    assert [each.action for each in work.told(PlanMade)[0].plan.steps] == [Action.UNLOAD] * 2
    assert notices(work)[-1].startswith("network.yaml has no key mods")
    assert notices(work)[-1].endswith("1 save waits, a or oa-dev apply applies it")
    work.write("network.yaml", listed)
    await saves.config_changed()
    assert (saves.waiting_names(), work.running()) == ([], {"ant": 1, "bee": 1})
    work.write("network.yaml", lost)
    await saves.config_changed()
    await saves.apply()
    assert (saves.waiting_names(), work.running()) == ([], {})


async def test_an_empty_list_of_mods_is_a_wish(work: Workspace) -> None:
    """It is applied at once, also behind a file without the key."""
    saves = await begin(work, "ant", "bee")
    work.write("network.yaml", "network:\n  name: Test\n")
    await saves.config_changed()
    work.write("network.yaml", "network:\n  name: Test\n  mods: []\n")
    await saves.config_changed()
    assert (saves.waiting_names(), work.running()) == ([], {})


async def test_a_plan_is_made_and_changes_nothing(work: Workspace) -> None:
    """What is on disk and not loaded: asked for twice, it is the same, and the next real save reloads only its own."""
    saves = await begin(work, "ant", "bee")
    work.mod("ant", served("ant", 2))
    plans = [await saves.plans() for _ in range(2)]
    assert [[step.mod_id for step in plan.steps] for each in plans for plan in each] == [["ant"], ["ant"]]
    assert work.told(PlanDone) == []
    await saved(saves, work.mod("bee", served("bee", 2)))
    assert work.running() == {"ant": 1, "bee": 2}


async def test_when_all_is_applied_there_is_no_plan(work: Workspace) -> None:
    """Nothing on disk differs from what runs."""
    assert await (await begin(work, "ant")).plans() == ()


@pytest.mark.parametrize("asked", ["apply", "resume"])
async def test_a_file_that_went_while_paused_says_what_it_says_without_a_pause(work: Workspace, asked: str) -> None:
    """A mod whose source is gone is held back, and what ran keeps running."""
    saves = await begin(work, "ant")
    saves.pause()
    file = work.folder / "mods" / "ant.py"
    file.unlink()
    await saved(saves, file)
    done = await getattr(saves, asked)()
    assert [each.status.value for plan in done for each in plan.outcomes] == ["skipped"]
    assert work.running() == {"ant": 1}
