"""Sources that fall silent: what they told is no reason to promote any more."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agents.minds.formula import FormulaMind
from agents.reconsider import same_again
from agents.record import read_record
from domain.errors import ConfigurationError
from profiles.freshness import STEPS_A_LAG
from store.instants import instant, micros
from tests.shop import Shop, at, cart, consent, open_shop, row

MAIL = "a@shop.example"
YES = consent("granted", "2026-10-05T07:00:00Z", email=MAIL)
TOLD = "2026-10-05T08:00:00Z"
GOLD = row("identified", TOLD, source="crm", traits={"plan": "gold"})
LAG = ('source = "shop"', 'source = "shop"\n[input.max_lag]\ncrm = "1d"')
WHEN = 'when: "has(event.value) && event.value >= 20.0"'
PLAN = (WHEN, """when: 'has(profile.plan) && profile.plan == "gold"'""")
BOUGHT = (WHEN, 'when: "has(signal.purchases_30d) && signal.purchases_30d >= 0"')


def changes(rule: tuple[str, str] = PLAN) -> dict[str, tuple[str, str]]:
    """A CRM that may be silent for a day, and a rule for reminders."""
    return {"settings.toml": LAG, "policies/engagement.yaml": rule}


def against(shop: Shop, line: dict[str, Any], action: str) -> set[str]:
    """The codes against one action of a decision, which is decided again the same."""
    kept = shop.deps.history.get(line["decision_id"]).record()
    assert kept is not None
    record = read_record(kept)
    vault = shop.database.vault
    assert same_again(record, shop.deps.workspace, FormulaMind(), vault)
    (found,) = [one for one in record.thought.considered if one.action == action]
    return {code for _, code in found.against}


def watermark(shop: Shop) -> datetime | None:
    """How far the CRM has told of."""
    return next((instant(one["watermark_at"]) for one in shop.rows("sources")), None)


@pytest.mark.parametrize(
    ("asked_at", "is_stale"),
    [
        ("2026-10-05T09:00:00Z", False),
        ("2026-10-06T08:00:00Z", False),
        ("2026-10-06T08:00:00.000001Z", True),
        ("2026-10-09T09:00:00Z", True),
    ],
)
def test_a_rule_that_reads_a_silent_source_forbids_promotion(
    tmp_path: Path, store: str, asked_at: str, is_stale: bool
) -> None:
    """Up to its longest lag, and no longer, what a source told is taken for true."""
    with open_shop(tmp_path / "w", store=store, changes=changes()) as shop:
        shop.run(YES, GOLD)
        line = shop.one(cart(asked_at))
        assert against(shop, line, "remind_by_email") == ({"stale_context"} if is_stale else set())
        assert line["action"] == ("cart_banner" if is_stale else "remind_by_email")
        assert len(shop.sent("email")) == (0 if is_stale else 1)


def test_a_source_that_is_heard_of_again_is_fresh(tmp_path: Path, store: str) -> None:
    """Whoever its event is about, and in whatever order they come; an undated one says nothing."""
    with open_shop(tmp_path / "w", store=store, changes=changes()) as shop:
        shop.run(YES, GOLD)
        undated = row("identified", "", "c-2", source="crm", traits={"plan": "tin"}, id="undated")
        del undated["at"]
        shop.run(row("page_viewed", "2026-10-06T08:30:00Z", "c-3"), undated)
        stale = shop.one(cart("2026-10-06T08:31:00Z", cart_id="k-1"))
        assert against(shop, stale, "remind_by_email") == {"stale_context"}
        shop.run(row("identified", "2026-10-06T09:00:00Z", "c-2", source="crm"))
        assert watermark(shop) == at("2026-10-06T09:00:00Z")
        shop.run(row("identified", "2026-10-05T10:00:00Z", "c-2", source="crm"))
        assert watermark(shop) == at("2026-10-06T09:00:00Z")
        fresh = shop.one(cart("2026-10-06T09:05:00Z", cart_id="k-2"))
        assert against(shop, fresh, "remind_by_email") == set()


def test_a_source_that_was_never_heard_of_makes_stale_what_all_sources_tell(tmp_path: Path) -> None:
    """A count of purchases lacks those of a silent till; a trait that another told is whole."""
    with open_shop(tmp_path / "w", changes=changes(BOUGHT)) as shop:
        line = shop.run(YES, cart("2026-10-05T09:00:00Z"))[-1]
        assert against(shop, line, "remind_by_email") == {"stale_context"}
    with open_shop(tmp_path / "v", changes=changes()) as shop:
        told = row("identified", TOLD, traits={"plan": "gold"})
        line = shop.run(YES, told, cart("2026-10-05T09:00:00Z"))[-1]
        assert against(shop, line, "remind_by_email") == set()


def test_what_is_no_promotion_goes_on(tmp_path: Path) -> None:
    """Service passes rules on stale data, and promotion passes rules that read none."""
    every = ("purposes: [marketing]\n    journeys: [abandoned_cart, welcome]\n    ", "")
    reads = ('when: "signal.open_cases == 0"', PLAN[1])
    with open_shop(tmp_path / "w", changes={"settings.toml": LAG}) as shop:
        path = tmp_path / "w" / "policies" / "engagement.yaml"
        line = shop.run(YES, GOLD, cart("2026-10-09T09:00:00Z"))[-1]
        assert line["action"] == "remind_by_email"
        text = path.read_text()
        for old, new in (every, reads):
            assert old in text
            text = text.replace(old, new)
        path.write_text(text)
    with open_shop(tmp_path / "w") as shop:
        shop.run(YES, GOLD)
        failed = row("checkout_failed", "2026-10-09T09:00:00Z", order_id="o-1", error="card")
        _, line = shop.run(row("page_viewed", "2026-10-09T09:00:00Z", "c-9"), failed)
        assert line["verdict"] in ("permitted", "held")
        assert line["code"] != "stale_context"


def test_a_watermark_is_written_a_few_times_a_lag(tmp_path: Path, store: str) -> None:
    """A busy source does not write its watermark with each event, nor let it fall far behind."""
    lag, step = timedelta(days=1), timedelta(minutes=10)
    with open_shop(tmp_path / "w", store=store, changes=changes()) as shop:
        moved = set()
        for n in range(144):
            now = at(TOLD) + step * n
            said = row("page_viewed", now.isoformat(), f"c-{n % 9}", source="crm")
            shop.run(said)
            kept = watermark(shop)
            assert kept is not None
            moved.add(kept)
            assert timedelta(0) <= now - kept <= lag / STEPS_A_LAG
        assert len(moved) <= STEPS_A_LAG
        assert [one["watermark_at"] for one in shop.rows("sources")] == [micros(max(moved))]


def test_where_no_lag_is_declared_nothing_is_kept_or_stale(tmp_path: Path) -> None:
    """Only a source that the workspace gives a longest lag can be too late."""
    with open_shop(tmp_path / "w", changes={"policies/engagement.yaml": PLAN}) as shop:
        line = shop.run(YES, GOLD, cart("2026-12-09T09:00:00Z"))[-1]
        assert line["action"] == "remind_by_email"
        assert shop.rows("sources") == []


def test_a_lag_that_is_no_duration_is_refused(tmp_path: Path) -> None:
    """The file and line of a lag that cannot be meant are named."""
    wrong = ('source = "shop"', 'source = "shop"\n[input.max_lag]\ncrm = "soon"')
    with (
        pytest.raises(ConfigurationError, match="max_lag"),
        open_shop(tmp_path / "w", changes={"settings.toml": wrong}),
    ):
        pass
