"""Names of contention keys and shared counters: what decisions about one thing must agree on."""

from __future__ import annotations

SWITCHES = "s:kill"


def person(profile_id: str) -> str:
    """The key of a person: the fragment that stands for all of them."""
    return f"p:{profile_id}"


def point(ref: str) -> str:
    """The key of a contact point, or of a domain of them, by its fingerprint."""
    return f"c:{ref}"


def source(name: str) -> str:
    """The key of a source's watermark."""
    return f"w:{name}"


def household(ref: str) -> str:
    """The key of a household, by the fingerprint of what it is called."""
    return f"h:{ref}"


def stock_counter(brand: str, offer: str) -> str:
    """The counter of what is reserved or granted of an offer."""
    return f"offer:{brand}:{offer}"


def budget(name: str) -> str:
    """The key of a budget, whatever the period."""
    return f"s:budget:{name}"


def budget_counter(name: str, began: str) -> str:
    """The counter of what is reserved or given of a budget in the period that began that day."""
    return f"budget:{name}:{began}"


def stock(brand: str, offer: str) -> str:
    """The key of an offer's stock."""
    return f"s:{stock_counter(brand, offer)}"
