"""What a model would have achieved, estimated from choices that another one made.

With weights w = target / logged probability of what was done, clipped at 10:

    IPS = sum(w r) / n              Horvitz and Thompson, JASA 47 (1952)
    SNIPS = sum(w r) / sum(w)       Swaminathan and Joachims, NIPS 2015
    DR = sum(q' + w (r - q)) / n    Dudik, Langford and Li, ICML 2011

where q is what the model predicts of what was done, q' of what it would have done. The effective
sample size is sum(w)^2 / sum(w^2) (Kish, 1965). Intervals are bootstrapped by person.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from zlib import crc32

from agents.learning.training import Judged
from evals.statistics import GROUPS_MAX, Interval, bootstrap

CLIP = 10.0
EFFECTIVE_MIN = 100
EFFECTIVE_SHARE_MIN = 0.05
OFF_SUPPORT_MAX = 0.05


@dataclass(frozen=True, slots=True)
class Estimate:
    """The estimates of a mean reward; None, with the reason, where they would mean nothing.

    `logged` is the mean reward of what was done, `effective` the effective sample size.
    """

    n: int
    people: int
    logged: float
    effective: float
    off_support: float
    ips: float | None = None
    ips_interval: Interval | None = None
    snips: float | None = None
    snips_interval: Interval | None = None
    dr: float | None = None
    dr_interval: Interval | None = None
    refused: str | None = None


@dataclass(slots=True)
class _Sums:
    """A group of people's sums: people are told apart, groups are what is resampled."""

    n: int = 0
    weight: float = 0.0
    gained: float = 0.0
    robust: float = 0.0


def estimate(judged: Sequence[Judged]) -> Estimate:
    """Estimate from one or more lessons what the judged model would have gained."""
    weights = [min(CLIP, one.target / one.logged) for one in judged]
    n, whole = len(judged), sum(weights)
    squares = sum(weight**2 for weight in weights)
    known = Estimate(
        n=n,
        people=len({one.person for one in judged}),
        logged=sum(one.reward for one in judged) / n,
        effective=whole**2 / squares if squares else 0.0,
        off_support=sum(one.off_support for one in judged) / n,
    )
    refused = _refused(known)
    if refused is not None:
        return replace(known, refused=refused)
    groups: dict[int, _Sums] = {}
    for one, weight in zip(judged, weights, strict=True):
        group = groups.setdefault(crc32(one.person.encode()) % GROUPS_MAX, _Sums())
        group.n += 1
        group.weight += weight
        group.gained += weight * one.reward
        group.robust += one.expected + weight * (one.reward - one.predicted)
    clusters = list(groups.values())
    return replace(
        known,
        ips=_ips(clusters),
        ips_interval=bootstrap(clusters, _ips),
        snips=_snips(clusters),
        snips_interval=bootstrap(clusters, _snips),
        dr=_dr(clusters),
        dr_interval=bootstrap(clusters, _dr),
    )


def _refused(known: Estimate) -> str | None:
    least = max(EFFECTIVE_MIN, EFFECTIVE_SHARE_MIN * known.n)
    if known.off_support > OFF_SUPPORT_MAX:
        share = known.off_support
        return f"{share:.0%} of what the model would choose could not have been chosen"
    if known.effective < least:
        return f"the effective sample size is {known.effective:.0f}, below {least:.0f}"
    return None


def _ips(groups: Iterable[_Sums]) -> float:
    n, gained = 0, 0.0
    for group in groups:
        n += group.n
        gained += group.gained
    return gained / n


def _dr(groups: Iterable[_Sums]) -> float:
    n, robust = 0, 0.0
    for group in groups:
        n += group.n
        robust += group.robust
    return robust / n


def _snips(groups: Iterable[_Sums]) -> float:
    weight = gained = 0.0
    for group in groups:
        weight += group.weight
        gained += group.gained
    return gained / weight if weight else 0.0
