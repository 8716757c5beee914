from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from domain.verdict import CLEARED_BY
from service import cli
from tests.shop import cart, consent, row

ROOT = Path(__file__).resolve().parents[2]
KEYS = {
    "decision_id", "event_id", "profile_id", "at", "event", "action", "tool", "channel", "verdict",
    "held_for", "code", "reason", "rule", "mind", "next_eligible_at",
}  # fmt: skip
STORY = [
    consent("granted", "2026-10-05T08:00:00Z", email="maya@shop.example"),
    cart("2026-10-05T09:00:00Z"),
    cart("2026-10-05T09:10:00Z", cart_id="k-2"),
    row("self_service_failed", "2026-10-05T09:20:00Z", topic="returns"),
    row("contact_opened", "2026-10-05T10:00:00Z", topic="returns") | {"user_id": "c-1"},
    consent("granted", "2026-10-05T12:00:00Z", "c-2", channel="sms", phone="+4915123456789"),
    cart("2026-10-05T20:30:00Z", "c-2"),
]


class Safeconduct:
    """The command, called in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str], workspace: Path) -> None:
        self._capsys = capsys
        self.workspace = workspace

    def __call__(self, *arguments: str | Path, here: bool = True) -> tuple[int, str, str]:
        """Exit code, standard output, standard error."""
        given = [str(argument) for argument in arguments]
        code = cli.main([*given, *(["--workspace", str(self.workspace)] if here else [])])
        out, err = self._capsys.readouterr()
        return code, out, err

    def json(self, *arguments: str | Path) -> list[dict[str, Any]]:
        """What it prints for programs."""
        code, out, err = self(*arguments, "--json")
        assert code == 0, err
        return [json.loads(line) for line in out.splitlines()]


@pytest.fixture
def safeconduct(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Safeconduct:
    """A fresh workspace, and the command that works on it."""
    command = Safeconduct(capsys, tmp_path / "w")
    code, out, _ = command("init", tmp_path / "w", here=False)
    assert code == 0
    assert "next: `safeconduct run EVENTS" in out
    return command


@pytest.fixture
def events(tmp_path: Path) -> Path:
    """A file with a short story."""
    path = tmp_path / "events.jsonl"
    path.write_text("".join(json.dumps(said) + "\n" for said in STORY))
    return path


def test_run_prints_one_object_an_event(safeconduct: Safeconduct, events: Path) -> None:
    """Every line has the promised keys, and codes from the closed list."""
    found = safeconduct.json("run", events)
    assert len(found) == len(STORY)
    for line in found:
        assert line.keys() >= KEYS
        assert line["verdict"] in ("permitted", "held", "denied", "none", "duplicate", "dead")
        assert line["code"] is None or line["code"] in CLEARED_BY
    assert [line["verdict"] for line in found] == [
        "none", "permitted", "permitted", "permitted", "permitted", "none", "held",
    ]  # fmt: skip
    assert found[1]["tool"] == "message"
    assert found[1]["channel"] == "email"
    assert found[6]["next_eligible_at"] == "2026-10-06T06:00:00.000Z"


def test_run_on_a_terminal_aligns_and_sums_up(safeconduct: Safeconduct, events: Path) -> None:
    """One line an event, the reason on it, the id last; then every row accounted for."""
    code, out, err = safeconduct("run", events)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    for line in lines[: len(STORY)]:
        assert re.search(r"  d-[0-9a-z]{26}$", line)
    assert len({line.index("c-") for line in lines[: len(STORY)]}) == 1
    table = dict(re.findall(r"^(\w[\w ]*\w) +(\d+)$", out, re.MULTILINE))
    rows = int(table.pop("rows in"))
    assert rows == len(STORY) == sum(int(count) for count in table.values())


def test_every_format_runs_through(safeconduct: Safeconduct, tmp_path: Path) -> None:
    """Segment, CloudEvents, XDM and canonical files meet in one person's history, by time."""
    files = {
        "segment.json": {
            "type": "track", "event": "cart_abandoned", "messageId": "m-1", "userId": "c-1",
            "timestamp": "2026-10-05T09:01:00Z", "properties": {"cart_id": "k-1", "value": 50},
        },
        "cloudevents.jsonl": {
            "specversion": "1.0", "id": "1", "source": "till", "type": "order_completed",
            "time": "2026-10-05T09:03:00Z",
            "data": {"userId": "c-1", "properties": {"order_id": "o-1"}},
        },
        "xdm.json": [
            {
                "_id": "x-1", "timestamp": "2026-10-05T09:02:00Z",
                "eventType": "commerce.purchases",
                "identityMap": {"Email": [{"id": "A@Shop.example", "primary": True}]},
            }
        ],
        "canonical.jsonl": consent("granted", "2026-10-05T09:00:00Z", email="a@shop.example"),
    }  # fmt: skip
    for name, said in files.items():
        (tmp_path / name).write_text(json.dumps(said, indent=2 if name == "xdm.json" else None))
    lines = safeconduct.json("run", *(tmp_path / name for name in files))
    assert [line["event"] for line in lines] == [
        "consent_changed",
        "cart_abandoned",
        "order_completed",
        "order_completed",
    ]
    assert lines[1]["action"] == "remind_by_email"
    assert len({line["profile_id"] for line in lines}) == 1
    assert lines[2]["reason"] == "reached the goal of `abandoned_cart`"


