"""Facts become blocks of lines: the words for each. Pure; knows no stream, no clock, no colours.

Plans and outcomes are told in `plan_lines`, errors with their source in `frame`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from devserver.model import facts
from devserver.model.wire_form import exposed_warning, sentence_of
from devserver.ui.contract import contract_block
from devserver.ui.frame import brief, config_error_block, error_block, place
from devserver.ui.glyphs import Style
from devserver.ui.look import View
from devserver.ui.plan_lines import counted, outcome_told, plan_done, plan_made, restarted
from devserver.ui.replay_lines import replayed
from devserver.ui.said import PRINTED, Said
from devserver.ui.segments import Block, Lead, Line, Segment, dim, joined, plain, strong
from devserver.ui.words import count, listed, took

_MOST_PROBLEMS = 3


def blocks_of(fact: facts.Fact, view: View, times: int = 1) -> tuple[Block, ...]:
    """Return the block for a fact, if it needs words. `times`: how often it has happened so far."""
    match fact:
        case facts.Ready():
            return (_ready(fact, view),)
        case facts.Exposed():
            return (_exposed_block(fact, view),)
        case facts.PlanMade():
            return plan_made(fact, view)
        case facts.PlanDone():
            return plan_done(fact, view, times)
        case facts.Restarted():
            return (restarted(fact, view),)
        case facts.Outcome():
            return outcome_told(fact, view)
        case facts.ConfigRefused():
            return config_refused(fact.errors, view)
        case facts.ModError():
            return (_mod_error(fact, view, times),)
        case facts.SplitSeen():
            return tuple(_line_seen(fact, each, view) for each in fact.lines)
        case facts.Guarded():
            return (_guarded(fact, view),)
        case facts.ContractChanged():
            return (contract_block(fact, view),)
        case facts.Replayed():
            return replayed(fact, view)
        case facts.Compared():
            return ()  # `oa-dev compare` shows it on demand
        case facts.AgentSeen() if not view.started:
            return ()  # Restored agents are not announced: the server does not accept connections yet
        case facts.HostSeen() | facts.EngineSeen():
            return (_host(fact, view),)
        case facts.ModAsked():
            return (_mod_asked(fact, view),)
        case facts.ModBlocked():
            # If it was not loaded, its outcome says why.
            return (_mod_blocked(fact, view),) if fact.runs else ()
        case facts.PackagesInstalled():
            words = f"packages: {', '.join(map(str, fact.packages))}"
            glyphs = view.look.glyphs
            return (Block((dim(f"{glyphs.quiet} "), plain(words), dim(f"{view.dot}{fact.env}"))),)
        case _:
            return (counted(_short(fact, view), times, view),)


def _short(
    fact: facts.Blocked
    | facts.LeftBehind
    | facts.Ignored
    | facts.Notice
    | facts.AgentSeen
    | facts.AgentProgram
    | facts.Stopped,
    view: View,
) -> Block:
    """Return the block of a fact that is always a single line."""
    glyphs = view.look.glyphs
    match fact:
        case facts.Blocked():
            where = (plain(" at "), place(fact.where)) if fact.where else ()
            words = f" blocked {fact.seconds:.1f} s"
            return Block((Segment(f"{glyphs.warning} ", Style.WARN), strong(fact.mod_id), plain(words), *where))
        case facts.Stopped():
            did = f"{count(fact.events, 'event')}, {count(fact.reloads, 'reload')}, {fact.failed} failed"
            parts = ("stopped", f"{count(fact.agents, 'agent')} told", f"{count(fact.mods, 'mod')} shut down", did)
            return Block((dim(joined(parts, view.dot)),), lead=Lead.INDENT)
        case facts.LeftBehind():
            return _signed(glyphs.note, sentence_of(fact))
        case facts.Ignored():
            quiet = f"{glyphs.quiet} {fact.path} saved{view.dot}no reload ({fact.rule})"
            return Block((dim(quiet),))
        case facts.Notice():
            calm = Block((dim(f"{glyphs.quiet} "), plain(fact.message)))
            return calm if fact.calm else _signed(glyphs.note, fact.message)
        case facts.AgentProgram(state=facts.ProgramState.STARTED | facts.ProgramState.RESTARTED):
            return Block((dim(f"{glyphs.quiet} "), plain(sentence_of(fact))))
        case facts.AgentProgram():
            return _signed(glyphs.note, sentence_of(fact))
        case facts.AgentSeen():
            sign = glyphs.add if fact.came else glyphs.remove
            return Block((dim(f"{sign} agent {fact.agent_id} ({fact.transport})"),))


def _host(fact: facts.HostSeen | facts.EngineSeen, view: View) -> Block:
    """Another host, or the engine: a calm line where it comes, one to see where it goes."""
    if fact.state is facts.HostState.AWAY:
        return _signed("!", sentence_of(fact))
    sign = view.look.glyphs.remove if fact.state is facts.HostState.LEFT else view.look.glyphs.add
    return Block((dim(f"{sign} "), plain(sentence_of(fact))))


def _mod_asked(fact: facts.ModAsked, view: View) -> Block:
    mod = joined((fact.name, fact.version), " ")
    why = f': "{fact.why}"' if fact.why else ""
    words = f"agent {fact.agent_id} asks for {mod} ({fact.catalogue}){why}"
    shows = f"y shows it, or oa-dev asked {fact.number}" if view.keys else f"oa-dev asked {fact.number}"
    return Block((Segment("? ", Style.NOTE), plain(words), dim(f"{view.dot}{shows}")))


def _mod_blocked(fact: facts.ModBlocked, view: View) -> Block:
    words = f"{fact.mod_id} {fact.version} is blocked by {fact.catalogue}: {fact.reason}"
    then = f"{view.dot}it still runs: oa-dev remove {fact.name}"
    return Block((Segment("! ", Style.WARN), plain(words), dim(then)))


def _signed(sign: str, words: str) -> Block:
    return Block((Segment(f"{sign} ", Style.WARN), plain(words)))


def said_block(said: Said, view: View) -> Block:
    """Return a line of a log, or a printed one, behind the name of its author."""
    level = f"{said.level}: " if said.level != PRINTED else ""
    style = _LEVELS.get(said.level, Style.PLAIN)
    fields = "".join(f" {name}={value}" for name, value in said.fields.items())
    head = (Segment(said.who, Style.NOTE), dim(f" {view.look.glyphs.gutter} "))
    return Block((*head, Segment(level, style), plain(said.words), dim(fields)))


_LEVELS = {"debug": Style.DIM, "info": Style.DIM, "warning": Style.WARN, "error": Style.BAD, "critical": Style.BAD}


def _ready(fact: facts.Ready, view: View) -> Block:
    """Return the banner: eight lines with blank ones; the prompt above counts as another."""
    title = joined(("oa-dev", view.version), " ")
    name = f"{view.dot}{fact.name}" if fact.name else ""
    head = (strong(title), plain(f"{name}  "), Segment("ready", Style.GOOD), plain(f" in {took(fact.ready_ms)}"))
    rows = tuple(_banner_row(label, words, view) for label, words in _banner(fact, view))
    if view.look.one_line:
        return Block(head, body=rows)
    return Block((plain("  "), *head), body=((), *rows), after=((),), lead=Lead.NOTHING)


def _banner(fact: facts.Ready, view: View) -> tuple[tuple[str, str], ...]:
    files = count(fact.files, "file") if fact.files else ""
    watching = joined((", ".join(fact.watching), files, fact.watcher), view.dot)
    rows: tuple[tuple[str, str], ...] = (("Agents", f"{fact.url}{view.dot}ws /ws"),)
    rows += () if fact.hosts is None else _hosts(fact.hosts, view.dot)
    rows += (("Mods", _mods(fact, view)), ("Watching", watching or "nothing"))
    if view.look.one_line:
        return rows
    # For people: a log is kept, and no one presses a key there.
    open_it = "press o to open" if view.keys else "oa-dev open"
    how = open_it if "…" in fact.page else "key o" if "#t=" in fact.page else ""
    page = (("Dashboard", joined((fact.page, how), view.dot)),) if fact.page else ()
    hints = ("exposed" if fact.exposed else "use --host to expose", "press h for shortcuts" if view.keys else "")
    return (rows[0], *page, *rows[1:], ("Network", joined(hints, view.dot)))


def _hosts(hosts: facts.HostsStarted, dot: str) -> tuple[tuple[str, str], ...]:
    engine = f"engine {hosts.engine.partition('://')[2]}{', started here' if hosts.started_here else ''}"
    here = f"{hosts.host} (this one){dot}{engine}, nats-server {hosts.version}"
    if hosts.join:
        return ("Hosts", here), ("Join", hosts.join)
    code = f"from {hosts.author or 'the author'}, digests checked{dot}who may write there runs code here"
    return ("Hosts", here), ("Code", code)


def _mods(fact: facts.Ready, view: View) -> str:
    glyphs = view.look.glyphs
    names = listed([each.mod_id for each in fact.mods], glyphs.more)
    loaded = f"{len(fact.mods)} loaded" + (f" ({names})" if names else "")
    if fact.hosts is not None and fact.hosts.mods:
        loaded += f"{view.dot}{fact.hosts.author} runs {listed(fact.hosts.mods, glyphs.more)}"
    return loaded + (f"{view.dot}{fact.disabled} disabled" if fact.disabled else "")


def _banner_row(label: str, words: str, view: View) -> Line:
    if view.look.one_line:
        return (plain(f"{label.lower()} {words}"),)
    return (Segment(f"  {view.look.glyphs.item}  ", Style.GOOD), strong(f"{label:<10}"), plain(f" {words}"))


def help_block(shortcuts: tuple[tuple[str, str], ...], width: int) -> Block:
    """Keys with their descriptions in columns, read from left to right."""
    texts = [(key, f" {words}") for key, words in shortcuts]
    columns = next(n for n in range(len(texts), 0, -1) if n == 1 or 2 + sum(_widths(texts, n)) <= width)
    widths = _widths(texts, columns)
    rows = [texts[start : start + columns] for start in range(0, len(texts), columns)]
    lines = tuple((plain("  "), *_cells(row, widths)) for row in rows)
    return Block(lines[0], lines[1:], lead=Lead.NOTHING)


def _widths(texts: Sequence[tuple[str, str]], columns: int) -> list[int]:
    """Return the width of each of so many columns."""
    return [max(len(key + words) for key, words in texts[n::columns]) + 3 for n in range(columns)]


def _cells(row: Sequence[tuple[str, str]], widths: Sequence[int]) -> Iterator[Segment]:
    for (key, words), width in zip(row, (*widths[: len(row) - 1], 0), strict=True):
        yield strong(key)
        yield plain(words.ljust(width - len(key)))


def config_refused(errors: tuple[facts.ErrorFacts, ...], view: View, most: int = _MOST_PROBLEMS) -> tuple[Block, ...]:
    """Return each problem of a network.yaml with its line; beyond `most` they are counted."""
    shown = tuple(config_error_block(_refused_head(each, view), each, view) for each in errors[:most])
    rest = len(errors) - most
    if rest <= 0:
        return shown
    return (*shown, Block((dim(f"{view.look.glyphs.more} and {count(rest, 'more problem')}"),)))


def _refused_head(error: facts.ErrorFacts, view: View) -> Line:
    words = " not applied, what runs keeps running" if view.started else " cannot be used"
    where = place(error.where) if error.where else strong("network.yaml")
    return (Segment(f"{view.look.glyphs.failed} ", Style.BAD), where, plain(words))


def mod_unusable(mod_id: str, error: facts.ErrorFacts, view: View) -> Block:
    """Return a mod that could not be loaded by a check of a network, with its place and source."""
    head = (Segment(f"{view.look.glyphs.failed} ", Style.BAD), strong(mod_id), plain(" cannot be loaded"))
    return error_block(head, error, view)


def _line_seen(fact: facts.SplitSeen, line: facts.LineSeen, view: View) -> Block:
    names = f": {listed(line.agents, view.look.glyphs.more)}" if line.agents else ""
    now = "" if line.gets == "shadow" else f"{view.dot}{len(line.agents)} of {fact.agents} agents now{names}"
    return Block((plain("  "), strong(f"{fact.mod_id}@{line.label}"), plain(f"  {line.gets}"), dim(now)))


def _guarded(fact: facts.Guarded, view: View) -> Block:
    again = f"oa-dev split {fact.mod_id} 10% tries again{view.dot}oa-dev drop {fact.mod_id}"
    return Block(
        (
            Segment(f"{view.look.glyphs.warning} ", Style.WARN),
            strong(f"{fact.mod_id} v{fact.generation}"),
            plain(f" gets no more events: {fact.reason}"),
        ),
        ((plain("  "), dim(f"it stays loaded to be looked at{view.dot}{again}")),),
    )


def _mod_error(fact: facts.ModError, view: View, times: int) -> Block:
    error, glyphs = fact.error, view.look.glyphs
    where = (dim(view.dot), place(error.where)) if error.where else ()
    # A generation that shuts down ends whatever it raises, and another may serve already.
    ends = fact.event_name == "shutdown"
    what = f"in {fact.event_name}" if " " in fact.event_name else f"on {fact.event_name}"
    return Block(
        (
            Segment(f"{glyphs.warning} ", Style.WARN),
            strong(f"{fact.mod_id} v{fact.generation}"),
            plain(f" did not shut down well: {brief(error)}" if ends else f" raised {brief(error)} {what}"),
            *where,
            dim("" if ends else f"{view.dot}v{fact.generation} stays"),
            plain(f"{view.dot}{glyphs.times}{times}" if times > 1 else ""),
        )
    )


def _exposed_block(fact: facts.Exposed, view: View) -> Block:
    """Return what a person has to know, and what the agents of others need. Only here is the join
    token shown: a file or a pipe names the file that holds it."""
    if view.look.one_line:
        return Block((Segment(f"{view.look.glyphs.note} ", Style.WARN), plain(sentence_of(fact))))
    head = (Segment(f"  {view.look.glyphs.note}  ", Style.BAD), Segment(exposed_warning(fact), Style.WARN))
    token: Line = (strong(fact.join_token), plain(f" (kept in {fact.kept_in}; agents here need none)"))
    rows = (
        ("Listens on", (plain(", ".join(fact.addresses)),)),
        ("Others use", (plain(", ".join(fact.urls)),)),
        ("Join token", token),
    )
    body = tuple((plain("     "), strong(f"{label:<11}"), *words) for label, words in rows)
    return Block(head, body=body, after=((),), lead=Lead.NOTHING)
