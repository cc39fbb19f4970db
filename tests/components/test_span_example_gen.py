"""What the component promises for every format: order, cut, duplicates, refusal, versions, clean folders."""

from __future__ import annotations

import gzip
import os
import time
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tfx.dsl.components.base import base_beam_executor

from components.span_example_gen import SpanError, SpanExampleGen, driver, files, shards, write_fn
from components.span_example_gen.dedup_and_split import DUPLICATE, EVAL, TRAIN, select
from components.span_example_gen.executor import Executor
from components.span_example_gen.readers import raw_batch
from tests.components.span_example_gen_ingest import (
    COLUMNS,
    DATA,
    DAY,
    HEADER,
    PATTERN,
    SPAN,
    START,
    deliver,
    ingest,
    resolved,
    span_of,
)


def lines(*rows: tuple[object, ...]) -> str:
    return HEADER + "".join(",".join(map(str, row)) + "\n" for row in rows)


def test_events_carry_ids_milliseconds_and_weight_one(tmp_path: Path) -> None:
    deliver(tmp_path, lines(("u1", "007", START)))
    done = ingest(tmp_path, tmp_path / "out")
    assert done.events("train") == [{"key": b"u1", "item": b"007", "timestamp": START * 1000, "weight": 1.0}]
    assert done.properties["span"] == SPAN
    counts = {name: done.count(name) for name in ("events", "train_events", "eval_events", "rejects", "duplicates")}
    assert counts == {"events": 1, "train_events": 1, "eval_events": 0, "rejects": 0, "duplicates": 0}


def test_a_split_without_events_is_one_empty_file(tmp_path: Path) -> None:
    deliver(tmp_path, lines(("u1", "007", START)))
    done = ingest(tmp_path, tmp_path / "out", eval_fraction=0.5)
    assert done.events("eval") == []
    assert [path.name for path in done.files("eval")] == ["data_tfrecord-00000-of-00001.gz"]


def test_the_last_events_by_time_are_held_out(tmp_path: Path) -> None:
    order = np.random.default_rng(3).permutation(100)
    deliver(tmp_path, lines(*((f"u{at}", "i", START + at) for at in order)))
    done = ingest(tmp_path, tmp_path / "out", eval_fraction=0.13)
    assert [event["key"] for event in done.events("train")] == [f"u{at}".encode() for at in range(87)]
    assert [event["key"] for event in done.events("eval")] == [f"u{at}".encode() for at in range(87, 100)]


def test_a_stable_sort_over_files_in_name_order_gives_time_then_place_in_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raw_batch, "PIECE_BYTES", 200)
    draw = np.random.default_rng(4)
    rows = [(f"u{number}", "i", START + int(draw.integers(0, 30))) for number in range(300)]
    for number in range(3):
        deliver(tmp_path, lines(*rows[100 * number : 100 * number + 100]), f"part-{number}.csv")
    done = ingest(tmp_path, tmp_path / "out", eval_fraction=0.1)
    assert len(done.files("train")) > 1
    in_order = sorted(done.events("train"), key=lambda event: event["timestamp"])
    in_order += sorted(done.events("eval"), key=lambda event: event["timestamp"])
    assert [event["key"].decode() for event in in_order] == [row[0] for row in sorted(rows, key=lambda row: row[2])]


def test_exact_duplicates_are_dropped_over_all_files(tmp_path: Path) -> None:
    rows = [(f"u{number}", "i", START + number) for number in range(10)]
    deliver(tmp_path, lines(*rows, rows[0]), "a.csv")
    deliver(tmp_path, lines(*rows[:4], ("u0", "I", START)), "b.csv")
    done = ingest(tmp_path, tmp_path / "out", eval_fraction=0.2)
    assert (done.count("events"), done.count("duplicates"), done.count("rejects")) == (11, 5, 0)
    assert [event["key"] for event in done.events("eval")] == [b"u8", b"u9"]


def test_events_that_differ_in_context_alone_are_no_duplicates(tmp_path: Path) -> None:
    deliver(tmp_path, f"user,film,at,page\nu,i,{START},a\nu,i,{START},\nu,i,{START},a\n")
    done = ingest(tmp_path, tmp_path / "out", columns={**COLUMNS, "context": ["page"]})
    assert done.count("duplicates") == 1
    assert [event.get("page") for event in done.events("train")] == [b"a", None]


