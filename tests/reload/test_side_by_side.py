"""Versions of one mod that run beside each other: who gets which, saves of each, promotion, undo, drop, guard."""

from __future__ import annotations

import asyncio
import gc
import io
import pickle
import threading
import weakref
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import pytest
from workspaces import Workspace, without_mods

from devserver.live.split import ALL, number_of
from devserver.live.tally import Tally
from devserver.loader.modules import compile_text
from devserver.model.change import LineAsked, UndoAsked
from devserver.model.event import Event, EventResponse
from devserver.model.facts import Guarded, Notice, Outcome, SplitSeen, Status
from devserver.model.lifecycle import Action
from devserver.model.principal import Principal, agent_principal
from devserver.model.split import Guard, Line, Rule, StateMode
from devserver.reload.why import Why
from devserver.server.ending import Ending
from devserver.sources.files import digest_of

WIKI = """
    version = "{version}"

    @mod_event_handler("wiki.version.get")
    async def version_of(self, event):
        self.state["asked"] = self.state.get("asked", 0) + 1
        return {{"version": "{version}", "asked": self.state["asked"]}}

    @mod_event_handler("wiki.page.break")
    async def broken(self, event):
        raise KeyError("tags")
"""
"""A mod that says which version it is."""


def wiki(version: int) -> str:
    """The body of one version."""
    return WIKI.format(version=version)


@pytest.fixture
async def work(tmp_path: Path) -> AsyncIterator[Workspace]:
    """A workspace with the mod `mods.wiki`, version 1, which runs."""
    with without_mods():
        workspace = Workspace(tmp_path)
        workspace.mod("wiki", wiki(1))
        await workspace.start("mods.wiki")
        yield workspace
        await workspace.end()


async def version(work: Workspace, by: str = "ana", to: str | None = None) -> Any:
    """The version that an agent meets."""
    return ((await work.ask("wiki.version.get", by=by, to=to)).data or {}).get("version")


async def tried(work: Workspace, **rule: Any) -> None:
    """The wiki with a version beside it, which is version 2."""
    assert (await work.net.try_mod("wiki", Rule(**rule))).success
    await work.save_mod("wiki", wiki(2))


async def test_a_try_leaves_what_runs_and_takes_the_saves(work: Workspace) -> None:
    """From then on a save of the mod runs beside it, for the agents that are named."""
    await tried(work, agents=("ana",))
    assert [await version(work, by=each) for each in ("ana", "bob")] == ["2", "1"]
    assert {mod_id: each["generation"] for mod_id, each in work.net.running_mods().items()} == {
        "wiki": 1,
        "wiki@next": 2,
    }


async def test_a_save_that_fails_rolls_its_line_back_alone(work: Workspace) -> None:
    """The line keeps what it ran, and the mod never knew."""
    await tried(work, agents=("ana",))
    done = await work.save_mod("wiki", "this is wrong(")
    assert [(each.mod_id, each.status) for each in done.outcomes] == [("wiki@next", Status.ROLLED_BACK)]
    assert [await version(work, by=each) for each in ("ana", "bob")] == ["2", "1"]


async def test_each_version_has_an_address(work: Workspace) -> None:
    """`mod:wiki` goes by the split, `wiki@next` and `wiki@main` name a version, by id or by path."""
    await tried(work, agents=("ana",))
    told = [await version(work, to=f"mod:{each}") for each in ("wiki", "wiki@next", "mods.wiki@next", "wiki@main")]
    assert told == ["2", "2", "2", "1"]
    assert await version(work, by="bob", to="mod:wiki@next") == "2"
    refused = await work.ask("wiki.version.get", to="mod:wiki@3")
    assert refused.message == "Target mod wiki@3 not found; wiki has main, next"


def carry_history(work: Workspace) -> None:
    """What can be undone goes through the bytes that a restart in place hands to the next image."""
    history = work.net.engine.knowledge.history
    history.unpack(_PlainValues(io.BytesIO(pickle.dumps(history.pack()))).load())


class _PlainValues(pickle.Unpickler):
    """Another version of this code may read them."""

    def find_class(self, module: str, name: str) -> Any:
        raise AssertionError(f"{module}.{name} was packed")


