"""Which of the laws that policies name may apply to a person."""

from __future__ import annotations

from collections.abc import Iterable

from domain.context import Jurisdiction

UNKNOWN = "unknown"


def applying(known: tuple[Jurisdiction, ...], named: Iterable[str]) -> dict[str, str]:
    """Those codes, of the ones that policies name, whose law may apply, and what says so.

    All apply to somebody of whom nothing is known. A state's law applies as well to who is known
    to be in its country, and nobody knows in which state: what is unknown is the strictest.
    """
    if not known:
        return dict.fromkeys(named, UNKNOWN)
    sources = {law.code: law.source for law in reversed(known)}
    found: dict[str, str] = {}
    for code in named:
        if code in sources:
            found[code] = sources[code]
        elif code[2:] and code[:2] in sources and not _knows_state(sources, code[:2]):
            found[code] = UNKNOWN
    return found


def _knows_state(codes: Iterable[str], country: str) -> bool:
    return any(code.startswith(f"{country}-") for code in codes)
