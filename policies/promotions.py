"""Finds words in a text that is declared as information and sounds like a promotion.

It decides nothing: what a text is, its author says. It is for whoever reads the file.
"""

from __future__ import annotations

import re

_SIGNS = re.compile(
    r"""
    \d+\s?%\s?(?:off|discount|rabatt|de\s(?:réduction|descuento)|di\ssconto|korting|rabat)
    | \b(?:discount|voucher|coupon|promo(?:tion)?|special\s+offer|limited\s+time)\b
    | \b(?:sale\s+ends|buy\s+now|shop\s+now|order\s+now|save\s+(?:up\s+to\s+)?[€$£]?\d+)
    | \b(?:refer\s+a\s+friend|tell\s+a\s+friend|invite\s+(?:a\s+)?friends?)\b
    | \b(?:you\s+(?:may|might)\s+also\s+like|take\s+our\s+survey|rate\s+us)\b
    | \b(?:gutschein|rabatt|angebot|remise|descuento|sconto|korting|rabat)\b
    | [?&](?:utm_campaign|ref|referral)=
    """,
    re.IGNORECASE | re.VERBOSE,
)


def promotional_words(text: str) -> tuple[str, ...]:
    """The words of a text that sound like a promotion, each once, as they stand there."""
    return tuple(dict.fromkeys(" ".join(found.split()) for found in _SIGNS.findall(text)))