@pytest.mark.parametrize("restarts", [False, True], ids=["here", "after a restart in place"])
async def test_a_promotion_is_one_reload_that_can_be_undone(work: Workspace, restarts: bool) -> None:
    """The mod runs the line's code with its state, and the line is gone; undo gives back the split as it was."""
    await tried(work, agents=("ana",))
    promoted = await work.net.promote_mod("wiki@next")
    assert (promoted.success, promoted.data["mod_id"], promoted.data["generation"]) == (True, "wiki", 2)
    assert [await version(work, by=each) for each in ("ana", "bob")] == ["2", "2"]
    assert list(work.net.running_mods()) == ["wiki"]
    assert work.modules() == ["mods.wiki"]
    if restarts:
        carry_history(work)
    done = await work.net.submit(UndoAsked())
    assert (done.plan.holds, [each.status for each in done.outcomes]) == ((), [Status.APPLIED])
    assert done.then is not None and [each.mod_id for each in done.then.outcomes] == ["wiki@next"]
    assert [await version(work, by=each) for each in ("ana", "bob")] == ["2", "1"]
    await work.save_mod("wiki", wiki(3))
    assert [await version(work, by=each) for each in ("ana", "bob")] == ["3", "1"]
    [held] = (await work.net.submit(UndoAsked(("wiki",), redo=True))).outcomes
    assert held.reason.startswith("no undo of wiki can be redone")
    assert (await work.net.promote_mod("wiki@next")).success
    assert await version(work, by="bob") == "3"


async def test_a_promotion_brings_what_the_line_runs(work: Workspace) -> None:
    """Not what was saved since and failed."""
    await tried(work)
    await work.save_mod("wiki", "this is wrong(")
    assert (await work.net.promote_mod("wiki@next")).success
    assert await version(work) == "2"


async def test_a_drop_brings_everybody_back(work: Workspace) -> None:
    """The mod runs on as it did, until it is saved again."""
    await tried(work, share=1.0)
    assert await version(work) == "2"
    assert (await work.net.drop_mod("wiki@next")).success
    assert await version(work) == "1"
    await work.save_mod("wiki", wiki(3))
    assert await version(work) == "3"


async def test_a_line_that_ends_gives_its_memory_back(work: Workspace) -> None:
    """Its modules are out of Python's table, its instance is collected."""
    await tried(work)
    await version(work, to="mod:wiki@next")
    held = weakref.ref(work.instance("wiki@next"))
    await work.net.drop_mod("wiki@next")
    for _ in range(100):
        gc.collect()
        if held() is None:
            break
        await asyncio.sleep(0)
    assert held() is None
    assert work.modules() == ["mods.wiki"]


async def test_the_mod_stays_pinned_through_a_save_of_what_both_share(work: Workspace) -> None:
    """A shared module reloads both versions: the mod from the source that it had."""
    head = "from mods import shared"
    body = wiki(1).replace('"version": "1"', '"version": "1" + shared.MARK')
    work.write("mods/shared.py", "MARK = 'a'")
    await work.save_mod("wiki", body, head)
    assert (await work.net.try_mod("wiki", Rule(agents=("ana",)))).success
    await work.save_mod("wiki", body.replace('"1"', '"2"'), head)
    done = await work.save("mods/shared.py", "MARK = 'b'")
    assert sorted(each.mod_id for each in done.outcomes) == ["wiki", "wiki@next"]
    assert [await version(work, by=each) for each in ("ana", "bob")] == ["2b", "1b"]


async def test_a_pinned_mod_is_neither_reloaded_nor_unloaded(work: Workspace) -> None:
    """Who asks is told what to do first; with force both end."""
    await tried(work)
    for answer in (await work.net.reload_mod("wiki"), await work.net.unload_mod("wiki")):
        assert not answer.success
        assert "promote or drop" in answer.message
    assert (await work.net.unload_mod("wiki", force=True)).success
    assert work.net.running_mods() == {}


