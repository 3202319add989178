"""What a drained host runs for its upgrade: the goal's own packages first, then the provider's script. Pure.

Run again, it finishes what was interrupted.
"""

from __future__ import annotations

from collections.abc import Mapping

from poolkeeper.tasks.outcomes import Secret
from poolkeeper.tasks.packages.apt.installing import install_script
from poolkeeper.tasks.packages.scripts import in_turn
from poolkeeper.tasks.provider.upgrading import OnHost


def upgrade_script(packages: Mapping[str, str], way: OnHost | None, digest: str) -> Secret | None:
    """Everything that a host runs; None: it runs nothing.

    packages: name -> exact version of the goal's own packages
    way: the provider's script, where its way is one
    digest: of the goal
    """
    parts = [install_script(packages)] if packages else []
    if way is not None:
        parts.append(way.script.reveal())
    words = way.script.words() if way is not None else ()
    return Secret(in_turn(parts, digest), secret_words=words) if parts else None
