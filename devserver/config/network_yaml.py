"""A network.yaml becomes a `NetworkConfig`, or every problem at its line. Writes nothing.

`network` has the table of keys; keys without effect here are listed as `unused`. Must not import
mods or ask whether they exist.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, get_args

from pydantic import ValidationError

from devserver.config.network import (
    CHOICE,
    CONNECTION_TIMEOUTS,
    FREE,
    LOST,
    MISTYPED,
    SAID,
    Http,
    Mod,
    Network,
    Root,
    Section,
    seconds_of_age,
)
from devserver.config.regular import NotRegular, TooLarge, read_regular
from devserver.config.versions import check_versions, versions_of
from devserver.config.yaml_text import MAX_BYTES, Place, Source, compose, decode, too_large, unquoted
from devserver.config.yaml_values import MAX_GUESSES, Document, Loc, did_you_mean, path_of
from devserver.errors import ConfigError
from devserver.model.config import DEFAULT_PORT, AgentGroup, ModSpec, NetworkConfig, ReplayRules
from devserver.model.lifecycle import Limits, RestartPolicy, RestartRules
from devserver.model.names import LOOPBACK, is_loopback, mod_name_problem, module_of, near

_OURS = re.compile(r"^[ \t{]*network[ \t]*:(?:\s|$)|[\"']network[\"'][ \t]*:", re.MULTILINE)
_ROOT_KEY = re.compile(r"^([A-Za-z_]+)[ \t]*:", re.MULTILINE)
_ENTRY = ("a mapping with the keys name, enabled and config", "begin it with 'name:', as in '- name: mods.echo'")
_NOTHING = frozenset({"false", "null", "[]", "{}", "''", '""'})
"""Values that ask for nothing."""
_SHAPES = {"list_type": "a list", "dict_type": "a mapping", "model_type": "a mapping"}
"""Our words for what pydantic calls a value that is neither a list nor a mapping."""


def read_network(path: Path) -> NetworkConfig:
    """Read the network that the file at `path` asks for (see `parse_network` and `read_bytes`).

    Raises ConfigError for a file that cannot be read or used. A file that is not a network.yaml is
    never quoted.
    """
    return parse_network(read_bytes(path), path.name)


def read_bytes(path: Path) -> bytes:
    """Read at most 256 KiB, from a regular file only; opening never blocks. Raises ConfigError."""
    try:
        data = read_regular(path, MAX_BYTES)
    except NotRegular as other:
        raise unquoted(path.name, f"expected a regular file, found {other.kind}") from other
    except TooLarge as large:
        raise too_large(large.size, path.name) from large
    except OSError as error:
        raise unquoted(path.name, f"the file cannot be read: {error.strerror or error}") from error
    if data is None:
        raise unquoted(path.name, f"the file cannot be read: {os.strerror(errno.ENOENT)}")
    return data


def parse_network(text: bytes | str, file: str = "network.yaml") -> NetworkConfig:
    """Parse the network that a text asks for. `file` names the text in errors.

    The text is UTF-8, at most 256 KiB, one document. Scalars are read by YAML 1.2, types are
    strict, and keys without effect are listed in `unused` by their paths, those under `network`
    without that prefix. The host is the loopback address unless the file names another loopback
    address.

    Raises ConfigError with all problems, each with its place, three lines around it, and perhaps a
    hint.
    """
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    source = decode(data, file)
    if not _OURS.search(source.text):
        raise _not_ours(source)
    tree = compose(source)
    document = Document(source, tree.root, list(tree.problems))
    values = document.values()
    root = _refusals(document, values)
    unread = list(_unread(document, list(_sections(Root, values, ()))))
    network = values.get("network")
    if isinstance(network, dict):
        _check_mods(document, network)
        check_versions(document, network.get("mods"))
        _check_groups(document, network)
    document.raise_problems()
    assert root is not None
    return _config(document, root, unread)


def _not_ours(source: Source) -> ConfigError:
    """Return the error for a text without a `network:`; it may be any file and is not quoted."""
    for found in islice(_ROOT_KEY.finditer(source.text), MAX_GUESSES):
        if near(found[1], {"network"}):
            line = source.text.count("\n", 0, found.start())
            return unquoted(source.file, "the key 'network' is missing", did_you_mean("network"), Place(line, 0))
    message = "expected a mapping that begins with 'network:', found none"
    return unquoted(source.file, message if source.text.strip() else message.replace("none", "an empty file"))


def _refusals(document: Document, values: Any) -> Root | None:
    """Validate the file with its models. Returns None after noting every refusal at its place."""
    try:
        return Root.model_validate(values)
    except ValidationError as error:
        for each in error.errors(include_url=False, include_input=False):
            _report(document, each["type"], each["loc"], each.get("ctx", {}))
    return None


def _report(document: Document, kind: str, loc: Loc, context: Mapping[str, Any]) -> None:
    """Note one refusal of pydantic's, or of a field's own."""
    path = path_of(loc)
    if kind == "missing":
        # The documentation of OpenAgents writes it like this, too.
        is_path = loc[:2] == ("network", "mods") and document.has((*loc[:-1], "path"))
        document.report(loc[:-1], f"{path} is missing", "write name for path" if is_path else None)
    elif kind == CHOICE:
        meant = document.near(document.text(loc), context["words"])
        document.report(loc, f"{path} is one of {', '.join(context['words'])}", did_you_mean(meant))
    elif kind == SAID:
        about_key = loc[-1] == "[key]"
        place = loc[:-1] if about_key else loc
        document.report(place, context["says"].replace("{path}", path), context["hint"], about_key=about_key)
    elif kind == FREE:
        for inner, says, hint in context["found"]:
            place = (*loc, *inner)
            words = says.replace("{path}", path_of(place)).replace("{value}", document.described(place))
            document.report(place, words, hint)
    else:
        _report_shape(document, loc, context["says"] if kind == MISTYPED else _SHAPES[kind])


def _report_shape(document: Document, loc: Loc, wanted: str) -> None:
    if len(loc) == 3 and loc[:2] == ("network", "mods"):
        document.report(loc, f"{path_of(loc)} is {_ENTRY[0]}", _ENTRY[1])
        return
    told = document.described(loc)
    hint = "indent what belongs to it" if loc == ("network",) and told == "null" else document.hint_for(loc, wanted)
    document.report(loc, f"{path_of(loc)} is {wanted}, not {told}", hint)


class _Opened(NamedTuple):
    """A mapping of the file, and the model that reads it."""

    model: type[Section]
    values: Mapping[str, Any]
    loc: Loc


def _sections(model: type[Section], values: Any, loc: Loc) -> Iterator[_Opened]:
    """Yield every section that is read, itself first."""
    if not isinstance(values, dict):
        return
    yield _Opened(model, values, loc)
    for name, field in model.model_fields.items():
        inner, value, place = _section_in(field.annotation), values.get(name), (*loc, name)
        if inner is None or (inner is Http and name == "config" and values.get("type") != "http"):
            continue
        if isinstance(value, list):
            for number, each in enumerate(value):
                yield from _sections(inner, each, (*place, number))
        elif isinstance(value, dict) and get_args(field.annotation) and _is_table(field.annotation):
            for key, each in value.items():
                yield from _sections(inner, each, (*place, key))
        else:
            yield from _sections(inner, value, place)


def _section_in(annotation: Any) -> type[Section] | None:
    """Return the model in a field's type: its own, or that of the entries of a list or a table."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return next((found for each in get_args(annotation) if (found := _section_in(each)) is not None), None)


