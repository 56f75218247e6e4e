"""Which ids hold grants (`dev.grants` in network.yaml), and what proves that a client may use one of them.

Pure rules over a NetworkConfig. A name alone proves nothing: any process on this machine can claim
it, so a granted id is registered with the admin token, a group's password or its old secret.
"""

from __future__ import annotations

from devserver.errors import EventRefused
from devserver.model.config import AgentGroup, NetworkConfig
from devserver.network.identity import bare, look, same_text


def is_granted(config: NetworkConfig, agent_id: str) -> bool:
    """Return whether network.yaml grants this id anything; without verified secrets never."""
    return config.verify_secrets and bool(config.grants.get(agent_id))


def granted_alike(config: NetworkConfig, agent_id: str) -> str | None:
    """Return the granted id that `agent_id` looks like without being it, or None."""
    if is_granted(config, agent_id):
        return None
    shown = look(agent_id)
    return next((each for each in config.grants if look(each) == shown and is_granted(config, each)), None)


def proving_groups(config: NetworkConfig, agent_id: str) -> tuple[AgentGroup, ...]:
    """Return the groups whose password proves a granted id.

    Those that list the id under `metadata.agents`; where none does, the only group with a password
    beside the default one. Of several such groups a member of the weakest could claim any grant.
    """
    protected = [each for each in config.groups.values() if each.password_hash]
    listing = [each for each in protected if agent_id in listed_in(each)]
    if listing:
        return tuple(listing)
    others = [each for each in protected if each.name != config.default_group]
    return tuple(others) if len(others) == 1 else ()


def proves_grant(config: NetworkConfig, agent_id: str, password_hash: str) -> bool:
    return any(same_text(each.password_hash, password_hash) for each in proving_groups(config, agent_id))


def proofs(config: NetworkConfig, agent_id: str) -> str:
    """Return what an agent can register a granted id with, as words for its refusal."""
    groups = " or ".join(repr(each.name) for each in proving_groups(config, agent_id))
    password = f"the password of the group {groups}, " if groups else ""
    return f"{password}the admin token of this run, or the secret of its last registration"


def grant_notes(config: NetworkConfig) -> tuple[str, ...]:
    """Return what `check` says of grants that no agent can use: a sentence with a line."""
    granted = {agent_id: scopes for agent_id, scopes in config.grants.items() if scopes}
    if granted and not config.verify_secrets:
        return ("dev.grants has no effect: disable_agent_secret_verification lets any client claim any id",)
    return tuple(_note(agent_id) for agent_id in granted if not proving_groups(config, agent_id))


def _note(agent_id: str) -> str:
    line = f"agent_groups: {{trusted: {{password_hash: <SHA-256 of a password>, metadata: {{agents: [{agent_id}]}}}}}}"
    return (
        f"dev.grants.{agent_id}: {agent_id} registers only with the admin token (Authorization: Bearer); "
        f"to let it register with a password, write under network: {line}"
    )


def listed_in(group: AgentGroup) -> tuple[str, ...]:
    """Return the ids under `metadata.agents` of a group, in order."""
    listed = group.metadata.get("agents")
    return tuple(bare(str(each)) for each in listed) if isinstance(listed, list | tuple) else ()


def refuse_unless_proven(config: NetworkConfig, agent_id: str, proven: bool) -> None:
    """Raise EventRefused for an id with grants that was not proved, and for one that looks like such an id."""
    alike = granted_alike(config, agent_id)
    if alike is not None:
        # An agent under the other id would keep the real one out, which must not look like any other.
        raise EventRefused("agent_id_taken", f"the agent id {agent_id!r} looks like {alike!r}, which has grants")
    if is_granted(config, agent_id) and not proven:
        sentence = f"the agent id {agent_id!r} has grants in network.yaml, which a name alone does not prove"
        raise EventRefused("proof_required", f"{sentence}: register with {proofs(config, agent_id)}")
