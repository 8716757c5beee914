from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from agents.arbitration import arbitrate
from agents.funnel import Flow, Funnel
from agents.record import read_record
from domain.action import Action
from domain.proposal import Candidate
from domain.verdict import STAGES
from tests.shop import Shop, cart, consent, open_shop, row
from traces.history import History

PROPERTY = settings(max_examples=200, deadline=None, derandomize=True, database=None)


def added_up(shop: Shop, journey: str | None = None) -> Funnel:
    """The funnel of all that the shop has decided."""
    found = Funnel()
    rules = {rule.id: (rule.id, rule.stage) for rule in shop.assembly.workspace.guard.rules}
    for kept in History(shop.database).every():
        data = kept.record()
        assert data is not None
        found.add(read_record(data), rules, journey)
    return found


def total(flow: Flow) -> int:
    return flow.filtered.total() + flow.outranked + flow.holdout + flow.chosen


def test_every_candidate_is_somewhere(tmp_path: Path) -> None:
    """Filtered at one stage, outranked, held out or chosen: the counts add up, by action."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(
            consent("granted", "2026-10-05T08:00:00Z", email="a@shop.example"),
            cart("2026-10-05T09:00:00Z"),
            cart("2026-10-05T13:00:00Z", cart_id="k-2"),
            row("self_service_failed", "2026-10-05T14:00:00Z", topic="returns"),
            row("contact_opened", "2026-10-05T15:00:00Z", "c-2", topic="returns"),
            row("page_viewed", "2026-10-05T16:00:00Z"),
        )
        found = added_up(shop)
        assert (found.decisions, found.with_candidates) == (6, 3)
        assert all(total(flow) == flow.candidates for flow in found.actions.values())
        assert found.actions["remind_by_email"].chosen == 1
        assert found.actions["remind_by_email"].filtered == {"contact_policy": 1}
        assert found.rules[("marketing-per-day", "contact_policy")] == 1
        assert found.not_entered == {"repeat_contact": 1}
        assert {stage for _, stage in found.rules} <= set(STAGES)
        of_carts = added_up(shop, "abandoned_cart")
        assert set(of_carts.actions) == {"remind_by_email", "remind_by_sms", "cart_banner"}
        assert of_carts.decisions == 2


def test_who_wins_over_whom_and_what_it_hangs_on(tmp_path: Path) -> None:
    """With e-mail and banner there to be chosen, only the value keeps the dearer one first."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(
            consent("granted", "2026-10-05T08:00:00Z", email="a@shop.example"),
            cart("2026-10-05T09:00:00Z"),
        )
        found = added_up(shop)
        assert found.contested == 1
        assert found.actions["remind_by_email"].won_over == {"cart_banner": 1}
        assert found.actions["cart_banner"].lost_to == {"remind_by_email": 1}
        mail, banner = (
            shop.assembly.workspace.actions[n] for n in ("remind_by_email", "cart_banner")
        )
        assert mail.propensity > banner.propensity
        assert found.changed["value"] == int(mail.propensity < banner.propensity)
        assert found.changed["propensity"] == int(mail.value < banner.value)


numbers = st.sampled_from([0.0, 0.25, 0.5, 1.0, 2.0, 3.0])
actions = st.builds(
    Action,
    name=st.sampled_from(["a", "b", "c", "d"]),
    title=st.just("x"),
    tool=st.just("message"),
    kind=st.just("contact"),
    purpose=st.just("marketing"),
    propensity=st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    value=numbers,
    context_weight=numbers,
    levers=st.dictionaries(st.sampled_from(["x", "y"]), st.sampled_from([-100.0, 20.0, 35.0])),
)
candidates = st.builds(
    Candidate,
    action=actions,
    journey=st.sampled_from(["j", "k"]),
    brand=st.just("shop"),
    team=st.just("t"),
    instance=st.just(""),
    contact_point=st.none(),
    journey_priority=st.sampled_from([0.5, 1.0, 2.0]),
)


@PROPERTY
@given(st.lists(candidates, max_size=8))
def test_the_order_is_total(found: list[Candidate]) -> None:
    """Everybody has one place, worth never rises down the order, and ties keep their order."""
    ranked = arbitrate(found)
    assert sorted(map(id, (one.candidate for one in ranked))) == sorted(map(id, found))
    places = {id(one): place for place, one in enumerate(found)}
    for one, after in pairwise(ranked):
        assert one.priority >= after.priority
        if one.priority == after.priority:
            assert places[id(one.candidate)] < places[id(after.candidate)]
    assert arbitrate(found) == ranked
