"""What the table looks for in the logs of workers; a test holds it to the code."""

from __future__ import annotations

import re

RESCUED = "rescued %s jobs of workers without a heartbeat"
STRAY = "the answer to the claim of job %s was lost; given back"
LOST = "job %s was lost to another worker; result dropped"
REFUSED = "jobs were lost to other workers; outcomes dropped: %s"
UNHEARD = "not listening through a pooler"
FAILED = "storage failed, retrying"


def pattern(text: str) -> re.Pattern[str]:
    """Return a pattern of a text that has been filled in."""
    return re.compile(re.escape(text).replace("%s", "(.+?)"))
