"""The project mod: answers `project.*`, and tells those who take part in a project of its start and its end.

What a project is and what may be done to it is decided in `projects`. Event names and payload keys are those of
OpenAgents.
"""

from __future__ import annotations

from typing import Any

from devserver import BaseMod, Event, EventResponse, Refused, mod_event_handler
from mods.lib.ask import done, sender_of
from mods.project import projects
from mods.project.payloads import CompleteProject, GetProject, ListProjects, StartProject, StopProject
from mods.project.projects import COMPLETED, STOPPED, Project, Rules, Start, Template


class ProjectMod(BaseMod):
    """Projects with a goal. The agent that starts one names the collaborators; the template's agent groups join too."""

    version = "1.0"

    Config = Rules
    config: Rules

    def initialize(self) -> bool:
        """Begin with no projects, or go on with those that there are."""
        self.state.setdefault("projects", {})
        return True

    @mod_event_handler("project.template.list")
    def list_templates(self, event: Event) -> EventResponse:
        """List the templates of the configuration."""
        shown = [template.shown(template_id) for template_id, template in self.config.project_templates.items()]
        return done(f"{len(shown)} templates", templates=shown)

    @mod_event_handler("project.start")
    async def start(self, event: Event, wanted: StartProject) -> EventResponse:
        """Start a project; the members of its template's agent groups take part beside the collaborators."""
        wish = self._wish(event, wanted)
        project = projects.start(self.state["projects"], self.config, wish, self._members(wish.template))
        keys = ("project_id", "goal", "context", "initiator_agent_id", "template_id", "started_timestamp")
        await self._tell(project, "started", {key: project[key] for key in keys})
        return done(
            f"Started {project['name']}",
            project_id=project["project_id"],
            authorized_agents=list(project["authorized_agents"]),
        )

    @mod_event_handler("project.list")
    def list_projects(self, event: Event, wanted: ListProjects) -> EventResponse:
        """List the asking agent's projects, of one status or of all, with or without those that have ended."""
        everything = self.state["projects"]
        found = projects.of_agent(everything, sender_of(event), wanted.status, wanted.include_archived)
        return done(f"{len(found)} projects", projects=found, total_count=len(found))

    @mod_event_handler("project.get")
    def get(self, event: Event, wanted: GetProject) -> EventResponse:
        """Get a project, for every agent that knows its id."""
        project = self._project(wanted)
        return done(f"{project['name']} is {project['status']}", project=dict(project))

    @mod_event_handler("project.stop")
    async def stop(self, event: Event, wanted: StopProject) -> EventResponse:
        """Stop a project."""
        project = self._project(wanted)
        projects.end(project, STOPPED, sender_of(event), event.timestamp)
        facts = {"stopped_by": sender_of(event), "reason": wanted.reason, "stopped_timestamp": event.timestamp}
        await self._tell(project, "stopped", {"project_id": project["project_id"], **facts})
        return done(f"Stopped {project['name']}", project_id=project["project_id"], stopped_timestamp=event.timestamp)

    @mod_event_handler("project.complete")
    async def complete(self, event: Event, wanted: CompleteProject) -> EventResponse:
        """Complete a project with a summary of what came out of it."""
        summary, project = wanted.summary, self._project(wanted)
        projects.end(project, COMPLETED, sender_of(event), event.timestamp, summary)
        facts = {"completed_by": sender_of(event), "summary": summary, "completed_timestamp": event.timestamp}
        await self._tell(project, "completed", {"project_id": project["project_id"], **facts})
        return done(
            f"Completed {project['name']}", project_id=project["project_id"], completed_timestamp=event.timestamp
        )

    def _wish(self, event: Event, wanted: StartProject) -> Start:
        return Start(
            goal=wanted.goal,
            by=sender_of(event),
            at=event.timestamp,
            name=wanted.name,
            collaborators=tuple(wanted.collaborators),
            template_id=wanted.template_id,
            template=self._template(wanted.template_id),
        )

    def _template(self, template_id: str | None) -> Template:
        if template_id is None:
            return projects.NO_TEMPLATE
        known = self.config.project_templates
        if template_id not in known:
            raise Refused(f"there is no template {template_id!r}, only {', '.join(known) or 'none at all'}")
        return known[template_id]

    def _members(self, template: Template) -> list[str]:
        groups = template.agent_groups
        return [agent for agent in self.network.agents() if self.network.agent_group(agent) in groups]

    def _project(self, wanted: GetProject) -> Project:
        return projects.find(self.state["projects"], wanted.project_id)

    async def _tell(self, project: Project, what: str, payload: dict[str, Any]) -> None:
        name = f"project.notification.{what}"
        for agent_id in tuple(project["authorized_agents"]):
            event = Event(event_name=name, destination_id=f"agent:{agent_id}", payload=dict(payload))
            answer = await self.send_event(event)
            if not answer.success:
                self.log.info("notification refused", name=name, receiver=agent_id, reason=answer.message)
