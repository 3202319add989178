"""Connecting and logging in: within the limits on handshakes, through jump hosts, with one error class per cause."""

from __future__ import annotations

import asyncio
import errno
import random
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh

from poolkeeper.tasks.fleet.model import Host, SecretRef, Site, SshAccess
from poolkeeper.tasks.hosts import errors
from poolkeeper.tasks.hosts.commands import reason
from poolkeeper.tasks.hosts.credentials import Credentials, fingerprint
from poolkeeper.tasks.outcomes import Secret

KEEPALIVES_MISSED = 3
"""Number of unanswered keepalives after which a connection is dead."""
_SECOND_FACTORS = ("keyboard-interactive", "password")
"""What a host may ask for beside a key. poolkeeper answers nothing; that the host asks becomes an error."""


@dataclass(frozen=True, slots=True)
class _Door:
    """Where to log in, and as which user."""

    address: str
    port: int
    user: str

    def __str__(self) -> str:
        return f"{self.address}:{self.port}"


class Logins:
    """Opens connections to hosts. It keeps one connection to each jump host, shared by all hosts behind it."""

    def __init__(self, handshakes: int, secret: Callable[[SecretRef], Secret]) -> None:
        self._credentials = Credentials(secret)
        self._slots = asyncio.Semaphore(handshakes)
        self._site_slots: dict[str, asyncio.Semaphore] = {}
        self._jumps: dict[Any, asyncio.Task[asyncssh.SSHClientConnection]] = {}

    async def connect(self, host: Host) -> asyncssh.SSHClientConnection:
        """A new connection, logged in. Raises HostError."""
        return await self._patiently(host, _Door(host.address, host.ssh.port, host.ssh.user), through_jump=True)

    async def close(self) -> None:
        """Close the jump hosts' connections and the agent's."""
        jumps, self._jumps = list(self._jumps.values()), {}
        for jump in jumps:
            jump.cancel()
        for done in await asyncio.gather(*jumps, return_exceptions=True):
            if not isinstance(done, BaseException):
                done.abort()
                await done.wait_closed()
        await self._credentials.close()

    async def _patiently(self, host: Host, door: _Door, *, through_jump: bool) -> asyncssh.SSHClientConnection:
        """Log in, again if the connection was dropped: a busy sshd drops new connections at random (MaxStartups)."""
        tried = 0
        while True:
            try:
                return await self._once(host, door, through_jump)
            except _Dropped as dropped:
                tried += 1
                if tried == dropped.tries:
                    raise errors.ConnectRefused(dropped.observed) from None
            await asyncio.sleep(tried * random.uniform(0.2, 0.8))  # noqa: S311

    async def _once(self, host: Host, door: _Door, through_jump: bool) -> asyncssh.SSHClientConnection:
        jump = await self._jump(host) if through_jump and host.ssh.jump else None
        return await self._handshake(host.site, host.ssh, door, jump)

    async def _jump(self, host: Host) -> asyncssh.SSHClientConnection:
        """The connection to the host's jump host; all hosts that wait for it share one attempt and its failure."""
        access, jump = host.ssh, host.ssh.jump
        assert jump is not None
        key = (jump, access.key, access.certificate, access.agent, access.known_hosts)
        opening = self._jumps.get(key)
        if opening is None or (opening.done() and (_failed(opening) or opening.result().is_closed())):
            door = _Door(jump.address, jump.port, jump.user)
            opening = self._jumps[key] = asyncio.create_task(self._patiently(host, door, through_jump=False))
            opening.add_done_callback(_failed)  # retrieves the error, also if no host waits any more
        try:
            return await asyncio.shield(opening)  # other hosts wait for it, too
        except errors.HostError as error:
            raise errors.JumpFailed(f"jump host {jump.address}: {error.observed}", next_step=error.next_step) from None

    async def _handshake(
        self, site: Site, access: SshAccess, door: _Door, jump: asyncssh.SSHClientConnection | None
    ) -> asyncssh.SSHClientConnection:
        keys = await self._credentials.keys(access)
        known_hosts = self._credentials.known_hosts(access)
        slots = self._site_slots.setdefault(site.name, asyncio.Semaphore(site.ssh_limits.handshakes))
        async with slots, self._slots:
            client = _Client()
            try:
                async with asyncio.timeout(access.connect_timeout_s) as client.deadline:
                    client.login_timeout_s = access.login_timeout_s
                    return await asyncssh.connect(
                        door.address,
                        door.port,
                        tunnel=jump or (),
                        username=door.user,
                        client_keys=keys,
                        agent_path=None,
                        known_hosts=known_hosts,
                        config=None,
                        preferred_auth=("publickey", *_SECOND_FACTORS),
                        client_factory=lambda: client,
                        connect_timeout=None,
                        keepalive_interval=access.keepalive_s,
                        keepalive_count_max=KEEPALIVES_MISSED,
                    )
            except TimeoutError:
                if client.connected:
                    raise errors.LoginTimeout(f"no login within {access.login_timeout_s:g} s") from None
                raise errors.ConnectTimeout(f"no connection to {door} within {access.connect_timeout_s:g} s") from None
            except asyncssh.HostKeyNotVerifiable as error:
                raise _untrusted(door, access.known_hosts, known_hosts, client.shown, error.reason) from None
            except asyncssh.KeyExchangeFailed as error:
                # only the kinds of key that known_hosts has for the host are offered
                if "host key" in error.reason and any(_known_keys(door, known_hosts)):
                    raise _untrusted(door, access.known_hosts, known_hosts, None, error.reason) from None
                raise errors.HostError(f"{door}: {error.reason}") from None
            except asyncssh.ChannelOpenError as error:
                raise _not_through(door, jump, error) from None
            except (asyncssh.Error, OSError, UnicodeError) as error:
                if client.wanted_besides:
                    raise errors.SecondFactor(
                        f"{door.address} asks {door.user} for {client.wanted_besides}, beside the key or in its place"
                    ) from None
                raise _error_of(door, access, error) from None


