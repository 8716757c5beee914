"""Checks what a journey's file says about learning, before anything is learnt by it."""

from __future__ import annotations

from collections.abc import Mapping

from agents.learning.bandit import REMEDY, is_installed
from agents.schema import JourneyFile
from domain.context import FieldLabel
from domain.errors import ConfigurationError
from policies.documents import Document

EXPLORATION = 0.1
PROTECTED = frozenset({"age_band", "vulnerability", "vulnerable", "language", "access_needs"})
"""Traits that say whom to protect: they are for the guard, whatever their label says."""


def exploration(file: JourneyFile) -> float:
    """The share of a journey's choices that is left to chance."""
    if file.learning == "constant":
        return 0.0
    return EXPLORATION if file.exploration is None else file.exploration


def check_learning(
    document: Document, name: str, file: JourneyFile, fields: Mapping[str, FieldLabel]
) -> None:
    """What is learnt from may be used for it, and nothing is declared in vain."""
    if file.learning == "constant":
        _check_constant(document, name, file)
        return
    if file.learning == "bandit" and not is_installed():
        raise ConfigurationError(
            f"journey `{name}` learns by `bandit`, and VowpalWabbit is not installed",
            place=document.place("learning"),
            remedy=REMEDY,
        )
    for index, feature in enumerate(file.features):
        wrong = _unfit(feature, fields)
        if wrong is not None:
            raise ConfigurationError(
                f"journey `{name}` learns from `{feature}`, {wrong[0]}",
                place=document.place("features", index),
                remedy=wrong[1],
            )


def _check_constant(document: Document, name: str, file: JourneyFile) -> None:
    given = {"features": file.features, "exploration": file.exploration, "model": file.model}
    for key, value in given.items():
        if value:
            raise ConfigurationError(
                f"journey `{name}` has `{key}` and learns nothing",
                place=document.place(key),
                remedy="add `learning: logistic` or `learning: bandit`, or take it out",
            )


def _unfit(feature: str, fields: Mapping[str, FieldLabel]) -> tuple[str, str] | None:
    """Why a field may not be learnt from, and what to do; None where it may."""
    label = fields.get(feature)
    if label is None:
        return "which is not declared", "declare it under `fields` in `policies/`"
    if label.category != "ordinary" or feature.removeprefix("profile.") in PROTECTED:
        return "which is protected", "take it out: nothing is learnt from such fields"
    if feature.startswith("signal."):
        return None
    missing = [use for use in ("decide", "learn") if use not in label.uses]
    if missing:
        return (
            f"whose `uses` lack `{missing[0]}`",
            f"take it out, or add `{missing[0]}` to its `uses` at {label.place}",
        )
    return None
