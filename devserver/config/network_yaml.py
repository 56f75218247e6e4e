"""A network.yaml becomes a `NetworkConfig`, or an error with every problem at its line. Nothing is ever written back.

The keys are those of OpenAgents 0.8.6, and `dev:` for what is ours alone. What has an effect here is read; what has
none is listed as `unused`. Must not import mods or ask whether they exist.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from itertools import islice
from pathlib import Path
from typing import Any

from devserver.config.yaml_text import MAX_BYTES, Place, Source, compose, decode, refuse_size, unquoted
from devserver.config.yaml_values import MAX_GUESSES, Keys, Notes, Section, Value, did_you_mean, near
from devserver.errors import ConfigError
from devserver.model.config import DEFAULT_PORT, AgentGroup, ModSpec, NetworkConfig
from devserver.model.lifecycle import Limits, RestartPolicy, RestartRules
from devserver.model.names import LOOPBACK, is_loopback, mod_name_problem, module_of, shown_name
from devserver.model.principal import Scope

_DAY = 86_400.0
_HIGHEST_COUNT = 1_000_000
_CONNECTION_TIMEOUTS = 6
"""An agent is gone after this many connection timeouts, where `agent_timeout` does not say otherwise."""

_ROOT = Keys(
    read=frozenset({"network", "network_profile", "metadata", "dev"}),
    known=frozenset(
        {"external_access", "service_agents", "log_level", "data_dir", "runtime_limit", "shutdown_timeout"}
        # These belong a level deeper; `_misplaced` says so.
        | {"mods", "transports", "agent_groups"}
    ),
)
_NETWORK = Keys(
    read=frozenset({
        "name", "node_id", "mode", "transports", "manifest_transport", "recommended_transport", "mods",
        "agent_groups", "default_agent_group", "requires_password", "disable_agent_secret_verification",
        "agent_timeout", "connection_timeout", "max_connections",
        "transport", "transport_config", "host", "port",
    }),
    known=frozenset({
        "heartbeat_interval", "auto_start_agents", "initialized", "created_by_version", "message_queue_size",
        "bootstrap_nodes", "discovery_interval", "discovery_enabled", "encryption_enabled", "encryption_type",
        "retry_attempts", "message_timeout", "message_routing_enabled", "identity_enabled", "identity_endpoint",
        "identity_api_key", "identity_auto_register", "identity_origin", "identity_cache_ttl", "metadata",
    }),
)  # fmt: skip
_TRANSPORT = Keys(frozenset({"type", "config"}))
_HTTP = Keys(
    read=frozenset({"host", "port"}),
    known=frozenset({"serve_mcp", "serve_studio", "serve_a2a", "a2a_agent", "a2a_auth", "relay"}),
)
_MOD = Keys(frozenset({"name", "enabled", "config"}))
_GROUP = Keys(frozenset({"password_hash", "description", "metadata"}))
_DEV = Keys(frozenset({"mod_paths", "grants", "limits", "restart"}), strict=True)
_RESTART = Keys(frozenset(each.name for each in fields(RestartRules)), strict=True)
_LIMITS = Keys(frozenset(each.name for each in fields(Limits)), strict=True)

_TRANSPORT_TYPES = frozenset({"http", "websocket", "grpc", "mcp", "a2a", "libp2p", "webrtc"})
_OURS = re.compile(r"^[ \t{]*network[ \t]*:(?:\s|$)|[\"']network[\"'][ \t]*:", re.MULTILINE)
_ROOT_KEY = re.compile(r"^([A-Za-z_]+)[ \t]*:", re.MULTILINE)
_AGENT_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}", re.ASCII)


def read_network(path: Path) -> NetworkConfig:
    """The network that the file at `path` asks for (see `parse_network`).

    At most 256 KiB are read, from regular files only; whatever `path` leads to, opening it does not block.

    Raises ConfigError for a file that cannot be read or used. A file that is no network.yaml is never quoted.
    """
    try:
        data = _read_regular(path)
    except OSError as error:
        raise unquoted(path.name, f"the file cannot be read: {error.strerror or error}") from error
    return parse_network(data, path.name)


def _read_regular(path: Path) -> bytes:
    # Without O_NONBLOCK opening a FIFO waits for somebody to write to it.
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise unquoted(path.name, f"expected a regular file, found {_file_kind(found.st_mode)}")
        refuse_size(found.st_size, path.name)
        with os.fdopen(handle, "rb", closefd=False) as stream:
            return stream.read(MAX_BYTES + 1)
    finally:
        os.close(handle)


def _file_kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a directory"
    return "a FIFO" if stat.S_ISFIFO(mode) else "a device or socket"


def parse_network(text: bytes | str, file: str = "network.yaml") -> NetworkConfig:
    """The network that a text asks for. `file` names the text in errors.

    The text is UTF-8, at most 256 KiB, one document. Scalars are read by YAML 1.2, types are strict, and what would
    have no effect is listed in `unused` by key path, where the keys under `network` go without that prefix.
    The host is the loopback address unless the file names another loopback address.

    Raises ConfigError with all problems, each with its place, three lines around it, and a hint where there is one.
    """
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    source = decode(data, file)
    if not _OURS.search(source.text):
        raise _not_ours(source)
    tree = compose(source)
    notes = Notes(source, list(tree.problems))
    config = _config(Section(Value(tree.root, "", notes), _ROOT))
    notes.raise_problems()
    return replace(config, unused=tuple(notes.unused))


def _not_ours(source: Source) -> ConfigError:
    """The error for a text without a `network:`, which may be any file: not a word of it is told."""
    for found in islice(_ROOT_KEY.finditer(source.text), MAX_GUESSES):
        if near(found[1], {"network"}):
            line = source.text.count("\n", 0, found.start())
            return unquoted(source.file, "the key 'network' is missing", did_you_mean("network"), Place(line, 0))
    message = "expected a mapping that begins with 'network:', found none"
    return unquoted(source.file, message if source.text.strip() else message.replace("none", "an empty file"))


def _config(root: Section) -> NetworkConfig:
    _misplaced(root)
    value = root.required("network")
    if value is None:
        return NetworkConfig("")
    if not value.is_mapping():
        value.mistyped("a mapping", "indent what belongs to it" if value.is_null() else None)
        return NetworkConfig("")
    return _dev(root, _network(root, Section(replace(value, path=""), _NETWORK)))


def _misplaced(root: Section) -> None:
    for key in ("mods", "transports", "agent_groups"):
        value = root.get(key)
        if value is not None:
            value.report_key(f"{key} belongs under 'network:'", "indent it")


def _network(root: Section, network: Section) -> NetworkConfig:
    named = network.required("name")
    host, port = _listen(network)
    default_group = network.text("default_agent_group", "guest")
    requires_password = network.flag("requires_password", False)
    _unserved(network)
    return NetworkConfig(
        name="" if named is None else named.text(""),
        mods=tuple(_mods(network)),
        node_id=network.text("node_id", None),
        host=host,
        port=port,
        groups=_groups(network, default_group, requires_password),
        default_group=default_group,
        requires_password=requires_password,
        verify_secrets=not network.flag("disable_agent_secret_verification", False),
        agent_timeout=_agent_timeout(network),
        max_agents=network.whole("max_connections", 1, _HIGHEST_COUNT, 1000),
        metadata=root.free("metadata"),
        profile=root.free("network_profile"),
    )


def _agent_timeout(network: Section) -> float:
    derived = _CONNECTION_TIMEOUTS * network.seconds("connection_timeout", _DAY, 30.0)
    return network.seconds("agent_timeout", _DAY * _CONNECTION_TIMEOUTS, derived)


def _unserved(network: Section) -> None:
    """Note the wishes for another mode or transport: here it is always one network that speaks HTTP."""
    if network.choice("mode", {"centralized", "decentralized"}, "centralized") != "centralized":
        network.unused("mode")
    for key in ("manifest_transport", "recommended_transport"):
        if network.text(key, None) not in (None, "http"):
            network.unused(key)


def _listen(network: Section) -> tuple[str, int]:
    """Host and port: out of the first HTTP transport, or out of the older keys beside `name`."""
    if "transports" in network:
        network.unused("transport", "transport_config", "host", "port")
        config = _http_config(network)
    else:
        config = _older_config(network)
    if config is None:
        return LOOPBACK, DEFAULT_PORT
    return _host(config), config.whole("port", 1, 65535, DEFAULT_PORT)


def _http_config(network: Section) -> Section | None:
    chosen = None
    for entry in network.items("transports"):
        transport = Section(entry, _TRANSPORT)
        named = transport.required("type")
        serves = named is not None and transport.choice("type", _TRANSPORT_TYPES, "") == "http"
        if serves and chosen is None:
            chosen = transport
        else:
            network.notes.unused.append(entry.path)
    config = chosen.get("config") if chosen else None
    return None if config is None else Section(config, _HTTP)


def _older_config(network: Section) -> Section | None:
    """As OpenAgents has it, "websocket" meant what is "http" now."""
    if network.choice("transport", _TRANSPORT_TYPES, "http") not in ("http", "websocket"):
        network.unused("transport", "transport_config", "host", "port")
        return None
    config = network.get("transport_config")
    if config is None:
        return network
    network.unused("host", "port")
    return Section(config, _HTTP)


def _host(config: Section) -> str:
    """Only a loopback address is taken from a file: being reachable from elsewhere is asked for on the command line."""
    host = config.text("host", LOOPBACK)
    if is_loopback(host):
        return LOOPBACK if host == "localhost" else host
    config.unused("host")
    return LOOPBACK


def _groups(network: Section, default: str, requires_password: bool) -> Mapping[str, AgentGroup]:
    value = network.get("agent_groups")
    groups = {} if value is None else value.entries()
    return {name: _group(name, each, name == default, requires_password) for name, each in groups.items()}


def _group(name: str, value: Value, is_default: bool, requires_password: bool) -> AgentGroup:
    group = Section(value, _GROUP)
    password_hash = _password_hash(group, is_default)
    if password_hash and is_default and not requires_password:
        hint = "write requires_password: true, or choose a default_agent_group without a password"
        value.report_key(f"{value.path} is the default group, which nobody could join without its password", hint)
    description = group.text("description", None, empty=True) or ""
    return AgentGroup(name, password_hash, description, group.free("metadata"))


def _password_hash(group: Section, is_default: bool) -> str:
    """The hash. Only the default group may go without one: any other group would be open to everybody."""
    if is_default:
        return group.text("password_hash", None, empty=True) or ""
    given = group.required("password_hash")
    return "" if given is None else given.text("")


def _mods(network: Section) -> Iterator[ModSpec]:
    """The mods in the order of the file. `./name` and `mods.name` are one mod."""
    first: dict[str, int] = {}
    for entry in network.items("mods"):
        spec = _mod(entry)
        if spec is None:
            continue
        name = module_of(spec.path)
        if name in first:
            entry.report(f"the mod {spec.path} is listed twice: lines {first[name]} and {entry.line}")
        first.setdefault(name, entry.line)
        yield spec


def _mod(entry: Value) -> ModSpec | None:
    if not entry.is_mapping():
        hint = "begin it with 'name:', as in '- name: mods.echo'"
        entry.report(f"{entry.path} is a mapping with the keys name, enabled and config", hint)
        return None
    mod = Section(entry, _MOD)
    config = mod.get("config")
    spec = ModSpec(
        _mod_name(mod),
        mod.free("config"),
        mod.flag("enabled", True),
        entry.line,
        (entry if config is None or config.is_null() else config).place_of,
    )
    return spec if spec.path else None


def _mod_name(mod: Section) -> str:
    """The name, or "" where there is none that can be used."""
    value = mod.required("name")
    name = "" if value is None else value.text("")
    problem = mod_name_problem(name) if name else None
    if value is None or problem is None:
        return name
    value.report(f"{value.path}: {shown_name(name)} cannot name a mod", problem)
    return ""


def _dev(root: Section, config: NetworkConfig) -> NetworkConfig:
    value = root.get("dev")
    if value is None:
        return config
    dev = Section(value, _DEV)
    paths = tuple(each.text("") for each in dev.items("mod_paths")) if "mod_paths" in dev else config.mod_paths
    return replace(config, mod_paths=paths, grants=_grants(dev), limits=_limits(dev), restart=_restart(dev))


def _grants(dev: Section) -> Mapping[str, tuple[str, ...]]:
    value = dev.get("grants")
    grants = {} if value is None else value.entries()
    for agent, each in grants.items():
        if _AGENT_ID.fullmatch(agent) is None:
            each.report_key(f"{agent!a} is no agent id: 1 to 64 out of letters, digits and _ . : -")
    return {agent: tuple(_scope(each) for each in scopes.items()) for agent, scopes in grants.items()}


def _scope(value: Value) -> str:
    scope = value.text("")
    known = [each.value for each in Scope]
    if scope and scope not in known:
        hint = did_you_mean(value.notes.near(scope, known))
        value.report(f"{value.path} is one of {', '.join(known)}", hint)
    return scope


def _restart(dev: Section) -> RestartRules:
    """Who decides on restarts in place: one word, or a section that also says how long handlers have."""
    value, default = dev.get("restart"), RestartRules()
    if value is None:
        return default
    words = [each.value for each in RestartPolicy]
    if not value.is_mapping():
        return RestartRules(RestartPolicy(dev.choice("restart", words, default.policy.value)))
    section = Section(value, _RESTART)
    policy = RestartPolicy(section.choice("policy", words, default.policy.value))
    return RestartRules(policy, section.seconds("drain", _DAY, default.drain))


def _limits(dev: Section) -> Limits:
    value = dev.get("limits")
    if value is None:
        return Limits()
    section, default = Section(value, _LIMITS), Limits()
    found = {each.name: _limit(section, each.name, getattr(default, each.name)) for each in fields(Limits)}
    return Limits(**found)


def _limit(section: Section, name: str, default: float) -> Any:
    if isinstance(default, int):
        return section.whole(name, 1, _HIGHEST_COUNT, default)
    return section.seconds(name, _DAY, default)
