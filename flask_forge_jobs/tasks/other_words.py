"""Words of RQ, Celery, Huey and Dramatiq, and ours in their place.

A user of another queue, or one that guesses, reads our word in the error. The
words cost nothing where they are not used: they are attributes of classes that raise.
"""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import NoReturn, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

# Options that only have another name here.
RENAMED = {
    "countdown": "delay", "eta": "run_at", "run_after": "delay", "in_": "delay",
    "schedule_at": "run_at", "schedule_in": "delay", "scheduled_at": "run_at",
    "queue_name": "queue", "task_id": "job_id", "id": "job_id",
    "timeout": "timeout_s", "job_timeout": "timeout_s", "time_limit": "timeout_s",
    "soft_time_limit": "timeout_s", "unique_key": "dedupe_key", "lock": "dedupe_key",
    "queueing_lock": "dedupe_key", "deduplication_key": "dedupe_key",
    "autoretry_for": "retry_on", "throws": "dead_on", "on_failure": "on_dead",
    "link_error": "on_dead", "name": "kind", "task_name": "kind", "actor_name": "kind",
    "depends_on": "after", "unique": "dedupe_by_args", "tz": "timezone",
    "args": "arguments", "kwargs": "arguments", "payload": "arguments",
    "misfire_grace_time": "catch_up", "coalesce": "catch_up", "max_instances": "dedupe",
    "on_complete": "on_finished", "callback": "on_success", "limit": "capacity",
    "rate": "refill_per_sec", "per_second": "refill_per_sec",
}  # fmt: skip
_ATTEMPTS = "write max_attempts=, which counts the first run, too"
_WAITS = "write retry= at the task, such as retry=60 or retry=exponential(30)"
_NEXT = "enqueue the next job with after=: next_task.options(after=job).enqueue()"
_KEPT = "the queue decides how long a job is kept; see its retention"
_ADVICE = {
    "max_retries": _ATTEMPTS, "retries": _ATTEMPTS,
    "retry_delay": _WAITS, "default_retry_delay": _WAITS, "retry_backoff": _WAITS,
    "retry_backoff_max": _WAITS, "retry_jitter": _WAITS, "retry_kwargs": _WAITS,
    "min_backoff": _WAITS, "max_backoff": _WAITS, "backoff": _WAITS,
    "acks_late": "leave it out: a job always stays stored until its run has ended",
    "task_acks_late": "leave it out: a job always stays stored until its run has ended",
    "bind": "annotate the task's first parameter with TaskContext",
    "context": "annotate the task's first parameter with TaskContext",
    "link": _NEXT, "on_success": _NEXT, "pipe_target": _NEXT,
    "expires": "there is no expiry; compare times at the start of the task",
    "at_front": "write priority=, where lower numbers run first",
    "ttl": _KEPT, "result_ttl": _KEPT, "failure_ttl": _KEPT, "ignore_result": _KEPT,
    "store_results": _KEPT,
    "rate_limit": "write forge.rate_limit() and, in the task, context.rate_limit()",
    "serializer": "leave it out: arguments are JSON",
    "args": "give the arguments to enqueue()",
    "kwargs": "give the arguments to enqueue()",
    "cron": "put the task on a schedule with @forge.cron",
    "schedule": "write delay= or run_at=; @forge.cron puts a task on a schedule",
    "crontab": "put the task on a schedule with @forge.cron",
}  # fmt: skip
# Options of one call each; elsewhere a task may have arguments of these names.
_URL = "set FORGE_JOBS_DATABASE_URL"
_AT_THE_TASK = "write it at the task: @forge.task({}=...)"
_CRON = "write an expression, such as @forge.cron('0 3 * * *')"
OPTIONS_OF_FORGE = {
    "url": _URL, "uri": _URL, "database_url": _URL, "broker": _URL, "backend": _URL,
    "broker_url": _URL, "redis_url": _URL, "connection": _URL,
    "queue": _AT_THE_TASK.format("queue"),
}  # fmt: skip
OPTIONS_OF_CRON = {
    "second": _CRON, "minute": _CRON, "hour": _CRON, "day": _CRON, "month": _CRON,
    "day_of_week": _CRON, "seconds": _CRON, "minutes": _CRON, "hours": _CRON,
    "queue": _AT_THE_TASK.format("queue"),
}  # fmt: skip
OPTIONS_OF_CHECKS = {
    "kwargs": "write args=, a dict by name", "delay": "write at=, such as timedelta(1)",
    "run_at": "write at=", "eta": "write at=", "countdown": "write at=",
    "count": "count forge_jobs.enqueued(task)",
}  # fmt: skip
_BY_POSITION = "write the names of queues by position, such as drain('mail')"
OPTIONS_OF_DRAIN = {"queue": _BY_POSITION, "queues": _BY_POSITION}
_IN_BLOCK = "add them in its block: batch.add(task.job(...))"
OPTIONS_OF_BATCHES = {"jobs": _IN_BLOCK, "*": _IN_BLOCK}

