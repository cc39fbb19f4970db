"""One answer to which files are a span's data, for ingestion, the fingerprint, `plan` and `init`."""

from __future__ import annotations

import datetime
import gzip
import json
import os
import shutil
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.data_files import data_files, spans_of
from components.span_example_gen import SpanError
from components.span_example_gen.fingerprint import DigestCache, fingerprint
from pipeline.config import Config
from pipeline.init.span_layout import find_layout
from pipeline.planning.deliveries import read_deliveries
from pipeline.spans import Naming
from tests.components.span_example_gen_ingest import HEADER, START, deliver, ingest, keys, span_of

DAYS = Naming(dated=True)
ROW = f"u1,f1,{START}\n"


def config_of(base: Path, pattern: str = "{YYYY}-{MM}-{DD}/*") -> Config:
    columns = {"key": "user", "item": "film", "timestamp": "at"}
    data = {"path": base, "pattern": pattern, "columns": columns}
    return Config.model_validate({"name": "shop", "root": base.parent / "run", "data": data})


def names(base: Path, pattern: str) -> list[str]:
    return [file.name for file in data_files(base, pattern)]


def write(base: Path, *files: str) -> None:
    for name in files:
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_text("x")


@pytest.mark.parametrize(
    "stray",
    ["._events.csv", ".events.csv.crc", "_SUCCESS", "_temporary/0/part.csv", ".spark-staging-1/part.csv"],
)
def test_notes_and_attempts_of_other_tools_are_no_data(tmp_path, stray):
    base = tmp_path / "events"
    write(base, "2024-05-01/a.csv", "2024-05-01/sub/b.csv")
    before = read_deliveries(config_of(base, "{YYYY}-{MM}-{DD}/*/*"))
    write(base, f"2024-05-01/{stray}", f"2024-05-01/sub/{stray}", f"{stray}")
    assert names(base, "{YYYY}-{MM}-{DD}/*") == ["2024-05-01/a.csv"]
    assert names(base, "{YYYY}-{MM}-{DD}/*/*") == ["2024-05-01/sub/b.csv"]
    assert read_deliveries(config_of(base, "{YYYY}-{MM}-{DD}/*/*")) == before
    layout = find_layout(base)
    assert {*layout.files, *layout.others} == {base / "2024-05-01/a.csv", base / "2024-05-01/sub/b.csv"}


def test_a_folder_whose_underscore_the_pattern_writes_is_meant(tmp_path):
    write(tmp_path, "_landing/2024-05-01/a.csv", "_landing/2024-05-01/_b.csv")
    assert names(tmp_path, "_landing/{YYYY}-{MM}-{DD}/*") == ["_landing/2024-05-01/a.csv"]


@pytest.mark.parametrize("folder", ["shop[1]", "what?", "all*", "a{b}", "new\nline"])
def test_characters_of_a_glob_mean_themselves_in_a_path(tmp_path, folder):
    base = tmp_path / folder
    base.mkdir()
    deliver(base, HEADER + ROW)
    (tmp_path / "shop1").mkdir()
    assert spans_of(data_files(base, "{YYYY}-{MM}-{DD}/*")) == [span_of("2013-05-03")]
    done = ingest(base, tmp_path / "out")
    assert keys(done) == ["u1"]
    assert list(read_deliveries(config_of(base))) == [span_of("2013-05-03")]


def test_characters_of_a_glob_mean_themselves_in_the_pattern(tmp_path):
    write(tmp_path, "[a]/2024-05-01/x.csv", "a/2024-05-02/x.csv", "q?/2024-05-03/x.csv")
    assert names(tmp_path, "[a]/{YYYY}-{MM}-{DD}/*") == ["[a]/2024-05-01/x.csv"]
    assert names(tmp_path, "q?/{YYYY}-{MM}-{DD}/*") == ["q?/2024-05-03/x.csv"]


@pytest.mark.parametrize(
    ("pattern", "files", "spans"),
    [
        (
            "year={YYYY}/month={MM}/day={DD}/*",
            ["year=2024/month=4/day=28/a", "year=2024/month=04/day=29/a", "year=2025/month=12/day=1/a"],
            ["2024-04-28", "2024-04-29", "2025-12-01"],
        ),
        ("{YYYY}{MM}{DD}/*", ["20240428/a", "2024428/a", "202404281/a"], ["2024-04-28"]),
        ("{YYYY}-{MM}-{DD}.csv", ["2024-4-8.csv", "2024-04-09.csv", "2024-004-09.csv"], ["2024-04-08", "2024-04-09"]),
    ],
)
def test_days_and_months_need_a_zero_only_where_digits_stand_beside_them(tmp_path, pattern, files, spans):
    write(tmp_path, *files)
    assert [DAYS.format(span) for span in spans_of(data_files(tmp_path, pattern))] == spans


