"""What a company has besides its cluster, to be reached by name and https: one service in the cloud, one at each site.

They are what an audit is told to probe. All have certificates of one authority, whose own is in the lab's folder.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path

from poolkeeper.deployments.lab.faults import Fault
from poolkeeper.deployments.lab.kubernetes.certificates import Certificate, LabCA
from poolkeeper.deployments.lab.layout import SITES, LabFolder, Network, write_private

CLOUD_NAME = "intranet.lab"
_EXPIRED_SINCE = timedelta(days=3)


def site_name(site: str) -> str:
    """The name of a site's own service."""
    return f"intranet.{site}.lab"


def cloud_address(network: Network) -> str:
    return network.address(0, 5)


def site_address(network: Network, site: str) -> str:
    return str(network.site_cidr(site).network_address + 80)


class Certificates:
    """The services' certificates, as files that `web.py` serves with; the authority's is beside the fleet file."""

    def __init__(self, folder: LabFolder) -> None:
        self._authority, self._foreign = LabCA("poolkeeper-lab-intranet"), LabCA("somebody-else")
        place = folder.path / "intranet"
        place.mkdir(mode=0o700)
        self.cloud, self.sites = place / "cloud.pem", place / "sites.pem"
        folder.intranet_ca.write_bytes(self._authority.certificate_pem)
        self.show(())
        _put(self.sites, self._authority.server_certificate([site_name(site) for site in SITES]))

    def show(self, faults: Collection[Fault]) -> None:
        """Have the cloud's service show the certificate that has these faults, from the next connection on."""
        authority = self._foreign if Fault.CERTIFICATE_FOREIGN in faults else self._authority
        expires = datetime.now(UTC) - _EXPIRED_SINCE if Fault.CERTIFICATE_EXPIRED in faults else None
        _put(self.cloud, authority.server_certificate([CLOUD_NAME], expires=expires))


def _put(path: Path, certificate: Certificate) -> None:
    """Key and certificate as one file, so that nobody reads one of two."""
    partial = path.with_suffix(".new")
    write_private(partial, (certificate.key_pem + certificate.certificate_pem).decode())
    partial.rename(path)
