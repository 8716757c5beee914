"""What people write wrongly in YAML and TOML, and what they are told."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from domain.action import Money
from domain.errors import ConfigurationError
from policies.documents import (
    Duration,
    HolidayList,
    Instant,
    MoneyText,
    PlaceCode,
    TimeZoneName,
    WallWindows,
    WeekDays,
    parse_toml,
    parse_yaml,
)
from policies.hours import Holidays, Window
from policies.loader import load_policies
from policies.schema import PolicyFile, Strict

PROPERTY = settings(max_examples=150, deadline=None, derandomize=True, database=None)
FILE = "policies/contact.yaml"


@dataclass(frozen=True, slots=True)
class Mistake:
    """A text, and what is said of it: `file:line`, cause, remedy."""

    name: str
    text: str
    place: str
    cause: str
    remedy: str


CAP = """\
frequency_caps:
  - id: day-cap
    limit: 1
    window: 24h
"""
PURPOSE = """\
purposes:
  promo:
    title: Offers
    model: opt_in
"""

YAML_MISTAKES = [
    Mistake(
        "a key with a typo",
        CAP.replace("window", "windw"),
        f"{FILE}:4",
        "`frequency_caps[0]` has no key `windw`",
        "did you mean `window`?",
    ),
    Mistake(
        "a key with a typo and nothing else wrong",
        CAP + "    on_caped: drop\n",
        f"{FILE}:5",
        "`frequency_caps[0]` has no key `on_caped`",
        "did you mean `on_capped`?",
    ),
    Mistake(
        "a key like no other",
        PURPOSE + "    zzz: 1\n",
        f"{FILE}:5",
        "`purposes.promo` has no key `zzz`",
        "use one of `basis`, `ceiling`, `evidence`, `exemption`, `legal_basis`, `marketing`, "
        "`model`, `models`, `templates`, `title`",
    ),
    Mistake(
        "a section with a typo",
        "purpose: {}\n",
        f"{FILE}:1",
        "the file has no key `purpose`",
        "did you mean `purposes`?",
    ),
    Mistake(
        "a missing key",
        "purposes:\n  promo:\n    title: Offers\n",
        f"{FILE}:2",
        "`purposes.promo` has no `model`",
        "add one such as `model: opt_in`",
    ),
    Mistake(
        "a text where a number is asked",
        CAP.replace("limit: 1", "limit: one"),
        f"{FILE}:3",
        "`frequency_caps[0].limit` is `one`: input should be a valid integer",
        "write it as `1`",
    ),
    Mistake(
        "a quoted number",
        CAP.replace("limit: 1", 'limit: "1"'),
        f"{FILE}:3",
        "`frequency_caps[0].limit` is `1`: input should be a valid integer",
        "write it as `1`",
    ),
    Mistake(
        "no number",
        CAP.replace("limit: 1", "limit: .nan"),
        f"{FILE}:3",
        "`frequency_caps[0].limit` is `.nan`: input should be a valid integer",
        "write it as `1`",
    ),
    Mistake(
        "a number out of range",
        CAP.replace("limit: 1", "limit: 100000"),
        f"{FILE}:3",
        "`frequency_caps[0].limit` is `100000`: input should be less than or equal to 10000",
        "write it as `1`",
    ),
    Mistake(
        "Norway where true or false is asked",
        PURPOSE + "    marketing: no\n",
        f"{FILE}:5",
        "`purposes.promo.marketing` is `no`: input should be a valid boolean",
        "correct it",
    ),
    Mistake(
        "a choice that there is not",
        PURPOSE.replace("opt_in", "maybe"),
        f"{FILE}:4",
        "`purposes.promo.model` is `maybe`: input should be 'opt_in', 'opt_out' or 'exempt'",
        "write it as `opt_in`",
    ),
    Mistake(
        "a duration without a unit",
        CAP.replace("24h", "24"),
        f"{FILE}:4",
        "`frequency_caps[0].window` is `24`: it is no duration",
        "write a number and a unit: `30s`, `15m`, `24h`, `7d`",
    ),
    Mistake(
        "a window that is never open",
        'quiet_hours:\n  - id: h\n    channels: [sms]\n    window: "08:00-08:00"\n',
        f"{FILE}:4",
        "`quiet_hours[0].window` is `08:00-08:00`: it opens when it closes, so it is never open",
        "leave the rule out instead",
    ),
    Mistake(
        "a name that is none",
        PURPOSE.replace("promo:", "Promo Mail:"),
        f"{FILE}:2",
        "`purposes.Promo Mail` is no name that can be used here",
        "string should match pattern '^[a-z0-9][a-z0-9_-]{0,63}$'",
    ),
    Mistake(
        "a key that is there twice",
        CAP + "    limit: 2\n",
        f"{FILE}:5",
        "key `limit` is there twice",
        "remove one",
    ),
    Mistake(
        "an anchor",
        "purposes: &all {}\n",
        f"{FILE}:1",
        "an anchor is used",
        "write the value out where it is needed",
    ),
    Mistake("an alias", "purposes: *all\n", f"{FILE}:1", "an alias is used", "write the value out"),
    Mistake(
        "a tag",
        "purposes: !!python/object:os.system {}\n",
        f"{FILE}:1",
        "the tag `tag:yaml.org,2002:python/object:os.system` is used",
        "remove it",
    ),
    Mistake(
        "a tag on a word",
        CAP.replace("limit: 1", "limit: !!int '1'"),
        f"{FILE}:3",
        "the tag `tag:yaml.org,2002:int` is used",
        "remove it",
    ),
    Mistake(
        "a key that is no word",
        "purposes:\n  ? [a, b]\n  : {}\n",
        f"{FILE}:2",
        "a key is no text",
        "write keys as plain words",
    ),
    Mistake(
        "deep nesting",
        "purposes: " + "[" * 900,
        f"{FILE}:1",
        "the file is nested deeper than 32",
        "flatten it",
    ),
    Mistake(
        "five megabytes",
        "#" * 5_000_000,
        FILE,
        "the file is longer than 4000000 characters",
        "split it into several",
    ),
    Mistake(
        "a second document",
        "purposes: {}\n---\nchannels: {}\n",
        f"{FILE}:2",
        "a second document begins",
        "write one file for each",
    ),
    Mistake(
        "a tab",
        "purposes:\n\tpromo: {}\n",
        f"{FILE}:2",
        "this is no YAML: found character that cannot start any token",
        "check indentation, colons and quotes around this line",
    ),
    Mistake(
        "a list where sections are asked",
        "- purposes\n",
        FILE,
        "the file is `['purposes']`: input should be a valid dictionary or instance of PolicyFile",
        "correct it",
    ),
    Mistake(
        "nothing where something is asked",
        "purposes:\n",
        f"{FILE}:1",
        "`purposes` is `None`: input should be a valid dictionary",
        "correct it",
    ),
]


@pytest.mark.parametrize("mistake", YAML_MISTAKES, ids=lambda mistake: mistake.name)
def test_yaml_mistakes(mistake: Mistake) -> None:
    """Every mistake is refused with its place, its cause and what to do about it."""
    with pytest.raises(ConfigurationError) as caught:
        parse_yaml(mistake.text, FILE).validate(PolicyFile)
    error = caught.value
    assert (error.place, error.cause, error.remedy) == (
        mistake.place,
        mistake.cause,
        mistake.remedy,
    )


LOAD_MISTAKES = [
    Mistake(
        "marketing that needs no consent",
        "purposes:\n  promo:\n    title: Offers\n    model: exempt\n    marketing: true\n",
        f"{FILE}:2",
        "purpose `promo` is marketing and cannot be `exempt` from consent",
        "use `model: opt_in`",
    ),
    Mistake(
        "marketing by silence",
        "purposes:\n  promo:\n    title: Offers\n    model: opt_out\n    marketing: true\n",
        f"{FILE}:2",
        "purpose `promo` takes silence for a yes to marketing",
        "use `model: opt_in`",
    ),
    Mistake(
        "an exemption without a basis",
        "purposes:\n  order:\n    title: Orders\n    model: exempt\n",
        f"{FILE}:2",
        "purpose `order` is exempt from consent without a `legal_basis`",
        "name it, such as `legal_basis: contract`",
    ),
    Mistake(
        "a rule for a purpose that there is not",
        PURPOSE + CAP + "    purposes: [promos]\n",
        f"{FILE}:9",
        "rule `day-cap` names `promos`, which is not among purposes",
        "use one of promo",
    ),
    Mistake(
        "two rules of one name",
        CAP + "  - id: day-cap\n    limit: 2\n    window: 7d\n",
        f"{FILE}:5",
        "rule `day-cap` is declared twice",
        f"the other is at {FILE}:2",
    ),
    Mistake(
        "a rule named like a built-in one",
        CAP.replace("day-cap", "consent"),
        f"{FILE}:2",
        "rule `consent` is declared twice",
        "the other is at built in, under this very name",
    ),
    Mistake(
        "a field of no known root",
        "fields:\n  weather.rain: {type: bool}\n",
        f"{FILE}:2",
        "field `weather.rain` belongs to no known root",
        "begin it with `profile.` or `event.`; `signal.` fields are built in",
    ),
    Mistake(
        "a built-in field declared anew",
        "fields:\n  signal.open_cases: {type: bool}\n",
        f"{FILE}:2",
        "field `signal.open_cases` is declared twice",
        "remove one; the other is at built in",
    ),
    Mistake(
        "a field inside another one",
        "fields:\n  event.cart: {type: string}\n  event.cart.value: {type: double}\n",
        f"{FILE}:3",
        "field `event.cart.value` and field `event.cart` are one inside the other",
        "rename one of them",
    ),
    Mistake(
        "a condition over two lines",
        "rules:\n  - id: r\n    stage: suitability\n    reason: because\n    when: |\n"
        "      signal.open_cases == 0 &&\n      signal.events_befor == 0\n",
        f"{FILE}:7",
        "field `signal.events_befor` is not declared",
        "did you mean `signal.events_before`?",
    ),
]


@pytest.mark.parametrize("mistake", LOAD_MISTAKES, ids=lambda mistake: mistake.name)
def test_mistakes_of_meaning(mistake: Mistake) -> None:
    """What is well written and cannot be meant is refused with the same care."""
    with pytest.raises(ConfigurationError) as caught:
        load_policies({FILE: mistake.text})
    error = caught.value
    assert (error.place, error.cause, error.remedy) == (
        mistake.place,
        mistake.cause,
        mistake.remedy,
    )


class Server(Strict):
    host: str = Field(examples=["mail.example.com"])
    port: int = 587


class Settings(Strict):
    brand: str = Field(examples=["shop"])
    servers: dict[str, Server] = {}


TOML_MISTAKES = [
    Mistake(
        "a key with a typo",
        'brand = "shop"\nbrnd = "shop"\n',
        "settings.toml:2",
        "the file has no key `brnd`",
        "did you mean `brand`?",
    ),
    Mistake(
        "a key with a typo inside a table",
        'brand = "shop"\n\n[servers.mail]\nhost = "x"\nprt = 25\n',
        "settings.toml:5",
        "`servers.mail` has no key `prt`",
        "did you mean `port`?",
    ),
    Mistake(
        "a dotted and quoted key",
        'brand = "shop"\nservers."mail".host = 1\n',
        "settings.toml:2",
        "`servers.mail.host` is `1`: input should be a valid string",
        "write it as `mail.example.com`",
    ),
    Mistake(
        "a missing key",
        'brand = "shop"\n[servers.mail]\nport = 25\n',
        "settings.toml:2",
        "`servers.mail` has no `host`",
        "add one such as `host: mail.example.com`",
    ),
    Mistake(
        "no number",
        'brand = "shop"\n[servers.mail]\nhost = "x"\nport = nan\n',
        "settings.toml:4",
        "`servers.mail.port` is `nan`: input should be a valid integer",
        "correct it",
    ),
    Mistake(
        "a key that is there twice",
        'brand = "shop"\nbrand = "bank"\n',
        "settings.toml:2",
        "this is no TOML: Cannot overwrite a value (at line 2, column 15)",
        "check quotes, brackets and doubled keys around this line",
    ),
    Mistake(
        "deep nesting",
        "a = " + "[" * 100_000,
        "settings.toml",
        "the file is nested too deeply",
        "flatten it",
    ),
    Mistake(
        "five megabytes",
        "#" * 5_000_000,
        "settings.toml",
        "the file is longer than 4000000 characters",
        "split it into several",
    ),
]


@pytest.mark.parametrize("mistake", TOML_MISTAKES, ids=lambda mistake: mistake.name)
def test_toml_mistakes(mistake: Mistake) -> None:
    """TOML is refused with the line, too, which its reader does not tell."""
    with pytest.raises(ConfigurationError) as caught:
        parse_toml(mistake.text, "settings.toml").validate(Settings)
    error = caught.value
    assert (error.place, error.cause, error.remedy) == (
        mistake.place,
        mistake.cause,
        mistake.remedy,
    )


READ = [
    ("no", "no"),
    ("yes", "yes"),
    ("off", "off"),
    ("NO", "NO"),
    ("True", "True"),
    ("true", True),
    ("false", False),
    ("08:00-21:00", "08:00-21:00"),
    ("12:30", "12:30"),
    ("1_000", "1_000"),
    ("0x1F", "0x1F"),
    ("010", "010"),
    (".nan", ".nan"),
    (".inf", ".inf"),
    ("2026-01-01", "2026-01-01"),
    ("<<", "<<"),
    ("12", 12),
    ("-12", -12),
    ("1.5", 1.5),
    ("1e3", 1000.0),
    ('"12"', "12"),
    ("'true'", "true"),
    ("~", None),
    ("null", None),
    ("123456789012345678901", "123456789012345678901"),
]


@pytest.mark.parametrize(("text", "value"), READ)
def test_nothing_is_guessed(text: str, value: object) -> None:
    """Only what is plainly a number, true, false or null is taken to be one."""
    found = parse_yaml(f"key: {text}\n", FILE).data["key"]
    assert (found, type(found)) == (value, type(value))


def test_an_empty_file_says_nothing() -> None:
    """A file without a value is an empty mapping."""
    assert parse_yaml("# nothing yet\n", FILE).data == {}


class Values(Strict):
    span: Duration | None = None
    window: WallWindows | None = None
    days: WeekDays | None = None
    holidays: HolidayList | None = None
    country: PlaceCode | None = None
    moment: Instant | None = None
    worth: MoneyText | None = None
    zone: TimeZoneName | None = None


VALUES = [
    ("span: 30s", timedelta(seconds=30)),
    ("span: 15m", timedelta(minutes=15)),
    ("span: 2w", timedelta(days=14)),
    ("window: 08:00-21:00", (Window(time(8), time(21)),)),
    ("window: 22:00-06:00", (Window(time(22), time(6)),)),
    ("window: 08:00-24:00", (Window(time(8), time.max),)),
    (
        "window: 14:00-20:00, 10:00-13:00",
        (Window(time(10), time(13)), Window(time(14), time(20))),
    ),
    ("days: mon-sat", frozenset(range(6))),
    ("days: mon,wed, fri", frozenset((0, 2, 4))),
    ("days: sat-mon", frozenset((5, 6, 0))),
    ("days: sun", frozenset((6,))),
    (
        "holidays: [12-25, 2026-04-03, 02-29]",
        Holidays(frozenset((date(2026, 4, 3),)), frozenset(((12, 25), (2, 29)))),
    ),
    ("holidays: []", Holidays()),
    ("country: US-FL", "US-FL"),
    ("moment: 2026-12-31T23:00:00Z", datetime(2026, 12, 31, 23, tzinfo=UTC)),
    ("moment: 2027-01-01T00:00:00+01:00", datetime(2026, 12, 31, 23, tzinfo=UTC)),
    ("worth: 5.00 EUR", Money(500, "EUR")),
    ("worth: 5 EUR", Money(500, "EUR")),
    ("zone: Europe/Berlin", "Europe/Berlin"),
]


@pytest.mark.parametrize(("text", "value"), VALUES)
def test_values_with_a_form_of_their_own(text: str, value: object) -> None:
    """Spans, windows, instants, amounts and zones are read to the letter."""
    read = parse_yaml(text, FILE).validate(Values)
    assert getattr(read, text.split(":")[0]) == value


NO_VALUES = [
    "span: 0h",
    "span: 1.5h",
    "span: -1h",
    "span: 401d",
    "window: 8:00-21:00",
    "window: 08:00-25:00",
    "window: 24:00-08:00",
    "window: 08:00-12:00,",
    "window: 08:00-12:00,11:00-13:00",
    "window: 20:00-02:00,01:00-03:00",
    "window: 01:00-02:00,03:00-04:00,05:00-06:00,07:00-08:00,09:00-10:00,11:00-12:00,13:00-14:00,"
    "15:00-16:00,17:00-18:00",
    "days: ''",
    "days: monday",
    "days: mon-",
    "days: mon-fri-sun",
    "days: [mon]",
    "holidays: 12-25",
    "holidays: [25-12]",
    "holidays: [02-30]",
    "holidays: [2026-02-29]",
    "holidays: [easter]",
    "holidays: [7]",
    "holidays: [20261225]",
    "country: UK",
    "country: Germany",
    "country: de",
    "country: US-ZZ",
    "country: 7",
    "moment: 2026-12-31",
    "moment: 2026-12-31T23:00:00",
    "worth: 5.0 EUR",
    "worth: -5.00 EUR",
    "worth: 5.00",
    "zone: Europe/Atlantis",
    "zone: ../../etc/passwd",
    "zone: ''",
]


@pytest.mark.parametrize("text", NO_VALUES)
def test_values_without_a_form(text: str) -> None:
    """What is not of the form is refused with the line and an example of the form."""
    with pytest.raises(ConfigurationError) as caught:
        parse_yaml(text, FILE).validate(Values)
    assert caught.value.place == f"{FILE}:1"
    assert caught.value.remedy


trees = st.recursive(
    st.one_of(st.booleans(), st.integers(-(10**6), 10**6), st.text("abc xyz:#-", max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text("abcdef", min_size=1), inner)
    ),
    max_leaves=12,
)


@PROPERTY
@given(st.dictionaries(st.text("abcdef", min_size=1), trees, min_size=1))
def test_every_value_has_a_place(data: dict[str, object]) -> None:
    """What JSON writes is read back as it was, and every key knows its line."""
    text = json.dumps(data, indent=1)
    document = parse_yaml(text, FILE)
    assert document.data == data
    lines = text.splitlines()
    for key in data:
        number = int(document.place(key).rpartition(":")[2])
        assert lines[number - 1].startswith(f' "{key}":')


@PROPERTY
@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No text makes the reader fail in any other way than by saying what is wrong."""
    for read in (parse_yaml, parse_toml):
        try:
            read(text, FILE).validate(PolicyFile)
        except ConfigurationError as error:
            assert str(error).startswith(FILE)  # noqa: PT017 - not every text is refused


