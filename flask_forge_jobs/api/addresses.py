"""The address of each route, as an application knows it from its start.

The views, schemas and pages behind the addresses are imported with the first request
for one of them, because workers and commands never need any. The routes of the API have
their addresses and their order from here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cache
from itertools import chain
from typing import NamedTuple

from werkzeug.routing import BaseConverter

V1_PREFIX = "/v1"
# With the converters of converters().
JOB_PATH = f"{V1_PREFIX}/jobs/<forge_job_id:job_id>"
SCHEDULE_PATH = f"{V1_PREFIX}/cron/<forge_schedule:name>"
QUEUE_PATH = f"{V1_PREFIX}/queues/<forge_queue:name>"
# That of a page, beside the reference's routes.
JOB_PAGE_PATH = "/jobs/<forge_job_page:job_id>"
INDEX_PATH = "/"
V1_ENDPOINT_PREFIX = "v1_"
STATUS_ENDPOINT = "v1_job_status"
# Followed by the method of the route, and by its path.
FORM_PREFIX = "/do"
PLACEHOLDER = re.compile(r"<(?:[a-z_]+:)?(?P<name>[a-z_]+)>")
_LAST = re.compile(r"(?P<folder>.*)<(?P<converter>[a-z_]+):[a-z_]+>")
_VIEWS = "flask_forge_jobs.api"


class Address(NamedTuple):
    """What Werkzeug knows of a route."""

    method: str
    path: str
    endpoint: str


class ApiAddress(NamedTuple):
    """The address of a route of the API, and the name of its view.

    Flask-WTF and Flask-Limiter look views up by ``module`` and ``name``. ``has_form``
    says whether the dashboard has a form for it.
    """

    address: Address
    module: str
    name: str
    has_form: bool


# Module to the method, the path, the endpoint and the view of each of its routes: the
# reference's, which exist below /v1 as well, and ours, which exist there only.
_Rows = Mapping[str, tuple[tuple[str, str, str, str], ...]]
_UNVERSIONED: _Rows = {
    "unversioned.system": (
        ("GET", "/health", "health", "health"),
        ("GET", "/metrics", "metrics", "metrics"),
        ("GET", "/storage/info", "storage_info", "storage_info"),
    ),
    "unversioned.queues": (
        ("GET", "/queue/overview", "queue_overview", "overview"),
        ("GET", "/queue/processes", "queue_processes", "list_slots"),
        ("GET", "/queue/workers", "queue_workers", "list_workers"),
        ("POST", "/queue/cleanup", "queue_cleanup", "cleanup"),
        (
            "POST", "/queue/<name>/max-workers", "queue_set_max_workers",
            "set_max_workers",
        ),
        ("POST", "/queue/<name>/paused", "queue_set_paused", "set_paused"),
        ("POST", "/queue/<name>/retention", "queue_set_retention", "set_retention"),
        ("POST", "/queue/<name>/backoff", "queue_set_backoff", "set_backoff"),
    ),
    "unversioned.series": (
        ("GET", "/queue/timeline", "queue_timeline", "timeline"),
        ("GET", "/queue/metric-series", "queue_metric_series", "metric_series"),
        ("GET", "/queue/resource-series", "queue_resource_series", "resource_series"),
        ("GET", "/queue/db-series", "queue_db_series", "db_series"),
    ),
    "unversioned.jobs": (
        ("POST", "/jobs/list", "jobs_list", "list_jobs"),
        ("GET", "/jobs/failed", "jobs_failed", "failed_jobs"),
        ("GET", "/jobs/kinds", "jobs_kinds", "list_kinds"),
        ("GET", "/jobs/scheduled", "jobs_scheduled", "scheduled_jobs"),
        ("GET", "/jobs/inspect/<job_id>", "job_inspect", "inspect_job"),
        ("POST", "/jobs/enqueue", "jobs_enqueue", "enqueue"),
        ("POST", "/jobs/run-now/<job_id>", "jobs_run_now", "run_now"),
    ),
    "unversioned.bulk": (
        ("POST", "/jobs/retry", "jobs_retry", "retry"),
        ("POST", "/jobs/requeue", "jobs_requeue", "requeue"),
        (
            "POST", "/jobs/retry-all-failed", "jobs_retry_all_failed",
            "retry_all_failed",
        ),
        (
            "POST", "/jobs/retry-all-by-status", "jobs_retry_all_by_status",
            "retry_all_by_status",
        ),
        ("POST", "/jobs/delete", "jobs_delete", "delete"),
        (
            "POST", "/jobs/delete-done-older-than", "jobs_delete_done_older_than",
            "delete_done_older_than",
        ),
        (
            "POST", "/jobs/delete-by-status", "jobs_delete_by_status",
            "delete_by_status",
        ),
    ),
    "unversioned.cron": (
        ("GET", "/cron", "cron_list", "list_schedules"),
        ("POST", "/cron/<name>/enabled", "cron_set_enabled", "set_enabled"),
        ("POST", "/cron/<name>/expr", "cron_set_expr", "set_expression"),
        ("POST", "/cron/<name>/dedupe", "cron_set_dedupe", "set_dedupe"),
        ("POST", "/cron/<name>/trigger", "cron_trigger", "trigger"),
    ),
}  # fmt: skip
_DEMO: _Rows = {
    "unversioned.jobs": (
        ("POST", "/jobs/enqueue-demo", "jobs_enqueue_demo", "enqueue_demo"),
    )
}
_V1: _Rows = {
    "v1.activity": (
        ("GET", "/v1/events", "v1_events", "list_events"),
        ("GET", "/v1/stats", "v1_stats", "stats"),
    ),
    "v1.attention": (("GET", "/v1/attention", "v1_attention", "show"),),
    "v1.audit": (("GET", "/v1/audit", "v1_audit", "list_audit"),),
    "v1.description": (("GET", "/v1/openapi.json", "v1_openapi", "openapi"),),
    "v1.jobs": (
        ("GET", "/v1/jobs", "v1_jobs_find", "find_jobs"),
        ("GET", "/v1/jobs/counts", "v1_jobs_count", "count_jobs"),
        ("GET", JOB_PATH, "v1_job_read", "read_job"),
        ("GET", f"{JOB_PATH}/logs", "v1_job_logs", "read_lines"),
        ("GET", "/v1/job-status/<token>", STATUS_ENDPOINT, "job_status"),
        ("DELETE", JOB_PATH, "v1_job_delete", "delete"),
        ("POST", f"{JOB_PATH}/cancel", "v1_job_cancel", "cancel"),
        ("POST", f"{JOB_PATH}/retry", "v1_job_retry", "retry"),
        ("POST", f"{JOB_PATH}/release", "v1_job_release", "release"),
        ("POST", f"{JOB_PATH}/reschedule", "v1_job_reschedule", "reschedule"),
    ),
    "v1.bulk": (("POST", "/v1/jobs/actions", "v1_jobs_act", "act"),),
    "v1.bulk_runs": (
        ("POST", "/v1/bulk-runs", "v1_bulk_run_begin", "begin"),
        ("GET", "/v1/bulk-runs", "v1_bulk_runs", "list_all"),
        ("GET", "/v1/bulk-runs/<run_id>", "v1_bulk_run", "get"),
        ("POST", "/v1/bulk-runs/<run_id>/stop", "v1_bulk_run_stop", "stop"),
    ),
    "v1.batches": (
        ("POST", "/v1/batches", "v1_batch_create", "create"),
        ("GET", "/v1/batches", "v1_batches", "list_all"),
        ("GET", "/v1/batches/<batch_id>", "v1_batch", "read"),
        ("GET", "/v1/batches/<batch_id>/jobs", "v1_batch_jobs", "read_jobs"),
        ("POST", "/v1/batches/<batch_id>/jobs", "v1_batch_add", "add"),
        ("POST", "/v1/batches/<batch_id>/seal", "v1_batch_seal", "seal"),
        ("POST", "/v1/batches/<batch_id>/cancel", "v1_batch_cancel", "cancel"),
        ("POST", "/v1/batches/<batch_id>/retry", "v1_batch_retry", "retry"),
        ("DELETE", "/v1/batches/<batch_id>", "v1_batch_delete", "delete"),
    ),
    "v1.series": (
        ("GET", "/v1/series", "v1_series", "list_series"),
        ("GET", "/v1/kinds", "v1_kinds", "list_kinds"),
    ),
    "v1.cron": (
        ("GET", "/v1/cron", "v1_cron_list", "list_schedules"),
        ("POST", "/v1/cron", "v1_cron_create", "create"),
        ("POST", "/v1/cron/preview", "v1_cron_preview", "preview"),
        ("GET", "/v1/cron/firings", "v1_cron_firings", "firings"),
        ("GET", f"{SCHEDULE_PATH}/runs", "v1_cron_runs", "list_runs"),
        ("GET", SCHEDULE_PATH, "v1_cron_get", "get"),
        ("PATCH", SCHEDULE_PATH, "v1_cron_change", "change"),
        ("DELETE", SCHEDULE_PATH, "v1_cron_delete", "delete"),
    ),
    "v1.queues": (
        ("POST", "/v1/queues", "v1_create_queue", "create"),
        ("GET", "/v1/queues", "v1_queues", "list_all"),
        ("GET", QUEUE_PATH, "v1_queue", "get"),
        ("PATCH", QUEUE_PATH, "v1_change_queue", "change"),
        ("DELETE", QUEUE_PATH, "v1_delete_queue", "delete"),
        ("POST", "/v1/queues/actions", "v1_queue_actions", "act"),
    ),
    "v1.enqueue": (
        ("POST", "/v1/jobs", "v1_enqueue", "enqueue"),
        ("POST", "/v1/jobs/bulk", "v1_enqueue_many", "enqueue_many"),
    ),
    "v1.errors": (("GET", "/v1/errors", "v1_errors", "list_errors"),),
    "v1.explain": (
        ("GET", f"{JOB_PATH}/explain", "v1_explain_job", "explain_job"),
        ("GET", f"{QUEUE_PATH}/explain", "v1_explain_queue", "explain_queue"),
    ),
    "v1.gauges": (("GET", "/v1/gauges", "v1_gauges", "list_gauges"),),
    "v1.health": (("GET", "/v1/health/ready", "v1_ready", "ready"),),
    "v1.me": (("GET", "/v1/me", "v1_me", "me"),),
    "v1.rate_limits": (
        ("GET", "/v1/rate-limits", "v1_rate_limits", "list_all"),
        ("GET", "/v1/rate-limits/<scope>", "v1_rate_limit", "get"),
        ("PUT", "/v1/rate-limits/<scope>", "v1_put_rate_limit", "put"),
        ("POST", "/v1/rate-limits/<scope>/drain", "v1_drain_rate_limit", "drain"),
        ("DELETE", "/v1/rate-limits/<scope>", "v1_delete_rate_limit", "delete"),
    ),
    "v1.concurrency": (("GET", "/v1/concurrency", "v1_concurrency", "list_all"),),
    "v1.workers": (
        ("GET", "/v1/workers", "v1_workers", "list_workers"),
        ("GET", "/v1/workers/<worker_id>", "v1_worker", "get"),
    ),
}
# Below /v1, not GET, and without a form: these read, or are deprecated.
_FORMLESS = {"v1_jobs_list", "v1_cron_preview", "v1_jobs_requeue",
             "v1_jobs_enqueue_demo"}  # fmt: skip


@cache
def api_addresses(*, enable_demo: bool) -> Sequence[ApiAddress]:
    """Return the address of every route of the API, in the order of the routes."""
    known = [*_read(_UNVERSIONED), *(_read(_DEMO) if enable_demo else ())]
    ours = list(_read(_V1))
    taken = {(each.address.method, each.address.path) for each in ours}
    same = [_known(V1_PREFIX, each.module, each.name, each.address) for each in known]
    below = [
        each for each in same if (each.address.method, each.address.path) not in taken
    ]
    return (*known, *below, *ours)


def address_of(view: Callable[..., object]) -> Address:
    """Return the address of a view of the API.

    Raises:
        KeyError: It has none.
    """
    return _by_view()[view.__module__, view.__name__]


@cache
def _by_view() -> Mapping[tuple[str, str], Address]:
    known = chain.from_iterable(map(_read, (_UNVERSIONED, _DEMO, _V1)))
    return {(each.module, each.name): each.address for each in known}


def _read(rows: _Rows) -> Iterable[ApiAddress]:
    for module, entries in rows.items():
        for method, path, endpoint, name in entries:
            address = Address(method, path, endpoint)
            yield _known("", f"{_VIEWS}.{module}", name, address)


def _known(prefix: str, module: str, name: str, address: Address) -> ApiAddress:
    method, path, endpoint = address
    path = prefix + path
    endpoint = f"{V1_ENDPOINT_PREFIX}{endpoint}" if prefix else endpoint
    has_form = (
        method != "GET"
        and path.startswith(f"{V1_PREFIX}/")
        and endpoint not in _FORMLESS
    )
    return ApiAddress(Address(method, path, endpoint), module, name, has_form)


def form_path(method: str, path: str) -> str:
    """Return the path of the form of a route."""
    return f"{FORM_PREFIX}/{method.lower()}{path}"


def converters(paths: Collection[str]) -> Mapping[str, type[BaseConverter]]:
    """Return the converters of the names of jobs, schedules and queues in paths.

    They match anything but the fixed words below these paths, so that a wrong method on
    ``/v1/jobs/list`` is 405 and not a request for the job ``list``.
    """
    classes = {}
    for path in (JOB_PATH, SCHEDULE_PATH, QUEUE_PATH, JOB_PAGE_PATH):
        match = _LAST.fullmatch(path)
        if match is None:
            raise ValueError(f"{path} does not end with a placeholder")
        taken = _words(match["folder"], paths)
        classes[match["converter"]] = _all_but(taken)
    return classes


def _words(folder: str, paths: Iterable[str]) -> tuple[str, ...]:
    below = {path.removeprefix(folder) for path in paths if path.startswith(folder)}
    return tuple(sorted(word for word in below if "<" not in word))


@cache
def _all_but(words: tuple[str, ...]) -> type[BaseConverter]:
    taken = "|".join(map(re.escape, words))

    class Converter(BaseConverter):
        """One path segment that is not a fixed word of a route."""

        regex = rf"(?!(?:{taken})\Z)[^/]+"

    return Converter
