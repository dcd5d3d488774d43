"""The caller: its identity for this service, and its rights."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version

# Reads a file of the distribution each time.
_version = cache(version)


@dataclass(frozen=True, slots=True)
class Change:
    """A request that changes something.

    ``path`` has its placeholders in braces, ``permission`` is what it needs.
    ``is_of_all`` says that it may touch any queue, so that callers limited to some
    queues may not make it.
    """

    method: str
    path: str
    permission: str
    is_of_all: bool


@dataclass(frozen=True, slots=True)
class Caller:
    """A caller and its rights; ``queues`` of None are all."""

    name: str
    roles: Sequence[str]
    permissions: Sequence[str]
    queues: Sequence[str] | None
    read_only: bool
    may_change: Sequence[Change]
    version: str


def describe_caller(
    name: str,
    *,
    roles: Sequence[str],
    permissions: Collection[str],
    queues: Collection[str] | None,
    changes: Iterable[Change],
    read_only: bool,
) -> Caller:
    """Return a caller with the requests that it may make to change something.

    Args:
        name: The caller.
        roles: Those whose permissions it has.
        permissions: Its permissions.
        queues: The only queues that it may see and change; None means all.
        changes: All requests that change something.
        read_only: Whether nobody, or nobody from there, may change anything.
    """
    return Caller(
        name,
        roles,
        sorted(permissions),
        None if queues is None else sorted(queues),
        read_only,
        [
            change
            for change in changes
            if not read_only
            and change.permission in permissions
            and (queues is None or not change.is_of_all)
        ],
        _version("flask-forge-jobs"),
    )
