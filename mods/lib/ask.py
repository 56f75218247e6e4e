"""What the sample mods share about asking and answering: the base of their payloads, the sender, the answer."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, model_validator

from devserver import Event, EventResponse

NAME_LIMIT = 200
"""Characters in an id, a name or a path."""


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("a text that is not blank is needed")
    return text


def _once(texts: list[str]) -> list[str]:
    return list(dict.fromkeys(texts))


MaybeBlank = Annotated[str, StringConstraints(max_length=NAME_LIMIT)]
"""A short text, which may be empty."""

Name = Annotated[MaybeBlank, AfterValidator(_not_blank)]
"""A short text that is not blank: an id, a name, a path."""

NotBlank = Annotated[str, AfterValidator(_not_blank)]
"""A text of any length that is not blank."""

Names = Annotated[list[MaybeBlank], AfterValidator(_once)]
"""A list of short texts; repetitions are dropped."""


class Payload(BaseModel):
    """The base of all payloads: types are those of JSON, unknown keys are left alone, null is as good as no key."""

    model_config = ConfigDict(strict=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, values: Any) -> Any:
        return {key: each for key, each in values.items() if each is not None} if isinstance(values, dict) else values


def done(message: str, **data: Any) -> EventResponse:
    """Answer something that succeeded."""
    return EventResponse(success=True, message=message, data=data)


def sender_of(event: Event) -> str:
    """Return who sent an event: an agent's bare id, or `role:id` for anything else."""
    source = event.source
    return source.id if source.role == "agent" else str(source)


def request_id(event: Event) -> str:
    """Return what the caller recognises the answer by: its own `request_id`, otherwise the event's id."""
    given = event.payload.get("request_id")
    return given if isinstance(given, str) and given else event.event_id