# Words of a class: attributes that it lacks, and options that its methods lack.
Words = Mapping[str, str | Mapping[str, str]]
_PAUSE = ("retry_after", "delay", "countdown", "seconds", "eta")
OF_PAUSES: Words = {"__init__": dict.fromkeys(_PAUSE, "write retry_after_s=")}
OF_DEAD: Words = {"__init__": {"reason": "write message="}}
_FIRST = "write first_s="
_LONGEST = "write max_s="
OF_DELAYS: Words = {"__init__": {
    "base": f"{_FIRST}, and factor= for the growth", "initial": _FIRST, "min": _FIRST,
    "min_backoff": _FIRST, "multiplier": "write factor=", "exp_base": "write factor=",
    "max": _LONGEST, "max_backoff": _LONGEST, "max_delay": _LONGEST,
}}  # fmt: skip
OF_BATCHES: Words = {"wait": {}}
_STORED = ("wait", "results", "state", "jobs", "cancel", "retry", "get", "join")
OF_BLOCKS: Words = dict.fromkeys(_STORED, "forge.batch_of(batch.id), after its block")
_STOPS = "leave it out: a running job is asked to stop"
_CANCEL = dict.fromkeys(("terminate", "signal"), _STOPS)
_NOW = "leave it out: the job runs again now"
_RETRY = dict.fromkeys(("delay", "countdown", "eta", "run_at"), _NOW)
_OF_EACH = ("queue", "delay", "countdown", "run_at", "eta", "priority", "connection")
_OPTIONS = {each: f"task.options({RENAMED.get(each, each)}=...)" for each in _OF_EACH}
_MANY = {each: f"write {words}.enqueue_many(...)" for each, words in _OPTIONS.items()}
_MANY_JOBS = {each: f"write {words}.job(...)" for each, words in _OPTIONS.items()}

