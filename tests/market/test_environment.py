"""The folder of packages that the lock names: on the import path, switched as a whole, and what is loaded with it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from locked_wheels import lock, make_lazy_wheel, make_mod_wheel, make_wheel, mod_source
from workspaces import Workspace

from devserver import Event
from devserver.config.network_yaml import read_network
from devserver.market.lock import NAME
from devserver.model.change import LoadAsked, LockChanged, UndoAsked
from devserver.model.facts import Notice, PlanDone, Status
from devserver.server.saves import Saves


@pytest.fixture
async def workspace(tmp_path: Path) -> Iterator[Workspace]:
    """A workspace with a folder index `mods-index`; the import path is as before afterwards."""
    before = list(sys.path)
    found = Workspace(tmp_path)
    yield found
    await found.end()
    assert sys.path == before


def index(workspace: Workspace) -> Path:
    return workspace.folder / "mods-index"


async def lock_changed(workspace: Workspace) -> PlanDone:
    return await workspace.net.submit(LockChanged())


async def asked(workspace: Workspace, name: str = "polls") -> dict[str, object]:
    """What the mod answers."""
    response = await workspace.net.process_event(Event(event_name=f"{name}.ask", source_id="ana"))
    assert response is not None and response.success, response
    return dict(response.data)


async def test_a_mod_of_the_lock_is_loaded(workspace: Workspace) -> None:
    """It lies in the folder of its lock, which stands at the very end of the import path."""
    lock(workspace.folder, make_mod_wheel(index(workspace), "polls", "1.0"))
    await workspace.start("polls")
    assert await asked(workspace) == {"version": "1.0", "asked": 1}
    assert Path(sys.path[-1]).parent == workspace.folder / ".oa-dev" / "env"


async def test_an_upgrade_is_a_reload_that_keeps_the_state(workspace: Workspace) -> None:
    """Another lock has another folder; the mod is reloaded from there, and says which version it was and is."""
    lock(workspace.folder, make_mod_wheel(index(workspace), "polls", "1.0"))
    await workspace.start("polls")
    await asked(workspace)
    lock(workspace.folder, make_mod_wheel(index(workspace), "polls", "1.1"))
    done = await lock_changed(workspace)
    assert [(each.mod_id, each.status, each.reason) for each in done.outcomes] == [
        ("polls", Status.APPLIED, "1.0 → 1.1")
    ]
    assert await asked(workspace) == {"version": "1.1", "asked": 2}


async def test_a_version_that_does_not_start_changes_nothing(workspace: Workspace) -> None:
    """The very object that ran serves on; with the old lock again there is nothing to do, and the failure is over."""
    old = make_mod_wheel(index(workspace), "polls", "1.0")
    lock(workspace.folder, old)
    await workspace.start("polls")
    before = workspace.net.engine.registry.live[0].instance
    lock(workspace.folder, make_mod_wheel(index(workspace), "polls", "1.1", "raise KeyError('token')\n"))
    done = await lock_changed(workspace)
    assert [each.status for each in done.outcomes] == [Status.ROLLED_BACK]
    assert workspace.net.engine.registry.live[0].instance is before
    assert await asked(workspace) == {"version": "1.0", "asked": 1}
    lock(workspace.folder, old)
    assert (await lock_changed(workspace)).plan.empty
    assert not workspace.net.engine.knowledge.failed


async def test_undo_brings_code_state_and_lock_back(workspace: Workspace) -> None:
    """And redo takes that back; the lock on disk says each time what runs."""
    lock(workspace.folder, make_mod_wheel(index(workspace), "polls", "1.0"))
    await workspace.start("polls")
    await asked(workspace)
    first = (workspace.folder / NAME).read_bytes()
    lock(workspace.folder, make_mod_wheel(index(workspace), "polls", "1.1"))
    second = (workspace.folder / NAME).read_bytes()
    await lock_changed(workspace)
    await asked(workspace)
    # Another text of the same lock changes nothing, also of what can be undone.
    (workspace.folder / NAME).write_bytes(second := second + b"# as merged\n")
    await lock_changed(workspace)
    done = await workspace.net.submit(UndoAsked())
    assert [each.status for each in done.outcomes] == [Status.APPLIED]
    assert await asked(workspace) == {"version": "1.0", "asked": 2}
    assert (workspace.folder / NAME).read_bytes() == first
    assert (await lock_changed(workspace)).plan.empty
    await workspace.net.submit(UndoAsked(redo=True))
    assert (await asked(workspace))["version"] == "1.1"
    assert (workspace.folder / NAME).read_bytes() in (second, second.removesuffix(b"# as merged\n"))


async def test_a_mod_that_the_lock_brings_is_loaded_where_it_is_listed(workspace: Workspace) -> None:
    """It was nowhere before; nothing else has to be said."""
    await workspace.start("polls")
    assert not workspace.net.engine.registry.live
    lock(workspace.folder, make_mod_wheel(index(workspace), "polls", "1.0"))
    done = await lock_changed(workspace)
    assert [(each.mod_id, each.status) for each in done.outcomes] == [("polls", Status.APPLIED)]
    assert (await asked(workspace))["version"] == "1.0"


async def test_what_is_not_in_the_lock_is_not_loaded_by_agents(workspace: Workspace) -> None:
    """An agent may ask for a mod of the lock without network.yaml listing it, and for no other one."""
    lock(workspace.folder, make_mod_wheel(index(workspace), "polls", "1.0"))
    await workspace.start()
    done = await workspace.net.submit(LoadAsked("polls", trusted=False))
    assert [each.status for each in done.outcomes] == [Status.APPLIED]
    lock(workspace.folder)
    await lock_changed(workspace)
    await workspace.net.unload_mod("polls", force=True)
    done = await workspace.net.submit(LoadAsked("polls", trusted=False))
    assert [each.status for each in done.outcomes] != [Status.APPLIED]
    # Nor by a trusted caller: it is nowhere any more.
    done = await workspace.net.submit(LoadAsked("polls"))
    assert [each.status for each in done.outcomes] != [Status.APPLIED]


async def test_a_mod_that_pip_has_installed_is_not_loaded(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mod from outside belongs in the lock; the message says how it gets there."""
    site = workspace.folder.parent / "venv" / "site-packages"
    (site / "polls").mkdir(parents=True)
    (site / "polls" / "__init__.py").write_text(dedent(mod_source("polls", "1.0")))
    monkeypatch.syspath_prepend(str(site))
    try:
        await workspace.start()
        done = await workspace.net.submit(LoadAsked("polls"))
        (outcome,) = done.outcomes
        assert outcome.status is Status.FAILED
        assert "not in pylock.oa-dev.toml: oa-dev add its package" in str(outcome.error)
        assert "polls" not in sys.modules
        await workspace.end()
    finally:
        sys.path.remove(str(site))


