"""From the bytes of a YAML file to a tree of nodes that is safe to walk, each node with its place.

Harmful parts are refused before they cost anything (size, nesting, aliases that multiply, tags),
and so are parts that hide a mistake (duplicate keys, a second document). Knows no keys and makes no
Python objects of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, NoReturn

import yaml

from devserver.errors import ConfigError
from devserver.model.declared import ErrorFacts, Frame

MAX_BYTES = 256 * 1024
MAX_DEPTH = 50
MAX_ALIASES = 100
MAX_NODES = 50_000

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_BOM = b"\xef\xbb\xbf"
_WIDE_BOMS = (b"\xff\xfe", b"\xfe\xff")
_LINE_END = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_SECRET = re.compile(r"((?:password|secret|token|api_key)\w*[\"']?\s*:\s*)\S.*", re.IGNORECASE)
_EXCERPT_WIDTH = 200

_SYNTAX_HINTS = {
    "mapping values are not allowed": "put text that contains ': ' in quotes, and begin each key on its own line",
    "could not find expected ':'": "a key needs a ':' and a space behind it",
    "expected '-' indicator": "indent the keys of an entry as deep as its first one; the next entry begins with '-'",
    "did not find expected key": "check that this line is indented as deep as its neighbours",
    "expected <block end>": "check that this line is indented as deep as its neighbours",
    "cannot start any token": "put text that begins with @, ` or % in quotes",
    "escape": "in double quotes a \\ begins an escape; single quotes take it literally",
}


class Place(NamedTuple):
    """A line and a column, both counted from 0, as PyYAML counts."""

    line: int
    column: int


START = Place(0, 0)


@dataclass(frozen=True)
class Source:
    """A decoded text with its name, which turns places into problems. `skipped`: bytes before."""

    file: str
    text: str
    skipped: int = 0

    @cached_property
    def lines(self) -> list[str]:
        """The lines, as YAML counts them."""
        return _LINE_END.split(self.text)

    def problem(self, message: str, at: Any, hint: str | None = None, *, end: int | None = None) -> ErrorFacts:
        """Return a problem at a place (`line` and `column` from 0), with three lines around it."""
        around = range(max(at.line - 1, 0), min(at.line + 2, len(self.lines)))
        excerpt = tuple((number + 1, _shown(self.lines[number])) for number in around)
        where = Frame(self.file, at.line + 1, at.column + 1, end_column=end, excerpt=excerpt)
        return ErrorFacts("ConfigError", message, where, hint=hint)

    def node_problem(self, message: str, node: yaml.Node, hint: str | None = None) -> ErrorFacts:
        """Return a problem at a node; a value on one line is marked to its end."""
        start, end = node.start_mark, node.end_mark
        return self.problem(message, start, hint, end=end.column + 1 if start.line == end.line else None)

    def offset(self, index: int) -> int:
        """Return the byte in the file at which a character of the text begins."""
        return self.skipped + len(self.text[:index].encode())


def _shown(line: str) -> str:
    """Return a line as an excerpt may quote it: short, without values that look secret."""
    line = _SECRET.sub(r"\1…", line[: _EXCERPT_WIDTH + 1])
    return line if len(line) <= _EXCERPT_WIDTH else line[:_EXCERPT_WIDTH] + "…"


def decode(data: bytes, file: str) -> Source:
    """Decode the text of a UTF-8 file, with or without a byte order mark. Raises ConfigError with
    the byte offset for any other file. Such a file is never quoted: it may be anything."""
    if len(data) > MAX_BYTES:
        raise too_large(len(data), file)
    if data.startswith(_WIDE_BOMS):
        raise unquoted(file, "the file is UTF-16 (byte 0 begins a UTF-16 byte order mark)", "save it as UTF-8")
    skipped = len(_BOM) if data.startswith(_BOM) else 0
    try:
        source = Source(file, data[skipped:].decode("utf-8"), skipped)
    except UnicodeDecodeError as error:
        at = skipped + error.start
        message = f"byte {at} is 0x{data[at]:02x}, which is not UTF-8 there"
        raise unquoted(file, message, "save it as UTF-8", _place(data[skipped:at].decode("utf-8"))) from error
    if found := _UNPRINTABLE.search(source.text):
        what = "a NUL" if found[0] == "\0" else f"the control character U+{ord(found[0]):04X}"
        message = f"byte {source.offset(found.start())} is {what}, which a text file does not hold"
        raise unquoted(file, message, place=_place(source.text[: found.start()]))
    return source


def too_large(size: int, file: str) -> ConfigError:
    """Return the error of a file of more than MAX_BYTES."""
    return unquoted(file, f"the file has {size:,} bytes, more than the {MAX_BYTES:,} that are read")


def _place(before: str) -> Place:
    """Return the place of a character, given all the text before it."""
    lines = _LINE_END.split(before)
    return Place(len(lines) - 1, len(lines[-1]))


def unquoted(file: str, message: str, hint: str | None = None, place: Place = START) -> ConfigError:
    """Return the error for a file that must not be quoted: with a place, without a line of it."""
    where = Frame(file, place.line + 1, place.column + 1)
    return ConfigError((ErrorFacts("ConfigError", message, where, hint=hint),))


class Tree(NamedTuple):
    """The root of a document, and the problems that do not prevent walking it."""

    root: yaml.MappingNode
    problems: tuple[ErrorFacts, ...]


def compose(source: Source) -> Tree:
    """Compose the node tree of a text with one document, a mapping.

    At most MAX_DEPTH levels, MAX_ALIASES aliases and, with aliases written out, MAX_NODES nodes.
    Keys that are not text, repeated keys and tags come back as problems beside the tree.

    Raises ConfigError if no tree is safe to walk.
    """
    guard = _Guard(source)
    try:
        guard.check_all(source.text)
        root = yaml.compose(source.text, Loader=_LOADER)
    except yaml.YAMLError as error:
        # Newer versions of libyaml read ahead of the first level that is too deep: find that one.
        mark = getattr(error, "problem_mark", None)
        if mark is not None and "nesting" in str(getattr(error, "problem", "")):
            _Guard(source).check_all(source.text[: mark.index])
        raise ConfigError((_syntax_problem(source, error),)) from error
    if not isinstance(root, yaml.MappingNode):
        found = "an empty file" if root is None else kind(root)
        message = f"expected a mapping that begins with 'network:', found {found}"
        raise ConfigError((source.problem(message, START if root is None else root.start_mark),))
    return Tree(root, (*guard.problems, *_key_problems(source, root)))


def kind(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    return "a list" if isinstance(node, yaml.SequenceNode) else "a single value"


def _syntax_problem(source: Source, error: yaml.YAMLError) -> ErrorFacts:
    mark = getattr(error, "problem_mark", None)
    message = str(getattr(error, "problem", None) or error)
    if mark is None:
        return source.problem(message, START)
    line = source.lines[mark.line] if mark.line < len(source.lines) else ""
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return source.problem("a tab indents this line", mark, "YAML is indented with spaces: replace the tab")
    if "escape" in message:
        message = f"{message} (byte {source.offset(mark.index)})"
    return source.problem(message, mark, next((hint for part, hint in _SYNTAX_HINTS.items() if part in message), None))


class _Weight(NamedTuple):
    """The number of nodes and levels of a node with its aliases written out."""

    nodes: int
    levels: int


_SCALAR = _Weight(1, 0)


@dataclass(slots=True)
class _Open:
    """A mapping or list whose end has not been read yet."""

    anchor: str | None
    nodes: int = 1
    levels: int = 0


@dataclass(slots=True)
class _Guard:
    """Weighs a document while its events are read, so that a bomb is refused at the first event that is too much."""

    source: Source
    problems: list[ErrorFacts] = field(default_factory=list)
    _open: list[_Open] = field(default_factory=list)
    _anchors: dict[str, _Weight] = field(default_factory=dict)
    _documents: int = 0
    _aliases: int = 0

    def check_all(self, text: str) -> None:
        """Take every event of a text. Raises YAMLError; ConfigError where reading on is unsafe."""
        for event in yaml.parse(text, Loader=_LOADER):
            self._check(event)

    def _check(self, event: yaml.Event) -> None:
        match event:
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    hint = "a network.yaml is one document: remove the '---'"
                    self._refuse("a second document begins here", event, hint)
            case yaml.AliasEvent():
                self._follow(event)
            case yaml.CollectionStartEvent():
                self._refuse_tag(event)
                self._refuse_depth(1, event)
                self._open.append(_Open(event.anchor))
            case yaml.ScalarEvent():
                self._scalar(event)
            case yaml.CollectionEndEvent():
                done = self._open.pop()
                self._add(done.anchor, _Weight(done.nodes, done.levels + 1), event)

    def _scalar(self, event: Any) -> None:
        self._refuse_tag(event)
        if _SURROGATE.search(event.value):
            at = self.source.offset(event.start_mark.index)
            self._refuse(f"the text holds half a surrogate pair (byte {at})", event, _SYNTAX_HINTS["escape"])
        self._add(event.anchor, _SCALAR, event)

    def _follow(self, event: Any) -> None:
        self._aliases += 1
        if self._aliases > MAX_ALIASES:
            self._refuse(f"more than {MAX_ALIASES} aliases", event)
        if any(each.anchor == event.anchor for each in self._open):
            self._refuse(f"the alias *{event.anchor} contains itself", event)
        weight = self._anchors.get(event.anchor)
        if weight is None:
            self._refuse(f"there is no &{event.anchor} above for the alias *{event.anchor}", event)
        self._refuse_depth(weight.levels, event)
        self._add(None, weight, event)

    def _add(self, anchor: str | None, weight: _Weight, event: yaml.Event) -> None:
        """Count a node that has been read towards its parent."""
        if anchor is not None:
            self._anchors[anchor] = weight
        if not self._open:
            return
        parent = self._open[-1]
        parent.nodes += weight.nodes
        parent.levels = max(parent.levels, weight.levels)
        if parent.nodes > MAX_NODES:
            self._refuse(f"more than {MAX_NODES:,} values, counting what the aliases stand for", event)

    def _refuse_depth(self, levels: int, event: yaml.Event) -> None:
        if len(self._open) + levels > MAX_DEPTH:
            self._refuse(f"nested more than {MAX_DEPTH} levels deep", event)

    def _refuse_tag(self, event: Any) -> None:
        if event.tag is not None:
            hint = "remove the tag; values are text, numbers, true, false, null, lists and mappings"
            self.problems.append(self.source.problem("tags (!name) are not used here", event.start_mark, hint))

    def _refuse(self, message: str, event: yaml.Event, hint: str | None = None) -> NoReturn:
        raise ConfigError((*self.problems, self.source.problem(message, event.start_mark, hint)))


def _key_problems(source: Source, root: yaml.Node) -> Iterator[ErrorFacts]:
    for mapping in _mappings(root):
        first: dict[str, int] = {}
        for key, _ in mapping.value:
            if not isinstance(key, yaml.ScalarNode) or not key.value:
                yield source.node_problem("a key is a text that is not empty", key)
            elif key.value in first:
                lines = f"lines {first[key.value]} and {key.start_mark.line + 1}"
                yield source.node_problem(f"the key {key.value!r} stands twice in one mapping: {lines}", key)
            else:
                first[key.value] = key.start_mark.line + 1


def _mappings(root: yaml.Node) -> Iterator[yaml.MappingNode]:
    """Yield each mapping once, however many aliases lead to it."""
    seen: set[int] = set()
    pending = [root]
    while pending:
        node = pending.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            yield node
            pending.extend(each for pair in node.value for each in pair)
        elif isinstance(node, yaml.SequenceNode):
            pending.extend(node.value)