_LATER = "{name}.options(delay=60).enqueue(...)"
_ENQUEUE = "{name}.enqueue(...)"
_WITH_OPTIONS = f"{_ENQUEUE}, with options {_LATER}"
_BATCH = "{name}.enqueue_many([...])"
OF_TASKS: Words = {
    "enqueue_many": _MANY,
    "delay": _ENQUEUE, "send": _ENQUEUE, "defer": _ENQUEUE, "queue": _ENQUEUE,
    "submit": _ENQUEUE, "perform_async": _ENQUEUE, "enqueue_call": _ENQUEUE,
    "apply_async": _WITH_OPTIONS, "send_with_options": _WITH_OPTIONS,
    "configure": _WITH_OPTIONS, "schedule": _LATER, "enqueue_in": _LATER,
    "perform_in": _LATER, "enqueue_at": "{name}.options(run_at=...).enqueue(...)",
    "call_local": "{name}(...)",
    "fn": "{name}.function", "run_async": _ENQUEUE,
    "s": "{name}.job(...)", "si": "{name}.job(...)", "signature": "{name}.job(...)",
    "subtask": "{name}.job(...)", "message": "{name}.job(...)",
    "map": _BATCH, "starmap": _BATCH, "chunks": _BATCH, "batch_defer": _BATCH,
    "name": "{name}.kind", "actor_name": "{name}.kind", "queue_name": "{name}.defaults",
    "request": "the TaskContext that the task's first parameter takes",
    "AsyncResult": "forge.job(id)", "cron": "@forge.cron", "revoke": "forge.cancel(id)",
}  # fmt: skip
_WAIT = "job.wait(timeout_s=10) and then job.result"
OF_JOBS: Words = {
    "wait": {}, "cancel": _CANCEL, "retry": _RETRY,
    "get": _WAIT, "get_result": _WAIT, "join": _WAIT, "collect": _WAIT,
    "return_value": "job.result", "latest_result": "job.result", "value": "job.result",
    "get_status": "job.status", "state": "job.status", "get_state": "job.status",
    "ready": "job.is_ready", "done": "job.is_ready", "is_finished": "job.is_successful",
    "successful": "job.is_successful", "is_failed": "job.status and job.error",
    "failed": "job.status and job.error", "exc_info": "job.traceback",
    "exception": "job.error", "info": "job.progress, job.result or job.error",
    "meta": "job.progress", "get_meta": "job.progress", "revoke": "job.cancel()",
    "abort": "job.cancel()", "delete": "job.cancel()", "requeue": "job.retry()",
    "kill": "job.cancel()",
    "get_id": "job.id", "job_id": "job.id", "task_id": "job.id", "message_id": "job.id",
    "func_name": "job.kind", "task_name": "job.kind", "origin": "job.queue_name",
    "queue": "job.queue_name", "forget": "nothing: jobs are deleted after some days",
    "reset": "nothing: jobs are deleted after some days",
}  # fmt: skip
OF_FORGE: Words = {
    "cancel": _CANCEL, "enqueue_many": _MANY_JOBS,
    "AsyncResult": "forge.job(id)", "fetch_job": "forge.job(id)",
    "get_job": "forge.job(id)", "result": "forge.job(id)",
    "send_task": "forge.enqueue(kind, {{...}})", "send": "forge.enqueue(kind, {{...}})",
    "delay": "task.enqueue(...)", "submit": "task.enqueue(...)",
    "enqueue_in": "forge.enqueue(kind, {{...}}, delay=60)",
    "enqueue_at": "forge.enqueue(kind, {{...}}, run_at=...)",
    "actor": "@forge.task", "shared_task": "@forge.task",
    "periodic_task": "@forge.cron", "scheduled_job": "@forge.cron",
    "add_periodic_task": "@forge.cron", "schedule": "@forge.cron",
    "get_queue": "task.options(queue=...)", "queue": "task.options(queue=...)",
    "get_worker": "flask forge-jobs worker", "start": "flask forge-jobs worker",
    "worker": "flask forge-jobs worker", "control": "forge.cancel(id)",
    "run": "flask forge-jobs worker", "revoke": "forge.cancel(id)",
    "retry": "forge.job(id).retry()", "requeue": "forge.job(id).retry()",
    "wait": "forge.job(id).wait(timeout_s=10)", "add_job": "task.enqueue(...)",
    "current_job": "flask_forge_jobs.current_job",
    "beat": "@forge.cron", "crontab": "@forge.cron", "scheduler": "@forge.cron",
    "chain": "task.options(after=job).enqueue(...)", "group": "forge.batch(...)",
    "chord": "forge.batch(on_success=task)",
    "conf": "app.config['FORGE_JOBS_...']",
    "config_from_object": "app.config['FORGE_JOBS_...']",
}  # fmt: skip
OF_CONTEXTS = {
    "request": "the context itself, such as context.job_id",
    "retry": "raise: the task's retry= decides when it runs again",
    "update_state": "context.progress(done, total)",
    "save_meta": "context.set_progress(...)", "meta": "context.set_progress(...)",
    "id": "context.job_id", "retries": "context.attempt, from 1",
    "is_aborted": "context.check(), which stops the task",
    "replace": "task.enqueue(...) as the last step of the task",
    "queue": "context.queue_name", "max_retries": "context.max_attempts",
    "attempts": "context.attempt", "job": "forge.job(context.job_id)",
    "get_id": "context.job_id", "parent": "context.parents",
    "update_progress": "context.progress(done, total)",
    "snooze": "raise Snooze(seconds)", "fail": "raise Dead(message)",
    "log": "logging.getLogger(__name__)", "logger": "logging.getLogger(__name__)",
    "app": "flask.current_app", "args": "the task's own parameters",
}  # fmt: skip


