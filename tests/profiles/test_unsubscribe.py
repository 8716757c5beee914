"""Unsubscribing in one click: who can, from what, and what a message tells a mail program."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from email import message_from_bytes
from pathlib import Path
from typing import Any

import pytest

from agents.reconsider import recompute
from domain.errors import InputError
from profiles.identity import IdentityRules
from profiles.unsubscribe import Answer, Subscription, answer, make, read
from service.assemble import kept_workspace
from store.vault import Vault
from tests.shop import Shop, at, cart, consent, open_shop, row

MAIL = "p@example.com"
URL = {
    "settings.toml": ('currency = "EUR"', 'currency = "EUR"\nunsubscribe_url = "https://s.eu/x/"')
}
RULES = IdentityRules()
FORM = {"List-Unsubscribe": "One-Click"}


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """A shop that p@example.com allows to write."""
    with open_shop(tmp_path / "w", changes=URL) as opened:
        opened.run(consent("granted", "2026-10-05T08:00:00Z", email=MAIL))
        yield opened


def token_for(shop: Shop, purpose: str | None = None, topic: str | None = None) -> str:
    """A token for p@example.com, as a message there would bear it."""
    vault = shop.database.vault
    ref = vault.fingerprint("identifier", "email", MAIL)
    return make(vault.seal_token, Subscription("shop", "email", ref, purpose, topic))


def request(shop: Shop, token: str, when: str, method: str = "POST") -> Answer:
    """Ask, and have what was said decided about."""
    form = FORM if method == "POST" else None
    given = answer(shop.database, RULES, token, method, at(when), form)
    if given.event is not None:
        run_event(shop, given)
    return given


def run_event(shop: Shop, given: Answer) -> None:
    from service.running import Run

    assert given.event is not None
    run = Run(shop.assembly, shop._decide, lambda _: None)
    asyncio.run(run.over([given.event]))


def denials(shop: Shop) -> list[dict[str, Any]]:
    return [line for line in shop.rows("consents") if line["kind"] == "denial"]


def reminder(shop: Shop, when: str, cart_id: str) -> tuple[str, ...]:
    """The codes against a reminder by e-mail."""
    from agents.record import read_record

    line = shop.one(cart(when, cart_id=cart_id))
    kept = shop.deps.history.get(line["decision_id"]).record()
    assert kept is not None
    considered = read_record(kept).thought.considered
    (one,) = [one for one in considered if one.action == "remind_by_email"]
    return tuple(code for _, code in one.against)


def test_case_12_a_purposeless_one_click_ends_all_marketing_there(shop: Shop) -> None:
    """Denied for shop, the address, e-mail, all marketing; order news goes on; twice is once."""
    token = token_for(shop)
    seen = request(shop, token, "2026-10-05T09:00:00Z", "GET")
    assert seen.event is None
    assert seen.page == {"brand": "shop", "channel": "email", "purpose": None, "topic": None}
    assert denials(shop) == []
    assert request(shop, token, "2026-10-05T09:01:00Z").event is not None
    (no,) = denials(shop)
    said = [no[key] for key in ("brand", "channel", "purpose", "topic", "contact_point")]
    ref = shop.database.vault.fingerprint("identifier", "email", MAIL)
    assert said == ["shop", "email", None, None, ref]
    assert no["profile_id"] == shop.rows("consents")[0]["profile_id"]
    assert "consent" in reminder(shop, "2026-10-05T09:02:00Z", "k-1")
    failed = shop.one(row("checkout_failed", "2026-10-05T09:03:00Z", order_id="o-1"))
    assert (failed["action"], failed["verdict"]) == ("checkout_help", "permitted")
    assert request(shop, token, "2026-10-05T09:04:00Z").page == seen.page
    assert denials(shop) == [no]


def test_the_command_answers_a_token_of_a_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--get` shows and changes nothing; without it the no is recorded, once; exit 2 if forged."""
    from service import cli

    folder = tmp_path / "w"
    with open_shop(folder, store=None, changes=URL) as shop:
        shop.run(consent("granted", "2026-10-05T08:00:00Z", email=MAIL))
        token = token_for(shop, "marketing", "carts")
    command = ["consent", "unsubscribe", token, "--workspace", str(folder)]
    for more, says in ((["--get"], "unsubscribes from"), ([], "unsubscribed from"), ([], "unsub")):
        capsys.readouterr()
        assert cli.main([*command, *more, "--at", "2026-10-05T09:00:00Z"]) == 0
        assert capsys.readouterr().out.startswith(says)
        with open_shop(folder, store=None) as shop:
            assert len(denials(shop)) == (0 if more else 1)
    assert cli.main([*command[:2], token + "x", *command[3:]]) == 2
    assert "no unsubscribe token of ours" in capsys.readouterr().err


def test_a_token_of_one_topic_leaves_the_others(shop: Shop) -> None:
    """A no to one purpose and topic is no more than that."""
    request(shop, token_for(shop, "marketing", "welcome"), "2026-10-05T09:00:00Z")
    assert [(no["purpose"], no["topic"]) for no in denials(shop)] == [("marketing", "welcome")]
    assert "consent" not in reminder(shop, "2026-10-05T09:01:00Z", "k-1")


