from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from domain.errors import UsageError
from tests.shop import cart, consent, open_shop, row

PHONE = "+491701234567"
MAIL = "maya@example.com"


def grants() -> list[dict[str, Any]]:
    """A yes to e-mail and one to SMS."""
    return [
        consent("granted", "2026-10-05T08:00:00Z", email=MAIL),
        consent("granted", "2026-10-05T08:01:00Z", channel="sms", phone=PHONE),
    ]


def block(**said: Any) -> dict[str, Any]:
    """An operator's suppression of marketing."""
    return row("suppression_added", "2026-10-05T08:30:00Z", **said)


@pytest.mark.parametrize(
    "said",
    [
        row("spam_complaint", "2026-10-05T08:30:00Z"),
        row("spam_complaint", "2026-10-05T08:30:00Z", brand="unheard-of"),
        row("spam_complaint", "2026-10-05T08:30:00Z", contact_point=7),
        block(target="person"),
        consent("objection", "2026-10-05T08:30:00Z", channel=None),
        consent("denied", "2026-10-05T08:30:00Z", channel=None),
        consent("denied", "2026-10-05T08:30:00Z", channel=None) | {"brand": "unheard-of"},
        consent("objection", "2026-10-05T08:30:00Z", brand="unheard-of"),
    ],
)
def test_what_restricts_is_never_lost(tmp_path: Path, said: dict[str, Any]) -> None:
    """A complaint, a block or a no holds for the person, however little it says."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(*grants(), said)
        shop.run(cart("2026-10-05T10:00:00Z"))
        assert not shop.sent("email")
        assert not shop.sent("sms")


@pytest.mark.parametrize(
    "value", ["Opted-Out", "opt_out", "OPTOUT", "Unsubscribed", " no ", "FALSE", False, "withdrawn"]
)
def test_a_no_is_understood_in_other_systems_words(tmp_path: Path, value: object) -> None:
    """However a list calls it, it is a denial, and no dead letter."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(*grants())
        line = shop.one(consent("denied", "2026-10-05T08:30:00Z") | {"properties": {
            "channel": "email", "purpose": "marketing", "value": value,
        }})  # fmt: skip
        assert line["verdict"] == "none"
        assert [one["kind"] for one in shop.rows("consents")].count("denial") == 1


@pytest.mark.parametrize("value", ["yes", "true", True, "subscribed", "opted-in", "1", None])
def test_no_other_word_is_a_yes(tmp_path: Path, value: object) -> None:
    """A yes is `granted` and nothing else: what is unclear grants nothing, and is a dead letter."""
    with open_shop(tmp_path / "w") as shop:
        said = {"channel": "email", "purpose": "marketing", "value": value}
        line = shop.one(row("consent_changed", "2026-10-05T08:30:00Z") | {"properties": said})
        assert line["verdict"] == "dead"
        assert shop.rows("consents") == []


@pytest.mark.parametrize(
    ("said", "stopped"),
    [
        (block(target="domain", contact_point="example.com"), "email"),
        (block(target="domain", contact_point="@Example.com"), "email"),
        (block(target="domain", contact_point="someone@example.com"), "email"),
        (block(target="address", contact_point=" Maya@Example.com "), "email"),
        (row("bounced", "2026-10-05T08:30:00Z", type="Hard", contact_point=MAIL), "email"),
    ],
)
def test_an_address_is_blocked_however_it_is_written(
    tmp_path: Path, said: dict[str, Any], stopped: str
) -> None:
    """A domain or an address in another spelling is the same domain or address."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(*grants(), said, cart("2026-10-05T10:00:00Z"))
        assert not shop.sent(stopped)


@pytest.mark.parametrize(
    "said",
    [
        block(target="address"),
        block(target="domain"),
        block(target="domain", contact_point="@"),
        block(channels=["SMS"]),
        block(channels=[{"a": 1}]),
        block(shown_to="fraud"),
        block(reason="x\u001b]0;PWN\u0007\nFAKE"),
        block(expires_at="9999-12-31T23:59:59-01:00"),
        block(expires_at="0001-01-01T00:00:00+23:59"),
        row("bounced", "2026-10-05T08:30:00Z", "c-9", type="hard"),
        row("contact_observed", "2026-10-05T08:30:00Z", channel="SMZ", purpose="marketing"),
        consent("granted", "2026-10-05T08:30:00Z", expires_at="9999-12-31T23:59:59-23:59"),
    ],
)
def test_what_would_block_nothing_is_a_dead_letter(tmp_path: Path, said: dict[str, Any]) -> None:
    """A restriction that names nothing we have is refused aloud, and the store stays readable."""
    with open_shop(tmp_path / "w") as shop:
        line = shop.run(*grants(), said)[-1]
        assert (line["verdict"], line["code"]) == ("dead", "invalid_field")
        assert shop.one(cart("2026-10-05T10:00:00Z"))["verdict"] == "permitted"


@pytest.mark.parametrize(
    ("said", "sent"),
    [
        ({"target": "domain", "contact_point": "example.com"}, ["sms"]),
        ({"target": "domain", "contact_point": "elsewhere.example"}, ["email"]),
        ({"target": "person"}, []),
    ],
)
def test_a_domain_block_stops_its_own_addresses_and_nothing_else(
    tmp_path: Path, said: dict[str, Any], sent: list[str]
) -> None:
    """A domain is blocked, not whoever has an address there: a text message still goes."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(*grants(), block(**said), cart("2026-10-05T10:00:00Z"))
        assert [path.parents[1].name for path in shop.sent()] == sent


