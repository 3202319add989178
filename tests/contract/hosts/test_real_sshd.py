"""The same sessions against OpenSSH's own server."""

from __future__ import annotations

import asyncio
import getpass
import os
import signal
import subprocess
from pathlib import Path

import asyncssh
import pytest

from poolkeeper.tasks.fleet.model import Host, SshJump
from poolkeeper.tasks.hosts import Sessions, errors
from tests.contract.hosts.conftest import World, open_sessions, site_of
from tests.contract.hosts.openssh import RealSshd, real_sshd
from tests.contract.hosts.servers import public_line, write_key
from tests.contract.hosts.test_logins import agent as agent
from tests.contract.hosts.wires import nothing_listens

pytestmark = pytest.mark.tier("sshd")
USER = getpass.getuser()


def host_of(world: World, server: RealSshd, name: str = "n01", **more) -> Host:
    return world.host(server.port, name, **{"user": USER, **more})


async def test_program_and_its_end(world: World, sessions: Sessions) -> None:
    async with real_sshd(world.folder / "sshd", public_line(world.key)) as server:
        world.trust(server.known_hosts_line())
        done = await sessions.run(host_of(world, server), "cat; echo out; echo err >&2; exit 7")
    assert (done.exit_status, done.stdout, done.stderr) == (7, "out\n", "err\n")


async def test_large_answer_and_flood(world: World, sessions: Sessions) -> None:
    async with real_sshd(world.folder / "sshd", public_line(world.key)) as server:
        world.trust(server.known_hosts_line())
        done = await sessions.run(host_of(world, server), "head -c 900000 /dev/zero | tr '\\0' y")
        assert len(done.stdout) == 900_000
        with pytest.raises(errors.OutputFlood):
            await sessions.run(host_of(world, server), "yes")


async def test_wrong_and_unknown_host_key(world: World, sessions: Sessions) -> None:
    async with real_sshd(world.folder / "sshd", public_line(world.key)) as server:
        with pytest.raises(errors.HostKeyUnknown):
            await sessions.run(host_of(world, server), "true")
        other = world.folder / "other"
        other.write_text(server.known_hosts_line(asyncssh.generate_private_key("ssh-ed25519")))
        with pytest.raises(errors.HostKeyChanged):
            await sessions.run(host_of(world, server, known_hosts=other), "true")
        assert not server.logged("Accepted publickey")


async def test_host_certificate_made_by_ssh_keygen(world: World, sessions: Sessions) -> None:
    folder = world.folder / "sshd"
    certificate = f"HostCertificate {folder}/host_key-cert.pub"
    authority = write_key(world.folder, "authority", asyncssh.generate_private_key("ssh-ed25519"))
    key = asyncssh.generate_private_key("ssh-ed25519")
    write_key(world.folder, "certified", key)
    (world.folder / "certified.pub").write_bytes(key.export_public_key())
    sign = ["ssh-keygen", "-q", "-s", str(authority), "-I", "n01", "-h", "-n", "127.0.0.1"]
    await asyncio.to_thread(subprocess.run, [*sign, str(world.folder / "certified.pub")], check=True)
    certificate = f"HostCertificate {world.folder}/certified-cert.pub"
    public = public_line(asyncssh.read_private_key(str(authority)))
    async with real_sshd(folder, public_line(world.key), f"HostKey {world.folder}/certified", certificate) as server:
        world.trust(f"@cert-authority [127.0.0.1]:* {public}")
        assert (await sessions.run(host_of(world, server), "echo in")).stdout == "in\n"


async def test_user_certificate(world: World, sessions: Sessions) -> None:
    authority = asyncssh.generate_private_key("ssh-ed25519")
    (world.folder / "authority.pub").write_text(public_line(authority))
    path = world.folder / "ours-cert.pub"
    path.write_bytes(authority.generate_user_certificate(world.key, "us", principals=[USER]).export_certificate())
    trusted = f"TrustedUserCAKeys {world.folder}/authority.pub"
    async with real_sshd(world.folder / "sshd", "", trusted) as server:
        world.trust(server.known_hosts_line())
        with pytest.raises(errors.AuthRefused):
            await sessions.run(host_of(world, server, "without"), "true")
        assert (await sessions.run(host_of(world, server, certificate=path), "echo in")).stdout == "in\n"


async def test_too_many_keys_in_the_agent(world: World, sessions: Sessions, agent: Path) -> None:
    for number in range(4):
        key = write_key(world.folder, f"other{number}", asyncssh.generate_private_key("ssh-ed25519"))
        await asyncio.to_thread(subprocess.run, ["ssh-add", str(key)], check=True, capture_output=True)
    async with real_sshd(world.folder / "sshd", public_line(world.key), "MaxAuthTries 2") as server:
        world.trust(server.known_hosts_line())
        with pytest.raises(errors.AuthRefused, match="Too many authentication failures"):
            await sessions.run(host_of(world, server, key=None, agent=True), "true")


async def test_a_key_that_is_not_enough(world: World, sessions: Sessions) -> None:
    both = ("PasswordAuthentication yes", "AuthenticationMethods publickey,password")
    async with real_sshd(world.folder / "sshd", public_line(world.key), *both) as server:
        world.trust(server.known_hosts_line())
        with pytest.raises(errors.SecondFactor, match="for a password, beside the key or in its place"):
            await sessions.run(host_of(world, server), "true")
        assert server.logged("Partial publickey"), "it took the key"


