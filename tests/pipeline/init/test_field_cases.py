"""What warehouses, databases and shops really write: what `init` makes of it, ingestion takes."""

import csv
import json
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from components.span_example_gen.checks import check
from components.span_example_gen.files import with_rows
from components.span_example_gen.readers.registry import reader_of
from components.span_example_gen.settings import make_settings
from pipeline.config import Config, load_config
from pipeline.init.errors import InitError
from pipeline.init.guess import Guess
from pipeline.init.write_config import write_config
from tests.pipeline.init.day_files import (
    FIRST,
    Rows,
    rows_of,
    write_csv,
    write_days,
    write_jsonl,
    write_parquet,
    write_tfrecord,
    written,
)


def guessed(data: Path, out: Path, **flags: Any) -> dict[str, Guess]:
    return {guess.setting: guess for guess in write_config(data, out, **flags)}


def taken(config: Config) -> list[tuple[str, str, int]]:
    """Key, item and milliseconds of every event that ingestion takes with these settings, sorted."""
    settings = make_settings(config.data.model_dump(mode="json"), config.data.pattern, 0.0)
    plan, read = reader_of(settings.format)
    files = [(str(path), path.name) for path in sorted(config.data.path.rglob(f"*.{settings.format}*"))]
    events = []
    for path, name in with_rows(files):
        for piece in plan(path, name, settings.columns):
            for raw in read(piece, settings.columns):
                batch, _ = check(raw, settings, None)
                events += zip(*(batch.column(place).to_pylist() for place in range(3)), strict=True)
    return sorted(events)


def expected(rows: Rows) -> list[tuple[str, str, int]]:
    return sorted((row["user_id"], row["item_id"], row["timestamp"] * 1000) for row in rows)


def with_time(form: str) -> Any:
    def rows(day: date) -> Rows:
        times = [datetime.fromtimestamp(row["timestamp"], timezone.utc) for row in rows_of(day)]
        return [{**row, "timestamp": time.strftime(form)} for row, time in zip(rows_of(day), times, strict=True)]

    return rows


@pytest.mark.parametrize(
    ("ending", "write"),
    [
        (".csv", write_csv),
        (".csv.gz", write_csv),
        (".jsonl", write_jsonl),
        (".parquet", write_parquet),
        (".tfrecord", write_tfrecord),
        (".tfrecord.gz", write_tfrecord),
    ],
)
def test_what_init_writes_ingestion_takes_event_for_event(tmp_path, ending, write):
    rows: Rows = []
    for number in range(3):
        day = FIRST + timedelta(days=number)
        write(tmp_path / "shop" / day.isoformat() / f"events{ending}", rows_of(day))
        rows += rows_of(day)
    assert taken(written(tmp_path / "shop", tmp_path / "c.yaml")) == expected(rows)


@pytest.mark.parametrize("content", ["", "user_id,item_id,timestamp,quantity\n"])
@pytest.mark.parametrize("place", ["2024-05-02/part-0.csv", "2024-05-04/part-9.csv", "2024-05-09/part-0.csv"])
def test_a_part_or_a_day_without_a_row_is_passed_over(tmp_path, content, place):
    base = write_days(tmp_path / "shop", "%Y-%m-%d/part-1.csv")
    (base / place).parent.mkdir(exist_ok=True)
    (base / place).write_text(content)
    config = written(base, tmp_path / "c.yaml")
    assert config.data.columns.key == "user_id"


def test_a_field_that_the_first_json_lines_leave_out_is_a_column(tmp_path):
    def lines(day: date) -> Rows:
        first, *others = rows_of(day)
        return [{name: first[name] for name in ("user_id", "timestamp")}, *others]

    for number in range(3):
        write_jsonl(tmp_path / "shop" / f"2024-05-0{2 + number}" / "e.jsonl", lines(FIRST + timedelta(days=number)))
    guesses = guessed(tmp_path / "shop", tmp_path / "c.yaml")
    assert guesses["data.columns.item"].value == "item_id"
    assert guesses["data.max_reject_fraction"].why == "in the 120 rows looked at: 2.5 % no_item"


