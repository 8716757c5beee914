"""Puts a decision into words, for people and for programs, each audience seeing what it may."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from domain.context import EventView, Pass
from domain.decision import Decision
from domain.verdict import CLEARED_BY, Audience, Finding, Stage, disclosed


@dataclass(frozen=True, slots=True)
class Weighed:
    """One candidate: its place in the order, and what every rule said about it.

    `factors` multiply to `priority`. `note` is `chosen`, `holdout` or empty; `instead_of` the
    action that it stood in for. `stages` are those of the funnel in which the rules stand that said
    `findings`. `probability` is the one with which it was to be chosen among its journey's
    candidates, None where it was not among them.
    """

    action: str
    title: str
    journey: str
    tool: str
    channel: str | None
    priority: float
    factors: tuple[tuple[str, float], ...]
    note: str
    findings: tuple[Finding, ...]
    instead_of: str = ""
    stages: tuple[Stage, ...] = ()
    probability: float | None = None

    @property
    def against(self) -> tuple[Finding, ...]:
        """The findings that did not pass."""
        return tuple(finding for finding in self.findings if not finding.passed)


@dataclass(frozen=True, slots=True)
class Explanation:
    """All that is known of one decision.

    `event`, `candidates` and what follows are empty where the person was erased: then only the
    row's plain columns are left. `models` are the learnt models in force, by journey. `same` says
    whether deciding again from the stored context and policies gives the very same decision.
    `sources` says of each signal what it was made from.
    """

    decision: Decision
    asked: Pass
    event: EventView | None = None
    candidates: tuple[Weighed, ...] = ()
    not_entered: tuple[tuple[str, str], ...] = ()
    withheld: tuple[str, ...] = ()
    permit_id: str | None = None
    not_after: datetime | None = None
    expires_at: datetime | None = None
    proposal_hash: str | None = None
    steps: tuple[Mapping[str, Any], ...] = ()
    outcomes: tuple[Mapping[str, Any], ...] = ()
    children: tuple[Mapping[str, Any], ...] = ()
    votes: tuple[Mapping[str, Any], ...] = ()
    models: Mapping[str, str] = field(default_factory=dict)
    same: bool | None = None
    sources: Mapping[str, str] = field(default_factory=dict)


def as_json(explanation: Explanation, audience: Audience) -> dict[str, Any]:
    """The explanation as plain data; findings outside `shown_to` read `unavailable`."""
    decision, event = explanation.decision, explanation.event
    said = _said(explanation, audience)
    if audience == "customer":  # no scores, no colleagues' names, no rules that were only asked
        explanation = replace(explanation, candidates=(), votes=(), not_entered=(), withheld=())
    return {
        "decision_id": decision.decision_id,
        "event_id": decision.event_id or None,
        "profile_id": decision.profile_id,
        "at": stamp(decision.at),
        "event": {
            "name": decision.event,
            "occurred_at": stamp(event.occurred_at) if event else None,
            "received_at": stamp(event.received_at) if event else None,
        },
        "pass": {
            "kind": explanation.asked.kind,
            "n": explanation.asked.n,
            "parent_id": explanation.asked.parent_id,
        },
        "verdict": decision.verdict,
        "action": decision.action,
        "journey": decision.journey,
        "tool": decision.tool,
        "channel": decision.channel,
        "held_for": decision.held_for,
        **said,
        "next_eligible_at": stamp(decision.next_eligible_at),
        "expires_at": stamp(explanation.expires_at),
        "mind": decision.mind,
        "versions": {
            "workspace": decision.workspace_version,
            "policies": decision.policy_version,
            "models": dict(explanation.models),
        },
        "candidates": [_candidate(one, audience) for one in explanation.candidates],
        "not_entered": [
            {"journey": journey, "why": why} for journey, why in explanation.not_entered
        ],
        "withheld": list(explanation.withheld),
        "signals": {
            name: {"value": value, "source": explanation.sources[name]}
            for name, value in signals_read(explanation.candidates, audience).items()
            if name in explanation.sources
        },
        "permit": _permit(explanation),
        "proposal_hash": explanation.proposal_hash,
        "approval_votes": [_dated(vote) for vote in explanation.votes],
        "steps": [dict(step) for step in explanation.steps],
        "outcome": [_dated(_disclosed(one, audience)) for one in explanation.outcomes],
        "later": [dict(child) for child in explanation.children],
        "recomputed": {None: "impossible", True: "same", False: "different"}[explanation.same],
    }


def _disclosed(outcome: Mapping[str, Any], audience: Audience) -> Mapping[str, Any]:
    """What became of a step; who of us ended it, and what they wrote, is not for customers."""
    if audience != "customer" or outcome["by"] is None:
        return outcome
    return {**outcome, "by": "unavailable", "detail": "unavailable"}


def _said(explanation: Explanation, audience: Audience) -> dict[str, Any]:
    """The row's code, reason and rule, unless this audience may not know of the rule."""
    decision = explanation.decision
    lead = _lead(explanation)
    if lead is not None and audience not in lead.shown_to:
        return {"code": "unavailable", "reason": "not available", "rule": "unavailable"}
    return {"code": decision.code, "reason": decision.reason, "rule": decision.rule}


