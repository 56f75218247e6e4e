"""Keys are read from real terminals, and a terminal is always given back as it was found."""

from __future__ import annotations

import os
import pty
import queue
import select
import shutil
import signal
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest
from terminals import renumbered

from devserver.ui import keys
from devserver.ui.keymap import KeyPressed
from devserver.ui.keys import Keys

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0


class Desk:
    """A terminal in this process: what is typed at `master` comes to the keys at `slave`, a descriptor beyond 1,023."""

    def __init__(self) -> None:
        self.master, slave = pty.openpty()
        self.slave = renumbered(slave)
        self.before = termios.tcgetattr(self.slave)
        self.pressed: queue.Queue[KeyPressed] = queue.Queue()
        self.asked: queue.Queue[str] = queue.Queue()
        self.helped: queue.Queue[str] = queue.Queue()
        self.now, self.seconds_between = 0.0, 1.0
        self.keys = Keys(self.slave, ask=self.asked.put, own={"help": lambda: self.helped.put("help")}, clock=self.tick)

    def tick(self) -> float:
        """A clock in which presses are a second apart, unless a test says otherwise."""
        self.now += self.seconds_between
        return self.now

    def type(self, text: str) -> None:
        """Type something without a pause."""
        os.write(self.master, text.encode())

    def next(self) -> KeyPressed:
        """The next key that was handed on."""
        return self.pressed.get(timeout=PATIENCE)

    def settled(self) -> None:
        """Come back when all that was typed has been taken: help is answered in order.

        A letter that still belongs to the burst before it means nothing, so help is asked for until it comes.
        """
        while True:
            self.type("h")
            try:
                self.helped.get(timeout=0.2)
                return
            except queue.Empty:
                continue

    def close(self) -> None:
        """End the keys and the terminal."""
        self.keys.stop()
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def desk() -> Iterator[Desk]:
    """A terminal whose keys are read, with three mods."""
    desk = Desk()
    desk.keys.start(desk.pressed.put, lambda: ("echo", "wiki", "kanban"))
    yield desk
    desk.close()


def test_a_key_is_handed_on_without_enter(desk: Desk) -> None:
    """One letter is enough."""
    desk.type("r")
    assert desk.next() == KeyPressed("reload")


def test_the_face_keeps_its_own_keys_to_itself(desk: Desk) -> None:
    """Help is shown by the face, no one else hears of it."""
    desk.type("h")
    assert desk.helped.get(timeout=PATIENCE) == "help"
    assert desk.pressed.empty()


@pytest.mark.parametrize("noise", ["\x1b[A", "\0", "\x1c", "\x04", "x", "quit\nquit\n" * 200, "qr"], ids=ascii)
def test_arrows_control_characters_and_pasted_text_are_ignored(desk: Desk, noise: str) -> None:
    """None of the letters inside of them is a key."""
    desk.type(noise)
    desk.settled()
    assert desk.pressed.empty()


def test_a_key_held_down_is_one_key(desk: Desk) -> None:
    """Repeats that follow closely are one press, however long the key is down."""
    desk.seconds_between = 0.03
    desk.type("r")
    assert desk.next() == KeyPressed("reload")
    desk.type("r")
    desk.settled()
    assert desk.pressed.empty()


def test_one_mod_is_chosen_in_a_line(desk: Desk) -> None:
    """The question shows what is typed, and the answer is handed on with the key."""
    desk.type("m")
    assert desk.asked.get(timeout=PATIENCE) == "which mod? 1 echo  2 wiki  3 kanban (Enter, Esc cancels): "
    desk.type("ka")
    assert desk.asked.get(timeout=PATIENCE).endswith(": ka")
    desk.type("\n")
    assert desk.next() == KeyPressed("reload_one", "kanban")
    assert desk.asked.get(timeout=PATIENCE) == ""


def test_escape_gives_the_question_up(desk: Desk) -> None:
    """After Escape letters are keys again."""
    desk.type("m")
    desk.asked.get(timeout=PATIENCE)
    desk.type("\x1b")
    assert desk.asked.get(timeout=PATIENCE) == ""
    desk.type("c")
    assert desk.next() == KeyPressed("check")


