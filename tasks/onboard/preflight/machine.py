"""A host's system and what runs on it: size, swap, cgroups, ports, leftovers, versions."""

from __future__ import annotations

from poolkeeper.tasks.fleet.model import AcceptedSystem, KubeadmProvider
from poolkeeper.tasks.fleet.problems import counted
from poolkeeper.tasks.fleet.versions import at_least, minor_of
from poolkeeper.tasks.hosts import HostFacts
from poolkeeper.tasks.hosts.facts import OtherRuntime
from poolkeeper.tasks.onboard.preflight.check import Batch, HostView, Unsure, Wrong, check
from poolkeeper.tasks.outcomes import Known, NotKnown, Observed, Severity, known

GIB = 1024**3
MIB = 1024**2
KUBELET_PORTS = (10248, 10250)
"""healthz on loopback, and the API that the control plane talks to."""
EXPORTER_PORT = 9100
"""ACK's node exporter listens on the host's own network; documented for Edge pools."""
MEMORY_KEPT_BYTES = 300 * MIB
"""What firmware, kernel and a crash kernel take from MemTotal at most on a small host; kubeadm allows the same."""
ARCHITECTURES = ("amd64", "arm64")
"""Architectures that ACK's attach command supports."""
MAX_MINORS_BEHIND = 3
CGROUP_V2_FROM = (1, 35)
"""kubelets of this minor and later do not start with cgroup v1 (failCgroupV1)."""
CNI_CONFIG = "/etc/cni/net.d"


@check("hosts.system.accepted", "the pool accepts its system", "os_id", "os_version", "kernel", "arch")
def system(view: HostView, batch: Batch) -> Wrong | None:
    """The pool's `accepted` rows. ACK publishes such a matrix for Edge pools, but not for hybrid pools."""
    facts, rows = view.facts, view.host.pool.accepted
    unread: NotKnown | None = None
    for row in rows:
        try:
            if _accepts(row, facts):
                return None
        except NotKnown as error:
            unread = error
    if unread is not None:
        raise unread
    if not rows:
        return None
    seen = [_value_of(fact) for fact in (facts.os_id, facts.os_version, facts.kernel, facts.arch)]
    return Wrong(
        "{} {}, kernel {}, {}".format(*seen),
        "one of: " + "; ".join(map(_row_in_words, rows)),
        "Reinstall the host with an accepted system, or add a row to the pool's `accepted`.",
    )


def _accepts(row: AcceptedSystem, facts: HostFacts) -> bool:
    """Whether a row matches; a fact that it does not mention may be unknown (Debian testing has no VERSION_ID)."""
    return (
        row.os == known(facts.os_id)
        and (not row.arch or known(facts.arch) in row.arch)
        and (not row.versions or known(facts.os_version) in row.versions)
        and (row.kernel_min is None or at_least(known(facts.kernel), row.kernel_min))
    )


def _value_of(fact: Observed[str]) -> str:
    return fact.value if isinstance(fact, Known) else "unknown"


def _row_in_words(row: AcceptedSystem) -> str:
    kernel = f", kernel {row.kernel_min} or newer" if row.kernel_min else ""
    return f"{row.os} {' or '.join(row.versions) or 'any version'}{kernel}, {' or '.join(row.arch) or 'any arch'}"


@check("hosts.arch.supported", "there is a join command for its architecture", "arch")
def arch(view: HostView, batch: Batch) -> Wrong | None:
    """The attach command is requested for one architecture, and installs programs for it. apt knows its own."""
    seen = known(view.facts.arch)
    if seen in ARCHITECTURES or view.host.pool.cluster.by_kubeadm:
        return None
    return Wrong(seen, " or ".join(ARCHITECTURES), "Remove the host from the fleet file: ACK has no kubelet for it.")


@check("hosts.cpus.enough", "it has the CPUs that the pool asks for", "cpus")
def cpus(view: HostView, batch: Batch) -> Wrong | None:
    """kubeadm refuses fewer than two for a control plane; kubelets reserve a share of the first ones."""
    seen, least = known(view.facts.cpus), view.host.pool.min_cpus
    if seen >= least:
        return None
    return Wrong(f"{seen} CPUs", f"at least {least}", "Give the host more CPUs, or lower the pool's min_cpus.")


