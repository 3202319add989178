"""Reading a kubeconfig as kubectl does (client-go's clientcmd, v1 Config), or refusing it with a sentence.

Types are strict: the text "false" is no truth value. Keys that clientcmd does not know are passed over, as it does.
Nothing of a kubeconfig's content is in an error: positions, names of contexts, clusters, users and files only.

| field | what is done with it |
|---|---|
| `apiVersion`, `kind` | `v1` and `Config`, or absent |
| `current-context` | used where the fleet file names no context, and there is but one |
| `preferences` (`colors`), `extensions` (`name`, `extension`) | nothing, as kubectl; but see `provideClusterInfo` |
| `clusters[].cluster` | |
| `server` | http or https, with its path; without a user or password, which kubectl would send |
| `tls-server-name` | sent as SNI, and verified, in place of the server's host; by hosts too |
| `insecure-skip-tls-verify` | not verified, which every command and run tells; refused beside an authority |
| `certificate-authority`, `-data` | the only authorities; one of the two; without, the system's |
| `proxy-url` | http or https; SOCKS is refused; without, `$HTTPS_PROXY` and `$NO_PROXY` as Go reads them |
| `disable-compression` | answers are asked for uncompressed |
| `users[].user` | over http only `as` counts: kubectl sends no credential there |
| `client-certificate`, `client-key`, `-data` | shown in the handshake; files are read again when they change |
| `token`, `tokenFile` | the file wins and is read again; not in one with `username` |
| `username`, `password` | basic authentication |
| `as`, `as-uid`, `as-groups`, `as-user-extra` | sent as Impersonate headers; not without `as` |
| `auth-provider` (`name`, `config`) | `oidc`: its id-token, until it expires; kubectl renews it. Others are refused |
| `exec` | asked where nothing above is a credential; again as that expires, or the server answers 401 |
| `command`, `args`, `env` | with a slash from the kubeconfig's folder, else by `$PATH`; `env` is added to our own |
| `apiVersion` (of `exec`) | `client.authentication.k8s.io/v1` or `v1beta1`, which the answer has to have as well |
| `interactiveMode` | `Never`, or `IfAvailable`, which it is not; `Always` is refused, and so is none in `v1` |
| `provideClusterInfo` | it is told of the cluster, and of its extension `client.authentication.k8s.io/exec` |
| `installHint` | told where there is no such program |
| `contexts[].context` | |
| `cluster`, `user` | which; both have to be there |
| `namespace` | nothing: every request of ours names its own |
"""

from __future__ import annotations

import os
from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from poolkeeper.tasks.cluster.errors import ClusterUnreachable
from poolkeeper.tasks.fleet.model import Cluster, KubeadmProvider, SecretRef
from poolkeeper.tasks.fleet.problems import Mistake, Path_, dotted
from poolkeeper.tasks.fleet.shape import FileKind
from poolkeeper.tasks.fleet.source import TextInvalid, decoded, plain
from poolkeeper.tasks.fleet.text import Positions
from poolkeeper.tasks.outcomes import Invalid, PoolkeeperError, Secret, quoted

MOST_BYTES = 4_000_000
"""Of a kubeconfig, and of any file that it names."""
EXEC_EXTENSION = "client.authentication.k8s.io/exec"
"""The extension of a cluster that an exec plugin is told of."""
_DEFAULT = Path("~/.kube/config")
_FILE = FileKind("kubeconfig", begin="", name_one="", large="")
_PATHS = ("certificate-authority", "client-certificate", "client-key", "tokenFile")


class NoSuchContext(Invalid):
    """A kubeconfig has no context of that name; the message lists its contexts."""

    id = "cluster.kubeconfig.no-context"
    expected = "the name of a context of the kubeconfig"
    next_step = "Name a context of the kubeconfig with --context."
    source = "kubeconfig"


