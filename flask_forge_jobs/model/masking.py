"""Masks secrets, by the names of their keys or by their form.

A pattern ignores case. Without a wildcard, it matches a key that contains its words in
a row, singular or plural: ``token`` matches ``tokens``, ``accessToken`` and
``x-api-token``; ``api_key`` also matches ``apikey``. From five letters on it matches a
word that ends with it (``authtoken``, not ``tokenizer``), from six on any key that
contains it (``dbpassword``, ``passwordHash``). With ``*`` or ``?``, it must match the
whole key. With ``=`` in front it is the whole key, and only a text under it is masked:
``=key`` matches ``{"key": "x"}``, not ``{"key": 7}`` and not ``primary_key``. By form,
it finds tokens of well-known services, private keys, our own tokens and credentials in
URLs. Any other secret under a harmless key stays readable.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice, pairwise

from flask_forge_jobs.model.secret_keys import SecretKeys
from flask_forge_jobs.model.secret_values import Form

DEFAULT_REDACT_KEYS = (
    "password", "passwd", "passphrase", "passcode", "pass", "pwd", "pw",
    "secret", "token", "credential", "cred", "authorization", "auth", "oauth",
    "bearer", "jwt", "otp", "totp",
    "api_key", "access_key", "private_key", "signing_key", "encryption_key",
    "=key", "=private",
    "cookie", "session", "signature", "dsn", "database_url", "connection_string",
    "card_number", "credit_card", "=card", "cvv", "cvc", "ssn",
)  # fmt: skip
REDACTED = "[redacted]"
# A text with more secrets or flags is masked whole, so that no text takes long.
MAX_SECRETS = 100
_PAIR = 2
_TOO_MANY = f"{REDACTED} (more than {MAX_SECRETS} secrets)"
_URL_CREDENTIALS = re.compile(
    r"//(?:[^/\s:@]{0,256}:(?P<password>[^/\s]{1,256})|(?P<user>[^/\s:@]{16,256}))@"
)
# A match cannot start within a word, so that each character is visited only a few times
# in any text.
_TOKEN = re.compile(
    r"[fgxsprAehSnwdyB-](?=[jhilokKISapfGye-])(?<![A-Za-z0-9_-].)(?:"
    r"j(?<=fj)_[A-Za-z0-9.-]{1,64}_[A-Za-z0-9_-]{43,86}"
    r"|h(?<=gh)[pousr]_[A-Za-z0-9]{36,255}|i(?<=gi)thub_pat_[A-Za-z0-9_]{22,255}"
    r"|l(?<=gl)pat-[A-Za-z0-9_-]{20,255}"
    r"|o(?<=xo)x[abeprs]-[A-Za-z0-9-]{10,255}|o(?<=do)p_v1_[a-f0-9]{64}"
    r"|k(?:(?<=sk)-[A-Za-z0-9_-]{20,255}"
    r"|(?<=[prs]k)_(?:live|test)_[A-Za-z0-9]{16,255})"
    r"|h(?<=wh)sec_[A-Za-z0-9+/=]{16,255}"
    r"|[KS](?<=A[KS])IA[A-Z0-9]{16}|I(?<=AI)za[A-Za-z0-9_-]{35}"
    r"|a(?<=ya)29\.[A-Za-z0-9_-]{20,1024}|p(?<=np)m_[A-Za-z0-9]{36}"
    r"|f(?<=hf)_[A-Za-z0-9]{34}"
    r"|G(?<=SG)\.[A-Za-z0-9_-]{16,64}\.[A-Za-z0-9_-]{16,64}"
    r"|y(?<=ey)J[A-Za-z0-9_-]{8,}+\.eyJ[A-Za-z0-9_-]{8,}+\.[A-Za-z0-9_-]*+"
    r"|e(?<=Be)arer[ ]{1,4}(?=[A-Za-z]*[0-9._~+/-])[\w.~+/=-]{8,4096}"
    r"|-(?<=--)---BEGIN [A-Z ]{0,40}PRIVATE KEY-----[A-Za-z0-9+/=\s\\]{0,8192}"
    r")"
)
# Holds no value with a key before it, and no URL.
_NAME = re.compile(r"[\w.-]*+")
_SLACK = "hooks.slack.com/"
_SLACK_HOOK = re.compile(r"(?<=hooks\.slack\.com/)[\w/]{8,255}")
_FLAG = re.compile(r"(?<![\w-])--?(\w[\w-]{0,64}+)(?:[\"'],?\s{1,4}(?=[\"'])|\s{1,4})")
# The text that follows, backwards, the key of a parameter of a URL.
_IN_QUERY = re.compile(r"[\w.-]{0,64}+[?&]")
_BLANK = re.compile(r"\s")
# Longer texts are no names.
_LONGEST_NAME = 80
# Secrets without a separator, or without a key: PostgreSQL's rows, and the
# parameters of SQLAlchemy that have no names.
_SPOKEN = re.compile(
    r"[pPF\[](?:ass(?:w(?:or)?d|phrase) (?=[bu]?[\"'])"
    r"|(?P<row>ailing row contains (?=\()|parameters: (?=\[?\()))"
)


Mask = Callable[[str], str]


class Masked(str):
    """Prose whose secrets are masked, which no masking reads again.

    So a text may be masked where it is made, for the log, and again where it is stored,
    where nobody can forget it.
    """

    __slots__ = ()


class Masking:
    """Masks the values of some keys, and texts that look like a token.

    Patterns may contain ``*`` and ``?``; without any, no key is masked.
    """

    def __init__(self, patterns: Iterable[str] = DEFAULT_REDACT_KEYS) -> None:
        self._keys = SecretKeys(patterns)
        self._speaks = self._keys.hides("password")

    def hides(self, key: str) -> bool:
        """Return whether any value under a key is masked."""
        return self._keys.hides(key)

    def masked(self, value: object, mask: Callable[[str], str]) -> object:
        """Return a JSON value with masked members; ``mask`` masks the other texts."""
        if isinstance(value, dict):
            shown: dict[str, object] = {}
            for key, member in value.items():
                hides_any, hides_text = self._keys.hidden(key)
                if hides_any or (hides_text and isinstance(member, str)):
                    shown[key] = REDACTED
                else:
                    shown[key] = self.masked(member, mask)
            if "value" in value and self._names_a_secret(value.get("name")):
                shown["value"] = REDACTED  # a header
            return shown
        if isinstance(value, list):
            return self._masked_list(value, mask)
        return mask(value) if isinstance(value, str) else value

    def masked_beginning(
        self, value: object, mask: Callable[[str], str], max_values: int
    ) -> object:
        """Return the first values of a JSON value with masked members.

        A header whose name may follow is masked as well. ``max_values`` counts values,
        containers included.
        """
        return self.masked(_beginning(value, iter(range(max_values))), mask)

    def _masked_list(
        self, values: list[object], mask: Callable[[str], str]
    ) -> list[object]:
        """Mask the value after a secret's name in a pair, or its flag in a command."""
        shown = [self.masked(value, mask) for value in values]
        for index, (value, following) in enumerate(pairwise(values)):
            is_flag = isinstance(value, str) and value.startswith("-")
            if not isinstance(following, str) or not (is_flag or len(values) == _PAIR):
                continue
            if self._names_a_secret(value):
                shown[index + 1] = REDACTED
        return shown

    def _names_a_secret(self, name: object) -> bool:
        if not isinstance(name, str) or len(name) > _LONGEST_NAME or "=" in name:
            return False
        return self._keys.hides(name)

    def datum(self, text: str) -> str:
        """Return a text of a payload, which is data and not prose, with secrets masked.

        These are tokens, credentials and parameters in URLs, and what has keys: JSON, a
        form, a flag of a command.
        """
        if _is_json(text) or _is_line_of_pairs(text):
            return str(self.text(text))
        if "://" in text and "=" in text:
            text = self._replaced(text, self._in_queries(text))
        return self._by_form(text)

    def text(self, text: str) -> Masked:
        """Return prose with ``key=value``, ``key: value``, JSON and URLs masked."""
        if isinstance(text, Masked):
            return text
        if _NAME.fullmatch(text) and "--" not in text:
            return Masked(_TOKEN.sub(REDACTED, text))
        return Masked(self._by_form(self._replaced(text, self._values(text))))

    @staticmethod
    def _replaced(text: str, values: Iterator[tuple[int, Form]]) -> str:
        secrets = list(islice(values, MAX_SECRETS + 1))
        if len(secrets) > MAX_SECRETS:
            return _TOO_MANY
        parts, end = [], 0
        for start, form in sorted(secrets, key=lambda each: each[0]):
            span = form.secret(text, start) if start >= end else None
            if span is not None:
                parts += [text[end : span[0]], REDACTED]
                end = span[1]
        return "".join([*parts, text[end:]]) if parts else text

    def _values(self, text: str) -> Iterator[tuple[int, Form]]:
        """Yield where values of secrets start, in any order."""
        size = len(text)
        for key in self._keys.before_value.finditer(text[::-1]):
            yield size - key.start(), _form_of(key)
        if "--" in text:
            for flag in _FLAG.finditer(text):
                if self._keys.hides(flag[1]):
                    yield flag.end(), Form.ANY
        if self._speaks:
            for spoken in _SPOKEN.finditer(text):
                yield spoken.end(), Form.ROW if spoken["row"] else Form.TEXT

    def json_text(self, text: str) -> str:
        """Return a JSON text with secrets masked by key, and in its texts as in prose.

        A text that is no JSON is masked as prose.
        """
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return self.text(text)
        shown = self.masked(value, self.text)
        return text if shown == value else json.dumps(shown, separators=(",", ":"))

    def _in_queries(self, text: str) -> Iterator[tuple[int, Form]]:
        backwards = text[::-1]
        for key in self._keys.before_value.finditer(backwards):
            if _IN_QUERY.match(backwards, key.end()):
                yield len(text) - key.start(), Form.PARAMETER

    @staticmethod
    def _by_form(text: str) -> str:
        if "@" in text and "//" in text:
            text, count = _URL_CREDENTIALS.subn(
                _without_credentials, text, MAX_SECRETS + 1
            )
            if count > MAX_SECRETS:
                return _TOO_MANY
        if _SLACK in text:
            text = _SLACK_HOOK.sub(REDACTED, text)
        return _TOKEN.sub(REDACTED, text)


