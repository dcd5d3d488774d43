"""Prometheus metrics of the requests."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from flask_forge_jobs.model.log_lines import LogThrottle

logger = logging.getLogger(__name__)
_REQUESTS = "forge_jobs_http_requests"
_REQUEST_SECONDS = "forge_jobs_http_request_seconds"
_MULTIPROCESS_KEYS = ("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir")


class RequestMetrics(Collector):
    """Counts and times the requests that this process answers.

    With ``PROMETHEUS_MULTIPROC_DIR`` set, prometheus-client adds up those of all
    processes of the server.
    """

    def __init__(self) -> None:
        self._requests = Counter(
            _REQUESTS,
            "Answered requests.",
            ["method", "route", "status"],
            registry=None,
        )
        self._seconds = Histogram(
            _REQUEST_SECONDS,
            "Time from the start of a request to its answer.",
            ["method", "route"],
            registry=None,
        )

        self._children: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._log_throttle = LogThrottle()

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request to a route, which is a path with its placeholders."""
        key = (method, route, status)
        try:
            children = self._children.get(key)
            if children is None:  # labels() is slower than counting
                children = self._children[key] = (
                    self._requests.labels(method, route, str(status)),
                    self._seconds.labels(method, route),
                )
            requests, durations = children
            requests.inc()
            durations.observe(seconds)
        except Exception:
            # The directory of multiprocess mode may be missing or full. What the
            # request changed is stored, so the caller must not see a failure.
            if self._log_throttle.is_time_for(""):
                logger.exception("a request could not be counted")

    def collect(self) -> Iterable[Metric]:
        """Yield both families without their ``_created`` samples."""
        if is_multiprocess():
            shared = MultiProcessCollector(CollectorRegistry())  # type: ignore[no-untyped-call]
            families: list[Metric] = [
                family
                for family in shared.collect()  # type: ignore[no-untyped-call]
                if family.name in (_REQUESTS, _REQUEST_SECONDS)
            ]
        else:
            families = [*self._requests.collect(), *self._seconds.collect()]
        for family in families:
            family.samples = [
                sample
                for sample in family.samples
                if not sample.name.endswith("_created")
            ]
            yield family

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that every registry takes the families."""
        return ()


def is_multiprocess() -> bool:
    """Return whether prometheus-client is in its multiprocess mode."""
    return any(key in os.environ for key in _MULTIPROCESS_KEYS)
