"""Times the guard's verdict, alone and with what a decision writes, beside what others offer.

Everything is timed in turns, round by round. The peers are processes of their own in an
environment of their own (`make peers`); each is asked the ten conditions of `peers/conditions.py`,
while the guard is asked them and all its other rules. One that is not installed is named.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "peers"))

from conditions import CONDITIONS, FACTS, literal

from agents.record import record
from agents.thinking import think
from domain.action import Action, Step
from domain.consent import Consent
from domain.context import Contact, ContactPoint, Context, EventView
from domain.event import Event, Identifier
from domain.proposal import Candidate, Proposal
from domain.verdict import Permit, Verdict
from policies.guard import Guard
from policies.loader import load_policies
from profiles.arrivals import Arrival
from service.assemble import Assembly, assemble, steady
from service.settings import make_workspace

ROUNDS = 15
VERDICTS = 400
PEER = Path(__file__).parent / "peers" / "verdict.py"
PEERS = ("plain Python", "cedarpy", "regopy bundle", "casbin", "agent-governance toolkit")
PEERS_PYTHON = Path(".venv-peers/bin/python")
NOW = datetime(2026, 11, 23, 17, tzinfo=UTC)
GROUP = 8
KNOWN = 800


def policy_text(conditions: int) -> str:
    """A policy set with that many CEL rules, three caps and quiet hours (JSON is YAML)."""
    kinds = {bool: "bool", int: "int", float: "double", str: "string"}
    fields = {
        name: {"type": kinds[type(value)]}
        for name, value in FACTS.items()
        if not name.startswith("signal.")
    }
    rules = []
    for n in range(conditions):
        _, name, sign, value = CONDITIONS[n % len(CONDITIONS)]
        guarded = "" if name.startswith("signal.") else f"!has({name}) || "
        condition = f"{guarded}{name} {sign} {literal(value)}"
        rules.append({"id": f"r{n}", "stage": "suitability", "when": condition, "reason": "why"})
    cap = {"purposes": ["marketing"], "channels": ["email"]}
    said = {
        "fields": fields,
        "purposes": {"marketing": {"title": "Offers", "model": "opt_in", "marketing": True}},
        "channels": {"email": {"title": "e-mail", "address": "email"}},
        "frequency_caps": [
            {"id": "a-day", "limit": 2, "window": "24h", **cap},
            {"id": "a-week", "limit": 5, "window": "7d", **cap},
            {"id": "an-address", "limit": 5, "window": "7d", "per": "contact_point", **cap},
        ],
        "quiet_hours": [{"id": "hours", "channels": ["email"], "window": "08:00-21:00"}],
        "rules": rules,
    }
    return json.dumps(said, indent=1)


def guard(conditions: int) -> Guard:
    """A guard over that policy set."""
    return Guard(load_policies({"policies/bench.yaml": policy_text(conditions)}), {})


def proposal() -> Proposal:
    """A marketing e-mail."""
    action = Action("offer", "Offer", "message", "contact", "marketing", "email", body="Hello.")
    point = ContactPoint("point", "email", "maya@example.com")
    candidate = Candidate(action, "cart", "shop", "growth", "one", point)
    return Proposal(candidate, (Step("message", {"body": "Hello."}),), "a" * 64)


def context(n: int, **changes: Any) -> Context:
    """A customer whom nothing speaks against, a day after the last message; never the same one."""
    at = NOW + timedelta(milliseconds=n)
    said = {
        "controller": "shop",
        "brand": "shop",
        "channel": None,
        "purpose": "marketing",
        "topic": None,
        "contact_point": "point",
        "occurred_at": NOW - timedelta(days=90),
        "received_at": NOW - timedelta(days=90),
    }
    sent = ("p", "point", "shop", "email", "marketing", None, "cart", "growth", "offer")
    given: dict[str, Any] = {
        "now": at,
        "seed": n,
        "event": EventView("shop/1", "cart_abandoned", "track", at, at),
        "brand": "shop",
        "controller": "shop",
        "profile_ids": ("p",),
        "fields": dict(FACTS),
        "contact_points": (proposal().candidate.contact_point,),
        "zone_of_person": "Europe/Berlin",
        "consents": (Consent("grant", "p", **said),),
        "contacts": (Contact(NOW - timedelta(hours=30), *sent),),
    }
    return Context(**(given | changes))


@dataclass(slots=True)
class Way:
    """One way of coming to a verdict: seconds each, a median a round."""

    name: str
    run: Callable[[int], float]
    rounds: list[float] = field(default_factory=list)


class Verdicts:
    """The guard's own ways."""

    def __init__(self) -> None:
        self._ten, self._twenty = guard(len(CONDITIONS)), guard(2 * len(CONDITIONS))
        self._policies = self._ten.policies
        self._proposal = proposal()
        self._n = 0
        full = tuple(
            replace(context(0).contacts[0], at=NOW - timedelta(hours=hours)) for hours in (1, 2, 3)
        )
        self._refused = {"contacts": full, "now": NOW + timedelta(hours=5)}

    @property
    def rules(self) -> int:
        """How many rules each verdict asks."""
        return len(self._ten.rules)

    def warm(self, count: int) -> float:
        """The plan is compiled; every context is a new one, and its fields are bound."""
        return self._timed(self._ten, [self._context() for _ in range(count)], Permit)

    def twenty(self, count: int) -> float:
        """The same with ten more CEL rules."""
        return self._timed(self._twenty, [self._context() for _ in range(count)], Permit)

    def cold(self, count: int) -> float:
        """The first verdict of a new guard."""
        total = 0.0
        for _ in range(count // 10):
            fresh = Guard(self._policies, {})
            total += self._timed(fresh, [self._context()], Permit)
        return total / (count // 10)

    def refused(self, count: int) -> float:
        """A refusal, with counterfactuals and when it could pass."""
        asked = [self._context(**self._refused) for _ in range(count)]
        return self._timed(self._ten, asked, None)

    def prepared(self, count: int) -> float:
        """One prepared CEL program executed on a bound context, and nothing else."""
        rule: Any = next(r for r in self._ten.rules if r.id == "r1")
        bound = self._ten._bind(self._context()).context
        execute = rule.condition.program.execute
        began = time.perf_counter()
        for _ in range(count):
            execute(bound)
        return (time.perf_counter() - began) / count

    def _context(self, **changes: Any) -> Context:
        self._n += 1
        return context(self._n, **changes)

    def _timed(self, by: Guard, asked: Sequence[Context], wanted: type[Permit] | None) -> float:
        verdict: Verdict | None = None
        began = time.perf_counter()
        for one in asked:
            verdict = by.review(self._proposal, one)
        took = time.perf_counter() - began
        assert isinstance(verdict, Permit) is (wanted is Permit), verdict
        return took / len(asked)


class Written:
    """What comes after a verdict: reservation and record of groups of eight, flushed.

    Of customers who are known, or of ones that each event brings along: those are a profile, a key
    and identifiers more to write.
    """

    def __init__(self, folder: Path) -> None:
        for _ in make_workspace(folder):
            pass
        self._assembly: Assembly = assemble(folder)
        self._n = 0

    def known(self, count: int) -> float:
        """Seconds a decision about customers who have been here before."""
        return self._group(count, lambda: self._n % KNOWN)

    def new(self, count: int) -> float:
        """Seconds a decision about customers who are new."""
        return self._group(count, lambda: KNOWN + self._n)

    def _group(self, count: int, who: Callable[[], int]) -> float:
        """Seconds a decision for reserving, recording and committing eight permitted messages."""
        deps, vault = self._assembly.deps, self._assembly.database.vault
        spent = 0.0
        groups = max(1, count // 50)
        for _ in range(groups):
            arrivals = [self._arrival(who) for _ in range(GROUP)]
            perceived = deps.people.read(arrivals)
            decided = [
                think(one.context, deps.workspace, deps.mind, vault)
                for one in perceived
                if one.context is not None
            ]
            assert all(one.permit for one in decided)
            began = time.perf_counter()
            made = [
                record(
                    one,
                    thought,
                    deps.workspace.guard,
                    vault,
                    version=deps.workspace.version,
                    owner=deps.owner,
                    spread=deps.workspace.releases.spread,
                )
                for one, thought in zip(perceived, decided, strict=True)
            ]
            assert all(deps.commit([one.work for one in made]))
            spent += time.perf_counter() - began
        return spent / (groups * GROUP)

    def _arrival(self, who: Callable[[], int]) -> Arrival:
        self._n += 1
        name = f"u{who()}"
        at = NOW + timedelta(seconds=self._n)
        event = Event(
            "bench",
            f"e{self._n}",
            "track",
            "self_service_failed",
            at,
            at,
            (Identifier("user_id", name), Identifier("email", f"{name}@x.example")),
            {"topic": "returns"},
        )
        return Arrival(event, at)

    def close(self) -> None:
        """Close the store."""
        self._assembly.close()


class Peer:
    """A child process that answers how many seconds a verdict took it."""

    def __init__(self, name: str) -> None:
        command = [str(PEERS_PYTHON), str(PEER), name]
        self._child = subprocess.Popen(  # noqa: S603 - our own script
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.version = json.loads(self._line())["version"]

    def ask(self, count: int) -> float:
        """Let it come to that many verdicts."""
        assert self._child.stdin is not None
        self._child.stdin.write(f"{count}\n")
        self._child.stdin.flush()
        return float(json.loads(self._line()))

    def _line(self) -> str:
        assert self._child.stdout is not None and self._child.stderr is not None
        line = self._child.stdout.readline()
        if not line:
            said = self._child.stderr.read().strip().splitlines()
            raise ChildProcessError(said[-1] if said else "it ended without a word")
        return line

    def close(self) -> None:
        """End the process that was begun here."""
        assert self._child.stdin is not None
        self._child.stdin.close()
        self._child.wait(timeout=10)


def peers(open_ones: ExitStack) -> Iterator[tuple[str, Peer]]:
    """Those that are installed; the others are named with the reason."""
    if not PEERS_PYTHON.exists():
        print("no peer is installed (`make peers`)")
        return
    for name in PEERS:
        try:
            peer = Peer(name)
        except ChildProcessError as error:
            print(f"{name} is not here: {error}")
            continue
        open_ones.callback(peer.close)
        yield f"{name} {peer.version}".strip(), peer


def main() -> None:
    """Measure, in turns."""
    ours = Verdicts()
    with ExitStack() as last, tempfile.TemporaryDirectory() as folder:
        written = Written(Path(folder) / "shop")
        last.callback(written.close)
        ways = [
            Way("guard, warm", ours.warm),
            Way("guard, cold", ours.cold),
            Way("guard, 10 CEL rules more", ours.twenty),
            Way("guard, refusal", ours.refused),
            Way("one CEL program", ours.prepared),
            Way("+ reserve and record, known", written.known),
            Way("+ reserve and record, new", written.new),
            *(Way(name, peer.ask) for name, peer in peers(last)),
        ]
        for way in ways:
            way.run(VERDICTS)  # to warm up
        written.known(50 * KNOWN // GROUP)  # and everybody is known
        steady()
        for _ in range(ROUNDS):
            for way in ways:
                way.rounds.append(way.run(VERDICTS))
    _show(ways, ours.rules)


def _show(ways: Sequence[Way], rules: int) -> None:
    took = {way.name: way.rounds for way in ways}
    warm = took["guard, warm"]
    print(f"\n{rules} rules, {len(CONDITIONS)} of them CEL; medians of {ROUNDS} rounds, in turns")
    print(f"  {'way':<34}{'us':>9}{'x warm':>9}")
    for way in ways:
        ratio = statistics.median(a / b for a, b in zip(way.rounds, warm, strict=True))
        print(f"  {way.name:<34}{statistics.median(way.rounds) * 1e6:>9.1f}{ratio:>9.2f}")
    further = statistics.median(
        (twenty - ten) / len(CONDITIONS) / one
        for twenty, ten, one in zip(
            took["guard, 10 CEL rules more"], warm, took["one CEL program"], strict=True
        )
    )
    print(f"  a further CEL rule costs {further:.2f} x one prepared execution")


if __name__ == "__main__":
    main()
