"""What holds for each sample mod: odd payloads are answered, network.yaml is right, state is plain."""

from __future__ import annotations

import copy
import importlib
import json

import pytest
import yaml

from devserver import BaseMod, EventResponse
from devserver.mod import handler_patterns
from mods.analytics.mod import AnalyticsMod
from mods.heavy_analytics.mod import HeavyAnalyticsMod
from mods.messaging.mod import MessagingMod
from mods.messaging_v1 import MessagingV1Mod
from mods.messaging_v2 import MessagingV2Mod
from mods.project.mod import ProjectMod
from mods.wiki.mod import WikiMod

CONFIG = {HeavyAnalyticsMod: {"rows": 100}}

# For each mod its events, each with a payload that succeeds once those above it were sent.
FLOWS = {
    AnalyticsMod: [("analytics.report.get", {"limit": 5, "request_id": "r"})],
    HeavyAnalyticsMod: [("heavy_analytics.query", {"series": 1, "first_minute": 0, "last_minute": 3})],
    MessagingV1Mod: [
        ("thread.channel_message.post", {"channel": "general", "text": "hello"}),
        ("thread.channel_messages.retrieve", {"channel": "general", "limit": 5}),
    ],
    MessagingV2Mod: [
        ("thread.channel_message.post", {"channel": "general", "text": "hello"}),
        ("thread.channel_messages.retrieve", {"channel": "general", "limit": 5}),
    ],
    MessagingMod: [
        (
            "thread.channel_message.post",
            {
                "channel": "general",
                "content": {"text": "hello", "files": []},
                "text": "hello",
                "mentioned_agent_id": "ben",
                "reply_to_id": "m",
                "quoted_message_id": "m",
            },
        ),
        ("thread.direct_message.send", {"target_agent_id": "ben", "content": {"text": "hello"}}),
        ("thread.reply.post", {"reply_to_id": "e0", "text": "hello", "quoted_message_id": "e0"}),
        ("thread.reply.sent", {"reply_to_id": "e0", "text": "hello"}),
        ("thread.reaction.add", {"target_message_id": "e0", "reaction_type": "ok"}),
        ("thread.reaction.remove", {"target_message_id": "e0", "reaction_type": "ok"}),
        ("thread.reaction.toggle", {"target_message_id": "e0", "reaction_type": "ok"}),
        ("thread.channels.list", {"request_id": "r"}),
        ("thread.channels.info", {"request_id": "r"}),
        (
            "thread.channel_messages.retrieve",
            {"channel": "general", "limit": 5, "offset": 0, "include_threads": True, "request_id": "r"},
        ),
        ("thread.messages.retrieve", {"channel": "general"}),
        ("thread.direct_messages.retrieve", {"target_agent_id": "ben", "limit": 5, "offset": 0}),
    ],
    WikiMod: [
        (
            "wiki.page.create",
            {"page_path": "p", "title": "t", "wiki_content": "c", "category": "k", "tags": ["g"], "request_id": "r"},
        ),
        ("wiki.page.get", {"page_path": "p", "version": 1}),
        ("wiki.page.edit", {"page_path": "p", "wiki_content": "d", "base_version": 1}),
        ("wiki.page.revert", {"page_path": "p", "target_version": 1}),
        ("wiki.page.history", {"page_path": "p", "limit": 5}),
        ("wiki.pages.list", {"category": "k", "limit": 5}),
        ("wiki.pages.search", {"query": "c", "limit": 5}),
    ],
    ProjectMod: [
        ("project.template.list", {}),
        ("project.start", {"goal": "g", "name": "n", "template_id": None, "collaborators": ["ben"]}),
        ("project.list", {"status": "running", "include_archived": True}),
        ("project.get", {"project_id": "?"}),
        ("project.stop", {"project_id": "?", "reason": "r"}),
        ("project.complete", {"project_id": "?", "summary": "s"}),
    ],
}