def test_a_second_run_changes_nothing(safeconduct: Safeconduct, events: Path) -> None:
    """The same file again: no row anywhere in the store, no file in the outbox, same words."""
    first = safeconduct.json("run", events)
    store = safeconduct.workspace / "safeconduct.db"
    before = _dump(store), _sent(safeconduct)
    again = safeconduct.json("run", events)
    assert (_dump(store), _sent(safeconduct)) == before
    assert {line["verdict"] for line in again} == {"duplicate"}
    for key in ("decision_id", "event_id", "code", "reason", "rule"):
        assert [line[key] for line in again] == [line[key] for line in first]


def test_bad_rows_are_dead_letters_and_strict_says_so(
    safeconduct: Safeconduct, tmp_path: Path
) -> None:
    """Dead letters are printed with place and cause, listed, kept, and fail a strict run only."""
    path = tmp_path / "bad.jsonl"
    path.write_text(f'{json.dumps(STORY[0])}\n{{"event": \n{{"id": "e-7", "event": "x"}}\n')
    code, out, _ = safeconduct("run", path, "--json")
    dead = [json.loads(line) for line in out.splitlines()][1:]
    assert code == 0
    assert [(d["decision_id"], d["verdict"], d["code"]) for d in dead] == [
        (None, "dead", "invalid_json"),
        (None, "dead", "no_identifier"),
    ]
    assert [d["place"] for d in dead] == [f"{path}:2", f"{path}:3"]
    assert dead[1]["event_id"] == "e-7"
    code, out, _ = safeconduct("run", path, "--strict")
    assert code == 1
    assert "dead                2" in out
    listed = safeconduct.json("events", "dead")
    assert [letter["place"] for letter in listed] == [f"{path}:2", f"{path}:3"]


def test_a_dead_letter_is_retried_once_the_cause_is_mended(
    safeconduct: Safeconduct, tmp_path: Path
) -> None:
    """After the workspace learns the brand, its events are read again and decided."""
    path = tmp_path / "bank.jsonl"
    path.write_text(json.dumps(STORY[1] | {"brand": "bank"}) + "\n")
    (dead,) = safeconduct.json("run", path)
    assert dead["verdict"] == "dead"
    assert "one that no controller owns" in dead["reason"]
    settings = safeconduct.workspace / "settings.toml"
    text = settings.read_text().replace(
        "[input]",
        '[brands.bank]\ntitle = "Bank"\ncontroller = "bank"\n[brands.bank.senders]\n'
        'email = "b@bank.example"\nsms = "BANK"\nweb = "Bank"\n\n[input]',
        1,
    )
    settings.write_text(text)
    code, out, err = safeconduct("events", "retry", "--json", "--at", "2026-10-05T09:00:00Z")
    assert code == 0, err
    assert json.loads(out)["verdict"] == "none"
    assert safeconduct("events", "dead")[1] == "there are no dead letters\n"


