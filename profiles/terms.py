"""What profiles need to know of a workspace to read a context for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from domain.context import FieldLabel
from domain.journey import Journey


@dataclass(frozen=True, slots=True)
class Terms:
    """The workspace as `profiles` sees it.

    `brand` is the default one; `controllers` names each brand's controller. `addresses` maps a
    channel to the identifier that is its address (or `none`). `look_back` is the longest window
    of any cap. `stock` is each offer's number to grant. `journey_versions` pin people in flight.
    """

    brand: str
    controllers: Mapping[str, str]
    addresses: Mapping[str, str]
    fields: tuple[FieldLabel, ...]
    look_back: timedelta
    journeys: tuple[Journey, ...] = ()
    journey_version: str = ""
    stock: Mapping[str, int] = field(default_factory=dict)
