"""One adapter for each reloader: how it is told of an edit, and what someone who uses its modules
sees afterwards.

Each edits real files in a folder of its own and is told at once which have changed, so that neither
its way of watching nor its speed decides. Run with the Python that has the reloader.
"""

# mypy: disable-error-code="import-not-found,import-untyped"
# Its imports are those of other environments.

from __future__ import annotations

import asyncio
import contextlib
import importlib
import io
import sys
import textwrap
from collections.abc import Awaitable, Iterator
from pathlib import Path
from typing import Any

Files = dict[str, "bytes | None"]


class Peer:
    """A workspace with a reloader. `imports` is the statement by which its user gets at the modules.

    Files are written with None for one that is deleted. `load` runs statements whenever the modules are loaded again.
    """

    def __init__(self, folder: Path, imports: str) -> None:
        self.folder = folder
        self.imports = imports
        self.held: dict[str, Any] = {}
        self.told: list[str] = []
        self.loop = asyncio.new_event_loop()
        self._written: list[Path] = []
        sys.dont_write_bytecode = True

    # What a case does

    def at_load(self, text: str, statement: str) -> str:
        """The text of a module m which does a thing each time that it is loaded."""
        return f"{text}\n{statement}\n"

    def write(self, files: dict[str, bytes | str | None]) -> None:
        """Write, or delete, files."""
        for name, text in files.items():
            path = self.folder / name
            self._written.append(path)
            if text is None:
                path.unlink()
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.as_written(path, source(text)))

    def as_written(self, path: Path, text: bytes) -> bytes:
        """What a file holds."""
        return text

    def start(self) -> None:
        """Begin on what is on disk."""
        sys.path.insert(0, str(self.folder))
        self._written.clear()
        self.in_loop(self._start())

    def settle(self) -> bool:
        """Tell the reloader which files have changed; whether it said that something was wrong."""
        changed, self._written = self._written, []
        self.told.clear()
        importlib.invalidate_caches()
        with self.listening():
            self.in_loop(self._reload(changed))
        return self.complained()

    def complained(self) -> bool:
        """Whether it has said since that something was wrong; some notice only when they are asked."""
        return bool(self.told)

    def ask(self, question: str) -> Any:
        """What an expression comes to."""
        with self.listening():
            return self.in_loop(self._evaluate(question))

    def hold(self, expressions: dict[str, str]) -> None:
        """Keep objects."""
        for key, expression in expressions.items():
            self.held[key] = self.ask(expression)

    def run(self, code: str) -> None:
        """Run statements."""
        self.in_loop(self._execute(textwrap.dedent(code)))

    def begin(self, question: str) -> Any:
        """Begin to wait for what an expression gives; to be ended with `finish`."""
        return self.loop.create_task(self._wait(question))

    def finish(self, begun: Any) -> Any:
        """What it came to."""
        return self.in_loop(asyncio.wait_for(begun, 5))

    def spin(self, seconds: float = 0.05) -> None:
        """Let tasks run for a moment."""
        self.in_loop(asyncio.sleep(seconds))

    def stop(self) -> None:
        """Nothing more will be asked."""

    def in_loop(self, work: Awaitable[Any]) -> Any:
        """Do something where a loop runs, as in any server."""
        return self.loop.run_until_complete(asyncio.ensure_future(work, loop=self.loop))

    # What a reloader does

    async def _start(self) -> None:
        self.names()

    async def _reload(self, changed: list[Path]) -> None:
        raise NotImplementedError

    def names(self) -> dict[str, Any]:
        """What the user's code sees: the modules as an import finds them now."""
        found: dict[str, Any] = {"held": self.held}
        exec(self.imports, found)
        return found

    async def _evaluate(self, question: str) -> Any:
        return eval(question, self.names())

    async def _execute(self, code: str) -> None:
        exec(code, self.names())

    async def _wait(self, question: str) -> Any:
        return await eval(question, self.names())

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """What it prints on the screen as an error counts as said."""
        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            yield
        if said.getvalue():
            self.told.append(said.getvalue())

    def modules_of(self, changed: list[Path]) -> list[Any]:
        """The modules that were loaded from these files."""
        files = {str(each) for each in changed}
        return [each for each in list(sys.modules.values()) if getattr(each, "__file__", None) in files]


