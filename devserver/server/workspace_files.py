"""The files of a server in `.oa-dev/` beside its network.yaml: run file and agents' identities.

Of two servers in one workspace the first has them to itself: the second runs without, and tells so.
Reads and writes no file of the user's.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from devserver.errors import DevServerError
from devserver.network.agents import Directory
from devserver.server.door import remove_door
from devserver.server.identities import IdentityStore
from devserver.server.runfile import Claim, read_run_file, remove_run_file, write_run_file


class WorkspaceFiles:
    """Arguments: `workspace`, the folder; `tell`, told why values cannot be kept."""

    def __init__(self, workspace: Path, tell: Callable[[str], None]) -> None:
        self._workspace = workspace
        self._tell = tell
        self._identities = IdentityStore(workspace, tell)
        self._claim = Claim(workspace)

    def begin(self, directory: Directory, claim: int | None = None) -> None:
        """Take the files, if no other server has them, and restore the former agents. `claim`: the
        descriptor of the image before this one, which has them already."""
        if claim is not None:
            self._claim.go_on(claim)
        if self._claim.taken or self._claim.take():
            self._identities.follow(directory)

    @property
    def are_ours(self) -> bool:
        """Whether no other server has them."""
        return self._claim.taken

    def hand_over(self) -> int | None:
        """Write the last changes; leave the files to the next image; return its claim, if any."""
        self._identities.close()
        return self._claim.descriptor

    def take_back(self, directory: Directory) -> None:
        """Continue after `hand_over`: there is no next image."""
        if self._claim.taken:
            self._identities.follow_again(directory)

    async def written(self) -> None:
        """Wait until all earlier agents are on disk, if they are kept at all."""
        await self._identities.written()

    def announce(self, url: str, token: str, network: str, commands: Mapping[str, str]) -> None:
        """Write the run file, so that commands find this server. `network`: the file's name; `commands`: where they
        are handed over."""
        if not self._claim.taken:
            self._tell(
                f"{self._other()} runs in this folder: commands go to that one, and agents of this one will have to "
                "register again after a restart"
            )
            return
        try:
            write_run_file(self._workspace, url, token, os.getpid(), network=network, commands=commands)
        except (OSError, DevServerError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            self._tell(f"commands cannot reach this server: .oa-dev/run.json cannot be written ({why})")

    def end(self) -> None:
        """Remove the run file, and write the last changes of agents. Never raises."""
        try:
            if self._claim.taken:
                remove_door(self._workspace)
                remove_run_file(self._workspace, os.getpid())
        except (OSError, DevServerError) as error:
            # The present file is not the one that this server wrote: it stays.
            self._tell(f".oa-dev/run.json was not removed: {error}")
        finally:
            self._identities.close()
            self._claim.give_back()

    def _other(self) -> str:
        try:
            found = read_run_file(self._workspace)
        except DevServerError:
            found = None
        return f"another oa-dev (pid {found.pid}, {found.url})" if found is not None else "another oa-dev"
