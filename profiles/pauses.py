"""Reads until when a person wants no marketing: the trait `paused_until`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

PAUSED_UNTIL = "paused_until"
_NO_END = datetime(9998, 1, 1, tzinfo=UTC)
_LAST_ZONE = timedelta(hours=12)
"""How much later than UTC a day begins where it begins last."""


def paused_until(traits: Mapping[str, Any], zone: str | None) -> datetime | None:
    """The end of the pause, None where there is none.

    A date is its first instant in the person's zone, or where that is unknown, the instant at
    which it has begun everywhere. A pause whose end nobody can read has none: it ends when the
    person says something else (`null` or `false`: no pause).
    """
    said = traits.get(PAUSED_UNTIL)
    if said is None or said is False:
        return None
    try:
        return _instant(said, zone)
    except (TypeError, ValueError, OverflowError):
        return _NO_END


def _instant(said: Any, zone: str | None) -> datetime:
    if not isinstance(said, str):
        raise TypeError(said)
    if len(said.strip()) == 10:
        begins = datetime.combine(date.fromisoformat(said.strip()), time(0))
        if zone is not None:
            return begins.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
        return begins.replace(tzinfo=UTC) + _LAST_ZONE
    written = datetime.fromisoformat(said.strip())
    if written.tzinfo is None:
        written = written.replace(tzinfo=UTC) + _LAST_ZONE
    return min(written.astimezone(UTC), _NO_END)
