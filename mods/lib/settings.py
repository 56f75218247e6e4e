"""The base of the sample mods' configurations. What does not fit is told at its line in network.yaml."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=1, le=10_000_000)]
"""How many of something there may be."""


class Settings(BaseModel):
    """A configuration whose types are those of YAML, and which no one changes once it is made."""

    model_config = ConfigDict(strict=True, frozen=True)
