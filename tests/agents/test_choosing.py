"""Learning inside the engine: what it may choose, what is kept of it, and that it can be redone."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agents.learning.logistic import Logistic
from agents.learning.models import Models
from agents.learning.training import train
from agents.minds.formula import FormulaMind
from agents.reconsider import explain, recompute, same_again
from agents.record import Record, read_record
from agents.steps import Deps
from agents.thinking import think
from domain.context import Context
from domain.errors import StoreError
from domain.proposal import Proposal
from domain.verdict import Denial, Finding, Verdict
from evals.world.shop import JOURNEY, WAYS, Setup
from evals.world.simulation import BEGIN, DAY
from policies.guard import Guard
from store.database import open_database
from tests.shop import Shop, at, open_shop, row
from tests.worlds import live, open_world
from traces.explain import as_json, as_text
from traces.history import History

NO_ADVICE = """\
rules:
  - id: no-advice-for-gold
    stage: eligibility
    actions: [advise]
    when: "has(profile.plan) && profile.plan != 'gold'"
    reason: "gold customers need no advice"
"""


def records(deps: Deps) -> list[tuple[str, Record]]:
    """All that was decided about carts."""
    found = []
    for kept in History(deps.database).every():
        data = kept.record()
        assert data is not None
        record = read_record(data)
        if record.context.event.name == "cart_abandoned":
            found.append((kept.decision_id, record))
    return found


@pytest.mark.parametrize("learning", ["bandit", "logistic"])
def test_exploration_never_leaves_the_allowed_set(learning: Any) -> None:
    """What a rule forbids is never chosen, whatever is learnt and left to chance; over the rest the
    probabilities on record add up to 1."""
    setup = Setup(learning, exploration=0.6)
    with open_world(setup, more={"policies/advice.yaml": NO_ADVICE}) as deps:
        live(deps, 3, people=24, days=12)
        done: dict[str, set[str]] = {"gold": set(), "basic": set()}
        for _, record in records(deps):
            among = [one for one in record.thought.considered if one.probability is not None]
            assert sum(one.probability or 0 for one in among) == pytest.approx(float(bool(among)))
            plan = record.context.fields["profile.plan"]
            names = {one.action for one in among}
            assert names <= set(WAYS) - ({"advise"} if plan == "gold" else set())
            if record.thought.verdict == "permitted":
                done[plan].add(record.thought.action)
        assert done["gold"] == set(WAYS) - {"advise"}
        assert done["basic"] == set(WAYS)


@pytest.mark.parametrize("learning", ["bandit", "logistic"])
def test_decisions_are_made_again_byte_for_byte_after_new_training(
    store: str, learning: Any
) -> None:
    """Every decision names its model's version, and later versions change none of them."""
    with open_world(Setup(learning), store=store) as deps:
        live(deps, 4, people=24, days=10)
        journey = deps.workspace.journeys[JOURNEY]
        newest = deps.models.newest(journey)
        assert newest is not None and newest.n > 2
        versions = {record.context.models.get(JOURNEY) for _, record in records(deps)}
        assert len(versions) > 3 and None in versions
        # Nothing is remembered: the exact models come out of the store.
        again = recompute(deps.database, lambda _: deps.workspace, FormulaMind())
        assert not again.different
        assert again.same > 60


def test_a_decision_made_by_a_model_is_not_the_same_under_another() -> None:
    """The proof above can fail: under another version something comes out otherwise."""
    with open_world(Setup("bandit")) as deps:
        live(deps, 4, people=24, days=10)
        newest = deps.models.newest(deps.workspace.journeys[JOURNEY])
        assert newest is not None
        vault = deps.database.vault

        def other(_: str) -> Any:
            return deps.models.of(newest.version)

        mine = [
            same_again(record, deps.workspace, FormulaMind(), vault, other)
            for _, record in records(deps)
            if record.context.models
        ]
        assert not all(mine)


def test_a_model_that_is_gone_decides_nothing() -> None:
    """A pinned version that is not in the store is refused with what to do."""
    pin = {
        f"journeys/{JOURNEY}.yaml": ("learning: logistic", "learning: logistic\nmodel: " + "0" * 16)
    }
    with (
        open_world(Setup("logistic"), changes=pin) as deps,
        pytest.raises(StoreError, match="not in this store"),
    ):
        live(deps, 1, people=2, days=4)


