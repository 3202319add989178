"""The parser of facts: what the program really answered, kept in files, and everything else that may come."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolkeeper.tasks.hosts import facts as facts_module
from poolkeeper.tasks.hosts.facts import Disk, HostFacts, OtherRuntime, Resolver, parse_facts
from poolkeeper.tasks.outcomes import Known, Unknown

RECORDED = Path(__file__).parent / "recorded"
SEEN_AT = datetime.fromtimestamp(1795000001, UTC)
NAMES = [field.name for field in fields(HostFacts) if field.name != "seen_at"]
KIB = 1024
DISKS = (Disk("/", 261932284 * KIB, 137424824 * KIB),)
PROXIES = {"https_proxy": "http://proxy.example:3128", "no_proxy": ".svc"}


def recorded(name: str) -> str:
    return (RECORDED / f"{name}.txt").read_text()


def values(facts: HostFacts) -> dict[str, Any]:
    """Every fact: its value, or the Unknown's reason in a list."""
    found = {}
    for name in NAMES:
        observed = getattr(facts, name)
        found[name] = observed.value if isinstance(observed, Known) else [observed.reason]
    return found


HERE = {
    "hostname": "n01",
    "os_id": "debian",
    "os_version": "12",
    "kernel": "6.1.0-37-amd64",
    "arch": "amd64",
    "machine_id": "0123456789abcdef0123456789abcdef",
    "boot_id": "11111111-2222-3333-4444-555555555555",
    "product_uuid": "4c4c4544-0042-3510-8052-b4c04f4e4d32",
    "cpus": 2,
    "gpus": 2,
    "memory_bytes": 16303428 * KIB,
    "swap_bytes": 2097148 * KIB,
    "disks": DISKS,
    "cgroup_version": 2,
    "open_files_limit": 20000,
    "ip_forward": True,
    "systemd": False,
    "reboot_required": False,
    "package_manager": "apt-get",
    "clock_offset_s": -0.25,
    "clock_synchronised": ["timedatectl does not tell"],
    "resolvers": (Resolver("127.0.0.1", None, "no nslookup to ask it with"),),
    "own_name_resolves": True,
    "addresses": ("127.0.0.1", "::1", "192.0.2.0", "2001:db8::", "2001:db8::"),
    "routes": ("default", "192.0.2.0/24", "2001:db8::/64"),
    "mtus": {"lo": 65536, "ifb0": 1500, "ifb1": 1500, "eth0": 1400},
    "listening_ports": (4711,),
    "proxies": PROXIES,
    "service_proxies": {},
    "runtime": "",
    "other_runtimes": (),
    "cri_disabled": False,
    "kubelet_version": "",
    "kubelet_running": ["systemctl does not tell"],
    "leftovers": ("/etc/cni/net.d",),
    "kubelet_mounts": ("/var/lib/kubelet/pods/p1/volumes/v1",),
    "api_answer": ["not asked"],
}
BUSYBOX = HERE | {
    "package_manager": ["none that is known"],
    "clock_offset_s": 0.0,
    "clock_synchronised": ["no timedatectl"],
    "resolvers": (Resolver("127.0.0.1", False),),
    "own_name_resolves": ["no getent"],
    "routes": ("default", "192.0.2.0/24", "2001:db8::/64", "ff00::/8"),
    "listening_ports": (22, 10250),
    "kubelet_running": ["no systemctl"],
}
LAB = HERE | {
    "hostname": "fra1-n01",
    "cpus": 8,
    "gpus": 0,
    "memory_bytes": 33554432 * KIB,
    "swap_bytes": 0,
    "systemd": True,
    "clock_synchronised": True,
    "mtus": {"lo": 65536, "eth0": 1500},
    "addresses": ("127.0.0.1", "192.0.2.0"),
    "listening_ports": (22,),
    "proxies": {},
    "kubelet_running": False,
    "leftovers": (),
    "kubelet_mounts": (),
}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("dash", HERE),
        ("bash", HERE),
        ("busybox-shell", HERE),
        ("busybox-only", BUSYBOX),
    ],
)
def test_recorded_answer_as_a_whole(name: str, expected: dict[str, Any]) -> None:
    assert values(parse_facts(recorded(name), SEEN_AT, duration_s=0.5)) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("lab-host", {n: LAB[n] for n in LAB if n not in {"machine_id", "boot_id", "product_uuid", "resolvers", "routes"}}, id="lab host"),
        pytest.param("gpu-parts", {"gpus": 1}, id="parts of a GPU are none of their own"),
        pytest.param("gpu-driver-alone", {"gpus": 3}, id="a driver where no PCI bus is seen"),
        pytest.param("gpu-unread", {"gpus": ["PCI device 0000:41:00.0 cannot be read"]}, id="a device that cannot be read"),
        pytest.param("gpu-none", {"gpus": 0}, id="a PCI bus with nothing on it"),
        pytest.param("an-empty-root", {"gpus": ["there is no PCI bus to look at"]}, id="no PCI bus"),
        pytest.param(
            "lab-host-leftovers",
            {"leftovers": ("/etc/kubernetes/kubelet.conf", "/etc/kubernetes/pki", "/var/lib/kubelet/pki", "/etc/cni/net.d")},
            id="leftovers",
        ),
        pytest.param(
            "not-root",
            {
                "machine_id": ["/etc/machine-id cannot be read without more rights"],
                "product_uuid": ["/sys/class/dmi/id/product_uuid cannot be read without more rights"],
                "leftovers": ["/etc/cni/net.d cannot be looked into without more rights"],
                "kubelet_mounts": HERE["kubelet_mounts"],
            },
            id="what only root may read is unknown, not absent",
        ),
        pytest.param(
            "hardly-any-tools",
            {
                "hostname": "n01",
                "cpus": ["no getconf"],
                "clock_offset_s": ["no date"],
                "disks": ["no df command"],
                "memory_bytes": HERE["memory_bytes"],
                "package_manager": ["none that is known"],
                "clock_synchronised": ["no timedatectl"],
                "own_name_resolves": ["no getent"],
                "kubelet_running": ["no systemctl"],
                "listening_ports": (22, 10250),
            },
            id="missing tools",
        ),
        pytest.param(
            "every-tool-fails",
            {
                "cpus": ["nproc fails"],
                "clock_offset_s": ["date fails"],
                "disks": ["df / fails or hangs"],
                "addresses": ["ip addr fails"],
                "routes": ["ip route fails"],
                "mtus": ["ip link fails"],
                "own_name_resolves": ["getent fails"],
                "clock_synchronised": ["timedatectl does not tell"],
                "kubelet_version": ["kubelet --version fails"],
                "kubelet_running": ["systemctl does not tell"],
                "listening_ports": (22, 10250),
                "runtime": "containerd",
            },
            id="tools that fail are no answer",
        ),
        pytest.param(
            "an-empty-root",
            {
                "os_id": ["there is no /etc/os-release"],
                "machine_id": ["there is no /etc/machine-id"],
                "boot_id": ["there is no /proc/sys/kernel/random/boot_id"],
                "memory_bytes": ["there is no /proc/meminfo"],
                "resolvers": ["there is no /etc/resolv.conf"],
                "listening_ports": ["neither ss nor /proc/net/tcp answers"],
                "kubelet_mounts": ["there is no /proc/mounts"],
                "leftovers": (),
            },
            id="nothing there",
        ),
        pytest.param("router", {"routes": ("default", "192.0.2.0/26", "192.0.2.0/32")}, id="routes that are no way"),
        pytest.param(
            "api-refused",
            {
                "api_answer": "curl: (7) Failed to connect to 127.0.0.1 port 1 after 0 ms: Couldn't connect to server",
                "proxies": PROXIES | {"http_proxy": "http://proxy.example"},
            },
            id="API server refuses",
        ),
        pytest.param(
            "nowhere-to-write", {"api_answer": ["no room in /tmp for the authority to verify with"]}, id="full /tmp"
        ),
    ],
)  # fmt: skip
def test_recorded_answer_in_parts(name: str, expected: dict[str, Any]) -> None:
    found = values(parse_facts(recorded(name), SEEN_AT, duration_s=0.5))
    assert {name: found[name] for name in expected} == expected


