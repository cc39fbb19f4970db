"""A root that belongs to another user: who may read it can look, who may not write it changes nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.config import Config
from serving.readable import closed_folder
from tests.fault_injection import DONE, Helper, helper
from tests.pipeline.operations.as_another_user import NOBODY
from tests.pipeline.operations.test_adoption import tree
from tests.pipeline.operations.test_fault_matrix import can_mount
from tests.pipeline.recorded_root import NEXT_DAY, VERSIONS, unpack

ROOT = Path(__file__).resolve().parents[3]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.filterwarnings("default"),
    pytest.mark.skipif(not can_mount(), reason="to become another user needs the rights of root"),
]

LOOKS = (
    "status", "plan", "explain --user u00062 --item i00001", "report --out ../others/page.html", "serve",
    "gc --dry-run",
)  # fmt: skip
CHANGES = (
    "run", f"run-node Anchor --span {NEXT_DAY}", "promote 2024050201", "canary 2024050201", "promote --off",
    "rollback --bad 2024050301 --yes --wait 0", "gc --restore", "gc --lost", "forget --user u00062 --yes",
    "forget --span 2024-05-03 --yes", "deploy-config --out ../others/deploy",
)  # fmt: skip


@pytest.fixture
def shop() -> Iterator[Config]:
    """The recorded root in a folder that everybody may enter, unlike pytest's own, and beside it one to write to."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        (Path(folder) / "others").mkdir()
        (Path(folder) / "others").chmod(0o777)
        yield unpack(Path(folder) / "shop")


@pytest.fixture(scope="module")
def child() -> Iterator[Helper]:
    with helper("tests.pipeline.operations.as_another_user", "tests.pipeline.forked_commands") as process:
        yield process


AsAnother = Callable[..., "list[tuple[int, str]]"]


@pytest.fixture
def as_another(child: Helper) -> AsAnother:
    """Runs commands as somebody else; returns the exit code and the output of each."""

    def ask(config: Config, *commands: str) -> list[tuple[int, str]]:
        answers = config.root.parent.parent / "others" / "answers.json"
        if closed_folder(ROOT) or closed_folder(Path(sys.prefix)):
            pytest.skip("warmspan or its .venv lie in a folder that is closed to other users")
        closed = str(closed_folder(Path(sys.base_prefix)) or "")
        asked = (str(answers), str(config.root.parent), closed, *commands)
        assert child.call("tests.pipeline.operations.as_another_user:run_as_nobody", *asked) == DONE
        ended = [(answer["code"], answer["said"]) for answer in json.loads(answers.read_text())]
        for command, (code, said) in zip(commands, ended, strict=True):
            assert code in (0, 1), f"{command}: {said}"
            assert "Traceback" not in said, f"{command}: {said}"
        return ended

    return ask


def test_who_may_read_can_look_and_who_may_not_write_changes_nothing(shop: Config, as_another: AsAnother):
    before = tree(shop.root)
    answers = as_another(shop, *LOOKS, *CHANGES)
    for command, (code, said) in zip(LOOKS, answers, strict=False):
        assert code == 0, f"{command}: {said}"
    for command, (code, said) in zip(CHANGES, answers[len(LOOKS) :], strict=True):
        assert (code, said.count("`root` must be a folder that this user may write")) == (1, 1), f"{command}: {said}"
    assert tree(shop.root) == before
    assert [path.name for path in (shop.root.parent.parent / "others").iterdir() if path.name == "deploy"] == []


def test_a_moved_root_of_another_user_is_not_adopted(shop: Config, as_another: AsAnother):
    shop.root.parent.rename(moved := shop.root.parent.with_name("moved"))
    config = shop.model_copy(update={"root": moved / "run"})
    before = tree(config.root)
    ((code, said),) = as_another(config, "adopt --yes")
    assert (code, said.count("`root` must be a folder that this user may write")) == (1, 1), said
    assert tree(config.root) == before


@pytest.mark.parametrize("foreign", ["serving/shop", "artifacts/SpanTransform", "metadata.sqlite", "logs/runs"])
def test_one_part_of_another_user_stops_a_command_before_it_begins(shop: Config, as_another: AsAnother, foreign: str):
    for path in (shop.root, *shop.root.rglob("*")):
        if path != shop.root / foreign:
            os.chown(path, NOBODY, NOBODY)
    before = tree(shop.root)
    ((code, said),) = as_another(shop, "promote 2024050201")
    assert code == 1
    assert f"Received: no right to write to {shop.root / foreign}" in said
    assert tree(shop.root) == before


@pytest.mark.parametrize(
    ("closed", "commands", "sentence"),
    [
        (".", ("status", "plan", "run", "gc --yes", "promote"), "`root` must be a folder that this user may read"),
        ("metadata.sqlite", ("status", "plan", "run", "report"), "`root` must be a folder that this user may read"),
        ("serving", ("status", "explain --user u00062 --item i00001"), "must be readable for this user"),
        ("../shop/events", ("plan",), "must be readable for this user"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(
    shop: Config, as_another: AsAnother, closed: str, commands: tuple[str, ...], sentence: str
):
    path = shop.root / closed
    path.chmod(0o700 if path.is_dir() else 0o600)
    for code, said in as_another(shop, *commands):
        assert (code, said.count(sentence)) == (1, 1), said


def test_a_cut_off_write_of_the_ledger_is_one_sentence_to_who_may_not_end_it(shop: Config, as_another: AsAnother):
    """SQLite asks for the right to write there even of who only reads: the journal must be played back first."""
    script = (
        "import os, sqlite3; store = sqlite3.connect('metadata.sqlite'); store.execute('PRAGMA cache_size = 1');"
        "store.execute('CREATE TABLE t (x)'); store.executemany('INSERT INTO t VALUES (?)', [('x' * 999,)] * 999);"
        "os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", script], cwd=shop.root, check=True)
    assert (shop.root / "metadata.sqlite-journal").stat().st_size > 0
    for code, said in as_another(shop, "status", "plan"):
        assert code == 1
        assert len(said.strip().splitlines()) == 1, said


def test_all_that_a_server_reads_is_open_under_a_closed_umask_and_nothing_else(
    shop: Config, child: Helper, tmp_path: Path
):
    shutil.rmtree(shop.serving_path / str(VERSIONS[0]))
    old = set(shop.artifacts_path.glob("SpanPusher/pushed/*"))
    # As an earlier version pushed under that umask.
    subprocess.run(["chmod", "-R", "go=", shop.serving_path.parent], check=True)
    for command in ("run", f"promote {VERSIONS[0]}", f"promote {VERSIONS[2]}", "deploy-config --out deploy"):
        asked = (str(tmp_path), str(shop.root.parent), *command.split())
        code = child.call("tests.pipeline.forked_commands:command_under_closed_umask", *asked)
        assert code == 0, (tmp_path / "stderr").read_text()
    for folder in (shop.serving_path.parent, shop.root.parent / "deploy"):
        # A version that no command has touched since is opened by the next that does.
        files = [path for path in folder.rglob("*") if path.is_file() and str(VERSIONS[1]) not in path.parts]
        assert files
        read = ["cat", "--", *map(str, files)]
        subprocess.run(read, user=NOBODY, group=NOBODY, extra_groups=[], check=True, capture_output=True)
    (log,) = (shop.logs_path / "runs").glob(f"*{NEXT_DAY}*")
    (newest,) = (path for path in shop.artifacts_path.glob("SpanPusher/pushed/*") if path not in old)
    assert [oct(path.stat().st_mode & 0o077) for path in (log, newest)] == ["0o0", "0o0"]