# The column of a mistake inside a condition

RULE = "rules:\n  - id: r\n    stage: suitability\n    reason: because\n    when: "
GOOD = "signal.open_cases == 0 && !signal.opted_out"


def _condition(before: int, after: int, gap: str) -> str:
    """A condition that names a field which there is not, somewhere."""
    parts = [GOOD] * before + ["signal.weather == 'it\u2019s'"] + [GOOD] * after
    return f" &&{gap}".join(parts)


def _written(text: str, style: str) -> str:
    """The condition as YAML of that style."""
    match style:
        case "plain":
            return RULE + text.replace("\n", "\n      ")
        case "'":
            return RULE + "'" + text.replace("'", "''").replace("\n", "\n      ") + "'"
        case '"':
            return RULE + json.dumps(text, ensure_ascii=False)
        case _:
            return RULE + style + "  # why\n        " + text.replace("\n", "\n        ")


@PROPERTY
@given(
    st.builds(
        _condition,
        st.integers(0, 3),
        st.integers(0, 3),
        st.sampled_from([" ", "  ", "\n", "\n  "]),
    ),
    st.sampled_from(["plain", "'", '"', "|", ">", "|-", ">+"]),
    st.sampled_from(["", "# é ✓ 😀\n", "\ufeff"]),
)
def test_a_mistake_in_a_condition_is_placed_to_the_column(
    text: str, style: str, before: str
) -> None:
    """Whatever the style it is written in, line and column are those of the file."""
    file = before + _written(text, style) + "\n"
    with pytest.raises(ConfigurationError, match="is not declared") as caught:
        load_policies({FILE: file})
    lines = file.removeprefix("\ufeff").splitlines()
    line = lines[int(str(caught.value.place).rpartition(":")[2]) - 1]
    assert caught.value.column is not None
    assert line[caught.value.column - 1 :].startswith("signal.weather")
    assert str(caught.value).startswith(f"{caught.value.place}:{caught.value.column}: ")


