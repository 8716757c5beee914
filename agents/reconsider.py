"""Decides again from a record: what explains a decision, and what shows that it was made so.

Only the stored context and the stored policies are read, never live state, and nothing is done.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, select

from agents.learning.choosing import no_models
from agents.learning.models import Models
from agents.learning.propensity import ModelOf
from agents.lineup import line_up
from agents.minds.mind import Mind
from agents.record import Record, read_record
from agents.thinking import Keyed, think
from agents.workspace import Workspace
from domain.canonical import canonical
from domain.context import Pass
from profiles.signals import source
from profiles.terms import FrictionWeights
from store import tables as t
from store.database import Database
from store.instants import instant
from store.statements import Statement
from traces.explain import Explanation, Weighed
from traces.history import History, Kept

_VOTES = Statement(
    select(
        t.approval_votes.c.by,
        t.approval_votes.c.vote,
        t.approval_votes.c.at,
        t.approval_votes.c.surface,
        t.approval_votes.c.reason,
    )
    .join(t.approvals, t.approvals.c.approval_id == t.approval_votes.c.approval_id)
    .where(t.approvals.c.decision_id == bindparam("decision"))
    .order_by(t.approval_votes.c.at, t.approval_votes.c.vote_id)
)

WorkspaceOf = Callable[[str], Workspace]


def same_again(
    record: Record, workspace: Workspace, mind: Mind, keyed: Keyed, model_of: ModelOf = no_models
) -> bool:
    """Whether thinking again about the recorded context gives the recorded one, byte for byte."""
    again = think(record.context, workspace, mind, keyed, model_of)
    return canonical(again.thought) == canonical(record.thought)


@dataclass(frozen=True, slots=True)
class Recomputed:
    """How many decisions were decided again, how many could not be (their person was erased), and
    those that came out otherwise."""

    same: int
    erased: int
    different: tuple[str, ...]


def recompute(database: Database, workspace_of: WorkspaceOf, mind: Mind) -> Recomputed:
    """Decide every recorded decision again and compare the bytes."""
    same = erased = 0
    different: list[str] = []
    model_of = Models(database).of
    for kept in History(database).every():
        data = kept.record()
        if data is None:
            erased += 1
            continue
        record = read_record(data)
        workspace = workspace_of(kept.decision().workspace_version)
        if same_again(record, workspace, mind, database.vault, model_of):
            same += 1
        else:
            different.append(kept.decision_id)
    return Recomputed(same, erased, tuple(different))


def explain(
    database: Database, decision_id: str, workspace_of: WorkspaceOf, mind: Mind
) -> Explanation:
    """Everything that is known of a decision.

    Args:
        workspace_of: the workspace of a version, as it was.
    """
    history = History(database)
    kept = history.get(decision_id)
    data = kept.record()
    if data is None:
        return _of_erased(database, kept, history)
    record = read_record(data)
    workspace = workspace_of(kept.decision().workspace_version)
    thought = record.thought
    model_of = Models(database).of
    return Explanation(
        decision=kept.decision(record.event_id),
        asked=record.context.asked,
        event=record.context.event,
        candidates=_weighed(record, workspace, model_of),
        not_entered=thought.not_entered,
        withheld=record.context.withheld,
        permit_id=thought.permit_id,
        not_after=thought.not_after,
        expires_at=thought.expires_at,
        proposal_hash=thought.proposal_hash,
        steps=tuple(history.steps(decision_id)),
        outcomes=tuple(history.outcomes(decision_id)),
        children=tuple(history.children(decision_id)),
        votes=_votes(database, decision_id),
        models=record.context.models,
        same=same_again(record, workspace, mind, database.vault, model_of),
        sources=_sources(record, workspace),
    )


def _sources(record: Record, workspace: Workspace) -> dict[str, str]:
    """What each signal that the decision looked at was made from."""
    weights = FrictionWeights(**workspace.signals.friction.model_dump())
    fields = record.context.fields
    signals = sorted(name for name in fields if name.startswith("signal."))
    return {name: source(name, fields, weights) for name in signals}


def _of_erased(database: Database, kept: Kept, history: History) -> Explanation:
    decision = kept.decision()
    return Explanation(
        decision=decision,
        asked=Pass(decision.asked, kept.pass_n, decision.parent_id),
        steps=tuple(history.steps(decision.decision_id)),
        outcomes=tuple(history.outcomes(decision.decision_id)),
        children=tuple(history.children(decision.decision_id)),
        votes=_votes(database, decision.decision_id),
    )


def _weighed(record: Record, workspace: Workspace, model_of: ModelOf) -> tuple[Weighed, ...]:
    """The candidates in their order, each with every rule asked again about it."""
    context, thought = record.context, record.thought
    said = {(one.action, one.journey): one for one in thought.considered}
    weighed = []
    lineup = line_up(workspace, context, model_of)
    stages = tuple(rule.stage for rule in workspace.guard.rules)
    for ranked in lineup.ranked:
        candidate, action = ranked.candidate, ranked.candidate.action
        kept = said.get((action.name, candidate.journey))
        note = kept.note if kept else ""
        chosen = thought.proposal_hash if note == "chosen" else None
        weighed.append(
            Weighed(
                action=action.name,
                title=action.title,
                journey=candidate.journey,
                tool=action.tool,
                channel=action.channel,
                priority=ranked.priority,
                factors=ranked.factors,
                note=note,
                instead_of=kept.instead_of if kept else "",
                probability=kept.probability if kept else None,
                findings=workspace.guard.ask_in_full(candidate, context, chosen, lineup.upcoming),
                stages=stages,
            )
        )
    return tuple(weighed)


def _votes(database: Database, decision_id: str) -> tuple[dict[str, str | datetime], ...]:
    return tuple(
        {"by": by, "vote": said, "at": instant(at), "surface": surface, "reason": reason}
        for by, said, at, surface, reason in database.rows(_VOTES, decision=decision_id)
    )
