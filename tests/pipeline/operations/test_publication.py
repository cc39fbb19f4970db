"""The served folder's copy on a real S3 server (MinIO): commands, kills, wrong keys, a server that is away."""

from __future__ import annotations

import itertools
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from components.object_store import store as store_module
from components.object_store.address import StoreAddress
from components.object_store.store import ObjectStore
from components.span_pusher.fetched_versions import fetch
from components.span_pusher.published_versions import INCOMING, MARKER, published
from components.span_pusher.version_folder import versions
from components.span_pusher.version_labels import read_labels
from pipeline.cli import main
from pipeline.config import Config
from pipeline.operations import publication
from pipeline.operations.promotion import assign_label, remove_label
from pipeline.operations.publication import PublicationError, publication_lines, publish
from pipeline.operations.rollback import RollbackError, carry_out, make_rollback
from serving.bundle import Manifest, check_bundle, fingerprints
from tests.components.object_store.minio_server import Minio, client_of, forget_clients, make_bucket, minio
from tests.pipeline.made_store import MadeStore

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[3]
_BUCKETS = (f"bucket-{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Minio]:
    with minio(tmp_path_factory.mktemp("minio")) as running, client_of(running.environment):
        yield running


@pytest.fixture
def published_root(made: MadeStore, server: Minio) -> MadeStore:
    """Three nights that were pushed, with an empty bucket for them."""
    bucket = next(_BUCKETS)
    make_bucket(bucket)
    made.chain(3)
    made.config = with_path(made.config, f"s3://{bucket}/models")
    with publication_lock(made.config):
        pass
    return made


def with_path(config: Config, address: str) -> Config:
    return config.model_copy(update={"push": config.push.model_copy(update={"path": StoreAddress(address)})})


def publication_lock(config: Config):
    """Any command that changes a root makes it one, with an id."""
    from pipeline.metadata_store.exclusive import exclusive

    return exclusive(config)


def place(config: Config) -> ObjectStore:
    store = publication.place_of(config)
    assert store is not None
    return store


def check_is_the_same(config: Config, tmp_path: Path) -> None:
    """The copy, read back by another client's means: a server's own fetch."""
    there, here = published(place(config)), versions(config.serving_path)
    assert (list(there.whole), there.partial) == (here, ())
    assert dict(there.labels) == read_labels(config.models_config_path, config.name)
    assert not [name for name in place(config).objects() if name.startswith(INCOMING)]
    server = tmp_path / "server" / config.name
    fetch(place(config), server)
    assert versions(server) == here
    for version in here:
        assert check_bundle(server / str(version)) == check_bundle(config.serving_path / str(version))


def test_what_commands_do_to_the_folder_the_copy_follows(
    published_root: MadeStore, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(publication.published_versions, "SEEN_AFTER", 0.0)
    config = published_root.config
    first, second, third = versions(config.serving_path)
    assert "It lacks" in "\n".join(publication_lines(config))
    assert publish(config).came == (first, second, third)
    check_is_the_same(config, tmp_path)
    assert publication_lines(config) == [f"published {third} in {place(config).address}"]
    assert publish(config).came == ()

    assign_label(config, "stable", second)
    check_is_the_same(config, tmp_path)
    assert published(place(config)).named == (first, second, third)
    remove_label(config, "stable")
    carry_out(config, make_rollback(config, bad=third), "bots")
    assert versions(config.serving_path) == [first, second]
    check_is_the_same(config, tmp_path)
    assert published(place(config)).named == (second,)


def test_a_place_has_the_stock_layout(published_root: MadeStore) -> None:
    config = published_root.config
    publish(config)
    last = versions(config.serving_path)[-1]
    folder = config.serving_path / str(last)
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    names = place(config).objects()
    assert {name.partition("/")[2] for name in names if name.startswith(f"{last}/")} == files >= {MARKER}
    for name in files:
        assert place(config).read(f"{last}/{name}") == (folder / name).read_bytes()
    assert {name for name in names if "/" not in name} == {"models.config", "root.json"}


def test_another_root_is_refused(published_root: MadeStore, tmp_path: Path) -> None:
    publish(published_root.config)
    other = MadeStore(tmp_path / "other")
    other.chain(1)
    config = with_path(other.config, str(published_root.config.push.path))
    with publication_lock(config):
        pass
    before = place(config).objects()
    with pytest.raises(PublicationError, match=r"^`push\.path` must follow .* must be the place of one pipeline root"):
        publish(config)
    assert place(config).objects() == before


def settings_file(config: Config) -> Path:
    """Of a made root, for the command line."""
    file = config.root.parent / "warmspan.yaml"
    settings = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump({**settings, "push": {"path": str(config.push.path)}}))
    return file


def test_a_process_killed_while_it_uploads_leaves_no_half_version(published_root, server, tmp_path) -> None:
    config = published_root.config
    publish(config)
    before = published(place(config))
    # A version that takes its time to upload.
    last = published_root.day("2024-05-04", base=before.named[-1])
    folder = config.serving_path / str(last)
    (folder / "variables").mkdir(exist_ok=True)
    (folder / "variables" / "variables.data-00000-of-00001").write_bytes(os.urandom(32 << 20))
    Manifest(Manifest.read(folder).about, fingerprints(folder)).write(folder)
    command = [sys.executable, "-W", "ignore", "-c", "from pipeline.cli import main; main()", "publish"]
    file = settings_file(config)
    for _ in range(2):
        process = subprocess.Popen([*command, "-c", str(file)], cwd=ROOT, start_new_session=True)
        end = time.monotonic() + 60
        while not any(name.startswith(f"{INCOMING}/") for name in place(config).objects()):
            assert process.poll() is None
            assert time.monotonic() < end
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)
        there = published(place(config))
        assert (there.named, there.whole) == (before.named, before.whole)
        assert f"{last}/{MARKER}" not in place(config).objects()
        assert f"It lacks {last}" in "\n".join(publication_lines(config))
    publish(config)
    check_is_the_same(config, tmp_path)
    assert published(place(config)).named == (last,)


