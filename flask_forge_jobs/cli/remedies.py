"""The command that helps, for the sentences of ``status``, ``explain`` and ``doctor``.

Sentences carry a request to the API, for the dashboard. Here it becomes the command
with the same effect.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from flask_forge_jobs.model.sentences import Action, Sentence

# Verbs and filters of a request that have another name on the command line.
_VERBS = {"end_cooldown": "end-cool-down", "run_now": "run-now"}
_FLAGS = {"waiting"}
_FILTERS = {"queues": "queue", "kinds": "kind", "statuses": "status"}


def remedy_of(sentence: Sentence) -> str | None:
    """Return the command that helps, or the request; None if there is none."""
    command = sentence.evidence.get("command")
    action = sentence.action
    if command is None and action is not None:
        words = _words(action)
        if not words:
            return f"{action.label}: {action.method} {action.path}"
        command = shlex.join(["flask", "forge-jobs", *words])
    return None if command is None else f"$ {command}"


def _words(action: Action) -> Sequence[str]:
    """Return the command of a request, and nothing if it has none."""
    body: Mapping[str, Any] = action.body or {}
    verb = str(body.get("action"))
    verb = _VERBS.get(verb, verb)
    address = urlsplit(action.path)
    query = dict(parse_qsl(address.query))
    match action.method, [unquote(each) for each in address.path.split("/")[2:]]:
        case "POST", ["queues", "actions"]:
            return ["queues", verb, *body["queues"]]
        case "POST", ["jobs", "actions"]:
            return ["jobs", verb, *body.get("ids", ()), *_filters(body)]
        case "PATCH", ["queues", name]:
            return ["queues", "set", name, *_options(body)]
        case "POST", ["jobs", job_id, "retry"]:
            return ["jobs", "retry", job_id, *_flags(query)]
        case "POST", ["jobs", job_id, "release"]:
            return ["jobs", "release", job_id]
        case "POST", ["batches", batch_id, act]:
            return ["batches", act, batch_id]
        case "GET", ["batches", batch_id]:
            return ["batches", "show", batch_id]
        case "POST", ["cron", name, "trigger"]:
            return ["cron", "trigger", name]
        case "GET", ["jobs", job_id]:
            return ["jobs", "show", job_id]
        case "GET", ["jobs"]:
            flags = {key: query.pop(key) for key in _FLAGS & query.keys()}
            return ["jobs", "list", *_options(query), *_flags(flags)]
        case "GET", ["errors"]:
            return ["errors", *_options(query)]
        case "GET", ["rate-limits", *_]:
            return ["limits", "list"]
        case "GET", ["storage", "info"]:
            return ["db", "status"]
        case "GET", [*_, "workers"]:
            return ["workers"]
    return []


def _filters(body: Mapping[str, Any]) -> Iterator[str]:
    for key, values in body.get("filter", {}).items():
        for value in values:
            yield from (f"--{_FILTERS[key]}", value)


def _options(values: Mapping[str, object]) -> Iterator[str]:
    for key, value in values.items():
        yield from (f"--{key.replace('_', '-')}", str(value))


def _flags(switches: Mapping[str, str]) -> Iterator[str]:
    for key in switches:
        yield f"--{key}"
