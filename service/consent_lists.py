"""Cuts lists of consents (CSV with a header, JSON lines, a JSON array) into rows for the reader."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from domain.canonical import canonical
from domain.errors import InputError, UsageError
from domain.event import EVENT_BYTES_MAX
from profiles.readers.consent_rows import COLUMNS, KEY, NAMED, unknown
from service.inputs import Row

_SEPARATORS = (",", ";")


@dataclass(frozen=True, slots=True)
class ConsentList:
    """How one import's rows are handed on: under its `source`, and by whom, where that is told."""

    source: str
    by: str | None = None

    def shape(self, rows: Iterator[Row]) -> Iterator[Row]:
        """Each row of a file as JSON. Raises `UsageError` where a CSV's header is off."""
        first = next(rows, None)
        if first is None:
            return
        if first.fault is not None or first.raw[:1] in (b"{", b"["):
            yield self._as_json(first)
            for row in rows:
                yield self._as_json(row)
        else:
            yield from self._of_csv(_Header.read(first), rows)

    def _as_json(self, row: Row) -> Row:
        """A row that was JSON, as the text it was, so that no retry reads it as an event."""
        try:
            return Row(self._wrapped(row.raw.decode()), row.place, row.fault)
        except UnicodeDecodeError as error:
            return Row(row.raw, row.place, row.fault or _not_utf8(error))

    def _of_csv(self, header: _Header, rows: Iterator[Row]) -> Iterator[Row]:
        for row in _records(rows):
            if row.fault is not None:
                yield row
                continue
            try:
                yield Row(self._wrapped(header.named(row.raw)), row.place)
            except UnicodeDecodeError as error:
                yield Row(row.raw, row.place, _not_utf8(error))
            except InputError as error:
                yield Row(self._wrapped(row.raw.decode()), row.place, error)

    def _wrapped(self, row: str | Mapping[str, str]) -> bytes:
        said = {KEY: row, "source": self.source}
        return canonical(said if self.by is None else {**said, "by": self.by})


@dataclass(frozen=True, slots=True)
class _Header:
    """A CSV file's columns, and what stands between them."""

    columns: Sequence[str]
    separator: str

    @classmethod
    def read(cls, row: Row) -> _Header:
        """The header in a file's first line. Raises `UsageError`."""
        line = row.raw.decode(errors="replace")
        separator = max(_SEPARATORS, key=line.count)
        try:
            columns = [column.strip() for column in _cells(line, separator)]
        except InputError as error:
            raise UsageError(error.cause, place=row.place, remedy=error.remedy) from error
        for column in columns:
            if column not in COLUMNS:
                what, remedy = unknown(column)
                raise UsageError(f"`{column[:40]}` {what}", place=row.place, remedy=remedy)
        if len(set(columns)) < len(columns):
            twice = next(one for one in columns if columns.count(one) > 1)
            raise UsageError(f"the column `{twice}` stands there twice", place=row.place)
        if "value" not in columns or not set(columns) & set(NAMED):
            raise UsageError(
                "the header lacks `value`, or a column that says who",
                place=row.place,
                remedy=f"begin the file with a header such as `email,value,channel,purpose`; "
                f"who: {', '.join(NAMED)}",
            )
        return cls(columns, separator)

    def named(self, raw: bytes) -> dict[str, str]:
        """A record's cells that are not blank, by column. Raises `InputError`."""
        cells = _cells(raw.decode(), self.separator)
        if len(cells) != len(self.columns):
            raise InputError(
                "invalid_field",
                f"`$` has {len(cells)} cells, and the header {len(self.columns)} columns",
                remedy="quote cells that hold a separator or a line's end",
            )
        return {name: cell for name, cell in zip(self.columns, cells, strict=True) if cell.strip()}


def _cells(line: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error as error:
        raise InputError(
            "invalid_field", f"`$` is no line of CSV: {error}", remedy="quote such cells"
        ) from error


def _records(rows: Iterator[Row]) -> Iterator[Row]:
    """Lines put together where a quoted cell goes over several.

    A quote that is not closed within an event's size spoils its own line and none after it.
    """
    waiting: deque[Row] = deque()
    while row := waiting.popleft() if waiting else next(rows, None):
        if row.fault is not None or not _is_open(row.raw):
            yield row
            continue
        taken, whole = [row], row.raw
        while _is_open(whole) and len(whole) <= EVENT_BYTES_MAX:
            following = waiting.popleft() if waiting else next(rows, None)
            if following is None:
                break
            taken.append(following)
            if following.fault is not None:
                break
            whole += b"\n" + following.raw
        if len(taken) > 1 and taken[-1].fault is None and not _is_open(whole):
            yield Row(whole, row.place)
            continue
        waiting.extendleft(reversed(taken[1:]))
        yield Row(row.raw, row.place, _open_quote())


def _is_open(raw: bytes) -> bool:
    return raw.count(b'"') % 2 == 1


def _open_quote() -> InputError:
    return InputError(
        "invalid_field", "`$` has a quote that is not closed", remedy='write a quote in it as `""`'
    )


def _not_utf8(error: UnicodeDecodeError) -> InputError:
    return InputError(
        "invalid_utf8", f"`$` is not UTF-8 at byte {error.start}", remedy="send UTF-8"
    )
