"""What a condition says as a formula of tests on single fields, and whether it can come true.

The answer is exact where each test compares one field with values that are written out; whatever
else a condition asks (arithmetic, one field against another, text functions) may come out either
way, so that nothing that could be true is ever called impossible.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, cast

TERMS_MAX = 64

Sign = Literal["==", "!=", "<", "<=", ">", ">=", "in"]
Value = str | int | float | bool
Numeric = int | float


@dataclass(frozen=True, slots=True)
class Compared:
    """One field against the values written beside it; several of them only for `in`."""

    field: str
    sign: Sign
    values: tuple[Value, ...]
    is_whole: bool = False


@dataclass(frozen=True, slots=True)
class Has:
    """Whether a field is there."""

    field: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """Something that may come out either way, but the same way wherever it is asked."""

    text: str


@dataclass(frozen=True, slots=True)
class Constant:
    """What is written out as true or false."""

    value: bool


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite."""

    one: Formula


@dataclass(frozen=True, slots=True)
class Both:
    """One and the other."""

    one: Formula
    two: Formula


@dataclass(frozen=True, slots=True)
class Either:
    """One or the other, or both."""

    one: Formula
    two: Formula


Atom = Compared | Has | Unknown
Formula = Atom | Constant | Not | Both | Either
Term = frozenset[tuple[Atom, bool]]
"""Atoms that all come out as said."""


def can_be(formula: Formula, value: bool) -> bool:
    """Whether some values of the fields make it come out so; true where nobody can tell."""
    found = _terms(formula, value)
    return found is None or bool(found)


def implies(one: Formula, other: Formula) -> bool:
    """Whether the other is true wherever the one is; false where nobody can tell."""
    return not can_be(Both(one, Not(other)), True)


def _terms(formula: Formula, value: bool) -> list[Term] | None:
    """The ways in which it comes out so (a disjunctive normal form); None for too many of them."""
    match formula:
        case Constant(said):
            return [frozenset()] if said == value else []
        case Not(one):
            return _terms(one, not value)
        case Both(one, two):
            ways = _terms(one, value), _terms(two, value)
            return _all_of(*ways) if value else _any_of(*ways)
        case Either(one, two):
            ways = _terms(one, value), _terms(two, value)
            return _any_of(*ways) if value else _all_of(*ways)
        case _:
            term: Term = frozenset(((formula, value),))
            return [term] if _is_possible(term) else []


def _any_of(one: list[Term] | None, two: list[Term] | None) -> list[Term] | None:
    if one is None or two is None:
        return None
    found = list(dict.fromkeys((*one, *two)))
    return found if len(found) <= TERMS_MAX else None


def _all_of(one: list[Term] | None, two: list[Term] | None) -> list[Term] | None:
    if one == [] or two == []:
        return []
    if one is None or two is None or len(one) * len(two) > TERMS_MAX * TERMS_MAX:
        return None
    met: dict[Term, None] = {}
    for first in one:
        for second in two:
            term = first | second
            if term not in met and _is_possible(term):
                met[term] = None
                if len(met) > TERMS_MAX:
                    return None
    return list(met)


def _is_possible(term: Term) -> bool:
    """Whether nothing in a term contradicts something else in it."""
    if any((atom, not said) in term for atom, said in term):
        return False
    absent = {atom.field for atom, said in term if isinstance(atom, Has) and not said}
    tests: dict[str, list[tuple[Compared, bool]]] = {}
    for atom, said in term:
        # What is said of a field that is not there is not asked.
        if isinstance(atom, Compared) and atom.field not in absent:
            tests.setdefault(atom.field, []).append((atom, said))
    return all(_has_value(asked) for asked in tests.values())


_OPPOSITE: Mapping[Sign, Sign] = {
    "==": "!=",
    "!=": "==",
    "<": ">=",
    "<=": ">",
    ">": "<=",
    ">=": "<",
}
_HOLDS: Mapping[Sign, Callable[[Numeric, Numeric], bool]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def _has_value(asked: Iterable[tuple[Compared, bool]]) -> bool:
    """Whether one value of a field passes all its tests."""
    only: set[Value] | None = None
    never: set[Value] = set()
    bounds: list[tuple[Sign, Numeric]] = []
    is_whole = is_bool = False
    for test, said in asked:
        is_whole, is_bool = test.is_whole, isinstance(next(iter(test.values), None), bool)
        sign = test.sign if said or test.sign == "in" else _OPPOSITE[test.sign]
        if sign in _HOLDS:
            bounds.append((sign, cast(Numeric, test.values[0])))
        elif sign == "==" or (sign == "in" and said):
            only = set(test.values) if only is None else only & set(test.values)
        else:
            never |= set(test.values)
    if only is None and is_bool:
        only = {True, False}
    if only is not None:
        return any(_is_within(cast(Numeric, one), bounds) for one in only - never)
    return _is_interval(bounds, cast("set[Numeric]", never), is_whole=is_whole)


def _is_within(value: Numeric, bounds: Iterable[tuple[Sign, Numeric]]) -> bool:
    return all(_HOLDS[sign](value, bound) for sign, bound in bounds)


def _is_interval(
    bounds: Iterable[tuple[Sign, Numeric]], never: set[Numeric], *, is_whole: bool
) -> bool:
    """Whether a number lies within the bounds that is none of the excluded ones."""
    low: Numeric = -math.inf
    high: Numeric = math.inf
    is_open = False
    for sign, bound in bounds:
        if is_whole:  # `> 5` is `>= 6`
            bound += {">": 1, "<": -1}.get(sign, 0)
        if sign in (">", ">=") and bound >= low:
            low, is_open = bound, is_open if bound == low and is_open else sign == ">"
    from_open, is_open = is_open, False
    for sign, bound in bounds:
        if is_whole:
            bound += {">": 1, "<": -1}.get(sign, 0)
        if sign in ("<", "<=") and bound <= high:
            high, is_open = bound, is_open if bound == high and is_open else sign == "<"
    if low > high:
        return False
    if is_whole:
        if math.isinf(low) or math.isinf(high) or high - low >= len(never):
            return True
        return any(value not in never for value in range(int(low), int(high) + 1))
    if low == high:
        return not (from_open or is_open) and low not in never
    return True
