"""The first log lines of a worker: its tasks, and queues without a worker."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from importlib.metadata import version

from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.jobs import WAITING
from flask_forge_jobs.model.log_lines import one_line
from flask_forge_jobs.model.workers import LIVE_WITHIN_S, unserved_queues
from flask_forge_jobs.runtime.plan import RuntimePlan

logger = get_logger(__name__)


def greet(plan: RuntimePlan, new_queues: Iterable[str] = ()) -> None:
    """Log the version and the tasks; warn of unserved queues and of unsafe settings."""
    storage, known = plan.storage, plan.registry.kinds()
    logger.info(
        "flask-forge-jobs %s, tasks: %s",
        version("flask-forge-jobs"),
        _names(known) or "none",
    )
    for name in new_queues:
        # A name may hold these characters, but other packages separate names by them.
        if len(names := re.split(r"[\s;|]+", name)) > 1:
            logger.warning(
                "made the queue %s; to serve several, separate them by commas: %s",
                one_line(name),
                one_line(",".join(names)),
            )
    served = plan.worker.queue_names
    for name in served:
        if missing := set(storage.job_reader.kinds(name, WAITING)).difference(known):
            logger.warning(
                "queue %s has jobs without a task: %s", name, _names(missing)
            )
    others = {queue.name for queue in storage.queues.all()}.difference(served)
    workers = storage.workers.live(LIVE_WITHIN_S)
    if unserved := unserved_queues(others, workers):
        logger.warning(
            "no worker serves these queues: %s; start one with "
            "`flask forge-jobs worker --queues %s`",
            _names(unserved),
            shlex.quote(one_line(",".join(sorted(unserved)))),
        )
    if (file := storage.database.file) is not None:
        from flask_forge_jobs.storage.sqlite.shared_file import engine_hazards

        for hazard in engine_hazards(file):
            logger.warning("%s", hazard)


def _names(names: Iterable[str]) -> str:
    return one_line(", ".join(sorted(names)))
