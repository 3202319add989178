"""A good fleet file, and small changes to it."""

from __future__ import annotations

from pathlib import Path

from poolkeeper.tasks.fleet import Fleet, check_fleet, load_fleet
from poolkeeper.tasks.fleet.problems import Problems

GOOD = """\
fleet: acme
mode: act
ssh:
  user: ops
  key: {file: keys/ops}
clusters:
  main:
    provider:
      ack:
        cluster_id: c-1
        region: eu-central-1
    kubeconfig: {env: MAIN_KUBECONFIG}
    pod_cidrs: [172.20.0.0/16]
    service_cidrs: [172.21.0.0/20]
    container_cidr: 10.100.0.0/16
    node_mask: 24
sites:
  fra1:
    time_zone: Europe/Berlin
    cidrs: [10.1.0.0/16]
    windows:
      - {days: [sat, sun], start: "02:00", duration: 4h}
    freezes:
      - {from: 2026-12-20T00:00:00+01:00, to: 2027-01-03T00:00:00+01:00}
  sha1:
    time_zone: Asia/Shanghai
    cidrs: [10.2.0.0/16]
    ssh:
      jump: {address: jump.example.com}
domains:
  rack1: {site: fra1, max_unavailable: 1}
  rack2: {site: sha1}
pools:
  general:
    cluster: main
    nodepool_id: np-1
    max_unavailable: 10%
    accepted:
      - {os: debian, versions: ["12"], kernel_min: "5.10", arch: [amd64]}
hosts:
  n01: {address: 10.1.0.11, site: fra1, pool: general, domain: rack1}
  n02: {address: 10.1.0.12, site: fra1, pool: general, domain: rack1}
  n03: {address: 10.2.0.11, site: sha1, pool: general, domain: rack2}
"""


def a_file(folder: Path, text: str | bytes = GOOD) -> Path:
    """The text as `fleet.yaml` in a folder that has the key it names."""
    (folder / "keys").mkdir(exist_ok=True)
    (folder / "keys" / "ops").write_text("not a real key")
    path = folder / "fleet.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def changed(*changes: tuple[str, str]) -> str:
    """The good text with some of it replaced; what is to be replaced stands in it once."""
    text = GOOD
    for old, new in changes:
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in the text"
        text = text.replace(old, new)
    return text


def problems_of(folder: Path, text: str | bytes) -> Problems:
    return check_fleet(a_file(folder, text))[1]


def a_fleet(folder: Path, *changes: tuple[str, str]) -> Fleet:
    return load_fleet(a_file(folder, changed(*changes)))
