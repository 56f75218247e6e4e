"""What can be asked about projects: one model for each event. Keys are those of OpenAgents' project mod."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from mods.lib.ask import MaybeBlank, Name, Names, NotBlank, Payload

LONGEST_TEXT = 4000
MOST_COLLABORATORS = 50

Long = Annotated[str, StringConstraints(max_length=LONGEST_TEXT)]


class StartProject(Payload):
    """A project that shall begin."""

    goal: Annotated[NotBlank, StringConstraints(max_length=LONGEST_TEXT)]
    name: MaybeBlank | None = None
    template_id: MaybeBlank | None = None
    collaborators: Names = Field(default=[], max_length=MOST_COLLABORATORS)


class ListProjects(Payload):
    """Which of the asking agent's projects are wanted."""

    status: Literal["running", "stopped", "completed"] | None = None
    include_archived: bool = True


class GetProject(Payload):
    """One project."""

    project_id: Name


class StopProject(GetProject):
    """One project, and why it stops."""

    reason: Long | None = None


class CompleteProject(GetProject):
    """One project, and what came out of it."""

    summary: Annotated[NotBlank, StringConstraints(max_length=LONGEST_TEXT)]
