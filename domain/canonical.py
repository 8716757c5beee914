"""One byte string for one value, so that equal records have equal hashes."""

from __future__ import annotations

from typing import Any

import msgspec

_ENCODER = msgspec.json.Encoder(order="deterministic")


def canonical(value: Any) -> bytes:
    """JSON with sorted keys, shortest floats and RFC 3339 UTC times; equal values, equal bytes."""
    return _ENCODER.encode(value)


def parse(data: bytes | str) -> Any:
    """Read canonical (or any) JSON; raises `msgspec.DecodeError` where it is malformed."""
    return msgspec.json.decode(data)
