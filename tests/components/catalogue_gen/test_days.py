"""What becomes of an item from day to day, and the balance of each day."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from components.catalogue_gen import CatalogueGen
from components.catalogue_gen.deliveries import fingerprint_of
from components.catalogue_gen.settings import CatalogueError, Settings
from components.catalogue_gen.stored import StoredCatalogue
from tests.components.catalogue_gen.catalogue_days import DAYS, FEATURES, deliver, run, settings
from trainer.features.declaration import Feature

ONE, TWO, THREE, FOUR = "2024-05-01", "2024-05-02", "2024-05-03", "2024-05-04"


def test_an_item_changes_goes_and_comes_back(tmp_path):
    files = tmp_path / "files"
    deliver(files, ONE, ["a,Drama|War,1995,m", "b,War,2001,"])
    deliver(files, TWO, ["a,Drama|War,1996,m"])
    deliver(files, THREE, ["b,War,2001,", "c,,,n"])
    of = settings(files)
    first = run(of, ONE, tmp_path)
    second = run(of, TWO, tmp_path, first)
    third = run(of, THREE, tmp_path, second)
    assert first.items["a"] == {
        "since": DAYS.parse(ONE), "changed": DAYS.parse(ONE), "withdrawn": False,
        "genres": ["Drama", "War"], "year": 1995.0, "maker": "m",
    }  # fmt: skip
    assert first.items["b"]["maker"] is None
    assert (second.sold, second.items["a"]["year"]) == ({"a"}, 1996.0)
    assert second.count("changed", "withdrawn", "absent") == [1, 1, 1]
    assert third.sold == {"b", "c"}
    assert third.count("returned", "withdrawn", "added", "items", "all") == [1, 1, 1, 2, 3]
    assert third.items["b"] | {"changed": 0} == {**first.items["b"], "changed": 0}
    assert third.items["b"]["changed"] == DAYS.parse(THREE)
    assert all(day.balance_holds for day in (first, second, third))


def test_without_a_delivery_a_day_goes_on_as_it_was(tmp_path):
    files = tmp_path / "files"
    deliver(files, TWO, ["a,War,1995,m"])
    before = run(settings(files), ONE, tmp_path)
    day = run(settings(files), TWO, tmp_path, before)
    after = run(settings(files), FOUR, tmp_path, day)
    assert before.items == {}
    assert after.items == day.items
    assert after.count("rows", "items", "unchanged") == [0, 1, 0]


def test_changes_name_what_is_other_and_say_what_is_withdrawn(tmp_path):
    files, header = tmp_path / "files", "sku,genres,year,maker,gone\n"
    deliver(files, ONE, ["a,War,1995,m,no", "b,War,1995,m,"], header)
    deliver(files, TWO, ["b,,,,yes"], header)
    deliver(files, THREE, ["c,War,1,m,0", "c,War,2,m,0", "b,Drama,1995,m,0"], header)
    of = settings(files, delivery="changes", withdrawn="gone")
    day = run(of, THREE, tmp_path, run(of, ONE, tmp_path))
    assert day.sold == {"a", "b", "c"}
    assert day.items["c"]["year"] == 2.0
    assert day.items["a"]["changed"] == DAYS.parse(ONE)
    # The two rows of b, of two deliveries, and the two of c: the last counts.
    assert day.count("rows", "kept", "repeats", "added", "changed") == [4, 2, 2, 1, 1]
    assert day.balance_holds


def test_a_change_waits_for_its_day(tmp_path):
    files, header = tmp_path / "files", "sku,genres,year,maker,from\n"
    deliver(files, ONE, [f"a,War,1,m,{ONE}", f"a,War,3,m,{THREE}", f"a,War,2,m,{TWO}"], header)
    of = settings(files, delivery="changes", valid_from="from")
    days = [run(of, ONE, tmp_path)]
    for name in (TWO, THREE, FOUR):
        days.append(run(of, name, tmp_path, days[-1]))
    assert [day.items["a"]["year"] for day in days] == [1.0, 2.0, 3.0, 3.0]
    assert [day.count("waiting")[0] for day in days] == [2, 1, 0, 0]
    assert all(day.balance_holds for day in days)


def test_what_can_not_be_used_is_counted_with_its_reason(tmp_path):
    files = tmp_path / "files"
    deliver(files, ONE, ["a,War,dear,m,maybe", ",War,1,m,", "b,War,1,m,no", "c,War", "1.5,War,1,m,"],
            "sku,genres,year,maker,gone\n")  # fmt: skip
    day = run(settings(files, withdrawn="gone", max_reject_fraction=1.0), ONE, tmp_path)
    assert day.sold == {"b"}
    assert day.counts_of("reject_reasons") == {"bad_withdrawn": 1, "no_item": 1, "malformed_row": 1, "bad_item": 1}
    rejects = (tmp_path / "CatalogueGen" / "catalogue" / ONE / "rejects.csv").read_text().splitlines()
    assert rejects[:2] == ["file,line,reason,value", f"{ONE}/items.csv,2,bad_withdrawn,maybe"]
    assert day.balance_holds


def test_a_number_that_is_none_is_counted_by_its_feature(tmp_path):
    deliver(tmp_path / "files", ONE, ["a,War,dear,m", "b,War,,m", "c,War,3,m"])
    day = run(settings(tmp_path / "files"), ONE, tmp_path)
    assert day.counts_of("unreadable") == {"year": 1}
    assert day.table["year"].null_count == 1


def test_a_feature_without_which_there_is_no_item(tmp_path):
    features = (*FEATURES[:2], Feature(name="maker", kind="category", missing="reject"))
    deliver(tmp_path / "files", ONE, ["a,War,1,m", "b,War,1,"])
    day = run(settings(tmp_path / "files", features=features), ONE, tmp_path)
    assert (day.sold, day.counts_of("reject_reasons")) == ({"a"}, {"no_value": 1})


def test_too_many_rejects_stop_it_and_say_where_they_are(tmp_path):
    deliver(tmp_path / "files", ONE, ["a,War,1,m", ",War,1,m", ",Drama,1,m"])
    with pytest.raises(CatalogueError, match=r"(?s)at most 50.00%.*2 of 3 rows.*no_item: 2\n.*refused/\d+.csv"):
        run(settings(tmp_path / "files"), ONE, tmp_path)
    (refused,) = (tmp_path / "CatalogueGen" / "refused").iterdir()
    assert len(refused.read_text().splitlines()) == 3
    shutil.rmtree(tmp_path / "CatalogueGen" / "catalogue")
    run(settings(tmp_path / "files", max_reject_fraction=0.9), ONE, tmp_path)
    assert not refused.exists()


def test_half_a_snapshot_withdraws_nothing(tmp_path):
    files = tmp_path / "files"
    deliver(files, ONE, [f"{name},War,1,m" for name in "abcd"])
    deliver(files, TWO, ["a,War,1,m"])
    of = settings(files, max_withdrawn_fraction=0.5)
    first = run(of, ONE, tmp_path)
    with pytest.raises(CatalogueError, match=r"at most 50% .*leaves out 3 of 4. .*Nothing was withdrawn"):
        run(of, TWO, tmp_path, first)


def test_the_newest_version_of_a_delivery_counts(tmp_path):
    files = tmp_path / "files"
    deliver(files, ONE, ["a,War,1,m"])
    deliver(files, ONE, ["a,War,2,m"], version="v1")
    of = settings(files, pattern="{YYYY}-{MM}-{DD}/v{VERSION}/*")
    assert run(of, ONE, tmp_path).items["a"]["year"] == 2.0


def test_one_file_is_the_snapshot_of_every_day(tmp_path):
    (tmp_path / "items.csv").write_text("sku,genres,year,maker\na,War,1,m\n")
    of = settings(tmp_path / "items.csv", pattern=None)
    first = run(of, ONE, tmp_path)
    (tmp_path / "items.csv").write_text("sku,genres,year,maker\nb,War,1,m\n")
    assert (first.sold, run(of, TWO, tmp_path, first).sold) == ({"a"}, {"b"})


def test_a_feature_that_is_declared_later_is_read_from_what_was_delivered_before(tmp_path):
    files = tmp_path / "files"
    deliver(files, ONE, ["a,War,1,m", "b,War,,m"])
    first = run(settings(files, features=FEATURES[:2]), ONE, tmp_path)
    second = run(settings(files), TWO, tmp_path, first)
    assert second.items["a"]["maker"] == "m"
    assert second.items["a"]["since"] == DAYS.parse(ONE)
    third = run(settings(files, features=FEATURES[2:]), THREE, tmp_path, second)
    assert set(third.items["a"]) == {"since", "changed", "withdrawn", "maker"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"path": "nowhere"}, r"must have files. Received: none for '\{YYYY\}-.*nowhere"),
        ({"pattern": None}, r"must be a file where `catalogue.pattern` is null. Received: .*a folder"),
        ({"item": "skew"}, r"`catalogue` and `features.item`. Missing: 'skew' \(nearest: 'sku'\)"),
    ],
)
def test_a_catalogue_that_is_not_there_is_said_to_be_so(changes, message, tmp_path):
    deliver(tmp_path / "files", ONE, ["a,War,1,m"])
    with pytest.raises(ValueError, match=message):
        run(dataclasses.replace(settings(tmp_path / "files"), **changes), ONE, tmp_path)


def test_another_delivery_is_another_fingerprint(tmp_path):
    files = tmp_path / "files"
    deliver(files, ONE, ["a,War,1,m"])
    of, span = settings(files), DAYS.parse(TWO)
    before = fingerprint_of(of, span)
    assert before == CatalogueGen(of, span).exec_properties["fingerprint"]
    deliver(files, THREE, ["a,War,2,m"])
    assert fingerprint_of(of, span) == before
    deliver(files, TWO, ["a,War,2,m"])
    assert fingerprint_of(of, span) != before
    assert fingerprint_of(settings(tmp_path / "nowhere"), span) == ""


def test_settings_go_through_json(tmp_path):
    of = settings(tmp_path, delivery="changes")
    assert Settings.from_json(of.to_json()) == of


def test_the_part_files_are_what_others_may_read(tmp_path):
    deliver(tmp_path / "files", ONE, ["a,War|Drama,1995,m"])
    schema = run(settings(tmp_path / "files"), ONE, tmp_path).table.schema
    assert schema.names == ["item", "since", "changed", "withdrawn", "genres", "year", "maker"]
    assert [schema.field(name).type for name in ("item", "genres", "year", "maker")] == [
        pa.binary(), pa.list_(pa.string()), pa.float64(), pa.string(),
    ]  # fmt: skip


def test_a_vector_of_another_width_is_rejected_and_one_that_changes_is_a_change(tmp_path):
    files, header = tmp_path / "files", "sku,photo,gone\n"
    of = settings(
        files,
        features=(Feature(name="photo", kind="vector", width=2), Feature(name="gone", kind="category")),
        delivery="changes",
        withdrawn="gone",
    )
    deliver(files, ONE, ["a,1|2,no", "b,1|2|3,no", "c,,no", "d,x,yes"], header)
    deliver(files, TWO, ["a,1|3,no", "c,,no"], header)
    first = run(of, ONE, tmp_path)
    assert first.sold == {"a", "c"}
    assert first.counts_of("reject_reasons") == {"bad_vector": 1}
    assert "items.csv,3,bad_vector,1|2|3" in (Path(first.catalogue.uri) / "rejects.csv").read_text()
    assert (first.items["c"]["photo"], first.items["d"]["photo"]) == (None, None)
    second = run(of, TWO, tmp_path, first)
    assert second.count("changed", "unchanged") == [1, 1]
    assert np.frombuffer(second.items["a"]["photo"], "<f4").tolist() == [1.0, 3.0]
    wider = dataclasses.replace(of, features=(Feature(name="photo", kind="vector", width=3),))
    assert StoredCatalogue.load(second.catalogue.uri, wider).state["photo"].null_count == 3


def test_the_encoder_of_a_text_does_not_say_how_the_catalogue_is_read():
    def read_as(feature: Feature) -> str:
        return StoredCatalogue.empty(settings(Path("files"), features=(feature,))).read_as

    assert read_as(Feature(name="x", kind="text")) == read_as(Feature(name="x", kind="text", encoder="m"))
    assert read_as(Feature(name="x", kind="vector", width=2)) != read_as(Feature(name="x", kind="vector", width=3))