class KubeconfigUnusable(PoolkeeperError):
    """A kubeconfig cannot be used; the message is the reason, as a clause."""

    id = "cluster.kubeconfig.unusable"
    expected = "a kubeconfig that kubectl can use"
    next_step = "Try `kubectl --kubeconfig FILE version` on this machine."
    source = "kubeconfig"


# the document


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    @model_validator(mode="before")
    @classmethod
    def _absent(cls, value: Any) -> Any:
        """Nothing behind a key is as good as no key."""
        return {key: item for key, item in value.items() if item is not None} if isinstance(value, dict) else value


class _Named(_Part):
    name: str = ""


N = TypeVar("N", bound=_Named)


def _bytes(value: Any) -> Any:
    """The bytes of base64, with line ends between it, as Go reads it."""
    if not isinstance(value, str):
        raise PydanticCustomError("string_type", "")
    try:
        return b64decode(value.replace("\n", "").replace("\r", ""), validate=True)
    except ValueError:
        raise PydanticCustomError("base64", "") from None


def _header(value: str) -> str:
    """Text that can stand in an HTTP header: Go refuses to send any other."""
    if any(letter != "\t" and (letter < " " or letter == "\x7f") for letter in value):
        raise PydanticCustomError("header", "")
    return value


def _once(entries: list[N]) -> list[N]:
    names = [entry.name for entry in entries]
    if len(set(names)) < len(names):
        raise PydanticCustomError("once", "")
    return entries


Base64 = Annotated[bytes, BeforeValidator(_bytes)]
HeaderText = Annotated[str, AfterValidator(_header)]
Once = Annotated[list[N], AfterValidator(_once)]


class Extension(_Named):
    """What others keep in a kubeconfig."""

    extension: Any = None


class ClusterEntry(_Part):
    """Where an API server is, and who vouches for it."""

    server: str = ""
    tls_server_name: str = Field("", alias="tls-server-name")
    insecure_skip_tls_verify: StrictBool = Field(False, alias="insecure-skip-tls-verify")
    certificate_authority: str = Field("", alias="certificate-authority")
    certificate_authority_data: Base64 = Field(b"", alias="certificate-authority-data")
    proxy_url: str = Field("", alias="proxy-url")
    disable_compression: StrictBool = Field(False, alias="disable-compression")
    extensions: Once[Extension] = []


class EnvVar(_Part):
    """A variable for an exec plugin."""

    name: str = ""
    value: str = ""


class ExecEntry(_Part):
    """A program that gives credentials."""

    command: str = ""
    args: list[str] = []
    env: list[EnvVar] = []
    api_version: str = Field("", alias="apiVersion")
    install_hint: str = Field("", alias="installHint")
    provide_cluster_info: StrictBool = Field(False, alias="provideClusterInfo")
    interactive_mode: str = Field("", alias="interactiveMode")


class AuthProviderEntry(_Part):
    """What exec plugins have replaced."""

    name: str = ""
    config: dict[str, str] = {}


class UserEntry(_Part):
    """Who we are to an API server."""

    client_certificate: str = Field("", alias="client-certificate")
    client_certificate_data: Base64 = Field(b"", alias="client-certificate-data")
    client_key: str = Field("", alias="client-key")
    client_key_data: Base64 = Field(b"", alias="client-key-data")
    token: HeaderText = ""
    token_file: str = Field("", alias="tokenFile")
    impersonate: HeaderText = Field("", alias="as")
    impersonate_uid: HeaderText = Field("", alias="as-uid")
    impersonate_groups: list[HeaderText] = Field([], alias="as-groups")
    impersonate_user_extra: dict[str, list[HeaderText]] = Field({}, alias="as-user-extra")
    username: str = ""
    password: str = ""
    auth_provider: AuthProviderEntry | None = Field(None, alias="auth-provider")
    exec: ExecEntry | None = None
    extensions: Once[Extension] = []

    @property
    def has_certificate(self) -> bool:
        """Whether it has a client certificate of its own."""
        return bool(self.client_certificate or self.client_certificate_data)

    @property
    def is_credential(self) -> bool:
        """Whether it is known to the API server without any program."""
        return bool(self.token or self.token_file or self.username or self.password or self.has_certificate)


