"""Every table that is kept, in one place.

Columns hold no personal data in the clear: what a person could be recognised by is in `sealed`
(AES-GCM under a key of that profile fragment and retention class) or is a keyed fingerprint
(`ref`, `event_key`). Instants are microseconds since 1970 UTC and end in `_at`. A table with
`profile_id, n, hash` is *chained*: its rows are entries of the person's hash chain.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    and_,
)
from sqlalchemy import String as _String
from sqlalchemy import Text as _Text

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    }
)

CHAINED = (
    "decisions",
    "outcomes",
    "consents",
    "suppressions",
    "approval_votes",
    "rulings",
    "requests",
)
"""Tables whose rows are entries of the person's chain; their order here is not significant."""

_AT = BigInteger

# Ordered by code point on every dialect, whatever language a server was set up in.
String = _String().with_variant(_String(collation="C"), "postgresql")
Text = _Text().with_variant(_Text(collation="C"), "postgresql")


def _chain() -> tuple[Column[str], Column[int], Column[bytes]]:
    return (
        Column("profile_id", String, nullable=False),
        Column("n", Integer, nullable=False),
        Column("hash", LargeBinary, nullable=False),
    )


meta = Table(
    "meta",
    metadata,
    Column("key", String, primary_key=True),
    Column("value", Text, nullable=False),
    sqlite_with_rowid=False,
)

