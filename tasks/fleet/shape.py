"""What a YAML file of ours is read as: the words of its kind, and its document.

The fleet file is one kind. Other files that people write (tariffs) are read by the same steps, so that they are
answered the same way: every problem at once, with line, column, path and fix.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter

from poolkeeper.tasks.fleet.model import Fleet

D = TypeVar("D")


@dataclass(frozen=True, slots=True)
class FileKind:
    """How a kind of file is spoken of, before anything in it is understood."""

    name: str
    """Such as `fleet`: its keys are a fleet's keys, and one is declared in a file."""
    begin: str
    """What a file of this kind begins with, as a sentence."""
    name_one: str
    """How a person says which file is meant, as a sentence."""
    large: str
    """What to do about a file of more than 5 MB, as a sentence."""
    fraction: Callable[[str], Any] = float
    """What `0.09` becomes; money is no float."""


@dataclass(frozen=True)
class Shape(Generic[D]):
    """What a file of one kind may hold."""

    document: type[D]
    """What it is read as."""
    sections: tuple[str, ...]
    """Top-level keys whose entries are named by whoever writes the file."""
    stand_ins: Mapping[str, Any]
    """Key -> what stands in for a value that is needed and cannot be read."""
    compare_with: str
    """Where to look up how it is written, as a sentence."""

    @cached_property
    def adapter(self) -> TypeAdapter[D]:
        """Reads plain data. Made when it is asked for first: a command that reads no file need not wait for it."""
        return TypeAdapter(self.document)

    @cached_property
    def schema(self) -> Mapping[str, Any]:
        """As JSON Schema, without docstrings."""
        return self.adapter.json_schema()


FLEET_FILE = FileKind(
    name="fleet",
    begin="Begin with `fleet: NAME`, then clusters, sites, pools, hosts.",
    name_one="Name one with --fleet or $POOLKEEPER_FLEET.",
    large="Declare one fleet a file; 5,000 hosts take less than 1 MB.",
)

_SECTIONS = ("clusters", "sites", "domains", "pools", "hosts")
_SECRET = {"env": "UNREAD"}

FLEET = Shape(
    document=Fleet,
    sections=_SECTIONS,
    stand_ins={
        **{section: {} for section in _SECTIONS},
        **dict.fromkeys(("fleet", "user", "cluster_id", "region", "nodepool_id", "os"), "unread"),
        **dict.fromkeys(("cluster", "site", "pool", "address"), "unread"),
        **dict.fromkeys(("key", "kubeconfig", "access_key_id", "access_key_secret"), _SECRET),
        "agent": True,
        "provider": {"kubeadm": {}},
        "time_zone": "UTC",
        "start": "00:00",
        "duration": "1h",
        "from": "2000-01-01T00:00:00Z",
        "to": "2000-01-02T00:00:00Z",
    },
    compare_with="Compare with the schema: `poolkeeper schema`.",
)
