"""``flask forge-jobs jobs retry|release|cancel|delete|run-now|reschedule``.

Ids name jobs, or options choose them; then the count is shown and the user asked. Many
jobs are changed in several calls, and each batch leaves its entry in the audit trail.
"""

from __future__ import annotations

import functools
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import click

from flask_forge_jobs.cli import completion
from flask_forge_jobs.cli.errors import AppCommand
from flask_forge_jobs.cli.job_filters import Choice, chosen_jobs
from flask_forge_jobs.cli.local_api import LocalApi, given, local_api
from flask_forge_jobs.cli.output import (
    confirm,
    json_option,
    options,
    print_change,
    yes_option,
)
from flask_forge_jobs.cli.streams import is_terminal
from flask_forge_jobs.cli.times import instant, later
from flask_forge_jobs.model.sentences import count

_ENDPOINT = "v1_jobs_act"
_SKIPPED = {
    "not_found": "unknown",
    "wrong_status": "in another state",
    "dedupe_conflict": "with a dedupe key that another job holds",
    "waiting": "that wait for other jobs",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The jobs that a command changes, and how it goes about it."""

    job_ids: Sequence[str]
    is_all: bool
    dry_run: bool
    is_sure: bool
    as_json: bool
    choice: Choice

    def __post_init__(self) -> None:
        """Refuse a command line without jobs, or with two ways to choose them."""
        has_options = self.is_all or not self.choice.is_empty
        if bool(self.job_ids) == has_options:
            raise click.UsageError(
                "name jobs by id, or choose them by options or --all"
            )

    def body(self, action: str) -> dict[str, Any]:
        """Return the request's body for an action."""
        if self.job_ids:
            return {"action": action, "ids": list(self.job_ids)}
        conditions = self.choice.as_filter()
        return given(action=action, filter=conditions, all=not conditions or None)


def _on_jobs(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of a target; the command gets it as ``target``."""
    names = [each.name for each in fields(Target)]

    @functools.wraps(command)
    def with_target(**values: Any) -> None:
        chosen = {name: values.pop(name) for name in names}
        command(target=Target(**chosen), **values)

    return options(
        click.argument(
            "job_ids", nargs=-1, metavar="[ID]...", shell_complete=completion.job_ids
        ),
        chosen_jobs,
        click.option("--all", "is_all", is_flag=True, help="Every job."),
        click.option("--dry-run", is_flag=True, help="Only count the jobs."),
        yes_option,
        json_option("the report"),
    )(with_target)


@click.command(
    "retry", cls=AppCommand, example="jobs retry --dead --kind send_mail --dry-run"
)
@click.option("--restart", is_flag=True, help="Drop the steps that the jobs have kept.")
@click.option(
    "--dependents",
    is_flag=True,
    help="The jobs that died with them wait for them again.",
)
@_on_jobs
def retry(*, target: Target, restart: bool, dependents: bool) -> None:
    """Give failed and dead jobs all their attempts again, due now."""
    own = given(restart=restart or None, dependents=dependents or None)
    _change(target, "retry", "retried", **own)


@click.command(
    "release", cls=AppCommand, example="jobs release 01KPGR5B1WD4T0S9XK2M7C8Q3N"
)
@click.argument(
    "job_ids",
    nargs=-1,
    required=True,
    metavar="ID...",
    shell_complete=completion.job_ids,
)
@json_option("each job")
def release(*, job_ids: Sequence[str], as_json: bool) -> None:
    """Let jobs that wait for others start without these."""
    api = local_api()
    for job_id in job_ids:
        job = api.call("v1_job_release", job_id=job_id).document
        print_change(job, f"{job_id}: released", as_json=as_json)


@click.command("delete", cls=AppCommand, example="jobs delete --done --until 30d")
@_on_jobs
def delete(*, target: Target) -> None:
    """Delete jobs; running ones are asked to stop."""
    _change(target, "delete", "deleted")


@click.command(
    "run-now", cls=AppCommand, example="jobs run-now --scheduled --queue mail"
)
@_on_jobs
def run_now(*, target: Target) -> None:
    """Make jobs that wait due now."""
    _change(target, "run_now", "due now")


@click.command("cancel", cls=AppCommand, example="jobs cancel --pending --kind export")
@click.option("--reason", help="Kept with each job; ids only. Secrets are masked.")
@_on_jobs
def cancel(*, target: Target, reason: str | None) -> None:
    """End jobs that wait, and ask running ones to stop."""
    if reason is None:
        _change(target, "cancel", "cancelled or asked to stop")
        return
    if not target.job_ids or target.dry_run:
        raise click.UsageError("--reason works with ids, and without --dry-run")
    _each(target, "v1_job_cancel", {"reason": reason}, lambda job: job["outcome"])


@click.command(
    "reschedule", cls=AppCommand, example="jobs reschedule --failed --delay 3600"
)
@click.option("--run-at", callback=instant, help="New start: 2027-01-31T12:00:00Z.")
@click.option("--delay", type=float, help="Seconds from now, instead of --run-at.")
@click.option("--priority", type=int, help="New priority; ids only.")
@click.option("--to-queue", help="New queue; ids only.")
@_on_jobs
def reschedule(
    *,
    target: Target,
    run_at: str | None,
    delay: float | None,
    priority: int | None,
    to_queue: str | None,
) -> None:
    """Change the start of jobs that wait; by id also their priority and queue."""
    run_at = later(run_at, delay)
    if priority is None and to_queue is None:
        if run_at is None:
            raise click.UsageError("give --run-at, --delay, --priority or --to-queue")
        _change(target, "reschedule", "rescheduled", run_at=run_at)
        return
    if not target.job_ids or target.dry_run:
        raise click.UsageError(
            "--priority and --to-queue work with ids, and without --dry-run"
        )
    body = given(run_at=run_at, priority=priority, queue_name=to_queue)
    _each(target, "v1_job_reschedule", body, lambda _: "rescheduled")


def _each(
    target: Target,
    endpoint: str,
    body: Mapping[str, Any],
    outcome: Callable[[Mapping[str, Any]], str],
) -> None:
    """Call a route for each job, one after the other."""
    api = local_api()
    for job_id in target.job_ids:
        job = api.call(endpoint, body=body, job_id=job_id).document
        print_change(job, f"{job_id}: {outcome(job)}", as_json=target.as_json)


CHANGES = (retry, release, delete, run_now, cancel, reschedule)


def _change(target: Target, action: str, done: str, **own: object) -> None:
    """Carry out a bulk action; exit with 1 if a job that was named is left alone."""
    api = local_api()
    body = target.body(action) | own
    if target.dry_run:
        counted = api.call(_ENDPOINT, body={**body, "dry_run": True}).document
        matched = counted["matched"]
        text = f"{count(matched, 'job')} would be {done}"
        print_change({"matched": matched}, text, as_json=target.as_json)
        return
    matched = len(target.job_ids) or _counted(api, target, done)
    changed, skipped = _carried_out(api, body, matched)
    report = {"matched": matched, "changed": changed, "skipped": skipped}
    reasons = Counter(each["reason"] for each in skipped)
    more = "".join(
        f", {number:,} {_SKIPPED[reason]}" for reason, number in reasons.items()
    )
    text = f"{count(changed, 'job')} {done}{more}"
    print_change(report, text, as_json=target.as_json)
    if target.job_ids and skipped:
        raise SystemExit(1)


def _counted(api: LocalApi, target: Target, done: str) -> int:
    """Return how many jobs match, once the user agrees."""
    query = target.choice.as_query()
    matched: int = api.call("v1_jobs_count", query=query).document["total"]
    if matched:
        question = f"{matched:,} {target.choice.in_words()} will be {done}; go on?"
        confirm(question, is_sure=target.is_sure)
    return matched


def _carried_out(
    api: LocalApi, body: Mapping[str, Any], matched: int
) -> tuple[int, list[Mapping[str, str]]]:
    """Repeat the call until it is complete; return the changed and skipped jobs."""
    skipped: list[Mapping[str, str]] = []
    changed = 0
    with click.progressbar(
        length=matched, file=sys.stderr, hidden=not is_terminal(sys.stderr)
    ) as bar:
        for answer in _answers(api, body):
            changed += answer["changed"]
            skipped += answer["skipped"]
            bar.update(answer["changed"])
    return changed, skipped


def _answers(api: LocalApi, body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    cursor = None
    while True:
        answer = api.call(_ENDPOINT, body=given(**body, cursor=cursor)).document
        yield answer
        cursor = answer["next_cursor"]
        if answer["complete"]:
            return
