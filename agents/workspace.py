"""A workspace: one organisation's folder of text, checked whole and compiled before it is used."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from agents.catalogue import load_offers
from agents.learning.declared import check_learning, exploration
from agents.schema import (
    AbsenceEntry,
    ActionEntry,
    ActionsFile,
    BrandEntry,
    ChannelEntry,
    IdentityEntry,
    InputEntry,
    JourneyFile,
    OutcomesEntry,
    PeopleFile,
    PersonEntry,
    ReleasesEntry,
    RetentionEntry,
    SettingsFile,
    SignalsEntry,
    SwitchesEntry,
)
from agents.templates import check_template
from domain.action import Action, Block, Offer
from domain.budget import Budget
from domain.canonical import canonical
from domain.caps import CapScope, Dimension
from domain.consent import PERMISSIONS
from domain.errors import ConfigurationError
from domain.journey import Absence, Journey
from policies.cases import CASES_SUFFIX
from policies.documents import Document, parse_toml, parse_yaml
from policies.expressions import Condition
from policies.guard import Guard
from policies.loader import compile_text, context_fields, load_policies
from policies.policy_set import PolicySet
from policies.rules.budgets import BudgetLeft
from policies.rules.caps import FrequencyCap
from policies.rules.cool_offs import CoolOff
from policies.rules.exclusion import Exclusive, SameCreative
from policies.rules.look_ahead import LookAhead

FILE_BYTES_MAX = 4_000_000
FILES_MAX = 1_000
SETTINGS = "settings.toml"
_SINGLE = ("settings.toml", "actions.yaml", "offers.yaml", "people.yaml")
OFFER_FIELDS = frozenset({"offer.title", "offer.worth", "brand.title"})


@dataclass(frozen=True, slots=True)
class Workspace:
    """Everything decisions are made by. `version` is the SHA-256 of all its files' text.

    `eligible` are the offers' compiled conditions, `entries` and `exits` the journeys';
    `triggered` finds journeys by the event that triggers them. `earlier` finds the workspace of
    another version: people who are on a journey keep the plan that they entered by, and versions
    are named by their content. `learns` names the journeys whose propensities are learnt.
    """

    version: str
    files: Mapping[str, str]
    brand: str
    brands: Mapping[str, BrandEntry]
    input: InputEntry
    identity: IdentityEntry
    retention: RetentionEntry
    store_url: str
    channels: Mapping[str, ChannelEntry]
    signals: SignalsEntry
    outcomes: OutcomesEntry
    switches: SwitchesEntry
    releases: ReleasesEntry
    policies: PolicySet
    actions: Mapping[str, Action]
    offers: Mapping[str, Offer]
    eligible: Mapping[str, Condition]
    journeys: Mapping[str, Journey]
    entries: Mapping[str, Condition]
    exits: Mapping[str, Condition]
    triggered: Mapping[str, tuple[Journey, ...]]
    people: Mapping[str, PersonEntry]
    guard: Guard
    learns: frozenset[str] = frozenset()
    earlier: Callable[[str], Workspace | None] = field(default=lambda _: None, compare=False)

    def at(self, version: str) -> Workspace:
        """The workspace of a version; this one where that is not to be had any more."""
        found = None if version == self.version else self.earlier(version)
        return self if found is None else found

    def plan(self, journey: str, version: str) -> Journey | None:
        """A journey as the version had it; as it is now where that version knew none."""
        return self.at(version).journeys.get(journey) or self.journeys.get(journey)

    @property
    def watched(self) -> Mapping[str, tuple[str, ...]]:
        """The events that absences are made of, each with what tells their things apart."""
        found: dict[str, set[str]] = {}
        for journey in self.journeys.values():
            if journey.absence is not None:
                for event in (journey.absence.after, journey.absence.of):
                    found.setdefault(event, set()).add(journey.instance_key or "")
        return {event: tuple(sorted(matches)) for event, matches in sorted(found.items())}

    @property
    def look_back(self) -> timedelta:
        """The longest window of any frequency cap, and never less than a week."""
        return max([*(scope.window.longest for scope in self.cap_scopes), timedelta(days=7)])

    @property
    def cap_scopes(self) -> tuple[CapScope, ...]:
        """What each frequency cap counts."""
        return tuple(cap.scope for cap in self.policies.caps if isinstance(cap, FrequencyCap))

    @property
    def occasions(self) -> Mapping[str, tuple[str, ...]]:
        """The events that cool-offs are about, each with what tells their things apart."""
        found: dict[str, set[str]] = {}
        for rule in self._cool_offs:
            for event in rule.after:
                found.setdefault(event, set()).add(rule.match)
        return {event: tuple(sorted(matches)) for event, matches in sorted(found.items())}

    @property
    def cool_off(self) -> timedelta:
        """The longest cool-off."""
        return max((rule.lasts for rule in self._cool_offs), default=timedelta(0))

    @property
    def _cool_offs(self) -> tuple[CoolOff, ...]:
        return tuple(rule for rule in self.policies.rules if isinstance(rule, CoolOff))

    @property
    def told_within(self) -> timedelta:
        """The longest window of a rule that asks what a person was told."""
        asking = [r for r in self.policies.rules if isinstance(r, Exclusive | SameCreative)]
        return max((rule.within for rule in asking), default=timedelta(0))

    @property
    def look_ahead(self) -> timedelta:
        """The longest horizon of a look-ahead."""
        found = [r.horizon for r in self.policies.rules if isinstance(r, LookAhead)]
        return max(found, default=timedelta(0))

    @property
    def budgets(self) -> tuple[Budget, ...]:
        """The budgets of offers."""
        return tuple(r.budget for r in self.policies.rules if isinstance(r, BudgetLeft))

    @property
    def switchers(self) -> tuple[str, ...]:
        """Who may turn kill switches."""
        roles = set(self.switches.roles)
        return tuple(name for name, one in self.people.items() if roles.intersection(one.roles))

    def content(self) -> bytes:
        """The text of all files, from which the very same workspace can be loaded again."""
        return canonical(dict(self.files))


def read_files(folder: Path) -> dict[str, str]:
    """The text of every file of a workspace folder that means something."""
    if not (folder / SETTINGS).is_file():
        raise ConfigurationError(
            "there is no workspace here",
            place=str(folder / SETTINGS),
            remedy=f"make one: `safeconduct init {folder}`",
        )
    paths = [folder / name for name in _SINGLE if (folder / name).is_file()]
    for pattern in ("policies/*.yaml", "journeys/*.yaml"):
        paths += sorted(p for p in folder.glob(pattern) if not p.name.endswith(CASES_SUFFIX))
    if len(paths) > FILES_MAX:
        raise ConfigurationError(
            f"the workspace has more than {FILES_MAX} files", place=str(folder)
        )
    return {path.relative_to(folder).as_posix(): _text(path, folder) for path in paths}


def read_case_files(folder: Path) -> dict[str, str]:
    """The text of the cases beside a workspace's policies. They are no part of its version."""
    paths = sorted((folder / "policies").glob(f"*{CASES_SUFFIX}"))
    return {path.relative_to(folder).as_posix(): _text(path, folder) for path in paths}


