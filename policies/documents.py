"""Reads what people write (YAML, TOML): every value keeps its line, and nothing is guessed.

YAML is read as its 1.2 core says: only `true` and `false` are booleans, so the country `no` and
the window `08:00-21:00` stay text. Anchors, tags and doubled keys are refused: a reader of the
file should see what it means.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, NamedTuple, TypedDict, TypeVar, get_args, get_origin
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from pydantic import BaseModel, PlainValidator, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from domain.action import Money
from domain.errors import ConfigurationError
from domain.regions import country_of, is_code
from policies.hours import DAY_NAMES, Holidays, Hours, Window, week

DOCUMENT_BYTES_MAX = 4_000_000
DOCUMENT_DEPTH_MAX = 32
DURATION_MAX = timedelta(days=400)
WINDOWS_MAX = 8
HOLIDAYS_MAX = 400
KEPT_YEARS_MAX = 100

Key = str | int
Path = tuple[Key, ...]
Model = TypeVar("Model", bound=BaseModel)


# What values may be, beyond plain text and numbers


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "mo": 2_592_000}


def _duration(value: Any) -> timedelta:
    match = re.fullmatch(r"([0-9]{1,9})(mo|[smhdw])", value) if isinstance(value, str) else None
    if match is None or match.group(1).strip("0") == "":
        raise ValueError("it is no duration; write a number and a unit: `30s`, `15m`, `24h`, `7d`")
    span = timedelta(seconds=int(match.group(1)) * _UNITS[match.group(2)])
    if span > DURATION_MAX:
        raise ValueError(f"it is longer than {DURATION_MAX.days} days")
    return span


def _span(value: Any) -> timedelta:
    return timedelta(0) if value == "0s" else _duration(value)


def _kept_for(value: Any) -> timedelta:
    """Law counts in years; one is 365 days."""
    match = re.fullmatch(r"([0-9]{1,5})([dy])", value) if isinstance(value, str) else None
    if match is None or match.group(1).strip("0") == "":
        raise ValueError("it is no time to keep things for; write it as `90d`, or `3y`")
    days = int(match.group(1)) * (365 if match.group(2) == "y" else 1)
    if days > KEPT_YEARS_MAX * 365:
        raise ValueError(f"it is longer than {KEPT_YEARS_MAX} years")
    return timedelta(days=days)


def _windows(value: Any) -> tuple[Window, ...]:
    shape = r"([01]\d|2[0-3]):([0-5]\d)-(?:([01]\d|2[0-3]):([0-5]\d)|24:00)"
    parts = value.split(",") if isinstance(value, str) else [""]
    found: list[Window] = []
    for part in parts:
        match = re.fullmatch(shape, part.strip())
        if match is None:
            raise ValueError(
                "it is no window; write it as `08:00-21:00`, or several as "
                "`10:00-13:00,14:00-20:00`"
            )
        opens = time(int(match[1]), int(match[2]))
        closes = time.max if match[3] is None else time(int(match[3]), int(match[4]))
        if opens == closes:
            raise ValueError(
                "it opens when it closes, so it is never open; leave the rule out instead"
            )
        found.append(Window(opens, closes))
    if len(found) > WINDOWS_MAX:
        raise ValueError(f"it has more than {WINDOWS_MAX} windows")
    minutes = sum(to - start for one in found for start, to in week(Hours((one,))))
    if minutes != sum(to - start for start, to in week(Hours(tuple(found)))):
        raise ValueError("its windows overlap; write each hour once")
    return tuple(sorted(found, key=lambda window: window.open))


def _wall(value: Any) -> time:
    match = re.fullmatch(r"([01]\d|2[0-3]):([0-5]\d)", value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("it is no time of day; write it as `06:00`")
    return time(int(match[1]), int(match[2]))


def _days(value: Any) -> frozenset[int]:
    names = value.replace(" ", "").split(",") if isinstance(value, str) else []
    found: set[int] = set()
    for name in names:
        first, dash, last = name.partition("-")
        if first not in DAY_NAMES or (last if dash else first) not in DAY_NAMES:
            break
        begin, end = DAY_NAMES.index(first), DAY_NAMES.index(last if dash else first)
        found |= {day % 7 for day in range(begin, end + 1 + 7 * (end < begin))}
    else:
        if found:
            return frozenset(found)
    raise ValueError("it is no days of the week; write them as `mon-sat` or `mon,wed,fri`")


def _day(value: Any) -> date:
    try:
        return date.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        raise ValueError("it is no day; write it as `2027-06-30`") from None


def _holidays(value: Any) -> Holidays:
    if not isinstance(value, list) or len(value) > HOLIDAYS_MAX:
        raise ValueError(f"it is no list of at most {HOLIDAYS_MAX} days; write `[12-25]`")
    dates, yearly = set(), set()
    for day in value:
        text = day if isinstance(day, str) else ""
        every_year = re.fullmatch(r"\d\d-\d\d", text, re.ASCII) is not None
        if not every_year and re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII) is None:
            text = ""
        try:
            # 2000 has a 29 February.
            read = date.fromisoformat(f"2000-{text}" if every_year else text)
        except ValueError:
            raise ValueError(
                f"`{day}` is no day; write each as `2026-12-24`, or `12-25` for every year"
            ) from None
        if every_year:
            yearly.add((read.month, read.day))
        else:
            dates.add(read)
    return Holidays(frozenset(dates), frozenset(yearly))


def _place(value: Any) -> str:
    if isinstance(value, str) and is_code(value):
        return value
    meant = country_of(value) if isinstance(value, str) else None
    remedy = f"; did you mean `{meant}`?" if meant else "; write it as `DE` or `US-FL`"
    raise ValueError(f"it is no ISO 3166 code of a country or state{remedy}")


def _instant(value: Any) -> datetime:
    try:
        at = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    except (TypeError, ValueError):
        at = None
    if at is None or at.tzinfo is None:
        raise ValueError("it is no instant; write it with its zone: `2026-12-31T23:00:00Z`")
    return at.astimezone(UTC)


def _money(value: Any) -> Money:
    shape = r"([0-9]{1,12})(?:\.([0-9]{2}))? ([A-Z]{3})"
    match = re.fullmatch(shape, value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("it is no amount; write it as `5.00 EUR`")
    return Money(int(match[1]) * 100 + int(match[2] or 0), match[3])


def _zone(value: Any) -> str:
    try:
        return ZoneInfo(value).key
    except (TypeError, ValueError, OSError, ZoneInfoNotFoundError) as error:
        raise ValueError("it is no time zone; write it as `Europe/Berlin`") from error


def _calendar_zone(value: Any) -> str:
    if value == "person":
        return "person"
    try:
        return _zone(value)
    except ValueError as error:
        said = "it is no time zone; write it as `Europe/Berlin`, or `person` for the customer's own"
        raise ValueError(said) from error


Duration = Annotated[timedelta, PlainValidator(_duration)]
Span = Annotated[timedelta, PlainValidator(_span)]
KeptFor = Annotated[timedelta, PlainValidator(_kept_for)]
WallWindows = Annotated[tuple[Window, ...], PlainValidator(_windows)]
WallTime = Annotated[time, PlainValidator(_wall)]
WeekDays = Annotated[frozenset[int], PlainValidator(_days)]
Day = Annotated[date, PlainValidator(_day)]
HolidayList = Annotated[Holidays, PlainValidator(_holidays)]
PlaceCode = Annotated[str, PlainValidator(_place)]
Instant = Annotated[datetime, PlainValidator(_instant)]
MoneyText = Annotated[Money, PlainValidator(_money)]
TimeZoneName = Annotated[str, PlainValidator(_zone)]
CalendarZone = Annotated[str, PlainValidator(_calendar_zone)]


# A document


class Spotted(TypedDict):
    """Where something stands, as an error is told."""

    place: str
    column: int | None


class Position(NamedTuple):
    """Where a key stands and where the text of its value begins, counted from 1.

    `span` are the indexes in the file between which a text value is written, in the YAML `style`
    (`|`, `>`, a quote, or none).
    """

    line: int
    column: int
    text_line: int
    span: tuple[int, int] | None = None
    style: str = ""


@dataclass(frozen=True, slots=True)
class Document:
    """One file's data, and where in the file each key stands.

    `positions` maps a path of keys to where each stands. `source` is the file's text where values
    can be found in it again, to the character.
    """

    path: str
    data: Any
    positions: Mapping[Path, Position] = field(default_factory=dict)
    source: str = ""

    def place(self, *keys: Key) -> str:
        """`file:line` of a key, or of the nearest thing around it that is there."""
        found = self._nearest(keys)
        return f"{self.path}:{found.line}" if found else self.path

    def at(self, *keys: Key) -> Spotted:
        """Place and column of a key, or of the nearest thing around it, as errors take them."""
        found = self._nearest(keys)
        return {"place": self.place(*keys), "column": found.column if found else None}

    def line_of_text(self, *keys: Key) -> int:
        """The line, from 1, on which the text of a value begins."""
        found = self._nearest(keys)
        return found.text_line if found else 1

    def spot(self, keys: Path, text: str, offset: int) -> tuple[int, int | None]:
        """Line and column of one character of a text value; no column where nobody can tell.

        In a block, a folded or a quoted text, the value's lines and columns are not the file's.
        """
        found = self.positions.get(keys)
        if found is None or found.span is None:
            return self.line_of_text(*keys), None
        begins, ends = found.span
        index = _index_in(self.source[begins:ends], found.style, text, offset)
        if index is None:
            return found.text_line, None
        return _line_and_column(self.source, begins + index)

    def validate(self, model: type[Model]) -> Model:
        """The data as that model; raises one `ConfigurationError`, for the first mistake."""
        try:
            return model.model_validate(self.data, strict=True)
        except ValidationError as error:
            faults = error.errors(include_url=False)
            # A misspelt key is also a missing one: say what is there and wrong, first.
            first = min(faults, key=lambda f: (f["type"] == "missing", self._line(f["loc"])))
            raise self._fault(first, model, len(faults) - 1) from None

    def _nearest(self, keys: Path) -> Position | None:
        for length in range(len(keys), 0, -1):
            if keys[:length] in self.positions:
                return self.positions[keys[:length]]
        return None

    def _line(self, loc: Path) -> int:
        found = self._nearest(loc)
        return found.line if found else 0

    def _fault(self, fault: ErrorDetails, model: type[BaseModel], more: int) -> ConfigurationError:
        loc = tuple(key for key in fault["loc"] if key != "[key]")
        where, last = _spoken(loc[:-1]), str(loc[-1]) if loc else ""
        fields = _fields_at(model, loc[:-1])
        info = fields.get(last)
        match fault["type"]:
            case "missing":
                cause, remedy = f"{where} has no `{last}`", f"add one{_example(last, info)}"
            case "extra_forbidden":
                cause = f"{where} has no key `{last}`"
                remedy = _did_you_mean(last, fields) or (
                    f"use one of {', '.join(f'`{name}`' for name in sorted(fields))}"
                )
            case _:
                cause, remedy = _wrong_value(fault, _spoken(loc), info)
        if more:
            remedy += f" ({more} more to mend in this file)"
        return ConfigurationError(cause, **self.at(*loc), remedy=remedy)


def _wrong_value(fault: ErrorDetails, where: str, info: FieldInfo | None) -> tuple[str, str]:
    said = fault["msg"].removeprefix("Value error, ")
    said = said[:1].lower() + said[1:]
    if "[key]" in fault["loc"]:
        return f"{where} is no name that can be used here", f"{said}"
    cause, _, remedy = said.partition("; ")
    given = fault["input"]
    shown = given if isinstance(given, str) else repr(given)
    shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
    if not remedy:
        examples = info.examples if info is not None else None
        remedy = f"write it as `{_plain(examples[0])}`" if examples else "correct it"
    return f"{where} is `{shown}`: {cause}", remedy


def _spoken(loc: Path) -> str:
    words = ""
    for key in loc:
        words += f"[{key}]" if isinstance(key, int) else f"{'.' if words else ''}{key}"
    return f"`{words}`" if words else "the file"


def _example(name: str, info: FieldInfo | None) -> str:
    return f" such as `{name}: {_plain(info.examples[0])}`" if info and info.examples else ""


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_plain(item) for item in value)}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _did_you_mean(name: str, fields: Mapping[str, FieldInfo]) -> str | None:
    close = difflib.get_close_matches(name, fields, n=1, cutoff=0.6)
    return f"did you mean `{close[0]}`?" if close else None


def _fields_at(model: type[BaseModel], loc: Path) -> Mapping[str, FieldInfo]:
    """The fields of the model that stands at a place inside another one."""
    kind: Any = model
    for key in loc:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            info = kind.model_fields.get(str(key))
            kind = None if info is None else info.annotation
        else:
            args = [arg for arg in get_args(kind) if arg is not type(None)]
            kind = args[-1] if args else None
        while get_origin(kind) is Annotated:
            kind = get_args(kind)[0]
        kind = _without_none(kind)
    return kind.model_fields if isinstance(kind, type) and issubclass(kind, BaseModel) else {}


def _without_none(kind: Any) -> Any:
    args = get_args(kind)
    if type(None) in args:
        return next(arg for arg in args if arg is not type(None))
    return kind


# YAML


def parse_yaml(text: str, path: str) -> Document:
    """Read one YAML document. Raises `ConfigurationError` with file, line and remedy."""
    _check_size(text, path)
    text = text.removeprefix("\ufeff")
    builder = _Builder(path)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event)
    except yaml.YAMLError as error:
        raise _syntax(error, path) from None
    data = {} if builder.result is None else builder.result
    return Document(path, data, builder.positions, text)


_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _check_size(text: str, path: str) -> None:
    if len(text) > DOCUMENT_BYTES_MAX:
        raise ConfigurationError(
            f"the file is longer than {DOCUMENT_BYTES_MAX} characters",
            place=path,
            remedy="split it into several",
        )


def _syntax(error: yaml.YAMLError, path: str) -> ConfigurationError:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    return ConfigurationError(
        f"this is no YAML: {problem}",
        place=f"{path}:{mark.line + 1}" if mark is not None else path,
        remedy="check indentation, colons and quotes around this line",
        column=None if mark is None else mark.column + 1,
    )


@dataclass(slots=True)
class _Open:
    """A mapping or list that is being read."""

    value: dict[str, Any] | list[Any]
    path: Path
    key: str | None = None
    key_line: int = 0
    key_column: int = 0


class _Builder:
    """Builds values from the parser's events, so that depth costs no recursion."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._open: list[_Open] = []
        self._documents = 0
        self.result: Any = None
        self.positions: dict[Path, Position] = {}

    def take(self, event: Any) -> None:
        """One event of the parser."""
        match event:
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    raise self._wrong(event, "a second document begins", "write one file for each")
            case yaml.AliasEvent():
                raise self._wrong(event, "an alias is used", "write the value out")
            case yaml.ScalarEvent():
                self._check_plain(event)
                self._scalar(event)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                self._check_plain(event)
                self._begin(event)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._open.pop()
            case _:
                pass

    def _check_plain(self, event: Any) -> None:
        if event.anchor is not None:
            raise self._wrong(event, "an anchor is used", "write the value out where it is needed")
        if event.tag is not None and event.tag != "!":
            raise self._wrong(event, f"the tag `{event.tag}` is used", "remove it")

    def _begin(self, event: Any) -> None:
        top = self._open[-1] if self._open else None
        if top is not None and isinstance(top.value, dict) and top.key is None:
            raise self._wrong(event, "a key is no text", "write keys as plain words")
        if len(self._open) >= DOCUMENT_DEPTH_MAX:
            raise self._wrong(
                event, f"the file is nested deeper than {DOCUMENT_DEPTH_MAX}", "flatten it"
            )
        value: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
        path = self._attach(value, event)
        self._open.append(_Open(value, path))

    def _scalar(self, event: Any) -> None:
        top = self._open[-1] if self._open else None
        if top is None or not isinstance(top.value, dict) or top.key is not None:
            self._attach(_resolved(event), event)
            return
        if event.value in top.value:
            raise self._wrong(event, f"key `{event.value}` is there twice", "remove one")
        top.key = event.value
        top.key_line, top.key_column = event.start_mark.line + 1, event.start_mark.column + 1

    def _attach(self, value: Any, event: Any) -> Path:
        line, column = event.start_mark.line + 1, event.start_mark.column + 1
        style = (getattr(event, "style", None) or "") if isinstance(value, str) else ""
        text_line = line + 1 if style in ("|", ">") else line  # a block begins on the next line
        if not self._open:
            self.result = value
            return ()
        top = self._open[-1]
        if isinstance(top.value, dict):
            assert top.key is not None
            path, line, column = (*top.path, top.key), top.key_line, top.key_column
            top.value[top.key] = value
            top.key = None
        else:
            path = (*top.path, len(top.value))
            top.value.append(value)
        span = (event.start_mark.index, event.end_mark.index) if isinstance(value, str) else None
        self.positions[path] = Position(line, column, text_line, span, style)
        return path

    def _wrong(self, event: Any, cause: str, remedy: str) -> ConfigurationError:
        mark = event.start_mark
        return ConfigurationError(
            cause, place=f"{self._path}:{mark.line + 1}", remedy=remedy, column=mark.column + 1
        )


