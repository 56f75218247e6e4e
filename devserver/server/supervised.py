"""The server's side of supervision: passes its socket to the supervisor, writes a crash trace on
exit, quarantines mods that crashed an earlier run.

Outside supervision all of it does nothing. It starts and ends no process: `supervisor` does.
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import json
import os
import signal
import socket
import sys
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from devserver.errors import ModFault
from devserver.sources.files import digest_on_disk

if TYPE_CHECKING:
    from devserver.model.config import NetworkConfig
    from devserver.sources.roots import Roots

VARIABLE = "OA_DEV_SUPERVISED"
"""The variable that a supervisor hands on, removed at once: no child inherits it."""

ENTRUSTED, PARTED = b"listening", b"parted"
"""Messages to the supervisor: this is the listening socket; the coming end is a clean one."""

_SET_PARENT_DEATH_SIGNAL = 1
_DEADLY = frozenset({signal.SIGKILL, signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGILL})


class EndedTheProcess(ModFault):
    """A mod ended an earlier run of the server, with code that is still the same."""


@dataclass(frozen=True, slots=True)
class Place:
    """One line of code that ran when a process died, and the SHA-256 of its file afterwards."""

    file: str
    line: int
    digest: str | None


@dataclass(frozen=True, slots=True)
class Crash:
    """How a server crashed: in words ("exit 7", "SIGSEGV"), and the code that ran, innermost first;
    none if unknown.

    `began`: when that run began, in seconds since 1970; 0 if unknown.
    """

    how: str
    places: tuple[Place, ...] = ()
    began: float = 0.0

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read a crash from the result of `asdict`."""
        return cls(values["how"], tuple(Place(**each) for each in values["places"]), values.get("began", 0.0))

    def blamed(self, mods: Mapping[str, Path]) -> tuple[str, Place] | None:
        """Return the mod, of these with their files, whose own code ran innermost, and where."""
        for place in self.places:
            for mod, file in mods.items():
                if _belongs(Path(os.path.realpath(place.file)), file):
                    return mod, place
        return None


def _belongs(file: Path, entry: Path) -> bool:
    """Return whether a file is a part of the mod with that entry module."""
    if entry.name not in ("mod.py", "__init__.py"):
        return file == entry
    return file.is_relative_to(entry.parent)


def digest_of(file: str) -> str | None:
    """Return the SHA-256 of a file; None for one that cannot be read."""
    try:
        return digest_on_disk(Path(file))
    except OSError:
        return None


class Quarantine:
    """The mods that ended the process before and have not been changed since."""

    def __init__(self, crashes: tuple[Crash, ...], mods: Iterable[str], roots: Roots) -> None:
        files = dict(_files(mods, roots)) if crashes else {}
        blamed = ((crash, crash.blamed(files)) for crash in crashes)
        self._held = {found[0]: (crash, found[1]) for crash, found in blamed if found is not None}

    def __len__(self) -> int:
        return len(self._held)

    def refuse(self, mod_path: str) -> None:
        """Raise EndedTheProcess for a quarantined mod; one with changed code is released."""
        if not self._held:
            return
        from devserver.model.names import module_of  # not above: the supervisor itself does not need it

        mod = module_of(mod_path)
        if mod not in self._held:
            return
        crash, place = self._held[mod]
        if digest_of(place.file) != place.digest:
            del self._held[mod]
            return
        raise EndedTheProcess(
            f"{mod_path} ended the whole process ({crash.how}) at {os.path.basename(place.file)}:{place.line}; "
            "it stays out until that file is changed"
        )


def _files(mods: Iterable[str], roots: Roots) -> Iterator[tuple[str, Path]]:
    from devserver.loader.locate import locate
    from devserver.model.names import module_of

    for mod in mods:
        with contextlib.suppress(ModFault):  # its load will say what is wrong
            yield module_of(mod), Path(os.path.realpath(locate(mod, roots).file))


