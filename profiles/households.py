"""Households: which one somebody is of, and what was sent to it before that was known."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from profiles import queries
from profiles.identity import IdentityRules
from profiles.prints import household_ref
from profiles.state import Fragment
from store import keys
from store.instants import micros
from store.vault import Vault
from store.work import Work


def household_of(vault: Vault, rules: IdentityRules, person: Fragment) -> str | None:
    """The fingerprint of the household that a person's trait names, if any."""
    trait = person.traits.get(rules.household or "")
    return None if trait is None else household_ref(vault, trait.value)


def join(work: Work, people: Sequence[str], household: str, since: datetime) -> None:
    """Count what these people were sent while their household was unknown as sent to it."""
    work.change(queries.JOIN_HOUSEHOLD, people=list(people), into=household, since=micros(since))
    work.move(keys.household(household))