class ContextEntry(_Part):
    """Which cluster, as which user."""

    cluster: str = ""
    user: str = ""
    namespace: str = ""
    extensions: Once[Extension] = []


class NamedCluster(_Named):
    """One of `clusters`."""

    cluster: ClusterEntry = ClusterEntry()


class NamedUser(_Named):
    """One of `users`."""

    user: UserEntry = UserEntry()


class NamedContext(_Named):
    """One of `contexts`."""

    context: ContextEntry = ContextEntry()


class Preferences(_Part):
    """What nobody uses."""

    colors: StrictBool = False
    extensions: Once[Extension] = []


class Kubeconfig(_Part):
    """The whole document."""

    api_version: str = Field("", alias="apiVersion")
    kind: str = ""
    preferences: Preferences = Preferences()
    clusters: Once[NamedCluster] = []
    users: Once[NamedUser] = []
    contexts: Once[NamedContext] = []
    current_context: str = Field("", alias="current-context")
    extensions: Once[Extension] = []


_MUST_BE = {
    "bool_type": "must be true or false, without quotes",
    "string_type": "must be text: put it in quotes",
    "list_type": "must be a list",
    "dict_type": "must be a block of keys",
    "model_type": "must be a block of keys",
    "model_attributes_type": "must be a block of keys",
    "base64": "is not base64",
    "header": "has a line end or another control character in it",
    "once": "has two entries of one name",
}


# reading it


def kubectls_cluster(given: Path | None, context: str | None) -> tuple[Cluster, Secret]:
    """The cluster that kubectl would talk to, where no fleet file declares one, and its kubeconfig.

    given: the kubeconfig; None: those of `$KUBECONFIG`, else `~/.kube/config`
    context: None: the current one
    Raises ClusterUnreachable when there is none or it is no good, and NoSuchContext.
    """
    listed = os.environ.get("KUBECONFIG", "").split(os.pathsep)
    paths = [given] if given else [Path(path).expanduser() for path in listed if path] or [_DEFAULT.expanduser()]
    there = [path.absolute() for path in dict.fromkeys(paths) if path.exists()]
    if not there:
        raise ClusterUnreachable(
            f"there is no kubeconfig {' nor '.join(map(str, paths))}",
            next_step="Name a kubeconfig with --kubeconfig, or a fleet file with --fleet.",
        )
    cluster = Cluster(str(there[0]), KubeadmProvider(), SecretRef(file=there[0]), None)
    documents = []
    for path in there:
        try:
            documents.append((path.parent, _checked(decoded(read_bytes(path)))))
        except (KubeconfigUnusable, TextInvalid) as error:
            raise unusable(replace(cluster, name=str(path)), str(error)) from None
    merged = _merged(documents)
    names = [str(entry["name"]) for entry in merged["contexts"]]
    chosen = context or str(merged["current-context"] or "")
    if chosen not in names:
        why = f"has no context {chosen}" if chosen else "has no current context"
        raise NoSuchContext(quoted(f"the kubeconfig {why} ({', '.join(names) or 'there is none'})", most=1000))
    return replace(cluster, name=chosen, context=chosen), Secret(yaml.safe_dump(merged))


