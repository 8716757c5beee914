from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from math import fsum, isfinite
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agents.learning.bandit import Bandit
from agents.learning.choosing import drawn
from agents.learning.features import facts
from agents.learning.logistic import Logistic
from agents.learning.propensity import (
    Facts,
    Learner,
    Lesson,
    Option,
    draw,
    explored,
)
from agents.workspace import Workspace, load_workspace
from domain.action import Significance
from domain.context import Context
from domain.errors import ConfigurationError
from domain.journey import LearningName
from domain.proposal import Ranked
from evals.world.shop import JOURNEY, Setup, files
from tests import world

ROOT = Path(__file__).resolve().parents[2]
GOLD: Facts = (("profile.plan=gold", 1.0),)
BASIC: Facts = (("profile.plan=basic", 1.0),)
OPTIONS = tuple(Option(name, 0.2, 40.0) for name in ("remind", "advise", "reassure"))
RATES = {GOLD: (0.1, 0.6, 0.2), BASIC: (0.5, 0.1, 0.1)}


def teach(model: Learner, lessons: int, seed: int = 1) -> None:
    """Let a model choose, with some exploration, and learn what came of it."""
    chance = Random(seed)
    for number in range(lessons):
        seen = chance.choice([GOLD, BASIC])
        probabilities = explored(model.choice(OPTIONS, seen), 0.2)
        chosen = draw(probabilities, number, "cart")
        reward = float(chance.random() < RATES[seen][chosen])
        model.learn(Lesson(f"d-{number}", "p", seen, OPTIONS, chosen, probabilities, reward))


@pytest.mark.parametrize("made", [Logistic, Bandit])
def test_a_model_learns_whom_to_meet_with_what(made: type[Learner]) -> None:
    """After enough lessons the best for each plan is the most probable choice for it."""
    model: Learner = made()
    teach(model, 1500)
    for seen, best in ((GOLD, 1), (BASIC, 0)):
        choice = model.choice(OPTIONS, seen)
        assert choice.index(max(choice)) == best
        assert max(choice) > 0.6


@pytest.mark.parametrize("made", [Logistic, Bandit])
def test_a_model_is_made_again_from_its_content_bit_for_bit(made: type[Learner]) -> None:
    """What is kept of a model says what the model said, and learns what it would have learnt."""
    model: Learner = made()
    teach(model, 300)
    again: Learner = made(model.content())  # type: ignore[call-arg]
    for seen in (GOLD, BASIC, ()):
        assert again.success(OPTIONS, seen) == model.success(OPTIONS, seen)
        assert again.choice(OPTIONS, seen) == model.choice(OPTIONS, seen)
    before = model.choice(OPTIONS, GOLD)
    teach(again, 20, seed=2)
    assert model.choice(OPTIONS, GOLD) == before


def test_a_logistic_model_that_has_learnt_nothing_says_what_the_actions_say() -> None:
    """Its first propensities are the constant ones, so that to begin to learn changes nothing."""
    options = [Option("a", 0.31, 1), Option("b", 0.02, 1), Option("c", 0.9, 1)]
    assert Logistic().success(options, GOLD) == pytest.approx((0.31, 0.02, 0.9), abs=1e-6)


def test_a_logistic_model_tells_how_probable_success_is() -> None:
    """What it learns is a probability: it comes near the true rates of what was tried a lot."""
    model = Logistic()
    teach(model, 6000)
    assert model.success(OPTIONS, GOLD)[1] == pytest.approx(0.6, abs=0.08)
    assert model.success(OPTIONS, BASIC)[0] == pytest.approx(0.5, abs=0.08)


def test_a_lever_moves_a_bandits_choices_at_once() -> None:
    """Twice the worth doubles the odds; what is worth nothing is not chosen."""
    model = Bandit()
    teach(model, 600)
    before = model.choice(OPTIONS, GOLD)
    dearer = (replace(OPTIONS[0], worth=80.0), *OPTIONS[1:])
    after = model.choice(dearer, GOLD)
    assert after[0] / after[1] == pytest.approx(2 * before[0] / before[1])
    idle = model.choice((OPTIONS[0], replace(OPTIONS[1], worth=0.0), OPTIONS[2]), GOLD)
    assert idle[1] == 0
    assert model.choice([replace(one, worth=0.0) for one in OPTIONS], GOLD) == (1.0, 0.0, 0.0)


