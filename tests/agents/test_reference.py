"""The whole guard against a slow and obvious reference, over random worlds and histories."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from domain import consent, windows
from domain.consent import ConsentAnswer
from policies import hours
from policies.guard import Guard
from policies.rules.caps import FrequencyCap
from policies.rules.consent import ConsentRule, SuppressionRule
from policies.rules.cool_offs import CoolOff
from policies.rules.standing import KillSwitch
from profiles.notes import Notes
from tests.agents.machine import Both
from tools import budgets

SOAK = os.environ.get("SAFECONDUCT_SOAK") == "1"
TINY = timedelta(microseconds=1)

LEAST = {
    "permitted": 40,
    "denied": 60,
    "held": 20,
    "later: release": 10,
    "later: retry": 2,
    "consent: forbid": 20,
    "cap: forbid": 10,
    "cap: time": 5,
    "hours: forbid": 2,
    "hours: time": 5,
    "suppression: forbid": 5,
    "cool-off: forbid": 2,
    "exclusive: forbid": 2,
    "budget: forbid": 1,
    "paused: forbid": 2,
    "switch: human": 5,
    "reach: forbid": 5,
    "expiry: forbid": 2,
    "crash": 2,
    "merge": 2,
}
"""What has to happen at the least in the small number of histories, so that they prove anything."""


def run(machine: type[Both], examples: int, *, fixed: bool = True) -> None:
    """That many histories; of what fails, the first one found is told as it is."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            derandomize=fixed,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.soakable
@pytest.mark.timeout(1800)
def test_the_guard_says_what_the_reference_says() -> None:
    """Verdict, rules, next time, releases, counters and caps, in whatever order things come."""

    class Machine(Both):
        seen: Counter[str] = Counter()

    run(Machine, 1500 if SOAK else 20, fixed=not SOAK)
    rare = {what: Machine.seen[what] for what, n in LEAST.items() if Machine.seen[what] < n}
    assert not rare, (rare, Machine.seen)


# That it can fail: a guard with one thing wrong is found out.

Break = Callable[[pytest.MonkeyPatch], None]


def _limit_off_by_one(patch: pytest.MonkeyPatch) -> None:
    made = FrequencyCap.__init__

    def more(self: FrequencyCap, place: str, scope: Any, **given: Any) -> None:
        made(self, place, replace(scope, limit=scope.limit + 1), **given)

    patch.setattr(FrequencyCap, "__init__", more)