async def test_other_agents_get_the_line_when_that_is_asked(work: Workspace) -> None:
    """A share is sticky, and is told with the agents that get it now."""
    await tried(work, agents=("ana",))
    await work.net.register_agent("ana")
    chosen = next(each for each in (f"agent-{n}" for n in range(1000)) if number_of("wiki", each) < ALL / 10)
    await work.net.register_agent(chosen)
    assert (await work.net.split_mod("wiki@next", 0.1)).success
    assert await version(work, by=chosen) == "2"
    (seen,) = [each for each in work.facts if isinstance(each, SplitSeen)][-1].lines
    assert (seen.label, seen.gets, seen.share) == ("next", "10 % of agents", 0.1)
    assert chosen in seen.agents
    assert work.net.lines.why(chosen, "wiki")["gets"] == "wiki@next"


async def test_a_line_that_is_not_there_is_said(work: Workspace) -> None:
    """With those that are."""
    net, missing = work.net, "there is no wiki@2; wiki has main"
    answers = [await net.split_mod("wiki@2", 0.5), await net.drop_mod("wiki@2"), await net.promote_mod("wiki@2")]
    failed = "split mod wiki@2", "unload mod wiki@2", "reload mod wiki"
    assert [each.message for each in answers] == [f"Failed to {each}: {missing}" for each in failed]
    answer = await net.split_mod("wiki", 0.5)
    assert answer.message == "Failed to split mod wiki: wiki has no version beside it: oa-dev try wiki makes one"
    assert "already" in (await try_twice(work)).message


async def try_twice(work: Workspace) -> Any:
    """The answer to a second line of the same name."""
    await work.net.try_mod("wiki")
    return await work.net.try_mod("wiki")


# The announcement's A/B


async def test_two_paths_split_the_agents_and_share_the_state(work: Workspace) -> None:
    """`wiki_v2` beside `wiki_v1` gets half of the agents; both count in one state; promoted, it serves under the id."""
    work.mod("wiki_v1", wiki(1))
    work.mod("wiki_v2", wiki(2))
    entry = {"name": "mods.wiki_v1", "versions": [{"name": "mods.wiki_v2", "share": "50%"}]}
    await work.save_yaml(entry)
    agents = [f"agent-{number}" for number in range(40)]
    answers = [(await work.ask("wiki.version.get", by=each)).data for each in agents]
    assert {each["version"] for each in answers} == {"1", "2"}
    assert [each["asked"] for each in answers] == list(range(1, 41))
    assert await version(work, to="mod:wiki_v2") == "2"
    why = work.net.lines.why("agent-0", "wiki_v2")
    assert why is not None and why["mod_id"] == "wiki_v1"
    assert (await work.net.split_mod("mods.wiki_v2", 0.5)).success is False, "it gets 50 % already"
    assert (await work.net.promote_mod("wiki_v2")).success
    after = [(await work.ask("wiki.version.get", by=each)).data for each in agents]
    assert {each["version"] for each in after} == {"2"}
    assert after[-1]["asked"] == 81
    assert list(work.net.running_mods()) == ["wiki_v1"]
    await work.save_yaml(entry, "mods.wiki")
    assert list(work.net.running_mods()) == ["wiki_v1", "wiki"], "a line that was promoted does not come back by itself"
    carry_history(work)
    await work.net.submit(UndoAsked(("wiki_v1",)))
    assert await version(work, to="mod:wiki_v1@main") == "1"
    assert [(await work.ask("wiki.version.get", by=each)).data["version"] for each in agents] == [
        each["version"] for each in answers
    ], "each agent meets the version that it met before the promotion"


async def test_the_library_loads_a_mod_beside_another(work: Workspace) -> None:
    """`load_mod(…, beside=, share=)`."""
    work.mod("wiki_v2", wiki(2))
    answer = await work.net.load_mod("mods.wiki_v2", beside="wiki", share=1.0)
    assert (answer.success, answer.data["mod_id"]) == (True, "wiki@v2")
    assert await version(work) == "2"
    row = work.net.get_loaded_mods()["wiki@v2"]
    assert (row["line_of"], row["share"], row["label"]) == ("wiki", 1.0, "v2")
    assert work.net.get_network_stats()["dynamic_mods"]["lines"] == 1
    assert [each["mod_id"] for each in work.net.mods()] == ["wiki"]


