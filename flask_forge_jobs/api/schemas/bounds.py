"""Bounds that a handler checks, as the ``metadata`` of a field.

The OpenAPI document shows them. The fields ignore them, except for the length of an
array, which :class:`.fields.Array` checks first. Each is made from the constant that
the handler's check uses.
"""

from __future__ import annotations

from typing import Any

from flask_forge_jobs.handlers.activity import MAX_EVENTS
from flask_forge_jobs.handlers.audit import MAX_PAGE_SIZE as MAX_AUDIT_ENTRIES
from flask_forge_jobs.handlers.bulk import MAX_DAYS
from flask_forge_jobs.handlers.cron import PREVIEW_RANGE
from flask_forge_jobs.handlers.cron_history import MAX_PAGE_SIZE as MAX_RUNS
from flask_forge_jobs.handlers.cursors import MAX_CURSOR_LENGTH
from flask_forge_jobs.handlers.errors import MAX_ERROR_GROUPS
from flask_forge_jobs.handlers.filters import (
    MAX_FILTER_VALUES,
    MAX_NAME_LENGTH,
    SEARCH_LENGTH,
    STATUS_WORDS,
)
from flask_forge_jobs.handlers.job_actions import MAX_ENQUEUED_AT_ONCE
from flask_forge_jobs.handlers.jobs import MAX_JOB_ID_LENGTH, MAX_OFFSET, MAX_PAGE_SIZE
from flask_forge_jobs.handlers.log_lines import PLACE_PATTERN
from flask_forge_jobs.handlers.queues import MAX_NAMED_QUEUES, QUEUE_ACTIONS
from flask_forge_jobs.handlers.workers import MAX_WORKERS_A_PAGE
from flask_forge_jobs.model.attempts import AttemptEnding
from flask_forge_jobs.model.batches import NAME_LENGTH as BATCH_NAME_LENGTH
from flask_forge_jobs.model.bounds import (
    DEDUPE_KEY_LENGTH,
    DELAY_RANGE_S,
    JOB_ID_PATTERN,
    MAX_ATTEMPTS_RANGE,
    NAME_LENGTH,
    PRIORITY_RANGE,
)
from flask_forge_jobs.model.bulk import JobAction
from flask_forge_jobs.model.catch_up import CATCH_UP_LIMIT_RANGE, CatchUp
from flask_forge_jobs.model.cron_expression import MAX_EXPRESSION_LENGTH
from flask_forge_jobs.model.cron_times import MAX_TIME_ZONE_LENGTH
from flask_forge_jobs.model.endings import Ending
from flask_forge_jobs.model.jobs import MAX_BULK_JOBS, UNSUCCESSFUL, JobStatus
from flask_forge_jobs.model.limits import (
    CAPACITY_RANGE,
    MAX_REFILL_PER_SEC,
    MIN_REFILL_PER_SEC,
)
from flask_forge_jobs.model.links import MAX_PARENTS, OnParentDead
from flask_forge_jobs.model.outcomes import MAX_REASON_LENGTH
from flask_forge_jobs.model.queues import (
    BACKOFF_SECONDS_RANGE,
    COOLDOWN_SECONDS_RANGE,
    MAX_PENDING_RANGE,
    MAX_WORKERS_RANGE,
    RETENTION_DAYS_RANGE,
)
from flask_forge_jobs.model.signatures import MAX_SIGNATURE_LENGTH

Metadata = dict[str, Any]
_CONTROLS = r"\u0000-\u001f\u007f-\u009f"
# Invisible characters. A pattern cannot express the other planes or NFC.
_UNSEEN = (
    r"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    r"\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
)
# Parts of character classes: no comma, nothing that breaks a path, nothing invisible.
_KIND_PART = _CONTROLS + _UNSEEN
_NAME_PART = rf",/?#%{_CONTROLS}\u2028\u2029{_UNSEEN}"


def whole(low: int, high: int) -> Metadata:
    """Return the bounds of a number, both inclusive."""
    return {"minimum": low, "maximum": high}


def text(shortest: int, longest: int) -> Metadata:
    """Return the bounds of a text's length in characters."""
    return {"minLength": shortest, "maxLength": longest}


def items(maximum: int, minimum: int = 0) -> Metadata:
    """Return the bounds of an array's length."""
    return {"minItems": minimum, "maxItems": maximum}


def without(*keys: str) -> Metadata:
    """Say that a key excludes others."""
    return {"x-excludes": list(keys)}


