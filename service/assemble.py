"""The composition root: the only module that names concrete adapters."""

from __future__ import annotations

import gc
import logging
import os
import socket
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from sqlalchemy import bindparam, select

from agents.minds.formula import FormulaMind
from agents.steps import Deps
from agents.workspace import Workspace, load_workspace
from domain.canonical import parse
from domain.consent import PERMISSIONS
from domain.errors import ConfigurationError, StoreError
from domain.event import Identifier
from profiles.identity import IdentityRules
from profiles.people import People
from profiles.readers.claims import normalise
from profiles.reading import Reading
from profiles.rulings import Registry
from profiles.terms import Category, FrictionWeights, SignalTerms, Terms
from profiles.words import read_words
from service.settings import Place, find_workspace, load, stated_url, store_url
from service.telemetry import Telemetry, open_telemetry
from store import tables as t
from store.database import Database, open_database
from store.instants import micros
from store.statements import Statement
from store.work import Work
from tools.cases import CaseTool
from tools.channels.channel import Channel
from tools.channels.local import LocalOutbox
from tools.messages import MessageTool
from tools.offers import OfferTool
from tools.retrieval import Retrieval
from tools.toolbox import Toolbox

LOG = logging.getLogger("safeconduct.service")

VERSIONS_MAX = 32
SMTP_PASSWORD = "SAFECONDUCT_SMTP_PASSWORD"  # noqa: S105 - the name of a variable

_KNOWN_VERSION = Statement(
    select(t.workspaces.c.version).where(t.workspaces.c.version == bindparam("v"))
)
_CONTENT = Statement(select(t.workspaces.c.content).where(t.workspaces.c.version == bindparam("v")))


@dataclass(slots=True)
class Assembly:
    """A workspace, its store and everything that decides on them, put together."""

    place: Place
    workspace: Workspace
    database: Database
    reading: Reading
    deps: Deps
    telemetry: Telemetry

    def close(self) -> None:
        """Write what is still riding, close the store, and hand over the last spans."""
        with ExitStack() as last:
            last.callback(self.telemetry.close)
            last.callback(self.database.close)
            last.callback(self.deps.toolbox.close)
            self.deps.commit([])


def assemble(workspace: Path | None = None, store: str | None = None) -> Assembly:
    """Put a writing process together. Raises `ConfigurationError` or `StoreError`."""
    place = find_workspace(workspace)
    loaded = load(place)
    url = store_url(place, loaded.store_url, store)
    if store is None:
        place.home.mkdir(parents=True, exist_ok=True)
    database = open_database(url)
    try:
        keep_version(database, loaded)
        return _assembly(place, with_plans(database, loaded), database)
    except BaseException:
        database.close()
        raise


def steady() -> None:
    """Say that a long run begins: what is loaded by now lives as long as the process.

    The collector need not look at it again and again, which took a fifth of LangGraph's time.
    """
    gc.collect()
    gc.freeze()


def assemble_reading(workspace: Path | None = None, store: str | None = None) -> Database:
    """Open a workspace's store for reading only, beside whoever writes it."""
    place = find_workspace(workspace)
    if store is not None:
        return open_database(store, writable=False)
    return open_database(store_url(place, load(place).store_url, None), writable=False)


def assemble_stopping(workspace: Path | None, store: str | None) -> Database:
    """Open the store to stop everything, where the workspace's text is broken: that reads none."""
    place = find_workspace(workspace)
    return open_database(store or store_url(place, stated_url(place), None))


def make_graph() -> Any:
    """The supervisor's graph over the default workspace, for LangGraph's own tooling."""
    from agents.supervisor import build_graph

    return build_graph(assemble().deps)


def kept_workspace(database: Database, version: str) -> Workspace:
    """The workspace as it was when a decision was made by it."""
    rows = database.rows(_CONTENT, v=version)
    if not rows:
        raise StoreError(f"workspace version `{version}` is not in this store")
    return with_plans(database, load_workspace(parse(bytes(rows[0][0]))))


def with_plans(database: Database, workspace: Workspace) -> Workspace:
    """The workspace, which finds the plans of people who entered a journey by an earlier one."""

    @lru_cache(maxsize=VERSIONS_MAX)
    def earlier(version: str) -> Workspace | None:
        try:
            return kept_workspace(database, version)
        except (StoreError, ConfigurationError) as error:
            LOG.warning("a plan is lost: today's is used", extra={"fields": {"why": str(error)}})
            return None

    return replace(workspace, earlier=earlier)


def keep_version(database: Database, workspace: Workspace) -> None:
    """Keep the workspace's text, so that what it decided can be explained and decided again."""
    if database.rows(_KNOWN_VERSION, v=workspace.version):
        return
    work = Work(shown_as="table workspaces")
    work.insert(
        t.workspaces,
        version=workspace.version,
        content=workspace.content(),
        first_used_at=micros(datetime.now(UTC)),
    )
    database.commit([work])


def _assembly(place: Place, workspace: Workspace, database: Database) -> Assembly:
    reading = make_reading(workspace)
    toolbox = make_toolbox(workspace, database, place.outbox)
    telemetry = open_telemetry(database.vault.fingerprint)
    deps = Deps(
        database=database,
        people=People(database, make_terms(workspace)),
        workspace=workspace,
        mind=FormulaMind(),
        toolbox=toolbox,
        owner=f"{database.owner}@{_mark(place.outbox)}",
        reading=reading,
        spans=telemetry.spans,
    )
    return Assembly(place, workspace, database, reading, deps, telemetry)


