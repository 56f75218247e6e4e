"""The dashboard at work: what a tab costs the server and its own core, with many mods, many agents and a steady load.

The tab is a real one, in the system's Chromium, driven by playwright; where either is missing, that part says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import importlib.util
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.agents import Line, event, fresh, register, wait_for_mod
from bench.harness import Options, Result, Table, Target, at_most, median, p95, p99
from bench.networks import OURS, command, write_many
from bench.processes import cpu_seconds, free_port, running, wait_for_port
from bench.save_to_served import by_rename

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_FLAGS = ("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")
_PAGE = Path(__file__).parents[1] / "devserver" / "control" / "page"
_RATE = 2000
_LINES = 16
_LONG_TASKS = (
    "globalThis.longTasks = [];"
    "new PerformanceObserver((list) => longTasks.push(...list.getEntries().map((each) => each.duration)))"
    ".observe({type: 'longtask', buffered: true});"
)

Row = tuple[str, str, str]


class Site:
    """A server with many mods and agents. `token` is that of its run."""

    def __init__(self, folder: Path, port: int, pid: int, name: str, agents: int) -> None:
        self.folder, self.port, self.pid, self.name = folder, port, pid, name
        self.token = str(json.loads((folder / ".oa-dev" / "run.json").read_text())["token"])
        self.secrets = {f"a{number}": register(port, f"a{number}", self.token) for number in range(agents)}

    def control(self, path: str) -> str:
        """The answer of the control API to a question."""
        line = Line(self.port, self.token)
        text = line.text(f"/_dev/{path}") or ""
        line.close()
        return text


@contextlib.contextmanager
def _site(mods: int, agents: int) -> Iterator[Site]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder, port = Path(name), free_port()
        answered = write_many(folder, OURS, port, mods)
        started = command(OURS, port)
        assert started is not None
        with running(started, folder) as process:
            wait_for_port(port, process)
            wait_for_mod(port, answered)
            yield Site(folder, port, process.pid, answered, agents)


def measure(options: Options) -> Result:
    """The table, with the bars of the dashboard as targets."""
    mods = agents = options.count(1000, 100)
    seconds = options.count(10, 4)
    with _site(mods, agents) as site:
        rows, targets = _server(site, seconds / 2, options.count(10, 2))
        more, others = _tab(site, seconds)
    weight, limits = _weight()
    notes = (f"{mods:,} mods, {agents:,} agents, {_RATE:,} events a second in {_LINES} connections.",)
    table = Table("The dashboard", ("what", "measured", "bar"), (*rows, *more, *weight), notes)
    return Result((table,), (*targets, *others, *limits), (), {}, {})


# The server


def _server(site: Site, seconds: float, rounds: int) -> tuple[list[Row], list[Target]]:
    """With and without a reader of the feed, in turns: one beside the next, since the machine itself varies by more."""
    found: dict[bool, list[tuple[float, list[float]]]] = {False: [], True: []}
    answers: list[tuple[float, int]] = []
    for number in range(rounds * 2):
        # Now one of them is first, then the other.
        watched = number % 4 in (1, 2)
        before = cpu_seconds(site.pid)
        took, feed = asyncio.run(_loaded(site, seconds, watched))
        found[watched].append((cpu_seconds(site.pid) - before, took))
        answers += feed
    used = {key: [used / max(1, len(took)) * 1e6 for used, took in each] for key, each in found.items()}
    halves = {key: [median(took) for _, took in each] for key, each in found.items()}
    cpu = {key: median(each) for key, each in used.items()}
    times = {key: [sample for _, took in each for sample in took] for key, each in found.items()}
    size, each_second = p95([float(size) for _, size in answers]) / 1024, len(answers) / (rounds * seconds)
    more = _more(used)
    rows = [
        ("CPU an event, without and with a tab, µs", f"{cpu[False]:.0f} / {cpu[True]:.0f}", "≤ +5 %"),
        ("answers, p50 / p99, without a tab, ms", _tail(times[False]), ""),
        ("answers, p50 / p99, with a tab, ms", _tail(times[True]), "p50 ≤ +5 %"),
        ("an answer of the feed, p95, KiB", f"{size:.0f}", "≤ 64"),
        ("answers of the feed a second", f"{each_second:.1f}", "≤ 4"),
    ]
    p50 = _more(halves)
    targets = [
        at_most("more CPU an event with a tab", more, 5, "%"),
        at_most("slower answers with a tab, p50", p50, 5, "%"),
        at_most("an answer of the feed", size, 64, "KiB"),
        at_most("answers of the feed", each_second, 4.05, "a second"),
    ]
    return rows, targets


def _more(found: dict[bool, list[float]]) -> float:
    """How much more it is with a tab than in the turn beside it without one, in percent, at the median."""
    return (median([seen / bare for bare, seen in zip(found[False], found[True], strict=True)]) - 1) * 100


def _tail(samples: list[float]) -> str:
    return f"{median(samples):.2f} / {p99(samples):.1f}"


async def _loaded(site: Site, seconds: float, watched: bool) -> tuple[list[float], list[tuple[float, int]]]:
    """Milliseconds of each answer under the steady load; (when, bytes) of each answer of the feed."""
    until = time.perf_counter() + seconds
    asking = [_steadily(site, number, until) for number in range(_LINES)]
    reading = _feed(site, until) if watched else _nothing()
    *took, feed = await asyncio.gather(*asking, reading)
    return [sample for each in took for sample in each], feed  # type: ignore[misc]


async def _nothing() -> list[tuple[float, int]]:
    return []


async def _steadily(site: Site, number: int, until: float) -> list[float]:
    agent = f"a{number}"
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    body, took, due = event(agent, site.secrets[agent], site.name), list[float](), time.perf_counter()
    while due < until:
        due += _LINES / _RATE
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        began, text = time.perf_counter(), json.dumps(fresh(body)).encode()
        head = f"POST /api/send_event HTTP/1.1\r\nHost: 127.0.0.1:{site.port}\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: {len(text)}\r\n\r\n".encode() + text)
        await _body(reader)
        took.append((time.perf_counter() - began) * 1000)
    writer.close()
    return took


async def _body(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    found = re.search(rb"(?i)content-length: *(\d+)", head)
    assert found is not None
    return await reader.readexactly(int(found[1]))


async def _feed(site: Site, until: float) -> list[tuple[float, int]]:
    """Read the feed as a tab does."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    found, query = list[tuple[float, int]](), ""
    while time.perf_counter() < until:
        head = f"GET /_dev/feed{query} HTTP/1.1\r\nHost: 127.0.0.1:{site.port}\r\n"
        writer.write(f"{head}Authorization: Bearer {site.token}\r\n\r\n".encode())
        body = await _body(reader)
        told = json.loads(body)
        if query:
            found.append((time.perf_counter(), len(body)))
        facts, logs = (told[key][-1] if told[key] else None for key in ("facts", "logs"))
        second = told["seconds"][-1][0] if told["seconds"] else 0
        query = (
            f"?after={told['next']}&second={second}&facts={facts['n'] if facts else 0}&logs={logs[0] if logs else 0}"
        )
        query += "&seconds=5"
    writer.close()
    return found


