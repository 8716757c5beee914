"""Computes what a person's behaviour says, each signal by a formula that `docs/signals.md` names.

Signals describe what was done before a pass: the event at hand is not counted, a later pass over
it counts it. They are made from bounded tallies, never from the history, and of one controller's
brands only. One that is undefined is absent.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from domain.event import Event
from profiles.activity import EVENT_DAYS, PURCHASE_DAYS, Activity, Bought, Busy, Moment, joined
from profiles.arrivals import Draft
from profiles.friction import EVENTS as FRICTION_EVENTS
from profiles.friction import NAMES, channel_of, friction
from profiles.friction import source as friction_source
from profiles.occasions import of_event
from profiles.terms import FrictionWeights, SignalTerms, Terms
from store.instants import micros

VALUE_MAX = 1e9
INTENT_DECAY = 0.85
FOLLOWED_WITHIN_DAYS = 7
_NAMES = (
    "churn_hazard",
    "days_since_contact",
    "events_30d",
    "events_90d",
    "intent",
    "intent_share",
    "purchases_30d",
    "purchases_90d",
    "recency_days",
    "value_365d",
)
_SOURCES = {
    "churn_hazard": "all purchases",
    "days_since_contact": "contacts of 90 days",
    "engagement": "contacts of 90 days, and opens, clicks and replies",
    "events_30d": "events of 30 days",
    "events_90d": "events of 90 days",
    "intent": "the newest 20 events",
    "intent_share": "the newest 20 events",
    "purchases_30d": "purchases of 30 days",
    "purchases_90d": "purchases of 90 days",
    "recency_days": "the newest event",
    "value_365d": "purchases of 365 days",
    "open_cases": "cases that are open",
    "events_before": "all events before this one",
    "contacts_7d": "contacts of 7 days",
    "shared_address": "who else uses the contact points",
    "opted_out": "this very event",
}
_DAY = 86_400_000_000

ContactDays = Sequence[tuple[str, int, int, int]]


def with_done(
    activity: Mapping[str, Activity], event: Event, terms: Terms
) -> Mapping[str, Activity]:
    """What was done with each brand, and this event."""
    brand = terms.brand_of(event)
    done = _done(event, brand, terms)
    return {**activity, brand: joined((activity[brand], done)) if brand in activity else done}


def _done(event: Event, brand: str, terms: Terms) -> Activity:
    at = micros(event.time)
    day = at // _DAY
    channel = terms.signals.engagement.get(event.name)
    is_purchase = event.name in terms.signals.purchases
    return Activity(
        recent=(Moment(at, event.name, channel_of(event)),),
        events=(Busy(day, 1),),
        bought=(Bought(day, 1, _thousandths(event, brand, terms.signals)),) if is_purchase else (),
        engaged={} if channel is None else {channel: (day,)},
        purchases=int(is_purchase),
        first_at=at if is_purchase else 0,
        last_at=at if is_purchase else 0,
        occasions=of_event(event, terms),
    )


def _thousandths(event: Event, brand: str, terms: SignalTerms) -> int:
    """Whole thousandths of the brand's currency, which add up alike in any order."""
    value = event.properties.get(terms.value)
    currency = event.properties.get("currency")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    if isinstance(currency, str) and currency.upper() != terms.currencies.get(brand):
        return 0
    return round(value * 1000) if 0 <= value <= VALUE_MAX else 0


def names(terms: Terms) -> tuple[str, ...]:
    """The behavioural signals, all of which may be absent."""
    engagement = (f"engagement.{channel}" for channel in sorted(terms.addresses))
    return tuple(f"signal.{name}" for name in (*_NAMES, *NAMES, *engagement))


def source(name: str, fields: Mapping[str, Any], weights: FrictionWeights) -> str:
    """What a signal was made from, for whoever asks why.

    Args:
        name: such as `signal.intent`.
        fields: all that the decision looked at.
    """
    own = name.removeprefix("signal.")
    if own == "friction":
        return friction_source(fields, weights)
    found = "events" if own in NAMES else _SOURCES.get(own.partition(".")[0], "")
    return {"": "what is known of the person", "events": FRICTION_EVENTS}.get(found, found)