def _mark(outbox: Path) -> str:
    """What tells this machine's outbox folder from those of other workers on the same store."""
    return sha256(f"{socket.gethostname()}:{outbox.resolve()}".encode()).hexdigest()[:16]


def make_reading(workspace: Workspace) -> Reading:
    """How this workspace's rows become events."""
    given = workspace.input
    return Reading(
        default_source=given.source,
        default_region=given.region,
        names=given.names,
        confidence=given.confidence,
        blocked=_blocked(workspace),
    )


def _blocked(workspace: Workspace) -> frozenset[Identifier]:
    given = workspace.input
    return frozenset(
        (normalise(ns, value, given.region) or Identifier(ns, value)).folded
        for ns, values in given.blocked.items()
        for value in values
    )


def make_terms(workspace: Workspace) -> Terms:
    """What profiles need to know of this workspace."""
    return Terms(
        brand=workspace.brand,
        controllers={name: brand.controller for name, brand in workspace.brands.items()},
        addresses={name: c.address for name, c in workspace.policies.channels.items()},
        fields=tuple(workspace.policies.fields.values()),
        look_back=workspace.look_back,
        journeys=tuple(workspace.journeys.values()),
        stock={name: offer.stock for name, offer in workspace.offers.items()},
        region=workspace.input.region,
        purposes=frozenset(workspace.policies.purposes) | PERMISSIONS,
        promotion=workspace.policies.promotion,
        exits=frozenset(workspace.exits),
        identity=make_identity(workspace),
        consented=frozenset(
            p.name for p in workspace.policies.purposes.values() if p.model != "exempt"
        ),
        marketing=frozenset(p.name for p in workspace.policies.purposes.values() if p.marketing),
        categories={
            name: Category(entry.purpose, entry.channel)
            for name, entry in workspace.input.consent_categories.items()
        },
        senders={
            sender.casefold(): name
            for name, brand in workspace.brands.items()
            for sender in brand.senders.values()
        },
        words=read_words(tuple(workspace.input.stop_words)),
        caps=workspace.cap_scopes,
        minors=workspace.policies.minors,
        access_needs=tuple(workspace.policies.access_needs),
        topics=frozenset(a.topic for a in workspace.actions.values() if a.topic is not None),
        ceilings={
            p.name: p.sends_window for p in workspace.policies.purposes.values() if p.sends_max
        },
        signals=SignalTerms(
            purchases=frozenset(workspace.signals.purchases),
            value=workspace.signals.value,
            currencies={name: brand.currency for name, brand in workspace.brands.items()},
            engagement=workspace.signals.engagement,
            intents=workspace.signals.intents,
            errors=frozenset(workspace.signals.errors),
            friction=FrictionWeights(**workspace.signals.friction.model_dump()),
        ),
        max_lag=workspace.input.max_lag,
        occasions=workspace.occasions,
        cool_off=workspace.cool_off,
        told_within=workspace.told_within,
        look_ahead=workspace.look_ahead,
        budgets=workspace.budgets,
        watched=workspace.watched,
        version=workspace.version,
        plan_of=workspace.plan,
    )


def make_identity(workspace: Workspace) -> IdentityRules:
    """How this workspace tells people apart."""
    given = workspace.identity
    return IdentityRules(
        tuple(given.priority),
        given.limits,
        frozenset(given.logouts),
        given.household,
        _blocked(workspace),
    )


def make_registry(database: Database, workspace: Workspace) -> Registry:
    """This workspace's people in a store, and how they are told apart."""
    controllers = frozenset(brand.controller for brand in workspace.brands.values())
    identity, region = make_identity(workspace), workspace.input.region
    return Registry(database, identity, region, workspace.look_back, controllers)


def make_toolbox(workspace: Workspace, database: Database, outbox: Path) -> Toolbox:
    """The tools, each with this deployment's adapters."""
    local = LocalOutbox(outbox)
    channels: dict[str, Channel] = {}
    for name in workspace.policies.channels:
        entry = workspace.channels.get(name)
        channels[name] = local if entry is None or entry.smtp is None else _smtp(entry.smtp)
    return Toolbox(
        {
            "message": MessageTool(channels),
            "offer": OfferTool(),
            "case": CaseTool(database, "case"),
            "handoff": CaseTool(database, "handoff"),
        },
        outside=local,
    )


def make_retrieval(workspace: Workspace, place: Place) -> Retrieval:
    """What finds offers by meaning. Raises `ConfigurationError` where Chroma is not installed."""
    from tools.chroma import ChromaRetrieval

    texts = {name: f"{one.title}\n{one.description}" for name, one in workspace.offers.items()}
    return ChromaRetrieval(place.retrieval, texts)


def _smtp(entry: Any) -> Channel:
    from tools.channels.smtp import SmtpChannel

    return SmtpChannel(
        host=entry.host,
        port=entry.port,
        username=entry.username,
        password=os.environ.get(SMTP_PASSWORD),
        starttls=entry.starttls,
        timeout=entry.timeout_seconds,
    )
