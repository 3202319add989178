"""After the login: commands that hang, flood, break off or are not let begin, and what a host says by itself."""

from __future__ import annotations

import asyncio
import time

import pytest

from poolkeeper.tasks.hosts import Sessions, errors
from tests.contract.hosts import servers
from tests.contract.hosts.conftest import World
from tests.contract.hosts.wires import wire_to


async def test_program_finds_an_empty_stdin(world: World, sessions: Sessions) -> None:
    async with world.server() as server:
        done = await sessions.run(world.host(server.port), 'cat; read -r line; echo "[$line]"; sh -c cat; echo end')
    assert done.stdout == "[]\nend\n"


@pytest.mark.parametrize("program", ["if", "echo begun\nif", "echo begun\nfor x in"], ids=repr)
async def test_half_a_program_never_begins(world: World, sessions: Sessions, program: str) -> None:
    async with world.server() as server:
        done = await sessions.run(world.host(server.port), program)
    assert done.exit_status != 0
    assert done.stdout == ""


async def test_bytes_that_are_no_text(world: World, sessions: Sessions) -> None:
    async with world.server() as server:
        done = await sessions.run(world.host(server.port), r"printf '\377a\303'")
    assert done.stdout == "\ufffda\ufffd"


async def test_large_program_and_answer(world: World, sessions: Sessions) -> None:
    async with world.server() as server:
        program = f": <<'END'\n{'x' * 300_000}\nEND\nhead -c 900000 /dev/zero | tr '\\0' y"
        done = await sessions.run(world.host(server.port), program)
    assert done.stdout == "y" * 900_000


async def test_signal_ends_it(world: World, sessions: Sessions) -> None:
    async with world.server(SignalledSession) as server:
        done = await sessions.run(world.host(server.port), "true")
    assert done.exit_status == -1


class SignalledSession(servers.Obliging):
    """The program is killed."""

    async def run(self, session, program: bytes) -> None:
        session.stdout.write(program.split()[1].rstrip(b";") + b"\n")
        session.exit_with_signal("KILL")


async def test_command_timeout_closes_the_channel(world: World, sessions: Sessions) -> None:
    async with world.server(servers.HangsAfterLogin) as server:
        start = time.monotonic()
        with pytest.raises(errors.CommandTimeout, match=r"not ended within 0\.4 s"):
            await sessions.run(world.host(server.port), "sleep 1000", timeout_s=0.4)
        assert time.monotonic() - start < 2
        await server.seen.until(lambda seen: seen.channels_closed == 1)


async def test_command_timeout_of_a_frozen_line(world: World, sessions: Sessions) -> None:
    """Nobody is there to agree to the channel's end: it must not be waited for."""
    async with world.server() as server, wire_to(server.port) as wire:
        world.through(wire.port, server)
        host = world.host(wire.port)
        await sessions.run(host, "true")
        wire.freeze()
        start = time.monotonic()
        with pytest.raises(errors.CommandTimeout):
            await sessions.run(host, "true", timeout_s=0.4)
        assert time.monotonic() - start < 2


async def test_timeout_of_one_command_spares_the_others(world: World, sessions: Sessions) -> None:
    async with world.server() as server:
        host = world.host(server.port)
        gate = world.folder / "gate"
        waiting = asyncio.create_task(sessions.run(host, f"mkfifo {gate}; read -r word < {gate}; echo $word"))
        await server.seen.until(lambda seen: len(seen.programs) == 1)
        with pytest.raises(errors.CommandTimeout):
            await sessions.run(host, "sleep 60", timeout_s=0.3)
        assert (await sessions.run(host, "echo after")).stdout == "after\n"
        await sessions.run(host, f"echo on > {gate}")
        assert (await waiting).stdout == "on\n"
        await server.seen.until(lambda seen: seen.open == 1)  # the line with the hung command is gone, when unused


@pytest.mark.parametrize("behaviour", [servers.Floods, servers.FloodsErrors], ids=["stdout", "stderr"])
async def test_flood_is_capped(world: World, sessions: Sessions, behaviour: type[servers.Obliging]) -> None:
    async with world.server(behaviour) as server:
        with pytest.raises(errors.OutputFlood, match="more than 200000 bytes"):
            await sessions.run(world.host(server.port), "true", output_limit_bytes=200_000)
        await server.seen.until(lambda seen: seen.open == 0)


async def test_limit_counts_bytes(world: World, sessions: Sessions) -> None:
    async with world.server() as server:
        program = "for i in 1 2 3 4 5 6 7 8 9 10; do printf 'ääääääääää'; done"
        with pytest.raises(errors.OutputFlood):
            await sessions.run(world.host(server.port), program, output_limit_bytes=150)


