"""apt-get, apt-cache, apt-mark, dpkg-query and dpkg: a host's packages, as files `state/packages/NAME`.

What apt has fetched lies in the host's own /var/cache/apt/archives; `state/holds/NAME` are its holds. A package that
brings a program writes it below the host's root. Nothing is fetched from anywhere.
"""

from __future__ import annotations

import os
import sys

from poolkeeper.deployments.lab.standins.paths import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(os.environ["POOLKEEPER_ROOT"])
STATE = Path(os.environ["POOLKEEPER_LAB_STATE"]) / "state"
FAULTS = STATE.parent / "faults"
PACKAGES, HOLDS, ARCHIVES = STATE / "packages", STATE / "holds", ROOT / "var/cache/apt/archives"
MIRROR = "http://mirror.example/debian"
NO_ANSWER = "Could not connect to mirror.example:80"

KUBERNETES = ("1.36.3-1.1", "1.35.4-1.1", "1.34.9-1.1")
SOURCES = {
    "containerd": ("1.6.24~ds1-1+deb12u1", "1.6.20~ds1-1+deb12u1"),
    "kubelet": KUBERNETES,
    "kubeadm": KUBERNETES,
    "kubectl": KUBERNETES,
    "conntrack": ("1:1.4.7-1+b2",),
    "socat": ("1.7.4.4-2",),
    "chrony": ("4.3-2",),
}
"""What can be installed, the newest first."""
SIZES = {"containerd": 27_000_000, "kubelet": 12_500_000, "kubeadm": 11_900_000, "kubectl": 10_800_000}

_PROGRAMS = {
    "containerd": '#!/bin/sh\necho "containerd github.com/containerd/containerd {version}"\n',
    "kubelet": '#!/bin/sh\necho "Kubernetes v{version}"\n',
    "kubectl": '#!/bin/sh\necho "Client Version: v{version}"\n',
    "kubeadm": """\
#!/bin/sh
case $1:$2 in
  version:*) echo "v{version}";;
  upgrade:node)
    [ -e "$POOLKEEPER_ROOT/var/lib/kubelet/config.yaml" ] || {{ echo 'error: this is no node' >&2; exit 1; }}
    echo '[upgrade] The kubelet configuration for this node was upgraded';;
  *) echo "kubeadm: the lab does not know: kubeadm $*" >&2; exit 2;;
esac
""",
}


class Refused(Exception):
    """apt says no; the message is its error."""


def has_fault(name: str) -> bool:
    return (FAULTS / name).exists()


def named(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text().strip() for path in folder.iterdir()} if folder.exists() else {}


def sources(name: str) -> tuple[str, ...]:
    """What the host's sources have of a package; one that is broken lacks all that is newer than what is installed."""
    versions = SOURCES.get(name, ())
    if not has_fault("package-missing"):
        return versions
    here = named(PACKAGES).get(name) or (versions[-1] if versions else "")
    return tuple(version for version in versions if not is_newer(version, here))


def is_newer(one: str, other: str) -> bool:
    return compare(one, other) > 0


def compare(one: str, other: str) -> int:
    """dpkg's order as far as the versions here need it: epoch, then numbers as numbers, `~` before the end."""

    import re

    def parts(version: str) -> tuple[int, list[str]]:
        epoch, colon, rest = version.rpartition(":")
        return int(epoch) if colon else 0, re.findall(r"\d+|[^\d]+", rest)

    (epoch, mine), (other_epoch, theirs) = parts(one), parts(other)
    if epoch != other_epoch:
        return epoch - other_epoch
    for index in range(max(len(mine), len(theirs))):
        a, b = (words[index] if index < len(words) else "" for words in (mine, theirs))
        if a == b:
            continue
        if a.startswith("~") or b.startswith("~"):
            return -1 if a.startswith("~") else 1
        if a.isdigit() and b.isdigit():
            return int(a) - int(b)
        return 1 if a > b else -1
    return 0


