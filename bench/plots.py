"""Has the plots drawn, by matplotlib in an environment of its own: this process imports none of it."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

from bench import peers
from bench.harness import Plot

_DRAW = Path(__file__).parent / "sides" / "draw.py"


def draw(plots: Sequence[Plot], folder: Path) -> str | None:
    """Write NAME.png of each plot into `folder`; None, or why there are none."""
    found = peers.environment("plots")
    if found.missing:
        return ", ".join(f"{name} {why}" for name, why in found.missing.items())
    data = json.dumps([dataclasses.asdict(each) for each in plots])
    command = [str(found.bin / "python"), str(_DRAW), str(folder)]
    ended = subprocess.run(command, input=data, text=True, capture_output=True, check=False)
    return None if ended.returncode == 0 else f"matplotlib failed: {ended.stderr.strip().splitlines()[-1]}"