@pytest.mark.parametrize(
    ("written", "place", "column"),
    [
        (r'"signal.shared_\u0061ddress && \x73ignal.weather > 0"', f"{FILE}:5", 42),
        (r'"!signal.opted_out &&\n\tsignal.weather > 0"', f"{FILE}:5", 36),
        ('"!signal.opted_out \\\n      && signal.weather > 0"', f"{FILE}:6", 10),
        ("signal.opted_out &&\n\n\n      signal.weather > 0", f"{FILE}:8", 7),
        ("signal.open_cases == 0 &&", f"{FILE}:5", 36),
        ("'signal.open_cases @ 0'", f"{FILE}:5", 30),
    ],
)
def test_the_column_behind_escapes_and_folds(written: str, place: str, column: int) -> None:
    """Escapes and folded lines move the column by as much as they are written with."""
    with pytest.raises(ConfigurationError) as caught:
        load_policies({FILE: RULE + written + "\n"})
    assert (caught.value.place, caught.value.column) == (place, column)


def test_a_misspelt_key_is_placed_to_the_column() -> None:
    """A key that nobody knows is told with the column at which it begins."""
    with pytest.raises(ConfigurationError) as caught:
        load_policies({FILE: CAP.replace("window", "windw")})
    assert str(caught.value).startswith(f"{FILE}:4:5: ")


def test_a_mistake_of_meaning_is_placed_to_the_column() -> None:
    """What is well written and cannot be meant is told with its column too."""
    with pytest.raises(ConfigurationError) as caught:
        load_policies({FILE: PURPOSE + CAP + "    purposes: [promos]\n"})
    assert str(caught.value).startswith(f"{FILE}:9:5: rule `day-cap` names `promos`")
