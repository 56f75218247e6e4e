"""The keys of a network.yaml as models: one table of types, ranges, defaults and descriptions.

`network_yaml` reads with it, `schema` prints it for editors. The refusals of fields are worded here
(`_refuse`); the reader knows their places. The keys are those of OpenAgents 0.8.6, and `dev:` for
our own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Annotated, Any, ClassVar, NoReturn

from annotated_types import GroupedMetadata
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, WrapValidator, create_model
from pydantic_core import PydanticCustomError, core_schema

from devserver.config.yaml_values import Loc, Unclear
from devserver.model.config import DEFAULT_PORT, MOST_UPLOAD
from devserver.model.lifecycle import Limits as LimitsAsked
from devserver.model.lifecycle import RestartPolicy, RestartRules
from devserver.model.names import (
    HOST_NAME,
    LOOPBACK,
    MOD_PATH,
    host_name_problem,
    is_loopback,
    is_range,
    mod_name_problem,
    shown_name,
)
from devserver.model.principal import Scope
from devserver.model.split import Guard as GuardAsked
from devserver.model.split import StateMode, label_problem, parse_share

DAY = 86_400.0
MOST = 1_000_000
MIB = 1024 * 1024
CONNECTION_TIMEOUTS = 6
"""An agent is gone after this many connection timeouts, unless `agent_timeout` says otherwise."""

MISTYPED, CHOICE, SAID, FREE = "mistyped", "choice", "said", "free"
"""Kinds of refusals beside pydantic's own: another type or range, unknown words, sentences."""

_AGENT_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}", re.ASCII)
_AGENT_FILE = re.compile(r"^(?![/~])(?!(.*/)?\.\.(/|$))[^\\\x00]+\.(py|yaml|yml)$")
"""A path into the folder, with the name of a program."""

_VARIABLE = "{path} names an environment variable, and those are not filled in here"

Check = Callable[[Any], Any]


def _refuse(kind: str, says: str, **context: Any) -> NoReturn:
    raise PydanticCustomError(kind, "refused", {"says": says, **context})


def is_variable(text: str) -> bool:
    """Return whether a text is `${NAME}`: network.yaml never takes values from the environment."""
    return text.startswith("${") and text.endswith("}")


def _wanted(words: str) -> WrapValidator:
    """Return what a value has to be, in words that follow "is": for refusals of type or range."""

    def check(value: Any, inner: Check) -> Any:
        try:
            return inner(value)
        except ValueError:
            _refuse(MISTYPED, words)

    return WrapValidator(check)


def _read_text(value: Any, inner: Check) -> Any:
    if not isinstance(value, str) or not value.strip():
        _refuse(MISTYPED, "a text that is not empty")
    if is_variable(value):
        _refuse(SAID, _VARIABLE, hint="write the value")
    return inner(value)


def _read_maybe_text(value: Any, inner: Check) -> Any:
    return None if value is None else _read_text(value, inner)


def _read_optional_text(value: Any, inner: Check) -> Any:
    return value or "" if value is None or value == "" else _read_text(value, inner)


def _name(problem_of: Callable[[str], str | None], what: str) -> WrapValidator:
    """Return what a name has to be: a text without a problem."""

    def check(value: Any, inner: Check) -> Any:
        name = _read_text(value, inner=str)
        problem = problem_of(name)
        if problem is not None:
            _refuse(SAID, f"{{path}}: {shown_name(name)} cannot name a {what}", hint=problem)
        return inner(name)

    return WrapValidator(check)


def _read_versions(value: Any, inner: Check) -> Any:
    text = _read_text(value, inner=str)
    if not is_range(text):
        _refuse(SAID, f"{shown_name(text)} is not a range of versions", hint="write it like >=1.2,<2 or ~=1.5")
    return inner(text)


def _read_pattern(value: Any, inner: Check) -> Any:
    text = _read_text(value, inner=str)
    if text.startswith(("/", "~")) or ".." in text.split("/"):
        hint = "a pattern begins in the folder of network.yaml, as in prompts/**"
        _refuse(SAID, f"{{path}}: {shown_name(text)} leads out of the workspace", hint=hint)
    return inner(text)


