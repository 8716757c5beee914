"""Which journeys an event concerns, under which key, and in which arm of a holdout."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from domain.event import Event
from domain.journey import Arm, Journey
from profiles.terms import Terms
from store.vault import Vault


class Enrolment:
    """A workspace's journeys, by what triggers them."""

    def __init__(self, vault: Vault, terms: Terms) -> None:
        self._vault = vault
        self._journeys = terms.journeys
        self._triggered: dict[str, tuple[Journey, ...]] = {}
        for journey in terms.journeys:
            earlier = self._triggered.get(journey.trigger, ())
            self._triggered[journey.trigger] = (*earlier, journey)

    def triggered(self, event: Event) -> tuple[Journey, ...]:
        """The journeys that the event may let its person enter."""
        return self._triggered.get(event.name, ())

    def instances(self, event: Event) -> dict[str, str]:
        """The instance that the event names of each journey it triggers, or ends by its goal."""
        return {
            journey.name: self._instance(journey, event)
            for journey in self._journeys
            if journey.trigger == event.name
            or (journey.goal == event.name and journey.instance_key in event.properties)
        }

    def reached(self, event: Event) -> dict[str, str | None]:
        """The journeys whose goal the event is, each with the instance where it names one."""
        named = self.instances(event)
        return {j.name: named.get(j.name) for j in self._journeys if j.goal == event.name}

    def arms(
        self, root_id: str, triggered: Iterable[Journey], assigned: Mapping[str, Arm]
    ) -> dict[str, Arm]:
        """The person's arm in each triggered journey that has a holdout; an assigned one stays."""
        return {
            journey.name: assigned.get(journey.name, self._draw(journey, root_id))
            for journey in triggered
            if journey.holdout > 0
        }

    def _draw(self, journey: Journey, root_id: str) -> Arm:
        drawn = int(self._vault.fingerprint("holdout", journey.name, root_id)[:8], 16) / 2**32
        return "held_out" if drawn < journey.holdout else "treated"

    def _instance(self, journey: Journey, event: Event) -> str:
        value = event.properties.get(journey.instance_key) if journey.instance_key else None
        return self._vault.fingerprint("instance", journey.brand, journey.name, str(value))
