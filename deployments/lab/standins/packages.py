"""apt-get and dpkg-query: a host's packages as files `state/packages/NAME` that hold a version."""

from __future__ import annotations

import os
import sys
from pathlib import Path

PACKAGES = Path(os.environ["POOLKEEPER_LAB_STATE"]) / "state" / "packages"
ARCHIVE = {"containerd": "1.6.20~ds1-1+deb12u1", "conntrack": "1:1.4.7-1+b2", "socat": "1.7.4.4-2", "chrony": "4.3-2"}
"""What can be installed."""


def installed() -> dict[str, str]:
    return {path.name: path.read_text().strip() for path in PACKAGES.iterdir()} if PACKAGES.exists() else {}


def apt_get(arguments: list[str]) -> int:
    """update, install, remove and purge; nothing is fetched from anywhere."""
    words = [word for word in arguments if not word.startswith("-")]
    verb, names = (words[0], words[1:]) if words else ("", [])
    PACKAGES.mkdir(parents=True, exist_ok=True)
    if verb == "update":
        print("Reading package lists... Done")
        return 0
    if verb in ("install", "remove", "purge"):
        for name in names:
            if verb == "install":
                if name not in ARCHIVE:
                    print(f"E: Unable to locate package {name}", file=sys.stderr)
                    return 100
                (PACKAGES / name).write_text(ARCHIVE[name] + "\n")
                print(f"Setting up {name} ({ARCHIVE[name]}) ...")
            else:
                (PACKAGES / name).unlink(missing_ok=True)
                print(f"Removing {name} ...")
        return 0
    print(f"E: Invalid operation {verb}: the lab does not know it", file=sys.stderr)
    return 100


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
    form, here, status = form.replace("\\n", "\n").replace("\\t", "\t"), installed(), 0
    for name in names or sorted(here):
        if name not in here:
            print(f"dpkg-query: no packages found matching {name}", file=sys.stderr)
            status = 1
            continue
        line = form.replace("${Package}", name).replace("${Version}", here[name])
        line = line.replace("${db:Status-Status}", "installed").replace("${Status}", "install ok installed")
        sys.stdout.write(line)
    return status


if __name__ == "__main__":
    sys.exit({"apt-get": apt_get, "dpkg-query": dpkg_query}[sys.argv[1]](sys.argv[2:]))