@pytest.mark.parametrize(
    ("value", "reason"), [("0", "outside_span"), ("-1", "outside_span"), ("", "no_time"), ("null", "no_time")]
)
@pytest.mark.parametrize("flags", [{}, {"timestamp": "timestamp"}])
def test_a_few_bad_times_do_not_decide(tmp_path, value, reason, flags):
    def rows(day: date) -> Rows:
        return [
            {**row, "timestamp": value if place == 3 else row["timestamp"]} for place, row in enumerate(rows_of(day))
        ]

    guesses = guessed(write_days(tmp_path / "shop", "%Y-%m-%d/e.csv", rows), tmp_path / "c.yaml", **flags)
    assert guesses["data.timestamp_unit"].value == "s"
    assert guesses["data.timestamp_unit"].why.endswith("in the rows looked at; 3 of 120 have no such time")
    assert guesses["data.max_reject_fraction"].why == f"in the 120 rows looked at: 2.5 % {reason}"


def test_a_sentinel_where_any_time_is_fine_is_rejected_by_a_rule(tmp_path):
    for number in (7, 8):
        rows = rows_of(FIRST)
        rows[4]["timestamp"] = 0
        write_csv(tmp_path / "shop" / str(number) / "e.csv", rows)
    guesses = guessed(tmp_path / "shop", tmp_path / "c.yaml")
    (rule,) = guesses["data.reject"].value
    assert (rule["column"], rule["reason"]) == ("timestamp", "no_time")
    assert "2.5 % no_time" in guesses["data.max_reject_fraction"].why
    assert len(taken(load_config(tmp_path / "c.yaml"))) == 78


def test_times_in_two_units_are_no_guess(tmp_path):
    def rows(day: date) -> Rows:
        return [
            {**row, "timestamp": row["timestamp"] * (1000 if place % 4 else 1)}
            for place, row in enumerate(rows_of(day))
        ]

    base = write_days(tmp_path / "shop", "%Y-%m-%d/e.csv", rows)
    with pytest.raises(InitError, match=r"75\.0 % unix time in ms.*--timestamp COLUMN"):
        write_config(base, tmp_path / "c.yaml")
    guesses = guessed(base, tmp_path / "c.yaml", timestamp="timestamp")
    assert (guesses["data.timestamp_unit"].value, guesses["data.max_reject_fraction"].value) == ("ms", 0.4)


@pytest.mark.parametrize("form", ["%Y-%m-%d %H:%M:%S UTC", "%Y-%m-%d %H:%M:%S.123 UTC", "%Y-%m-%d %H:%M:%S+00"])
def test_times_of_warehouses_are_iso_8601(tmp_path, form):
    config = written(write_days(tmp_path / "shop", "%Y-%m-%d/e.csv", with_time(form)), tmp_path / "c.yaml")
    assert (config.data.columns.timestamp, config.data.timestamp_format) == ("timestamp", None)
    assert len(taken(config)) == 120


def test_a_given_format_tells_the_column(tmp_path):
    def rows(day: date) -> Rows:
        return [
            {**row, "timestamp": f"{row['timestamp']}", "seen": day.strftime("at %d of %m %Y")} for row in rows_of(day)
        ]

    base = write_days(tmp_path / "shop", "%Y-%m-%d/e.csv", rows)
    columns = written(base, tmp_path / "c.yaml", timestamp_format="at %d of %m %Y").data.columns
    assert columns.timestamp == "seen"
    with pytest.raises(InitError, match="`--timestamp-format` must fit"):
        write_config(base, tmp_path / "d.yaml", timestamp="seen", timestamp_format="%Y")


def test_a_long_quoted_field_is_read(tmp_path):
    file = tmp_path / "shop" / "2024-05-02" / "e.csv"
    write_csv(file, [{**row, "contexts": '{"html": "' + "x" * 200_000 + '"}'} for row in rows_of(FIRST)])
    assert taken(written(tmp_path / "shop", tmp_path / "c.yaml")) == expected(rows_of(FIRST))
    assert csv.field_size_limit() == 16 << 20


