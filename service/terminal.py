"""Shows text in a terminal that may hold what events wrote."""

from __future__ import annotations

import json
from unicodedata import category

_UNSEEN = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
"""Unicode's categories of characters that move a cursor, turn a line round or hide."""


def shown(text: str) -> str:
    """A text for a terminal, in which what events wrote commands nothing; lines stay lines.

    Each such character is written as in JSON, so that JSON remains what it was.
    """
    if text.isascii() and text.replace("\n", "").isprintable():
        return text
    return "".join(
        json.dumps(one)[1:-1] if one != "\n" and category(one) in _UNSEEN else one for one in text
    )
