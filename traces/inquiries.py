"""Puts into words why an action is or is not possible for somebody now, and when it would be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from domain.verdict import Audience, Finding, HeldFor, disclosed
from traces.explain import finding_json, listed, printed, rules_table, spoken, stamp, wrapped

Answer = Literal["permitted", "held", "denied", "none"]


@dataclass(frozen=True, slots=True)
class Inquiry:
    """What the guard says of one action for one person at one instant, without acting.

    `against` are the findings that did not pass, the one that explains the verdict best first;
    `findings` are those of every rule. `verdict` is `none` where the action would not come up:
    `why_none` says why, and the guard was asked all the same.
    """

    profile_id: str
    at: datetime
    action: str
    title: str
    journey: str
    tool: str
    channel: str | None
    verdict: Answer
    held_for: HeldFor | None
    next_eligible_at: datetime | None
    findings: tuple[Finding, ...]
    against: tuple[Finding, ...]
    withheld: tuple[str, ...]
    policy_version: str
    workspace_version: str
    why_none: str | None = None

    @property
    def lead(self) -> Finding | None:
        """The finding that explains the verdict best."""
        return self.against[0] if self.against else None


def inquiry_json(inquiry: Inquiry, audience: Audience) -> dict[str, Any]:
    """The answer as plain data; findings outside `shown_to` read `unavailable`."""
    lead = None if inquiry.lead is None else disclosed(inquiry.lead, audience)
    is_customer = audience == "customer"
    shown = () if is_customer else listed(inquiry.findings, audience)
    return {
        "profile_id": inquiry.profile_id,
        "at": stamp(inquiry.at),
        "action": inquiry.action,
        "journey": inquiry.journey,
        "tool": inquiry.tool,
        "channel": inquiry.channel,
        "verdict": inquiry.verdict,
        "held_for": inquiry.held_for,
        "code": lead.code if lead else None,
        "reason": inquiry.why_none or (lead.reason if lead else None),
        "rule": lead.rule if lead and not is_customer else None,
        "counterfactual": lead.counterfactual if lead and not is_customer else None,
        "next_eligible_at": stamp(inquiry.next_eligible_at),
        "rules": [finding_json(finding, audience) for finding in shown],
        "withheld": [] if is_customer else list(inquiry.withheld),
        "versions": {"workspace": inquiry.workspace_version, "policies": inquiry.policy_version},
    }


def inquiry_text(inquiry: Inquiry, audience: Audience) -> str:
    """The answer as a paragraph, then every rule that was asked."""
    lines = wrapped(" ".join(_sentences(inquiry, audience)))
    if audience == "customer":
        return printed(lines)
    lines += rules_table(inquiry.action, inquiry.findings, inquiry.withheld, audience)
    asked = (
        f"Asked of policies {inquiry.policy_version}, workspace {inquiry.workspace_version}. "
        "Nothing was done, and nothing is promised."
    )
    return printed([*lines, "", *wrapped(asked)])


def _sentences(inquiry: Inquiry, audience: Audience) -> Iterator[str]:
    when = f"On {inquiry.at:%Y-%m-%d at %H:%M:%SZ},"
    by = f" by {inquiry.channel}" if inquiry.channel else ""
    what = (
        f"“{inquiry.title}”"
        if audience == "customer"
        else f"`{inquiry.action}` ({inquiry.tool}{by}, journey `{inquiry.journey}`) for customer "
        f"{inquiry.profile_id}"
    )
    match inquiry.verdict:
        case "permitted":
            yield f"{when} {what} would be permitted: no rule is against it."
        case "held":
            kept = {"time": "a better time", "approval": "an approval", "human": "a person"}
            yield f"{when} {what} would be held for {kept[inquiry.held_for or 'human']}:"
        case "denied":
            yield f"{when} {what} would be refused:"
        case "none":
            yield f"{when} {what} would not come up: {inquiry.why_none}."
    yield from _reasons(inquiry, audience)
    if inquiry.next_eligible_at is not None:
        yield f"It could pass from {inquiry.next_eligible_at:%Y-%m-%d %H:%M:%SZ} on."
    elif inquiry.against:
        yield from _what_would_change_it(inquiry, audience)


def _reasons(inquiry: Inquiry, audience: Audience) -> Iterator[str]:
    shown = list(dict.fromkeys(_reason(finding, audience) for finding in inquiry.against))
    if not shown:
        return
    said = "; ".join(shown)
    yield f"The guard would refuse it as well: {said}." if inquiry.verdict == "none" else f"{said}."


def _reason(finding: Finding, audience: Audience) -> str:
    reason = disclosed(finding, audience).reason
    if audience == "customer" or audience not in finding.shown_to:
        return reason
    read = ", ".join(f"{key} = {spoken(value)}" for key, value in finding.read.items())
    return f"{reason} (rule `{finding.rule}`, {finding.place}" + (f", {read})" if read else ")")


def _what_would_change_it(inquiry: Inquiry, audience: Audience) -> Iterator[str]:
    if audience == "customer":
        return
    shown = [finding for finding in inquiry.against if audience in finding.shown_to]
    needs = list(dict.fromkeys(f.counterfactual for f in shown if f.counterfactual))
    if len(shown) < len(inquiry.against) or not shown:
        return
    yield f"What would change that: {'; '.join(needs) or 'nothing that anybody can do'}."