def _window_closed_at_both_ends(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(windows.Rolling, "leaves", lambda self, at, where: at + self.span + TINY)


def _window_open_at_both_ends(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(windows.Rolling, "leaves", lambda self, at, where: at + self.span - TINY)


def _weeks_start_on_monday(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(windows.Calendar, "_first", _first_monday(windows.Calendar._first))


def _first_monday(right: Any) -> Any:
    def first(self: windows.Calendar, day: Any) -> Any:
        if self.unit == "week":
            return day - timedelta(days=day.weekday())
        return right(self, day)

    return first


def _calendars_in_utc(patch: pytest.MonkeyPatch) -> None:
    right = windows.Calendar.bounds
    patch.setattr(windows.Calendar, "bounds", lambda self, at, name: right(self, at, "UTC"))


def _closes_a_moment_late(patch: pytest.MonkeyPatch) -> None:
    right = hours._spans

    def spans(day: Any, kept: Any, name: str) -> Any:
        return tuple((start, end + TINY) for start, end in right(day, kept, name))

    patch.setattr(hours, "_spans", spans)


def _consent_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ConsentRule, "ask", lambda self, question: self.passed)


def _a_late_no_forgotten(patch: pytest.MonkeyPatch) -> None:
    def answer(lines: Any, ask: Any, now: Any) -> ConsentAnswer:
        said = right(lines, ask, now)
        return ConsentAnswer("granted", said.by) if said.value == "conflict" else said

    right = consent.answer
    patch.setattr("policies.rules.consent.answer", answer)


def _a_yes_never_expires(patch: pytest.MonkeyPatch) -> None:
    def answer(lines: Any, ask: Any, now: Any) -> ConsentAnswer:
        said = right(lines, ask, now)
        return ConsentAnswer("granted", said.by) if said.value == "expired" else said

    right = consent.answer
    patch.setattr("policies.rules.consent.answer", answer)


def _one_rule_skipped(patch: pytest.MonkeyPatch) -> None:
    made = Guard.__init__

    def fewer(self: Guard, *given: Any) -> None:
        made(self, *given)
        self.rules = tuple(rule for rule in self.rules if not isinstance(rule, CoolOff))
        self._asks = tuple(rule.ask for rule in self.rules)

    patch.setattr(Guard, "__init__", fewer)


def _short_circuit(patch: pytest.MonkeyPatch) -> None:
    right = Guard._ask

    def ask(self: Guard, question: Any) -> Any:
        said = right(self, question)
        first = next((n for n, one in enumerate(said) if one.outcome == "forbid"), None)
        if first is None:
            return said
        return tuple(
            one if n == first else rule.passed  # type: ignore[attr-defined]
            for n, (one, rule) in enumerate(zip(said, self.rules, strict=True))
        )

    patch.setattr(Guard, "_ask", ask)


def _first_cap_only(patch: pytest.MonkeyPatch) -> None:
    made = Guard.__init__

    def ordered(self: Guard, *given: Any) -> None:
        made(self, *given)
        caps = [rule for rule in self.rules if isinstance(rule, FrequencyCap)]
        self.rules = tuple(rule for rule in self.rules if rule not in caps[1:])
        self._asks = tuple(rule.ask for rule in self.rules)

    patch.setattr(Guard, "__init__", ordered)


def _blocks_never_end(patch: pytest.MonkeyPatch) -> None:
    right = SuppressionRule._is_in_force

    def in_force(self: SuppressionRule, block: Any, question: Any) -> bool:
        return right(self, replace(block, expires_at=None), question)

    patch.setattr(SuppressionRule, "_is_in_force", in_force)


def _switches_spare_everybody(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(KillSwitch, "ask", lambda self, question: self.passed)


def _a_no_wakes_nobody(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Notes, "_end", lambda self, draft, said, lines, snapshot: None)


def _money_not_taken(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(budgets, "reserve", lambda *given, **more: None)


BREAKS: dict[str, Break] = {
    "a cap's limit is off by one": _limit_off_by_one,
    "a window is closed at both ends": _window_closed_at_both_ends,
    "a window is open at both ends": _window_open_at_both_ends,
    "weeks start on Monday": _weeks_start_on_monday,
    "calendars are kept in UTC": _calendars_in_utc,
    "hours close a moment late": _closes_a_moment_late,
    "consent is ignored": _consent_ignored,
    "a late no is forgotten": _a_late_no_forgotten,
    "a yes never expires": _a_yes_never_expires,
    "a rule is skipped": _one_rule_skipped,
    "the first rule to refuse is the last to be asked": _short_circuit,
    "only the first cap is asked": _first_cap_only,
    "blocks never end": _blocks_never_end,
    "switches spare everybody": _switches_spare_everybody,
    "a no wakes nobody": _a_no_wakes_nobody,
    "money is promised and not taken": _money_not_taken,
}
QUICK = (
    "a cap's limit is off by one",
    "a window is closed at both ends",
    "consent is ignored",
    "a rule is skipped",
    "the first rule to refuse is the last to be asked",
    "only the first cap is asked",
)


@pytest.mark.soakable
@pytest.mark.timeout(600)
@pytest.mark.parametrize("broken", BREAKS if SOAK else QUICK)
def test_a_guard_with_one_thing_wrong_is_found_out(
    broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each fault ends the histories with a difference, within their number."""

    class Machine(Both):
        seen: Counter[str] = Counter()
        thorough = False

    BREAKS[broken](monkeypatch)
    with pytest.raises(AssertionError):
        run(Machine, 400 if SOAK else 40)