async def test_network_yaml_brings_changes_and_ends_lines(work: Workspace) -> None:
    """A version that is listed is loaded, one whose share changes is split, one that is gone is unloaded."""
    work.mod("other", wiki(2))

    def entry(**rest: Any) -> dict[str, Any]:
        return {"name": "mods.wiki", "versions": [{"label": "2", "name": "mods.other", **rest}]}

    done = await work.save_yaml(entry(share="10%"))
    assert [(each.action, each.mod_id) for each in done.outcomes] == [(Action.LOAD, "wiki@2")]
    done = await work.save_yaml(entry(share="100%"))
    assert [(each.action, each.mod_id) for each in done.outcomes] == [(Action.SPLIT, "wiki@2")]
    assert await version(work) == "2"
    done = await work.save_yaml(entry(state="empty"))
    assert [(each.action, each.mod_id) for each in done.outcomes] == [(Action.RELOAD, "wiki@2")]
    done = await work.save_yaml("mods.wiki")
    assert [(each.action, each.mod_id) for each in done.outcomes] == [(Action.UNLOAD, "wiki@2")]
    assert await version(work) == "1"


async def test_lines_of_network_yaml_are_there_after_a_start(work: Workspace) -> None:
    """With the same agents in them."""
    work.mod("other", wiki(2))
    await work.save_yaml({"name": "mods.wiki", "versions": [{"label": "2", "name": "mods.other", "share": "50%"}]})
    agents = [f"agent-{number}" for number in range(20)]
    before = [await version(work, by=each) for each in agents]
    await work.end()
    await work.run()
    assert [await version(work, by=each) for each in agents] == before


# Chains

CHAIN = """
    @mod_event_handler("{name}.go.on")
    async def go(self, event):
        answer = await self.network.ask("mod:{to}", "{to}.go.on")
        return {{"way": ["{name}{version}", *answer.data["way"]]}}
"""
END = """
    @mod_event_handler("last.go.on")
    async def go(self, event):
        again = await self.network.ask("mod:split", "split.go.back")
        return {"way": ["last", *again.data["way"]]}
"""


def middle(version: int) -> str:
    """A mod in the middle of a chain, which is also asked at its end."""
    back = f"""
    @mod_event_handler("split.go.back")
    async def back(self, event):
        return {{"way": ["split{version}"]}}
"""
    return CHAIN.format(name="split", to="last", version=version) + back


async def test_a_line_that_is_tried_ends_with_the_run_and_that_is_said(work: Workspace) -> None:
    """The next start runs its code for all agents; a line of network.yaml comes back, and is not named."""
    work.mod("board", wiki(1).replace("wiki.", "board."))
    await work.save_yaml("mods.wiki", {"name": "mods.board", "versions": [{"label": "next"}]})
    await work.net.try_mod("wiki")
    home = SimpleNamespace(stop=lambda seconds: True, thread=threading.current_thread())
    connections = AsyncMock()
    said: list[Notice] = []
    await Ending(work.net, home, connections, said.append).run(())  # type: ignore[arg-type]
    # Those of other tests, as the nursery, are children of this process, too.
    assert [each.message for each in said if not each.message.startswith("left behind")] == [
        "wiki@next is not in network.yaml: at the next start the code on disk runs for all agents"
    ]


async def test_a_chain_of_events_meets_one_version(work: Workspace) -> None:
    """What mods send while they handle an agent's event goes where the agent's own events go."""
    work.mod("first", CHAIN.format(name="first", to="split", version=""))
    work.mod("split", middle(1))
    work.mod("two", middle(2))
    work.mod("last", END)
    line = {"label": "2", "name": "mods.two", "agents": ["ana"]}
    await work.save_yaml("mods.first", {"name": "mods.split", "versions": [line]}, "mods.last")
    ways = [(await work.ask("first.go.on", by=by, to="mod:first")).data["way"] for by in ("ana", "bob")]
    assert ways == [["first", "split2", "last", "split2"], ["first", "split1", "last", "split1"]]


