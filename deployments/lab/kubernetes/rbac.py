"""What a user may do: Roles, ClusterRoles and their bindings, asked for one request at a time.

Rules: k8s.io/kubernetes, plugin/pkg/auth/authorizer/rbac (v1.36). Aggregated ClusterRoles are not built.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from poolkeeper.deployments.lab.kubernetes.identity import AUTHENTICATED, MASTERS, User
from poolkeeper.deployments.lab.kubernetes.store import Store

Json = dict[str, Any]

_GROUP = "rbac.authorization.k8s.io"
_OPEN_TO_ALL = frozenset({"/healthz", "/livez", "/readyz", "/version"})
_OPEN_TO_USERS = ("/api", "/apis", "/openapi")


@dataclass(frozen=True, slots=True)
class Attributes:
    """What is asked for, in the words of RBAC."""

    verb: str
    group: str = ""
    resource: str = ""
    """Empty: a path that is no resource."""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""

    @property
    def qualified(self) -> str:
        """`pods`, `pods/log`."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


def allowed(store: Store, user: User, asked: Attributes) -> bool:
    """Whether the user may."""
    if MASTERS in user.groups or _is_open(user, asked):
        return True
    return any(_permits(rule, asked) for rule in rules_for(store, user, asked.namespace))


def _is_open(user: User, asked: Attributes) -> bool:
    if not asked.resource:
        base = "/" + asked.path.strip("/").split("/")[0]
        if asked.verb in ("get", "head") and base in _OPEN_TO_ALL:
            return True
        return asked.verb == "get" and AUTHENTICATED in user.all_groups and base in _OPEN_TO_USERS
    own_review = asked.group == "authorization.k8s.io" and asked.resource.startswith("selfsubject")
    return own_review and asked.verb == "create" and AUTHENTICATED in user.all_groups


def rules_for(store: Store, user: User, namespace: str) -> Iterator[Json]:
    """Every rule that holds for a user in a namespace (empty: cluster-wide ones only)."""
    for binding in store.list(f"clusterrolebindings.{_GROUP}"):
        if _binds(binding, user):
            yield from _rules(store, binding["roleRef"], "")
    if not namespace:
        return
    for binding in store.list(f"rolebindings.{_GROUP}", namespace):
        if _binds(binding, user):
            yield from _rules(store, binding["roleRef"], namespace)


def _binds(binding: Json, user: User) -> bool:
    for subject in binding.get("subjects") or ():
        kind, name = subject.get("kind"), subject.get("name")
        if kind == "User" and name == user.name:
            return True
        if kind == "Group" and name in user.all_groups:
            return True
        if kind == "ServiceAccount":
            namespace = subject.get("namespace") or binding["metadata"].get("namespace", "")
            if user.name == f"system:serviceaccount:{namespace}:{name}":
                return True
    return False


def _rules(store: Store, role: Json, namespace: str) -> list[Json]:
    if role.get("kind") == "ClusterRole":
        found = store.find(f"clusterroles.{_GROUP}", role["name"])
    else:
        found = store.find(f"roles.{_GROUP}", role["name"], namespace)
    return list((found or {}).get("rules") or ())


def _permits(rule: Json, asked: Attributes) -> bool:
    verbs = rule.get("verbs") or ()
    if "*" not in verbs and asked.verb not in verbs:
        return False
    if not asked.resource:
        paths = rule.get("nonResourceURLs") or ()
        return any(p == asked.path or (p.endswith("*") and asked.path.startswith(p[:-1])) for p in paths)
    groups, kinds = rule.get("apiGroups") or (), rule.get("resources") or ()
    names = rule.get("resourceNames") or ()
    return (
        ("*" in groups or asked.group in groups)
        and (
            "*" in kinds or asked.qualified in kinds or (bool(asked.subresource) and f"*/{asked.subresource}" in kinds)
        )
        and (not names or asked.name in names)
    )


def refusal(user: User, asked: Attributes) -> str:
    """Why not, as upstream words it."""
    if not asked.resource:
        return f'User "{user.name}" cannot {asked.verb} path "{asked.path}"'
    where = f'in the namespace "{asked.namespace}"' if asked.namespace else "at the cluster scope"
    return f'User "{user.name}" cannot {asked.verb} resource "{asked.qualified}" in API group "{asked.group}" {where}'
