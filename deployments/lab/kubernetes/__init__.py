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

from deployments.lab.kubernetes.certificates import Certificate, LabCA
from deployments.lab.kubernetes.controllers import Controllers
from deployments.lab.kubernetes.faults import Faults
from deployments.lab.kubernetes.identity import User
from deployments.lab.kubernetes.server import ApiServer
from deployments.lab.kubernetes.statuses import StatusError
from deployments.lab.kubernetes.store import Store

__all__ = ["ApiServer", "Certificate", "Controllers", "Faults", "LabCA", "StatusError", "Store", "User"]
