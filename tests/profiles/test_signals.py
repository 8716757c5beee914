from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.record import read_record
from domain.canonical import canonical
from domain.context import Context
from domain.event import Event
from policies.loader import load_policies
from profiles.activity import EVENT_DAYS, PURCHASE_DAYS, RECENT_MAX, Activity, joined
from profiles.arrivals import Arrival, Draft, Perceived
from profiles.identity import IdentityRules
from profiles.membership import Identified
from profiles.signals import behaviour, names, with_done
from profiles.terms import SignalTerms, Terms
from profiles.views import view
from store.instants import micros
from store.work import Work
from tests.shop import Shop, cart, consent, open_shop, row

NOW = datetime(2026, 10, 5, 9, tzinfo=UTC)
BRANDS = {"shop": "shop", "outlet": "shop", "bank": "bank"}
TERMS = Terms(
    brand="shop",
    controllers=BRANDS,
    addresses={"email": "email", "web": "none"},
    fields=(),
    look_back=timedelta(days=7),
    signals=SignalTerms(
        purchases=frozenset({"order_completed"}),
        currencies={"shop": "EUR", "outlet": "USD", "bank": "EUR"},
        engagement={"email_opened": "email"},
        intents={"cart_abandoned": "buy", "help_opened": "help"},
    ),
)

SMOOTH = {
    "signal.friction": 0.0,
    "signal.friction_repeats": 0,
    "signal.friction_errors": 0,
    "signal.friction_switches": 0,
    "signal.friction_back_and_forth": 0,
}


def event(name: str, ago: timedelta, brand: str | None = None, **properties: Any) -> Event:
    at = NOW - ago
    return Event("shop", None, "track", name, at, at, (), properties, {}, brand)


def days(n: float) -> timedelta:
    return timedelta(days=n)


def done(*events: Event) -> dict[str, Activity]:
    activity: Any = {}
    for one in events:
        activity = with_done(activity, one, TERMS)
    return dict(activity)


def signals(
    *parts: dict[str, Activity], contacts: Any = (), now: datetime = NOW, brand: str | None = None
) -> dict[str, Any]:
    arrival = Arrival(replace(event("page_viewed", days(0)), brand=brand), now)
    draft = Draft(Perceived(arrival, b"", "", Work()), Identified("p", {}))
    draft.before = parts
    return behaviour(draft, contacts, TERMS)


moments = st.builds(
    lambda name, minutes, value, brand: event(
        name, timedelta(minutes=minutes), brand, **({} if value is None else {"value": value})
    ),
    st.sampled_from(["order_completed", "email_opened", "cart_abandoned", "help_opened", "x"]),
    st.one_of(st.integers(0, 3000), st.integers(0, 800 * 24 * 60)),
    st.none() | st.floats(0, 1e6),
    st.sampled_from([None, "outlet", "bank"]),
)


@given(st.lists(moments, max_size=60), st.randoms(use_true_random=False), st.integers(0, 400))
def test_the_order_of_arrival_and_the_fragments_do_not_matter(
    events: list[Event], chance: random.Random, later: int
) -> None:
    """Late, early, by one identity or by several: the same events give the same signals."""
    shuffled = list(events)
    chance.shuffle(shuffled)
    parts: list[list[Event]] = [[], [], []]
    for one in shuffled:
        chance.choice(parts).append(one)
    now = NOW + days(later)
    whole = done(*events)
    assert canonical(whole) == canonical(done(*shuffled))
    assert signals(whole, now=now) == signals(*(done(*part) for part in parts), now=now)


