"""Times decisions on large stores, interleaved, against a graph that does nothing."""

from __future__ import annotations

import argparse
import asyncio
import random
import resource
import shutil
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypedDict

from agents import steps as agents_steps
from agents.steps import BATCH_MAX, GROUP_MAX
from agents.supervisor import Decide, through_graph, through_steps
from domain.canonical import canonical
from domain.event import Event, Identifier
from profiles.arrivals import Arrival
from service.assemble import Assembly, assemble, steady
from service.settings import make_workspace
from service.telemetry import SAMPLED_RATIO
from traces.spans import Spans

HERE = Path(".bench")
ROUNDS = 9
EVENTS = 320
BEGIN = datetime(2026, 9, 1, 9, tzinfo=UTC)
SPANS = {"spans, 1/10": SAMPLED_RATIO, "spans, all": 1.0}
HISTORIES = {"short": 50, "long": 5_000}
READS = 40
STAGES = ("read", "think", "record", "commit", "act")


class Empty(TypedDict, total=False):
    """The floor's state."""

    n: int


def floor() -> Callable[[], Awaitable[Any]]:
    """A compiled graph of three nodes that do nothing."""
    from langgraph.graph import END, START, StateGraph

    async def nothing(state: Empty) -> Empty:
        return {"n": 1}

    graph: Any = StateGraph(Empty)
    names = ("perceive", "decide", "act")
    for name in names:
        graph.add_node(name, nothing)
    for one, other in zip((START, *names), (*names, END), strict=True):
        graph.add_edge(one, other)
    compiled = graph.compile()
    return lambda: compiled.ainvoke({"n": 0})


def populated(people: int) -> Path:
    """A workspace whose store knows that many people, each with a consent and an address."""
    folder = HERE / f"{people}"
    if (folder / "ready").exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    for _ in make_workspace(folder):
        pass
    assembly = assemble(folder)
    # Only while populating: what a power cut would lose here can be made again.
    assembly.database._driver.execute("PRAGMA synchronous=OFF")
    decide = through_steps(assembly.deps)

    async def populate() -> None:
        for start in range(0, people, BATCH_MAX):
            numbers = range(start, min(people, start + BATCH_MAX))
            await decide([Arrival(_consent(n), BEGIN) for n in numbers])
            if start % 8000 == 0:
                print(f"\rpopulating {people}: {start}", end="", file=sys.stderr)

    asyncio.run(populate())
    for who, events in HISTORIES.items():
        asyncio.run(_lived(decide, who, events))
    print(f"\rpopulated {people}            ", file=sys.stderr)
    assembly.close()
    (folder / "ready").touch()
    return folder


async def _lived(decide: Decide, who: str, events: int) -> None:
    """A customer with a history: mostly looking, some buying, a message now and then."""
    for n in range(events):
        at = BEGIN - timedelta(hours=events - n)
        name = "order_completed" if n % 25 == 0 else "page_viewed"
        name = "cart_abandoned" if n % 40 == 7 else name
        said = {"value": 30.0 + n % 9, "cart_id": f"{who}-{n}", "order_id": f"{who}-{n}"}
        await decide([Arrival(_event(name, f"{who}-{n}", at, {"user_id": who}, said), at)])


def _event(name: str, id_: str, at: datetime, names: dict[str, str], said: dict[str, Any]) -> Event:
    identifiers = tuple(Identifier(ns, value) for ns, value in names.items())
    return Event("bench", id_, "track", name, at, at, identifiers, said)


def rows(people: int, chance: random.Random, clock: Iterator[datetime]) -> Iterator[bytes]:
    """Raw rows that decide nothing: customers look, visitors come, and some of them sign in."""
    visitors: list[str] = []
    while True:
        at, token, kind = next(clock), chance.getrandbits(60), chance.random()
        user = f"u{chance.randrange(people)}"
        names = {"user_id": user}
        if kind < 0.2 or not visitors:
            visitors.append(f"v{token}")
            names = {"anonymous_id": visitors[-1]}
        elif kind < 0.3:
            names = {"user_id": user, "anonymous_id": visitors.pop()}
        row = {"event": "page_viewed", "id": f"r-{token}", "at": at, **names}
        yield canonical({**row, "traits": {"last_page": token % 97}, "properties": {"n": token}})