def answer(*lines: str) -> str:
    return "\n".join(["poolkeeper-facts begin", *lines, "poolkeeper-facts end", ""])


@pytest.mark.parametrize(
    ("field", "lines", "expected"),
    [
        pytest.param("hostname", ["fact hostname "], ["it is empty"], id="empty"),
        pytest.param("hostname", [], ["the host did not answer it"], id="missing"),
        pytest.param("hostname", ["unknown hostname "], ["no reason given"], id="unknown without a reason"),
        pytest.param("hostname", ["fact hostname a", "unknown hostname no"], ["no"], id="known and unknown"),
        pytest.param("hostname", ["fact hostname a", "fact hostname a"], "a", id="the same twice"),
        pytest.param(
            "hostname",
            ["fact hostname a", "fact hostname b"],
            ["there is more than one answer: 'a', 'b'"],
            id="two answers",
        ),
        pytest.param("hostname", [f"fact hostname {'x' * 5000}"], ["its value is longer than 4096 characters"], id="long"),
        pytest.param("runtime", ["fact runtime "], "", id="may be empty"),
        pytest.param("machine_id", ["fact machine_id uninitialized"], ["the answer cannot be read: 'uninitialized'"], id="image"),
        pytest.param("arch", ["fact machine aarch64"], "arm64", id="arm"),
        pytest.param("arch", ["fact machine riscv64"], "riscv64", id="another architecture"),
        pytest.param("cpus", ["fact cpus two"], ["the answer cannot be read: 'two'"], id="no number"),
        pytest.param("cpus", ["fact cpus -2"], ["the answer cannot be read: '-2'"], id="negative"),
        pytest.param("cpus", ["fact cpus 1_0"], ["the answer cannot be read: '1_0'"], id="Python's own way to write numbers"),
        pytest.param("cpus", ["fact cpus \u0663"], ["the answer cannot be read: '\u0663'"], id="digits of another script"),
        pytest.param(
            "memory_bytes",
            ["fact memory_kb 999999999999999999"],
            ["the answer cannot be read: '999999999999999999'"],
            id="more than a table can hold",
        ),
        pytest.param("cpus", [f"fact cpus {'9' * 4000}"], [f"the answer cannot be read: {'9' * 60!r}"], id="very large"),
        pytest.param("clock_offset_s", [f"fact clock {'9' * 400}.0"], [f"the answer cannot be read: {'9' * 60!r}"], id="late"),
        pytest.param("clock_offset_s", ["fact clock 1795000001."], 0.5, id="no fraction"),
        pytest.param("clock_offset_s", ["fact clock 1795000001.%N"], 0.5, id="%N as it is"),
        pytest.param("clock_offset_s", ["fact clock nan"], ["the answer cannot be read: 'nan'"], id="nan"),
        pytest.param("ip_forward", ["fact ip_forward 2"], True, id="any number but zero"),
        pytest.param("ip_forward", ["fact ip_forward banana"], ["the answer cannot be read: 'banana'"], id="neither"),
        pytest.param("systemd", ["fact systemd maybe"], ["the answer cannot be read: 'maybe'"], id="neither yes nor no"),
        pytest.param("open_files_limit", ["fact open_files_limit unlimited"], 2**31, id="unlimited"),
        pytest.param("addresses", ["fact address "], (), id="no address"),
        pytest.param("addresses", ["fact address fe80::1%eth0"], ("fe80::1%eth0",), id="with a scope"),
        pytest.param("addresses", ["fact address 10.0.0.256"], ["the answer cannot be read: '10.0.0.256'"], id="no address at all"),
        pytest.param("routes", ["fact route 10.0.0.1/8", "fact route 10.0.0.0/8"], ("10.0.0.0/8",), id="one network"),
        pytest.param("mtus", ["fact mtu eth0"], ["the answer cannot be read: 'eth0'"], id="without a size"),
        pytest.param("listening_ports", ["fact port 22", "fact port 22", "fact port 21"], (21, 22), id="in order"),
        pytest.param("listening_ports", ["fact port 70000"], ["the answer cannot be read: '70000'"], id="no port"),
        pytest.param("listening_ports", ["fact port *"], ["the answer cannot be read: '*'"], id="a star"),
        pytest.param("disks", ["fact disk 10 5 / /", "fact disk 10 5 / /var/log"], (Disk("/", 10240, 5120),), id="one"),
        pytest.param("disks", ["fact disk 10 5 /a b /"], (Disk("/a", 10240, 5120),), id="a mount point with a space"),
        pytest.param("disks", ["fact disk "], ["the answer cannot be read: an empty answer"], id="no disk"),
        pytest.param("disks", ["fact disk 10 5"], ["the answer cannot be read: '10 5'"], id="half a line"),
        pytest.param("resolvers", ["fact resolver 10.0.0.2 perhaps"], ["the answer cannot be read: '10.0.0.2 perhaps'"], id="?"),
        pytest.param("proxies", ["fact proxy http_proxy ops:pw@proxy:3128"], {"http_proxy": "proxy:3128"}, id="no scheme"),
        pytest.param("proxies", ["fact proxy http_proxy 'http://o:p@ss/w@p:1'"], {"http_proxy": "http://p:1"}, id="password"),
        pytest.param("proxies", ["fact proxy http_proxy "], {"http_proxy": ""}, id="empty setting"),
        *(
            pytest.param("proxies", [f"fact proxy https_proxy {written}"], {"https_proxy": shown}, id=f"proxy {written}")
            for written, shown in {
                "http://user:a://b@proxy:3128": "http://proxy:3128",
                "user://b@proxy:3128": "proxy:3128",
                "HTTP://user:p@PROXY:3128/": "HTTP://PROXY:3128",
                "socks5h://u:p@[2001:db8::1]:1080": "socks5h://[2001:db8::1]:1080",
                "http://proxy.example:3128 # since May": "http://proxy.example:3128",
                "http://user:secret": "an address that cannot be read",
                "http://user/secret@": "an address that cannot be read",
                "http://tok/en@proxy:port": "an address that cannot be read",
                "http://$USER:$PASSWORD": "an address that cannot be read",
            }.items()
        ),
        pytest.param("proxies", ["fact proxy no_proxy .svc,10.0.0.0/8"], {"no_proxy": ".svc,10.0.0.0/8"}, id="no_proxy"),
        pytest.param("service_proxies", ["fact service_proxy "], {}, id="no unit has one"),
        pytest.param(
            "service_proxies",
            [
                "fact service_proxy ",
                'fact service_proxy /etc/systemd/system.conf DefaultEnvironment="HTTP_PROXY=http://o:p@p:1" A=b',
                'fact service_proxy containerd.service Environment="HTTPS_PROXY=http://q:2" "NO_PROXY=a,b" LANG=C',
                "fact service_proxy containerd.service export ALL_PROXY='socks5://r:3'",
                "fact service_proxy kubelet.service HTTP_PROXY=",
                "fact service_proxy `reboot`.service HTTP_PROXY=http://p:1",
            ],
            {
                "/etc/systemd/system.conf": {"HTTP_PROXY": "http://p:1"},
                "containerd.service": {
                    "HTTP_PROXY": "http://p:1",
                    "HTTPS_PROXY": "http://q:2",
                    "NO_PROXY": "a,b",
                    "ALL_PROXY": "socks5://r:3",
                },
                "kubelet.service": {"HTTP_PROXY": ""},
            },
            id="of units, and of all of them",
        ),
        pytest.param(
            "service_proxies",
            ["fact service_proxy crio.service Environment='HTTPS_PROXY=http://o:p'w@q:2"],
            {"crio.service": {"HTTPS_PROXY": "http://q:2"}},
            id="quotes in the middle",
        ),
        pytest.param(
            "service_proxies",
            ["fact service_proxy crio.service Environment=\"HTTPS_PROXY=http://o:p@q:2"],
            {"crio.service": {"HTTPS_PROXY": "http://q:2"}},
            id="a quote that is not closed",
        ),
        pytest.param("os_id", ["fact os_id Ubuntu"], "ubuntu", id="capitals"),
        pytest.param("os_id", ["fact os_id a b"], ["the answer cannot be read: 'a b'"], id="no name of a system"),
        pytest.param("other_runtimes", ["fact other_runtime "], (), id="no other runtime"),
        pytest.param(
            "other_runtimes",
            ["fact other_runtime ", "fact other_runtime 3 27.3.1 docker", "fact other_runtime ? - snap microk8s"],
            (OtherRuntime("docker", "27.3.1", 3), OtherRuntime("snap microk8s", "", None)),
            id="other runtimes",
        ),
        pytest.param("other_runtimes", ["fact other_runtime 3"], ["the answer cannot be read: '3'"], id="half a runtime"),
        pytest.param(
            "other_runtimes", ["fact other_runtime 3 1 `reboot`"], ["the answer cannot be read: '3 1 `reboot`'"], id="no name of one"
        ),
        pytest.param("listening_ports", ["fact port 22"] * 5001, ["it has more than 5000 values"], id="a list without end"),
        pytest.param("kubelet_mounts", ["fact kubelet_mount "], (), id="no mount"),
    ],
)  # fmt: skip
def test_one_fact(field: str, lines: list[str], expected: Any) -> None:
    assert values(parse_facts(answer(*lines), SEEN_AT))[field] == expected


