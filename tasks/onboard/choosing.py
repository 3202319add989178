"""What a run was asked to do, checked before anything is read from outside."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from tasks.fleet import Fleet, Host, SecretRef, select
from tasks.fleet.model import AckProvider
from tasks.onboard.preflight import REGISTRY


class ChoiceInvalid(Exception):
    """A run was asked for something that it cannot do; the message says what to ask instead."""


def choose_hosts(fleet: Fleet, pool: str, hosts: str) -> tuple[Host, ...]:
    """The hosts of a run, all of one cluster.

    Raises ChoiceInvalid, and SelectionInvalid of `tasks.fleet`.
    """
    if not hosts.strip():
        raise ChoiceInvalid("hosts is empty: write `all` for every host, or which ones")
    expression = f"pool={pool},{hosts}" if pool else hosts
    chosen = select(fleet, expression)
    if not chosen:
        raise ChoiceInvalid(f"no active host of the fleet file matches `{expression}`")
    clusters = sorted({host.pool.cluster.name for host in chosen})
    if len(clusters) > 1:
        raise ChoiceInvalid(f"these hosts belong to several clusters ({', '.join(clusters)}); choose a pool of one")
    return chosen


def check_skips(skips: Mapping[str, str]) -> Mapping[str, str]:
    """The checks to skip, each one known and with a reason. Raises ChoiceInvalid."""
    for name, reason in skips.items():
        if name not in REGISTRY:
            near = difflib.get_close_matches(name, REGISTRY, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ChoiceInvalid(f"skip_checks: there is no check {name}{hint}")
        if not reason.strip():
            raise ChoiceInvalid(f"skip_checks: say why {name} is skipped; the reason is recorded")
    return skips


def secrets_of(hosts: tuple[Host, ...]) -> set[SecretRef]:
    """Every secret that a run over these hosts reads."""
    found = {host.ssh.key for host in hosts} | {host.pool.cluster.kubeconfig for host in hosts}
    for provider in {host.pool.cluster.provider for host in hosts}:
        if isinstance(provider, AckProvider):
            found |= {provider.access_key_id, provider.access_key_secret}
    return {reference for reference in found if reference is not None}
