from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.steps import STEPS
from domain.canonical import canonical
from service import running
from tests.shop import Shop, cart, consent, open_shop, row
from tests.stores import Schema
from traces.ledger import verify

ROOT = Path(__file__).resolve().parents[2]


@st.composite
def histories(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Events of a few people, some of them twice, in order of time."""
    rows = []
    for number in range(draw(st.integers(1, 14))):
        user = draw(st.sampled_from(["c-1", "c-2", "c-3"]))
        when = f"2026-10-05T{9 + number // 2:02d}:{30 * (number % 2):02d}:00Z"
        kind = draw(st.sampled_from(["grant", "deny", "cart", "order", "help", "contact", "again"]))
        mail = {"email": f"{user}@shop.example"}
        match kind:
            case "grant" | "deny":
                rows.append(consent("granted" if kind == "grant" else "denied", when, user, **mail))
            case "cart":
                rows.append(cart(when, user, cart_id=f"k-{number}", **mail))
            case "order":
                rows.append(row("order_completed", when, user, order_id="o"))
            case "help":
                rows.append(row("self_service_failed", when, user, topic="returns"))
            case "contact":
                rows.append(row("contact_opened", when, user, topic="returns", **mail))
            case _ if rows:
                rows.append(rows[draw(st.integers(0, len(rows) - 1))])
            case _:
                pass
    return rows


def _plain(shop: Shop) -> dict[str, Any]:
    """What was decided, without what is random by nature (nonces and what rides on them)."""
    decisions = [
        {k: v for k, v in kept.items() if k not in ("sealed", "hash", "recorded_at")}
        for kept in shop.rows("decisions")
    ]
    records = [shop.deps.history.get(kept["decision_id"]).record() for kept in decisions]
    contacts = shop.rows("contacts")
    steps = [(s["outbox_id"], s["state"], s["detail"]) for s in shop.rows("outbox")]
    revisions = shop.rows("revisions")
    return {
        "decisions": decisions,
        "records": records,
        "contacts": contacts,
        "steps": steps,
        "revisions": revisions,
    }


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(histories())
def test_the_graph_and_the_plain_steps_make_the_same_record(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]
) -> None:
    """Through LangGraph or through a plain loop, every decision is the same, byte for byte."""
    made, lines = [], []
    for graph in (False, True):
        with open_shop(tmp_path_factory.mktemp("shop") / "w", graph=graph) as shop:
            lines.append(shop.run(*rows))
            made.append(_plain(shop))
    assert lines[0] == lines[1]
    assert made[0] == made[1]


def test_langgraph_json_names_a_factory_that_gives_the_graph(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """LangGraph's own tooling finds the supervisor by the path that `langgraph.json` names."""
    import importlib.util

    said = json.loads((ROOT / "langgraph.json").read_text())
    path, name = said["graphs"]["supervisor"].split(":")
    spec = importlib.util.spec_from_file_location("assembled", ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "assembled", module)
    spec.loader.exec_module(module)
    graph = getattr(module, name)()
    drawn = graph.get_graph()
    assert {step.__name__ for step in STEPS} <= set(drawn.nodes)


def test_the_graph_takes_raw_events(tmp_path: Path) -> None:
    """Whoever has nothing but a raw event can hand it to the graph as it is."""
    import asyncio

    from agents.supervisor import build_graph

    with open_shop(tmp_path / "w") as shop:
        graph = build_graph(shop.deps)
        event = cart("2026-10-05T09:00:00Z", email="a@shop.example")
        state = asyncio.run(graph.ainvoke({"events": (event,)}))
        assert [line.verdict for line in state["lines"]] == ["denied"]
        assert shop.rows("decisions")[0]["code"] == "stale_event"


def test_every_event_is_decided_once_however_often_it_comes(tmp_path: Path, store: str) -> None:
    """A second reading makes no row and no effect, and repeats the first decision's words."""
    rows = [
        consent("granted", "2026-10-05T08:00:00Z", email="a@shop.example"),
        cart("2026-10-05T09:00:00Z"),
        row("self_service_failed", "2026-10-05T09:01:00Z", topic="returns"),
        {"event": "order_completed", "user_id": "c-1", "at": "2026-10-05T09:02:00Z"},
    ]
    with open_shop(tmp_path / "w", graph=True, store=store) as shop:
        first = shop.run(*rows)
        before, sent = _plain(shop), shop.sent()
        again = shop.run(*rows)
        assert _plain(shop) == before
        assert shop.sent() == sent
    assert [line["verdict"] for line in again] == ["duplicate"] * 4
    for key in ("decision_id", "code", "reason", "rule", "event_id"):
        assert [line[key] for line in again] == [line[key] for line in first]


def test_equal_events_in_one_batch_are_decided_once(tmp_path: Path) -> None:
    """Two deliveries side by side are one event."""
    with open_shop(tmp_path / "w") as shop:
        event = cart("2026-10-05T09:00:00Z", email="a@shop.example")
        assert [line["verdict"] for line in shop.run(event, event)][1] == "duplicate"
        assert len(shop.rows("decisions")) == 1


def test_a_batch_of_strangers_who_turn_out_to_be_one_person_keeps_its_cap(
    tmp_path: Path, store: str
) -> None:
    """Events that reach one person by different names in one batch never overshoot a cap."""
    with open_shop(tmp_path / "w", store=store) as shop:
        shop.run(
            consent("granted", "2026-10-05T08:00:00Z", email="a@shop.example"),
            row("identified", "2026-10-05T08:01:00Z", identifiers={"loyalty": "l-9"}),
        )
        by_user = cart("2026-10-05T09:00:00Z", cart_id="k-1")
        by_loyalty = cart("2026-10-05T09:00:00Z", cart_id="k-2") | {"id": "other"}
        del by_loyalty["user_id"]
        by_loyalty["identifiers"] = {"loyalty": "l-9"}
        lines = shop.run(by_user, by_loyalty)
        assert [line["action"] for line in lines] == ["remind_by_email", "cart_banner"]
        assert len(shop.sent("email")) == 1


def test_the_same_id_with_other_content_is_refused_but_its_opt_out_counts(tmp_path: Path) -> None:
    """A reused id is a dead letter, and the no that came in it is obeyed all the same."""
    with open_shop(tmp_path / "w") as shop:
        grant = consent("granted", "2026-10-05T08:00:00Z", email="a@shop.example")
        shop.run(grant)
        reused = consent("denied", "2026-10-05T08:30:00Z") | {"id": grant["id"]}
        line = shop.one(reused)
        assert (line["verdict"], line["code"], line["decision_id"]) == ("dead", "id_reuse", None)
        after = shop.one(cart("2026-10-05T09:00:00Z"))
        assert after["action"] == "cart_banner"
        assert not shop.sent("email")
        assert [letter["reason"] for letter in shop.rows("dead_letters")] == ["id_reuse"]


def test_a_decision_can_be_decided_again_from_its_record(tmp_path: Path) -> None:
    """Thinking again about the stored context gives the stored thought, byte for byte."""
    from agents.minds.formula import FormulaMind
    from agents.reconsider import same_again
    from agents.record import read_record

    with open_shop(tmp_path / "w") as shop:
        shop.run(
            consent("granted", "2026-10-05T08:00:00Z", email="a@shop.example"),
            cart("2026-10-05T09:00:00Z"),
            cart("2026-10-05T09:05:00Z", cart_id="k-2"),
            row("checkout_failed", "2026-10-05T10:00:00Z", order_id="o-1", error="card"),
            row("self_service_failed", "2026-10-05T10:05:00Z", topic="returns"),
            row("contact_opened", "2026-10-06T11:00:00Z", topic="returns"),
        )
        vault = shop.database.vault
        for kept in shop.rows("decisions"):
            data = shop.deps.history.get(kept["decision_id"]).record()
            assert data is not None
            record = read_record(data)
            assert canonical(record) == data
            assert same_again(record, shop.assembly.workspace, FormulaMind(), vault)


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=histories())
def test_the_store_makes_no_difference(
    tmp_path_factory: pytest.TempPathFactory, schema: Schema, rows: list[dict[str, Any]]
) -> None:
    """On SQLite or on PostgreSQL, every decision is the same, byte for byte."""
    made, lines = [], []
    schema.empty()
    for store in ("sqlite://", schema.url):
        with open_shop(tmp_path_factory.mktemp("shop") / "w", store=store) as shop:
            lines.append(shop.run(*rows))
            said = _plain(shop)
            made.append({key: sorted(found, key=repr) for key, found in said.items()})
            verify(shop.database)
    assert lines[0] == lines[1]
    assert made[0] == made[1]


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    order=st.permutations([user for user in ("c-1", "c-2", "c-3", "c-4") for _ in range(3)]),
    way=st.sampled_from([(1, True), (3, True), (8, True), (1, False), (8, False), (32, False)]),
)
def test_interleaving_and_batching_change_no_decision(
    tmp_path_factory: pytest.TempPathFactory, order: list[str], way: tuple[int, bool]
) -> None:
    """However different people's events interleave and are batched, each gets the same records."""

    def story(user: str) -> Iterator[dict[str, Any]]:
        yield consent("granted", "2026-10-05T09:00:00Z", user, email=f"{user}@shop.example")
        yield cart("2026-10-05T09:00:00Z", user)
        yield row("self_service_failed", "2026-10-05T09:00:00Z", user, topic="t")

    def decided(users: list[str], batch_size: int, through: bool) -> dict[str, list[Any]]:
        stories = {user: story(user) for user in users}
        with open_shop(tmp_path_factory.mktemp("shop") / "w", graph=through) as shop:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(running, "BATCH_MAX", batch_size)
                shop.run(*(next(stories[user]) for user in users))
            found: dict[str, list[Any]] = {}
            for kept in sorted(shop.rows("decisions"), key=lambda d: (d["profile_id"], d["n"])):
                record = shop.deps.history.get(kept["decision_id"]).record()
                found.setdefault(kept["profile_id"], []).append((kept["decision_id"], record))
        return found

    plain = [user for user in ("c-1", "c-2", "c-3", "c-4") for _ in range(3)]
    assert decided(order, *way) == decided(plain, 1, False)
