"""What a host is made of and what runs on it: system, size, swap, cgroups, ports, leftovers."""

from __future__ import annotations

from tasks.fleet.model import AcceptedSystem
from tasks.onboard.preflight.check import Batch, HostView, Unsure, Wrong, check
from tasks.onboard.standing import Join
from tasks.onboard.versions import at_least, minor_of
from tasks.outcomes import Severity, known

GIB = 1024**3
KUBELET_PORTS = (10248, 10250)
"""healthz on loopback, and the API that the control plane talks to."""


@check("hosts.system.accepted", "the pool accepts its system", "os_id", "os_version", "kernel", "arch")
def system(view: HostView, batch: Batch) -> Wrong | None:
    """The pool's `accepted` rows; ACK publishes such a matrix for Edge pools and none for hybrid ones."""
    facts, rows = view.facts, view.host.pool.accepted
    seen = (known(facts.os_id), known(facts.os_version), known(facts.kernel), known(facts.arch))
    if not rows or any(_accepts(row, *seen) for row in rows):
        return None
    return Wrong(
        "{} {}, kernel {}, {}".format(*seen),
        "one of: " + "; ".join(map(_words, rows)),
        "Reinstall the host with an accepted system, or add a row to the pool's `accepted`.",
    )


def _accepts(row: AcceptedSystem, os_id: str, version: str, kernel: str, arch: str) -> bool:
    return (
        row.os == os_id
        and (not row.versions or version in row.versions)
        and (not row.arch or arch in row.arch)
        and (row.kernel_min is None or at_least(kernel, row.kernel_min))
    )


def _words(row: AcceptedSystem) -> str:
    kernel = f", kernel {row.kernel_min} or newer" if row.kernel_min else ""
    return f"{row.os} {' or '.join(row.versions) or 'any version'}{kernel}, {' or '.join(row.arch) or 'any arch'}"


@check("hosts.cpus.enough", "it has the CPUs that the pool asks for", "cpus")
def cpus(view: HostView, batch: Batch) -> Wrong | None:
    """kubeadm refuses fewer than two for a control plane; kubelets reserve a share of the first ones."""
    seen, least = known(view.facts.cpus), view.host.pool.min_cpus
    if seen >= least:
        return None
    return Wrong(f"{seen} CPUs", f"at least {least}", "Give the host more CPUs, or lower the pool's min_cpus.")


@check("hosts.memory.enough", "it has the memory that the pool asks for", "memory_bytes")
def memory(view: HostView, batch: Batch) -> Wrong | None:
    """MemTotal is a little less than what is built in: a twentieth is forgiven."""
    seen, least = known(view.facts.memory_bytes), view.host.pool.min_memory_bytes
    if seen >= least * 0.95:
        return None
    return Wrong(
        f"{seen / GIB:.1f} GiB",
        f"at least {least / GIB:.1f} GiB",
        "Give the host more memory, or lower the pool's min_memory.",
    )


@check("hosts.disk.free", "its disks have the free space that the pool asks for", "disks")
def disk(view: HostView, batch: Batch) -> Wrong | None:
    """For each file system that kubelet, container runtime or logs will fill."""
    least = view.host.pool.min_disk_free_bytes
    short = [d for d in known(view.facts.disks) if d.free_bytes < least]
    if not short:
        return None
    return Wrong(
        "; ".join(f"{d.path}: {d.free_bytes / GIB:.1f} of {d.size_bytes / GIB:.1f} GiB free" for d in short),
        f"at least {least / GIB:.1f} GiB free",
        f"Free or grow it: `du -xh -d2 {short[0].path} | sort -h | tail`, old logs and images first.",
    )


@check("hosts.cgroup.v2", "it runs with cgroup v2", "cgroup_version")
def cgroup(view: HostView, batch: Batch) -> Wrong | None:
    """From Kubernetes 1.35 on kubelet does not start without it; before, it is told only."""
    if known(view.facts.cgroup_version) == 2:
        return None
    return Wrong(
        f"cgroup v{known(view.facts.cgroup_version)}",
        "cgroup v2",
        "Boot with `systemd.unified_cgroup_hierarchy=1` on the kernel's command line.",
    )


@check("hosts.swap.off", "swap is off", "swap_bytes")
def swap(view: HostView, batch: Batch) -> Wrong | None:
    """kubelet does not start with swap unless it is configured for it (failSwapOn)."""
    if known(view.facts.swap_bytes) == 0:
        return None
    return Wrong(
        f"{known(view.facts.swap_bytes) / GIB:.1f} GiB of swap",
        "none",
        "Run `swapoff -a` and take the swap lines out of /etc/fstab.",
    )


@check("hosts.ports.free", "kubelet's ports are free", "listening_ports")
def ports(view: HostView, batch: Batch) -> Wrong | None:
    """Not looked at on a host that is in the cluster already: there they are kubelet's."""
    if view.node is not None or view.join is not Join.NONE:
        return None
    taken = sorted(set(KUBELET_PORTS) & set(known(view.facts.listening_ports)))
    if not taken:
        return None
    return Wrong(
        f"TCP {', '.join(map(str, taken))} in use",
        f"TCP {', '.join(map(str, KUBELET_PORTS))} free",
        f"Find and stop what listens: `ss -ltnp 'sport = :{taken[0]}'`.",
    )