class Supervised:
    """One run, with or without a supervisor. Made by `of` before anything else runs."""

    def __init__(self, values: Mapping[str, Any] | None = None) -> None:
        given = values or {}
        self.crashes = tuple(Crash.from_dict(each) for each in given.get("crashes", ()))
        self._line = _socket_of(given.get("line"))
        self._words = _kept(given.get("words"))
        self._inherited = _socket_of(given.get("listening"))
        self._wanted: str | None = given.get("wanted")
        self._entrusted: str | None = given.get("entrusted")
        self.began: float | None = given.get("began")
        """When a person asked for this run, in seconds since 1970; None for a direct start."""

    @classmethod
    def of(cls, environ: MutableMapping[str, str]) -> Self:
        """Return the supervision that the environment describes."""
        text = environ.pop(VARIABLE, None)
        return cls(json.loads(text) if text is not None else None)

    def listening(self, host: str, port: int) -> socket.socket | None:
        """Return the socket that an earlier run listened on for this host and port; else None."""
        listening, self._inherited = self._inherited, None
        if listening is None:
            return None
        if self._wanted != f"{host} {port}":
            # network.yaml was changed between the two: that port is not wanted any more.
            listening.close()
            return None
        listening.setblocking(False)
        return listening

    def entrust(self, listening: socket.socket, host: str, port: int) -> None:
        """Let the supervisor hold the socket that serves this wanted host and port, so that it outlives this run."""
        wanted = f"{host} {port}"
        # Once over all restarts in place: the supervisor reads when the process ends, and the line has little room.
        if self._line is not None and wanted != self._entrusted:
            socket.send_fds(self._line, [ENTRUSTED + f" {wanted}".encode()], [listening.fileno()])
            self._entrusted = wanted

    def again(self) -> tuple[dict[str, str], list[int]]:
        """Return what the next image needs to be supervised: variables, and descriptors."""
        handed: dict[str, Any] = {}
        if self._line is not None:
            handed["line"] = self._line.fileno()
        if self._words is not None:
            handed["words"] = self._words
        values = {**handed, "entrusted": self._entrusted}
        return ({VARIABLE: as_environment(values, self.crashes)}, list(handed.values())) if handed else ({}, [])

    def quarantine(self, config: NetworkConfig, roots: Roots) -> Quarantine:
        """Return the mods of this network that must not be loaded unchanged."""
        return Quarantine(self.crashes, [each.path for each in config.mods], roots)

    def leave_last_words(self) -> None:
        """Leave the stack if the process dies from now on; and note a clean end."""
        if self._words is not None and self._line is not None:
            # Have the system end this process when its supervisor is killed: no one would hold the
            # port.
            if sys.platform == "linux":
                import ctypes  # imported here: only supervised runs need it

                ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)
            atexit.register(self._line.send, PARTED)
            faulthandler.enable(self._words, all_threads=False)
            _record_exits(self._words)


def _kept(descriptor: int | None) -> int | None:
    """Return a descriptor that was handed on to this process, and to no further one."""
    if descriptor is not None:
        os.set_inheritable(descriptor, False)
    return descriptor


def _socket_of(descriptor: int | None) -> socket.socket | None:
    return socket.socket(fileno=descriptor) if _kept(descriptor) is not None else None


def _record_exits(words: int) -> None:
    """Leave the stack also if the process ends without a fault: by `os._exit` or a signal."""
    own, leave = os.getpid(), os._exit

    def record() -> None:
        # A forked child ends itself in this way; it does not concern the supervisor.
        if os.getpid() == own:
            faulthandler.dump_traceback(words, all_threads=False)

    def recorded_exit(status: int) -> None:
        record()
        leave(status)

    def on_event(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "os.kill" and arguments[0] == own and arguments[1] in _DEADLY:
            record()

    os._exit = recorded_exit  # type: ignore[assignment]
    sys.addaudithook(on_event)


def describe(code: int) -> str:
    """Return how a process ended, in words, by its code as `subprocess` has it."""
    return signal.Signals(-code).name if code < 0 else f"exit {code}"


def as_environment(values: Mapping[str, Any], crashes: tuple[Crash, ...]) -> str:
    """Return the input of `Supervised.of`."""
    return json.dumps({**values, "crashes": [asdict(each) for each in crashes]})
