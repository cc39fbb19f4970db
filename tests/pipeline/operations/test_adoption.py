"""A root that was moved or copied is noticed by every command, and whole again after `warmspan adopt`."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
from pathlib import Path

import pytest
import typer.main
from typer.testing import CliRunner

from pipeline.cli.app import app
from pipeline.config import Config, ConfigError, load_config
from pipeline.config.root_address import ROOT_FILE, MovedRootError, RootAddress
from pipeline.ledger.runs import read_ledger
from pipeline.metadata_store.connection import open_store
from pipeline.metadata_store.exclusive import LockedError, exclusive
from pipeline.operations.adoption import AdoptionError, carry_out, make_adoption
from pipeline.operations.garbage_collection import make_cleanup
from pipeline.operations.promotion import assign_label
from serving.tfs_config.model_config import read_models_config
from tests.fault_injection import DONE, helper
from tests.pipeline.recorded_root import RECORDED_AT, VERSIONS, extract, unpack

pytestmark = pytest.mark.filterwarnings("default")

# What each command is given; those that use no root, or take one as it is.
ARGUMENTS = {
    "run": [],
    "run-node": ["Anchor", "--span", "2024-05-04"],
    "status": [],
    "plan": [],
    "report": [],
    "backtest": [],
    "promote": [],
    "canary": ["2024050201"],
    "rollback": [],
    "serve": ["--port", "0"],
    "deploy-config": [],
    "tensorboard": [],
    "gc": ["--yes"],
    "forget": ["--user", "u00062", "--yes"],
    "release": ["2024-05-02"],
    "explain": ["--user", "u00062", "--item", "i00050"],
    "stream": ["--once"],
    "publish": [],
    "train-worker": ["--once"],
}
WITHOUT_A_ROOT = {"init", "demo", "nodes", "adopt", "recommend", "fetch"}


def warmspan(settings: Path, *arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, [*arguments, "--config", str(settings)], env={"COLUMNS": "400"})
    if isinstance(result.exception, ConfigError):  # as `main` tells it
        return 1, str(result.exception)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def tree(folder: Path) -> dict[str, str]:
    """Every file and link below a folder, with what is in it."""
    return {
        str(path.relative_to(folder)): os.readlink(path)
        if path.is_symlink()
        else hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def addresses(config: Config) -> set[str]:
    """The first part of every path in the ledger."""
    store = open_store(config)
    return {str(Path(artifact.uri).parents[3]) for artifact in store.get_artifacts()}


@pytest.fixture
def shop(tmp_path: Path) -> Config:
    return unpack(tmp_path / "shop")


@pytest.fixture
def moved(shop: Config, tmp_path: Path) -> Path:
    """The settings of a root that stands elsewhere now."""
    shutil.move(tmp_path / "shop", tmp_path / "elsewhere")
    return tmp_path / "elsewhere" / "warmspan.yaml"


def test_every_command_is_in_the_list():
    assert set(typer.main.get_command(app).commands) == set(ARGUMENTS) | WITHOUT_A_ROOT


@pytest.mark.parametrize("command", ARGUMENTS)
def test_every_command_notices_and_changes_nothing(moved, command):
    before = tree(moved.parent)
    code, output = warmspan(moved, command, *ARGUMENTS[command])
    assert code == 1
    assert f"which was made as {moved.parent.parent / 'shop' / 'run'}. `warmspan adopt` makes it whole" in output
    assert tree(moved.parent) == before


@pytest.mark.parametrize("command", ["status", "plan", "gc", "forget", "run", "explain"])
def test_a_root_of_an_earlier_version_asks_its_ledger(tmp_path, command):
    settings = extract(tmp_path / "shop")
    files = {name for name in tree(settings.parent) if not name.endswith((".sqlite", ".lock"))}
    code, output = warmspan(settings, command, *ARGUMENTS[command])
    assert code == 1
    assert str(RECORDED_AT) in output
    assert "`warmspan adopt` makes it" in output
    assert {name for name in tree(settings.parent) if not name.endswith((".sqlite", ".lock"))} == files


def test_a_moved_root_is_whole_again(moved):
    identity = RootAddress.read(moved.parent / "run").id
    code, output = warmspan(moved, "adopt", "--dry-run")
    assert (code, "Nothing was changed" in output) == (0, True)
    with pytest.raises(MovedRootError):
        load_config(moved)
    code, output = warmspan(moved, "adopt", "--yes")
    assert (code, "Done." in output) == (0, True)
    config = load_config(moved)
    assert addresses(config) == {str(config.root)}
    assert RootAddress.read(config.root) == RootAddress(identity, config.root)
    assert [run.pushed for run in read_ledger(config)] == list(VERSIONS)
    assert make_cleanup(config).empty
    for command in (["status"], ["plan"], ["report", "--out", str(moved.parent / "page.html")]):
        assert warmspan(moved, *command)[0] == 0
    assert warmspan(moved, "explain", *ARGUMENTS["explain"])[0] == 0
    code, output = warmspan(moved, "adopt")
    assert (code, "stands where it was made. Nothing to do." in output) == (0, True)


def test_what_was_run_stays_as_it_was_to_the_second(shop, tmp_path):
    before = read_ledger(shop)
    shutil.move(tmp_path / "shop", tmp_path / "elsewhere")
    settings = tmp_path / "elsewhere" / "warmspan.yaml"
    assert warmspan(settings, "adopt", "--yes")[0] == 0
    assert read_ledger(load_config(settings)) == before


def test_a_copy_becomes_a_root_of_its_own_and_the_two_never_touch(shop, tmp_path):
    assign_label(shop, "stable")
    (shop.root / "newest").symlink_to(shop.serving_path / str(VERSIONS[-1]))
    shutil.copytree(tmp_path / "shop", tmp_path / "copy", symlinks=True)
    settings, original = tmp_path / "copy" / "warmspan.yaml", tree(tmp_path / "shop")
    code, output = warmspan(settings, "serve", "--port", "0")
    assert (code, f"a copy of {shop.root}, which is still there" in output) == (1, True)
    assert warmspan(settings, "adopt", "--yes")[0] == 0
    copy = load_config(settings)
    assert RootAddress.read(copy.root).id != RootAddress.read(shop.root).id
    assert addresses(copy) == {str(copy.root)}
    (entry,) = read_models_config(copy.models_config_path)
    assert (entry.base_path, entry.labels) == (copy.serving_path, {"stable": VERSIONS[-1]})
    assert os.readlink(copy.root / "newest") == str(copy.serving_path / str(VERSIONS[-1]))
    assert warmspan(settings, "gc", "--yes")[0] == 0
    assert warmspan(settings, "rollback", "--bad", str(VERSIONS[-1]), "--wait", "0", "--yes")[0] == 0
    assert tree(tmp_path / "shop") == original
    assert warmspan(tmp_path / "shop" / "warmspan.yaml", "status")[0] == 0


def test_labels_of_a_copy_without_an_address_do_not_serve_the_original(shop, tmp_path):
    assign_label(shop, "stable")
    shutil.copytree(tmp_path / "shop", tmp_path / "copy")
    (tmp_path / "copy" / "run" / ROOT_FILE).unlink()
    code, output = warmspan(tmp_path / "copy" / "warmspan.yaml", "serve", "--port", "0")
    assert code == 1
    assert f"Received: {shop.serving_path}. If the root was moved or copied, `warmspan adopt` mends it" in output


def test_a_link_that_leads_to_the_root_is_no_move(shop, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "shop")
    text = (tmp_path / "shop" / "warmspan.yaml").read_text().replace("root: run", f"root: {tmp_path}/link/run")
    (tmp_path / "shop" / "linked.yaml").write_text(text)
    linked = load_config(tmp_path / "shop" / "linked.yaml")
    assert linked.root == shop.root
    assert make_cleanup(linked).empty


def test_a_path_that_only_begins_or_ends_alike_stays(shop, tmp_path):
    store = open_store(shop)
    (artifact, *_) = store.get_artifacts()
    strangers = [f"{shop.root}-old/x", f"/mnt{shop.root}/x", f"{shop.root}.bak"]
    artifact.custom_properties["text"].string_value = f'{{"a": "{shop.root}/x", "b": {strangers}}}'
    store.put_artifacts([artifact])
    shutil.move(tmp_path / "shop", tmp_path / "elsewhere")
    warmspan(tmp_path / "elsewhere" / "warmspan.yaml", "adopt", "--yes")
    config = load_config(tmp_path / "elsewhere" / "warmspan.yaml")
    (artifact,) = open_store(config).get_artifacts_by_id([artifact.id])
    assert artifact.custom_properties["text"].string_value == f'{{"a": "{config.root}/x", "b": {strangers}}}'


def test_a_copy_whose_ledger_is_a_servers_is_refused(shop, tmp_path):
    shutil.copytree(tmp_path / "shop", tmp_path / "copy")
    settings = tmp_path / "copy" / "warmspan.yaml"
    settings.write_text(settings.read_text() + "metadata: mysql://someone:secret@127.0.0.1:9/mlmd\n")
    with pytest.raises(AdoptionError, match=r"must have a ledger of its own.*Give the copy another `name`") as refused:
        make_adoption(load_config(settings, anywhere=True))
    assert "secret" not in str(refused.value)


def test_a_damaged_address_is_a_sentence(shop, tmp_path):
    (shop.root / ROOT_FILE).write_text('{"format": 1, "id"')
    with pytest.raises(ConfigError, match=r"must be the file by which a root knows itself.*remove it: the ledger"):
        load_config(tmp_path / "shop" / "warmspan.yaml")


def test_a_library_call_that_changes_something_notices_too(shop, tmp_path):
    shutil.copytree(tmp_path / "shop", tmp_path / "copy")
    copy = shop.model_copy(update={"root": tmp_path / "copy" / "run"})
    with pytest.raises(MovedRootError), exclusive(copy):
        raise AssertionError("a copy was opened")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_root_without_rights_is_a_sentence(shop):
    shop.root.chmod(0o500)
    (shop.root / "run.lock").unlink()
    try:
        with pytest.raises(LockedError, match="must be a folder that this user may write"), exclusive(shop):
            raise AssertionError("a lock was taken")
    finally:
        shop.root.chmod(0o700)


def adopt(base: str) -> bool:
    config = load_config(Path(base) / "warmspan.yaml", anywhere=True)
    planned = make_adoption(config)
    if planned is not None:
        carry_out(config, planned)
    return False


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_an_adoption_killed_at_any_write_is_ended_by_the_next(shop, tmp_path):
    assign_label(shop, "stable")
    (shop.root / "newest").symlink_to(shop.serving_path / str(VERSIONS[-1]))
    base = tmp_path / "elsewhere"
    shutil.move(tmp_path / "shop", tmp_path / "start")
    ended = None
    with helper("tests.pipeline.operations.test_adoption") as child:
        for number in range(1, 1000):
            shutil.rmtree(base, ignore_errors=True)
            shutil.copytree(tmp_path / "start", base, symlinks=True)
            status = child.call("tests.pipeline.operations.test_adoption:adopt", str(base), kill_at=number)
            if status != DONE:
                assert status == -signal.SIGKILL
                # Either nobody can take it for whole, or it is: the address is the last that is written.
                adopt(str(base))
            config = load_config(base / "warmspan.yaml")
            outcome = addresses(config), read_models_config(config.models_config_path), os.readlink(base / "run/newest")
            assert outcome[0] == {str(config.root)}
            assert ended is None or outcome == ended
            ended = outcome
            assert make_cleanup(config).empty
            assert list(config.root.rglob("*.partial")) == []
            if status == DONE:
                break
    assert number > 6


def test_every_user_may_read_what_an_adopted_root_serves(tmp_path):
    settings = extract(tmp_path / "shop")
    config = load_config(settings, anywhere=True)
    below = sorted(config.serving_path.parent.rglob("*"), reverse=True)
    for path in below:
        path.chmod(0o700 if path.is_dir() else 0o600)
    carry_out(config, make_adoption(config))
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in below)
