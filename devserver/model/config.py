"""A network.yaml as frozen values. `config/network_yaml` reads and checks the text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from devserver.model.declared import Frame, Place
from devserver.model.lifecycle import Limits, RestartRules
from devserver.model.names import LOOPBACK, module_of
from devserver.model.split import Line

DEFAULT_PORT = 8700
MOST_UPLOAD = 16 * 1024 * 1024
"""The largest event of an agent here: a file of 10 MiB, messaging's limit, in base64."""

PlaceOf = Callable[[tuple[str | int, ...], bool], "Frame"]
"""Give the place of a value of a mod's configuration, by the keys and indexes that lead to it.

True as the second argument asks for the place of its key. A value that is not written has the place
of the nearest value around it.
"""


@dataclass(frozen=True, slots=True)
class ModSpec:
    """One wanted mod: its import path (or `./name`), its configuration, and where that is written.

    `versions` are the lines beside it, each a spec with the path of the mod and the label of the
    line (`mods.wiki@2`).
    """

    path: str
    config: Mapping[str, Any] = field(default_factory=dict)
    enabled: bool = True
    version: str = ""
    """The versions that are accepted of a mod from an index, as in `~=1.5`; empty accepts any."""
    line: int | None = field(default=None, compare=False)
    named_at: tuple[int, int | None] | None = field(default=None, compare=False)
    """Line and column of the path in network.yaml; of the entry where it has none."""
    place_of: PlaceOf | None = field(default=None, compare=False, repr=False)
    """Where the values of `config` are written; None where the configuration came from elsewhere."""
    versions: tuple[ModSpec, ...] = ()
    beside: Line | None = None
    """What else the spec of a line says."""
    watch: tuple[str, ...] = ()
    """Patterns of its other sources beside its code, from the folder of network.yaml."""
    runs_on: str = ""
    """The host that runs it; nothing for the one that reads network.yaml. A line runs where its mod does."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the files beside a mod say of it (mod_manifest.json, pyproject.toml), or None."""

    files: tuple[Path, ...]
    version: str | None = None
    description: str = ""
    requires: tuple[str, ...] | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """The configuration that network.yaml overrides."""
    schema: Mapping[str, Any] | None = None
    """The JSON Schema of the configuration."""
    packages: tuple[str, ...] = ()
    where: Mapping[str, Place] = field(default_factory=dict)
    """Where each requirement is written, and "version"."""


@dataclass(frozen=True, slots=True)
class AgentGroup:
    """A group that agents join by password, or by id if `agents` lists them."""

    name: str
    password_hash: str = ""
    description: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReplayRules:
    """What the replay process lets mods do. `allow`: the ids of those that may use the network there."""

    allow: tuple[str, ...] = ()
    fresh: bool = False
    """Whether each event is run in a process of its own that was not forked: for libraries that a fork breaks."""


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """A whole network.yaml. `mods` has the order of the file, in which mods are asked."""

    name: str
    mods: tuple[ModSpec, ...] = ()
    node_id: str | None = None
    host: str = LOOPBACK
    port: int = DEFAULT_PORT
    groups: Mapping[str, AgentGroup] = field(default_factory=dict)
    default_group: str = "guest"
    requires_password: bool = False
    verify_secrets: bool = True
    agent_timeout: float = 180.0
    max_agents: int = 1000
    metadata: Mapping[str, Any] = field(default_factory=dict)
    profile: Mapping[str, Any] = field(default_factory=dict)
    mod_paths: tuple[str, ...] = ("mods",)
    grants: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    restart: RestartRules = field(default_factory=RestartRules)
    replay: ReplayRules = field(default_factory=ReplayRules)
    max_body: int = MOST_UPLOAD
    studio: bool = False
    indexes: tuple[str, ...] = ()
    """Where mods and packages come from, in the order of trust: folders beside network.yaml, and simple indexes."""
    packages: str = "default"
    """Whether Python's own index comes last: "default" or "none"."""
    catalogues: tuple[str, ...] | None = None
    """Lists of mods; None for those of the folders among `indexes`."""
    cooldown: float = 3 * 86_400.0
    """The age in seconds from which a release of a remote index is taken."""
    agents: tuple[str, ...] = ()
    """Programs of agents that run beside the network: files, from the folder of network.yaml."""
    engine: str = "here"
    """Where the engine of a network of several hosts is: `here`, where this host starts it, or its address."""
    take_over: bool = False
    """Whether another host runs the mods of one that is gone."""
    host_commands: bool = True
    """Whether people at other hosts may ask this one for commands and for its events."""
    unused: tuple[str, ...] = ()
    """The keys of the file that have no effect here, as paths."""
    lost: tuple[str, ...] = ()
    """Those of them that have an effect in OpenAgents."""
    lists_mods: bool = field(default=True, compare=False)
    """Whether the file has the key `mods`: an empty list asks for none, a missing key may be a mistake."""

    _by_module: dict[str, ModSpec] = field(init=False, default_factory=dict, compare=False, repr=False)

    @property
    def by_module(self) -> Mapping[str, ModSpec]:
        """The spec of each mod and line, by its module; the first of a name counts."""
        if not self._by_module:
            # Once: each plan asks for it, and most leave this file alone.
            self._by_module.update((module_of(each.path), each) for each in reversed(self.specs))
        return self._by_module

    @property
    def enabled_mods(self) -> tuple[ModSpec, ...]:
        """The mods to run, in order."""
        return tuple(spec for spec in self.mods if spec.enabled)

    @property
    def specs(self) -> tuple[ModSpec, ...]:
        """The mods and, behind each, the lines beside it."""
        return tuple(each for spec in self.mods for each in (spec, *spec.versions))

    @property
    def enabled_specs(self) -> tuple[ModSpec, ...]:
        """Those of them to run."""
        return tuple(spec for spec in self.specs if spec.enabled)
