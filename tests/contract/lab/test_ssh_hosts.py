"""Lab hosts over real SSH: who gets in, and that each looks like a host of its own."""

from __future__ import annotations

import asyncio

import asyncssh
import pytest

from poolkeeper.deployments.lab.faults import Fault
from tests.contract.lab.conftest import RunningLab

FACTS = {
    "hostname": "fra1-n01",
    "uname -s -r -m": "Linux 6.1.0-37-amd64 x86_64",
    "id -un": "root",
    "nproc": "8",
    'read -r line < "$POOLKEEPER_ROOT/etc/resolv.conf"; echo "${line%% *}"': "nameserver",
    "df -Pk / | { read -r _; read -r _ _ _ free _; echo $free; }": "209715200",
    "timedatectl show -p NTPSynchronized --value": "yes",
    "systemctl is-active ssh": "active",
    "systemctl is-active kubelet": "inactive",
    "getent hosts aliyun.com": "203.0.113.10    aliyun.com",
    "getent hosts nothing.example; echo $?": "2",
    "command -v containerd kubelet docker; echo $?": "127",
    "dpkg-query -W -f '${Version}' systemd": "252.38-1~deb12u1",
}


@pytest.mark.parametrize(("command", "answer"), FACTS.items(), ids=FACTS)
async def test_host_answers(lab: RunningLab, command: str, answer: str) -> None:
    done = await lab.run(0, command)
    assert done.stdout.strip() == answer, done.stderr


async def test_login_user_is_ops_until_sudo(lab: RunningLab) -> None:
    assert (await lab.run(0, "id -u", sudo=False)).stdout == "1000\n"
    assert (await lab.run(0, "id -u")).stdout == "0\n"


async def test_exit_status_and_both_streams_come_back(lab: RunningLab) -> None:
    done = await lab.run(0, "echo out; echo err >&2; exit 7")
    assert (done.stdout, done.stderr, done.exit_status) == ("out\n", "err\n", 7)


async def test_output_of_any_size_comes_whole(lab: RunningLab) -> None:
    done = await lab.run(0, "head -c 3000000 /dev/zero | tr '\\0' x")
    assert len(done.stdout) == 3_000_000


async def test_ids_differ_from_host_to_host(lab: RunningLab) -> None:
    program = 'cat "$POOLKEEPER_ROOT"/etc/machine-id "$POOLKEEPER_ROOT"/sys/class/dmi/id/product_uuid'
    answers = [(await lab.run(index, program)).stdout.split() for index in range(4)]
    assert len({value for answer in answers for value in answer}) == 8


@pytest.mark.parametrize("user", ["root", "admin"])
async def test_no_other_user_gets_in(lab: RunningLab, user: str) -> None:
    with pytest.raises(asyncssh.PermissionDenied):
        async with lab.ssh(0, username=user):
            pass


async def test_no_other_key_gets_in(lab: RunningLab) -> None:
    with pytest.raises(asyncssh.PermissionDenied):
        async with lab.ssh(0, client_keys=[asyncssh.generate_private_key("ssh-ed25519")]):
            pass


async def test_wrong_host_key(lab: RunningLab) -> None:
    lab.break_host(1, Fault.WRONG_HOST_KEY)
    with pytest.raises(asyncssh.HostKeyNotVerifiable):
        async with lab.ssh(1):
            pass
    lab.mend_host(1)
    assert (await lab.run(1, "echo back")).stdout == "back\n"


async def test_auth_refused(lab: RunningLab) -> None:
    lab.break_host(1, Fault.AUTH_REFUSED)
    with pytest.raises(asyncssh.PermissionDenied):
        async with lab.ssh(1):
            pass


async def test_without_power_it_is_silent_until_it_boots(lab: RunningLab) -> None:
    """As a machine: not even a refusal comes back."""
    lab.break_host(0, Fault.POWER_LOST)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5), lab.ssh(0):
            pass
    lab.mend_host(0)
    assert (await lab.run(0, "echo back")).stdout == "back\n"


async def test_hangs_after_login(lab: RunningLab) -> None:
    lab.break_host(1, Fault.HANGS_AFTER_LOGIN)
    async with lab.ssh(1) as connection:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await connection.run("true")


async def test_floods(lab: RunningLab) -> None:
    lab.break_host(1, Fault.FLOODS)
    async with lab.ssh(1) as connection, connection.create_process("true", encoding=None) as process:
        assert len(await process.stdout.readexactly(5_000_000)) == 5_000_000


