"""The default mind: the candidate of the highest priority."""

from __future__ import annotations

from collections.abc import Sequence

from domain.context import Context
from domain.proposal import Ranked


class FormulaMind:
    """Takes the first of a total order, so that equal contexts give equal choices."""

    name = "formula"

    def choose(self, ranked: Sequence[Ranked], context: Context) -> Ranked | None:
        """The best one, or None where nothing is left."""
        return ranked[0] if ranked else None
