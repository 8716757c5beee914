"""What a model may see of a context: the fields that a journey names, as numbers (pure)."""

from __future__ import annotations

from math import copysign, log1p

from agents.learning.propensity import Facts
from domain.context import Context
from domain.journey import Journey
from profiles.permissions import PROFILE, refuses

TRAIN = "train"
FEATURES_MAX = 32
VALUE_CHARACTERS_MAX = 64
NUMBER_MAX = 1e12
NUMBER_MIN = 1e-9


def facts(journey: Journey, context: Context) -> Facts:
    """The journey's features that are there, and not out of date.

    A text x is the feature `name=x` of 1 (its first characters), true is 1, and a number v is
    sign(v) ln(1 + |v|), so that prices and counts are of one size; beyond 10^12 all are alike, and
    nearer to 0 than 10^-9, which single precision cannot square, all are 0.
    """
    found: list[tuple[str, float]] = []
    for name in journey.features:
        value = None if name in context.stale else context.fields.get(name)
        if isinstance(value, bool):
            found.append((name, float(value)))
        elif isinstance(value, int | float):
            if value == value:  # is a number
                within = max(-NUMBER_MAX, min(NUMBER_MAX, value))
                within = 0.0 if abs(within) < NUMBER_MIN else within
                found.append((name, copysign(log1p(abs(within)), within)))
        elif isinstance(value, str):
            text = value[:VALUE_CHARACTERS_MAX].encode(errors="replace").decode()
            found.append((f"{name}={text}", 1.0))
    return tuple(found)


def is_unprofiled(context: Context) -> bool:
    """Whether the person is to be met with a constant propensity: a minor, or one who said no."""
    return context.minor or _refuses(PROFILE, context)


def is_untaught(context: Context) -> bool:
    """Whether nothing is to be learnt from the person."""
    return is_unprofiled(context) or _refuses(TRAIN, context)


def _refuses(permission: str, context: Context) -> bool:
    refs = [point.ref for point in context.contact_points]
    asked = context.consents, context.profile_ids, refs, context.controller, context.now
    return refuses(permission, *asked)
