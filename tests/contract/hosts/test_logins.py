"""Who is trusted and who gets in: host keys, host certificates, our key, certificate and agent."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import pytest

from poolkeeper.tasks.hosts import Sessions, errors
from poolkeeper.tasks.hosts.credentials import Credentials
from poolkeeper.tasks.settings import secret_reader
from tests.contract.hosts.conftest import World, open_sessions
from tests.contract.hosts.servers import AsksForMore, public_line, serving, write_key


async def test_known_key_and_our_key(world: World, sessions: Sessions) -> None:
    async with world.server() as server:
        done = await sessions.run(world.host(server.port), "echo out; echo err >&2; exit 7")
    assert (done.exit_status, done.stdout, done.stderr) == (7, "out\n", "err\n")


async def test_one_connection_serves_many_commands(world: World, sessions: Sessions) -> None:
    async with world.server() as server:
        host = world.host(server.port)
        answers = await asyncio.gather(*(sessions.run(host, f"echo {number}") for number in range(5)))
    assert [answer.stdout for answer in answers] == [f"{number}\n" for number in range(5)]
    assert server.seen.connections == 1


async def test_wrong_host_key_names_both(world: World, sessions: Sessions) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519")
    async with world.server(trusted=False) as server:
        world.trust(server.known_hosts_line(other))
        with pytest.raises(errors.HostKeyChanged) as caught:
            await sessions.run(world.host(server.port), "true")
        assert server.key.get_fingerprint() in caught.value.observed
        assert other.get_fingerprint() in caught.value.observed
        assert f"ssh-keygen -R '[127.0.0.1]:{server.port}'" in caught.value.next_step
    assert server.seen.programs == []


async def test_wrong_host_key_of_another_kind(world: World, sessions: Sessions) -> None:
    """We know an ed25519 key; the host has none: key exchange fails before any key is shown."""
    async with world.server(trusted=False, key=asyncssh.generate_private_key("ecdsa-sha2-nistp256")) as server:
        world.trust(server.known_hosts_line(asyncssh.generate_private_key("ssh-ed25519")))
        with pytest.raises(errors.HostKeyChanged):
            await sessions.run(world.host(server.port), "true")


async def test_unknown_host_key_is_named(world: World, sessions: Sessions) -> None:
    async with world.server(trusted=False) as server:
        with pytest.raises(errors.HostKeyUnknown) as caught:
            await sessions.run(world.host(server.port), "true")
        assert server.key.get_fingerprint() in caught.value.observed
        assert f"ssh-keyscan -p {server.port} 127.0.0.1" in caught.value.next_step


async def test_no_known_hosts_file_trusts_nobody(world: World, sessions: Sessions) -> None:
    async with world.server() as server:
        with pytest.raises(errors.HostKeyUnknown):
            await sessions.run(world.host(server.port, known_hosts=world.folder / "missing"), "true")


async def test_known_hosts_that_is_not_text(world: World, sessions: Sessions) -> None:
    (world.folder / "binary").write_bytes(b"\xff\xfe\x00")
    async with world.server() as server:
        with pytest.raises(errors.HostError) as caught:
            await sessions.run(world.host(server.port, known_hosts=world.folder / "binary"), "true")
    assert "known_hosts" in caught.value.next_step


async def test_revoked_host_key(world: World, sessions: Sessions) -> None:
    async with world.server() as server:
        world.trust(server.known_hosts_line(mark="@revoked"))
        with pytest.raises(errors.HostKeyChanged, match="revoked"):
            await sessions.run(world.host(server.port), "true")


@pytest.mark.parametrize(
    ("principals", "valid_before", "authority_known", "raises", "words"),
    [
        pytest.param(["127.0.0.1"], "+1d", True, None, None, id="good"),
        pytest.param(["127.0.0.1"], "-1d", True, errors.HostCertificateInvalid, "expired", id="expired"),
        pytest.param(["other"], "+1d", True, errors.HostCertificateInvalid, "principal", id="wrong principal"),
        pytest.param(["127.0.0.1"], "+1d", False, errors.HostKeyUnknown, None, id="authority unknown"),
    ],
)
async def test_host_certificate(
    world: World, sessions: Sessions, principals, valid_before, authority_known, raises, words
) -> None:
    authority, key = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    certificate = authority.generate_host_certificate(
        key, "n01", principals=principals, valid_after="-2d", valid_before=valid_before
    )
    if authority_known:
        world.trust(f"@cert-authority 127.0.0.*,[127.0.0.*]:* {public_line(authority)}")
    async with world.server(trusted=False, server_host_keys=[(key, certificate)]) as server:
        if raises is None:
            assert (await sessions.run(world.host(server.port), "echo in")).stdout == "in\n"
        else:
            with pytest.raises(raises, match=words):
                await sessions.run(world.host(server.port), "true")
            assert server.seen.programs == []


async def test_refused_key(world: World, sessions: Sessions) -> None:
    async with world.server(lets_in=False) as server:
        with pytest.raises(errors.AuthRefused, match="refused ops"):
            await sessions.run(world.host(server.port), "true")


async def test_a_refused_key_is_no_second_factor(world: World, sessions: Sessions) -> None:
    async with world.server(AsksForMore, lets_in=False) as server:
        with pytest.raises(errors.AuthRefused, match="refused ops"):
            await sessions.run(world.host(server.port), "true")


async def test_a_host_that_takes_no_keys_at_all(world: World, sessions: Sessions) -> None:
    async with world.server(AsksForMore, public_key_auth=False) as server:
        with pytest.raises(errors.SecondFactor, match="asks ops for keyboard-interactive") as caught:
            await sessions.run(world.host(server.port), "true")
    assert "AuthenticationMethods publickey" in caught.value.next_step


@pytest.mark.parametrize(("valid_before", "allowed"), [("+1d", True), ("-1d", False)], ids=["good", "expired"])
async def test_user_certificate(world: World, sessions: Sessions, valid_before: str, allowed: bool) -> None:
    authority = asyncssh.generate_private_key("ssh-ed25519")
    certificate = authority.generate_user_certificate(
        world.key, "us", principals=["ops"], valid_after="-2d", valid_before=valid_before
    )
    path = world.folder / "ours-cert.pub"
    path.write_bytes(certificate.export_certificate())
    async with serving(f"cert-authority {public_line(authority)}") as server:
        world.trust(server.known_hosts_line())
        host = world.host(server.port, certificate=path)
        if allowed:
            assert (await sessions.run(host, "echo in")).stdout == "in\n"
        else:
            with pytest.raises(errors.AuthRefused, match="certificate"):
                await sessions.run(host, "true")


async def test_certificate_of_another_key(world: World, sessions: Sessions) -> None:
    authority, other = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    path = world.folder / "other-cert.pub"
    path.write_bytes(authority.generate_user_certificate(other, "us", principals=["ops"]).export_certificate())
    async with world.server() as server:
        with pytest.raises(errors.KeyUnusable, match="certificate"):
            await sessions.run(world.host(server.port, certificate=path), "true")


@pytest.mark.parametrize("text", [b"no key at all", b"", b"\xff\xfe"], ids=["garbage", "empty", "not text"])
async def test_private_key_that_is_none(world: World, sessions: Sessions, text: bytes) -> None:
    world.key_file.write_bytes(text)
    with pytest.raises(errors.KeyUnusable):
        await sessions.run(world.host(1), "true")


async def test_private_key_with_a_passphrase(world: World, sessions: Sessions) -> None:
    encrypt = ["ssh-keygen", "-q", "-p", "-N", "secret", "-f", str(world.key_file)]
    await asyncio.to_thread(subprocess.run, encrypt, check=True)
    with pytest.raises(errors.KeyUnusable, match="passphrase"):
        await sessions.run(world.host(1), "true")


async def test_neither_key_nor_agent(world: World, sessions: Sessions) -> None:
    with pytest.raises(errors.KeyUnusable):
        await sessions.run(world.host(1, key=None), "true")


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A real ssh-agent without keys."""
    socket = tmp_path / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()  # it tells its socket when it listens
    monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
    yield socket
    process.terminate()
    process.wait()


