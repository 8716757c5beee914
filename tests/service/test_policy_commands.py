"""`safeconduct policies`: cases tried, policies looked through, and questions answered."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any, get_args

import pytest

from agents.inquiries import Question, inquire
from agents.workspace import load_workspace, read_files
from policies import lint
from policies.cases import judged, read_cases
from profiles.views import find_root
from service.assemble import make_identity
from service.cli import main
from service.policy_files import bench
from service.settings import STARTER, make_workspace
from tests.shop import Shop, at, cart, consent, open_shop, row

MAIL = "maya@example.com"
HOW_TO = Path(__file__).parents[2] / "docs" / "policies.md"
LATER = "2026-10-05T12:00:00Z"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """The starter as a workspace."""
    for _ in make_workspace(tmp_path / "w"):
        pass
    return tmp_path / "w"


def told(
    capsys: pytest.CaptureFixture[str], workspace: Path, *arguments: str, code: int = 0
) -> list[str]:
    """What `safeconduct policies` prints."""
    capsys.readouterr()
    assert main(["policies", *arguments, "--workspace", str(workspace)]) == code
    return capsys.readouterr().out.splitlines()


def replaced(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


# test


def test_the_starters_cases_come_out(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`init` writes cases for every policy file that has rules, and all of them hold."""
    written = {path.name for path in (shop / "policies").glob("*.cases.yaml")}
    assert written == {f"{name}.cases.yaml" for name in ("approval", "consent", "contact",
                                                         "engagement")}  # fmt: skip
    lines = told(capsys, shop, "test")
    assert len(lines) > 20
    assert all(line.endswith("ok") for line in lines[:-1])
    assert lines[-1] == f"{len(lines) - 1} of {len(lines) - 1} cases come out as they say"


