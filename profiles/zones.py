"""Time zones: which ones a name or a telephone number stands for."""

from __future__ import annotations

from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo


def zone(name: Any) -> str | None:
    """The IANA zone of that name, or None where there is none: a typo must not open a window."""
    return name if isinstance(name, str) and _is_zone(name) else None


@lru_cache(maxsize=4096)
def zones_of(number: str) -> tuple[str, ...]:
    """All time zones an E.164 number may be in; none where the number tells nothing."""
    import phonenumbers
    from phonenumbers import timezone

    try:
        parsed = phonenumbers.parse(number)
    except phonenumbers.NumberParseException:
        return ()
    found = timezone.time_zones_for_number(parsed)
    return tuple(sorted(name for name in found if name != timezone.UNKNOWN_TIMEZONE))


@lru_cache(maxsize=1024)
def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # not there, no name at all, or a folder of zones
        return False
    return True
