"""Which journeys an event concerns, under which key, and in which arm of a holdout."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from domain.context import Pass
from domain.event import Event
from domain.journey import Arm, Instance, Journey
from profiles.terms import Terms
from store.vault import Vault


class Enrolment:
    """A workspace's journeys, by what triggers them."""

    def __init__(self, vault: Vault, terms: Terms) -> None:
        self._vault = vault
        self._terms = terms
        self._journeys = {journey.name: journey for journey in terms.journeys}
        self._triggered: dict[str, tuple[Journey, ...]] = {}
        for journey in terms.journeys:
            if journey.trigger is not None:
                earlier = self._triggered.get(journey.trigger, ())
                self._triggered[journey.trigger] = (*earlier, journey)

    def triggered(self, event: Event, asked: Pass) -> tuple[Journey, ...]:
        """The journeys that the event may let its person enter; or the one a pass is about."""
        if asked.journey is None:
            return self._triggered.get(event.name, ())
        found = self._journeys.get(asked.journey)
        return () if found is None else (found,)

    def kept(self, event: Event, instances: Iterable[Instance]) -> dict[Journey, str]:
        """The journeys that people are on as an earlier version had them, and that the event
        concerns, each with the instance that it names."""
        found: dict[Journey, str] = {}
        for instance in instances:
            plan = self._plan(instance)
            if plan is not None and _concerns(plan, event):
                found[plan] = self._instance(plan, event)
        return found

    def may_exit(self, instance: Instance) -> bool:
        """Whether a condition may end it, by the version that its person entered."""
        if instance.state != "active":
            return False
        plan = self._plan(instance)
        return instance.journey in self._terms.exits if plan is None else plan.exit is not None

    def _plan(self, instance: Instance) -> Journey | None:
        """The plan of somebody who is on a journey since an earlier version; else None."""
        if instance.state != "active" or instance.journey_version == self._terms.version:
            return None
        return self._terms.plan_of(instance.journey, instance.journey_version)

    def instances(self, event: Event) -> dict[str, str]:
        """The instance that the event names of each journey it triggers, or ends by its goal."""
        return {
            journey.name: self._instance(journey, event)
            for journey in self._terms.journeys
            if _concerns(journey, event)
        }

    def reached(self, event: Event, instances: Iterable[Instance]) -> dict[str, str | None]:
        """The journeys whose goal the event is, each with the instance where it names one.

        Args:
            instances: the person's; what they are on keeps the goal that it had.
        """
        kept = [plan for one in instances if (plan := self._plan(one)) is not None]
        return {
            journey.name: self._instance(journey, event) if _names(journey, event) else None
            for journey in (*self._terms.journeys, *kept)
            if journey.goal == event.name
        }

    def begun(self, event: Event) -> dict[Journey, str]:
        """The journeys whose absence is counted from the event, each with its instance."""
        return {
            journey: self._instance(journey, event)
            for journey in self._terms.journeys
            if journey.absence is not None and journey.absence.after == event.name
        }

    def broken(self, event: Event) -> dict[str, str | None]:
        """The journeys whose absence the event ends, each with the instance where it names one."""
        return {
            journey.name: self._instance(journey, event) if _names(journey, event) else None
            for journey in self._terms.journeys
            if journey.absence is not None and journey.absence.of == event.name
        }

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


def _concerns(journey: Journey, event: Event) -> bool:
    return event.name in journey.begins_with or (
        journey.goal == event.name and _names(journey, event)
    )


def _names(journey: Journey, event: Event) -> bool:
    return journey.instance_key in event.properties
