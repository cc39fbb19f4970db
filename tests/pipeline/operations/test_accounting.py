"""Where the ledger and the disk disagree nothing is deleted, by whatever command, whatever it is told."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli.app import app
from pipeline.config import load_config
from pipeline.ledger.artifacts import read_artifacts
from pipeline.metadata_store.connection import open_store
from pipeline.metadata_store.exclusive import LockedError, exclusive
from pipeline.operations.accounting import killed, missing, unaccounted
from pipeline.operations.garbage_collection import make_cleanup
from tests.pipeline.operations.test_adoption import tree
from tests.pipeline.recorded_root import unpack

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """Of a root of three days, that was tidied once, so that an older copy of its ledger is at hand."""
    config = unpack(tmp_path / "shop")
    shutil.copy(config.root / "metadata.sqlite", tmp_path / "older.sqlite")
    return tmp_path / "shop" / "warmspan.yaml"


def warmspan(settings: Path, *arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, [*arguments, "--config", str(settings)], env={"COLUMNS": "400"})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def without_a_day(root: Path) -> str:
    """The ledger of the day before is put back: it knows nothing of what was made since."""
    folder = max((root / "artifacts" / "SpanTransform" / "history").iterdir(), key=lambda path: int(path.name))
    stranger = folder.with_name("4711")
    folder.rename(stranger)
    shutil.copytree(stranger, folder)
    return f"{stranger}: there, but of no run in the ledger"


def another_roots_folder(root: Path) -> str:
    stranger = root / "artifacts" / "Evaluator" / "evaluation" / "9001"
    (stranger / "notes").mkdir(parents=True)
    return f"{stranger}: there, but of no run in the ledger"


def lost_folder(root: Path) -> str:
    folder = min((root / "artifacts" / "StatisticsGen" / "statistics").iterdir(), key=lambda path: int(path.name))
    shutil.rmtree(folder)
    return f"{folder}: in the ledger, but not there"


DISAGREEMENTS = (without_a_day, another_roots_folder, lost_folder)
DELETING = (["gc", "--yes"], ["forget", "--user", "u00062", "--yes"], ["forget", "--span", "2024-05-02", "--yes"])


@pytest.mark.parametrize("disagree", DISAGREEMENTS)
@pytest.mark.parametrize("command", DELETING, ids=lambda command: " ".join(command[:2]))
def test_nothing_is_deleted_and_the_difference_is_listed(settings, disagree: Callable[[Path], str], command):
    root = settings.parent / "run"
    line = disagree(root)
    before = tree(root / "artifacts")
    code, output = warmspan(settings, *command)
    assert code == 1
    assert "The ledger and the disk must agree before anything is removed. Received: 1 differences" in output
    assert line in output
    assert "Nothing was changed." in output
    assert tree(root / "artifacts") == before


def test_an_empty_ledger_does_not_make_everything_a_leftover(settings):
    root = settings.parent / "run"
    before = tree(root / "artifacts")
    (root / "metadata.sqlite").unlink()
    for command in ("run", "rollback", "promote"):
        assert warmspan(settings, command)[0] == 1, command
        assert tree(root / "artifacts") == before
    config = load_config(settings)
    with (
        pytest.raises(LockedError, match=r"must have its ledger beside its artifacts.*metadata\.sqlite"),
        exclusive(config),
    ):
        raise AssertionError("a root without a ledger was opened")


def test_what_is_lost_for_good_can_be_said(settings):
    config = load_config(settings)
    lost_folder(config.root)
    code, output = warmspan(settings, "gc", "--lost")
    assert (code, output.count("Given up: ")) == (0, 1)
    store = open_store(config)
    assert missing(read_artifacts(config, store)) == []
    make_cleanup(config)
    assert "No artifact is missing." in warmspan(settings, "gc", "--lost")[1]


def test_a_whole_root_has_no_difference(settings):
    config = load_config(settings)
    store = open_store(config)
    records = read_artifacts(config, store)
    assert (missing(records), unaccounted(config, store, records), killed(config, store, records)) == ([], [], [])
