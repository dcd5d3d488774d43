"""One part of a measurement in a process of its own; prints its result as JSON.

``python -m tests.benchmarks.role VERB CONTENDER BACKEND LOCATION`` is started by
:mod:`tests.benchmarks.runner`, so that no contender sees what another has imported.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import click

from tests.benchmarks.contender import THREADS, Contender, make_contender
from tests.benchmarks.measure import Waits, Watch, paced, seconds

READY = "ready"
BULK = 10_000
# Enough to open connections and fill caches before the clock starts.
_WARM_UP_JOBS = 50
# Slower than this is taken for stuck.
_SLOWEST_DRAIN_HZ = 100
_LONGEST_START_S = 30.0
_LONGEST_PICKUP_S = 30.0

Result = dict[str, Any]


def facts(contender: Contender, _: argparse.Namespace) -> Result:
    """Return what decides the figures."""
    contender.prepare()
    return {"facts": contender.facts()}


def prepare(contender: Contender, _: argparse.Namespace) -> Result:
    """Create the schema for the processes that follow."""
    contender.prepare()
    return {}


def enqueue(contender: Contender, options: argparse.Namespace) -> Result:
    """Return how many single jobs a second are stored."""
    contender.prepare()
    contender.enqueue(_WARM_UP_JOBS)
    return {"rate": options.jobs / _timed(partial(contender.enqueue, options.jobs))}


def threads(contender: Contender, options: argparse.Namespace) -> Result:
    """Return how many single jobs a second ``THREADS`` threads store together."""
    contender.prepare()
    contender.enqueue(_WARM_UP_JOBS)
    waits = Waits()
    gc.collect()
    with ThreadPoolExecutor(THREADS) as pool:
        parts = [waits.moments(options.jobs // THREADS) for _ in range(THREADS)]
        list(pool.map(contender.produce, parts))
    return waits.figures()


def caller(contender: Contender, options: argparse.Namespace) -> Result:
    """Store single jobs as one of several processes, once all are ready."""
    contender.enqueue(_WARM_UP_JOBS)
    waits = Waits()
    gc.collect()
    click.echo(READY)
    sys.stdin.readline()
    contender.produce(waits.moments(options.jobs))
    return {"began": waits.began, "ended": waits.ended, "ms": waits.ms}


def bulk(contender: Contender, options: argparse.Namespace) -> Result:
    """Return how many jobs a second are stored, ``BULK`` with each call."""
    contender.prepare()
    contender.bulk(_WARM_UP_JOBS)
    took_s = _timed(lambda: _in_parts(contender.bulk, options.jobs))
    return {"rate": options.jobs / took_s}


def fill(contender: Contender, options: argparse.Namespace) -> Result:
    """Store the jobs for the process that drains them."""
    contender.prepare()
    _in_parts(contender.fill, options.jobs)
    return {}


def drain(contender: Contender, options: argparse.Namespace) -> Result:
    """Return how many waiting jobs a second a worker brings to their end.

    And what that costs its process: on a busy machine the steadier figure.
    """
    gc.collect()
    before_s = time.process_time()
    with contender.working():
        took_s = contender.watch.drain_s(
            _LONGEST_START_S + options.jobs / _SLOWEST_DRAIN_HZ
        )
        cpu_s = time.process_time() - before_s
    return {"rate": options.jobs / took_s, "cpu_us": cpu_s / options.jobs * 1e6}


def consume(contender: Contender, options: argparse.Namespace) -> Result:
    """Return when the last of the jobs was finished that another process stores."""
    gc.collect()
    with contender.working():
        click.echo(READY)
        limit_s = _LONGEST_START_S + options.jobs / _SLOWEST_DRAIN_HZ
        return {"ended": contender.watch.all_stored_at(limit_s)}


def burst(contender: Contender, options: argparse.Namespace) -> Result:
    """Store single jobs while a worker takes them; return when that began and ended."""
    gc.collect()
    began_at = time.monotonic()
    contender.enqueue(options.jobs)
    return {"began": began_at, "stored": time.monotonic()}


def serve(contender: Contender, options: argparse.Namespace) -> Result:
    """Return how long each timed job waited for its start in this worker."""
    with contender.working():
        click.echo(READY)
        contender.watch.wait_for_starts(options.seconds + _LONGEST_PICKUP_S)
    return _pickups(contender, options)


def produce(contender: Contender, options: argparse.Namespace) -> Result:
    """Store jobs at a pace, for a worker in another process."""
    _produce(contender, options)
    return {}


def pickup(contender: Contender, options: argparse.Namespace) -> Result:
    """Do what :func:`serve` and :func:`produce` do in one process."""
    with contender.working():
        _produce(contender, options)
        contender.watch.wait_for_starts(_LONGEST_PICKUP_S)
    return _pickups(contender, options)


VERBS: dict[str, Callable[[Contender, argparse.Namespace], Result]] = {
    verb.__name__: verb
    for verb in (
        *(facts, prepare, enqueue, threads, caller, bulk),
        *(fill, drain, consume, burst, serve, produce, pickup),
    )
}
_PICKUP_VERBS = ("serve", "produce", "pickup")


def _timed(work: Callable[[], None]) -> float:
    gc.collect()
    return seconds(work)


def _in_parts(store: Callable[[int], None], count: int) -> None:
    for first in range(0, count, BULK):
        store(min(BULK, count - first))


def _produce(contender: Contender, options: argparse.Namespace) -> None:
    # The first second warms both sides up.
    timed_count = round(options.rate * options.seconds)
    contender.produce(paced(options.rate, round(options.rate), timed_count))


def _pickups(contender: Contender, options: argparse.Namespace) -> Result:
    found = contender.watch.pickup_ms
    return {"ms": found, "lost": round(options.rate * options.seconds) - len(found)}


def main() -> None:
    """Run one verb."""
    parser = argparse.ArgumentParser()
    parser.add_argument("verb", choices=VERBS)
    parser.add_argument("contender")
    parser.add_argument("backend")
    parser.add_argument("location")
    parser.add_argument("--jobs", type=int, default=0)
    parser.add_argument("--rate", type=float, default=0)
    parser.add_argument("--seconds", type=float, default=0)
    options = parser.parse_args()
    logging.disable(logging.INFO)
    expected = options.jobs
    if options.verb in _PICKUP_VERBS:
        expected = round(options.rate) + round(options.rate * options.seconds)
    contender = make_contender(
        options.contender, options.backend, options.location, Watch(expected)
    )
    result = VERBS[options.verb](contender, options)
    click.echo(json.dumps(result))


if __name__ == "__main__":
    main()