def _text(path: Path, folder: Path) -> str:
    shown_as = path.relative_to(folder).as_posix()
    try:
        if not path.is_file():  # a device or a pipe may never end
            raise ConfigurationError(
                "this is no file", place=shown_as, remedy="put a text file in its place"
            )
        if path.stat().st_size > FILE_BYTES_MAX:
            raise ConfigurationError(
                f"the file is larger than {FILE_BYTES_MAX} bytes", place=shown_as
            )
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            f"the file is not UTF-8 (byte {error.start})",
            place=shown_as,
            remedy="save it as UTF-8",
        ) from error
    except OSError as error:
        raise ConfigurationError(
            f"the file cannot be read: {error.strerror}", place=shown_as
        ) from error


def load_workspace(files: Mapping[str, str]) -> Workspace:
    """Check and compile a workspace from its files' text.

    Raises:
        ConfigurationError: file, line, key, what is wrong, remedy.
    """
    for name in _SINGLE:
        if name not in files and name != "people.yaml":
            raise ConfigurationError(
                "the workspace lacks this file",
                place=name,
                remedy="copy it from a workspace made with `safeconduct init`",
            )
    settings_document = parse_toml(files[SETTINGS], SETTINGS)
    settings = settings_document.validate(SettingsFile)
    _check_settings(settings_document, settings)
    policies = load_policies({p: t for p, t in files.items() if p.startswith("policies/")})
    _check_names(settings_document, settings, policies)
    offers, eligible = load_offers(files["offers.yaml"], settings, policies)
    actions = _actions(files["actions.yaml"], policies, offers, settings)
    journeys, entries, exits = _journeys(files, settings, policies, actions)
    _check_named(policies, actions, journeys, settings)
    _check_caps(policies, settings, actions, journeys)
    triggered: dict[str, tuple[Journey, ...]] = {}
    for journey in journeys.values():
        if journey.trigger is not None:
            triggered[journey.trigger] = (*triggered.get(journey.trigger, ()), journey)
    return Workspace(
        version=sha256(canonical(dict(files))).hexdigest()[:16],
        files=dict(files),
        brand=settings.brand,
        brands=settings.brands,
        input=settings.input,
        identity=settings.identity,
        retention=settings.retention,
        store_url=settings.store.url,
        channels=settings.channels,
        signals=settings.signals,
        outcomes=settings.outcomes,
        switches=settings.switches,
        releases=settings.releases,
        policies=policies,
        actions=actions,
        offers=offers,
        eligible=eligible,
        journeys=journeys,
        entries=entries,
        exits=exits,
        triggered=triggered,
        people=_people(files.get("people.yaml")),
        guard=Guard(policies, offers, eligible),
        learns=frozenset(j.name for j in journeys.values() if j.learning != "constant"),
    )