def test_times_to_come_are_reported(safeconduct: Safeconduct, tmp_path: Path) -> None:
    """A run that lives on the events' own times says how many of them no clock has reached."""
    path = tmp_path / "ahead.jsonl"
    ahead = {"event": "page_viewed", "user_id": "u-1", "at": "2999-01-01T00:00:00Z"}
    past = ahead | {"at": "2020-01-01T00:00:00Z"}
    path.write_text(f"{json.dumps(past)}\n{json.dumps(ahead)}\n")
    _, out, err = safeconduct("run", path, "--json")
    assert len(out.splitlines()) == 2
    assert "times that this machine's clock has not reached: 1" in err


def test_equal_dead_rows_and_items_of_batches_are_each_kept_and_read_again(
    safeconduct: Safeconduct, tmp_path: Path
) -> None:
    """Of rows that nobody could read none is lost, however alike or deep inside a large batch."""
    order = {"event": "order_completed", "user_id": "null", "at": "2026-10-05T08:00:00Z"}
    lines = tmp_path / "lines.jsonl"
    lines.write_text(f"{json.dumps(order)}\n" * 3)
    pad = {"pad": "x" * 3000}
    calls = [
        {"type": "track", "event": "page_viewed", "userId": f"u-{n}", "properties": pad}
        for n in range(60)
    ]
    calls[40]["userId"] = "null"
    batch = tmp_path / "batch.json"
    batch.write_text(json.dumps({"batch": calls, "context": {"device": {"id": "null"}}}))
    for _ in range(2):  # a second reading finds the same letters
        safeconduct.json("run", lines, batch)
        kept = [letter["place"] for letter in safeconduct.json("events", "dead")]
        assert sorted(kept) == sorted([*(f"{lines}:{n}" for n in (1, 2, 3)), f"{batch}:1#40"])
    settings = safeconduct.workspace / "settings.toml"
    settings.write_text(settings.read_text().replace('"null", ', ""))
    again = safeconduct.json("events", "retry", "--at", "2026-10-05T09:00:00Z")
    assert [line["verdict"] for line in again] == ["none"] * 4
    assert safeconduct("events", "dead")[1] == "there are no dead letters\n"
    assert {line["verdict"] for line in safeconduct.json("run", lines)} == {"duplicate"}


def test_explain_tells_all_from_the_record(safeconduct: Safeconduct, events: Path) -> None:
    """Candidates, scores, every rule with what it read, versions, permit and outcome are there."""
    lines = safeconduct.json("run", events)
    (said,) = safeconduct.json("explain", lines[2]["decision_id"])
    assert said["recomputed"] == "same"
    assert said["permit"]["permit_id"]
    assert said["versions"]["policies"]
    assert [c["action"] for c in said["candidates"]] == [
        "remind_by_email",
        "remind_by_sms",
        "cart_banner",
    ]
    rules = {rule["rule"]: rule for rule in said["candidates"][0]["rules"]}
    assert rules["marketing-per-day"]["read"]["count"] == 1
    assert rules["marketing-per-day"]["code"] == "frequency_cap"
    assert rules["marketing-per-day"]["place"].startswith("policies/contact.yaml:")
    assert rules["consent"]["outcome"] == "pass"
    assert said["outcome"][0]["state"] == "sent"
    code, out, _ = safeconduct("explain", lines[6]["decision_id"])
    assert code == 0
    assert "It is held for a better time: quiet hours until 08:00" in out.replace("\n", " ")
    assert "Deciding again from the record gives the same decision." in out.replace("\n", " ")


def test_a_policy_that_changed_does_not_change_what_was(
    safeconduct: Safeconduct, events: Path
) -> None:
    """An explanation goes by the policies of its decision, whatever the files say today."""
    lines = safeconduct.json("run", events)
    policy = safeconduct.workspace / "policies" / "contact.yaml"
    policy.write_text(policy.read_text().replace("limit: 1", "limit: 9"))
    (said,) = safeconduct.json("explain", lines[2]["decision_id"])
    rules = {rule["rule"]: rule for rule in said["candidates"][0]["rules"]}
    assert rules["marketing-per-day"]["read"]["limit"] == 1
    assert said["recomputed"] == "same"


