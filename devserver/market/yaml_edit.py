"""Edits network.yaml as a person would: the lines concerned, and no other byte of the file.

PyYAML says where each value stands; new values are put there as text. Comments, order, quotes,
blank lines and line ends stay, because the rest is not written again. Each edit is read back: if
the file would not say exactly what was asked for, it is refused, and the caller gets the text to
write by hand. A file that the reader of network.yaml refuses is refused here too, with its
ConfigError.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import yaml

from devserver.config.yaml_text import compose, decode
from devserver.errors import DevServerError
from devserver.model.names import module_of
from devserver.model.split import default_label, label_of_versions

Values = dict[str, Any]
_LINE = re.compile("[^\n\r\x85\u2028\u2029]*(?:\r\n|[\n\r\x85\u2028\u2029])|[^\n\r\x85\u2028\u2029]+")
"""Lines as YAML counts them, with their ends."""


class CannotEdit(DevServerError):
    """A network.yaml in a style that no command edits. The text says what to write by hand."""


@dataclass(frozen=True, slots=True)
class Edited:
    """The text of network.yaml after an edit, and the line (from 1) where it begins."""

    text: str
    line: int


def add_mod(text: str, path: str, *, version: str = "", config: Mapping[str, Any] | None = None) -> Edited:
    """List a mod as the last one. Raises CannotEdit, also if it is listed already."""
    values = {"name": path} | ({"version": version} if version else {}) | ({"config": dict(config)} if config else {})
    edit = _Edit(text, values)
    if edit.find_mod(path) is not None:
        raise CannotEdit(f"{path} is listed in network.yaml already")
    return edit.append(("network", "mods"), values)


def remove_mod(text: str, path: str) -> Edited:
    """Take a mod out of the list, with its whole entry. Comments above it stay."""
    edit = _Edit(text, f"take the entry of {path} out")
    return edit.take_out(("network", "mods"), edit.number_of(path))


def set_in_mod(text: str, path: str, key: str, value: Any) -> Edited:
    """Set a key of a mod's entry, such as `version` or `enabled`; None takes the key out."""
    edit = _Edit(text, {key: value})
    return edit.set(("network", "mods", edit.number_of(path)), key, value)


def add_index(text: str, place: str) -> Edited:
    """List a folder or an address as the last of `dev.indexes`."""
    edit = _Edit(text, {"dev": {"indexes": [place]}})
    if edit.values_at(("dev",)) is None:
        return edit.set((), "dev", {"indexes": [place]})
    return edit.set(("dev",), "indexes", [*(edit.values_at(("dev", "indexes")) or ()), place])


def remove_index(text: str, place: str) -> str:
    """Undo `add_index` where the folder is the only one and stands as that wrote it; else return the text itself."""
    edit = _Edit(text, f"take {place} out of dev.indexes")
    dev = edit.values_at(("dev",))
    if not isinstance(dev, dict) or dev.get("indexes") != [place]:
        return text
    try:
        bare = edit.set((), "dev", None) if len(dev) == 1 else edit.set(("dev",), "indexes", None)
        return bare.text if add_index(bare.text, place).text == text else text
    except CannotEdit:
        return text


def add_line(text: str, path: str, values: Mapping[str, Any]) -> Edited:
    """Add a further version, as in `{"label": "2", "version": "~=2.0", "share": "10%"}`, to the entry of a mod."""
    edit = _Edit(text, {"versions": [dict(values)]})
    mod = ("network", "mods", edit.number_of(path))
    if edit.values_at((*mod, "versions")) in (None, []):
        return edit.set(mod, "versions", [dict(values)])
    return edit.append((*mod, "versions"), dict(values))


def remove_line(text: str, path: str, label: str) -> Edited:
    """Take a further version out; with the last one the key goes too."""
    edit = _Edit(text, f"take the version {label} of {path} out")
    mod = ("network", "mods", edit.number_of(path))
    if len(edit.values_at((*mod, "versions")) or ()) == 1:
        edit.label_of(mod, label)
        return edit.set(mod, "versions", None)
    return edit.take_out((*mod, "versions"), edit.label_of(mod, label))


Loc = tuple[str | int, ...]


