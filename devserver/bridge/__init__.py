"""Runs mods that were written for openagents, unmodified. Native networks never come here.

- `upstream`  what is used of the package; it is found where a mod has imported it, and never imported here
- `lookup`    the class of a mod in its module
- `mod`       `BridgedMod`, a mod of ours that stands for one of theirs
- `construct` makes an instance of theirs
- `convert`   events and answers, from one form to the other
- `network`   the network as such a mod sees it
- `rebind`    the same instance under its edited class
- `push`      delivery by WebSocket for their agents
- `keep`      what a mod's `shutdown()` throws away and its next start needs

Imports no ui, decides nothing about reloads, and is not needed by networks without such mods.
"""

from devserver.bridge.mod import Bridge, BridgedMod, make_bridge

__all__ = ["Bridge", "BridgedMod", "make_bridge"]
