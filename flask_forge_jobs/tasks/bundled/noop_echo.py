"""noop_echo: a task that sleeps, for demonstrations and benchmarks."""

from __future__ import annotations

from typing import Any

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.bounds import check_integer
from flask_forge_jobs.model.outcomes import Dead, Done, Failed, Outcome, Throttled, clip
from flask_forge_jobs.model.payloads import load_text
from flask_forge_jobs.tasks.cancellation import CancelledError
from flask_forge_jobs.tasks.context import TaskContext

KIND = "noop_echo"
DEFAULT_SLEEP_MS = 100
LONGEST_MS = 86_400_000


class NoopEcho:
    """Sleeps, then ends as its payload says.

    Payload: ``sleep_ms`` (milliseconds, default 100), ``fail`` (true fails the job with
    ``demo-fail``), ``throttle_ms`` (throttles the queue for that long). Null means the
    default. Other keys, and a payload that is not an object, are ignored.
    """

    kind = KIND
    timeout_s: float | None = None
    concurrency = None

    def run(self, context: TaskContext, payload: str) -> Outcome:
        """Run once; stop early if cancelled."""
        try:
            arguments = load_text(payload)
        except InvalidInputError as error:
            return Dead(clip(f"corrupt row: {error.message}"))
        if not isinstance(arguments, dict):
            arguments = {}
        try:
            sleep_ms = _milliseconds(arguments, "sleep_ms", DEFAULT_SLEEP_MS)
            throttle_ms = _milliseconds(arguments, "throttle_ms", 0)
            fail = _boolean(arguments, "fail")
        except InvalidInputError as error:
            return Dead(clip(f"bad arguments: {error}"))
        if sleep_ms and context.cancel.wait(sleep_ms / 1000):
            return Failed(str(CancelledError(context.cancel.reason)))
        if fail:
            return Failed("demo-fail")
        return Throttled(throttle_ms / 1000) if throttle_ms else Done()


def _milliseconds(arguments: dict[str, Any], name: str, default: int) -> int:
    value = arguments.get(name)
    return default if value is None else check_integer(name, value, 0, LONGEST_MS)


def _boolean(arguments: dict[str, Any], name: str) -> bool:
    value = arguments.get(name)
    if value is not None and not isinstance(value, bool):
        raise InvalidInputError(name, f"{value!r} is not true or false")
    return bool(value)
