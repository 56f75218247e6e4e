"""A network.yaml as it was read last: bytes and values, for the next image of this process, too.

Values depend on the bytes alone, so that an image that finds the same ones reads neither YAML nor models:
importing what does takes a sixth of a restart in place.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from devserver import __version__
from devserver.config.regular import read_regular
from devserver.model.config import ModSpec, NetworkConfig
from devserver.model.declared import Frame

_MADE_BY = (__version__, *(each.name for kind in (NetworkConfig, ModSpec) for each in fields(kind)))
"""Code that knows other values, as after an upgrade, reads the file."""


@dataclass(frozen=True, slots=True)
class Written:
    """The bytes of a network.yaml, and what they ask for."""

    data: bytes
    config: NetworkConfig

    def pack(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {"made_by": _MADE_BY, "data": self.data, "config": pickle.dumps(_with_places(self.config, None))}


def read_written(path: Path, packed: Mapping[str, Any] | None = None) -> Written:
    """Read the file at `path`, or take what an earlier image has packed of the same bytes.

    Raises ConfigError for a file that cannot be read or used.
    """
    if packed is not None and packed["made_by"] == _MADE_BY and _is_still(path, packed["data"]):
        return Written(packed["data"], _with_places(pickle.loads(packed["config"]), _Again(packed["data"], path.name)))
    # Here and not above: it imports what is not needed otherwise.
    from devserver.config.network_yaml import parse_network, read_bytes

    data = read_bytes(path)
    return Written(data, parse_network(data, path.name))


def _is_still(path: Path, data: bytes) -> bool:
    try:
        return read_regular(path, len(data)) == data
    except OSError:  # the read that follows tells the error
        return False


class _Again:
    """A file that is read again if a person has to be told a place in it."""

    def __init__(self, data: bytes, file: str) -> None:
        self._data, self._file = data, file

    @cached_property
    def _config(self) -> NetworkConfig:
        from devserver.config.network_yaml import parse_network

        return parse_network(self._data, self._file)

    def frame(self, path: str, inner: tuple[str | int, ...], about_key: bool) -> Frame:
        """Return the place of a value of the configuration of the mod or line at `path`."""
        specs = {each.path: each for each in self._config.specs}
        place_of = specs[path].place_of
        assert place_of is not None
        return place_of(inner, about_key)


def _with_places(config: NetworkConfig, again: _Again | None) -> NetworkConfig:
    """Return a configuration whose places are found by `again`, or not at all."""

    def placed(spec: ModSpec) -> ModSpec:
        place_of = None if again is None else lambda inner, about_key: again.frame(spec.path, inner, about_key)
        return replace(spec, place_of=place_of, versions=tuple(map(placed, spec.versions)))

    return replace(config, mods=tuple(map(placed, config.mods)))
