"""What is wrong with the log lines that are kept of a job."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from tests.acceptance.application import LINES
from tests.acceptance.ledger import FinalRow, KeptLine

# A run that ended so did all that its task does, and its worker was alive.
_WHOLE = ("done", "failed")


def faults(row: FinalRow) -> Iterator[str]:
    """Yield a sentence for each fault.

    A run logs lines that name it and count from 0. So what is kept of it is the
    beginning of them, once each and in order, and all of them if it got to its end.
    """
    kept: defaultdict[int, list[KeptLine]] = defaultdict(list)
    for line in row.kept_lines:
        kept[line.run].append(line)
    attempts = {
        each.run: (each.attempt, each.worker_id, each.ending in _WHOLE)
        for each in row.stored_attempts
    }
    if not attempts and row.status == "done":
        attempts[row.claims] = (row.attempts, row.result_host, True)
    for run in sorted(kept.keys() - attempts.keys()):
        yield f"run {run} has lines, and no attempt"
    for run, (attempt, worker_id, is_whole) in attempts.items():
        lines = kept[run]
        expected = [
            KeptLine(
                run, attempt, number, f"{row.job_id} {attempt} {worker_id} {number}"
            )
            for number in range(LINES if is_whole else min(len(lines), LINES))
        ]
        if lines != expected:
            texts = [f"{line.number}: {line.text!r}" for line in lines]
            yield f"attempt {attempt}, run {run} of {worker_id}, kept {texts}"