_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_ESCAPE = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))", re.DOTALL)
_BLANKS = frozenset("0abtnvfreN_LP \t\n\r\x85\u2028\u2029")  # escapes that write no visible mark


def _index_in(written: str, style: str, text: str, offset: int) -> int | None:
    """Where one character of a text stands in what is written; None where that is not certain.

    White space is folded, indented and trimmed, so the other characters are told off one by one.
    """
    marks = _marks(written, style)
    visible = [index for index, char in enumerate(text) if not char.isspace()]
    if len(marks) < len(visible) or any(
        text[index] != char for index, (char, _) in zip(visible, marks, strict=False)
    ):
        return None
    before = sum(1 for index in visible if index < offset)
    if before < len(visible):
        return marks[before][1]
    return marks[before - 1][1] + 1 if before else None


def _marks(written: str, style: str) -> list[tuple[str, int]]:
    """The visible characters that a YAML scalar stands for, each with its index."""
    if style in ("|", ">"):
        header = _BREAK.search(written)
        begins = header.end() if header else len(written)
        return [
            (char, index)
            for index, char in enumerate(written[begins:], begins)
            if not char.isspace()
        ]
    if style == "'":
        whole = re.finditer(r"''|[^']", written[1:-1])
        found = [(one.group()[0], one.start() + 1) for one in whole]
    elif style == '"':
        found = _unescaped(written)
    else:
        found = [(char, index) for index, char in enumerate(written)]
    return [(char, index) for char, index in found if not char.isspace()]


