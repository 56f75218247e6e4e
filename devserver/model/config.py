"""What a network.yaml asks for, as frozen values. Reading and checking the text is `reload/network_yaml`'s duty."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from devserver.model.declared import Place
from devserver.model.lifecycle import Limits, RestartRules
from devserver.model.names import LOOPBACK
from devserver.model.split import Line

if TYPE_CHECKING:
    from devserver.model.facts import Frame  # it imports this file

DEFAULT_PORT = 8700
MOST_UPLOAD = 16 * 1024 * 1024
"""How large an event of an agent on this machine may be: a file of 10 MiB, the limit of messaging, in base64."""

PlaceOf = Callable[[tuple[str | int, ...], bool], "Frame"]
"""Where a value of a mod's configuration is written, given the keys and indexes that lead to it.

True for the second argument asks for its key. For what is not written, the nearest value around it.
"""


@dataclass(frozen=True, slots=True)
class ModSpec:
    """One wanted mod: its import path (or `./name`), its configuration, and where that is written.

    `versions` are the lines beside it, each a spec whose path is the mod's with the label of the line (`mods.wiki@2`).
    """

    path: str
    config: Mapping[str, Any] = field(default_factory=dict)
    enabled: bool = True
    version: str = ""
    """The versions that will do of a mod that comes from an index, as in `~=1.5`; nothing where any will."""
    line: int | None = field(default=None, compare=False)
    place_of: PlaceOf | None = field(default=None, compare=False, repr=False)
    """Where the values of `config` are written; None where the configuration came from elsewhere."""
    versions: tuple[ModSpec, ...] = ()
    beside: Line | None = None
    """What the spec of a line says besides."""
    watch: tuple[str, ...] = ()
    """Patterns of files that it is made from beside its code, from the folder of network.yaml."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What lies beside a mod says of it (mod_manifest.json, pyproject.toml); None and nothing for what is left out."""

    files: tuple[Path, ...]
    version: str | None = None
    description: str = ""
    requires: tuple[str, ...] | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """The configuration of a mod as far as network.yaml says nothing else."""
    schema: Mapping[str, Any] | None = None
    """The JSON Schema of the configuration."""
    packages: tuple[str, ...] = ()
    where: Mapping[str, Place] = field(default_factory=dict)
    """Where each requirement is written, and "version"."""


@dataclass(frozen=True, slots=True)
class AgentGroup:
    """A group that agents join by password; `agents` lists members by id besides."""

    name: str
    password_hash: str = ""
    description: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """A whole network.yaml. `mods` is in the order of the file, which is the order mods are asked in."""

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
    max_body: int = MOST_UPLOAD
    studio: bool = False
    indexes: tuple[str, ...] = ()
    """Where mods and packages come from, in the order of trust: folders beside network.yaml, and simple indexes."""
    packages: str = "default"
    """Whether Python's own index comes last: "default" or "none"."""
    catalogues: tuple[str, ...] | None = None
    """Lists of mods; None for those of the folders among `indexes`."""
    cooldown: float = 3 * 86_400.0
    """Seconds that a release of a remote index has to be old."""
    agents: tuple[str, ...] = ()
    """Programs of agents that run beside the network: files, from the folder of network.yaml."""
    unused: tuple[str, ...] = ()
    """What the file says without effect here, as paths of keys."""
    lost: tuple[str, ...] = ()
    """Those of them that have an effect in OpenAgents."""
    lists_mods: bool = field(default=True, compare=False)
    """Whether the file has the key `mods`: an empty list asks for none, a missing key may be a mistake."""

    @property
    def enabled_mods(self) -> tuple[ModSpec, ...]:
        """The mods that shall run, in order."""
        return tuple(spec for spec in self.mods if spec.enabled)

    @property
    def specs(self) -> tuple[ModSpec, ...]:
        """The mods and, behind each, the lines beside it."""
        return tuple(each for spec in self.mods for each in (spec, *spec.versions))

    @property
    def enabled_specs(self) -> tuple[ModSpec, ...]:
        """Those of them that shall run."""
        return tuple(spec for spec in self.specs if spec.enabled)