def test_a_model_that_was_changed_in_the_store_decides_nothing(tmp_path: Path) -> None:
    """A version is the hash of its model: another model under its name is found out."""
    path = tmp_path / "s.db"
    with open_world(Setup("logistic"), store=f"sqlite:///{path}") as deps:
        live(deps, 2, people=20, days=6)
        newest = deps.models.newest(deps.workspace.journeys[JOURNEY])
        assert newest is not None
    raw = sqlite3.connect(path)
    raw.execute("UPDATE propensity_models SET content = ?", [Logistic().content()])
    raw.commit()
    raw.close()
    database = open_database(f"sqlite:///{path}", writable=False)
    with closing(database), pytest.raises(StoreError, match="is not what it was"):
        Models(database).of(newest.version)


def test_a_journey_keeps_to_the_model_that_it_is_pinned_to() -> None:
    """A newer version changes nothing for it."""
    with open_world(Setup("logistic")) as deps:
        live(deps, 2, people=20, days=8)
        journey = deps.workspace.journeys[JOURNEY]
        newest = deps.models.newest(journey)
        assert newest is not None and newest.parent is not None
        context = records(deps)[-1][1].context
        assert deps.models.in_force(deps.workspace, context).models == {JOURNEY: newest.version}
        pinned = replace(journey, model=newest.parent)
        workspace = replace(deps.workspace, journeys={JOURNEY: pinned})
        assert deps.models.in_force(workspace, context).models == {JOURNEY: newest.parent}


def test_explain_shows_the_probabilities_and_the_model() -> None:
    """Programs read every probability and the version; people read how probable the choice was."""
    with open_world(Setup("bandit")) as deps:
        live(deps, 4, people=20, days=8)
        decision_id, record = next(
            (decision_id, record)
            for decision_id, record in reversed(records(deps))
            if record.thought.verdict == "permitted"
        )
        found = explain(deps.database, decision_id, lambda _: deps.workspace, FormulaMind())
        said, text = as_json(found, "auditor"), as_text(found, "auditor")
        probabilities = [one["probability"] for one in said["candidates"]]
        assert sum(probabilities) == pytest.approx(1)
        assert said["versions"]["models"] == record.context.models
        assert said["recomputed"] == "same"
        assert f"model {record.context.models[JOURNEY]} of" in " ".join(text.split())
        assert "chosen, probability" in text
        assert "chosen with probability" in record.thought.reason


class Picky(Guard):
    """A guard that finds out late that something may not be done."""

    def review(self, proposal: Proposal, context: Context, upcoming: Any = ()) -> Verdict:
        """No to the first way of writing."""
        if proposal.candidate.action.name == WAYS[0]:
            return Denial((Finding("picky", "forbid", "content", "not in these words"),))
        return super().review(proposal, context, upcoming)


def test_what_is_done_instead_of_what_was_drawn_has_no_known_probability() -> None:
    """Where the guard says no to what chance chose, the next best is done, and the record says of
    none how probable it was; else what was done stands there with its probability."""
    with open_world(Setup("logistic", exploration=1.0)) as deps:
        live(deps, 3, people=24, days=4, learn_every=0)
        guard = Picky(deps.workspace.policies, deps.workspace.offers)
        picky = replace(deps.workspace, guard=guard)
        drawn_and_refused = 0
        for _, record in records(deps):
            thought = think(record.context, picky, FormulaMind(), deps.database.vault).thought
            refused = record.thought.action == WAYS[0]
            drawn_and_refused += refused
            assert thought.action != WAYS[0]
            known = {one.probability for one in thought.considered}
            assert known == ({None} if refused else {0.25})
        assert 0 < drawn_and_refused < len(records(deps))


# What is learnt from


def learnt(deps: Deps, days: int) -> Any:
    """Train as of so many days after the beginning."""
    until = BEGIN + days * DAY
    journey = deps.workspace.journeys[JOURNEY]
    return train(deps.database, deps.models, journey, at=until, until=until)


def test_each_choice_is_learnt_from_once_when_its_window_is_over() -> None:
    """Two trainings share no lesson and miss none, and the second goes on from the first."""
    with open_world(Setup("logistic")) as deps:
        tally = live(deps, 6, people=30, days=8, learn_every=0)
        first, second, third = learnt(deps, 5), learnt(deps, 30), learnt(deps, 40)
        assert first.version.parent is None and first.version.n == 1
        assert second.version.parent == first.version.version
        assert second.version.lessons == len(first.judged) + len(second.judged)
        assert len(first.judged) + len(second.judged) == tally.contacts
        assert third.version is None and third.judged == ()
        rewarded = sum(one.reward for one in (*first.judged, *second.judged))
        assert 0 < rewarded <= tally.orders


