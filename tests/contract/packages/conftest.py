"""Machines and sessions, as the tests of `tasks/hosts` have them."""

from tests.contract.hosts.conftest import sessions, world

__all__ = ["sessions", "world"]
