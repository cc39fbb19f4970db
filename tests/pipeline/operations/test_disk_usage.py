"""The bytes under a root are counted once each, under the name of what they are."""

from __future__ import annotations

import os
from pathlib import Path

from pipeline.config import Config
from pipeline.operations.disk_usage import disk_lines, disk_use, tree_bytes


def config_of(root: Path) -> Config:
    columns = {"key": "u", "item": "i", "timestamp": "t"}
    return Config.model_validate({"name": "shop", "root": root, "data": {"path": "events", "columns": columns}})


def write(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)


def test_every_byte_is_counted_under_the_name_of_what_it_is(tmp_path):
    root = tmp_path / "run"
    for name, size in {
        "artifacts/SpanTransform/history/5/history.parquet": 1_000,
        "artifacts/SpanTransform/vocabulary/5/items.parquet": 200,
        "artifacts/IncrementalTrainer/model/11/state/weights.npz": 30_000,
        "serving/shop/2024050101/saved_model.pb": 5_000,
        "serving/models.config": 10,
        "metadata.sqlite": 700,
        "metadata.sqlite-journal": 7,
        "logs/runs/shop.2024-05-01.r01.log": 60,
        "backtest/results.json": 4,
        "trash/20240501T000000000000/trash.json": 300,
        "run.lock": 0,
    }.items():
        write(root / name, size)
    use = disk_use(config_of(root))
    assert use.artifacts == {"SpanTransform": 1_200, "IncrementalTrainer": 30_000}
    assert use.parts == {
        "artifacts/IncrementalTrainer": 30_000,
        "artifacts/SpanTransform": 1_200,
        "serving": 5_010,
        "store": 707,
        "logs": 60,
        "trash": 300,
        "other": 4,
    }
    assert use.total == sum(use.parts.values()) == 37_281 == tree_bytes(root)
    inside = "artifacts 31.2 kB, serving 5.0 kB, store 707 bytes, trash 300 bytes, logs 60 bytes, other 4 bytes"
    assert disk_lines(use) == [f"disk      37.3 kB: {inside}"]


def test_a_file_with_two_names_counts_once_and_links_are_not_followed(tmp_path):
    root = tmp_path / "run"
    write(root / "logs" / "one", 100)
    os.link(root / "logs" / "one", root / "logs" / "two")
    write(tmp_path / "elsewhere" / "large", 10_000)
    (root / "link").symlink_to(tmp_path / "elsewhere")
    assert disk_use(config_of(root)).total == 100


def test_a_root_that_is_not_there_holds_nothing(tmp_path):
    use = disk_use(config_of(tmp_path / "none"))
    assert use.total == 0
    assert disk_lines(use) == ["disk      0 bytes"]
    assert tree_bytes(tmp_path / "none") == 0


def test_status_says_what_the_root_takes(made):
    from pipeline.monitoring.status import status_lines

    made.chain(1)
    last = status_lines(made.config)[-1]
    assert last.startswith("disk      ")
    assert "store" in last