class _Client(asyncssh.SSHClient):  # type: ignore[misc]  # asyncssh has no types here
    """Records how far a connection came; once TCP is connected, the login's deadline counts."""

    def __init__(self) -> None:
        self.connected = False
        self.deadline: asyncio.Timeout | None = None
        self.login_timeout_s = 0.0
        self.shown: asyncssh.SSHKey | None = None
        self.wanted_besides = ""
        """What the host asks for beside a key that it has not refused."""
        self._keys_refused = False

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        self.connected = True
        if self.deadline is not None and not self.deadline.expired():
            self.deadline.reschedule(asyncio.get_running_loop().time() + self.login_timeout_s)

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        """Called only for a key that is not in known_hosts: it is never trusted, and shown in the error."""
        self.shown = key
        return False

    def validate_host_ca_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        """The same for the authority of a host certificate."""
        self.shown = key
        return False

    def public_key_auth_requested(self) -> None:
        """Called for another key when the host has refused all keys."""
        self._keys_refused = True

    def kbdint_auth_requested(self) -> None:
        """Called where the host wants it, after a key or in place of one."""
        self._want("keyboard-interactive (a code, or a confirmation)")

    def password_auth_requested(self) -> None:
        """The same for a password."""
        self._want("a password")

    def _want(self, what: str) -> None:
        if not self._keys_refused and not self.wanted_besides:
            self.wanted_besides = what


class _Dropped(errors.HostError):
    """The other side closed the connection before login: worth another try."""

    tries = 4
    """How many in all."""


class _Refused(_Dropped):
    """Nothing listens; one more try is enough to be sure."""

    tries = 2


def _failed(opening: asyncio.Task[Any]) -> bool:
    return opening.cancelled() or opening.exception() is not None


