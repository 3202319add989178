"""A small Kubernetes API server and the controllers that a rollout meets, in one process, over real HTTPS.

    ca = LabCA()
    api = ApiServer(ca, {"secret": User("ops", ("system:masters",))})
    await api.start("127.0.0.1")                   # api.url, api.port
    controllers = Controllers(api.store)
    await controllers.start()

It behaves as kube-apiserver v1.36 for what is in `resources.RESOURCES`: versions and conflicts, selectors,
paging, watches, the three patches, dry run, finalizers and graceful deletion, eviction under disruption budgets,
logs through the kubelet, RBAC, discovery enough for kubectl. What it has not it answers with 501 and a name,
such as server-side apply.

Nothing here knows of hosts, SSH or any provider. `api.store` is for seeding: `create("nodes", {...})`, `get`, `list`.
"""

from poolkeeper.deployments.lab.kubernetes.certificates import Certificate, LabCA
from poolkeeper.deployments.lab.kubernetes.controllers import Controllers
from poolkeeper.deployments.lab.kubernetes.faults import Faults
from poolkeeper.deployments.lab.kubernetes.identity import User
from poolkeeper.deployments.lab.kubernetes.server import ApiServer
from poolkeeper.deployments.lab.kubernetes.statuses import StatusError
from poolkeeper.deployments.lab.kubernetes.store import Store

__all__ = ["ApiServer", "Certificate", "Controllers", "Faults", "LabCA", "StatusError", "Store", "User"]
