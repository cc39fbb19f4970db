"""The catalogue's day in a line."""

from __future__ import annotations

from pipeline.ledger.catalogue_balance import CatalogueBalance
from tests.components.catalogue_gen.catalogue_days import deliver, run, settings

ONE, TWO = "2024-05-01", "2024-05-02"


def read(day) -> CatalogueBalance:
    properties = day.catalogue.mlmd_artifact.custom_properties
    plain = {name: getattr(value, value.WhichOneof("value")) for name, value in properties.items()}
    balance = CatalogueBalance.of(plain)
    assert balance is not None
    return balance


def test_it_says_what_changed_and_what_became_of_each_row(tmp_path):
    deliver(tmp_path / "files", ONE, ["a,War,1,m", "b,War,1,m", ",War,1,m", "b,War,2,m"])
    deliver(tmp_path / "files", TWO, ["a,War,2,m", "c,War,1,m"])
    first = run(settings(tmp_path / "files"), ONE, tmp_path)
    second = run(settings(tmp_path / "files"), TWO, tmp_path, first)
    assert str(read(first)) == "2 items sold, 2 added (of 4 rows, 1 no_item, 1 repeated)"
    assert str(read(second)) == "2 items sold, 1 added, 1 changed, 1 withdrawn (of 2 rows)"
    assert read(first).missing == read(second).missing == 0
    assert CatalogueBalance.of({}) is None
