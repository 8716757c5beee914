from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from domain.event import Identifier
from profiles.identity import (
    HOLDERS_MAX,
    LIMITS,
    PRIORITY,
    Grouping,
    IdentityRules,
    Mention,
    Pair,
    Piece,
    Ruling,
    group,
)

RULES = IdentityRules()
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def piece(*names: str, days: float = 0, refuses: bool = False) -> Piece:
    """A fragment under the first of some `ns:value` names, seen that many days after `BEGAN`."""
    at = BEGAN + timedelta(days=days)
    mentions = tuple(Mention(name, name.partition(":")[0], at) for name in names)
    return Piece(names[0], names[0], at, mentions, refuses)


def people(*pieces: Piece, rulings: Mapping[Pair, Ruling] | None = None) -> set[frozenset[str]]:
    """The fragments, by person."""
    return _people(group(pieces, RULES, rulings or {}))


def _people(grouping: Grouping) -> set[frozenset[str]]:
    roots = set(grouping.roots.values())
    return {frozenset(grouping.members(root)) for root in roots}


def one(*names: str) -> frozenset[str]:
    """One person with these fragments."""
    return frozenset(names)


def test_a_shared_name_joins() -> None:
    """A visitor who signs in is the customer; the customer's fragment stands for both."""
    made = group([piece("anonymous_id:z"), piece("user_id:1", "anonymous_id:z", days=1)], RULES, {})
    assert set(made.roots.values()) == {"user_id:1"}


def test_two_accounts_never_merge_by_a_shared_address() -> None:
    """The address then resolves to nobody: whoever bears only that is somebody else."""
    pieces = piece("user_id:1", "email:a@x"), piece("user_id:2", "email:a@x"), piece("email:a@x")
    assert people(*pieces) == {one("user_id:1"), one("user_id:2"), one("email:a@x")}


def test_the_least_telling_name_is_demoted() -> None:
    """Of two names that cannot both join, the more telling one does."""
    pieces = (
        piece("user_id:1", "anonymous_id:z"),
        piece("user_id:2", "anonymous_id:z", "email:b@x"),
        piece("email:b@x", "anonymous_id:z"),
    )
    assert people(*pieces) == {one("user_id:1"), one("user_id:2", "email:b@x")}


def test_more_of_a_type_than_its_limit_joins_nobody() -> None:
    """The first five addresses are the person's; the sixth is somebody's."""
    named = [f"email:{n}@x" for n in range(6)]
    mine = Piece(
        "user_id:1",
        "user_id:1",
        BEGAN,
        (
            Mention("user_id:1", "user_id", BEGAN),
            *(Mention(name, "email", BEGAN + timedelta(days=n)) for n, name in enumerate(named)),
        ),
    )
    made = people(mine, *(piece(name) for name in named))
    assert made == {one("user_id:1", *named[:5]), one(named[5])}


def test_nameless_history_joins_for_thirty_days() -> None:
    """What a device did long before somebody named it stays a visitor's."""
    visits = [
        Piece(f"visit-{day}", "anonymous_id:z", BEGAN + timedelta(days=day), (mention,))
        for day in (0, 31, 62)
        for mention in [Mention("anonymous_id:z", "anonymous_id", BEGAN + timedelta(days=day))]
    ]
    named = piece("user_id:1", "anonymous_id:z", days=61)
    assert people(named, *visits) == {one("user_id:1", "visit-31", "visit-62"), one("visit-0")}


def test_who_will_not_be_recognised_is_not() -> None:
    """Without permission to personalise no device joins anything."""
    visit = piece("anonymous_id:z")
    assert people(piece("user_id:1", "anonymous_id:z", refuses=True), visit) == {
        one("user_id:1"),
        one("anonymous_id:z"),
    }


def test_a_name_that_everybody_bears_joins_nobody() -> None:
    """A till's device is no person; one bearer fewer, and it would be."""
    bearers = [piece(f"loyalty:{n}", "device_id:till") for n in range(HOLDERS_MAX + 1)]
    assert len(people(*bearers)) == HOLDERS_MAX + 1
    assert len(people(*bearers[1:])) == 1


def test_what_people_rule_outweighs_names_and_limits() -> None:
    """Two accounts may be ruled one person, and one person two."""
    one_user, other = piece("user_id:1", "email:a@x"), piece("user_id:2", "email:b@x")
    together: Mapping[Pair, Ruling] = {("user_id:1", "user_id:2"): "together"}
    assert people(one_user, other, rulings=together) == {one("user_id:1", "user_id:2")}
    mail = piece("email:a@x")
    apart: Mapping[Pair, Ruling] = {("email:a@x", "user_id:1"): "apart"}
    assert people(one_user, mail, rulings=apart) == {one("user_id:1"), one("email:a@x")}


NAMES = st.builds(Identifier, st.sampled_from([*PRIORITY, "loyalty"]), st.sampled_from("abcdefgh"))
EVENTS = st.lists(
    st.tuples(st.lists(NAMES, min_size=1, max_size=4, unique=True), st.integers(0, 90)),
    min_size=1,
    max_size=25,
)


def gathered(events: Sequence[tuple[Sequence[Identifier], int]]) -> list[Piece]:
    """Events by their anchors, as the store gathers them."""
    since: dict[str, dict[str, datetime]] = {}
    for names, day in events:
        at, anchor = BEGAN + timedelta(days=day), str(RULES.anchor(names))
        mine = since.setdefault(anchor, {})
        for name in map(str, names):
            mine[name] = min(mine.get(name, at), at)
    return [
        Piece(
            anchor,
            anchor,
            min(mine.values()),
            tuple(Mention(name, name.partition(":")[0], at) for name, at in mine.items()),
        )
        for anchor, mine in since.items()
    ]


@given(EVENTS, st.randoms(use_true_random=False))
def test_the_order_of_events_never_matters(
    events: list[tuple[list[Identifier], int]], shuffle: object
) -> None:
    """The same events give the same people, with the same roots, for the same reasons."""
    told = group(gathered(events), RULES, {})
    shuffled = list(events)
    shuffle.shuffle(shuffled)  # type: ignore[attr-defined]
    again = group(gathered(shuffled), RULES, {})
    assert dict(told.roots) == dict(again.roots)
    assert told.links == again.links


@given(EVENTS)
def test_nobody_has_more_names_than_the_limit(
    events: list[tuple[list[Identifier], int]],
) -> None:
    """Merge protection: counted over all names that join, in every person."""
    pieces = gathered(events)
    made = group(pieces, RULES, {})
    demoted = {link.ref for link in made.links if link.why}
    for members in _people(made):
        names = {
            m.ref
            for one_piece in pieces
            if one_piece.profile_id in members
            for m in one_piece.mentions
        }
        for ns, limit in LIMITS.items():
            assert sum(n.startswith(f"{ns}:") for n in names - demoted) <= limit


@given(EVENTS)
def test_a_name_that_joins_is_one_persons(events: list[tuple[list[Identifier], int]]) -> None:
    """All fragments that bear a name which joins are one person, but for old nameless ones."""
    made = group(gathered(events), RULES, {})
    for link in made.links:
        if not link.why:
            assert len({made.roots[one_] for one_ in link.holders if one_ not in link.left}) == 1