@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(-3, 12)), min_size=1, max_size=60),
    st.floats(0, 0.95),
)
def test_every_event_is_kept_once_and_held_out_ones_are_the_latest(
    rows: list[tuple[int, int]], fraction: float
) -> None:
    hashes = np.array([(key, at % 2**64) for key, at in rows], dtype=np.uint64)
    times = np.array([at for _, at in rows], dtype=np.int64)
    chosen = select(hashes, times, fraction)
    kept = [row for row, side in zip(rows, chosen.tolist(), strict=True) if side != DUPLICATE]
    assert kept == list(dict.fromkeys(rows))
    train, held_out = times[chosen == TRAIN], times[chosen == EVAL]
    wanted = int(np.floor(fraction * len(kept) + 1e-9))
    assert bool(len(held_out)) == bool(wanted)
    assert len(train)
    if len(held_out) and len(set(times.tolist())) > 1:
        assert train.max() < held_out.min()
    if len({at for _, at in kept}) == len(kept):
        assert len(held_out) == wanted


def test_events_of_one_time_stay_on_one_side_of_the_cut() -> None:
    hashes = np.arange(20, dtype=np.uint64).reshape(10, 2)
    tied_in_the_middle = np.array([1, 2, 3, 4, 5, 6, 7, 7, 7, 8])
    assert (select(hashes, tied_in_the_middle, 0.3) == EVAL).tolist() == [False] * 6 + [True] * 4
    assert (select(hashes, tied_in_the_middle, 0.2) == EVAL).tolist() == [False] * 9 + [True]
    tied_at_the_end = np.array([1, 2, 3, 4, 5, 6, 9, 9, 9, 9])
    assert (select(hashes, tied_at_the_end, 0.2) == EVAL).tolist() == [False] * 6 + [True] * 4
    assert (select(hashes, np.zeros(10, np.int64), 0.2) == EVAL).tolist() == [False] * 8 + [True] * 2


def test_the_same_files_give_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw_batch, "PIECE_BYTES", 2_000)
    deliver(tmp_path, lines(*((f"u{n % 37}", f"i{n % 11}", START + n % 500) for n in range(1000))))
    first = ingest(tmp_path, tmp_path / "a", eval_fraction=0.1)
    second = ingest(tmp_path, tmp_path / "b", eval_fraction=0.1)
    for split in ("train", "eval"):
        assert [path.name for path in first.files(split)] == [path.name for path in second.files(split)]
        assert [path.read_bytes() for path in first.files(split)] == [p.read_bytes() for p in second.files(split)]


def test_a_refused_span_says_why_leaves_its_rejects_and_no_examples(tmp_path: Path) -> None:
    rows = [(f"u{number}", "i", (START + number) * 1000) for number in range(20)]
    deliver(tmp_path, lines(*rows, ("", "i", START)))
    with pytest.raises(SpanError) as caught:
        ingest(tmp_path, tmp_path / "out", span_hours=24)
    message = str(caught.value)
    assert "Span 2013-05-03 was refused" in message
    assert "21 of 21 rows" in message
    assert f"{DAY}/events.csv, line 2: '{START}000'" in message
    assert "set `data.timestamp_unit: ms`" in message
    rejects = tmp_path / "out" / "refused" / f"{DAY}.csv"
    assert str(rejects) in message
    assert rejects.read_text().count("\n") == 22
    assert list((tmp_path / "out" / "examples" / "1").iterdir()) == []


def test_milliseconds_read_as_seconds_are_recognised_without_a_window(tmp_path: Path) -> None:
    deliver(tmp_path, lines(*((f"u{number}", "i", (START + number) * 1000) for number in range(5))))
    with pytest.raises(SpanError, match=r"no_time: 5[\s\S]*set `data\.timestamp_unit: ms`"):
        ingest(tmp_path, tmp_path / "out")


