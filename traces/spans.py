"""What a decision looks like from outside, while nobody is watching: the spans switched off.

`traces/otel.py` is the same switched on, and is imported only then.
"""

from __future__ import annotations

from collections.abc import Hashable
from contextvars import Token
from time import time_ns

from domain.context import Context
from domain.decision import Decision
from traces.logs import CURRENT, Correlation


class Watch:
    """When the parts of one micro-batch's decisions began and ended, in Unix nanoseconds.

    `round` counts how often it was read; `told` says that a failure has its span.
    """

    __slots__ = ("_mark", "began", "laps", "round", "told")

    def __init__(self) -> None:
        self.began = self._mark = time_ns()
        self.laps: dict[Hashable, tuple[int, int]] = {}
        self.round = 1
        self.told = False

    def begin(self) -> int:
        """The next lap begins now."""
        self._mark = time_ns()
        return self._mark

    def lap(self, name: Hashable) -> None:
        """A lap of that name ends now, and the next one begins."""
        now = time_ns()
        self.laps[name] = (self._mark, now)
        self._mark = now


class _Idle(Watch):
    """A watch that nobody reads."""

    __slots__ = ()

    def begin(self) -> int:
        return 0

    def lap(self, name: Hashable) -> None:
        pass


IDLE = _Idle()


class Call:
    """One call of a tool that leaves no span."""

    __slots__ = ()

    def __enter__(self) -> Call:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def came_to(self, state: str, code: str | None) -> None:
        """Say what became of it: an outbox state, and its code where there is one."""


_CALL = Call()


class Trail:
    """One decision being carried out: inside `with`, every line of the log bears its ids."""

    __slots__ = ("_correlation", "_token")
    _token: Token[Correlation]

    def __init__(self, correlation: Correlation) -> None:
        self._correlation = correlation

    def __enter__(self) -> Trail:
        self._token = CURRENT.set(self._correlation)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: object
    ) -> None:
        CURRENT.reset(self._token)

    def call(self, tool: str, call_id: str) -> Call:
        """A step about to be carried out, to be used with `with`."""
        return _CALL


class Spans:
    """Switched off: no spans, and no clock is read for any."""

    on = False

    def decision(
        self, decision: Decision, context: Context, watch: Watch, thought: Hashable
    ) -> Trail:
        """A decision that was committed and is about to be carried out.

        Args:
            thought: the name of the watch's lap in which it was thought about.
        """
        return Trail(Correlation(decision.decision_id))

    def failed(self, step: str, watch: Watch, began: int, error: BaseException) -> None:
        """A step of the micro-batch, begun at that nanosecond, raised."""
