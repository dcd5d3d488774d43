"""Who is asking, and what it may do."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from werkzeug.exceptions import Forbidden

from flask_forge_jobs.auth.permissions import ROLES, Permission
from flask_forge_jobs.model.bounds import check_queue_name


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller that an authenticator has recognised.

    Args:
        id: Names the caller in the log and in the audit trail; never a secret. Of whom
            an application's callable returns, ``user:`` comes before it there.
        permissions: What it may do.
        queues: The only queues it sees and acts on; an empty set means none of them,
            None means all.

    Raises:
        TypeError: ``queues`` is text instead of a set of names.
        InvalidInputError: One of them is no name of a queue.
    """

    id: str
    permissions: frozenset[Permission]
    queues: frozenset[str] | None = None

    def __post_init__(self) -> None:
        """Check the names: a text has every part of itself in it, and "" means all."""
        if self.queues is None:
            return
        _refuse_text(self.queues)
        names = frozenset(check_queue_name(name, "queues") for name in self.queues)
        object.__setattr__(self, "queues", names)

    @classmethod
    def with_role(
        cls, principal_id: str, role: str, *, queues: Iterable[str] | None = None
    ) -> Principal:
        """Return a principal that has the permissions of a role.

        Args:
            principal_id: Names the caller.
            role: ``metrics``, ``viewer``, ``operator`` or ``admin``.
            queues: The only queues it sees, possibly none; None means all of them.

        Raises:
            KeyError: There is no such role.
            TypeError: ``queues`` is text instead of names.
            InvalidInputError: One of them is no name of a queue.
        """
        _refuse_text(queues)
        limited_to = None if queues is None else frozenset(queues)
        return cls(principal_id, ROLES[role], limited_to)

    @property
    def key_owner(self) -> str:
        """Whose a request key is: with another set of queues it is another's."""
        if self.queues is None:
            return self.id
        names = ",".join(sorted(self.queues)).encode()
        return f"{self.id},{hashlib.sha256(names).hexdigest()}"

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


def _refuse_text(queues: object) -> None:
    if isinstance(queues, str):
        raise TypeError("queues is text instead of a set of names")


# A request of this machine's developer, where no authenticator is configured.
LOCAL = Principal("local", frozenset(Permission))
# An authenticator that answers True vouches for the caller without naming it.
HOST = Principal("host", frozenset(Permission))