@given(st.lists(moments, max_size=60))
def test_the_windows_count_what_counting_the_events_counts(events: list[Event]) -> None:
    """Against plain counting over the whole history, which nothing here keeps."""
    mine = [one for one in events if BRANDS[one.brand or "shop"] == "shop"]
    today = micros(NOW) // 86_400_000_000
    found = signals(done(*events))
    for window in (30, 90):
        near = [one for one in mine if micros(one.time) // 86_400_000_000 > today - window]
        assert found[f"signal.events_{window}d"] == len(near)
        bought = [one for one in near if one.name == "order_completed"]
        assert found[f"signal.purchases_{window}d"] == len(bought)
    spent = sum(
        round(one.properties.get("value", 0) * 1000)
        for one in mine
        if one.name == "order_completed"
        and one.brand is None
        and micros(one.time) // 86_400_000_000 > today - PURCHASE_DAYS
    )
    assert found["signal.value_365d"] == spent / 1000
    assert ("signal.recency_days" in found) is bool(mine)


def test_what_is_kept_is_bounded_whatever_was_done() -> None:
    """Fifty years of daily events leave no more than one busy year does."""
    activity = Activity()
    chance = random.Random(4)
    for n in range(18_000):
        name = chance.choice(["order_completed", "email_opened"])
        once = with_done({}, event(name, days(chance.random() * 18_000), value=n), TERMS)
        activity = joined((activity, once["shop"]))
    assert len(activity.recent) == RECENT_MAX
    assert len(activity.events) <= EVENT_DAYS
    assert len(activity.bought) <= PURCHASE_DAYS
    assert len(activity.engaged["email"]) <= EVENT_DAYS
    assert len(canonical(activity)) < 12_000


def test_somebody_new_has_no_recency_intent_or_hazard() -> None:
    """What is undefined is absent, and what is counted is zero."""
    assert signals() == {
        "signal.events_30d": 0,
        "signal.events_90d": 0,
        "signal.purchases_30d": 0,
        "signal.purchases_90d": 0,
        "signal.value_365d": 0,
        **SMOOTH,
    }


def test_each_signal_follows_its_formula() -> None:
    """One customer, worked out by hand."""
    found = signals(
        done(
            event("order_completed", days(400), value=999),
            event("order_completed", days(100), value=20.5),
            event("order_completed", days(40), value=9.5),
            event("order_completed", days(20), value=7, currency="USD"),
            event("email_opened", days(3)),
            event("cart_abandoned", days(2)),
            event("help_opened", days(1.5)),
        ),
        contacts=[
            ("email", 20730 - 5, 2, micros(NOW - days(5))),
            ("email", 20730 - 60, 1, micros(NOW - days(60))),
            ("web", 20730 - 4, 1, micros(NOW - days(4))),
        ],
    )
    assert found == {
        "signal.recency_days": 1.5,
        "signal.events_30d": 4,
        "signal.events_90d": 5,
        "signal.purchases_30d": 1,
        "signal.purchases_90d": 2,
        "signal.value_365d": 30.0,
        "signal.intent": "help",
        "signal.intent_share": pytest.approx(1 / sum(0.85**k for k in range(7))),
        "signal.churn_hazard": pytest.approx(20 / ((400 - 20) / 3)),
        "signal.days_since_contact": 4,
        "signal.engagement.email": pytest.approx(2 / 3),
        "signal.engagement.web": 0,
        **SMOOTH,
    }


def test_a_banks_history_says_nothing_to_a_shop() -> None:
    """Only the same controller's brands count, and money only in the same currency."""
    activity = done(
        event("order_completed", days(2), "bank", value=500),
        event("order_completed", days(1), "outlet", value=70),
    )
    assert signals(activity)["signal.purchases_30d"] == 1
    assert signals(activity)["signal.value_365d"] == 0
    assert signals(activity, brand="outlet")["signal.value_365d"] == 70
    assert signals(activity, brand="bank")["signal.value_365d"] == 500


@pytest.mark.parametrize("value", [None, True, "12", -1, 1e300, [3]])
def test_what_is_no_amount_adds_nothing(value: Any) -> None:
    """A purchase with an unreadable value is a purchase all the same."""
    found = signals(done(event("order_completed", days(1), value=value)))
    assert (found["signal.purchases_30d"], found["signal.value_365d"]) == (1, 0)


def test_every_signal_is_declared_and_none_is_needed() -> None:
    """A rule must ask `has()`, because whoever refuses profiling has none of them."""
    fields = load_policies({"policies/a.yaml": CHANNELS}).fields
    assert {name for name in names(TERMS) if not fields[name].optional} == set()


CHANNELS = """
channels:
  email: {title: e-mail, address: email}
  web: {title: web, address: none}
"""


def looked_at(shop: Shop, line: dict[str, Any]) -> Context:
    data = shop.deps.history.get(line["decision_id"]).record()
    assert data is not None
    return read_record(data).context


def test_a_rule_goes_by_a_signal_and_the_event_at_hand_is_not_in_it(tmp_path: Path) -> None:
    """Two orders before the cart are two: a rule for loyal customers passes at the second."""
    rule = 'when: "has(event.value) && event.value >= 20.0"'
    loyal = 'when: "has(signal.purchases_30d) && signal.purchases_30d >= 2"'
    with open_shop(tmp_path / "w", changes={"policies/engagement.yaml": (rule, loyal)}) as shop:
        shop.run(consent("granted", "2026-10-01T08:00:00Z", email="a@shop.example"))
        shop.run(row("order_completed", "2026-10-02T08:00:00Z", value=10))
        once = shop.one(cart("2026-10-03T08:00:00Z", cart_id="k-1"))
        shop.run(row("order_completed", "2026-10-03T09:00:00Z", value=12))
        twice = shop.one(cart("2026-10-04T08:00:00Z", cart_id="k-2"))
        assert (once["action"], twice["action"]) == ("cart_banner", "remind_by_email")
        fields = looked_at(shop, twice).fields
        assert fields["signal.events_90d"] == 4
        assert fields["signal.value_365d"] == 22


def test_who_refuses_to_be_profiled_has_no_behaviour(tmp_path: Path) -> None:
    """The signals are withheld, and the decision says which."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(
            row("order_completed", "2026-10-02T08:00:00Z", value=10),
            consent("objection", "2026-10-02T09:00:00Z", purpose="profile", channel=None),
        )
        context = looked_at(shop, shop.one(cart("2026-10-03T08:00:00Z")))
        assert "signal.recency_days" in context.withheld
        assert {name for name in context.fields if name.startswith("signal.")} == {
            "signal.open_cases",
            "signal.events_before",
            "signal.contacts_7d",
            "signal.opted_out",
            "signal.shared_address",
        }


def test_a_yes_to_be_profiled_that_ran_out_is_none(tmp_path: Path) -> None:
    """While it lasts there are signals; after it there are not."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(
            consent(
                "granted", "2026-10-02T09:00:00Z", purpose="profile", email="a@shop.example",
                expires_at="2026-10-04T00:00:00Z",
            )
        )  # fmt: skip
        lasting = looked_at(shop, shop.one(cart("2026-10-03T08:00:00Z", cart_id="k-1")))
        over = looked_at(shop, shop.one(cart("2026-10-05T08:00:00Z", cart_id="k-2")))
        assert "signal.recency_days" in lasting.fields
        assert "signal.recency_days" in over.withheld