async def test_an_unloaded_mod_leaves_nothing_behind(workspace: Workspace) -> None:
    """What is loaded after an upgrade is the new version, though the old one was unloaded before."""
    lock(workspace.folder, make_mod_wheel(index(workspace), "polls", "1.0"))
    await workspace.start("polls")
    await workspace.net.unload_mod("polls")
    assert "polls" not in sys.modules
    lock(workspace.folder, make_mod_wheel(index(workspace), "polls", "1.1"))
    await lock_changed(workspace)
    assert (await asked(workspace))["version"] == "1.1"


async def test_a_version_is_never_mixed_with_another_one(workspace: Workspace) -> None:
    """A module that did not change, and one that is imported late, come from the folder of the new version, too."""
    lock(workspace.folder, make_lazy_wheel(index(workspace), "1.0"))
    await workspace.start("polls")
    lock(workspace.folder, make_lazy_wheel(index(workspace), "1.1"))
    await lock_changed(workspace)
    assert await asked(workspace) == {"versions": ["1.1", "1.1", "1.1"]}


async def test_an_imported_package_of_others_stays_until_a_restart(workspace: Workspace) -> None:
    """The mod whose new version needs it otherwise keeps running as it is, and both are said."""
    source = "import odd_texts\n" + mod_source("polls", "{}")
    for version, needed in (("1.0", "1.0"), ("1.1", "2.0")):
        make_wheel(index(workspace), "odd-texts", needed, {"odd_texts.py": f"VERSION = '{needed}'\n"})
        text = source.replace("{}", version)
        make_mod_wheel(index(workspace), "polls", version, text, requires=[f"odd-texts=={needed}"])
    files = index(workspace).glob
    try:
        lock(workspace.folder, *files("polls-1.0-*"), *files("odd_texts-1.0-*"))
        await workspace.start("polls")
        lock(workspace.folder, *files("polls-1.1-*"), *files("odd_texts-2.0-*"))
        done = await lock_changed(workspace)
        (hold,) = done.plan.holds
        assert "polls 1.1 needs odd-texts 2.0, and 1.0 is imported: a restart takes it" in hold.reason
        assert [str(each) for each in done.plan.not_applied] == ["odd-texts 1.0 → 2.0: needs a restart"]
        assert (await asked(workspace))["version"] == "1.0"
    finally:
        sys.modules.pop("odd_texts", None)


