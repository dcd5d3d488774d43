"""Bearer tokens: generated once, shown once, stored as a hash.

A token is ``fj_``, its id, ``_`` and 256 random bits. The id finds the entry, so every
check takes one hash and one comparison; an unknown id is compared with a dummy. A fast
hash is enough, because 256 random bits cannot be guessed.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

from flask_forge_jobs.auth.permissions import ROLES, Principal
from flask_forge_jobs.clock import Clock, SystemClock
from flask_forge_jobs.config.checks import near_match
from flask_forge_jobs.errors import ConfigurationError, InvalidInputError
from flask_forge_jobs.model.bounds import check_queue_name
from flask_forge_jobs.model.instants import to_micros

KEY = "FORGE_JOBS_TOKENS"
SECRET_BYTES = 32
SHORT_DIGITS = 16
ENTRY_KEYS = ("id", "sha256", "role", "queues", "expires_at")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,63}")
_ID_RULE = "must be 1 to 64 letters, digits, dots and hyphens"
_MAKE_ONE = "make a token with `flask forge-jobs token new`"
_TOKEN = re.compile(r"fj_(?P<id>[A-Za-z0-9][A-Za-z0-9.-]{0,63})_[A-Za-z0-9_-]{43,86}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
# 64 random hexadecimal digits never have fewer than eight different ones.
_FEWEST_DIGITS = 8
# Common placeholders; their hashes are refused.
WEAK_TOKENS = (
    "", "1234", "12345", "123456", "12345678", "123456789", "abc123", "admin",
    "administrator", "api", "bearer", "changeit", "changeme", "default", "dev",
    "example", "foo", "guest", "key", "letmein", "operator", "pass", "passwd",
    "password", "qwerty", "root", "s3cret", "secret", "test", "token", "user", "viewer",
)  # fmt: skip
_WEAK_DIGESTS = frozenset(sha256(word.encode()).hexdigest() for word in WEAK_TOKENS)


@dataclass(frozen=True, slots=True)
class TokenEntry:
    """One configured token; ``digest`` is the SHA-256 of the whole token."""

    principal: Principal
    digest: bytes
    expires_at: datetime | None = None


class TokenSet:
    """The configured tokens of one application.

    Args:
        entries: One for each token, with distinct ids.
        clock: Decides whether a token has expired; the system clock by default.
    """

    def __init__(
        self, entries: Sequence[TokenEntry], clock: Clock | None = None
    ) -> None:
        self._entries = {entry.principal.id: entry for entry in entries}
        self._clock = clock or SystemClock()
        self._dummy = TokenEntry(
            Principal("", frozenset()), secrets.token_bytes(SECRET_BYTES)
        )

    @classmethod
    def from_config(
        cls, entries: Sequence[object], clock: Clock | None = None
    ) -> TokenSet:
        """Read the value of ``FORGE_JOBS_TOKENS``.

        Args:
            entries: Mappings with the keys ``id``, ``sha256``, ``role`` and optionally
                ``queues`` and ``expires_at``.
            clock: Decides whether a token has expired; the system clock by default.

        Raises:
            ConfigurationError: An entry is invalid. The message names its place and
                never a value.
        """
        read = []
        for index, entry in enumerate(entries):
            try:
                read.append(_entry(entry))
            except InvalidInputError as error:
                place = f"[{index}].{error.field}".rstrip(".")
                raise ConfigurationError(KEY, f"{place}: {error.message}") from None
        for what, values in (
            ("id", [entry.principal.id for entry in read]),
            ("sha256", [entry.digest for entry in read]),
        ):
            if len(set(values)) < len(values):
                raise ConfigurationError(KEY, f"two entries have the same {what}")
        return cls(read, clock)

    def principal(self, token: str) -> Principal | None:
        """Return the owner of a token, or None; ``token`` may be any text."""
        match = _TOKEN.fullmatch(token)
        known = self._entries.get(match["id"]) if match else None
        entry = known or self._dummy
        # A malformed token may be megabytes long; it is not hashed.
        given = token if match else ""
        digest = sha256(given.encode("utf-8", "replace")).digest()
        if not hmac.compare_digest(digest, entry.digest) or known is None:
            return None
        return None if self._has_expired(known) else known.principal

    def short_digest(self, token_id: str) -> str:
        """Return a text that another token with the same id does not have."""
        return sha256(self._entries[token_id].digest).hexdigest()[:SHORT_DIGITS]

    def owner(self, token_id: object, short_digest: object) -> Principal | None:
        """Return the owner of a token that is known by its id, or None."""
        entry = self._entries.get(token_id) if isinstance(token_id, str) else None
        if entry is None or self._has_expired(entry):
            return None
        is_same = self.short_digest(entry.principal.id) == short_digest
        return entry.principal if is_same else None

    def _has_expired(self, entry: TokenEntry) -> bool:
        return entry.expires_at is not None and self._clock.now_us() >= to_micros(
            entry.expires_at
        )


def new_token(token_id: str) -> tuple[str, str]:
    """Return a new token and the hash to configure.

    Raises:
        InvalidInputError: The id is not 1 to 64 letters, digits, dots and hyphens.
    """
    if not _ID.fullmatch(token_id):
        raise InvalidInputError("id", _ID_RULE)
    token = f"fj_{token_id}_{secrets.token_urlsafe(SECRET_BYTES)}"
    return token, sha256(token.encode()).hexdigest()


def _entry(value: object) -> TokenEntry:
    if not isinstance(value, Mapping):
        raise InvalidInputError("", "must be a mapping")
    for key in value:
        if key not in ENTRY_KEYS:
            hint = near_match(str(key), ENTRY_KEYS)
            raise InvalidInputError("", f"has an unknown key{hint}")
    token_id, role = value.get("id"), value.get("role")
    if not isinstance(token_id, str) or not _ID.fullmatch(token_id):
        raise InvalidInputError("id", _ID_RULE)
    if not isinstance(role, str) or role not in ROLES:
        raise InvalidInputError("role", f"must be one of {', '.join(ROLES)}")
    return TokenEntry(
        Principal.with_role(token_id, role, queues=_queues(value.get("queues"))),
        _digest(value.get("sha256")),
        _expiry(value.get("expires_at")),
    )


def _digest(value: object) -> bytes:
    if not isinstance(value, str) or not _DIGEST.fullmatch(value.lower()):
        raise InvalidInputError("sha256", f"must be 64 hexadecimal digits; {_MAKE_ONE}")
    digest = value.lower()
    if digest in _WEAK_DIGESTS or len(set(digest)) < _FEWEST_DIGITS:
        raise InvalidInputError("sha256", f"is the hash of a common word; {_MAKE_ONE}")
    return bytes.fromhex(digest)


def _queues(value: object) -> list[str] | None:
    if value is None:
        return None
    if not isinstance(value, list | tuple) or not value:
        raise InvalidInputError("queues", "must be a list of at least one queue")
    for index, name in enumerate(value):
        try:
            check_queue_name(name)
        except (InvalidInputError, TypeError):
            field = f"queues[{index}]"
            raise InvalidInputError(field, "is not a valid queue name") from None
    return list(value)


def _expiry(value: object) -> datetime | None:
    if value is None:
        return None
    instant = value if isinstance(value, datetime) else parse_expiry(value)
    if instant.utcoffset() is None:
        raise InvalidInputError("expires_at", "has no time zone")
    try:
        return instant.astimezone(UTC)
    except OverflowError:
        raise InvalidInputError(
            "expires_at", "is not within the years 1 to 9999 (UTC)"
        ) from None


def parse_expiry(value: object) -> datetime:
    """Read when a token expires.

    Forms are ``2027-01-31`` (midnight UTC) and ``2027-01-31T12:00:00Z``.

    Raises:
        InvalidInputError: Any other value; the field is ``expires_at``.
    """
    try:
        instant = datetime.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        raise InvalidInputError(
            "expires_at", "must be a date, or a date and time with an offset"
        ) from None
    if isinstance(value, str) and len(value) == len("2027-01-31"):
        return instant.replace(tzinfo=UTC)
    if instant.utcoffset() is None:
        raise InvalidInputError("expires_at", "has no time zone")
    return instant