def test_a_day_that_lies_in_two_places_is_refused(tmp_path):
    base = tmp_path / "events"
    write(base, "2024/4/8/a.csv", "2024/04/08/a.csv")
    with pytest.raises(SpanError, match=r"must lie in one place\. Received: '2024/04/08/\*', '2024/4/8/\*'"):
        read_deliveries(config_of(base, "{YYYY}/{MM}/{DD}/*"))


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_an_empty_part_beside_others_is_no_event_and_no_fault(tmp_path, ending):
    base = tmp_path / "events"
    text = json.dumps({"user": "u1", "film": "f1", "at": START}) + "\n"
    pack = gzip.compress if ending else bytes
    deliver(base, pack(text.encode()), f"part-0.jsonl{ending}")
    deliver(base, pack(b""), f"part-1.jsonl{ending}")
    done = ingest(base, tmp_path / "out", format="jsonl")
    assert keys(done) == ["u1"]
    (base / "2013-05-03" / f"part-0.jsonl{ending}").unlink()
    assert ingest(base, tmp_path / "again", format="jsonl").count("rows") == 0


def test_the_fingerprint_is_of_what_is_in_the_files(tmp_path):
    base = tmp_path / "events"
    write(base, "2024-05-01/a.csv", "2024-05-01/b.csv")
    config = config_of(base)
    before = read_deliveries(config)
    shutil.copytree(base, tmp_path / "copy", copy_function=shutil.copy)
    for file in base.rglob("*.csv"):
        os.utime(file, (1, 1))
    assert read_deliveries(config) == before
    shutil.rmtree(base)
    (tmp_path / "copy").rename(base)
    assert read_deliveries(config) == before, "a copy was put in its place"
    (base / "2024-05-01" / "b.csv").write_text("y")
    assert read_deliveries(config) != before


def test_a_file_that_is_as_it_was_is_read_once(tmp_path, monkeypatch):
    write(tmp_path, "a", "b")
    files = [(str(tmp_path / name), name) for name in "ab"]
    cache = DigestCache(tmp_path / "run" / "digests.json")
    first = fingerprint(files, cache)
    cache.save()
    assert not (tmp_path / "run").exists(), "a look makes no root"
    (tmp_path / "run").mkdir()
    cache.save()
    again = DigestCache(tmp_path / "run" / "digests.json")
    with monkeypatch.context() as patch:
        patch.setattr("builtins.open", None)
        assert fingerprint(files, again) == first
    (tmp_path / "b").write_text("y")
    assert fingerprint(files, again) != first
    (tmp_path / "run" / "digests.json").write_text("{")
    assert fingerprint(files, DigestCache(tmp_path / "run" / "digests.json")) != first
    assert fingerprint(files, DigestCache(None)) != first


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dates(datetime.date(1970, 1, 1), datetime.date(2100, 1, 1)),
    st.sampled_from(["{YYYY}-{MM}-{DD}/*", "{YYYY}/{MM}/{DD}/*", "y={YYYY}/m={MM}/d={DD}/*", "{YYYY}{MM}{DD}/*"]),
    st.text(
        st.characters(codec="utf-8", exclude_characters="/\x00", exclude_categories=("Cs",)), min_size=1, max_size=9
    ),
)
def test_every_day_is_seen_under_every_name(tmp_path, day, pattern, name):
    base = tmp_path / f"{time.monotonic_ns()}"
    folder = (
        pattern.replace("{YYYY}", f"{day.year:04}").replace("{MM}", f"{day.month:02}").replace("{DD}", f"{day.day:02}")
    )
    path = base / folder.removesuffix("*") / name
    path.parent.mkdir(parents=True)
    if name in (".", "..") or len(name.encode()) > 200:
        return
    path.write_text("x")
    seen = data_files(base, pattern)
    assert [file.span for file in seen] == ([] if name[0] in "._" else [DAYS.parse(day.isoformat())])
    assert all(file.path == str(path) for file in seen)
