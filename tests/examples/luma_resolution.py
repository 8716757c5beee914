"""Measures whether Luma's four files resolve to the people that its own ids say.

Usage: python -m tests.examples.luma_resolution FOLDER-OF-LUMA

Who a row is about is told twice in the data. By ids: the CRM, the web and 691 of 1,001 loyalty
rows bear a CRM id, and a till row a loyalty number. By place: the files were made side by side, so
that the n-th customer of the CRM is the n-th row of each other file (`load` checks that no id says
otherwise). Where ids are silent or given twice, the place is the truth; `stated` counts only pairs
that ids alone can tell, `all` every pair.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from types import ModuleType
from typing import Any

from domain.event import Event
from profiles import queries
from profiles.prints import identifier_ref
from service.assemble import assemble_reading, make_identity, make_reading
from service.settings import find_workspace
from service.settings import load as load_settings

ROOT = Path(__file__).resolve().parents[2]
FILES = ("luma-crm", "luma-loyalty", "luma-offline-purchases", "luma-web-events")
AT = "2022-12-15T00:00:00Z"
IDENTITY = 'priority = ["user_id", "email", "phone", "device_id", "anonymous_id"]\n'
LIMITS = "limits = { user_id = 1, email = 5, phone = 5 }\n"
NAMED_IDENTITY = (
    'priority = ["user_id", "lumacrmid", "loyaltyid", "email", "phone", "device_id", '
    '"anonymous_id"]\n'
)
NAMED_LIMITS = "limits = { user_id = 1, lumacrmid = 1, loyaltyid = 1, email = 5, phone = 5 }\n"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file: its event's id, who it is about by place, and by what it states."""

    event_id: str
    customer: int
    stated: str
    given: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Quality:
    """Of all pairs of rows: how many were put together, are one customer's, and are both."""

    together: int
    true: int
    both: int

    @property
    def precision(self) -> float:
        """Of the pairs put together, how many are one customer's."""
        return self.both / self.together

    @property
    def recall(self) -> float:
        """Of one customer's pairs, how many were put together."""
        return self.both / self.true

    def __str__(self) -> str:
        return (
            f"pairwise precision {self.precision:.4f} ({self.together - self.both} wrong of "
            f"{self.together}), recall {self.recall:.4f} ({self.true - self.both} missed of "
            f"{self.true})"
        )


def load(folder: Path) -> list[Row]:
    """Every row of the four files as the event that it is read as."""
    importer = _importer()
    crm, loyalty, till, web = (list(importer.values(folder / f"{name}.json.gz")) for name in FILES)
    customers: dict[str, int] = {}
    for row in crm:
        customers.setdefault(_system(row)["crmId"], len(customers))
    crm_id = {number: one for one, number in customers.items()}
    numbers = Counter(_system(row)["loyaltyId"] for row in loyalty)
    rows = [
        _canonical(importer, row, f"crm-{i}", customers[_system(row)["crmId"]], "")
        for i, row in enumerate(crm)
    ]
    for n, (member, bought, seen) in enumerate(zip(loyalty, till, web, strict=True)):
        named, number = _system(member)["crmId"], _system(member)["loyaltyId"]
        told = (named, _system(bought)["loyaltyId"], seen["identityMap"]["lumaCrmId"][0]["id"])
        assert told in {(crm_id[n], number, crm_id[n]), (None, number, crm_id[n])}, n
        # A number that two members bear says nothing; one without a CRM id only names itself.
        stated = (crm_id[n] if named else f"member {number}") if numbers[number] == 1 else ""
        rows.append(_canonical(importer, member, f"loyalty-{n}", n, crm_id[n] if named else stated))
        rows.append(_canonical(importer, bought, bought["_id"], n, stated))
        rows.append(Row(f"web/{seen['_id']}#{n}", n, crm_id[n], seen))
    return [
        row if row.stated else Row(row.event_id, row.customer, crm_id[row.customer], row.given)
        for row in rows
    ]


def _canonical(importer: ModuleType, row: Any, row_id: str, customer: int, stated: str) -> Row:
    given = {"id": row_id, **importer.canonical(row)}
    return Row(f"{given['source']}/{given['id']}", customer, stated, given)