def _lead(explanation: Explanation) -> Finding | None:
    """The finding that the decision's own columns speak of."""
    for one in explanation.candidates:
        for finding in one.against:
            if finding.rule == explanation.decision.rule:
                return finding
    return None


def _candidate(one: Weighed, audience: Audience) -> dict[str, Any]:
    return {
        "action": one.action,
        "journey": one.journey,
        "tool": one.tool,
        "channel": one.channel,
        "priority": one.priority,
        "factors": dict(one.factors),
        "probability": one.probability,
        "note": one.note,
        "instead_of": one.instead_of or None,
        "rules": [finding_json(finding, audience) for finding in listed(one.findings, audience)],
    }


def listed(findings: tuple[Finding, ...], audience: Audience) -> tuple[Finding, ...]:
    """The findings to list for an audience.

    Where one of them is hidden, the passing ones are not listed: whoever knows the rules could
    tell the hidden one by its absence among them.
    """
    hidden = any(audience not in finding.shown_to for finding in findings)
    return tuple(f for f in findings if not f.passed) if hidden else findings


def signals_read(candidates: tuple[Weighed, ...], audience: Audience) -> dict[str, Any]:
    """The signals that rules went by, as far as this audience may know of the rules."""
    return {
        name: value
        for one in candidates
        for finding in listed(one.findings, audience)
        for name, value in disclosed(finding, audience).read.items()
        if name.startswith("signal.")
    }


def finding_json(finding: Finding, audience: Audience) -> dict[str, Any]:
    """One finding as plain data, as this audience may see it."""
    shown = disclosed(finding, audience)
    return {
        "rule": shown.rule,
        "place": shown.place,
        "outcome": shown.outcome,
        "code": shown.code,
        "reason": shown.reason,
        "read": {key: _plain(value) for key, value in shown.read.items()},
        "held_for": shown.held_for,
        "clears_at": stamp(shown.clears_at),
        "cleared_by": CLEARED_BY[shown.code] if shown.code else None,
        "counterfactual": shown.counterfactual,
    }


def _permit(explanation: Explanation) -> dict[str, Any] | None:
    if explanation.permit_id is None:
        return None
    return {"permit_id": explanation.permit_id, "not_after": stamp(explanation.not_after)}


def _dated(said: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _plain(value) for key, value in said.items()}


def _plain(value: Any) -> Any:
    return stamp(value) if isinstance(value, datetime) else value


def stamp(at: datetime | None) -> str | None:
    """An instant as programs read it: UTC, milliseconds."""
    if at is None:
        return None
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


# For people


def as_text(explanation: Explanation, audience: Audience) -> str:
    """The explanation as a paragraph, then the candidates, the rules and what became of it."""
    lines = [*wrapped(" ".join(_sentences(explanation, audience)))]
    if audience == "customer":
        return printed(lines)
    lines += _table_of_candidates(explanation, audience)
    lines += _table_of_rules(explanation, audience)
    lines += _what_became_of_it(explanation)
    lines += ["", *wrapped(_how_it_was_decided(explanation))]
    return printed(lines)


def printed(lines: list[str]) -> str:
    """The lines without anything that a terminal would act on."""
    return "\n".join("".join(c if c.isprintable() else "?" for c in line) for line in lines)


