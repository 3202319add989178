"""What can go wrong between us and a host: one class a cause, each with its next step."""

from __future__ import annotations

from poolkeeper.tasks.outcomes import ChangeState, PoolkeeperError, quoted


class HostError(PoolkeeperError):
    """A host could not be asked; the message says what was seen."""

    id = "hosts.ssh.failed"
    expected = "a session on the host"
    next_step = "Try it by hand: `ssh -v USER@HOST`."
    source = "SSH"
    leaves = ChangeState.FAILED
    """What is known of a change that ended with it."""

    def __init__(self, observed: str, *, next_step: str | None = None) -> None:
        super().__init__(quoted(observed, most=500), next_step=next_step)  # much of it is what hosts and asyncssh say


class NameUnresolved(HostError):
    """The host's address is a name that does not resolve here."""

    id = "hosts.ssh.name-unresolved"
    expected = "the host's address resolves"
    next_step = "Correct the address in the fleet file, or the resolver of the machine that runs poolkeeper."


class ConnectRefused(HostError):
    """Nothing listens, or a firewall says no."""

    id = "hosts.ssh.refused"
    expected = "an SSH server listens"
    next_step = "Check that sshd runs on the host and listens on the declared port."


class Unreachable(HostError):
    """There is no way to it from here."""

    id = "hosts.ssh.unreachable"
    expected = "a route to the host"
    next_step = "Check address, route and VPN from the machine that runs poolkeeper: `ip route get HOST`."


class ConnectTimeout(HostError):
    """No TCP connection in time."""

    id = "hosts.ssh.connect-timeout"
    expected = "a TCP connection"
    next_step = "Check power, line, route and firewall of the host: `ping`, then `nc -vz HOST PORT`."


class LoginTimeout(HostError):
    """A connection, but no login in time."""

    id = "hosts.ssh.login-timeout"
    expected = "key exchange and login"
    next_step = "The host accepts connections but does not answer: look at its console for load, memory and disk."


class HostKeyUnknown(HostError):
    """There is no key to compare the host's with."""

    id = "hosts.ssh.host-key-unknown"
    expected = "the host's key, or its authority's, in known_hosts"


class HostKeyChanged(HostError):
    """The host's key is not the known one."""

    id = "hosts.ssh.host-key-changed"
    expected = "the key in known_hosts"


class HostCertificateInvalid(HostError):
    """The host's certificate is from a known authority, but does not hold for this host now."""

    id = "hosts.ssh.host-certificate"
    expected = "a valid certificate with the host's address or name as a principal"
    next_step = "Issue the host a new certificate (`ssh-keygen -s CA -h -n NAME,ADDRESS ...`) and reload its sshd."


class AuthRefused(HostError):
    """The host does not let us in."""

    id = "hosts.ssh.auth-refused"
    expected = "login with the declared key"
    next_step = "Put the public key into ~/.ssh/authorized_keys of that user on the host, or correct user and key."


class KeyUnusable(HostError):
    """Our own key cannot be used."""

    id = "hosts.ssh.key-unusable"
    expected = "a private key without passphrase, or an agent"
    next_step = "Point ssh.key at a readable private key; keep one with a passphrase in an agent (`agent: true`)."


class JumpFailed(HostError):
    """The jump host on the way could not be passed."""

    id = "hosts.ssh.jump-failed"
    expected = "a session on the jump host"
    next_step = "Mend the way to the jump host first; every host behind it has this finding."


class CommandTimeout(HostError):
    """Logged in, but a command did not end in time."""

    leaves = ChangeState.UNKNOWN
    id = "hosts.ssh.command-timeout"
    expected = "the command's end"
    next_step = "Log in and look what hangs: often a dead mount (`df` hangs too) or an exhausted machine."


class ConnectionLost(HostError):
    """The line broke off in mid-command: what it did is not known."""

    leaves = ChangeState.UNKNOWN
    id = "hosts.ssh.connection-lost"
    expected = "an answer before the line breaks"
    next_step = "Check the line (packet loss, a rebooting host, a killed sshd), then run this again."


class NoSession(HostError):
    """Logged in, but the host opens no session for a command."""

    id = "hosts.ssh.no-session"
    expected = "a session on the connection"
    next_step = "Look at the host's sshd log (`journalctl -u ssh -n 50`) and at MaxSessions in its sshd_config."


class ShellRefused(HostError):
    """A session, but no POSIX shell in it that begins a program."""

    id = "hosts.ssh.no-shell"
    expected = "the user's login shell runs `sh -s`"
    next_step = "Log in by hand as that user: give it a shell (`chsh`), and no ForceCommand in sshd_config."


class OutputFlood(HostError):
    """More output than any answer of ours has."""

    id = "hosts.ssh.output-flood"
    expected = "an answer of ordinary size"
    next_step = "Log in and see what the user's shell start-up prints: it must be quiet without a terminal."


class ShellRestricted(ShellRefused):
    """The login shell lets through only what it likes."""

    id = "hosts.ssh.restricted-shell"
    next_step = "Give the user an unrestricted login shell: `chsh -s /bin/bash USER`, as root on the host."


class PasswordExpired(ShellRefused):
    """The account's password has expired: nothing is run before it is changed, whatever one logs in with."""

    id = "hosts.ssh.password-expired"
    next_step = "As root on the host, give the user a new password, or none that expires: `chage -M -1 USER`."


class SecondFactor(HostError):
    """The host has refused no key of ours, and wants something else, which no program has."""

    id = "hosts.ssh.second-factor"
    expected = "login with the declared key alone"
    next_step = (
        "Let a key be enough for this user in the host's sshd_config (`Match User USER`, `AuthenticationMethods"
        " publickey`), or log in as another one for whom it is."
    )


class SudoRefused(HostError):
    """sudo wants a password or says no."""

    id = "hosts.ssh.sudo-password"
    expected = "sudo without a password"
    next_step = "Give the user a line `USER ALL=(ALL) NOPASSWD: ALL` in /etc/sudoers.d, or log in as root."


class SudoWantsTerminal(SudoRefused):
    """`requiretty`: sudo works in a terminal only."""

    id = "hosts.ssh.sudo-requiretty"
    expected = "sudo without a terminal"
    next_step = "Write `Defaults:USER !requiretty` into a file in /etc/sudoers.d, or delete requiretty there."


class SudoMissing(SudoRefused):
    """There is no sudo on the user's PATH."""

    id = "hosts.ssh.sudo-missing"
    expected = "sudo on the host"
    next_step = "Install sudo on the host, or log in as root; `ssh: {sudo: false}` is for a user who needs none."


class SudoSecondFactor(SudoRefused):
    """sudo asks for something that no program has, such as a code from a telephone."""

    id = "hosts.ssh.sudo-second-factor"
    expected = "sudo that asks for nothing"
    next_step = "Exempt this user from the second factor in /etc/pam.d/sudo on the host, or log in as root."


class SudoUnusable(SudoRefused):
    """sudo itself is not in order."""

    id = "hosts.ssh.sudo-unusable"
    expected = "sudo in order"
    next_step = "As root on the host, run `visudo -c` and `ls -l $(command -v sudo)`, and mend what they show."
