"""Installing exact versions on a host whose services may be restarted, with the holds that it had before."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.hosts.sessions import Sessions
from poolkeeper.tasks.packages.apt.shell import APT, LOCKED, pins
from poolkeeper.tasks.packages.errors import LOCK_WAIT_S, Locked, PackageError
from poolkeeper.tasks.packages.runtimes import units_of

INSTALL = """\
interrupted() { # finish it first. That may restart services: only a drained host, or one without a Node, installs
  dpkg --force-confdef --force-confold --configure -a >/dev/null 2>&1
  return 0
}
held=${POOLKEEPER_ROOT-}/var/lib/poolkeeper/held
hold_later() { # names of packages, written to disk so that hold_again finds them after a kill
  (umask 077; mkdir -p "${held%/*}" && printf '%s\\n' "$@" >> "$held")
}
hold_again() { # hold the packages in that file which are installed, also those that a killed program wrote there
  [ -e "$held" ] || return 0
  set --
  while read -r each; do
    case $(dpkg-query -W -f '${db:Status-Status}' "$each" 2>/dev/null) in installed) set -- "$@" "$each";; esac
  done < "$held"
  if [ $# -gt 0 ]; then
    output=$(patiently apt-mark hold "$@" < /dev/null) || { failed=$?; printf '%s\\n' "$output" >&2; return $failed; }
  fi
  rm -f "$held"
}
install_exactly() { # name=version...: all in one transaction; afterwards the same packages are held as before
  for each in $(apt-mark showhold); do # apt drops the hold of a package that it changes
    case " $* " in *" $each="*) hold_later "$each" || return 1;; esac
  done
  exactly install "$@"
  status=$?
  hold_again || status=1
  return $status
}
"""
"""Shell functions that install exact versions; they come after `APT`."""

_INSTALL_ALL = """\
install_exactly "$@" || { echo "apt-get could not install $*: see its lines above" >&2; exit 1; }
"""
_RESTART = """\
systemctl restart {unit} || {{ echo '{unit} could not be restarted: journalctl -u {unit} -n 50' >&2; exit 1; }}
"""


def install_script(packages: Mapping[str, str]) -> str:
    """A shell script that installs exact versions and restarts the container runtime where its package is one of them.

    packages: name -> exact version. Run again, it finishes what was interrupted.
    """
    restarts = "".join(_RESTART.format(unit=unit) for unit in units_of(packages))
    return f"{APT}{INSTALL}set -- {' '.join(map(shlex.quote, pins(packages)))}\n{_INSTALL_ALL}{restarts}"


async def hold_again(sessions: Sessions, host: Host) -> None:
    """Hold the packages again whose hold an interrupted installation has dropped.

    Raises Locked, PackageError; HostError.
    """
    result = await sessions.run(host, f"{APT}{INSTALL}hold_again", timeout_s=LOCK_WAIT_S + 60)
    if result.exit_status == LOCKED:
        raise Locked(result.stderr.strip().partition("\n")[0][:200])
    if result.exit_status:
        raise PackageError(
            f"apt-mark could not hold the packages again: {result.stderr.strip()[-200:] or 'no output'}",
            next_step="On the host, `apt-mark hold` each name in /var/lib/poolkeeper/held; then remove that file.",
        )