def behaviour(draft: Draft, contact_days: ContactDays, terms: Terms) -> dict[str, Any]:
    """The behavioural signals of one person at the pass's `now`."""
    arrival = draft.perceived.arrival
    brand = terms.brand_of(arrival.event)
    beside = terms.brands_beside(brand)
    by_brand = {
        name: joined(part[name] for part in draft.before if name in part) for name in beside
    }
    whole = joined(by_brand.values())
    currency = terms.signals.currencies.get(brand)
    same = [b for b in beside if terms.signals.currencies.get(b) == currency]
    now = arrival.now
    return {
        **_frequency(whole, now),
        "signal.value_365d": _value([by_brand[name] for name in same], now),
        **_recency(whole, now),
        **_intent(whole, terms.signals),
        **friction(whole.recent, now, terms.signals),
        **_hazard(whole, now),
        **_contacted(whole, contact_days, now),
    }


def _frequency(whole: Activity, now: datetime) -> dict[str, int]:
    """Events and purchases on the last 30 and 90 UTC days, today's included."""
    today = micros(now) // _DAY
    found = {}
    for days in (30, EVENT_DAYS):
        since = today - days
        found[f"signal.events_{days}d"] = sum(n for day, n in whole.events if day > since)
        found[f"signal.purchases_{days}d"] = sum(
            bought.purchases for bought in whole.bought if bought.day > since
        )
    return found


def _value(parts: Iterable[Activity], now: datetime) -> float:
    """The value of purchases on the last 365 UTC days, in the brand's currency."""
    since = micros(now) // _DAY - PURCHASE_DAYS
    return (
        sum(bought.thousandths for part in parts for bought in part.bought if bought.day > since)
        / 1000
    )


def _recency(whole: Activity, now: datetime) -> dict[str, float]:
    """Days since the newest event; 0 where that is later than `now`."""
    return {"signal.recency_days": _days(whole.recent[0].at, now)} if whole.recent else {}


def _intent(whole: Activity, terms: SignalTerms) -> dict[str, Any]:
    """The intent of most weight among the newest 20 events: the k-th newest weighs 0.85^k.

    `intent_share` is its part of the weight of all of them; of equal ones the first by name wins.
    """
    weights: dict[str, list[float]] = defaultdict(list)
    for k, moment in enumerate(whole.recent):
        if moment.name in terms.intents:
            weights[terms.intents[moment.name]].append(INTENT_DECAY**k)
    if not weights:
        return {}
    intent = min(weights, key=lambda name: (-math.fsum(weights[name]), name))
    total = math.fsum(INTENT_DECAY**k for k in range(len(whole.recent)))
    share = math.fsum(weights[intent]) / total
    return {"signal.intent": intent, "signal.intent_share": share}


def _hazard(whole: Activity, now: datetime) -> dict[str, float]:
    """The cumulative hazard of no longer being a customer: days since the last purchase over the
    mean days between purchases, (last - first) / (n - 1).

    With exponential gaps, as in Schmittlein, Morrison and Colombo, "Counting your customers",
    Management Science 33 (1987), an active customer is silent this long with probability
    exp(-hazard). Undefined below two purchases at different instants.
    """
    if whole.purchases < 2 or whole.last_at == whole.first_at:
        return {}
    gap = (whole.last_at - whole.first_at) / (whole.purchases - 1)
    return {"signal.churn_hazard": max(0, micros(now) - whole.last_at) / gap}


def _contacted(whole: Activity, contact_days: ContactDays, now: datetime) -> dict[str, float]:
    """Days since the last contact of 90 days; and by channel the share of those contacts with an
    open, click or reply on the contact's UTC day or the 7 after it."""
    made: dict[str, int] = defaultdict(int)
    followed: dict[str, int] = defaultdict(int)
    for channel, day, count, _ in contact_days:
        made[channel] += count
        last = day + FOLLOWED_WITHIN_DAYS
        if any(day <= engaged <= last for engaged in whole.engaged.get(channel, ())):
            followed[channel] += count
    found = {f"signal.engagement.{name}": followed[name] / n for name, n in made.items()}
    if contact_days:
        found["signal.days_since_contact"] = _days(max(row[3] for row in contact_days), now)
    return found


def _days(since: int, now: datetime) -> float:
    return max(0, micros(now) - since) / _DAY
