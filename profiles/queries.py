"""The queries that a batch of contexts is read by: one each, whatever the batch's size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    Select,
    String,
    Table,
    and_,
    bindparam,
    cast,
    func,
    literal_column,
    null,
    or_,
    select,
    union_all,
    update,
)

from domain.caps import CapScope, Dimension, Per
from domain.consent import Consent
from domain.context import BEGINS_ANEW
from store import tables as t
from store.instants import instant
from store.statements import Statement


def _among(name: str) -> BindParameter[Any]:
    return bindparam(name, expanding=True)


SEEN = Statement(
    select(t.events.c.event_key, t.events.c.content, t.events.c.decision_id).where(
        t.events.c.event_key.in_(_among("keys"))
    )
)
ANCHORED = Statement(
    select(
        t.identifiers.c.ref,
        t.identifiers.c.slot,
        t.identifiers.c.profile_id,
        t.profiles.c.root_id,
    )
    .join(t.profiles, t.profiles.c.profile_id == t.identifiers.c.profile_id)
    .where(t.identifiers.c.ref.in_(_among("refs")), t.identifiers.c.slot > 0)
)
HOLDING = Statement(
    select(
        t.identifiers.c.ref,
        t.identifiers.c.slot,
        t.identifiers.c.profile_id,
        t.profiles.c.root_id,
    )
    .join(t.profiles, t.profiles.c.profile_id == t.identifiers.c.profile_id)
    .where(t.identifiers.c.ref.in_(_among("refs")))
)
RULINGS = Statement(
    select(
        t.rulings.c.one,
        t.rulings.c.other,
        t.rulings.c.ruling,
        t.rulings.c.at,
        t.rulings.c.by,
        t.rulings.c.reason,
    )
    .where(or_(t.rulings.c.one.in_(_among("people")), t.rulings.c.other.in_(_among("people"))))
    .order_by(t.rulings.c.at, t.rulings.c.ruling_id)
)
LOGOUTS = Statement(
    select(t.logouts.c.ref, t.logouts.c.at).where(t.logouts.c.ref.in_(_among("refs")))
)
ROOTS = Statement(
    select(t.profiles.c.profile_id, t.profiles.c.root_id).where(
        t.profiles.c.profile_id.in_(_among("people"))
    )
)
FRAGMENTS = Statement(
    select(
        t.profiles.c.profile_id,
        t.profiles.c.root_id,
        t.profiles.c.created_at,
        t.profiles.c.updated_at,
        t.profiles.c.sealed,
        t.data_keys.c.wrapped,
        t.profiles.c.followed,
    )
    .join(
        t.data_keys,
        and_(
            t.data_keys.c.profile_id == t.profiles.c.profile_id,
            t.data_keys.c.retention == "erasable",
        ),
        isouter=True,
    )
    .where(t.profiles.c.root_id.in_(_among("roots")))
    .order_by(t.profiles.c.profile_id)
)
EVERYBODY = Statement(
    select(
        t.profiles.c.root_id, t.profiles.c.profile_id, t.profiles.c.sealed, t.data_keys.c.wrapped
    )
    .join(
        t.data_keys,
        and_(
            t.data_keys.c.profile_id == t.profiles.c.profile_id,
            t.data_keys.c.retention == "erasable",
        ),
        isouter=True,
    )
    .order_by(t.profiles.c.root_id)
)
EVIDENCE_KEYS = Statement(
    select(t.data_keys.c.profile_id, t.data_keys.c.wrapped).where(
        t.data_keys.c.profile_id.in_(_among("people")), t.data_keys.c.retention == "evidence"
    )
)
HOLDERS = Statement(
    select(
        t.identifiers.c.ref,
        t.identifiers.c.profile_id,
        t.identifiers.c.unreachable_until_at,
    ).where(t.identifiers.c.ref.in_(_among("refs")))
)
_LINE = (
    t.consents.c.kind,
    t.consents.c.profile_id,
    t.consents.c.controller,
    t.consents.c.brand,
    t.consents.c.channel,
    t.consents.c.purpose,
    t.consents.c.topic,
    t.consents.c.contact_point,
    t.consents.c.occurred_at,
    t.consents.c.received_at,
    t.consents.c.expires_at,
    t.consents.c.source,
    t.consents.c.consent_id,
)
_BY_RECEIPT = (t.consents.c.received_at, t.consents.c.consent_id)
CONSENTS = Statement(
    select(*_LINE)
    .where(
        or_(
            t.consents.c.profile_id.in_(_among("people")),
            and_(
                t.consents.c.contact_point.in_(_among("refs")),
                t.consents.c.kind.in_(("denial", "suspicion", "lapse")),
            ),
        )
    )
    .order_by(*_BY_RECEIPT)
)
ON_RECOGNITION = Statement(
    select(*_LINE)
    .where(
        t.consents.c.profile_id.in_(_among("people")),
        or_(
            t.consents.c.purpose == "personalise",
            and_(t.consents.c.purpose.is_(None), t.consents.c.kind == "objection"),
        ),
    )
    .order_by(*_BY_RECEIPT)
)
"""What was said about being recognised: by name, or in an objection to everything."""


def consent_entry(columns: Mapping[str, Any]) -> Consent:
    """An entry that is to be appended to `consents`, as the line it will be."""
    return consent_line(tuple(columns.get(column.name) for column in _LINE))


def consent_line(row: tuple[Any, ...]) -> Consent:
    """A row of `CONSENTS` as the line it is."""
    return Consent(*row[:8], *(instant(at) for at in row[8:11]), *row[11:])


SUPPRESSIONS = Statement(
    select(
        t.suppressions.c.ref,
        t.suppressions.c.suppression_id,
        t.suppressions.c.target,
        t.suppressions.c.brand,
        t.suppressions.c.channels,
        t.suppressions.c.blocks,
        t.suppressions.c.reason,
        t.suppressions.c.expires_at,
        t.suppressions.c.shown_to,
        t.suppressions.c.until_grant,
        t.suppressions.c.created_at,
        t.suppressions.c.holds_rest,
        t.suppressions.c.lifts,
    )
    .where(t.suppressions.c.ref.in_(_among("refs")))
    .order_by(t.suppressions.c.suppression_id)
)
SUPPRESSED = Statement(
    select(
        t.suppressions.c.suppression_id,
        t.suppressions.c.target,
        t.suppressions.c.ref,
        t.suppressions.c.brand,
        t.suppressions.c.channels,
        t.suppressions.c.blocks,
        t.suppressions.c.reason,
        t.suppressions.c.shown_to,
        t.suppressions.c.until_grant,
        t.suppressions.c.lifts,
    )
    .where(t.suppressions.c.profile_id.in_(_among("people")))
    .order_by(t.suppressions.c.suppression_id)
)
"""The suppressions in these people's chains, and what lifts them."""
OPEN_CASES = Statement(
    select(t.cases.c.reason).where(
        t.cases.c.profile_id.in_(_among("people")), t.cases.c.state == "open"
    )
)
_CONTACT = (
    t.contacts.c.at,
    t.contacts.c.profile_id,
    t.contacts.c.contact_point,
    t.contacts.c.brand,
    t.contacts.c.channel,
    t.contacts.c.purpose,
    t.contacts.c.topic,
    t.contacts.c.journey,
    t.contacts.c.team,
    t.contacts.c.action,
    t.contacts.c.contact_id,
    t.contacts.c.decision_id,
    t.contacts.c.action_groups,
    t.contacts.c.household,
    t.contacts.c.continues,
    t.contacts.c.state,
)
_COUNTED = and_(t.contacts.c.counted == 1, t.contacts.c.state.not_in(("released", "failed")))
CONTACTS_OF_PEOPLE = Statement(
    select(*_CONTACT)
    .where(t.contacts.c.profile_id == bindparam("person"))
    .where(t.contacts.c.at > bindparam("since"), _COUNTED)
    .order_by(t.contacts.c.at.desc(), t.contacts.c.contact_id)
    .limit(bindparam("most"))
)
CONTACTS_AT_POINTS = Statement(
    select(*_CONTACT)
    .where(t.contacts.c.contact_point == bindparam("point"))
    .where(t.contacts.c.at > bindparam("since"), _COUNTED)
    .order_by(t.contacts.c.at.desc(), t.contacts.c.contact_id)
    .limit(bindparam("most"))
)
OPENERS = Statement(
    select(t.contacts.c.contact_id)
    .where(
        t.contacts.c.contact_point == bindparam("point"),
        t.contacts.c.at > bindparam("since"),
        t.contacts.c.at <= bindparam("until"),
        t.contacts.c.channel == bindparam("channel"),
        t.contacts.c.continues.is_(None),
        _COUNTED,
    )
    .limit(1)
)
"""What opened a conversation at a contact point, if it is open still."""
_TARGETS: Mapping[Per, ColumnElement[bool]] = {
    "person": t.contacts.c.profile_id.in_(_among("people")),
    "contact_point": t.contacts.c.contact_point == bindparam("point"),
    "household": or_(
        t.contacts.c.household == bindparam("household"),
        and_(t.contacts.c.household.is_(None), t.contacts.c.profile_id.in_(_among("people"))),
    ),
}


