"""Arguments convert both ways, for a closed set of types."""

from __future__ import annotations

import dataclasses
import enum
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path, PurePath
from time import process_time
from typing import (
    Annotated,
    Any,
    Literal,
    NewType,
    NotRequired,
    Optional,
    Required,
    TypedDict,
    TypeVar,
)
from uuid import UUID

import pytest

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.payloads import dump, load_text
from flask_forge_jobs.tasks.conversions import conversion_of
from flask_forge_jobs.tasks.parameters import Parameters
from flask_forge_jobs.tasks.scalars import UnsupportedError

NOON = datetime(2026, 6, 1, 12, 30, 0, 250, tzinfo=UTC)
EAST = datetime(2026, 6, 1, 12, tzinfo=timezone(timedelta(hours=2)))
ID = UUID("12345678-1234-5678-1234-567812345678")
T = TypeVar("T")
UserId = NewType("UserId", int)


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Size(enum.StrEnum):
    SMALL = "s"


class Strict(enum.Enum):
    ONE = "1"

    @classmethod
    def _missing_(cls, value: object) -> Any:
        return {"one": cls.ONE}[str(value)]


class Odd(enum.Enum):
    PAIR = (1, 2)


@dataclass(frozen=True)
class Line:
    product: UUID
    price: Decimal
    count: int = 1


@dataclass
class Order:
    lines: list[Line]
    placed: datetime
    total: Decimal = field(init=False, default=Decimal(0))
    parent: Order | None = None

    def __post_init__(self) -> None:
        if not self.lines:
            raise ValueError("an order has lines")


@dataclass
class Made:
    secret: dataclasses.InitVar[str]


class Address(TypedDict):
    street: str
    since: NotRequired[date]


class Partial(TypedDict, total=False):
    name: Required[str]
    age: int


class User:
    """Such as a model."""

    def __repr__(self) -> str:
        """Read the same in each process that collects the tests."""
        return "User()"


def stored(annotation: Any, value: Any) -> Any:
    """Return what is stored of a value."""
    return json.loads(dump(conversion_of(annotation).encode(value, "payload.x")))


def back(annotation: Any, value: Any) -> Any:
    text = dump(conversion_of(annotation).encode(value, "payload.x"))
    return conversion_of(annotation).decode(load_text(text), "payload.x")


def test_the_longest_timedelta_comes_back() -> None:
    assert timedelta.max - back(timedelta, timedelta.max) < timedelta(seconds=1)


@pytest.mark.parametrize(
    ("annotation", "value", "json_value"),
    [
        (int, 7, 7),
        (int, True, True),
        (float, 7, 7),
        (float, 0.1, 0.1),
        (str, "é", "é"),
        (None, None, None),
        (Any, {"a": [1, None]}, {"a": [1, None]}),
        (object, "x", "x"),
        (T, 1, 1),
        (UserId, 7, 7),
        (Annotated[date, "x"], date(2026, 6, 1), "2026-06-01"),
        (datetime, NOON, "2026-06-01T12:30:00.000250+00:00"),
        (datetime, EAST, "2026-06-01T12:00:00+02:00"),
        (datetime, datetime(2026, 6, 1), "2026-06-01T00:00:00"),  # noqa: DTZ001  # naive
        (date, date(2026, 6, 1), "2026-06-01"),
        (time, time(12, 30, 1, 5), "12:30:01.000005"),
        (timedelta, timedelta(days=400, microseconds=1), 34_560_000.000001),
        (Decimal, Decimal("1.10"), "1.10"),
        (UUID, ID, str(ID)),
        (Path, Path("/srv/a b"), "/srv/a b"),
        (PurePath, PurePath("a"), "a"),
        (Colour, Colour.RED, "red"),
        (Level, Level.HIGH, 2),
        (Size, Size.SMALL, "s"),
        (Literal["a", 1], "a", "a"),
        (Optional[date], None, None),  # noqa: UP045  # another way to say it
        (date | None, date(2026, 6, 1), "2026-06-01"),
        (int | str | None, "x", "x"),
        (float | Decimal, Decimal(1), "1"),
        (list[int] | str, [1], [1]),
        (list, [1, "a"], [1, "a"]),
        (list[date], [date(2026, 6, 1)], ["2026-06-01"]),
        (Sequence[int], [1, 2], [1, 2]),
        (Iterable[str], ["a"], ["a"]),
        (tuple[int, date], (1, date(2026, 6, 1)), [1, "2026-06-01"]),
        (tuple[int, ...], (1, 2), [1, 2]),
        (tuple, (1, "a"), [1, "a"]),
        (dict, {"a": 1}, {"a": 1}),
        (dict[str, UUID], {"a": ID}, {"a": str(ID)}),
        (Mapping[str, Any], {"a": [1]}, {"a": [1]}),
        (Line, Line(ID, Decimal(2)), {"product": str(ID), "price": "2", "count": 1}),
        (Address, {"street": "High"}, {"street": "High"}),
        (
            Address,
            {"street": "High", "since": date(2026, 6, 1)},
            {"street": "High", "since": "2026-06-01"},
        ),
        (Partial, {"name": "Ann"}, {"name": "Ann"}),
    ],
    ids=repr,
)
def test_a_value_comes_back_as_it_was(
    annotation: Any, value: Any, json_value: Any
) -> None:
    assert stored(annotation, value) == json_value
    assert back(annotation, value) == value
    assert type(back(annotation, value)) is type(value)