def _is_json(text: str) -> bool:
    trimmed = text.strip()
    return trimmed[:1] in ("{", "[") and trimmed[-1:] in ("}", "]")


def _is_line_of_pairs(text: str) -> bool:
    """Return whether a text is a form, a path with a query, or a flag of a command."""
    if "=" not in text or "://" in text or _BLANK.search(text):
        return False
    return text.startswith("-") or "&" in text or "?" in text


def _form_of(key_match: re.Match[str]) -> Form:
    """Return the form of the value that follows a key of the reversed text."""
    match key_match.lastgroup:
        case "pair":
            return Form.PAIR
        case "exact":
            return Form.TEXT
        case "detail":
            return Form.DETAIL
        case "tag":
            return Form.ELEMENT
    key = key_match[0].casefold()
    if "eikooc" in key:
        return Form.COOKIE
    return Form.AUTHORIZATION if "noitaziroht" in key else Form.ANY


def _without_credentials(url: re.Match[str]) -> str:
    start, end = url.span("password" if url["password"] else "user")
    offset = url.start()
    whole = url[0]
    return f"{whole[: start - offset]}{REDACTED}{whole[end - offset :]}"


def _beginning(value: object, left: Iterator[int]) -> object:
    """Return a JSON value without what follows after as many values as are left."""
    if isinstance(value, dict):
        shown: dict[str, object] = {}
        for key, member in value.items():
            if next(left, None) is None:
                return shown | ({"value": REDACTED} if "value" in shown else {})
            shown[key] = _beginning(member, left)
        return shown
    if isinstance(value, list):
        return [_beginning(member, left) for member, _ in zip(value, left)]  # noqa: B905
    return value


KNOWN = Masking()
"""Masks the values of :data:`DEFAULT_REDACT_KEYS`."""
