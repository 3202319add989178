"""A package of the machines' system once more, as a distribution rebuilds one: the same files, a later revision.

What the machines have installed, the mirror has in the version after it: a container runtime to upgrade to.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from poolkeeper.deployments.lab.real.machines.kubernetes_packages import packed

CONTAINER_RUNTIME = "containerd"
REBUILT = "+lab1"
"""Behind the version that is installed: greater than it, for dpkg."""
_SCRIPTS = ("preinst", "postinst", "prerm", "postrm", "conffiles", "triggers")
_OF_THE_INSTALLED = ("Status", "Conffiles", "Built-Using")
"""What dpkg's own record says of a package, and a package does not say of itself."""


def rebuilt(base: Path, name: str, repository: Path) -> str:
    """Make the package of what the tree `base` has installed; answers its stanza for the index. Raises Unavailable."""
    info = base / "var/lib/dpkg/info"
    fields = fields_of((base / "var/lib/dpkg/status").read_text(), name)
    fields["Version"] += REBUILT
    with tempfile.TemporaryDirectory(dir=repository) as folder:
        tree = Path(folder)
        tree.chmod(0o755)
        for line in (info / f"{name}.list").read_text().splitlines():
            _lay(base / line.strip("/"), tree / line.strip("/"))
        (tree / "DEBIAN").mkdir()
        for script in _SCRIPTS:
            if (info / f"{name}.{script}").exists():
                shutil.copy(info / f"{name}.{script}", tree / "DEBIAN" / script)
        (tree / "DEBIAN/control").write_text("".join(f"{key}: {value}\n" for key, value in fields.items()))
        return packed(tree, repository / f"{name}_{fields['Version']}_{fields['Architecture']}.deb")


def fields_of(status: str, name: str) -> dict[str, str]:
    """A package's fields by dpkg's record, without what is of the installed one; a value keeps its further lines."""
    stanza = next(part for part in status.split("\n\n") if part.startswith(f"Package: {name}\n"))
    fields: dict[str, str] = {}
    for line in stanza.splitlines():
        if line.startswith(" "):
            fields[next(reversed(fields))] += f"\n{line}"
        else:
            key, _, value = line.partition(": ") if ": " in line else line.partition(":")
            fields[key] = value
    return {key: value for key, value in fields.items() if key not in _OF_THE_INSTALLED}


def _lay(source: Path, target: Path) -> None:
    if source.is_dir():
        target.mkdir(exist_ok=True)
    else:
        shutil.copy2(source, target, follow_symlinks=False)
