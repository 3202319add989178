"""A machine over SSH: sessions, facts, running what a provider hands over, the record of changes."""

from tasks.hosts.commands import CommandResult
from tasks.hosts.errors import HostError
from tasks.hosts.facts import FactsRequest, HostFacts, parse_facts, read_facts
from tasks.hosts.sessions import Sessions

__all__ = ["CommandResult", "FactsRequest", "HostError", "HostFacts", "Sessions", "parse_facts", "read_facts"]
