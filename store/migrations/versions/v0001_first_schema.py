"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

STRING = sa.String().with_variant(sa.String(collation="C"), "postgresql")
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table('approval_votes',
    sa.Column('vote_id', STRING, nullable=False),
    sa.Column('profile_id', STRING, nullable=False),
    sa.Column('n', sa.Integer(), nullable=False),
    sa.Column('hash', sa.LargeBinary(), nullable=False),
    sa.Column('approval_id', STRING, nullable=False),
    sa.Column('vote', STRING, nullable=False),
    sa.Column('by', STRING, nullable=False),
    sa.Column('at', sa.BigInteger(), nullable=False),
    sa.Column('surface', STRING, nullable=False),
    sa.Column('reason', TEXT, nullable=False),
    sa.PrimaryKeyConstraint('vote_id', name=op.f('pk_approval_votes'))
    )
    op.create_index(op.f('ix_approval_votes_approval_id'), 'approval_votes', ['approval_id'], unique=False)
    op.create_index(op.f('ix_approval_votes_profile_id'), 'approval_votes', ['profile_id'], unique=False)
    op.create_table('approvals',
    sa.Column('approval_id', STRING, nullable=False),
    sa.Column('decision_id', STRING, nullable=False),
    sa.Column('profile_id', STRING, nullable=False),
    sa.Column('proposal_hash', STRING, nullable=False),
    sa.Column('policy_version', STRING, nullable=False),
    sa.Column('rule', STRING, nullable=False),
    sa.Column('reason', TEXT, nullable=False),
    sa.Column('role', STRING, nullable=False),
    sa.Column('quorum', sa.Integer(), nullable=False),
    sa.Column('action', STRING, nullable=False),
    sa.Column('journey', STRING, nullable=False),
    sa.Column('state', STRING, nullable=False),
    sa.Column('requested_at', sa.BigInteger(), nullable=False),
    sa.Column('expires_at', sa.BigInteger(), nullable=False),
    sa.Column('decided_at', sa.BigInteger(), nullable=True),
    sa.Column('decided_by', STRING, nullable=True),
    sa.PrimaryKeyConstraint('approval_id', name=op.f('pk_approvals'))
    )
    op.create_index(op.f('ix_approvals_profile_id'), 'approvals', ['profile_id'], unique=False)
    op.create_index(op.f('ix_approvals_state_expires_at'), 'approvals', ['state', 'expires_at'], unique=False)
    op.create_table('assignments',
    sa.Column('profile_id', STRING, nullable=False),
    sa.Column('journey', STRING, nullable=False),
    sa.Column('arm', STRING, nullable=False),
    sa.Column('at', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('profile_id', 'journey', name=op.f('pk_assignments')),
    sqlite_with_rowid=False
    )
    op.create_table('bounces',
    sa.Column('bounce_id', STRING, nullable=False),
    sa.Column('profile_id', STRING, nullable=False),
    sa.Column('ref', STRING, nullable=False),
    sa.Column('kind', STRING, nullable=False),
    sa.Column('at', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('bounce_id', name=op.f('pk_bounces'))
    )
    op.create_index(op.f('ix_bounces_profile_id'), 'bounces', ['profile_id'], unique=False)
    op.create_index(op.f('ix_bounces_ref_kind_at'), 'bounces', ['ref', 'kind', 'at'], unique=False)
    op.create_table('cases',
    sa.Column('case_id', STRING, nullable=False),
    sa.Column('profile_id', STRING, nullable=False),
    sa.Column('reason', STRING, nullable=False),
    sa.Column('kind', STRING, nullable=False),
    sa.Column('queue', STRING, nullable=True),
    sa.Column('state', STRING, nullable=False),
    sa.Column('opened_at', sa.BigInteger(), nullable=False),
    sa.Column('accepted_at', sa.BigInteger(), nullable=True),
    sa.Column('updated_at', sa.BigInteger(), nullable=False),
    sa.Column('decision_id', STRING, nullable=False),
    sa.Column('sealed', sa.LargeBinary(), nullable=False),
    sa.PrimaryKeyConstraint('case_id', name=op.f('pk_cases'))
    )
    op.create_index('ix_cases_open', 'cases', ['profile_id', 'reason'], unique=True, sqlite_where=sa.text("state = 'open'"), postgresql_where=sa.text("state = 'open'"))
    op.create_table('chains',
    sa.Column('profile_id', STRING, nullable=False),
    sa.Column('length', sa.Integer(), nullable=False),
    sa.Column('head', sa.LargeBinary(), nullable=False),
    sa.PrimaryKeyConstraint('profile_id', name=op.f('pk_chains')),
    sqlite_with_rowid=False
    )
    op.create_table('statutory',
    sa.Column('profile_id', STRING, nullable=False),
    sa.Column('until_at', sa.BigInteger(), nullable=False),
    sa.Column('sealed', sa.LargeBinary(), nullable=False),
    sa.PrimaryKeyConstraint('profile_id', name=op.f('pk_statutory'))
    )
    op.create_table('tombstones',
    sa.Column('profile_id', STRING, nullable=False),
    sa.Column('length', sa.Integer(), nullable=False),
    sa.Column('head', sa.LargeBinary(), nullable=False),
    sa.Column('kept', sa.Integer(), nullable=False),
    sa.Column('kept_head', sa.LargeBinary(), nullable=False),
    sa.Column('before_at', sa.BigInteger(), nullable=False),
    sa.Column('pruned_at', sa.BigInteger(), nullable=False),
    sa.Column('mac', sa.LargeBinary(), nullable=False),
    sa.PrimaryKeyConstraint('profile_id', name=op.f('pk_tombstones')),
    sqlite_with_rowid=False
    )
    op.create_table('consents',
    sa.Column('consent_id', STRING, nullable=False),
    sa.Column('profile_id', STRING, nullable=False),
    sa.Column('n', sa.Integer(), nullable=False),
    sa.Column('hash', sa.LargeBinary(), nullable=False),
    sa.Column('kind', STRING, nullable=False),
    sa.Column('controller', STRING, nullable=False),
    sa.Column('brand', STRING, nullable=True),
    sa.Column('channel', STRING, nullable=True),
    sa.Column('purpose', STRING, nullable=True),
    sa.Column('topic', STRING, nullable=True),
    sa.Column('contact_point', STRING, nullable=True),
    sa.Column('occurred_at', sa.BigInteger(), nullable=False),
    sa.Column('received_at', sa.BigInteger(), nullable=False),
    sa.Column('expires_at', sa.BigInteger(), nullable=True),
    sa.Column('source', STRING, nullable=False),
    sa.Column('sealed', sa.LargeBinary(), nullable=False),
    sa.PrimaryKeyConstraint('consent_id', name=op.f('pk_consents'))
    )
    op.create_index(op.f('ix_consents_contact_point'), 'consents', ['contact_point'], unique=False)
    op.create_index(op.f('ix_consents_profile_id'), 'consents', ['profile_id'], unique=False)
    op.create_table('contacts',
    sa.Column('contact_id', STRING, nullable=False),
    sa.Column('profile_id', STRING, nullable=False),
    sa.Column('contact_point', STRING, nullable=True),
    sa.Column('at', sa.BigInteger(), nullable=False),
    sa.Column('brand', STRING, nullable=False),
    sa.Column('channel', STRING, nullable=False),
    sa.Column('purpose', STRING, nullable=False),
    sa.Column('topic', STRING, nullable=True),
    sa.Column('journey', STRING, nullable=True),
    sa.Column('instance', STRING, nullable=True),
    sa.Column('team', STRING, nullable=True),
    sa.Column('action', STRING, nullable=False),
    sa.Column('action_groups', STRING, nullable=True),
    sa.Column('household', STRING, nullable=True),
    sa.Column('continues', sa.Integer(), nullable=True),
    sa.Column('decision_id', STRING, nullable=True),
    sa.Column('creative', STRING, nullable=True),
    sa.Column('counted', sa.Integer(), nullable=False),
    sa.Column('state', STRING, nullable=False),
    sa.PrimaryKeyConstraint('contact_id', name=op.f('pk_contacts'))
    )
    op.create_index(op.f('ix_contacts_contact_point_at'), 'contacts', ['contact_point', 'at'], unique=False)
    op.create_index(op.f('ix_contacts_household_at'), 'contacts', ['household', 'at'], unique=False)
    op.create_index(op.f('ix_contacts_profile_id_at'), 'contacts', ['profile_id', 'at'], unique=False)
    op.create_table('counters',
    sa.Column('key', STRING, nullable=False),
    sa.Column('amount', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('key', name=op.f('pk_counters')),
    sqlite_with_rowid=False
    )
    op.create_table('spendings',
    sa.Column('decision_id', STRING, nullable=False),
    sa.Column('counter', STRING, nullable=False),
    sa.Column('amount', sa.BigInteger(), nullable=False),
    sa.Column('state', STRING, nullable=False),
    sa.PrimaryKeyConstraint('decision_id', 'counter', name=op.f('pk_spendings')),
    sqlite_with_rowid=False
    )
    op.create_table('data_keys',
    sa.Column('profile_id', STRING, nullable=False),
    sa.Column('retention', STRING, nullable=False),
    sa.Column('wrapped', sa.LargeBinary(), nullable=False),
    sa.PrimaryKeyConstraint('profile_id', 'retention', name=op.f('pk_data_keys')),
    sqlite_with_rowid=False
    )
    op.create_table('dead_letters',
    sa.Column('dead_id', STRING, nullable=False),
    sa.Column('place', TEXT, nullable=False),
    sa.Column('reason', STRING, nullable=False),
    sa.Column('cause', TEXT, nullable=False),
    sa.Column('remedy', TEXT, nullable=False),
    sa.Column('ordinal', sa.Integer(), nullable=False),
    sa.Column('at', sa.BigInteger(), nullable=False),
    sa.Column('state', STRING, nullable=False),
    sa.Column('sealed', sa.LargeBinary(), nullable=False),
    sa.PrimaryKeyConstraint('dead_id', name=op.f('pk_dead_letters'))
    )
    op.create_table('decisions',
    sa.Column('decision_id', STRING, nullable=False),
    sa.Column('profile_id', STRING, nullable=False),
    sa.Column('n', sa.Integer(), nullable=False),
    sa.Column('hash', sa.LargeBinary(), nullable=False),
    sa.Column('at', sa.BigInteger(), nullable=False),
    sa.Column('recorded_at', sa.BigInteger(), nullable=False),
    sa.Column('event_key', sa.LargeBinary(), nullable=False),
    sa.Column('event', STRING, nullable=False),
    sa.Column('pass_kind', STRING, nullable=False),
    sa.Column('pass_n', sa.Integer(), nullable=False),
    sa.Column('parent_id', STRING, nullable=True),
    sa.Column('journey', STRING, nullable=True),
    sa.Column('action', STRING, nullable=False),
    sa.Column('tool', STRING, nullable=True),
    sa.Column('channel', STRING, nullable=True),
    sa.Column('verdict', STRING, nullable=False),
    sa.Column('held_for', STRING, nullable=True),
    sa.Column('code', STRING, nullable=True),
    sa.Column('reason', TEXT, nullable=False),
    sa.Column('rule', STRING, nullable=True),
    sa.Column('mind', STRING, nullable=False),
    sa.Column('next_eligible_at', sa.BigInteger(), nullable=True),
    sa.Column('workspace_version', STRING, nullable=False),
    sa.Column('policy_version', STRING, nullable=False),
    sa.Column('sealed', sa.LargeBinary(), nullable=False),
    sa.PrimaryKeyConstraint('decision_id', name=op.f('pk_decisions'))
    )
    op.create_index(op.f('ix_decisions_profile_id_n'), 'decisions', ['profile_id', 'n'], unique=False)
    op.create_table('events',
    sa.Column('event_key', sa.LargeBinary(), nullable=False),
    sa.Column('content', sa.LargeBinary(), nullable=False),
    sa.Column('decision_id', STRING, nullable=True),
    sa.Column('profile_id', STRING, nullable=True),
    sa.Column('received_at', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('event_key', name=op.f('pk_events')),
    sqlite_with_rowid=False
    )
    op.create_table('grants',
    sa.Column('grant_id', STRING, nullable=False),
    sa.Column('offer', STRING, nullable=False),
    sa.Column('brand', STRING, nullable=False),
    sa.Column('profile_id', STRING, nullable=False),
    sa.Column('decision_id', STRING, nullable=False),
    sa.Column('state', STRING, nullable=False),
    sa.Column('at', sa.BigInteger(), nullable=False),
    sa.Column('expires_at', sa.BigInteger(), nullable=True),
    sa.Column('ended_at', sa.BigInteger(), nullable=True),
    sa.Column('returned', sa.Integer(), nullable=False),
    sa.PrimaryKeyConstraint('grant_id', name=op.f('pk_grants'))
    )
    op.create_index(op.f('ix_grants_decision_id'), 'grants', ['decision_id'], unique=False)
    op.create_index('ix_grants_expiring', 'grants', ['expires_at', 'grant_id'], unique=False, sqlite_where=sa.text("state = 'granted'"), postgresql_where=sa.text("state = 'granted'"))
    op.create_index(op.f('ix_grants_profile_id'), 'grants', ['profile_id'], unique=False)
    op.create_table('identifiers',
    sa.Column('ref', STRING, nullable=False),
    sa.Column('profile_id', STRING, nullable=False),
    sa.Column('ns', STRING, nullable=False),
    sa.Column('slot', sa.Integer(), nullable=False),
    sa.Column('unreachable_until_at', sa.BigInteger(), nullable=True),
    sa.PrimaryKeyConstraint('ref', 'profile_id', name=op.f('pk_identifiers')),
    sqlite_with_rowid=False
    )
    op.create_table('requests',
    sa.Column('request_id', STRING, nullable=False),
    sa.Column('profile_id', STRING, nullable=False),
    sa.Column('n', sa.Integer(), nullable=False),
    sa.Column('hash', sa.LargeBinary(), nullable=False),
    sa.Column('kind', STRING, nullable=False),
    sa.Column('state', STRING, nullable=False),
    sa.Column('received_at', sa.BigInteger(), nullable=False),
    sa.Column('due_at', sa.BigInteger(), nullable=False),
    sa.Column('at', sa.BigInteger(), nullable=False),
    sa.Column('by', STRING, nullable=False),
    sa.Column('kept', TEXT, nullable=False),
    sa.Column('sealed', sa.LargeBinary(), nullable=False),
    sa.PrimaryKeyConstraint('request_id', name=op.f('pk_requests'))
    )
    op.create_index(op.f('ix_requests_due_at'), 'requests', ['due_at'], unique=False)
    op.create_index(op.f('ix_requests_profile_id'), 'requests', ['profile_id'], unique=False)
    op.create_table('rulings',
    sa.Column('ruling_id', STRING, nullable=False),
    sa.Column('profile_id', STRING, nullable=False),
    sa.Column('n', sa.Integer(), nullable=False),
    sa.Column('hash', sa.LargeBinary(), nullable=False),
    sa.Column('one', STRING, nullable=False),
    sa.Column('other', STRING, nullable=False),
    sa.Column('ruling', STRING, nullable=False),
    sa.Column('at', sa.BigInteger(), nullable=False),
    sa.Column('by', STRING, nullable=False),
    sa.Column('reason', TEXT, nullable=False),
    sa.PrimaryKeyConstraint('ruling_id', name=op.f('pk_rulings'))
    )
    op.create_index(op.f('ix_rulings_one'), 'rulings', ['one'], unique=False)
    op.create_index(op.f('ix_rulings_other'), 'rulings', ['other'], unique=False)
    op.create_index(op.f('ix_rulings_profile_id'), 'rulings', ['profile_id'], unique=False)
    op.create_table('logouts',
    sa.Column('ref', STRING, nullable=False),
    sa.Column('at', sa.BigInteger(), nullable=False),
    sa.Column('profile_id', STRING, nullable=False),
    sa.PrimaryKeyConstraint('ref', 'at', name=op.f('pk_logouts')),
    sqlite_with_rowid=False
    )
    op.create_index(op.f('ix_logouts_profile_id'), 'logouts', ['profile_id'], unique=False)
    op.create_index(op.f('ix_identifiers_profile_id'), 'identifiers', ['profile_id'], unique=False)
    op.create_table('inquiries',
    sa.Column('inquiry_id', STRING, nullable=False),
    sa.Column('profile_id', STRING, nullable=False),
    sa.Column('action', STRING, nullable=False),
    sa.Column('journey', STRING, nullable=False),
    sa.Column('audience', STRING, nullable=False),
    sa.Column('by', STRING, nullable=False),
    sa.Column('at', sa.BigInteger(), nullable=False),
    sa.Column('about_at', sa.BigInteger(), nullable=False),
    sa.Column('verdict', STRING, nullable=False),
    sa.PrimaryKeyConstraint('inquiry_id', name=op.f('pk_inquiries'))
    )
    op.create_index(op.f('ix_inquiries_profile_id'), 'inquiries', ['profile_id'], unique=False)
    op.create_table('instances',
    sa.Column('profile_id', STRING, nullable=False),
    sa.Column('journey', STRING, nullable=False),
    sa.Column('key', STRING, nullable=False),
    sa.Column('state', STRING, nullable=False),
    sa.Column('entered_at', sa.BigInteger(), nullable=False),
    sa.Column('ends_at', sa.BigInteger(), nullable=False),
    sa.Column('journey_version', STRING, nullable=False),
    sa.PrimaryKeyConstraint('profile_id', 'journey', 'key', name=op.f('pk_instances')),
    sqlite_with_rowid=False
    )
    op.create_table('kill_switches',
    sa.Column('switch_id', STRING, nullable=False),
    sa.Column('scope', STRING, nullable=False),
    sa.Column('reason', TEXT, nullable=False),
    sa.Column('on_at', sa.BigInteger(), nullable=False),
    sa.Column('on_by', STRING, nullable=False),
    sa.Column('asked_at', sa.BigInteger(), nullable=True),
    sa.Column('asked_by', STRING, nullable=True),
    sa.Column('off_at', sa.BigInteger(), nullable=True),
    sa.Column('off_by', STRING, nullable=True),
    sa.Column('off_reason', TEXT, nullable=True),
    sa.PrimaryKeyConstraint('switch_id', name=op.f('pk_kill_switches'))
    )
    op.create_table('ledger_roots',
    sa.Column('shard', STRING, nullable=False),
    sa.Column('entries', sa.BigInteger(), nullable=False),
    sa.Column('total', sa.LargeBinary(), nullable=False),
    sa.Column('mac', sa.LargeBinary(), nullable=False),
    sa.PrimaryKeyConstraint('shard', name=op.f('pk_ledger_roots'))
    )
    op.create_table('meta',
    sa.Column('key', STRING, nullable=False),
    sa.Column('value', TEXT, nullable=False),
    sa.PrimaryKeyConstraint('key', name=op.f('pk_meta')),
    sqlite_with_rowid=False
    )
    op.create_table('outbox',
    sa.Column('outbox_id', STRING, nullable=False),
    sa.Column('decision_id', STRING, nullable=False),
    sa.Column('profile_id', STRING, nullable=False),
    sa.Column('permit_id', STRING, nullable=False),
    sa.Column('step', sa.Integer(), nullable=False),
    sa.Column('tool', STRING, nullable=False),
    sa.Column('channel', STRING, nullable=True),
    sa.Column('journey', STRING, nullable=False),
    sa.Column('team', STRING, nullable=False),
    sa.Column('state', STRING, nullable=False),
    sa.Column('owner', STRING, nullable=False),
    sa.Column('not_after_at', sa.BigInteger(), nullable=False),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.Column('updated_at', sa.BigInteger(), nullable=False),
    sa.Column('flag', STRING, nullable=True),
    sa.Column('detail', TEXT, nullable=False),
    sa.Column('sealed', sa.LargeBinary(), nullable=False),
    sa.PrimaryKeyConstraint('outbox_id', name=op.f('pk_outbox'))
    )
    op.create_index(op.f('ix_outbox_decision_id'), 'outbox', ['decision_id'], unique=False)
    op.create_index('ix_outbox_open', 'outbox', ['state'], unique=False, sqlite_where=sa.text("state IN ('intended', 'sending', 'unknown')"), postgresql_where=sa.text("state IN ('intended', 'sending', 'unknown')"))
    op.create_table('outcomes',
    sa.Column('outcome_id', STRING, nullable=False),
    sa.Column('profile_id', STRING, nullable=False),
    sa.Column('n', sa.Integer(), nullable=False),
    sa.Column('hash', sa.LargeBinary(), nullable=False),
    sa.Column('outbox_id', STRING, nullable=False),
    sa.Column('decision_id', STRING, nullable=False),
    sa.Column('step', sa.Integer(), nullable=False),
    sa.Column('state', STRING, nullable=False),
    sa.Column('code', STRING, nullable=True),
    sa.Column('at', sa.BigInteger(), nullable=False),
    sa.Column('detail', TEXT, nullable=False),
    sa.Column('by', STRING, nullable=True),
    sa.PrimaryKeyConstraint('outcome_id', name=op.f('pk_outcomes'))
    )
    op.create_index(op.f('ix_outcomes_decision_id'), 'outcomes', ['decision_id'], unique=False)
    op.create_table('permits',
    sa.Column('permit_id', STRING, nullable=False),
    sa.Column('decision_id', STRING, nullable=False),
    sa.Column('proposal_hash', STRING, nullable=False),
    sa.Column('policy_version', STRING, nullable=False),
    sa.Column('not_after_at', sa.BigInteger(), nullable=False),
    sa.Column('spent_at', sa.BigInteger(), nullable=True),
    sa.PrimaryKeyConstraint('permit_id', name=op.f('pk_permits')),
    sqlite_with_rowid=False
    )
    op.create_table('profiles',
    sa.Column('profile_id', STRING, nullable=False),
    sa.Column('root_id', STRING, nullable=False),
    sa.Column('followed', TEXT, nullable=False),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.Column('updated_at', sa.BigInteger(), nullable=False),
    sa.Column('sealed', sa.LargeBinary(), nullable=True),
    sa.PrimaryKeyConstraint('profile_id', name=op.f('pk_profiles'))
    )
    op.create_index(op.f('ix_profiles_root_id'), 'profiles', ['root_id'], unique=False)
    op.create_table('revisions',
    sa.Column('key', STRING, nullable=False),
    sa.Column('revision', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('key', name=op.f('pk_revisions')),
    sqlite_with_rowid=False
    )
    op.create_table('sources',
    sa.Column('source', STRING, nullable=False),
    sa.Column('watermark_at', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('source', name=op.f('pk_sources')),
    sqlite_with_rowid=False
    )
    op.create_table('suppressions',
    sa.Column('suppression_id', STRING, nullable=False),
    sa.Column('profile_id', STRING, nullable=False),
    sa.Column('n', sa.Integer(), nullable=False),
    sa.Column('hash', sa.LargeBinary(), nullable=False),
    sa.Column('target', STRING, nullable=False),
    sa.Column('ref', STRING, nullable=False),
    sa.Column('brand', STRING, nullable=True),
    sa.Column('channels', TEXT, nullable=True),
    sa.Column('blocks', STRING, nullable=False),
    sa.Column('reason', STRING, nullable=False),
    sa.Column('shown_to', TEXT, nullable=False),
    sa.Column('until_grant', sa.Integer(), nullable=False),
    sa.Column('holds_rest', sa.Integer(), nullable=False),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.Column('expires_at', sa.BigInteger(), nullable=True),
    sa.Column('by', STRING, nullable=True),
    sa.Column('lifts', STRING, nullable=True),
    sa.PrimaryKeyConstraint('suppression_id', name=op.f('pk_suppressions'))
    )
    op.create_index(op.f('ix_suppressions_ref'), 'suppressions', ['ref'], unique=False)
    op.create_table('timers',
    sa.Column('timer_id', STRING, nullable=False),
    sa.Column('due_at', sa.BigInteger(), nullable=False),
    sa.Column('kind', STRING, nullable=False),
    sa.Column('profile_id', STRING, nullable=False),
    sa.Column('decision_id', STRING, nullable=False),
    sa.Column('purpose', STRING, nullable=True),
    sa.Column('channel', STRING, nullable=True),
    sa.Column('state', STRING, nullable=False),
    sa.Column('expires_at', sa.BigInteger(), nullable=False),
    sa.Column('journey', STRING, nullable=True),
    sa.Column('instance', STRING, nullable=True),
    sa.Column('since_at', sa.BigInteger(), nullable=True),
    sa.Column('watch_at', sa.BigInteger(), nullable=True),
    sa.Column('waits_for', STRING, nullable=True),
    sa.Column('sealed', sa.LargeBinary(), nullable=False),
    sa.PrimaryKeyConstraint('timer_id', name=op.f('pk_timers'))
    )
    op.create_index(op.f('ix_timers_decision_id'), 'timers', ['decision_id'], unique=False)
    op.create_index('ix_timers_pending', 'timers', ['due_at', 'timer_id'], unique=False, sqlite_where=sa.text("state = 'pending'"), postgresql_where=sa.text("state = 'pending'"))
    op.create_index('ix_timers_waiting', 'timers', ['waits_for', 'watch_at'], unique=False, sqlite_where=sa.text("state = 'pending' AND waits_for IS NOT NULL"), postgresql_where=sa.text("state = 'pending' AND waits_for IS NOT NULL"))
    op.create_index(op.f('ix_timers_profile_id'), 'timers', ['profile_id'], unique=False)
    op.create_table('propensity_models',
    sa.Column('version', STRING, nullable=False),
    sa.Column('journey', STRING, nullable=False),
    sa.Column('learning', STRING, nullable=False),
    sa.Column('n', sa.Integer(), nullable=False),
    sa.Column('parent', STRING, nullable=True),
    sa.Column('trained_at', sa.BigInteger(), nullable=False),
    sa.Column('until_at', sa.BigInteger(), nullable=False),
    sa.Column('lessons', sa.Integer(), nullable=False),
    sa.Column('rewarded', sa.Integer(), nullable=False),
    sa.Column('content', sa.LargeBinary(), nullable=False),
    sa.PrimaryKeyConstraint('version', name=op.f('pk_propensity_models'))
    )
    op.create_index(op.f('ix_propensity_models_journey_learning_n'), 'propensity_models', ['journey', 'learning', 'n'], unique=True)
    op.create_table('workspaces',
    sa.Column('version', STRING, nullable=False),
    sa.Column('content', sa.LargeBinary(), nullable=False),
    sa.Column('first_used_at', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('version', name=op.f('pk_workspaces'))
    )


def downgrade() -> None:
    op.drop_table('workspaces')
    op.drop_index(op.f('ix_propensity_models_journey_learning_n'), table_name='propensity_models')
    op.drop_table('propensity_models')
    op.drop_table('tombstones')
    op.drop_table('statutory')
    op.drop_index(op.f('ix_timers_profile_id'), table_name='timers')
    op.drop_index('ix_timers_waiting', table_name='timers', sqlite_where=sa.text("state = 'pending' AND waits_for IS NOT NULL"), postgresql_where=sa.text("state = 'pending' AND waits_for IS NOT NULL"))
    op.drop_index('ix_timers_pending', table_name='timers', sqlite_where=sa.text("state = 'pending'"), postgresql_where=sa.text("state = 'pending'"))
    op.drop_index(op.f('ix_timers_decision_id'), table_name='timers')
    op.drop_table('timers')
    op.drop_index(op.f('ix_suppressions_ref'), table_name='suppressions')
    op.drop_table('suppressions')
    op.drop_table('sources')
    op.drop_table('revisions')
    op.drop_index(op.f('ix_profiles_root_id'), table_name='profiles')
    op.drop_table('profiles')
    op.drop_table('permits')
    op.drop_index(op.f('ix_outcomes_decision_id'), table_name='outcomes')
    op.drop_table('outcomes')
    op.drop_index('ix_outbox_open', table_name='outbox', sqlite_where=sa.text("state IN ('intended', 'sending', 'unknown')"), postgresql_where=sa.text("state IN ('intended', 'sending', 'unknown')"))
    op.drop_index(op.f('ix_outbox_decision_id'), table_name='outbox')
    op.drop_table('outbox')
    op.drop_table('meta')
    op.drop_table('ledger_roots')
    op.drop_table('kill_switches')
    op.drop_table('instances')
    op.drop_index(op.f('ix_inquiries_profile_id'), table_name='inquiries')
    op.drop_table('inquiries')
    op.drop_index(op.f('ix_identifiers_profile_id'), table_name='identifiers')
    op.drop_table('identifiers')
    op.drop_index(op.f('ix_requests_profile_id'), table_name='requests')
    op.drop_index(op.f('ix_requests_due_at'), table_name='requests')
    op.drop_table('requests')
    op.drop_index(op.f('ix_rulings_profile_id'), table_name='rulings')
    op.drop_index(op.f('ix_rulings_other'), table_name='rulings')
    op.drop_index(op.f('ix_rulings_one'), table_name='rulings')
    op.drop_table('rulings')
    op.drop_index(op.f('ix_logouts_profile_id'), table_name='logouts')
    op.drop_table('logouts')
    op.drop_index(op.f('ix_grants_profile_id'), table_name='grants')
    op.drop_index('ix_grants_expiring', table_name='grants', sqlite_where=sa.text("state = 'granted'"), postgresql_where=sa.text("state = 'granted'"))
    op.drop_index(op.f('ix_grants_decision_id'), table_name='grants')
    op.drop_table('grants')
    op.drop_table('events')
    op.drop_index(op.f('ix_decisions_profile_id_n'), table_name='decisions')
    op.drop_table('decisions')
    op.drop_table('dead_letters')
    op.drop_table('data_keys')
    op.drop_table('spendings')
    op.drop_table('counters')
    op.drop_index(op.f('ix_contacts_profile_id_at'), table_name='contacts')
    op.drop_index(op.f('ix_contacts_household_at'), table_name='contacts')
    op.drop_index(op.f('ix_contacts_contact_point_at'), table_name='contacts')
    op.drop_table('contacts')
    op.drop_index(op.f('ix_consents_profile_id'), table_name='consents')
    op.drop_index(op.f('ix_consents_contact_point'), table_name='consents')
    op.drop_table('consents')
    op.drop_table('chains')
    op.drop_index('ix_cases_open', table_name='cases', sqlite_where=sa.text("state = 'open'"), postgresql_where=sa.text("state = 'open'"))
    op.drop_table('cases')
    op.drop_index(op.f('ix_bounces_ref_kind_at'), table_name='bounces')
    op.drop_index(op.f('ix_bounces_profile_id'), table_name='bounces')
    op.drop_table('bounces')
    op.drop_table('assignments')
    op.drop_index(op.f('ix_approvals_state_expires_at'), table_name='approvals')
    op.drop_index(op.f('ix_approvals_profile_id'), table_name='approvals')
    op.drop_table('approvals')
    op.drop_index(op.f('ix_approval_votes_profile_id'), table_name='approval_votes')
    op.drop_index(op.f('ix_approval_votes_approval_id'), table_name='approval_votes')
    op.drop_table('approval_votes')