def test_seconds_read_as_milliseconds_are_recognised_too(tmp_path: Path) -> None:
    deliver(tmp_path, lines(*((f"u{number}", "i", START + number) for number in range(5))))
    with pytest.raises(SpanError, match=r"set `data\.timestamp_unit: s`"):
        ingest(tmp_path, tmp_path / "out", span_hours=24, timestamp_unit="ms")


def test_a_good_delivery_after_a_refused_one_takes_the_refused_rows_away(tmp_path: Path) -> None:
    deliver(tmp_path, lines(("", "i", START)))
    with pytest.raises(SpanError):
        ingest(tmp_path, tmp_path / "out")
    deliver(tmp_path, lines(("u", "i", START)))
    ingest(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out" / "refused" / f"{DAY}.csv").exists()


def test_rejects_up_to_the_allowed_fraction_pass(tmp_path: Path) -> None:
    deliver(tmp_path, lines(("", "i", START), *((f"u{n}", "i", START) for n in range(9))))
    assert ingest(tmp_path, tmp_path / "a", max_reject_fraction=0.1).reasons == {"no_key": 1}
    with pytest.raises(SpanError, match=r"at most 9\.00% of its rows"):
        ingest(tmp_path, tmp_path / "b", max_reject_fraction=0.09)


def test_a_span_without_a_usable_event_is_an_error_whatever_is_allowed(tmp_path: Path) -> None:
    deliver(tmp_path, lines(("", "i", START)))
    with pytest.raises(SpanError, match=r"at least one usable event\. Received: 1 rows, all rejected"):
        ingest(tmp_path, tmp_path / "out", max_reject_fraction=1.0)


@pytest.mark.parametrize("content", [HEADER, HEADER.strip(), ""], ids=["header", "no line end", "no byte"])
def test_a_span_without_a_row_is_one_on_which_nothing_happened(tmp_path: Path, content: str) -> None:
    deliver(tmp_path, content)
    done = ingest(tmp_path, tmp_path / "out")
    assert [done.count(name) for name in ("rows", "events", "rejects", "duplicates")] == [0, 0, 0, 0]
    assert [len(done.files(split)) for split in ("train", "eval")] == [1, 1]
    assert done.all_events == []
    assert done.rejects == []


def test_a_missing_span_and_an_empty_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(SpanError, match="must be the folder of all spans"):
        resolved(tmp_path / "nowhere")
    with pytest.raises(SpanError, match=f"none for '{DAY}/\\*'"):
        resolved(tmp_path)
    (tmp_path / DAY).mkdir()
    with pytest.raises(SpanError, match=f"none for '{DAY}/\\*'"):
        resolved(tmp_path)
    deliver(tmp_path, "", "_SUCCESS")
    with pytest.raises(SpanError, match=f"none for '{DAY}/\\*'"):
        ingest(tmp_path, tmp_path / "out")


def test_marker_and_hidden_files_are_no_data(tmp_path: Path) -> None:
    for name in ("_SUCCESS", ".events.csv.crc"):
        deliver(tmp_path, "x", name)
    deliver(tmp_path, lines(("u", "i", START)))
    assert ingest(tmp_path, tmp_path / "out").count("events") == 1


VERSIONED = "{YYYY}-{MM}-{DD}/v{VERSION}/*"


def test_the_newest_version_counts(tmp_path: Path) -> None:
    for version in (1, 2, 10):
        deliver(tmp_path, lines((f"u{version}", "i", START)), folder=f"{DAY}/v{version}")
    done = ingest(tmp_path, tmp_path / "out", pattern=VERSIONED)
    assert [event["key"] for event in done.events("train")] == [b"u10"]
    assert done.properties["version"] == 10


def test_a_first_delivery_needs_no_version_folder(tmp_path: Path) -> None:
    deliver(tmp_path, lines(("u", "i", START)))
    first = ingest(tmp_path, tmp_path / "a", pattern=VERSIONED)
    assert (first.properties["version"], first.count("events")) == (0, 1)
    deliver(tmp_path, lines(("u", "i", START), ("v", "i", START)), folder=f"{DAY}/v1")
    again = ingest(tmp_path, tmp_path / "b", pattern=VERSIONED)
    assert (again.properties["version"], again.count("events")) == (1, 2)
    assert first.properties["input_fingerprint"] != again.properties["input_fingerprint"]


def test_a_redelivery_that_the_pattern_would_not_see_is_an_error(tmp_path: Path) -> None:
    deliver(tmp_path, lines(("u", "i", START)))
    deliver(tmp_path, lines(("u", "i", START)), folder=f"{DAY}/v2")
    with pytest.raises(SpanError, match=r"re-delivery, the folder 'v2'"):
        ingest(tmp_path, tmp_path / "out")


def test_a_version_must_be_a_number(tmp_path: Path) -> None:
    deliver(tmp_path, lines(("u", "i", START)), folder=f"{DAY}/vlast")
    with pytest.raises(SpanError, match="must name a version by a number"):
        resolved(tmp_path, pattern=VERSIONED)


def test_numbered_spans_start_at_their_multiple_of_the_length(tmp_path: Path) -> None:
    deliver(tmp_path, lines(("u", "i", 7 * 3600), ("v", "i", 8 * 3600 - 1), ("w", "i", 8 * 3600)), folder="0007")
    done = ingest(tmp_path, tmp_path / "out", span=7, pattern="{SPAN:4}/*", span_hours=1, max_reject_fraction=0.5)
    assert [event["key"] for event in done.events("train")] == [b"u", b"v"]
    assert done.rejects == [("0007/events.csv", "4", "early", str(8 * 3600))]


def test_gzipped_text_is_read(tmp_path: Path) -> None:
    deliver(tmp_path, gzip.compress(lines(("u", "i", START)).encode()), "events.csv.gz")
    assert ingest(tmp_path, tmp_path / "out").count("events") == 1


def test_a_cut_gzip_file_is_an_error(tmp_path: Path) -> None:
    whole = gzip.compress(lines(*((f"u{os.urandom(9).hex()}", "i", START) for _ in range(9999))).encode())
    deliver(tmp_path, whole[: len(whole) // 2], "events.csv.gz")
    with pytest.raises(SpanError, match="must be a whole gzip file"):
        ingest(tmp_path, tmp_path / "out")
    assert list((tmp_path / "out" / "examples" / "1").iterdir()) == []


@pytest.mark.parametrize("half", [files, write_fn], ids=["shards", "splits"])
def test_a_full_disk_is_a_sentence_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, half: ModuleType
) -> None:
    deliver(tmp_path, lines(("u", "i", START)))
    # The kernel's own full disk, behind a link because what is written gets renamed.
    (tmp_path / "full").symlink_to("/dev/full")
    monkeypatch.setattr(half, "beside_name", lambda path: str(tmp_path / "full"))
    with pytest.raises(SpanError, match="The disk must have room"):
        ingest(tmp_path, tmp_path / "out")
    assert list((tmp_path / "out" / "examples" / "1").iterdir()) == []


def test_other_failures_of_the_disk_keep_their_own_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deliver(tmp_path, lines(("u", "i", START)))

    def broken(*_: object) -> None:
        raise OSError(5, os.strerror(5))

    monkeypatch.setattr(shards, "write_file", broken)
    # Beam makes a RuntimeError of an OSError: it has more arguments than a message.
    with pytest.raises((OSError, RuntimeError), match=os.strerror(5)):
        ingest(tmp_path, tmp_path / "out")


def test_what_a_killed_run_left_is_cleared_away(tmp_path: Path) -> None:
    deliver(tmp_path, lines(("u", "i", START)))
    for leftover in (".partial/Split-train/x.gz", "Split-train/data_tfrecord-00007-of-00009.gz"):
        deliver(tmp_path / "out" / "examples", b"half", leftover, folder="1")
    done = ingest(tmp_path, tmp_path / "out")
    assert sorted(path.name for path in done.uri.iterdir()) == ["Split-eval", "Split-train", "rejects.csv"]
    assert [path.name for path in done.files("train")] == ["data_tfrecord-00000-of-00001.gz"]


def test_beam_arguments_of_the_user_are_passed_on(tmp_path: Path) -> None:
    deliver(tmp_path, lines(*((f"u{number}", "i", START) for number in range(50))))
    arguments = ["--runner=FnApiRunner", "--requirements_file=/dev/null", "--direct_num_workers=2"]
    executor = Executor(base_beam_executor.BaseBeamExecutor.Context(beam_pipeline_args=arguments))
    done = ingest(tmp_path, tmp_path / "out", executor=executor)
    assert done.count("events") == 50
    with executor._make_beam_pipeline() as pipeline:
        assert pipeline.options.get_all_options()["direct_num_workers"] == 2


def test_settings_that_cannot_be_used_are_refused_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(SpanError, match=r"`data\.columns\.key` must name a column"):
        SpanExampleGen(str(tmp_path), {**DATA, "columns": {"item": "i", "timestamp": "t"}}, SPAN, PATTERN, 0.1)
    with pytest.raises(SpanError, match="belong to the event itself"):
        SpanExampleGen(str(tmp_path), {**DATA, "columns": {**COLUMNS, "context": ["weight"]}}, SPAN, PATTERN, 0.1)
    with pytest.raises(SpanError, match=r"`data\.timestamp_format` must be a pattern"):
        SpanExampleGen(str(tmp_path), {**DATA, "timestamp_format": "%Y-%Q"}, SPAN, PATTERN, 0.1)
    with pytest.raises(SpanError, match=r"`split\.eval_fraction`"):
        SpanExampleGen(str(tmp_path), DATA, SPAN, PATTERN, 1.0)


def test_settings_of_other_rooms_do_not_make_it_run_again(tmp_path: Path) -> None:
    plain = SpanExampleGen(str(tmp_path), DATA, SPAN, PATTERN, 0.1)
    more = SpanExampleGen(str(tmp_path), {**DATA, "item_title": "name"}, SPAN, PATTERN, 0.1)
    assert plain.exec_properties == more.exec_properties
    assert plain.DRIVER_CLASS is driver.SpanDriver


def test_real_film_ratings_come_through_whole(tmp_path: Path, movietweetings: Path) -> None:
    columns = {"key": "user_id", "item": "item_id", "timestamp": "timestamp", "weight": "rating"}
    began = time.perf_counter()
    done = ingest(
        movietweetings / "events",
        tmp_path,
        span=span_of("2013-03-02"),
        eval_fraction=0.1,
        columns=columns,
        span_hours=24,
    )
    assert time.perf_counter() - began < 30
    source = (movietweetings / "events" / "2013-03-02" / "events.csv").read_text().splitlines()[1:]
    expected = sorted(source, key=lambda line: int(line.split(",")[3]))
    lines = [
        f"{e['key'].decode()},{e['item'].decode()},{e['weight']:g},{e['timestamp'] // 1000}" for e in done.all_events
    ]
    assert lines == expected
    assert done.rejects == []


def test_a_raw_till_log_is_rejected_as_a_plain_count_says(tmp_path: Path, online_retail: Path) -> None:
    import pandas as pd

    day = "2010-12-01"
    done = ingest(
        online_retail / "events",
        tmp_path,
        span=span_of(day),
        columns={"key": "CustomerID", "item": "StockCode", "timestamp": "InvoiceDate", "weight": "Quantity"},
        timestamp_format="%Y-%m-%d %H:%M:%S",
        weight_above=0,
        reject=[{"column": "InvoiceNo", "matches": "C", "reason": "cancellation"}],
        max_reject_fraction=0.6,
        span_hours=24,
    )
    raw = pd.read_csv(online_retail / "events" / day / "events.csv", dtype=str, keep_default_na=False)
    cancelled = raw["InvoiceNo"].str.startswith("C")
    nobody = ~cancelled & (raw["CustomerID"] == "")
    unweighted = ~cancelled & ~nobody & (raw["Quantity"].astype(float) <= 0)
    expected = {"cancellation": int(cancelled.sum()), "no_key": int(nobody.sum()), "bad_weight": int(unweighted.sum())}
    assert done.reasons == {reason: count for reason, count in expected.items() if count}
    clean = raw[~cancelled & ~nobody & ~unweighted]
    unique = clean.drop_duplicates(["CustomerID", "StockCode", "InvoiceDate", "Quantity"])
    assert (done.count("events"), done.count("duplicates")) == (len(unique), len(clean) - len(unique))
    assert {event["key"].decode() for event in done.all_events} == {
        key.removesuffix(".0") for key in clean["CustomerID"]
    }