@pytest.mark.parametrize("behaviour", [servers.DropsMidCommand, servers.ClosesWithoutStatus])
async def test_dropped_in_mid_command_is_not_sent_again(
    world: World, sessions: Sessions, behaviour: type[servers.Obliging]
) -> None:
    async with world.server(behaviour) as server:
        with pytest.raises(errors.ConnectionLost):
            await sessions.run(world.host(server.port), "reboot")
        assert len(server.seen.programs) == 1


async def test_cut_in_mid_command_is_not_sent_again(world: World, sessions: Sessions) -> None:
    async with world.server(servers.HangsAfterLogin) as server, wire_to(server.port) as wire:
        world.through(wire.port, server)
        running = asyncio.create_task(sessions.run(world.host(wire.port), "reboot"))
        await server.seen.until(lambda seen: len(seen.programs) == 1)
        wire.cut()
        with pytest.raises(errors.ConnectionLost):
            await running
        assert len(server.seen.programs) == 1


async def test_a_kept_connection_that_died_is_replaced(world: World, sessions: Sessions) -> None:
    async with world.server() as server, wire_to(server.port) as wire:
        world.through(wire.port, server)
        host = world.host(wire.port)
        await sessions.run(host, "echo 1")
        wire.cut()
        assert (await sessions.run(host, "echo 2")).stdout == "2\n"
        assert server.seen.connections == 2
        assert len(server.seen.programs) == 2


async def test_keepalive_finds_a_dead_line(world: World, sessions: Sessions) -> None:
    async with world.server(servers.HangsAfterLogin) as server, wire_to(server.port) as wire:
        world.through(wire.port, server)
        host = world.host(wire.port, keepalive_s=0.1)
        running = asyncio.create_task(sessions.run(host, "sleep 60", timeout_s=30))
        await server.seen.until(lambda seen: len(seen.programs) == 1)
        wire.freeze()
        async with asyncio.timeout(5):
            with pytest.raises(errors.ConnectionLost):
                await running


async def test_keepalive_spares_a_slow_command(world: World, sessions: Sessions) -> None:
    async with world.server() as server:
        done = await sessions.run(world.host(server.port, keepalive_s=0.1), "sleep 1; echo end")
    assert done.stdout == "end\n"


async def test_no_session(world: World, sessions: Sessions) -> None:
    async with world.server(servers.OpensNoSession, process_factory=None) as server:
        with pytest.raises(errors.NoSession):
            await sessions.run(world.host(server.port), "true")
        assert server.seen.connections == 1


@pytest.mark.parametrize("sudo", [False, True], ids=["as the user", "with sudo"])
async def test_no_login_shell(world: World, sessions: Sessions, sudo: bool) -> None:
    async with world.server(servers.NoLoginShell) as server:
        with pytest.raises(errors.ShellRefused, match="not available"):
            await sessions.run(world.host(server.port, sudo=sudo), "true")


async def test_what_start_up_files_print_is_not_our_answer(world: World, sessions: Sessions) -> None:
    async with world.server(servers.Noisy) as server:
        done = await sessions.run(world.host(server.port), "echo ours; echo our error >&2")
    # the last noise has no line's end: the mark follows it on the same line, and what is ours begins after it
    assert (done.stdout, done.stderr) == ("ours\n", "our error\n")


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        (servers.SudoNeedsPassword, "a password is required"),
        (servers.SudoPrompts, "password for ops"),
    ],
)
async def test_sudo_refused_at_once(
    world: World, sessions: Sessions, behaviour: type[servers.Obliging], words: str
) -> None:
    async with world.server(behaviour) as server:
        start = time.monotonic()
        with pytest.raises(errors.SudoRefused, match=words) as caught:
            await sessions.run(world.host(server.port, sudo=True), "true")
        assert time.monotonic() - start < 5
        assert "NOPASSWD" in caught.value.next_step


