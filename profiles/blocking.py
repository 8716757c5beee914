"""Which people are worth comparing: those that share a key, so that nobody is compared with all
(pure).
"""

from __future__ import annotations

from functools import lru_cache

from jellyfish import metaphone

from profiles.comparing import LAST_DIGITS, LOCAL_MIN, Described
from profiles.folding import CACHED_MAX, folded_name, folded_postcode, folded_street


def blocks(person: Described) -> frozenset[str]:
    """Keys of which two people share at least one where they are worth comparing.

    An address with one slip shares a key with the right one: all spellings with one character
    left out are kept (M. Mor and A. S. Fraenkel, CACM 25, 1982).
    """
    first, last = (_sound(folded_name(n)) for n in (person.name.first, person.name.last))
    postcode, born = folded_postcode(person.postcode), person.birth_date
    keys = set()
    if first and last:
        keys.add(f"name/{first}/{last}")
    if last and postcode:
        keys.add(f"home/{last}/{postcode}")
    if first and postcode:
        keys.add(f"near/{first}/{postcode}")
    if postcode and (street := folded_street(person.street)):
        keys.add(f"house/{street}/{postcode}")
    if born:
        keys |= {f"born/{born}/{also}" for also in (first, last, postcode) if also}
        if last:  # a date with a slip has its year, or its day and month
            keys |= {f"born/{born.year}/{last}", f"born/{born:%m-%d}/{last}"}
    keys |= {f"phone/{phone[-LAST_DIGITS:]}" for phone in person.phones}
    for email in person.emails:
        local, _, domain = email.partition("@")
        keys |= {f"local/{spelt}/{domain}" for spelt in _one_left_out(local)}
        keys |= {f"domain/{local}/{spelt}" for spelt in _one_left_out(domain)}
        if len(local) > LOCAL_MIN:
            keys.add(f"mailbox/{local}")
    return frozenset(keys)


def _one_left_out(text: str) -> set[str]:
    return {text, *(text[:i] + text[i + 1 :] for i in range(len(text)))}


@lru_cache(CACHED_MAX)
def _sound(folded: str) -> str:
    """How a name sounds; a name that is not in Latin letters stands for itself."""
    return metaphone(folded) or folded