# Neither "." nor "..", no space at either end.
QUEUE_NAME = text(1, NAME_LENGTH) | {
    "pattern": r"^(?!\.$)(?!.*\.\.)"
    rf"[^\s{_NAME_PART}]([^{_NAME_PART}]*[^\s{_NAME_PART}])?$"
}
# Not blank.
KIND = text(1, NAME_LENGTH) | {
    "pattern": rf"^[^{_KIND_PART}]*[^\s{_KIND_PART}][^{_KIND_PART}]*$"
}
CRON_EXPRESSION = text(1, MAX_EXPRESSION_LENGTH) | {"format": "cron"}
TIME_ZONE = text(1, MAX_TIME_ZONE_LENGTH) | {"format": "time-zone"}
CATCH_UP: Metadata = {"enum": [str(policy) for policy in CatchUp]}
CATCH_UP_LIMIT = whole(*CATCH_UP_LIMIT_RANGE)
PREVIEW_COUNT = whole(*PREVIEW_RANGE)
DEDUPE_KEY = text(1, DEDUPE_KEY_LENGTH)
JOB_ID = text(1, MAX_JOB_ID_LENGTH)
JOB_IDS = items(MAX_BULK_JOBS)
STATUS: Metadata = {"enum": list(STATUS_WORDS)}
STATUSES = items(MAX_FILTER_VALUES)
SIGNATURE = text(1, MAX_SIGNATURE_LENGTH)
ENDING: Metadata = {"enum": [str(ending) for ending in Ending]}
ATTEMPT_ENDING: Metadata = {"enum": [str(ending) for ending in AttemptEnding]}
CAPACITY = whole(*CAPACITY_RANGE)
REFILL_PER_SEC: Metadata = {
    "minimum": MIN_REFILL_PER_SEC,
    "maximum": MAX_REFILL_PER_SEC,
}
DELAY: Metadata = {
    "minimum": DELAY_RANGE_S[0],
    "maximum": DELAY_RANGE_S[1],
    **without("run_at"),
}
NEW_JOBS = items(MAX_ENQUEUED_AT_ONCE, 1)
BATCH_JOBS = items(MAX_ENQUEUED_AT_ONCE)
BATCH_NAME = text(1, BATCH_NAME_LENGTH)
PARAMETER = text(1, NAME_LENGTH)
# Of a job or a batch that exists, so no example would be valid.
PARENT_ID: Metadata = {"pattern": rf"^{JOB_ID_PATTERN}$"}
BATCH_ID = PARENT_ID | {"examples": [None]}
PARENTS = items(MAX_PARENTS)
ON_PARENT_DEAD: Metadata = {"enum": [str(rule) for rule in OnParentDead]}
# The stored states; a filter also takes "scheduled".
STORED_STATUS: Metadata = {"enum": [str(status) for status in JobStatus]}
JOB_ACTION: Metadata = {"enum": [str(action) for action in JobAction]}
# An earlier response makes it, so no example would be valid.
CURSOR = text(0, MAX_CURSOR_LENGTH) | {"examples": [None]}
REASON = text(0, MAX_REASON_LENGTH)
PRIORITY = whole(*PRIORITY_RANGE)
QUEUE_NAMES = items(MAX_NAMED_QUEUES)
COOLDOWN_SECONDS = whole(*COOLDOWN_SECONDS_RANGE)
QUEUE_ACTION: Metadata = {"enum": list(QUEUE_ACTIONS)}
REQUEUEABLE_STATUS: Metadata = {"enum": [str(status) for status in UNSUCCESSFUL]}
DAYS = whole(0, MAX_DAYS)
MAX_ATTEMPTS = whole(*MAX_ATTEMPTS_RANGE)
MIN_ATTEMPTS = whole(0, MAX_ATTEMPTS_RANGE[1])
PAGE_SIZE = whole(0, MAX_PAGE_SIZE)
LIMIT = whole(1, MAX_PAGE_SIZE)
ERROR_GROUPS = whole(1, MAX_ERROR_GROUPS)
EVENTS = whole(1, MAX_EVENTS)
WORKERS = whole(1, MAX_WORKERS_A_PAGE)
AUDIT_ENTRIES = whole(1, MAX_AUDIT_ENTRIES)
SCHEDULE_RUNS = whole(1, MAX_RUNS)
LINE: Metadata = {"pattern": PLACE_PATTERN, "examples": ["1-99"]}
OFFSET = whole(0, MAX_OFFSET)
FILTER_NAME = text(1, MAX_NAME_LENGTH)
# An empty one matches nothing.
LISTED_NAME = text(0, MAX_NAME_LENGTH)
FILTER_NAMES = items(MAX_FILTER_VALUES)
MAX_WORKERS = whole(*MAX_WORKERS_RANGE)
RETENTION_DAYS = whole(*RETENTION_DAYS_RANGE)
MAX_PENDING = whole(*MAX_PENDING_RANGE)
BACKOFF_SECONDS = whole(*BACKOFF_SECONDS_RANGE)
# The characters that str.strip() removes; \s covers less in JSON Schema.
_BLANK = (
    r"\u0009-\u000d\u001c-\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f"
    r"\u205f\u3000"
)
_SOLID = rf"[^{_BLANK}\u0000]"
# Blank means no filter; the length is counted without surrounding blanks.
SEARCH: Metadata = {
    "pattern": r"^[{0}]*({1}[^\u0000]{{{2},{3}}}{1}[{0}]*)?$".format(
        _BLANK, _SOLID, *(length - 2 for length in SEARCH_LENGTH)
    )
}
