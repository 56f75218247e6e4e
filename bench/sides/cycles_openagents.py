"""The same in OpenAgents' network, with a Python that has it: `python cycles_openagents.py CYCLES`."""

# mypy: disable-error-code="import-not-found"
# Its imports are those of another environment.

from __future__ import annotations

import asyncio
import json
import logging
import sys
import tempfile
from pathlib import Path

from cycles_ours import cycles, write

logging.disable(logging.INFO)

from openagents.core.network import AgentNetwork  # noqa: E402
from openagents.models.network_config import NetworkConfig  # noqa: E402


async def main(count: int) -> None:
    """Cycle, and tell."""
    with tempfile.TemporaryDirectory() as name:
        write(Path(name), "openagents.core.base_mod")
        network = AgentNetwork.create_from_config(NetworkConfig(name="bench"))
        print(json.dumps(await cycles(count, network.load_mod, network.unload_mod)), flush=True)


asyncio.run(main(int(sys.argv[1])))
