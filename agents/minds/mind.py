"""The one question every mind answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from domain.context import Context
from domain.proposal import Ranked


class Mind(Protocol):
    """Chooses what to propose among ranked survivors; it can propose, never execute."""

    name: str

    def choose(self, ranked: Sequence[Ranked], context: Context) -> Ranked | None:
        """One of `ranked`, or None for no action."""
        ...
