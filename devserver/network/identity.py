"""The identity of agents: valid ids, secrets and their comparison, groups by password.

Decides and computes; `agents.Directory` keeps the identities.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import string
import unicodedata

from devserver.errors import EventRefused
from devserver.model.config import NetworkConfig
from devserver.model.event import BROADCAST, Address, parse_destination, parse_source

METADATA_LIMIT = 64 * 1024
"""The most bytes of an agent's metadata as JSON."""

_ID_LIMIT = 128
_NOT_IN_IDS = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories that an id must not have: control, format, surrogates, unassigned."""
_OURS = frozenset({BROADCAST, "admin", "local", "anonymous", "stranger"})
"""Names that mean other senders than agents in logs and events."""
_LATIN_BY_LOOK = str.maketrans(
    "авԁеһіјкӏмнорԛѕтухԝԍɡɑαβεηικμνορτυχ",
    "abdehijklmhopqstyxwggaabenikmvoptyx",
)
"""Small letters of Cyrillic, Greek and phonetics that look Latin, as such or as capitals."""
_SECRET_LETTERS = string.ascii_letters + string.digits
_SECRET_LENGTH = 64


def agent_id_problem(agent_id: object) -> str | None:
    """Return why `agent_id` cannot be an agent's id, or None.

    Beside the rule for characters an id must name an agent when it is a source or destination:
    "mod:wiki" or "broadcast" would let an agent pass for another sender.
    """
    if not isinstance(agent_id, str) or not 1 <= len(agent_id) <= _ID_LIMIT or not _is_printable(agent_id):
        return f"an agent id is printable text of 1 to {_ID_LIMIT} characters, without spaces around it"
    if not unicodedata.is_normalized("NFC", agent_id):
        return "an agent id is in the Unicode form NFC: letters and their accents are one character"
    # By its look: "System:System" reads as the network's own address.
    shown = look(agent_id)
    itself = Address("agent", shown)
    if shown in _OURS or parse_source(shown) != itself or parse_destination(shown) != itself:
        return f"{agent_id!r} is the address of something else and cannot be an agent's id"
    return None


def look(agent_id: str) -> str:
    """Return the look of an id to a person: ids with the same look are confused.

    Without case, width and style of its letters, and with the Latin letter for a letter of another
    alphabet that looks alike. An accent is seen, so "béa" does not look like "bea".
    """
    plain = unicodedata.normalize("NFKC", agent_id).casefold().translate(_LATIN_BY_LOOK)
    return unicodedata.normalize("NFC", plain)


def _is_printable(text: str) -> bool:
    return text == text.strip() and _NOT_IN_IDS.isdisjoint(map(unicodedata.category, text))


def checked_metadata(metadata: object) -> bytes:
    """Return a new agent's metadata as JSON; raises EventRefused if it cannot be sent on."""
    if metadata is None:
        return b"{}"
    if not isinstance(metadata, dict):
        raise EventRefused("bad_metadata", f"metadata is an object, not {type(metadata).__name__}")
    try:
        written = json.dumps(metadata, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise EventRefused("bad_metadata", f"metadata cannot be written as JSON: {error}") from error
    if len(written) > METADATA_LIMIT:
        sentence = f"metadata has at most {METADATA_LIMIT} bytes as JSON, this one has {len(written)}"
        raise EventRefused("bad_metadata", sentence)
    return written


def bare(agent_id: str) -> str:
    """Return an agent's id without the role that OpenAgents allows before it: "agent:a" is "a"."""
    return agent_id.removeprefix("agent:")


def new_secret() -> str:
    """Return a secret that proves an agent: 64 random letters and digits."""
    return "".join(secrets.choice(_SECRET_LETTERS) for _ in range(_SECRET_LENGTH))


def secret_digest(secret: str) -> str:
    """Return the SHA-256 of a secret in hexadecimal; only this is kept."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


NO_SECRET = secret_digest(new_secret())
"""Replaces the secret of an unknown agent: an unknown id is refused as a wrong secret is."""


def proves(secret: object, digest: str) -> bool:
    """Return whether `digest` was made of `secret`; a value that is not text proves nothing."""
    return hmac.compare_digest(secret_digest(secret if isinstance(secret, str) else ""), digest)


def choose_group(config: NetworkConfig, password_hash: str, group: str | None) -> str:
    """Choose the group that an agent joins, by the rules of OpenAgents (contract, B5).

    A named group must exist and its password be right. Without a name the first group with that
    password, otherwise the default group, unless the network requires a password. Raises
    EventRefused.
    """
    if group is not None:
        wanted = config.groups.get(group)
        if wanted is None and group != config.default_group:
            raise EventRefused("unknown_group", f"there is no group {group!r}")
        needed = wanted.password_hash if wanted is not None else ""
        if (needed and not same_text(needed, password_hash)) or (config.requires_password and not needed):
            raise EventRefused("wrong_password", f"that is not the password of the group {group!r}")
        return group
    for each in config.groups.values():
        if each.password_hash and same_text(each.password_hash, password_hash):
            return each.name
    if config.requires_password:
        reason = "Password authentication required: this network takes the password of one of its groups"
        raise EventRefused("password_required", reason)
    return config.default_group


def same_text(one: str, other: str) -> bool:
    """Compare two secrets in constant time."""
    return hmac.compare_digest(one.encode("utf-8", "surrogatepass"), other.encode("utf-8", "surrogatepass"))
