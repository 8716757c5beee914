"""Consents that are set, imported and exported by a command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.cli import main
from tests.shop import consent, open_shop, row

MAIL = "maya@example.com"
AT = "2026-10-06T09:00:00Z"


def told(
    capsys: pytest.CaptureFixture[str], workspace: Path, *arguments: str, code: int = 0
) -> str:
    """What `safeconduct consent` prints."""
    capsys.readouterr()
    assert main(["consent", *arguments, "--workspace", str(workspace)]) == code
    return capsys.readouterr().out


def asked(
    capsys: pytest.CaptureFixture[str], workspace: Path, *arguments: str, code: int = 0
) -> Any:
    """The one object that it prints for programs."""
    return json.loads(told(capsys, workspace, *arguments, "--json", code=code))


def value(capsys: pytest.CaptureFixture[str], workspace: Path, who: str = f"email:{MAIL}") -> str:
    """What the ledger answers about marketing by e-mail."""
    lines = told(capsys, workspace, "show", who, "--json", "--at", "2026-12-01T00:00:00Z")
    answers = [json.loads(line) for line in lines.splitlines()]
    (one,) = {one["consent"] for one in answers if one["channel"] == "email"}
    return str(one)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A workspace with a customer who said nothing."""
    folder = tmp_path / "w"
    with open_shop(folder, store=None) as opened:
        opened.run(row("page_viewed", "2026-10-05T08:00:00Z", email=MAIL))
    return folder


def listed(folder: Path, text: str, name: str = "list.csv") -> str:
    """A file beside the workspace."""
    path = folder.parent / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_what_is_set_is_answered(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A yes, a no and an objection each change the answer, and each is a decision."""
    scope = ("--channel", "email", "--purpose", "marketing")
    for number, (option, then) in enumerate(
        (
            ("--pending", "pending"),
            ("--grant", "granted"),
            ("--deny", "denied"),
            ("--grant", "granted"),
            ("--object", "objection"),
        )
    ):
        at = f"2026-10-06T0{number}:00:00Z"
        said = asked(capsys, shop, "set", "user_id:c-1", option, *scope, "--at", at)
        answers = {one["consent"] for one in said["answers"] if one["channel"] == "email"}
        assert answers == {then}
        assert said["decision_id"].startswith("d-")
    assert value(capsys, shop) == "objection"


def test_a_topic_and_an_address_narrow_what_is_set(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A no to one topic is no answer to another; one at an address is kept with that address."""
    scope = ("--channel", "email", "--purpose", "marketing", "--address", MAIL)
    said = asked(capsys, shop, "set", "user_id:c-1", "--deny", *scope, "--topic", "shoes")
    (answer,) = said["answers"]
    assert (answer["address"], answer["topic"], answer["consent"]) == (MAIL, "shoes", "denied")
    assert value(capsys, shop) == "unset"
    text = told(capsys, shop, "set", "user_id:c-1", "--grant", *scope)
    assert "granted" in text
    assert "decided: d-" in text


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--grant", "--deny"], "2 things"),
        ([], "nothing is said"),
        (["--grant", "--channel", "email"], "lacks `--purpose`"),
        (["--deny", "--channel", "emial"], "did you mean `email`?"),
        (["--deny", "--purpose", "marketting"], "did you mean `marketing`?"),
        (["--deny", "--brand", "shopp"], "did you mean `shop`?"),
        (["--deny", "--channel", "email", "--address", "+4930123456"], "is no email"),
    ],
)
def test_what_cannot_be_set_is_refused(
    shop: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], word: str
) -> None:
    """A command that is unclear changes nothing and says what would be clear."""
    main(["consent", "set", "user_id:c-1", *arguments, "--workspace", str(shop)])
    assert word in capsys.readouterr().err
    with open_shop(shop, store=None) as opened:
        assert opened.rows("consents") == []


LIST = """email,value,channel,purpose,occurred_at,wording
maya@example.com,granted,email,marketing,2026-01-05T08:00:00Z,"Yes, please:
news, offers"
bo@example.com,denied,email,marketing,2026-02-05T08:00:00Z,
cy@example.com,pending,email,marketing,,
no address,granted,email,marketing,,
di@example.com,maybe,email,marketing,,
ed@example.com,granted,fax,marketing,,
"""


