"""What a join changes on a host: compared before and after, recorded by names of the tables below, undone by name.

The invariant: a record never contains a path to delete, so a changed record cannot make poolkeeper remove anything that
is not in the tables. Nothing is removed that existed before the join or came after it, nor anything with a mount at or
below it.

Files in /var/lib/poolkeeper: `before` is what existed before the join; `begun` is the boot in which that join was
started; `changes` is what an accepted join has changed; `undone` are changes that an undoing could not undo completely.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.hosts.errors import HostError
from poolkeeper.tasks.hosts.sessions import Sessions

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
"""Paths that joins are known to create, by name."""

UNITS = ("kubelet", "containerd", "docker", "yurthub")
PACKAGES = (
    "containerd", "containerd.io", "runc", "kubelet", "kubeadm", "kubectl", "cri-tools", "kubernetes-cni",
    "conntrack", "socat", "ebtables", "ipset", "chrony",
)  # fmt: skip

_LAST_LINE = "end of record"
_TABLE = "\n".join(f"{name} {path}" for name, path in PATHS.items())

_HEADER = f"""\
R=${{POOLKEEPER_ROOT-}}
home="$R/var/lib/poolkeeper"
have() {{ command -v "$1" >/dev/null 2>&1; }}
there() {{ [ -e "$R$1" ] || [ -L "$R$1" ]; }}
empty() {{ # an empty folder; containerd makes an empty /etc/cni/net.d
  [ -d "$R$1" ] && [ ! -L "$R$1" ] || return 1
  for entry in "$R$1"/* "$R$1"/.[!.]* "$R$1"/..?*; do
    if [ -e "$entry" ] || [ -L "$entry" ]; then return 1; fi
  done
}}
swaps() {{ # yes, no, or no output where it cannot be read
  [ -r "$R/proc/swaps" ] || return
  {{ read -r _; if read -r device _ && [ -n "$device" ]; then echo yes; else echo no; fi; }} < "$R/proc/swaps"
}}
says() {{ # whether a file has a line
  while IFS= read -r line; do [ "$line" = "$2" ] && return 0; done < "$1"
  return 1
}}
boot() {{ # no output where it cannot be read
  {{ read -r id < "$R/proc/sys/kernel/random/boot_id"; }} 2>/dev/null && echo "$id"
}}
whole() {{ # a record that a full disk or a crash cut short does not have the last line
  last=
  while IFS= read -r line; do last=$line; done < "$1"
  [ "$last" = '{_LAST_LINE}' ]
}}
"""

_SNAPSHOT = f"""\
snapshot() {{
  while read -r name path; do
    if empty "$path"; then echo "empty $name"
    elif there "$path"; then echo "path $name"; fi
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
  case $(swaps) in yes) echo 'swap on';; no) echo 'swap off';; esac
  echo '{_LAST_LINE}'
}}
"""

_REMEMBER = """\
umask 077
mkdir -p "$home" || exit 1
without_kept() { # of a snapshot: what an undoing had to keep did not exist before the join
  if [ ! -e "$home/undone" ]; then while IFS= read -r each; do echo "$each"; done; return; fi
  while IFS= read -r each; do
    case $each in 'removed empty '*|'removed swap on') echo "${each#removed }";; esac
  done < "$home/undone"
  while IFS= read -r each; do says "$home/undone" "added $each" || echo "$each"; done
}
begun=never
if [ -e "$home/begun" ]; then read -r begun < "$home/begun"; fi
# a finished record belongs to an earlier join; one without a start in this boot may be old
if [ ! -e "$home/before" ] || [ -e "$home/changes" ] || [ -e "$home/undone" ] || [ "$begun" != "$(boot)" ]; then
  rm -f "$home/before.part"
  snapshot | without_kept > "$home/before.part" || exit 1
  if ! whole "$home/before.part"; then rm -f "$home/before.part"; echo 'it could not be written' >&2; exit 1; fi
  rm -f "$home/changes" "$home/undone" "$home/begun"
  mv "$home/before.part" "$home/before"
fi
"""

_RECORDED = "recorded already"
_COMPARE = f"""\
if [ -e "$home/changes" ]; then
  echo '{_RECORDED}'
  while IFS= read -r line; do echo "$line"; done < "$home/changes"
  exit 0
fi
[ -e "$home/before" ] || exit 0
if ! whole "$home/before"; then echo 'the record of the state before the join is incomplete' >&2; exit 1; fi
while IFS= read -r line; do echo "before $line"; done < "$home/before"
snapshot | while IFS= read -r line; do echo "after $line"; done
"""

# only built-ins decide what is removed: a missing grep or awk must not look like "did not exist"
_UNDO = f"""\
# a host that was a node before poolkeeper has an empty record
[ -e "$home/before" ] || {{ rm -f "$home/changes"; exit 0; }}
if ! whole "$home/before"; then
  echo 'the record of the state before the join is incomplete: nothing was undone' >&2; exit 1
fi
mounts="$R/proc/self/mounts"
[ -r "$mounts" ] || mounts="$R/proc/mounts"
if [ ! -r "$mounts" ]; then echo 'mounts cannot be read: nothing was undone' >&2; exit 1; fi
top=$(cd -P -- "${{R:-/}}" && pwd -P) || exit 1
top=${{top%/}}
kept=
record=$home/changes
[ -e "$record" ] || record=$home/undone
was() {{ says "$home/before" "$1"; }}
recorded() {{ # a join that never finished has no record: everything new is the join's
  [ ! -e "$record" ] || says "$record" "$1"
}}
brought() {{ # whether the join has made what has that name in a snapshot
  ! was "$1" && recorded "added $1"
}}
real() {{ # a path after following all symbolic links, as the list of mounts has it
  if [ -d "$R$1" ] && [ ! -L "$R$1" ]; then at=$(cd -P -- "$R$1" && pwd -P) || return 1
  else at=$(cd -P -- "$R${{1%/*}}" && pwd -P)/${{1##*/}} || return 1; fi
  printf '%s' "${{at#"$top"}}"
}}
mounted() {{ # whether something is mounted at or below a path; yes where that cannot be read
  at=$(real "$1") || return 0
  case $at in *[!A-Za-z0-9/._-]*) return 0;; esac
  while read -r _ point _; do
    case $point in "$at"|"$at"/*) return 0;; esac
  done < "$mounts"
  return 1
}}
for unit in {" ".join(UNITS)}; do
  if have systemctl && brought "unit $unit" && [ "$(systemctl is-enabled "$unit" 2>/dev/null)" = enabled ]; then
    if systemctl disable --now "$unit" >/dev/null 2>&1; then echo "disabled unit $unit"
    else kept=yes; echo "kept unit $unit: it could not be disabled"; fi
  fi
done
while read -r name path; do
  there "$path" || continue
  # a folder that the join has left empty is the join's, too
  brought "path $name" || {{ ! was "path $name" && brought "empty $name"; }} || continue
  if was "empty $name" && empty "$path"; then continue; fi
  if mounted "$path"; then kept=yes; echo "kept $name: something is mounted at or below $path"
  elif was "empty $name" && [ -L "$R$path" ]; then
    kept=yes; echo "kept $name: $path was a folder and is a link now"
  elif was "empty $name"; then
    if rm -rf -- "$R$path"/* "$R$path"/.[!.]* "$R$path"/..?*; then echo "emptied $name"
    else kept=yes; echo "kept $name: not all in $path could be removed"; fi
  elif rm -rf -- "$R$path"; then echo "removed $name"
  else kept=yes; echo "kept $name: not all of $path could be removed"; fi
done <<'END-OF-TABLE'
{_TABLE}
END-OF-TABLE
if was 'swap on' && recorded 'removed swap on' && [ "$(swaps)" = no ] && have swapon; then
  swapon -a 2>/dev/null
  if [ "$(swaps)" = yes ]; then echo 'swap on again'
  else kept=yes; echo 'kept swap off: /etc/fstab has none that can be switched on'; fi
fi
# what was kept is still to be undone, and that join no longer counts as finished
if [ -z "$kept" ]; then rm -f "$home/changes" "$home/undone" "$home/begun" "$home/before"
elif [ -e "$home/changes" ]; then mv "$home/changes" "$home/undone"; fi
"""


async def remember(sessions: Sessions, host: Host) -> None:
    """Record the host's state before a join, unless the record of an unfinished join of this boot is there.

    An older record is replaced: what the owner has changed since then is not a join's. Raises HostError.
    """
    await _run(sessions, host, _SNAPSHOT + _REMEMBER)


async def record_start(sessions: Sessions, host: Host) -> None:
    """Record that the join has been started: changes from now on are the join's. Raises HostError."""
    await _run(sessions, host, 'umask 077\necho "$(boot)" > "$home/begun"\n')


async def is_unfinished(sessions: Sessions, host: Host) -> bool:
    """Whether the host has the record of a join that was prepared and not accepted. Raises HostError."""
    body = 'if [ -e "$home/before" ] && [ ! -e "$home/changes" ] && [ ! -e "$home/undone" ]; then echo yes; fi\n'
    return await _run(sessions, host, body) == ["yes"]


async def record(sessions: Sessions, host: Host) -> tuple[str, ...]:
    """Record what has changed since `remember`, one line a change; the lines. Raises HostError.

    It is written once per join: later changes are not the join's. A host that joined before poolkeeper, and so has no
    state to compare with, gets an empty record.
    """
    found = await _run(sessions, host, _SNAPSHOT + _COMPARE)
    if found[:1] == [_RECORDED]:
        return tuple(line for line in found[1:] if line)
    changes = compare(found)
    body = shlex.quote("\n".join(changes))
    await _run(
        sessions,
        host,
        'umask 077\nmkdir -p "$home"\n'
        f'printf "%s\\n" {body} > "$home/changes.part" && mv "$home/changes.part" "$home/changes"\n',
    )
    return changes


def compare(found: Sequence[str]) -> tuple[str, ...]:
    """What was added and removed, from lines `before ...` and `after ...`. Pure."""
    before = {line.removeprefix("before ") for line in found if line.startswith("before ")}
    after = {line.removeprefix("after ") for line in found if line.startswith("after ")}
    return (
        *(f"added {line}" for line in sorted(after - before)),
        *(f"removed {line}" for line in sorted(before - after)),
    )


async def undo(sessions: Sessions, host: Host) -> tuple[str, ...]:
    """Undo what a join has changed: units that it enabled, known paths that it made, swap that it switched off.

    The record decides; for a join that never finished, everything that did not exist before it. Packages stay; they do
    no harm. Returns what was undone and what had to be kept. If something was kept, the record stays, and the next
    undoing continues from it. Raises HostError.
    """
    return tuple(await _run(sessions, host, _UNDO))


async def _run(sessions: Sessions, host: Host, body: str) -> list[str]:
    result = await sessions.run(host, _HEADER + body)
    if result.exit_status != 0:
        output = result.stderr.strip()[-300:] or f"exit status {result.exit_status}"
        raise HostError(
            f"the record of changes could not be read or written: {output}",
            next_step="Check /var/lib/poolkeeper on the host, and the free space below /var.",
        )
    return result.stdout.splitlines()