@check("hosts.leftovers.none", "nothing of an earlier cluster is on it", "leftovers", "kubelet_mounts")
def leftovers(view: HostView, batch: Batch) -> Wrong | None:
    """They make a join fail (ACK code 40009) or, worse, succeed with logs and exec broken."""
    found = known(view.facts.leftovers)
    if not found or view.node is not None or view.join is not Join.NONE:
        return None
    mounts = known(view.facts.kubelet_mounts)
    first = (
        f"Unmount what is live below /var/lib/kubelet first ({', '.join(mounts[:3])}), else its data is deleted"
        " with the tree; then run"
        if mounts
        else "Run"
    )
    return Wrong(
        ", ".join(found),
        "none",
        f"{first} the reset of the cluster that the host was in (`edgeadm reset` or `kubeadm reset`), then start"
        " again.",
    )


@check("hosts.systemd.there", "systemd runs it", "systemd", severity=Severity.WARNING)
def systemd(view: HostView, batch: Batch) -> Wrong | None:
    """Joiners install kubelet as a systemd unit."""
    if known(view.facts.systemd):
        return None
    return Wrong("no systemd", "systemd as process 1", "Ask the provider whether its joiner supports this init.")


@check(
    "hosts.reboot.none-pending",
    "no reboot is pending",
    "reboot_required",
    severity=Severity.WARNING,
    on_unknown=Severity.INFO,
)
def reboot(view: HostView, batch: Batch) -> Wrong | None:
    """Better before it carries workloads than after."""
    if not known(view.facts.reboot_required):
        return None
    return Wrong("a reboot is required", "none pending", "Reboot the host before it joins.")


@check(
    "hosts.forwarding.on",
    "it forwards IPv4 packets or the joiner can switch it on",
    "ip_forward",
    severity=Severity.INFO,
    on_unknown=Severity.INFO,
)
def forwarding(view: HostView, batch: Batch) -> Wrong | None:
    """Every CNI needs it; joiners usually set it, hardening baselines reset it."""
    if known(view.facts.ip_forward):
        return None
    return Wrong(
        "net.ipv4.ip_forward is 0",
        "1",
        "See that no hardening baseline switches it off again after the join.",
    )


@check(
    "hosts.open-files.enough",
    "processes may open enough files",
    "open_files_limit",
    severity=Severity.WARNING,
    on_unknown=Severity.INFO,
)
def open_files(view: HostView, batch: Batch) -> Wrong | None:
    """The usual 1024 is too few for kubelet and runtime where they inherit it."""
    if known(view.facts.open_files_limit) >= 1024:
        return None
    return Wrong(f"{known(view.facts.open_files_limit)}", "at least 1024", "Raise nofile in /etc/security/limits.conf.")


@check("hosts.kubelet.skew", "a kubelet that is there already fits the API server", "kubelet_version")
def kubelet_skew(view: HostView, batch: Batch) -> Wrong | Unsure | None:
    """Never newer than the API server, at most three minors older.

    https://kubernetes.io/releases/version-skew-policy/
    """
    installed = known(view.facts.kubelet_version)
    if not installed:
        return None
    server, kubelet = minor_of(batch.api_version), minor_of(installed)
    if server is None or kubelet is None:
        return Unsure(f"cannot compare kubelet {installed} with API server {batch.api_version or 'unknown'}")
    if server[0] == kubelet[0] and 0 <= server[1] - kubelet[1] <= 3:
        return None
    return Wrong(
        f"kubelet {installed}",
        f"at most three minors older than the API server's {batch.api_version}, never newer",
        "Remove the kubelet package; the join installs the right one.",
    )


@check("pools.version.skew", "the pool's version fits the API server")
def pool_skew(view: HostView, batch: Batch) -> Wrong | Unsure | None:
    """The same rule for the version that the fleet file asks for."""
    wanted = view.host.pool.kubernetes_version
    if wanted is None:
        return None
    server, kubelet = minor_of(batch.api_version), minor_of(wanted)
    if server is None or kubelet is None:
        return Unsure(f"cannot compare {wanted} with API server {batch.api_version or 'unknown'}")
    if server[0] == kubelet[0] and 0 <= server[1] - kubelet[1] <= 3:
        return None
    return Wrong(
        f"kubernetes_version {wanted}",
        f"at most three minors older than the API server's {batch.api_version}, never newer",
        "Correct kubernetes_version of the pool in the fleet file.",
    )


@check(
    "hosts.runtime.known",
    "the container runtime that is there is containerd, or there is none",
    "runtime",
    severity=Severity.WARNING,
    on_unknown=Severity.INFO,
)
def runtime(view: HostView, batch: Batch) -> Wrong | None:
    """ACK's joiner manages containerd and, unattended, replaces any other runtime without asking."""
    seen = known(view.facts.runtime)
    if not seen or seen.startswith("containerd"):
        return None
    return Wrong(seen, "containerd or none", "Remove it, or find out what the joiner will do to what runs in it.")
