"""From a file to a fleet, or to every problem of the file at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ValidationError

from tasks.fleet import document as doc
from tasks.fleet import model
from tasks.fleet.calendars import CalendarInvalid, read_calendar
from tasks.fleet.problems import FleetInvalid, Mistake, Path_, Problem, nearest
from tasks.fleet.rules import SECTIONS, Declared, check_document, pasted_secrets
from tasks.fleet.text import MAX_BYTES, Positions, TextInvalid


def load_fleet(path: Path) -> model.Fleet:
    """The fleet that a file declares. Raises FleetInvalid with every problem."""
    fleet, problems = check_fleet(path)
    if fleet is None:
        raise FleetInvalid(path.name, problems)
    return fleet


def check_fleet(path: Path) -> tuple[model.Fleet | None, tuple[Problem, ...]]:
    """The fleet, or None and every problem, in the order of the text."""
    try:
        positions = Positions(_read(path))
    except TextInvalid as error:
        return None, (error.problem,)
    folder = path.parent
    mistakes = [*positions.duplicates, *pasted_secrets(positions.data)]
    document, shape_mistakes = _validated(positions.data)
    mistakes += shape_mistakes
    if document is not None:
        mistakes += check_document(document, _declared(positions.data), folder)
        mistakes += _calendar_mistakes(document, folder)
    if mistakes or document is None:
        return None, tuple(sorted(set(map(positions.place, mistakes))))
    return _resolve(document, path), ()


def _read(path: Path) -> str:
    def unreadable(message: str, fix: str) -> TextInvalid:
        return TextInvalid(Problem(1, 1, "", message, fix))

    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise unreadable(f"there is no file {path}.", "Name one with --fleet or $POOLKEEPER_FLEET.") from None
    except OSError as error:
        raise unreadable(f"{path} cannot be read: {error.strerror}.", "Name a readable file.") from None
    if len(raw) > MAX_BYTES:
        raise unreadable("the file is larger than 20 MB.", "Declare one fleet a file.")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise TextInvalid(Problem(line, 1, "", "this line is not UTF-8.", "Save the file as UTF-8.")) from None


# the shape


def _validated(data: Any) -> tuple[doc.Document | None, list[Mistake]]:
    """The document and its mistakes in shape; what is broken is left out of it, so that the rest can be checked."""
    mistakes: list[Mistake] = []
    remaining = data
    for attempt in range(6):
        try:
            return doc.Document.model_validate(remaining), mistakes
        except ValidationError as error:
            errors = error.errors(include_url=False, include_context=False)
            if attempt == 0:
                mistakes += [_mistake(e, data) for e in errors]
            remaining = _without(remaining, [tuple(e["loc"]) for e in errors], whole_entry=attempt >= 2)
    return None, mistakes


def _without(data: Any, broken: list[Path_], *, whole_entry: bool) -> Any:
    """A copy of the data without the broken values; in a later attempt without the entries they are in."""
    copy = _copied(data)
    for path in sorted(set(broken), key=len, reverse=True):
        path = path[:2] if whole_entry and path[0] in SECTIONS else path
        if path[-1] in ("fleet",) and len(path) == 1:
            copy["fleet"] = "unnamed"
        elif len(path) == 1 and path[0] in SECTIONS:
            copy[path[0]] = {}
        else:
            _remove(copy, path)
    return copy


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(child) for key, child in value.items()}
    return [_copied(child) for child in value] if isinstance(value, list) else value


def _remove(data: Any, path: Path_) -> None:
    """Delete the value at a path; pydantic may add parts that are not in the data, which end the way."""
    for part in path[:-1]:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return
    last = path[-1]
    if isinstance(data, dict):
        data.pop(str(last), None)
    elif isinstance(data, list) and isinstance(last, int) and last < len(data):
        data[last] = None


def _mistake(error: Any, data: Any) -> Mistake:
    """pydantic's finding as a plain sentence with a fix."""
    path, kind, message = tuple(error["loc"]), error["type"], str(error["msg"])
    given = error.get("input")
    if kind == "extra_forbidden":
        known = _known_keys(path)
        return Mistake(path, f"there is no key {path[-1]} here.", nearest(str(path[-1]), known), at_key=True)
    if kind == "missing":
        return Mistake(path, f"{path[-1]} is missing.", f"Add `{path[-1]}:`.")
    if kind == "value_error":
        sentence, _, fix = message.removeprefix("Value error, ").partition("|")
        return Mistake(path, f"{sentence}.", fix)
    if kind in ("enum", "literal_error"):
        choices = [word.strip(" '") for word in message.partition("should be ")[2].replace(" or ", ", ").split(", ")]
        return Mistake(path, f"{given!r} is not one of {', '.join(choices)}.", nearest(str(given), choices))
    if kind in ("model_type", "dict_type", "model_attributes_type"):
        return Mistake(
            path, f"{_shown(given)} stands where keys and values belong.", "Write `key: value` lines below it."
        )
    if kind == "list_type":
        return Mistake(path, f"{_shown(given)} stands where a list belongs.", "Write it as [a, b].")
    if kind in ("string_type", "string_too_short"):
        return Mistake(
            path,
            f"{_shown(given)} stands where text belongs.",
            f'Write it in quotes, like "{given}".' if given else "Write a text.",
        )
    if kind in ("int_type", "int_parsing", "int_from_float"):
        return Mistake(path, f"{_shown(given)} is not a whole number.", "Write a whole number, without quotes.")
    if kind in ("bool_type", "bool_parsing"):
        return Mistake(path, f"{_shown(given)} is neither true nor false.", "Write true or false.")
    if kind in ("greater_than_equal", "less_than_equal"):
        return Mistake(
            path, f"{given} is out of bounds: {message[0].lower()}{message[1:]}.", "Write a number within them."
        )
    return Mistake(path, f"{message[0].lower()}{message[1:]}.", "Compare with the schema: `poolkeeper schema`.")


