"""Teaches journeys from the ledger, and prints what was learnt and what came of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

from agents.learning.training import BEGINNING, Trained, train
from agents.workspace import Workspace
from domain.errors import UsageError
from domain.journey import Journey
from evals.off_policy import Estimate, estimate
from evals.outcomes import ArmOutcome, JourneyOutcome, Share, named, outcomes
from evals.statistics import Interval
from service.assemble import assemble, assemble_reading
from service.lines import Printed, stamp
from service.settings import find_workspace, instant_given, load


def learnt(
    workspace: Path | None,
    store: str | None,
    journey: str | None,
    since: str | None,
    at: str | None,
    *,
    as_json: bool,
) -> Printed:
    """Train one journey, or all that learn: one new version each where there is something new."""
    with closing(assemble(workspace, store)) as assembly:
        database, now = assembly.database, instant_given(at)
        # What the record has not come to yet is not known, however late it is.
        until = now or database.last_decided_at() or database.clock()
        for one in _learning(assembly.workspace, journey):
            found = train(
                database,
                assembly.deps.models,
                one,
                at=now or database.clock(),
                until=until,
                since=instant_given(since) or BEGINNING,
            )
            judged = estimate(found.judged) if found.judged else None
            if as_json:
                yield _learnt_json(found, judged)
            else:
                yield from _learnt_text(found, judged)


def _learning(workspace: Workspace, journey: str | None) -> list[Journey]:
    _check_journey(workspace, journey)
    found = [workspace.journeys[name] for name in sorted(workspace.learns)]
    if journey is not None:
        found = [one for one in found if one.name == journey]
    if not found:
        which = f"journey `{journey}` learns" if journey else "no journey learns"
        raise UsageError(
            f"{which} nothing" if journey else which,
            remedy="write `learning: logistic` or `learning: bandit` in its file in `journeys/`",
        )
    return found


def _check_journey(workspace: Workspace, journey: str | None) -> None:
    if journey is not None and journey not in workspace.journeys:
        raise UsageError(
            f"there is no journey `{journey}`",
            place="option `--journey`",
            remedy=f"use one of {', '.join(sorted(workspace.journeys)) or 'none declared'}",
        )


def _learnt_json(found: Trained, judged: Estimate | None) -> dict[str, Any]:
    version, parent = found.version, found.parent
    return {
        "journey": found.journey.name,
        "learning": found.journey.learning,
        "version": version.version if version else None,
        "n": version.n if version else None,
        "parent": parent.version if parent else None,
        "until": stamp(found.until),
        "lessons": len(found.judged),
        "left_out": dict(sorted(found.left_out.items())),
        "mean_reward": judged.logged if judged else None,
        "off_policy": _estimate_json(judged) if judged else None,
    }


def _estimate_json(judged: Estimate) -> dict[str, Any]:
    return {
        "snips": judged.snips,
        "snips_interval": judged.snips_interval,
        "ips": judged.ips,
        "ips_interval": judged.ips_interval,
        "dr": judged.dr,
        "dr_interval": judged.dr_interval,
        "people": judged.people,
        "effective": judged.effective,
        "off_support": judged.off_support,
        "refused": judged.refused,
    }


def _learnt_text(found: Trained, judged: Estimate | None) -> Iterator[str]:
    name, learning = found.journey.name, found.journey.learning
    out = ", ".join(f"{n} {why}" for why, n in sorted(found.left_out.items()))
    if found.version is None or judged is None:
        yield f"{name:<20}{learning:<10}nothing new to learn from until {_day(found.until)}" + (
            f" (left out: {out})" if out else ""
        )
        return
    version = found.version
    went_on = f", from {version.parent}" if version.parent else ""
    yield f"{name:<20}{learning:<10}model {version.version} (number {version.n}{went_on})"
    rewarded = sum(one.reward > 0 for one in found.judged)
    yield (
        f"  learnt from  {judged.n} choices about {judged.people} people until "
        f"{_day(found.until)}: {rewarded} rewarded, mean reward {judged.logged:.4f}"
    )
    if out:
        yield f"  left out     {out}"
    if judged.refused is not None:
        yield f"  off policy   not estimable: {judged.refused}"
    else:
        yield (
            f"  off policy   SNIPS {judged.snips:.4f} {_between(judged.snips_interval)}, "
            f"IPS {judged.ips:.4f} {_between(judged.ips_interval)}, "
            f"DR {judged.dr:.4f} {_between(judged.dr_interval)}, "
            f"effective {judged.effective:.0f} of {judged.n}"
        )


def came_of_it(
    workspace: Path | None,
    store: str | None,
    journey: str | None,
    at: str | None,
    *,
    as_json: bool,
) -> Printed:
    """What came of each journey, by arm, and its uplift against the holdout."""
    loaded = load(find_workspace(workspace))
    _check_journey(loaded, journey)
    with closing(assemble_reading(workspace, store)) as database:
        until = instant_given(at) or database.last_decided_at() or database.clock()
        journeys = named(loaded, [journey] if journey else ())
        for one in outcomes(database, loaded, journeys, until):
            if as_json:
                yield _outcome_json(one, until)
            else:
                yield from _outcome_text(one)


def _outcome_json(one: JourneyOutcome, until: datetime) -> dict[str, Any]:
    return {
        "journey": one.journey,
        "goal": one.goal,
        "until": stamp(until),
        "arms": [_arm_json(arm) for arm in one.arms],
        "contaminated": one.contaminated,
        "uplift": one.uplift,
        "uplift_interval": one.uplift_interval,
    }


def _arm_json(arm: ArmOutcome) -> dict[str, Any]:
    return {
        "arm": arm.arm,
        "conversion": _share_json(arm.conversion),
        "completion": _share_json(arm.completion),
        "first_contact_resolution": _share_json(arm.resolved_first),
        "repeat_contact": _share_json(arm.repeated),
        "channel_switches": arm.channel_switches,
    }


def _share_json(share: Share) -> dict[str, Any]:
    return {
        "count": share.count,
        "of": share.of,
        "value": share.value,
        "interval": share.interval,
    }


def _outcome_text(one: JourneyOutcome) -> Iterator[str]:
    yield f"{one.journey}: `{one.goal}`"
    if not one.arms:
        yield "  nobody's window is over yet"
    for arm in one.arms:
        parts: list[tuple[str, Share]] = [
            ("converted", arm.conversion),
            ("completed", arm.completion),
            ("resolved at first contact", arm.resolved_first),
            ("asked again", arm.repeated),
        ]
        said = [_share_text(what, share) for what, share in parts if share.of]
        if arm.channel_switches is not None:
            said.append(f"channel switches {arm.channel_switches:.2f}")
        yield f"  {arm.arm:<10}" + "; ".join(said)
    if one.uplift is not None:
        yield f"  uplift    {one.uplift:+.4f} {_between(one.uplift_interval, '+.4f')}"
    if one.contaminated:
        yield f"  left out  {one.contaminated} people who were in both arms"


def _share_text(what: str, share: Share) -> str:
    return f"{what} {share.count} of {share.of} = {share.value:.4f} {_between(share.interval)}"


def _between(interval: Interval | None, form: str = ".4f") -> str:
    low, high = interval or (0.0, 0.0)
    return f"[{low:{form}}, {high:{form}}]"


def _day(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%SZ}"
