from __future__ import annotations

import inspect

import pytest

from flask_forge_jobs import errors
from flask_forge_jobs.errors import (
    AlreadyRunningError,
    ConfigurationError,
    ConflictError,
    DuplicateJobError,
    ForgeJobsError,
    InvalidInputError,
    JobNotFoundError,
    MigrationError,
    NotFoundError,
    QueueExistsError,
    QueueNotEmptyError,
    QueueNotFoundError,
    RateLimitedError,
    RateLimitNotFoundError,
    RequestKeyReusedError,
    SchemaTooNewError,
    StaleSettingsError,
    StorageBusyError,
    StorageCorruptError,
    StorageError,
    StorageUnavailableError,
)

CLASSES = [
    value
    for _, value in inspect.getmembers(errors, inspect.isclass)
    if value.__module__ == errors.__name__
]


@pytest.mark.parametrize("error", CLASSES)
def test_every_error_is_in_one_tree_and_documented(error: type[Exception]) -> None:
    assert issubclass(error, ForgeJobsError)
    assert (error.__doc__ or "").split("\n")[0].endswith((".", ";"))


@pytest.mark.parametrize(
    ("error", "parents"),
    [
        (InvalidInputError, (ValueError,)),
        (JobNotFoundError, (NotFoundError, LookupError)),
        (QueueNotFoundError, (NotFoundError, LookupError)),
        (DuplicateJobError, (ConflictError,)),
        (QueueExistsError, (ConflictError,)),
        (QueueNotEmptyError, (ConflictError,)),
        (StaleSettingsError, (ConflictError,)),
        (AlreadyRunningError, (ConflictError,)),
        (StorageBusyError, (StorageError, ConflictError)),
        (StorageUnavailableError, (StorageError,)),
        (StorageCorruptError, (StorageError,)),
        (MigrationError, (StorageError,)),
        (SchemaTooNewError, (MigrationError,)),
    ],
)
def test_errors_can_be_caught_by_what_they_are(
    error: type[Exception], parents: tuple[type[Exception], ...]
) -> None:
    for parent in parents:
        assert issubclass(error, parent)


@pytest.mark.parametrize(
    ("error", "text", "fields"),
    [
        (
            InvalidInputError("max_attempts", "0 is not within 1 to 1000"),
            "max_attempts: 0 is not within 1 to 1000",
            {"field": "max_attempts", "message": "0 is not within 1 to 1000"},
        ),
        (JobNotFoundError("01"), "no job has the id '01'", {"job_id": "01"}),
        (
            QueueNotFoundError("mail"),
            "no queue is named 'mail'",
            {"queue_name": "mail"},
        ),
        (
            DuplicateJobError("k", "01", "send"),
            "dedupe key 'k' is held by job 01 of kind 'send'",
            {"dedupe_key": "k", "job_id": "01", "kind": "send"},
        ),
        (
            QueueExistsError("mail"),
            "a queue is named 'mail' already",
            {"queue_name": "mail"},
        ),
        (
            QueueNotEmptyError("mail", 3),
            "queue 'mail' still has 3 unfinished jobs",
            {"queue_name": "mail", "job_count": 3},
        ),
        (
            RateLimitNotFoundError("api"),
            "no rate limit has the scope 'api'",
            {"scope": "api"},
        ),
        (
            RequestKeyReusedError("k"),
            "the key 'k' was used for another request",
            {"key": "k"},
        ),
        (RateLimitedError(7), "rate limited; retry after 7 s", {"retry_after_s": 7}),
        (
            MigrationError(4, "is newer than this package"),
            "schema version 4: is newer than this package",
            {"version": 4, "message": "is newer than this package"},
        ),
        (
            SchemaTooNewError(14, 13, 12),
            (
                "schema version 14: this database needs code that knows schema 13 or "
                "newer, this package knows 12; upgrade flask-forge-jobs"
            ),
            {
                "version": 14,
                "oldest_reader": 13,
                "known": 12,
                "message": "this database needs code that knows schema 13 or newer, "
                "this package knows 12; upgrade flask-forge-jobs",
            },
        ),
        (
            ConfigurationError("FORGE_JOBS_LEASE_S", "0 is below 1"),
            "FORGE_JOBS_LEASE_S: 0 is below 1",
            {"key": "FORGE_JOBS_LEASE_S", "message": "0 is below 1"},
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_fields_carry_what_the_text_says(
    error: Exception, text: str, fields: dict[str, object]
) -> None:
    assert str(error) == text
    assert vars(error) == fields