def test_a_list_is_imported_once(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every row is granted, denied, pending, unchanged or dead; a second time nothing is added."""
    path = listed(shop, LIST)
    first = asked(capsys, shop, "import", path, "--at", AT)
    counted = {word: first[word] for word in ("rows", "granted", "pending", "denied", "dead")}
    assert counted == {"rows": 6, "granted": 1, "pending": 1, "denied": 1, "dead": 3}
    places = [one["place"] for one in first["dead_letters"]]
    assert places == [f"{path}:6", f"{path}:7", f"{path}:8"]
    assert all(one["reason"] and one["remedy"] for one in first["dead_letters"])
    again = asked(capsys, shop, "import", path, "--at", "2026-10-07T09:00:00Z", "--strict", code=1)
    assert (again["unchanged"], again["dead"], again["granted"]) == (3, 3, 0)
    with open_shop(shop, store=None) as opened:
        kinds = sorted(line["kind"] for line in opened.rows("consents"))
        assert kinds == ["denial", "imported", "pending"]
        assert len(opened.rows("dead_letters")) == 3
    text = told(capsys, shop, "import", path, "--at", "2026-10-08T09:00:00Z")
    assert "unchanged" in text
    assert f"{path}:6: " in text


@pytest.mark.parametrize("word", ["no", "false", "Opted-Out", "unsubscribed", "DENIED "])
def test_another_systems_word_for_a_no_counts_as_one(
    shop: Path, capsys: pytest.CaptureFixture[str], word: str
) -> None:
    """It is a no in the ledger, and in the summary, in CSV as in JSON."""
    path = listed(shop, f"email,value,channel,purpose\n{MAIL},{word},email,marketing\n")
    said = {"email": "b@x.example", "value": word, "channel": "email", "purpose": "marketing"}
    lines = listed(shop, json.dumps(said) + "\n", "list.jsonl")
    for name in (path, lines):
        summary = asked(capsys, shop, "import", name, "--at", AT)
        assert (summary["rows"], summary["denied"], summary["dead"]) == (1, 1, 0)
    assert value(capsys, shop) == value(capsys, shop, "email:b@x.example") == "denied"


def test_json_says_what_csv_says(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Lines, an array and CSV with semicolons make the same statements: the later are repeats."""
    rows = [
        {"identifier": f"loyalty:{n}", "value": "granted", "channel": "email", "email": MAIL,
         "purpose": "marketing", "occurred_at": "2026-01-05T08:00:00Z"}
        for n in range(1)
    ]  # fmt: skip
    files = [
        listed(shop, "\n".join(json.dumps(one) for one in rows), "a.jsonl"),
        listed(shop, json.dumps(rows, indent=1), "b.json"),
        listed(
            shop,
            "\ufeffidentifier;value;channel;email;purpose;occurred_at\r\n"
            f"loyalty:0;granted;email;{MAIL};marketing;2026-01-05T08:00:00Z\r\n",
        ),
    ]
    made = [asked(capsys, shop, "import", file, "--at", AT) for file in files]
    assert [one["granted"] for one in made] == [1, 0, 0]
    assert [one["unchanged"] for one in made] == [0, 1, 1]


RUBBISH = st.sampled_from(
    [
        "",
        "\0",
        "é",
        "\ufeff",
        '"',
        "\n",
        "a,b;c",
        "x" * 2000,
        "NaN",
        "null",
        "2026-13-40",
        ":",
        "😀",
    ]
)
CELLS: dict[str, st.SearchStrategy[Any]] = {
    "value": st.sampled_from(["granted", "denied", "objection", "pending", "no", "suspicion"]),
    "user_id": st.sampled_from(["u1", "u2"]),
    "email": st.sampled_from([MAIL, "B@X.example"]),
    "channel": st.sampled_from(["email", "sms"]),
    "purpose": st.just("marketing"),
    "topic": st.just("carts"),
    "expires_at": st.just("2027-10-05T08:00:00Z"),
    "occurred_at": st.just("2026-10-05T08:00:00Z"),
}
BAD_ROWS: st.SearchStrategy[list[dict[str, Any]]] = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            name: st.one_of(cell, cell, cell, RUBBISH, st.sampled_from([1, None, True, [1], {}]))
            for name, cell in CELLS.items()
        },
    ),
    max_size=6,
)


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(BAD_ROWS, st.binary(max_size=3), st.integers(0, 400))
def test_every_row_of_a_list_is_accounted_for_whatever_it_holds(
    shop: Path, capsys: pytest.CaptureFixture[str], rows: list[Any], noise: bytes, where: int
) -> None:
    """Rubbish in a cell, and bytes that belong nowhere, make dead rows and end no import."""
    raw = "".join(json.dumps(one) + "\n" for one in [{}, *rows]).encode()
    path = shop.parent / "rubbish.jsonl"
    path.write_bytes(raw[: where + 1] + noise + raw[where + 1 :])
    summary = asked(capsys, shop, "import", str(path))
    counts = ("granted", "pending", "denied", "unchanged", "dead")
    assert sum(summary[word] for word in counts) == summary["rows"]