def _error_of(door: _Door, access: SshAccess, error: Exception) -> errors.HostError:
    """The error of a failed attempt, by its cause."""
    said = reason(error)
    if isinstance(error, asyncssh.PermissionDenied) or "Too many authentication failures" in said:
        declared = "key and certificate" if access.certificate else "agent's keys" if access.agent else "key"
        return errors.AuthRefused(f"{door.address} refused {door.user} with the declared {declared}: {said}")
    if isinstance(error, socket.gaierror):
        return errors.NameUnresolved(f"{door.address}: {error.strerror}")
    if isinstance(error, UnicodeError):
        return errors.NameUnresolved(f"{door.address!r} is not a name that can be resolved: {said}")
    if isinstance(error, (ConnectionResetError, BrokenPipeError, asyncssh.ConnectionLost)):
        return _Dropped(f"{door} dropped the connection: {said}")
    if _is(error, errno.ECONNREFUSED):
        return _Refused(f"{door} refused the connection")
    if _is(error, errno.EHOSTUNREACH) or _is(error, errno.ENETUNREACH):
        return errors.Unreachable(f"{door}: {said}")
    return errors.HostError(f"{door}: {said}")


def _is(error: Exception, number: int) -> bool:
    """Whether it is this error; for a name with several addresses asyncio has the numbers in its text only."""
    return isinstance(error, OSError) and (error.errno == number or f"[Errno {number}]" in str(error))


def _not_through(
    door: _Door, jump: asyncssh.SSHClientConnection | None, error: asyncssh.ChannelOpenError
) -> errors.HostError:
    """The error of a connection that failed at the jump host."""
    if jump is None or jump.is_closed():
        return _Dropped(f"{door}: the connection to the jump host broke")
    if error.code == asyncssh.OPEN_CONNECT_FAILED:
        return _beyond(error.reason)(
            f"the jump host cannot connect to {door}: {error.reason or 'no reason given'}",
            next_step="Check from the jump host that the host answers: `nc -vz HOST PORT` there.",
        )
    return errors.JumpFailed(
        f"the jump host forwards no connection to {door}: {error.reason}",
        next_step="Allow it in the jump host's sshd_config (AllowTcpForwarding, PermitOpen) for this user.",
    )


def _beyond(reason: str) -> type[errors.HostError]:
    """The error for a jump host's message; sshd's own phrase stands for many causes and is no cause."""
    if "Connection refused" in reason:
        return errors.ConnectRefused
    if "No route to host" in reason or "unreachable" in reason:  # "Host is unreachable" is musl's
        return errors.Unreachable
    return errors.ConnectTimeout if "timed out" in reason else errors.HostError


def _known_keys(door: _Door, known_hosts: asyncssh.SSHKnownHosts) -> tuple[list[Any], list[Any]]:
    """Keys and authorities that known_hosts has for the address."""
    keys, authorities, *_ = known_hosts.match(door.address, "", door.port)
    return list(keys), list(authorities)


def _untrusted(
    door: _Door, path: Path | None, known_hosts: asyncssh.SSHKnownHosts, shown: Any, why: str
) -> errors.HostError:
    """The error for an unknown key, a changed one, or a certificate that is not valid."""
    where = path or "~/.ssh/known_hosts"
    entry = door.address if door.port == 22 else f"[{door.address}]:{door.port}"
    keys, authorities = _known_keys(door, known_hosts)
    if "revoked" in why:
        return errors.HostKeyChanged(
            f"the host showed a key that is revoked in {where}",
            next_step=f"Give the host a new key and put it into {where}; do not log in before.",
        )
    if shown is None and why.startswith("Certificate"):
        return errors.HostCertificateInvalid(f"the host's certificate is not valid: {why}")
    seen = f"the host showed {fingerprint(shown)}" if shown else f"the host showed no key to compare with ({why})"
    if keys or authorities:
        expected = ", ".join(fingerprint(key) for key in [*keys, *authorities][:3])
        return errors.HostKeyChanged(
            f"{seen}; known is {expected}",
            next_step="If the host was reinstalled, compare the fingerprint on its console (`ssh-keygen -lf"
            f" /etc/ssh/ssh_host_ed25519_key.pub`), then `ssh-keygen -R '{entry}' -f {where}` and add the new"
            " key; if it was not, another machine answers in its place: do not log in.",
        )
    return errors.HostKeyUnknown(
        f"{seen}; known_hosts has no key for {entry}",
        next_step=f"Compare the fingerprint on the host's console, then add its key to {where}"
        f" (`ssh-keyscan -p {door.port} {door.address}` prints it).",
    )
