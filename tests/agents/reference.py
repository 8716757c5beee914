"""What the guard must say, said once more: slowly, from lists of plain records, and by itself.

Nothing of the program is used here. Rules are read as their YAML has them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from tests.counting import Slow

DAY = timedelta(days=1)
HOURS = {"h": 1, "d": 24, "w": 168}
TIME_BOUND = ("cap", "hours", "cool-off", "paused")
HARD_BOUNCE = 180 * DAY
SOON, HORIZON = 12, 400  # days ahead; some zones' hours meet in one half of the year only


@dataclass(frozen=True)
class World:
    """A workspace's rules, each entry as it is written.

    There is one journey for each action, of its name. `numbers` are the telephone numbers there
    are: the countries whose law may apply to each, and the time zones that it may ring in.
    """

    purposes: Mapping[str, Any]
    channels: Mapping[str, str]
    actions: Mapping[str, Mapping[str, Any]]
    teams: Mapping[str, str]
    numbers: Mapping[str, tuple[Sequence[str], Sequence[str]]]
    offers: Mapping[str, tuple[int, int]]
    caps: Sequence[Mapping[str, Any]] = ()
    hours: Sequence[Mapping[str, Any]] = ()
    cool_offs: Sequence[Mapping[str, Any]] = ()
    exclusive: Sequence[Mapping[str, Any]] = ()
    budgets: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class Said:
    """A statement about consent; None is all of it. `value` as events have it."""

    value: str
    user: str
    purpose: str | None
    channel: str | None
    point: str | None
    occurred: datetime
    received: datetime
    expires: datetime | None = None


@dataclass(frozen=True)
class Block:
    """A suppression of a person, an address or a domain."""

    target: str
    of: str
    blocks: str
    channels: Sequence[str] | None = None
    expires: datetime | None = None
    secret: bool = False


@dataclass(frozen=True)
class Sent:
    """A contact that was made, by us or by others; `action` is None for theirs."""

    at: datetime
    user: str
    point: str | None
    channel: str
    purpose: str
    action: str | None
    counts: bool
    amount: int = 0


@dataclass(frozen=True)
class Ask:
    """May this be sent to this person? `until` is how long it is wanted, on a later pass."""

    user: str
    action: str
    until: datetime | None = None


@dataclass(frozen=True)
class Refusal:
    """A rule that is against it: `forbid`, or hold for `time` or a `human`."""

    rule: str
    what: str
    family: str


@dataclass(frozen=True)
class Judgement:
    """The verdict, the rules that are against it, and when it could be asked again."""

    word: str
    against: tuple[Refusal, ...] = ()
    held_for: str | None = None
    next_at: datetime | None = None

    @property
    def rules(self) -> list[str]:
        """The names of the rules that are against it."""
        return sorted(one.rule for one in self.against)


@dataclass
class Reference:
    """All that has happened, in lists, and what follows from it.

    `known` are a person's addresses with the instant of the first mention; `traits` what each
    person told of themselves; `one` the sets of users that are one person.
    """

    world: World
    known: list[tuple[datetime, str, str, str]] = field(default_factory=list)
    traits: list[tuple[datetime, str, str, Any]] = field(default_factory=list)
    said: list[Said] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    bounces: list[tuple[datetime, str, str]] = field(default_factory=list)
    happened: list[tuple[datetime, str, str]] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)
    stopped: set[str] = field(default_factory=set)
    one: list[set[str]] = field(default_factory=list)

    # What is known of people

    def person(self, user: str) -> set[str]:
        """All users that are the same person."""
        return next((several for several in self.one if user in several), {user})

    def points(self, user: str, kind: str) -> list[str]:
        """A person's addresses of a kind, the oldest first."""
        who = self.person(user)
        since: dict[str, datetime] = {}
        for at, of, address_kind, address in self.known:
            if of in who and address_kind == kind:
                since[address] = min(at, since.get(address, at))
        return sorted(since, key=lambda address: (since[address], address))

    def users_of(self, point: str) -> set[str]:
        """Everybody who uses an address."""
        return {user for _, user, _, address in self.known if address == point}

    def point(self, user: str, channel: str) -> str | None:
        """Where a person is reached: the newest address that is nobody else's, else the newest."""
        found = self.points(user, self.world.channels[channel])
        own = [one for one in found if self.users_of(one) <= self.person(user)]
        return next(reversed(own or found), None)

    def trait(self, user: str, name: str) -> Any:
        """What a person last said of themselves."""
        told = [one for one in self.traits if one[1] in self.person(user) and one[2] == name]
        return max(told, key=lambda one: one[0])[3] if told else None

    def laws(self, user: str) -> set[str]:
        """The countries whose law may apply."""
        found = {self.trait(user, "residence")} - {None}
        for number in self.points(user, "phone"):
            found |= set(self.world.numbers[number][0])
        return found

    def zones(self, user: str, channel: str) -> list[str]:
        """The zones whose hours count: all for the telephone, else the first that is known."""
        own = [one for one in [self.trait(user, "time_zone")] if one]
        phone = self.world.channels[channel] == "phone"
        to = [self.point(user, channel)] if phone else self.points(user, "phone")
        numbers = [zone for one in to if one for zone in self.world.numbers[one][1]]
        return own + numbers if phone else (own or numbers)

    def calendars(self, user: str) -> tuple[tuple[str, ...], tuple[tuple[str, datetime], ...]]:
        """The zones of a person's calendar, and those that were, with when another was named."""
        own = self.trait(user, "time_zone")
        if own is None:
            phones = self.points(user, "phone")
            return tuple({zone for one in phones for zone in self.world.numbers[one][1]}), ()
        told = [t for t in self.traits if t[1] in self.person(user) and t[2] == "time_zone"]
        left = []
        for zone in {value for _, _, _, value in told} - {own}:
            last = max(at for at, _, _, value in told if value == zone)
            left.append((zone, min(at for at, _, _, _ in told if at > last)))
        return (own,), tuple(left)

    # The verdict

    def judge(self, ask: Ask, at: datetime) -> Judgement:
        """What the guard must say of it at an instant, every rule asked."""
        against = tuple(self.refusals(ask, at))
        if not against:
            return Judgement("permitted")
        next_at = None
        if all(one.family in TIME_BOUND for one in against):
            next_at = self.next_at(ask, at)
        if any(one.what == "forbid" for one in against):
            return Judgement("denied", against, None, next_at)
        human = any(one.what == "human" for one in against)
        return Judgement("held", against, "human" if human else "time", next_at)

    def refusals(self, ask: Ask, at: datetime) -> Iterator[Refusal]:
        """Every rule that is against it."""
        yield from self.unwanted(ask, at)
        yield from self.unreachable(ask, at)
        yield from self.unconsented(ask, at)
        yield from self.suppressed(ask, at)
        yield from self.late(ask, at)
        yield from self.talked_across(ask, at)
        yield from self.unpaid(ask, at)

    def next_at(self, ask: Ask, at: datetime) -> datetime | None:
        """The earliest instant at which no rule that time can clear is against it any more."""
        changes = {at} | {end for end in self.ends(ask, at) if end > at}
        for days in (SOON, HORIZON):
            opening = {
                start
                for change in changes
                for entry, zone in self.kept(ask)
                for ahead in range(-1, days)
                for start, _ in openings(entry, change.date() + ahead * DAY, zone)
            }
            for change in sorted(changes | {start for start in opening if start > at}):
                if change <= at + HORIZON * DAY and not any(True for _ in self.late(ask, change)):
                    return change
        return None

    def late(self, ask: Ask, at: datetime) -> Iterator[Refusal]:
        """The rules that waiting clears."""
        paused = self.paused(ask)
        if paused is not None and paused > at:
            yield Refusal("paused", "forbid", "paused")
        for cap in self.world.caps:
            if self.in_cap(ask, cap) and self.count(ask, cap, at) >= cap["limit"]:
                what = "time" if cap["on_capped"] == "defer" else "forbid"
                yield Refusal(cap["id"], what, "cap")
        for rule in self.world.hours:
            if self.in_hours(ask, rule) and not self.opened(ask, rule, at):
                yield Refusal(
                    rule["id"], "time" if rule["on_quiet"] == "defer" else "forbid", "hours"
                )
        for rule in self.world.cool_offs:
            if any(end > at for end in self.cooling(ask, rule, at)):
                yield Refusal(rule["id"], "forbid", "cool-off")

    def ends(self, ask: Ask, at: datetime) -> Iterator[datetime]:
        """Every instant at which a cap, a cool-off or a pause may end."""
        for cap in self.world.caps:
            if self.in_cap(ask, cap):
                slow, made = self.slow(ask, cap), self.counted(ask, cap)
                yield slow.next_at(made, at) or at
        for rule in self.world.cool_offs:
            yield from self.cooling(ask, rule, at)
        yield self.paused(ask) or at

    # What it is

    def about(self, ask: Ask) -> Mapping[str, Any]:
        """The action that is asked about."""
        return self.world.actions[ask.action]

    def mixed(self, ask: Ask) -> bool:
        """Whether it carries a promotion under a purpose that needs no yes."""
        action = self.about(ask)
        purpose = self.world.purposes[action["purpose"]]
        promotes = action.get("promotional", False) or "offer" in action
        return bool(purpose["model"] != "opt_in" and promotes)

    def purpose(self, ask: Ask) -> str:
        """What it is judged by."""
        return "promo" if self.mixed(ask) else str(self.about(ask)["purpose"])

    def promotes(self, ask: Ask) -> bool:
        """Whether it is marketing, which is never mandatory nor urgent, and no presentation."""
        return self.is_marketing(ask) and not self.shown(ask)

    def is_marketing(self, ask: Ask) -> bool:
        """Whether what it is judged by is marketing."""
        return bool(self.world.purposes[self.purpose(ask)].get("marketing", False))

    def shown(self, ask: Ask) -> bool:
        """Whether it is shown in the customer's own session, and no contact."""
        return self.world.channels[self.about(ask)["channel"]] == "none"

    def to(self, ask: Ask) -> str | None:
        """The address that it goes to."""
        return None if self.shown(ask) else self.point(ask.user, self.about(ask)["channel"])

    def is_mandatory(self, ask: Ask) -> bool:
        """Whether it must be said; a promotion never must."""
        return bool(self.about(ask).get("mandatory", False)) and not self.is_marketing(ask)

    def is_urgent(self, ask: Ask) -> bool:
        """Whether it cannot wait for the morning."""
        return self.about(ask).get("urgency") == "now" and not self.is_marketing(ask)

    def contact(self, ask: Ask, at: datetime) -> Sent:
        """The contact that it becomes once it is sent."""
        action = self.about(ask)
        counts = not self.shown(ask) and (action.get("counts_toward_caps", True) or self.mixed(ask))
        amount = self.world.offers[action["offer"]][0] if "offer" in action else 0
        to, channel = self.to(ask), action["channel"]
        return Sent(at, ask.user, to, channel, self.purpose(ask), ask.action, counts, amount)

    # Each rule

    def unwanted(self, ask: Ask, at: datetime) -> Iterator[Refusal]:
        """Kill switches, and what nobody waits for any more."""
        action = self.about(ask)
        own = {f"channel:{action['channel']}", "tool:message", f"journey:{ask.action}"}
        own.add(f"team:{self.world.teams[ask.action]}")
        spared = self.is_mandatory(ask) or self.is_urgent(ask)
        if "all" in self.stopped or (self.stopped & own and not spared):
            yield Refusal("kill-switch", "human", "switch")
        if ask.until is not None and (at >= ask.until or self.shown(ask)):
            yield Refusal("still-wanted", "forbid", "expiry")

    def unreachable(self, ask: Ask, at: datetime) -> Iterator[Refusal]:
        """No address, or one that has bounced and was not heard of since."""
        to = self.to(ask)
        if self.shown(ask):
            return
        verified = [one for one, point, kind in self.bounces if (point, kind) == (to, "verified")]
        hard = [
            one + HARD_BOUNCE
            for one, point, kind in self.bounces
            if (point, kind) == (to, "hard") and all(one > later for later in verified)
        ]
        if to is None or any(end > at for end in hard):
            yield Refusal("reachable", "forbid", "reach")

    def unconsented(self, ask: Ask, at: datetime) -> Iterator[Refusal]:
        """The consent ledger, under every model that holds."""
        purpose, channel = self.purpose(ask), self.about(ask)["channel"]
        if self.shown(ask):
            objected = self.answer(ask.user, purpose, channel, None, at) == "objection"
            profiled = self.answer(ask.user, "personalise", channel, None, at)
            if objected or profiled not in ("granted", "unset"):
                yield Refusal("consent", "forbid", "consent")
            return
        models = set(self.models(ask.user, purpose, channel)) - {"exempt"}
        said = self.answer(ask.user, purpose, channel, self.to(ask), at)
        passes = {"opt_in": ("granted",), "opt_out": ("granted", "unset")}
        if not all(said in passes[model] for model in models):
            yield Refusal("consent", "forbid", "consent")

    def models(self, user: str, purpose: str, channel: str) -> Iterator[str]:
        """The nearest model of each law; all there are where no law is known."""
        declared = self.world.purposes[purpose]
        entries = [
            one for one in declared.get("models", ()) if channel in one.get("channels", [channel])
        ]
        laws = self.laws(user)
        if not laws:
            yield from [one["model"] for one in entries]
            yield declared["model"]
        for law in laws:
            naming = [one for one in entries if law in one.get("jurisdictions", ())]
            general = [one for one in entries if "jurisdictions" not in one]
            nearest = [one for one in naming if "channels" in one] or naming or general
            yield from [one["model"] for one in nearest or [declared]]

    def answer(self, user: str, purpose: str, channel: str, point: str | None, at: datetime) -> str:
        """What the person's statements come to."""
        who = self.person(user)
        lines = [
            one
            for one in self.said
            if one.purpose in (None, purpose) and one.channel in (None, channel)
        ]
        if any(one.value == "objection" and one.user in who for one in lines):
            return "objection"
        noes = [
            one
            for one in lines
            if one.value == "denied"
            and (one.point == point if one.point is not None else one.user in who)
        ]
        grants = [
            one
            for one in lines
            if one.value == "granted" and one.user in who and one.point in (None, point)
        ]
        standing = [
            yes
            for yes in grants
            if all(_overtakes(yes, no) for no in noes if no.received <= yes.received)
        ]
        left = [no for no in noes if not any(_overtakes(yes, no) for yes in standing)]
        if left:
            late = [no for no in left if any(no.occurred < yes.occurred for yes in standing)]
            return "conflict" if late == left else "denied"
        if not standing:
            return "unset"
        last = max(standing, key=lambda yes: (yes.occurred, yes.received))
        expired = last.expires is not None and last.expires <= at
        return "expired" if expired else "granted"

    def suppressed(self, ask: Ask, at: datetime) -> Iterator[Refusal]:
        """Blocks; those that not everybody may know of are a rule of their own."""
        for rule, secret in (("suppression", False), ("confidential-suppression", True)):
            if any(one.secret == secret and self.is_blocked(ask, one, at) for one in self.blocks):
                yield Refusal(rule, "forbid", "suppression")

    def is_blocked(self, ask: Ask, block: Block, at: datetime) -> bool:
        """Whether a block is in force and keeps this back."""
        to, channel = self.to(ask), self.about(ask)["channel"]
        if block.expires is not None and block.expires <= at:
            return False
        if block.channels is not None and channel not in block.channels:
            return False
        hit = {
            "person": block.of in self.person(ask.user),
            "address": block.of == to,
            "domain": to is not None and to.endswith(f"@{block.of}"),
        }[block.target]
        keeps = {
            "marketing": self.is_marketing(ask),
            "offers_and_marketing": self.is_marketing(ask) or "offer" in self.about(ask),
            "all_but_mandatory": not self.is_mandatory(ask),
            "all": True,
        }[block.blocks]
        return hit and keeps

    def in_cap(self, ask: Ask, cap: Mapping[str, Any]) -> bool:
        """Whether a cap is about this."""
        obeys = self.about(ask).get("obeys_caps", True) or self.mixed(ask)
        if self.shown(ask) or not obeys:
            return False
        if cap.get("per") == "contact_point" and self.to(ask) is None:
            return False
        return self.of_scope(self.contact(ask, datetime.now(UTC)), cap)

    def of_scope(self, sent: Sent, cap: Mapping[str, Any]) -> bool:
        """Whether a contact is one of those a cap is about, whoever it was made to."""
        action = self.world.actions.get(sent.action or "", {})
        return (
            sent.channel in cap.get("channels", [sent.channel])
            and sent.purpose in cap.get("purposes", [sent.purpose])
            and sent.action in cap.get("journeys", [sent.action])
            and self.world.teams.get(sent.action or "") in cap.get("teams", self.teams())
            and ("groups" not in cap or bool({*cap["groups"]} & {*action.get("groups", ())}))
        )

    def teams(self) -> list[str | None]:
        """Every team, and nobody's."""
        return [*self.world.teams.values(), None]

    def counted(self, ask: Ask, cap: Mapping[str, Any]) -> list[datetime]:
        """When the contacts were made that a cap counts, in its window or not."""
        who, to = self.person(ask.user), self.to(ask)
        return [
            one.at
            for one in self.sent
            if one.counts
            and self.of_scope(one, cap)
            and (one.point == to if cap.get("per") == "contact_point" else one.user in who)
        ]

    def slow(self, ask: Ask, cap: Mapping[str, Any]) -> Slow:
        """The cap's window, where this person lives."""
        if cap.get("tz") == "person":
            return Slow(cap, *self.calendars(ask.user))
        return Slow(cap)

    def count(self, ask: Ask, cap: Mapping[str, Any], at: datetime) -> int:
        """How many contacts are in the cap's window."""
        return self.slow(ask, cap).count(self.counted(ask, cap), at)

    def paused(self, ask: Ask) -> datetime | None:
        """Until when the person wants no marketing."""
        told: datetime | None = self.trait(ask.user, "paused_until")
        return told if self.promotes(ask) else None

    def in_hours(self, ask: Ask, rule: Mapping[str, Any]) -> bool:
        """Whether quiet hours are about this."""
        return (
            self.about(ask)["channel"] in rule["channels"]
            and not self.shown(ask)
            and not self.is_urgent(ask)
        )

    def opened(self, ask: Ask, rule: Mapping[str, Any], at: datetime) -> bool:
        """Whether all hours that count are open in every zone that counts; never without one."""
        kept = self.kept_by(ask, rule)
        return bool(kept) and all(
            start <= at < end for entry, zone in kept for start, end in [_around(entry, at, zone)]
        )

    def kept(self, ask: Ask) -> Iterator[tuple[tuple[str, str], str]]:
        """The hours of all rules about this, each in every zone that counts."""
        for rule in self.world.hours:
            if self.in_hours(ask, rule):
                yield from self.kept_by(ask, rule)

    def kept_by(self, ask: Ask, rule: Mapping[str, Any]) -> list[tuple[tuple[str, str], str]]:
        """The general hours and those of every law that may apply, in every zone that counts."""
        laws, named = self.laws(ask.user), rule.get("jurisdictions", {})
        several = [(rule["window"], rule.get("days", "mon-sun"))]
        several += [(named[law], "mon-sun") for law in named if law in laws or not laws]
        zones = self.zones(ask.user, self.about(ask)["channel"])
        return [(entry, zone) for entry in several for zone in zones]

    def cooling(self, ask: Ask, rule: Mapping[str, Any], at: datetime) -> Iterator[datetime]:
        """When each cool-off that concerns this ends."""
        if self.is_marketing(ask):
            for when, user, event in self.happened:
                if user in self.person(ask.user) and event in rule["after"]:
                    yield when + span(rule["lasts"])

    def talked_across(self, ask: Ask, at: datetime) -> Iterator[Refusal]:
        """Sets of which only one may contact a person within a window."""
        if self.shown(ask) or self.is_mandatory(ask) or self.is_urgent(ask):
            return
        for rule in self.world.exclusive:
            among = "actions" if "actions" in rule else "teams"
            own = ask.action if among == "actions" else self.world.teams[ask.action]
            if own not in rule[among]:
                continue
            for one in self.sent:
                name = one.action if among == "actions" else self.world.teams.get(one.action or "")
                told = one.user in self.person(ask.user) and one.at + span(rule["within"]) > at
                other = name in rule[among] and name != own
                if told and other and self.world.channels[one.channel] != "none":
                    yield Refusal(rule["id"], "forbid", "exclusive")
                    break

    def unpaid(self, ask: Ask, at: datetime) -> Iterator[Refusal]:
        """Stock and money that are given away already."""
        offer = self.about(ask).get("offer")
        if offer is None:
            return
        worth, stock = self.world.offers[offer]
        given = [one for one in self.sent if self.offer_of(one) == offer]
        if len(given) >= stock:
            yield Refusal("offer-left", "forbid", "budget")
        for rule in self.world.budgets:
            zone, days = ZoneInfo(rule["tz"]), {"day": 10, "month": 7}[rule["period"]]
            period = at.astimezone(zone).date().isoformat()[:days]
            spent = sum(
                one.amount
                for one in self.sent
                if one.at.astimezone(zone).date().isoformat()[:days] == period
            )
            if spent + worth > int(rule["amount"].split(".")[0]) * 100:
                yield Refusal(rule["id"], "forbid", "budget")

    def offer_of(self, sent: Sent) -> str | None:
        """The offer that a contact gave away."""
        offer: str | None = self.world.actions.get(sent.action or "", {}).get("offer")
        return offer


