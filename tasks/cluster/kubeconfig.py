"""Reading a kubeconfig as kubectl does: relative paths, token files that change, exec plugins.

Nothing of its content is ever in an error: names of contexts, files and commands only.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from kubernetes.aio import client, config
from kubernetes.aio.config.kube_config import KubeConfigLoader

from tasks.cluster.errors import ClusterUnreachable
from tasks.fleet.model import Cluster, KubeadmProvider, SecretRef
from tasks.outcomes import Secret

EXEC_TIMEOUT_S = 30.0
_NOT_ONE = (TypeError, AttributeError, KeyError, ValueError)


class NoSuchContext(Exception):
    """A kubeconfig has no context of that name; the message has those that there are."""


def kubectls_cluster(given: Path | None, context: str | None) -> tuple[Cluster, Secret]:
    """The cluster that kubectl would talk to, where no fleet file declares one, and its kubeconfig.

    given: the kubeconfig; None: those of `$KUBECONFIG`, else `~/.kube/config`
    context: None: the current one
    Raises ClusterUnreachable when there is none or it is no good, and NoSuchContext.
    """
    listed = os.environ.get("KUBECONFIG", "").split(os.pathsep)
    paths = [given] if given else [Path(path).expanduser() for path in listed if path] or [_DEFAULT.expanduser()]
    there = [path.absolute() for path in paths if path.exists()]
    if not there:
        raise ClusterUnreachable(
            f"there is no kubeconfig {' nor '.join(map(str, paths))}: name one with --kubeconfig, or a fleet file"
            " with --fleet."
        )
    cluster = Cluster(str(there[0]), KubeadmProvider(), SecretRef(file=there[0]), None)
    try:
        merged = _merged([(path.parent, _mapping(yaml.safe_load(path.read_text(encoding="utf-8")))) for path in there])
        names = [str(entry["name"]) for entry in merged["contexts"]]
    except OSError as error:
        raise _unusable(cluster, f"{error.strerror or type(error).__name__}: {error.filename}") from None
    except yaml.YAMLError:
        raise _unusable(cluster, "it is not YAML") from None
    except _NOT_ONE:
        raise _unusable(cluster, "it has not the shape of one") from None
    chosen = context or str(merged["current-context"] or "")
    if chosen not in names:
        why = f"has no context {chosen}" if chosen else "has no current context: choose one with --context"
        raise NoSuchContext(f"the kubeconfig {why} ({', '.join(names) or 'there is none'})")
    return replace(cluster, name=chosen, context=chosen), Secret(yaml.safe_dump(merged))


_DEFAULT = Path("~/.kube/config")
_LISTS = ("clusters", "users", "contexts")
_PATHS = ("certificate-authority", "client-certificate", "client-key", "tokenFile")


def _merged(documents: list[tuple[Path, dict[str, Any]]]) -> dict[str, Any]:
    """Kubeconfigs as one, paths made absolute: the first to name something wins, as kubectl has it."""
    whole: dict[str, Any] = {"apiVersion": "v1", "kind": "Config", "current-context": None}
    whole |= {kind: [] for kind in _LISTS}
    for folder, document in documents:
        whole["current-context"] = whole["current-context"] or document.get("current-context")
        for kind in _LISTS:
            taken = {entry["name"] for entry in whole[kind]}
            for entry in document.get(kind) or ():
                if entry["name"] not in taken:
                    inner = entry.get(kind[:-1]) or {}
                    whole[kind].append({**entry, kind[:-1]: _anchored(inner, folder)})
    return whole


def _anchored(inner: dict[str, Any], folder: Path) -> dict[str, Any]:
    fixed: dict[str, Any] = {key: str(folder / inner[key]) for key in _PATHS if inner.get(key)}
    command = (inner.get("exec") or {}).get("command", "")
    if "/" in command:
        fixed["exec"] = {**inner["exec"], "command": str(folder / command)}
    return {**inner, **fixed}


async def client_settings(cluster: Cluster, kubeconfig: Secret) -> Any:
    """The official client's configuration for one cluster. Relative paths start at the kubeconfig's folder.

    Raises ClusterUnreachable with what is wrong with the kubeconfig.
    """
    settings = client.Configuration()
    settings.host = ""
    settings.retries = None
    try:
        document = _mapping(yaml.safe_load(kubeconfig.reveal()))
        folder = str(cluster.kubeconfig.file.parent) if cluster.kubeconfig.file else ""
        if cluster.context is None and len(contexts := document.get("contexts") or ()) > 1:
            names = ", ".join(str(entry.get("name")) for entry in contexts)
            why = "it has several contexts, and the current one may change"
            raise _unusable(cluster, f"{why}: set clusters.{cluster.name}.context ({names})")
        there = [str(entry.get("name")) for entry in document.get("contexts") or ()]
        if cluster.context is not None and cluster.context not in there:
            raise _unusable(cluster, f"it has no context {cluster.context} ({', '.join(there) or 'there is none'})")
        loader = KubeConfigLoader(document, active_context=cluster.context, config_base_path=folder)
        async with asyncio.timeout(EXEC_TIMEOUT_S):
            await loader.load_and_set(settings)
        user = _user(document, loader.current_context)
    except TimeoutError:
        raise _unusable(cluster, f"its exec plugin gave no credential within {EXEC_TIMEOUT_S:.0f} s") from None
    except config.ConfigException as error:
        raise _unusable(cluster, str(error)) from None
    except yaml.MarkedYAMLError as error:
        line = f" at line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise _unusable(cluster, f"it is not YAML{line}") from None
    except yaml.YAMLError:
        raise _unusable(cluster, "it is not YAML") from None
    except OSError as error:
        raise _unusable(cluster, f"{error.strerror or type(error).__name__}: {error.filename}") from None
    except _NOT_ONE:
        raise _unusable(cluster, "it has not the shape of one") from None
    if not settings.host:
        raise _unusable(cluster, "its cluster entry names no server")
    if "exec" in user:
        _follow_plugin(cluster, settings, loader, str(user["exec"].get("command", "")))
    elif user.get("tokenFile") and not user.get("token"):
        settings.refresh_api_key_hook = _follow_file(Path(folder) / user["tokenFile"])
    return settings


def _mapping(document: Any) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise TypeError
    return document


def _user(document: dict[str, Any], context: dict[str, Any]) -> dict[str, Any]:
    named = context["context"].get("user")
    return next((entry["user"] or {} for entry in document.get("users") or () if entry["name"] == named), {})


def _follow_file(path: Path) -> Callable[[Any], None]:
    """Tokens that a kubelet projects into a pod are replaced in their file every hour."""

    def read(settings: Any) -> None:
        try:
            token = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return  # in the middle of being replaced: the last one is good for a while
        if token:
            settings.api_key["BearerToken"] = f"Bearer {token}"

    return read


def _follow_plugin(cluster: Cluster, settings: Any, loader: Any, command: str) -> None:
    """Ask an exec plugin again when its credential expires, where it said when.

    The client's loader logs what a plugin says and goes on without a credential: told here instead.
    """
    if "BearerToken" not in settings.api_key and not settings.cert_file:
        raise _unusable(cluster, f"its exec plugin `{command}` gave no credential; its words are in the log")
    if hasattr(loader, "exec_plugin_expiry") and "BearerToken" in settings.api_key:
        settings.refresh_api_key_hook = _renewing(loader)


def _renewing(loader: Any) -> Callable[[Any], Awaitable[None]]:
    one_at_a_time = asyncio.Lock()

    async def renew(settings: Any) -> None:
        async with one_at_a_time:
            await loader.load_from_exec_plugin()  # answers at once while the credential is good
            settings.api_key["BearerToken"] = loader.token

    return renew


def _unusable(cluster: Cluster, why: str) -> ClusterUnreachable:
    return ClusterUnreachable(
        f"the kubeconfig of cluster {cluster.name} cannot be used: {why.rstrip('.')}."
        " Try `kubectl --kubeconfig FILE version` on this machine."
    )
