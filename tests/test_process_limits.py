"""What a server's process sets for itself at its start."""

from __future__ import annotations

import json
import subprocess
import sys

from devserver.server.process_limits import MOST_FILES, TURN

SHOW = """
import json, resource, sys
from devserver.server.process_limits import set_limits
resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
set_limits()
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
print(json.dumps([soft, hard, resource.getrlimit(resource.RLIMIT_CORE)[0], sys.getswitchinterval()]))
"""


def test_a_server_has_room_for_connections_and_writes_no_core_and_takes_short_turns() -> None:
    """In a process of its own: limits cannot be taken back."""
    shown = subprocess.run([sys.executable, "-c", SHOW], capture_output=True, text=True, check=True)
    soft, hard, core, turn = json.loads(shown.stdout)
    assert soft == (MOST_FILES if hard == -1 else min(hard, MOST_FILES))
    assert core == 0
    assert abs(turn - TURN) < TURN / 100
