"""Instants between their two forms: aware UTC `datetime` in the code, whole microseconds kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import overload

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@overload
def micros(at: datetime) -> int: ...
@overload
def micros(at: None) -> None: ...
def micros(at: datetime | None) -> int | None:
    """Microseconds since 1970-01-01T00:00:00Z."""
    return None if at is None else (at - _EPOCH) // _MICROSECOND


@overload
def instant(kept: int) -> datetime: ...
@overload
def instant(kept: None) -> None: ...
def instant(kept: int | None) -> datetime | None:
    """The aware UTC instant that `micros` came from."""
    return None if kept is None else _EPOCH + timedelta(microseconds=kept)
