"""The first tables.

Revision 0001.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op


revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

COUNT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_table(
        "counters",
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("value", COUNT, nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "bundles",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("suite", sa.String(length=100), nullable=False),
        sa.Column("task", sa.String(length=100), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("defense", sa.String(length=80), nullable=False),
        sa.Column("url", sa.String(length=300), nullable=False),
        sa.Column("licence", sa.String(length=80), nullable=False),
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("target", sa.String(length=64), nullable=True),
        sa.Column("model_hash", sa.String(length=64), nullable=False),
        sa.Column("data_hash", sa.String(length=64), nullable=False),
        sa.Column("size", COUNT, nullable=False),
        sa.ForeignKeyConstraint(["account"], ["accounts.key"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_bundles_account"), "bundles", ["account"], unique=False)
    op.create_index(op.f("ix_bundles_target"), "bundles", ["target"], unique=False)
    op.create_table(
        "tokens",
        sa.Column("id", COUNT, nullable=False),
        sa.Column("prefix", sa.String(length=16), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("note", sa.String(length=200), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("revoked", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["account"], ["accounts.key"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("hash"),
        sa.UniqueConstraint("prefix"),
    )
    op.create_index(op.f("ix_tokens_account"), "tokens", ["account"], unique=False)
    op.create_table(
        "entries",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("level", sa.String(length=20), nullable=False),
        sa.Column("reasons", sa.Text(), nullable=False),
        sa.Column("nonce", sa.String(length=64), nullable=False),
        sa.Column("holds", sa.String(length=400), nullable=True),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("changed", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["id"], ["bundles.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("holds"),
    )
    op.create_index("entries_by_state", "entries", ["state", "created"], unique=False)
    op.create_table(
        "history",
        sa.Column("id", COUNT, nullable=False),
        sa.Column("bundle", sa.String(length=64), nullable=False),
        sa.Column("number", COUNT, nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("exported", COUNT, nullable=False),
        sa.ForeignKeyConstraint(["bundle"], ["bundles.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("bundle", "number"),
    )
    op.create_index("history_to_export", "history", ["exported"], unique=False)
    op.create_table(
        "jobs",
        sa.Column("id", COUNT, nullable=False),
        sa.Column("bundle", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("worker", sa.String(length=200), nullable=False),
        sa.Column("lease", sa.String(length=32), nullable=True),
        sa.Column("until", sa.Double(), nullable=False),
        sa.Column("not_before", sa.Double(), nullable=False),
        sa.Column("attempts", COUNT, nullable=False),
        sa.Column("progress", sa.Text(), nullable=False),
        sa.Column("trouble", sa.Text(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["bundle"], ["bundles.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("bundle"),
    )
    op.create_index("jobs_by_state", "jobs", ["state", "not_before"], unique=False)
    op.create_table(
        "results",
        sa.Column("bundle", sa.String(length=64), nullable=False),
        sa.Column("suite", sa.String(length=100), nullable=False),
        sa.Column("task", sa.String(length=100), nullable=False),
        sa.Column("basis", sa.String(length=64), nullable=False),
        sa.Column("row", sa.LargeBinary(), nullable=False),
        sa.Column("sample", sa.LargeBinary(), nullable=False),
        sa.Column("clean", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["bundle"], ["bundles.id"]),
        sa.PrimaryKeyConstraint("bundle"),
    )
    op.create_index(op.f("ix_results_suite"), "results", ["suite"], unique=False)
    op.create_table(
        "verdicts",
        sa.Column("id", COUNT, nullable=False),
        sa.Column("job", COUNT, nullable=True),
        sa.Column("bundle", sa.String(length=64), nullable=False),
        sa.Column("level", sa.String(length=20), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["bundle"], ["bundles.id"]),
        sa.ForeignKeyConstraint(["job"], ["jobs.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("job"),
    )
    op.create_index(op.f("ix_verdicts_bundle"), "verdicts", ["bundle"], unique=False)


def downgrade() -> None:
    for table in ("verdicts", "results", "jobs", "history", "entries", "tokens", "bundles", "counters", "accounts"):
        op.drop_table(table)