def test_noise_around_it_is_passed_over() -> None:
    noisy = "fact hostname motd\npoolkeeper-facts\n" + recorded("dash") + "fact hostname logout\nunknown cpus bye\n"
    assert values(parse_facts(noisy, SEEN_AT, duration_s=0.5)) == HERE


@pytest.mark.parametrize("text", ["", "\n", "poolkeeper-facts begin", "bash: sh: command not found\n", "\0" * 100])
def test_no_answer_at_all(text: str) -> None:
    facts = values(parse_facts(text, SEEN_AT))
    assert set(map(str, facts.values())) == {"['the host did not answer it']"}


def test_every_unknown_has_its_time() -> None:
    facts = parse_facts("", SEEN_AT)
    assert {getattr(facts, name).seen_at for name in NAMES} == {SEEN_AT}


@pytest.mark.parametrize("name", ["dash", "busybox-only", "lab-host-leftovers"])
def test_cut_short_anywhere_a_fact_is_as_it_was_or_unknown(name: str) -> None:
    """A list that was cut within itself must not pass for a shorter list."""
    whole = recorded(name)
    full = values(parse_facts(whole, SEEN_AT, duration_s=0.5))
    for length in range(len(whole)):
        cut = values(parse_facts(whole[:length], SEEN_AT, duration_s=0.5))
        wrong = {field: cut[field] for field in NAMES if cut[field] != full[field] and not _is_unknown(cut[field])}
        assert not wrong, f"cut after {length} characters"