@lru_cache(maxsize=512)
def counting(scope: CapScope) -> tuple[Statement, Statement]:
    """How many contacts a cap counts after an instant, and when the newest but `skip` was made."""
    counted = and_(
        _TARGETS[scope.per],
        t.contacts.c.at > bindparam("since"),
        t.contacts.c.counted == 1,
        t.contacts.c.state.not_in(sorted({"released", *scope.uncounted})),
        *(_one_of(dimension, sorted(names)) for dimension, names in scope.among),
        or_(t.contacts.c.decision_id.is_(None), t.contacts.c.decision_id != bindparam("apart")),
    )
    if scope.same_brand:
        counted = and_(counted, t.contacts.c.brand == bindparam("brand"))
    if scope.counts == "conversation":
        counted = and_(counted, t.contacts.c.continues.is_(None))
    nth = select(t.contacts.c.at).order_by(t.contacts.c.at.desc()).limit(1)
    return (
        Statement(select(func.count()).select_from(t.contacts).where(counted)),
        Statement(nth.offset(bindparam("skip")).where(counted)),
    )


def barred(groups: Sequence[str]) -> str | None:
    """An action's groups as they are kept."""
    return f"|{'|'.join(groups)}|" if groups else None


def _one_of(dimension: Dimension, names: Sequence[str]) -> ColumnElement[bool]:
    if dimension != "group":
        return t.contacts.c[dimension].in_(names)
    groups = t.contacts.c.action_groups
    # What changes when a group is taken out has it; `LIKE` minds case on one dialect only.
    return or_(*(func.replace(groups, f"|{name}|", "") != groups for name in names))