def _unescaped(written: str) -> list[tuple[str, int]]:
    found, index = list[tuple[str, int]](), 1
    while index < len(written) - 1:
        escape = _ESCAPE.match(written, index)
        if escape is None:
            found.append((written[index], index))
            index += 1
            continue
        code = next((part for part in escape.groups()[:3] if part), None)
        char = escape.group(4) if code is None else chr(min(int(code, 16), 0x10FFFF))
        if code is not None or char not in _BLANKS:
            found.append((char, index))
        index = escape.end()
    return found


def _line_and_column(source: str, index: int) -> tuple[int, int]:
    breaks = [one.end() for one in _BREAK.finditer(source, 0, index)]
    return len(breaks) + 1, index - (breaks[-1] if breaks else 0) + 1


_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]{1,18}(\.[0-9]*)?)([eE][-+]?[0-9]{1,3})?")
_WORDS: Mapping[str, Any] = {"": None, "~": None, "null": None, "true": True, "false": False}


def _resolved(event: Any) -> Any:
    text: str = event.value
    if event.style:  # quoted, or a block
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text) and not re.fullmatch(r"[-+]?[0-9]+", text):
        return float(text)
    return text


# TOML


def parse_toml(text: str, path: str) -> Document:
    """Read one TOML document. Raises `ConfigurationError` with file, line and remedy."""
    _check_size(text, path)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"line (\d+)", str(error))
        raise ConfigurationError(
            f"this is no TOML: {error}",
            place=f"{path}:{line.group(1)}" if line else path,
            remedy="check quotes, brackets and doubled keys around this line",
        ) from None
    except RecursionError:
        raise ConfigurationError(
            "the file is nested too deeply", place=path, remedy="flatten it"
        ) from None
    return Document(path, data, _toml_positions(text))