def test_an_answer_that_names_no_mod_leaves_the_question_open(desk: Desk) -> None:
    """A typing error costs a correction, not the question."""
    desk.type("m")
    desk.asked.get(timeout=PATIENCE)
    desk.type("zz\n")
    assert desk.asked.get(timeout=PATIENCE).startswith('no mod "zz"; which mod? 1 echo')
    desk.type("wi\n")
    assert desk.next() == KeyPressed("reload_one", "wiki")


def test_a_number_needs_no_enter(desk: Desk) -> None:
    """It acts at once where no other digit could follow; one that names no mod is refused with a word."""
    desk.type("m")
    desk.asked.get(timeout=PATIENCE)
    desk.type("7\n")
    assert desk.asked.get(timeout=PATIENCE).startswith('no mod "7"; ')
    desk.type("2")
    assert desk.next() == KeyPressed("reload_one", "wiki")
    assert desk.asked.get(timeout=PATIENCE) == ""


def test_ctrl_c_stays_with_the_kernel_and_stopping_restores_the_terminal(desk: Desk) -> None:
    """Signals of the terminal work while keys are read, and afterwards its mode is the one that was found."""
    mode = termios.tcgetattr(desk.slave)
    assert mode[3] & termios.ISIG
    assert not mode[3] & (termios.ICANON | termios.ECHO)
    desk.keys.stop()
    assert termios.tcgetattr(desk.slave) == desk.before


def test_a_paused_reader_leaves_the_terminal_and_its_input_to_others(desk: Desk) -> None:
    """While someone else has the terminal its mode is restored, and what is typed waits for that one."""
    with desk.keys.paused():
        assert termios.tcgetattr(desk.slave) == desk.before
        desk.type("q\n")
        assert os.read(desk.slave, 10) == b"q\n"
    desk.type("r")
    assert desk.next() == KeyPressed("reload")


def test_a_debugger_may_outlast_the_keys(desk: Desk) -> None:
    """Keys that stop while someone else has the terminal leave it to that one, and stay stopped."""
    with desk.keys.paused():
        desk.keys.stop()
    assert termios.tcgetattr(desk.slave) == desk.before


def test_a_terminal_that_closes_ends_the_reading_quietly() -> None:
    """When the other side hangs up, the reading thread ends."""
    desk = Desk()
    desk.keys.start(desk.pressed.put, tuple)
    os.close(desk.master)
    desk.keys._thread.join(PATIENCE)
    assert not desk.keys._thread.is_alive()
    desk.keys.stop()
    os.close(desk.slave)


PROGRAM = """
import sys, threading
from devserver.ui.keys import Keys

def say(words):
    sys.stdout.write(words + "\\n")
    sys.stdout.flush()

def debugged():
    answer = 6 * 7
    breakpoint()
    say(f"debugged {answer}")

done = threading.Event()

def on_key(key):
    say(f"key {key.name}")
    if key.name == "check":
        threading.Thread(target=debugged).start()
    if key.name == "quit":
        done.set()

keys = Keys(0, ask=say, own={})
keys.start(on_key, lambda: ("echo",))
say("begun")
done.wait()
"""


