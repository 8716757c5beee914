"""Fills the declared merge fields of a message, and nothing else.

`{{ profile.first_name | there }}` is a field with what to say where it is absent. An optional
field without such a default is refused at load. To a shared contact point goes no `profile` field,
and no words out of the event that may name somebody: somebody else may read them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from domain.context import FieldLabel
from domain.errors import ConfigurationError

_FIELD = re.compile(r"\{\{\s*([a-z_.0-9]+)\s*(?:\|\s*([^{}|]*?)\s*)?\}\}")
VALUE_LENGTH_MAX = 200


def check_template(
    text: str, fields: Mapping[str, FieldLabel], *, place: str, extra: frozenset[str]
) -> None:
    """Refuse unknown fields, fields not meant for people's eyes, and gaps without a default."""
    for match in _FIELD.finditer(text):
        name, default = match.group(1), match.group(2)
        if name in extra:
            continue
        label = fields.get(name)
        if label is None:
            raise ConfigurationError(
                f"the text names field `{name}`, which is not declared",
                place=place,
                remedy="declare it under `fields:` in `policies/`, or remove it",
            )
        if "personalise" not in label.uses or label.category != "ordinary":
            raise ConfigurationError(
                f"field `{name}` may not be used to personalise",
                place=place,
                remedy=f"remove it, or declare the use at {label.place or 'its label'}",
            )
        if (label.optional or name.startswith("profile.")) and default is None:
            raise ConfigurationError(
                f"field `{name}` may be absent and has no default",
                place=place,
                remedy=f"write `{{{{ {name} | something }}}}`",
            )
    stray = _FIELD.sub("", text)
    if "{{" in stray or "}}" in stray:
        raise ConfigurationError(
            "the text has braces that are no merge field",
            place=place,
            remedy="write `{{ event.cart_id }}`, names in lower case",
        )


def for_others_eyes(fields: Mapping[str, Any], labels: Mapping[str, FieldLabel]) -> dict[str, Any]:
    """The fields that may go to an address which others share: numbers, and words of which their
    label says that they name nobody."""
    return {name: value for name, value in fields.items() if _is_impersonal(name, value, labels)}


def _is_impersonal(name: str, value: Any, labels: Mapping[str, FieldLabel]) -> bool:
    if name.startswith("profile."):
        return False
    label = labels.get(name)
    return isinstance(value, bool | int | float) or (label is not None and label.names == "nobody")


def fill(text: str, fields: Mapping[str, Any]) -> str:
    """The text with its fields filled in; every value is one bounded line."""

    def value(match: re.Match[str]) -> str:
        name, default = match.group(1), match.group(2) or ""
        found = fields.get(name)
        return default if found is None else _spoken(found)

    return _FIELD.sub(value, text)


def _spoken(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.2f}"
    words = " ".join(str(value).split())
    return "".join(c for c in words if c.isprintable())[:VALUE_LENGTH_MAX]
