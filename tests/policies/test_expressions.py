"""What a condition may say, what is refused when it is loaded, and what it comes to."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import cel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.context import FieldLabel
from domain.errors import ConfigurationError
from policies.expressions import (
    FIELD_MAX,
    Binder,
    Condition,
    RuleFailed,
    compile_condition,
    merged,
)

PROPERTY = settings(max_examples=150, deadline=None, derandomize=True, database=None)
FILE = "policies/engagement.yaml"
FIELDS: Mapping[str, FieldLabel] = {
    label.name: label
    for label in (
        FieldLabel("profile.plan", "string"),
        FieldLabel("profile.vip", "bool"),
        FieldLabel("profile.faith", "string", category="special", place="policies/fields.yaml:7"),
        FieldLabel("profile.name", "string", uses=("personalise",)),
        FieldLabel("event.value", "double", place="policies/fields.yaml:3"),
        FieldLabel("event.cart.items", "int"),
        FieldLabel("signal.open_cases", "int", optional=False),
        FieldLabel("signal.rate", "double", optional=False),
        FieldLabel("signal.segment", "string", optional=False),
        FieldLabel("signal.shared", "bool", optional=False),
    )
}


def compiled(text: str, line: int = 5) -> Condition:
    return compile_condition(text, FIELDS, shown_as=FILE, line=line)


def value(text: str, **fields: Any) -> bool:
    """What a condition comes to; field names with `__` for the point."""
    condition = compiled(text)
    given_ = {name.replace("__", "."): said for name, said in fields.items()}
    return condition.holds(given_)


# What is refused

REFUSED = [
    (
        "signal.open_case == 0",
        "field `signal.open_case` is not declared",
        "did you mean `signal.open_cases`?",
    ),
    ("weather == 0", "field `weather` is not declared", "declare it under `fields:`"),
    (
        "event.value > 1.0",
        "`event.value` may be absent",
        "ask first: `has(event.value) && ...`",
    ),
    (
        "signal.open_cases == '0'",
        "an int is compared with a string, which is never equal",
        "make both an int",
    ),
    (
        "has(event.value) && event.value > 20",
        "a double is compared with an int, which is never equal",
        "write whole numbers with a point where the field is a double: `20.0`",
    ),
    ("signal.shared > false", "a bool has no order", "use `==` or `!=`"),
    (
        "signal.open_cases in ['0']",
        "an int is looked for among values that are string",
        "make both an int",
    ),
    (
        "signal.open_cases in signal.rate",
        "`in` is asked of something that is no list",
        "write `in [..]`",
    ),
    ("signal.open_cases", "the condition is an int, not true or false", "compare it"),
    ("1 == 1", "the condition reads no field, so it is always the same", "remove the rule"),
    (
        "signal.open_cases || signal.shared",
        "an int stands where true or false is asked",
        "compare it",
    ),
    (
        "signal.open_cases + 1.0 > 2.0",
        "arithmetic of an int and a double",
        "use numbers of one type",
    ),
    (
        "signal.segment + 'x' == 'yx'",
        "arithmetic of a string and a string",
        "use numbers of one type",
    ),
    ("-signal.segment == 'x'", "a string has no negative", "use a number"),
    (
        "(signal.shared ? 1 : 'x') == 1",
        "one side of `?:` is an int, the other a string",
        "match them",
    ),
    (
        "signal.rate == null",
        "`null` is of no type that fields have",
        "use text, numbers, true, false",
    ),
    (
        "signal.open_cases == 1u",
        "`1u` is of no type that fields have",
        "use text, numbers, true, false",
    ),
    (
        "signal.segment == b'x'",
        "`b'x'` is of no type that fields have",
        "use text, numbers, true, false",
    ),
    (
        "size(signal.segment) > 3",
        "`size` is no function that is known here",
        "use `has(field)`",
    ),
    (
        "int(signal.segment) > 3",
        "`int` is no function that is known here",
        "use `has(field)`",
    ),
    (
        "signal.segment.matches('(a+)+$')",
        "`matches` is no function that is known here",
        "use one of startsWith, endsWith, contains, with one text",
    ),
    (
        "signal.open_cases.contains('a')",
        "`contains` is asked of an int",
        "give it a text",
    ),
    (
        "[1, 2].exists(x, x == 1)",
        "`exists` is no function that is known here",
        "use one of startsWith, endsWith, contains, with one text",
    ),
    (
        "signal.segment[0] == 'a'",
        "the condition uses an index",
        "use fields, literals, comparisons, `in [..]`, `&&`, `||`, `!`",
    ),
    (
        "{'a': 1} == {'a': signal.open_cases}",
        "the condition uses a map",
        "use fields, literals, comparisons, `in [..]`, `&&`, `||`, `!`",
    ),
    (
        "[signal.open_cases] == [1]",
        "the condition uses a list on its own",
        "use fields, literals, comparisons, `in [..]`, `&&`, `||`, `!`",
    ),
    ("has('x')", "something other than a field has a member", "name a field"),
    ("'a'.b == 'c'", "something other than a field has a member", "name a field"),
    (
        "10 / signal.open_cases > 1",
        "the divisor may be zero",
        "divide by a number that is written out",
    ),
    (
        "signal.open_cases / 0 > 1",
        "the divisor may be zero",
        "divide by a number that is written out",
    ),
    (
        "signal.rate / signal.rate > 1.0",
        "the divisor may be zero",
        "divide by a number that is written out",
    ),
    ("signal.rate % 2.0 > 1.0", "`%` is asked of a double", "use whole numbers"),
    (
        "signal.open_cases * signal.open_cases > 1",
        "the result may be too large for an int",
        "use smaller numbers, or declare the fields as doubles",
    ),
    (
        "signal.rate + 1e999 * 0.0 > 1.0",
        "the result may be too large for a double",
        "use smaller numbers, or declare the fields as doubles",
    ),
    (
        "signal.rate * signal.rate * signal.rate * signal.rate > 1.0",
        "the result may be too large for a double",
        "use smaller numbers, or declare the fields as doubles",
    ),
    (
        "has(profile.faith)",
        "field `profile.faith` may not be used to decide: it is special",
        "remove it, or change its label at policies/fields.yaml:7",
    ),
    (
        "has(profile.name) && profile.name == 'x'",
        "field `profile.name` may not be used to decide: its uses are personalise",
        "remove it, or change its label at its declaration",
    ),
    (
        "signal.open_cases == ",
        "the condition is no CEL: it makes no sense at its end",
        "correct it",
    ),
    (
        "signal.open_cases = 0",
        "the condition is no CEL: it makes no sense at `= 0`",
        "correct it",
    ),
    ("", "the condition is no CEL: it makes no sense at its end", "correct it"),
    (
        "signal.shared || " * 60 + "signal.shared",
        "the condition is longer than 1000 characters",
        "split it",
    ),
    (
        "(" * 90 + "signal.shared" + ")" * 90,
        "the condition is nested too deeply",
        "split it into several rules",
    ),
]


@pytest.mark.parametrize(("text", "cause", "remedy"), REFUSED, ids=[row[0][:40] for row in REFUSED])
def test_what_is_refused(text: str, cause: str, remedy: str) -> None:
    """What would go wrong in silence is refused when it is loaded, with the remedy."""
    with pytest.raises(ConfigurationError) as caught:
        compiled(text)
    error = caught.value
    assert (error.place, error.cause, error.remedy) == (f"{FILE}:5", cause, remedy)


def test_the_line_inside_a_condition() -> None:
    """A mistake on the third line of a condition is placed on the third line."""
    with pytest.raises(ConfigurationError) as caught:
        compiled("signal.shared &&\nsignal.shared &&\nsignal.rat > 1.0", line=10)
    assert caught.value.place == f"{FILE}:12"


CONTRADICTIONS = [
    "signal.open_cases > 5 && signal.open_cases < 3",
    "signal.open_cases > 5 && signal.open_cases < 6",
    "signal.open_cases >= 1 && signal.open_cases <= 2 && !(signal.open_cases in [1, 2])",
    "signal.segment == 'x' && signal.segment == 'y'",
    "signal.segment in ['x'] && signal.segment in ['y', 'z']",
    "signal.segment == 'x' && signal.segment != 'x'",
    "signal.rate >= 1.0 && signal.rate < 1.0",
    "signal.rate == -1.0 && signal.rate > 0.0",
    "(signal.rate > 1.0 && signal.shared) && !(signal.rate > 0.5)",
    "5 < signal.open_cases && signal.shared && 3 > signal.open_cases",
    "signal.shared && !signal.shared",
    "signal.shared && signal.shared == false",
    "has(profile.vip) && !has(profile.vip)",
    "signal.segment.contains('x') && !signal.segment.contains('x')",
    "!(signal.open_cases <= 5 || signal.open_cases >= 3)",
    "has(event.value) && (event.value > 2.0 && event.value < 1.0)",
]


@pytest.mark.parametrize("text", CONTRADICTIONS)
def test_what_contradicts_itself_is_refused(text: str) -> None:
    """Bounds that no value meets together would refuse everybody, in silence."""
    with pytest.raises(ConfigurationError, match="can never be true") as caught:
        compiled(text)
    assert caught.value.place == f"{FILE}:5"
    assert caught.value.remedy


@pytest.mark.parametrize(
    "text",
    [
        "signal.shared && false",
        "signal.segment in []",
        "signal.open_cases > 5 && 1 == 1 && signal.open_cases < 5",
    ],
)
def test_what_is_always_false_is_refused(text: str) -> None:
    """A condition that a constant makes false is told from one that can be true."""
    with pytest.raises(ConfigurationError, match="can never be true"):
        compiled(text)


@pytest.mark.parametrize(
    "text",
    [
        "signal.shared || !signal.shared",
        "signal.shared || true",
        "signal.open_cases > 3 || signal.open_cases < 5",
        "has(profile.vip) || !has(profile.vip)",
        "signal.shared ? signal.rate < 1.0 || signal.rate >= 1.0 : true",
    ],
)
def test_what_is_always_true_is_refused(text: str) -> None:
    """A condition that every customer meets decides nothing."""
    with pytest.raises(ConfigurationError, match="is always true"):
        compiled(text)


def test_a_contradiction_is_placed_where_it_stands() -> None:
    """The part that cannot be true is named, not the whole condition."""
    with pytest.raises(ConfigurationError) as caught:
        compiled("signal.shared && (signal.rate > 2.0 &&\nsignal.rate < 1.0)")
    assert "`signal.rate > 2.0 && signal.rate < 1.0` contradicts" in caught.value.cause


def test_many_ways_are_not_gone_through() -> None:
    """A condition with more ways of being true than are looked at is let pass, and at once."""
    many = " && ".join(
        f"(signal.open_cases == {n} || signal.segment == '{n}' || signal.rate > {n}.0)"
        for n in range(12)
    )
    assert compiled(many)


tests_of_whole = st.builds(
    lambda sign, n: f"signal.open_cases {sign} {n}",
    st.sampled_from(["==", "!=", "<", "<=", ">", ">="]),
    st.integers(-3, 3),
)
tests_of_rate = st.builds(
    lambda sign, n: f"signal.rate {sign} {float(n)}",
    st.sampled_from(["==", "!=", "<", "<=", ">", ">="]),
    st.integers(-2, 2),
)
tests_of_words = st.builds(
    lambda word, several: (
        f"signal.segment in {several!r}" if several else f"signal.segment == '{word}'"
    ),
    st.sampled_from("ab"),
    st.lists(st.sampled_from("ab"), max_size=2),
)
single_tests = st.one_of(
    tests_of_whole,
    tests_of_rate,
    tests_of_words,
    st.sampled_from(["signal.shared", "has(profile.vip)"]),
    st.builds(lambda value: f"(has(profile.vip) && profile.vip == {value})",
              st.sampled_from(["true", "false"])),
)  # fmt: skip
formulas = st.recursive(
    single_tests,
    lambda inner: st.one_of(
        st.builds(lambda one: f"!({one})", inner),
        st.builds(lambda one, two: f"({one} && {two})", inner, inner),
        st.builds(lambda one, two: f"({one} || {two})", inner, inner),
        st.builds(lambda one, two, three: f"({one} ? {two} : {three})", inner, inner, inner),
    ),
    max_leaves=6,
)
# Each value that a test names, what lies between two of them, and what lies beyond.
EVERYBODY = [
    {
        "signal.open_cases": cases,
        "signal.rate": rate / 2,
        "signal.segment": segment,
        "signal.shared": shared,
        **({} if vip is None else {"profile.vip": vip}),
    }
    for cases in range(-4, 5)
    for rate in range(-5, 6)
    for segment in "abc"
    for shared in (False, True)
    for vip in (None, False, True)
]


def nested(fields: dict[str, Any], labels: dict[str, FieldLabel]) -> dict[str, Any]:
    """Fields as the engine would take them if a condition were run as it is written."""
    roots: dict[str, Any] = {name.split(".")[0]: {} for name in labels}
    for name, said in fields.items():
        root, last = name.split(".")
        roots[root][last] = said
    return roots


@PROPERTY
@given(formulas.filter(lambda text: len(text) <= 600))
def test_only_what_is_always_the_same_is_refused(text: str) -> None:
    """A condition is refused as constant exactly where it comes to the same for everybody."""
    labels = {name: FIELDS[name] for name in FIELDS if not name.startswith("event.")}
    program = cel.compile(text)
    came_to = {program.execute(cel.Context(nested(fields, labels))) for fields in EVERYBODY}
    try:
        compiled(text)
        said = {True, False}
    except ConfigurationError as error:
        if "nested" in error.cause:
            return
        said = {"always" in error.cause}
    assert came_to == said


# Presence

GUARDED = [
    "has(profile.vip) && profile.vip",
    "!has(profile.vip) || profile.vip",
    "has(profile.vip) ? profile.vip : true",
    "!has(profile.vip) ? true : profile.vip",
    "!(has(profile.vip) && signal.shared) || profile.vip",
    "has(profile.vip) && has(profile.plan) && (profile.vip || profile.plan == 'x')",
    "signal.shared && has(profile.vip) && !profile.vip",
    "(has(profile.vip) && signal.shared) ? profile.vip : signal.shared",
    "!(!has(profile.vip) || signal.shared) && profile.vip",
    "(has(profile.vip) || has(profile.vip)) && profile.vip",
    "has(event.cart.items) && event.cart.items > 2",
]
UNGUARDED = [
    "profile.vip",
    "has(profile.plan) && profile.vip",
    "has(profile.vip) || profile.vip",
    "profile.vip && has(profile.vip)",
    "!has(profile.vip) && profile.vip",
    "(has(profile.vip) || signal.shared) && profile.vip",
    "has(profile.vip) ? true : profile.vip",
    "!(has(profile.vip) && signal.shared) && profile.vip",
    "(signal.shared ? has(profile.vip) : true) && profile.vip",
    "(has(profile.vip) && signal.shared) || profile.vip",
    "has(profile.vip) == true && profile.vip",
]


@pytest.mark.parametrize("text", GUARDED)
def test_an_optional_field_that_is_asked_for_first(text: str) -> None:
    """A field may be read wherever it is certain to be there, and then nothing fails."""
    condition = compiled(text)
    for vip in (None, True, False):
        for shared in (True, False):
            fields = {"profile.vip": vip, "signal.shared": shared, "profile.plan": "x"}
            assert condition.holds(fields) in (True, False)


@pytest.mark.parametrize("text", UNGUARDED)
def test_an_optional_field_that_may_be_absent(text: str) -> None:
    """A field may not be read where it may be absent, for CEL would take that for false."""
    with pytest.raises(ConfigurationError, match="may be absent"):
        compiled(text)


def test_absent_is_absent() -> None:
    """A field that nobody sent, or that is null, is absent, and not empty."""
    assert not value("has(profile.plan)")
    assert not value("has(profile.plan)", profile__plan=None)
    assert value("has(profile.plan)", profile__plan="")
    assert value("has(event.cart.items)", event__cart__items=0)


def test_a_required_field_that_is_absent_fails() -> None:
    """A condition whose declared field is missing all the same fails, and does not pass."""
    with pytest.raises(RuleFailed):
        value("signal.open_cases == 0")


# Values

MISTYPED = [
    ("signal.open_cases == 0", {"signal__open_cases": "0"}),
    ("signal.open_cases == 0", {"signal__open_cases": 0.0}),
    ("signal.open_cases == 0", {"signal__open_cases": False}),
    ("signal.open_cases == 0", {"signal__open_cases": 2**53 + 1}),
    ("signal.rate > 1.0", {"signal__rate": "2.0"}),
    ("signal.rate > 1.0", {"signal__rate": math.nan}),
    ("signal.rate > 1.0", {"signal__rate": math.inf}),
    ("signal.rate > 1.0", {"signal__rate": True}),
    ("signal.shared", {"signal__shared": 1}),
    ("signal.shared", {"signal__shared": "true"}),
    ("signal.segment == 'x'", {"signal__segment": 1}),
    ("signal.segment != 'x'", {"signal__segment": ["x"]}),
    ("signal.segment != 'x'", {"signal__segment": "\udc00"}),
    ("!has(profile.vip) || profile.vip", {"profile__vip": "yes"}),
]


@pytest.mark.parametrize(("text", "fields"), MISTYPED)
def test_a_value_of_another_type_fails(text: str, fields: dict[str, Any]) -> None:
    """A field that is not of its declared type makes every condition that reads it fail."""
    with pytest.raises(RuleFailed, match="is not a"):
        value(text, **fields)


def test_a_failure_says_where_the_field_is_declared() -> None:
    """A failed condition names its own place and that of the declaration."""
    with pytest.raises(RuleFailed) as caught:
        value("has(event.value) && event.value > 1.0", event__value="2")
    assert str(caught.value) == (
        f"{FILE}:5: `event.value` is not a double; send it as declared at policies/fields.yaml:3"
    )


def test_a_mistyped_field_fails_only_who_reads_it() -> None:
    """A condition that does not read a mistyped field is none the worse for it."""
    reads, reads_not = compiled("signal.rate > 1.0"), compiled("signal.shared")
    bound = Binder(merged([reads, reads_not])).bind({"signal.rate": "x", "signal.shared": True})
    assert reads_not.evaluate(bound)
    with pytest.raises(RuleFailed):
        reads.evaluate(bound)


def test_a_whole_number_is_a_double_too() -> None:
    """JSON writes 20.0 as 20; a double field takes both."""
    assert value("has(event.value) && event.value == 20.0", event__value=20)


def test_a_condition_names_what_it_reads() -> None:
    """A condition's fields are listed, each once, in order."""
    text = "signal.shared && has(profile.plan) && profile.plan == 'x' && signal.shared"
    assert compiled(text).reads == ("profile.plan", "signal.shared")