ODD_JSON = json.loads(
    r"""[null, true, false, 0, -1, 1.5, 1e308, 123456789012345678901234567890, "", "  ", "\u0000", "\ud800", "x",
    [], [1], [null], [[]], ["x", {"text": 1}], {}, {"text": null}, {"text": 1}, {"text": "x", "files": 7},
    {"text": "x", "files": [{"a": [1.5]}]}, {"a": {"b": {}}}]"""
)
ODD_VALUES = [*ODD_JSON, "y" * 100_000]


@pytest.fixture(params=FLOWS, ids=lambda mod_class: mod_class.__name__)
async def mod(request, network, start):
    """Each of the mods in turn, with two agents."""
    network.join("ana", "ben")
    return await start(request.param, CONFIG.get(request.param))


async def test_the_flow_of_every_event_is_known_here(mod):
    """No event that a mod answers is missing from these tests."""
    patterns = {pattern for each in vars(type(mod)).values() for pattern in handler_patterns(each)}

    assert patterns - {"*"} == {name for name, _payload in FLOWS[type(mod)]}


async def test_any_json_under_any_key_is_answered(mod, ask):
    """Nothing raises, everything is answered, and a refusal is a sentence."""
    keys = sorted({"of_no_mod"}.union(*(payload for _name, payload in FLOWS[type(mod)])))
    for number, (name, payload) in enumerate(FLOWS[type(mod)]):
        await ask(mod, name, payload, event_id=f"e{number}")
    for name, payload in FLOWS[type(mod)]:
        for key in keys:
            for odd in ODD_VALUES:
                answer = await ask(mod, name, copy.deepcopy({**payload, key: odd}))
                assert isinstance(answer, EventResponse), (name, key, odd)
                assert isinstance(answer.message, str)
                assert len(answer.message) > 3, (name, key, odd)
                assert json.dumps(answer.to_dict()), (name, key, odd)


async def test_an_empty_payload_is_refused_or_needs_nothing(mod, ask):
    """What is missing is named."""
    for name, _payload in FLOWS[type(mod)]:
        answer = await ask(mod, name)
        needs_nothing = name.endswith((".list", ".info", ".report.get"))
        assert answer.success is needs_nothing
        assert needs_nothing or " is missing" in answer.message


async def test_other_events_pass(mod, ask):
    """A mod answers its own events only."""
    assert await ask(mod, "some.other.event", {"channel": "general", "text": "hello"}) is None


async def test_state_is_plain_data(mod, ask):
    """It is what JSON can say, so it can be shown, stored and taken over by any generation."""
    for number, (name, payload) in enumerate(FLOWS[type(mod)]):
        await ask(mod, name, payload, event_id=f"e{number}")

    assert json.loads(json.dumps(mod.state)) == mod.state


class Sample:
    """What network.yaml says."""

    def __init__(self, path) -> None:
        self.network = yaml.safe_load(path.read_text(encoding="utf-8"))["network"]
        self.mods = {each["name"]: each for each in self.network["mods"]}


@pytest.fixture
def sample(request) -> Sample:
    """The sample network."""
    return Sample(request.config.rootpath / "network.yaml")


async def test_every_mod_of_the_sample_network_starts_with_its_configuration(sample, network, start):
    """Under the class name that its path asks for, those that are not enabled too."""
    for path, listed in sample.mods.items():
        module = importlib.import_module(f"{path}.mod")
        name = "".join(map(str.title, path.rpartition(".")[2].split("_"))) + "Mod"
        mod_class = getattr(module, name)
        assert issubclass(mod_class, BaseMod)
        config = listed.get("config") or {}
        await start(mod_class, config | ({"rows": 100} if "rows" in config else {}))


def test_analytics_is_asked_first(sample):
    """Otherwise it would not see what those before it answer."""
    assert next(iter(sample.mods)) == "mods.analytics"


def test_the_sample_network_is_open_on_this_machine_alone(sample):
    """Loopback, with the default group open to all and the agent groups that templates name at hand."""
    assert sample.network["transports"] == [{"type": "http", "config": {"host": "127.0.0.1", "port": 8700}}]
    groups = sample.network["agent_groups"]
    assert "password_hash" not in groups[sample.network["default_agent_group"]]
    templates = sample.mods["mods.project"]["config"]["project_templates"]
    assert {group for each in templates.values() for group in each["agent_groups"]} <= set(groups)
