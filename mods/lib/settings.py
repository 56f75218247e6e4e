"""Reading a mod's configuration. A value that cannot be used is an error of whoever wrote network.yaml: ValueError."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def count(config: Mapping[str, Any], key: str, default: int, most: int = 10_000_000) -> int:
    """The whole number from 1 to `most` under `key`.

    Raises ValueError with a sentence that names the key.
    """
    value = config.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise ValueError(f"{key} is a whole number from 1 to {most}, not {value!r}")
    return value


def flag(config: Mapping[str, Any], key: str, default: bool) -> bool:
    """The true or false under `key`.

    Raises ValueError with a sentence that names the key.
    """
    value = config.get(key, default)
    if not isinstance(value, bool):
        raise ValueError(f"{key} is true or false, not {value!r}")
    return value
