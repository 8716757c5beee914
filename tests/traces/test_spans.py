from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler, TraceIdRatioBased
from opentelemetry.trace import StatusCode

from agents import candidates, thinking
from agents import steps as agents_steps
from agents.supervisor import through_graph, through_steps
from domain.action import Step
from store.work import Work
from tests.shop import Shop, cart, consent, open_shop, row
from tools.toolbox import Intent, Outcome
from traces.logs import Correlate
from traces.otel import SPANS_MAX, TOOL_SPANS_MAX, OtelSpans

ROOT = "invoke_agent supervisor"
STEPS = ["safeconduct perceive", "safeconduct decide", "safeconduct commit"]
GRANT = consent("granted", "2026-10-05T08:00:00Z", email="maya@shop.example")


def watch(shop: Shop, sampler: Sampler = ALWAYS_ON, *, graph: bool = False) -> InMemorySpanExporter:
    """Have the shop make spans, kept where a test can read them."""
    kept = InMemorySpanExporter()
    provider = TracerProvider(sampler, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    fingerprint = shop.database.vault.fingerprint
    shop.deps = replace(shop.deps, spans=OtelSpans(provider.get_tracer("test"), fingerprint))
    shop.assembly.deps = shop.deps
    shop._decide = (through_graph if graph else through_steps)(shop.deps)
    return kept


def roots(spans: Sequence[ReadableSpan]) -> list[dict[str, Any]]:
    """The attributes of every decision's own span, in the order of their ends."""
    return [dict(span.attributes or {}) for span in spans if span.parent is None]


def inside(spans: Sequence[ReadableSpan], root: ReadableSpan) -> list[ReadableSpan]:
    """What happened in a decision, in the order in which it began."""
    found = [s for s in spans if s.parent is not None and s.parent == root.context]
    return sorted(found, key=lambda span: span.start_time or 0)


@pytest.mark.parametrize("graph", [False, True])
def test_a_decision_is_one_trace_with_the_names_of_the_convention(
    tmp_path: Path, graph: bool
) -> None:
    """Root, steps and tools bear their names, attributes and parents, in either runner."""
    with open_shop(tmp_path / "w") as shop:
        kept = watch(shop, graph=graph)
        lines = shop.run(GRANT, cart("2026-10-05T09:00:00Z"))
        person = shop.database.vault.fingerprint("conversation", lines[1]["profile_id"])
    spans = kept.get_finished_spans()
    root = next(
        s for s in spans if (s.attributes or {}).get("safeconduct.decision.verdict") == "permitted"
    )
    assert root.name == ROOT
    said = dict(root.attributes or {})
    assert said.pop("safeconduct.policy.version")
    assert said == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "supervisor",
        "gen_ai.agent.version": shop.assembly.workspace.version,
        "gen_ai.conversation.id": person,
        "safeconduct.decision.id": lines[1]["decision_id"],
        "safeconduct.decision.pass": "event",
        "safeconduct.decision.round": 1,
        "safeconduct.decision.verdict": "permitted",
        "safeconduct.decision.action": "remind_by_email",
        "safeconduct.decision.channel": "email",
        "safeconduct.decision.journey": "abandoned_cart",
        "safeconduct.decision.mind": "formula",
    }
    parts = inside(spans, root)
    assert [part.name for part in parts] == [*STEPS, "execute_tool message"]
    assert dict(parts[-1].attributes or {}) == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "message",
        "gen_ai.tool.type": "function",
        "gen_ai.tool.call.id": f"{lines[1]['decision_id']}-0",
        "safeconduct.tool.outcome": "sent",
    }
    began = [root.start_time or 0] + [part.start_time or 0 for part in parts]
    ended = [part.end_time or 0 for part in parts] + [root.end_time or 0]
    assert began == sorted(began)
    assert ended == sorted(ended)
    assert all(early <= late for early, late in zip(ended[:-1], began[2:], strict=False))


def test_every_decision_of_a_batch_has_a_trace_of_its_own(tmp_path: Path) -> None:
    """Two people decided about in one commit share its times, and neither a trace nor a thought."""
    with open_shop(tmp_path / "w") as shop:
        kept = watch(shop)
        shop.run(
            cart("2026-10-05T09:00:00Z", "c-1", email="a@shop.example"),
            cart("2026-10-05T09:00:00Z", "c-2", email="b@shop.example"),
        )
    spans = kept.get_finished_spans()
    one, two = (span for span in spans if span.parent is None)
    assert one.context is not None and two.context is not None
    assert one.context.trace_id != two.context.trace_id
    times = [
        {part.name: (part.start_time, part.end_time) for part in inside(spans, root)}
        for root in (one, two)
    ]
    assert times[0]["safeconduct commit"] == times[1]["safeconduct commit"]
    assert times[0]["safeconduct decide"][1] == times[1]["safeconduct decide"][0]
    people = [said["gen_ai.conversation.id"] for said in roots(spans)]
    assert len(set(people)) == 2