def _is_unknown(value: Any) -> bool:
    return isinstance(value, list)


def test_whatever_a_parser_raises_is_that_facts_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def stumbles(line: str) -> Resolver:
        raise RecursionError("too deep")

    monkeypatch.setattr(facts_module, "_resolver", stumbles)
    found = values(parse_facts(recorded("dash"), SEEN_AT, duration_s=0.5))
    assert found == HERE | {"resolvers": ["the answer cannot be read: '127.0.0.1 unknown no nslookup to ask it with'"]}


def judged(text: str) -> None:
    """Whatever came in: facts, each known or unknown with a reason that can be printed."""
    facts = parse_facts(text, SEEN_AT, duration_s=0.5)
    for name in NAMES:
        observed = getattr(facts, name)
        if isinstance(observed, Unknown):
            assert 0 < len(observed.reason) <= 4200
        elif isinstance(observed.value, int):
            assert 0 <= observed.value < 2**63


@settings(max_examples=300, deadline=None)
@given(st.text())
def test_garbage(text: str) -> None:
    judged(text)
    judged(f"poolkeeper-facts begin\n{text}\npoolkeeper-facts end\n")


ANSWERED = sorted({line.split()[1] for line in recorded("dash").splitlines() if line.startswith(("fact ", "unk"))})
BAD = st.one_of(
    st.text(max_size=40),
    st.integers().map(str),
    st.sampled_from(
        ["", "-1", "1e999", "inf", "nan", "9" * 5000, "\x85", "\u2028", "\ud800", "yes", "no", "/ / /", "::/0"]
    ),
)


@settings(max_examples=500, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["fact", "unknown", "fax"]), st.sampled_from(ANSWERED), BAD), max_size=40))
def test_right_names_with_wrong_values(lines: list[tuple[str, str, str]]) -> None:
    judged(answer(*(" ".join(line) for line in lines)))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_recorded_lines_damaged_and_shuffled(data: st.DataObject) -> None:
    lines = recorded("dash").splitlines()[2:-1]
    chosen = data.draw(st.lists(st.sampled_from(lines), max_size=80))
    damaged = [line[: data.draw(st.integers(0, len(line)))] + data.draw(st.text(max_size=3)) for line in chosen]
    judged(answer(*damaged))


def test_offset_counts_from_the_programs_start() -> None:
    text = answer("fact clock 1795000000.000000000")
    for duration_s in (0.0, 1.0, 20.0):
        facts = parse_facts(text, datetime.fromtimestamp(1795000000, UTC) + timedelta(seconds=duration_s), duration_s)
        assert facts.clock_offset_s == Known(0.0, facts.seen_at)