def _check_settings(document: Document, settings: SettingsFile) -> None:
    if settings.brand not in settings.brands:
        raise ConfigurationError(
            f"the default brand `{settings.brand}` is not declared",
            place=document.place("brand"),
            remedy=f"declare `[brands.{settings.brand}]`",
        )
    if len(set(settings.identity.priority)) < len(settings.identity.priority):
        raise ConfigurationError(
            "`priority` names a type of identifier twice",
            place=document.place("identity", "priority"),
            remedy="name each once, the most telling first",
        )
    for name, channel in settings.channels.items():
        if (channel.adapter == "smtp") != (channel.smtp is not None):
            raise ConfigurationError(
                f"channel `{name}` uses adapter `{channel.adapter}` and its `smtp` settings "
                "do not fit that",
                place=document.place("channels", name),
                remedy=f'write `adapter = "smtp"` and `[channels.{name}.smtp]`, or neither',
            )


def _check_names(document: Document, settings: SettingsFile, policies: PolicySet) -> None:
    """The settings name only purposes and channels that the policies declare."""
    purposes, channels = {*policies.purposes, *PERMISSIONS}, set(policies.channels)
    named: list[tuple[str, str | None, set[str], tuple[str, ...]]] = []
    for category, entry in settings.input.consent_categories.items():
        entry_at = ("input", "consent_categories", category)
        named.append(("purpose", entry.purpose, purposes, (*entry_at, "purpose")))
        named.append(("channel", entry.channel, channels, (*entry_at, "channel")))
    for event, channel in settings.signals.engagement.items():
        named.append(("channel", channel, channels, ("signals", "engagement", event)))
    for what, name, declared, at in named:
        if name is not None and name not in declared:
            raise ConfigurationError(
                f"`{'.'.join(at[:3])}` names {what} `{name}`, which is not declared",
                place=document.place(*at),
                remedy=f"use one of {', '.join(sorted(declared))}, or declare it in `policies/`",
            )