def _overtakes(yes: Said, no: Said) -> bool:
    """A yes undoes a no only if it was both said and received later."""
    return yes.occurred > no.occurred and yes.received > no.received


def span(text: str) -> timedelta:
    """A duration as it is written."""
    return timedelta(hours=int(text[:-1]) * HOURS[text[-1]])


def _around(entry: tuple[str, str], at: datetime, zone: str) -> tuple[datetime, datetime]:
    """The opening that an instant is in; one that contains nothing where it is in none."""
    for ahead in (-2, -1, 0, 1):
        for start, end in openings(entry, at.date() + ahead * DAY, zone):
            if start <= at < end:
                return start, end
    return at, at


@lru_cache(maxsize=100_000)
def openings(entry: tuple[str, str], day: date, zone: str) -> tuple[tuple[datetime, datetime], ...]:
    """The opening that begins on a day, if there is one: what is doubtful is closed."""
    window, days = entry
    begins, _, ends = window.partition("-")
    if _closed(day, days):
        return ()
    start = max(_readings(day, begins, zone))
    last = day if _minutes(ends) > _minutes(begins) else day + DAY
    end = min(_readings(last, ends, zone))
    if _closed(day + DAY, days):
        end = min(end, *_readings(day, "24:00", zone))
    return ((start, end),) if start < end else ()


def _closed(day: date, days: str) -> bool:
    """Whether nothing is open on that day; the last is the only one ever left out."""
    return days == "mon-sat" and day.strftime("%a") == "Sun"


def _minutes(wall: str) -> int:
    return int(wall[:2]) * 60 + int(wall[3:])


def _readings(day: date, wall: str, zone: str) -> list[datetime]:
    """The instants at which a clock shows a wall time; where it is skipped, those at which one
    that was not changed yet and one that was changed already would."""
    naive = datetime.combine(day, time(0)) + timedelta(minutes=_minutes(wall))
    found = []
    for beside in (naive - DAY, naive + DAY):
        offset = beside.replace(tzinfo=ZoneInfo(zone)).utcoffset()
        assert offset is not None
        found.append((naive - offset).replace(tzinfo=UTC))
    right = [one for one in found if one.astimezone(ZoneInfo(zone)).replace(tzinfo=None) == naive]
    return right or found