class _Edit:
    """One edit of one text: the places of its values, and the values afterwards."""

    def __init__(self, text: str, wanted: Any) -> None:
        source = decode(text.encode(), "network.yaml")
        # The tree is that of the reader of network.yaml: its limits hold, and a file that it
        # refuses is not edited.
        self._root = compose(source).root
        self._text = text
        self._skipped = len(text) - len(source.text)
        self._newline = "\r\n" if "\r\n" in text else "\n"
        self._lines = _LINE.findall(text[self._skipped :])
        self._values = yaml.safe_load(source.text)
        self._wanted = wanted

    # Where things are

    def find_mod(self, path: str) -> int | None:
        """Return the place of a mod in the list."""
        for number, each in enumerate(self.values_at(("network", "mods")) or ()):
            if isinstance(each, dict) and module_of(str(each.get("name"))) == module_of(path):
                return number
        return None

    def number_of(self, path: str) -> int:
        """Return the place of a mod in the list. Raises CannotEdit if it is not listed."""
        found = self.find_mod(path)
        if found is None:
            raise CannotEdit(f"{path} is not listed in network.yaml")
        return found

    def label_of(self, mod: Loc, label: str) -> int:
        """Return the place of a further version among those of a mod."""
        for number, each in enumerate(self.values_at((*mod, "versions")) or ()):
            if isinstance(each, dict):
                own = label_of_versions(str(each.get("version") or "")) or default_label(str(each.get("name") or ""))
                if str(each.get("label") or own) == label:
                    return number
        raise CannotEdit(f"no version with the label {label} is listed in network.yaml")

    def values_at(self, loc: Loc) -> Any:
        """Return the value at a place; None without one."""
        found = self._values
        for step in loc:
            try:
                found = found[step]
            except (KeyError, IndexError, TypeError):
                return None
        return found

    def _node(self, loc: Loc) -> tuple[yaml.Node | None, yaml.Node | None]:
        """Return the node of a key, and that of its value; None for a missing one."""
        key: yaml.Node | None = None
        node: yaml.Node = self._root
        for step in loc:
            if isinstance(node, yaml.MappingNode):
                pairs = [(k, v) for k, v in node.value if isinstance(k, yaml.ScalarNode) and k.value == step]
                if not pairs:
                    return None, None
                key, node = pairs[0]
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int):
                key, node = None, node.value[step]
            else:
                return None, None
        return key, node

    # The edits

    def append(self, loc: Loc, values: Values) -> Edited:
        """Put an entry at the end of a list, and make the list if it is missing."""

        def expected(root: Any) -> None:
            parent = _walk(root, loc[:-1])
            parent[loc[-1]] = [*(parent.get(loc[-1]) or ()), values]

        key, node = self._node(loc)
        if key is None or node is None:
            return self._insert_key(loc[:-1], str(loc[-1]), [values], expected)
        if isinstance(node, yaml.SequenceNode) and node.value and not node.flow_style:
            last = node.value[-1]
            dash = node.start_mark.column
            at = self._after(last, deeper_than=dash)
            return self._put(at, at, self._item(values, dash), expected)
        if not isinstance(node, yaml.SequenceNode) or not node.value:
            # `mods:`, `mods: []` or `mods: null`: a list replaces it.
            indent = " " * (key.start_mark.column + 2)
            at, end = self._index(key.end_mark), self._index(node.end_mark)
            colon = self._body.index(":", at) + 1
            start, stop = colon, colon if _is_nothing(node) else max(end, colon)
            shown = self._newline + self._item(values, len(indent)).removesuffix(self._newline)
            rest = self._body[stop:].split("\n", 1)[0].strip()
            if rest:
                # The comment behind it stays in its line.
                return self._put_two(start, stop, shown, expected)
            return self._put(start, stop, shown, expected)
        last = self._index(node.value[-1].end_mark)
        return self._put(last, last, f", {_flow(values)}", expected)

    def take_out(self, loc: Loc, number: int) -> Edited:
        """Take an entry out of a list; the last one leaves an empty list."""

        def expected(root: Any) -> None:
            del _walk(root, loc)[number]

        key, node = self._node(loc)
        assert key is not None and isinstance(node, yaml.SequenceNode)
        item = node.value[number]
        if node.flow_style:
            return self._take_out_of_flow(node, number, expected)
        dash = node.start_mark.column
        start = self._line_start(item.start_mark.line) if number else self._line_start(node.start_mark.line)
        end = self._after(item, deeper_than=dash)
        if len(node.value) > 1:
            return self._put(start, end, "", expected)
        colon = self._body.index(":", self._index(key.end_mark)) + 1
        between = self._body[colon:start]
        return self._put(colon, end, f" []{between}", expected)

    def set(self, loc: Loc, key: str, value: Any) -> Edited:
        """Set a key of a mapping, or take it out."""

        def expected(root: Any) -> None:
            parent = _walk(root, loc)
            parent.pop(key, None) if value is None else parent.__setitem__(key, value)

        at, node = self._node((*loc, key))
        if at is None or node is None:
            return Edited(self._text, 1) if value is None else self._insert_key(loc, key, value, expected)
        _, parent = self._node(loc)
        if value is None:
            return self._take_key_out(parent, at, node, expected)
        if isinstance(node, yaml.ScalarNode) and not isinstance(value, dict | list):
            shown = _scalar(value, node.style)
            start, end = self._index(node.start_mark), self._index(node.end_mark)
            return self._put(start, end, shown if start < end else f" {shown}", expected)
        start = self._index(at.start_mark)
        end = self._index(node.end_mark) if _is_flow(node) else self._after(node, at.start_mark.column)
        if isinstance(parent, yaml.MappingNode) and parent.flow_style:
            return self._put(start, end, f"{key}: {_flow(value)}", expected)
        shown = self._keyed(key, value, at.start_mark.column).lstrip(" ")
        return self._put(start, end, shown, expected)

    def _insert_key(self, loc: Loc, key: str, value: Any, expected: Callable[[Any], None]) -> Edited:
        _, parent = self._node(loc)
        if not isinstance(parent, yaml.MappingNode) or not parent.value:
            raise self._refused()
        first, last = parent.value[0], parent.value[-1]
        if parent.flow_style:
            at = self._index(last[1].end_mark)
            return self._put(at, at, f", {key}: {_flow(value)}", expected)
        column = first[0].start_mark.column
        # A version follows its name; other keys come last.
        beside = first if key == "version" and isinstance(first[1], yaml.ScalarNode) else last
        at = self._after(beside[1], column) if not _is_nothing(beside[1]) else self._line_end(beside[0])
        return self._put(at, at, self._keyed(key, value, column), expected)

    def _take_key_out(
        self, parent: yaml.Node | None, key: yaml.Node, node: yaml.Node, expected: Callable[[Any], None]
    ) -> Edited:
        before = self._lines[key.start_mark.line][: key.start_mark.column]
        if not isinstance(parent, yaml.MappingNode) or parent.flow_style or before.strip():
            # The first key of an entry shares its line with the dash.
            raise self._refused()
        end = self._after(node, key.start_mark.column) if not _is_nothing(node) else self._line_end(key)
        return self._put(self._line_start(key.start_mark.line), end, "", expected)

    def _take_out_of_flow(self, node: yaml.SequenceNode, number: int, expected: Callable[[Any], None]) -> Edited:
        items = node.value
        if number:
            start, end = self._index(items[number - 1].end_mark), self._index(items[number].end_mark)
        elif len(items) > 1:
            start, end = self._index(items[0].start_mark), self._index(items[1].start_mark)
        else:
            start, end = self._index(items[0].start_mark), self._index(items[0].end_mark)
        return self._put(start, end, "", expected)

    # Texts and places

    @property
    def _body(self) -> str:
        return self._text[self._skipped :]

    def _index(self, mark: Any) -> int:
        """Return the index of a place in the body: some loaders do not count characters."""
        return self._line_start(mark.line) + int(mark.column)

    def _line_start(self, line: int) -> int:
        return sum(map(len, self._lines[:line]))

    def _line_end(self, node: yaml.Node) -> int:
        return self._line_start(node.end_mark.line + 1)

    def _after(self, node: yaml.Node, deeper_than: int) -> int:
        """Return the index behind a node's last line, with the comments indented into it."""
        line = _last_line(node)
        # A block ends for PyYAML where the next token begins: the blank lines before that are not
        # part of it.
        while line > node.start_mark.line and not self._lines[min(line, len(self._lines) - 1)].strip():
            line -= 1
        line = min(line + 1, len(self._lines))
        while line < len(self._lines) and self._is_comment(self._lines[line], deeper_than):
            line += 1
        return self._line_start(line)

    @staticmethod
    def _is_comment(line: str, deeper_than: int) -> bool:
        bare = line.lstrip(" ")
        return bare.startswith("#") and len(line) - len(bare) > deeper_than

    def _item(self, values: Values, dash: int) -> str:
        inner = "".join(self._keyed(key, value, dash + 2) for key, value in values.items())
        return f"{' ' * dash}- {inner.lstrip(' ')}"

    def _keyed(self, key: str, value: Any, column: int) -> str:
        indent = " " * column
        if isinstance(value, dict) and value:
            below = "".join(self._keyed(str(each), it, column + 2) for each, it in value.items())
            return f"{indent}{_scalar(key, None)}:{self._newline}{below}"
        if isinstance(value, list) and value and all(isinstance(each, dict) for each in value):
            below = "".join(self._item(each, column + 2) for each in value)
            return f"{indent}{_scalar(key, None)}:{self._newline}{below}"
        return f"{indent}{_scalar(key, None)}: {_flow(value)}{self._newline}"

    # The end of each edit

    def _put_two(self, start: int, end: int, shown: str, expected: Callable[[Any], None]) -> Edited:
        """Replace `start` to `end` by nothing, and put `shown` behind the line that it is in."""
        stop = self._body.find("\n", end)
        stop = len(self._body) if stop < 0 else stop
        stop -= self._body[:stop].endswith("\r")
        found = self._put(start, stop, self._body[end:stop] + shown, expected)
        return replace(found, line=found.line + 1)

    def _put(self, start: int, end: int, shown: str, expected: Callable[[Any], None]) -> Edited:
        body = self._body
        before = body[:start]
        if shown and start == len(body) and before and not before.endswith("\n"):
            # The file ends without a line end: so does the new one.
            before, shown = before + self._newline, shown.removesuffix(self._newline)
        after = before + shown + body[end:]
        self._check(after, expected)
        line = before.count("\n") + 1 + (len(shown) - len(shown.lstrip("\r\n")) > 0)
        return Edited(self._text[: self._skipped] + after, line)

    def _check(self, after: str, expected: Callable[[Any], None]) -> None:
        wanted = copy.deepcopy(self._values)
        try:
            expected(wanted)
            found = yaml.safe_load(after)
        except (yaml.YAMLError, KeyError, TypeError, AttributeError, IndexError):
            raise self._refused() from None
        if found != wanted:
            raise self._refused()

    def _refused(self) -> CannotEdit:
        what = self._wanted if isinstance(self._wanted, str) else f"write by hand: {json.dumps(self._wanted)}"
        return CannotEdit(f"network.yaml is written in a way that commands do not edit; {what}")


