"""What rules and texts may see of a person and an event: the labelled fields, and no others.

Whom to protect is seen in any case, and for nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from domain.event import Event
from profiles.state import Fragment
from profiles.terms import Terms


def visible(
    terms: Terms, brand: str, person: Fragment, event: Event, *, impersonal: bool = False
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The labelled fields that may be seen, and the names of those withheld.

    Args:
        impersonal: the person will not be addressed personally: what texts may say of them is
            withheld, from rules too unless it is also for deciding.
    """
    fields: dict[str, Any] = {}
    withheld = []
    controller = terms.controllers[brand]
    for label in terms.fields:
        root, name, rest = _path(label.name)
        if root == "profile":
            trait = person.traits.get(name)
            value = None if trait is None else trait.value
        elif root == "event":
            value = event.properties.get(name)
        else:
            continue
        if value is not None and rest:
            value = nested(value, rest)
        if value is None:
            continue
        if label.category in ("special", "secret") or label.controller not in (None, controller):
            withheld.append(label.name)
            continue
        personal = impersonal and root == "profile" and "personalise" in label.uses
        if personal:
            withheld.append(label.name)
        if not personal or "decide" in label.uses:
            fields[label.name] = value
    return fields, tuple(withheld)


@lru_cache(maxsize=4096)
def _path(label: str) -> tuple[str, str, str]:
    """A label's parts: whose field it is, the field, and the path into its value."""
    root, _, path = label.partition(".")
    name, _, rest = path.partition(".")
    return root, name, rest


def is_minor(terms: Terms, person: Fragment) -> bool:
    """Whether the trait `age_band` is one of the workspace's bands of minors."""
    said = _labels(person, "age_band")
    return bool(said) and any(_folded(band) in said for band in terms.minors)


def access_needs(terms: Terms, person: Fragment) -> tuple[str, ...]:
    """Those needs in the trait `access_needs`, a text or a list of them, that close a channel."""
    said = _labels(person, "access_needs")
    if not said:
        return ()
    return tuple(need for need in sorted(terms.access_needs) if _folded(need) in said)


def _labels(person: Fragment, name: str) -> set[str]:
    trait = person.traits.get(name)
    if trait is None:
        return set()
    value = trait.value
    said = value if isinstance(value, list) else [value]
    return {_folded(str(one)) for one in said if isinstance(one, str | int)}


def _folded(label: str) -> str:
    return "_".join(re.findall(r"\w+", label.casefold().replace("_", " ")))


def nested(value: Any, path: str) -> Any:
    """The value at a dotted path of mappings, or None where the path leads nowhere."""
    for name in path.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value
