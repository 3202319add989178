"""Images and packages of the lab of machines, as registry and apt repository serve them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from poolkeeper.deployments.lab.real.machines.images import Image, media_type
from poolkeeper.deployments.lab.real.machines.kubernetes_packages import Package
from poolkeeper.deployments.lab.real.machines.network import port_of


@pytest.fixture
def served(tmp_path: Path) -> Path:
    program = tmp_path / "hello"
    program.write_bytes(b"a program")
    image = Image(
        "tools/hello", "1", {"bin/hello": program}, {"bin/hi": "hello"}, {"bin/say": "#!/bin/sh\n"}, ("hello",)
    )
    image.write(tmp_path / "registry")
    return tmp_path / "registry/v2/tools/hello"


def test_everything_is_served_under_its_digest(served: Path) -> None:
    files = [*(served / "blobs").iterdir(), *(served / "manifests").glob("sha256:*")]
    assert len(files) == 3
    for file in files:
        assert file.name == f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"


def test_a_tag_leads_to_configuration_and_layer(served: Path) -> None:
    manifest = json.loads((served / "manifests/1").read_text())
    config = json.loads((served / "blobs" / manifest["config"]["digest"]).read_text())
    layer = gzip.decompress((served / "blobs" / manifest["layers"][0]["digest"]).read_bytes())
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(layer).hexdigest()}"]
    with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
        assert (tar.getmember("bin/hello").mode, tar.getmember("bin/say").mode) == (0o755, 0o755)
        assert tar.getmember("bin/hi").linkname == "hello"


def test_the_same_programs_make_the_same_image(served: Path, tmp_path: Path) -> None:
    before = (served / "manifests/1").read_bytes()
    image = Image(
        "tools/hello",
        "1",
        {"bin/hello": tmp_path / "hello"},
        {"bin/hi": "hello"},
        {"bin/say": "#!/bin/sh\n"},
        ("hello",),
    )
    image.write(tmp_path / "again")
    assert (tmp_path / "again/v2/tools/hello/manifests/1").read_bytes() == before


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        pytest.param("v2/busybox/manifests/1", "application/vnd.oci.image.manifest.v1+json", id="manifest by tag"),
        pytest.param("v2/busybox/blobs/sha256:00", "application/octet-stream", id="blob"),
        pytest.param("apt/Packages", "application/octet-stream", id="index of packages"),
    ],
)
def test_media_types(path: str, kind: str) -> None:
    assert media_type(Path(path)) == kind


def test_a_package_is_described_as_dpkg_wants_it(tmp_path: Path) -> None:
    program = tmp_path / "kubectl"
    program.write_bytes(bytes(2048))
    package = Package("kubectl", "1.36.3-1.1", program)
    assert package.file_name == "kubectl_1.36.3-1.1_amd64.deb"
    assert "Installed-Size: 2\n" in package.control
    assert "Depends" not in package.control


@pytest.mark.parametrize("name", ["control-plane", "cloud-1", "fra1-n20"])
def test_names_of_devices_are_not_cut(name: str) -> None:
    """The kernel's limit is 15 characters; two names that differ only behind it would collide."""
    assert port_of(name) == f"p-{name}"
