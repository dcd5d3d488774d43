"""What drain() returns."""

from __future__ import annotations

from flask_forge_jobs import Dead, ForgeJobs, JobStatus, Throttled
from flask_forge_jobs.testing import JobsKit


def test_outcomes_tell_how_each_run_ended(jobs: JobsKit, forge: ForgeJobs) -> None:
    @forge.task
    def ends(how: str) -> None:
        if how == "dead":
            raise Dead("hopeless")
        if how == "late":
            raise Throttled(60, scope="job")
        raise KeyError(how)

    jobs.clock.move(0)  # now it stands still, so no retry is due within the drain
    for how in ("id", "dead", "late"):
        ends.enqueue(how)
    failed, dead, late = jobs.drain(raise_errors=False)

    assert (failed.status, failed.job.last_error) == (
        JobStatus.FAILED,
        "KeyError: 'id'",
    )
    assert isinstance(failed.error, KeyError)
    assert failed.error.__traceback__ is not None
    assert repr(failed) == """<ends {"how":"id"} failed KeyError('id')>"""
    assert (dead.status, dead.job.last_error) == (JobStatus.DEAD, "hopeless")
    assert (late.status, late.job.attempts) == (JobStatus.PENDING, 0)
    assert isinstance(late.outcome, Throttled)
