"""Spellings of secrets in prose, and texts that hold none."""

from __future__ import annotations

import json
import time

import pytest

from flask_forge_jobs.model.masking import REDACTED, Masking
from flask_forge_jobs.model.secret_values import Form

S = "S3CR3TVALUE99"
LEAKS = {
    # Python
    "keyword": f"login(user='ada', password='{S}')",
    "bytes": f"login(password=b'{S}')",
    "raw": f'password = r"{S}"',
    "triple": f'password = """{S}"""',
    "secret string": f"Settings(password=SecretStr('{S}'))",
    "nested call": f"Settings(password=Secret(Inner(value=('{S}', 1))))",
    "object": f"<Config password=<{S}>>",
    "repr of a dict": repr({"password": S}),
    "repr of bytes": repr({b"authorization": b"Bearer " + S.encode()}),
    "tuple": repr(("password", S)),
    "tuple of bytes": repr(("password", S.encode())),
    "tuple of others": f"('password', {S})",
    "items": repr([("Authorization", f"Bearer {S}")]),
    "items of bytes": repr([(b"authorization", f"Basic {S}".encode())]),
    "lists of two": json.dumps([["Accept", "x"], ["Authorization", f"Bearer {S}"]]),
    "nested": repr({"a": [{"api_key": {"b": [S]}}]}),
    "list": f"passwords=['x', '{S}']",
    "item": f"config['password'] = '{S}'",
    "attribute": f"config.db.password = '{S}'",
    "walrus": f"if password := '{S}':",
    "local": f"    password = '{S}'",
    "cut off": f"{{'password': '{S}",
    "cut off within": f"password=['a', {{'b': '{S}",
    "deep": "password=" + "[" * 40 + f"'{S}'" + "]" * 40,
    # JSON
    "json": json.dumps({"password": S}),
    "escaped quote": json.dumps({"password": f'a"{S}'}),
    "json in json": json.dumps({"b": json.dumps({"password": S})}),
    "json in json in json": json.dumps(
        json.dumps({"b": json.dumps({"c": json.dumps({"password": S})})})
    ),
    "key": json.dumps({"key": S}),
    "key of bytes": f"{{'key': b'{S}'}}",
    "key as keyword": f"Client(key='{S}')",
    "private": json.dumps({"private": S}),
    "card": repr({"card": S}),
    "oauth": f"oauth={S}",
    "bearer": f"bearer: {S}",
    "creds": f"creds={S}",
    # headers
    "token scheme": f"Authorization: Token {S}",
    "key scheme": f"Authorization: ApiKey {S}",
    "bearer scheme": f"authorization: bearer {S}",
    "digest": f'Authorization: Digest username="ada", realm="x", response="{S}"',
    "signed": f"Authorization: AWS4-HMAC-SHA256 Credential=A/x, Signature={S}",
    "proxy": f"Proxy-Authorization: Basic {S}",
    "cookies": f"Cookie: a=b; sid={S}",
    "set cookie": f"Set-Cookie: a={S}; Path=/; HttpOnly",
    "custom header": f"X-Api-Key: {S}",
    "bare bearer": f"bad header value: 'Bearer {S}'",
    # URLs, forms, commands, files
    "query": f"GET /cb?state=1&access_token={S}&x=2",
    "form": f"user=ada&password={S}",
    "user and password": f"redis://:{S}@cache/0",
    "at sign": f"postgresql://ada:p@{S}@db/x",
    "no colon": f"postgres//ada:{S}@db/x",
    "connection string": f"Server=db;Password={S};User Id=ada",
    "keywords of a dsn": f"host=db password={S} user=ada",
    "environment": f"export DB_PASSWORD={S}",
    "yaml": f"password:\n  {S}",
    "ini": f"password = {S}",
    "arrow": f"password => {S}",
    "thin arrow": f"password -> {S}",
    "flag": f"mysql --password {S}",
    "flag with a sign": f"mysql --password={S}",
    "command": f"Command '['mysql', '--password', '{S}']' returned 1",
    "xml": f"<password>{S}</password>",
    "xml with a prefix": f"<ns:password><![CDATA[{S}]]></ns:password>",
    "xml attribute": f'<user password="{S}"/>',
    "index in brackets": f"card[number]={S}",
    "with a comma": f"password=a,{S}",
    "with a brace": f"password=a}}{S}",
    "with a quote": f"password=a'{S}",
    "with an ampersand": f"password=a&{S}",
    "with a semicolon": f"password=a;{S}",
    "said": f"password '{S}' was rejected",
    # libraries
    "psycopg2 key": (
        'duplicate key value violates unique constraint "u"\n'
        f"DETAIL:  Key (api_token)=({S}) already exists.\n"
    ),
    "psycopg2 keys": f"Key (tenant, lower(api_token))=(1, {S}) already exists.",
    "psycopg2 bracket": f"Key (password)=(a) {S}) already exists.",
    "psycopg2 row": f"DETAIL:  Failing row contains (1, {S}, null).",
    "psycopg2 dsn": (
        f'invalid dsn: missing "=" after "postgres//ada:{S}@db/x" in connection info'
    ),
    "requests url": (
        "HTTPSConnectionPool(host='a.example', port=443): Max retries exceeded with "
        f"url: /v1/x?api_key={S} (Caused by NewConnectionError('refused'))"
    ),
    "requests status": (
        "401 Client Error: Unauthorized for url: https://a.example/me?access_token=" + S
    ),
    "requests header": (
        "Invalid leading whitespace, reserved character(s), or return character(s) in "
        f"header value: 'Bearer {S}\\n'"
    ),
    "requests headers": repr({"Authorization": f"Token {S}", "Cookie": f"sid={S}"}),
    "boto3 type": (
        "Parameter validation failed:\nInvalid type for parameter PreviousPassword, "
        f"value: {S}, type: <class 'int'>, valid types: <class 'str'>"
    ),
    "boto3 signature": (
        "An error occurred (SignatureDoesNotMatch) when calling the GetObject "
        "operation: The Canonical String for this request should have been\n"
        f"'GET\n/\n\nhost:s3.amazonaws.com\nx-amz-security-token:{S}\n\nhost'"
    ),
    "sqlalchemy names": (
        "(psycopg2.errors.NotNullViolation) null value\n[SQL: INSERT INTO users (id, "
        "api_token) VALUES (%(id)s, %(api_token)s)]\n[parameters: {'id': 7, "
        f"'api_token': '{S}'}}]\n(Background on this error at: https://sqlalche.me/e)"
    ),
    "sqlalchemy places": (
        "(sqlite3.IntegrityError) UNIQUE constraint failed: users.password\n[SQL: "
        f"INSERT INTO users (email, password) VALUES (?, ?)]\n[parameters: ('a', '{S}')"
        "]\n(Background on this error at: https://sqlalche.me/e)"
    ),
    "sqlalchemy many": f"[parameters: [('a', '{S}'), ('b', '{S}')]]",
    "pydantic": (
        "1 validation error for Login\ndb.password\n  String should have at least 30 "
        f"characters [type=string_too_short, input_value='{S}', input_type=str]\n    "
        "For further information visit https://errors.pydantic.dev/2.11/v/x"
    ),
    "pydantic whole": (
        "1 validation error for Login\nname\n  Field required [type=missing, "
        f"input_value={{'password': '{S}'}}, input_type=dict]"
    ),
    "stripe": f"Invalid API Key provided: {S}",
    "stripe source": f"Request req_1: No such token: '{S}'",
    "django": f"{{'password': ['{S}'], 'csrfmiddlewaretoken': ['x']}}",
    # by form
    "stripe key": "refused sk_live_" + S + "aaaa",
    "webhook secret": "refused whsec_" + S + "aaaa",
    "npm": "npm_" + S + "a" * 23,
    "sendgrid": "SG." + S + "aaaaaaaaa." + "b" * 43,
    "slack hook": f"https://hooks.slack.com/services/T000/B000/{S}",
    "google": "ya29." + S + "a" * 20,
}
HARMLESS = (
    "KeyError: 'id'",
    "Key (id)=(7) already exists.",
    'Key (tenant, id)=(1, 7) is not present in table "orders".',
    "key 'name' missing",
    "sort key: 'name'",
    "primary_key='id', {'foreign_key': 'orders', 'scorecard': 'x'}, order.key='y'",
    "keyboard: us, card_id=7, primary_key=7, key_id: 3",
    '{"private": false, "key": 7, "card": {"brand": "visa"}}',
    'foreign key constraint "fk" of table "orders"',
    "KeyError: ('a', 'key')",
    "Try using a key other than 'abc' to execute a different request.",
    "bad password",
    "the secret is out",
    "the token expired: retry",
    "password: required",
    "password is too short",
    "unexpected token ':'",
    "Unexpected token < in JSON at position 0",
    "TokenExpiredError: log in again",
    "InvalidSignatureException: the clock is off",
    "CookieConflictError: two of them",
    "missing fields: ['password', 'email', 'name']",
    "{'type': 'missing', 'loc': ('body', 'password'), 'msg': 'Field required'}",
    'column "password" does not exist',
    "login() missing 1 required positional argument: 'password'",
    "f() got an unexpected keyword argument 'token'",
    'FATAL:  password authentication failed for user "ada"',
    "Access denied for user 'root'@'localhost' (using password: YES)",
    'invalid dsn: invalid connection option "passwort"',
    (
        "An error occurred (InvalidClientTokenId) when calling the GetCallerIdentity "
        "operation: The security token included in the request is invalid."
    ),
    "Your card was declined.",
    "No such customer: 'cus_123'",
    (
        "HTTPConnectionPool(host='a.example', port=80): Max retries exceeded with url: "
        "/v1/orders?page=2 (Caused by NewConnectionError('refused'))"
    ),
    "Bearer authentication required",
    "usage: deploy <token> <host>",
    "tokenizer: bad input, author=ada, compass=north, passport=yes",
    "https://example.com:80/a@b and https://git@example.com/x",
    "[Errno 28] No space left on device: '/srv/sessions/x'",
    'File "/app/auth.py", line 3, in login',
    "not enough values to unpack (expected 2, got 1)",
    "no such table: sessions",
)  # fmt: skip


