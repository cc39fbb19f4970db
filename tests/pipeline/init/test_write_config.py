from datetime import date, datetime, timedelta, timezone

import pyarrow as pa
import pytest
import yaml

from pipeline.config import Config, load_config
from pipeline.config.loading import _Loader as SettingsLoader
from pipeline.init.errors import InitError
from pipeline.init.sample import Column
from pipeline.init.timestamp_format import ways_to_read
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


def latest_span(config: Config) -> int:
    """What TFX finds by the pattern, which is what counts."""
    from tfx.components.example_gen import utils
    from tfx.proto import example_gen_pb2

    splits = [example_gen_pb2.Input.Split(name="span", pattern=config.data.pattern)]
    _, span, _ = utils.calculate_splits_fingerprint_span_and_version(str(config.data.path), splits)
    return span


@pytest.mark.parametrize(
    ("ending", "write", "format"),
    [
        (".csv", write_csv, "csv"),
        (".csv.gz", write_csv, "csv"),
        (".parquet", write_parquet, "parquet"),
        (".jsonl", write_jsonl, "jsonl"),
        (".tfrecord", write_tfrecord, "tfrecord"),
        (".tfrecord.gz", write_tfrecord, "tfrecord"),
    ],
)
@pytest.mark.parametrize("dated", [True, False])
def test_every_format_in_dated_and_numbered_folders(tmp_path, ending, write, format, dated):
    for number in range(9, 12):
        day = FIRST + timedelta(days=number)
        folder = day.isoformat() if dated else f"span-{number}"
        write(tmp_path / "shop" / "events" / folder / f"events{ending}", rows_of(day))
    config = written(tmp_path / "shop" / "events", tmp_path / "shop.yaml")
    assert config.name == "shop"
    assert config.data.path == tmp_path / "shop" / "events"
    assert config.data.format == format
    assert config.data.pattern == ("{YYYY}-{MM}-{DD}/*" if dated else "span-{SPAN}/*") + ending
    columns = config.data.columns
    assert (columns.key, columns.item, columns.timestamp) == ("user_id", "item_id", "timestamp")
    assert columns.weight is None
    assert (config.data.timestamp_unit, config.data.timestamp_format) == ("s", None)
    assert config.data.max_reject_fraction == 0.05


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("%Y-%m-%d/part-00000.csv", "{YYYY}-{MM}-{DD}/*.csv"),
        ("%Y/%m/%d/events.csv", "{YYYY}/{MM}/{DD}/*.csv"),
        ("year=%Y/month=%m/day=%d/a.csv", "year={YYYY}/month={MM}/day={DD}/*.csv"),
        ("dt=%Y-%m-%d/hour=01/a.csv", "dt={YYYY}-{MM}-{DD}/*/*.csv"),
        ("clicks_%Y%m%d.csv", "clicks_{YYYY}{MM}{DD}.csv"),
        ("%Y-%m-%d/v2/events.csv", "{YYYY}-{MM}-{DD}/v{VERSION}/*.csv"),
        ("logs/%Y-%m-%d.csv.gz", "logs/{YYYY}-{MM}-{DD}.csv.gz"),
    ],
)
def test_date_patterns(tmp_path, name, pattern):
    config = written(write_days(tmp_path / "shop", name), tmp_path / "shop.yaml")
    assert config.data.pattern == pattern
    assert latest_span(config) == (date(2024, 5, 4) - date(1970, 1, 1)).days


@pytest.mark.parametrize(
    ("numbers", "pattern"),
    [((8, 9, 10), "{SPAN}/*.csv"), (("008", "009", "010"), "{SPAN:3}/*.csv"), ((7,), "{SPAN}/*.csv")],
)
def test_number_patterns(tmp_path, numbers, pattern):
    for number in numbers:
        write_csv(tmp_path / "shop" / str(number) / "events.csv", rows_of(FIRST))
    config = written(tmp_path / "shop", tmp_path / "shop.yaml")
    assert config.data.pattern == pattern
    assert latest_span(config) == int(numbers[-1])


def test_a_first_delivery_without_a_version_beside_later_ones(tmp_path):
    write_days(tmp_path / "shop", "%Y-%m-%d/events.csv", days=5)
    write_csv(tmp_path / "shop" / "2024-05-02" / "v1" / "events.csv", rows_of(FIRST))
    guesses = {guess.setting: guess for guess in write_config(tmp_path / "shop", tmp_path / "shop.yaml")}
    assert guesses["data.pattern"].value == "{YYYY}-{MM}-{DD}/v{VERSION}/*.csv"
    assert guesses["data.pattern"].why == "5 spans, 2024-05-02 to 2024-05-06"