def test_a_bandit_takes_any_words_for_names() -> None:
    """Bars, colons and blanks in values are part of a name and nothing of the format."""
    odd: Facts = (("profile.city=a |x: b\n0:1:0.5", 1.0),)
    choice = Bandit().choice([Option("a b|c", 0.1, 1.0), Option("d:e", 0.1, 1.0)], odd)
    assert len(choice) == 2
    assert fsum(choice) == pytest.approx(1)


def test_a_process_with_a_bandit_ends_in_silence() -> None:
    """What the library has to tidy up is done before the interpreter is gone."""
    code = "import os; from agents.learning.bandit import Bandit; os.kept = Bandit()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True, text=True
    )
    assert (done.stdout, done.stderr) == ("", "")


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=20).filter(lambda given: sum(given) > 0),
    st.floats(0, 1),
)
def test_probabilities_add_up_to_one_and_leave_nothing_out(
    weights: list[float], exploration: float
) -> None:
    """However they are mixed and rounded, the sum is 1 and each keeps its share of chance."""
    whole = fsum(weights)
    mixed = explored([weight / whole for weight in weights], exploration)
    assert fsum(mixed) == pytest.approx(1, abs=1e-9)
    least = exploration / len(weights)
    assert all(p >= least - 1e-5 for p in mixed)


def test_draws_are_as_probable_as_they_say() -> None:
    """Over many seeds each place comes up as often as its probability; one seed, one place."""
    counts = [0, 0, 0]
    for seed in range(6000):
        place = draw((0.6, 0.3, 0.1), seed, "cart")
        counts[place] += 1
        assert draw((0.6, 0.3, 0.1), seed, "cart") == place
    assert [count / 6000 for count in counts] == pytest.approx([0.6, 0.3, 0.1], abs=0.02)


@given(
    st.dictionaries(
        st.sampled_from(["event.a", "event.b", "event.c", "signal.d"]),
        st.one_of(
            st.text(alphabet=st.characters(exclude_categories=[]), max_size=200),
            st.integers(-(10**400), 10**400),
            st.floats(),
            st.booleans(),
        ),
    )
)
@example({"event.a": "", "event.b": 6.065987967609388e-209})
def test_whatever_a_field_holds_can_be_learnt_from(fields: dict[str, Any]) -> None:
    """Any text, number or truth becomes a feature that both models take; what is stale, none."""
    names = ("event.a", "event.b", "event.c", "signal.d")
    journey = replace(SHOPS["logistic", 0.1].journeys[JOURNEY], features=names)
    seen = facts(journey, world.context(fields=fields, stale={"event.a": "crm"}))
    assert not any(name.startswith("event.a") for name, _ in seen)
    assert all(isfinite(value) for _, value in seen)
    for model in (TAUGHT, BANDIT):
        assert fsum(model.choice(OPTIONS, seen)) == pytest.approx(1, abs=1e-6)


# Among what is allowed

BANDIT = Bandit()
TAUGHT = Logistic()
teach(TAUGHT, 200)


def shop(learning: LearningName, exploration: float) -> Workspace:
    """Two journeys that learn alike."""
    made = load_workspace(files(Setup("logistic")))
    journey = replace(made.journeys[JOURNEY], learning=learning, exploration=exploration)
    other = replace(journey, name="other")
    return replace(made, journeys={JOURNEY: journey, "other": other})


LEARNING: tuple[LearningName, ...] = ("constant", "logistic")
SHOPS = {(name, e): shop(name, e) for name in LEARNING for e in (0.0, 0.1, 1.0)}


@st.composite
def survivors(draws: st.DrawFn) -> list[Ranked]:
    """Ranked candidates of two journeys, some of them significant, mandatory or urgent."""
    significances: tuple[Significance, ...] = ("none", "none", "none", "similar", "legal")
    found = []
    for number in range(draws(st.integers(0, 8))):
        candidate = world.candidate(
            name=f"a-{number}",
            journey=draws(st.sampled_from([JOURNEY, "other"])),
            significance=draws(st.sampled_from(significances)),
            mandatory=draws(st.integers(0, 6)) == 0,
            urgency="now" if draws(st.integers(0, 6)) == 0 else "normal",
            propensity=draws(st.floats(0, 1)),
        )
        found.append(Ranked(candidate, candidate.priority, candidate.factors))
    return sorted(found, key=lambda one: -one.priority)