@pytest.mark.parametrize("spelling", LEAKS)
def test_a_secret_is_masked_in_each_spelling(spelling: str) -> None:
    shown = Masking().text(LEAKS[spelling])

    assert S not in shown
    assert "[redacted" in shown


def test_the_table_has_at_least_sixty_spellings() -> None:
    assert len(set(LEAKS.values())) >= 60


@pytest.mark.parametrize("spelling", LEAKS)
def test_what_is_masked_stays_as_it_is(spelling: str) -> None:
    masking = Masking()

    once = str(masking.text(LEAKS[spelling]))

    assert masking.text(once) == once


@pytest.mark.parametrize("text", HARMLESS)
def test_a_text_without_secrets_is_left_alone(text: str) -> None:
    assert Masking().text(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"user=ada, password={S}, port=1", "user=ada, password=[redacted], port=1"),
        (f"f(password='{S}', n=1)", "f(password='[redacted]', n=1)"),
        (f"('password', '{S}') sent", "('password', '[redacted]') sent"),
        (f"Authorization: Token {S} was bad", "Authorization: [redacted] was bad"),
        (f"Cookie: a=b; sid={S}\nHost: x", "Cookie: [redacted]\nHost: x"),
        (f"Key (token)=({S}) is bad", "Key (token)=([redacted]) is bad"),
        (f"<token>{S}</token><b>1</b>", "<token>[redacted]</token><b>1</b>"),
        (f"C(password=SecretStr('{S}'), b=1)", "C(password=[redacted], b=1)"),
        (f'{{"key": "{S}", "n": 1}}', '{"key": "[redacted]", "n": 1}'),
    ],
)  # fmt: skip
def test_what_is_around_a_secret_stays(text: str, shown: str) -> None:
    assert Masking().text(text) == shown


