"""Who may contact whom about what: grants, denials, objections, and what they add up to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple

ConsentKind = Literal["grant", "imported", "pending", "denial", "objection", "suspicion", "lapse"]
"""What a line is. `imported` is a yes out of a bulk import, `suspicion` what may have been a no,
`lapse` says that a contact point changed hands."""
RESTRICTING: frozenset[ConsentKind] = frozenset(("denial", "objection", "suspicion", "lapse"))
"""The kinds that may only take something away."""
ConsentValue = Literal["granted", "denied", "unset", "pending", "expired", "conflict", "objection"]
PERMISSIONS = frozenset(
    (
        "personalise",
        "profile",
        "share_with_model",
        "train",
        "sale_share",
        "targeted_ads",
        "analytics",
    )
)
"""What may be done with a person's data, apart from contacting them; consented to like purposes."""
ConsentModel = Literal["opt_in", "opt_out", "exempt"]


@dataclass(frozen=True, slots=True)
class Consent:
    """One line of the consent ledger. A `None` dimension means all of it.

    A grant belongs to (`profile_id`, `contact_point`), and lapses when the contact point changes
    hands, which its brand and purpose do not narrow; a denial or a suspicion belongs to the contact
    point, for whoever uses it; an objection to the person, at every contact point of that
    controller. `contact_point` is the point's keyed fingerprint.
    """

    kind: ConsentKind
    profile_id: str
    controller: str
    brand: str | None
    channel: str | None
    purpose: str | None
    topic: str | None
    contact_point: str | None
    occurred_at: datetime
    received_at: datetime
    expires_at: datetime | None = None
    source: str = ""
    ref: str = ""


class ConsentQuestion(NamedTuple):
    """May this purpose be pursued towards this person, on this channel, at this contact point?"""

    profile_ids: tuple[str, ...]
    controller: str
    brand: str
    channel: str
    purpose: str
    topic: str | None
    contact_point: str | None


class ConsentAnswer(NamedTuple):
    """What the ledger says, and the lines (their `ref`) it says it by."""

    value: ConsentValue
    by: tuple[str, ...] = ()


def covers(line: Consent, ask: ConsentQuestion) -> bool:
    """Whether a line bears on a question at all."""
    if line.controller != ask.controller:
        return False
    if line.kind == "lapse":  # whose the point is now is so whatever is asked
        return line.contact_point == ask.contact_point
    # Written out, since every verdict on a contact asks it of every line.
    if line.brand is not None and line.brand != ask.brand:
        return False
    if line.channel is not None and line.channel != ask.channel:
        return False
    if line.purpose is not None and line.purpose != ask.purpose:
        return False
    if line.topic is not None and line.topic != ask.topic:
        return False
    if line.kind == "objection":
        return line.profile_id in ask.profile_ids
    if line.kind in ("denial", "suspicion") and line.contact_point is not None:
        return line.contact_point == ask.contact_point
    if line.profile_id not in ask.profile_ids:
        return False
    return line.contact_point is None or line.contact_point == ask.contact_point


def answer(lines: Iterable[Consent], ask: ConsentQuestion, now: datetime) -> ConsentAnswer:
    """Fold the ledger, in order of receipt, into one answer.

    A denial takes effect when received. A grant replaces a denial only if both its `occurred_at`
    and its `received_at` are later. A denial that occurred before a grant but arrived after it is
    a `conflict`, and so are a denial and a grant of one instant in both. An objection yields only
    to a later explicit grant that names the very topic. Of two grants the one said last counts.
    An imported yes counts only where nobody has said no. A suspicion is a `conflict` until a later
    explicit yes or no, and weakens no denial; that a yes is awaited is neither. A yes that has
    lapsed counts as never given: a no that it had replaced holds again.
    """
    relevant = standing([line for line in lines if covers(line, ask)])
    if len(relevant) > 1:
        relevant = sorted(relevant, key=_by_receipt)
    value: ConsentValue = "unset"
    grant: Consent | None = None
    denials: list[Consent] = []
    objections: list[Consent] = []
    suspicions: list[Consent] = []
    for line in relevant:
        match line.kind:
            case "objection":
                objections.append(line)
            case "suspicion":
                suspicions.append(line)
            case "denial":
                torn = grant is not None and is_torn(grant, line)
                value = "conflict" if torn and value in ("granted", "conflict") else "denied"
                denials.append(line)
            case "imported":
                if not (denials or objections or suspicions):
                    value, grant = "granted", line
            case "grant" | "pending":
                if _overtakes(line, denials):
                    grant = last_said(grant, line)
                    value = "pending" if grant.kind == "pending" else "granted"
                    if line.kind == "grant":
                        suspicions = [one for one in suspicions if not _overtakes(line, (one,))]
                if line.kind == "grant" and line.topic is not None and _overtakes(line, objections):
                    objections.clear()
    if objections:
        return ConsentAnswer("objection", (objections[-1].ref,))
    if value == "denied":
        return ConsentAnswer("denied", (denials[-1].ref,))
    said = (grant.ref,) if grant else ()
    if value == "conflict":
        return ConsentAnswer("conflict", (*said, denials[-1].ref))
    if suspicions:
        return ConsentAnswer("conflict", (*said, suspicions[-1].ref))
    if grant is not None and grant.expires_at is not None and grant.expires_at <= now:
        return ConsentAnswer("expired", said)
    return ConsentAnswer(value, said)