def _sentences(explanation: Explanation, audience: Audience) -> Iterator[str]:
    decision = explanation.decision
    customer = audience == "customer"
    whom = "you" if customer else f"customer {decision.profile_id}"
    yield f"On {decision.at:%Y-%m-%d at %H:%M:%SZ}, {_why_asked(explanation, whom)}."
    chosen = next((one for one in explanation.candidates if one.note == "chosen"), None)
    said = _said(explanation, audience)
    reason = said["reason"]
    standing = "" if customer or chosen is None else _standing(chosen, explanation)
    match decision.verdict:
        case "permitted" if chosen is not None:
            yield f"{_named(chosen, customer)} was permitted{standing}."
            if chosen.instead_of and not customer:
                yield f"It stands in for `{chosen.instead_of}`."
            if not customer:
                yield from _what_ranked_higher(chosen, explanation, audience)
        case "held" if chosen is not None:
            yield f"{_named(chosen, customer)} was chosen{standing}."
            yield f"It is held for {_held_for(decision)}: {reason}{_by(explanation, audience)}."
        case "permitted" | "held":
            yield f"`{decision.action}` was {decision.verdict}: {reason}."
        case _:
            yield f"Nothing was done: {reason}{_by(explanation, audience)}."
    yield from _what_would_change_it(explanation, audience)
    if explanation.event is None:
        yield "The person was erased since; what the decision was made from is gone."


def _why_asked(explanation: Explanation, whom: str) -> str:
    asked, name = explanation.asked, explanation.decision.event
    match asked.kind:
        case "event":
            return f"`{name}` came in for {whom}"
        case "approval":
            return f"the answer to an approval about `{name}` of {whom} was due ({asked.parent_id})"
        case "absence":
            return f"the time to wait after `{name}` of {whom} was over ({asked.parent_id})"
        case "again":
            return f"it was time to go on after `{name}` of {whom} ({asked.parent_id})"
        case "release":
            return f"what was held after `{name}` of {whom} was asked again ({asked.parent_id})"
        case "displaced":
            return f"what made way after `{name}` of {whom} was asked again ({asked.parent_id})"
        case "retry":
            return f"an interrupted action after `{name}` of {whom} was asked again"
        case _:
            return f"`{name}` of {whom} was asked again"


def _named(one: Weighed, customer: bool) -> str:
    if customer:
        return f"“{one.title}”"
    by = f" by {one.channel}" if one.channel else ""
    return f"`{one.action}` ({one.tool}{by}, journey `{one.journey}`)"


def _standing(one: Weighed, explanation: Explanation) -> str:
    place = explanation.candidates.index(one) + 1
    factors = " x ".join(f"{name} {value:g}" for name, value in one.factors if value != 1)
    order = (
        f"number {place} of {len(explanation.candidates)}"
        if place > 1
        else (f"the best of {len(explanation.candidates)}")
    )
    return f", {order} with priority {one.priority:g}" + (f" ({factors})" if factors else "")


def _what_ranked_higher(
    chosen: Weighed, explanation: Explanation, audience: Audience
) -> Iterator[str]:
    for one in explanation.candidates[: explanation.candidates.index(chosen)]:
        if not one.note and not any(finding.outcome == "forbid" for finding in one.against):
            yield f"`{one.action}` ranked higher, and the draw fell on another."
            continue
        why = disclosed(one.against[0], audience).reason if one.against else one.note
        yield f"`{one.action}` ranked higher and was refused: {why}."


def _held_for(decision: Decision) -> str:
    return {"time": "a better time", "approval": "an approval", "human": "a person"}[
        decision.held_for or "human"
    ]


def _by(explanation: Explanation, audience: Audience) -> str:
    """Which rule said so, and by what it went."""
    lead = _lead(explanation)
    if audience == "customer" or lead is None or audience not in lead.shown_to:
        return ""
    read = ", ".join(f"{key} = {spoken(value)}" for key, value in lead.read.items())
    return f" (rule `{lead.rule}`, {lead.place}" + (f", having read {read})" if read else ")")


def _what_would_change_it(explanation: Explanation, audience: Audience) -> Iterator[str]:
    decision, lead = explanation.decision, _lead(explanation)
    if decision.next_eligible_at is not None:
        yield f"It could pass from {decision.next_eligible_at:%Y-%m-%d %H:%M:%SZ} on."
    elif audience != "customer" and lead is not None and audience in lead.shown_to:
        yield f"What would change that: {lead.counterfactual or 'nothing that anybody can do'}."
    if explanation.expires_at is not None and decision.verdict == "held":
        yield f"It is wanted until {explanation.expires_at:%Y-%m-%d %H:%M:%SZ}."


