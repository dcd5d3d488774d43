"""JobOptions: how a job is enqueued, apart from its arguments."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.job_bounds import DEFAULT_MAX_ATTEMPTS
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.payloads import fingerprint


@dataclass(frozen=True, slots=True)
class JobOptions:
    """How a job is enqueued, apart from its arguments; see :class:`NewJob`.

    Args:
        queue: Queue to wait in; None leaves the choice to the application's router.
        priority: Lower runs first.
        run_at: Not before this instant.
        dedupe_key: The key.
        dedupe_by_args: Make the key of the kind and the payload.
        dedupe_for: For how long a finished job with the key counts.
        replace: What the pending holder of the key takes over.
        max_attempts: How often the job may run.
        timeout_s: Seconds one attempt may take.
        job_id: The id to store it under.
    """

    queue: str | None = None
    priority: int = 0
    run_at: datetime | None = None
    dedupe_key: str | None = None
    dedupe_by_args: bool = False
    dedupe_for: timedelta | None = None
    replace: Collection[str] = ()
    max_attempts: int = DEFAULT_MAX_ATTEMPTS
    timeout_s: float | None = None
    job_id: str | None = None

    def changed(self, **given: Any) -> JobOptions:
        """Return the options with those given that are not None.

        A key that is given takes the place of one made of the arguments.
        """
        chosen = {name: value for name, value in given.items() if value is not None}
        if "dedupe_key" in chosen:
            chosen.setdefault("dedupe_by_args", False)
        return replace(self, **chosen) if chosen else self

    def new_job(self, kind: str, payload: str, router: Callable[[str], str]) -> NewJob:
        """Return a job with these options, not stored yet.

        Args:
            kind: Selects the task.
            payload: Canonical JSON text.
            router: Names the queue when ``queue`` is None.

        Raises:
            InvalidInputError: A value is outside its bounds.
        """
        return NewJob.of_canonical(
            payload,
            kind=kind,
            queue_name=router(kind) if self.queue is None else self.queue,
            priority=self.priority,
            max_attempts=self.max_attempts,
            dedupe_key=self._key(kind, payload),
            run_at=self.run_at,
            timeout_s=self.timeout_s,
            dedupe_for=self.dedupe_for,
            replace=self.replace,
            job_id=self.job_id,
        )

    def _key(self, kind: str, payload: str) -> str | None:
        if self.dedupe_by_args is False:
            return self.dedupe_key
        if self.dedupe_by_args is not True:
            raise InvalidInputError("dedupe_by_args", "is neither True nor False")
        if self.dedupe_key is not None:
            raise InvalidInputError(
                "dedupe_by_args", "makes the key; leave dedupe_key out"
            )
        return f"args:{kind}:{fingerprint(payload)}"
