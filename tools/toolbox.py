"""The only place where anything happens to a customer: one tool a step, each step at most once.

A step is an outbox row `intended -> sending -> sent | failed | unknown | cancelled`. Whoever runs
it holds a permit that its decision has recorded. A tool returns an outcome and, where its effect
lies in the store, the writes that make it so; effect and outcome are then one commit.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

from domain.verdict import Code
from store.work import Work

LOG = logging.getLogger("safeconduct.tools")

Recovery = Literal["native_key", "lookup", "none", "store"]
"""What can be learnt about a step that was interrupted: `store` effects are there or not."""


@dataclass(frozen=True, slots=True)
class Intent:
    """One step about to be carried out. `outbox_id` is its idempotency key."""

    outbox_id: str
    decision_id: str
    profile_id: str
    permit_id: str
    step: int
    tool: str
    channel: str | None
    arguments: Mapping[str, Any]
    at: datetime


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a step."""

    state: Literal["sent", "failed", "unknown", "cancelled"]
    detail: str = ""
    code: Code | None = None


class Tool(Protocol):
    """One kind of effect."""

    def recovery(self, intent: Intent) -> Recovery:
        """What can be learnt about an interrupted step of this kind."""
        ...

    async def execute(self, intent: Intent, work: Work) -> Outcome:
        """Do it. Effects in the store are added to `work`, which is committed with the outcome."""
        ...

    async def lookup(self, intent: Intent) -> Outcome | None:
        """Whether it was done: None where it provably was not."""
        ...


class Outside(Protocol):
    """Where effects are kept outside the store."""

    def settle(self) -> None:
        """Wait until everything reported sent is there for good."""
        ...

    def forget(self, keys: Collection[str]) -> None:
        """Destroy what was sent under these keys."""
        ...

    def close(self) -> None:
        """Let go of what was held for it."""
        ...


class Toolbox:
    """The closed set of tools, and where their effects lie outside the store."""

    def __init__(self, tools: Mapping[str, Tool], outside: Outside | None = None) -> None:
        self._tools = dict(tools)
        self._outside = outside

    def settle(self) -> None:
        """Make durable what was sent. Called before its outcome is recorded.

        So nothing is recorded as sent that a power cut then takes back.
        """
        if self._outside is not None:
            self._outside.settle()

    def forget(self, steps: Collection[str]) -> None:
        """Destroy what these steps (by their outbox ids) left outside the store, where that can be.

        What a provider was handed is the provider's to erase.
        """
        if self._outside is not None and steps:
            self._outside.settle()
            self._outside.forget(steps)

    def close(self) -> None:
        """Let go of what the tools hold."""
        if self._outside is not None:
            self._outside.close()

    async def execute(self, intent: Intent, work: Work) -> Outcome:
        """Carry out one step. A tool that raises leaves the step `unknown`, never repeated."""
        tool = self._tools.get(intent.tool)
        if tool is None:
            return Outcome("failed", f"there is no tool `{intent.tool}`", "unknown_tool")
        try:
            return await tool.execute(intent, work)
        except Exception as error:  # noqa: BLE001 - nobody can say whether the effect took place
            kind = type(error).__name__
            LOG.warning("a tool raised", extra={"fields": {"tool": intent.tool, "error": kind}})
            return Outcome("unknown", f"the tool failed: {kind}")

    async def reconcile(self, intent: Intent, *, here: bool) -> Outcome:
        """What became of a step that was `sending` when its process ended.

        Args:
            here: whether that process kept its effects where this one would look for them.
        """
        tool = self._tools.get(intent.tool)
        if tool is None:
            return Outcome("unknown", f"there is no tool `{intent.tool}` any more")
        match tool.recovery(intent):
            case "store":
                return Outcome("cancelled", "interrupted before it was done", "permit_expired")
            case "none":
                return Outcome("unknown", "interrupted, and this channel cannot be asked")
            case "lookup" if not here:
                return Outcome("unknown", "interrupted, and it cannot be looked up from here")
            case "lookup" | "native_key":
                done = await tool.lookup(intent)
                if done is not None:
                    return done
                return Outcome("cancelled", "interrupted before it was sent", "permit_expired")
