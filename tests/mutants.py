"""Mutations of protecting code, one at a time: every one has to be caught by the tests named with it.

`make mutate` runs them in a copy of the tree. A mutation that survives means that protection could be
lost without a red test. `tests/security/test_protecting_code.py` finds those that have to follow the code.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_COPIED = ("devserver", "tests", "mods", "network.yaml", "pyproject.toml", "README.md")


@dataclass(frozen=True)
class Mutation:
    """One change of a file, and the tests that must notice it."""

    file: str
    text: str
    instead: str
    tests: str


_PROTECTING = "tests/security/test_protecting_code.py"
_GRANTS = "tests/network/test_grants.py"
_AGENTS = "tests/network/test_agents.py"
_OUTBOX = "tests/network/test_outbox.py"
_ANSWERS = "tests/network/test_answers.py"
_STORE = "tests/bridge/test_store.py"
_RUN_FILE = "tests/test_runfile.py"
_GATE = "tests/api/test_api_gate.py"
_SYSTEM = "tests/network/test_system.py"
_STRICT = "tests/api/test_api_strict.py"
_EXPOSED = "tests/security/test_exposed.py"
_SECRETS = "tests/security/test_secrets.py"
_HELD = "tests/api/test_api_held.py"
_PAGE = "tests/api/test_api_page.py"

MUTATIONS = (
    Mutation("network/identity.py",
             'hmac.compare_digest(secret_digest(secret if isinstance(secret, str) else ""), digest)',
             'secret_digest(secret if isinstance(secret, str) else "") == digest', _PROTECTING),
    Mutation("network/identity.py",
             'hmac.compare_digest(one.encode("utf-8", "surrogatepass"), other.encode("utf-8", "surrogatepass"))',
             "one == other", _PROTECTING),
    Mutation("transports/inbound.py", "any(same_text(each, self._token) for each in shown)", "self._token in shown",
             _PROTECTING),
    Mutation("transports/http/gate.py", "hmac.compare_digest(credential.strip(), token.encode())",
             "credential.strip() == token.encode()", _PROTECTING),
    Mutation("control/page/__init__.py",
             "for ticket, until in self._unused if same_text(shown, ticket)",
             "for ticket, until in self._unused if shown == ticket", _PROTECTING),
    Mutation("loader/locate.py", 'name.startswith(f"{each}.")', "name.startswith(each)", _PROTECTING),
    Mutation("reload/apply.py", "await self._undo.pop()()", "await self._undo.pop(0)()", _PROTECTING),
    Mutation("network/identity.py", "_NOT_IN_IDS.isdisjoint(", "not _NOT_IN_IDS.issuperset(", _AGENTS),
    Mutation("network/identity.py", "shown in _OURS or ", "", _AGENTS),
    Mutation("network/identity.py", "if len(written) > METADATA_LIMIT:", "if False:", _AGENTS),
    Mutation("network/grants.py", "return config.verify_secrets and bool(", "return bool(", _GRANTS),
    Mutation("network/grants.py", "each.name != config.default_group", "True", _GRANTS),
    Mutation("network/grants.py", "if len(others) == 1 else ()", "", _GRANTS),
    Mutation("network/grants.py", "if listing:", "if False:", _GRANTS),
    Mutation("network/grants.py", "look(each) == shown", "each == agent_id", _GRANTS),
    Mutation("network/grants.py", "and not proven:", "and False:", _GRANTS),
    Mutation("network/agents.py", "proven = trusted or ", "proven = True or ", _GRANTS),
    Mutation("network/agents.py", 'row.get("proven") is True', "True", _GRANTS),
    Mutation("network/agents.py", "agent if proven or not self._config.verify_secrets else None", "agent", _AGENTS),
    Mutation("network/agents.py", "if len(self._agents) >= self._config.max_agents:", "if False:", _AGENTS),
    Mutation("network/agents.py", "alike := self._looks.get(look(agent_id))", "alike := None", _AGENTS),
    Mutation("network/agent.py", "if self.sockets > 0 or self.host:\n            return True", "pass", _AGENTS),
    Mutation("network/agent.py", "return now - self.seen < HELD_SECONDS", "return False", _AGENTS),
    Mutation("network/accounts.py", "if fits and owned + size <= bound.each:", "if fits:", _OUTBOX),
    Mutation("network/accounts.py", "if fits and owned", "if owned", _OUTBOX),
    Mutation("network/accounts.py", "self.used -= letter.size if not letter.holders else 0", "pass", _OUTBOX),
    Mutation("network/outbox.py", "waiting >= self.limit", "False", _OUTBOX),
    Mutation("network/answers.py", "if len(raw) > MOST_ANSWER:", "if False:", _ANSWERS),
    Mutation("network/answers.py", "if given.size > self._each:", "if False:", _ANSWERS),
    Mutation("network/answers.py", "while account.used > self._most:", "while False:", _ANSWERS),
    Mutation("network/answers.py", "pending.is_kept = False", "pass", _ANSWERS),
    Mutation("network/agents.py", "self.accounts.owner_gone(agent.agent_id)", "pass", "tests/network/test_bounds.py"),
    Mutation("network/audit.py", " or len(self._seen) >= _MOST_KINDS", "", "tests/network/test_audit.py"),
    Mutation("network/system.py", "if not principal.may(command.scope):", "if False:", _SYSTEM),
    Mutation("network/system.py", "bare(claimed) != principal.id", "False", _SYSTEM),
    Mutation("transports/http/gate.py", 'and scheme.lower() == b"bearer"', "", _GATE),
    Mutation("transports/http/gate.py", "if request.host in gate.hosts:", "if True:", _GATE),
    Mutation("server/runfile.py", "if stat.S_IMODE(found.st_mode) != 0o600:", "if False:", _RUN_FILE),
    Mutation("server/runfile.py", "if not stat.S_ISREG(found.st_mode):", "if False:", _RUN_FILE),
    Mutation("server/runfile.py", "os.fchmod(handle, 0o700)", "pass", _RUN_FILE),
    Mutation("server/identities.py", "and _DIGEST.fullmatch(row[\"secret_sha256\"]) is not None", "", _STORE),
    Mutation("server/identities.py", "and agent_id_problem(row[\"agent_id\"]) is None", "", _STORE),
    Mutation("server/workspace_files.py", "except (OSError, DevServerError) as error:\n            # The present",
             "except KeyError as error:\n            # The present", "tests/faults/test_ends.py"),
    Mutation("transports/inbound.py", "self._rate.take_back()", "pass", "tests/api/test_api_wire.py"),
    # The gate.
    Mutation("transports/http/gate.py", ' or b"%00" in request.target', "", "tests/api/test_api_raw.py"),
    Mutation("transports/http/gate.py", 'len(request.all(b"host")) != 1', 'not request.all(b"host")',
             "tests/api/test_api_raw.py"),
    Mutation("transports/http/gate.py", 'if request.all(b"transfer-encoding") and request.all(b"content-length"):',
             "if False:", _GATE),
    Mutation("transports/http/gate.py", 'in ((), (own,), (own.removesuffix(b":80"),))',
             'in ((), (own,), (own.removesuffix(b":80"),), (b"null",))', _GATE),
    Mutation("transports/http/gate.py", "sites in _LEADS and _opens_page(request, gate)", "sites in _LEADS", _GATE),
    Mutation("transports/http/gate.py", "route.page and ", "", _GATE),
    Mutation("transports/http/gate.py", ' and request.all(b"sec-fetch-dest") == (b"document",)', "", _GATE),
    Mutation("transports/http/gate.py", 'if request.method == "OPTIONS":', "if False:", _GATE),
    Mutation("transports/http/gate.py", ' or request.all(b"content-encoding")', "", "tests/api/test_api_raw.py"),
    Mutation("transports/http/gate.py", "if request.is_local or not (", "if True or not (", _GATE),
    Mutation("transports/http/gate.py", "return self.near and named", "return named", _GATE),
    Mutation("transports/http/gate.py", " and not any(self.all(each) for each in _FORWARDED)", "", _GATE),
    Mutation("transports/http/gate.py", "if len(given) > 1:", "if False:", _GATE),
    Mutation("transports/http/gate.py", " if name not in _NO_NAMES", "", _GATE),
    Mutation("transports/http/gate.py", "_from_here, _credential)", "_from_here)", _GATE),
    # Strict reading.
    Mutation("transports/strict.py", 'if raw.count(b":") != _keys(value):', "if False:", _STRICT),
    Mutation("transports/strict.py", "if len(found) < len(pairs):\n        keys", "if False:\n        keys", _STRICT),
    Mutation("transports/strict.py", 'if raw.count(b"{") + raw.count(b"[") > MOST_DEPTH:', "if False:", _STRICT),
    Mutation("transports/strict.py", 'raise Malformed("bad_query", "the query names a field twice")', "pass", _STRICT),
    Mutation("transports/strict.py", "max_num_fields=MOST_QUERY_FIELDS", "max_num_fields=None", _STRICT),
    Mutation("transports/strict.py", "elif kind is float and abs(each) >= _WHOLE:", "elif False:", _STRICT),
    # Grants, and what proves them.
    Mutation("transports/inbound.py", "proven = agent.proven and config.verify_secrets", "proven = True",
             "tests/security/test_granted_ids.py"),
    Mutation("transports/inbound.py", "trusted=principal.may(Scope.ADMIN)", "trusted=True",
             "tests/security/test_granted_ids.py"),
    Mutation("transports/inbound.py", "if not principal.may(Scope.JOIN):", "if False:", _EXPOSED),
    # The allow list, and places.
    Mutation("loader/locate.py", "if allowed is not None and not", "if False and not", _PROTECTING),
    Mutation("loader/locate.py", "refused = roots.why_refused(file)", "refused = None",
             "tests/watch/test_mods_that_come_later.py"),
    Mutation("loader/locate.py", "if top in sys.stdlib_module_names", "if False",
             "tests/test_agent_network.py"),
    # Identity.
    Mutation("network/identity.py", " or (config.requires_password and not needed)", "", _AGENTS),
    Mutation("network/identity.py", "if wanted is None and group != config.default_group:", "if False:", _AGENTS),
    Mutation("network/identity.py", 'if not unicodedata.is_normalized("NFC", agent_id):', "if False:", _AGENTS),
    Mutation("network/identity.py", " or parse_destination(shown) != itself", "", _AGENTS),
    # Redaction.
    Mutation("server/redact.py", "text = text.replace(token, HIDDEN)", "pass", _SECRETS),
    Mutation("server/redact.py", "return HIDDEN if self._is_known(secret_digest(match[0])) else match[0]",
             "return match[0]", _SECRETS),
    Mutation("server/redact.py", "if isinstance(value, Mapping):", "if False:", _SECRETS),
    Mutation("server/redact.py", "if dataclasses.is_dataclass(value) and", "if False and", _SECRETS),
    # The run file, and the page.
    Mutation("server/runfile.py", "if found.st_uid != os.geteuid():", "if False:", _RUN_FILE),
    Mutation("server/runfile.py", "os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC", "os.O_DIRECTORY | os.O_CLOEXEC",
             _RUN_FILE),
    Mutation("server/runfile.py", "os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK",
             "os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK", _RUN_FILE),
    Mutation("server/runfile.py", "if found is not None and found.pid == pid:", "if found is not None:", _RUN_FILE),
    Mutation("control/page/__init__.py", "self._shown_again()", "pass", _PAGE),
    Mutation("control/page/__init__.py", "return self._clock() < found[1]", "return True", _PAGE),
    # Exposure.
    Mutation("server/exposure.py", "if len(kept) >= SHORTEST:", "if kept:", _EXPOSED),
    Mutation("server/exposure.py", "return cls(names, kept_token(workspace)) if names else cls()",
             "return cls(names, None)", _EXPOSED),
    # What is held for connections; files of a workspace; a network.yaml without its mods.
    Mutation("transports/http/channel.py", "elif not self.server.account.ask(size - counted, counted):",
             "elif False:", _HELD),
    Mutation("transports/http/channel.py", "self.server.account.keep(-self._counted)", "pass", _HELD),
    Mutation("transports/http/push.py", " and self._carried < MOST_CARRIED", "", _HELD),
    Mutation("config/regular.py", "if not stat.S_ISREG(mode):", "if False:", "tests/cli/test_cli_settings.py"),
    Mutation("server/saves.py", "(self._confirm or _loses_mods(config, plan))", "self._confirm",
             "tests/cli/test_cli_saves.py"),
)  # fmt: skip


def survives(mutation: Mutation, folder: Path) -> str | None:
    """Why a mutation is not caught, or None where it is."""
    file = folder / "devserver" / mutation.file
    before = file.read_text(encoding="utf-8")
    file.write_text(before.replace(mutation.text, mutation.instead), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--timeout=60", mutation.tests]
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)
    finally:
        file.write_text(before, encoding="utf-8")
    return None if done.returncode == 1 else f"the tests ended with code {done.returncode}"


def main() -> int:
    """Try every mutation, or those that have this word in them; the number of those that survive."""
    word = (sys.argv[1:] or [""])[0]
    tried = [each for each in MUTATIONS if word in each.file or word in each.text]
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        for name in _COPIED:
            source = ROOT / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
        survived = 0
        for number, mutation in enumerate(tried, 1):
            why = survives(mutation, folder)
            survived += why is not None
            print(
                f"{number}/{len(tried)} {'SURVIVES' if why else 'caught'} {mutation.file}: {mutation.text[:70]!r}",
                why or "",
                flush=True,
            )
    print(f"{survived} of {len(tried)} mutations survive")
    return survived


if __name__ == "__main__":
    sys.exit(main())
