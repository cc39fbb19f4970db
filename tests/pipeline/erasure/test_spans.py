"""A day that is forgotten takes all that stands on it along; the days after are run again without it."""

from __future__ import annotations

from typing import Any

import pytest

from components.resolvers import PreviousState, StateRemovedError
from components.span_pusher.version_folder import versions
from components.suppression_list import SuppressionList
from pipeline.erasure import spans
from pipeline.erasure.errors import ErasureError
from pipeline.erasure.pending import pending_lines, read_pending
from pipeline.erasure.recovery import end_erasures
from pipeline.ledger.artifacts import read_artifacts
from pipeline.ledger.runs import read_runs, run_id
from pipeline.ledger.serving_state import read_serving_state
from pipeline.operations.rollback import RollbackError
from pipeline.planning.deliveries import read_deliveries
from tests.pipeline.made_store import DAYS, MadeStore

ONE, TWO = 2024050101, 2024050201
DAY = {day: DAYS.parse(f"2024-05-0{day}") for day in range(1, 6)}


def history(made: MadeStore, day: int, revision: int = 1) -> None:
    """The state that a day leaves, on the disk and in ML Metadata."""
    name = f"2024-05-0{day}"
    folder = made.config.artifacts_path / "SpanTransform" / "history" / f"{10 * day + revision}"
    folder.mkdir(parents=True)
    (folder / "history.parquet").write_text(f"state of {name}")
    contexts = [made._pipeline, made._context("pipeline_run", run_id("shop", name, revision))]
    artifact = made._artifact("WarmspanKeyHistory", {"span": DAY[day]}, str(folder))
    made._run("SpanTransform", contexts, [], [("history", artifact)])


@pytest.fixture
def four(made: MadeStore) -> MadeStore:
    """Four days whose files are there, and those of a fifth that was not run."""
    made.chain(4)
    for day in range(1, 6):
        path = made.config.data.path / f"2024-05-0{day}" / "events.csv"
        path.parent.mkdir(parents=True)
        path.write_text("user_id,item_id,timestamp,quantity\n")
        if day < 5:
            history(made, day)
    log = made.config.logs_path / "runs" / "shop.2024-05-03.r01.log"
    log.parent.mkdir(parents=True)
    log.write_text("said")
    return made


def resolve(made: MadeStore, day: int) -> dict[str, Any]:
    return PreviousState(DAY[day], "shop").resolve_artifacts(made.store, {"history": []})


def test_what_stands_on_the_day_goes_and_what_was_before_is_served(four: MadeStore) -> None:
    config, before = four.config, read_runs(four.config)
    planned = spans.make_span_erasure(config, "2024-05-03")
    assert versions(config.serving_path)[-1] == 2024050401, "a plan changes nothing"
    assert planned.again == (DAY[4],)
    spans.carry_out(config, planned)
    assert versions(config.serving_path) == [ONE, TWO]
    assert set(four.revoked()) == {2024050301, 2024050401}
    assert "2024-05-03, which was forgotten" in four.revoked()[2024050401]
    assert {record.span for record in read_artifacts(config, four.store).all if record.live} == {DAY[1], DAY[2]}
    assert len(list((config.artifacts_path / "SpanTransform" / "history").iterdir())) == 2
    assert not (config.logs_path / "runs" / "shop.2024-05-03.r01.log").exists()
    assert [run.name for run in read_runs(config)] == [run.name for run in before], "the ledger is whole"
    assert read_serving_state(config).champion.version == TWO


def test_its_files_count_as_never_delivered(four: MadeStore) -> None:
    spans.carry_out(four.config, spans.make_span_erasure(four.config, "2024-05-03"))
    assert list(read_deliveries(four.config)) == [DAY[1], DAY[2], DAY[4], DAY[5]]


def test_the_day_after_must_be_run_again_before_a_new_one(four: MadeStore) -> None:
    spans.carry_out(four.config, spans.make_span_erasure(four.config, "2024-05-03"))
    pending = read_pending(four.config)
    assert pending_lines(pending, four.config) == [
        "erasure   2024-05-04 stood on a day that was forgotten: `warmspan run --from 2024-05-04 --redo`."
    ]
    with pytest.raises(StateRemovedError, match=r"By `warmspan forget --span`: run the days after that one"):
        resolve(four, 5)
    assert resolve(four, 4) == {"history": []}, "from the state before the forgotten day, not from nothing"
    history(four, 4, revision=2)
    assert read_pending(four.config).empty


def test_what_was_cut_off_is_ended_before_the_next_run_and_touches_nothing_after_it(four: MadeStore) -> None:
    SuppressionList.new().with_spans([DAY[3]]).save(four.config.suppression_list_path)
    end_erasures(four.config)
    assert versions(four.config.serving_path) == [ONE, TWO]
    history(four, 4, revision=2)
    again = four.day("2024-05-04", TWO, revision=2)
    end_erasures(four.config)
    assert versions(four.config.serving_path) == [ONE, TWO, again]


def test_it_is_refused_where_it_can_not_be_done(four: MadeStore) -> None:
    with pytest.raises(ErasureError, match=r"`--span` must be a span that was run\. Received: 2024-05-05"):
        spans.make_span_erasure(four.config, "2024-05-05")
    with pytest.raises(RollbackError, match="must leave a version to serve"):
        spans.make_span_erasure(four.config, "2024-05-01")
    (four.config.data.path / "2024-05-04" / "events.csv").unlink()
    with pytest.raises(ErasureError, match=r"must still have files.*Received: none for 2024-05-04"):
        spans.make_span_erasure(four.config, "2024-05-03")
    assert not four.config.suppression_list_path.exists()