def _read_index(value: Any, inner: Check) -> Any:
    text = _read_text(value, inner=str)
    scheme, _, rest = text.partition("://")
    host = rest.partition("/")[0].rpartition("@")[2]
    name = host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
    if not rest or scheme == "https" or (scheme == "http" and is_loopback(name)):
        return inner(text)
    # Anyone who can change a list of packages on its way decides which code runs here.
    _refuse(SAID, "{path}: an address begins with https:// (http:// on this machine alone)", hint=None)


_ENGINE = "^(here|(nats|tls)://[^/@]+:[0-9]+)$"


def _read_engine(value: Any, inner: Check) -> Any:
    text = _read_text(value, inner=str)
    if "@" in text:
        hint = "put it into a file, and name that with --creds"
        _refuse(SAID, "{path}: an address holds no password", hint=hint)
    if re.search(_ENGINE, text) is None:
        _refuse(SAID, f"{{path}}: {shown_name(text)} is not an engine", hint="write here, or tls://10.0.0.5:4222")
    return inner(text)


_AGE = "^[0-9]{1,4}[hdw]$"
_SECONDS_OF = {"h": 3600.0, "d": DAY, "w": 7 * DAY}


def _read_age(value: Any, inner: Check) -> Any:
    if not isinstance(value, str) or re.search(_AGE, value) is None:
        _refuse(MISTYPED, "an age in hours, days or weeks, as in 12h, 3d or 2w")
    return inner(value)


def seconds_of_age(text: str) -> float:
    """Return the seconds of an age such as 3d."""
    return int(text[:-1]) * _SECONDS_OF[text[-1]]


def _read_share(value: Any, inner: Check) -> Any:
    share = parse_share(value) if isinstance(value, str) else None
    if share is None:
        _refuse(MISTYPED, "a percentage from 0% to 100%, as in 10%")
    return inner(share)


def _read_label(value: Any, inner: Check) -> Any:
    # A bare number is what most people call a version.
    label = str(value) if isinstance(value, int) and not isinstance(value, bool) else _read_text(value, inner=str)
    problem = label_problem(label)
    if problem is not None:
        _refuse(SAID, f"{{path}}: {shown_name(label)} cannot label a version", hint=problem)
    return inner(label)


def _read_agent_id(agent: str) -> str:
    if _AGENT_ID.fullmatch(agent) is None:
        _refuse(SAID, f"{agent!a} is not an agent id: 1 to 64 out of letters, digits and _ . : -", hint=None)
    return agent


def _read_agent_file(value: Any, inner: Check) -> Any:
    file = _read_text(value, inner=str)
    if _AGENT_FILE.fullmatch(file) is None:
        says = "{path}: an agent is a Python file, or a YAML file of OpenAgents, in the folder of network.yaml"
        _refuse(SAID, says, hint="as in agents/ana.py")
    return inner(file)


def _read_free(value: Any, inner: Check) -> Any:
    if not isinstance(value, dict):
        _refuse(MISTYPED, "a mapping")
    found = list(_unusable(value, ()))
    if found:
        _refuse(FREE, "", found=found)
    return inner(value)


def _unusable(value: Any, loc: Loc) -> Iterator[tuple[Loc, str, str]]:
    """Return the place of a value that other programs would read differently, words, a hint."""
    if isinstance(value, Unclear):
        yield loc, "{path} is {value}, which YAML readers take differently", value.hint
    elif isinstance(value, str) and is_variable(value):
        yield loc, _VARIABLE, "write the value"
    elif isinstance(value, dict | list):
        for step, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _unusable(each, (*loc, step))


@dataclass(frozen=True)
class OrEmpty(GroupedMetadata):
    """Take null as an empty mapping: a section whose lines are all commented out."""

    def __iter__(self) -> Iterator[Any]:
        yield Field(json_schema_extra={"nullable": True})
        yield WrapValidator(lambda value, inner: inner({} if value is None else value))


@dataclass(frozen=True)
class OneOf(GroupedMetadata):
    """Return a type for one of these words."""

    words: tuple[str, ...]

    def __iter__(self) -> Iterator[Any]:
        yield Field(json_schema_extra={"enum": list(self.words)})
        yield WrapValidator(self._read)

    def _read(self, value: Any, inner: Check) -> Any:
        word = _read_text(value, inner)
        if word not in self.words:
            _refuse(CHOICE, "", words=self.words)
        return word


@dataclass(frozen=True)
class Whole(GroupedMetadata):
    """Return a type for a whole number in a range, both ends included."""

    low: int
    high: int

    def __iter__(self) -> Iterator[Any]:
        yield Field(ge=self.low, le=self.high)
        yield _wanted(f"a whole number from {self.low} to {self.high}")