def test_words_that_stand_for_nobody_are_named_and_rejected(tmp_path):
    def rows(day: date) -> Rows:
        return [
            {**row, "user_id": ("NULL", "undefined", row["user_id"], row["user_id"])[place % 4]}
            for place, row in enumerate(rows_of(day))
        ]

    guesses = guessed(write_days(tmp_path / "shop", "%Y-%m-%d/e.csv", rows), tmp_path / "c.yaml")
    assert guesses["data.columns.key"].why == "by its name; 30 of 120 are 'NULL', which is nobody"
    assert guesses["data.reject"].why == "'undefined' as user_id stands for nothing"
    assert guesses["data.max_reject_fraction"].why.startswith("in the 120 rows looked at: 50.0 % no_key")
    assert len(taken(load_config(tmp_path / "c.yaml"))) == 60


@pytest.mark.parametrize("name", ["year=%Y/month=%-m/day=%-d/e.csv", "%Y-%-m-%-d/e.csv", "y=%Y/m=%-m/d=%-d/e.csv"])
def test_dates_without_zeros(tmp_path, name):
    base = write_days(tmp_path / "shop", name, days=12)
    guesses = guessed(base, tmp_path / "c.yaml")
    assert guesses["data.pattern"].why == "12 spans, 2024-05-02 to 2024-05-13"


@pytest.mark.parametrize("name", ["year=%Y/week=%W/e.csv", "%Y/%b/%d/e.csv", "%Y/%j.csv"])
def test_half_a_date_is_no_number(tmp_path, name):
    base = write_days(tmp_path / "shop", name)
    with pytest.raises(InitError, match="by one number, or by its whole date"):
        write_config(base, tmp_path / "c.yaml")


def test_dates_without_a_clock_and_repeats_are_warned_of(tmp_path):
    def rows(day: date) -> Rows:
        return [{**row, "item_id": f"i{place % 3}", "timestamp": day} for place, row in enumerate(rows_of(day))]

    guesses = guessed(write_days(tmp_path / "shop", "%Y-%m-%d/e.csv", rows), tmp_path / "c.yaml")
    why = guesses["data.columns.timestamp"].why
    assert "dates without a clock" in why
    assert "57 of the 120 looked at (47.5 %) are dropped" in why


def shifted(hours: int, days: int = 1) -> Any:
    def rows(day: date) -> Rows:
        return [
            {**row, "timestamp": row["timestamp"] + hours * 3600 + place % days * 86_400}
            for place, row in enumerate(rows_of(day))
        ]

    return rows


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (shifted(0, days=7), "a span is 7 days long"),
        (shifted(-24), "a folder's date is not that of its events"),
        (lambda day: rows_of(day) + shifted(-11)(day), "a day begins at another hour"),
    ],
)
def test_events_outside_of_their_day_leave_the_window_open(tmp_path, rows, why):
    guesses = guessed(write_days(tmp_path / "shop", "%Y-%m-%d/e.csv", rows), tmp_path / "c.yaml")
    assert guesses["data.span_hours"].value is None
    assert why in guesses["data.span_hours"].why
    assert "data.max_reject_fraction" not in guesses


def test_another_days_file_keeps_the_window_and_is_named(tmp_path):
    base = write_days(tmp_path / "shop", "%Y-%m-%d/e.csv")
    write_csv(base / "2024-05-04" / "e.csv", rows_of(FIRST))
    guess = guessed(base, tmp_path / "c.yaml")["data.span_hours"]
    assert guess.value == "auto"
    assert "2024-05-04 holds events from 2024-05-02 09:00" in guess.why
    assert load_config(tmp_path / "c.yaml").data.max_reject_fraction == 0.05