async def test_a_line_hears_no_event_of_its_own_mod(work: Workspace) -> None:
    """Whichever version sends: to others both are one mod, under its plain name."""
    sends = """
    version = "{version}"

    @mod_event_handler("wiki.note.send")
    async def send(self, event):
        await self.send_event(Event(event_name="wiki.note.sent"))
        return {{}}

    @mod_event_handler("wiki.note.sent")
    async def sent(self, event):
        self.state.setdefault("heard", []).append("{version}")
    """
    hears = """
    @mod_event_handler("wiki.note.sent")
    async def sent(self, event):
        self.state.setdefault("from", []).append(event.source_id)
    """
    work.mod("other", sends.format(version=2))
    work.mod("hears", hears)
    await work.save_mod("wiki", sends.format(version=1))
    await work.save_yaml({"name": "mods.wiki", "versions": [{"name": "mods.other", "agents": ["ana"]}]}, "mods.hears")
    for agent in ("ana", "bob"):
        assert (await work.ask("wiki.note.send", by=agent)).success
    assert work.instance("wiki").state == {}
    assert work.instance("hears").state["from"] == ["mod:mods.wiki", "mod:mods.wiki"]


# State

PAGES = """
    version = "{version}"

    def initialize(self):
        self.state.setdefault("pages", {{}})["home"] = Page("home")
        return True

    @mod_event_handler("wiki.version.get")
    async def get(self, event):
        page = self.state["pages"]["home"]
        return {{"version": "{version}" if type(page) is Page else "another class"}}
"""
PAGE = "import dataclasses\n@dataclasses.dataclass\nclass Page:\n    title: str\n"


async def test_objects_of_the_mod_cannot_be_shared(work: Workspace) -> None:
    """The load is refused, with the key that holds them."""
    await work.save_mod("wiki", PAGES.format(version=1), PAGE)
    answer = await work.net.try_mod("wiki")
    assert not answer.success
    assert "state holds 1 Page object (key pages): say state: copy, or keep dicts" in answer.message
    assert list(work.net.running_mods()) == ["wiki"]
    await work.save_mod("wiki", PAGES.format(version=3), PAGE)
    assert await version(work) == "3", "a try that failed pins nothing"


async def test_a_copied_state_holds_objects_of_the_lines_own_classes(work: Workspace) -> None:
    """And promoted with --mine it holds those of the mod again."""
    await work.save_mod("wiki", PAGES.format(version=1), PAGE)
    line = Line(label="next", rule=Rule(agents=("ana",)), state=StateMode.COPY)
    done = await work.net.submit(LineAsked("wiki", line))
    assert [each.status for each in done.outcomes] == [Status.APPLIED]
    assert [await version(work, by=each) for each in ("ana", "bob")] == ["1", "1"]
    work.instance("wiki@next").state["pages"]["mine"] = 1
    unsaid = await work.net.promote_mod("wiki@next")
    assert "--main keeps the state of wiki, --mine that of wiki@next" in unsaid.message
    assert (await work.net.promote_mod("wiki@next", keep="line")).success
    assert work.instance("wiki").state["pages"]["mine"] == 1
    assert await version(work) == "1"


async def test_a_mod_that_only_one_can_be_has_no_lines(work: Workspace) -> None:
    """An exclusive mod owns what a second one could not have."""
    await work.save_mod("wiki", wiki(1) + '\n    reload_mode = "exclusive"\n')
    assert "reload_mode is exclusive" in (await work.net.try_mod("wiki")).message


# Guards


async def test_a_guard_takes_a_line_out_within_one_event(work: Workspace) -> None:
    """The sixth of a hundred that fails is one too many for 5 percent; the line stays, to be looked at."""
    await tried(work, agents=("ana",))
    for number in range(1, 7):
        await work.ask("wiki.page.break", by="ana", to="mod:wiki")
        assert len([each for each in work.facts if isinstance(each, Guarded)]) == (number == 6)
    assert await version(work) == "1"
    assert "wiki@next" in work.net.running_mods()
    assert "6 of its last 6 failed (guard 5 %)" in work.net.running_mods()["wiki@next"]["out"]
    assert (await work.net.split_mod("wiki@next", Rule(agents=("ana",)))).success
    assert await version(work) == "2"


async def test_a_save_lets_a_line_in_again(work: Workspace) -> None:
    """What was wrong with the code before says nothing of the next."""
    await tried(work, agents=("ana",))
    for _ in range(6):
        await work.ask("wiki.page.break", by="ana", to="mod:wiki")
    assert await version(work) == "1"
    await work.save_mod("wiki", wiki(3))
    assert await version(work) == "3"


