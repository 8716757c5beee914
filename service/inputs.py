"""Reads files of events in bounded memory, whatever is in them, and merges them by time.

A file holds JSON lines, one JSON array, or JSON values one after another; it may be gzipped.
A row that cannot become an event becomes a `DeadRow` with its place and cause; the rows after it
are read all the same.
"""

from __future__ import annotations

import heapq
import re
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from domain.canonical import canonical
from domain.errors import InputError, UsageError
from domain.event import Event
from profiles.prints import unkeyed
from profiles.readers.decoding import BATCH_BYTES_MAX
from profiles.reading import Reading

ROW_BYTES_MAX = BATCH_BYTES_MAX
DEAD_BYTES_MAX = 64 * 1024
EXPANSION_MAX = 200
EXPANSION_FREE_BYTES = 64 * 1024 * 1024
REORDERED_MAX = 100_000
ROWS_WITHOUT_ID_MAX = 2_000_000
STANDARD_INPUT = "-"
_CHUNK = 64 * 1024
_GZIP = b"\x1f\x8b"
_GZIP_WINDOW = 31  # as zlib asks for gzip's own header
_BOM = b"\xef\xbb\xbf"

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class DeadRow:
    """A row that did not become an event: where, why, and what can be done about it.

    `raw` is the row's beginning, at most `DEAD_BYTES_MAX` bytes; `ordinal` tells equal rows of
    one file apart.
    """

    place: str
    reason: str
    cause: str
    remedy: str
    raw: bytes
    event_id: str | None = None
    ordinal: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """One row's bytes, and its place; `fault` says why it cannot be read at all."""

    raw: bytes
    place: str
    fault: InputError | None = None


Shape = Callable[[Iterator[Row]], Iterator[Row]]
"""Makes the rows of one file, such as lines of CSV, into rows that hold JSON."""

_Keyed = tuple[datetime, int, int, Event | DeadRow]


def read_inputs(
    paths: Sequence[str],
    reading: Reading,
    *,
    at: datetime | None = None,
    reorder: timedelta = timedelta(0),
    progress: Progress | None = None,
    shape: Shape | None = None,
) -> Iterator[Event | DeadRow]:
    """Every row of every file, merged by time; ties go by file, then by line.

    Args:
        paths: files, or `-` for standard input.
        at: the instant of rows that bear none; the clock's where it is not given.
        reorder: how long a row may be out of order; rows are held back for as long.
        progress: told how many bytes of input were taken since it was last told.
        shape: what makes each file's rows JSON, where they are written otherwise.

    Raises:
        UsageError: at once, where a path is no file that can be read.
    """
    opened = [_open(path) for path in paths]
    undated_at = at or datetime.now(UTC)
    streams = [
        _keyed(_File(path, file, progress, shape), number, reading, undated_at)
        for number, (path, file) in enumerate(zip(paths, opened, strict=True))
    ]
    merged = heapq.merge(*streams) if len(streams) > 1 else streams[0] if streams else iter(())
    return (item[-1] for item in _reordered(merged, reorder))


def _open(path: str) -> BinaryIO:
    if path == STANDARD_INPUT:
        return sys.stdin.buffer
    try:
        if Path(path).is_dir():
            raise UsageError(
                "this is a folder", place=path, remedy=f"name its files, such as {path}/*.jsonl"
            )
        return Path(path).open("rb")
    except OSError as error:
        raise UsageError(
            f"the file cannot be read: {(error.strerror or str(error)).lower()}",
            place=path,
            remedy="check the path; `-` reads standard input",
        ) from None


def _reordered(items: Iterator[_Keyed], reorder: timedelta) -> Iterator[_Keyed]:
    if reorder <= timedelta(0):
        yield from items
        return
    waiting: list[_Keyed] = []
    latest: datetime | None = None
    for item in items:
        latest = item[0] if latest is None else max(latest, item[0])
        heapq.heappush(waiting, item)
        while waiting and (waiting[0][0] <= latest - reorder or len(waiting) > REORDERED_MAX):
            yield heapq.heappop(waiting)
    while waiting:
        yield heapq.heappop(waiting)