def test_a_token_works_again_after_a_new_yes(shop: Shop) -> None:
    """Tokens never expire: an old message still unsubscribes who agreed again meanwhile."""
    token = token_for(shop, "marketing", "carts")
    request(shop, token, "2026-10-05T09:00:00Z")
    shop.run(consent("granted", "2026-10-05T10:00:00Z", email=MAIL))
    assert "consent" not in reminder(shop, "2026-10-05T10:01:00Z", "k-1")
    request(shop, token, "2030-10-05T11:00:00Z")
    assert len(denials(shop)) == 2
    assert "consent" in reminder(shop, "2030-10-05T11:01:00Z", "k-2")


def test_only_the_one_click_form_changes_anything(shop: Shop) -> None:
    """A POST of anything else is refused, and so is any other method."""
    token = token_for(shop)
    for method, form in (("POST", None), ("POST", {"List-Unsubscribe": "no"}), ("PUT", FORM)):
        with pytest.raises(InputError, match="one-click form"):
            answer(shop.database, RULES, token, method, at("2026-10-05T09:00:00Z"), form)


def test_a_forged_or_damaged_token_is_refused(shop: Shop) -> None:
    """No letter of a token can be changed, left out or added, and no other key makes one."""
    vault, token = shop.database.vault, token_for(shop, "marketing", "carts")
    assert read(vault, token).topic == "carts"
    other = make(Vault(b"k" * 32).seal_token, read(vault, token))
    damaged = [
        token[:i] + ("A" if token[i] != "A" else "B") + token[i + 1 :] for i in range(len(token))
    ]
    added = [token + "A", token + "=", token + "\n", token[:9] + "%" + token[9:], "é" + token]
    for wrong in (*damaged, *added, token[:-1], token[3:], "", "u1.", other, "u1." + "A" * 10**6):
        with pytest.raises(InputError, match="no unsubscribe token of ours"):
            read(vault, wrong)


def test_a_token_tells_nothing(shop: Shop) -> None:
    """Neither the purpose nor the point stands in it, and it is the same each time."""
    import base64

    token = token_for(shop, "marketing", "carts")
    assert token == token_for(shop, "marketing", "carts")
    letters = token.removeprefix("u1.")
    plain = base64.urlsafe_b64decode(letters + "=" * (-len(letters) % 4))
    for word in (b"marketing", b"carts", b"email", MAIL.encode()):
        assert word not in plain


def test_who_was_erased_has_nothing_left_to_say(tmp_path: Path) -> None:
    """Nobody has the address any more: marketing there is suppressed already."""
    from datetime import timedelta

    from agents import erasure

    with open_shop(tmp_path / "w") as shop:
        shop.run(consent("granted", "2026-10-05T08:00:00Z", email=MAIL))
        (person,) = {line["profile_id"] for line in shop.rows("consents")}
        now = at("2026-10-05T09:00:00Z")
        done = erasure.erase(
            shop.deps,
            person,
            received_at=now,
            at=now,
            by="ida",
            reason="asked",
            evidence_for=timedelta(days=1),
        )
        asyncio.run(done)
        given = answer(shop.database, RULES, token_for(shop), "POST", now, FORM)
        assert (given.event, given.page["brand"]) == (None, "shop")
        assert [line["blocks"] for line in shop.rows("suppressions")] == ["marketing"]


def test_marketing_by_mail_bears_the_header_and_its_token_works(shop: Shop) -> None:
    """`List-Unsubscribe` and `List-Unsubscribe-Post` (RFC 8058), bound to purpose and topic."""
    line = shop.one(cart("2026-10-05T09:00:00Z"))
    assert (line["action"], line["verdict"]) == ("remind_by_email", "permitted")
    shop.one(row("checkout_failed", "2026-10-05T09:01:00Z", order_id="o-1"))
    mails = [message_from_bytes(path.read_bytes()) for path in shop.sent("email")]
    bearing = {mail["Subject"]: mail["List-Unsubscribe"] for mail in mails}
    assert bearing["Your order did not go through"] is None
    header = bearing["You left something in your cart"]
    start = "<https://s.eu/x/unsubscribe/"
    assert header.startswith(start)
    assert {mail["List-Unsubscribe-Post"] for mail in mails} == {None, "List-Unsubscribe=One-Click"}
    token = header.removeprefix(start).removesuffix(">")
    about = read(shop.database.vault, token)
    assert (about.purpose, about.topic, about.about) == ("marketing", "carts", line["event_id"])
    request(shop, token, "2026-10-05T09:02:00Z")
    assert "consent" in reminder(shop, "2026-10-05T09:03:00Z", "k-2")


def test_messages_with_the_header_are_decided_again_byte_for_byte(shop: Shop) -> None:
    """The token follows from the context and the key."""
    shop.run(cart("2026-10-05T09:00:00Z"))
    database = shop.database
    assert shop.sent("email")
    again = recompute(database, lambda v: kept_workspace(database, v), shop.deps.mind)
    assert (again.same, again.different) == (2, ())


def test_a_held_offer_bears_the_same_token_when_it_is_approved(shop: Shop) -> None:
    """What was approved is what is sent, to the last letter of its header."""
    shop.run(row("contact_opened", "2026-10-05T09:00:00Z", topic="late", email=MAIL))
    failed = row("self_service_failed", "2026-10-05T09:00:30Z", topic="late", email=MAIL)
    shop.run(failed)
    shop.run(row("contact_opened", "2026-10-05T09:01:00Z", topic="late2", email=MAIL))
    pending = [one for one in shop.rows("approvals") if one["state"] == "pending"]
    assert len(pending) == 1
    shop.vote(pending[0]["approval_id"], "approve", "2026-10-05T09:02:00Z")
    (line,) = shop.wake("2026-10-05T09:02:00Z")
    assert line["verdict"] == "permitted"
