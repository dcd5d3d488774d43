"""Environment variables that do not reach the configuration of an application.

Flask reads none by itself: ``FORGE_JOBS_DATABASE_URL=…`` looks right and does nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from flask_forge_jobs.config.checks import is_service_link, near_match, with_prefix
from flask_forge_jobs.config.settings import PREFIX, options
from flask_forge_jobs.logs import get_logger

logger = get_logger(__name__)

FLASK_PREFIX = "FLASK_"
# Of the child processes of a worker, of a task that runs in a process of its own, and
# of the demo server.
CHILD_VARIABLE = "FORGE_JOBS_CHILD"
CHANNEL_VARIABLE = "FORGE_JOBS_TASK_CHANNEL"
PARENT_PIPE_VARIABLE = "FORGE_JOBS_PARENT_PIPE"
# Of other programs: forge-jobs-server, and the tests of this package.
_NOT_OF_APPLICATIONS = frozenset(
    {"FORGE_JOBS_LOG_LEVEL", "FORGE_JOBS_TEST_DATABASE_URL"}
)


def ignored_variables(
    config: Mapping[str, object], environ: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """Yield the name of each ignored variable, and a warning with the remedy.

    Args:
        config: The configuration of the application. What it holds may come from a
            variable.
        environ: The environment.
    """
    known = [option.key for option in options()]
    for name, value in environ.items():
        variable = name.removeprefix(FLASK_PREFIX)
        key = variable.partition("__")[0]  # how from_prefixed_env() nests
        if not key.startswith(PREFIX):
            if meant := with_prefix(PREFIX, key, known):
                hint = f"did you mean {FLASK_PREFIX + meant!r}"
                yield name, f"{name} has no effect; {hint}"
            continue
        if key in config or key in _NOT_OF_APPLICATIONS or is_service_link(key, value):
            continue
        advice = "call app.config.from_prefixed_env() before ForgeJobs"
        if name == variable:
            advice += f" and name it {FLASK_PREFIX}{variable}"
        hint = "" if key in known else near_match(key, known, PREFIX)
        missing = "not in app.config" if name == key else f"app.config has no {key}"
        state = f"is set in the environment, but {missing}"
        yield name, f"{name} {state}, so it has no effect; {advice}{hint}"


_warned: set[str] = set()


def warn_of_ignored_variables(
    config: Mapping[str, object], environ: Mapping[str, str]
) -> None:
    """Warn of each ignored variable, once per process."""
    for name, warning in ignored_variables(config, environ):
        if name not in _warned:
            _warned.add(name)
            logger.warning("%s", warning)