def test_decisions_are_listed_and_found_by_person(safeconduct: Safeconduct, events: Path) -> None:
    """The list is what run printed; a person's list is that person's alone."""
    lines = safeconduct.json("run", events)
    listed = safeconduct.json("decisions")
    assert [d["decision_id"] for d in listed] == sorted(line["decision_id"] for line in lines)
    of_second = safeconduct.json("decisions", "--profile", lines[6]["profile_id"])
    assert [d["decision_id"] for d in of_second] == [
        lines[5]["decision_id"],
        lines[6]["decision_id"],
    ]


def test_approvals_from_list_to_effect(safeconduct: Safeconduct, tmp_path: Path) -> None:
    """A held voucher is listed, refused to the wrong person, approved by the right one, sent."""
    path = tmp_path / "events.jsonl"
    story = [STORY[0], STORY[3], STORY[4]]
    path.write_text("".join(json.dumps(said) + "\n" for said in story))
    held = safeconduct.json("run", path)[2]
    assert (held["verdict"], held["held_for"]) == ("held", "approval")
    (asked,) = safeconduct.json("approvals", "list")
    assert (asked["decision_id"], asked["role"]) == (held["decision_id"], "marketing")
    code, _, err = safeconduct("approvals", "approve", asked["approval_id"], "--by", "omar")
    assert code == 2
    assert "does not have the role `marketing`" in err
    code, out, err = safeconduct(
        "approvals", "approve", asked["approval_id"], "--by", "ana", "--reason", "good customer"
    )
    assert code == 0, err
    assert "permitted" in out
    assert safeconduct.json("approvals", "list") == []
    (decided,) = safeconduct.json("approvals", "list", "--all")
    assert (decided["state"], decided["decided_by"]) == ("approved", "ana")
    (said,) = safeconduct.json("explain", held["decision_id"])
    assert said["approval_votes"][0]["reason"] == "good customer"
    assert said["later"][0]["verdict"] == "permitted"
    code, _, err = safeconduct("approvals", "reject", asked["approval_id"], "--by", "ana")
    assert code == 2
    assert "was approved by ana" in err


def test_kill_switches_stop_and_let_go(safeconduct: Safeconduct, events: Path) -> None:
    """A stopped channel sends nothing; a scope that does not exist is refused with a hint."""
    code, _, err = safeconduct("kill", "on", "chanel:email")
    assert (code, "did you mean `channel:email`?" in err) == (2, True)
    by_ida = ("channel:email", "--by", "ida")
    code, _, err = safeconduct("kill", "on", "channel:email", "--by", "ana")
    assert (code, "`ana` may not turn switches" in err, "ida" in err) == (2, True, True)
    assert safeconduct("kill", "on", *by_ida, "--reason", "wrong price")[0] == 0
    assert safeconduct("kill", "on", *by_ida)[0] == 2
    (switch,) = safeconduct.json("kill", "list")
    assert (switch["scope"], switch["reason"]) == ("channel:email", "wrong price")
    lines = safeconduct.json("run", events)
    assert lines[1]["code"] == "kill_switch"
    assert not list((safeconduct.workspace / "outbox").glob("email/*/*"))
    code, out, _ = safeconduct("kill", "off", *by_ida)
    assert (code, "a second person has to" in out) == (0, True)
    assert "ida asks that it go on" in safeconduct("kill", "list")[1]
    code, _, err = safeconduct("kill", "off", *by_ida)
    assert (code, "another person has to confirm it: omar" in err) == (2, True)
    confirm = ("channel:email", "--by", "omar", "--at", "2026-10-05T20:40:00Z")
    code, out, _ = safeconduct("kill", "off", *confirm)
    assert code == 0
    assert "goes on" in out
    assert safeconduct("kill", "list")[1] == "nothing is stopped\n"


def test_the_ledger_verifies_until_a_row_is_touched(safeconduct: Safeconduct, events: Path) -> None:
    """An untouched record verifies; an edited one ends with 1 and names the row."""
    lines = safeconduct.json("run", events)
    assert safeconduct("ledger", "verify")[0] == 0
    with sqlite3.connect(safeconduct.workspace / "safeconduct.db") as raw:
        raw.execute(
            "UPDATE decisions SET verdict = 'denied' WHERE decision_id = ?",
            [lines[1]["decision_id"]],
        )
    code, _, err = safeconduct("ledger", "verify")
    assert code == 1
    assert f"table decisions, row {lines[1]['decision_id']}" in err


