"""Container images made of programs that need nothing else, laid out as a registry serves them.

https://github.com/opencontainers/image-spec and distribution-spec: a layer is a tar, a configuration names it, a
manifest names both, everything by its digest. A registry that is only read from is a folder of such files.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
_CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
_LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
_RESOLVES = b"hosts: files dns\n"
_USERS = b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n"


@dataclass(frozen=True, slots=True)
class Image:
    """One image: programs by the path that they get."""

    name: str
    tag: str
    programs: Mapping[str, Path]
    links: Mapping[str, str] = field(default_factory=dict)
    """Path -> what it is a link to."""
    scripts: Mapping[str, str] = field(default_factory=dict)
    """Path -> text."""
    command: Sequence[str] = ()

    def write(self, registry: Path) -> None:
        """Put it below a folder as `/v2/<name>/...` is asked for."""
        folder = registry / "v2" / self.name
        layer = self._layer()
        config = _json(
            {
                "architecture": "amd64",
                "os": "linux",
                "config": {"Cmd": list(self.command), "Env": ["PATH=/bin:/usr/bin:/usr/sbin"]},
                "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
            }
        )
        packed = gzip.compress(layer, compresslevel=0, mtime=0)
        manifest = _json(
            {
                "schemaVersion": 2,
                "mediaType": _MANIFEST_TYPE,
                "config": _descriptor(_CONFIG_TYPE, config),
                "layers": [_descriptor(_LAYER_TYPE, packed)],
            }
        )
        for blob in (config, packed):
            _write(folder / "blobs" / _digest(blob), blob)
        for reference in (self.tag, _digest(manifest)):
            _write(folder / "manifests" / reference, manifest)

    def _layer(self) -> bytes:
        """The tar of its only layer, the same bytes for the same programs."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for name in ("bin", "etc", "tmp"):
                _add(tar, name, kind=tarfile.DIRTYPE, mode=0o1777 if name == "tmp" else 0o755)
            _add(tar, "etc/passwd", _USERS)
            _add(tar, "etc/nsswitch.conf", _RESOLVES)
            for name, program in self.programs.items():
                _add(tar, name, program.read_bytes(), mode=0o755)
            for name, text in self.scripts.items():
                _add(tar, name, text.encode(), mode=0o755)
            for name, target in self.links.items():
                _add(tar, name, kind=tarfile.SYMTYPE, link=target)
        return buffer.getvalue()


def _add(
    tar: tarfile.TarFile,
    name: str,
    content: bytes = b"",
    *,
    kind: bytes = tarfile.REGTYPE,
    mode: int = 0o644,
    link: str = "",
) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.size, entry.linkname = kind, mode, len(content), link
    tar.addfile(entry, io.BytesIO(content))


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True).encode()


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _descriptor(kind: str, content: bytes) -> dict[str, Any]:
    return {"mediaType": kind, "digest": _digest(content), "size": len(content)}


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def media_type(path: Path) -> str:
    """What a registry says of a file: a manifest tells its own type."""
    return _MANIFEST_TYPE if path.parent.name == "manifests" else "application/octet-stream"