# The same as in Python


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a condition: how it is written, and what it comes to in Python."""

    text: str
    of: Callable[[Mapping[str, Any]], Any]


def field(name: str) -> Part:
    return Part(name, lambda fields: fields[name])


def literal(said: Any) -> Part:
    if isinstance(said, str):
        return Part(f"'{said}'", lambda _: said)
    if isinstance(said, bool):
        return Part(str(said).lower(), lambda _: said)
    return Part(repr(said), lambda _: said)


def toward_zero(one: int, two: int) -> int:
    sign = 1 if (one < 0) == (two < 0) else -1
    return sign * (abs(one) // abs(two))


SIGNS: Mapping[str, Callable[[Any, Any], Any]] = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "/": toward_zero,
    "%": lambda a, b: a - b * toward_zero(a, b),
    "startsWith": lambda a, b: a.startswith(b),
    "endsWith": lambda a, b: a.endswith(b),
    "contains": lambda a, b: b in a,
}


def joined(left: Part, sign: str, right: Part) -> Part:
    apply = SIGNS[sign]
    written = (
        f"{left.text}.{sign}({right.text})"
        if sign[0].isalpha()
        else f"({left.text} {sign} {right.text})"
    )
    return Part(written, lambda fields: apply(left.of(fields), right.of(fields)))


def when_there(name: str, of_it: Part, otherwise: Part) -> Part:
    def come_to(fields: Mapping[str, Any]) -> Any:
        return of_it.of(fields) if fields.get(name) is not None else otherwise.of(fields)

    return Part(f"(has({name}) ? {of_it.text} : {otherwise.text})", come_to)


words = st.text("abé✓ ", max_size=3)
small = st.integers(-50, 50)
halves = small.map(lambda n: n / 2)

ints = st.recursive(
    st.one_of(st.just(field("signal.open_cases")), small.map(literal)),
    lambda inner: st.one_of(
        st.builds(joined, inner, st.sampled_from("+-"), inner),
        st.builds(joined, inner, st.sampled_from("/%"), st.integers(1, 9).map(literal)),
        st.builds(
            when_there,
            st.just("event.cart.items"),
            st.just(field("event.cart.items")),
            inner,
        ),
    ),
    max_leaves=4,
)
doubles = st.recursive(
    st.one_of(st.just(field("signal.rate")), halves.map(literal)),
    lambda inner: st.builds(joined, inner, st.sampled_from("+-"), inner),
    max_leaves=3,
)
texts = st.one_of(st.just(field("signal.segment")), words.map(literal))
ORDER = ["==", "!=", "<", "<=", ">", ">="]


def among(one: Part, many: list[Part]) -> Part:
    written = f"({one.text} in [{', '.join(part.text for part in many)}])"
    return Part(written, lambda fields: one.of(fields) in [part.of(fields) for part in many])


def negated(one: Part) -> Part:
    return Part(f"!({one.text})", lambda fields: not one.of(fields))


def both(one: Part, two: Part) -> Part:
    return Part(f"({one.text} && {two.text})", lambda f: one.of(f) and two.of(f))


def either(one: Part, two: Part) -> Part:
    return Part(f"({one.text} || {two.text})", lambda f: one.of(f) or two.of(f))


def chosen(test: Part, yes: Part, no: Part) -> Part:
    return Part(
        f"({test.text} ? {yes.text} : {no.text})",
        lambda f: yes.of(f) if test.of(f) else no.of(f),
    )


def present(name: str) -> Part:
    return Part(f"has({name})", lambda fields: fields.get(name) is not None)


leaves = st.one_of(
    st.just(field("signal.shared")),
    st.builds(present, st.sampled_from(["profile.vip", "event.cart.items"])),
    st.builds(joined, ints, st.sampled_from(ORDER), ints),
    st.builds(joined, doubles, st.sampled_from(ORDER), doubles),
    st.builds(joined, texts, st.sampled_from([*ORDER, "startsWith", "contains"]), texts),
    st.builds(among, texts, st.lists(texts, min_size=1, max_size=3)),
    st.builds(among, ints, st.lists(ints, min_size=1, max_size=3)),
    st.builds(
        when_there,
        st.just("profile.vip"),
        st.just(field("profile.vip")),
        st.booleans().map(literal),
    ),
)
conditions = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(negated, inner),
        st.builds(both, inner, inner),
        st.builds(either, inner, inner),
        st.builds(chosen, inner, inner, inner),
    ),
    max_leaves=6,
)
people = st.fixed_dictionaries(
    {
        "signal.open_cases": small,
        "signal.rate": halves,
        "signal.segment": words,
        "signal.shared": st.booleans(),
    },
    optional={
        "profile.vip": st.one_of(st.none(), st.booleans()),
        "event.cart.items": st.one_of(st.none(), small),
    },
)


def _is_constant(error: ConfigurationError, part: Part, fields: Mapping[str, Any]) -> bool:
    """Whether the condition comes to what it is refused for always coming to."""
    always, never = "is always true" in error.cause, "can never be true" in error.cause
    return (always or never) and bool(part.of(fields)) is always


@PROPERTY
@given(conditions.filter(lambda part: len(part.text) <= 600), st.lists(people, min_size=1))
def test_a_condition_comes_to_what_it_says(part: Part, everyone: list[dict[str, Any]]) -> None:
    """A well-typed condition comes to the same as the same thing said in Python."""
    try:
        condition = compiled(part.text)
    except ConfigurationError as error:
        assert error.cause in (  # noqa: PT017 - nothing else may be wrong with it
            "the condition reads no field, so it is always the same",
            "the condition is nested too deeply",
        ) or all(_is_constant(error, part, fields) for fields in everyone)
        return
    for fields in everyone:
        assert condition.holds(fields) is bool(part.of(fields))


LARGEST = [
    ("signal.open_cases + signal.open_cases * 1000 > 0", int(FIELD_MAX["int"])),
    ("signal.open_cases * 1022 - signal.open_cases > 0", int(FIELD_MAX["int"])),
    ("-signal.open_cases * -9 % 7 > -10", int(FIELD_MAX["int"])),
    ("signal.rate * signal.rate * signal.rate > 0.0", FIELD_MAX["double"]),
    ("signal.rate / 0.001 * signal.rate > 0.0", FIELD_MAX["double"]),
]


@pytest.mark.parametrize(("text", "largest"), LARGEST)
def test_arithmetic_cannot_fail(text: str, largest: float) -> None:
    """What the loader lets pass does not overflow, not even with the largest fields."""
    for number in (largest, -largest):
        fields = {"signal__open_cases": number, "signal__rate": number}
        assert value(text, **fields) in (True, False)


@PROPERTY
@given(st.text(max_size=60))
def test_any_text_is_compiled_or_refused(text: str) -> None:
    """No text makes the compiler fail in any other way than by saying what is wrong."""
    try:
        compiled(text)
    except ConfigurationError as error:
        assert str(error).startswith(FILE)  # noqa: PT017 - not every text is refused
