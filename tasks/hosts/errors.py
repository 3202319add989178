"""Why a host could not be asked: one class per cause, each with its next step."""

from __future__ import annotations

from poolkeeper.tasks.outcomes import ChangeState, PoolkeeperError, quoted


class HostError(PoolkeeperError):
    """A host could not be asked."""

    id = "hosts.ssh.failed"
    expected = "a session on the host"
    next_step = "Try it by hand: `ssh -v USER@HOST`."
    source = "SSH"
    leaves = ChangeState.FAILED
    """The outcome of a change that this error ended."""

    def __init__(self, observed: str, *, next_step: str | None = None) -> None:
        super().__init__(quoted(observed, most=500), next_step=next_step)  # it quotes hosts and asyncssh


class NameUnresolved(HostError):
    """The host's address is a name that does not resolve here."""

    id = "hosts.ssh.name-unresolved"
    expected = "the host's address resolves"
    next_step = "Correct the address in the fleet file, or the resolver of the machine that runs poolkeeper."


class ConnectRefused(HostError):
    """Nothing listens on the port, or a firewall refuses the connection."""

    id = "hosts.ssh.refused"
    expected = "an SSH server listens"
    next_step = "Check that sshd runs on the host and listens on the declared port."


class Unreachable(HostError):
    """There is no route to the host."""

    id = "hosts.ssh.unreachable"
    expected = "a route to the host"
    next_step = "Check address, route and VPN on the machine that runs poolkeeper: `ip route get HOST`."


class ConnectTimeout(HostError):
    """There was no TCP connection in time."""

    id = "hosts.ssh.connect-timeout"
    expected = "a TCP connection"
    next_step = "Check power, network, route and firewall of the host: `ping HOST`, then `nc -vz HOST PORT`."


class LoginTimeout(HostError):
    """There was a connection, and no login in time."""

    id = "hosts.ssh.login-timeout"
    expected = "key exchange and login"
    next_step = "The host accepts connections and does not answer: check load, memory and disk on its console."


class HostKeyUnknown(HostError):
    """known_hosts has no key for the host."""

    id = "hosts.ssh.host-key-unknown"
    expected = "the host's key, or its authority's, in known_hosts"


class HostKeyChanged(HostError):
    """The host's key is not the known one."""

    id = "hosts.ssh.host-key-changed"
    expected = "the key in known_hosts"


class HostCertificateInvalid(HostError):
    """The host's certificate is from a known authority, and is not valid for this host now."""

    id = "hosts.ssh.host-certificate"
    expected = "a valid certificate with the host's address or name as a principal"
    next_step = "Issue the host a new certificate (`ssh-keygen -s CA -h -n NAME,ADDRESS ...`) and reload its sshd."


class AuthRefused(HostError):
    """The host refuses the declared key."""

    id = "hosts.ssh.auth-refused"
    expected = "login with the declared key"
    next_step = "Put the public key into ~/.ssh/authorized_keys of that user on the host, or correct user and key."


class KeyUnusable(HostError):
    """The declared key cannot be used."""

    id = "hosts.ssh.key-unusable"
    expected = "a private key without passphrase, or an agent"
    next_step = "Point ssh.key at a readable private key; keep one with a passphrase in an agent (`agent: true`)."


class JumpFailed(HostError):
    """The connection through the jump host failed."""

    id = "hosts.ssh.jump-failed"
    expected = "a session on the jump host"
    next_step = "Correct the access to the jump host first; every host behind it has this finding."


class CommandTimeout(HostError):
    """A command did not end in time."""

    leaves = ChangeState.UNKNOWN
    id = "hosts.ssh.command-timeout"
    expected = "the command ends in time"
    next_step = "Log in and find out what hangs: often a dead mount (`df` hangs, too), or a machine without memory."


class ConnectionLost(HostError):
    """The connection broke while a command ran: its effect is not known."""

    leaves = ChangeState.UNKNOWN
    id = "hosts.ssh.connection-lost"
    expected = "the connection lasts until the command has ended"
    next_step = "Find the reason (packet loss, a reboot, a killed sshd), then run this again."


class NoSession(HostError):
    """The login succeeded, and the host opens no session for a command."""

    id = "hosts.ssh.no-session"
    expected = "a session on the connection"
    next_step = "Check the host's sshd log (`journalctl -u ssh -n 50`) and MaxSessions in its sshd_config."


class ShellRefused(HostError):
    """The session has no POSIX shell that starts a program."""

    id = "hosts.ssh.no-shell"
    expected = "the user's login shell runs `sh -s`"
    next_step = "Give that user a shell (`chsh`), and no ForceCommand in sshd_config; then log in by hand to check."


class OutputFlood(HostError):
    """There was more output than any program of poolkeeper writes."""

    id = "hosts.ssh.output-flood"
    expected = "output within the size limit"
    next_step = "Log in and see what the user's shell start-up prints; without a terminal it must print nothing."


class ShellRestricted(ShellRefused):
    """The login shell allows certain commands only."""

    id = "hosts.ssh.restricted-shell"
    next_step = "Give the user an unrestricted login shell: `chsh -s /bin/bash USER`, as root on the host."


class PasswordExpired(ShellRefused):
    """The account's password has expired: the host runs nothing before it is changed, also after a login by key."""

    id = "hosts.ssh.password-expired"
    next_step = "As root on the host, set a new password, or let it never expire: `chage -M -1 USER`."


class SecondFactor(HostError):
    """The host wants a second factor, which a program cannot give."""

    id = "hosts.ssh.second-factor"
    expected = "login with the declared key alone"
    next_step = (
        "Let a key be enough for this user in the host's sshd_config (`Match User USER`, `AuthenticationMethods"
        " publickey`), or declare a user for whom it is enough."
    )


class SudoRefused(HostError):
    """sudo asks for a password, or refuses the user."""

    id = "hosts.ssh.sudo-password"
    expected = "sudo without a password"
    next_step = "Give the user a line `USER ALL=(ALL) NOPASSWD: ALL` in /etc/sudoers.d, or log in as root."


class SudoWantsTerminal(SudoRefused):
    """sudo works in a terminal only (`requiretty`)."""

    id = "hosts.ssh.sudo-requiretty"
    expected = "sudo without a terminal"
    next_step = "Write `Defaults:USER !requiretty` to a file in /etc/sudoers.d, or delete requiretty there."


class SudoMissing(SudoRefused):
    """There is no sudo on the user's PATH."""

    id = "hosts.ssh.sudo-missing"
    expected = "sudo on the host"
    next_step = "Install sudo on the host, or log in as root; `ssh: {sudo: false}` is for a user who needs no sudo."


class SudoSecondFactor(SudoRefused):
    """sudo asks for a second factor, such as a code, which a program cannot give."""

    id = "hosts.ssh.sudo-second-factor"
    expected = "sudo without any question"
    next_step = "Exempt this user from the second factor in /etc/pam.d/sudo on the host, or log in as root."


class SudoUnusable(SudoRefused):
    """sudo does not work on the host."""

    id = "hosts.ssh.sudo-unusable"
    expected = "sudo works"
    next_step = "As root on the host, run `visudo -c` and `ls -l $(command -v sudo)`, and correct what they show."