@check("hosts.memory.enough", "it has the memory that the pool asks for", "memory_bytes")
def memory(view: HostView, batch: Batch) -> Wrong | None:
    """MemTotal is less than the installed memory: by 5 % on large hosts, by a crash kernel on small ones."""
    seen, least = known(view.facts.memory_bytes), view.host.pool.min_memory_bytes
    if seen >= least - max(least // 20, MEMORY_KEPT_BYTES):
        return None
    return Wrong(_size(seen), f"at least {_size(least)}", "Give the host more memory, or lower the pool's min_memory.")


def _size(count: int) -> str:
    return f"{count / GIB:.1f} GiB" if count >= GIB / 10 else f"{count / MIB:.1f} MiB"


@check("hosts.disk.free", "its disks have the free space that the pool asks for", "disks")
def disk(view: HostView, batch: Batch) -> Wrong | None:
    """For each file system that kubelet, container runtime or logs will fill."""
    least = view.host.pool.min_disk_free_bytes
    short = [d for d in known(view.facts.disks) if d.free_bytes < least]
    if not short:
        return None
    return Wrong(
        "; ".join(f"{d.path}: {_size(d.free_bytes)} of {_size(d.size_bytes)} free" for d in short),
        f"at least {_size(least)} free",
        f"Free space or grow the disk; see what is large: `du -xh -d2 {short[0].path} | sort -h | tail`.",
    )


@check("hosts.cgroup.v2", "it runs with cgroup v2", "cgroup_version")
def cgroup(view: HostView, batch: Batch) -> Wrong | None:
    """From Kubernetes 1.35 on kubelet does not start without it; before, it blocks the next upgrade."""
    seen = known(view.facts.cgroup_version)
    if seen == 2:
        return None
    minor = minor_of(view.host.pool.kubernetes_version or batch.api_version)
    can_start = minor is not None and minor < CGROUP_V2_FROM
    return Wrong(
        f"cgroup v{seen}",
        "cgroup v2",
        "Boot with `systemd.unified_cgroup_hierarchy=1` on the kernel's command line.",
        Severity.WARNING if can_start else None,
    )


@check("hosts.swap.off", "swap is off", "swap_bytes")
def swap(view: HostView, batch: Batch) -> Wrong | None:
    """kubelet does not start with swap unless it is configured for it (failSwapOn)."""
    seen = known(view.facts.swap_bytes)
    if seen == 0:
        return None
    return Wrong(
        f"{_size(seen)} of swap",
        "none",
        "Run `swapoff -a`, and remove the swap lines from /etc/fstab or mask the units that `systemctl list-units"
        " --type=swap` names.",
    )


@check("hosts.ports.free", "kubelet's ports are free", "listening_ports")
def ports(view: HostView, batch: Batch) -> Wrong | None:
    """Not checked on a host that is in the cluster already: there kubelet has them."""
    if view.join_started:
        return None
    listening = set(known(view.facts.listening_ports))
    taken = sorted(listening.intersection(KUBELET_PORTS))
    if taken:
        return Wrong(
            f"TCP {', '.join(map(str, taken))} in use",
            f"TCP {', '.join(map(str, KUBELET_PORTS))} free",
            f"Find the process that listens, and stop it: `ss -ltnp 'sport = :{taken[0]}'`.",
        )
    if EXPORTER_PORT in listening and not view.host.pool.cluster.by_kubeadm:
        return Wrong(
            f"TCP {EXPORTER_PORT} in use",
            f"TCP {EXPORTER_PORT} free for ACK's node exporter",
            "Move your own node exporter to another port if ACK's monitoring is installed in the cluster.",
            Severity.INFO,
        )
    return None


@check("hosts.leftovers.none", "nothing of an earlier cluster is on it", "leftovers", "kubelet_mounts")
def leftovers(view: HostView, batch: Batch) -> Wrong | None:
    """They make a join fail (ACK code 40009) or, worse, succeed with logs and exec broken.

    A reset that deletes /var/lib/kubelet deletes what is mounted below it as well, such as a bind-mounted /etc.
    """
    if view.join_started:
        return None
    found = list(known(view.facts.leftovers))
    mounts = view.facts.kubelet_mounts
    live = mounts.value if isinstance(mounts, Known) else ()
    if isinstance(view.facts.kubelet_running, Known) and view.facts.kubelet_running.value:
        found.append("a running kubelet")
    if not found and not live:
        known(mounts)
        return None
    if live:
        first = (
            f"Unmount what is mounted below /var/lib/kubelet first ({', '.join(live[:3])}), else its data is deleted"
            " with the tree; then run"
        )
    elif isinstance(mounts, Known):
        first = "Run"
    else:
        first = "Check that nothing is mounted below /var/lib/kubelet (`findmnt -R /var/lib/kubelet`); then run"
    only_cni = found == [CNI_CONFIG]
    return Wrong(
        ", ".join([*found, *(f"mount {path}" for path in live)]),
        "none",
        f"Find out what wrote {CNI_CONFIG} (podman does); remove it if it is from an earlier cluster."
        if only_cni and not live
        else f"{first} the reset of the cluster that the host was in (`edgeadm reset` or `kubeadm reset`), then start"
        " again.",
        Severity.WARNING if only_cni and not live else None,
    )


@check("hosts.systemd.there", "systemd is process 1", "systemd", severity=Severity.WARNING)
def systemd(view: HostView, batch: Batch) -> Wrong | None:
    """Joiners install kubelet as a systemd unit."""
    if known(view.facts.systemd):
        return None
    return Wrong("no systemd", "systemd as process 1", "Ask the provider whether its joiner supports this init.")


@check(
    "hosts.packages.manager",
    "it has a package manager that the joiner can use",
    "package_manager",
    severity=Severity.WARNING,
    on_unknown=Severity.INFO,
)
def packages(view: HostView, batch: Batch) -> Wrong | None:
    """ACK Edge's joiner installs what it misses (conntrack, socat, ebtables, chrony) through yum or apt; ours, for
    kubeadm, through apt."""
    seen = known(view.facts.package_manager)
    by_kubeadm = view.host.pool.cluster.by_kubeadm
    if view.join_started or seen == "apt-get" or (seen in ("dnf", "yum") and not by_kubeadm):
        return None
    if by_kubeadm:
        return Wrong(
            seen, "apt", "Install containerd, kubelet and kubeadm by hand, in versions that fit the API server."
        )
    return Wrong(
        seen,
        "apt or yum",
        "Install by hand what the joiner would: iproute, chrony, pciutils, socat, ebtables, iptables, conntrack-tools.",
    )


@check(
    "hosts.reboot.none-pending",
    "no reboot is pending",
    "reboot_required",
    severity=Severity.WARNING,
    on_unknown=Severity.INFO,
)
def reboot(view: HostView, batch: Batch) -> Wrong | None:
    """A reboot is cheaper before the host has workloads."""
    if not known(view.facts.reboot_required):
        return None
    return Wrong("a reboot is required", "none pending", "Reboot the host before it has workloads.")


@check(
    "hosts.forwarding.on",
    "it forwards IPv4 packets, or the joiner can enable that",
    "ip_forward",
    severity=Severity.INFO,
    on_unknown=Severity.INFO,
)
def forwarding(view: HostView, batch: Batch) -> Wrong | None:
    """Every CNI needs it; joiners usually set it, hardening baselines reset it. kubeadm refuses to join without it."""
    if known(view.facts.ip_forward):
        return None
    if view.host.pool.cluster.by_kubeadm and not view.join_started:
        return Wrong(
            "net.ipv4.ip_forward is 0",
            "1",
            "Write net.ipv4.ip_forward = 1 into a file below /etc/sysctl.d and run `sysctl --system`.",
            Severity.BLOCKER,
        )
    return Wrong(
        "net.ipv4.ip_forward is 0",
        "1",
        "Check that no hardening baseline disables it again after the join.",
    )


@check(
    "hosts.open-files.enough",
    "processes may open enough files",
    "open_files_limit",
    severity=Severity.WARNING,
    on_unknown=Severity.INFO,
)
def open_files(view: HostView, batch: Batch) -> Wrong | None:
    """A limit below the usual 1024 comes from hardening, and kubelet and runtime may inherit it."""
    seen = known(view.facts.open_files_limit)
    if seen >= 1024:
        return None
    return Wrong(f"{seen}", "at least 1024", "Raise nofile in /etc/security/limits.conf.")


@check("hosts.kubelet.skew", "an installed kubelet fits the API server", "kubelet_version")
def kubelet_skew(view: HostView, batch: Batch) -> Wrong | Unsure | None:
    """https://kubernetes.io/releases/version-skew-policy/"""
    installed = known(view.facts.kubelet_version)
    if not installed:
        return None
    unsure, fits = _fits(installed, batch.api_version)
    if unsure or fits:
        return unsure
    return Wrong(
        f"kubelet {installed}",
        _skew_rule(batch),
        "Upgrade its pool: `poolkeeper run upgrade`."
        if view.join_started
        else "Remove the kubelet package; the join installs the right one.",
    )


@check("pools.version.skew", "the pool's version fits the API server")
def pool_skew(view: HostView, batch: Batch) -> Wrong | Unsure | None:
    """The same rule for the version in the fleet file."""
    wanted = view.host.pool.kubernetes_version
    if wanted is None:
        return None
    unsure, fits = _fits(wanted, batch.api_version)
    if unsure or fits:
        return unsure
    return Wrong(
        f"kubernetes_version {wanted}",
        _skew_rule(batch),
        "Correct kubernetes_version of the pool in the fleet file.",
    )


def _fits(kubelet: str, server: str) -> tuple[Unsure | None, bool]:
    """Whether a kubelet may talk to an API server (never newer, at most three minors older), if both are known."""
    old, new = minor_of(kubelet), minor_of(server)
    if old is None or new is None:
        return Unsure(
            f"cannot compare kubelet {kubelet} with API server {server or 'of unknown version'}",
            "Compare `kubelet --version`, kubernetes_version in the fleet file and `kubectl version` by hand.",
        ), False
    return None, old[0] == new[0] and 0 <= new[1] - old[1] <= MAX_MINORS_BEHIND


def _skew_rule(batch: Batch) -> str:
    return f"at most three minors older than the API server's {batch.api_version}, never newer"


@check(
    "hosts.runtime.known",
    "there is no container runtime except containerd",
    "runtime",
    "other_runtimes",
    on_unknown=Severity.WARNING,
)
def runtime(view: HostView, batch: Batch) -> Wrong | None:
    """ACK's joiner manages containerd and, unattended, replaces any other runtime with all that runs in it.

    With kubeadm nothing is replaced, but kubelet needs a runtime with the CRI at the socket in the fleet file.
    """
    if view.join_started:
        return None
    first, others = known(view.facts.runtime), known(view.facts.other_runtimes)
    has_containerd = not first or first.startswith("containerd")
    provider = view.host.pool.cluster.provider
    if isinstance(provider, KubeadmProvider):
        declared = provider.cri_socket.endswith("/containerd.sock")
        if declared and not has_containerd:
            return Wrong(
                f"{first}, and no containerd",
                f"what listens at {provider.cri_socket}",
                "Install containerd, or set cri_socket of the cluster in the fleet file to the socket of this runtime.",
            )
        if not others:
            return None
        return Wrong(
            ", ".join(map(_runtime, others)),
            "one container runtime",
            "Check that it does not disturb pods: docker drops forwarded packets (`iptables -S FORWARD`).",
            Severity.INFO,
        )
    if has_containerd and not others:
        return None
    names = ", ".join([*([] if has_containerd else [first.partition(" ")[0]]), *(other.name for other in others)])
    idle = has_containerd and all(other.name == "podman" and other.containers == 0 for other in others)
    return Wrong(
        ", ".join([*([] if has_containerd else [first]), *map(_runtime, others)]),
        "containerd or none",
        f"Move the containers of {names} to another host, then uninstall it: the joiner replaces it without asking.",
        Severity.INFO if idle else None,
    )


def _runtime(other: OtherRuntime) -> str:
    count = "" if other.containers is None else f" with {counted(other.containers, 'container')}"
    return f"{other.name} {other.version}".strip() + count


@check(
    "hosts.runtime.cri",
    "its containerd, if there is one, serves Kubernetes",
    "cri_disabled",
    on_unknown=Severity.WARNING,
)
def cri(view: HostView, batch: Batch) -> Wrong | None:
    """Docker's containerd package disables the CRI plugin: kubelet and kubeadm find no CRI at its socket."""
    if view.join_started or not known(view.facts.cri_disabled):
        return None
    return Wrong(
        "containerd is configured without its CRI plugin (disabled_plugins)",
        "the CRI plugin enabled",
        "Remove the plugin from disabled_plugins in /etc/containerd/config.toml (or start from `containerd config"
        " default`), then `systemctl restart containerd`.",
    )
