"""The table: figures of each contender, and ours divided by each peer's."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from tests.benchmarks.contender import OURS
from tests.benchmarks.runner import Outcome, Report

# Figure to (name of the value, its label, decimals).
_ROWS: dict[str, tuple[tuple[str, str, int], ...]] = {
    "enqueue": (("rate", "enqueue, jobs/s", 0),),
    "threads": (
        ("rate", "8 threads enqueue, jobs/s", 0),
        ("p50", "  wait p50, ms", 2),
        ("max", "  longest wait, ms", 1),
    ),
    "processes": (
        ("rate", "8 processes enqueue, jobs/s", 0),
        ("p50", "  wait p50, ms", 2),
        ("max", "  longest wait, ms", 1),
    ),
    "bulk": (("rate", "bulk enqueue, jobs/s", 0),),
    "drain": (("rate", "drain, jobs/s", 0), ("cpu_us", "  worker's CPU, µs a job", 1)),
    "burst": (
        ("rate", "burst until all are done, jobs/s", 0),
        ("enqueue", "  until all are stored, jobs/s", 0),
    ),
    "pickup": (
        ("p50", "pickup p50, ms", 2),
        ("p99", "pickup p99, ms", 2),
        ("max", "pickup max, ms", 2),
        ("lost", "  not started", 0),
    ),
    "pickup-in-process": (
        ("p50", "in process p50, ms", 2),
        ("p99", "in process p99, ms", 2),
        ("max", "in process max, ms", 2),
        ("lost", "  not started", 0),
    ),
    "worker": (
        ("first_s", "worker: first job, s", 3),
        ("idle_percent", "worker: idle, % core", 2),
        ("rss_mib", "worker: RSS, MiB", 1),
    ),
}
_NOTES = (
    "Each figure is the median of the repeats (max: the largest). The number in",
    "parentheses is ours / peer, the median of the ratios within each repeat:",
    "above 1 is better for jobs/s, below 1 for ms and µs. Drain: a worker process with",
    "8 slots, from its first claim to its last stored finish. Burst: single jobs, one",
    "after the other, beside such a worker. Pickup: from just before the call that",
    "enqueues to the first line of the task.",
)


def render(report: Report) -> str:
    """Return a backend's facts and table as text."""
    table = [[report.backend, *report.contenders]]
    remarks: list[str] = []
    for figure, outcomes in report.outcomes.items():
        for name, label, decimals in _ROWS[figure]:
            if name == "lost" and not _any_lost(outcomes.values()):
                continue
            cells = [
                _cell(outcomes[each], outcomes[OURS], name, decimals)
                for each in report.contenders
            ]
            table.append([label, *cells])
        remarks += [
            f"{figure}, {contender}: {outcome.remark}"
            for contender, outcome in outcomes.items()
            if outcome.remark.startswith("failed")
        ]
    facts = [f"{contender}: {text}" for contender, text in report.facts.items()]
    return "\n".join([*facts, "", *_aligned(table), *remarks])


def notes() -> str:
    """Return how to read the table."""
    return "\n".join(_NOTES)


def _any_lost(outcomes: Iterable[Outcome]) -> bool:
    return any(
        values.get("lost") for each in outcomes for values in each.repeats.values()
    )


def _cell(outcome: Outcome, ours: Outcome, name: str, decimals: int) -> str:
    values = [each[name] for each in outcome.repeats.values()]
    if not values:
        return outcome.remark.partition(":")[0]
    middle = max(values) if name in ("max", "lost") else statistics.median(values)
    text = f"{middle:,.{decimals}f}"
    if outcome is ours or name == "lost":
        return text
    ratios = [
        ours.repeats[repeat][name] / values[name]
        for repeat, values in outcome.repeats.items()
        if repeat in ours.repeats and values[name]
    ]
    return f"{text} ({statistics.median(ratios):.2f})" if ratios else text


def _aligned(table: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        "  ".join(
            text.ljust(width) if number == 0 else text.rjust(width)
            for number, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]