# The tab


def _tab(site: Site, seconds: int) -> tuple[list[Row], list[Target]]:
    if CHROMIUM is None or importlib.util.find_spec("playwright") is None:
        return [("the tab", "not measured: playwright or a Chromium is missing", "")], []
    from playwright.sync_api import sync_playwright

    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*_FLAGS, *sandbox])
        page = browser.new_page(viewport={"width": 1400, "height": 860})
        page.add_init_script(_LONG_TASKS)
        found = _figures(site, page, seconds)
        browser.close()
    bars = {
        "first content, ms": 300,
        "busy under the load, %": 10,
        "tasks over 50 ms under the load": 0,
        "heap under the load, MB": 20,
        "busy while nothing happens, %": 0.5,
        "busy while hidden, beyond a tab without a page, %": 0.0,
        "questions while hidden": 0,
        "a swap is seen, p95, ms": 300,
    }
    rows = [(what, f"{found[what]:.1f}", f"≤ {bar}") for what, bar in bars.items()]
    return rows, [at_most(f"tab: {what}", found[what], bar, "") for what, bar in bars.items()]


def _figures(site: Site, page: Any, seconds: int) -> dict[str, float]:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"http://127.0.0.1:{site.port}/_dev/#k={site.token}")
    page.wait_for_selector(".network:not(:empty)", timeout=60_000)
    found = {"first content, ms": page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")}
    page.evaluate("longTasks.length = 0")
    found["busy while nothing happens, %"] = _busy(page, lambda: page.wait_for_timeout(seconds * 1000))
    load = _in_background(site, seconds)
    page.wait_for_timeout(1000)
    page.evaluate("longTasks.length = 0")
    found["busy under the load, %"] = _busy(page, lambda: page.wait_for_timeout((seconds - 2) * 1000))
    found["tasks over 50 ms under the load"] = page.evaluate("longTasks.length")
    metrics = page.context.new_cdp_session(page)
    metrics.send("HeapProfiler.collectGarbage")
    found["heap under the load, MB"] = page.evaluate("performance.memory.usedJSHeapSize") / 1e6
    load.wait()
    found["a swap is seen, p95, ms"] = p95([_swap(site, page, number) for number in range(10)])
    page.evaluate("Object.defineProperty(document, 'hidden', {get: () => true})")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    asked.clear()
    empty = page.context.browser.new_page()
    both = list[tuple[float, float]]()
    for _ in range(3):
        load = _in_background(site, seconds)
        both.append(tuple(_busy(each, lambda: page.wait_for_timeout(seconds * 500)) for each in (page, empty)))  # type: ignore[arg-type]
        load.wait()
    found["questions while hidden"] = float(len(asked))
    # Asking a tab for its figures keeps it busy too, and what a browser does by itself is in both.
    beyond = median([hidden for hidden, _ in both]) - median([bare for _, bare in both])
    found["busy while hidden, beyond a tab without a page, %"] = max(0.0, round(beyond, 1))
    return found


def _busy(page: Any, pass_time: Any) -> float:
    """The part of one core that its main thread used meanwhile, in percent: what others use does not count."""
    devtools = page.context.new_cdp_session(page)
    devtools.send("Performance.enable", {"timeDomain": "threadTicks"})

    def tasks() -> tuple[float, float]:
        told = {each["name"]: each["value"] for each in devtools.send("Performance.getMetrics")["metrics"]}
        return told["TaskDuration"], time.monotonic()

    used, began = tasks()
    pass_time()
    later, ended = tasks()
    devtools.detach()
    return (later - used) / (ended - began) * 100


def _in_background(site: Site, seconds: int) -> Any:
    """The steady load, from a process of its own: who drives the browser cannot drive it too."""
    import multiprocessing

    process = multiprocessing.get_context("fork").Process(target=_load_alone, args=(site, seconds))
    process.start()
    process.wait = process.join  # type: ignore[attr-defined]
    return process


def _load_alone(site: Site, seconds: int) -> None:
    asyncio.run(_loaded(site, seconds, watched=False))


def _swap(site: Site, page: Any, number: int) -> float:
    """Milliseconds from the end of a plan, by its receipt, until its row is in the page."""
    file = site.folder / "mods" / "bench_mod" / "mod.py"
    text = file.read_text()
    by_rename(file, f"{text.partition('# save')[0]}# save {number}\n")
    words = f"bench_mod v{number + 1} → v{number + 2}"
    page.wait_for_selector(f"#events .row.swap >> text={words}", timeout=20_000)
    now = time.time() * 1000
    told = json.loads(site.control("changes"))["changes"][-1]["time"]
    return now - page.evaluate("(time) => Date.parse(time)", told)


# Weight


def _weight() -> tuple[list[Row], list[Target]]:
    """The files of the page, as they lie on disk and as gzip would send them: the first ones, and all of them."""
    files = {each.name: each.read_bytes() for each in _PAGE.iterdir() if each.suffix in (".html", ".js", ".css")}
    listed = re.findall(r'rel="modulepreload" href="([\w.-]+)"', files["index.html"].decode())
    first = _kilobytes([files[name] for name in ("index.html", "page.css", "main.js", *listed)])
    every = _kilobytes([*files.values()])
    rows = [
        ("files before the first content, kB raw / gz", f"{first[0]:.0f} / {first[1]:.0f}", "130 / 45"),
        ("all files, with every view and the plots, kB raw / gz", f"{every[0]:.0f} / {every[1]:.0f}", ""),
    ]
    return rows, [
        at_most("the page before its first content, raw", first[0], 130, "kB"),
        at_most("gz", first[1], 45, "kB"),
    ]


def _kilobytes(files: list[bytes]) -> tuple[float, float]:
    return sum(map(len, files)) / 1000, sum(len(gzip.compress(each)) for each in files) / 1000
