"""Who will not be recognised by a device: what was said about it, and what that comes to (pure)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from domain.consent import Consent, ConsentQuestion, answer
from domain.errors import InputError
from domain.event import Event
from profiles.stated import statements
from profiles.terms import Terms

PERSONALISE = "personalise"


def on_recognition(event: Event, terms: Terms) -> tuple[Consent, ...]:
    """What an event says about it, as lines of nobody yet.

    One that cannot be understood says nothing: it will be refused.
    """
    try:
        said = statements(event, terms)
    except InputError:
        return ()
    return tuple(
        Consent(
            kind=one.kind,
            profile_id="",
            controller=terms.controllers[one.brand or terms.brand],
            brand=None,
            channel=None,
            purpose=one.purpose,
            topic=one.topic,
            contact_point=None,
            occurred_at=one.said_at or event.time,
            received_at=event.received_at,
        )
        for one in said
        if one.purpose == PERSONALISE or (one.purpose is None and one.kind == "objection")
    )


def refuse_recognition(lines: Iterable[Consent]) -> set[str]:
    """The fragments through which some controller was told not to recognise the person."""
    by_whom: dict[tuple[str, str], list[Consent]] = {}
    for line in lines:
        whole = replace(line, brand=None, channel=None)
        by_whom.setdefault((line.profile_id, line.controller), []).append(whole)
    return {
        profile_id
        for (profile_id, controller), said in by_whom.items()
        if _refuses(said, profile_id, controller)
    }


def _refuses(said: list[Consent], profile_id: str, controller: str) -> bool:
    ask = ConsentQuestion((profile_id,), controller, "", "", PERSONALISE, None, None)
    newest = max(line.received_at for line in said)
    return answer(said, ask, newest).value not in ("granted", "unset", "pending")
