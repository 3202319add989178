"""The declared world: the fleet file, its problems, choosing hosts, windows. Pure; touches files, never the network."""

from poolkeeper.tasks.fleet.calendars import CalendarInvalid
from poolkeeper.tasks.fleet.loading import FleetInvalid, check_fleet, load_fleet
from poolkeeper.tasks.fleet.model import Cluster, Fleet, Host, Mode, Pool, SecretRef, Site, SshAccess, SshLimits
from poolkeeper.tasks.fleet.problems import Problem
from poolkeeper.tasks.fleet.schema import fleet_schema
from poolkeeper.tasks.fleet.selection import SelectionInvalid, select
from poolkeeper.tasks.fleet.windows import Interval, freeze_at, open_intervals

__all__ = [
    "CalendarInvalid",
    "Cluster",
    "Fleet",
    "FleetInvalid",
    "Host",
    "Interval",
    "Mode",
    "Pool",
    "Problem",
    "SecretRef",
    "SelectionInvalid",
    "Site",
    "SshAccess",
    "SshLimits",
    "check_fleet",
    "fleet_schema",
    "freeze_at",
    "load_fleet",
    "open_intervals",
    "select",
]