def test_a_domain_block_stops_what_is_decided_beside_it(tmp_path: Path) -> None:
    """A block of a domain in the same micro-batch as a message to it comes first or loses it."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(*grants(), row("page_viewed", "2026-10-05T08:30:00Z", "op"))
        beside = row(
            "suppression_added", "2026-10-05T10:00:00Z", "op", target="domain",
            contact_point="example.com",
        )  # fmt: skip
        shop.run(beside, cart("2026-10-05T10:00:00Z"))
        assert not shop.sent("email")


@pytest.mark.parametrize("name", ["spam_complaint", "suppression_added", "bounced"])
def test_a_reused_id_does_not_undo_a_restriction(tmp_path: Path, name: str) -> None:
    """Under a used id the event is a dead letter, and what restricts in it is applied."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(*grants())
        said = row(name, "2026-10-05T08:30:00Z", type="hard", contact_point=MAIL, email=MAIL)
        shop.run(said | {"id": grants()[0]["id"]})
        shop.run(cart("2026-10-05T10:00:00Z"))
        assert not shop.sent("email")


def test_a_late_no_in_a_later_run_is_a_conflict(tmp_path: Path) -> None:
    """How rows are cut into files does not change what they mean."""
    no = consent("denied", "2026-10-05T07:30:00Z", email=MAIL)
    for number, files in enumerate(([[*grants(), no]], [grants(), [no]])):
        with open_shop(tmp_path / f"w{number}") as shop:
            for rows in files:
                shop.run(*rows)
            shop.run(cart("2026-10-05T10:00:00Z"))
            assert not shop.sent("email")


def test_a_yes_is_for_the_address_it_came_with(tmp_path: Path) -> None:
    """A grant given at one address is no grant for a newer one."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(
            row("identified", "2026-10-05T07:00:00Z", email="old@example.com"),
            row("identified", "2026-10-05T07:10:00Z", email="new@example.com"),
            consent("granted", "2026-10-05T08:00:00Z", email="old@example.com"),
            cart("2026-10-05T10:00:00Z"),
        )
        for message in shop.sent("email"):
            assert "To: old@example.com" in message.read_text()


@pytest.mark.parametrize("said", [{"channel": "SMS"}, {"channel": "sms", "purpose": "what?"}])
def test_an_unclear_contact_elsewhere_counts_as_marketing(
    tmp_path: Path, said: dict[str, Any]
) -> None:
    """A contact whose purpose nobody knows fills the marketing cap."""
    with open_shop(tmp_path / "w") as shop:
        seen = row("contact_observed", "2026-10-05T08:30:00Z", **said)
        shop.run(grants()[1], seen, cart("2026-10-05T10:00:00Z"))
        assert not shop.sent("sms")


@pytest.mark.parametrize("envelope", ["other", None])
def test_a_no_names_its_brand_itself(tmp_path: Path, envelope: str | None) -> None:
    """`brand` in a denial's properties counts, and a denial that names two holds for all."""
    other = (
        "[input]",
        '[brands.other]\ntitle = "O"\ncontroller = "shop"\n[brands.other.senders]\n'
        'email = "o@o.example"\nsms = "O"\nweb = "O"\n\n[input]',
    )
    with open_shop(tmp_path / "w", changes={"settings.toml": other}) as shop:
        no = consent("denied", "2026-10-05T08:30:00Z")
        no["properties"]["brand"] = "shop"
        shop.run(*grants(), no | ({"brand": envelope} if envelope else {}))
        shop.run(cart("2026-10-05T10:00:00Z"))
        assert not shop.sent("email")


def test_a_letter_that_is_refused_again_stays(tmp_path: Path) -> None:
    """Retrying what still cannot be decided leaves it where it can be seen."""
    from service import desk
    from service.reports import dead_lines

    folder, store = tmp_path / "w", f"sqlite:///{tmp_path / 'shop.db'}"
    with open_shop(folder, store=store) as shop:
        shop.run(cart("2026-10-05T09:00:00Z") | {"brand": "unheard-of"})
    assert desk.retry_letters(folder, store, [], None, as_json=True) == 0
    letters = list(dead_lines(folder, store, everything=False, as_json=True))
    assert len(letters) == 1
    with pytest.raises(UsageError, match="no dead letter"):
        desk.retry_letters(folder, store, ["nothing"], None, as_json=True)
