from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import product
from typing import Any

import pytest

from domain.consent import Consent
from domain.context import Jurisdiction
from domain.errors import ConfigurationError
from domain.verdict import Hold, Permit, objections
from policies.guard import Guard
from policies.loader import load_policies
from tests import world
from tests.world import candidate, context, denial, grant, line, objection, point, sms

PROMO: Mapping[str, Any] = {"title": "Offers", "model": "opt_in", "marketing": True}
CANADA = {"channels": ["email"], "jurisdictions": ["CA"], "model": "opt_out", "basis": "CA"}
SOFT = {
    "channels": ["email"],
    "jurisdictions": ["DE"],
    "model": "opt_out",
    "basis": "soft_opt_in",
    "evidence": "profile.sold_to",
}
FIELDS: Mapping[str, Any] = {
    "profile.sold_to": {"type": "string", "controller": "shop"},
    "profile.bought": {"type": "bool", "controller": "shop"},
    "profile.anywhere": {"type": "bool"},
    "profile.plan": {"type": "int", "controller": "shop"},
}


def guard(*models: Mapping[str, Any], **changes: Any) -> Guard:
    purposes = {**world.PURPOSES, "promo": {**PROMO, "models": list(models)}}
    return Guard(world.policies({"fields": FIELDS, "purposes": purposes, **changes}), {})


def under(*codes: str, consents: tuple[Consent, ...] = (), **fields: Any) -> Any:
    asked = context(
        jurisdictions=tuple(Jurisdiction(code, "address") for code in codes), consents=consents
    )
    return context(
        jurisdictions=asked.jurisdictions,
        consents=consents,
        fields={**asked.fields, **{f"profile.{name}": value for name, value in fields.items()}},
    )


def code(by: Guard, of: Any, asked: Any) -> str | None:
    verdict = by.review(world.proposal(of), asked)
    return None if isinstance(verdict, Permit) else objections(verdict)[0].code


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        (("CA",), None),
        (("CA-QC",), None),
        (("DE",), "consent"),
        (("CA", "DE"), "consent"),
        ((), "consent"),
    ],
)
def test_silence_is_a_yes_only_where_every_law_says_so(
    codes: tuple[str, ...], expected: str | None
) -> None:
    """The strictest of a person's jurisdictions holds, and where none is known, of all of them."""
    assert code(guard(CANADA), candidate(), under(*codes)) == expected
    assert code(guard(CANADA), candidate(), under(*codes, consents=(grant(),))) is None
    assert code(guard(CANADA), candidate(), under(*codes, consents=(denial(),))) == "consent"


def test_the_nearest_model_holds() -> None:
    """A model for the jurisdiction beats one for the channel, and one that names both is first."""
    in_canada = {"jurisdictions": ["CA"], "model": "opt_in"}
    assert code(guard(in_canada, CANADA), candidate(), under("CA")) is None
    everywhere = {
        "channels": ["email"],
        "model": "opt_out",
        "basis": "soft_opt_in",
        "evidence": "profile.bought",
    }
    assert code(guard(in_canada, everywhere), candidate(), under("CA", bought=True)) == "consent"
    assert code(guard(in_canada, everywhere), candidate(), under("DE", bought=True)) is None


def test_a_part_of_a_country_is_under_both_laws() -> None:
    """Where the country and its part are named, both must let it pass."""
    part = {**CANADA, "jurisdictions": ["CA-QC"], "model": "opt_in"}
    del part["basis"]
    by = guard(CANADA, part)
    assert code(by, candidate(), under("CA-QC")) == "consent"
    assert code(by, candidate(), under("CA-ON")) is None


@pytest.mark.parametrize(
    ("sold_to", "expected"),
    [
        ("p@shop.example", None),
        (" P@Shop.example ", None),
        ("other@shop.example", "consent"),
        (True, None),
        ("", "consent"),
        (1, "consent"),
        (False, "consent"),
        (None, "consent"),
    ],
)
def test_a_soft_opt_in_needs_its_evidence(sold_to: Any, expected: str | None) -> None:
    """Silence is a yes after a sale only at the very address that was got in it."""
    given = {} if sold_to is None else {"sold_to": sold_to}
    assert code(guard(SOFT), candidate(), under("DE", **given)) == expected


def test_a_soft_opt_in_says_what_would_do() -> None:
    """The smallest change is a grant, or the proof of a sale."""
    verdict = guard(SOFT).review(world.proposal(), under("DE"))
    (found,) = objections(verdict)
    assert found.counterfactual == (
        "a grant of `promo` for email, or `profile.sold_to` as proof that the address was got in "
        "a sale"
    )
    assert found.read["models"] == ["opt_out (policies/test.yaml:1)"]
    assert found.read["jurisdictions"] == ["DE"]


SAID: Mapping[str, tuple[Consent, ...]] = {
    "consent": (denial(),),
    "consent_expired": (grant(expires_at=world.at("2026-11-01T00:00:00Z")),),
    "consent_pending": (line("pending"),),
    "consent_conflict": (grant(), line("suspicion", "2026-02-01T00:00:00Z")),
    "objection": (grant(), objection("2026-02-01T00:00:00Z")),
}


