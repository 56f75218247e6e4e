"""The command `oa-dev run`: reads the settings, and serves here or in a supervised process.

Imports on demand: a supervisor needs little, and a start must be fast.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from devserver import __version__
from devserver.cli.exits import Exit, Problem
from devserver.cli.inputs import refuse_exposed
from devserver.cli.locate import network_file
from devserver.config.settings import SettingError, Settings, read_settings
from devserver.errors import ConfigError, PortInUse
from devserver.live import garbage
from devserver.ui.escape import safe
from devserver.ui.terminal import is_tty

if TYPE_CHECKING:
    from devserver.hosts.wanted import Wanted
    from devserver.server.image import Image
    from devserver.server.run_options import RunOptions
    from devserver.server.supervised import Supervised
    from devserver.server.taken_over import Commands
    from devserver.ui.face import Face

_OF_THE_RUN = ("host", "allow_host", "port", "strict_port", "watch", "watch_paths", "confirm", "studio")
"""The settings that a run takes as they are."""


def detach(given: Path | None, *, as_json: bool) -> int:
    """Start the same command in the background, and print its address; also that of one that runs already."""
    from devserver.cli.background import start
    from devserver.cli.output import say, say_json

    started = start(network_file(given), [each for each in sys.argv[1:] if each != "--detach"])
    if as_json:
        log = {} if started.log is None else {"log": str(started.log)}
        say_json({"ready": True, "url": started.url, "pid": started.pid, **log, "already": started.log is None})
    elif started.log is None:
        say(f"runs already at {started.url}, pid {started.pid}, with the options of its own start")
    else:
        say(f"runs in the background at {started.url}, pid {started.pid}; stop it with: oa-dev stop")
        say(f"its output is in {started.log}")
    return Exit.CLEAN


def run(
    given: Path | None,
    flags: Mapping[str, Any],
    *,
    as_json: bool,
    open_page: bool = False,
    sync: bool = False,
    record: bool = False,
    hosts: Wanted | None = None,
) -> int:
    """Run the network until it is stopped. `flags` are settings by name, None if not given.

    `sync`: install the lock first, and end the command if that fails. `record`: record a session.
    `hosts`: be one host of several.
    """
    from devserver.server.image import VARIABLE as RESTARTED
    from devserver.server.image import Image

    path = network_file(given)
    # Before anything is changed: a restart in place begins with the conditions of this start.
    image = Image()
    settings = settings_of(path, flags)
    refuse_exposed(settings["host"], settings["allow_host"])
    from devserver.server.supervised import VARIABLE, Supervised

    fresh = VARIABLE not in os.environ and RESTARTED not in os.environ
    if fresh and sync and (code := _synced(path, as_json=as_json)):
        return code
    if fresh and _is_supervised(settings["supervise"], as_json=as_json):
        return supervise(sys.argv[1:])
    supervised = Supervised.of(os.environ)
    return _run_here(path, settings, image, supervised, hosts, as_json=as_json, open_page=open_page, record=record)


def _run_here(
    path: Path,
    settings: Settings,
    image: Image,
    supervised: Supervised,
    hosts: Wanted | None,
    *,
    as_json: bool,
    open_page: bool,
    record: bool,
) -> int:
    """Serve in this process, after an image before this one if there was one."""
    from devserver.server.process_limits import set_limits

    set_limits()
    supervised.leave_last_words()
    from devserver.server.before import Before

    before = Before.of(os.environ)
    os.environ.update(settings.variables)
    from devserver.server.aside import work
    from devserver.server.fork_server import ForkServer
    from devserver.server.run_options import RunOptions

    # Before there is a thread, and a face whose output it would share.
    garbage.freeze_own()
    left = {} if before is None else before.values["server"]
    forks = ForkServer.begin(work, image.began, left.get("forks"), _commands)
    face = _face(settings, path, as_json=as_json, terminal=left.get("terminal"))
    _log_to(face, settings["log_level"])
    if settings["poll"]:
        # watchfiles' own switch, which every watch of this process reads.
        os.environ["WATCHFILES_FORCE_POLLING"] = "true"
    options = RunOptions(
        path,
        keys=face.keys is not None,
        open_page=open_page,
        record=record,
        hosts=hosts,
        settings=settings,
        supervised=supervised,
        image=image,
        before=before,
        forks=forks,
        **{name: settings[name] for name in _OF_THE_RUN},
    )
    return _serve(options, face)


def _commands() -> Commands:
    """Return how commands are carried out that are handed over to this run."""
    from devserver.cli.start import call
    from devserver.server.taken_over import Commands

    def prepare() -> None:
        from devserver.cli.installing import prepare

        prepare()

    return Commands(run=call, prepare=prepare)


def _serve(options: RunOptions, face: Face) -> int:
    """Run the server to its end, and tell why it cannot start."""
    from devserver.model import logs
    from devserver.model.facts import ConfigRefused
    from devserver.server.server import run_server
    from devserver.ui.capture import captured

    try:
        # Looked up for each line: the server puts a redactor before it.
        with captured(lambda said: face.log.say(said), keys=face.keys is not None):
            return run_server(options, face)
    except ConfigError as error:
        face.tell(ConfigRefused(error.problems))
        return Exit.CONFIG
    except PortInUse as error:
        raise Problem(str(error), "leave out --strict-port to take the next free one", Exit.PORT_IN_USE) from error
    finally:
        logs.listen(None)
        face.close()


def _face(settings: Settings, path: Path, *, as_json: bool, terminal: Any) -> Face:
    """Return the face of a run. `terminal`: its mode as an earlier image found it."""
    from devserver.ui.editor import chosen_editor
    from devserver.ui.face import console_face, json_face

    log_format = settings["log_format"] or ("json" if as_json else "human")
    if as_json:
        return json_face(sys.stdout, sys.stderr, human_log=log_format == "human")
    errors = sys.stderr if log_format == "json" else None
    face = console_face(
        sys.stdout, root=path.parent, version=__version__, keys=settings["keys"], log_errors=errors, mode=terminal
    )
    face.editor(chosen_editor(settings["editor"], os.environ))
    return face


def _log_to(face: Face, level: str) -> None:
    """Let all log records go to the face."""
    from devserver.model import logs
    from devserver.ui.log import quiet_libraries

    face.log.addFilter(quiet_libraries)
    logging.basicConfig(handlers=[face.log], force=True)
    logs.set_level(level)
    logs.listen(face.log.tell)


def _synced(path: Path, *, as_json: bool) -> int:
    """Lock and install the wants, in a process of its own: the server imports none of it."""
    command = [sys.executable, "-P", "-m", "devserver", "sync", "--yes"]
    # Standard output is for the lines of the server.
    return subprocess.run(command, cwd=path.parent, stdout=sys.stderr if as_json else None, check=False).returncode


def _is_supervised(wanted: bool | None, *, as_json: bool) -> bool:
    """Return whether a run is supervised: as asked for, else if a person is at a terminal."""
    from devserver.server.supervisor import supported

    at_terminal = is_tty(sys.stdin) and is_tty(sys.stdout) and not as_json
    return supported() and (at_terminal if wanted is None else wanted)


def supervise(arguments: Sequence[str]) -> int:
    """Run the server in a process of its own, and again when it crashed."""
    from devserver.server.supervisor import Supervisor

    return Supervisor(arguments, os.environ, lambda words: print(f"oa-dev: {safe(words)}", file=sys.stderr)).run()


def settings_of(path: Path, flags: Mapping[str, Any]) -> Settings:
    """Return the settings of a run of this network.yaml. Raises Problem for an invalid one."""
    try:
        return read_settings(path.parent, flags, os.environ)
    except SettingError as error:
        raise Problem(str(error), "oa-dev doctor shows every setting with its source") from error
