from __future__ import annotations

import gzip
import io
import json
import sys
import tracemalloc
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.errors import UsageError
from domain.event import Event
from profiles.prints import event_key
from profiles.reading import Reading
from service import inputs
from service.inputs import DeadRow, read_inputs
from store.vault import Vault
from tests.shop import at, cart

READING = Reading(default_source="shop", default_region=None, names={}, blocked=frozenset())
NOW = at("2026-11-01T00:00:00Z")


def read(*paths: Path, **options: Any) -> list[Event | DeadRow]:
    """Everything in some files."""
    return list(read_inputs([str(path) for path in paths], READING, at=NOW, **options))


def lines(path: Path, *rows: dict[str, Any]) -> Path:
    """A file of JSON lines."""
    path.write_text("".join(json.dumps(said) + "\n" for said in rows))
    return path


def ids(items: list[Event | DeadRow]) -> list[str | None]:
    """The ids of what was read."""
    return [item.id if isinstance(item, Event) else item.reason for item in items]


ROWS = [cart(f"2026-10-05T09:0{n}:00Z") | {"id": f"e-{n}"} for n in range(5)]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("lines", "".join(json.dumps(said) + "\n" for said in ROWS)),
        ("lines with Windows ends", "".join(json.dumps(said) + "\r\n" for said in ROWS)),
        ("lines, blank ones between", "\n\n".join(json.dumps(said) for said in ROWS)),
        ("an array on one line", json.dumps(ROWS)),
        ("an array on many lines", json.dumps(ROWS, indent=2)),
        ("objects over many lines", "\n".join(json.dumps(said, indent=2) for said in ROWS)),
        ("a byte order mark", "\ufeff" + "".join(json.dumps(said) + "\n" for said in ROWS)),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_every_layout_gives_the_same_events(
    tmp_path: Path, name: str, text: str, packed: bool
) -> None:
    """JSON lines, arrays and objects one after another, gzipped or not, read alike."""
    data = text.encode()
    path = tmp_path / "events"
    path.write_bytes(gzip.compress(data) if packed else data)
    found = read(path)
    assert ids(found) == [said["id"] for said in ROWS], name
    places = [item.place for item in found]
    assert len(set(places)) == len(places)
    assert all(place.startswith(str(path)) for place in places)


def test_a_place_names_the_line_or_the_element(tmp_path: Path) -> None:
    """A line is found by its number, an array's element by its index."""
    path = lines(tmp_path / "a.jsonl", *ROWS[:2])
    assert [item.place for item in read(path)] == [f"{path}:1", f"{path}:2"]
    other = tmp_path / "b.json"
    other.write_text(json.dumps(ROWS[:2]))
    assert [item.place for item in read(other)] == [f"{other}[0]", f"{other}[1]"]
    third = tmp_path / "c.json"
    third.write_text("\n".join(json.dumps(said, indent=1) for said in ROWS[:2]))
    length = len(json.dumps(ROWS[0], indent=1).splitlines())
    assert [item.place for item in read(third)] == [f"{third}:1", f"{third}:{length + 1}"]


def test_files_are_merged_by_time_then_by_file_then_by_line(tmp_path: Path) -> None:
    """Several files read as one stream; what is of one instant keeps the order of the files."""
    first = lines(tmp_path / "1.jsonl", ROWS[0], ROWS[2], ROWS[4])
    same = [ROWS[2] | {"id": "x-2"}, ROWS[2] | {"id": "x-3"}]
    second = lines(tmp_path / "2.jsonl", ROWS[1], *same, ROWS[3])
    found = ids(read(first, second))
    assert found == ["e-0", "e-1", "e-2", "x-2", "x-3", "e-3", "e-4"]


def test_late_rows_are_put_in_order_within_their_bound(tmp_path: Path) -> None:
    """With `--reorder`, a row that comes late by no more than that is read in its place."""
    path = lines(tmp_path / "a.jsonl", ROWS[1], ROWS[0], ROWS[3], ROWS[2], ROWS[4])
    assert ids(read(path)) == ["e-1", "e-0", "e-3", "e-2", "e-4"]
    ordered = ids(read(path, reorder=timedelta(minutes=1)))
    assert ordered == ["e-0", "e-1", "e-2", "e-3", "e-4"]


def test_equal_rows_without_an_id_are_two_and_a_second_reading_finds_both(tmp_path: Path) -> None:
    """Equal rows of a file bear ordinals, the same ones every time."""
    plain = {"event": "order_completed", "user_id": "u", "properties": {"value": 3}}
    spaced = lines(tmp_path / "a.jsonl", plain, plain | {"at": "2026-10-05T09:00:00Z"}, plain)
    spaced.write_text(spaced.read_text() + json.dumps(plain, indent=None).replace(" ", "") + "\n")
    for _ in range(2):
        found = [item for item in read(spaced) if isinstance(item, Event)]
        assert sorted(item.ordinal for item in found) == [0, 0, 1, 2]
        assert {item.received_at for item in found} == {NOW}


def test_what_makes_rows_equal_is_what_makes_their_keys_equal(tmp_path: Path) -> None:
    """Two rows that say the same in another order are two events, in a file and in a batch."""
    names = {"crm": "1", "card": "2"}
    plain = {"event": "order_completed", "at": "2026-10-05T09:00:00Z", "identifiers": names}
    turned = plain | {"identifiers": dict(reversed(names.items()))}
    said = plain | {"context": {"gpc": True}}
    vault = Vault(b"k" * 32)
    for rows in ([plain, turned, said, plain], [{"batch": [plain, turned, said, plain]}]):
        found = [
            item for item in read(lines(tmp_path / "a.jsonl", *rows)) if isinstance(item, Event)
        ]
        assert [item.ordinal for item in found] == [0, 1, 0, 2]
        assert len({event_key(vault, item) for item in found}) == 4


