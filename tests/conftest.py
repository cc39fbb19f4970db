"""What every test shares: Keras 2 before TensorFlow is imported, fixed seeds, and the real data sets where they are."""

from __future__ import annotations

import collections
import logging
import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path

# TensorFlow reads these once, at its first import, and any test module may be the first to import it.
os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import hypothesis
import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[1]

# A first example pays for imports and traced graphs, and a busy machine is slow: time is no property of the code here.
hypothesis.settings.register_profile("warmspan", deadline=None, derandomize=bool(os.environ.get("CI")))
hypothesis.settings.load_profile("warmspan")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first, the most before the few: at the end no worker waits for the last file."""
    slow = collections.Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


@pytest.fixture(autouse=True)
def seeds() -> None:
    """The same random numbers in every test, whichever tests ran before it."""
    random.seed(1)
    np.random.seed(1)
    if "tensorflow" in sys.modules:
        sys.modules["tensorflow"].random.set_seed(1)


class _Unconverted(logging.Handler):
    """What AutoGraph could not read: it says so to a user in five lines at every training, and traces it as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.sentences: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if "AutoGraph could not transform" in record.getMessage():
            self.sentences.append(record.getMessage())


_UNCONVERTED = _Unconverted()
logging.getLogger("tensorflow").addHandler(_UNCONVERTED)


@pytest.fixture(autouse=True)
def autograph_can_read_what_is_traced() -> Iterator[None]:
    """TensorFlow tells of it by a log record, once for each function, which no filter of warnings sees."""
    yield
    sentences, _UNCONVERTED.sentences = _UNCONVERTED.sentences, []  # with those of the fixtures that came before
    assert not sentences


@pytest.fixture(autouse=True, scope="session")
def nothing_is_left_in_the_repository() -> Iterator[None]:
    """A command under test that writes to the folder it stands in would leave its file for the next commit."""
    before = set(os.listdir(REPOSITORY))
    yield
    by_others = {".hypothesis", ".mypy_cache", ".pytest_cache", ".ruff_cache", "build", "demo", "run"}
    assert set(os.listdir(REPOSITORY)) - before <= by_others


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of the real data sets: WARMSPAN_DATA, else `shared/data` beside the repository."""
    folder = Path(os.environ.get("WARMSPAN_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"the real data sets are not there (WARMSPAN_DATA, now {str(folder)!r}, must name their folder)")
    return folder


def _data_set(folder: Path, name: str) -> Path:
    if not (folder / name / "events").is_dir():
        pytest.skip(f"the data set {name!r} is not in {str(folder)!r}")
    return folder / name


@pytest.fixture(scope="session")
def movietweetings(shared_data: Path) -> Path:
    """Film ratings: `events/YYYY-MM-DD/events.csv` (user_id, item_id, rating, timestamp in s) and `items.csv`."""
    return _data_set(shared_data, "movietweetings")


@pytest.fixture(scope="session")
def online_retail(shared_data: Path) -> Path:
    """A raw till log: `events/YYYY-MM-DD/events.csv` (InvoiceNo, StockCode, Quantity, InvoiceDate, CustomerID, …)."""
    return _data_set(shared_data, "online_retail")


@pytest.fixture(scope="session")
def diginetica(shared_data: Path) -> Path:
    """Shop sessions: `events/YYYY-MM-DD/events.parquet` (session_id, item_id, timestamp)."""
    return _data_set(shared_data, "diginetica")
