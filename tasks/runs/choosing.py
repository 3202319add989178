"""Checks what a run was asked to do, before it reads anything from hosts or clusters."""

from __future__ import annotations

from poolkeeper.tasks.fleet import Fleet, Host, Pool, SecretRef, select
from poolkeeper.tasks.fleet.model import AckProvider
from poolkeeper.tasks.outcomes import Invalid


class ChoiceInvalid(Invalid):
    """The run cannot work on the hosts or pools that were asked for."""

    id = "run.choice.invalid"
    expected = "hosts and pools that this flow can work on"
    source = "parameters"


def choose_hosts(fleet: Fleet, pool: str, hosts: str) -> tuple[Host, ...]:
    """The hosts of a run, all of one cluster.

    Raises ChoiceInvalid, and SelectionInvalid of `tasks.fleet`.
    """
    chosen = choose_hosts_of_any(fleet, pool, hosts)
    clusters = sorted({host.pool.cluster.name for host in chosen})
    if len(clusters) > 1:
        raise ChoiceInvalid(
            f"these hosts belong to several clusters: {', '.join(clusters)}",
            next_step="Choose hosts of one cluster, for example by its pool.",
        )
    return chosen


def choose_hosts_of_any(fleet: Fleet, pool: str, hosts: str) -> tuple[Host, ...]:
    """The same, of one cluster or several."""
    if not hosts.strip():
        raise ChoiceInvalid("parameter hosts is empty", next_step="Set hosts to `all`, or to the hosts that you mean.")
    expression = f"pool={pool},{hosts}" if pool else hosts
    chosen = select(fleet, expression)
    if not chosen:
        both = " A comma means *and*; write `fra1-n01|fra1-n02` for several hosts." if "," in hosts else ""
        raise ChoiceInvalid(
            f"no active host of the fleet file matches `{expression}`", next_step=f"Correct pool or hosts.{both}"
        )
    return chosen


def secrets_of(hosts: tuple[Host, ...]) -> set[SecretRef]:
    """Every secret that a run over these hosts reads."""
    found = {host.ssh.key for host in hosts} | {host.pool.cluster.kubeconfig for host in hosts}
    for provider in {host.pool.cluster.provider for host in hosts}:
        if isinstance(provider, AckProvider):
            found |= {provider.access_key_id, provider.access_key_secret}
    return {reference for reference in found if reference is not None}


def choose_pools(fleet: Fleet, pool: str) -> tuple[str, ...]:
    """One pool by name, or every one. Raises ChoiceInvalid."""
    if pool and pool not in fleet.pools:
        raise ChoiceInvalid(
            f"the fleet file has no pool {pool}", next_step=f"Choose one of its pools: {', '.join(fleet.pools)}."
        )
    return (pool,) if pool else tuple(fleet.pools)


def only_pool(hosts: tuple[Host, ...]) -> Pool:
    """The one pool of a rollout's hosts: its limits, its lease. Raises ChoiceInvalid."""
    pools = {host.pool.name: host.pool for host in hosts}
    if len(pools) > 1:
        raise ChoiceInvalid(
            f"a rollout works on one pool, and these hosts are in {len(pools)}: {', '.join(sorted(pools))}",
            next_step="Choose hosts of one pool.",
        )
    return next(iter(pools.values()))


def refuse_split_domains(fleet: Fleet, hosts: tuple[Host, ...]) -> None:
    """Nodes of a domain in several clusters cannot be counted from one cluster. Raises ChoiceInvalid."""
    for name in sorted({host.domain.name for host in hosts if host.domain is not None}):
        inside = [h for h in fleet.hosts.values() if h.active and h.domain is not None and h.domain.name == name]
        if len(clusters := sorted({h.pool.cluster.name for h in inside})) > 1:
            raise ChoiceInvalid(
                f"domain {name} has hosts in clusters {', '.join(clusters)}, so its nodes that are down cannot be"
                " counted from one cluster",
                next_step="Declare one domain for each of these clusters in the fleet file.",
            )
