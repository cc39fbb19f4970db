"""Runs CatalogueGen's real executor over small deliveries, day after day."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from tfx.types import artifact

from components.artifacts import Catalogue
from components.catalogue_gen.executor import Executor
from components.catalogue_gen.settings import Settings
from pipeline.spans import Naming
from trainer.features.declaration import Feature

DAYS = Naming(True)
FEATURES = (
    Feature(name="genres", kind="categories"),
    Feature(name="year", kind="number"),
    Feature(name="maker", kind="category"),
)
HEADER = "sku,genres,year,maker\n"


def settings(path: Path, **changes: Any) -> Settings:
    plain = Settings(
        path=str(path),
        pattern="{YYYY}-{MM}-{DD}/*",
        format="csv",
        delivery="snapshot",
        item="sku",
        withdrawn=None,
        valid_from=None,
        decimal_ids="whole",
        max_reject_fraction=0.5,
        max_withdrawn_fraction=1.0,
        max_changed_fraction=1.0,
        features=FEATURES,
        digests=None,
    )
    return dataclasses.replace(plain, **changes)


@dataclasses.dataclass
class Day:
    """A catalogue artifact."""

    catalogue: artifact.Artifact

    @property
    def table(self) -> pa.Table:
        return pa.concat_tables([pq.read_table(file) for file in sorted(Path(self.catalogue.uri).glob("*.parquet"))])

    @property
    def items(self) -> dict[str, dict[str, Any]]:
        return {row.pop("item").decode(): row for row in self.table.to_pylist()}

    @property
    def sold(self) -> set[str]:
        return {item for item, row in self.items.items() if not row["withdrawn"]}

    def count(self, *names: str) -> list[int]:
        return [self.catalogue.get_int_custom_property(name) for name in names]

    def counts_of(self, name: str) -> Mapping[str, int]:
        return json.loads(self.catalogue.get_string_custom_property(name))

    @property
    def balance_holds(self) -> bool:
        rows, kept, rejects, repeats, waiting, waited = self.count(
            "rows", "kept", "rejects", "repeats", "waiting", "waited"
        )
        added, changed, returned, unchanged, withdrawn, absent = self.count(
            "added", "changed", "returned", "unchanged", "withdrawn", "absent"
        )
        parts = added + changed + returned + unchanged + withdrawn - absent
        return rows == kept + rejects + repeats + waiting - waited and kept == parts


def run(of: Settings, day: str, folder: Path, yesterday: Day | None = None) -> Day:
    """The catalogue of `day`, in `folder`."""
    catalogue = Catalogue()
    catalogue.uri = str(folder / "CatalogueGen" / "catalogue" / day)
    Path(catalogue.uri).mkdir(parents=True)
    Executor().Do(
        {"yesterday": [] if yesterday is None else [yesterday.catalogue]},
        {"catalogue": [catalogue]},
        {"settings": of.to_json(), "span": DAYS.parse(day), "fingerprint": ""},
    )
    return Day(catalogue)


def deliver(path: Path, day: str, lines: Sequence[str], header: str = HEADER, version: str = "") -> None:
    file = path / day / version / "items.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(header + "".join(f"{line}\n" for line in lines), encoding="utf-8")