def _check_named(
    policies: PolicySet,
    actions: Mapping[str, Action],
    journeys: Mapping[str, Journey],
    settings: SettingsFile,
) -> None:
    """Rules across teams name what exists: a misspelt one would never refuse anything."""
    known: Mapping[str, Collection[str]] = {
        "actions": actions,
        "journeys": journeys,
        "teams": {journey.team for journey in journeys.values()},
        "brands": settings.brands,
    }
    for rule in policies.rules:
        if not isinstance(rule, Exclusive | BudgetLeft | LookAhead):
            continue
        for what, names in rule.names.items():
            missing = sorted(names - set(known[what]))
            if missing:
                raise ConfigurationError(
                    f"rule `{rule.id}` names `{missing[0]}`, which is not among the {what}",
                    place=rule.place,
                    remedy=f"use one of {', '.join(sorted(known[what])) or 'none declared'}",
                )
        if isinstance(rule, BudgetLeft):
            _check_currency(rule, settings)


def _check_currency(rule: BudgetLeft, settings: SettingsFile) -> None:
    currencies = sorted({brand.currency for brand in settings.brands.values()})
    if rule.budget.amount.currency not in currencies:
        raise ConfigurationError(
            f"budget `{rule.id}` is in {rule.budget.amount.currency}, which no brand uses",
            place=rule.place,
            remedy=f"use one of {', '.join(currencies)}",
        )


def _check_caps(
    policies: PolicySet,
    settings: SettingsFile,
    actions: Mapping[str, Action],
    journeys: Mapping[str, Journey],
) -> None:
    """A cap that counts nothing we do would never bind: a slip of the pen.

    Other systems' contacts may be of topics, journeys, teams and groups that are not ours.
    """
    known: Mapping[Dimension, set[str]] = {
        "brand": set(settings.brands),
        "topic": {action.topic for action in actions.values() if action.topic is not None},
        "journey": set(journeys),
        "team": {journey.team for journey in journeys.values()},
        "group": {group for action in actions.values() for group in action.groups},
    }
    for cap in policies.caps:
        assert isinstance(cap, FrequencyCap)
        for dimension, names in cap.scope.among:
            ours = known.get(dimension, names)
            wrong = names - ours if dimension == "brand" or not names & ours else ()
            for name in sorted(wrong):
                raise ConfigurationError(
                    f"cap `{cap.id}` counts {dimension} `{name}`, and there is none",
                    place=cap.place,
                    remedy=f"use one of {', '.join(sorted(ours)) or 'none declared'}",
                )
        if cap.scope.per == "household" and settings.identity.household is None:
            raise ConfigurationError(
                f"cap `{cap.id}` counts per household, and nothing says which one somebody is of",
                place=cap.place,
                remedy='name the trait that does: `household = "household_id"` below `[identity]`',
            )


def _actions(
    text: str, policies: PolicySet, offers: Mapping[str, Offer], settings: SettingsFile
) -> dict[str, Action]:
    document = parse_yaml(text, "actions.yaml")
    file = document.validate(ActionsFile)
    actions = {}
    for name, entry in file.actions.items():
        _check_action(document, name, entry, policies, offers, settings)
        unkept = {"reason", "kind", "defer_for", "substitutes", "body", "blocks", "groups"}
        given = entry.model_dump(exclude=unkept)
        kind = entry.kind or ("contact" if entry.tool == "message" else "internal")
        actions[name] = Action(
            name=name,
            kind=kind,
            body=entry.body or "\n\n".join(block.text.strip("\n") for block in entry.blocks),
            blocks=tuple(Block(block.kind, block.text) for block in entry.blocks),
            case_reason=entry.reason,
            groups=tuple(sorted(set(entry.groups))),
            defer_for=entry.defer_for or timedelta(days=1),
            substitutes=tuple(entry.substitutes),
            place=document.place("actions", name),
            **given,
        )
    for name, action in actions.items():
        _check_stand_ins(document, name, action, actions)
    _check_templates(policies, actions)
    return actions


def _check_stand_ins(
    document: Document, name: str, action: Action, actions: Mapping[str, Action]
) -> None:
    """What stands in for an action exists, and is of use where the action is not."""
    for index, named in enumerate(action.substitutes):
        other = actions.get(named)
        if other is None or other.tool != "message" or other.channel == action.channel:
            raise ConfigurationError(
                f"action `{name}` names substitute `{named}`, no message on another channel",
                place=document.place("actions", name, "substitutes", index),
                remedy="name an action of tool `message` with another `channel`",
            )
    place = document.place("actions", name, "escalation")
    _check_escalation(f"action `{name}`", action.escalation, actions, place)


