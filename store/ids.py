"""Names for what is kept: time-ordered, so that new rows stand together, and never random twice."""

from __future__ import annotations

from datetime import datetime

from store.instants import micros

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32, lower case
_PAIRS = tuple(one + two for one in _ALPHABET for two in _ALPHABET)


def time_ordered(prefix: str, at: datetime, digest: bytes) -> str:
    """`prefix-` and 26 characters: 48 bits of milliseconds, then 80 bits of `digest`.

    The same inputs give the same id, so that deciding again names the same decision.
    """
    return _lettered(prefix, ((micros(at) // 1000) << 80) | int.from_bytes(digest[:10], "big"))


def by_content(prefix: str, digest: bytes) -> str:
    """`prefix-` and 26 characters of a 16-byte digest: a name that does not tell when it came."""
    return _lettered(prefix, int.from_bytes(digest[:16], "big"))


def _lettered(prefix: str, value: int) -> str:
    letters = [_PAIRS[value >> shift & 1023] for shift in range(120, -1, -10)]
    return f"{prefix}-{''.join(letters)}"
