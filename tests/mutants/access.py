"""Mutants of access: who is let in, what it may do and see, and what is noted of it."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_ACCESS = "auth/access.py"
_TOKENS = "auth/tokens.py"
_CSRF = "auth/csrf.py"
_LIMITS = "auth/limits.py"
_HOSTS = "auth/hosts.py"
_GUARD = "api/guard.py"
_SCOPE = "api/scope.py"
_REDACTION = "handlers/redaction.py"
_MASKING = "model/masking.py"
_SECRET_KEYS = "model/secret_keys.py"
_AUDITOR = "api/auditor.py"
_UNITS = "storage/units.py"
_WAKE = "storage/sqlite/wake.py"
_BESIDE = "storage/sqlite/files.py"
_PROGRAMS = "tasks/bundled/programs.py"

MUTANTS = (
    # -- tokens ------------------------------------------------------------------------
    Mutant(
        "digests of tokens are compared byte by byte",
        _TOKENS,
        "if not hmac.compare_digest(digest, entry.digest) or known is None:",
        "if digest != entry.digest or known is None:",
        ("auth/test_tokens.py",),
    ),
    Mutant(
        "an expired token is let in",
        _TOKENS,
        "return None if self._has_expired(known) else known.principal",
        "return known.principal",
        ("auth/test_tokens.py",),
    ),
    Mutant(
        "a token is good at the instant at which it expires",
        _TOKENS,
        "self._clock.now_us() >= to_micros(",
        "self._clock.now_us() > to_micros(",
        ("auth/test_tokens.py",),
    ),
    Mutant(
        "the hash of an endless digit is taken",
        _TOKENS,
        "if digest in _WEAK_DIGESTS or len(set(digest)) < _FEWEST_DIGITS:",
        "if digest in _WEAK_DIGESTS:",
        ("auth/test_tokens.py",),
    ),
    Mutant(
        "a date of expiry has the zone of the server",
        _TOKENS,
        "return instant.replace(tzinfo=UTC)",
        "return instant.astimezone()",
        ("auth/test_tokens.py",),
    ),
    # -- who is let in -----------------------------------------------------------------
    Mutant(
        "any host name is answered",
        _ACCESS,
        "        self.hosts.check(request)\n",
        "",
        ("auth/test_hosts.py",),
    ),
    Mutant(
        "production is open to this machine",
        _ACCESS,
        "is_open = app.debug or app.testing or self.is_open_to_loopback",
        "is_open = app is not None",
        ("auth/test_access.py",),
    ),
    Mutant(
        "who has no token is let in from this machine",
        _ACCESS,
        "        if self.tokens is not None:\n",
        "        if app is None:\n",
        ("auth/test_tokens.py",),
    ),
    Mutant(
        "any truthy answer of an authenticator lets in",
        _ACCESS,
        "    if answer is True:\n",
        "    if answer and not isinstance(answer, Principal):\n",
        ("auth/test_access.py",),
    ),
    Mutant(
        "who sends no credential has failed",
        _ACCESS,
        'if "Authorization" in request.headers:',
        "if request.headers is not None:",
        ("auth/test_failures.py",),
    ),
    Mutant(
        "what a callable refuses is no failure",
        _ACCESS,
        "so every refusal counts.\n            self._count(request)\n",
        "so every refusal counts.\n",
        ("auth/test_failures.py",),
    ),
    Mutant(
        "a proxy that names itself passes for this machine",
        _HOSTS,
        '_FORWARDING_HEADERS = ("Forwarded", "Via", "X-Real-Ip")',
        '_FORWARDING_HEADERS = ("Forwarded", "X-Real-Ip")',
        ("auth/test_access.py::test_sec_S10_each_forwarding_header_alone_closes_it",),
    ),
    Mutant(
        "a page whose name was rebound passes for this machine",
        _HOSTS,
        'return is_loopback(environ.get("REMOTE_ADDR", "")) and is_loopback_host(',
        'return is_loopback(environ.get("REMOTE_ADDR", "")) or is_loopback_host(',
        ("auth/test_access.py::test_flags_open_it_to_loopback_only",),
    ),
    Mutant(
        "a page of another site reads what is open to this machine",
        _CSRF,
        'return site not in {"same-origin", "none"}',
        'return site == "odd"',
        ("auth/test_csrf.py",),
    ),
    Mutant(
        "a page of another port reads what is open to this machine",
        _CSRF,
        'return site not in {"same-origin", "none"}',
        'return site not in {"same-origin", "same-site", "none"}',
        ("auth/test_csrf.py",),
    ),
    # -- other sites -------------------------------------------------------------------
    Mutant(
        "a sibling domain may write",
        _CSRF,
        'if site != "same-origin":',
        'if site == "cross-site":',
        ("auth/test_csrf.py",),
    ),
    Mutant(
        "any Authorization is proof of no browser",
        _GUARD,
        "        if known is None:\n",
        '        if "Authorization" not in request.headers:\n',
        ("auth/test_csrf.py",),
    ),
    Mutant(
        "a page over http writes to its https twin",
        _CSRF,
        'if parts.scheme == "http" and request.scheme == "https":',
        'if parts.scheme == "https" and request.scheme == "ftp":',
        ("auth/test_csrf.py",),
    ),
    Mutant(
        "the port is no part of an origin",
        _CSRF,
        "theirs = (parts.hostname, parts.port or default_port)\n"
        "        ours = (host.hostname, host.port or default_port)\n",
        "theirs = (parts.hostname, default_port)\n"
        "        ours = (host.hostname, default_port)\n",
        ("auth/test_csrf.py",),
    ),
    Mutant(
        "a form without a body may write",
        _CSRF,
        "if not is_no_form and request.headers.get(PROGRAM_HEADER)",
        "if is_no_form and request.headers.get(PROGRAM_HEADER)",
        ("auth/test_csrf.py",),
    ),
    # -- wrong credentials -------------------------------------------------------------
    Mutant(
        "a key that is counted again is forgotten first",
        _LIMITS,
        "self._windows.pop(key, (now, 0))",
        "self._windows.get(key, (now, 0))",
        ("auth/test_limits.py",),
    ),
    Mutant(
        "the youngest key is forgotten first",
        _LIMITS,
        "next(iter(self._windows))",
        "next(reversed(self._windows))",
        ("auth/test_limits.py",),
    ),
    Mutant(
        "the last event that there is room for is one too many",
        _LIMITS,
        "if events < self._most:",
        "if events < self._most - 1:",
        ("auth/test_limits.py",),
    ),
    Mutant(
        "each address of a network is a client",
        _LIMITS,
        "return str(ip_network((int(parsed), 64), strict=False))",
        "return str(ip_network((int(parsed), 128), strict=False))",
        ("auth/test_failures.py",),
    ),
    Mutant(
        "a window never ends",
        _LIMITS,
        "if now >= start + self._length_s:",
        "if now < start:",
        ("auth/test_limits.py",),
    ),
    # -- what it may do ----------------------------------------------------------------
    Mutant(
        "an operator sees unmasked payloads",
        "auth/permissions.py",
        "    Permission.LIMITS_EDIT,\n}\n",
        "    Permission.LIMITS_EDIT,\n    Permission.PAYLOAD_REVEAL,\n}\n",
        (
            (
                "auth/test_permissions.py"
                "::test_a_viewer_changes_nothing_and_an_operator_does_not_administer"
            ),
        ),
    ),
    Mutant(
        "whoever may read sees unmasked payloads",
        _GUARD,
        "            principal.require(Permission.PAYLOAD_REVEAL)\n",
        "            pass\n",
        ("api/test_edge.py::test_reveal_needs_its_permission",),
    ),
    Mutant(
        "a read-only service takes changes",
        _GUARD,
        "        if self._options.read_only:\n",
        "        if self._options.read_only and state.reveals:\n",
        ("api/test_edge.py::test_read_only_refuses_every_mutation_whatever_the_role",),
    ),
    Mutant(
        "a debugged server takes changes from afar",
        _GUARD,
        "        if is_debugged_from_afar(request):\n",
        "        if is_debugged_from_afar(request) and state.reveals:\n",
        (
            (
                "auth/test_access.py"
                "::test_sec_S50_debugger_takes_changes_from_this_machine_only"
            ),
        ),
    ),
    Mutant(
        "a limited caller reaches what concerns all",
        _GUARD,
        "                raise Forbidden(CLUSTER_MESSAGE)\n",
        "                pass\n",
        (
            (
                "api/test_guard.py"
                "::test_sec_S06_H26_token_of_another_queue_reaches_no_cluster_wide_route"
            ),
        ),
    ),
    Mutant(
        "a limited caller reads jobs of other queues",
        _SCOPE,
        "        if not self.own([job_id]):\n",
        "        if not job_id:\n",
        ("api/test_scope.py::test_job_elsewhere_answers_like_a_job_nowhere",),
    ),
    Mutant(
        "a limited caller that names no queue means all",
        _SCOPE,
        "None if self.queues is None else tuple(sorted(self.queues))\n",
        "None\n",
        ("api/test_scope.py::test_lists_and_totals_hold_the_own_queue_only",),
    ),
    Mutant(
        "a router leads a limited caller into other queues",
        _SCOPE,
        "            self.require(queue_name)\n            return queue_name\n",
        "            return queue_name\n",
        ("api/test_scope.py::test_enqueue_into_another_queue_is_403",),
    ),
    # -- what it may see ---------------------------------------------------------------
    Mutant(
        "secrets in a list are shown",
        _MASKING,
        "shown = [self.masked(value, mask) for value in values]",
        "shown = list(values)",
        (
            (
                "handlers/test_redaction.py"
                "::test_redactor_masks_whole_members_at_any_depth"
            ),
        ),
    ),
    Mutant(
        "a key in camel case is shown",
        _SECRET_KEYS,
        'humps = _CAMEL_HUMP.sub("_", key).casefold()',
        "humps = key.casefold()",
        ("handlers/test_redaction.py::test_redactor_hides_secret_keys",),
    ),
    Mutant(
        "a hook that fails shows the payload",
        _REDACTION,
        "            return REDACTED\n        return shown\n",
        "            return masked\n        return shown\n",
        (
            (
                "handlers/test_redaction.py"
                "::test_hook_that_returns_no_json_hides_the_payload"
            ),
        ),
    ),
    Mutant(
        "passwords in addresses are shown",
        _MASKING,
        'if "@" in text and "//" in text:',
        'if "@" in text and "//@" in text:',
        ("handlers/test_redaction.py::test_redactor_masks_text",),
    ),
    Mutant(
        "a page of a thousand is as cheap as one of ten",
        "handlers/jobs.py",
        "        limit > MAX_CHEAP_LIMIT\n        or offset",
        "        offset",
        (
            (
                "api/test_searches.py"
                "::test_sec_S30_second_expensive_read_of_a_caller_is_429_at_once"
            ),
        ),
    ),
    Mutant(
        "errors of others come before a limited caller's own",
        "storage/jobs/activity.py",
        "replace(wanted or JobFilter(), statuses=_UNSUCCESSFUL)",
        "JobFilter(statuses=_UNSUCCESSFUL)",
        (
            (
                "contract/jobs/test_activity.py"
                "::test_failures_of_some_queues_are_found_behind_those_of_others"
            ),
        ),
    ),
    Mutant(
        "a crowded millisecond is read whole",
        "storage/jobs/activity.py",
        "events, is_all = self._read(*last, MAX_ROWS)",
        "events, is_all = self._read(*last, 1000 * MAX_ROWS)",
        ("contract/jobs/test_activity.py::test_a_crowded_millisecond_is_passed",),
    ),
    Mutant(
        "errors are stored as the caller gives them",
        "storage/jobs/finish.py",
        "error = update.error = mask(error)",
        "error",
        (
            (
                "contract/jobs/test_masking.py"
                "::test_no_way_into_the_database_shows_a_secret"
            ),
        ),
    ),
    Mutant(
        "a repeat looks for the error before it was masked",
        "storage/jobs/finish.py",
        "error = update.error = mask(error)",
        "error = mask(error)",
        (
            (
                "contract/jobs/test_masking.py"
                "::test_the_error_of_an_outcome_that_was_stored_twice_is_masked"
            ),
        ),
    ),
    Mutant(
        "a reason is stored as the operator gives it",
        "storage/jobs/admin.py",
        "self._masking.text(reason)",
        "reason",
        ("contract/jobs/test_masking.py::test_a_reason_is_searched_as_it_is_stored",),
    ),
    Mutant(
        "progress is stored as the task reports it",
        "storage/jobs/queue.py",
        "self.masking.json_text(text)",
        "text",
        (
            (
                "contract/jobs/test_masking.py"
                "::test_no_way_into_the_database_shows_a_secret"
            ),
        ),
    ),
    Mutant(
        "a text may hold as many secrets as it likes",
        _MASKING,
        "        if len(found) > MAX_SECRETS:\n            return _TOO_MANY\n",
        "",
        (
            (
                "model/test_secret_values.py"
                "::test_a_text_with_very_many_secrets_is_masked_whole"
            ),
        ),
    ),
    Mutant(
        "a key that hides texts hides its relatives",
        _SECRET_KEYS,
        r"(?![\w.-]))",
        ")",
        (("model/test_secret_values.py::test_a_text_without_secrets_is_left_alone"),),
    ),
    # -- what is noted of it -----------------------------------------------------------
    Mutant(
        "a reveal leaves no entry in the audit trail",
        _AUDITOR,
        "is_owed = state.route.mutates or state.reveals",
        "is_owed = state.route.mutates",
        ("api/test_edge.py::test_reveal_is_audited_done_or_refused",),
    ),
    Mutant(
        "a stranger fills the audit trail",
        _AUDITOR,
        "is_known = state.principal is not None",
        "is_known = True",
        ("api/test_auditor.py::test_stranger_leaves_a_line_in_the_log_only",),
    ),
    Mutant(
        "a database that failed is asked to note it",
        _AUDITOR,
        "is_kept = is_known and not state.has_storage_failed",
        "is_kept = is_known",
        ("api/test_auditor.py::test_database_that_failed_is_not_asked_once_more",),
    ),
    Mutant(
        "a request that is refused by the thousand fills the audit trail",
        "storage/audit.py",
        "len(self._kinds) >= MOST_KINDS",
        "len(self._kinds) < 0",
        ("contract/test_refusals.py::test_rows_and_memory_are_bounded",),
    ),
    Mutant(
        "a batch leaves no entry of its own",
        _UNITS,
        "            if changes:\n",
        "            if changes < 0:\n",
        (
            (
                "api/test_audited_changes.py"
                "::test_sec_S42_bulk_verb_that_fails_half_way_leaves_what_it_did"
            ),
        ),
    ),
    Mutant(
        "a change is stored before its entry",
        "storage/units.py",
        "            if unit is None:\n                return self._database.write(",
        "            if True:\n                return self._database.write(",
        (
            (
                "api/test_audited_changes.py"
                "::test_sec_S42_process_that_dies_before_the_entry_has_changed_nothing"
            ),
        ),
    ),
    Mutant(
        "a repeated unit mints other ids",
        _UNITS,
        "return mint(count) if unit is None else unit.pin(count, mint)",
        "return mint(count)",
        ("contract/test_units.py::test_repetition_stores_the_same_once",),
    ),
    Mutant(
        "a repeated unit leaves a second entry",
        _UNITS,
        'name = "append_audit_once" if transaction.attempt else "append_audit"',
        'name = "append_audit"',
        ("contract/test_units.py::test_repetition_stores_the_same_once",),
    ),
    Mutant(
        "a dry run counts as a change",
        _AUDITOR,
        "if response.status_code >= ERROR or is_dry or is_deduped:",
        "if response.status_code >= ERROR or is_deduped:",
        ("api/test_auditor.py::test_a_dry_run_changes_nothing",),
    ),
    Mutant(
        "a refused change counts as one",
        _AUDITOR,
        "if response.status_code >= ERROR or is_dry or is_deduped:",
        "if is_dry or is_deduped:",
        ("api/test_auditor.py::test_sec_S42_refused_mutation_leaves_one_entry_too",),
    ),
    # -- programs ----------------------------------------------------------------------
    Mutant(
        "an argument of a program need only begin as its pattern says",
        _PROGRAMS,
        "if not pattern.fullmatch(text):",
        "if not pattern.match(text):",
        ("tasks/bundled/test_programs.py",),
    ),
    Mutant(
        "arguments past the last pattern are not looked at",
        _PROGRAMS,
        "chain(self.patterns, repeat(self.patterns[-1]))",
        "self.patterns",
        ("tasks/bundled/test_programs.py",),
    ),
    Mutant(
        "a program that runs others is known by its own name only",
        _PROGRAMS,
        "(Path(path).name, _target_name(path))",
        "(Path(path).name,)",
        ("tasks/bundled/test_programs.py",),
    ),
    # -- files -------------------------------------------------------------------------
    Mutant(
        "a file that answers no datagram is removed",
        _WAKE,
        "        if self._is_socket(name):\n            with",
        "        if name:\n            with",
        ("storage/sqlite/test_wake.py",),
    ),
    Mutant(
        "a folder that was exchanged is taken for the one that was listed",
        _WAKE,
        "if folder is None or folder.stamp != stamp:",
        "if folder is None:",
        ("storage/sqlite/test_wake.py",),
    ),
    Mutant(
        "a link leads to the folder of the sockets",
        _BESIDE,
        "_ITSELF = os.O_NOFOLLOW | os.O_CLOEXEC",
        "_ITSELF = os.O_CLOEXEC",
        ("storage/sqlite/test_wake.py", "storage/sqlite/test_files.py"),
    ),
    Mutant(
        "a folder of anybody holds the sockets",
        _BESIDE,
        "    raise PermissionError(errno.EPERM, why, name)\n",
        "    del why, name\n",
        ("storage/sqlite/test_wake.py",),
    ),
    # -- checks of classes -------------------------------------------------------------
    Mutant(
        "what the checks of a class raise is shown to clients",
        "tasks/scalars.py",
        'f"is not {wants}; the log has the reason"',
        'f"is not {wants}: {reason}"',
        ("api/test_errors.py",),
    ),
    Mutant(
        "what the checks of a class raise is logged as it is",
        "api/errors.py",
        "text = fit(str(check), mask)",
        "text = str(check)",
        ("api/test_errors.py",),
    ),
    # -- secrets, and what redirects ---------------------------------------------------
    Mutant(
        "a short secret signs status links",
        "config/checks.py",
        "and len(each) >= MIN_SECRET_CHARACTERS",
        "and each",
        ("config/test_settings.py",),
    ),
    Mutant(
        "the mount point redirects to whatever host the client names",
        "api/mount_point.py",
        '(f"{url_prefix}/", url_prefix or "/")',
        '(f"{url_prefix}/",)',
        ("api/test_mount_point.py",),
    ),
    Mutant(
        "an entry of the trail is replaced",
        "storage/sql/migrations/sqlite/0001_foundation.sql",
        "WHEN EXISTS (SELECT 1 FROM forge_audit WHERE id = new.id)",
        "WHEN false",
        ("contract/test_audit.py",),
    ),
    Mutant(
        "the trail is truncated",
        "storage/sql/migrations/postgres/0001_foundation.sql",
        "CREATE TRIGGER forge_audit_no_truncate BEFORE TRUNCATE ON forge_audit\n"
        "    FOR EACH STATEMENT EXECUTE FUNCTION forge_refuse_change();\n",
        "",
        ("contract/test_audit.py",),
    ),
)
