"""Every row that is read is an event, a reject with a reason, or a duplicate; in every format the same ones."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.span_example_gen import SpanError
from components.span_example_gen.clean_fn import CleanFn
from components.span_example_gen.executor import Executor
from components.span_example_gen.settings import Settings
from components.span_example_gen.span_window import SpanWindow
from components.span_example_gen.write_fn import WriteFn
from components.span_example_gen.write_plan import plan
from tests.components.generated_days import FORMATS, GeneratedDay, generated_days, write_day
from tests.components.span_example_gen_ingest import Ingested, ingest

# A few in every run; WARMSPAN_DAYS asks for more.
_DAYS = int(os.environ.get("WARMSPAN_DAYS", "60"))


class DirectExecutor(Executor):
    """The same functions, one after the other, without Beam: that takes most of a small day's time."""

    def _run(self, tasks: list[Any], settings: Settings, window: SpanWindow | None, shards: str, splits: str) -> None:
        clean, write = CleanFn(settings, window, shards), WriteFn(shards, splits)
        summaries = [summary for task in tasks for summary in clean.process(task)]
        for task in plan(summaries, settings, window, shards):
            write.process(task)


def outcome(base: Path, out: Path, format: str, **options: Any) -> tuple[Any, Ingested | None]:
    """What is the same in every format: events and counts, or that the day was refused."""
    try:
        done = ingest(
            base,
            out,
            executor=DirectExecutor(),
            format=format,
            eval_fraction=0.25,
            max_reject_fraction=1.0,
            span_hours=24,
            **options,
        )
    except SpanError as error:
        return "must hold at least one usable event" in str(error), None
    counts = {name: done.count(name) for name in ("rows", "events", "duplicates", "rejects", "late", "early")}
    splits = [[tuple(sorted(event.items())) for event in done.events(split)] for split in ("train", "eval")]
    return (counts, done.reasons, splits), done


@settings(max_examples=_DAYS, deadline=None, suppress_health_check=list(HealthCheck))
@given(day=generated_days, late=st.sampled_from(["reject", "accept"]))
def test_the_balance_holds_and_the_formats_agree(
    tmp_path_factory: pytest.TempPathFactory, day: GeneratedDay, late: str
) -> None:
    root = tmp_path_factory.mktemp("balance")
    try:
        outcomes = []
        for format in FORMATS:
            base = root / format
            rows = write_day(base, day, format)
            result, done = outcome(base, base / "out", format, late=late)
            outcomes.append(result)
            if done is None:
                assert result is True
                assert rows
                continue
            counts, reasons, splits = result
            assert counts["rows"] == rows
            assert counts["rows"] == counts["events"] + counts["duplicates"] + sum(reasons.values())
            assert counts["rejects"] == sum(reasons.values()) == len(done.rejects)
            assert counts["events"] == sum(map(len, splits))
            again, _ = outcome(base, base / "again", format, late=late)
            assert again == result
        assert outcomes == outcomes[:1] * len(FORMATS)
    finally:
        shutil.rmtree(root)