@pytest.mark.parametrize("inside", ["2024-05-03", "2024-05-03/events.csv"])
def test_one_span_or_one_file_leads_to_all(tmp_path, inside):
    base = write_days(tmp_path / "shop", "%Y-%m-%d/events.csv")
    config = written(base / inside, tmp_path / "shop.yaml")
    assert (config.data.path, config.data.pattern) == (base, "{YYYY}-{MM}-{DD}/*.csv")


def test_notes_of_other_tools_and_other_files_are_no_spans(tmp_path):
    base = write_days(tmp_path / "shop", "%Y-%m-%d/events.csv")
    (base / "2024-05-02" / "_SUCCESS.csv").write_text("")
    (base / ".2024-05-09").mkdir()
    (base / ".2024-05-09" / "events.csv").write_text("")
    (base / "readme.csv").write_text("a\n")
    guesses = {guess.setting: guess for guess in write_config(base, tmp_path / "shop.yaml")}
    assert guesses["data.pattern"].why == (
        "3 spans, 2024-05-02 to 2024-05-04; 1 other file(s) do not belong to it, such as readme.csv"
    )


def test_titles_are_found_beside_the_events(tmp_path):
    base = write_days(tmp_path / "shop" / "events", "%Y-%m-%d/events.csv")
    write_csv(tmp_path / "shop" / "items.csv", [{"item_id": "001", "Name": "Walnut side table"}])
    config = written(base, tmp_path / "settings" / "shop.yaml")
    assert config.data.items is not None
    assert config.data.items.resolve() == tmp_path / "shop" / "items.csv"
    assert config.data.item_title == "Name"
    assert config.data.path.resolve() == base


@pytest.mark.parametrize(
    ("names", "weight"),
    [
        (("CustomerID", "StockCode", "InvoiceDate", "Quantity"), "Quantity"),
        (("visitor", "sku", "ts", "n"), None),
        (("anonymous_user_id", "clicked_item_id", "x", "star_rating"), "star_rating"),
        (("user", "thing", "x", "qty"), "qty"),
        (("who", "movieId", "when", "rating"), "rating"),
    ],
)
def test_columns_by_name_or_as_the_only_one_left(tmp_path, names, weight):
    def rows(day: date) -> Rows:
        return [dict(zip(names, row.values(), strict=True)) for row in rows_of(day)]

    base = write_days(tmp_path / "shop", "%Y-%m-%d/events.csv", rows)
    guesses = {guess.setting: guess for guess in write_config(base, tmp_path / "c.yaml")}
    assert tuple(guesses[f"data.columns.{part}"].value for part in ("key", "item", "timestamp")) == names[:3]
    # What an event counts is for the user to say; the note tells that it can be.
    assert load_config(tmp_path / "c.yaml").data.columns.weight is None
    note = f"{weight} could be an event's weight: `data.columns.weight: {weight}` makes events count by it"
    assert (guesses["data.columns.weight"].why if weight else "data.columns.weight" not in guesses) == (
        note if weight else True
    )
    assert written(base, tmp_path / "w.yaml", weight=names[3]).data.columns.weight == names[3]


def test_what_cant_be_told_names_columns_and_flags(tmp_path):
    def rows(day: date) -> Rows:
        return [dict(zip(("a", "b", "c", "d"), row.values(), strict=True)) for row in rows_of(day)]

    base = write_days(tmp_path / "shop", "%Y-%m-%d/events.csv", rows)
    with pytest.raises(InitError) as error:
        write_config(base, tmp_path / "c.yaml")
    assert "The column of the key and the item can't be told" in str(error.value)
    assert "'a' (text, e.g. 'u0'), 'b' (int, e.g. '000')" in str(error.value)
    assert "--key COLUMN --item COLUMN" in str(error.value)
    assert not (tmp_path / "c.yaml").exists()
    columns = written(base, tmp_path / "c.yaml", key="a", item="b").data.columns
    assert (columns.key, columns.item, columns.timestamp) == ("a", "b", "c")
    with pytest.raises(InitError, match=r"`--key` must name a column\. Received: 'A1'\. Did you mean 'a'\?"):
        write_config(base, tmp_path / "other.yaml", key="A1")