def _by_receipt(line: Consent) -> tuple[datetime, datetime, bool, str]:
    return line.received_at, line.occurred_at, line.kind != "grant", line.ref


def standing(lines: Sequence[Consent]) -> Sequence[Consent]:
    """The lines that still say something: without every yes given, whenever it was received, at a
    contact point that has changed hands since, and without the word of that."""
    lapses = [line for line in lines if line.kind == "lapse"]
    if not lapses:
        return lines
    until: dict[tuple[str, str | None], datetime] = {}
    for one in lapses:
        at = (one.controller, one.contact_point)
        until[at] = max(one.occurred_at, until.get(at, one.occurred_at))
    return [line for line in lines if line.kind != "lapse" and not _has_lapsed(line, until)]


def _has_lapsed(line: Consent, until: Mapping[tuple[str, str | None], datetime]) -> bool:
    if line.kind in RESTRICTING or line.contact_point is None:
        return False
    changed_at = until.get((line.controller, line.contact_point))
    return changed_at is not None and line.occurred_at <= changed_at


def last_said(kept: Consent | None, line: Consent) -> Consent:
    """Of a yes and one that came in after it, the one that was said last, until when it says.

    What a customer said outdoes what a list told.
    """
    if kept is None or kept.kind == "imported" or line.occurred_at >= kept.occurred_at:
        return line
    return kept


def is_torn(yes: Consent, no: Consent) -> bool:
    """Whether a no that comes after a yes in the ledger does not undo it, but contradicts it.

    It was said before, or neither of two explicit answers was first: said and received at once.
    """
    said_at, received_at = yes.occurred_at, yes.received_at
    at_once = (no.occurred_at, no.received_at) == (said_at, received_at)
    return no.occurred_at < said_at or (at_once and yes.kind == "grant")


def _overtakes(grant: Consent, said_no: Iterable[Consent]) -> bool:
    """Whether a yes was both said and received after every no."""
    return all(
        grant.occurred_at > no.occurred_at and grant.received_at > no.received_at for no in said_no
    )


def repeats(new: Consent, kept: Iterable[Consent]) -> bool:
    """Whether a line only says again what was said.

    A no repeats a no of the same key unless a yes to any part of it came in since, or was said
    since. Any other line repeats the last one of its key by the same source: a page that keeps
    telling an old yes does not undo a no that came in some other way.
    """
    last: Consent | None = None
    touched = False
    for line in sorted(kept, key=lambda line: (line.received_at, line.ref)):
        if line.controller != new.controller:
            continue
        if line.kind == new.kind and _key(line) == _key(new):
            if new.kind in RESTRICTING or line.source == new.source:
                last, touched = line, False
        elif new.kind in RESTRICTING:
            yes = line.kind not in RESTRICTING and _overlaps(line, new)
            touched = touched or yes
        elif line.source == new.source and _key(line) == _key(new):
            touched = True
    return last is not None and not touched


def _key(line: Consent) -> tuple[str | None, ...]:
    person = None if line.contact_point else line.profile_id
    return (line.brand, line.channel, line.purpose, line.topic, line.contact_point, person)


def _overlaps(one: Consent, other: Consent) -> bool:
    """Whether some question could be answered by both."""
    parts = zip(_key(one)[:5], _key(other)[:5], strict=True)
    return all(a is None or b is None or a == b for a, b in parts)
