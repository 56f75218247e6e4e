"""The cases of the torture list that are no single edit: what fails, what is left in the process, what is in flight.

Each takes a started-to-be peer and gives its checks, each true where the reloader did right.
"""

# mypy: disable-error-code="import-not-found"
# It stands beside what it imports when it is run.

from __future__ import annotations

import asyncio
import atexit
import gc
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torture_peers import Peer

Checks = dict[str, bool]
Script = Callable[[Peer], Checks]

_GOOD = "A = 1\ndef f(): return 1\nB = 1\ndef g(): return 1\n"
_FIXED = _GOOD.replace("1", "2")
_STATE = "(m.A, m.f(), m.B, m.g())"


def _fails(peer: Peer, bad: str | None) -> Checks:
    """An edit that cannot be loaded changes nothing, is told of, and the next good one is served."""
    peer.write({"m.py": _GOOD})
    peer.start()
    peer.hold({"f": "m.f"})
    peer.write({"m.py": bad})
    peer.settle()
    checks = {"old code serves": _same(peer, _STATE, (1, 1, 1, 1)), "held": _same(peer, "held['f']()", 1)}
    checks["told"] = peer.complained()
    peer.write({"m.py": _FIXED})
    peer.settle()
    return {**checks, "recovers": _same(peer, _STATE, (2, 2, 2, 2))}


def syntax_error(peer: Peer) -> Checks:
    """Does not compile."""
    return _fails(peer, "A = 2\ndef f(: return 2\n")


def import_exc_halfway(peer: Peer) -> Checks:
    """Raises in the middle."""
    return _fails(peer, "A = 2\ndef f(): return 2\n1 / 0\nB = 2\ndef g(): return 2\n")


def import_error_missing_dep(peer: Peer) -> Checks:
    """Imports what is not there."""
    return _fails(peer, "import no_such_module_anywhere\n" + _FIXED)


def file_deleted(peer: Peer) -> Checks:
    """Is gone, and comes back."""
    return _fails(peer, None)


def module_state(peer: Peer) -> Checks:
    """What a module has gathered survives an edit of its functions."""
    text = "STATE = {}\ndef f(): return 1\n"
    peer.write({"m.py": text})
    peer.start()
    peer.run("m.STATE['n'] = 5")
    peer.write({"m.py": text.replace("1", "2")})
    peer.settle()
    return {"new code": _same(peer, "m.f()", 2), "state": _same(peer, "m.STATE", {"n": 5})}


def _thrice(peer: Peer, text: str, statement: str | None = None) -> None:
    """Load version 1, and reload to 2, 3 and 4."""
    for number in (1, 2, 3, 4):
        whole = text.replace("NUMBER", str(number))
        peer.write({"m.py": whole if statement is None else peer.at_load(whole, statement)})
        peer.start() if number == 1 else peer.settle()
        peer.ask("m.f()")
        peer.spin(0.02)


_THREAD = """
import threading, time
RAN = []
def work():
    while True:
        RAN.append(NUMBER)
        time.sleep(0.001)
def begin(): threading.Thread(target=work, name="torture", daemon=True).start()
def f(): return NUMBER
"""


def bg_thread(peer: Peer) -> Checks:
    """A thread that the module starts."""
    _thrice(peer, _THREAD, "begin()")
    until = time.monotonic() + 1.5
    while _threads() > 1 and time.monotonic() < until:
        peer.spin(0.02)
    peer.run("m.RAN.clear()")
    peer.spin()
    return {"new code": _same(peer, "m.f()", 4), "one": _threads() == 1, "newest": _same(peer, "set(m.RAN)", {4})}


def _threads() -> int:
    return sum(each.name == "torture" for each in threading.enumerate())


_TASK = """
import asyncio
RAN = []
async def work():
    while True:
        RAN.append(NUMBER)
        await asyncio.sleep(0.001)
def begin(): asyncio.get_running_loop().create_task(work(), name="torture")
def f(): return NUMBER
"""


