"""Breaks of `tasks/provider`."""

from __future__ import annotations

from tests.mutations.breaks.row import Break

_CLUSTER_INFO = "tests/contract/cluster/test_cluster_info.py"

BREAKS = (
    Break(
        "the secret half of a join's token is not among the redacted words",
        "tasks/provider/kubeadm.py",
        'return Secret(text, secret_words=(both, both.partition(".")[2]))',
        "return Secret(text, secret_words=(both,))",
        f"{_CLUSTER_INFO}::test_a_joins_token_is_redacted_whole_and_by_its_secret_half",
    ),
    Break(
        "the whole of a join's token is not among the redacted words",
        "tasks/provider/kubeadm.py",
        'return Secret(text, secret_words=(both, both.partition(".")[2]))',
        "return Secret(text, secret_words=())",
        f"{_CLUSTER_INFO}::test_a_joins_token_is_redacted_whole_and_by_its_secret_half",
    ),
    Break(
        "machines are sent to a cluster of another authority",
        "tasks/provider/kubeadm.py",
        "        if not info.authorities <= public_key_hashes(self._api.ca_pem):\n",
        "        if not info.authorities:\n",
        f"{_CLUSTER_INFO}::test_of_another_authority",
    ),
    Break(
        "the vendor's words are not redacted",
        "tasks/provider/sdk.py",
        'return quoted(getattr(error, "message", "") or error or "") or otherwise',
        'return str(getattr(error, "message", "") or error or "") or otherwise',
        "tests/unit/provider/test_words.py",
    ),
    Break(
        "a kubeadm from before a release passes for it",
        "tasks/provider/kubeadm_scripts.py",
        '*-alpha*|*-beta*|*-rc*) [ "$1" = "$2" ]; return;;',
        "'') return 1;;",
        "tests/contract/provider/test_kubeadm_scripts.py::test_an_upgrade_with_packages_that_are_there",
    ),
)
