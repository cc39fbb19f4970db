"""That a person has let a held span in, as ML Metadata has it: properties of the profile that holds it."""

from __future__ import annotations

from ml_metadata.metadata_store import metadata_store

from pipeline.ledger.reader import LedgerReader, newest_of
from pipeline.ledger.runs import HELD, RELEASED, SPAN_PROFILE, Run, run_id

REASON, TIME = "released_reason", "released_at"


def mark_released(store: metadata_store.MetadataStore, pipeline: str, run: Run, reason: str, when: str) -> None:
    """Marks a held run as released, wholly or, if this is cut off, not at all.

    Args:
      store: ML Metadata.
      pipeline: its name.
      run: the run, which is held.
      reason: why, for whoever reads the ledger.
      when: the time, in ISO 8601.
    """
    reader = LedgerReader(store, pipeline)
    made = reader.artifacts(reader.run(run_id(pipeline, run.name, run.revision)))
    profile = newest_of(made, SPAN_PROFILE, run.span, HELD)
    assert profile is not None, "a run that is held has a profile"
    artifacts = store.get_artifacts_by_id([profile.id])
    for artifact in artifacts:
        artifact.custom_properties[RELEASED].int_value = 1
        artifact.custom_properties[REASON].string_value = reason
        artifact.custom_properties[TIME].string_value = when
    # One call is one transaction.
    store.put_artifacts(artifacts)
