"""Times what learning adds to a decision: a choice among 20 candidates, by each kind of model.

Interleaved, round by round, against the constant model; ratios are what to compare.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections import defaultdict

from agents.learning.bandit import Bandit
from agents.learning.logistic import Logistic
from agents.learning.propensity import (
    Constant,
    Facts,
    Learner,
    Lesson,
    Option,
    Propensity,
    draw,
    explored,
)

ROUNDS = 15
CHOICES = 400
LESSONS = 3_000
OPTIONS = tuple(Option(f"action_{n}", 0.1 + n / 100, 40.0) for n in range(20))
TARGET_SECONDS = 0.0004


def facts(chance: random.Random) -> Facts:
    """Five features of a customer, two of them texts."""
    return (
        (f"profile.plan={chance.choice(['basic', 'gold', 'team'])}", 1.0),
        (f"event.topic={chance.randrange(40)}", 1.0),
        ("event.value", chance.random() * 5),
        ("signal.recency_days", chance.random() * 3),
        ("signal.churn_hazard", chance.random()),
    )


def taught(model: Learner, chance: random.Random) -> Learner:
    """A model that has learnt from some thousand choices."""
    for number in range(LESSONS):
        seen = facts(chance)
        probabilities = explored(model.choice(OPTIONS, seen), 0.1)
        chosen = draw(probabilities, number, "bench")
        reward = float(chance.random() < 0.05 + (chosen == 3) * 0.3)
        model.learn(Lesson(f"d-{number}", "p", seen, OPTIONS, chosen, probabilities, reward))
    return model


def seconds(model: Propensity, chance: random.Random) -> float:
    """A whole choice: propensities, probabilities with exploration, and the draw."""
    contexts = [facts(chance) for _ in range(CHOICES)]
    began = time.perf_counter()
    for number, seen in enumerate(contexts):
        model.success(OPTIONS, seen)
        draw(explored(model.choice(OPTIONS, seen), 0.1), number, "bench")
    return (time.perf_counter() - began) / CHOICES


def main() -> None:
    """Print the median of each, its ratio to the constant model's, and the target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    rounds = parser.parse_args().rounds
    chance = random.Random(1)
    models: dict[str, Propensity] = {
        "constant": Constant(),
        "logistic": taught(Logistic(), chance),
        "bandit": taught(Bandit(), chance),
    }
    found: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        for name, model in models.items():
            found[name].append(seconds(model, chance))
    floor = statistics.median(found["constant"])
    print("a choice among 20, milliseconds (median), ratio to constant")
    for name, times in found.items():
        median = statistics.median(times)
        print(f"  {name:<10}{median * 1000:8.3f}{median / floor:8.1f}")
    reached = statistics.median(found["bandit"]) <= TARGET_SECONDS
    print(f"  bandit's target {TARGET_SECONDS * 1000:.1f} ms: {'reached' if reached else 'MISSED'}")


if __name__ == "__main__":
    main()