@pytest.mark.parametrize(
    ("header", "word"),
    [
        ("email,value,chanel", "did you mean `channel`?"),
        ("email,channel", "lacks `value`"),
        ("value,channel", "a column that says who"),
        ("email,value,value", "twice"),
    ],
)
def test_a_header_that_is_off_stops_the_import(
    shop: Path, capsys: pytest.CaptureFixture[str], header: str, word: str
) -> None:
    """Nothing is read of a file, or of one beside it, whose columns nobody knows."""
    good = listed(shop, LIST, "good.csv")
    path = listed(shop, f"{header}\nx@example.com,granted,email\n")
    told(capsys, shop, "import", good, path, code=2)
    main(["consent", "import", good, path, "--workspace", str(shop)])
    error = capsys.readouterr().err
    assert word in error
    assert f"{path}:1: " in error
    with open_shop(shop, store=None) as opened:
        assert opened.rows("consents") == []


def test_a_dead_row_is_retried_as_what_it_was(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A number without its country is read once the workspace names one, and as an import still."""
    path = listed(
        shop,
        "phone,value,channel,purpose\n"
        "0170 1234567,granted,sms,marketing\n"
        'x@example.com,"granted,sms,marketing\n'
        "0170 7654321,denied,sms,marketing\n",
    )
    assert asked(capsys, shop, "import", path, "--at", AT)["dead"] == 3
    settings = shop / "settings.toml"
    text = settings.read_text().replace('source = "shop"', 'source = "shop"\nregion = "DE"', 1)
    settings.write_text(text)
    assert main(["events", "retry", "--workspace", str(shop), "--at", AT]) == 0
    with open_shop(shop, store=None) as opened:
        assert sorted(line["kind"] for line in opened.rows("consents")) == ["denial", "imported"]
        dead = [line for line in opened.rows("dead_letters") if line["state"] == "dead"]
        assert len(dead) == 1


def test_no_retry_makes_an_event_of_a_row(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A row that looks like an event of its own is dead, and stays so: it would be a full yes."""
    event = consent("granted", "2026-10-05T08:00:00Z", email=MAIL)
    for text, name in ((json.dumps(event), "a.jsonl"), ("[" + json.dumps(event), "b.json")):
        assert asked(capsys, shop, "import", listed(shop, text, name), "--at", AT)["dead"] == 1
    assert main(["events", "retry", "--workspace", str(shop), "--at", AT]) == 0
    with open_shop(shop, store=None) as opened:
        assert opened.rows("consents") == []


SAID = st.sampled_from(["granted", "denied", "objection", "pending", "doubt"])
ROWS = st.tuples(
    st.sampled_from(["granted", "granted", "pending", "denied"]),
    st.sampled_from(["2026-01-01T00:00:00Z", "2026-10-05T12:00:00Z", "2026-11-30T00:00:00Z", ""]),
)


@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(SAID, min_size=1, max_size=3), st.lists(ROWS, min_size=1, max_size=3))
def test_no_import_makes_a_yes_of_a_no(
    tmp_path_factory: pytest.TempPathFactory,
    capsys: pytest.CaptureFixture[str],
    told_before: list[str],
    rows: list[tuple[str, str]],
) -> None:
    """Whatever was said, and whatever a list says of it: what was no yes before is none after."""
    folder = tmp_path_factory.mktemp("shop") / "w"
    with open_shop(folder, store=None) as opened:
        opened.run(row("page_viewed", "2026-10-05T08:00:00Z", email=MAIL))
        for hour, one in enumerate(told_before, 9):
            when = f"2026-10-05T{hour:02}:00:00Z"
            doubt = row(
                "message_received", when, channel="email", text="please no more stop",
                email=MAIL, **{"from": MAIL},
            )  # fmt: skip
            opened.run(doubt if one == "doubt" else consent(one, when, email=MAIL))
    before = value(capsys, folder)
    lines = [f"{MAIL},{said},email,marketing,{when}" for said, when in rows]
    text = "\n".join(["email,value,channel,purpose,occurred_at", *lines])
    made = asked(capsys, folder, "import", listed(folder, text), "--at", AT)
    assert made["dead"] == 0
    after = value(capsys, folder)
    if before in ("denied", "objection", "conflict"):
        assert after != "granted"
        assert made["granted"] == 0
    if before in ("unset", "granted") and {said for said, _ in rows} == {"granted"}:
        assert after == "granted"


