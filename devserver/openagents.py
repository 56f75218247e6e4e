"""One line for notebooks and tests: after `import devserver.openagents`, OpenAgents' network is ours.

`from openagents.core.network import AgentNetwork` then gives the network of oa-dev, also where the installed package
cannot be imported. As a pytest plugin: `pytest -p devserver.openagents`. For scripts: `oa-dev exec SCRIPT`.

For an agent: `devserver.openagents.push()` gives its `AgentClient` or `WorkerAgent` what is for it at once, by
WebSocket.
"""

from devserver.bridge.push import pull, push
from devserver.server.drop_in import install, uninstall

__all__ = ["install", "pull", "push", "uninstall"]

install()