def _system(row: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = row["_yourOrganizationID"]["systemIdentifier"]
    return found


def _importer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("luma", ROOT / "examples" / "luma.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def command(*words: str) -> list[Any]:
    """What a `safeconduct` command prints, line by line as JSON."""
    run = [sys.executable, "-m", "service.cli", *words, "--json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    out = subprocess.run(run, capture_output=True, text=True, check=True, env=environment)
    return [json.loads(line) for line in out.stdout.splitlines()]


def resolve(rows: Sequence[Row], folder: Path, *, named: bool) -> list[str]:
    """The profile that stands for each row's person after all were read; a row that was refused
    stands for itself. A decision names the person of its time, so the row's fragment is asked.

    Args:
        folder: where to make a workspace and its store.
        named: whether the workspace says what CRM ids and loyalty numbers are.
    """
    command_text("init", str(folder))
    if named:
        settings = folder / "settings.toml"
        text = settings.read_text()
        assert IDENTITY in text and LIMITS in text
        settings.write_text(text.replace(IDENTITY, NAMED_IDENTITY).replace(LIMITS, NAMED_LIMITS))
    events = folder / "luma.jsonl"
    events.write_text("".join(json.dumps(row.given) + "\n" for row in rows))
    lines = command("run", str(events), "--workspace", str(folder), "--at", AT)
    assert len(lines) == len(rows)
    read = [row for row, line in zip(rows, lines, strict=True) if line["verdict"] != "dead"]
    roots = dict(zip((row.event_id for row in read), _roots(read, folder), strict=True))
    return [roots.get(row.event_id, f"refused {row.event_id}") for row in rows]


def command_text(*words: str) -> None:
    """Run a `safeconduct` command that prints for people."""
    run = [sys.executable, "-m", "service.cli", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(run, capture_output=True, check=True, env=environment)


def _roots(rows: Iterable[Row], folder: Path) -> Iterator[str]:
    """The root of the fragment that gathers each row, by the most telling identifier it bears."""
    loaded = load_settings(find_workspace(folder))
    reading, rules = make_reading(loaded), make_identity(loaded)
    database = assemble_reading(folder)
    try:
        with database.read() as snapshot:
            for row in rows:
                raw = json.dumps(row.given).encode()
                (event,) = reading.read(raw, received_at=datetime.now(UTC), place="")
                assert isinstance(event, Event)
                ref = identifier_ref(database.vault, rules.anchor(event.identifiers))
                holding = snapshot.rows(queries.HOLDING, refs=[ref])
                (root,) = {root for _, slot, _, root in holding if slot > 0}
                yield root
    finally:
        database.close()


def quality(found: Iterable[Hashable], truth: Iterable[Hashable]) -> Quality:
    """How well groups agree with the true ones, over all pairs."""
    found, truth = list(found), list(truth)
    return Quality(
        _pairs(Counter(found)),
        _pairs(Counter(truth)),
        _pairs(Counter(zip(found, truth, strict=True))),
    )


def _pairs(counts: Mapping[Any, int]) -> int:
    return sum(n * (n - 1) // 2 for n in counts.values())


def mixed(rows: Iterable[Row], found: Iterable[str]) -> list[set[int]]:
    """The customers of each person that has several."""
    people: dict[str, set[int]] = defaultdict(set)
    for row, person in zip(rows, found, strict=True):
        people[person].add(row.customer)
    return sorted((c for c in people.values() if len(c) > 1), key=sorted)


def split(rows: Iterable[Row], found: Iterable[str]) -> dict[int, list[set[str]]]:
    """The customers that came out as several people, and the rows of each of these."""
    people: dict[int, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for row, person in zip(rows, found, strict=True):
        people[row.customer][person].add(row.event_id)
    return {c: list(parts.values()) for c, parts in people.items() if len(parts) > 1}


def proposed(rows: Iterable[Row], found: Iterable[str], folder: Path) -> tuple[Quality, Quality]:
    """How well the proposals alone do over pairs of people, and what following all would make."""
    rows, found = list(rows), list(found)
    customers: dict[str, set[int]] = defaultdict(set)
    for row, person in zip(rows, found, strict=True):
        customers[person].add(row.customer)
    pairs = command("profile", "proposals", "--workspace", str(folder))
    right = sum(bool(customers[p["one"]] & customers[p["other"]]) for p in pairs)
    people_of: dict[int, set[str]] = defaultdict(set)
    for person, of in customers.items():
        for customer in of:
            people_of[customer].add(person)
    apart = {frozenset(two) for people in people_of.values() for two in combinations(people, 2)}
    followed = {person: person for person in customers}
    for pair in pairs:
        one, other = followed[pair["one"]], followed[pair["other"]]
        followed = {p: one if f == other else f for p, f in followed.items()}
    return (
        Quality(len(pairs), len(apart), right),
        quality([followed[person] for person in found], [row.customer for row in rows]),
    )


def report(folder: Path) -> None:
    """Print what is measured, with the starter's identifiers and with the house's own named."""
    rows = load(folder)
    for named in (False, True):
        with tempfile.TemporaryDirectory() as place:
            workspace = Path(place) / "w"
            found = resolve(rows, workspace, named=named)
            print("identifiers of the house", "named" if named else "not named")  # noqa: T201
            print("  stated  ", quality(found, [row.stated for row in rows]))  # noqa: T201
            print("  all     ", quality(found, [row.customer for row in rows]))  # noqa: T201
            print("  mixed   ", mixed(rows, found))  # noqa: T201
            alone, followed = proposed(rows, found, workspace)
            print("  proposed", alone)  # noqa: T201
            print("  followed", followed)  # noqa: T201


if __name__ == "__main__":
    report(Path(sys.argv[1]))
