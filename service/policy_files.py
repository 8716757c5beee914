"""Tries a workspace's policies against their cases, and looks for what they say in vain."""

from __future__ import annotations

from pathlib import Path

from agents.workspace import Workspace, read_case_files
from domain.errors import ConfigurationError
from policies import lint
from policies.cases import Bench, Judged, judged, read_cases
from profiles.zones import zones_of
from service.lines import Printed, printable, stamp
from service.settings import find_workspace, load
from service.troubles import trouble_lines


def tried(workspace: Path | None) -> tuple[Workspace, tuple[Judged, ...]]:
    """The workspace, and what its guard says of each case beside its policies."""
    place = find_workspace(workspace)
    loaded = load(place)
    cases = read_cases(read_case_files(place.folder), bench(loaded))
    return loaded, tuple(judged(case, loaded.guard) for case in cases)


def bench(workspace: Workspace) -> Bench:
    """What a workspace's cases are judged with."""
    return Bench(
        guard=workspace.guard,
        controllers={name: brand.controller for name, brand in workspace.brands.items()},
        brand=workspace.brand,
        actions=workspace.actions,
        journeys=workspace.journeys,
        offers=workspace.offers,
        zones_of=zones_of,
    )


def test_lines(workspace: Path | None, *, as_json: bool) -> tuple[Printed, int]:
    """A line a case, a summary, and the exit code: 1 where a case comes out otherwise."""
    _, found = tried(workspace)
    if not found:
        raise ConfigurationError(
            "there is no case",
            place="policies/",
            remedy="write some beside the policies, such as `policies/contact.cases.yaml`",
        )
    wrong = sum(1 for one in found if not one.is_right)
    lines = _as_json(found) if as_json else _as_text(found, wrong)
    return lines, 1 if wrong else 0


def _as_json(found: tuple[Judged, ...]) -> Printed:
    for one in found:
        yield {
            "case": one.case.entry.name,
            "place": one.case.place,
            "action": one.case.proposal.candidate.action.name,
            "verdict": one.verdict,
            "held_for": one.held_for,
            "because": list(one.because),
            "codes": list(one.codes),
            "next_eligible_at": stamp(one.next_eligible_at),
            "ok": one.is_right,
            "differs": list(one.differs),
        }


def _as_text(found: tuple[Judged, ...], wrong: int) -> Printed:
    names = [printable(one.case.entry.name) for one in found]
    rules = [", ".join(one.because) or "-" for one in found]
    wide, wider = max(map(len, names)), max(map(len, rules))
    for one, name, because in zip(found, names, rules, strict=True):
        said = "ok" if one.is_right else f"WRONG ({one.case.place}): {'; '.join(one.differs)}"
        yield f"{name:<{wide}}  {one.verdict:<9}  {because:<{wider}}  {said}"
    right = len(found) - wrong
    yield f"{right} of {len(found)} cases come out as they say"


def check_lines(workspace: Path | None, *, as_json: bool) -> tuple[Printed, int]:
    """A line for each thing said in vain, and the exit code: 1 where there is one."""
    loaded, found = tried(workspace)
    subject = lint.Subject(loaded.guard, loaded.actions, loaded.journeys, found)
    troubles = lint.troubles(subject)
    return trouble_lines(
        troubles, f"{len(subject.written)} rules", as_json=as_json
    ), 1 if troubles else 0
