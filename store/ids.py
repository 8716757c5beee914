"""Names for what is kept: time-ordered, so that new rows stand together, and never random twice."""

from __future__ import annotations

from datetime import datetime

from store.instants import micros

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32, lower case


def time_ordered(prefix: str, at: datetime, digest: bytes) -> str:
    """`prefix-` and 26 characters: 48 bits of milliseconds, then 80 bits of `digest`.

    The same inputs give the same id, so that deciding again names the same decision.
    """
    value = ((micros(at) // 1000) << 80) | int.from_bytes(digest[:10], "big")
    letters = []
    for _ in range(26):
        letters.append(_ALPHABET[value & 31])
        value >>= 5
    return f"{prefix}-{''.join(reversed(letters))}"