def words_of(arguments: list[str]) -> tuple[set[str], list[str]]:
    """Options without their values, and everything else."""
    options, words, rest = set(), [], iter(arguments)
    for word in rest:
        if word in ("-o", "-c", "-t"):
            next(rest, "")
        elif word.startswith("-"):
            options.add(word)
        else:
            words.append(word)
    return options, words


def wanted(words: list[str]) -> Iterator[tuple[str, str]]:
    """Name and version of each `name`, `name=version` or `name=prefix*`. Raises Refused."""
    import re

    for word in words:
        name, _, asked = word.partition("=")
        versions = sources(name)
        if not versions:
            raise Refused(f"Unable to locate package {name}")
        pattern = re.escape(asked).replace(r"\*", ".*")
        found = next((v for v in versions if not asked or re.fullmatch(pattern, v)), None)
        if found is None:
            raise Refused(f"Version '{asked}' for '{name}' was not found")
        yield name, found


def fetch(name: str, version: str) -> None:
    """Into the archives. Raises Refused."""
    if has_fault("mirror-down"):
        raise Refused(f"Failed to fetch {MIRROR}/{name}_{version}_amd64.deb  {NO_ANSWER}")
    if has_fault("disk-full"):
        raise Refused("You don't have enough free space in /var/cache/apt/archives/.")
    ARCHIVES.mkdir(parents=True, exist_ok=True)
    archive(name, version).touch()


def archive(name: str, version: str) -> Path:
    return ARCHIVES / f"{name}_{version.replace(':', '%3a')}_amd64.deb"


def set_up(name: str, version: str) -> None:
    """Put a package's program on the host, and its version into the state."""
    (PACKAGES / name).write_text(f"{version}\n")
    print(f"Setting up {name} ({version}) ...")
    kept = name == "kubelet" and has_fault("upgrade-keeps-old-kubelet") and (ROOT / "usr/bin/kubelet").exists()
    if name in _PROGRAMS and not kept:
        program = ROOT / "usr/bin" / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(_PROGRAMS[name].format(version=version.partition("-")[0]))
        program.chmod(0o755)
    if name == "kubelet":
        (STATE / "kubelet-upgraded").touch()
    if name == "containerd" and (ROOT / "etc/systemd/system/containerd.service").exists():
        os.spawnlp(os.P_WAIT, "systemctl", "systemctl", "restart", "containerd")  # as its package does


def apt_get(arguments: list[str]) -> int:
    """update, install (with --download-only and --print-uris), remove and purge."""
    options, words = words_of(arguments)
    verb, names = (words[0], words[1:]) if words else ("", [])
    PACKAGES.mkdir(parents=True, exist_ok=True)
    print("Reading package lists... Done")
    try:
        if verb == "update":
            if has_fault("mirror-down"):
                print(f"Err:1 {MIRROR} bookworm InRelease")
                raise Refused(f"Failed to fetch {MIRROR}/dists/bookworm/InRelease  {NO_ANSWER}")
        elif verb == "install":
            install(options, names)
        elif verb in ("remove", "purge"):
            for name in names:
                (PACKAGES / name).unlink(missing_ok=True)
                print(f"Removing {name} ...")
        else:
            raise Refused(f"Invalid operation {verb}: the lab does not know it")
    except Refused as error:
        print(f"E: {error}", file=sys.stderr)
        return 100
    return 0


