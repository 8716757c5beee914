from __future__ import annotations

from pathlib import Path

import pytest

from agents.workspace import load_workspace, read_files
from policies.promotions import promotional_words
from service.settings import make_workspace


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("20 % off your next order, 20 % off!", ("20 % off",)),
        ("Get 15% OFF today. Use your Voucher.", ("15% OFF", "Voucher")),
        ("You may also like these.", ("You may also like",)),
        ("Tell a\nfriend: https://x.example/?ref=7", ("Tell a friend", "?ref=")),
        ("20 % Rabatt auf alles", ("20 % Rabatt",)),
        ("Your battery is at 20 %. It will switch off.", ()),
        ("The offices are closed.", ()),
        ("", ()),
    ],
)
def test_words_that_sound_like_a_promotion(text: str, found: tuple[str, ...]) -> None:
    """What sounds like a promotion is named as it stands there; plain news is left alone."""
    assert promotional_words(text) == found


def test_the_starter_promotes_nothing_by_the_way(tmp_path: Path) -> None:
    """No text of the starter that is sent without consent sounds like a promotion."""
    for _ in make_workspace(tmp_path / "w"):
        pass
    shop = load_workspace(read_files(tmp_path / "w"))
    exempt = {name for name, purpose in shop.policies.purposes.items() if purpose.templates}
    sent = [action for action in shop.actions.values() if action.purpose in exempt]
    assert len([one for one in sent if one.body]) == 3
    assert not [one.name for one in sent if promotional_words(f"{one.subject} {one.body}")]
