"""Join tokens: short-lived, bound to a pool, traded once per host for a kubelet's credential."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

DEFAULT_LIFE_S = 3600
"""ACK Edge's default, https://help.aliyun.com/zh/ack/ack-edge/user-guide/add-an-edge-node."""
CLOCK_TOLERANCE_S = 300
"""How far a host's clock may be off before a token is taken for expired."""


class TokenRefused(Exception):
    """Unknown or expired; the message says which."""


@dataclass(frozen=True, slots=True)
class _Token:
    pool_id: str
    expires_s: float
    once: bool


class JoinTokens:
    """The tokens that are out."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._tokens: dict[str, _Token] = {}

    def issue(self, pool_id: str, expires_s: float | None = None, *, once: bool = False) -> str:
        """A new token; `expires_s` in UNIX seconds, an hour from now if absent."""
        token = f"{secrets.token_hex(3)}.{secrets.token_hex(8)}"
        self._tokens[token] = _Token(pool_id, expires_s or self._now() + DEFAULT_LIFE_S, once)
        return token

    def redeem(self, token: str, host_now_s: float) -> str:
        """The pool that a token is for. Raises TokenRefused, for a host whose clock is off as well."""
        known = self._tokens.get(token)
        if known is None:
            raise TokenRefused("the token is not known")
        if self._now() >= known.expires_s:
            raise TokenRefused("the token has expired")
        off_s = host_now_s - self._now()
        if abs(off_s) > CLOCK_TOLERANCE_S:
            raise TokenRefused(f"the token is not valid at this node's time, which is {off_s:+.0f} s off")
        if known.once:
            del self._tokens[token]
        return known.pool_id