def test_the_same_customer_is_the_same_conversation(tmp_path: Path) -> None:
    """Traces about one person can be put side by side without knowing who it is."""
    with open_shop(tmp_path / "w") as shop:
        kept = watch(shop)
        lines = shop.run(GRANT, cart("2026-10-05T09:00:00Z"), cart("2026-10-05T09:10:00Z"))
    (person,) = {said["gen_ai.conversation.id"] for said in roots(kept.get_finished_spans())}
    assert person not in (lines[0]["profile_id"], "c-1")


def test_later_passes_name_their_parent_and_their_approval(tmp_path: Path) -> None:
    """A held voucher and the pass after its approval are two traces that name the same request."""
    with open_shop(tmp_path / "w") as shop:
        kept = watch(shop)
        shop.run(
            consent("granted", "2026-10-05T09:00:00Z", email="a@shop.example"),
            row("self_service_failed", "2026-10-05T09:10:00Z", topic="returns"),
            row("contact_opened", "2026-10-05T17:00:00Z", topic="returns"),
        )
        (asked,) = shop.rows("approvals")
        held = roots(kept.get_finished_spans())[-1]
        kept.clear()
        shop.vote(asked["approval_id"], "approve", "2026-10-05T17:15:00Z")
        shop.wake("2026-10-05T17:15:00Z")
    assert held["safeconduct.decision.held_for"] == "approval"
    assert held["safeconduct.approval.id"] == asked["approval_id"]
    assert held["safeconduct.approval.state"] == "pending"
    (said,) = roots(kept.get_finished_spans())
    assert said["safeconduct.decision.pass"] == "approval"
    assert said["safeconduct.decision.parent_id"] == asked["decision_id"]
    assert said["safeconduct.approval.id"] == asked["approval_id"]
    assert said["safeconduct.approval.state"] == "approved"
    assert said["safeconduct.decision.verdict"] == "permitted"
    assert [s.name for s in kept.get_finished_spans() if s.name.startswith("execute")] == [
        "execute_tool offer",
        "execute_tool message",
    ]


@pytest.mark.parametrize("count", [1, TOOL_SPANS_MAX, TOOL_SPANS_MAX + 1, 20])
def test_a_decision_of_many_steps_has_eight_spans_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """What an action takes in steps does not widen its trace; what is left out is counted."""
    made = candidates.steps

    def many(*given: Any) -> tuple[Step, ...]:
        return made(*given) * count

    monkeypatch.setattr(thinking, "steps", many)
    with open_shop(tmp_path / "w") as shop:
        kept = watch(shop)
        shop.run(GRANT)
        kept.clear()
        shop.run(cart("2026-10-05T09:00:00Z"))
        assert [s["state"] for s in shop.rows("outbox")] == ["sent"] * count
    spans = kept.get_finished_spans()
    (said,) = roots(spans)
    assert len(spans) == min(1 + len(STEPS) + count, SPANS_MAX)
    assert said.get("safeconduct.tool.unshown", 0) == max(0, count - TOOL_SPANS_MAX)


def test_a_tool_that_raises_spoils_its_span_and_says_nothing_of_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An error's text may quote the customer: span and log keep its kind, and the outcome."""

    class Broken:
        async def execute(self, intent: Intent, work: Work) -> Outcome:
            raise ValueError(f"cannot write to {intent.arguments['to']}")

    with open_shop(tmp_path / "w") as shop, caplog.at_level(logging.INFO, "safeconduct"):
        kept = watch(shop)
        shop.deps.toolbox._tools["message"] = Broken()  # type: ignore[assignment]
        shop.run(GRANT, cart("2026-10-05T09:00:00Z"))
    (call,) = (s for s in kept.get_finished_spans() if s.name == "execute_tool message")
    assert call.status.status_code is StatusCode.ERROR
    assert (call.attributes or {})["safeconduct.tool.outcome"] == "unknown"
    said = [(r.name, r.getMessage(), getattr(r, "fields", {})) for r in caplog.records]
    assert (
        "safeconduct.tools",
        "a tool raised",
        {"tool": "message", "error": "ValueError"},
    ) in said
    assert "a step is unknown" in [words for _, words, _ in said]
    everything = "".join(span.to_json() for span in kept.get_finished_spans()) + repr(said)
    assert "maya@shop.example" not in everything


class Fault(Exception):
    """Quotes a customer."""


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("step", ["perceive", "decide", "act"])
def test_a_step_that_raises_leaves_one_failed_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, graph: bool, step: str
) -> None:
    """The step and its root are marked with the error's type, never with its words."""

    def fail(*_: Any, **__: Any) -> Any:
        raise Fault("maya@shop.example")

    with open_shop(tmp_path / "w") as shop:
        kept = watch(shop, graph=graph)
        match step:
            case "perceive":
                monkeypatch.setattr(shop.deps.people, "read", fail)
            case "decide":
                monkeypatch.setattr(agents_steps, "think", fail)
            case _:
                monkeypatch.setattr(agents_steps, "record", fail)
        with pytest.raises(Fault):
            shop.run(GRANT)
    spans = kept.get_finished_spans()
    assert Counter(span.name for span in spans) == {ROOT: 1, f"safeconduct {step}": 1}
    for span in spans:
        assert span.status.status_code is StatusCode.ERROR
        assert (span.attributes or {})["error.type"] == "Fault"
        assert not span.events
        assert "maya" not in span.to_json()