@pytest.mark.parametrize(("expected", "where"), list(product(SAID, ["CA", "DE"])))
def test_what_was_said_passes_in_no_model(expected: str, where: str) -> None:
    """Only silence is ever taken for a yes: no answer but a grant is."""
    by = guard(CANADA, SOFT)
    asked = under(where, consents=SAID[expected], sold_to="p@shop.example")
    assert code(by, candidate(), asked) == expected


def test_a_ledger_that_cannot_be_read() -> None:
    """A ledger that nobody can read denies, and what is mandatory waits for a person."""
    broken = grant(purpose=None, received_at=world.NOW.replace(tzinfo=None))
    by = guard(purposes={**world.PURPOSES, "notice": {"title": "Notices", "model": "opt_in"}})
    asked = under("DE", consents=(broken, grant(purpose=None)))
    assert code(by, candidate(), asked) == "consent_unknown"
    held = by.review(world.proposal(candidate(purpose="notice", mandatory=True)), asked)
    assert isinstance(held, Hold)
    assert (held.held_for, objections(held)[0].code) == ("human", "consent_unknown")
    assert held.next_eligible_at is None


def test_a_message_without_a_channel() -> None:
    """Where nobody says by which channel, nobody knows what was consented to."""
    assert code(guard(), candidate(channel=None), under("DE")) == "consent_unknown"


@pytest.mark.parametrize(
    ("codes", "expected"),
    [(("US",), "consent"), (("US-FL",), "consent"), (("DE",), None), ((), "consent")],
)
def test_texts_to_the_united_states_need_a_yes(
    codes: tuple[str, ...], expected: str | None
) -> None:
    """An exempt text message to somebody who may be American waits for a grant of its purpose."""
    of = sms(purpose="service")
    assert code(guard(), of, under(*codes)) == expected
    yes = grant(purpose="service", contact_point=world.PHONE)
    assert code(guard(), of, under(*codes, consents=(yes,))) is None
    assert code(guard(), candidate(purpose="service"), under(*codes)) is None


def test_silence_for_one_purpose_is_no_door_for_offers() -> None:
    """A message that goes by silence and carries an offer is judged as the marketing it is."""
    by = guard(purposes={**world.PURPOSES, "tips": {**world.TIPS, "model": "opt_out", **EVIDENCE}})
    asked = under("CA", bought=True)
    assert code(by, candidate(purpose="tips"), asked) is None
    assert code(by, candidate(purpose="tips", promotional=True), asked) == "mixed_purpose"


