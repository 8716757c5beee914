"""OpenTelemetry spans with the names of its GenAI conventions, at most eight a decision.

    invoke_agent supervisor          the decision, from reading to the last step carried out
    ├── safeconduct perceive         shared by the micro-batch it was decided in
    ├── safeconduct decide           its own thinking
    ├── safeconduct commit           shared by the micro-batch
    └── execute_tool {tool}          one a step, the first four; the rest are counted

Every attribute is an id, a code, or a name from the workspace. The customer is a keyed
fingerprint, the same in all of their traces; what they said, are called or were told is in none.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from time import time_ns

from opentelemetry.context import Context as Surroundings
from opentelemetry.trace import (
    Span,
    SpanContext,
    StatusCode,
    Tracer,
    format_span_id,
    format_trace_id,
    set_span_in_context,
)

from domain.approval import approval_id
from domain.context import Context
from domain.decision import Decision
from traces.logs import CURRENT, Correlation
from traces.spans import Call, Spans, Trail, Watch

SPANS_MAX = 8
AGENT = "supervisor"
_ROOT = f"invoke_agent {AGENT}"
_STEPS = ("perceive", "decide", "commit")
TOOL_SPANS_MAX = SPANS_MAX - 1 - len(_STEPS)
_ALONE = Surroundings()

Fingerprint = Callable[[str, str], str]
"""A keyed fingerprint of a kind and a text."""


class OtelSpans(Spans):
    """Spans of one tracer. Only a decision that its sampler takes costs more than its ids."""

    on = True

    def __init__(self, tracer: Tracer, fingerprint: Fingerprint) -> None:
        self._tracer = tracer
        self._fingerprint = fingerprint

    def decision(
        self, decision: Decision, context: Context, watch: Watch, thought: Hashable
    ) -> Trail:
        """The root span, begun when its micro-batch was, with the steps that are over."""
        root = self._tracer.start_span(_ROOT, _ALONE, start_time=watch.began)
        correlation = _correlation(decision.decision_id, root.get_span_context())
        if not root.is_recording():
            return Trail(correlation)
        person = self._fingerprint("conversation", decision.profile_id)
        root.set_attributes(_known(_agent(decision, person)))
        root.set_attributes(_known(_about(decision, context, watch.round)))
        inside = set_span_in_context(root, _ALONE)
        for name, lap in zip(_STEPS, ("perceive", thought, "commit"), strict=True):
            began, ended = watch.laps[lap]
            self._tracer.start_span(f"safeconduct {name}", inside, start_time=began).end(ended)
        return _SampledTrail(correlation, self._tracer, root, inside, watch)

    def failed(self, step: str, watch: Watch, began: int, error: BaseException) -> None:
        """One trace for a micro-batch that came to nothing, unless a decision's own says it."""
        if watch.told:
            return
        watch.told = True
        root = self._tracer.start_span(_ROOT, _ALONE, start_time=watch.began)
        inside = set_span_in_context(root, _ALONE)
        child = self._tracer.start_span(f"safeconduct {step}", inside, start_time=began)
        root.set_attributes({"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": AGENT})
        for span in (child, root):
            _spoil(span, type(error).__name__)
            span.end()


class _SampledTrail(Trail):
    """A decision being carried out under its root span."""

    __slots__ = ("_calls", "_inside", "_root", "_tracer", "_watch")

    def __init__(
        self,
        correlation: Correlation,
        tracer: Tracer,
        root: Span,
        inside: Surroundings,
        watch: Watch,
    ) -> None:
        super().__init__(correlation)
        self._tracer = tracer
        self._root = root
        self._inside = inside
        self._watch = watch
        self._calls = 0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: object
    ) -> None:
        super().__exit__(kind, error, _)
        if kind is not None:
            self._watch.told = True
            _spoil(self._root, kind.__name__)
        if self._calls > TOOL_SPANS_MAX:
            self._root.set_attribute("safeconduct.tool.unshown", self._calls - TOOL_SPANS_MAX)
        self._root.end(time_ns())

    def call(self, tool: str, call_id: str) -> Call:
        """A span of its own for each of the first steps."""
        self._calls += 1
        if self._calls > TOOL_SPANS_MAX:
            return super().call(tool, call_id)
        span = self._tracer.start_span(f"execute_tool {tool}", self._inside)
        span.set_attributes(
            {
                "gen_ai.operation.name": "execute_tool",
                "gen_ai.tool.name": tool,
                "gen_ai.tool.type": "function",
                "gen_ai.tool.call.id": call_id,
            }
        )
        return _SampledCall(span, self._correlation)


class _SampledCall(Call):
    """A call of a tool under its span."""

    __slots__ = ("_decision", "_span", "_token")

    def __init__(self, span: Span, decision: Correlation) -> None:
        self._span = span
        self._decision = decision

    def __enter__(self) -> Call:
        found = self._span.get_span_context()
        self._token = CURRENT.set(_correlation(self._decision.decision_id, found))
        return self

    def __exit__(self, *raised: object) -> None:
        CURRENT.reset(self._token)
        if isinstance(raised[0], type):
            _spoil(self._span, raised[0].__name__)
        self._span.end()

    def came_to(self, state: str, code: str | None) -> None:
        self._span.set_attribute("safeconduct.tool.outcome", state)
        if state in ("failed", "unknown"):
            _spoil(self._span, code or state)


def _correlation(decision_id: str | None, of: SpanContext) -> Correlation:
    return Correlation(decision_id, format_trace_id(of.trace_id), format_span_id(of.span_id))


def _agent(decision: Decision, person: str) -> Mapping[str, str | None]:
    return {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": AGENT,
        "gen_ai.agent.version": decision.workspace_version,
        "gen_ai.conversation.id": person,
    }


def _about(decision: Decision, context: Context, round_: int) -> Mapping[str, str | int | None]:
    return {
        "safeconduct.decision.id": decision.decision_id,
        "safeconduct.decision.parent_id": decision.parent_id,
        "safeconduct.decision.pass": decision.asked,
        "safeconduct.decision.round": round_,
        "safeconduct.decision.verdict": decision.verdict,
        "safeconduct.decision.held_for": decision.held_for,
        "safeconduct.decision.code": decision.code,
        "safeconduct.decision.action": decision.action,
        "safeconduct.decision.channel": decision.channel,
        "safeconduct.decision.journey": decision.journey,
        "safeconduct.decision.mind": decision.mind,
        "safeconduct.policy.version": decision.policy_version,
        "safeconduct.policy.rule": decision.rule,
        **_approval(decision, context),
    }


def _approval(decision: Decision, context: Context) -> Mapping[str, str | None]:
    """The request that this decision makes, or the one whose answer it goes by."""
    if decision.held_for == "approval":
        return {
            "safeconduct.approval.id": approval_id(decision.decision_id),
            "safeconduct.approval.state": "pending",
        }
    if decision.asked != "approval" or decision.parent_id is None:
        return {}
    wanted = approval_id(decision.parent_id)
    states = {fact.approval_id: fact.state for fact in context.approvals}
    return {
        "safeconduct.approval.id": wanted,
        "safeconduct.approval.state": states.get(wanted),
    }


def _known(attributes: Mapping[str, str | int | None]) -> dict[str, str | int]:
    return {name: value for name, value in attributes.items() if value is not None}


def _spoil(span: Span, kind: str) -> None:
    """Mark a span as failed by the kind of failure alone: a message may quote input."""
    span.set_status(StatusCode.ERROR)
    span.set_attribute("error.type", kind)