def _shown(given: Any) -> str:
    if given is None:
        return "nothing"
    if isinstance(given, dict):
        return "a block of keys"
    return "a list" if isinstance(given, list) else repr(given)[:60]


def _known_keys(path: Path_) -> list[str]:
    """The keys that the schema knows where an unknown one stands."""
    here: type[BaseModel] | None = doc.Document
    for part in path[:-1]:
        if here is None:
            return []
        fields = {field.alias or name: field for name, field in here.model_fields.items()}
        if part in fields:
            here = _model_in(fields[str(part)].annotation)
    return [field.alias or name for name, field in here.model_fields.items()] if here else []


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _model_in(argument)
        if found is not None:
            return found
    return None


def _declared(data: Any) -> Declared:
    return {
        section: [str(name) for name in data[section]] if isinstance(data.get(section), dict) else []
        for section in SECTIONS
    }


def _calendar_mistakes(document: doc.Document, folder: Path) -> Iterator[Mistake]:
    for name, site in document.sites.items():
        for i, file in enumerate(site.freeze_calendars):
            path = folder / Path(file).expanduser()
            if not path.is_file():
                continue
            try:
                read_calendar(path)
            except CalendarInvalid as error:
                yield Mistake(
                    ("sites", name, "freeze_calendars", i),
                    f"{file} is no usable calendar: {error}.",
                    "Export it anew as iCalendar (.ics).",
                )


# the resolved world


def _resolve(document: doc.Document, path: Path) -> model.Fleet:
    folder = path.parent
    fleet_observes = document.mode is model.Mode.OBSERVE
    clusters = {name: _cluster(name, entry, folder) for name, entry in document.clusters.items()}
    sites = {name: _site(name, entry, folder, observe=fleet_observes) for name, entry in document.sites.items()}
    domains = {
        name: model.Domain(name, sites[entry.site], _limit(entry.max_unavailable))
        for name, entry in document.domains.items()
    }
    pools = {
        name: _pool(name, entry, clusters[entry.cluster], observe=fleet_observes)
        for name, entry in document.pools.items()
    }
    access = {
        name: _access(folder, document.ssh, entry.ssh, fallback=model.SshAccess(""))
        for name, entry in document.sites.items()
    }
    hosts = {}
    for name, entry in document.hosts.items():
        ssh = access[entry.site]
        if entry.ssh != doc.SshEntry() or entry.port:
            ssh = _access(folder, entry.ssh, fallback=ssh)
            ssh = replace(ssh, port=entry.port or ssh.port)
        hosts[name] = model.Host(
            name=name,
            address=entry.address,
            node_name=entry.node_name or name,
            node_address=ip_address(entry.node_address) if entry.node_address else None,
            site=sites[entry.site],
            pool=pools[entry.pool],
            domain=domains[entry.domain] if entry.domain else None,
            ssh=ssh,
            labels=entry.labels,
            machine_id=entry.machine_id,
            active=entry.active,
        )
    limits = model.SshLimits(document.ssh_limits.handshakes, document.ssh_limits.sessions)
    return model.Fleet(document.fleet, path, clusters, sites, domains, pools, hosts, limits, document.mode)