def _keyed(file: _File, number: int, reading: Reading, undated_at: datetime) -> Iterator[_Keyed]:
    """A file's rows with what they are merged by; a dead row stands where it stood."""
    last = datetime.min.replace(tzinfo=UTC)
    equals = _Equals(file.path)
    for place, item in enumerate(_items(file, reading, undated_at, equals)):
        if isinstance(item, Event):
            last = item.occurred_at or item.received_at
        yield last, number, place, item


def _items(
    file: _File, reading: Reading, undated_at: datetime, equals: _Equals
) -> Iterator[Event | DeadRow]:
    for row in file.rows():
        if row.fault is not None:
            yield _dead(row, row.fault, equals)
            continue
        try:
            read = reading.read(row.raw, received_at=undated_at, place=row.place)
        except InputError as error:
            yield _dead(row, error, equals)
            continue
        for item in read:
            if isinstance(item, InputError):
                yield _dead(row, item, equals)
            else:
                yield equals.told_apart(item)


def _dead(row: Row, error: InputError, equals: _Equals) -> DeadRow:
    raw = (error.raw or row.raw)[:DEAD_BYTES_MAX]
    return DeadRow(
        place=error.place or row.place,
        reason=error.reason,
        cause=error.cause,
        remedy=error.remedy or "",
        raw=raw,
        event_id=_readable_id(error.raw or row.raw),
        ordinal=equals.count(canonical([error.reason, raw])),
    )


def _readable_id(raw: bytes) -> str | None:
    """The event's own name for itself, where the row can be read that far."""
    try:
        said: Any = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(said, dict):
        return None
    found = next((said[key] for key in ("id", "messageId", "_id") if key in said), None)
    source = said.get("source")
    if not isinstance(found, str) or not found.isprintable() or len(found) > 300:
        return None
    return f"{source}/{found}" if isinstance(source, str) else found


