"""Callers, and their permissions.

Every route needs one permission. A role is a named set of permissions, and a principal
is a caller with some of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from werkzeug.exceptions import Forbidden

from flask_forge_jobs.model.bounds import check_queue_name


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


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller.

    Args:
        id: Names the caller in the log and in the audit trail; never a secret. The id
            that an application's authenticator returns gets the prefix ``user:`` there.
        permissions: Its permissions.
        queues: The only queues it may see and change. None means all, an empty set
            none.

    Raises:
        TypeError: ``queues`` is text instead of a set of names.
        InvalidInputError: A queue name is invalid.
    """

    id: str
    permissions: frozenset[Permission]
    queues: frozenset[str] | None = None

    def __post_init__(self) -> None:
        """Check the names: every substring of a text would be "in" it."""
        if self.queues is None:
            return
        _refuse_text(self.queues)
        names = frozenset(check_queue_name(name, "queues") for name in self.queues)
        object.__setattr__(self, "queues", names)

    @classmethod
    def with_role(
        cls, principal_id: str, role: str, *, queues: Iterable[str] | None = None
    ) -> Principal:
        """Return a principal with the permissions of a role.

        Args:
            principal_id: Names the caller.
            role: ``metrics``, ``viewer``, ``operator`` or ``admin``.
            queues: The only queues it may see and change. None means all.

        Raises:
            KeyError: There is no such role.
            TypeError: ``queues`` is text instead of names.
            InvalidInputError: A queue name is invalid.
        """
        _refuse_text(queues)
        limited_to = None if queues is None else frozenset(queues)
        return cls(principal_id, ROLES[role], limited_to)

    @property
    def roles(self) -> list[str]:
        """The roles whose permissions the caller has, the smallest first."""
        return [name for name, needed in ROLES.items() if needed <= self.permissions]

    @property
    def caller_id(self) -> str:
        """The owner of a request key: this caller with exactly these queues."""
        if self.queues is None:
            return self.id
        names = ",".join(sorted(self.queues)).encode()
        return f"{self.id},{hashlib.sha256(names).hexdigest()}"

    def may(self, permission: Permission) -> bool:
        """Return whether the caller has a permission."""
        return permission in self.permissions

    def require(self, permission: Permission) -> None:
        """Check that the caller has a permission.

        Raises:
            Forbidden: It has not.
        """
        if not self.may(permission):
            raise Forbidden(f"this needs the permission {permission.value}")


def _refuse_text(queues: object) -> None:
    if isinstance(queues, str):
        raise TypeError("queues must be a set of names, not text")


# The developer on this machine, where no authenticator is configured.
LOCAL = Principal("local", frozenset(Permission))
# A caller after the authenticator returned True.
HOST = Principal("host", frozenset(Permission))