def test_every_decision_can_be_decided_again(safeconduct: Safeconduct, events: Path) -> None:
    """All come out the same byte for byte; with another policy in the record one does not."""
    safeconduct("run", events)
    (said,) = safeconduct.json("ledger", "recompute")
    assert said == {"recomputed": len(STORY), "erased": 0, "different": []}
    with sqlite3.connect(safeconduct.workspace / "safeconduct.db") as raw:
        (content,) = raw.execute("SELECT content FROM workspaces").fetchone()
        raw.execute(
            "UPDATE workspaces SET content = ?", [content.replace(b"limit: 1", b"limit: 9")]
        )
    code, _, err = safeconduct("ledger", "recompute")
    assert code == 1
    assert "come out otherwise" in err


@pytest.mark.parametrize(
    ("arguments", "cause"),
    [
        (["run", "nothere.jsonl"], "cannot be read"),
        (["run", "."], "this is a folder"),
        (["run", "-", "--reorder", "soon"], "`soon` is no duration"),
        (["run", "-", "--at", "yesterday"], "`yesterday` is no instant"),
        (["explain", "d-nothing"], "there is no decision `d-nothing`"),
        (["approvals", "approve", "a-nothing"], "there is no approval `a-nothing`"),
        (["frobnicate"], "No such command"),
        (["run"], "Missing argument"),
        (["run", "-", "--store", "mysql://x"], "no store that is known here"),
        (["init", "."], ""),
    ],
)
def test_wrong_usage_ends_with_2_and_says_why(
    safeconduct: Safeconduct, events: Path, arguments: list[str], cause: str
) -> None:
    """A command that cannot be carried out says what is wrong and changes nothing."""
    safeconduct("run", events)
    Path("something").touch()
    before = _dump(safeconduct.workspace / "safeconduct.db")
    workspace = arguments[0] not in ("init", "frobnicate")
    code, _, err = safeconduct(*arguments, here=workspace)
    assert code == 2
    assert cause in err
    assert "Traceback" not in err
    assert _dump(safeconduct.workspace / "safeconduct.db") == before


@pytest.mark.parametrize(
    ("name", "old", "new", "place", "cause", "remedy"),
    [
        ("policies/contact.yaml", "window: 24h", "wndow: 24h", ":5", "`wndow`", "`window`"),
        ("policies/contact.yaml", "limit: 1", "limit: one", ":4", "`one`", ""),
        ("policies/contact.yaml", "window: 24h", "window: 1 day", ":5", "`1 day`", "24h"),
        ("policies/contact.yaml", "channels: [sms]", "channels: [smss]", ":19", "`smss`", "sms"),
        ("policies/engagement.yaml", "open_cases == 0", "open_case == 0", ":7", "open_case", "did"),
        ("actions.yaml", "purpose: order_update", "purpose: order_updat", ":47", "order_updat", ""),
        ("actions.yaml", "profile.first_name | there", "profile.first_name", ":", "default", "|"),
        ("offers.yaml", "stock: 50", "stock: -1", ":9", "`-1`", ""),
        ("journeys/welcome.yaml", "holdout: 0.1", "holdout: 1.1", ":8", "`1.1`", "0.9"),
        ("journeys/welcome.yaml", "welcome_voucher", "no_such", ":4", "`no_such`", "actions.yaml"),
        ("settings.toml", 'brand = "shop"', 'brand = "shoe"', ":4", "`shoe`", "[brands.shoe]"),
        ("settings.toml", "[store]", "[stor]", ":", "`stor`", "`store`"),
        ("people.yaml", "roles: [marketing]", "roles: []", ":5", "roles", ""),
    ],
)  # fmt: skip
def test_a_workspace_with_a_mistake_names_file_line_and_remedy(
    safeconduct: Safeconduct,
    events: Path,
    name: str,
    old: str,
    new: str,
    place: str,
    cause: str,
    remedy: str,
) -> None:
    """A typo stops the run before anything is written, and says where and what to do."""
    path = safeconduct.workspace / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    code, out, err = safeconduct("run", events)
    assert (code, out) == (2, "")
    assert err.startswith(f"safeconduct: {name}{place}"), err
    assert cause in err
    assert remedy in err
    assert not (safeconduct.workspace / "safeconduct.db").exists()