BAD: list[tuple[str, bytes, str]] = [
    ("cut off", b'{"event": "x", "user_id": "u"', "invalid_json"),
    ("no JSON", b"hello", "invalid_json"),
    ("a bare number", b"12", "not_an_object"),
    ("not UTF-8", b'{"event": "x", "user_id": "\xff"}', "invalid_utf8"),
    ("not a number", b'{"event": "x", "user_id": "u", "properties": {"v": NaN}}', "not_finite"),
    ("no event", b'{"colour": "red"}', "unknown_format"),
    ("nobody", b'{"event": "x"}', "no_identifier"),
    ("deep", b'{"event": ' + b"[" * 5000 + b"]" * 5000 + b"}", "too_deep"),
    ("ten megabytes", b'{"event": "' + b"x" * 10_000_000 + b'"}', "too_large"),
]


@pytest.mark.parametrize(("name", "raw", "reason"), BAD, ids=[name for name, _, _ in BAD])
def test_a_bad_row_is_a_dead_letter_and_the_rows_around_it_live(
    tmp_path: Path, name: str, raw: bytes, reason: str
) -> None:
    """Whatever a row holds, it is named with its place, cause and remedy, and no other is lost."""
    good = [json.dumps(said).encode() for said in ROWS[:2]]
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n".join([good[0], raw, good[1]]))
    found = read(path)
    assert ids(found) == ["e-0", reason, "e-1"]
    dead = found[1]
    assert isinstance(dead, DeadRow)
    assert dead.place == f"{path}:2"
    assert dead.cause
    assert dead.remedy
    assert raw.startswith(dead.raw[:100])
    assert len(dead.raw) <= inputs.DEAD_BYTES_MAX


def test_a_dead_letter_tells_the_events_id_where_it_can_be_read(tmp_path: Path) -> None:
    """The producer finds the event by its own name for it."""
    path = lines(tmp_path / "a.jsonl", {"id": "e-9", "source": "till", "event": "x"})
    (dead,) = read(path)
    assert isinstance(dead, DeadRow)
    assert dead.event_id == "till/e-9"


def test_a_gzip_bomb_is_refused_in_little_memory(tmp_path: Path) -> None:
    """A small file that unpacks to very much is given up, and what is read stays bounded."""
    path = tmp_path / "bomb.gz"
    with gzip.open(path, "wb") as file:
        for _ in range(200):
            file.write(b" " * 1_000_000)
    tracemalloc.start()
    found = read(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert ids(found)[-1] == "too_large"
    assert peak < 20_000_000


def test_of_a_gzip_file_cut_off_everything_that_is_there_is_read(tmp_path: Path) -> None:
    """The rows before the cut are events; the file's own fault is the last row."""
    rows = [cart("2026-10-05T09:00:00Z") | {"id": f"e-{n}"} for n in range(2000)]
    data = gzip.compress("".join(json.dumps(said) + "\n" for said in rows).encode())
    path = tmp_path / "a.gz"
    path.write_bytes(data[: len(data) // 2])
    found = ids(read(path))
    assert found[-1] == "truncated"
    whole = [name for name in found if name is not None and name.startswith("e-")]
    assert whole == [f"e-{n}" for n in range(len(whole))]
    assert len(whole) > 100


def test_gzip_members_one_after_another_are_one_file(tmp_path: Path) -> None:
    """A log that was appended to in gzip members reads whole."""
    path = tmp_path / "a.gz"
    path.write_bytes(
        b"".join(gzip.compress(json.dumps(s).encode() + b"\n") for s in ROWS) + b"\0\0"
    )
    assert ids(read(path)) == [said["id"] for said in ROWS]


def test_standard_input_is_a_file_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """`-` reads what is piped in."""
    data = json.dumps(ROWS[0]).encode()

    class Standard:
        buffer = io.BytesIO(data)

    monkeypatch.setattr(sys, "stdin", Standard())
    (event,) = read(Path("-"))
    assert event.place == "standard input:1"


@pytest.mark.parametrize(("path", "cause"), [("nothere", "cannot be read"), (".", "a folder")])
def test_a_path_that_is_no_file_is_refused_at_once(path: str, cause: str) -> None:
    """Nothing is read where one of the files is missing."""
    with pytest.raises(UsageError, match=cause):
        read_inputs([path], READING)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    data=st.binary(max_size=400) | st.text(alphabet='{}[],":\\\n 1e', max_size=200).map(str.encode)
)
def test_any_bytes_read_to_an_end(tmp_path: Path, data: bytes) -> None:
    """Rubbish gives dead letters, never an exception, whatever it looks like."""
    path = tmp_path / "rubbish"
    path.write_bytes(data)
    for item in read(path):
        assert isinstance(item, (Event, DeadRow))


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    rows=st.lists(
        st.dictionaries(
            st.text(max_size=5),
            st.text(max_size=20) | st.integers(-9, 9) | st.lists(st.booleans(), max_size=3),
            max_size=4,
        ),
        max_size=12,
    ),
    indent=st.sampled_from([None, 0, 3]),
    size=st.integers(1, 40),
)
def test_an_array_is_cut_into_its_elements_wherever_the_pieces_fall(
    tmp_path: Path, rows: list[dict[str, Any]], indent: int | None, size: int
) -> None:
    """Elements come out whole and in order, however the file is laid out and read in pieces."""
    data = json.dumps(rows, indent=indent).encode()
    splitter = inputs._Splitter(in_array=True)
    found = []
    for start in range(0, len(data), size):
        found += [json.loads(raw) for raw, _, whole in splitter.feed(data[start : start + size])]
    found += [raw for raw, _, _ in splitter.rest()]
    assert found == rows
