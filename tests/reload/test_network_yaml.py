"""What a network.yaml that is in order asks for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from devserver.config.network_yaml import parse_network, read_network
from devserver.errors import ConfigError
from devserver.model.config import AgentGroup, ModSpec, NetworkConfig
from devserver.model.lifecycle import Limits, RestartPolicy, RestartRules
from devserver.model.names import mod_name_problem

NAMED = "network:\n  name: demo\n"

FULL = """\
network:
  name: "Demo"
  mode: centralized
  node_id: demo-1
  transports:
    - type: grpc
      config: {port: 8600}
    - type: http
      config: {port: 8800, host: 0.0.0.0, serve_mcp: true}
  recommended_transport: grpc
  default_agent_group: guest
  requires_password: false
  agent_groups:
    admin:
      description: ""
      password_hash: 8c6976e5b5410415
      metadata: {permissions: [all]}
    guest:
  disable_agent_secret_verification: true
  agent_timeout: 60
  max_connections: 20
  encryption_enabled: false
  studio_theme: dark
  mods:
    - name: mods.wiki
      config: {pages: 50, ratio: 0.5, strict: true, note: null, version: 1.10, tags: [a, "1"]}
    - name: ./echo
      enabled: false
network_profile:
  required_openagents_version: 0.80
metadata: {team: core}
log_level: INFO
dev:
  mod_paths: [mods, ../shared]
  grants: {tester: ["mods:write", read]}
  limits: {drain: 1, linger: 2.5, held_events: 10}
  restart: {policy: ask, drain: 3}
