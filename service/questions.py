"""Asks the guard why something is, or is not, possible for somebody now; and when it would be."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.inquiries import Question, inquire
from domain.errors import UsageError
from domain.verdict import Audience
from profiles.views import find_root
from service.assemble import Assembly, assemble, make_identity
from service.lines import Printed
from service.settings import instant_given
from traces.inquiries import inquiry_json, inquiry_text


@dataclass(frozen=True, slots=True)
class Asked:
    """Who is asked about, what, by whom and for whom."""

    profile: str
    action: str
    journey: str | None
    properties: Sequence[str]
    audience: Audience
    by: str
    at: str | None


def answered(workspace: Path | None, store: str | None, asked: Asked, *, as_json: bool) -> Printed:
    """The guard's whole answer; nothing is done, and that it was asked is kept."""
    properties = dict(_property(one) for one in asked.properties)
    with closing(assemble(workspace, store)) as assembly:
        question = Question(
            root_id=_root(assembly, asked.profile),
            action=asked.action,
            journey=asked.journey,
            at=instant_given(asked.at) or assembly.database.clock(),
            properties=properties,
        )
        inquiry = inquire(assembly.deps, question, audience=asked.audience, by=asked.by)
    if as_json:
        yield inquiry_json(inquiry, asked.audience)
    else:
        yield inquiry_text(inquiry, asked.audience)


def _root(assembly: Assembly, who: str) -> str:
    database, loaded = assembly.database, assembly.workspace
    with database.read() as snapshot:
        region, rules = loaded.input.region, make_identity(loaded)
        return find_root(snapshot, database.vault, who, region, rules)


def _property(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise UsageError(
            f"`{text}` is no property",
            place="option `--property`",
            remedy="write it as `value=80`",
        )
    try:
        said = _number_or_truth(json.loads(value))
    except (ValueError, RecursionError):
        return name, value
    if isinstance(said, float) and not math.isfinite(said):
        raise UsageError(
            f"`{value}` is no finite number",
            place="option `--property`",
            remedy=f"write `{name}=80`; no event can hold the other",
        )
    return name, said


def _number_or_truth(value: Any) -> Any:
    if isinstance(value, Mapping | list) or value is None:
        raise ValueError
    return value