def _start(node: yaml.Node) -> tuple[int, int]:
    return int(node.start_mark.line), int(node.start_mark.column)


def _end(node: yaml.Node) -> tuple[int, int]:
    return int(node.end_mark.line), int(node.end_mark.column)


def _is_nothing(node: yaml.Node) -> bool:
    """Return whether nothing is written there, as in `mods:`."""
    return _start(node) == _end(node)


def _is_flow(node: yaml.Node) -> bool:
    return not isinstance(node, yaml.CollectionNode) or bool(node.flow_style)


def _walk(root: Any, loc: Loc) -> Any:
    for step in loc:
        root = root[step]
    return root


def _last_line(node: yaml.Node) -> int:
    if isinstance(node, yaml.MappingNode | yaml.SequenceNode) and not node.flow_style and node.value:
        last = node.value[-1]
        key, value = last if isinstance(node, yaml.MappingNode) else (None, last)
        # The node of an alias is at its anchor, and that of nothing may be further down.
        if key is not None and (_is_nothing(value) or _start(value) < _end(key)):
            return _end(key)[0]
        return _last_line(value)
    block = isinstance(node, yaml.ScalarNode) and node.style in ("|", ">")
    # A block of text ends at the beginning of the line behind it.
    return int(node.end_mark.line) - (1 if block and node.end_mark.column == 0 else 0)


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_scalar(str(key), None)}: {_flow(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return _scalar(value, None)


def _scalar(value: Any, style: str | None) -> str:
    """Return a value as one line of YAML, in the quotes of the former one if it is a text."""
    if isinstance(value, str) and style == "'" and value.isprintable():
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, str) and (style == '"' or _needs_quotes(value)):
        return json.dumps(value, ensure_ascii=not value.isprintable())
    return json.dumps(value) if not isinstance(value, str) else value


def _needs_quotes(text: str) -> bool:
    """Return whether a text without quotes would read differently, or as several values."""
    if not text or not text.isprintable() or text != text.strip() or any(each in text for each in ",[]{}#:'\""):
        return True
    try:
        return bool(yaml.safe_load(text) != text) or text[0] in "-?=<~&*!|>%@`"
    except yaml.YAMLError:  # it could not even be read back
        return True