async def test_sixty_hosts_at_once_do_not_trip_its_limit(world: World) -> None:
    """Its own default is MaxStartups 10:30:100; ours for a site is 8 handshakes."""
    async with (
        real_sshd(world.folder / "sshd", public_line(world.key)) as server,
        open_sessions() as sessions,
    ):
        world.trust(server.known_hosts_line())
        site = site_of("one-sshd")
        hosts = [host_of(world, server, f"n{number:02}", site=site) for number in range(60)]
        answers = await asyncio.gather(*(sessions.run(host, "echo in") for host in hosts))
        assert [answer.stdout for answer in answers] == ["in\n"] * 60
        assert len(server.logged("Accepted publickey")) == 60, "somebody had to come twice"
        # sshd frees a place a moment after the login that had it: of 52 that come after the first eight, hardly any meets
        # that moment on a busy machine, and comes again
        assert len([line for line in server.logged("MaxStartups") if line.startswith("drop")]) <= 3


async def test_banner_is_not_our_answer(world: World, sessions: Sessions) -> None:
    (world.folder / "banner").write_text("Authorised users only.\nfact hostname banner\n")
    async with real_sshd(
        world.folder / "sshd", public_line(world.key), f"Banner {world.folder}/banner", "PrintMotd yes"
    ) as server:
        world.trust(server.known_hosts_line())
        assert (await sessions.run(host_of(world, server), "echo ours")).stdout == "ours\n"


async def test_forced_command(world: World, sessions: Sessions) -> None:
    async with real_sshd(world.folder / "sshd", public_line(world.key), "ForceCommand echo backups only") as server:
        world.trust(server.known_hosts_line())
        with pytest.raises(errors.ShellRefused, match="backups only"):
            await sessions.run(host_of(world, server), "true")


async def test_more_commands_than_it_allows_sessions(world: World, sessions: Sessions) -> None:
    async with real_sshd(world.folder / "sshd", public_line(world.key), "MaxSessions 1") as server:
        world.trust(server.known_hosts_line())
        host, gate = host_of(world, server), world.folder / "gate"
        os.mkfifo(gate)
        waiting = asyncio.create_task(sessions.run(host, f"read -r word < {gate}; echo $word"))
        await server.until_logged("Starting session")
        with pytest.raises(errors.NoSession) as caught:
            await sessions.run(host, "true")
        assert "MaxSessions" in caught.value.next_step
        await asyncio.to_thread(gate.write_text, "on\n")
        assert (await waiting).stdout == "on\n"


async def test_command_timeout_closes_the_channel(world: World, sessions: Sessions) -> None:
    """What runs gets a TERM as well, except root's: `session signalling requires privilege separation`."""
    async with real_sshd(world.folder / "sshd", public_line(world.key)) as server:
        world.trust(server.known_hosts_line())
        pid = world.folder / "pid"
        with pytest.raises(errors.CommandTimeout):
            await sessions.run(host_of(world, server), f"echo $$ > {pid}; exec sleep 1000", timeout_s=1.5)
        await server.until_logged("Close session")
        os.kill(int(pid.read_text()), signal.SIGKILL)


async def test_its_session_is_killed(world: World, sessions: Sessions) -> None:
    async with real_sshd(world.folder / "sshd", public_line(world.key)) as server:
        world.trust(server.known_hosts_line())
        with pytest.raises(errors.ConnectionLost):
            await sessions.run(host_of(world, server), "echo begun; kill -9 $PPID; sleep 5")
        assert len(server.logged("Starting session")) == 1


async def test_as_a_jump_host(world: World, sessions: Sessions) -> None:
    async with (
        real_sshd(world.folder / "jump", public_line(world.key)) as jump,
        real_sshd(world.folder / "sshd", public_line(world.key)) as server,
    ):
        world.trust(jump.known_hosts_line() + server.known_hosts_line())
        via = SshJump("127.0.0.1", jump.port, USER)
        hosts = [host_of(world, server, f"n{number:02}", jump=via) for number in range(12)]
        answers = await asyncio.gather(*(sessions.run(host, "echo in") for host in hosts))
        assert {answer.stdout for answer in answers} == {"in\n"}
        assert len(jump.logged("Accepted publickey")) == 1


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        pytest.param("127.0.0.1", errors.ConnectRefused, id="refused"),
        pytest.param("224.0.0.1", errors.HostError, id="a failure that it does not name"),
    ],
)
async def test_as_a_jump_host_that_cannot_connect(
    world: World, sessions: Sessions, address: str, kind: type[errors.HostError]
) -> None:
    async with real_sshd(world.folder / "jump", public_line(world.key)) as jump:
        world.trust(jump.known_hosts_line())
        via = SshJump("127.0.0.1", jump.port, USER)
        with nothing_listens() as port, pytest.raises(errors.HostError, match="jump host cannot connect") as caught:
            await sessions.run(world.host(port, address=address, user=USER, jump=via), "true")
    assert type(caught.value) is kind


@pytest.mark.parametrize(
    ("line", "raises"),
    [("AllowTcpForwarding no", errors.JumpFailed), ("PermitOpen 127.0.0.1:1", errors.JumpFailed)],
)
async def test_as_a_jump_host_that_does_not_pass_on(world: World, sessions: Sessions, line: str, raises) -> None:
    async with real_sshd(world.folder / "jump", public_line(world.key), line) as jump:
        world.trust(jump.known_hosts_line())
        with pytest.raises(raises, match=r"administratively prohibited|open failed"):
            await sessions.run(host_of(world, jump, jump=SshJump("127.0.0.1", jump.port, USER)), "true")