def test_a_changed_rule_breaks_its_case(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Who raises a cap sees which case no longer holds, where it stands, and why."""
    contact = shop / "policies" / "contact.yaml"
    replaced(contact, "limit: 1\n    window: 24h", "limit: 2\n    window: 24h")
    wrong = [line for line in told(capsys, shop, "test", code=1) if "WRONG" in line]
    assert len(wrong) == 1
    assert wrong[0].startswith("no second offer within a day")
    rows = (shop / "policies" / "contact.cases.yaml").read_text().splitlines()
    place = (
        f"policies/contact.cases.yaml:{rows.index('  - name: no second offer within a day') + 1}"
    )
    assert f"WRONG ({place}): it is permitted, not denied" in wrong[0]
    said = [json.loads(line) for line in told(capsys, shop, "test", "--json", code=1)]
    (one,) = [line for line in said if not line["ok"]]
    assert (one["verdict"], one["because"]) == ("permitted", [])
    assert one["place"] == place


def test_a_case_file_that_cannot_be_meant(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An unusable file is told with its line and column, and no case is judged."""
    replaced(shop / "policies" / "contact.cases.yaml", "purpose: marketing}", "purpose: m}")
    assert told(capsys, shop, "test", code=2) == []


def test_a_workspace_without_cases(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing tried is no success."""
    for path in (shop / "policies").glob("*.cases.yaml"):
        path.unlink()
    assert told(capsys, shop, "test", code=2) == []


def test_cases_are_no_part_of_a_version(shop: Path) -> None:
    """A case that is added changes no decision, so it changes no version either."""
    with open_shop(shop) as opened:
        before = opened.assembly.workspace.version
    (shop / "policies" / "contact.cases.yaml").unlink()
    with open_shop(shop) as opened:
        assert opened.assembly.workspace.version == before


def test_the_documents_case_comes_out() -> None:
    """The case that the how-to shows is judged as it says, by the starter's policies."""
    (text,) = re.findall(r"```yaml\n(.*?)```", HOW_TO.read_text(), re.DOTALL)
    workspace = load_workspace(read_files(STARTER))
    (case,) = read_cases({"docs.cases.yaml": text}, bench(workspace))
    assert judged(case, workspace.guard).is_right


# check


def test_every_check_is_documented() -> None:
    """The how-to names each check, and no other one."""
    named = set(re.findall(r"^\| `([a-z-]+)` \|", HOW_TO.read_text(), re.MULTILINE))
    assert named == set(get_args(lint.CheckName))


def test_the_starter_says_nothing_in_vain(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The workspace that people begin with has no finding."""
    assert told(capsys, shop, "check") == ["7 rules looked at, 0 findings"]


def test_what_is_said_in_vain_is_told(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each finding is a line with its place and remedy, and the exit code is 1."""
    contact = shop / "policies" / "contact.yaml"
    replaced(
        contact, "limit: 3\n    window: 7d\n    per: contact_point", "limit: 7\n    window: 7d"
    )
    lines = told(capsys, shop, "check", code=1)
    assert lines[0] == (
        "policies/contact.yaml:9: cap `marketing-per-address` never binds: `marketing-per-day` "
        "(policies/contact.yaml:3) is reached first; lower its limit, or remove it"
    )
    said = [json.loads(line) for line in told(capsys, shop, "check", "--json", code=1)]
    assert [one["check"] for one in said] == ["idle-cap", "untried-rule"]


# explain


def known(opened: Shop) -> None:
    """A customer who agreed to marketing and had a reminder this morning."""
    opened.run(
        consent("granted", "2026-10-05T08:00:00Z", email=MAIL),
        cart("2026-10-05T09:00:00Z", email=MAIL),
    )


def explained(
    capsys: pytest.CaptureFixture[str], workspace: Path, action: str, *more: str, code: int = 0
) -> Any:
    """The one object that `policies explain --json` prints."""
    about = ("explain", "--profile", f"email:{MAIL}", "--action", action, "--json")
    lines = told(capsys, workspace, *about, *more, code=code)
    return json.loads(lines[0]) if lines else None


def test_an_answer_is_what_would_be_decided(tmp_path: Path, store: str) -> None:
    """Each action's answer is the very verdict that comes of the event when it comes."""
    with open_shop(tmp_path / "w", store=store) as opened:
        known(opened)
        database, workspace = opened.database, opened.assembly.workspace
        with database.read() as snapshot:
            who = find_root(
                snapshot, database.vault, f"email:{MAIL}", None, make_identity(workspace)
            )
        kept = {name: opened.rows(name) for name in TABLES}
        answers = {
            name: inquire(
                opened.deps,
                Question(who, name, "abandoned_cart", at(LATER), {"value": 80.0}),
                audience="auditor",
                by="ana",
            )
            for name in ("remind_by_email", "remind_by_sms", "cart_banner")
        }
        assert {name: opened.rows(name) for name in TABLES} == kept
        assert {name: one.verdict for name, one in answers.items()} == {
            "remind_by_email": "denied",
            "remind_by_sms": "denied",
            "cart_banner": "permitted",
        }
        capped = answers["remind_by_email"]
        assert [finding.code for finding in capped.against] == ["frequency_cap"]
        assert capped.next_eligible_at == at("2026-10-06T09:00:00Z")
        line = opened.one(cart(LATER, cart_id="k-2"))
        assert (line["action"], line["verdict"]) == ("cart_banner", "permitted")
        assert line["profile_id"] == who
        asked = {finding.rule for finding in capped.findings}
        assert asked == {rule.id for rule in workspace.guard.rules}
        rows = opened.rows("inquiries")
        assert {
            (r["profile_id"], r["action"], r["by"], r["audience"], r["verdict"]) for r in rows
        } == {(who, name, "ana", "auditor", one.verdict) for name, one in answers.items()}


TABLES = (
    "profiles", "identifiers", "events", "decisions", "contacts", "consents", "permits", "outbox",
    "timers", "instances", "assignments", "counters", "grants", "cases", "revisions", "chains",
)  # fmt: skip


def test_an_answer_in_words(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Why not, by which rule, having read what, and when; then every rule that was asked."""
    with open_shop(shop, store=None) as opened:
        known(opened)
    about = ("explain", "--profile", f"email:{MAIL}", "--action", "remind_by_email")
    lines = told(capsys, shop, *about, "--property", "value=80.0", "--at", LATER)
    said = " ".join(lines)
    assert "would be refused: one marketing message a day (rule `marketing-per-day`" in said
    assert "count = 1, limit = 1" in said
    assert "It could pass from 2026-10-06 09:00:00Z on." in said
    assert any(line.startswith("  pass    consent") for line in lines)
    assert said.endswith("Nothing was done, and nothing is promised.")


def test_another_time_another_answer(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--at` asks about then; a property makes the event."""
    with open_shop(shop, store=None) as opened:
        known(opened)
    tomorrow = ("--at", "2026-10-06T09:00:00Z")
    full = explained(capsys, shop, "remind_by_email", *tomorrow, "--property", "value=80.0")
    assert full["verdict"] == "permitted"
    small = explained(capsys, shop, "remind_by_email", *tomorrow, "--property", "value=8.0")
    assert (small["verdict"], small["code"]) == ("denied", "not_applicable")
    assert small["reason"] == "the cart is worth less than 20"


def test_who_may_not_know_reads_unavailable(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A rule that a customer may not know of is told to an agent, and has no name for them."""
    with open_shop(shop, store=None) as opened:
        known(opened)
        opened.run(row("page_viewed", "2026-10-05T10:00:00Z", traits={"vulnerable": True}))
    more = ("--at", "2026-10-07T09:00:00Z", "--property", "value=80.0")
    agent = explained(capsys, shop, "remind_by_email", *more, "--audience", "agent")
    assert (agent["code"], agent["rule"]) == ("not_eligible", "no-promotion-to-vulnerable")
    customer = explained(capsys, shop, "remind_by_email", *more, "--audience", "customer")
    assert customer.keys() == agent.keys()
    assert (customer["verdict"], customer["code"], customer["reason"]) == (
        "denied",
        "unavailable",
        "not available",
    )
    about = ("explain", "--profile", f"email:{MAIL}", "--action", "remind_by_email", *more)
    for words in (
        json.dumps(customer),
        "\n".join(told(capsys, shop, *about, "--audience", "customer")),
    ):
        assert "vulnerable" not in words
        assert "care" not in words


def test_what_would_not_come_up(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A journey that would not be entered is why, and the guard answers all the same."""
    with open_shop(shop, store=None) as opened:
        known(opened)
    found = explained(capsys, shop, "apology_voucher", "--at", "2026-10-07T09:00:00Z")
    assert (found["verdict"], found["reason"]) == ("none", "its entry condition is not true")
    assert found["code"] == "needs_approval"
    assert len(found["rules"]) > 10


def test_who_is_in_a_holdout(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Marketing that an experiment withholds would not come up, and the answer says so."""
    replaced(shop / "journeys" / "welcome.yaml", "holdout: 0.1", "holdout: 0.9")
    with open_shop(shop, store=None) as opened:
        opened.run(
            *(consent("granted", "2026-10-05T08:00:00Z", f"u{n}", email=f"u{n}@x.example")
              for n in range(20))
        )  # fmt: skip
    reasons = []
    for n in range(20):
        about = ("explain", "--profile", f"user_id:u{n}", "--action", "welcome_email", "--json")
        (line,) = told(capsys, shop, *about)
        reasons.append((json.loads(line)["verdict"], json.loads(line)["reason"]))
    assert ("none", "the customer is in the holdout of journey `welcome`") in reasons
    with open_shop(shop, store=None) as opened:
        assert not opened.rows("assignments")


def test_what_was_asked_is_kept_and_handed_out(
    shop: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """A row says who asked what about whom; the log says that somebody asked, and of nobody."""
    with open_shop(shop, store=None) as opened:
        known(opened)
    with caplog.at_level(logging.INFO, logger="safeconduct.agents"):
        explained(capsys, shop, "cart_banner", "--by", "omar", "--audience", "agent", "--at", LATER)
    (line,) = [one for one in caplog.records if one.getMessage() == "a reason was asked for"]
    assert line.__dict__["fields"] == {
        "action": "cart_banner",
        "journey": "abandoned_cart",
        "audience": "agent",
        "verdict": "permitted",
    }
    assert main(["profile", "export", f"email:{MAIL}", "--workspace", str(shop),
                 "--audience", "auditor"]) == 0  # fmt: skip
    (document,) = [json.loads(one) for one in capsys.readouterr().out.splitlines()]
    (kept,) = document["inquiries"]
    assert (kept["by"], kept["action"], kept["about_at"]) == (
        "omar",
        "cart_banner",
        "2026-10-05T12:00:00Z",
    )


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--profile", "email:nobody@x.example", "--action", "cart_banner"], "nobody is known"),
        (["--profile", f"email:{MAIL}", "--action", "cart_baner"], "no action `cart_baner`"),
        (
            ["--profile", f"email:{MAIL}", "--action", "cart_banner", "--journey", "x"],
            "no journey `x`",
        ),
        (
            ["--profile", f"email:{MAIL}", "--action", "cart_banner", "--property", "value"],
            "`value` is no property",
        ),
    ],
)
def test_what_nobody_knows_is_told(
    shop: Path, capsys: pytest.CaptureFixture[str], more: list[str], says: str
) -> None:
    """A name that there is not is answered with those that there are."""
    with open_shop(shop, store=None) as opened:
        known(opened)
    capsys.readouterr()
    assert main(["policies", "explain", *more, "--workspace", str(shop)]) == 2
    assert says in capsys.readouterr().err