async def test_a_lock_that_is_not_installed_is_said_once(workspace: Workspace) -> None:
    """What runs keeps running; how it is cured stands beside it."""
    lock(workspace.folder, make_mod_wheel(index(workspace), "polls", "1.0"))
    await workspace.start("polls")
    text = (workspace.folder / NAME).read_text()
    (workspace.folder / NAME).write_text(
        text.replace('version = "1.0"', 'version = "1.7"').replace("polls-1.0", "polls-1.7")
    )
    for _ in range(2):
        assert (await lock_changed(workspace)).plan.empty
    said = [each.message for each in workspace.facts if isinstance(each, Notice)]
    assert said == ["1 locked package is not installed · oa-dev sync"]
    assert (await asked(workspace))["version"] == "1.0"


async def test_a_version_that_the_lock_has_otherwise_is_told(workspace: Workspace) -> None:
    """Of a mod, and of one beside it; a save of network.yaml brings neither. The words name what does."""
    beside = {"polls@2": make_mod_wheel(index(workspace), "polls", "2.0")}
    lock(workspace.folder, make_mod_wheel(index(workspace), "polls", "1.0"), lines=beside)
    mod = {"name": "polls", "version": ">=1", "versions": [{"label": "2", "version": "~=2.0"}]}
    network = await workspace.start(mod)
    path = workspace.folder / "network.yaml"
    saves = Saves(network, path, lambda: read_network(path), workspace.facts.append)
    path.write_text(path.read_text().replace(">=1", "<1").replace("~=2.0", "~=2.1"))
    await saves.config_changed()
    said = [each.message for each in workspace.facts if isinstance(each, Notice)]
    assert said == [
        "network.yaml:4 wants polls <1, and 1.0 is locked: oa-dev sync",
        "network.yaml:7 wants polls@2 ~=2.1, and 2.0 is locked: oa-dev sync",
    ]
    assert (await asked(workspace))["version"] == "1.0"


async def test_a_mod_that_the_lock_has_no_more_keeps_running(workspace: Workspace) -> None:
    """A merge may have lost it; that is said, and nothing is ended."""
    lock(workspace.folder, make_mod_wheel(index(workspace), "polls", "1.0"))
    await workspace.start("polls")
    lock(workspace.folder)
    done = await lock_changed(workspace)
    assert ["not in pylock.oa-dev.toml any more" in each.reason for each in done.plan.holds] == [True]
    assert (await asked(workspace))["version"] == "1.0"


async def test_a_source_of_an_installed_mod_is_reloaded_like_any_other(workspace: Workspace) -> None:
    """A developer may edit it where it lies."""
    lock(workspace.folder, make_mod_wheel(index(workspace), "polls", "1.0"))
    await workspace.start("polls")
    (file,) = (workspace.folder / ".oa-dev" / "env").glob("*/polls/__init__.py")
    file.write_text(dedent(mod_source("polls", "1.0 by hand")))
    await workspace.saved(file)
    assert (await asked(workspace))["version"] == "1.0 by hand"
