"""The bodies of the control API, as models: a misfit is refused, a sentence for each field."""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from devserver.config.typed import DoesNotFit, fitted
from devserver.transports.http.routes import Request
from devserver.transports.strict import Malformed

SHORTEST_NONCE = 16
LONGEST_TEXT = 200
MOST_MODS = 1000

B = TypeVar("B", bound="Body")
Text = Annotated[str, Field(min_length=1, max_length=LONGEST_TEXT)]


class Body(BaseModel):
    """A JSON object. Unknown keys have no effect."""

    # Built when a request first has such a body.
    model_config = ConfigDict(strict=True, extra="ignore", defer_build=True)


class AboutMods(Body):
    """Mods by id or path; none means all. With a `generation`, the one that the caller saw, exactly one mod."""

    mods: Annotated[list[str], Field(max_length=MOST_MODS)] | None = None
    generation: Annotated[int, Field(ge=0)] | None = None


class AboutOneMod(Body):
    """A mod by path or id, and the generation that the caller saw: 0 for a mod that did not run."""

    mod_path: Text
    generation: Annotated[int, Field(ge=0)] | None = None


class Load(AboutOneMod):
    """The mod to load, its configuration, and `anyway`: the digest of one warned of."""

    config: dict[str, object] | None = None
    anyway: Annotated[str, Field(max_length=LONGEST_TEXT)] | None = None


class Unload(AboutOneMod):
    """The mod to unload; `cascade` unloads its dependents first, `force` leaves them."""

    force: bool = False
    cascade: bool = False


class Move(Body):
    """The mod to move, by path or id, and the host that is to run it."""

    mod: Text
    to: Text


class Saves(Body):
    """What to do with saves."""

    do: Literal["pause", "apply", "resume"]


class Record(Body):
    """Whether a session is recorded."""

    do: Literal["start", "stop"]


class Log(Body):
    """The level from which records are shown."""

    level: Literal["debug", "info", "warning", "error"]


class MakePin(Body):
    """The event to pin, by its number or whole; `state` is its initial state."""

    number: Annotated[int, Field(ge=1)] | None = None
    event: dict[str, object] | None = None
    name: Text | None = None
    state: Literal["now", "empty"] = "now"


class OnePin(Body):
    """A pin by its name, or by the number of its event."""

    name: Text


class IgnorePath(OnePin):
    """The path, or the pattern of paths, to stop comparing."""

    path: Annotated[str, Field(min_length=1, max_length=1000)]


class Replay(Body):
    """The event to run again, and the code: the running one, that before its reload, or both."""

    number: Annotated[int, Field(ge=1)] | None = None
    name: Text | None = None
    event: dict[str, object] | None = None
    payload: dict[str, object] | None = None
    on: Literal["now", "before", "both"] = "now"
    for_real: bool = False
    generations: dict[str, int] | None = None
    """Of an event that is really sent: the generations that the caller has seen."""


class WriteTest(Body):
    """The event, or the pin, to write a test of; `path`, the file if it is not the usual one."""

    number: Annotated[int, Field(ge=1)] | None = None
    name: Text | None = None
    path: Annotated[str, Field(min_length=1, max_length=LONGEST_TEXT)] | None = None


class Prove(Body):
    """A text of the client's choice, to be signed with the token."""

    nonce: Annotated[str, Field(min_length=SHORTEST_NONCE, max_length=LONGEST_TEXT)]


def read(body: type[B], request: Request) -> B:
    """Read the body of a request. Raises Malformed with one sentence for each misfit."""
    try:
        found: B = fitted(body, request.body)
    except DoesNotFit as error:
        raise Malformed("bad_field", str(error)) from error
    return found


def named(request: Request) -> tuple[tuple[str, ...], int | None]:
    """Return the mods that a request names, and the generation it has seen. Raises Malformed."""
    found = read(AboutMods, request)
    mods = tuple(found.mods or ())
    if found.generation is not None and len(mods) != 1:
        raise Malformed("bad_field", "with a generation exactly one mod is named")
    return mods, found.generation