def _consent(n: int) -> Event:
    said = {"channel": "email", "purpose": "marketing", "value": "granted", "source": "bench"}
    return Event(
        source="bench",
        id=f"consent-{n}",
        kind="track",
        name="consent_changed",
        occurred_at=BEGIN,
        received_at=BEGIN,
        identifiers=(Identifier("user_id", f"u{n}"), Identifier("email", f"u{n}@x.example")),
        properties=said,
    )


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of event, and its part in a mix."""

    name: str
    weight: float
    properties: dict[str, Any] = field(default_factory=dict)


# Mostly looking; some leave a cart, a few buy, and some fail. One decision in seven acts.
BROWSING = (
    Kind("page_viewed", 0.82),
    Kind("cart_abandoned", 0.07, {"value": 80.0}),
    Kind("order_completed", 0.03),
    Kind("checkout_failed", 0.03, {"error": "card"}),
    Kind("self_service_failed", 0.03, {"topic": "returns"}),
    Kind("signed_up", 0.02),
)
# Only what matters is sent to us: every other decision acts.
BUSY = (
    Kind("page_viewed", 0.35),
    Kind("cart_abandoned", 0.3, {"value": 80.0}),
    Kind("order_completed", 0.1),
    Kind("checkout_failed", 0.1, {"error": "card"}),
    Kind("self_service_failed", 0.1, {"topic": "returns"}),
    Kind("signed_up", 0.05),
)


def arrivals(
    people: int, mix: Sequence[Kind], chance: random.Random, clock: Iterator[datetime]
) -> Iterator[Arrival]:
    """What a shop's customers do."""
    names, properties, weights = zip(*((k.name, k.properties, k.weight) for k in mix), strict=True)
    while True:
        kind = chance.choices(range(len(names)), weights)[0]
        at, token = next(clock), chance.getrandbits(60)
        said = {**properties[kind], "cart_id": f"k{token}", "order_id": f"o{token}"}
        event = Event(
            source="bench",
            id=f"e-{token}",
            kind="track",
            name=names[kind],
            occurred_at=at,
            received_at=at,
            identifiers=(Identifier("user_id", f"u{chance.randrange(people)}"),),
            properties=said,
        )
        yield Arrival(event, at)