def _check_escalation(
    of: str, named: str | None, actions: Mapping[str, Action], place: str
) -> None:
    other = actions.get(named or "")
    if named is not None and (other is None or other.tool not in ("case", "handoff")):
        raise ConfigurationError(
            f"{of} escalates to `{named}`, which is no case and no hand-off",
            place=place,
            remedy="name an action of tool `case` or `handoff`",
        )


def _check_templates(policies: PolicySet, actions: Mapping[str, Action]) -> None:
    """What may be sent without consent is listed by name, beside the purpose that needs none."""
    for purpose in policies.purposes.values():
        for name in sorted(purpose.templates):
            action = actions.get(name)
            if action is None or action.tool != "message" or action.purpose != purpose.name:
                raise ConfigurationError(
                    f"purpose `{purpose.name}` lists template `{name}`, which is no message of its",
                    place=purpose.place,
                    remedy="list messages of `actions.yaml` that name this purpose",
                )


def _check_action(
    document: Document,
    name: str,
    entry: ActionEntry,
    policies: PolicySet,
    offers: Mapping[str, Offer],
    settings: SettingsFile,
) -> None:
    def wrong(key: str, cause: str, remedy: str) -> ConfigurationError:
        place = document.place("actions", name, key)
        return ConfigurationError(f"action `{name}` {cause}", place=place, remedy=remedy)

    known: tuple[tuple[str, str | None, Mapping[str, Any]], ...] = (
        ("purpose", entry.purpose, policies.purposes),
        ("channel", entry.channel, policies.channels),
        ("offer", entry.offer, offers),
    )
    for key, value, declared in known:
        if value is not None and value not in declared:
            raise wrong(
                key,
                f"names {key} `{value}`, which is not declared",
                f"use one of {', '.join(sorted(declared)) or 'none declared'}",
            )
    if entry.tool == "message":
        if entry.channel is None:
            raise wrong("tool", "is a message without a `channel`", "add one such as `email`")
        if not entry.body and not entry.blocks:
            raise wrong("tool", "is a message without a `body`", "add its text")
        if entry.body and entry.blocks:
            raise wrong("blocks", "has a `body` beside its `blocks`", "keep one of them")
        purpose = policies.purposes[entry.purpose]
        if purpose.model == "exempt" and name not in purpose.templates:
            raise wrong(
                "purpose",
                f"needs no consent under `{entry.purpose}` and is not among its `templates`",
                f"add it to `templates` at {purpose.place}, or use a purpose that asks",
            )
        for brand_name, brand in settings.brands.items():
            if entry.channel not in brand.senders:
                raise wrong(
                    "channel",
                    f"has no sender for brand `{brand_name}` on `{entry.channel}`",
                    f"add it under `[brands.{brand_name}.senders]` in `settings.toml`",
                )
    elif entry.tool == "offer" and entry.offer is None:
        raise wrong("tool", "grants an offer and names none", "add `offer`")
    elif entry.tool in ("case", "handoff") and entry.reason is None:
        raise wrong("tool", "opens a case and gives no `reason`", "add one such as `checkout`")
    extra = OFFER_FIELDS if entry.offer else frozenset({"brand.title"})
    texts: list[tuple[tuple[str | int, ...], str]] = [
        (("subject",), entry.subject),
        (("body",), entry.body),
        *((("blocks", n, "text"), block.text) for n, block in enumerate(entry.blocks)),
    ]
    fields = context_fields(policies.fields)
    for keys, text in texts:
        place = document.place("actions", name, *keys)
        check_template(text, fields, place=place, extra=extra)


