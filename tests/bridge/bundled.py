"""The mods that the package openagents brings: how something is put into each, and how it is found there again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from workspaces import Workspace

from devserver import Event, EventResponse

KEPT = "what-was-kept"
"""The text that is put into every mod, and looked for."""


@dataclass(frozen=True, slots=True)
class Bundled:
    """One mod: the event that puts something in, the event that shows it (`{key}` is out of the first's answer)."""

    path: str
    put: tuple[str, dict[str, Any]] | None
    show: tuple[str, dict[str, Any]] | None
    config: dict[str, Any] = field(default_factory=dict)
    look: Callable[[Any], Any] | None = None
    """What shows it where no event does: told the instance."""

    @property
    def mod_id(self) -> str:
        """Its short name."""
        return self.path.rpartition(".")[2]

    @property
    def row(self) -> dict[str, Any]:
        """Its entry in network.yaml."""
        return {"name": self.path, "config": self.config}


def _bundled(path: str, *events: tuple[str, dict[str, Any]], **more: Any) -> Bundled:
    put, show = (*events, None, None)[:2]
    return Bundled(f"openagents.mods.{path}", put, show, **more)


MODS = (
    _bundled(
        "workspace.messaging",
        (
            "thread.channel_message.post",
            {"message_type": "channel_message", "channel": "general", "content": {"text": KEPT}},
        ),
        ("thread.channel_messages.retrieve", {"channel": "general"}),
    ),
    _bundled(
        "workspace.wiki",
        ("wiki.page.create", {"page_path": "home", "title": "Home", "wiki_content": KEPT}),
        ("wiki.page.get", {"page_path": "home"}),
    ),
    _bundled(
        "workspace.project",
        ("project.start", {"template_id": "plan", "name": KEPT, "goal": KEPT}),
        ("project.list", {}),
        config={"project_templates": {"plan": {"name": "Plan", "agent_groups": ["guest"]}}},
    ),
    _bundled(
        "workspace.forum",
        ("forum.topic.create", {"action": "create", "title": "Title", "content": KEPT}),
        ("forum.topics.list", {"query_type": "list_topics"}),
    ),
    _bundled(
        "workspace.feed",
        ("feed.post.create", {"title": "Title", "content": KEPT}),
        ("feed.posts.list", {}),
    ),
    _bundled(
        "workspace.documents",
        ("document.create", {"document_name": "Name", "initial_content": KEPT}),
        ("document.get", {"document_id": "{document_id}"}),
    ),
    _bundled(
        "workspace.shared_artifact",
        ("shared_artifact.create", {"name": "Name", "content": KEPT, "mime_type": "text/plain"}),
        ("shared_artifact.get", {"artifact_id": "{artifact_id}"}),
    ),
    _bundled(
        "core.shared_cache",
        ("shared_cache.create", {"value": KEPT, "mime_type": "text/plain"}),
        ("shared_cache.get", {"cache_id": "{cache_id}"}),
    ),
    _bundled("workspace.default", look=lambda mod: mod.list_workspaces()),
    _bundled(
        "coordination.task_delegation",
        ("task.delegate", {"assignee_id": "bob", "description": KEPT}),
        ("task.list", {}),
    ),
    _bundled(
        "discovery.agent_discovery",
        ("discovery.capabilities.set", {"capabilities": {"can": KEPT}}),
        ("discovery.agents.list", {}),
    ),
    _bundled(
        "communication.simple_messaging",
        ("agent.direct_message.sent", {"text": KEPT}),
        look=lambda mod: [each.payload for each in mod.message_history.values()],
    ),
    _bundled(
        "games.agentworld", ("agentworld.login", {"username": KEPT, "token": "t"}), look=lambda m: m.agent_sessions
    ),
    _bundled("test_mods.basic_test", ("test.ping", {}), look=lambda mod: f"{KEPT}{mod.event_count}"),
)


async def put(work: Workspace, mod: Bundled) -> dict[str, Any]:
    """Put something into a mod; its answer's data."""
    if mod.put is None:
        inner(work, mod).create_workspace(KEPT, {})
        return {}
    name, payload = mod.put
    answer = await send(work, name, payload)
    assert answer.success, answer
    return answer.data or {}


async def shown(work: Workspace, mod: Bundled, told: dict[str, Any]) -> str:
    """What a mod shows of what was put into it, as text."""
    if mod.look is not None:
        return str(mod.look(inner(work, mod)))
    assert mod.show is not None
    name, payload = mod.show
    filled = {key: value.format(**told) for key, value in payload.items()}
    answer = await send(work, name, filled)
    assert answer.success, answer
    # What differs with every question is no part of what is shown.
    return str({key: value for key, value in (answer.data or {}).items() if key != "request_id"})


async def send(work: Workspace, name: str, payload: dict[str, Any]) -> EventResponse:
    """Send an event as the agent `ana`."""
    return await work.net.process_event(Event(event_name=name, source_id="ana", payload=dict(payload)))


def inner(work: Workspace, mod: Bundled) -> Any:
    """The instance of openagents that serves."""
    return work.instance(mod.mod_id).inner
