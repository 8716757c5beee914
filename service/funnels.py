"""What `explain --grid`, `funnel` and `arbitration` print: where candidates fall, and what wins."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from agents.funnel import Flow, Funnel
from agents.minds.formula import FormulaMind
from agents.reconsider import explain
from agents.record import read_record
from domain.errors import UsageError
from domain.verdict import STAGES, Audience, Stage
from service.assemble import assemble_reading, kept_workspace
from service.lines import Printed
from service.settings import day_given
from store.database import Database
from traces.grid import columns, grid_json, grid_text
from traces.history import History

RULES_SHOWN = 10


def grid_of(
    workspace: Path | None,
    store: str | None,
    decision_id: str,
    audience: Audience,
    *,
    as_json: bool,
) -> Printed:
    """Which stage and which rule stopped each candidate of one decision."""
    with closing(assemble_reading(workspace, store)) as database:
        found = explain(
            database,
            decision_id,
            lambda version: kept_workspace(database, version),
            FormulaMind(),
        )
        if as_json:
            yield {"decision_id": decision_id, "grid": grid_json(found, audience)}
        else:
            yield grid_text(found, audience)


def funnel_lines(
    workspace: Path | None,
    store: str | None,
    since: str | None,
    journey: str | None,
    *,
    as_json: bool,
) -> Printed:
    """How many candidates each stage let through, by action, and which rules stopped the most."""
    with closing(assemble_reading(workspace, store)) as database:
        found = _added_up(database, day_given(since, "--since"), journey)
    if as_json:
        yield {**_told(found), "actions": _by_action(found), "rules": _by_rule(found)}
        return
    yield _summary(found)
    if found.actions:
        heads = ["action", "candidates", *(one.replace("_", " ") for one in STAGES)]
        table = [[*heads, "outranked", "held out", "chosen"]]
        for name, flow in sorted(found.actions.items()):
            counts = [flow.candidates, *(flow.filtered[stage] for stage in STAGES)]
            counts += [flow.outranked, flow.holdout, flow.chosen]
            table.append([name, *(str(count or "-") for count in counts)])
        yield "\n".join(["", *columns(table)])
    if found.rules:
        ranked = found.rules.most_common(RULES_SHOWN)
        rows = [[f"  {rule}", stage.replace("_", " "), str(n)] for (rule, stage), n in ranked]
        yield "\n".join(["", "stopped by", *columns(rows)])
    if found.not_entered:
        rows = [[f"  {name}", str(n)] for name, n in found.not_entered.most_common()]
        yield "\n".join(["", "journeys not entered", *columns(rows)])


def arbitration_lines(
    workspace: Path | None,
    store: str | None,
    since: str | None,
    journey: str | None,
    *,
    as_json: bool,
) -> Printed:
    """Who wins over whom where several came through, and how often that hangs on one factor."""
    with closing(assemble_reading(workspace, store)) as database:
        found = _added_up(database, day_given(since, "--since"), journey)
    shares = {name: n / found.contested for name, n in found.changed.items()}
    if as_json:
        yield {
            **_told(found),
            "contested": found.contested,
            "changed_without": shares,
            "actions": {
                name: {"won_over": dict(flow.won_over), "lost_to": dict(flow.lost_to)}
                for name, flow in sorted(found.actions.items())
            },
        }
        return
    yield _summary(found)
    yield f"several candidates came through in {found.contested} of them"
    if not found.contested:
        return
    rows = [[f"  {name}", f"{share:.0%}"] for name, share in shares.items()]
    yield "\n".join(["", "another would have won without", *columns(rows)])
    table = [["action", "won", "lost", "most often to"]]
    for name, flow in sorted(found.actions.items(), key=_by_wins):
        won, lost = flow.won_over.total(), flow.lost_to.total()
        if won or lost:
            rival = ", ".join(f"{other} ({n})" for other, n in flow.lost_to.most_common(2))
            table.append([name, str(won), str(lost), rival or "-"])
    yield "\n".join(["", *columns(table)])


def _by_wins(item: tuple[str, Flow]) -> tuple[int, str]:
    name, flow = item
    return -flow.won_over.total(), name


def _added_up(database: Database, since: datetime | None, journey: str | None) -> Funnel:
    found, known = Funnel(), _stages(database)
    for kept in History(database).every():
        decision = kept.decision()
        if since is not None and decision.at < since:
            continue
        data = kept.record()
        if data is None:
            found.erased += 1
            continue
        found.add(read_record(data), known(decision.workspace_version), journey)
    if journey is not None and not found.decisions and not found.not_entered:
        raise UsageError(
            f"no decision considered journey `{journey}`",
            remedy="name one of the workspace's journeys, or an earlier `--since`",
        )
    return found


def _stages(database: Database) -> Any:
    """By version, the stage of each rule under the name by which it may be told."""

    @lru_cache(maxsize=16)
    def of_version(version: str) -> Mapping[str, tuple[str, Stage]]:
        rules = kept_workspace(database, version).guard.rules
        return {rule.id: (_name(rule.id, rule.shown_to), rule.stage) for rule in rules}

    return of_version


def _name(rule: str, shown_to: tuple[Audience, ...]) -> str:
    hidden = "auditor" not in shown_to or rule == "confidential-suppression"
    return "unavailable" if hidden else rule


def _summary(found: Funnel) -> str:
    erased = f"; {found.erased} about erased people are not counted" if found.erased else ""
    return f"{found.decisions} decisions, {found.with_candidates} with candidates{erased}"


def _told(found: Funnel) -> dict[str, int]:
    return {
        "decisions": found.decisions,
        "with_candidates": found.with_candidates,
        "erased": found.erased,
    }


def _by_action(found: Funnel) -> dict[str, Any]:
    return {
        name: {
            "candidates": flow.candidates,
            **{stage: flow.filtered[stage] for stage in STAGES},
            "outranked": flow.outranked,
            "holdout": flow.holdout,
            "chosen": flow.chosen,
        }
        for name, flow in sorted(found.actions.items())
    }


def _by_rule(found: Funnel) -> list[dict[str, Any]]:
    return [
        {"rule": rule, "stage": stage, "stopped": n}
        for (rule, stage), n in found.rules.most_common()
    ]
