"""noop_echo: a task that sleeps, for demonstrations and benchmarks."""

from __future__ import annotations

import json

from flask_forge_jobs.model.outcomes import Dead, Done, Failed, Outcome, Throttled
from flask_forge_jobs.tasks.cancellation import CancelledError
from flask_forge_jobs.tasks.context import TaskContext

KIND = "noop_echo"
DEFAULT_SLEEP_MS = 100


class NoopEcho:
    """Sleeps, then ends as its payload says.

    Payload: ``sleep_ms`` (milliseconds, default 100), ``fail`` (true fails the job with
    ``demo-fail``), ``throttle_ms`` (throttles the queue for that long).
    """

    kind = KIND
    timeout_s: float | None = None

    def run(self, context: TaskContext, payload: str) -> Outcome:
        """Run once; stops early when it is cancelled."""
        try:
            wanted = json.loads(payload)
            sleep_s = float(wanted.get("sleep_ms", DEFAULT_SLEEP_MS)) / 1000
            throttle_s = float(wanted.get("throttle_ms") or 0) / 1000
        except (ValueError, TypeError, AttributeError) as error:
            return Dead(f"bad arguments: {error}")
        if sleep_s > 0 and context.cancel.wait(sleep_s):
            return Failed(str(CancelledError(context.cancel.reason)))
        if wanted.get("fail"):
            return Failed("demo-fail")
        return Throttled(throttle_s) if throttle_s > 0 else Done()