@pytest.mark.parametrize(("hours", "span_hours"), [(1, 1), (24, 24), (168, 168), (5, "auto")])
def test_numbers_that_are_hours_days_or_weeks_since_1970(tmp_path, hours, span_hours):
    first = int(datetime(2024, 5, 2, 9, tzinfo=timezone.utc).timestamp()) // 3600 // hours
    for number in range(first, first + 3):
        rows = [{**row, "timestamp": number * hours * 3600 + place} for place, row in enumerate(rows_of(FIRST))]
        write_csv(tmp_path / "shop" / str(number) / "e.csv", rows)
    config = written(tmp_path / "shop", tmp_path / "c.yaml")
    assert config.data.span_hours == span_hours
    # What means days by default is counted in spans of an hour.
    assert config.vocabulary.half_life_spans == (168 if hours == 1 else 7)
    assert config.update.retrain_spans == (672 if hours == 1 else 28)


def sessions(day: date) -> Rows:
    return [{**row, "user_id": f"{day}-{place // 4}"} for place, row in enumerate(rows_of(day, 120))]


def renamed(rows: Rows, name: str) -> Rows:
    return [{name if column == "user_id" else column: value for column, value in row.items()} for row in rows]


@pytest.mark.parametrize(
    ("rows", "flags", "model"),
    [
        (lambda day: renamed(rows_of(day), "session_id"), {}, "sasrec"),
        (lambda day: renamed(sessions(day), "trace"), {"key": "trace"}, "sasrec"),
        (sessions, {}, "two_tower"),  # a user is one, be it ever so seldom
        (lambda day: renamed(rows_of(day, 120), "trace"), {"key": "trace"}, "two_tower"),
    ],
)
def test_the_model_fits_the_keys(tmp_path, rows, flags, model):
    config = written(write_days(tmp_path / "shop", "%Y-%m-%d/e.csv", rows), tmp_path / "c.yaml", **flags)
    assert config.model.type == model
    assert config.history.keys_end_after == (24 if model == "sasrec" else None)
    assert config.update.optimizer == ("adam" if model == "sasrec" else "adagrad")


def test_what_was_guessed_names_what_else_would_fit(tmp_path):
    def rows(day: date) -> Rows:
        return [
            {**row, "session_id": f"s{day}{place // 4}", "product_id": f"p{place}", "created_at": row["timestamp"] + 1}
            for place, row in enumerate(rows_of(day))
        ]

    guesses = guessed(write_days(tmp_path / "shop", "%Y-%m-%d/e.csv", rows), tmp_path / "c.yaml")
    assert guesses["data.columns.key"].why == "by its name; session_id would also fit: --key session_id"
    assert guesses["data.columns.item"].why == "by its name; product_id would also fit: --item product_id"
    assert guesses["data.columns.timestamp"].why == "by its name; created_at would also fit: --timestamp created_at"


def test_a_weight_of_ones_own_may_not_be_below_0(tmp_path):
    def rows(day: date) -> Rows:
        return [{**row, "rating": place % 9 - 1} for place, row in enumerate(rows_of(day))]

    base = write_days(tmp_path / "shop", "%Y-%m-%d/e.csv", rows)
    assert "data.weight_above" not in guessed(base, tmp_path / "c.yaml")
    assert guessed(base, tmp_path / "w.yaml", weight="rating")["data.weight_above"].value == 0


def test_ids_with_a_zero_behind_the_point_are_said_to_be_whole(tmp_path):
    def rows(day: date) -> Rows:
        return [{**row, "user_id": f"{17850 + place % 7}.0"} for place, row in enumerate(rows_of(day))]

    guess = guessed(write_days(tmp_path / "shop", "%Y-%m-%d/e.csv", rows), tmp_path / "c.yaml")["data.columns.key"]
    assert guess.why == "by its name; ids such as 17850.0 are read as 17850"


def test_a_long_file_is_looked_at_from_its_start_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.init.sample.PIECE_BYTES", 2_000)
    lines = [{**row, "timestamp": row["timestamp"] + place * 600} for place, row in enumerate(rows_of(FIRST, 400))]
    write_jsonl(tmp_path / "shop" / "2024-05-02" / "e.jsonl", lines)
    guess = guessed(tmp_path / "shop", tmp_path / "c.yaml")["data.span_hours"]
    assert "to 2024-05-05" in guess.why
    assert json.loads((tmp_path / "shop" / "2024-05-02" / "e.jsonl").read_text().splitlines()[0]) == lines[0]