def test_a_trait_keeps_how_sure_its_source_was(tmp_path: Path) -> None:
    """The event's own word counts first, then the source's, else it is sure; the later wins."""
    sure = ('source = "shop"', 'source = "shop"\n[input.confidence]\ncrm = 0.9')
    with open_shop(tmp_path / "w", changes={"settings.toml": sure}) as shop:
        shop.run(
            row("identified", "2026-10-05T08:00:00Z", traits={"plan": "a", "city": "Bonn"}),
            row("identified", "2026-10-05T09:00:00Z", source="crm", traits={"plan": "b"}),
            row("identified", "2026-10-05T07:00:00Z", "c-1", source="x", traits={"plan": "c"}),
            row("identified", "2026-10-05T09:30:00Z", source="crm", traits={"age": 4})
            | {"confidence": 0.25},
        )
        with shop.database.read() as snapshot:
            found = view(snapshot, shop.database.vault, "user_id:c-1", None, IdentityRules())
        traits = found.whole.traits
        assert {n: (x.value, x.source, x.confidence) for n, x in traits.items()} == {
            "plan": ("b", "crm", 0.9),
            "city": ("Bonn", "shop", 1.0),
            "age": (4, "crm", 0.25),
        }


@pytest.mark.parametrize("said", [-0.1, 1.1, True, "much", [1], 10**400])
def test_no_share_is_no_confidence(tmp_path: Path, said: Any) -> None:
    """How sure is said from 0 to 1, or the row is a dead letter that says so."""
    with open_shop(tmp_path / "w") as shop:
        (line,) = shop.run(row("identified", "2026-10-05T08:00:00Z") | {"confidence": said})
        assert (line["verdict"], line["code"]) == ("dead", "invalid_field")