class _Equals:
    """Counts equal rows of one file that bear no id of their own."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._seen: dict[bytes, int] = {}

    def told_apart(self, event: Event) -> Event:
        """The event, with its ordinal among equal rows where it has no id."""
        if event.id is not None:
            return event
        ordinal = self.count(canonical(unkeyed(event)))
        return replace(event, ordinal=ordinal) if ordinal != event.ordinal else event

    def count(self, content: bytes) -> int:
        """How many rows with this content came before."""
        digest = blake2b(content, digest_size=12).digest()
        before = self._seen.get(digest, 0)
        if before == 0 and len(self._seen) >= ROWS_WITHOUT_ID_MAX:
            raise UsageError(
                f"the file has more than {ROWS_WITHOUT_ID_MAX} rows without an id",
                place=self._path,
                remedy="split it, or give its rows ids",
            )
        self._seen[digest] = before + 1
        return before


class _File:
    """One file, cut into rows."""

    def __init__(
        self, path: str, file: BinaryIO, progress: Progress | None, shape: Shape | None
    ) -> None:
        self.path = path
        self._shape = shape
        self._shown_as = "standard input" if path == STANDARD_INPUT else path
        self._counted = _Counted(file, progress)

    def rows(self) -> Iterator[Row]:
        """Every row; a fault of the file itself is the last one."""
        return self._shape(self._written()) if self._shape is not None else self._written()

    def _written(self) -> Iterator[Row]:
        try:
            with self._counted:
                yield from self._cut()
        except _Unreadable as error:
            fault = InputError(error.reason, error.cause, place=self._shown_as, remedy=error.remedy)
            yield Row(b"", self._shown_as, fault)
        except OSError as error:
            fault = InputError(
                "unreadable",
                f"the file could not be read on: {error.strerror or error}",
                place=self._shown_as,
                remedy="read the file again",
            )
            yield Row(b"", self._shown_as, fault)

    def _cut(self) -> Iterator[Row]:
        source = _Source(self._counted)
        head = source.peek()
        first = head.lstrip()[:1]
        if first == b"[":
            return self._values(source, b",", lambda number, _: f"{self._shown_as}[{number}]")
        if first == b"{" and _spans_lines(head):
            return self._values(source, b"", lambda _, line: f"{self._shown_as}:{line}")
        return self._lines(source)

    def _lines(self, source: _Source) -> Iterator[Row]:
        for number, (line, whole) in enumerate(source.lines(), 1):
            stripped = line.strip()
            place = f"{self._shown_as}:{number}"
            if not whole:
                yield Row(stripped, place, _too_large(place))
            elif stripped:
                yield Row(stripped, place)

    def _values(
        self, source: _Source, separator: bytes, place: Callable[[int, int], str]
    ) -> Iterator[Row]:
        splitter = _Splitter(in_array=bool(separator))
        number = 0
        for chunk in source.chunks():
            for raw, line, whole in splitter.feed(chunk):
                shown = place(number, line)
                yield Row(raw, shown, None if whole else _too_large(shown))
                number += 1
        for raw, line, _ in splitter.rest():
            shown = place(number, line)
            fault = InputError(
                "invalid_json",
                "the input ends inside a value",
                place=shown,
                remedy="check that the file is complete",
            )
            yield Row(raw, shown, fault)


def _too_large(place: str) -> InputError:
    return InputError(
        "too_large",
        f"the row is longer than {ROW_BYTES_MAX} bytes",
        place=place,
        remedy="send smaller events, one a line",
    )


def _spans_lines(head: bytes) -> bool:
    """Whether values are written over several lines, rather than one a line."""
    lines = [line for line in head.split(b"\n") if line.strip()]
    if len(lines) < 2 or _is_value(lines[0]):
        return False
    return not lines[1].lstrip().startswith(b"{")


def _is_value(line: bytes) -> bool:
    try:
        msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


class _Unreadable(Exception):
    def __init__(self, reason: str, cause: str, remedy: str) -> None:
        super().__init__(cause)
        self.reason = reason
        self.cause = cause
        self.remedy = remedy


class _Counted:
    """A file that tells how much of it was taken."""

    def __init__(self, file: BinaryIO, progress: Progress | None) -> None:
        self._file = file
        self._progress = progress
        self.taken = 0

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes."""
        data = self._file.read(size)
        self.taken += len(data)
        if self._progress is not None and data:
            self._progress(len(data))
        return data

    def __enter__(self) -> _Counted:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not sys.stdin.buffer:
            self._file.close()


class _Source:
    """The bytes of a file as written, unpacked where it is gzipped, in pieces of bounded size."""

    def __init__(self, file: _Counted) -> None:
        self._file = file
        self._head = file.read(_CHUNK)
        self._gzip: _Gunzip | None = None
        self._expanded = 0
        if self._head.startswith(_GZIP):
            self._gzip = _Gunzip(self._head, file)
            self._head = self._more()
        self._head = self._head.removeprefix(_BOM)

    def peek(self) -> bytes:
        """The beginning, at most one piece."""
        return self._head

    def chunks(self) -> Iterator[bytes]:
        """Everything, piece by piece."""
        chunk = self._head
        while chunk:
            yield chunk
            chunk = self._more()

    def lines(self) -> Iterator[tuple[bytes, bool]]:
        """Each line, and whether it is whole; of one too long, the beginning."""
        left, whole = bytearray(), True
        try:
            for chunk in self.chunks():
                *ended, rest = chunk.split(b"\n")
                for piece in ended:
                    yield (bytes(left) + piece, whole) if left else (piece, whole)
                    left, whole = bytearray(), True
                whole = whole and len(left) + len(rest) <= ROW_BYTES_MAX
                left += rest
                if not whole:
                    del left[DEAD_BYTES_MAX:]
        except _Unreadable:
            if left:  # the line that was being read when the file broke off
                yield bytes(left), whole
            raise
        if left:
            yield bytes(left), whole

    def _more(self) -> bytes:
        if self._gzip is None:
            return self._file.read(_CHUNK)
        data = self._gzip.read()
        self._expanded += len(data)
        if self._expanded > max(EXPANSION_FREE_BYTES, EXPANSION_MAX * self._file.taken):
            raise _Unreadable(
                "too_large",
                f"the gzip file expands more than {EXPANSION_MAX}-fold",
                "unpack it by hand if it can be trusted",
            )
        return data


