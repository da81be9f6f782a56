"""A bundle's records as verification found them: what a board shows is the verifier's, wherever it looked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from leaderboard.bundle.reading import Bundle, open_bundle
from leaderboard.database.blob_store import Depot
from leaderboard.database.models import StoredVerdict
from leaderboard.records.record import Result
from leaderboard.records.verdict import CellCheck, Verdict, decode_verdict


def open_verified(session: Session, depot: Depot, bundle: str) -> Bundle:
    """A stored bundle with the values and diagnostics that its verification found in place of those that it claims.

    Raises BundleError and StoreError for a bundle that is damaged, ResultError for such a verdict.
    """
    query = select(StoredVerdict.document).where(StoredVerdict.bundle == bundle).order_by(StoredVerdict.id.desc())
    document = session.scalars(query.limit(1)).first()
    opened = open_bundle(depot.bundle_path(bundle))
    return opened if document is None else corrected(opened, decode_verdict(document.encode()))


def corrected(bundle: Bundle, verdict: Verdict) -> Bundle:
    """The bundle as its verdict corrects it."""
    checks = {check.id: check for check in verdict.cells if check.corrected or check.columns or check.diagnostics}
    if not checks:
        return bundle
    records = {
        cell_id: _corrected(result, checks[cell_id]) if cell_id in checks else result
        for cell_id, result in bundle.records.items()
    }
    return replace(bundle, records=records)


def _corrected(result: Result, check: CellCheck) -> Result:
    """Values where the check found others, and its diagnostics in place of what the record says of the same."""
    found = {one.name for one in check.diagnostics}
    diagnostics = (*(one for one in result.diagnostics if one.name not in found), *check.diagnostics)
    result = msgspec.structs.replace(result, diagnostics=diagnostics)
    examples = result.examples
    if examples is None:
        return result

    def replaced(column: Sequence[float], by: Mapping[str, float]) -> tuple[float, ...]:
        return tuple(by.get(name, value) for name, value in zip(examples.ids, column, strict=True))

    values = replaced(examples.values, check.corrected)
    columns = {name: replaced(column, check.columns.get(name, {})) for name, column in examples.columns.items()}
    return msgspec.structs.replace(result, examples=msgspec.structs.replace(examples, values=values, columns=columns))
