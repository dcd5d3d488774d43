"""The signed-in caller in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flask_forge_jobs.api.request import RequestState
from flask_forge_jobs.auth.access import USER_PREFIX
from flask_forge_jobs.auth.permissions import HOST, LOCAL, ROLES
from flask_forge_jobs.model.log_lines import one_line

_MAY: Mapping[str, str] = {
    "metrics": "Read the metrics.",
    "viewer": "See all but secrets and the audit trail, and change nothing.",
    "operator": (
        "See all but secrets and the audit trail; "
        "act on jobs, queues, schedules and limits."
    ),
    "admin": "See and change everything.",
}
# Schedules, limits and audit are for callers of all queues.
_MAY_OF_SOME: Mapping[str, str] = {
    "viewer": "See all but secrets of your queues, and change nothing.",
    "operator": "See all but secrets of your queues, and act on them and their jobs.",
    "admin": "See and change your queues and their jobs.",
}
_BY_SESSION = "You have signed in with a token."
_BY_LOGIN = "The application's own login let you in."


# Queues that a text names.
MAX_NAMED = 10
LONGEST_NAMES = 500


@dataclass(frozen=True, slots=True)
class Caller:
    """The signed-in caller, and the caller's rights.

    ``queues`` names the caller's queues, at most ten of them; None means all.
    """

    name: str
    role: str
    how: str
    may: str
    queues: str | None
    has_token: bool
    has_session: bool


def caller_of(state: RequestState) -> Caller | None:
    """Return the caller of a request; None for a stranger."""
    principal = state.principal
    if principal is None:
        return None
    role = next(
        (name for name, may in ROLES.items() if may == principal.permissions), ""
    )
    name, how = principal.id.removeprefix(USER_PREFIX), _BY_LOGIN
    if state.has_token:
        how = "This request carries a token."
    elif state.has_session:
        how = _BY_SESSION
    elif principal is LOCAL:
        name, how = "this machine", "It needs no token here."
    elif principal is HOST:
        name = "application login"
    words = _MAY if principal.queues is None else {**_MAY, **_MAY_OF_SOME}
    may = words.get(role) or f"Use {', '.join(sorted(principal.permissions))}."
    queues = None
    if principal.queues is not None:
        names = sorted(principal.queues)
        more = len(names) - MAX_NAMED
        queues = one_line(", ".join(names[:MAX_NAMED]), LONGEST_NAMES) or "none"
        queues += f" and {more:,} more" if more > 0 else ""
    return Caller(name, role, how, may, queues, state.has_token, state.has_session)