class OtherWord:
    """A missing attribute whose error names the one to use."""

    def __init__(self, advice: str) -> None:
        self._advice = advice

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type) -> NoReturn:
        """Raise AttributeError, so that hasattr() is False."""
        task = getattr(instance, "__name__", "task")
        raise AttributeError(
            f"{owner.__name__} has no {self._name!r}; use "
            f"{self._advice.format(name=task)}",
            name=self._name,
            obj=instance,
        )


def teach(owner: type, words: Words) -> None:
    """Let a class answer the words of other queues, except those that it has itself."""
    for name, advice in words.items():
        if not isinstance(advice, str):
            setattr(owner, name, names_its_options(advice)(getattr(owner, name)))
        elif not hasattr(owner, name):
            word = OtherWord(advice)
            word.__set_name__(owner, name)
            setattr(owner, name, word)


def names_its_options(
    advice: Mapping[str, str] = MappingProxyType({}),
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let the error for an argument that a method lacks name those that it has.

    ``*`` is the advice on too many by position.
    """

    def decorate(method: Callable[P, R]) -> Callable[P, R]:
        _, *known = inspect.signature(method).parameters.values()
        takes_more = any(each.kind is each.VAR_POSITIONAL for each in known)
        known = [each for each in known if each.kind is not each.VAR_POSITIONAL]
        names = [each.name for each in known]
        named_only = [each.name for each in known if each.kind is each.KEYWORD_ONLY]
        places = len(known) - len(named_only)

        @functools.wraps(method)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            __tracebackhide__ = True  # a failed check of a test ends where it stands
            for name in kwargs.keys() - set(names):
                words = advice.get(name) or _instead(name, names)
                raise TypeError(f"there is no option {name!r}; {words}")
            if named_only and not takes_more and len(args) > 1 + places:
                named = ", ".join(f"{name}=" for name in named_only)
                raise TypeError(
                    f"{len(args) - 1} by position are more than {places}; "
                    + advice.get("*", f"write {named}")
                )
            return method(*args, **kwargs)

        return checked

    return decorate


def unknown_option(name: str, known: Collection[str]) -> str:
    """Return the message for an option that does not exist."""
    return f"there is no option {name!r}; {_instead(name, known)}"


def _instead(name: str, known: Collection[str]) -> str:
    renamed = RENAMED.get(name)
    if renamed in known:
        return f"write {renamed}="
    if name in _ADVICE:
        return _ADVICE[name]
    similar = difflib.get_close_matches(name, known, 1)
    if similar:
        return f"did you mean {similar[0]}=?"
    return f"there {'is' if len(known) == 1 else 'are'} {', '.join(sorted(known))}"


def option_meant(name: str, known: Collection[str]) -> str | None:
    """Return our name of an option of jobs; None if it is none."""
    renamed = RENAMED.get(name, name)
    return renamed if renamed in known else None


def advice_on(name: str, of_tasks: Collection[str]) -> str | None:
    """Return our word for an option that a job lacks, or None."""
    meant = RENAMED.get(name, name)
    if meant in of_tasks:
        return _AT_THE_TASK.format(meant)
    return _ADVICE.get(name)
