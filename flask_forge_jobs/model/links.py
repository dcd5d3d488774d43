"""Jobs that wait for others: for which ones, and the rule for one that died."""

from __future__ import annotations

from collections.abc import Collection

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.bounds import Choice, check_job_id, shown

MAX_PARENTS = 100
# Jobs that wait for one; more wait for a batch.
MAX_WAITING = 1000


class OnParentDead(Choice):
    """The rule for a job if one that it waits for ends without being done.

    ``cancel`` ends it too, ``run`` counts the other one as ended, and ``hold`` lets it
    wait until the other one has been retried and is done, or until it is released.
    """

    CANCEL = "cancel"
    RUN = "run"
    HOLD = "hold"


class LinkEnd(Choice):
    """How a job that another one waits for has ended, as far as that one goes on."""

    DONE = "done"
    DEAD = "dead"
    DELETED = "deleted"
    RELEASED = "released"


def checked_ties(
    after: object, on_parent_dead: object, job_id: str | None
) -> tuple[tuple[str, ...], OnParentDead]:
    """Return the ids of jobs to wait for, in order and each once, and the rule.

    Raises:
        InvalidInputError: They are too many or no ids, or do not sort before a chosen
            id.
    """
    ids = (after,) if isinstance(after, str) else after
    if not isinstance(ids, Collection):
        raise InvalidInputError("after", f"{shown(after)} is not a list of ids")
    if len(ids) > MAX_PARENTS:
        raise InvalidInputError(
            "after", f"{len(ids)} jobs exceed {MAX_PARENTS}; wait for a batch of them"
        )
    if len(ids) == 1:  # of a chain, of which there may be ten thousand
        parents = tuple([check_job_id(each, "after") for each in ids])
    else:
        parents = tuple(sorted({check_job_id(each, "after") for each in ids}))
    if job_id is not None and parents and parents[-1] >= job_id:
        raise InvalidInputError(
            "job_id", "must sort behind the ids of the jobs that it waits for"
        )
    if on_parent_dead is not OnParentDead.CANCEL:  # to look it up takes a while
        on_parent_dead = OnParentDead.parse(on_parent_dead, "on_parent_dead")
    return parents, on_parent_dead