def _journeys(
    files: Mapping[str, str],
    settings: SettingsFile,
    policies: PolicySet,
    actions: Mapping[str, Action],
) -> tuple[dict[str, Journey], dict[str, Condition], dict[str, Condition]]:
    journeys: dict[str, Journey] = {}
    entries: dict[str, Condition] = {}
    exits: dict[str, Condition] = {}
    fields = context_fields(policies.fields)
    for path in sorted(p for p in files if p.startswith("journeys/")):
        name = Path(path).stem
        document = parse_yaml(files[path], path)
        file = document.validate(JourneyFile)
        for index, action in enumerate(file.actions):
            if action not in actions:
                raise ConfigurationError(
                    f"journey `{name}` names action `{action}`, which is not declared",
                    place=document.place("actions", index),
                    remedy="declare it in `actions.yaml`",
                )
        if file.brand is not None and file.brand not in settings.brands:
            raise ConfigurationError(
                f"journey `{name}` is for brand `{file.brand}`, which is not declared",
                place=document.place("brand"),
                remedy=f"use one of {', '.join(sorted(settings.brands))}",
            )
        if file.mind != "formula":
            raise ConfigurationError(
                f"journey `{name}` asks for mind `{file.mind}`, and no model is configured",
                place=document.place("mind"),
                remedy="use `formula`",
            )
        of = f"journey `{name}`"
        _check_escalation(of, file.escalation, actions, document.place("escalation"))
        _check_beginning(name, file, settings, document)
        check_learning(document, name, file, fields)
        journeys[name] = _journey(name, file, settings, document.place())
        for key, text, compiled in (("entry", file.entry, entries), ("exit", file.exit, exits)):
            if text is not None:
                compiled[name] = compile_text(document, (key,), text, fields)
    return journeys, entries, exits


def _check_beginning(
    name: str, file: JourneyFile, settings: SettingsFile, document: Document
) -> None:
    """A journey begins with an event, with an absence, or with either; with nothing in vain."""

    def wrong(keys: tuple[str | int, ...], cause: str, remedy: str) -> ConfigurationError:
        place = document.place(*keys)
        return ConfigurationError(f"journey `{name}` {cause}", place=place, remedy=remedy)

    absence = file.absence
    if absence is None:
        if file.trigger is None:
            raise wrong((), "has no `trigger`", "add the event that begins it, or an `absence`")
        return
    if absence.after == absence.of:
        raise wrong(("absence", "of"), "waits for what begins it", "name another event")
    if absence.after == file.trigger:
        remedy = "leave out `trigger`, or name another event"
        raise wrong(("trigger",), f"acts on `{file.trigger}` and waits after it", remedy)
    for index, source in enumerate(absence.sources or ()):
        if source not in settings.input.max_lag:
            cause = f"waits for source `{source}`, whose lag nobody knows"
            remedy = "declare it below `[input.max_lag]` in `settings.toml`"
            raise wrong(("absence", "sources", index), cause, remedy)


def _absence(entry: AbsenceEntry | None, settings: SettingsFile) -> Absence | None:
    if entry is None:
        return None
    lags = settings.input.max_lag
    sources = tuple(sorted(lags if entry.sources is None else set(entry.sources)))
    longest = max((lags[source] for source in sources), default=timedelta(0))
    return Absence(
        after=entry.after,
        of=entry.of,
        within=entry.within,
        max_wait=longest if entry.max_wait is None else entry.max_wait,
        on_lag=entry.on_lag,
        sources=sources,
    )


def _journey(name: str, file: JourneyFile, settings: SettingsFile, place: str) -> Journey:
    key = file.instance_key
    return Journey(
        name=name,
        title=file.title,
        brand=file.brand or settings.brand,
        trigger=file.trigger,
        goal=file.goal,
        actions=tuple(file.actions),
        owner=file.owner,
        team=file.team,
        instance_key=None if key is None else key.removeprefix("event."),
        entry=file.entry,
        exit=file.exit,
        window=file.window or timedelta(days=7),
        max_age=file.max_age or timedelta(minutes=15),
        holdout=file.holdout,
        priority=file.priority,
        mind=file.mind,
        escalation=file.escalation,
        absence=_absence(file.absence, settings),
        again_after=file.again_after,
        metric=file.metric,
        review_by=file.review_by,
        learning=file.learning,
        exploration=exploration(file),
        features=tuple(file.features),
        model=file.model,
        place=place,
    )


def _people(text: str | None) -> Mapping[str, PersonEntry]:
    if text is None:
        return {}
    return parse_yaml(text, "people.yaml").validate(PeopleFile).people
