"""A machine over SSH: sessions, facts, running what a provider hands over, the record of changes."""

from poolkeeper.tasks.hosts.commands import CommandResult
from poolkeeper.tasks.hosts.errors import HostError
from poolkeeper.tasks.hosts.facts import FactsRequest, HostFacts, parse_facts, read_facts
from poolkeeper.tasks.hosts.sessions import Sessions

__all__ = ["CommandResult", "FactsRequest", "HostError", "HostFacts", "Sessions", "parse_facts", "read_facts"]
