"""Carries out what a decision intended, step by step, and writes what became of it.

A step's outcome may ride with the next commit: until then the outbox says `sending`, and a
process that dies leaves it to be reconciled. What must be seen at once (a failure, a promise that
waits for its grant) is committed at once.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from time import monotonic
from typing import Any

from sqlalchemy import bindparam, update

from agents.record import Recorded, SettledState, settle_contact
from agents.timers import ask_again
from domain.errors import StoreError
from domain.verdict import Code
from policies.guard import PERMIT_TTL
from store import keys
from store import tables as t
from store.instants import micros
from store.statements import Statement
from store.vault import Vault
from store.work import Work
from tools import budgets, offers
from tools.toolbox import Intent, Outcome, Toolbox
from traces.spans import Trail

LOG = logging.getLogger("safeconduct.agents")

SETTLE = Statement(
    update(t.outbox)
    .where(t.outbox.c.outbox_id == bindparam("step_id"), t.outbox.c.state == bindparam("was"))
    .values(state=bindparam("to_state"), updated_at=bindparam("at"), detail=bindparam("words"))
)
_CONTACT_STATES: Mapping[str, SettledState] = {
    "sent": "committed",
    "failed": "failed",
    "cancelled": "released",
    "unknown": "unknown",
}
Commit = Callable[[Sequence[Work]], list[bool]]
States = Callable[[str], Sequence[Mapping[str, Any]]]
"""How a decision's steps stand in the outbox."""


class Dispatcher:
    """Runs the steps of permitted decisions through the toolbox."""

    def __init__(self, toolbox: Toolbox, commit: Commit, vault: Vault, states: States) -> None:
        self._toolbox = toolbox
        self._commit = commit
        self._vault = vault
        self._states = states

    async def carry_out(
        self, made: Recorded, pending: deque[Work], trail: Trail, since: float
    ) -> None:
        """Take every step in its declared order; a step that fails ends the rest.

        Args:
            since: when the steps were committed, on the monotonic clock. A step that was not begun
                while its permit lived is never begun: others may take its sender for dead by then.
        """
        for position, intent in enumerate(made.intents):
            rest = made.intents[position + 1 :]
            if monotonic() - since > PERMIT_TTL.total_seconds():
                self._withdraw(made, intent, rest, "its permit ran out before it was begun")
                return
            work = Work(shown_as=f"outbox {intent.outbox_id}")
            with trail.call(intent.tool, intent.outbox_id) as call:
                outcome = await self._toolbox.execute(intent, work)
                call.came_to(outcome.state, outcome.code)
                if outcome.state != "sent":
                    tell(intent, outcome)
            if outcome.state != "sent":
                self._give_up(work, made, intent, outcome, rest)
                return
            settle(work, intent, outcome)
            if not rest:
                settle_contact(work, made.decision.decision_id, "committed")
                if intent.tool == "offer":  # it can be used from now on
                    must([work], self._commit([work]))
                else:
                    pending.append(work)
            elif self._go_on(work, made, rest[0]):
                since = monotonic()
            else:
                self._withdraw(made, intent, rest, "the customer's state changed in between")
                return

    def _go_on(self, work: Work, made: Recorded, following: Intent) -> bool:
        """The third gate for a later step: nothing that the verdict read has moved since."""
        work.asserts.update(made.revisions)
        work.change(
            SETTLE,
            expect=1,
            step_id=following.outbox_id,
            was="intended",
            to_state="sending",
            at=micros(following.at),
            words="",
        )
        return self._commit([work])[0]

    def _give_up(
        self,
        work: Work,
        made: Recorded,
        intent: Intent,
        outcome: Outcome,
        rest: Sequence[Intent],
    ) -> None:
        settle(work, intent, outcome)
        self._cancel(work, rest, "permit_expired", "an earlier step was not done")
        undo(work, made, outcome)
        must([work], self._commit([work]))

    def _withdraw(self, made: Recorded, done: Intent, rest: Sequence[Intent], why: str) -> None:
        """Take nothing, tell nothing, and ask again."""
        work = Work(shown_as=f"outbox {done.outbox_id}")
        outcome = Outcome("cancelled", why, "permit_expired")
        tell(done, outcome)
        settle(work, done, outcome)
        self._cancel(work, rest, "permit_expired", outcome.detail)
        undo(work, made, outcome)
        assert made.proposal is not None
        action = made.proposal.candidate.action
        ask_again(
            work,
            self._vault,
            decision_id=made.decision.decision_id,
            profile_id=made.decision.profile_id,
            kind="retry",
            due_at=made.decision.at,
            expires_at=made.wanted_until,
            want=action.name,
            purpose=action.purpose,
            channel=action.channel,
        )
        must([work], self._commit([work]))

    def _cancel(self, work: Work, rest: Sequence[Intent], code: Code, why: str) -> None:
        """Cancel steps that were not begun; some were already, by a customer's no."""
        if not rest:
            return
        states = {row["step"]: row["state"] for row in self._states(rest[0].decision_id)}
        for intent in rest:
            ended = states[intent.step] == "cancelled"
            outcome = Outcome("cancelled", "the customer said no" if ended else why, code)
            if ended:
                outcome = replace(outcome, code="consent")
            settle(work, intent, outcome, was=states[intent.step])


def must(works: Sequence[Work], written: Sequence[bool]) -> None:
    """Raise where the outcome of something that has happened was not written."""
    for work, held in zip(works, written, strict=False):
        if not held:
            raise StoreError(
                "an outcome could not be written",
                place=work.shown_as,
                remedy="run `safeconduct ledger verify`",
            )


def tell(intent: Intent, outcome: Outcome) -> None:
    """Log what became of a step that did not just come about.

    Its detail stays out of the log, for it may quote what a channel said.
    """
    level = logging.WARNING if outcome.state in ("failed", "unknown") else logging.INFO
    fields = {"tool": intent.tool, "outbox_id": intent.outbox_id, "code": outcome.code}
    LOG.log(level, f"a step is {outcome.state}", extra={"fields": fields})


def settle(work: Work, intent: Intent, outcome: Outcome, *, was: str = "sending") -> None:
    """Write what became of one step, in the outbox and in the person's chain."""
    at = micros(intent.at)
    work.change(
        SETTLE,
        expect=1,
        step_id=intent.outbox_id,
        was=was,
        to_state=outcome.state,
        at=at,
        words=outcome.detail,
    )
    work.append(
        t.outcomes,
        intent.profile_id,
        outcome_id=f"{intent.outbox_id}-{outcome.state}",
        outbox_id=intent.outbox_id,
        decision_id=intent.decision_id,
        step=intent.step,
        state=outcome.state,
        code=outcome.code,
        at=at,
        detail=outcome.detail,
    )


def undo(work: Work, made: Recorded, outcome: Outcome) -> None:
    """Give back what was reserved for a proposal that did not come about.

    An `unknown` outcome gives nothing back: the customer may have been told.
    """
    settle_contact(work, made.decision.decision_id, _CONTACT_STATES[outcome.state])
    if outcome.state == "unknown" or made.proposal is None:
        return
    candidate = made.proposal.candidate
    work.move(keys.person(made.decision.profile_id))
    if candidate.contact_point is not None:
        work.move(keys.point(candidate.contact_point.ref))
    if made.household is not None:
        work.move(keys.household(made.household))
    if candidate.action.offer is not None:
        offers.release(work, candidate.brand, candidate.action.offer, made.decision.decision_id)
        budgets.release(work, made.decision.decision_id, made.budgets)