async def test_drops_mid_command(lab: RunningLab) -> None:
    lab.break_host(1, Fault.DROPS_MID_COMMAND)
    async with asyncio.timeout(10), lab.ssh(1) as connection:
        process = await connection.create_process("sh -s")
        process.stdin.write("echo begun; sleep 60\n")
        process.stdin.write_eof()
        with pytest.raises(asyncssh.ConnectionLost):
            await process.stdout.read()


async def test_sudo_wants_a_password(lab: RunningLab) -> None:
    lab.break_host(1, Fault.SUDO_PASSWORD)
    done = await lab.run(1, "id -u")
    assert (done.exit_status, done.stderr) == (1, "sudo: a password is required\n")


async def test_clock(lab: RunningLab) -> None:
    before = float((await lab.run(1, "date +%s")).stdout)
    lab.break_host(1, Fault.CLOCK)
    after = float((await lab.run(1, "date +%s.%N")).stdout)
    assert 590 < after - before < 650
    assert (await lab.run(1, "timedatectl show -p NTPSynchronized --value")).stdout == "no\n"


async def test_disk_full(lab: RunningLab) -> None:
    lab.break_host(1, Fault.DISK_FULL)
    assert (await lab.run(1, "df -Pk / | { read -r _; read -r _ _ _ free _; echo $free; }")).stdout == "0\n"


async def test_resolver_dead_for_one_host_only(lab: RunningLab) -> None:
    lab.break_host(1, Fault.RESOLVER_DEAD)
    ask = "nslookup -timeout=1 aliyun.com > /dev/null; echo $?"
    assert (await lab.run(1, ask)).stdout == "1\n"
    assert (await lab.run(0, ask)).stdout == "0\n"


async def test_leftovers_and_their_mending(lab: RunningLab) -> None:
    look = 'ls "$POOLKEEPER_ROOT/etc/kubernetes" 2>/dev/null | wc -l'
    lab.break_host(1, Fault.LEFTOVERS)
    assert int((await lab.run(1, look)).stdout) == 2
    refused = await lab.join(1)
    assert refused.exit_status == 1
    assert "40009" in refused.stderr
    lab.mend_host(1)
    assert int((await lab.run(1, look)).stdout) == 0


async def test_api_unreachable(lab: RunningLab) -> None:
    url = lab.told["api_url"]
    reach = f"curl -sk --max-time 5 -o /dev/null {url}/version; echo $?"
    assert (await lab.run(1, reach)).stdout == "0\n"
    lab.break_host(1, Fault.API_UNREACHABLE)
    assert (await lab.run(1, reach)).stdout == "7\n"
    assert (await lab.run(0, reach)).stdout == "0\n"


async def test_unit_outlives_the_line_and_tells_how_it_ended(lab: RunningLab) -> None:
    start = """
        mkfifo "$POOLKEEPER_ROOT/tmp/gate"
        systemd-run --quiet --unit=long-work sh -c 'read -r status < "$POOLKEEPER_ROOT/tmp/gate"; exit "$status"'
    """
    assert (await lab.run(2, start)).exit_status == 0
    assert (await lab.run(2, "systemctl is-active long-work")).stdout == "active\n"
    end = """
        echo 4 > "$POOLKEEPER_ROOT/tmp/gate"
        while [ "$(systemctl is-active long-work)" = active ]; do :; done
        systemctl show long-work -p ActiveState,ExecMainStatus; systemctl reset-failed long-work
    """
    assert (await lab.run(2, end)).stdout == "ActiveState=failed\nExecMainStatus=4\n"


async def test_reboot_cuts_the_line_and_gives_a_new_boot_id(lab: RunningLab) -> None:
    boot_id = 'cat "$POOLKEEPER_ROOT/proc/sys/kernel/random/boot_id"'
    before = (await lab.run(3, boot_id)).stdout
    async with asyncio.timeout(10), lab.ssh(3) as connection:
        await connection.run("sudo -n sh -s", input="setsid sleep 600 & reboot")
        await connection.wait_closed()

    with pytest.raises(ConnectionRefusedError):
        async with lab.ssh(3):
            pass
    async with asyncio.timeout(10):
        while True:
            try:
                after = (await lab.run(3, boot_id)).stdout
                break
            except OSError:
                await asyncio.sleep(0.05)
    assert after != before