revisions = Table(
    "revisions",
    metadata,
    Column("key", String, primary_key=True),
    Column("revision", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

events = Table(
    "events",
    metadata,
    Column("event_key", LargeBinary, primary_key=True),
    Column("content", LargeBinary, nullable=False),
    Column("decision_id", String),
    Column("profile_id", String),
    Column("received_at", _AT, nullable=False),
    sqlite_with_rowid=False,
)

profiles = Table(
    "profiles",
    metadata,
    Column("profile_id", String, primary_key=True),
    Column("root_id", String, nullable=False),
    # Whom it has followed, and since when: see `profiles.membership.Followed`.
    Column("followed", Text, nullable=False),
    Column("created_at", _AT, nullable=False),
    Column("updated_at", _AT, nullable=False),
    Column("sealed", LargeBinary),
    Index(None, "root_id"),
)

sources = Table(
    "sources",
    metadata,
    Column("source", String, primary_key=True),
    Column("watermark_at", _AT, nullable=False),
    sqlite_with_rowid=False,
)

data_keys = Table(
    "data_keys",
    metadata,
    Column("profile_id", String, nullable=False),
    Column("retention", String, nullable=False),
    Column("wrapped", LargeBinary, nullable=False),
    PrimaryKeyConstraint("profile_id", "retention"),
    sqlite_with_rowid=False,
)

identifiers = Table(
    "identifiers",
    metadata,
    Column("ref", String, nullable=False),
    Column("profile_id", String, nullable=False),
    Column("ns", String, nullable=False),
    # 0 where the fragment's events only mention it; else which of its own fragments this is.
    Column("slot", Integer, nullable=False),
    Column("unreachable_until_at", _AT),
    PrimaryKeyConstraint("ref", "profile_id"),
    Index(None, "profile_id"),
    sqlite_with_rowid=False,
)

rulings = Table(
    "rulings",
    metadata,
    Column("ruling_id", String, primary_key=True),
    *_chain(),
    Column("one", String, nullable=False),
    Column("other", String, nullable=False),
    Column("ruling", String, nullable=False),
    Column("at", _AT, nullable=False),
    Column("by", String, nullable=False),
    Column("reason", Text, nullable=False),
    Index(None, "one"),
    Index(None, "other"),
    Index(None, "profile_id"),
)

logouts = Table(
    "logouts",
    metadata,
    Column("ref", String, nullable=False),
    Column("at", _AT, nullable=False),
    Column("profile_id", String, nullable=False),
    PrimaryKeyConstraint("ref", "at"),
    Index(None, "profile_id"),
    sqlite_with_rowid=False,
)

bounces = Table(
    "bounces",
    metadata,
    # Which event it was, and so that none counts twice.
    Column("bounce_id", String, primary_key=True),
    Column("profile_id", String, nullable=False),
    Column("ref", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("at", _AT, nullable=False),
    Index(None, "ref", "kind", "at"),
    Index(None, "profile_id"),
)

consents = Table(
    "consents",
    metadata,
    Column("consent_id", String, primary_key=True),
    *_chain(),
    Column("kind", String, nullable=False),
    Column("controller", String, nullable=False),
    Column("brand", String),
    Column("channel", String),
    Column("purpose", String),
    Column("topic", String),
    Column("contact_point", String),
    Column("occurred_at", _AT, nullable=False),
    Column("received_at", _AT, nullable=False),
    Column("expires_at", _AT),
    Column("source", String, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Index(None, "profile_id"),
    Index(None, "contact_point"),
)

suppressions = Table(
    "suppressions",
    metadata,
    Column("suppression_id", String, primary_key=True),
    *_chain(),
    Column("target", String, nullable=False),
    Column("ref", String, nullable=False),
    Column("brand", String),
    Column("channels", Text),
    Column("blocks", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("shown_to", Text, nullable=False),
    Column("until_grant", Integer, nullable=False),
    Column("holds_rest", Integer, nullable=False),
    Column("created_at", _AT, nullable=False),
    Column("expires_at", _AT),
    Column("by", String),
    Column("lifts", String),
    Index(None, "ref"),
)

contacts = Table(
    "contacts",
    metadata,
    Column("contact_id", String, primary_key=True),
    Column("profile_id", String, nullable=False),
    Column("contact_point", String),
    Column("at", _AT, nullable=False),
    Column("brand", String, nullable=False),
    Column("channel", String, nullable=False),
    Column("purpose", String, nullable=False),
    Column("topic", String),
    Column("journey", String),
    Column("instance", String),
    Column("team", String),
    Column("action", String, nullable=False),
    # `|offers|news|`: each group of the action between bars.
    Column("action_groups", String),
    Column("household", String),
    # 1 where it went on with a conversation that was open.
    Column("continues", Integer),
    Column("decision_id", String),
    # The fingerprint of the words it was written by, before anything was filled in.
    Column("creative", String),
    Column("counted", Integer, nullable=False),
    Column("state", String, nullable=False),
    Index(None, "profile_id", "at"),
    Index(None, "contact_point", "at"),
    Index(None, "household", "at"),
)

decisions = Table(
    "decisions",
    metadata,
    Column("decision_id", String, primary_key=True),
    *_chain(),
    Column("at", _AT, nullable=False),
    Column("recorded_at", _AT, nullable=False),
    Column("event_key", LargeBinary, nullable=False),
    Column("event", String, nullable=False),
    Column("pass_kind", String, nullable=False),
    Column("pass_n", Integer, nullable=False),
    Column("parent_id", String),
    Column("journey", String),
    Column("action", String, nullable=False),
    Column("tool", String),
    Column("channel", String),
    Column("verdict", String, nullable=False),
    Column("held_for", String),
    Column("code", String),
    Column("reason", Text, nullable=False),
    Column("rule", String),
    Column("mind", String, nullable=False),
    Column("next_eligible_at", _AT),
    Column("workspace_version", String, nullable=False),
    Column("policy_version", String, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Index(None, "profile_id", "n"),
)

permits = Table(
    "permits",
    metadata,
    Column("permit_id", String, primary_key=True),
    Column("decision_id", String, nullable=False),
    Column("proposal_hash", String, nullable=False),
    Column("policy_version", String, nullable=False),
    Column("not_after_at", _AT, nullable=False),
    Column("spent_at", _AT),
    sqlite_with_rowid=False,
)

outbox = Table(
    "outbox",
    metadata,
    Column("outbox_id", String, primary_key=True),
    Column("decision_id", String, nullable=False),
    Column("profile_id", String, nullable=False),
    Column("permit_id", String, nullable=False),
    Column("step", Integer, nullable=False),
    Column("tool", String, nullable=False),
    Column("channel", String),
    Column("journey", String, nullable=False),
    Column("team", String, nullable=False),
    Column("state", String, nullable=False),
    Column("owner", String, nullable=False),
    Column("not_after_at", _AT, nullable=False),
    Column("created_at", _AT, nullable=False),
    Column("updated_at", _AT, nullable=False),
    Column("flag", String),
    Column("detail", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Index(None, "decision_id"),
)
Index(
    "ix_outbox_open",
    outbox.c.state,
    sqlite_where=outbox.c.state.in_(("intended", "sending", "unknown")),
    postgresql_where=outbox.c.state.in_(("intended", "sending", "unknown")),
)

outcomes = Table(
    "outcomes",
    metadata,
    Column("outcome_id", String, primary_key=True),
    *_chain(),
    Column("outbox_id", String, nullable=False),
    Column("decision_id", String, nullable=False),
    Column("step", Integer, nullable=False),
    Column("state", String, nullable=False),
    Column("code", String),
    Column("at", _AT, nullable=False),
    Column("detail", Text, nullable=False),
    # Who did it, where a colleague did.
    Column("by", String),
    Index(None, "decision_id"),
)

approvals = Table(
    "approvals",
    metadata,
    Column("approval_id", String, primary_key=True),
    Column("decision_id", String, nullable=False),
    Column("profile_id", String, nullable=False),
    Column("proposal_hash", String, nullable=False),
    Column("policy_version", String, nullable=False),
    Column("rule", String, nullable=False),
    Column("reason", Text, nullable=False),
    Column("role", String, nullable=False),
    Column("quorum", Integer, nullable=False),
    Column("action", String, nullable=False),
    Column("journey", String, nullable=False),
    Column("state", String, nullable=False),
    Column("requested_at", _AT, nullable=False),
    Column("expires_at", _AT, nullable=False),
    Column("decided_at", _AT),
    Column("decided_by", String),
    Index(None, "profile_id"),
    Index(None, "state", "expires_at"),
)

approval_votes = Table(
    "approval_votes",
    metadata,
    Column("vote_id", String, primary_key=True),
    *_chain(),
    Column("approval_id", String, nullable=False),
    Column("vote", String, nullable=False),
    Column("by", String, nullable=False),
    Column("at", _AT, nullable=False),
    Column("surface", String, nullable=False),
    Column("reason", Text, nullable=False),
    Index(None, "approval_id"),
    Index(None, "profile_id"),
)

timers = Table(
    "timers",
    metadata,
    Column("timer_id", String, primary_key=True),
    Column("due_at", _AT, nullable=False),
    Column("kind", String, nullable=False),
    Column("profile_id", String, nullable=False),
    Column("decision_id", String, nullable=False),
    Column("purpose", String),
    Column("channel", String),
    Column("state", String, nullable=False),
    Column("expires_at", _AT, nullable=False),
    # Of an absence: whose it is, since when it is counted, and when it will be established.
    Column("journey", String),
    Column("instance", String),
    Column("since_at", _AT),
    Column("watch_at", _AT),
    # The source that has to have told of all until `watch_at`; `due_at` is then how long it has.
    Column("waits_for", String),
    Column("sealed", LargeBinary, nullable=False),
    Index(None, "profile_id"),
    Index(None, "decision_id"),
)
_waiting = and_(timers.c.state == "pending", timers.c.waits_for.is_not(None))
Index(
    "ix_timers_waiting",
    timers.c.waits_for,
    timers.c.watch_at,
    sqlite_where=_waiting,
    postgresql_where=_waiting,
)
Index(
    "ix_timers_pending",
    timers.c.due_at,
    timers.c.timer_id,
    sqlite_where=timers.c.state == "pending",
    postgresql_where=timers.c.state == "pending",
)

instances = Table(
    "instances",
    metadata,
    Column("profile_id", String, nullable=False),
    Column("journey", String, nullable=False),
    Column("key", String, nullable=False),
    Column("state", String, nullable=False),
    Column("entered_at", _AT, nullable=False),
    Column("ends_at", _AT, nullable=False),
    Column("journey_version", String, nullable=False),
    PrimaryKeyConstraint("profile_id", "journey", "key"),
    sqlite_with_rowid=False,
)

assignments = Table(
    "assignments",
    metadata,
    Column("profile_id", String, nullable=False),
    Column("journey", String, nullable=False),
    Column("arm", String, nullable=False),
    Column("at", _AT, nullable=False),
    PrimaryKeyConstraint("profile_id", "journey"),
    sqlite_with_rowid=False,
)

counters = Table(
    "counters",
    metadata,
    Column("key", String, primary_key=True),
    Column("amount", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

spendings = Table(
    "spendings",
    metadata,
    Column("decision_id", String, nullable=False),
    Column("counter", String, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("state", String, nullable=False),
    PrimaryKeyConstraint("decision_id", "counter"),
    sqlite_with_rowid=False,
)

grants = Table(
    "grants",
    metadata,
    Column("grant_id", String, primary_key=True),
    Column("offer", String, nullable=False),
    Column("brand", String, nullable=False),
    Column("profile_id", String, nullable=False),
    Column("decision_id", String, nullable=False),
    # reserved -> granted -> redeemed | expired | revoked; or released, where nothing came of it.
    Column("state", String, nullable=False),
    Column("at", _AT, nullable=False),
    Column("expires_at", _AT),
    Column("ended_at", _AT),
    # Whether what was not used went back into stock.
    Column("returned", Integer, nullable=False),
    Index(None, "profile_id"),
    Index(None, "decision_id"),
)
Index(
    "ix_grants_expiring",
    grants.c.expires_at,
    grants.c.grant_id,
    sqlite_where=grants.c.state == "granted",
    postgresql_where=grants.c.state == "granted",
)

cases = Table(
    "cases",
    metadata,
    Column("case_id", String, primary_key=True),
    Column("profile_id", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("queue", String),
    Column("state", String, nullable=False),
    Column("opened_at", _AT, nullable=False),
    Column("accepted_at", _AT),
    Column("updated_at", _AT, nullable=False),
    Column("decision_id", String, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
)
Index(
    "ix_cases_open",
    cases.c.profile_id,
    cases.c.reason,
    unique=True,
    sqlite_where=cases.c.state == "open",
    postgresql_where=cases.c.state == "open",
)

requests = Table(
    "requests",
    metadata,
    Column("request_id", String, primary_key=True),
    *_chain(),
    Column("kind", String, nullable=False),
    Column("state", String, nullable=False),
    Column("received_at", _AT, nullable=False),
    Column("due_at", _AT, nullable=False),
    Column("at", _AT, nullable=False),
    Column("by", String, nullable=False),
    Column("kept", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Index(None, "profile_id"),
    Index(None, "due_at"),
)

inquiries = Table(
    "inquiries",
    metadata,
    Column("inquiry_id", String, primary_key=True),
    Column("profile_id", String, nullable=False),
    Column("action", String, nullable=False),
    Column("journey", String, nullable=False),
    Column("audience", String, nullable=False),
    Column("by", String, nullable=False),
    Column("at", _AT, nullable=False),
    Column("about_at", _AT, nullable=False),
    Column("verdict", String, nullable=False),
    Index(None, "profile_id"),
)

statutory = Table(
    "statutory",
    metadata,
    Column("profile_id", String, primary_key=True),
    Column("until_at", _AT, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
)

kill_switches = Table(
    "kill_switches",
    metadata,
    Column("switch_id", String, primary_key=True),
    Column("scope", String, nullable=False),
    Column("reason", Text, nullable=False),
    Column("on_at", _AT, nullable=False),
    Column("on_by", String, nullable=False),
    # Who asked first that it go on; another person has to as well.
    Column("asked_at", _AT),
    Column("asked_by", String),
    Column("off_at", _AT),
    Column("off_by", String),
    Column("off_reason", Text),
)

dead_letters = Table(
    "dead_letters",
    metadata,
    Column("dead_id", String, primary_key=True),
    Column("place", Text, nullable=False),
    Column("reason", String, nullable=False),
    Column("cause", Text, nullable=False),
    Column("remedy", Text, nullable=False),
    # Which of several equal rows of one file it is.
    Column("ordinal", Integer, nullable=False),
    Column("at", _AT, nullable=False),
    Column("state", String, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
)

workspaces = Table(
    "workspaces",
    metadata,
    Column("version", String, primary_key=True),
    Column("content", LargeBinary, nullable=False),
    Column("first_used_at", _AT, nullable=False),
)

propensity_models = Table(
    "propensity_models",
    metadata,
    Column("version", String, primary_key=True),
    Column("journey", String, nullable=False),
    Column("learning", String, nullable=False),
    # Which of the journey's models of this kind it is, from 1.
    Column("n", Integer, nullable=False),
    # The one that it went on from.
    Column("parent", String),
    Column("trained_at", _AT, nullable=False),
    # The instant up to which outcomes were known and learnt from.
    Column("until_at", _AT, nullable=False),
    Column("lessons", Integer, nullable=False),
    Column("rewarded", Integer, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Index(None, "journey", "learning", "n", unique=True),
)

chains = Table(
    "chains",
    metadata,
    Column("profile_id", String, primary_key=True),
    Column("length", Integer, nullable=False),
    Column("head", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

tombstones = Table(
    "tombstones",
    metadata,
    Column("profile_id", String, primary_key=True),
    Column("length", Integer, nullable=False),
    Column("head", LargeBinary, nullable=False),
    Column("kept", Integer, nullable=False),
    Column("kept_head", LargeBinary, nullable=False),
    Column("before_at", _AT, nullable=False),
    Column("pruned_at", _AT, nullable=False),
    Column("mac", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

ledger_roots = Table(
    "ledger_roots",
    metadata,
    Column("shard", String, primary_key=True),
    Column("entries", BigInteger, nullable=False),
    Column("total", LargeBinary, nullable=False),
    Column("mac", LargeBinary, nullable=False),
)
