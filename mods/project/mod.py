"""The project mod: answers `project.*`, and tells those who take part in a project of its start and its end.

What a project is and what may be done to it is decided in `projects`. Event names and payload keys are those of
OpenAgents.
"""

from __future__ import annotations

from typing import Any

from devserver import BaseMod, Event, EventResponse, mod_event_handler
from mods.lib.ask import Refused, answers, done, optional_text, sender_of, text, texts, yes
from mods.project import projects
from mods.project.projects import COMPLETED, STATUSES, STOPPED, Limits, Project, Start, Template

LONGEST_TEXT = 4000
MOST_COLLABORATORS = 50


class ProjectMod(BaseMod):
    """Projects with a goal. Whoever starts one says who takes part; the template's agent groups join besides."""

    version = "1.0"

    limits: Limits
    templates: dict[str, Template]

    def initialize(self) -> bool:
        """Read limits and templates. Raises ValueError for a configuration that cannot be used."""
        self.limits = Limits.of(self.config)
        self.templates = projects.templates_of(self.config)
        self.state.setdefault("projects", {})
        return True

    @mod_event_handler("project.template.list")
    @answers
    def list_templates(self, event: Event) -> EventResponse:
        """The templates of the configuration."""
        shown = [template.shown() for template in self.templates.values()]
        return done(f"{len(shown)} templates", templates=shown)

    @mod_event_handler("project.start")
    @answers
    async def start(self, event: Event) -> EventResponse:
        """Start a project with a `goal`, optionally a `name`, a `template_id` and `collaborators`."""
        wish = self._wish(event)
        project = projects.start(self.state["projects"], self.limits, wish, self._members(wish.template))
        keys = ("project_id", "goal", "context", "initiator_agent_id", "template_id", "started_timestamp")
        await self._tell(project, "started", {key: project[key] for key in keys})
        return done(
            f"Started {project['name']}",
            project_id=project["project_id"],
            authorized_agents=list(project["authorized_agents"]),
        )

    @mod_event_handler("project.list")
    @answers
    def list_projects(self, event: Event) -> EventResponse:
        """The asking agent's projects, optionally of one `status`, or without ended ones (`include_archived`)."""
        status = optional_text(event, "status")
        if status not in (None, *STATUSES):
            raise Refused(f"{status!r} is no status; there are {', '.join(STATUSES)}")
        with_ended = yes(event, "include_archived", True)
        found = projects.of_agent(self.state["projects"], sender_of(event), status, with_ended)
        return done(f"{len(found)} projects", projects=found, total_count=len(found))

    @mod_event_handler("project.get")
    @answers
    def get(self, event: Event) -> EventResponse:
        """The project `project_id`, for every agent that knows the id."""
        project = self._project(event)
        return done(f"{project['name']} is {project['status']}", project=dict(project))

    @mod_event_handler("project.stop")
    @answers
    async def stop(self, event: Event) -> EventResponse:
        """Stop a project, optionally with a `reason`."""
        reason = optional_text(event, "reason", LONGEST_TEXT)
        project = self._project(event)
        projects.end(project, STOPPED, sender_of(event), event.timestamp)
        facts = {"stopped_by": sender_of(event), "reason": reason, "stopped_timestamp": event.timestamp}
        await self._tell(project, "stopped", {"project_id": project["project_id"], **facts})
        return done(f"Stopped {project['name']}", project_id=project["project_id"], stopped_timestamp=event.timestamp)

    @mod_event_handler("project.complete")
    @answers
    async def complete(self, event: Event) -> EventResponse:
        """Complete a project with a `summary` of what came out of it."""
        summary = text(event, "summary", LONGEST_TEXT)
        project = self._project(event)
        projects.end(project, COMPLETED, sender_of(event), event.timestamp, summary)
        facts = {"completed_by": sender_of(event), "summary": summary, "completed_timestamp": event.timestamp}
        await self._tell(project, "completed", {"project_id": project["project_id"], **facts})
        return done(
            f"Completed {project['name']}", project_id=project["project_id"], completed_timestamp=event.timestamp
        )

    def _wish(self, event: Event) -> Start:
        return Start(
            goal=text(event, "goal", LONGEST_TEXT),
            by=sender_of(event),
            at=event.timestamp,
            name=optional_text(event, "name"),
            collaborators=tuple(texts(event, "collaborators", MOST_COLLABORATORS)),
            template=self._template(event),
        )

    def _template(self, event: Event) -> Template:
        template_id = optional_text(event, "template_id")
        if template_id is None:
            return projects.NO_TEMPLATE
        if template_id not in self.templates:
            raise Refused(f"there is no template {template_id!r}, only {', '.join(self.templates) or 'none at all'}")
        return self.templates[template_id]

    def _members(self, template: Template) -> list[str]:
        groups = template.agent_groups
        return [agent for agent in self.network.agents() if self.network.agent_group(agent) in groups]

    def _project(self, event: Event) -> Project:
        return projects.find(self.state["projects"], text(event, "project_id"))

    async def _tell(self, project: Project, what: str, payload: dict[str, Any]) -> None:
        name = f"project.notification.{what}"
        for agent_id in tuple(project["authorized_agents"]):
            event = Event(event_name=name, destination_id=f"agent:{agent_id}", payload=dict(payload))
            answer = await self.send_event(event)
            if not answer.success:
                self.log.info("%s for %s was refused: %s", name, agent_id, answer.message)
