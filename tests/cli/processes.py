"""The commands as processes: one that ends, and a server that runs, in a workspace with one small mod."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from nursery import INLINE, Popen, run

import devserver

PATIENCE = 60.0
"""Seconds after which a fact that was waited for is taken to be never coming."""

OA_DEV = (sys.executable, "-c", INLINE)

NETWORK = """\
network:
  name: team
  mods:
    - name: mods.echo
"""

ECHO_V1 = """\
from devserver import BaseMod, EventResponse, mod_event_handler

class EchoMod(BaseMod):
    @mod_event_handler("echo.say")
    async def say(self, event):
        return EventResponse(True, "said", {"text": event.payload["text"]})
"""

ECHO_V2 = ECHO_V1.replace('"said"', '"said again"')
ECHO_BROKEN = ECHO_V1.replace("class EchoMod", "clas EchoMod")


def environment(**values: str) -> dict[str, str]:
    """This process's environment without what would change how the commands look."""
    unwanted = ("NO_COLOR", "FORCE_COLOR", "CI", "COLUMNS")
    kept = {name: value for name, value in os.environ.items() if name not in unwanted and "OA_DEV" not in name}
    return kept | {"PYTHONPATH": str(Path(devserver.__file__).parents[1])} | values


def oa_dev(folder: Path, *arguments: str | bytes, **values: str) -> subprocess.CompletedProcess[str]:
    """Call a command in a folder and wait for its end."""
    done = run(
        [*OA_DEV, *arguments], cwd=folder, env=environment(**values), capture_output=True, text=True, timeout=PATIENCE
    )
    assert "Traceback" not in done.stderr
    return done


def write(folder: Path, network: str = NETWORK, echo: str = ECHO_V1) -> Path:
    """A workspace with one mod."""
    (folder / "mods" / "echo").mkdir(parents=True, exist_ok=True)
    for file, text in ((folder / "mods" / "echo" / "mod.py", echo), (folder / "network.yaml", network)):
        # In one go, as careful editors do: a file that is half there may be a save of its own.
        beside = file.with_name(f".{file.name}.swp")
        beside.write_text(text)
        os.replace(beside, file)
    return folder


class Running:
    """A server in a workspace, which tells its facts as JSON lines."""

    def __init__(
        self, folder: Path, *options: str, before: Sequence[str] = (), errors: IO[bytes] | None = None
    ) -> None:
        self.folder = folder
        self.process = Popen(
            [*OA_DEV, *before, "run", "--json", "--port", "0", *options],
            cwd=folder,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        # A fact that never comes must fail its test, not hold it up: the end of the process ends the waiting.
        self.patience = threading.Timer(PATIENCE, self.process.kill)
        self.patience.start()

    def until(self, **wanted: Any) -> dict[str, Any]:
        """The next object that holds some values."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            told: dict[str, Any] = json.loads(line)
            if wanted.items() <= told.items():
                return told
        raise AssertionError(f"the server ended without telling {wanted}")

    def stop(self) -> int:
        """Ctrl-C, and the exit code."""
        self.process.send_signal(signal.SIGINT)
        self.until(type="stopped")
        return self.process.wait()

    def end(self) -> None:
        """End the process, however it is."""
        self.patience.cancel()
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
