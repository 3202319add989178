"""What a drained host runs for its upgrade. Pure.

POSIX shell: packages of the container runtime first, then the provider's own part. Run again it finishes what was cut
off; at its end it says for which goal it was, so that the unit that ran it can be told from one for another goal.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from poolkeeper.tasks.hosts.packages import APT, INSTALL, pins
from poolkeeper.tasks.outcomes import Secret
from poolkeeper.tasks.provider.upgrading import OnHost
from poolkeeper.tasks.upgrade.pinning import RUNTIMES

_PACKAGES = """\
install_exactly "$@" || { echo "apt-get could not install $*: see its lines above" >&2; exit 1; }
"""
_RESTART = """\
systemctl restart {unit} || {{ echo '{unit} could not be restarted: journalctl -u {unit} -n 50' >&2; exit 1; }}
"""


def end_mark(digest: str) -> str:
    """The last line of a script that has done its work for a goal."""
    return f"poolkeeper: upgraded to {digest}"


def upgrade_script(packages: Mapping[str, str], way: OnHost | None, digest: str) -> Secret | None:
    """All that a host runs, or None where it runs nothing.

    packages: name -> exact version of the goal's own packages
    way: the provider's, where it is a script
    """
    if not packages and way is None:
        return None
    parts = []
    if packages:
        units = dict.fromkeys(RUNTIMES[name].unit for name in packages if name in RUNTIMES)
        restart = "".join(_RESTART.format(unit=unit) for unit in units)
        parts.append(f"{APT}{INSTALL}set -- {' '.join(map(shlex.quote, pins(packages)))}\n{_PACKAGES}{restart}")
    if way is not None:
        parts.append(way.script.reveal())
    text = "".join(f"(\n{part}\n) || exit\n" for part in parts)
    words = way.script.words() if way is not None else ()
    return Secret(f"{text}echo {shlex.quote(end_mark(digest))}\n", secret_words=words)