def source(text: str | bytes) -> bytes:
    """A source as it goes to disk; text may be indented."""
    return text if isinstance(text, bytes) else textwrap.dedent(text).lstrip("\n").encode()


class Plain(Peer):
    """`importlib.reload` of each changed module, as most scripts have it."""

    async def _reload(self, changed: list[Path]) -> None:
        for module in self.modules_of(changed):
            try:
                importlib.reload(module)
            except Exception as error:
                self.told.append(str(error))


class Autoreload(Peer):
    """IPython's autoreload 2."""

    async def _start(self) -> None:
        from IPython.extensions.autoreload import ModuleReloader

        self._reloader = ModuleReloader()
        self._reloader.enabled = True
        self.names()
        self._reloader.check(check_all=True, do_reload=False)

    async def _reload(self, changed: list[Path]) -> None:
        self._reloader.check(check_all=True)


class Jurigged(Peer):
    """jurigged, whose watcher is told of each changed file, also of those that it misses by itself."""

    async def _start(self) -> None:
        from jurigged.live import Watcher
        from jurigged.register import registry

        registry.set_logger(self._log)
        registry.auto_register(filter=lambda file: str(file).startswith(str(self.folder)))
        self._registry, self._watcher = registry, Watcher(registry, debounce=0)
        self.names()

    def _log(self, event: object) -> None:
        if isinstance(event, Exception):
            self.told.append(str(event))

    async def _reload(self, changed: list[Path]) -> None:
        for each in changed:
            if str(each) in self._registry.cache or self.modules_of([each]):
                self._watcher.refresh(str(each))


class Hmr(Peer):
    """hmr: its entry imports the modules, and the user's code is that of the entry."""

    async def _start(self) -> None:
        from reactivity.hmr.core import HMR_CONTEXT, SyncReloader

        # What the entry has read is followed: it reads every name, as the questions are not known to it.
        reads = "".join(
            f"for each in dir({name.strip()}): getattr({name.strip()}, each)\n"
            for name in self.imports.removeprefix("import ").split(",")
        )
        (self.folder / "entry.py").write_text(f"{self.imports}\n{reads}")
        sys.excepthook = lambda kind, error, trace: self.told.append(str(error))
        self._reloader = SyncReloader(str(self.folder / "entry.py"), [str(self.folder)])
        self._effect = HMR_CONTEXT.effect(self._reloader.run_entry_file)

    async def _reload(self, changed: list[Path]) -> None:
        # Its watcher passes over what was deleted.
        self._reloader.on_changes({each.resolve() for each in changed if each.exists()})


class Discord(Peer):
    """discord.py's `reload_extension`, of the module that its user imports, whatever was changed."""

    def __init__(self, folder: Path, imports: str) -> None:
        super().__init__(folder, imports)
        self._extension = imports.removeprefix("import ").partition(",")[0].strip()
        self._stem = self._extension.replace(".", "/")

    def as_written(self, path: Path, text: bytes) -> bytes:
        """An extension has a setup."""
        is_extension = path in (self.folder / f"{self._stem}.py", self.folder / self._stem / "__init__.py")
        return text + b"\nasync def setup(bot):\n    pass\n" if is_extension else text

    async def _start(self) -> None:
        import discord
        from discord.ext import commands

        self._bot = commands.Bot(command_prefix="!", intents=discord.Intents.none())
        await self._bot.load_extension(self._extension)
        self.names()

    async def _reload(self, changed: list[Path]) -> None:
        from discord.ext.commands import ExtensionError

        try:
            await self._bot.reload_extension(self._extension)
        except ExtensionError as error:
            self.told.append(str(error))
