"""Whether a ledger shows more than a limit allows, in any window of time."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tests.acceptance.application import ASKED, ENDED, STARTED
from tests.acceptance.ledger import Kill, Line, Run

SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Grant:
    """A token that was given at some instant between these two."""

    asked_ns: int
    got_ns: int


@dataclass(frozen=True, slots=True)
class Sitting:
    """A run that had a permit at least from one instant to another."""

    permit: int
    from_ns: int
    to_ns: int


def grants(lines: Iterable[Line]) -> list[Grant]:
    """Return every token that a task got, by the end of its call."""
    asked: dict[Run, int] = {}
    tokens = []
    for line in lines:
        if line.event == ASKED:
            # Asked again in the same attempt when it was put off: the last one counts.
            asked[line.run] = line.at_ns
        elif line.event == STARTED:
            tokens.append(Grant(asked[line.run], line.at_ns))
    return sorted(tokens, key=lambda grant: grant.got_ns)


def excess(tokens: Sequence[Grant], capacity: int, per_second: float) -> float:
    """Return by how many tokens the fullest window exceeds its budget.

    A window counts the tokens that were surely given within it: asked for after its
    begin and had before its end. So what exceeds the budget is no matter of how long a
    process took to write its line.

    Args:
        tokens: By the end of their call.
        capacity: What may come at once.
        per_second: What may come each second besides.

    Returns:
        Zero or less when no window exceeds it.
    """
    worst = -float(capacity)
    for begin in {grant.asked_ns for grant in tokens}:
        count = 0
        for grant in tokens:
            if grant.asked_ns >= begin:
                count += 1
                allowed = capacity + (grant.got_ns - begin) / SECOND_NS * per_second
                worst = max(worst, count - allowed)
    return worst


def used_share(tokens: Sequence[Grant], capacity: int, per_second: float) -> float:
    """Return which share of the budget was used, from the first token to the last."""
    took_s = (tokens[-1].got_ns - tokens[0].asked_ns) / SECOND_NS
    return len(tokens) / (capacity + took_s * per_second)


def sittings(
    lines: Iterable[Line], kills: Iterable[Kill], permit_of: Mapping[str, int]
) -> tuple[list[Sitting], list[str]]:
    """Return how long each run had its permit, and the runs that nothing explains.

    Args:
        lines: The ledger.
        kills: Which processes were killed; their runs had their permits until then.
        permit_of: Which permits each job takes one of.
    """
    death_ns = {kill.pid: kill.at_ns for kill in kills}
    started = {line.run: line for line in lines if line.event == STARTED}
    ended = {line.run: line.at_ns for line in lines if line.event == ENDED}
    held, unexplained = [], []
    for run, line in started.items():
        to_ns = ended.get(run, death_ns.get(line.pid))
        if to_ns is None:
            unexplained.append(f"{run} neither ended nor died with its process")
        else:
            held.append(Sitting(permit_of[line.job_id], line.at_ns, to_ns))
    return held, unexplained


def most_at_once(held: Iterable[Sitting], after_ns: int = 0) -> dict[int, int]:
    """Return how many runs of each permit there were at once, at most.

    Args:
        held: The runs.
        after_ns: Only those that began after this instant.
    """
    changes: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for each in held:
        if each.from_ns >= after_ns:
            # At one instant an end comes before a begin.
            changes[each.permit] += [(each.from_ns, 1), (each.to_ns, -1)]
    peaks: Counter[int] = Counter()
    for permit, moments in changes.items():
        now = 0
        for _, change in sorted(moments):
            now += change
            peaks[permit] = max(peaks[permit], now)
    return dict(peaks)