def _table_of_candidates(explanation: Explanation, audience: Audience) -> list[str]:
    lines = ["", "candidates"] if explanation.candidates else []
    by_chance = any((one.probability or 0) % 1 for one in explanation.candidates)
    for place, one in enumerate(explanation.candidates, 1):
        shown = [disclosed(finding, audience) for finding in one.against]
        why = one.note or ", ".join(f"{f.code} ({f.rule})" for f in shown) or "ranked lower"
        if by_chance and one.probability is not None:
            why += f", probability {one.probability:.3f}"
        lines.append(
            f"  {place:>2}  {one.action:<24}{one.channel or one.tool:<9}{one.priority:>9.3f}  {why}"
        )
    for journey, why in explanation.not_entered:
        lines.append(f"   -  journey {journey:<16} not entered: {why}")
    return lines


def _table_of_rules(explanation: Explanation, audience: Audience) -> list[str]:
    one = next((c for c in explanation.candidates if c.note == "chosen"), None)
    one = one or (explanation.candidates[0] if explanation.candidates else None)
    if one is None:
        return []
    lines = rules_table(one.action, one.findings, explanation.withheld, audience)
    for name, value in signals_read((one,), audience).items():
        if name in explanation.sources:
            lines.append(f"  {name} = {spoken(value)}, from {explanation.sources[name]}")
    return lines


def rules_table(
    action: str, findings: tuple[Finding, ...], withheld: tuple[str, ...], audience: Audience
) -> list[str]:
    """A line for each rule that was asked about an action."""
    lines = ["", f"rules asked about {action}"]
    for finding in listed(findings, audience):
        shown = disclosed(finding, audience)
        read = ", ".join(f"{key}={spoken(value)}" for key, value in shown.read.items())
        lines.append(f"  {shown.outcome:<7} {shown.rule:<30}{shown.code or '':<17}{read}".rstrip())
    if withheld:
        lines.append(f"  withheld from all of them: {', '.join(withheld)}")
    return lines


def _what_became_of_it(explanation: Explanation) -> list[str]:
    lines = []
    for vote in explanation.votes:
        why = f": {vote['reason']}" if vote["reason"] else ""
        lines.append(f"  {vote['at']:%H:%M:%SZ}  {vote['by']} said {vote['vote']}{why}")
    for outcome in explanation.outcomes:
        code = f" ({outcome['code']})" if outcome["code"] else ""
        by = f" by {outcome['by']}" if outcome["by"] else ""
        day = "" if outcome["at"].date() == explanation.decision.at.date() else "%Y-%m-%d "
        lines.append(
            f"  {outcome['at']:{day}%H:%M:%SZ}  step {outcome['step']}: "
            f"{outcome['state']}{code}{by}  {outcome['detail']}".rstrip()
        )
    known = {outcome["step"] for outcome in explanation.outcomes}
    for step in explanation.steps:
        if step["step"] not in known:
            lines.append(f"  step {step['step']}: {step['state']}")
    for step in explanation.steps:
        if step["flag"]:
            lines.append(f"  step {step['step']}: {step['flag']}")
    for child in explanation.children:
        lines.append(f"  asked again ({child['pass']}): {child['verdict']}  {child['decision_id']}")
    return ["", "what became of it", *lines] if lines else []


def _how_it_was_decided(explanation: Explanation) -> str:
    decision = explanation.decision
    again = {
        None: "It cannot be decided again.",
        True: "Deciding again from the record gives the same decision.",
        False: "DECIDING AGAIN FROM THE RECORD GIVES ANOTHER ONE: run `safeconduct ledger verify`.",
    }[explanation.same]
    permit = f", permit {explanation.permit_id}" if explanation.permit_id else ""
    models = "".join(f", model {v} of {name}" for name, v in explanation.models.items())
    return (
        f"Decided by {decision.mind}, policies {decision.policy_version}, workspace "
        f"{decision.workspace_version}{models}{permit}. {again}"
    )


def spoken(value: Any) -> str:
    """A value that a rule read, in words."""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%SZ}"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(spoken(item) for item in value)}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{k}: {spoken(v)}' for k, v in value.items())}}}"
    if value is None or isinstance(value, bool):
        return {None: "absent", True: "true", False: "false"}[value]
    return str(value)


def wrapped(text: str, width: int = 100) -> list[str]:
    """The text in lines."""
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
