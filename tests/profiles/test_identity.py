from __future__ import annotations

from collections.abc import Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st

from domain.event import Identifier
from profiles.identity import LIMITS, PRIORITY, Person, resolve


def person(root: str, *names: str, since: int = 0) -> Person:
    """Somebody known by `ns:value` names."""
    return Person(root, frozenset(named(name) for name in names), since)


def named(name: str) -> Identifier:
    """An identifier from `ns:value`."""
    ns, _, value = name.partition(":")
    return Identifier(ns, value)


def owners(*people: Person) -> Mapping[Identifier, Person]:
    """Who each identifier resolves to."""
    return {identifier: one for one in people for identifier in one.identifiers}


def ask(names: Sequence[str], *people: Person) -> tuple[str | None, tuple[str, ...], list[str]]:
    """Root, merged roots and demoted names for an event that bears these names."""
    found = resolve([named(name) for name in names], owners(*people))
    return found.root_id, found.merged, [str(identifier) for identifier in found.demoted]


def test_a_stranger_is_new() -> None:
    """Names that nobody bears belong to somebody not seen before."""
    assert ask(["user_id:1", "email:a@x"]) == (None, (), [])


def test_names_of_two_people_merge_them() -> None:
    """An event that bears names of two people makes them one; the known one's root stays."""
    known, visitor = person("p-2", "user_id:1", since=9), person("p-1", "anonymous_id:z")
    assert ask(["user_id:1", "anonymous_id:z"], known, visitor) == ("p-2", ("p-1",), [])


def test_two_accounts_never_merge_by_a_shared_address() -> None:
    """A merge that would give one person two accounts demotes the address instead."""
    one, two = person("p-1", "user_id:1", "email:a@x"), person("p-2", "user_id:2")
    assert ask(["user_id:2", "email:a@x"], one, two) == ("p-2", (), ["email:a@x"])


def test_the_least_telling_name_is_demoted_first() -> None:
    """Of several names that would force a merge, the lowest priority goes, and only as needed."""
    one = person("p-1", "user_id:1", "anonymous_id:z", "email:a@x")
    two = person("p-2", "user_id:2")
    names = ["anonymous_id:z", "email:a@x", "user_id:2"]
    assert ask(names, one, two) == ("p-2", (), ["anonymous_id:z", "email:a@x"])


NAMES = st.builds(Identifier, st.sampled_from([*PRIORITY, "loyalty"]), st.sampled_from("abcdefgh"))


@given(st.lists(st.lists(NAMES, min_size=1, max_size=5, unique=True), min_size=1, max_size=25))
def test_no_history_gives_anybody_more_names_than_the_limit(
    events: list[list[Identifier]],
) -> None:
    """Whatever comes in whatever order, merge protection holds, and a name has one owner."""
    people: dict[str, set[Identifier]] = {}
    for number, names in enumerate(events):
        whose = {
            identifier: Person(root, frozenset(mine), 0)
            for root, mine in people.items()
            for identifier in mine
        }
        found = resolve(names, whose)
        assert set(found.attached) | set(found.demoted) | whose.keys() >= set(names)
        root = found.root_id or f"p-{number}"
        mine = people.setdefault(root, set())
        for merged in found.merged:
            mine |= people.pop(merged)
        mine |= set(found.attached)
        assert found.attached or found.root_id is not None
    held = [identifier for mine in people.values() for identifier in mine]
    assert len(held) == len(set(held))
    for mine in people.values():
        for ns, limit in LIMITS.items():
            assert sum(identifier.ns == ns for identifier in mine) <= limit


@given(st.permutations(["user_id:1", "email:a@x", "phone:+1", "anonymous_id:z"]))
def test_the_order_of_names_in_an_event_never_matters(names: list[str]) -> None:
    """The same names lead to the same person, however they are listed."""
    one, two = person("p-1", "user_id:1"), person("p-2", "user_id:2", "email:a@x", "phone:+1")
    assert ask(names, one, two) == ("p-1", (), ["anonymous_id:z", "phone:+1", "email:a@x"])