def test_nothing_is_learnt_before_the_window_is_over() -> None:
    """Not even from an order that came at once: successes would be seen before failures."""
    with open_world(Setup("logistic")) as deps:
        live(deps, 6, people=10, days=1, carts_per_day=1.0, learn_every=0)
        assert learnt(deps, 2).judged == ()
        assert len(learnt(deps, 6).judged) > 0


def test_models_are_kept_for_ever_and_taught_as_copies() -> None:
    """Going on from a version leaves it as it was."""
    with open_world(Setup("bandit")) as deps:
        live(deps, 6, people=30, days=8, learn_every=0)
        first = learnt(deps, 5).version
        models = Models(deps.database)
        before = models.copy(first.version).content()
        assert learnt(deps, 30).version.version != first.version
        assert Models(deps.database).copy(first.version).content() == before


# People

HOLDOUT = "holdout: 0.5\nlearning: bandit\nexploration: 0.5"
APOLOGY: Mapping[str, tuple[str, str]] = {
    "journeys/repeat_contact.yaml": ("window: 7d", f"window: 7d\n{HOLDOUT}"),
    "policies/engagement.yaml": ("journeys: [abandoned_cart, welcome]", "journeys: [welcome]"),
    "policies/approval.yaml": ("action.amount > 1000", "action.amount > 100000"),
}


def asked_again(shop: Shop, people: int) -> None:
    """People with an open case ask for something again."""
    for number in range(people):
        user, minute = f"c-{number}", f"2026-10-05T09:{number:02d}"
        shop.run(
            row(
                "consent_changed",
                f"{minute}:00Z",
                user,
                email=f"{user}@x.example",
                channel="email",
                purpose="marketing",
                value="granted",
            ),
            row("self_service_failed", f"{minute}:01Z", user, topic="login"),
            row("contact_opened", f"{minute}:02Z", user, topic="login"),
            row("contact_opened", f"{minute}:03Z", user, topic="bill"),
        )


def test_whoever_is_held_out_gets_the_service_and_never_the_marketing(tmp_path: Path) -> None:
    """However much is left to chance: the case is always opened, the voucher never sent; and
    whoever is treated gets the one or the other."""
    with open_shop(tmp_path / "w", changes=APOLOGY) as shop:
        asked_again(shop, 40)
        arms = {
            one["profile_id"]: one["arm"]
            for one in shop.rows("assignments")
            if one["journey"] == "repeat_contact"
        }
        done: dict[str, set[str]] = {"treated": set(), "held_out": set()}
        for one in shop.rows("decisions"):
            if one["event"] == "contact_opened" and one["journey"] == "repeat_contact":
                assert one["verdict"] == "permitted", one["reason"]
                done[arms[one["profile_id"]]].add(one["action"])
        assert set(arms.values()) == {"treated", "held_out"}
        assert done["held_out"] == {"priority_case"}
        assert done["treated"] == {"priority_case", "apology_voucher"}


def test_who_is_not_to_be_profiled_meets_the_constant_model(tmp_path: Path) -> None:
    """For minors and for those who refused nothing is left to chance, and nothing is learnt."""
    changes = {
        **APOLOGY,
        "journeys/repeat_contact.yaml": (
            "window: 7d",
            "window: 7d\nlearning: logistic\nexploration: 1.0",
        ),
    }
    with open_shop(tmp_path / "w", changes=changes) as shop:
        for number in range(24):
            user, minute = f"c-{number}", f"2026-10-05T09:{number:02d}"
            who = [
                row("identified", f"{minute}:00Z", user, traits={"age_band": "under-16"}),
                row("consent_changed", f"{minute}:00Z", user, purpose="profile", value="denied"),
            ][number % 2]
            shop.run(
                who,
                row(
                    "consent_changed",
                    f"{minute}:01Z",
                    user,
                    email=f"{user}@x.example",
                    channel="email",
                    purpose="marketing",
                    value="granted",
                ),
                row("self_service_failed", f"{minute}:02Z", user, topic="login"),
                row("contact_opened", f"{minute}:03Z", user, topic="login"),
            )
        chosen = [
            record.thought.action
            for kept in History(shop.database).every()
            if (record := read_record(kept.record() or b"")).context.event.name == "contact_opened"
            for one in record.thought.considered
            if one.note == "chosen" and one.probability == 1.0
        ]
        assert len(chosen) == 24
        assert len(set(chosen)) == 1
        journey = shop.assembly.workspace.journeys["repeat_contact"]
        until = at("2026-12-01T00:00:00Z")
        found = train(shop.database, shop.deps.models, journey, at=until, until=until)
        assert found.judged == ()
        assert found.left_out == {"not to be learnt from": 24}
