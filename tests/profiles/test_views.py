from __future__ import annotations

from pathlib import Path

import pytest

from domain.errors import UsageError
from profiles.identity import IdentityRules
from profiles.views import View, view
from tests.shop import Shop, consent, open_shop, row


def seen(shop: Shop, who: str) -> View:
    with shop.database.read() as snapshot:
        return view(snapshot, shop.database.vault, who, "DE", IdentityRules())


def test_a_person_is_found_by_id_and_by_every_identifier(tmp_path: Path) -> None:
    """Whatever spelling an identifier is asked in, it is the same person."""
    with open_shop(tmp_path / "w") as shop:
        said = {"email": "a@shop.example", "phone": "+49 171 1234567"}
        shop.run(consent("granted", "2026-10-05T08:00:00Z", "c-1", source="web", **said))
        found = seen(shop, "user_id:c-1")
        for who in (
            found.profile_id,
            "email:A@Shop.example",
            "phone:0171 1234567",
            "phone:+491711234567",
        ):
            assert seen(shop, who) == found
        assert [(known.ns, known.value) for known in found.whole.identifiers] == [
            ("email", "a@shop.example"),
            ("phone", "+491711234567"),
            ("user_id", "c-1"),
        ]
        assert {known.source for known in found.whole.identifiers} == {"web"}
        assert [(one.line.kind, one.address) for one in found.said] == [
            ("grant", "a@shop.example"),
        ]


def test_a_merged_person_shows_every_fragment_the_roots_first(tmp_path: Path) -> None:
    """What was two is shown as two, with what they add up to."""
    with open_shop(tmp_path / "w") as shop:
        visitor = row("page_viewed", "2026-10-05T08:00:00Z", anonymous_id="v-1", source="app")
        del visitor["user_id"]
        shop.run(
            visitor,
            row("identified", "2026-10-05T08:10:00Z", "c-1", traits={"first_name": "Ann"}),
            row("page_viewed", "2026-10-05T08:20:00Z", "c-1", anonymous_id="v-1"),
        )
        found = seen(shop, "anonymous_id:v-1")
        assert found == seen(shop, "user_id:c-1")
        assert len(found.members) == 2
        assert found.members[0].profile_id == found.profile_id
        for member in found.members:
            assert seen(shop, member.profile_id) == found
        assert {known.ns: known.source for known in found.whole.identifiers} == {
            "anonymous_id": "app",
            "user_id": "shop",
        }
        assert found.whole.traits["first_name"].value == "Ann"
        assert found.whole.events == 3


@pytest.mark.parametrize("who", ["p-nobody", "email:x@shop.example", "email:", ":", "", "x:y:z"])
def test_nobody_is_said_to_be_nobody(tmp_path: Path, who: str) -> None:
    """A name that means nobody is refused with what to ask instead."""
    with (
        open_shop(tmp_path / "w") as shop,
        pytest.raises(UsageError, match="nobody is known as") as caught,
    ):
        seen(shop, who)
    assert caught.value.remedy is not None
    assert "email:a@x.example" in caught.value.remedy