def exported(capsys: pytest.CaptureFixture[str], workspace: Path, *arguments: str) -> Any:
    """The records that are handed out, which are the same as an array and as lines."""
    whole = json.loads(told(capsys, workspace, "export", *arguments))
    lines = told(capsys, workspace, "export", *arguments, "--json-lines").splitlines()
    assert [json.loads(line) for line in lines] == whole
    return whole


def test_a_record_holds_all_that_was_said_of_one_question(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What TS 27560 asks of a record is there, and its events are the lines in order."""
    scope = ("--channel", "email", "--purpose", "marketing")
    ends = ("--wording", "Yes, news.", "--expires-at", "2026-11-05T09:00:00Z", "--by", "ida")
    told(capsys, shop, "set", "user_id:c-1", "--grant", *scope, *ends, "--at", AT)
    told(capsys, shop, "set", "user_id:c-1", "--deny", *scope, "--at", "2026-10-07T09:00:00Z")
    (record,) = exported(capsys, shop, f"email:{MAIL}")
    (same,) = exported(capsys, shop)
    assert same == record
    assert record.keys() >= {"schema_version", "record_id", "pii_principal_id"}
    (purpose,) = record["pii_processing"]["purposes"]
    assert (purpose["purpose"], purpose["lawful_basis"]) == ("marketing", "consent")
    assert purpose["retention_period"] == "P1095D"
    assert record["pii_processing"]["privacy_notice"] == "Yes, news."
    assert [one["party_id"] for one in record["party_identification"]] == ["shop"]
    states = [one["event_state"] for one in record["events"]]
    assert states == ["consent given", "consent refused or withdrawn"]
    yes = record["events"][0]
    assert (yes["event_time"], yes["validity_duration"]) == ("2026-10-06T09:00:00.000Z", "P30D")
    assert yes["entity_id"] == "ida"
    assert record["x_scope"]["address"] == MAIL


def test_each_person_has_records_of_their_own(
    shop: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everybody's records come person by person, however few are in memory at a time."""
    rows = [f"p{n}@example.com,granted,email,marketing" for n in range(7)]
    text = "\n".join(["email,value,channel,purpose", *rows])
    asked(capsys, shop, "import", listed(shop, text), "--at", AT)
    whole = exported(capsys, shop)
    assert len({one["pii_principal_id"] for one in whole}) == len(whole) == 7
    monkeypatch.setattr("service.consent_records.PEOPLE_MAX", 2)
    assert exported(capsys, shop) == whole


def test_who_was_erased_is_in_no_record(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The proof of consent stays, without the address and without a word of theirs."""
    columns = "email,value,channel,purpose,wording,contact_point"
    text = f'{columns}\n{MAIL},granted,email,marketing,"to {MAIL}",{MAIL}\n'
    asked(capsys, shop, "import", listed(shop, text), "--at", AT)
    assert MAIL in json.dumps(exported(capsys, shop))
    done = ["profile", "erase", f"email:{MAIL}", "--yes", "--workspace", str(shop)]
    assert main([*done, "--at", "2026-10-07T09:00:00Z"]) == 0
    (record,) = exported(capsys, shop)
    assert MAIL not in json.dumps(record)
    assert record["events"][0]["event_state"] == "consent given"