class KilledError(BaseException):
    """In the place of the process's end."""


def test_wherever_it_is_killed_what_is_named_can_be_loaded(published_root, tmp_path, monkeypatch) -> None:
    config = published_root.config
    publish(config)
    left, right = versions(config.serving_path)[:2]
    filesystem = store_module._filesystem_of("s3")
    changes, kill_at = [0], [0]

    def killed(name: str):
        real = getattr(filesystem, name)

        def change(*args, **kwargs):
            changes[0] += 1
            if changes[0] == kill_at[0]:
                raise KilledError
            return real(*args, **kwargs)

        return change

    for name in ("pipe_file", "put_file", "cp_file", "rm"):
        monkeypatch.setattr(filesystem, name, killed(name))
    # A night that brings a version and takes one out, cut off at one change after the other.
    new = published_root.day("2024-05-05", base=right)
    (config.serving_path / str(left)).rename(config.root / "gone")
    for kill_at[0] in range(1, 80, 4):
        changes[0] = 0
        try:
            publish(config)
        except KilledError:
            there = published(place(config))
            assert set(there.named) <= set(there.whole)
            continue
        break
    assert 8 < kill_at[0] < 77
    check_is_the_same(config, tmp_path)
    assert published(place(config)).named == (new,)


def test_a_server_that_is_away_for_a_while_is_waited_for(published_root, server, tmp_path, caplog) -> None:
    config = published_root.config
    server.stop()

    class Back(logging.Handler):
        """Starts the server once it was missed."""

        def emit(self, record: logging.LogRecord) -> None:
            server.start()

    handler = Back(logging.WARNING)
    log = logging.getLogger(store_module.__name__)
    log.addHandler(handler)
    try:
        publish(config)
    finally:
        log.removeHandler(handler)
    check_is_the_same(config, tmp_path)
    (said,) = [message for message in caplog.messages if "does not answer" in message]
    assert said.startswith(f"{config.push.path}/shop does not answer")


def test_a_rollback_while_the_server_is_away_says_what_is_still_published(
    published_root, server, tmp_path, monkeypatch
) -> None:
    config = published_root.config
    publish(config)
    second, third = versions(config.serving_path)[1:]
    server.stop()
    monkeypatch.setattr(store_module, "PATIENCE", 0.2)
    try:
        with pytest.raises(
            RollbackError, match=r"^The models are revoked, and out of .*store that answers.*`warmspan publish`"
        ):
            carry_out(config, make_rollback(config, bad=third), "bots")
        assert versions(config.serving_path)[-1] == second
        assert "not known" in publication_lines(config)[0]
    finally:
        server.start()
    assert f"still holds {third}" in "\n".join(publication_lines(config))
    publish(config)
    check_is_the_same(config, tmp_path)


@pytest.mark.parametrize(
    ("environment", "address", "words"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, None, "must be one that this user may "),
        ({"AWS_ACCESS_KEY_ID": "nobody"}, None, "must be one that this user may "),
        ({}, "s3://no-such-bucket/models", "must be there, and its bucket"),
    ],
)
def test_wrong_keys_and_buckets_end_with_a_sentence(
    published_root, server, environment, address, words, monkeypatch, capsys
) -> None:
    config = with_path(published_root.config, address or str(published_root.config.push.path))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    forget_clients()
    monkeypatch.setattr(sys, "argv", ["warmspan", "publish", "-c", str(settings_file(config))])
    started = time.monotonic()
    with pytest.raises(SystemExit) as ended:
        main()
    monkeypatch.undo()
    forget_clients()
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert said.startswith("`push.path` must follow the served folder. s3://")
    assert words in said
    assert "Traceback" not in said
    assert time.monotonic() - started < 30