@dataclass(slots=True)
class Way:
    """One way of running: its samples in seconds a call, and how many events each call took."""

    name: str
    size: int
    run: Callable[[Sequence[Arrival]], Awaitable[Any]]
    calls: list[float] = field(default_factory=list)
    rounds: list[float] = field(default_factory=list)
    acted: int = 0

    async def round(self, found: Iterator[Arrival]) -> None:
        """Decide about `EVENTS` events of different people a call, and time each call."""
        total = 0.0
        for _ in range(EVENTS // self.size):
            batch = _different(found, self.size)
            begun = time.perf_counter()
            lines = await self.run(batch)
            took = time.perf_counter() - begun
            self.calls.append(took)
            self.acted += sum(1 for line in lines if line.verdict == "permitted")
            total += took
        self.rounds.append(total / (EVENTS // self.size * self.size))


def _different(found: Iterator[Arrival], size: int) -> list[Arrival]:
    batch: dict[Identifier, Arrival] = {}
    while len(batch) < size:
        arrival = next(found)
        batch.setdefault(arrival.event.identifiers[0], arrival)
    return list(batch.values())


class Stages:
    """Where the time of a way goes."""

    def __init__(self, assembly: Assembly) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        deps = assembly.deps
        self._time(deps.people, "read", "read")
        self._time(deps.database, "commit", "commit")
        self._time(agents_steps, "think", "think")
        self._time(agents_steps, "record", "record")
        self._time_async(deps.toolbox, "execute", "act")

    def _time(self, owner: Any, name: str, stage: str) -> None:
        kept = getattr(owner, name)

        def timed(*args: Any, **options: Any) -> Any:
            begun = time.perf_counter()
            try:
                return kept(*args, **options)
            finally:
                self.seconds[stage] += time.perf_counter() - begun

        setattr(owner, name, timed)

    def _time_async(self, owner: Any, name: str, stage: str) -> None:
        kept = getattr(owner, name)

        async def timed(*args: Any, **options: Any) -> Any:
            begun = time.perf_counter()
            try:
                return await kept(*args, **options)
            finally:
                self.seconds[stage] += time.perf_counter() - begun

        setattr(owner, name, timed)


def spans(assembly: Assembly, ratio: float) -> Spans:
    """That share of the decisions sampled, batched and encoded for the wire, sent nowhere."""
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
    from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

    from traces.otel import OtelSpans

    class Nowhere(SpanExporter):
        def export(self, spans: Sequence[Any]) -> SpanExportResult:
            encode_spans(spans).SerializeToString()
            return SpanExportResult.SUCCESS

    provider = TracerProvider(TraceIdRatioBased(ratio))
    provider.add_span_processor(BatchSpanProcessor(Nowhere()))
    return OtelSpans(provider.get_tracer("bench"), assembly.database.vault.fingerprint)


def ways(assembly: Assembly) -> list[Way]:
    """The live path one by one and in micro-batches, and the plain runner in groups."""
    graph: Decide = through_graph(assembly.deps)
    plain: Decide = through_steps(assembly.deps)
    watched = {
        name: through_graph(replace(assembly.deps, spans=spans(assembly, ratio)))
        for name, ratio in SPANS.items()
    }
    return [
        Way("graph, 1", 1, graph),
        Way("graph, 4", 4, graph),
        Way("graph, 8", 8, graph),
        *(Way(name, 8, decide) for name, decide in watched.items()),
        Way("plain, 8", 8, plain),
        Way(f"plain, {GROUP_MAX}", GROUP_MAX, plain),
    ]


class Ingest:
    """Reads raw rows, finds who they are about and keeps what they change, in groups."""

    def __init__(self, assembly: Assembly, found: Iterator[bytes]) -> None:
        self._reading = assembly.reading
        self._decide = through_steps(assembly.deps)
        self._rows = found
        self.seconds: list[float] = []
        self.cpu: list[float] = []

    async def round(self) -> None:
        """Take in `EVENTS` rows."""
        raws = [next(self._rows) for _ in range(EVENTS)]
        begun, used = time.perf_counter(), time.process_time()
        for start in range(0, EVENTS, GROUP_MAX):
            batch = []
            for raw in raws[start : start + GROUP_MAX]:
                (event,) = self._reading.read(raw, received_at=BEGIN, place="bench")
                assert isinstance(event, Event) and event.occurred_at is not None
                event = replace(event, received_at=event.occurred_at)
                batch.append(Arrival(event, event.received_at))
            await self._decide(batch)
        self.seconds.append((time.perf_counter() - begun) / EVENTS)
        self.cpu.append((time.process_time() - used) / EVENTS)


class Reads:
    """Reads for an event that asks for a decision; nothing is written.

    A reading finds out who it is, prepares what the event changes about them, and then reads their
    context; that last part is timed by itself as well.
    """

    def __init__(self, assembly: Assembly, people: int, clock: Iterator[datetime]) -> None:
        self._people = assembly.deps.people
        self._count = people
        self._clock = clock
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.contexts: dict[str, list[float]] = defaultdict(list)
        self._complete = self._people._complete
        self._took = 0.0

    def _timed(self, *given: Any) -> None:
        begun = time.perf_counter()
        self._complete(*given)
        self._took = time.perf_counter() - begun

    def round(self, chance: random.Random) -> None:
        """Read anybody, and the customers with a short and a long history, in turns."""
        self._people._complete = self._timed  # type: ignore[method-assign]
        for _ in range(READS):
            for who in ("anybody", *HISTORIES):
                self._time(who, [self._asks(chance, who)])
            self._time("in eights", [self._asks(chance, "anybody") for _ in range(BATCH_MAX)])
        self._people._complete = self._complete  # type: ignore[method-assign]

    def _asks(self, chance: random.Random, who: str) -> Arrival:
        name = f"u{chance.randrange(self._count)}" if who == "anybody" else who
        at = next(self._clock)
        said = {"value": 80.0, "cart_id": f"{at}"}
        return Arrival(_event("cart_abandoned", f"{at}", at, {"user_id": name}, said), at)

    def _time(self, who: str, asking: Sequence[Arrival]) -> None:
        begun = time.perf_counter()
        read = self._people.read(asking)
        self.seconds[who].append((time.perf_counter() - begun) / len(asking))
        self.contexts[who].append(self._took / len(asking))
        assert all(one.context is not None for one in read)


async def measure(people: int, folder: Path, mix: Sequence[Kind]) -> None:
    """All ways on one store, round by round, and the floor between them."""
    assembly = assemble(folder)
    chance, clock = random.Random(time.time_ns()), _clock()
    found = arrivals(people, mix, chance, clock)
    empty, everyone = floor(), ways(assembly)
    floors: list[float] = []
    for way in everyone:
        await way.round(found)  # to warm up
        way.calls.clear()
        way.rounds.clear()
        way.acted = 0
    ingest = Ingest(assembly, rows(people, chance, clock))
    reads = Reads(assembly, people, clock)
    await ingest.round()
    ingest.seconds.clear()
    ingest.cpu.clear()
    stages = Stages(assembly)
    steady()
    store = assembly.database.path
    assert store is not None
    before = store.stat().st_size
    decided = 0
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        for _ in range(EVENTS):
            await empty()
        floors.append((time.perf_counter() - begun) / EVENTS)
        for way in everyone:
            await way.round(found)
            decided += EVENTS
        kept = dict(stages.seconds)
        await ingest.round()
        reads.round(chance)
        stages.seconds.update(kept)
        decided += EVENTS
    assembly.close()
    _show(people, statistics.median(floors), everyone, stages)
    _show_profiles(statistics.median(floors), ingest, reads)
    grown = store.stat().st_size - before
    print(
        f"  {max(0, grown) / decided:,.0f} bytes stored a decision (store {before / 1e6:,.0f} MB)"
    )


def _show(people: int, floor_seconds: float, everyone: Sequence[Way], stages: Stages) -> None:
    print(f"\n{people:,} people (floor: {floor_seconds * 1e6:,.0f} us an invocation)")
    print(f"  {'way':<12}{'decisions/s':>12}{'p50 ms':>9}{'p99 ms':>9}{'x floor':>9}")
    for way in everyone:
        each = statistics.median(way.rounds)
        calls = sorted(way.calls)
        p50, p99 = (calls[int(len(calls) * q)] * 1e3 for q in (0.5, 0.99))
        print(
            f"  {way.name:<12}{1 / each:>12,.0f}{p50:>9.2f}{p99:>9.2f}{each / floor_seconds:>9.2f}"
        )
    pairs = {way.name: way.rounds for way in everyone}
    for name in SPANS:
        ratios = [on / off for on, off in zip(pairs[name], pairs["graph, 8"], strict=True)]
        print(f"  {name:<12}{statistics.median(ratios):.2f} x graph, 8")
    total = sum(way_round for way in everyone for way_round in way.rounds) * EVENTS
    acted = sum(way.acted for way in everyone) / (len(everyone) * ROUNDS * EVENTS)
    print(f"  {acted:.0%} of the decisions did something")
    shares = [f"{stage} {stages.seconds[stage] / total:.0%}" for stage in STAGES]
    rest = 1 - sum(stages.seconds.values()) / total
    print(f"  time: {', '.join(shares)}, graph and the rest {rest:.0%}")


def _show_profiles(floor_seconds: float, ingest: Ingest, reads: Reads) -> None:
    each, cpu = statistics.median(ingest.seconds), statistics.median(ingest.cpu)
    print(
        f"  ingest {1 / each:,.0f} events/s ({1 / cpu:,.0f} a second of one core), "
        f"{each / floor_seconds:.2f} x floor"
    )
    median = {who: statistics.median(took) for who, took in reads.seconds.items()}
    alone = {who: statistics.median(took) for who, took in reads.contexts.items()}
    shown = [f"{who} {alone[who] * 1e3:.3f} ({took * 1e3:.3f})" for who, took in median.items()]
    paired = zip(reads.seconds["long"], reads.seconds["short"], strict=True)
    ratio = statistics.median(long / short for long, short in paired)
    print(
        f"  context read, ms (with finding out who it is and what changes about them): "
        f"{', '.join(shown)}; {median['anybody'] / floor_seconds:.2f} x floor; "
        f"{HISTORIES['long']:,} events of history take {ratio:.2f} x {HISTORIES['short']}"
    )


def _clock() -> Iterator[datetime]:
    # After all that earlier runs wrote, so that nothing is late.
    at = BEGIN + timedelta(seconds=time.time() % 1e9)
    while True:
        at += timedelta(milliseconds=200)
        yield at


def main() -> None:
    """Measure each size given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("people", type=int, nargs="*", default=[1_000, 50_000, 200_000])
    parser.add_argument("--busy", action="store_true", help="every other decision acts")
    given = parser.parse_args()
    for people in given.people:
        asyncio.run(measure(people, populated(people), BUSY if given.busy else BROWSING))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\n{ROUNDS} rounds of {EVENTS} events a way, interleaved; peak memory {peak:,.0f} MB")


if __name__ == "__main__":
    main()
