"""Takes typed fields out of a row, and says by JSON path what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from domain.errors import InputError

TEXT_MAX = 256
YEAR_MIN, YEAR_MAX = 1970, 9998

_RFC3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d+)?(?P<zone>[Zz]|[+-]\d\d:\d\d)?", re.ASCII
)
_TIME_REMEDY = "write it as RFC 3339 with a zone, such as `2026-01-31T12:00:00Z`"
_UNIX_MAX = int(datetime(YEAR_MAX, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp())
_UNIX_REMEDY = "write it in seconds since 1970, such as `1769860800`"


def invalid(path: str, what: str, remedy: str) -> InputError:
    """The field is there, and cannot be meant."""
    return InputError("invalid_field", f"`{path}` {what}", remedy=remedy)


def missing(path: str, remedy: str) -> InputError:
    """The field is not there, and cannot be done without."""
    return InputError("missing_field", f"`{path}` is missing", remedy=remedy)


def text(row: Mapping[str, Any], key: str, at: str = "$", longest: int = TEXT_MAX) -> str | None:
    """The short printable string under `key`, exactly as given; None where absent or null."""
    value = row.get(key)
    if value is None:
        return None
    if not isinstance(value, str):
        raise invalid(f"{at}.{key}", "is no string", "write it as a string")
    if not is_text(value, longest):
        raise invalid(
            f"{at}.{key}", "is no short printable text", f"use 1 to {longest} printable characters"
        )
    return value


def is_text(value: str, longest: int = TEXT_MAX) -> bool:
    """Whether this can be shown on one line, and has something to show."""
    return len(value) <= longest and value.isprintable() and not value.isspace() and value != ""


def share(row: Mapping[str, Any], key: str, at: str = "$") -> float | None:
    """The number from 0 to 1 under `key`, or its text; None where absent or null."""
    value = row.get(key)
    if value is None:
        return None
    try:
        number = float(value) if isinstance(value, int | float | str) else -1.0
    except (ValueError, OverflowError):
        number = -1.0
    if isinstance(value, bool) or not 0 <= number <= 1:
        raise invalid(f"{at}.{key}", "is no number from 0 to 1", "write it such as `0.8`")
    return number


def mapping(row: Mapping[str, Any], key: str, at: str = "$") -> dict[str, Any]:
    """The object under `key`; empty where absent or null."""
    value = row.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise invalid(f"{at}.{key}", "is no object", "write it as an object")
    return value


def instant(row: Mapping[str, Any], key: str, at: str = "$") -> datetime | None:
    """The RFC 3339 instant under `key` in UTC, truncated to microseconds; None where absent.

    Leap seconds are refused: no clock of ours can show one.
    """
    value = row.get(key)
    if value is None:
        return None
    if not isinstance(value, str):
        raise invalid(f"{at}.{key}", "is no string", _TIME_REMEDY)
    found = _RFC3339.fullmatch(value)
    if found is None:
        raise invalid(f"{at}.{key}", "is no RFC 3339 time", _TIME_REMEDY)
    if found["zone"] is None:
        raise invalid(f"{at}.{key}", "has no zone", _TIME_REMEDY)
    try:
        moment = datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise invalid(f"{at}.{key}", "is no time of the calendar", _TIME_REMEDY) from error
    if not YEAR_MIN <= moment.year <= YEAR_MAX:
        raise invalid(f"{at}.{key}", "is out of range", f"use a year from {YEAR_MIN} to {YEAR_MAX}")
    return moment


def unix_instant(row: Mapping[str, Any], key: str, at: str = "$") -> datetime | None:
    """The instant under `key`, in whole seconds since 1970; None where absent.

    Milliseconds are refused by their size: they would name a year that is out of range.
    """
    value = row.get(key)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise invalid(f"{at}.{key}", "is no whole number", _UNIX_REMEDY)
    if not 0 <= value <= _UNIX_MAX:
        raise invalid(f"{at}.{key}", "is out of range", _UNIX_REMEDY)
    return datetime.fromtimestamp(value, UTC)
