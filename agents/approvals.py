"""Lets a person say yes or no to a risky proposal; the row in the store is the truth.

A vote is one commit: the row is swapped from `pending` only while it has not expired by the
store's clock, the vote joins the person's chain, and the proposal's timer falls due, so that the
next pass finds the answer as a dated fact and asks the whole guard again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import bindparam, select, update

from agents.steps import ROUNDS_MAX, Deps
from agents.timers import timer_id
from domain.approval import Approval, ApprovalState
from domain.errors import StoreError, UsageError
from store import keys
from store import tables as t
from store.database import Database
from store.instants import instant, micros
from store.statements import Statement
from store.work import Work

Says = Literal["approve", "reject"]

_COLUMNS = tuple(t.approvals.c[name] for name in Approval.__dataclass_fields__)
_BY_ID = Statement(select(*_COLUMNS).where(t.approvals.c.approval_id == bindparam("approval")))
_PENDING = Statement(
    select(*_COLUMNS)
    .where(t.approvals.c.state == "pending", t.approvals.c.expires_at > bindparam("now"))
    .order_by(t.approvals.c.expires_at, t.approvals.c.approval_id)
)
_ALL = Statement(select(*_COLUMNS).order_by(t.approvals.c.approval_id))
_VOTES = Statement(
    select(t.approval_votes.c.by, t.approval_votes.c.vote).where(
        t.approval_votes.c.approval_id == bindparam("approval")
    )
)
_ROOT = Statement(
    select(t.profiles.c.root_id).where(t.profiles.c.profile_id == bindparam("person"))
)
_REVISIONS = Statement(
    select(t.revisions.c.key, t.revisions.c.revision).where(
        t.revisions.c.key.in_(bindparam("keys", expanding=True))
    )
)
_DECIDE = Statement(
    update(t.approvals)
    .where(
        t.approvals.c.approval_id == bindparam("approval"),
        t.approvals.c.state == "pending",
        t.approvals.c.expires_at > bindparam("now"),
    )
    .values(
        state=bindparam("to_state"), decided_at=bindparam("to_at"), decided_by=bindparam("to_by")
    )
)
_WAKE = Statement(
    update(t.timers)
    .where(t.timers.c.timer_id == bindparam("timer"), t.timers.c.state == "pending")
    .values(due_at=bindparam("due"))
)


def find(database: Database, approval_id: str) -> Approval:
    """One request. Raises `UsageError` where there is none of that name."""
    rows = database.rows(_BY_ID, approval=approval_id)
    if not rows:
        raise UsageError(
            f"there is no approval `{approval_id}`",
            remedy="list them with `safeconduct approvals list`",
        )
    return _approval(rows[0])


def pending(database: Database, now: datetime) -> list[Approval]:
    """What waits for a person at `now`, the first to expire first."""
    return [_approval(row) for row in database.rows(_PENDING, now=micros(now))]


def everything(database: Database) -> list[Approval]:
    """Every request there ever was, oldest first."""
    return [_approval(row) for row in database.rows(_ALL)]


def vote(
    deps: Deps,
    approval_id: str,
    says: Says,
    *,
    by: str,
    at: datetime,
    reason: str = "",
    surface: str = "command line",
) -> Approval:
    """Count one person's vote and return the request as it then stands.

    The effect, if any, is the business of the next pass: `at` is when it falls due. A request
    that is past its end is returned as `expired`, and nothing is written.

    Raises:
        UsageError: the request was decided before, or this person may not vote on it.
    """
    for _ in range(ROUNDS_MAX):
        approval = find(deps.database, approval_id)
        if approval.state != "pending":
            raise _decided(approval)
        if at >= approval.expires_at:
            return _with(approval, "expired", None, None)
        _check_role(deps, approval, by)
        state = _state_after(deps, approval, says, by)
        if deps.commit([_work(deps, approval, says, state, by, at, reason, surface)])[0]:
            settled = state != "pending"
            return _with(approval, state, at if settled else None, by if settled else None)
    raise StoreError(
        "others changed the same customer again and again", place=approval_id, remedy="try again"
    )


def _check_role(deps: Deps, approval: Approval, by: str) -> None:
    person = deps.workspace.people.get(by)
    if person is not None and approval.role in person.roles:
        return
    may = [name for name, entry in deps.workspace.people.items() if approval.role in entry.roles]
    raise UsageError(
        f"`{by}` does not have the role `{approval.role}` that this approval needs",
        place=approval.approval_id,
        remedy=f"somebody who has it can decide: {', '.join(may)} (`--by {may[0]}`)"
        if may
        else f"give somebody the role `{approval.role}` in `people.yaml`",
    )


def _state_after(deps: Deps, approval: Approval, says: Says, by: str) -> ApprovalState:
    """Where this vote leaves the request: one no ends it, enough different people's yes does."""
    votes = deps.database.rows(_VOTES, approval=approval.approval_id)
    if any(voter == by for voter, _ in votes):
        raise UsageError(
            f"`{by}` has voted on this already",
            place=approval.approval_id,
            remedy="another person has to",
        )
    if says == "reject":
        return "rejected"
    people = deps.workspace.people
    counted = {
        voter for voter, _ in votes if voter in people and approval.role in people[voter].roles
    }
    return "approved" if len(counted | {by}) >= approval.quorum else "pending"


def _work(
    deps: Deps,
    approval: Approval,
    says: Says,
    state: ApprovalState,
    by: str,
    at: datetime,
    reason: str,
    surface: str,
) -> Work:
    settled = state != "pending"
    work = Work(shown_as=approval.approval_id)
    keys = _keys(deps.database, approval.profile_id)
    kept = dict(deps.database.rows(_REVISIONS, keys=keys))
    work.asserts.update({key: kept.get(key, 0) for key in keys})
    work.move(*keys)
    work.change(
        _DECIDE,
        expect=1,
        approval=approval.approval_id,
        now=micros(at),
        to_state=state,
        to_at=micros(at) if settled else None,
        to_by=by if settled else None,
    )
    if settled:
        work.change(_WAKE, timer=timer_id(approval.decision_id), due=micros(at))
    work.append(
        t.approval_votes,
        approval.profile_id,
        vote_id=f"v-{approval.approval_id}-{by}",
        approval_id=approval.approval_id,
        vote=says,
        by=by,
        at=micros(at),
        surface=surface,
        reason=reason,
    )
    return work


def _keys(database: Database, profile_id: str) -> Sequence[str]:
    roots = [root for (root,) in database.rows(_ROOT, person=profile_id)]
    return sorted({keys.person(profile_id), *(keys.person(root) for root in roots)})


def _decided(approval: Approval) -> UsageError:
    at = f" at {approval.decided_at:%Y-%m-%d %H:%M:%SZ}" if approval.decided_at else ""
    by = f" by {approval.decided_by}" if approval.decided_by else ""
    return UsageError(
        f"this approval was {approval.state}{by}{at}",
        place=approval.approval_id,
        remedy=f"see `safeconduct explain {approval.decision_id}`",
    )


def _with(
    approval: Approval, state: ApprovalState, at: datetime | None, by: str | None
) -> Approval:
    return replace(approval, state=state, decided_at=at, decided_by=by)


def _approval(row: tuple[Any, ...]) -> Approval:
    said = dict(zip(Approval.__dataclass_fields__, row, strict=True))
    for name in ("requested_at", "expires_at", "decided_at"):
        said[name] = instant(said[name])
    return Approval(**said)
