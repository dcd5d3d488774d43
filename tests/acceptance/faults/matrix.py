"""All rows of the fault table, in the order of the matrix."""

from __future__ import annotations

from collections.abc import Sequence

from tests.acceptance.faults import files, forked, held, network, stopped, timekeeping
from tests.acceptance.faults.fault import Fault

FAULTS: tuple[Fault, ...] = (
    *stopped.FAULTS,
    *held.FAULTS,
    *network.FAULTS,
    *files.FAULTS,
    *timekeeping.FAULTS,
    *forked.FAULTS,
)


def chosen(faults: Sequence[Fault], only: str) -> list[Fault]:
    """Return the rows that a command line names.

    ``only`` has names separated by commas; none means all.

    Raises:
        ValueError: There is no row of such a name.
    """
    names = [name.strip().upper() for name in only.split(",") if name.strip()]
    unknown = sorted(set(names) - {fault.name for fault in faults})
    if unknown:
        raise ValueError(f"the table has no fault {', '.join(unknown)}")
    return [fault for fault in faults if not names or fault.name in names]