def _add(key: Path) -> None:
    subprocess.run(["ssh-add", str(key)], check=True, capture_output=True)


async def test_agent_signs_for_many_at_once_over_one_connection(world: World, agent: Path) -> None:
    _add(world.key_file)
    before = len(os.listdir("/proc/self/fd"))
    async with world.server() as server:
        hosts = [world.host(server.port, f"n{number:02}", key=None, agent=True) for number in range(12)]
        async with open_sessions() as sessions:
            answers = await asyncio.gather(*(sessions.run(host, "echo in") for host in hosts))
        assert {answer.stdout for answer in answers} == {"in\n"}
        await server.seen.until(lambda seen: seen.open == 0)
    assert len(os.listdir("/proc/self/fd")) <= before, "the agent's socket, or a connection, was left open"


async def test_agent_without_the_right_key(world: World, sessions: Sessions, agent: Path) -> None:
    _add(write_key(world.folder, "other", asyncssh.generate_private_key("ssh-ed25519")))
    async with world.server() as server:
        with pytest.raises(errors.AuthRefused, match="agent"):
            await sessions.run(world.host(server.port, key=None, agent=True), "true")


async def test_agent_without_keys(world: World, sessions: Sessions, agent: Path) -> None:
    with pytest.raises(errors.KeyUnusable, match="no key"):
        await sessions.run(world.host(1, key=None, agent=True), "true")


async def test_an_agent_that_hangs_is_waited_for_once(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        await reader.read()
        writer.close()

    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
    server = await asyncio.start_unix_server(hang, tmp_path / "agent")
    access = world.host(1, key=None, agent=True).ssh
    credentials = Credentials(secret_reader(), agent_timeout_s=0.2)
    async with server, asyncio.timeout(10):
        logins = await asyncio.gather(*(credentials.keys(access) for _ in range(100)), return_exceptions=True)
        assert {str(error) for error in logins} == {
            "agent: true, but the agent at SSH_AUTH_SOCK has not answered within 0.2 s"
        }
        assert isinstance(logins[0], errors.KeyUnusable)
        assert "ssh-add -l" in logins[0].next_step
        assert await credentials.keys(world.host(1).ssh), "whose key is a file logs in all the same"
        await credentials.close()
    assert asked == 1


async def test_no_agent(world: World, sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", str(world.folder / "nothing"))
    with pytest.raises(errors.KeyUnusable, match="no agent"):
        await sessions.run(world.host(1, key=None, agent=True), "true")
