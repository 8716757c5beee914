"""Prints what looking files through has found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from policies.troubles import Trouble
from service.lines import Printed


def trouble_lines(found: Sequence[Trouble], looked_at: str, *, as_json: bool) -> Printed:
    """A line each, and for people how much was looked at."""
    yield from (asdict(one) if as_json else str(one) for one in found)
    if not as_json:
        yield f"{looked_at} looked at, {len(found)} findings"
