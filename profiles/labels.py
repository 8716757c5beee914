"""What rules and texts may see of a person and an event: the labelled fields, and no others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from domain.event import Event
from profiles.state import Fragment
from profiles.terms import Terms


def visible(
    terms: Terms, brand: str, person: Fragment, event: Event
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The labelled fields that may be seen, and the names of those withheld."""
    fields: dict[str, Any] = {}
    withheld = []
    controller = terms.controllers[brand]
    for label in terms.fields:
        root, _, path = label.name.partition(".")
        if root == "profile":
            name, _, rest = path.partition(".")
            trait = person.traits.get(name)
            value = None if trait is None else trait.value
            value = nested(value, rest) if rest else value
        elif root == "event":
            value = nested(event.properties, path)
        else:
            continue
        if value is None:
            continue
        if label.category in ("special", "secret") or label.controller not in (None, controller):
            withheld.append(label.name)
        else:
            fields[label.name] = value
    return fields, tuple(withheld)


def nested(value: Any, path: str) -> Any:
    """The value at a dotted path of mappings, or None where the path leads nowhere."""
    for name in path.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value