@dataclass(frozen=True)
class Seconds(GroupedMetadata):
    """Return a type for a time above 0, up to the longest."""

    longest: float

    def __iter__(self) -> Iterator[Any]:
        yield Field(gt=0, le=self.longest)
        yield _wanted(f"a number of seconds above 0, at most {self.longest:g}")


Text = Annotated[str, Field(min_length=1), WrapValidator(_read_text)]
MaybeText = Annotated[Annotated[str, Field(min_length=1)] | None, WrapValidator(_read_maybe_text)]
OptionalText = Annotated[str | None, WrapValidator(_read_optional_text)]
Flag = Annotated[bool, _wanted("true or false")]
Free = Annotated[dict[str, Any], WrapValidator(_read_free), OrEmpty()]
ModName = Annotated[str, Field(pattern=f"^{MOD_PATH}$"), _name(mod_name_problem, "mod")]
Versions = Annotated[str, WrapValidator(_read_versions)]
Index = Annotated[str, Field(min_length=1), WrapValidator(_read_index)]
HostName = Annotated[str, Field(pattern=f"^{HOST_NAME}$"), _name(host_name_problem, "host")]
EngineAddress = Annotated[str, Field(pattern=_ENGINE), WrapValidator(_read_engine)]
Pattern = Annotated[str, Field(min_length=1), WrapValidator(_read_pattern)]
Age = Annotated[str, Field(pattern=_AGE), WrapValidator(_read_age)]
AgentFile = Annotated[str, Field(json_schema_extra={"pattern": _AGENT_FILE.pattern}), WrapValidator(_read_agent_file)]
AgentId = Annotated[str, AfterValidator(_read_agent_id)]
Share = Annotated[float, Field(json_schema_extra={"type": "string", "pattern": "%$"}), WrapValidator(_read_share)]
Label = Annotated[str, Field(pattern="^[a-z0-9_]{1,20}$"), WrapValidator(_read_label)]
TransportType = Annotated[str, OneOf(("a2a", "grpc", "http", "libp2p", "mcp", "webrtc", "websocket"))]
ScopeName = Annotated[str, OneOf(tuple(each.value for each in Scope))]
Port = Annotated[int, Whole(1, 65535)]
Limit = Annotated[float, Seconds(DAY)]
Amount = Annotated[int, Whole(1, MOST)]


def _complete(schema: dict[str, Any], model: Any) -> None:
    """Add to the schema of a section the keys that are known and not read."""
    known = {"description": "Known to OpenAgents; without effect here."}
    schema["properties"] |= dict.fromkeys(sorted(model.WITHOUT_EFFECT), known) | dict.fromkeys(model.ELSEWHERE, False)
    if model.CLOSED:
        schema["additionalProperties"] = False


LOST = frozenset({
    "serve_mcp", "serve_studio", "serve_a2a", "a2a_agent", "a2a_auth", "relay", "auto_start_agents", "mode", "host",
    "recommended_transport", "external_access", "service_agents", "encryption_enabled", "identity_enabled",
})  # fmt: skip
"""Keys without effect here that have one in OpenAgents, if they ask for it; and transports."""


class Section(BaseModel):
    """A mapping with known keys. A key close to one is a misspelling; others have no effect."""

    # Built on first use: the root with all sections at once.
    model_config = ConfigDict(strict=True, extra="ignore", json_schema_extra=_complete, defer_build=True)

    WITHOUT_EFFECT: ClassVar[frozenset[str]] = frozenset()
    """Keys that OpenAgents knows, and that have no effect here."""
    ELSEWHERE: ClassVar[frozenset[str]] = frozenset()
    """Keys that belong into another section, which the message names."""
    CLOSED: ClassVar[bool] = False
    """Whether any unknown key is a problem."""


class Http(Section):
    """The HTTP transport of agents."""

    WITHOUT_EFFECT = frozenset({"serve_mcp", "serve_studio", "serve_a2a", "a2a_agent", "a2a_auth", "relay"})

    host: Text = Field(
        default=LOOPBACK, description="A loopback address. Another one has no effect: ask for it on the command line."
    )
    port: Port = DEFAULT_PORT


def _read_http(value: Any, inner: Check, info: ValidationInfo) -> Any:
    # Only the served transport is checked: other transports have keys of their own.
    return inner(value if info.data.get("type") == "http" else {})


