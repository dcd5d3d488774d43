"""Messages for calls that do not fit a task."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.bounds import shown
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.tasks.options import (
    OF_TASKS_ONLY,
    EnqueueOptions,
    TaskOptions,
    no_such_option,
    not_a_job,
    python_name,
    several_jobs,
)
from flask_forge_jobs.tasks.other_words import advice_on, option_meant, unknown_option
from flask_forge_jobs.tasks.parameters import Parameters

_OPTIONS = frozenset(EnqueueOptions.__annotations__)
_OF_TASKS = OF_TASKS_ONLY - {"aliases", "key", "kind"}  # those may be arguments


def call_error(
    task: str,
    parameters: Parameters,
    args: Sequence[object],
    kwargs: Mapping[str, object],
    why: str,
) -> InvalidInputError:
    """Return the error for the arguments of ``enqueue()`` or ``job()``.

    ``task`` is the name to call it by; ``why`` is the reason if nothing else explains
    it. Options among the arguments are shown where they belong.
    """
    options: dict[str, object] = {}
    advice: list[str] = []
    rest: dict[str, object] = {}
    for name, value in kwargs.items():
        option = option_meant(name, _OPTIONS)
        if parameters.takes(name) or name == parameters.context_name:
            rest[name] = value
        elif option is not None and option not in options:
            options[option] = value
        elif (words := advice_on(name, _OF_TASKS)) is not None:
            advice.append(f"there is no `{name}`; {words}")
        else:
            rest[name] = value
    if options:
        is_one = len(options) == 1
        advice.insert(
            0,
            f"{_listed(options)} {'is an option' if is_one else 'are options'}; write "
            f"{task}.options({_written((), options)}).enqueue({_written(args, rest)})",
        )
    if not advice:
        return InvalidInputError("arguments", why + _on_context(parameters))
    try:
        parameters.bind(tuple(args), rest)
    except TypeError as error:
        advice.append(str(error))
    except InvalidInputError:
        pass  # is reported once the options are where they belong
    return InvalidInputError("arguments", "; ".join(advice))


def _on_context(parameters: Parameters) -> str:
    first = parameters.first
    if first in {"self", "context", "ctx"} and parameters.context_name is None:
        return f"; annotate `{first}` with TaskContext if it is the context"
    return ""


def payload_error(kind: str, parameters: Parameters) -> InvalidInputError:
    """Return the error for a payload that is no JSON object."""
    example = f', such as {{"{parameters.first}": ...}}' if parameters.first else ""
    return InvalidInputError(
        "payload", f"{kind} takes a JSON object of parameter name to value{example}"
    )


def jobs_of(
    task: str,
    first: str | None,
    calls: Iterable[object],
    new_job: Callable[[tuple[Any, ...], dict[str, Any]], NewJob],
) -> list[NewJob]:
    """Return a job for the arguments of each call."""
    jobs = []
    how = f"{task}.enqueue_many([{{{f'{first!r}: ...' if first else ''}}}, ...])"
    for number, call in enumerate(several_jobs("calls", calls, how)):
        if isinstance(call, tuple):
            jobs.append(new_job(call, {}))
        elif isinstance(call, Mapping):
            jobs.append(new_job((), dict(call)))
        elif isinstance(call, NewJob):
            raise InvalidInputError(
                f"calls[{number}]", "is a job; pass jobs to forge.enqueue_many()"
            )
        else:
            raise InvalidInputError(
                f"calls[{number}]",
                f"{shown(call)} is neither a dict nor a tuple of arguments; write "
                f"{how}",
            )
    return jobs


def check_jobs(jobs: Iterable[NewJob]) -> list[NewJob]:
    """Return several jobs; raise InvalidInputError for the first that is none."""
    given: object = jobs
    if isinstance(given, NewJob):
        raise InvalidInputError(
            "jobs",
            "is one job; put it into a list, or enqueue it with "
            f"{python_name(given.kind)}.enqueue(...)",
        )
    how = "forge.enqueue_many([task.job(...), ...])"
    listed = list(several_jobs("jobs", jobs, how))
    for number, job in enumerate(listed):
        if not isinstance(job, NewJob):
            raise not_a_job(
                f"jobs[{number}]", job, ", or pass the arguments to {}.enqueue_many()"
            )
    return listed


def options_error(task: object, kind: str, options: Mapping[str, object]) -> TypeError:
    """Return the error for unknown options of ``forge.enqueue()``."""
    unknown = [name for name in options if name not in _OPTIONS]
    parameters = getattr(task, "parameters", None)
    for name in unknown:
        if isinstance(parameters, Parameters) and parameters.takes(name):
            return TypeError(
                f"there is no option {name!r}; arguments go into the payload: "
                f"forge.enqueue({kind!r}, {{{name!r}: ...}})"
            )
    return no_such_option(unknown[0])


def task_options_error(name: str) -> TypeError:
    """Return the error for an unknown option of ``@forge.task``."""
    known = TaskOptions.__annotations__
    option = option_meant(name, _OPTIONS)
    if option is not None and option not in known:
        return TypeError(
            f"there is no option {name!r} of a task; write it where the job is "
            f"enqueued: task.options({option}=...).enqueue(...)"
        )
    return TypeError(unknown_option(name, known))


def kind_error(kind: object) -> InvalidInputError:
    """Return the error for a kind that is not text."""
    name = getattr(kind, "__name__", None)
    if not callable(kind) or name is None:
        return InvalidInputError("kind", f"{shown(kind)} is not text")
    if hasattr(kind, "enqueue"):
        return InvalidInputError("kind", f"is a task; write {name}.enqueue(...)")
    return InvalidInputError(
        "kind", f"is a function; put @forge.task above it and write {name}.enqueue(...)"
    )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _written(args: Iterable[object], named: Mapping[str, object]) -> str:
    return ", ".join(
        [_plain(each) for each in args]
        + [f"{name}={_plain(value)}" for name, value in named.items()]
    )


def _plain(value: object) -> str:
    """Return a number as it is written; anything else may be long or secret."""
    return repr(value) if type(value) in (int, float, bool) else "..."