EXEMPT_SENDS = Statement(
    select(
        t.contacts.c.profile_id,
        t.contacts.c.purpose,
        t.contacts.c.decision_id,
        t.contacts.c.at,
    )
    .where(
        t.contacts.c.profile_id.in_(_among("people")),
        t.contacts.c.at > bindparam("since"),
        t.contacts.c.purpose.in_(_among("purposes")),
        t.contacts.c.state != "released",
    )
    .order_by(t.contacts.c.at.desc())
    .limit(bindparam("most"))
)
"""Contacts under exempt purposes, also those that count toward no cap."""
_DAY = 86_400_000_000
CONTACT_DAYS = Statement(
    select(
        t.contacts.c.channel,
        (t.contacts.c.at // _DAY).label("day"),
        func.count(),
        func.max(t.contacts.c.at),
    )
    .where(
        t.contacts.c.profile_id.in_(_among("people")),
        t.contacts.c.at > bindparam("since"),
        t.contacts.c.brand.in_(_among("brands")),
        _COUNTED,
    )
    .group_by(t.contacts.c.channel, "day")
)
"""How many contacts by channel and day, and each day's last: at most 90 rows a channel."""
TOLD = Statement(
    select(
        t.contacts.c.profile_id,
        t.contacts.c.brand,
        t.contacts.c.action,
        t.contacts.c.journey,
        t.contacts.c.team,
        t.contacts.c.creative,
        func.max(t.contacts.c.at),
    )
    .where(
        t.contacts.c.profile_id.in_(_among("people")),
        t.contacts.c.at > bindparam("since"),
        t.contacts.c.state != "released",
        t.contacts.c.channel.in_(_among("addressed")),
        or_(
            bindparam("any_parent") == 1,
            t.contacts.c.decision_id.is_(None),
            t.contacts.c.decision_id.not_in(_among("parents")),
        ),
    )
    .group_by(
        t.contacts.c.profile_id,
        t.contacts.c.brand,
        t.contacts.c.action,
        t.contacts.c.journey,
        t.contacts.c.team,
        t.contacts.c.creative,
    )
)
"""The last contact of each action, journey and wording: as many rows as those, however many
contacts there were."""
SCHEDULED = Statement(
    select(
        t.timers.c.profile_id,
        t.timers.c.decision_id,
        t.timers.c.due_at,
        t.timers.c.expires_at,
        t.timers.c.sealed,
    )
    .where(t.timers.c.profile_id.in_(_among("people")))
    .where(t.timers.c.state == "pending", t.timers.c.kind == "release")
    .order_by(t.timers.c.due_at, t.timers.c.timer_id)
)
RESERVED_MONEY = Statement(
    select(t.spendings.c.decision_id, t.spendings.c.counter, t.spendings.c.amount).where(
        t.spendings.c.decision_id.in_(_among("parents")), t.spendings.c.state == "reserved"
    )
)
INSTANCES = Statement(
    select(
        t.instances.c.profile_id,
        t.instances.c.journey,
        t.instances.c.key,
        t.instances.c.state,
        t.instances.c.entered_at,
        t.instances.c.ends_at,
        t.instances.c.journey_version,
    )
    .where(
        t.instances.c.profile_id.in_(_among("people")),
        # What is over matters only to an event that names it again.
        or_(t.instances.c.state == "active", t.instances.c.key.in_(_among("named"))),
    )
    .order_by(t.instances.c.journey, t.instances.c.key)
)


def _standing(kind: str, table: Table, *texts: Any, **ats: Any) -> Select[Any]:
    """What one table holds about people, in the columns that all of them share."""
    columns = [*texts, *[cast(null(), String)] * (4 - len(texts))]
    at = [ats.get(name, cast(null(), BigInteger)) for name in ("one", "other")]
    return select(literal_column(f"'{kind}'"), table.c.profile_id, *columns, *at).where(
        table.c.profile_id.in_(_among("people"))
    )


_A = t.approvals.c
STANDING = Statement(
    union_all(
        _standing("arm", t.assignments, t.assignments.c.journey, t.assignments.c.arm),
        _standing(
            "approval",
            t.approvals,
            _A.approval_id,
            _A.proposal_hash,
            _A.state,
            _A.decided_by,
            one=_A.decided_at,
            other=_A.expires_at,
        ).where(or_(_A.state == "pending", _A.expires_at > bindparam("since"))),
        _standing(
            "case", t.cases, t.cases.c.reason, t.cases.c.kind, one=t.cases.c.accepted_at
        ).where(t.cases.c.state == "open"),
        _standing(
            "grant",
            t.grants,
            t.grants.c.offer,
            t.grants.c.brand,
            t.grants.c.state,
            t.grants.c.decision_id,
            one=t.grants.c.expires_at,
        ).where(t.grants.c.state.not_in(("released", "revoked"))),
        _standing("request", t.requests, t.requests.c.kind, one=t.requests.c.n).where(
            t.requests.c.kind.in_(("restrict", "unrestrict"))
        ),
    )
)
"""Arms, approvals, open cases, grants and restrictions: one query takes half the time of five."""
REVISIONS = Statement(
    select(t.revisions.c.key, t.revisions.c.revision).where(t.revisions.c.key.in_(_among("keys")))
)
SHARED = Statement(
    union_all(
        select(literal_column("'revision'"), t.revisions.c.key, t.revisions.c.revision).where(
            t.revisions.c.key.in_(_among("keys"))
        ),
        select(literal_column("'counter'"), t.counters.c.key, t.counters.c.amount).where(
            t.counters.c.key.in_(_among("counters"))
        ),
        select(literal_column("'switch'"), t.kill_switches.c.scope, literal_column("0")).where(
            t.kill_switches.c.off_at.is_(None)
        ),
    )
)
"""What decisions about different people have in common: revisions, counters, kill switches."""

WRITE_FRAGMENT = Statement(
    update(t.profiles)
    .where(t.profiles.c.profile_id == bindparam("person"))
    .values(
        sealed=bindparam("to_sealed"),
        created_at=bindparam("from_at"),
        updated_at=bindparam("to_at"),
    )
)
FOLLOW = Statement(
    update(t.profiles)
    .where(t.profiles.c.profile_id == bindparam("person"))
    .values(root_id=bindparam("into"), followed=bindparam("to_followed"))
)
BLOCKS_OF_PEOPLE = Statement(
    select(t.suppressions)
    .where(t.suppressions.c.target == "person", t.suppressions.c.ref.in_(_among("people")))
    .order_by(t.suppressions.c.suppression_id)
)
CONTACTS_MADE = Statement(
    select(t.contacts).where(
        t.contacts.c.profile_id.in_(_among("people")),
        t.contacts.c.contact_point.in_(_among("refs")),
        t.contacts.c.at > bindparam("since"),
    )
)
HAND_OVER_CONTACT = Statement(
    update(t.contacts)
    .where(t.contacts.c.contact_id == bindparam("contact"))
    .values(profile_id=bindparam("into"), household=bindparam("of_household"))
)
JOIN_HOUSEHOLD = Statement(
    update(t.contacts)
    .where(
        t.contacts.c.profile_id.in_(_among("people")),
        t.contacts.c.household.is_(None),
        t.contacts.c.at > bindparam("since"),
    )
    .values(household=bindparam("into"))
)
"""What was sent to people before their household was known was sent to it."""
NOT_DELIVERED = Statement(
    update(t.contacts)
    .where(
        t.contacts.c.contact_point == bindparam("point"),
        t.contacts.c.decision_id == bindparam("decision"),
        t.contacts.c.state.in_(("committed", "unknown")),
    )
    .values(state="undelivered")
)
GIVE_UP = Statement(
    update(t.identifiers)
    .where(t.identifiers.c.ref == bindparam("point"))
    .values(unreachable_until_at=bindparam("until"))
)
BRING_FORWARD = Statement(
    update(t.timers)
    .where(t.timers.c.profile_id.in_(_among("people")), t.timers.c.state == "pending")
    # What may yet begin is no contact that waits.
    .where(t.timers.c.kind.not_in(BEGINS_ANEW))
    .where(or_(bindparam("any_channel") == 1, t.timers.c.channel.in_(_among("channels"))))
    .where(or_(bindparam("any_purpose") == 1, t.timers.c.purpose.in_(_among("purposes"))))
    .values(due_at=bindparam("due"))
)
ASK_HELD_AGAIN = Statement(
    update(t.timers)
    .where(
        t.timers.c.profile_id.in_(_among("people")),
        t.timers.c.state == "pending",
        t.timers.c.kind == "release",
        t.timers.c.due_at > bindparam("due"),
    )
    .values(due_at=bindparam("due"))
)
END_INSTANCE = Statement(
    update(t.instances)
    .where(
        t.instances.c.profile_id == bindparam("person"),
        t.instances.c.journey == bindparam("name"),
        t.instances.c.key == bindparam("ref"),
        t.instances.c.state == "active",
    )
    .values(state=bindparam("to_state"))
)
CLOSE_CASES = Statement(
    update(t.cases)
    .where(t.cases.c.profile_id.in_(_among("people")), t.cases.c.state == "open")
    .where(or_(bindparam("any_reason") == 1, t.cases.c.reason == bindparam("for_reason")))
    .values(state="closed", updated_at=bindparam("at"))
)
ACCEPT_HANDOFFS = Statement(
    update(t.cases)
    .where(t.cases.c.profile_id.in_(_among("people")), t.cases.c.state == "open")
    .where(t.cases.c.kind == "handoff")
    .values(accepted_at=bindparam("at"), updated_at=bindparam("at"))
)