@pytest.mark.parametrize(
    ("annotation", "value", "comes_back"),
    [
        (list[int], (1, 2), [1, 2]),
        (list, (1, 2), [1, 2]),
        (list[date], (date(2026, 6, 1),), [date(2026, 6, 1)]),
        (list[list[int]], ((1,),), [[1]]),
        (list[int] | None, (1,), [1]),
        (dict[str, list[int]], {"a": (1,)}, {"a": [1]}),
        (tuple[int, int], [1, 2], (1, 2)),
        (tuple, [1], (1,)),
        (list[tuple[int, int]], [[1, 2]], [(1, 2)]),
        (list[float], (1, 0.5), [1, 0.5]),
    ],
    ids=repr,
)
def test_what_json_makes_equal_is_taken(
    annotation: Any, value: Any, comes_back: Any
) -> None:
    assert back(annotation, value) == comes_back


def test_a_whole_number_is_a_member_of_an_enumeration_of_floats() -> None:
    """JavaScript writes 1.0 as 1."""

    class Ratio(enum.Enum):
        ONE = 1.0

    assert conversion_of(Ratio).decode(1, "payload.x") is Ratio.ONE
    with pytest.raises(InvalidInputError):
        conversion_of(Ratio).decode(True, "payload.x")


def test_classes_may_hold_others_and_themselves() -> None:
    inner = Order([Line(ID, Decimal("0.5"), 2)], NOON)
    order = Order(inner.lines, NOON, inner)

    assert back(Order, order) == order
    assert "total" not in stored(Order, order)


def test_a_member_of_a_subclass_becomes_what_it_is_one_of() -> None:
    assert type(back(str, Size.SMALL)) is str
    assert type(back(int, Level.LOW)) is int
    assert type(back(float, Level.LOW)) is int


@pytest.mark.parametrize(
    ("annotation", "value", "fault"),
    [
        (int, "abc", "'abc' is not a whole number"),
        (int, 1.0, "1.0 is not a whole number"),
        (int, None, "None is not a whole number"),
        (str, 7, "7 is not text"),
        (str, b"7", "a bytes is not text"),
        (bool, 1, "1 is not a boolean"),
        (date, NOON, "a datetime is not a date"),
        (datetime, "2026-06-01T12:00:00Z", "is not a datetime"),
        (UUID, str(ID), "is not a UUID"),
        (Colour, "red", "'red' is not one of Colour"),
        (Colour, Size.SMALL, "a Size is not one of Colour"),
        (Literal["a", 1], True, "True is not one of 'a', 1"),
        (list[int], {1: 1}, "a dict is not a list"),
        (list[int], {1}, "a set is not a list"),
        (list[int], [1, "x"], r"payload\.x\[1\]: 'x' is not a whole number"),
        (dict[str, int], {"a": "x"}, r"payload\.x\.a: 'x' is not a whole number"),
        (dict[str, int], {1: 1}, "1 is not a key"),
        (tuple[int, int], (1,), "a tuple is not a tuple of 2"),
        (int | None, "x", "'x' is not a whole number or None"),
        (Line, {"product": ID}, "a dict is not a Line"),
        (Line, Line("x", Decimal(1)), r"payload\.x\.product: 'x' is not a UUID"),  # type: ignore[arg-type]
        (Address, {}, r"payload\.x\.street: is missing"),
        (Address, {"street": "a", "town": "b"}, "'town' is not a key of a Address"),
        (Any, NOON, "a datetime is not JSON; annotate the parameter with its type"),
        (Any, {1}, "a set is not JSON; pass a list"),
        (Any, b"x", "pass text, such as its base64"),
        (Any, User(), "a User is not JSON; pass what identifies it, such as its id"),
    ],
    ids=repr,
)
def test_what_a_type_checker_refuses_is_refused(
    annotation: Any, value: Any, fault: str
) -> None:
    with pytest.raises(InvalidInputError, match=fault) as caught:
        conversion_of(annotation).encode(value, "payload.x")

    assert caught.value.field.startswith("payload.x")


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (int, "abc"), (date, "1.6.2026"), (datetime, 7), (timedelta, "1"),
        (timedelta, 1e300), (Decimal, "a"), (Decimal, 1.5), (UUID, "x"), (UUID, [1]),
        (Colour, "green"), (Level, 7), (Level, True), (list[date], ["x"]),
        (tuple[int, int], [1]), (Line, {"product": "x", "price": "1"}),
        (Line, {"price": "1"}), (Line, {"product": str(ID), "price": "1", "a": 1}),
        (Order, {"lines": [], "placed": "2026-06-01T12:00:00Z"}),
        (date | None, "x"), (Address, {"street": 7}), (dict[str, int], []),
        (Strict, "two"), (Literal["all"], ["all"]), (Literal["all"] | list[int], {}),
    ],
    ids=repr,
)  # fmt: skip
def test_a_payload_that_does_not_fit_is_refused(annotation: Any, value: Any) -> None:
    with pytest.raises(InvalidInputError):
        conversion_of(annotation).decode(value, "payload.x")