class Transport(Section):
    """A transport of agents; the first one of type http is served."""

    type: TransportType
    config: Annotated[Http, WrapValidator(_read_http), OrEmpty()] = Http.model_construct()


class Closed(Section):
    """A section of our own: an unknown key in it is a problem."""

    CLOSED = True


class Guard(Closed):
    """When a version gets no more events."""

    errors: Share = Field(default=GuardAsked().errors, description="More than this part of its last events failed.")
    of: Annotated[int, Whole(1, 10_000)] = Field(default=GuardAsked().of, description="How many of them count.")


class Compare(Closed):
    """How a shadow is compared with its mod."""

    ignore: list[Text] = Field(default=[], description="Paths in answers that may differ, as in data.page.etag.")


class Version(Closed):
    """A version beside a mod; these keys choose the agents that get it."""

    label: Label | None = Field(
        default=None,
        description="Its name behind the @, as in wiki@2. Left out: the end of the other path, or the major version.",
    )
    name: ModName | None = Field(
        default=None, description="Another mod's path. Without it this is the mod's own file on disk, as saved."
    )
    version: Versions = Field(default="", description="Or a version of the mod from an index, as in ~=2.0.")
    enabled: Flag = True
    share: Share = Field(default=0.0, description="The part of all agents that get it, as in 10%.")
    agents: list[AgentId] = Field(default=[], description="These get it always.")
    groups: list[Text] = Field(default=[], description="So do the members of these groups.")
    when: Free = Field(default={}, description="And events whose metadata holds all of this.")
    shadow: Flag = Field(default=False, description="It sees copies of the events, and nothing of it leaves.")
    state: Annotated[str, OneOf(tuple(sorted(each.value for each in StateMode)))] | None = Field(
        default=None, description="What it starts with: shared (the default), copy (always so for a shadow) or empty."
    )
    guard: Annotated[Guard, OrEmpty()] = Field(
        default=Guard.model_construct(), description="When it gets no more events (default: never)."
    )
    compare: Annotated[Compare, OrEmpty()] = Compare.model_construct()
    config: Free = Field(default={}, description="Becomes its self.config (default: that of the mod).")


class Mod(Section):
    """One mod of the network."""

    name: ModName = Field(description="The import path, as in mods.wiki, or ./wiki for mods/wiki beside this file.")
    enabled: Flag = True
    version: Versions = Field(
        default="", description="The versions of a mod from an index that will do, as in ~=1.5. Left out: any."
    )
    config: Free = Field(default={}, description="Becomes the mod's self.config.")
    watch: list[Pattern] = Field(
        default=[], description="Files that it is made from beside its code, from this file's folder, as in prompts/**."
    )
    versions: list[Version] = Field(default=[], description="Further versions of the mod, which serve beside it.")
    runs_on: HostName = Field(
        default="",
        description="The host that runs it, in a network of several. Left out: the one with this file.",
    )


class Group(Section):
    """A group that agents join by password."""

    password_hash: OptionalText = Field(
        default=None, description="SHA-256 in hexadecimal. A group without one is joined by its name alone."
    )
    description: OptionalText = None
    metadata: Free = {}


class Network(Section):
    """The network."""

    WITHOUT_EFFECT = frozenset({
        "heartbeat_interval", "auto_start_agents", "initialized", "created_by_version", "message_queue_size",
        "bootstrap_nodes", "discovery_interval", "discovery_enabled", "encryption_enabled", "encryption_type",
        "retry_attempts", "message_timeout", "message_routing_enabled", "identity_enabled", "identity_endpoint",
        "identity_api_key", "identity_auto_register", "identity_origin", "identity_cache_ttl", "metadata",
    })  # fmt: skip

    name: Text
    node_id: MaybeText = Field(default=None, description="The network's id (default: a new one at each start).")
    mode: Annotated[str, OneOf(("centralized", "decentralized"))] = "centralized"
    transports: list[Transport] = []
    manifest_transport: MaybeText = None
    recommended_transport: MaybeText = None
    mods: list[Mod] = Field(default=[], description="The mods, in the order in which they are asked.")
    agent_groups: Annotated[dict[str, Annotated[Group, OrEmpty()]], OrEmpty()] = {}
    default_agent_group: Text = "guest"
    requires_password: Flag = False
    disable_agent_secret_verification: Flag = False
    agent_timeout: Annotated[float, Seconds(DAY * CONNECTION_TIMEOUTS)] = Field(
        default=180.0, description="Default: six times `connection_timeout`."
    )
    connection_timeout: Limit = 30.0
    max_connections: Amount = 1000
    transport: TransportType = "http"
    transport_config: Annotated[Http, OrEmpty()] = Http.model_construct()
    host: Text = LOOPBACK
    port: Port = DEFAULT_PORT


