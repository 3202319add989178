"""The keys to log in with and the host keys to trust, each read once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import asyncssh

from poolkeeper.tasks.fleet.model import SecretRef, SshAccess
from poolkeeper.tasks.hosts import errors
from poolkeeper.tasks.outcomes import Secret
from poolkeeper.tasks.settings import SecretMissing

AGENT_TIMEOUT_S = 10.0


class Credentials:
    """Reads private keys, certificates and known_hosts files, and only those that the fleet file names."""

    def __init__(self, secret: Callable[[SecretRef], Secret], *, agent_timeout_s: float = AGENT_TIMEOUT_S) -> None:
        self._secret, self._agent_timeout_s = secret, agent_timeout_s
        self._keys: dict[tuple[SecretRef | None, Path | None, bool], Sequence[Any]] = {}
        self._loading = asyncio.Lock()
        self._agent: asyncssh.SSHAgentClient | None = None
        self._agent_hangs = False
        self._known_hosts: dict[Path, asyncssh.SSHKnownHosts] = {}

    async def keys(self, access: SshAccess) -> Sequence[Any]:
        """The key pairs to log in with. Raises KeyUnusable."""
        wanted = (access.key, access.certificate, access.agent)
        if wanted not in self._keys:
            async with self._loading:  # hundreds of hosts ask for the same keys at once
                if wanted not in self._keys:
                    self._keys[wanted] = await self._load(access)
        return self._keys[wanted]

    async def close(self) -> None:
        """Close the connection to the agent."""
        agent, self._agent = self._agent, None
        self._keys.clear()
        if agent is not None:
            agent.close()
            await agent.wait_closed()

    async def _load(self, access: SshAccess) -> Sequence[Any]:
        pairs: list[Any] = []
        if access.key is not None:
            pairs += self._from_file(access.key, access.certificate)
        if access.agent:
            pairs += await self._from_agent()
        if not pairs:
            raise errors.KeyUnusable(
                "the agent holds no key" if access.agent else "neither a key nor an agent is declared for it"
            )
        return pairs

    async def _from_agent(self) -> Sequence[Any]:
        """The agent's keys. An agent that hangs is waited for once, by all hosts together."""
        if not self._agent_hangs:
            try:
                async with asyncio.timeout(self._agent_timeout_s):
                    if self._agent is None:
                        self._agent = await asyncssh.connect_agent()  # stays: the agent signs at every login
                    return await self._agent.get_keys()  # type: ignore[no-any-return]
            except TimeoutError:
                self._agent_hangs = True
            except (OSError, ValueError, asyncssh.Error):
                raise errors.KeyUnusable("agent: true, but no agent answers at SSH_AUTH_SOCK") from None
        raise errors.KeyUnusable(
            f"agent: true, but the agent at SSH_AUTH_SOCK has not answered within {self._agent_timeout_s:g} s",
            next_step="Run `ssh-add -l` on the machine that runs poolkeeper; restart the agent if that hangs, too.",
        )

    def _from_file(self, reference: SecretRef, certificate: Path | None) -> Sequence[Any]:
        try:
            key = asyncssh.import_private_key(self._secret(reference).reveal() + "\n")
        except SecretMissing as error:
            raise errors.KeyUnusable(error.observed, next_step=error.next_step) from None
        except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
            if "assphrase" in str(error) or isinstance(error, asyncssh.KeyEncryptionError):
                raise errors.KeyUnusable("the private key needs a passphrase") from None
            raise errors.KeyUnusable(f"the private key cannot be read: {error}") from None
        if certificate is None:
            return asyncssh.load_keypairs([key])  # type: ignore[no-any-return]
        try:
            return asyncssh.load_keypairs([(key, asyncssh.read_certificate(str(certificate)))])  # type: ignore[no-any-return]
        except (OSError, ValueError) as error:
            raise errors.KeyUnusable(
                f"the certificate {certificate} cannot be used with the private key: {error}",
                next_step="Point ssh.certificate at the certificate of that very key (`ssh-keygen -Lf FILE` shows it).",
            ) from None

    def known_hosts(self, access: SshAccess) -> asyncssh.SSHKnownHosts:
        """The host keys to trust; a missing file is empty."""
        path = access.known_hosts or Path.home() / ".ssh" / "known_hosts"
        if path not in self._known_hosts:
            try:
                self._known_hosts[path] = asyncssh.read_known_hosts(str(path))
            except FileNotFoundError:
                self._known_hosts[path] = asyncssh.import_known_hosts("")
            except (OSError, ValueError) as error:
                raise errors.HostKeyUnknown(
                    f"{path} cannot be read: {error}", next_step="Correct that known_hosts file."
                ) from None
        return self._known_hosts[path]


def fingerprint(key: Any) -> str:
    """A key as `ssh-keygen -l` shows it."""
    return f"{key.get_algorithm()} {key.get_fingerprint()}"