@pytest.mark.parametrize(
    ("said", "kind", "step"),
    [
        pytest.param(
            "sudo: sorry, you must have a tty to run sudo\n", errors.SudoWantsTerminal, "!requiretty", id="requiretty"
        ),
        *(
            pytest.param(said, errors.SudoMissing, "Install sudo", id=f"missing: {said}")
            for said in (
                "sh: 1: exec: sudo: not found",
                "bash: line 1: exec: sudo: not found",
                "-sh: exec: line 0: sudo: not found",
                "zsh:1: command not found: sudo",
                "sudo: Command not found.",
                "fish: Unknown command: sudo",
            )
        ),
        *(
            pytest.param(said, errors.ShellRestricted, "chsh -s /bin/bash", id=f"restricted: {said}")
            for said in (
                "rbash: line 1: exec: restricted",
                "rksh: exec: restricted",
                "rbash: /usr/bin/sudo: restricted: cannot specify `/' in command names",
                "*** forbidden command: exec",
                "This account is restricted by rssh.",
                "fatal: unrecognized command 'exec sudo -n -- sh -s'",
            )
        ),
        *(
            pytest.param(said, errors.SudoSecondFactor, "/etc/pam.d/sudo", id=f"second factor: {said}")
            for said in (
                "Verification code: ",
                "Duo two-factor login for ops\n",
                "sudo: a one-time password is required",
            )
        ),
        *(
            pytest.param(said, errors.SudoUnusable, "visudo -c", id=f"unusable: {said}")
            for said in (
                "sudo: /usr/bin/sudo must be owned by uid 0 and have the setuid bit set",
                "/etc/sudoers.d/ops:1:5: syntax error\nsudo: error initializing audit plugin sudoers_audit",
                "sudo: parse error in /etc/sudoers near line 3",
                'sudo: The "no new privileges" flag is set, which prevents sudo from running as root.',
                "bash: line 1: /usr/bin/sudo: Permission denied",
                "sudo: PAM account management error: Permission denied",
            )
        ),
        pytest.param(
            "WARNING: Your password has expired.\nYou must change your password now and login again!\n",
            errors.PasswordExpired,
            "chage",
            id="an expired password",
        ),
        pytest.param(
            "access is restricted to staff\nsudo: a password is required\n",
            errors.SudoRefused,
            "NOPASSWD",
            id="a password",
        ),
        pytest.param("ops is not in the sudoers file.\n", errors.SudoRefused, "NOPASSWD", id="not allowed"),
    ],
)
async def test_each_reason_why_no_program_is_begun_has_a_next_step_of_its_own(
    world: World, sessions: Sessions, said: str, kind: type[errors.HostError], step: str
) -> None:
    behaviour = type("Saying", (servers.Says,), {"said": said})
    async with world.server(behaviour) as server:
        with pytest.raises(errors.HostError) as caught:
            await sessions.run(world.host(server.port, sudo=True), "true")
    assert type(caught.value) is kind
    assert step in caught.value.next_step
    assert said.strip().rpartition("\n")[2].rstrip(".") in caught.value.observed


async def test_a_code_that_sudo_asks_for_is_not_waited_for(world: World, sessions: Sessions) -> None:
    class Asks(servers.SudoPrompts):
        prompt = b"Verification code: "

    async with world.server(Asks) as server:
        with pytest.raises(errors.SudoSecondFactor, match="sudo asks: Verification code:"):
            await sessions.run(world.host(server.port, sudo=True), "true")


async def test_what_sudo_would_say_is_no_matter_of_sudo_without_it(world: World, sessions: Sessions) -> None:
    behaviour = type("Saying", (servers.Says,), {"said": "PAM: a verification code, please"})
    async with world.server(behaviour) as server:
        with pytest.raises(errors.ShellRefused):
            await sessions.run(world.host(server.port), "true")


@pytest.fixture
def with_sudo(world: World) -> type[servers.Obliging]:
    """A server that finds a `sudo` that lets everything pass and says so."""
    sudo = world.folder / "bin" / "sudo"
    sudo.parent.mkdir()
    sudo.write_text('#!/bin/sh\n[ "$1 $2" = "-n --" ] || exit 9\nshift 2\nAS=root exec "$@"\n')
    sudo.chmod(0o755)

    class WithSudo(servers.Obliging):
        path = f"{sudo.parent}:/usr/bin:/bin"

    return WithSudo


async def test_sudo_where_it_is_wanted(world: World, sessions: Sessions, with_sudo: type[servers.Obliging]) -> None:
    async with world.server(with_sudo) as server:
        host = world.host(server.port, sudo=True)
        assert (await sessions.run(host, 'echo "$AS"')).stdout == "root\n"
        assert (await sessions.run(host, 'echo "$AS"', sudo=False)).stdout == "\n"
        assert (await sessions.run(world.host(server.port, "n2"), 'echo "$AS"')).stdout == "\n"


async def test_a_program_that_fails_as_sudo_does_is_no_refusal(
    world: World, sessions: Sessions, with_sudo: type[servers.Obliging]
) -> None:
    async with world.server(with_sudo) as server:
        done = await sessions.run(world.host(server.port, sudo=True), "echo 'sudo: not me' >&2; exit 1")
    assert (done.exit_status, done.stderr) == (1, "sudo: not me\n")