def read_kubeconfig(cluster: Cluster, kubeconfig: Secret) -> tuple[ClusterEntry, UserEntry]:
    """The entries of one cluster and of us in it. Relative paths start at the kubeconfig's folder, if it has one.

    Raises KubeconfigUnusable with what is wrong with the kubeconfig.
    """
    data = _checked(kubeconfig.reveal())
    folder = cluster.kubeconfig.file.absolute().parent if cluster.kubeconfig.file else None
    document = Kubeconfig.model_validate(_merged([(folder, data)]))
    names = [entry.name for entry in document.contexts]
    if cluster.context is None and len(names) > 1:
        why = "it has several contexts, and the current one may change"
        raise KubeconfigUnusable(f"{why}: set clusters.{cluster.name}.context ({', '.join(names)})")
    chosen = cluster.context or document.current_context
    if not chosen:
        raise KubeconfigUnusable(f"it has no current-context ({', '.join(names) or 'there is no context'})")
    context = next((entry.context for entry in document.contexts if entry.name == chosen), None)
    if context is None:
        raise KubeconfigUnusable(f"it has no context {chosen} ({', '.join(names) or 'there is none'})")
    server = next((entry.cluster for entry in document.clusters if entry.name == context.cluster), None)
    user = next((entry.user for entry in document.users if entry.name == context.user), None)
    if server is None:
        raise KubeconfigUnusable(f"the cluster {context.cluster} of its context {chosen} is not among its clusters")
    if user is None:
        raise KubeconfigUnusable(f"the user {context.user} of its context {chosen} is not among its users")
    _refuse_cluster(server, f"its cluster {context.cluster}")
    _refuse_user(user, f"its user {context.user}")
    return server, user


def unusable(cluster: Cluster, why: str) -> ClusterUnreachable:
    """The error for a cluster whose kubeconfig cannot be used."""
    return ClusterUnreachable(
        f"the kubeconfig of cluster {quoted(cluster.name)} cannot be used: {quoted(why, most=1000)}",
        next_step=KubeconfigUnusable.next_step,
    )


def read_bytes(path: Path) -> bytes:
    """A file that a kubeconfig names, or one itself. Raises KubeconfigUnusable."""
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise KubeconfigUnusable(f"{getattr(error, 'strerror', None) or 'no name of a file'}: {path}") from None
    if len(raw) > MOST_BYTES:
        raise KubeconfigUnusable(f"{path} is larger than 4 MB")
    return raw


