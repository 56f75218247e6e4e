"""The bodies of the control API, as models of pydantic, which is imported with them: `bodies` does that on demand."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from devserver.control.bodies import LONGEST_TEXT
from devserver.model.split import Rule

SHORTEST_NONCE = 16
MOST = 1000

Text = Annotated[str, Field(min_length=1, max_length=LONGEST_TEXT)]
Names = Annotated[list[Text], Field(max_length=MOST)]


class Body(BaseModel):
    """A JSON object. Unknown keys have no effect."""

    # Built when a request first has such a body.
    model_config = ConfigDict(strict=True, extra="ignore", defer_build=True)


class AboutMods(Body):
    """Mods by id or path; none means all. With a `generation`, the one that the caller saw, exactly one mod."""

    mods: Annotated[list[str], Field(max_length=MOST)] | None = None
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


class RuleBody(Body):
    """Which events a line gets."""

    share: Annotated[float, Field(ge=0, le=1)] = 0.0
    agents: Names = Field(default=[])
    groups: Names = Field(default=[])
    when: dict[str, object] = Field(default={})
    shadow: bool = False

    @property
    def rule(self) -> Rule:
        return Rule(
            share=self.share,
            agents=tuple(self.agents),
            groups=tuple(self.groups),
            when=self.when,
            shadow=self.shadow,
        )


class Try(RuleBody):
    """A version beside a mod: the mod's own file on disk, or the code of another `path`."""

    mod: Text
    label: Text = "next"
    path: Text | None = None
    state: Literal["shared", "copy", "empty"] | None = None


class SplitBody(RuleBody):
    """A line, and which events it gets."""

    line: Text


class End(Body):
    """The line to end, and whose state stays if both have one."""

    line: Text
    keep: Literal["", "main", "line"] = ""
    write: bool = False
    """Whether the caller writes a promotion to network.yaml."""


class AddAsked(Body):
    """A mod to bring for this run, and the digest that the person was shown: nothing else is taken."""

    name: Text
    version: Annotated[str, Field(max_length=LONGEST_TEXT)] = ""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    config: dict[str, object] | None = None


class AnswerAsked(Body):
    """A person's answer to an agent. For yes, `sha256` is the digest that was reviewed."""

    number: Annotated[int, Field(ge=1)]
    answer: Literal["yes", "no"]
    sha256: Annotated[str, Field(max_length=LONGEST_TEXT)] = ""