def bg_asyncio_task(peer: Peer, text: str = _TASK) -> Checks:
    """A task that the module starts."""
    _thrice(peer, text, "begin()")
    peer.run("m.RAN.clear()")
    peer.spin()
    tasks = sum(each.get_name() == "torture" for each in asyncio.all_tasks(peer.loop))
    return {"new code": _same(peer, "m.f()", 4), "one": tasks == 1, "newest": _same(peer, "set(m.RAN)", {4})}


def bg_asyncio_task_line_changed(peer: Peer) -> Checks:
    """The same where the lines move too."""
    return bg_asyncio_task(peer, "X = [\n" + "NUMBER,\n" + "]\n" + _TASK)


class _Spy:
    """Equal to nothing; `atexit.unregister` compares each callback with it, which tells them."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def __eq__(self, other: object) -> bool:
        self.seen.append(other)
        return False

    __hash__ = None  # type: ignore[assignment]


def atexit_handlers(peer: Peer) -> Checks:
    """A callback for the end of the process."""
    _thrice(peer, "import atexit\ndef bye(): return NUMBER\natexit.register(bye)\ndef f(): return NUMBER\n")
    spy = _Spy()
    atexit.unregister(spy)  # type: ignore[arg-type]
    mine = [each for each in spy.seen if getattr(each, "__module__", "") == "m"]
    return {"one": len(mine) == 1, "newest": bool(mine) and mine[-1]() == 4}


def logging_handlers(peer: Peer) -> Checks:
    """A handler of a logger."""
    add = "import logging\nlogging.getLogger('torture').addHandler(logging.NullHandler())\n"
    _thrice(peer, f"{add}def f(): return NUMBER\n")
    return {"one": len(logging.getLogger("torture").handlers) == 1, "new code": _same(peer, "m.f()", 4)}


def signal_handler(peer: Peer) -> Checks:
    """A handler of a signal."""
    text = "import signal\nSEEN = []\ndef handler(number, frame): SEEN.append(NUMBER)\n"
    _thrice(peer, f"{text}signal.signal(signal.SIGUSR1, handler)\ndef f(): return NUMBER\n")
    os.kill(os.getpid(), signal.SIGUSR1)
    return {"new code": _same(peer, "m.f()", 4), "newest runs": _same(peer, "m.SEEN[-1:]", [4])}


def registry_append(peer: Peer) -> Checks:
    """A module that enters itself in another one's list."""
    peer.imports = "import m, registry"
    peer.write({"registry.py": "HANDLERS = []\ndef fire(): return [h() for h in HANDLERS]\n"})
    _thrice(peer, "import registry\ndef f(): return NUMBER\nregistry.HANDLERS.append(f)\n")
    return {"one, the newest": _same(peer, "registry.fire()", [4])}


def generator_in_flight(peer: Peer) -> Checks:
    """Ends as it has begun."""
    peer.write({"m.py": "def numbers():\n    yield 1\n    yield part()\ndef part(): return 1\n"})
    peer.start()
    peer.run("held['numbers'] = m.numbers()\nheld['first'] = next(held['numbers'])")
    peer.write({"m.py": "def numbers():\n    yield 2\n    yield 2\n    yield part()\ndef part(): return 2\n"})
    peer.settle()
    ended = _same(peer, "list(held['numbers'])[-1:] in ([1], [2])", True)
    return {"finishes": ended, "new one": _same(peer, "list(m.numbers())", [2, 2, 2])}


def coroutine_in_flight(peer: Peer) -> Checks:
    """Sees one version from beginning to end."""
    text = """
    async def work(gate):
        first = K
        await gate.wait()
        return first, K, inner()
    def inner(): return 1
    K = 1
    """
    peer.write({"m.py": text})
    peer.start()
    peer.run("held['gate'] = __import__('asyncio').Event()")
    begun = peer.begin("m.work(held['gate'])")
    peer.spin()
    peer.write({"m.py": text.replace("1", "2")})
    peer.settle()
    peer.ask("m.K")
    peer.run("held['gate'].set()")
    old = peer.finish(begun)
    new = peer.finish(peer.begin("m.work(held['gate'])"))
    return {"one version": tuple(old) == (1, 1, 1), "new call": tuple(new) == (2, 2, 2)}


