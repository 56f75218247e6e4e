"""An agent may ask a person for a mod: within bounds, once, and it hears what was answered."""

from __future__ import annotations

from typing import Any

import pytest

from devserver.errors import DevServerError
from devserver.model.config import NetworkConfig
from devserver.model.event import Event
from devserver.model.facts import Fact, ModAsked
from devserver.model.principal import Principal, agent_principal
from devserver.network.agents import Directory
from devserver.network.asks import ANSWERED, MOST, MOST_OF_AGENT, Asks, AskState, to_dict
from devserver.network.system import run_system


class Shelf:
    """Mods that can be had: every name but `nowhere`; `evil` is blocked."""

    async def search(self, words: str) -> dict[str, Any]:
        return {"mods": [], "found": 0, "of": 4, "words": words}

    async def listing(self, name: str) -> dict[str, Any]:
        if name == "nowhere":
            raise DevServerError("there is no nowhere in mods-index")
        blocked = "steals" if name == "evil" else None
        return {"name": name, "version": "1.0", "catalogue": "mods-index", "sha256": "ab" * 32, "blocked": blocked}


class Context:
    """A network with agents and with mods that can be had."""

    def __init__(self) -> None:
        self.directory = Directory(NetworkConfig("test", grants={"builder": ("mods:ask",)}))
        self.told: list[Fact] = []
        self.shelf = Shelf()
        self.asks = Asks(self.shelf, self.directory, self.told.append)
        self.agent = self.directory.register("builder", {}, trusted=True).agent

    async def ask(self, command: str, payload: dict[str, Any], principal: Principal):
        event = Event(event_name=f"system.mod.{command}", source_id=principal.id, payload=payload)
        return await run_system(self, event, principal)  # type: ignore[arg-type]


@pytest.fixture
def context() -> Context:
    """One agent that may ask."""
    return Context()


BUILDER = agent_principal("builder", ("mods:ask",))


async def test_an_agent_asks_and_hears_the_answer(context):
    """A person is told; the agent has its number at once, and the answer later."""
    answer = await context.ask("ask", {"name": "polls", "why": "ana wants a vote"}, BUILDER)
    told = {"asked": 1, "state": "waiting", "name": "polls", "version": "1.0"}
    assert (answer.success, told.items() <= answer.data.items()) == (True, True)
    assert context.told == [
        ModAsked(
            number=1, agent_id="builder", name="polls", version="1.0", catalogue="mods-index", why="ana wants a vote"
        )
    ]
    assert context.agent.outbox.take_nowait() == []
    context.asks.answer(1, added=True)
    notices = [each.event for each in context.agent.outbox.take_nowait()]
    assert [(each.event_name, each.payload["asked"], each.payload["state"]) for each in notices] == [
        (ANSWERED, 1, "added")
    ]
    assert context.asks.answer(1, added=False) is None


@pytest.mark.parametrize("command", ["ask", "search"])
async def test_only_who_was_granted_it_may_ask(context, command):
    """By network.yaml, and with a proof of its id."""
    answer = await context.ask(command, {"name": "polls"}, agent_principal("ana"))
    assert (answer.success, answer.data["code"]) == (False, "not_allowed")
    assert context.told == []


async def test_an_agent_searches(context):
    """And gets what a person would."""
    answer = await context.ask("search", {"words": "poll"}, BUILDER)
    assert (answer.success, answer.data["words"], answer.message) == (True, "poll", "0 of 4 mods")
    assert (await context.ask("search", {"words": 7}, BUILDER)).data["code"] == "bad_payload"
    assert len((await context.ask("search", {"words": "x" * 9999}, BUILDER)).data["words"]) == 200


async def test_the_same_question_twice_is_one(context):
    """A person is told once."""
    first = await context.ask("ask", {"name": "polls"}, BUILDER)
    second = await context.ask("ask", {"name": "polls", "why": "still"}, BUILDER)
    assert (first.data["asked"], second.data["asked"], len(context.told)) == (1, 1, 1)
    context.asks.answer(1, added=False)
    assert (await context.ask("ask", {"name": "polls"}, BUILDER)).data["asked"] == 2


async def test_an_agent_waits_for_so_many_answers_and_all_agents_for_so_many(context):
    """Neither one agent nor all of them bury a person in questions."""
    answers = [await context.ask("ask", {"name": f"mod-{number}"}, BUILDER) for number in range(MOST_OF_AGENT + 1)]
    assert [each.success for each in answers] == [True] * MOST_OF_AGENT + [False]
    assert answers[-1].data["code"] == "too_many"
    for number in range(MOST):
        last = await context.ask("ask", {"name": "polls"}, agent_principal(f"a{number}", ("mods:ask",)))
    assert (last.data["code"], len(context.asks.waiting())) == ("too_many", MOST)
    context.asks.answer(1, added=False)
    assert (await context.ask("ask", {"name": "mod-9"}, BUILDER)).success


@pytest.mark.parametrize(("name", "code"), [("nowhere", "unknown_mod"), ("evil", "blocked"), ("", "bad_payload")])
async def test_what_nobody_could_add_is_refused_at_once(context, name, code):
    """A person is not asked for it."""
    assert (await context.ask("ask", {"name": name}, BUILDER)).data["code"] == code
    assert context.told == []


async def test_what_waits_survives_a_restart_in_place(context):
    """With its number, and the digest that was asked for."""
    await context.ask("ask", {"name": "polls", "why": "y" * 500}, BUILDER)
    context.asks.answer(1, added=True)
    await context.ask("ask", {"name": "glossary"}, BUILDER)
    after = Asks(Shelf(), context.directory, context.told.append)
    after.unpack(context.asks.pack())
    assert after.waiting() == context.asks.waiting()
    found = after.find(1)
    assert found is not None
    assert (found.state, len(found.why), to_dict(found)["state"]) == (AskState.ADDED, 200, "added")
    assert (await after.ask_for("builder", "reminders", "")).number == 3
