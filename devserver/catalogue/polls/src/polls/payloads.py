"""What can be asked of polls: one model for each event, and the configuration."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
"""A short text that is not blank."""

Amount = Annotated[int, Field(ge=1, le=100_000)]


class Rules(BaseModel):
    """How many polls are kept (closed ones make room for new ones), and how many options one may have."""

    model_config = ConfigDict(strict=True, frozen=True)

    max_polls: Amount = 200
    max_options: Amount = 20
    announce: bool = True


class Payload(BaseModel):
    """The base of all payloads: types are those of JSON."""

    model_config = ConfigDict(strict=True)


class OpenPoll(Payload):
    """A question with two or more options; with `several` an agent may vote for more than one."""

    question: Line
    options: Annotated[list[Line], Field(min_length=2, max_length=1000)]
    several: bool = False

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if len(set(self.options)) < len(self.options):
            raise ValueError("each option may stand there once")
        return self


class AboutPoll(Payload):
    """A poll, by its id."""

    poll_id: Line


class Vote(AboutPoll):
    """The options that an agent is for; they take the place of its earlier vote. None takes the vote back."""

    options: Annotated[list[Line], Field(max_length=1000)]


class ListPolls(Payload):
    """The polls, newest first: all, or those that are open."""

    only_open: bool = False
    limit: Annotated[int, Field(ge=1, le=500)] = 50
