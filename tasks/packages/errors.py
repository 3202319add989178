"""What keeps packages of a host from being read, fetched or installed."""

from __future__ import annotations

from poolkeeper.tasks.hosts.errors import HostError

LOCK_WAIT_S = 300
"""How long a lock that another program holds is waited for, in seconds: an unattended upgrade takes minutes."""


class PackageError(HostError):
    """Packages could not be read, fetched or installed; a person has to correct the host or its mirror."""

    id = "hosts.packages.failed"
    expected = "apt reads, fetches and installs packages on the host"
    next_step = "Run the same on the host by hand: `apt-get update`, then `apt-get --simulate install NAME=VERSION`."
    source = "apt"


class NoApt(PackageError):
    """The host has no apt."""

    id = "hosts.packages.no-apt"
    expected = "apt-get, apt-cache, apt-mark and dpkg-query on the host"
    next_step = "Upgrade this host by hand with its own package manager; poolkeeper supports apt only."


class ListsNotFetched(PackageError):
    """A source of the host did not answer, so it is not known which versions there are."""

    id = "hosts.packages.lists"
    expected = "`apt-get update` fetches the lists of every source"
    next_step = "Correct the mirror, the route to it or the sources that are named (/etc/apt), then start again."


class Locked(PackageError):
    """Another program holds apt's or dpkg's lock."""

    id = "hosts.packages.locked"
    expected = f"apt's locks are free within {LOCK_WAIT_S} s"
    next_step = (
        "Find the program that holds them (`fuser -v /var/lib/dpkg/lock-frontend /var/lib/apt/lists/lock`), and start"
        " again when it has ended."
    )


class NotResolved(PackageError):
    """apt finds no way to install these versions."""

    id = "hosts.packages.unresolved"
    expected = "apt can install exactly these versions without removing anything"
    next_step = "Run `apt-get --simulate install NAME=VERSION` on the host, and correct what it reports."


class NotDownloaded(PackageError):
    """The packages could not be fetched."""

    id = "hosts.packages.download"
    expected = "the packages are in apt's archives on the host"
    next_step = "Correct the mirror or the route to it, or free space below /var/cache/apt, then start again."