class _Gunzip:
    """Unpacks a gzip file piece by piece; of one cut off, everything that is there."""

    def __init__(self, head: bytes, file: _Counted) -> None:
        self._packed = head
        self._file = file
        self._member = zlib.decompressobj(wbits=_GZIP_WINDOW)

    def read(self) -> bytes:
        """The next piece, at most `_CHUNK` bytes; empty at the end."""
        while True:
            if self._member.eof:
                rest = self._member.unused_data or self._file.read(_CHUNK)
                if not rest.strip(b"\0"):  # the end, or padding after it
                    return b""
                self._packed, self._member = rest, zlib.decompressobj(wbits=_GZIP_WINDOW)
            packed = self._member.unconsumed_tail or self._packed or self._file.read(_CHUNK)
            self._packed = b""
            if not packed:
                raise _Unreadable(
                    "truncated",
                    "the gzip file ends early; what is there of it was read",
                    "fetch the file again",
                )
            try:
                data = self._member.decompress(packed, _CHUNK)
            except zlib.error as error:
                raise _Unreadable(
                    "invalid_gzip", f"the gzip file is damaged: {error}", "fetch the file again"
                ) from None
            if data:
                return data


_OUTSIDE = re.compile(rb'["{}\[\],\n]')
_INSIDE = re.compile(rb'["\\\n]')


class _Splitter:
    """Cuts a stream into its top-level JSON values (or an array's elements), however it is laid
    out. Only brackets and quotes are looked at; whether a value makes sense is the reader's
    business."""

    def __init__(self, *, in_array: bool) -> None:
        self._in_array = in_array
        self._depth = -1 if in_array else 0
        self._inside = False
        self._escaped = False
        self._line = 1
        self._began = 1
        self._whole = True
        self._held = bytearray()

    def feed(self, chunk: bytes) -> Iterator[tuple[bytes, int, bool]]:
        """The values that end in this piece: bytes, first line, and whether all of it is there."""
        start = at = 0
        if self._escaped:
            self._escaped, at = False, 1
        while True:
            match = (_INSIDE if self._inside else _OUTSIDE).search(chunk, at)
            if match is None:
                self._hold(chunk[start:])
                return
            at = match.end()
            match match.group():
                case b"\n":
                    self._line += 1
                case b'"':
                    self._inside = not self._inside
                case b"\\":
                    self._escaped = at == len(chunk)
                    at += 1
                case b"{" | b"[":
                    self._depth += 1
                    if self._in_array and self._depth == 0:
                        start = at
                        self._held.clear()
                case b",":
                    if self._in_array and self._depth == 0:
                        self._hold(chunk[start : match.start()])
                        yield from self._take()
                        start = at
                case _:
                    self._depth -= 1
                    if self._in_array and self._depth < 0:
                        self._hold(chunk[start : match.start()])
                        yield from self._take()
                        start = at
                        self._in_array, self._depth = False, 0
                    elif not self._in_array and self._depth <= 0:
                        self._depth = 0
                        self._hold(chunk[start:at])
                        yield from self._take()
                        start = at

    def rest(self) -> Iterator[tuple[bytes, int, bool]]:
        """What is left at the end: a value that was cut off."""
        if self._held.strip():
            yield from self._take()
        elif self._in_array:
            yield b"", self._line, False

    def _hold(self, piece: bytes) -> None:
        if not self._held:
            piece = piece.lstrip()
            if piece:
                self._began = self._line - piece.count(b"\n")
        if len(self._held) + len(piece) > ROW_BYTES_MAX:
            self._whole = False
        self._held += piece
        if not self._whole:
            del self._held[DEAD_BYTES_MAX:]

    def _take(self) -> Iterator[tuple[bytes, int, bool]]:
        raw, whole = bytes(self._held).strip(), self._whole
        self._held.clear()
        self._whole = True
        if raw:
            yield raw, self._began, whole