EVIDENCE = {"basis": "soft_opt_in", "evidence": "profile.bought"}
PHONE_CHANNEL = {"title": "it", "address": "phone"}
PUSH = {"title": "push", "address": "none"}
MISTAKES: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any], str]] = {
    "texts": ({**CANADA, "channels": ["sms"]}, {}, "channel `sms`, which is `sms`"),
    "everywhere": (
        {**CANADA, "channels": None},
        {"sms": world.CHANNELS["sms"]},
        "on channel `sms`",
    ),
    "a renamed channel": (
        {**CANADA, "channels": ["text"]},
        {"text": PHONE_CHANNEL},
        "channel `text`, which may be `ai_voice`",
    ),
    "whatsapp": (
        {**CANADA, "channels": ["chat"]},
        {"chat": {**PHONE_CHANNEL, "medium": "whatsapp"}},
        "which is `whatsapp`",
    ),
    "voice": ({**CANADA, "channels": ["voice"]}, {"voice": PHONE_CHANNEL}, "which is `voice`"),
    "push": ({**CANADA, "channels": ["push"]}, {"push": PUSH}, "which is `push`"),
    "a renamed push": ({**CANADA, "channels": ["app"]}, {"app": PUSH}, "which may be `push`"),
    "no basis": ({**CANADA, "basis": None}, {}, "does not say by what right"),
    "another basis": (
        {**CANADA, "jurisdictions": ["CA", "DE"]},
        {},
        "takes silence for a yes by the law of CA, also in DE",
    ),
    "a basis that is nowhere": (
        {**CANADA, "jurisdictions": None},
        {},
        "by the law of CA, also in everywhere",
    ),
    "no evidence": ({**SOFT, "evidence": None}, {}, "`evidence` and `basis`, and they do not fit"),
    "evidence for a law": ({**CANADA, "evidence": "profile.bought"}, {}, "they do not fit"),
    "anybody's evidence": ({**SOFT, "evidence": "profile.anywhere"}, {}, "which proves no sale"),
    "a number as evidence": ({**SOFT, "evidence": "profile.plan"}, {}, "which proves no sale"),
    "evidence unheard of": ({**SOFT, "evidence": "profile.nope"}, {}, "which proves no sale"),
    "a basis for a yes": (
        {"channels": ["email"], "model": "opt_in", "basis": "CA"},
        {},
        "for a model that takes no silence",
    ),
    "no scope": ({"model": "opt_in"}, {}, "holds everywhere, and so does the purpose's own"),
    "an unknown channel": ({**CANADA, "channels": ["fax"]}, {}, "names channel `fax`"),
    "an exemption by the way": ({**CANADA, "model": "exempt"}, {}, "models[0].model` is `exempt`"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_silence_is_refused_where_it_may_not_do(name: str) -> None:
    """A model that no law knows is refused by its line, however the channel is called."""
    model, channels, cause = MISTAKES[name]
    given = {key: value for key, value in model.items() if value is not None}
    text = "\n".join(
        [
            f"fields: {json.dumps(FIELDS)}",
            f"channels: {json.dumps({**world.CHANNELS, **channels})}",
            "purposes:",
            "  promo:",
            "    title: Offers",
            "    model: opt_in",
            "    marketing: true",
            "    models:",
            f"      - {json.dumps(given)}",
        ]
    )
    with pytest.raises(ConfigurationError) as caught:
        load_policies({"policies/contact.yaml": text})
    assert str(caught.value).startswith("policies/contact.yaml:9:")
    assert cause in str(caught.value)


EXEMPT: Mapping[str, Any] = {"title": "Orders", "model": "exempt", "legal_basis": "contract"}
DOORS: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any], str]] = {
    "whatsapp": (EXEMPT, {"whatsapp": PHONE_CHANNEL}, "channel `whatsapp`, which is `whatsapp`"),
    "ai voice": (
        EXEMPT,
        {"calls": {**PHONE_CHANNEL, "medium": "ai_voice"}},
        "channel `calls`, which is `ai_voice`",
    ),
    "recorded voice": (EXEMPT, {"recorded_voice": PHONE_CHANNEL}, "which is `recorded_voice`"),
    "a renamed channel": (EXEMPT, {"text": PHONE_CHANNEL}, "which may be `ai_voice`"),
    "whatsapp in one country": (
        {**EXEMPT, "models": [{"jurisdictions": ["DE"], "model": "opt_in"}]},
        {"whatsapp": PHONE_CHANNEL},
        "which is `whatsapp`",
    ),
    "american texts": (EXEMPT, {"sms": PHONE_CHANNEL}, "text messages to the United States"),
    "texts to one state": (
        {**EXEMPT, "models": [{"jurisdictions": ["US-FL"], "model": "opt_in"}]},
        {"sms": PHONE_CHANNEL},
        "text messages to the United States",
    ),
    "templates of what asks": (
        {"title": "x", "model": "opt_in", "templates": ["a"]},
        {},
        "has `templates` and is not exempt",
    ),
}


@pytest.mark.parametrize("name", DOORS)
def test_an_exemption_is_refused_where_there_is_none(name: str) -> None:
    """No purpose is exempt by the channels where the law wants a yes whatever the message is."""
    purpose, channels, cause = DOORS[name]
    with pytest.raises(ConfigurationError, match=r"^policies/test\.yaml:1: ") as caught:
        world.policies({"purposes": {"orders": purpose}, "channels": channels})
    assert cause in str(caught.value)


@pytest.mark.parametrize(
    ("purpose", "channels"),
    [
        (EXEMPT, {"voice": PHONE_CHANNEL}),
        ({**EXEMPT, "exemption": "47 CFR 64.1200(a)(9)(iii)"}, {"sms": PHONE_CHANNEL}),
        (
            {**EXEMPT, "models": [{"channels": ["whatsapp"], "model": "opt_in"}]},
            {"whatsapp": PHONE_CHANNEL},
        ),
        (
            {**EXEMPT, "models": [{"channels": ["chat"], "model": "opt_in"}]},
            {"chat": PHONE_CHANNEL},
        ),
    ],
)
def test_an_exemption_that_stands(purpose: Mapping[str, Any], channels: Mapping[str, Any]) -> None:
    """What a rule exempts by name, and what asks where it must, is loaded."""
    loaded = world.policies({"purposes": {"orders": purpose}, "channels": channels})
    assert loaded.purposes["orders"].model == "exempt"


@pytest.mark.parametrize(
    ("channel", "cause"),
    [
        ({"whatsapp": {**PHONE_CHANNEL, "medium": "sms"}}, "bears the name of another"),
        ({"x": {**PHONE_CHANNEL, "medium": "email"}}, "is reached by `phone`"),
        ({"x": {**PUSH, "medium": "sms"}}, "is reached by `none`"),
    ],
)
def test_a_medium_that_a_channel_cannot_be(channel: Mapping[str, Any], cause: str) -> None:
    """What a channel says it is must fit its name and its address."""
    with pytest.raises(ConfigurationError, match=r"^policies/test\.yaml:1: ") as caught:
        world.policies({"purposes": {}, "channels": channel})
    assert cause in str(caught.value)


def test_an_unused_point_is_no_sale() -> None:
    """Without an address at hand there is none that a sale could have given."""
    of = candidate(contact_point=point(address="else@shop.example"))
    assert code(guard(SOFT), of, under("DE", sold_to="p@shop.example")) == "consent"
