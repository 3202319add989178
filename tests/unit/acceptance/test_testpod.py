import pytest

from poolkeeper.tasks.acceptance.testpod import PodAnswers, parse_log, pod_name, probe_pod, way_back_pod
from poolkeeper.tasks.fleet.model import SiteDns

FINISHED = "poolkeeper: probed"


@pytest.mark.parametrize(
    ("log", "answers"),
    [
        pytest.param(
            f"poolkeeper: dns-internal ok\npoolkeeper: dns-external ok\npoolkeeper: to-cloud ok\n{FINISHED}\n",
            PodAnswers("", "", "", None, True),
            id="all well",
        ),
        pytest.param(
            f"poolkeeper: dns-internal fail ;; connection timed out\n{FINISHED}",
            PodAnswers(";; connection timed out", None, None, None, True),
            id="last words of a failure",
        ),
        pytest.param(
            f"poolkeeper: dns-internal fail \n{FINISHED}",
            PodAnswers("no answer", None, None, None, True),
            id="a failure without words is a failure",
        ),
        pytest.param("poolkeeper: dns-internal ok", PodAnswers("", complete=False), id="cut short"),
        pytest.param("", PodAnswers(), id="empty"),
        pytest.param(
            f"hello\nxpoolkeeper: to-cloud ok\npoolkeeper: to-cloud okay\n{FINISHED} \n",
            PodAnswers(),
            id="lines of others",
        ),
    ],
)
def test_a_log_is_read_line_by_line(log, answers):
    assert parse_log(log) == answers


def test_names_fit_and_differ():
    long = "n" * 250
    assert len(pod_name("accept", long)) <= 63
    assert pod_name("accept", "a.b") != pod_name("accept", "a-b")


def test_names_and_addresses_never_stand_in_the_program():
    evil = '"; reboot; "'
    pod = probe_pod("n1", "busybox", SiteDns(internal_name=evil, external_name=evil), evil)
    back = way_back_pod("cloud-1", "n1", "busybox", evil)
    for spec in (pod["spec"], back["spec"]):
        (container,) = spec["containers"]
        assert "reboot" not in " ".join(container["command"])


def test_the_test_pod_needs_no_rights_and_ends_by_itself():
    spec = probe_pod("n1", "busybox", SiteDns(), None)["spec"]
    security = spec["containers"][0]["securityContext"]
    assert spec["nodeName"] == "n1"
    assert spec["activeDeadlineSeconds"] <= 600
    assert spec["automountServiceAccountToken"] is False
    assert security["runAsNonRoot"] is True
    assert security["capabilities"] == {"drop": ["ALL"]}
