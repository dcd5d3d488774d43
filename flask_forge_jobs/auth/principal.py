"""Who is asking, and what it may do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from werkzeug.exceptions import Forbidden

from flask_forge_jobs.auth.permissions import ROLES, Permission


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller that an authenticator has recognised.

    Args:
        id: Names the caller in the log and in the audit trail; never a secret.
        permissions: What it may do.
        queues: The only queues it sees and acts on; None means all of them.
    """

    id: str
    permissions: frozenset[Permission]
    queues: frozenset[str] | None = None

    @classmethod
    def with_role(
        cls, principal_id: str, role: str, *, queues: Iterable[str] | None = None
    ) -> Principal:
        """Return a principal that has the permissions of a role.

        Args:
            principal_id: Names the caller.
            role: ``metrics``, ``viewer``, ``operator`` or ``admin``.
            queues: The only queues it sees; None means all of them.

        Raises:
            KeyError: There is no such role.
        """
        limited_to = None if queues is None else frozenset(queues)
        return cls(principal_id, ROLES[role], limited_to)

    def may(self, permission: Permission) -> bool:
        """Tell whether it has a permission."""
        return permission in self.permissions

    def require(self, permission: Permission) -> None:
        """Let it pass if it has a permission.

        Raises:
            Forbidden: It has not.
        """
        if not self.may(permission):
            raise Forbidden(f"this needs the permission {permission.value}")


# A request of this machine's developer, where no authenticator is configured.
LOCAL = Principal("local", frozenset(Permission))
# An authenticator that answers True vouches for the caller without naming it.
HOST = Principal("host", frozenset(Permission))