def _is_table(annotation: Any) -> bool:
    return any(getattr(each, "__origin__", None) is dict for each in (annotation, *get_args(annotation)))


def _unread(document: Document, sections: list[_Opened]) -> Iterator[Loc]:
    """Return the keys without effect; note a misspelt, misplaced or unknown key as a problem."""
    for model, values, loc in sections:
        read = model.model_fields.keys()
        for key in [each for each in values if each not in read]:
            place = (*loc, key)
            if key in model.ELSEWHERE:
                document.report(place, f"{key} belongs under 'network:'", "indent it", about_key=True)
                continue
            meant = None if key in model.WITHOUT_EFFECT else document.near(key, read | model.WITHOUT_EFFECT)
            if meant is None and not model.CLOSED:
                yield place
            else:
                says = f"{path_of(place)} is not a known key"
                document.report(place, says, did_you_mean(meant), about_key=True)


def _check_mods(document: Document, network: Mapping[str, Any]) -> None:
    """Note mods that are listed twice: `./name` and `mods.name` are one mod."""
    first: dict[str, int] = {}
    entries = network.get("mods")
    for number, entry in enumerate(entries if isinstance(entries, list) else ()):
        name = entry.get("name") if isinstance(entry, dict) else None
        if not isinstance(name, str) or mod_name_problem(name) is not None:
            continue
        line = document.begin_of(("network", "mods", number))[0]
        if module_of(name) in first:
            lines = f"lines {first[module_of(name)]} and {line}"
            document.report(("network", "mods", number), f"the mod {name} is listed twice: {lines}")
        first.setdefault(module_of(name), line)


def _check_groups(document: Document, network: Mapping[str, Any]) -> None:
    """Note groups that no agent could join: with passwords, all but the default one need one."""
    groups, default = network.get("agent_groups"), network.get("default_agent_group", "guest")
    for name, group in groups.items() if isinstance(groups, dict) else ():
        loc: Loc = ("network", "agent_groups", name)
        if group is not None and not isinstance(group, dict):
            continue
        values = group or {}
        password = values.get("password_hash")
        if name == default:
            if password and network.get("requires_password") is not True:
                hint = "write requires_password: true, or choose a default_agent_group without a password"
                says = f"{path_of(loc)} is the default group, which no agent could join without its password"
                document.report(loc, says, hint, about_key=True)
        elif password in (None, "") and network.get("requires_password") is True:
            document.report(loc, f"{path_of(loc)}.password_hash is missing: requires_password is true", about_key=True)


