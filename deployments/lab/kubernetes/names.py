"""Names of objects and keys of labels, and how upstream says what is wrong with them.

Rules: k8s.io/apimachinery, pkg/util/validation (v0.36).
"""

from __future__ import annotations

import re

from poolkeeper.deployments.lab.kubernetes.resources import Resource
from poolkeeper.deployments.lab.kubernetes.statuses import Flaw

_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_DNS1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
    "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
LABEL_RULE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
    "with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
_DNS1035_RULE = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
    "'[a-z]([-a-z0-9]*[a-z0-9])?')"
)
QUALIFIED = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9]")
_QUALIFIED_RULE = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)


def name_flaws(resource: Resource, name: str) -> list[Flaw]:
    """What is wrong with the name of an object."""
    if resource.plural == "namespaces":
        pattern, rule, longest = LABEL, LABEL_RULE, 63
    elif resource.plural == "services":
        pattern, rule, longest = _DNS1035, _DNS1035_RULE, 63
    else:
        pattern, rule, longest = _SUBDOMAIN, _SUBDOMAIN_RULE, 253
    if len(name) > longest:
        return [Flaw.invalid("metadata.name", name, f"must be no more than {longest} characters")]
    return [] if pattern.fullmatch(name) else [Flaw.invalid("metadata.name", name, rule)]


def key_flaws(field: str, key: str) -> list[Flaw]:
    """What is wrong with a key: of a label, an annotation, a taint."""
    prefix, slash, name = key.rpartition("/")
    if slash and not _SUBDOMAIN.fullmatch(prefix):
        return [Flaw.invalid(field, key, f"prefix part {_SUBDOMAIN_RULE}")]
    return [] if QUALIFIED.fullmatch(name) else [Flaw.invalid(field, key, _QUALIFIED_RULE)]