def may_be_left_to_chance(one: Ranked) -> bool:
    """Neither significant nor mandatory nor urgent."""
    action = one.candidate.action
    return (action.significance, action.mandatory, action.urgency) == ("none", False, "normal")


@settings(max_examples=300)
@given(
    survivors(),
    st.sampled_from(sorted(SHOPS)),
    st.integers(0, 2**64 - 1),
    st.booleans(),
    st.booleans(),
    st.data(),
)
def test_chance_stays_inside_what_is_allowed(
    order: list[Ranked],
    setup: tuple[LearningName, float],
    seed: int,
    is_taught: bool,
    is_minor: bool,
    data: st.DataObject,
) -> None:
    """It chooses among each journey's own that may be left to it and are not held out; all others
    keep their place, its probabilities add up to 1, and a seed decides it once and for all."""
    workspace = SHOPS[setup]
    models = {JOURNEY: "m"} if is_taught and setup[0] != "constant" else {}
    context: Context = world.context(seed=seed, models=models, minor=is_minor)
    kept_out = [one for one in order if data.draw(st.integers(0, 4)) == 0]
    found = drawn(workspace, order, context, lambda _: TAUGHT, kept_out)
    again = drawn(workspace, order, context, lambda _: TAUGHT, kept_out)
    assert found == again
    out = {id(one) for one in kept_out}
    for before, after in zip(order, found.order, strict=True):
        assert before.candidate.journey == after.candidate.journey
        assert before is after or (may_be_left_to_chance(before) and id(before) not in out)
    assert {id(one) for one in found.order} == {id(one) for one in order}
    for journey in (JOURNEY, "other"):
        mine = [
            one
            for one in order
            if one.candidate.journey == journey
            and may_be_left_to_chance(one)
            and id(one) not in out
        ]
        chances = [found.probabilities[id(one.candidate)] for one in mine]
        if not mine:
            continue
        assert fsum(chances) == pytest.approx(1, abs=1e-9)
        learns = setup[0] != "constant" and not is_minor
        assert min(chances) >= (setup[1] / len(mine) if learns else 0) - 1e-5
        if not learns:
            assert chances == [1.0, *[0.0] * (len(mine) - 1)]
            assert [one for one in found.order if one in mine] == mine
        first = next(one for one in found.order if any(one is other for other in mine))
        assert found.probabilities[id(first.candidate)] > 0
    known = {id(one.candidate) for one in order if id(one) not in out}
    assert found.probabilities.keys() <= known


# What a journey's file may say


@pytest.mark.parametrize(
    ("feature", "said", "line"),
    [
        ("profile.income", "which is not declared", 11),
        ("profile.first_name", "whose `uses` lack `decide`", 11),
        ("event.cart_id", "whose `uses` lack `learn`", 11),
        ("profile.faith", "which is protected", 11),
        ("profile.age_band", "which is protected", 11),
    ],
)
def test_nothing_is_learnt_from_a_field_that_may_not_be_used_for_it(
    feature: str, said: str, line: int
) -> None:
    """The loader refuses it, and says where it is named."""
    texts = files(Setup("logistic"))
    texts["policies/more.yaml"] = (
        "fields:\n"
        "  profile.faith: {type: string, category: special, uses: [decide, learn]}\n"
        "  profile.age_band: {type: string, uses: [decide, learn]}\n"
    )
    path = f"journeys/{JOURNEY}.yaml"
    texts[path] = texts[path].replace("[profile.plan]", f"[{feature}]")
    with pytest.raises(ConfigurationError) as caught:
        load_workspace(texts)
    assert said in str(caught.value)
    assert f"{path}:{line}" in str(caught.value)


@pytest.mark.parametrize(
    "more", ["features: [profile.plan]", "exploration: 0.5", "model: 0123456789abcdef"]
)
def test_a_journey_that_learns_nothing_names_nothing_to_learn_from(more: str) -> None:
    """What would do nothing is a slip of the pen, and refused."""
    texts = files(Setup())
    texts[f"journeys/{JOURNEY}.yaml"] += f"{more}\n"
    with pytest.raises(ConfigurationError, match="learns nothing"):
        load_workspace(texts)


def test_without_the_library_a_bandit_is_refused_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever has not installed the extra is told how, before anything is decided."""
    monkeypatch.setitem(sys.modules, "vowpalwabbit", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError) as caught:
        load_workspace(files(Setup("bandit")))
    assert "pip install safeconduct[learn]" in str(caught.value)
    assert load_workspace(files(Setup("logistic")))