def test_a_text_with_very_many_secrets_is_masked_whole() -> None:
    shown = Masking().text("pwd=x " * 300 + "rest")

    assert shown == f"{REDACTED} (more than 100 secrets)"


def test_a_form_says_where_its_secret_lies() -> None:
    assert Form.TEXT.secret("x = 'ab' c", 3) == (5, 7)
    assert Form.TEXT.secret("x = ab", 3) is None


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ('(it\'s "a)b", 1) c', '(it\'s "a)b", 1)'),
        ("f(x=[1, {'b': (2)}]) c", "f(x=[1, {'b': (2)}])"),
        ("(1, (2) c", "(1, (2) c"),
        ("('a)b, 1) c", "('a)"),
    ],
)
def test_a_secret_in_brackets_ends_with_them(text: str, secret: str) -> None:
    start, end = Form.ANY.secret(text, 0) or (0, 0)

    assert text[start:end] == secret


def test_quotes_that_are_not_closed_cost_no_quadratic_time() -> None:
    """Each of them would look for its end in the rest of the text."""
    text = "Failing row contains (" + ' \\"x' * 16_000
    began = time.thread_time()

    shown = Masking().text(text)

    assert time.thread_time() - began < 1.0  # 13 s if it were quadratic
    assert shown == f"Failing row contains {REDACTED}"