async def test_a_guard_counts_the_mods_errors_where_they_share_a_state(work: Workspace) -> None:
    """What the line writes may break the mod."""
    await tried(work, agents=("ana",))
    for _ in range(6):
        await work.ask("wiki.page.break", by="bob", to="mod:wiki")
    assert "wiki raised 6 times since wiki@next shares its state" in work.net.running_mods()["wiki@next"]["out"]


def test_a_guard_looks_at_the_last_events_alone() -> None:
    """Failures that are long ago count no more."""
    tally, guard = Tally(), Guard(0.05, 100)
    for number in range(300):
        tally.note(0.001, "broken" if number % 20 == 0 else "")
    assert tally.failures(guard) == 5
    assert not tally.trips(guard)


# What fails


async def asked(work: Workspace, what: str, principal: Principal, **payload: Any) -> EventResponse:
    """The network's answer to `system.mod.<what>` of an agent."""
    event = Event(event_name=f"system.mod.{what}", source_id=principal.id, payload=payload)
    return await work.net.ingest(event, principal)


FAILS = {
    "hand over": "\n    def restore_state(self, state):\n        raise ValueError('no')",
    "import": "\n    raise_at_import = 1 / 0",
    "construct": "\n    def __init__(self):\n        raise ValueError('no')",
    "initialize": "\n    def initialize(self):\n        return self.network.network_id != 'x' and 1 / 0",
}


@pytest.mark.parametrize("phase", FAILS)
async def test_a_promotion_that_fails_leaves_everything_as_it_was(work: Workspace, phase: str) -> None:
    """Whatever phase it fails in, split and versions stay, and so do the saves of the mod."""
    await tried(work, agents=("ana",))
    line = work.net.engine.registry.find("wiki@next")
    assert line is not None and line.live is not None
    loaded = work.net.engine.modules.get(line.live.entry)
    assert loaded is not None
    text = loaded.text.data + FAILS[phase].encode()
    loaded.text = compile_text(loaded.path, text, digest_of(text))
    if phase == "hand over":
        work.instance("wiki").capture_state = dict
    assert not (await work.net.promote_mod("wiki@next")).success
    assert [await version(work, by=each) for each in ("ana", "bob")] == ["2", "1"]
    await work.save_mod("wiki", wiki(4))
    assert [await version(work, by=each) for each in ("ana", "bob")] == ["4", "1"]


async def test_agents_with_the_right_widen_and_promote_a_line_by_event(work: Workspace) -> None:
    """`system.mod.split` and `system.mod.promote`; an agent without it is refused, and nothing changes."""
    await tried(work, agents=("ana",))
    builder = agent_principal("builder", ("mods:write",))
    refused = await asked(work, "split", agent_principal("ana"), line="wiki@next", share=1.0)
    assert not refused.success and await version(work, by="bob") == "1"
    assert (await asked(work, "split", builder, line="wiki@next", share=1.0)).success
    assert await version(work, by="bob") == "2"
    assert (await asked(work, "promote", builder, line="wiki@next")).success
    assert list(work.net.running_mods()) == ["wiki"]


async def test_why_says_what_a_line_is_and_which_there_are(work: Workspace) -> None:
    """Beside which mod it runs, with what code and for whom; another label is no package of that name."""
    await tried(work, agents=("ana",))
    engine = work.net.engine
    line, nowhere = (Why(engine.knowledge, engine.modules).of(each) for each in ("wiki@next", "wiki@3"))
    assert line["beside"] == {"mod_id": "wiki", "gets": "the file on disk · ana · state shared · guard 5 %"}
    assert (nowhere["kind"], nowhere["reason"]) == ("unknown", "there is no wiki@3; wiki has main, next")


async def test_what_a_line_does_is_told_as_outcomes_of_its_own(work: Workspace) -> None:
    """Programs see the line by its id, and agents see nothing of it."""
    await work.net.register_agent("ana")
    await tried(work, agents=("ana",))
    outcomes = [each for fact in work.facts for each in getattr(fact, "outcomes", ()) if isinstance(each, Outcome)]
    assert [each.mod_id for each in outcomes] == ["wiki", "wiki@next", "wiki@next"]
    agent = work.net.directory.agent("ana")
    assert agent is not None
    assert agent.outbox.take_nowait() == []
