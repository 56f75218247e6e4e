"""Mods whose events are run again."""

COUNTER = """
from devserver import BaseMod, Event, EventResponse, mod_event_handler

seen = []


class CounterMod(BaseMod):
    def initialize(self):
        self.counts = self.state.setdefault("counts", {})
        self.times = 0

    @mod_event_handler("count.up")
    async def up(self, event: Event):
        self.times += 1
        seen.append(event.event_id)
        name = event.payload["name"]
        self.counts[name] = self.counts.get(name, 0) + 1
        told = Event(event_name="count.changed", destination_id="agent:broadcast", payload={"name": name})
        await self.send_event(told)
        return EventResponse(True, "counted", {"count": self.counts[name], "times": self.times, "seen": len(seen)})
"""

NAUGHTY = """
import asyncio, ctypes, os, pathlib, shutil, signal, socket, sqlite3, subprocess, sys, time
from devserver import BaseMod, Event, EventResponse, mod_event_handler

OUT = pathlib.Path(__file__).parent.parent / "outside"


class NaughtyMod(BaseMod):
    @mod_event_handler("naughty.do")
    def do(self, event: Event):
        what = event.payload["what"]
        if what == "connect":
            socket.socket().connect(("127.0.0.1", event.payload["port"]))
        elif what == "dns":
            socket.getaddrinfo("api.openai.com", 443)
        elif what == "bind":
            socket.socket().bind(("127.0.0.1", 0))
        elif what == "sendto":
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 9))
        elif what == "subprocess":
            subprocess.run(["touch", str(OUT / "made")])
        elif what == "os.system":
            os.system(f"touch {OUT / 'made'}")
        elif what == "write":
            (OUT / "made").write_text("x")
        elif what == "rename":
            os.rename(OUT / "there", OUT / "made")
        elif what == "rmtree":
            shutil.rmtree(OUT)
        elif what == "sqlite":
            sqlite3.connect(OUT / "made").execute("create table x (y)")
        elif what == "ctypes":
            ctypes.CDLL(None).system(f"touch {OUT / 'made'}".encode())
        elif what == "loop":
            while True:
                pass
        elif what == "exit":
            os._exit(3)
        elif what == "crash":
            signal.raise_signal(signal.SIGSEGV)
        elif what == "memory":
            bytearray(4 * 1024**3)
        elif what == "fork":
            os.fork()
        elif what == "kill":
            os.kill(os.getppid(), signal.SIGKILL)
        elif what == "pid":
            return EventResponse(True, "", {"pid": os.getpid()})
        elif what == "own":
            (self.get_storage_path() / "made").write_text("x")
            return EventResponse(True, "", {"names": sorted(each.name for each in self.get_storage_path().iterdir())})
        return EventResponse(True, "done")
"""

NOTES = """
import time
import uuid
from devserver import BaseMod, Event, EventResponse, Refused, mod_event_handler


class NotesMod(BaseMod):
    def initialize(self):
        self.state.setdefault("notes", {})
        self.state.setdefault("byid", {})

    @mod_event_handler("notes.add")
    async def add(self, event: Event):
        title = event.payload["title"]
        notes = self.state["notes"]
        number = len(notes) + 1
        notes[title] = {"number": number, "by": event.source.id}
        self.state["byid"][uuid.uuid4().hex] = {"title": title}
        await self.tell("notes.added", "agent:broadcast", title)
        await self.tell("notes.counted", "agent:charlie", number)
        more = {"id": uuid.uuid4().hex, "at": time.time(), "of": event.event_id}
        return EventResponse(True, f"note {number}", {"number": number, **more})

    async def tell(self, name, to, what):
        await self.send_event(Event(event_name=name, destination_id=to, payload={"what": what}))
"""

CHANCE = """
import pathlib

from devserver import BaseMod, Event, EventResponse, mod_event_handler


class ChanceMod(BaseMod):
    @mod_event_handler("chance.take")
    def take(self, event: Event):
        # Told apart by what lies beside it: a file that the test writes.
        return EventResponse(True, "", {"side": pathlib.Path(event.payload["file"]).read_text()})
"""

CALLS_OUT = """
import asyncio, socket
from devserver import BaseMod, Event, EventResponse, mod_event_handler


class CallsOutMod(BaseMod):
    @mod_event_handler("NAME.call")
    async def call(self, event: Event):
        reader, writer = await asyncio.open_connection("127.0.0.1", event.payload["port"])
        writer.close()
        return EventResponse(True, "connected")
"""