def test_the_reason_of_a_check_is_for_the_caller_and_not_for_his_clients() -> None:
    wrong = {"lines": [], "placed": "2026-06-01T12:00:00Z"}

    with pytest.raises(InvalidInputError) as caught:
        conversion_of(Order | None).decode(wrong, "payload.x")

    reason = "payload.x: is not a Order: ValueError: an order has lines"
    assert str(caught.value) == reason
    assert caught.value.message == "is not a Order; the log has the reason"


@pytest.mark.parametrize(
    ("annotation", "fault"),
    [
        (set[int], "a set is not JSON; pass a list"),
        (bytes, "pass text, such as its base64"),
        (User, "a User is not JSON; pass what identifies it, such as its id"),
        (Callable[[], None], "is not JSON"),
        (dict[int, str], "the keys of JSON are text"),
        (str | UUID, "are the same in JSON"),
        (datetime | date, "are the same in JSON"),
        (Line | Address, "are the same in JSON"),
        (list[User], "such as its id"),
        (Odd, "pass their names"),
        (Made, "takes more than its fields"),
    ],
    ids=repr,
)
def test_a_type_outside_the_set_is_named_with_what_to_pass(
    annotation: Any, fault: str
) -> None:
    with pytest.raises(UnsupportedError, match=fault):
        conversion_of(annotation)


# -- of a function ---------------------------------------------------------------------


def ship(
    order: Order, at: datetime, *, note: str = "", by: User | None = None
) -> None: ...


def tag(**colours: Colour) -> None: ...


def test_a_required_parameter_must_be_in_the_set() -> None:
    def send(user: User) -> None: ...

    send.__annotations__["user"] = User

    with pytest.raises(TypeError, match="parameter 'user': a User is not JSON; pass"):
        Parameters(send)


def test_one_with_a_default_is_refused_when_it_is_passed() -> None:
    parameters = Parameters(ship)
    order = Order([Line(ID, Decimal(1))], NOON)

    arguments = parameters.bind((order, NOON), {})
    with pytest.raises(InvalidInputError, match=r"payload\.by: a User is not JSON"):
        parameters.bind((order, NOON), {"by": User()})

    assert parameters.loaded(json.loads(dump(arguments))) == {
        "order": order,
        "at": NOON,
    }


def test_names_of_a_type_that_only_a_checker_imports_take_any_json() -> None:
    def send(user: Unknown) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    assert Parameters(send).bind((["x"],), {}) == {"user": ["x"]}


def test_further_names_have_the_annotation_of_theirs() -> None:
    parameters = Parameters(tag)

    assert parameters.bind((), {"sky": Colour.BLUE}) == {"sky": "blue"}
    assert parameters.loaded({"sky": "blue"}) == {"sky": Colour.BLUE}
    with pytest.raises(InvalidInputError, match=r"payload\.sky"):
        parameters.bind((), {"sky": "blue"})


def test_what_refers_to_itself_is_refused() -> None:
    order = Order([Line(ID, Decimal(1))], NOON)
    order.parent = order

    with pytest.raises(InvalidInputError, match="contains itself"):
        Parameters(ship).bind((order, NOON), {})


@pytest.mark.parametrize(
    ("annotation", "below"),
    [
        (dict[str, list[timedelta]], [1] * 100_000),
        (dict[str, tuple[timedelta, ...]], [1] * 100_000),
        (dict[str, dict[str, timedelta]], {f"{n:x}": 1 for n in range(100_000)}),
    ],
    ids=["list", "tuple", "dict"],
)
def test_a_long_key_is_not_copied_for_each_value_below_it(
    annotation: Any, below: object
) -> None:
    began = process_time()
    conversion_of(annotation).decode({"k" * 400_000: below}, "payload.x")

    assert process_time() - began < 1  # it took 3 and more


def test_plain_arguments_are_not_touched() -> None:
    def add(first: int, second: str, third: list[Any]) -> None: ...

    given = {"first": 1, "second": "x", "third": [1]}

    assert Parameters(add).are_ready(given)
    assert Parameters(add).loaded(given) is given