class Session:
    """A process in a terminal of its own, as its controlling terminal."""

    def __init__(self, *command: str) -> None:
        self.seen, self.ended = "", False
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.environ.pop("PYTHONBREAKPOINT", None)
            # Tests that run in the background ignore Ctrl-C.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.chdir(ROOT)
            os.execvpe(command[0], command, os.environ | {"PYTHONPATH": str(ROOT), "PS1": "prompt> ", "TERM": "xterm"})

    def type(self, text: str) -> None:
        """Type something."""
        os.write(self.master, text.encode())

    def until(self, words: str) -> str:
        """What is shown until some words come, these included; each word is seen once."""
        while words not in self.seen:
            ready, _, _ = select.select([self.master], [], [], PATIENCE)
            assert ready, f"waited for {words!r}, saw {self.seen!r}"
            self.seen += os.read(self.master, 4096).decode("utf-8", "replace")
        found, _, self.seen = self.seen.partition(words)
        return found + words

    def modes(self) -> int:
        """The local modes of the terminal."""
        return int(termios.tcgetattr(self.master)[3])

    def wait(self) -> int:
        """Wait for the end of the process, and return how it ended."""
        self.ended = True
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def until_single_keys(self) -> None:
        """Wait until the terminal gives keys one at a time."""
        while self.modes() & termios.ICANON:
            os.sched_yield()

    def close(self) -> None:
        """End what still runs, and the terminal."""
        if not self.ended:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()
        os.close(self.master)


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A program that reads keys, says each, and enters the debugger on `c`."""
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return path


@pytest.fixture
def session(program: Path) -> Iterator[Session]:
    """The program, in a terminal."""
    session = Session(sys.executable, str(program))
    session.until("begun")
    yield session
    session.close()


def test_the_terminal_is_restored_when_the_process_just_ends(program: Path) -> None:
    """A process that ends without stopping its keys leaves the terminal as it found it."""
    session = Session(sys.executable, str(program))
    session.until("begun")
    assert not session.modes() & termios.ICANON
    session.type("q")
    session.until("key quit")
    assert session.wait() == 0
    assert session.modes() & termios.ICANON
    assert session.modes() & termios.ECHO
    session.close()


def test_after_being_continued_keys_are_read_singly_again(session: Session) -> None:
    """A shell sets its own mode while a job is stopped; SIGCONT brings ours back."""
    os.kill(session.pid, signal.SIGSTOP)
    os.waitpid(session.pid, os.WUNTRACED)
    mode = termios.tcgetattr(session.master)
    mode[3] |= termios.ICANON | termios.ECHO
    termios.tcsetattr(session.master, termios.TCSANOW, mode)
    os.kill(session.pid, signal.SIGCONT)
    session.until_single_keys()
    session.type("r")
    session.until("key reload")


def test_the_debugger_has_the_terminal_to_itself(session: Session) -> None:
    """`breakpoint()` in another thread reads whole lines, and afterwards keys are keys again."""
    session.type("c")
    session.until("(Pdb) ")
    session.type("p answer\n")
    session.until("42")
    session.until("(Pdb) ")
    session.type("c\n")
    session.until("debugged 42")
    session.type("r")
    session.until("key reload")


def test_a_terminal_is_waited_for_also_where_poll_refuses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on macOS, where it says at once that a terminal is no open file."""
    monkeypatch.delattr(select, "poll")
    master, slave = pty.openpty()
    try:
        assert keys._readable([slave], 0.0) == set()
        os.write(master, b"r\n")
        assert keys._readable([slave], PATIENCE) == {slave}
    finally:
        os.close(master)
        os.close(slave)


def test_ctrl_c_ends_the_process_as_ever(session: Session) -> None:
    """Ctrl-C raises KeyboardInterrupt in the main thread, and the terminal is restored."""
    session.type("\x03")
    session.until("KeyboardInterrupt")
    session.wait()
    assert session.modes() & termios.ICANON


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs a shell with job control")
def test_ctrl_z_and_fg_work_as_with_any_program(program: Path) -> None:
    """A shell gets its terminal on Ctrl-Z, and the program its keys on fg."""
    shell = Session("bash", "--norc", "--noprofile", "-i")
    shell.type(f"{sys.executable} {program}\n")
    shell.until("begun\r\n")
    shell.type("r")
    shell.until("key reload")
    shell.type("\x1a")
    shell.until("Stopped")
    shell.type("echo in the $((40 + 2)) shell\n")
    shell.until("in the 42 shell")
    shell.type("fg\n")
    shell.until("fg\r\n")
    shell.until_single_keys()
    shell.type("c")
    shell.until("(Pdb) ")
    # The shell's end does not end a job of its own process group: the program ends first.
    shell.type("import os; os._exit(0)\n")
    shell.until("prompt> ")
    shell.close()