def install(options: set[str], words: list[str]) -> None:
    """Raises Refused before anything is changed."""
    here, held = named(PACKAGES), named(HOLDS)
    asked = [(name, version) for name, version in wanted(words) if here.get(name) != version]
    for name, version in asked:
        if name in held and "--allow-change-held-packages" not in options:
            raise Refused("Held packages were changed and -y was used without --allow-change-held-packages.")
        if is_newer(here.get(name, "0"), version) and "--allow-downgrades" not in options:
            raise Refused("Packages were downgraded and -y was used without --allow-downgrades.")
    missing = [each for each in asked if not archive(*each).exists()]
    if "--print-uris" in options:
        for name, version in missing:
            file = archive(name, version).name
            print(f"'{MIRROR}/{file}' {file} {SIZES.get(name, 100_000)} SHA256:{'0' * 64}")
        return
    for each in missing:
        fetch(*each)
    if "--download-only" in options or "-d" in options:
        print("Download complete and in download only mode")
        return
    for name, version in asked:
        (HOLDS / name).unlink(missing_ok=True)  # apt forgets the hold of what it changes
        set_up(name, version)


def apt_cache(arguments: list[str]) -> int:
    """`madison NAME...` and `policy NAME...`."""
    from functools import cmp_to_key

    _, words = words_of(arguments)
    verb, names = (words[0], words[1:]) if words else ("", [])
    if verb not in ("madison", "policy"):
        print(f"E: Invalid operation {verb}: the lab does not know it", file=sys.stderr)
        return 100
    for name in names:
        versions, here = sources(name), named(PACKAGES).get(name, "(none)")
        if verb == "madison":
            for version in versions:
                print(f"{name:>10} | {version} | {MIRROR} bookworm/main amd64 Packages")
        elif versions or here != "(none)":
            print(f"{name}:\n  Installed: {here}\n  Candidate: {versions[0] if versions else here}\n  Version table:")
            for version in sorted({*versions, here} - {"(none)"}, key=cmp_to_key(compare), reverse=True):
                print(f" {'***' if version == here else '   '} {version} 500")
    return 0


def apt_mark(arguments: list[str]) -> int:
    """`hold NAME...`, `unhold NAME...`, `showhold`."""
    _, words = words_of(arguments)
    verb, names = (words[0], words[1:]) if words else ("", [])
    HOLDS.mkdir(parents=True, exist_ok=True)
    if verb == "showhold":
        for name in sorted(named(HOLDS)):
            print(name)
        return 0
    if verb not in ("hold", "unhold"):
        print(f"E: Invalid operation {verb}: the lab does not know it", file=sys.stderr)
        return 100
    for name in names:
        if verb == "hold":
            (HOLDS / name).touch()
            print(f"{name} set on hold.")
        else:
            (HOLDS / name).unlink(missing_ok=True)
            print(f"Canceled hold on {name}.")
    return 0


def dpkg_query(arguments: list[str]) -> int:
    """`dpkg-query -W [-f FORMAT] [NAME...]` with ${Package}, ${Version} and ${Status} or ${db:Status-Status}."""
    form, names, rest = "${Package}\t${Version}\n", [], iter(arguments)
    for word in rest:
        if word in ("-f", "--showformat"):
            form = next(rest, form)
        elif word.startswith(("-f", "--showformat=")):
            form = word.removeprefix("--showformat=").removeprefix("-f").removeprefix("=")
        elif not word.startswith("-"):
            names.append(word)
    form, here, status = form.replace("\\n", "\n").replace("\\t", "\t"), named(PACKAGES), 0
    for name in names or sorted(here):
        if name not in here:
            print(f"dpkg-query: no packages found matching {name}", file=sys.stderr)
            status = 1
            continue
        line = form.replace("${Package}", name).replace("${Version}", here[name])
        line = line.replace("${db:Status-Status}", "installed").replace("${Status}", "install ok installed")
        sys.stdout.write(line)
    return status


def dpkg(arguments: list[str]) -> int:
    """`--configure -a`, where there is never anything to do."""
    if "--configure" in arguments:
        return 0
    print(f"dpkg: the lab does not know: dpkg {' '.join(arguments)}", file=sys.stderr)
    return 2


PROGRAMS = {
    "apt-get": apt_get,
    "apt-cache": apt_cache,
    "apt-mark": apt_mark,
    "dpkg-query": dpkg_query,
    "dpkg": dpkg,
}
