"""What a person lets us do with their data, apart from being contacted (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from domain.consent import Consent, ConsentQuestion, answer
from domain.errors import InputError
from domain.event import Event
from profiles.stated import statements
from profiles.terms import Terms

PERSONALISE = "personalise"
PROFILE = "profile"


def refuses(
    permission: str,
    lines: Sequence[Consent],
    ids: tuple[str, ...],
    refs: Iterable[str],
    controller: str,
    now: datetime,
) -> bool:
    """Whether the person said no to this, at any contact point, to this controller.

    A yes that has run out is none, and one that is awaited is none yet.
    """
    said = [
        replace(line, brand=None, channel=None) if line.purpose == permission else line
        for line in lines
        if line.purpose in (None, permission)
    ]
    if not said:
        return False
    asked = (
        ConsentQuestion(ids, controller, "", "", permission, None, point) for point in (None, *refs)
    )
    return any(answer(said, ask, now).value not in ("granted", "unset") for ask in asked)


def on_recognition(event: Event, terms: Terms) -> tuple[Consent, ...]:
    """What an event says about being recognised by a device, as lines of nobody yet.

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
