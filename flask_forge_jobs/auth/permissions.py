"""What a caller may do, and which role allows what.

Every route needs one permission. A role is a named set of permissions.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class Permission(StrEnum):
    """The right to use a group of routes."""

    READ = "read"
    METRICS_READ = "metrics.read"
    PAYLOAD_REVEAL = "payload.reveal"
    JOBS_ENQUEUE = "jobs.enqueue"
    JOBS_RETRY = "jobs.retry"
    JOBS_DELETE = "jobs.delete"
    QUEUES_EDIT = "queues.edit"
    CRON_EDIT = "cron.edit"
    LIMITS_EDIT = "limits.edit"
    ADMIN = "admin"


_VIEWER = frozenset({Permission.READ, Permission.METRICS_READ})
_OPERATOR = _VIEWER | {
    Permission.JOBS_ENQUEUE,
    Permission.JOBS_RETRY,
    Permission.JOBS_DELETE,
    Permission.QUEUES_EDIT,
    Permission.CRON_EDIT,
    Permission.LIMITS_EDIT,
}

ROLES: Mapping[str, frozenset[Permission]] = MappingProxyType(
    {
        "metrics": frozenset({Permission.METRICS_READ}),
        "viewer": _VIEWER,
        "operator": _OPERATOR,
        "admin": frozenset(Permission),
    }
)