def test_a_decision_whose_steps_break_off_is_the_failed_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is raised while carrying out marks the decision's own root, and no second one."""
    with open_shop(tmp_path / "w") as shop:
        kept = watch(shop)
        shop.run(GRANT)
        kept.clear()

        async def fail(intent: Intent, work: Work) -> Outcome:
            raise KeyboardInterrupt

        monkeypatch.setattr(shop.deps.toolbox, "execute", fail)
        with pytest.raises(KeyboardInterrupt):
            shop.run(cart("2026-10-05T09:00:00Z"))
    spans = kept.get_finished_spans()
    (root,) = (span for span in spans if span.parent is None)
    assert (root.attributes or {})["error.type"] == "KeyboardInterrupt"
    assert (root.attributes or {})["safeconduct.decision.action"] == "remind_by_email"
    assert [part.name for part in inside(spans, root)] == [*STEPS, "execute_tool message"]


def test_an_overtaken_decision_says_in_which_round_it_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A lost commit leaves a line in the log, and one trace: that of the round which held."""
    with open_shop(tmp_path / "w") as shop, caplog.at_level(logging.INFO, "safeconduct"):
        kept = watch(shop)
        shop.run(GRANT)
        kept.clear()
        commit = shop.database.commit
        lost: list[Sequence[Work]] = []

        def overtaken(works: Sequence[Work]) -> list[bool]:
            if any(work.entries for work in works) and not lost:
                lost.append(works)
                return [False for _ in works]
            return commit(works)

        monkeypatch.setattr(shop.database, "commit", overtaken)
        (line,) = shop.run(row("order_completed", "2026-10-05T09:00:00Z", order_id="o"))
    (said,) = roots(kept.get_finished_spans())
    assert said["safeconduct.decision.round"] == 2
    assert said["safeconduct.decision.id"] == line["decision_id"]
    words = [record.getMessage() for record in caplog.records]
    assert words == ["decided", "overtaken: read and decided again", "decided"]


def test_lines_of_the_log_bear_the_ids_of_their_trace(tmp_path: Path) -> None:
    """Decision, trace and span ids lead from a line to the span in which it was written."""
    found: list[logging.LogRecord] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record)

    handler = Kept()
    handler.addFilter(Correlate())
    logger = logging.getLogger("safeconduct")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        with open_shop(tmp_path / "w") as shop:
            kept = watch(shop)
            del shop.deps.toolbox._tools["message"]
            shop.run(GRANT, cart("2026-10-05T09:00:00Z"))
            del shop
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
    at = {
        (span.context.trace_id, span.context.span_id): span
        for span in kept.get_finished_spans()
        if span.context is not None
    }
    said = {}
    for record in found:
        ids = record.__dict__
        span = at[int(ids["trace_id"], 16), int(ids["span_id"], 16)]
        said[record.getMessage()] = span.name
        if span.parent is None:
            assert (span.attributes or {})["safeconduct.decision.id"] == ids["decision_id"]
    assert said == {"decided": ROOT, "a step is failed": "execute_tool message"}


STORY = [
    GRANT,
    cart("2026-10-05T09:00:00Z"),
    cart("2026-10-05T09:10:00Z", cart_id="k-2"),
    row("self_service_failed", "2026-10-05T10:00:00Z", topic="returns"),
    row("contact_opened", "2026-10-05T17:00:00Z", topic="returns"),
    cart("2026-10-05T21:30:00Z", "c-2", email="b@shop.example"),
]


def test_nothing_is_recorded_otherwise_because_somebody_watches(tmp_path: Path) -> None:
    """Without spans, with every one and with none sampled, the record is the same to the byte."""

    def all_of(prepare: Callable[[Shop], object], name: str) -> list[Any]:
        with open_shop(tmp_path / name) as shop:
            prepare(shop)
            lines = shop.run(*STORY)
            records = [shop.deps.history.get(d["decision_id"]).record() for d in lines]
            return [lines, records, shop.rows("revisions"), shop.rows("contacts")]

    plain = all_of(lambda shop: None, "plain")
    assert len(plain[0]) >= len(STORY)
    assert all(record is not None for record in plain[1])
    assert all_of(watch, "all") == plain
    assert all_of(lambda shop: watch(shop, TraceIdRatioBased(0)), "none") == plain


def test_a_ratio_of_none_leaves_no_span_and_still_names_the_trace_in_the_log(
    tmp_path: Path,
) -> None:
    """What the sampler leaves out costs no attribute, and its lines can still be told apart."""
    with open_shop(tmp_path / "w") as shop:
        kept = watch(shop, TraceIdRatioBased(0))
        asked = Counter[str]()
        fingerprint = shop.deps.spans._fingerprint  # type: ignore[attr-defined]

        def counted(kind: str, text: str) -> str:
            asked[kind] += 1
            return str(fingerprint(kind, text))

        shop.deps.spans._fingerprint = counted  # type: ignore[attr-defined]
        shop.run(*STORY)
        assert not kept.get_finished_spans()
        assert not asked