def _cluster(name: str, entry: doc.ClusterEntry, folder: Path) -> model.Cluster:
    provider: model.Provider = model.KubeadmProvider()
    if entry.provider.ack:
        ack = entry.provider.ack
        provider = model.AckProvider(
            ack.cluster_id,
            ack.region,
            ack.endpoint,
            ack.protocol,
            _secret(ack.access_key_id, folder),
            _secret(ack.access_key_secret, folder),
            ack.reset_command,
        )
    kubeconfig = _secret(entry.kubeconfig, folder)
    assert kubeconfig is not None
    cluster = model.Cluster(
        name,
        provider,
        kubeconfig,
        entry.context,
        tuple(map(ip_network, entry.pod_cidrs)),
        tuple(map(ip_network, entry.service_cidrs)),
        ip_network(entry.container_cidr) if entry.container_cidr else None,
        entry.node_mask if entry.node_mask or not entry.container_cidr else 24,
    )
    return replace(cluster, test_image=entry.test_image) if entry.test_image else cluster


def _site(name: str, entry: doc.SiteEntry, folder: Path, *, observe: bool) -> model.Site:
    return model.Site(
        name,
        ZoneInfo(entry.time_zone),
        tuple(map(ip_network, entry.cidrs)),
        model.SiteDns(tuple(entry.dns.resolvers), entry.dns.internal_name, entry.dns.external_name),
        tuple(
            model.Window(frozenset(map(doc.DAYS.index, window.days)), window.start, window.duration)
            for window in entry.windows
        ),
        tuple(model.Freeze(freeze.start, freeze.end, freeze.reason) for freeze in entry.freezes),
        tuple(folder / Path(file).expanduser() for file in entry.freeze_calendars),
        model.SshLimits(entry.ssh_limits.handshakes, entry.ssh_limits.sessions),
        entry.work_pool,
        model.Mode.OBSERVE if observe else entry.mode,
    )


def _pool(name: str, entry: doc.PoolEntry, cluster: model.Cluster, *, observe: bool) -> model.Pool:
    return model.Pool(
        name,
        cluster,
        entry.nodepool_id,
        _limit(entry.max_unavailable),
        tuple(
            model.AcceptedSystem(row.os, tuple(row.versions), row.kernel_min, tuple(row.arch)) for row in entry.accepted
        ),
        entry.min_cpus,
        entry.min_memory,
        entry.min_disk_free,
        entry.lift_taint,
        entry.join.parallel,
        entry.join.timeout.total_seconds(),
        entry.join.on_failure,
        entry.kubernetes_version,
        tuple(entry.expected_pods),
        entry.labels,
        model.Mode.OBSERVE if observe else entry.mode,
    )


def _access(folder: Path, *entries: doc.SshEntry, fallback: model.SshAccess) -> model.SshAccess:
    """Settings merged from the farthest to the nearest."""
    merged = fallback
    for entry in entries:
        given: dict[str, Any] = {
            "user": entry.user,
            "port": entry.port,
            "key": _secret(entry.key, folder),
            "certificate": _file(entry.certificate, folder),
            "agent": entry.agent,
            "known_hosts": _file(entry.known_hosts, folder),
            "sudo": entry.sudo,
        }
        for name in ("connect_timeout", "login_timeout", "command_timeout", "keepalive"):
            duration = getattr(entry, name)
            given[f"{name}_s"] = duration.total_seconds() if duration is not None else None
        merged = replace(merged, **{name: value for name, value in given.items() if value is not None})
        if entry.jump is not None:
            jump = model.SshJump(entry.jump.address, entry.jump.port, entry.jump.user or merged.user)
            merged = replace(merged, jump=jump)
    return merged


def _secret(entry: doc.SecretEntry | None, folder: Path) -> model.SecretRef | None:
    return model.SecretRef(_file(entry.file, folder), entry.env, entry.block) if entry else None


def _file(name: str | None, folder: Path) -> Path | None:
    return folder / Path(name).expanduser() if name else None


def _limit(given: int | str) -> model.Limit:
    return model.Limit(percent=int(given[:-1])) if isinstance(given, str) else model.Limit(count=given)
