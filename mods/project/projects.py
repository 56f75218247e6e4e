"""The projects: started, ended, found and shown. Works on plain dicts, sends nothing, knows no network.

A project is a dict. Its `status` is "running" from its start on and ends as "stopped" or "completed". Times are in
seconds since 1970.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from devserver import Refused
from mods.lib.settings import Count, Settings

Project = dict[str, Any]
Projects = dict[str, Project]

RUNNING = "running"
STOPPED = "stopped"
COMPLETED = "completed"


class Template(Settings):
    """A kind of project: what it is about, and the agent groups that take part."""

    name: str | None = None
    description: str = ""
    context: str = ""
    agent_groups: list[str] = Field(default=[])

    def shown(self, template_id: str) -> dict[str, Any]:
        """Return the template as an answer shows it."""
        return {
            "template_id": template_id,
            "name": template_id if self.name is None else self.name,
            "description": self.description,
            "agent_groups": list(self.agent_groups),
            "context": self.context,
        }


NO_TEMPLATE = Template()


class Rules(Settings):
    """How many projects run at once, how many are remembered (running or not), and the templates by id."""

    max_concurrent_projects: Count = 10
    max_projects: Count = 200
    project_templates: dict[str, Template] = Field(default={})


@dataclass(frozen=True, slots=True)
class Start:
    """The wish to start a project: who, what for, with whom, when."""

    goal: str
    by: str
    at: int
    name: str | None = None
    collaborators: tuple[str, ...] = ()
    template_id: str | None = None
    template: Template = NO_TEMPLATE


def start(projects: Projects, rules: Rules, wish: Start, group_members: list[str]) -> Project:
    """Add a running project and forget the oldest ended ones. Raises Refused where too many run already."""
    running = sum(project["status"] == RUNNING for project in projects.values())
    most = min(rules.max_concurrent_projects, rules.max_projects)
    if running >= most:
        raise Refused(f"{running} projects run already, which is the most; stop or complete one first")
    project = _new_project(wish, group_members)
    _forget(projects, rules.max_projects - 1)
    projects[project["project_id"]] = project
    return project


def _new_project(wish: Start, group_members: list[str]) -> Project:
    project_id = uuid.uuid4().hex
    return {
        "project_id": project_id,
        "name": wish.name or f"Project-{project_id[:8]}",
        "goal": wish.goal,
        "context": wish.template.context,
        "template_id": wish.template_id,
        "agent_groups": list(wish.template.agent_groups),
        "status": RUNNING,
        "initiator_agent_id": wish.by,
        "collaborators": list(wish.collaborators),
        "authorized_agents": list(dict.fromkeys((wish.by, *wish.collaborators, *group_members))),
        "created_timestamp": wish.at,
        "started_timestamp": wish.at,
        "completed_timestamp": None,
        "summary": None,
    }


def _forget(projects: Projects, most: int) -> None:
    ended = [each for each, project in projects.items() if project["status"] != RUNNING]
    for project_id in ended[: max(0, len(projects) - most)]:
        del projects[project_id]


def find(projects: Projects, project_id: str) -> Project:
    """Return the project with an id. Raises Refused if it is missing."""
    project = projects.get(project_id)
    if project is None:
        raise Refused(f"there is no project {project_id!r}")
    return project


def end(project: Project, status: str, by: str, at: int, summary: str | None = None) -> None:
    """Stop or complete a project. Raises Refused for those who take no part in it, and where it has ended."""
    if by not in project["authorized_agents"]:
        raise Refused(f"{by} takes no part in project {project['project_id']!r} and cannot end it")
    if project["status"] != RUNNING:
        raise Refused(f"project {project['project_id']!r} is {project['status']} already")
    project.update(status=status, completed_timestamp=at, summary=summary)


def of_agent(projects: Projects, agent_id: str, status: str | None, with_ended: bool) -> list[Project]:
    """Return the projects that an agent takes part in, the last started first; all of them, or
    those of one status."""
    return [
        dict(project)
        for project in reversed(projects.values())
        if agent_id in project["authorized_agents"]
        and status in (None, project["status"])
        and (with_ended or project["status"] == RUNNING)
    ]
