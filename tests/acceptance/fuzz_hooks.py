"""What JSON Schema cannot say, made true of the requests that schemathesis generates.

Only requests that are meant to be valid are touched: each rule here is one that a
handler checks between two keys, a language of its own, or a form that JSON Schema does
not tell apart. What is meant to be invalid is sent as it is, but for a made-up framing.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import available_timezones

import schemathesis
from hypothesis import strategies as st
from schemathesis.generation import GenerationMode

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.handlers.cron_history import MAX_WINDOW
from flask_forge_jobs.model.bounds import check_kind, check_queue_name
from flask_forge_jobs.model.bulk import JobAction
from flask_forge_jobs.model.cron_expression import CronExpression
from flask_forge_jobs.model.cron_times import check_time_zone

# Keys whose values are the caller's own; nothing in them has to fit a rule.
_FREE = frozenset({"payload"})
# The second of each pair must not be smaller than the first.
_WINDOW = ("from", "to")
# A window of firings has a longest length, and a missing end its default.
_FIRINGS = "/cron/firings"
_CURVES = (
    ("base_seconds", "max_seconds"),
    ("backoff_base_seconds", "backoff_max_seconds"),
)
_LEAST_SECONDS, _MAX_SECONDS = 1, 86_400
# A width with which any window makes few enough buckets, and their most.
_WIDEST = 10**9 - 1
_MAX_BUCKETS = 2000
# How a message is framed is between the client and gunicorn, which answers what it
# cannot frame itself, before any application; tests/test_hostile_clients.py
# sends such requests. Names are made up of whatever strings our modules hold.
_FRAMING = frozenset({"transfer-encoding", "content-length"})
Document = MutableMapping[str, Any]


def _field(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high).map(str)
    listed = st.lists(number, min_size=1, max_size=4).map(",".join)
    stepped = st.integers(1, high).map("*/{}".format)
    return st.one_of(st.just("*"), listed, stepped)


# No day after the 28th: an expression that never fires is refused.
_UNIX = st.tuples(
    _field(0, 59), _field(0, 23), _field(1, 28), _field(1, 12), _field(1, 7)
)
_WITH_SECOND = st.tuples(_field(0, 59), _UNIX.map(" ".join))
schemathesis.openapi.format(
    "cron",
    st.one_of(_UNIX.map(" ".join), _WITH_SECOND.map(" ".join), st.just("@daily")),
)
schemathesis.openapi.format(
    "time-zone", st.sampled_from(sorted(available_timezones() - {"localtime"}))
)

_GRAMMARS: dict[str, tuple[Callable[[object], object], str]] = {
    "cron_expr": (CronExpression.parse, "0 6 * * *"),
    "expr": (CronExpression.parse, "0 6 * * *"),
    "timezone": (check_time_zone, "UTC"),
    **dict.fromkeys(("queue_name", "queue", "name", "scope"), (check_queue_name, "q")),
    "kind": (check_kind, "k"),
}


@schemathesis.hook
def before_call(
    _context: schemathesis.HookContext, case: schemathesis.Case[Any], _kwargs: object
) -> None:
    """Leave the framing to the client, and repair what is meant to be valid."""
    for name in [each for each in case.headers or () if each.lower() in _FRAMING]:
        case.headers.pop(name)
    if case.meta is None or case.meta.generation.mode is not GenerationMode.POSITIVE:
        return
    # Assigning makes schemathesis judge the request again, and no body at all as wrong.
    if isinstance(case.body, dict):
        case.body = repaired(case.body)
    if isinstance(case.query, dict):
        repair_query(case.query)
        if case.path.endswith(_FIRINGS):
            repair_window(case.query)
    for place in (case.query, case.path_parameters):
        if isinstance(place, dict):
            _replace_unreadable(place)
    # Only an answer gives a tag that fits; with any other one a guarded change is 412.
    for name in ("If-Match", "If-None-Match"):
        case.headers.pop(name, None)


def repaired(value: Any) -> Any:
    """Return a body that follows the rules between its keys."""
    if isinstance(value, dict):
        document = {
            key: item if key in _FREE else repaired(item) for key, item in value.items()
        }
        _replace_unreadable(document)
        _repair(document)
        if isinstance(names := document.get("queues"), list):
            document["queues"] = [_readable("queue", name) for name in names]
        return document
    if isinstance(value, list):
        return [repaired(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        # For JSON Schema 1.0 is an integer; the contract refuses it where one stands.
        return int(value)
    return value


def repair_query(query: Document) -> None:
    """Make a query follow the rules between its parameters."""
    _order(query, *_WINDOW, _instant)
    # Only an answer gives a cursor that fits the rest.
    query.pop("cursor", None)
    if "bucket_secs" in query and _buckets(query) > _MAX_BUCKETS:
        query["bucket_secs"] = _WIDEST


def repair_window(query: Document) -> None:
    """Leave out a window of firings that is not whole, in order and short enough."""
    try:
        start, end = (_instant(query[key]) for key in _WINDOW)
        is_right = timedelta() < end - start <= MAX_WINDOW
    except (KeyError, TypeError, ValueError):
        is_right = False
    if not is_right:
        for key in _WINDOW:
            query.pop(key, None)


def _repair(document: Document) -> None:
    _order(document, *_WINDOW, _instant)
    for low, high in _CURVES:
        # Where one is left out, the other one may not fit what is stored.
        if isinstance(document.get(low), int) and document.get(high) is None:
            document[high] = _MAX_SECONDS
        if isinstance(document.get(high), int) and document.get(low) is None:
            document[low] = _LEAST_SECONDS
        _order(document, low, high)
    if document.get("run_at") is not None:
        document.pop("delay", None)
    _instruct(document)


def _replace_unreadable(document: MutableMapping[str, Any]) -> None:
    for key in _GRAMMARS.keys() & document.keys():
        document[key] = _readable(key, document[key])


def _readable(key: str, value: object) -> object:
    """Return a good text in place of one that is made without a look at its format."""
    check, good = _GRAMMARS[key]
    if isinstance(value, str):
        try:
            check(value)
        except InvalidInputError:
            return good
    return value


def _order(
    document: Document, low: str, high: str, rank: Callable[[Any], Any] = int
) -> None:
    try:
        is_reversed = rank(document[low]) > rank(document[high])
    except (KeyError, TypeError, ValueError):
        return
    if is_reversed:
        document[low], document[high] = document[high], document[low]


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _buckets(query: Document) -> float:
    try:
        start, end = (_instant(query[key]) for key in _WINDOW)
        width = int(query["bucket_secs"])
    except (KeyError, TypeError, ValueError):
        return _MAX_BUCKETS + 1
    # The timeline has no bucket of no width, a series makes it a minute.
    return (end - start).total_seconds() / (width or 60)


def _instruct(document: Document) -> None:
    """Name jobs or a filter, not both, and a start where one is needed."""
    if document.get("action") not in set(JobAction):
        return
    # Only a request that was cut short gives a cursor.
    document.pop("cursor", None)
    run_at = document.pop("run_at", None) or "2030-01-01T00:00:00Z"
    if document["action"] == JobAction.RESCHEDULE:
        document["run_at"] = run_at
    if document.get("ids") is None:
        document["all"] = True
    else:
        document.pop("filter", None)
        document.pop("all", None)
