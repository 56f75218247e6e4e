"""The start of `oa-dev`: reads the arguments, and makes a problem a line and an exit code."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime

from devserver.cli.changing import market_arguments
from devserver.cli.exits import Exit, Problem
from devserver.cli.quick import run_arguments
from devserver.errors import ConfigError, DevServerError
from devserver.live import garbage
from devserver.ui.escape import cut, safe


def main() -> None:
    """Run the command in the process's arguments, and end the process."""
    # What is imported stays: looking for garbage among it would take a tenth of a start.
    garbage.begin_start()
    for stream in (sys.stdout, sys.stderr):
        # Names of files need not be text: bytes that cannot be encoded are spelled out.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        code = call(in_directory(sys.argv[1:]))
    except Problem as error:
        code = _said(error, as_json="--json" in sys.argv)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            # Python must not fail once more when it closes that stream.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        except (ValueError, AttributeError):
            # A program of `exec`, or the end of `mcp`, has closed or replaced it.
            continue
    sys.exit(code)


def in_directory(arguments: list[str]) -> list[str]:
    """Change to the directory that `-C DIR` before a command names, and return the other arguments.
    Raises Problem for a directory that cannot be used."""
    if not arguments or arguments[0] != "-C":
        return arguments
    if len(arguments) == 1:
        raise Problem("-C needs a directory", "as in: oa-dev -C demo status")
    try:
        os.chdir(arguments[1])
    except (OSError, ValueError) as error:
        raise Problem(f"cannot change to {arguments[1]}: {getattr(error, 'strerror', None) or error}") from error
    # A supervisor and a restart in place begin in this directory, with the arguments of this
    # process.
    sys.argv[1:] = sys.orig_argv[-len(arguments) :] = arguments[2:]
    return in_directory(arguments[2:])


def call(arguments: Sequence[str]) -> int:
    """Run a command and return its exit code; a problem is a line with a hint on stderr."""
    try:
        code = _called(arguments)
        # A program of `exec` may have put anything there.
        if not getattr(sys.stdout, "closed", True):
            # Here, where it can be told that the output was not taken.
            sys.stdout.flush()
        return code
    except DevServerError as error:
        return _said(error, as_json="--json" in arguments)
    except BrokenPipeError:
        # The reader of the output has gone, and has what it wanted.
        return Exit.CLEAN
    except OSError as error:
        # A full disk, a name that is too long, a folder that is gone: nothing that a traceback would explain.
        return _said(DevServerError(_refusal(error)), as_json="--json" in arguments)
    except (EOFError, KeyboardInterrupt):
        # Also an end of input in place of an answer: the line of the question ends here.
        with suppress(OSError):
            print(file=sys.stderr)
        return Exit.INTERRUPTED


def _refusal(error: OSError) -> str:
    """Return what the system has refused, in words."""
    words = error.strerror or str(error) or type(error).__name__
    name = error.filename  # a number where a descriptor was meant
    return words if name is None else f"{name if isinstance(name, int) else os.fsdecode(name)}: {words}"


def _called(arguments: Sequence[str]) -> int:
    # A shell asks for completions by this variable, with meaningless arguments.
    is_plain = "_OA_DEV_COMPLETE" not in os.environ
    if is_plain and (run := run_arguments(arguments)) is not None:
        from devserver.cli import serve

        return serve.run(run.network, run.flags, as_json=run.as_json)
    if is_plain and (changed := market_arguments(arguments)) is not None:
        from devserver.cli import installing

        return installing.called(*changed)
    from devserver.cli.app import parsed

    return parsed(arguments)


def _said(error: DevServerError, *, as_json: bool) -> int:
    """Tell a person on stderr, and a program on stdout, in the form of all JSON."""
    words, hint, code = _in_words(error)
    # Where the outputs take nothing, the exit code alone tells it.
    with suppress(OSError):
        print(f"error: {cut(safe(words))}", file=sys.stderr)
        if hint:
            print(f"  {cut(safe(hint))}", file=sys.stderr)
    if as_json:
        # Not above: `--help` and `--version` do not need it.
        from devserver.model.facts import ErrorFacts
        from devserver.model.wire_form import error_line, iso

        facts = ErrorFacts(type(error).__name__, words, hint=hint or None)
        with suppress(OSError):  # stdout may be what has failed
            print(json.dumps(error_line(facts, int(code), iso(datetime.now(UTC)))))
    return code


def _in_words(error: DevServerError) -> tuple[str, str, int]:
    """Return an error's sentence, its hint and the exit code."""
    if isinstance(error, Problem):
        return str(error), error.hint, error.code
    if not isinstance(error, ConfigError):
        return str(error), "", Exit.FATAL
    # `oa-dev check` prints all of them, with their lines.
    first = error.problems[0]
    where = first.where
    place = "network.yaml" if where is None else f"{where.file}:{where.line}"
    column = f":{where.column}" if where is not None and where.column else ""
    return f"{place}{column} cannot be used: {first.message}", first.hint or "", Exit.CONFIG
