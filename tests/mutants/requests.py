"""Mutants of the HTTP edge: bodies, bounds, errors, limits and their headers."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_REQUEST = "api/request.py"
_ERRORS = "api/errors.py"
_PAYLOADS = "model/payloads.py"
_BOUNDS = "model/bounds.py"
_BODIES = "api/test_request.py"
_FAULTS = "api/test_errors.py"
_GATE = "model/test_payloads.py"

MUTANTS = (
    # -- bodies ------------------------------------------------------------------------
    Mutant(
        "a chunked body that is too long is cut",
        _REQUEST,
        "max_content_length=max_bytes + 1",
        "max_content_length=max_bytes",
        (
            (
                "api/test_request.py"
                "::test_the_limit_of_a_body_needs_no_flask_that_can_be_told"
            ),
        ),
    ),
    Mutant(
        "the longest body is refused",
        _REQUEST,
        "if len(body) > max_bytes:",
        "if len(body) >= max_bytes:",
        (f"{_BODIES}::test_body_limit_is_exact",),
    ),
    Mutant(
        "a body that ended early is taken",
        _REQUEST,
        "    if len(body) < (length or 0):\n        raise",
        "    if len(body) < 0:\n        raise",
        (f"{_BODIES}::test_body_shorter_than_its_length_is_400",),
    ),
    Mutant(
        "a compressed body is taken",
        _REQUEST,
        'request.headers.get("Content-Encoding", "identity").lower() != "identity"',
        'request.headers.get("Content-Encoding", "identity").lower() == ""',
        (f"{_BODIES}::test_compressed_body_is_415",),
    ),
    Mutant(
        "a body in UTF-16 is taken",
        _REQUEST,
        " or _NO_BYTES.fullmatch(charset):",
        ":",
        (f"{_BODIES}::test_other_media_types_are_415",),
    ),
    Mutant(
        "a body is not as deep as a payload in Python",
        _REQUEST,
        "max_depth=MAX_DEPTH + 1,",
        "max_depth=MAX_DEPTH,",
        (f"{_BODIES}::test_payload_may_be_as_deep_as_in_python",),
    ),
    Mutant(
        "a body may hold any number of objects",
        _PAYLOADS,
        "steps.count(1) > max_containers",
        "steps.count(1) < 0",
        (_GATE,),
    ),
    Mutant(
        "the items of a list are looked at before its length",
        "api/schemas/fields.py",
        "        if not self._low <= len(value) <= self._high:",
        "        if not self._low <= len(value) < 10**6:",
        ("api/schemas/test_fields.py",),
    ),
    Mutant(
        "a list goes on after its first wrong item",
        "api/schemas/fields.py",
        "                raise ValidationError({index: error.messages}) from error",
        "                found.append(error.messages)",
        ("api/schemas/test_fields.py",),
    ),
    Mutant(
        "a request may invent any number of kinds",
        "handlers/kinds.py",
        "if len(asked | stored) > self._limit and",
        "if len(stored) > self._limit and",
        ("handlers/test_kinds.py",),
    ),
    Mutant(
        "a list of schedules goes on after 4 MiB",
        "handlers/cron.py",
        "    while room > 0 and len(found) < MAX_LISTED:",
        "    while len(found) < MAX_LISTED:",
        ("handlers/test_cron.py",),
    ),
    Mutant(
        "an object may repeat a key",
        _PAYLOADS,
        "    if len(found) != len(pairs):\n",
        "    if len(found) > len(pairs):\n",
        (_GATE,),
    ),
    Mutant(
        "an escape smuggles in half a surrogate pair",
        _PAYLOADS,
        '    if "\\\\u" in text:\n        # Only',
        '    if "\\\\U" in text:\n        # Only',
        (_GATE,),
    ),
    Mutant(
        "nothing is as deep as it may be",
        _PAYLOADS,
        "default=0) > max_depth",
        "default=0) >= max_depth",
        (_GATE,),
    ),
    Mutant(
        "a number that is too large becomes infinite",
        _PAYLOADS,
        "    if not math.isfinite(number):\n        raise _RefusedError",
        "    if math.isnan(number):\n        raise _RefusedError",
        (_GATE,),
    ),
    Mutant(
        "a payload is limited by one byte less",
        _PAYLOADS,
        "if max_bytes is not None and len(text) > max_bytes:",
        "if max_bytes is not None and len(text) >= max_bytes:",
        (_GATE,),
    ),
    # -- bounds ------------------------------------------------------------------------
    Mutant(
        "the largest number is out of bounds",
        _BOUNDS,
        'is not a whole number")\n    if not low <= value <= high:',
        'is not a whole number")\n    if not low <= value < high:',
        ("model/test_bounds.py",),
    ),
    Mutant(
        "true is a number",
        _BOUNDS,
        "if not isinstance(value, int) or isinstance(value, bool):",
        "if not isinstance(value, int):",
        ("model/test_bounds.py",),
    ),
    Mutant(
        "a queue may be named with a space at its end",
        _BOUNDS,
        "if name != name.strip():",
        "if name != name.lstrip():",
        ("model/test_bounds.py",),
    ),
    Mutant(
        "a page may be of any size",
        "handlers/jobs.py",
        '    check_integer("limit", limit, 0, MAX_PAGE_SIZE)\n',
        "",
        ("handlers/test_jobs.py::test_list_jobs_bounds_a_page",),
    ),
    Mutant(
        "a bulk enqueue of nothing is fine",
        "handlers/job_actions.py",
        "if not 1 <= len(items) <= MAX_ENQUEUED_AT_ONCE:",
        "if not 0 <= len(items) <= MAX_ENQUEUED_AT_ONCE:",
        ("handlers/test_job_actions.py::test_new_jobs_takes_one_to_a_thousand",),
    ),
    Mutant(
        "a filter ends before it begins",
        "handlers/filters.py",
        "if start is not None and end is not None and start > end:",
        "if start is not None and end is not None and start == end:",
        ("handlers/test_filters.py::test_the_ends_of_a_range_are_in_order",),
    ),
    # -- errors ------------------------------------------------------------------------
    Mutant(
        "a busy database is a fault of the server",
        _ERRORS,
        'StorageBusyError: ("conflict", 409),',
        'StorageBusyError: ("storage", 500),',
        ("api/test_errors.py::test_error_has_its_status_and_exact_keys",),
    ),
    Mutant(
        "a stale change is any conflict",
        _ERRORS,
        '    StaleSettingsError: ("conflict", 412),\n',
        "",
        ("api/test_errors.py::test_error_has_its_status_and_exact_keys",),
    ),
    Mutant(
        "code that is too old answers as if the database had failed",
        _ERRORS,
        '    SchemaTooNewError: ("unavailable", 503),\n',
        "",
        ("api/test_errors.py::test_error_has_its_status_and_exact_keys",),
    ),
    Mutant(
        "an error of the database is told in its own words",
        _ERRORS,
        '    StorageError: "the database failed; the log has the details",\n',
        "",
        (
            (
                "api/hazards/test_storage_faults.py"
                "::test_H38_a_fault_of_the_database_is_told_without_its_words"
            ),
        ),
    ),
    Mutant(
        "a second cleanup does not say when to come back",
        _ERRORS,
        "if isinstance(error, StorageBusyError | AlreadyRunningError):",
        "if isinstance(error, StorageBusyError):",
        (
            (
                "api/unversioned/test_queues.py"
                "::test_a_second_cleanup_at_once_is_409_and_says_when_to_come_back"
            ),
        ),
    ),
    Mutant(
        "a database that is away does not say when to come back",
        _ERRORS,
        '    if kind == "unavailable":\n        return',
        '    if kind == "away":\n        return',
        (_FAULTS,),
    ),
    Mutant(
        "a limited caller takes the application's dedupe keys",
        "model/jobs.py",
        "owner = self.queue if self.is_key_of_queue else None",
        "owner = None",
        (
            (
                "api/test_scope.py::"
                "test_a_key_that_a_limited_caller_takes_is_free_for_the_application"
            ),
        ),
    ),
    Mutant(
        "a message is as long as the value that it quotes",
        _ERRORS,
        "self.message[:MAX_MESSAGE_LENGTH]",
        "self.message",
        (f"{_FAULTS}::test_long_message_is_cut",),
    ),
    Mutant(
        "a method that is not allowed does not say which are",
        _ERRORS,
        '        headers.append(("Allow", allow_header(error.valid_methods)))\n',
        "        pass\n",
        ("api/test_mount_point.py::test_H22_wrong_method_is_405_with_allow",),
    ),
    # -- limits and headers ------------------------------------------------------------
    Mutant(
        "Retry-After is rounded down",
        "auth/limits.py",
        "max(1, math.ceil(start + self._length_s - now))",
        "math.floor(start + self._length_s - now)",
        ("auth/test_limits.py",),
    ),
    Mutant(
        "callers share a rate limit",
        "auth/limits.py",
        "windows.count(principal_id, self._clock.monotonic())",
        'windows.count("", self._clock.monotonic())',
        ("api/test_limits.py::test_callers_do_not_share_a_limit",),
    ),
    Mutant(
        "a bulk verb counts as a write",
        "api/routes.py",
        '        if self.is_bulk:\n            return "bulk"\n',
        "",
        ("api/test_limits.py::test_sec_S30_each_class_has_its_own_limit",),
    ),
    Mutant(
        "an error has an entity tag",
        "api/headers.py",
        "        or response.status_code != _OK\n",
        "",
        ("api/test_conditional.py",),
    ),
    Mutant(
        "any page may read the answers",
        "api/headers.py",
        'return request.headers.get("Origin", "") in self._origins',
        'return bool(request.headers.get("Origin", ""))',
        (
            (
                "api/test_cors.py"
                "::test_sec_S16_without_configuration_there_is_no_cors_header"
            ),
        ),
    ),
    Mutant(
        "a cache may mix up answers to several origins",
        "api/headers.py",
        '        response.vary.add("Origin")\n',
        "",
        ("api/test_cors.py::test_sec_S16_configured_origin_may_read_every_answer",),
    ),
    Mutant(
        "a service whose workers are sick is unavailable",
        "handlers/readiness.py",
        'if failed - {"workers", "services"}:',
        'if failed - {"workers"}:',
        ("handlers/test_readiness.py::test_a_service_that_does_not_tick_is_told",),
    ),
)