"""


def test_every_key_of_a_full_file_is_honoured_or_named_as_unused() -> None:
    """A file with all sections becomes one value, and what has no effect is in `unused`."""
    expected = NetworkConfig(
        name="Demo",
        node_id="demo-1",
        port=8800,
        mods=(
            ModSpec(
                "mods.wiki",
                {"pages": 50, "ratio": 0.5, "strict": True, "note": None, "version": "1.10", "tags": ["a", "1"]},
            ),
            ModSpec("./echo", enabled=False),
        ),
        groups={
            "admin": AgentGroup("admin", "8c6976e5b5410415", metadata={"permissions": ["all"]}),
            "guest": AgentGroup("guest"),
        },
        verify_secrets=False,
        agent_timeout=60.0,
        max_agents=20,
        metadata={"team": "core"},
        profile={"required_openagents_version": "0.80"},
        mod_paths=("mods", "../shared"),
        grants={"tester": ("mods:write", "read")},
        limits=Limits(drain=1.0, linger=2.5, held_events=10),
        restart=RestartRules(RestartPolicy.ASK, 3.0),
        unused=(
            "log_level",
            "encryption_enabled",
            "studio_theme",
            "transports[0]",
            "transports[1].config.serve_mcp",
            "transports[1].config.host",
            "recommended_transport",
        ),
        lost=(
            "transports[0]",
            "transports[1].config.serve_mcp",
            "transports[1].config.host",
            "recommended_transport",
        ),
    )
    assert expected == parse_network(FULL)


def test_a_name_alone_is_a_network_with_every_default() -> None:
    """The smallest file has no mods and listens on the loopback address."""
    assert NetworkConfig("demo") == parse_network(NAMED)


def test_a_mod_knows_the_line_it_is_listed_on() -> None:
    """`line` counts from 1 and points to the entry."""
    config = parse_network(NAMED + "  mods:\n    - name: mods.a\n    - enabled: true\n      name: mods.b\n")
    assert [spec.line for spec in config.mods] == [4, 5]


@pytest.mark.parametrize("name", ["8080", "no-such", "echo.wiki"])
def test_a_name_in_quotes_is_text(name: str) -> None:
    """Quotes make a text of whatever they hold."""
    assert name == parse_network(f'network:\n  name: "{name}"\n').name


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbf" + FULL.encode(),
        FULL.replace("\n", "\r\n"),
        "---\n" + FULL,
        "# a comment\n%YAML 1.1\n---\n" + FULL + "...\n",
        FULL.replace("config: {pages", "config:\t{pages"),
    ],
    ids=["byte order mark", "CRLF", "document start", "directive", "tab between tokens"],
)
def test_marks_that_say_nothing_change_nothing(text: bytes | str) -> None:
    """A byte order mark, CRLF, a document start and tabs that indent nothing are fine."""
    assert parse_network(FULL) == parse_network(text)


def test_json_is_a_network_yaml_too() -> None:
    """The flow style of YAML holds JSON."""
    assert parse_network('{"metadata":{},"network":{"name":"demo"}}').name == "demo"


def test_aliases_and_merges_are_written_out() -> None:
    """A merged mapping gives what the mapping itself does not say."""
    text = NAMED + (
        "  mods:\n"
        "    - name: mods.a\n      config: &base {pages: 5, tags: [x]}\n"
        "    - name: mods.b\n      config: {<<: *base, pages: 7}\n"
        "    - name: mods.c\n      config: {<<: [{pages: 1}, *base]}\n"
        "    - name: mods.d\n      config: *base\n"
    )
    pages = [dict(spec.config) for spec in parse_network(text).mods]
    base = {"pages": 5, "tags": ["x"]}
    assert [base, {"pages": 7, "tags": ["x"]}, {"pages": 1, "tags": ["x"]}, base] == pages


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1", 1),
        ("-3", -3),
        ("0x1F", 31),
        ("0o17", 15),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("TRUE", True),
        ("~", None),
        ("", None),
        ("22:22", "22:22"),
        ("2024-01-01", "2024-01-01"),
        ("y", "y"),
        ("20,10", "20,10"),
        ("'no'", "no"),
        ('"070"', "070"),
        ("1.2.3", "1.2.3"),
        ("a ${b} c", "a ${b} c"),
    ],
)
def test_values_of_a_mods_config_are_those_of_yaml_1_2(written: str, value: object) -> None:
    """No time becomes a number and no word a flag."""
    config = (
        parse_network(f"{NAMED}  mods:\n    - name: mods.a\n      config:\n        key: {written}\n").mods[0].config
    )
    assert [(type(value), value)] == [(type(each), each) for each in config.values()]


@pytest.mark.parametrize(
    ("host", "kept"),
    [
        ("0.0.0.0", "127.0.0.1"),
        ("'::'", "127.0.0.1"),
        ("192.168.1.5", "127.0.0.1"),
        ("example.org", "127.0.0.1"),
        ("'::ffff:127.0.0.1'", "127.0.0.1"),
        ("127.0.0.1.nip.io", "127.0.0.1"),
    ],
)
def test_no_file_exposes_the_network(host: str, kept: str) -> None:
    """A host that is no loopback address is replaced, and that is said."""
    config = parse_network(f"{NAMED}  transports:\n    - type: http\n      config: {{host: {host}}}\n")
    assert (kept, ("transports[0].config.host",)) == (config.host, config.unused)


@pytest.mark.parametrize(("host", "kept"), [("127.0.0.2", "127.0.0.2"), ("'::1'", "::1"), ("localhost", "127.0.0.1")])
def test_another_loopback_address_is_kept(host: str, kept: str) -> None:
    """A file may choose among the addresses of this machine alone."""
    config = parse_network(f"{NAMED}  transports:\n    - type: http\n      config: {{host: {host}}}\n")
    assert (kept, ()) == (config.host, config.unused)


@pytest.mark.parametrize(
    ("keys", "port", "unused"),
    [
        ("  port: 8801\n", 8801, ()),
        ("  transport: websocket\n  port: 8802\n", 8802, ()),
        ("  transport: http\n  transport_config: {port: 8803}\n  port: 1\n", 8803, ("port",)),
        ("  transport: grpc\n  port: 8804\n", 8700, ("transport", "port")),
        ("  transports: []\n  port: 8805\n", 8700, ("port",)),
        ("  transports:\n    - type: http\n", 8700, ()),
        ("  transports:\n    - type: mcp\n      config: {port: null}\n", 8700, ("transports[0]",)),
        (
            "  transports:\n    - {type: http, config: {port: 1}}\n    - {type: http, config: {port: 2}}\n",
            1,
            ("transports[1]",),
        ),
    ],
)
def test_the_port_is_that_of_the_first_http_transport_or_of_the_older_keys(
    keys: str, port: int, unused: tuple[str, ...]
) -> None:
    """What else names a port is unused."""
    config = parse_network(NAMED + keys)
    assert (port, unused) == (config.port, config.unused)


@pytest.mark.parametrize(
    ("keys", "seconds"),
    [("", 180.0), ("  connection_timeout: 10\n", 60.0), ("  connection_timeout: 10\n  agent_timeout: 5\n", 5.0)],
)
def test_an_agent_times_out_after_six_connection_timeouts_unless_its_own_says_else(keys: str, seconds: float) -> None:
    """`agent_timeout` wins over what follows from `connection_timeout`."""
    assert seconds == parse_network(NAMED + keys).agent_timeout


@pytest.mark.parametrize("keys", ["dev:\n", "dev: {}\n", "network_profile:\nmetadata: null\n", "dev: {limits: }\n"])
def test_an_empty_section_says_nothing(keys: str) -> None:
    """A section of which all lines are commented out is as good as none."""
    assert NetworkConfig("demo") == parse_network(NAMED + keys)


def test_a_decentralized_mode_is_unused() -> None:
    """There is one network, and a file that wishes for many is told."""
    assert parse_network(NAMED + "  mode: decentralized\n").unused == ("mode",)


def test_a_thousand_mods_are_read() -> None:
    """The number of mods has no limit of its own."""
    listed = "".join(f"    - name: mods.m{number}\n      config: {{n: {number}}}\n" for number in range(1000))
    assert len(parse_network(f"{NAMED}  mods:\n{listed}").mods) == 1000


@pytest.mark.parametrize("name", ["mods.echo", "echo", "_a.b2.c", "./echo", "a.b.c.d.e.f.g.h", "openagents.mods.x.y"])
def test_dotted_python_names_name_mods(name: str) -> None:
    """Up to eight parts, or one part in the folder `mods`."""
    assert mod_name_problem(name) is None


def test_a_file_is_read_from_disk(tmp_path: Path) -> None:
    """`read_network` gives what `parse_network` gives for the bytes of the file."""
    path = tmp_path / "network.yaml"
    path.write_text(FULL, encoding="utf-8")
    assert parse_network(FULL) == read_network(path)


def test_a_link_to_a_file_is_followed(tmp_path: Path) -> None:
    """A network.yaml may be a symbolic link."""
    (tmp_path / "real.yaml").write_text(NAMED, encoding="utf-8")
    (tmp_path / "network.yaml").symlink_to(tmp_path / "real.yaml")
    assert read_network(tmp_path / "network.yaml").name == "demo"


def test_reading_leaves_no_file_open(tmp_path: Path) -> None:
    """Neither success nor refusal keeps a descriptor."""
    path = tmp_path / "network.yaml"
    path.write_text(NAMED, encoding="utf-8")
    before = len(os.listdir("/proc/self/fd"))
    read_network(path)
    with pytest.raises(ConfigError):
        read_network(tmp_path)
    assert before == len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("values", ["", "{}", "{description: x}", "{password_hash: }", "{password_hash: ''}"])
def test_a_group_needs_no_password_where_the_network_requires_none(values: str) -> None:
    """As in OpenAgents since 0.9: agents join such a group by its name."""
    config = parse_network(f"{NAMED}  agent_groups:\n    open: {values}\n")
    assert config.groups["open"].password_hash == ""


@pytest.mark.parametrize(
    ("keys", "lost"),
    [
        ("  message_queue_size: 5\n  discovery_interval: 3\n", ()),
        ("  auto_start_agents: true\n", ("auto_start_agents",)),
        ("  auto_start_agents: false\n", ()),
        ("  transports: [{type: grpc}, {type: http, config: {serve_mcp: false}}]\n", ("transports[0]",)),
        ("external_access: {instruction: x}\nlog_level: info\n", ("external_access",)),
    ],
)
def test_keys_that_are_lost_here_are_told_from_those_without_effect_anywhere(keys: str, lost: tuple[str, ...]) -> None:
    """`unused` has both; `lost` has what OpenAgents would do."""
    config = parse_network(NAMED + keys)
    assert (config.lost, set(lost) <= set(config.unused)) == (lost, True)