def _idle(peer: Peer, touch: Callable[[Path], object]) -> Checks:
    """A save without a change executes nothing."""
    text = "import json\njson.__dict__.setdefault('torture_runs', []).append(1)\nclass C: pass\n"
    peer.write({"m.py": text})
    peer.start()
    peer.hold({"class": "m.C"})
    path = peer.folder / "m.py"
    path.touch()
    touch(path)
    peer._written.append(path)
    peer.settle()
    runs = len(sys.modules["json"].__dict__["torture_runs"])
    return {"class": _same(peer, "held['class'] is m.C", True), "executed once": runs == 1}


def touch_only(peer: Peer) -> Checks:
    """Only its time is new."""
    return _idle(peer, lambda path: os.utime(path, (time.time() + 5, time.time() + 5)))


def save_unchanged(peer: Peer) -> Checks:
    """The same text is written again."""
    return _idle(peer, lambda path: path.write_bytes(path.read_bytes()))


def comment_only_edit(peer: Peer) -> Checks:
    """Nothing is lost for a comment, and tracebacks show the new lines."""
    text = "STATE = []\nLOADED = False\ndef f(): return 1\n"
    peer.write({"m.py": text})
    peer.start()
    peer.run("m.STATE.append(object())\nm.LOADED = True")
    peer.write({"m.py": f"# a comment\n\n{text}"})
    peer.settle()
    state = _same(peer, "(len(m.STATE), m.LOADED)", (1, True))
    return {"state": state, "line": _same(peer, "m.f.__code__.co_firstlineno", 5)}


def utf8_locale_c(peer: Peer) -> Checks:
    """Letters beyond ASCII under LC_ALL=C, in which this case is run."""
    peer.write({"m.py": "def f(): return 'é'\n"})
    peer.start()
    peer.write({"m.py": "def f(): return 'ü'\n"})
    peer.settle()
    return {"new code": _same(peer, "m.f()", "ü")}


_MOST_GROWTH = 5
"""Objects a reload. A version that stays is 50 of them and more; an answer that is remembered for a while is one."""


def memory_1000_reloads(peer: Peer) -> Checks:
    """So many reloads leave nothing; `TORTURE_RELOADS` says how many."""
    text = "class C:\n    def f(self): return NUMBER\nTABLE = [C() for _ in range(50)]\ndef f(): return NUMBER\n"
    count, until = int(os.environ.get("TORTURE_RELOADS", "1000")), time.monotonic() + 40
    peer.write({"m.py": text.replace("NUMBER", "0")})
    peer.start()
    before = number = 0
    for number in range(1, count + 1):
        peer.write({"m.py": text.replace("NUMBER", str(number))})
        os.utime(peer.folder / "m.py", (number, number + time.time()))
        peer.settle()
        peer.ask("m.f()")
        if number == 20:
            before = _objects()
        if time.monotonic() > until:
            break
    growth = (_objects() - before) / max(1, number - 20)
    classes = sum(isinstance(each, type) and each.__module__ == "m" for each in gc.get_objects())
    current = _same(peer, "m.f()", number)
    return {
        "in time": number == count,
        "current": current,
        "no growth": growth < _MOST_GROWTH,
        "one class": classes == 1,
    }


def _objects() -> int:
    gc.collect()
    return len(gc.get_objects())


def _same(peer: Peer, question: str, expected: Any) -> bool:
    try:
        return bool(peer.ask(question) == expected)
    except Exception:
        return False


SCRIPTS: tuple[Script, ...] = (
    syntax_error,
    import_exc_halfway,
    import_error_missing_dep,
    file_deleted,
    module_state,
    bg_thread,
    bg_asyncio_task,
    bg_asyncio_task_line_changed,
    atexit_handlers,
    logging_handlers,
    signal_handler,
    registry_append,
    generator_in_flight,
    coroutine_in_flight,
    touch_only,
    save_unchanged,
    comment_only_edit,
    utf8_locale_c,
    memory_1000_reloads,
)