@pytest.mark.parametrize(("unit", "factor"), [("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)])
def test_units_by_magnitude(tmp_path, unit, factor):
    def rows(day: date) -> Rows:
        return [{**row, "timestamp": row["timestamp"] * factor} for row in rows_of(day)]

    config = written(write_days(tmp_path / "shop", "%Y-%m-%d/events.csv", rows), tmp_path / "c.yaml")
    assert config.data.timestamp_unit == unit


@pytest.mark.parametrize(
    ("written_as", "format"),
    [
        ("%Y-%m-%d %H:%M:%S", None),
        ("%Y-%m-%dT%H:%M:%SZ", None),
        ("%d/%m/%Y %H:%M", "%d/%m/%Y %H:%M"),
        ("%m/%d/%Y %H:%M", "%m/%d/%Y %H:%M"),  # 05/02 to 05/04: only the folder's date tells
        ("%d.%m.%Y", "%d.%m.%Y"),
        ("%Y%m%d", "%Y%m%d"),
        ("%b %d, %Y %I:%M %p", "%b %d, %Y %I:%M %p"),
    ],
)
def test_formats_are_those_that_ingestion_reads(tmp_path, written_as, format):
    from components.span_example_gen.times import to_milliseconds

    def rows(day: date) -> Rows:
        times = [datetime.fromtimestamp(row["timestamp"], timezone.utc) for row in rows_of(day)]
        return [{**row, "timestamp": time.strftime(written_as)} for row, time in zip(rows_of(day), times, strict=True)]

    data = written(write_days(tmp_path / "shop", "%Y-%m-%d/events.csv", rows), tmp_path / "c.yaml").data
    assert data.timestamp_format == format
    texts = pa.array([row["timestamp"] for row in rows(FIRST)])
    millis, valid = to_milliseconds(texts, data.timestamp_unit, data.timestamp_format)
    assert valid.all()
    assert {datetime.fromtimestamp(value / 1000, timezone.utc).date() for value in millis.tolist()} == {FIRST}


def test_a_date_that_could_be_two_days_is_asked_for(tmp_path):
    def rows(_: date) -> Rows:
        return [{**row, "timestamp": "03/05/2024"} for row in rows_of(FIRST)]

    base = write_days(tmp_path / "shop", "span-%d/events.csv", rows)
    with pytest.raises(InitError, match=r"'%d/%m/%Y' or '%m/%d/%Y'.*--timestamp-format"):
        write_config(base, tmp_path / "c.yaml")
    assert written(base, tmp_path / "c.yaml", timestamp_format="%m/%d/%Y").data.timestamp_format == "%m/%d/%Y"


def test_arrow_times_need_neither_unit_nor_format(tmp_path):
    for number in range(2):
        day = FIRST + timedelta(days=number)
        rows = [{**row, "timestamp": datetime.fromtimestamp(row["timestamp"], timezone.utc)} for row in rows_of(day)]
        write_parquet(tmp_path / "shop" / day.isoformat() / "a.parquet", rows)
    data = written(tmp_path / "shop", tmp_path / "c.yaml").data
    assert (data.columns.timestamp, data.timestamp_format) == ("timestamp", None)


def test_ids_are_not_taken_for_times():
    for values in (["1", "17", "20100"], ["0017850", "1000017851"], ["u1", "2024-05-03"]):
        readings = ways_to_read(Column("id", (pa.array(values),)))
        assert not any(reading.clear for reading in readings)


def test_many_missing_keys_and_returns_raise_the_limit(tmp_path):
    def rows(day: date) -> Rows:
        return [
            {**row, "user_id": "" if place % 4 == 0 else row["user_id"], "quantity": -1 if place % 10 == 1 else 1}
            for place, row in enumerate(rows_of(day))
        ]

    base = write_days(tmp_path / "shop", "%Y-%m-%d/events.csv", rows)
    guesses = {guess.setting: guess for guess in write_config(base, tmp_path / "c.yaml")}
    rule = {"column": "quantity", "matches": "-", "reason": "negative_quantity"}
    assert guesses["data.reject"].value == [rule]
    assert guesses["data.reject"].why == "a quantity below 0 is a return or a cancellation"
    assert guesses["data.max_reject_fraction"].value == 0.5
    assert guesses["data.max_reject_fraction"].why == (
        "in the 120 rows looked at: 25.0 % no_key, 10.0 % negative_quantity; 35.0 % in the worst span"
    )
    assert [dict(rule) for rule in load_config(tmp_path / "c.yaml").data.reject] == [rule]


def test_every_setting_stands_in_the_file_with_its_default_and_a_reason(tmp_path):
    guesses = write_config(write_days(tmp_path / "shop", "%Y-%m-%d/events.csv"), tmp_path / "c.yaml")
    text = (tmp_path / "c.yaml").read_text()
    assert text.startswith(
        "# Settings of warmspan, written by `warmspan init` after a look at 120 rows in 3 of 3 spans.\n"
    )
    assert all(f"# {guess.why}\n" in text for guess in guesses)
    file = yaml.load(text, SettingsLoader)
    plain = Config.model_validate({"name": "shop", "data": file["data"]})
    assert Config.model_validate(file) == plain
    assert set(file) == set(Config.model_fields)
    for name, field in Config.model_fields.items():
        if hasattr(field.annotation, "model_fields"):
            assert set(file[name]) == set(field.annotation.model_fields)


def test_a_settings_file_is_not_overwritten_unasked(tmp_path):
    base = write_days(tmp_path / "shop", "%Y-%m-%d/events.csv")
    out = tmp_path / "c.yaml"
    out.write_text("mine")
    with pytest.raises(InitError, match="must not exist yet"):
        write_config(base, out)
    assert out.read_text() == "mine"
    assert written(base, out, overwrite=True).name == "shop"
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["c.yaml"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (None, "", "The data must exist. Received: "),
        ("notes.txt", "hello", "must hold data files (.csv, .parquet"),
        ("events.csv", "a,b\n1,2\n", "by a date such as 2024-05-03 or by a number. Received: "),
        ("part-00000.csv", "a,b\n1,2\n", "by a date such as 2024-05-03 or by a number. Received: "),
        ("2024-05-03/e.csv", "user_id;item_id;timestamp\n1;2;3\n", "must be separated by commas. Received: ';'"),
        ("2024-05-03/e.csv", "user_id,item_id,timestamp\n", "must hold at least one row"),
        ("2024-05-03/e.csv", "", "must hold at least one row"),
        ("2024-05-03/e.parquet", "no parquet", "must be a whole Parquet file"),
        ("2024-05-03/e.tfrecord", "no records at all", "must be a whole TFRecord file"),
        ("2024-05-03/e.csv.gz", "not gzipped", "must be a whole gzip file"),
        ("2024-05-03/e.jsonl", "[1, 2]\n", "must hold one JSON object a line"),
    ],
)
def test_unusable_data_says_what_to_do(tmp_path, name, content, message):
    data = tmp_path / "shop"
    if name:
        (data / name).parent.mkdir(parents=True)
        (data / name).write_text(content)
    with pytest.raises(InitError) as error:
        write_config(data, tmp_path / "c.yaml")
    assert message in str(error.value)
    assert not (tmp_path / "c.yaml").exists()


def test_movietweetings(movietweetings, tmp_path):
    data = written(movietweetings / "events", tmp_path / "c.yaml").data
    assert (data.columns.key, data.columns.item, data.columns.timestamp) == ("user_id", "item_id", "timestamp")
    assert (data.columns.weight, data.timestamp_unit, data.item_title) == (None, "s", "title")
    assert data.items is not None
    assert data.items.resolve() == (movietweetings / "items.csv").resolve()


def test_online_retail(online_retail, tmp_path):
    data = written(online_retail / "events", tmp_path / "c.yaml").data
    assert (data.columns.key, data.columns.item, data.columns.timestamp) == ("CustomerID", "StockCode", "InvoiceDate")
    assert (data.columns.weight, data.weight_above) == (None, None)
    assert [rule.reason for rule in data.reject] == ["negative_quantity"]
    # On the worst of its days, which is not among those looked at, 87.5 % have no CustomerID.
    assert 0.875 < data.max_reject_fraction < 1


def test_diginetica(diginetica, tmp_path):
    config = written(diginetica / "events", tmp_path / "c.yaml")
    data = config.data
    assert (data.columns.key, data.columns.item, data.format) == ("session_id", "item_id", "parquet")
    assert (data.span_hours, config.model.type, config.push.exclude_seen) == (None, "sasrec", False)
