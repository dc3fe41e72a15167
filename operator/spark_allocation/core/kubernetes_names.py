"""What Kubernetes takes for a name (RFC 1123), as ``validation.IsDNS1123Subdomain`` of its API machinery judges."""

import re

DNS_SUBDOMAIN_MAX_LENGTH = 253
_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = re.compile(rf"{_LABEL}(\.{_LABEL})*")


def is_dns_subdomain(name: str) -> bool:
    """Whether objects may have this name: labels of lower case letters, digits and hyphens between dots."""
    return len(name) <= DNS_SUBDOMAIN_MAX_LENGTH and _SUBDOMAIN.fullmatch(name) is not None