def _config(document: Document, root: Root, unread: list[Loc]) -> NetworkConfig:
    """Return the values that a file asks for, and its keys without effect."""
    network, dev = root.network, root.dev
    host, port, unserved = _listen(network, unread)
    timeout = network.agent_timeout if "agent_timeout" in network.model_fields_set else None
    unserved += ["mode"] if network.mode != "centralized" else []
    for key in ("manifest_transport", "recommended_transport"):
        unserved += [key] if getattr(network, key) not in (None, "http") else []
    outer, inner = [each for each in unread if len(each) <= 2], [each for each in unread if len(each) > 2]
    within = [each for each in inner if each[1] != "transports"]
    idle = {path_of(each) for each in unread if document.described(each) in _NOTHING}
    return NetworkConfig(
        name=network.name,
        mods=tuple(_mods(document, network.mods)),
        node_id=network.node_id,
        host=host,
        port=port,
        groups={
            name: AgentGroup(name, each.password_hash or "", each.description or "", each.metadata)
            for name, each in network.agent_groups.items()
        },
        default_group=network.default_agent_group,
        requires_password=network.requires_password,
        verify_secrets=not network.disable_agent_secret_verification,
        agent_timeout=CONNECTION_TIMEOUTS * network.connection_timeout if timeout is None else timeout,
        max_agents=network.max_connections,
        metadata=root.metadata,
        profile=root.network_profile,
        mod_paths=tuple(dev.mod_paths),
        grants={agent: tuple(scopes) for agent, scopes in dev.grants.items()},
        limits=Limits(**dev.limits.model_dump()),
        restart=RestartRules(RestartPolicy(dev.restart.policy), dev.restart.drain),
        replay=ReplayRules(tuple(dev.replay.allow), dev.replay.fresh),
        max_body=dev.max_body,
        lists_mods="mods" in network.model_fields_set,
        studio=dev.studio,
        indexes=tuple(dev.indexes),
        packages=dev.packages,
        catalogues=tuple(dev.catalogues) if "catalogues" in dev.model_fields_set else None,
        cooldown=seconds_of_age(dev.cooldown),
        agents=tuple(dev.agents),
        engine=dev.hosts.engine,
        take_over=dev.hosts.take_over,
        host_commands=dev.hosts.commands,
        unused=(told := (*map(path_of, outer), *unserved, *map(path_of, within))),
        lost=tuple(each for each in told if each not in idle and _is_lost(each)),
    )


def _is_lost(path: str) -> bool:
    """Return whether a key without effect here has an effect in OpenAgents."""
    return path.rpartition(".")[2] in LOST or (path.startswith("transports[") and path.endswith("]"))


def _mods(document: Document, mods: list[Mod]) -> Iterator[ModSpec]:
    for number, mod in enumerate(mods):
        loc: Loc = ("network", "mods", number)
        has_config = "config" in mod.model_fields_set and document.described((*loc, "config")) != "null"
        written = (*loc, "config") if has_config else loc
        yield ModSpec(
            mod.name,
            mod.config,
            mod.enabled,
            mod.version,
            line=document.begin_of(loc)[0],
            named_at=document.begin_of((*loc, "name")),
            place_of=document.places_in(written),
            versions=tuple(versions_of(document, mod, loc)),
            watch=tuple(mod.watch),
            runs_on=mod.runs_on,
        )


def _listen(network: Network, unread: list[Loc]) -> tuple[str, int, list[str]]:
    """Return host and port, of the first HTTP transport or beside `name`, and keys without effect.

    Only a loopback address is taken from a file: the command line asks for any other.
    """
    given = network.model_fields_set
    found: Http | Network | None
    older: list[str] = [key for key in ("transport", "transport_config", "host", "port") if key in given]
    if "transports" in given:
        path, found, unused = _served(network, unread)
        unused = [*older, *unused]
    elif network.transport not in ("http", "websocket"):  # as in OpenAgents, "websocket" meant "http"
        path, found, unused = "", None, older
    elif "transport_config" in given:
        path, found = "transport_config.", network.transport_config
        unused = [key for key in older if key in ("host", "port")]
    else:
        path, found, unused = "", network, []
    if found is None:
        return LOOPBACK, DEFAULT_PORT, unused
    if is_loopback(found.host):
        return LOOPBACK if found.host == "localhost" else found.host, found.port, unused
    return LOOPBACK, found.port, [*unused, f"{path}host"]


def _served(network: Network, unread: list[Loc]) -> tuple[str, Http | None, list[str]]:
    chosen = next((n for n, each in enumerate(network.transports) if each.type == "http"), None)
    unused: list[str] = []
    for number in range(len(network.transports)):
        loc: Loc = ("network", "transports", number)
        unused += [path_of(each) for each in unread if each[:3] == loc] if number == chosen else [path_of(loc)]
    if chosen is None:
        return "", None, unused
    return f"transports[{chosen}].config.", network.transports[chosen].config, unused
