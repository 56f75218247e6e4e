"""The errors of `devserver`, one tree; those with a file beside them are defined there, for that file alone.

    DevServerError            anything this package raises on purpose
    ├── ConfigError           a network.yaml that cannot be used, with every problem at its line
    ├── SettingError          a setting that cannot be used (config/settings)
    ├── ModFault              a mod could not be brought to life or ended; its file and line where one is known
    │   ├── ModNotFound       no module of that name where mods may come from
    │   ├── ModRefused        the name or place is not allowed; nothing was imported
    │   ├── NoModClass        the module holds no usable class
    │   ├── HandlerFault      a handler cannot be called with an event
    │   ├── ModConfigError    its configuration does not fit the model that it declares
    │   ├── BadManifest       its mod_manifest.json cannot be used (market/manifest)
    │   ├── NeedUnmet         it needs what does not run, or its version does not suit another mod
    │   ├── HookFailed        a hook of the mod returned False, hung, or asked the process to end
    │   └── EndedTheProcess   the same code ended an earlier run of the server (server/supervised)
    ├── UvMissing, UvFailed   packages cannot be brought: there is no uv, or it ended badly (market/uv)
    ├── BadLock, BadWants     what is locked, or is to be, cannot be read (market/lock, market/wants)
    ├── NothingSuits          no set of packages suits all that is wanted, with both sides (market/sync)
    ├── OtherContents, OtherPublisher         what an index has under a version is not what was locked (market/sync)
    ├── BadAttestation        a release whose attestations do not hold (market/releases)
    ├── NotAdded              a mod was not brought for this run, with a code (reload/adding)
    ├── NotBeside             a version that cannot run beside its mod (market/beside)
    ├── Busy, NotInstalled    another process changes what is installed, or it is not here (market/folder)
    ├── PackageRefused        a package that may not be installed, or cannot be read, with its rule (market/package)
    ├── BadCatalogue          a list of mods that cannot be used (market/catalogue)
    │   └── NotListed         a name that no list of mods holds (market/shown)
    ├── CannotPack, IsThere   a mod that cannot be packed; a release that an index has with other bytes (market)
    ├── OtherBytes            a built-in mod is not what its catalogue says (market/wheel)
    ├── PinRefused            a pin that cannot be made or read (replay/pins)
    ├── ReplayFailed          a replay has no result (replay/host)
    ├── BadSession            a file that cannot be read as a session (replay/session)
    ├── NotWritten            a test of an event was not written (server/written_tests)
    ├── CannotEdit            a network.yaml that is written in a way that no command edits (market/yaml_edit)
    ├── BlockedTooLong        raised in a mod's code that kept all mods from running for longer than its limit
    ├── AgentError            a network does not let an agent in, or has ended its stay, with a code
    ├── EventRefused          an event that may not enter, with a code
    ├── CannotListen          the wanted address cannot be listened on
    ├── PortInUse             the wanted port is taken
    ├── BadCredentials        what proves a host, or the address of an engine, cannot be used (hosts/credentials)
    ├── HostTaken, NotShared  another process is this host, or the author; no network to join (hosts)
    ├── NoEngine              the engine between hosts cannot be started (hosts/engine)
    ├── EngineAway, NoHost, NoAnswer, Conflict, QueueFull, EngineRefused   what the engine says (hosts/link)
    ├── NotRunning            there is no server here to talk to (cli/client)
    ├── ServerRefused         a running server declined what a command asked for (cli/client)
    └── Problem               a command cannot do what was asked: a sentence, a hint, an exit code (cli/exits)

Not of the tree, because each ends in one place and is never shown as an error of ours:

    Refused (mod)                   a handler declines; its sender is answered
    Malformed (transports/strict)   a request that cannot be read
    DoesNotFit (config/typed)       values that a model refuses
    Gone (loader/successor)         code without a successor
    CannotGoBack (loader/contents)  a change of a helper that only a restart in place undoes
    Ended (live/overseer)           ends a handler; code must not catch it
    Abandoned (loader/finder)       ends an import; code must not catch it
    NeedsModsThread (loader/build)  an import is made again where handlers run
    Unread (sources/large)          a plan is made again once a large source was read on another thread
    GivenUp (reload/patience)       an attempt is ended, because its source was saved again
    FailedElsewhere (reload)        a group of steps failed on another host; all hosts undo it
    BadCode (hosts/code)            code of a revision is missing, or is not what was published
    NoWebSocket (agent)             a client goes on over HTTP
    BadSearch (network/search)      a word of a search that cannot be read
    NotPlain (replay/plain)         a value that JSON cannot carry
    Failed (replay/forks)           a fork gave no result

A mod's own exceptions are never wrapped away: they are the `__cause__`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from devserver.model.declared import ErrorFacts


class DevServerError(Exception):
    """An error that this package raises on purpose. Its text is a sentence for people."""


class ConfigError(DevServerError):
    """A network.yaml that cannot be used. `problems` holds every problem with its place."""

    def __init__(self, problems: tuple[ErrorFacts, ...]) -> None:
        super().__init__("; ".join(str(each) for each in problems))
        self.problems = problems


class ModFault(DevServerError):
    """A mod could not be started or ended. `file`, `line` and perhaps `column` are the place to look at."""

    def __init__(self, message: str, *, file: str | None = None, line: int = 1) -> None:
        super().__init__(message)
        self.file = file
        self.line = line
        self.column: int | None = None


class HandlerFault(ModFault, TypeError):
    """A handler of a mod cannot be called with an event."""


class ModNotFound(ModFault):
    """There is no module of that name where mods may come from."""


class ModRefused(ModFault):
    """A name or place that mods must not come from. Nothing was imported."""


class NoModClass(ModFault):
    """The module holds no class that is a mod, or more than one."""


class NeedUnmet(ModFault):
    """A mod needs one that does not run, or its version does not suit: only its code tells."""


class ModConfigError(ModFault):
    """A mod's configuration does not fit its `Config`. `problems`: each, perhaps with its place."""

    def __init__(self, problems: tuple[ErrorFacts, ...]) -> None:
        super().__init__("; ".join(each.message for each in problems))
        self.problems = problems


class HookFailed(ModFault):
    """A hook of the mod returned False, did not come back in time, or asked the process to end."""


class BlockedTooLong(DevServerError):
    """Raised inside a mod's code that blocked the mods' loop for longer than its limit."""

    def __init__(self) -> None:
        super().__init__(
            "it blocked all mods for longer than dev.limits.handler or dev.limits.initialize, and was interrupted"
            " (use await, or a thread)"
        )


class EventRefused(DevServerError):
    """An event that must not enter the network. `code` is for programs, the text for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class AgentError(DevServerError):
    """A network does not let an agent in, or has ended its stay. `code` is for programs."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class CannotListen(DevServerError):
    """The wanted address cannot be listened on at all, whatever the port."""


class PortInUse(DevServerError):
    """The wanted port is taken; `holder` says by which process, where that is known."""

    def __init__(self, host: str, port: int, holder: str = "") -> None:
        super().__init__(f"port {port} on {host} is in use{f' by {holder}' if holder else ''}")
        self.host = host
        self.port = port