def _checked(text: str) -> dict[str, Any]:
    """A kubeconfig's data, once all of it has the right shape. Raises KubeconfigUnusable."""
    if len(text) > MOST_BYTES:
        raise KubeconfigUnusable("it is larger than 4 MB")
    text = text.removeprefix("\ufeff")
    if text.lstrip().startswith("{"):
        text = text.replace("\t", " ")  # in JSON it parts words, in YAML it is refused
    try:
        positions = Positions(plain(text), _FILE)
    except TextInvalid as error:
        what = "it is no YAML mapping" if error.problem.line == 1 else f"it is not YAML at line {error.problem.line}"
        raise KubeconfigUnusable(what) from None  # the parser's words may quote what stands there
    for problem in positions.problems:
        raise KubeconfigUnusable(f"line {problem.line}: a key is there twice, or a value has a tag (!)")
    try:
        document = Kubeconfig.model_validate(positions.data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where: Path_ = tuple(part for part in first["loc"] if isinstance(part, int) or part in _KEYS)
        line = positions.place(Mistake(where, "", "")).line
        what = _MUST_BE.get(first["type"], "cannot be read")
        raise KubeconfigUnusable(f"line {line}: {dotted(where) or 'it'} {what}") from None
    if document.api_version not in ("", "v1") or document.kind not in ("", "Config"):
        raise KubeconfigUnusable("its kind is not Config, or its apiVersion is not v1")
    data: dict[str, Any] = positions.data
    return data


def _keys(part: type[BaseModel]) -> frozenset[str]:
    return frozenset(field.alias or name for name, field in part.model_fields.items())


_PARTS: tuple[type[BaseModel], ...] = (
    *(Kubeconfig, Preferences, Extension, NamedCluster, ClusterEntry, NamedContext, ContextEntry),
    *(NamedUser, UserEntry, ExecEntry, EnvVar, AuthProviderEntry),
)
_KEYS = frozenset[str]().union(*map(_keys, _PARTS))
"""What may be named of a kubeconfig; other keys are whoever's words."""


def _merged(documents: Sequence[tuple[Path | None, Mapping[str, Any]]]) -> dict[str, Any]:
    """Kubeconfigs as one, paths made absolute: the first to name something wins, as kubectl has it."""
    whole: dict[str, Any] = {"apiVersion": "v1", "kind": "Config", "current-context": None}
    for folder, document in documents:
        whole["current-context"] = whole["current-context"] or document.get("current-context")
        for kind in ("clusters", "users", "contexts"):
            entries = whole.setdefault(kind, [])
            taken = {entry["name"] for entry in entries}
            for entry in document.get(kind) or ():
                name, inner = entry.get("name") or "", entry.get(kind[:-1]) or {}
                if name not in taken:
                    entries.append({"name": name, kind[:-1]: _anchored(inner, folder) if folder else inner})
    return whole


def _anchored(inner: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """An entry with its paths made absolute; an exec plugin's only where it is no name to look up in $PATH."""
    fixed: dict[str, Any] = {key: str(folder / inner[key]) for key in _PATHS if inner.get(key)}
    command = (inner.get("exec") or {}).get("command") or ""
    if "/" in command:
        fixed["exec"] = {**inner["exec"], "command": str(folder / command)}
    return {**inner, **fixed}


def _refuse_cluster(entry: ClusterEntry, owner: str) -> None:
    """What client-go refuses. Raises KubeconfigUnusable."""
    if not entry.server:
        raise KubeconfigUnusable(f"{owner} names no server")
    has_authority = bool(entry.certificate_authority or entry.certificate_authority_data)
    if entry.certificate_authority and entry.certificate_authority_data:
        _both(owner, "certificate-authority", "certificate-authority-data")
    if has_authority and entry.insecure_skip_tls_verify:
        _both(owner, "insecure-skip-tls-verify", "a certificate authority")


def _refuse_user(user: UserEntry, owner: str) -> None:
    """What client-go refuses, and what only a person at a terminal could use. Raises KubeconfigUnusable."""
    if (user.token or user.token_file) and (user.username or user.password):
        _both(owner, "a token", "username or password")
    if user.has_certificate:
        if user.client_certificate and user.client_certificate_data:
            _both(owner, "client-certificate", "client-certificate-data")
        if user.client_key and user.client_key_data:
            _both(owner, "client-key", "client-key-data")
        if not (user.client_key or user.client_key_data):
            raise KubeconfigUnusable(f"{owner} has a client certificate and no client-key")
    if (user.impersonate_uid or user.impersonate_groups or user.impersonate_user_extra) and not user.impersonate:
        raise KubeconfigUnusable(f"{owner} has as-uid, as-groups or as-user-extra, and no `as`")
    if user.exec is not None and user.auth_provider is not None:
        _both(owner, "exec", "auth-provider")
    if user.exec is not None:
        _refuse_exec(user.exec, owner)


def _refuse_exec(plugin: ExecEntry, owner: str) -> None:
    if not plugin.command:
        raise KubeconfigUnusable(f"{owner} has an exec plugin without command")
    if plugin.api_version not in EXEC_VERSIONS:
        raise KubeconfigUnusable(f"the exec plugin of {owner} has an apiVersion that is neither of {_VERSIONS}")
    if any(not variable.name for variable in plugin.env):
        raise KubeconfigUnusable(f"the exec plugin of {owner} has a variable without a name in env")
    mode = plugin.interactive_mode or ("IfAvailable" if plugin.api_version.endswith("/v1beta1") else "")
    if mode == "Always":
        why = "asks a person at a terminal (interactiveMode: Always), and poolkeeper runs without one"
        raise KubeconfigUnusable(f"the exec plugin of {owner} {why}")
    if mode not in ("Never", "IfAvailable"):
        raise KubeconfigUnusable(f"the exec plugin of {owner} needs an interactiveMode: Never, or IfAvailable")


EXEC_VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")
_VERSIONS = " and ".join(EXEC_VERSIONS)


def _both(owner: str, one: str, other: str) -> NoReturn:
    raise KubeconfigUnusable(f"{owner} has both {one} and {other}, where only one of them may be")
