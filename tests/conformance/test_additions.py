"""Our own routes: those of the contract that are built answer in its shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient

from flask_forge_jobs.api.table import all_routes
from tests.conformance.contract import Entry, assert_follows, entries, place_of
from tests.conformance.requests import sample
from tests.support.backends import each_backend

ROUTES = {
    place_of(route.method, route.path): route for route in all_routes(enable_demo=True)
}
ADDITIONS = entries("addition")
# The contract says that they could be; nobody has asked for them.
NOT_PLANNED = frozenset({"N-30"})
# Keys that we append to the contract's shapes.
_TEXT: Mapping[str, object] = {"type": ["string", "null"]}
_OF_QUEUES: Mapping[str, object] = {
    "max_pending": {"type": ["integer", "null"]},
    "paused_at": _TEXT,
    "paused_by": _TEXT,
    "pause_reason": _TEXT,
    "throttled_job_id": _TEXT,
    "throttled_kind": _TEXT,
    "throttled_by": _TEXT,
    "throttle_cause": _TEXT,
    "last_worker": _TEXT,
    "last_served_at": _TEXT,
}
_OF_SCHEDULES: Mapping[str, object] = {
    "timezone": {"type": "string"},
    "catch_up": {"type": "string", "enum": ["skip", "once", "all"]},
    "catch_up_limit": {"type": "integer"},
    "declared_by": {"type": ["string", "null"]},
}
_ENDING = {"type": ["string", "null"], "enum": ["dead", "cancelled", None]}
# A path leads to a schema within the schema.
APPENDED: Mapping[str, Mapping[str, object]] = {
    "N-01": _OF_QUEUES,
    "N-02": _OF_QUEUES,
    "N-03": _OF_QUEUES,
    "N-06": {"rows.[].ending": _ENDING, "rows.[].progress": {}},
    "N-12": {"ending": _ENDING, "progress": {}},
    "N-07": {
        "row.ending": _ENDING,
        "row.progress": {},
        "result_error": {"type": ["string", "null"]},
        "traceback": {"type": ["string", "null"]},
        "attempts": {"type": "array"},
        "signature": {"type": ["string", "null"]},
        "timeout_s": {"type": ["number", "null"]},
        "crashes": {"type": "integer"},
        "schedule_name": {"type": ["string", "null"]},
        "origin": {"type": ["string", "null"]},
        "batch_id": {"type": ["string", "null"]},
        "start_at": {"type": ["string", "null"]},
        "step_count": {"type": "integer"},
        "checkpoint": {},
        "waiting_for": {"type": "integer"},
        "parents": {"type": "array"},
        "dependents": {"type": "array"},
    },
    "N-13": _OF_SCHEDULES,
    "N-14": _OF_SCHEDULES,
    "N-17": {
        f"[].buckets.[].{key}": {"type": "integer"}
        for key in (
            "cancelled",
            "started",
            "retried",
            "wait_p50_ms",
            "wait_p95_ms",
            "wait_p99_ms",
        )
    },
    "N-20": {"services": {"type": "array"}},
    "N-27": {
        "[].message": {"type": ["string", "null"]},
        "[].retrying": {"type": "integer"},
        "[].dead": {"type": "integer"},
        "[].trend": {"type": "array"},
        "[].trend_from": {"type": "string"},
    },
    "N-26": {
        "[].cancelled": {"type": "integer"},
        "[].started": {"type": "integer"},
        "[].success_rate": {"type": ["number", "null"]},
        "[].usual_run_ms": {"type": ["integer", "null"]},
    },
    "N-29": {
        "lines.[].logger": {"type": "string"},
        "lines.[].run": {"type": "integer"},
        "lines.[].attempt": {"type": "integer"},
        "lines.[].line": {"type": "integer"},
        "next": _TEXT,
        "is_complete": {"type": "boolean"},
    },
}
# The glossary's words for keys of the contract, which stay as they are in the routes of
# the reference. A run that failed for good is a dead job, and its time is a run time.
_OF_JOBS = {"process_id": "slot_id"}
_OF_RUNS = {
    "failed": "dead",
    "proc_p50_ms": "run_p50_ms",
    "proc_p95_ms": "run_p95_ms",
    "proc_p99_ms": "run_p99_ms",
}
_OF_SLOTS = {"processes": "slots", "process_id": "slot_id", "host_id": "worker_id"}
RENAMED: Mapping[str, Mapping[str, str]] = {
    "N-01": _OF_SLOTS,
    "N-02": _OF_SLOTS,
    "N-03": _OF_SLOTS,
    "N-06": _OF_JOBS,
    "N-07": _OF_JOBS,
    "N-12": _OF_JOBS,
    "N-17": _OF_RUNS,
    "N-26": _OF_RUNS,
}
# Another status of the same shape, which the data set calls for: its job waits.
STATUSES: Mapping[str, int] = {"N-09": 200}
BUILT = tuple(entry for entry in ADDITIONS if entry.place in ROUTES)


def test_what_is_not_built_is_known() -> None:
    missing = {entry.id for entry in ADDITIONS if entry.place not in ROUTES}

    assert missing == NOT_PLANNED


@each_backend
@pytest.mark.parametrize("entry", BUILT, ids=lambda entry: entry.id)
def test_its_answer_follows_the_contract(client: FlaskClient, entry: Entry) -> None:
    assert_follows(extended(entry), sample(ROUTES[entry.place]).send(client))


def extended(entry: Entry) -> Entry:
    """Return an entry with our names and additions, and the data set's status."""
    entry = replace(
        entry,
        status=STATUSES.get(entry.id, entry.status),
        schema=_renamed(entry.schema, RENAMED.get(entry.id, {})),
    )
    added = APPENDED.get(entry.id)
    if added is None or entry.schema is None:
        return entry
    schema: Any = entry.schema
    for path, shape in added.items():
        schema = _appended(schema, path.split("."), shape)
    return replace(entry, schema=schema)


def _appended(schema: Any, path: list[str], shape: object) -> Any:
    """Return a schema with one more key at a path; ``[]`` are the items of an array."""
    step, *rest = path
    schema = dict(schema)
    if step == "[]":
        schema["items"] = _appended(schema["items"], rest, shape)
        return schema
    members = dict(schema["properties"])
    members[step] = _appended(members[step], rest, shape) if rest else shape
    schema["properties"] = members
    if not rest:
        for names in ("required", "x-key-order"):
            schema[names] = [*schema[names], step]
    return schema


def _renamed(schema: Any, names: Mapping[str, str]) -> Any:
    """Return a schema with other names for keys, wherever they are."""
    if isinstance(schema, str):
        return names.get(schema, schema)
    if isinstance(schema, list):
        return [_renamed(each, names) for each in schema]
    if isinstance(schema, Mapping):
        return {
            names.get(key, key): _renamed(each, names) for key, each in schema.items()
        }
    return schema
