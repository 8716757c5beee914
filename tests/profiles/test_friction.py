"""How hard somebody finds it: repeats, errors, channel switches, and going back and forth."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.minds.formula import FormulaMind
from agents.reconsider import explain, same_again
from agents.record import read_record
from domain.event import Event
from profiles.activity import RECENT_MAX, Moment
from profiles.friction import friction
from profiles.signals import with_done
from profiles.terms import FrictionWeights, SignalTerms, Terms
from store.instants import micros
from tests.shop import consent, open_shop, row
from traces.explain import as_json, as_text

NOW = datetime(2026, 10, 5, 12, tzinfo=UTC)
TERMS = SignalTerms(
    intents={"searched": "help", "asked": "help", "failed": "help", "paid": "buy", "left": "buy"},
    errors=frozenset({"failed", "crashed"}),
)
PARTS = ("repeats", "errors", "switches", "back_and_forth")


def parts(*said: str, ago: float = 1.0) -> tuple[float, ...]:
    """The parts and the sum for a way told as `name@channel`, oldest first, a minute apart."""
    at = micros(NOW - timedelta(days=ago))
    moments = [Moment(at + n * 60_000_000, *one.split("@")) for n, one in enumerate(said)]
    found = friction(sorted(moments, reverse=True), NOW, TERMS)
    counts = tuple(found[f"signal.friction_{part}"] for part in PARTS)
    return (*counts, found["signal.friction"])


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ((), (0, 0, 0, 0, 0.0)),
        (("searched",), (0, 0, 0, 0, 0.0)),
        (("searched", "searched", "searched"), (2, 0, 0, 0, 2.0)),
        (("failed", "crashed"), (0, 2, 0, 0, 4.0)),
        (("viewed", "viewed", "viewed"), (0, 0, 0, 0, 0.0)),
        (("searched@web", "asked@phone"), (0, 0, 1, 0, 2.0)),
        (("searched@web", "asked", "asked@web"), (1, 0, 0, 0, 1.0)),
        (("searched@web", "paid@phone", "asked@web"), (0, 0, 0, 0, 0.0)),
        (("searched", "asked", "searched"), (1, 0, 0, 1, 2.0)),
        (("searched", "asked", "searched", "asked"), (2, 0, 0, 2, 4.0)),
        (("searched", "paid", "searched"), (1, 0, 0, 0, 1.0)),
        (("searched@web", "failed@web", "searched@app", "asked@phone"), (1, 1, 2, 1, 8.0)),
    ],
)
def test_each_part_counts_what_it_says(said: Sequence[str], expected: tuple[float, ...]) -> None:
    """By hand, with the weights that hold where a workspace says nothing."""
    assert parts(*said) == expected


def test_what_is_older_than_a_week_is_forgotten() -> None:
    """To the microsecond."""
    assert parts("failed", ago=7) == (0, 0, 0, 0, 0.0)
    assert parts("failed", ago=7 - 1 / 86_400_000) == (0, 1, 0, 0, 2.0)


def test_where_no_event_means_anything_there_is_no_friction() -> None:
    """It is undefined, and absent."""
    assert friction([Moment(micros(NOW), "failed")], NOW, SignalTerms()) == {}


def test_the_weights_are_the_workspaces() -> None:
    """One of each, by weights that tell them apart."""
    weights = FrictionWeights(repeats=1, errors=10, switches=100, back_and_forth=1000)
    terms = SignalTerms(intents=TERMS.intents, errors=TERMS.errors, friction=weights)
    moments = [
        Moment(micros(NOW) - n, name, channel)
        for n, (name, channel) in enumerate([("failed", "web"), ("asked", ""), ("failed", "app")])
    ]
    assert friction(moments, NOW, terms)["signal.friction"] == 1 + 20 + 100 + 1000


@given(
    st.lists(
        st.tuples(
            st.sampled_from([*TERMS.intents, "crashed", "viewed"]),
            st.sampled_from(["", "web", "phone"]),
            st.integers(0, 10 * 24 * 60),
        ),
        max_size=40,
    ),
    st.randoms(use_true_random=False),
)
def test_the_order_of_arrival_does_not_matter(events: list[Any], chance: Any) -> None:
    """The same events give the same friction, in whatever order they come in."""
    terms = Terms("shop", {"shop": "shop"}, {}, (), timedelta(7), signals=TERMS)
    shuffled = list(events)
    chance.shuffle(shuffled)
    found = []
    for order in (events, shuffled):
        activity: Any = {}
        for name, channel, minutes in order:
            at = NOW - timedelta(minutes=minutes)
            said = {"channel": channel} if channel else {}
            activity = with_done(activity, Event("s", None, "track", name, at, at, (), said), terms)
        recent = activity["shop"].recent if activity else ()
        assert len(recent) <= RECENT_MAX
        found.append(friction(recent, NOW, TERMS))
    assert found[0] == found[1]


SETTINGS = (
    'source = "shop"',
    'source = "shop"\n[signals]\nerrors = ["self_service_failed"]\n[signals.intents]\n'
    'self_service_failed = "help"\nhelp_opened = "help"\n[signals.friction]\nerrors = 3.0',
)
RULE = (
    "rules:\n",
    "rules:\n  - id: tired\n    stage: applicability\n    actions: [send_guide]\n"
    '    when: "!has(signal.friction) || signal.friction < 9.0"\n'
    '    reason: "they have tried for long enough"\n',
)


def test_a_rule_goes_by_friction_and_the_explanation_says_what_it_was_made_of(
    tmp_path: Path,
) -> None:
    """An ordinary field: it refuses the guide, and says from which events it was computed."""
    changes = {"settings.toml": SETTINGS, "policies/engagement.yaml": RULE}
    with open_shop(tmp_path / "w", changes=changes) as shop:
        shop.run(
            consent("granted", "2026-10-05T08:00:00Z", email="a@shop.example"),
            row("self_service_failed", "2026-10-05T09:00:00Z", topic="returns", channel="web"),
            row("help_opened", "2026-10-05T09:05:00Z", channel="phone"),
            row("self_service_failed", "2026-10-05T09:10:00Z", topic="other", channel="web"),
        )
        line = shop.one(row("self_service_failed", "2026-10-05T09:20:00Z", topic="third"))
        told = explain(
            shop.database, line["decision_id"], lambda _: shop.deps.workspace, FormulaMind()
        )
        said = as_json(told, "auditor")
        assert said["signals"]["signal.friction"] == {
            "value": 1 + 2 * 3 + 2 * 2 + 1,
            "source": "1 repeats x 1 + 2 errors x 3 + 2 switches x 2 + 1 back-and-forth x 1, "
            "of the newest 20 events those of 7 days",
        }
        assert "signals" not in json.dumps(as_json(told, "customer")["candidates"])
        (guide,) = [one for one in told.candidates if one.action == "send_guide"]
        assert [finding.rule for finding in guide.against] == ["tired"]
        assert "signal.friction = 12" in as_text(told, "auditor") or line["action"] == "hand_over"
        kept = shop.deps.history.get(line["decision_id"]).record()
        assert kept is not None
        vault = shop.database.vault
        assert same_again(read_record(kept), shop.deps.workspace, FormulaMind(), vault)


def test_whoever_refuses_to_be_profiled_has_no_friction(tmp_path: Path) -> None:
    """It is absent, and named as withheld."""
    with open_shop(tmp_path / "w", changes={"settings.toml": SETTINGS}) as shop:
        shop.run(
            consent("denied", "2026-10-05T08:00:00Z", channel=None, purpose="profile"),
            row("self_service_failed", "2026-10-05T09:00:00Z", topic="returns"),
        )
        line = shop.one(row("self_service_failed", "2026-10-05T09:20:00Z", topic="returns"))
        kept = shop.deps.history.get(line["decision_id"]).record()
        assert kept is not None
        context = read_record(kept).context
        assert "signal.friction" not in context.fields
        assert "signal.friction" in context.withheld