def test_a_second_writer_is_refused_and_a_reader_is_not(
    safeconduct: Safeconduct, events: Path
) -> None:
    """While one process writes a store another one is told who does; reading goes on."""
    safeconduct("run", events)
    held = subprocess.Popen(
        [sys.executable, "-m", "service.cli", "run", "-", "--workspace", safeconduct.workspace],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        lock = safeconduct.workspace / "safeconduct.db.lock"
        for _ in range(2000):
            if f"process {held.pid} " in lock.read_text():
                break
            assert held.poll() is None
            os.sched_yield()
            subprocess.run(["sleep", "0.01"], check=True)
        code, _, err = safeconduct("run", events)
        assert code == 2
        assert f"another process writes this store: process {held.pid}" in err
        assert safeconduct("decisions")[0] == 0
        assert safeconduct("ledger", "verify")[0] == 0
    finally:
        held.communicate()
    assert held.returncode == 0


def test_without_a_workspace_the_starter_serves(
    capsys: pytest.CaptureFixture[str], events: Path
) -> None:
    """In any folder, a run uses the built-in starter and keeps its store beside."""
    assert cli.main(["run", str(events)]) == 0
    assert Path(".safeconduct/safeconduct.db").exists()
    assert cli.main(["decisions"]) == 0
    assert capsys.readouterr().out


def test_init_never_overwrites(safeconduct: Safeconduct) -> None:
    """A folder with something in it is left as it is."""
    code, _, err = safeconduct("init", safeconduct.workspace, here=False)
    assert code == 2
    assert "there is something here already" in err


def test_packages_of_others_are_noticed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Where somebody else's `agents` would be imported, the command says so and stops."""
    foreign = tmp_path / "site" / "agents"
    foreign.mkdir(parents=True)
    (foreign / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(foreign.parent))
    monkeypatch.delitem(sys.modules, "agents", raising=False)
    assert cli.main(["decisions"]) == 2
    assert "the package `agents` is not this program's own" in capsys.readouterr().err


def test_help_needs_no_heavy_import() -> None:
    """`--help` loads neither the graph, nor the store, nor pydantic: it answers at once."""
    code = (
        "import sys\nfrom service.cli import main\nmain(['--help'])\n"
        "heavy = {'langgraph', 'sqlalchemy', 'pydantic', 'rich', 'cel', 'msgspec'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert out.splitlines()[-1] == "[]"


def _dump(store: Path) -> list[str]:
    with sqlite3.connect(f"file:{store}?mode=ro", uri=True) as raw:
        return list(raw.iterdump())


def _sent(safeconduct: Safeconduct) -> list[Path]:
    return sorted((safeconduct.workspace / "outbox").rglob("*"))


def test_a_person_is_shown_with_where_everything_came_from(
    safeconduct: Safeconduct, events: Path
) -> None:
    """Identifiers, traits and what was said of consent, for people and for programs."""
    safeconduct("run", events)
    code, out, _ = safeconduct("profile", "show", "email:maya@shop.example")
    assert code == 0
    assert [line.split()[:2] for line in out.splitlines()[1:3]] == [
        ["email", "maya@shop.example"],
        ["user_id", "c-1"],
    ]
    assert "grant           shop email marketing" in out
    (said,) = safeconduct.json("profile", "show", "user_id:c-1")
    assert said["profile_id"] == out.split()[0]
    assert {one["ns"] for one in said["fragments"][0]["identifiers"]} == {"email", "user_id"}
    assert [(one["kind"], one["address"]) for one in said["consents"]] == [
        ("grant", "maya@shop.example")
    ]
    answers = safeconduct.json("consent", "show", "user_id:c-1", "--at", "2026-10-05T09:00:00Z")
    by_email = {
        (one["purpose"], one["address"]): one for one in answers if one["channel"] == "email"
    }
    marketing = by_email["marketing", "maya@shop.example"]
    assert marketing["consent"] == "granted"
    assert marketing["by"] == [said["consents"][0]["consent_id"]]
    by_sms = next(one for one in answers if one["channel"] == "sms")
    assert (by_sms["address"], by_sms["consent"]) == (None, "unset")
    code, out, err = safeconduct("profile", "show", "email:nobody@shop.example")
    assert (code, out) == (2, "")
    assert "nobody is known as `email:nobody@shop.example`" in err


def test_the_local_operator_may_always_stop(
    safeconduct: Safeconduct, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nobody has the role, whoever is logged in stops all, under no name but his own."""
    people = safeconduct.workspace / "people.yaml"
    text = people.read_text()
    for role in ("admin", "contact_centre"):
        assert role in text
        text = text.replace(role, "auditor")
    people.write_text(text)
    monkeypatch.setenv("LOGNAME", "kim")
    code, _, err = safeconduct("kill", "on", "all", "--by", "lee")
    assert (code, "`lee` may not turn switches" in err) == (2, True)
    assert safeconduct("kill", "on", "all")[0] == 0
    (switch,) = safeconduct.json("kill", "list")
    assert (switch["scope"], switch["on_by"]) == ("all", "kim")
    code, _, err = safeconduct("kill", "off", "all")
    assert (code, "give two people a role" in err) == (2, True)
    assert [one["scope"] for one in safeconduct.json("kill", "list")] == ["all"]


def test_a_question_with_no_finite_number_is_refused(safeconduct: Safeconduct) -> None:
    """No event can hold it, so the answer would be about nothing."""
    about = ("--profile", "user_id:c-102", "--action", "remind_by_email")
    code, _, err = safeconduct("policies", "explain", *about, "--property", "value=NaN")
    assert (code, "`NaN` is no finite number" in err) == (2, True)


def test_decisions_about_somebody_are_found_by_what_they_are_known_as(
    safeconduct: Safeconduct, events: Path
) -> None:
    """An identifier does as well as an id; of nobody known it says so, and not that nothing was."""
    assert safeconduct("run", events)[0] == 0
    known = f"user_id:{STORY[0]['user_id']}"
    mine = safeconduct.json("decisions", "--profile", known)
    assert mine and {one["profile_id"] for one in mine} == {mine[0]["profile_id"]}
    code, _, err = safeconduct("decisions", "--profile", "user_id:nobody")
    assert (code, "nobody is known as `user_id:nobody`" in err) == (2, True)


def test_everything_can_be_stopped_though_the_workspace_is_broken(safeconduct: Safeconduct) -> None:
    """Others go on with the text that they read; a slip in the file keeps nobody from stopping."""
    contact = safeconduct.workspace / "policies" / "contact.yaml"
    whole = contact.read_text()
    contact.write_text(whole + "\n[")
    assert safeconduct("kill", "on", "channel:email")[0] == 2
    assert safeconduct("kill", "on", "all", "--by", "ida")[0] == 2  # no role can be looked up
    assert safeconduct("kill", "on", "all")[0] == 0
    contact.write_text(whole)
    assert [one["scope"] for one in safeconduct.json("kill", "list")] == ["all"]


def test_what_events_wrote_commands_no_terminal(safeconduct: Safeconduct, tmp_path: Path) -> None:
    """A trait's name that clears the screen, or turns the line round, is shown as its code."""
    path = tmp_path / "evil.jsonl"
    said = {"id": "1", "event": "x", "at": "2026-10-05T08:00:00Z", "user_id": "c-1"}
    evil = "\x1b[2J\u202e"
    path.write_text(json.dumps({**said, "traits": {evil: evil, "city": "M\u00fcnchen\u00a01"}}))
    assert safeconduct("run", path)[0] == 0
    for extra in ([], ["--json"]):
        _, out, _ = safeconduct("profile", "show", "user_id:c-1", *extra)
        assert "\x1b" not in out and "\u202e" not in out
        assert "\\u001b[2J\\u202e" in out and "M\u00fcnchen\u00a01" in out
    (person,) = safeconduct.json("profile", "show", "user_id:c-1")
    assert person["traits"][evil]["value"] == evil
    assert "\x1b" not in safeconduct("profile", "show", "user_id:\x1b[2J")[2]