_limits: dict[str, Any] = {
    name: (Amount if isinstance(default, int) else Limit, default) for name, default in asdict(LimitsAsked()).items()
}
Limits: Any = create_model("Limits", __base__=Closed, **_limits)


_POLICIES = tuple(sorted(each.value for each in RestartPolicy))
Policy = Annotated[str, OneOf(_POLICIES)]


class Restart(Closed):
    """Who decides on restarts in place, and how long handlers have to finish."""

    policy: Policy = RestartRules().policy.value
    drain: Limit = RestartRules().drain


class Hosts(Closed):
    """A network of several hosts, as `oa-dev run --hosts` makes it."""

    engine: EngineAddress = Field(
        default="here", description="here, or the address of a NATS server, as in tls://10.0.0.5:4222."
    )
    take_over: Flag = Field(
        default=False, description="Whether the host that reads network.yaml runs the mods of one that is gone."
    )
    commands: Flag = Field(
        default=True,
        description="Whether people at other hosts may reload, load, undo and move mods, and see all events.",
    )


class OrWord:
    """Take a policy alone for a section with that policy."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return core_schema.no_info_wrap_validator_function(self._read, handler(source))

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        section = handler(schema)
        return {"anyOf": [{"type": "string", "enum": list(_POLICIES)}, section]}

    def _read(self, value: Any, inner: Check) -> Any:
        if isinstance(value, dict):
            return inner(value)
        word = _read_text(value, inner=str)
        if word not in _POLICIES:
            _refuse(CHOICE, "", words=_POLICIES)
        return Restart(policy=word)


class Replay(Closed):
    """What mods may do in the replay process."""

    allow: list[Text] = Field(default=[], description="Mods that may use the network there, by their ids.")
    fresh: Flag = Field(default=False, description="Start a process for each event, instead of a fork.")


class Dev(Closed):
    """The keys of oa-dev alone."""

    mod_paths: list[Text] = Field(default=["mods"], description="Where mods may be loaded from at run time.")
    grants: Annotated[dict[AgentId, list[ScopeName]], OrEmpty()] = Field(
        default={}, description="Further rights of agents, by their id."
    )
    limits: Annotated[Limits, OrEmpty()] = Limits.model_construct()
    restart: Annotated[Restart, OrWord()] = Restart.model_construct()
    replay: Annotated[Replay, OrEmpty()] = Replay.model_construct()
    agents: list[AgentFile] = Field(
        default=[], description="Agents that run beside the network, each a file: restarted when it is saved."
    )
    studio: Flag = Field(default=False, description="Serve OpenAgents' Studio at /studio, if openagents has one.")
    indexes: list[Index] = Field(
        default=[],
        description="Where mods and packages come from: folders of wheels, simple indexes. The first that has one wins",
    )
    packages: Annotated[str, OneOf(("default", "none"))] = Field(
        default="default", description="Whether Python's own index, or that of this machine's settings, comes last."
    )
    catalogues: list[Index] = Field(
        default=[], description="Lists of mods to search (default: the index.json of each folder of `indexes`)."
    )
    cooldown: Age = Field(default="3d", description="A release younger than this is not chosen from a remote index.")
    hosts: Annotated[Hosts, OrEmpty()] = Hosts.model_construct()
    max_body: Annotated[int, Whole(MIB, 256 * MIB)] = Field(
        default=MOST_UPLOAD, description="How many bytes an event of an agent on this machine may have, with its files."
    )


class Root(Section):
    """network.yaml of an OpenAgents network, as oa-dev reads it."""

    WITHOUT_EFFECT = frozenset(
        {"external_access", "service_agents", "log_level", "data_dir", "runtime_limit", "shutdown_timeout"}
    )
    ELSEWHERE = frozenset({"mods", "transports", "agent_groups"})

    network: Network
    network_profile: Free = {}
    metadata: Free = {}
    dev: Annotated[Dev, OrEmpty()] = Dev.model_construct()