_HEADER = re.compile(r"\s*\[+\s*([^\]]+?)\s*\]+\s*(#.*)?")
_ASSIGNMENT = re.compile(
    r"""\s*((?:"[^"]*"|'[^']*'|[A-Za-z0-9_-]+)(?:\s*\.\s*(?:"[^"]*"|'[^']*'|[A-Za-z0-9_-]+))*)\s*=\s*"""
)
_PART = re.compile(r"""\s*(?:"([^"]*)"|'([^']*)'|([A-Za-z0-9_-]+))\s*\.?""")


def _toml_positions(text: str) -> dict[Path, Position]:
    """Where each key stands: the standard library's reader does not say."""
    positions: dict[Path, Position] = {}
    table: Path = ()
    for number, line in enumerate(text.splitlines(), 1):
        header, assignment = _HEADER.fullmatch(line), _ASSIGNMENT.match(line)
        if header is not None:
            table = _dotted(header.group(1))
            positions.setdefault(
                table, Position(number, 1 + len(line) - len(line.lstrip()), number)
            )
        elif assignment is not None:
            path = (*table, *_dotted(assignment.group(1)))
            positions.setdefault(path, Position(number, assignment.start(1) + 1, number))
    return positions


def _dotted(text: str) -> Path:
    return tuple(next(p for p in match.groups() if p is not None) for match in _PART.finditer(text))
