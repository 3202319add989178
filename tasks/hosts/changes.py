"""What a join changes on a host: looked at before and after, written down as enumerated actions, undone by name.

A record names things of the tables below and never a path to delete: whoever can write a record cannot make us
remove anything that is not in the tables. Nothing is removed that was there before, nor with anything mounted
at or below it.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from tasks.fleet.model import Host
from tasks.hosts.errors import HostError
from tasks.hosts.sessions import Sessions

PATHS: Mapping[str, str] = {
    "kubernetes-config": "/etc/kubernetes",
    "kubelet-data": "/var/lib/kubelet",
    "kubelet-unit": "/etc/systemd/system/kubelet.service",
    "kubelet-drop-ins": "/etc/systemd/system/kubelet.service.d",
    "cni-config": "/etc/cni/net.d",
    "cni-programs": "/opt/cni/bin",
    "containerd-config": "/etc/containerd",
    "yurthub-data": "/var/lib/yurthub",
}
"""What joiners are known to create."""

UNITS = ("kubelet", "containerd", "docker", "yurthub")
PACKAGES = (
    "containerd", "containerd.io", "runc", "kubelet", "kubeadm", "kubectl", "cri-tools", "kubernetes-cni",
    "conntrack", "socat", "ebtables", "ipset", "chrony",
)  # fmt: skip

_TABLE = "\n".join(f"{name} {path}" for name, path in PATHS.items())

_HEADER = """\
R=${POOLKEEPER_ROOT-}
home="$R/var/lib/poolkeeper"
have() { command -v "$1" >/dev/null 2>&1; }
"""

_SNAPSHOT = f"""\
snapshot() {{
  while read -r name path; do
    if [ -e "$R$path" ]; then echo "path $name"; fi
  done <<'END-OF-TABLE'
{_TABLE}
END-OF-TABLE
  if have systemctl; then
    for unit in {" ".join(UNITS)}; do
      if [ "$(systemctl is-enabled "$unit" 2>/dev/null)" = enabled ]; then echo "unit $unit"; fi
    done
  fi
  for package in {" ".join(PACKAGES)}; do
    if have dpkg-query; then version=$(dpkg-query -W -f '${{Version}}' "$package" 2>/dev/null)
    elif have rpm; then version=$(rpm -q --qf '%{{VERSION}}-%{{RELEASE}}' "$package" 2>/dev/null) || version=
    else version=; fi
    if [ -n "$version" ]; then echo "package $package $version"; fi
  done
  if [ -r "$R/proc/swaps" ]; then
    if [ "$(grep -c . "$R/proc/swaps")" -gt 1 ]; then echo 'swap on'; else echo 'swap off'; fi
  fi
}}
"""

_REMEMBER = """\
umask 077
mkdir -p "$home" || exit 1
if [ ! -e "$home/before" ]; then
  snapshot > "$home/before.part" && mv "$home/before.part" "$home/before"
fi
"""

_COMPARE = """\
[ -e "$home/before" ] || exit 0
sed 's/^/before /' "$home/before"
snapshot | sed 's/^/after /'
"""

_UNDO = f"""\
[ -e "$home/before" ] || exit 0
mounts="$R/proc/self/mounts"
[ -r "$mounts" ] || mounts="$R/proc/mounts"
if [ ! -r "$mounts" ]; then echo 'mounts cannot be read: nothing was removed' >&2; exit 1; fi
was() {{ grep -qxF "$1" "$home/before"; }}
for unit in {" ".join(UNITS)}; do
  if have systemctl && ! was "unit $unit" && [ "$(systemctl is-enabled "$unit" 2>/dev/null)" = enabled ]; then
    systemctl disable --now "$unit" >/dev/null 2>&1 && echo "disabled unit $unit"
  fi
done
while read -r name path; do
  if was "path $name" || [ ! -e "$R$path" ]; then continue; fi
  if awk -v p="$path" '$2 == p || index($2, p "/") == 1 {{ found = 1 }} END {{ exit !found }}' "$mounts"; then
    echo "kept $name: something is mounted at or below $path"
  elif rm -rf -- "$R$path"; then echo "removed $name"; fi
done <<'END-OF-TABLE'
{_TABLE}
END-OF-TABLE
if was 'swap on' && have swapon; then swapon -a && echo 'swap on again'; fi
rm -f "$home/before" "$home/changes"
"""


async def remember(sessions: Sessions, host: Host) -> None:
    """Note how the host is before a join, unless that was noted already. Raises HostError."""
    await _run(sessions, host, _SNAPSHOT + _REMEMBER)


async def record(sessions: Sessions, host: Host) -> tuple[str, ...]:
    """Write down what changed since `remember`, one line a change; the lines. Raises HostError.

    A host that was never remembered, because it joined before us, has an empty record.
    """
    changes = compare(await _run(sessions, host, _SNAPSHOT + _COMPARE))
    body = shlex.quote("\n".join(changes))
    await _run(
        sessions,
        host,
        'umask 077\nmkdir -p "$home"\n'
        f'printf "%s\\n" {body} > "$home/changes.part" && mv "$home/changes.part" "$home/changes"\n',
    )
    return changes


def compare(found: Sequence[str]) -> tuple[str, ...]:
    """What came and what went, from lines `before ...` and `after ...`. Pure."""
    before = {line.removeprefix("before ") for line in found if line.startswith("before ")}
    after = {line.removeprefix("after ") for line in found if line.startswith("after ")}
    return (
        *(f"added {line}" for line in sorted(after - before)),
        *(f"removed {line}" for line in sorted(before - after)),
    )


async def undo(sessions: Sessions, host: Host) -> tuple[str, ...]:
    """Take back what a failed join left: units it enabled, known paths it made, swap it switched off.

    Packages stay; they do no harm. Answers what was done and what had to be kept. Raises HostError.
    """
    return tuple(await _run(sessions, host, _UNDO))


async def _run(sessions: Sessions, host: Host, body: str) -> list[str]:
    result = await sessions.run(host, _HEADER + body)
    if result.exit_status != 0:
        words = result.stderr.strip()[-300:] or f"exit status {result.exit_status}"
        raise HostError(
            f"the record of changes: {words}",
            next_step="Look at /var/lib/poolkeeper on the host, and at free space below /var.",
        )
    return result.stdout.splitlines()
