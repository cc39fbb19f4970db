"""What a store that refuses, is away or has nothing is answered with: patience, then a sentence."""

from __future__ import annotations

import errno
import logging

import botocore.exceptions
import pytest
import s3fs.errors

from components.object_store import store as store_module
from components.object_store.address import StoreAddress
from components.object_store.refusals import kind_of
from components.object_store.store import AwayError, MissingError, ObjectStore, ObjectStoreError
from tests.components.object_store.folder_store import Faults, FaultyFolder, folder_store


def answer(code: str, message: str = "as the server says") -> Exception:
    """What s3fs makes of a server's answer."""
    response = {"Error": {"Code": code, "Message": message}}
    return s3fs.errors.translate_boto_error(botocore.exceptions.ClientError(response, "PutObject"))


AWAY = [
    botocore.exceptions.EndpointConnectionError(endpoint_url="http://minio:9000"),
    botocore.exceptions.ReadTimeoutError(endpoint_url="http://minio:9000"),
    answer("SlowDown"),
    answer("InternalError"),
    answer("503"),
    ConnectionResetError(errno.ECONNRESET, "reset"),
    TimeoutError(),
]
KEYS = [
    botocore.exceptions.NoCredentialsError(),
    answer("InvalidAccessKeyId"),
    answer("SignatureDoesNotMatch"),
    answer("AccessDenied"),
    answer("403"),
    OSError("Forbidden: https://storage.googleapis.com/b/o"),  # gcsfs's
]
MISSING = [answer("NoSuchBucket"), answer("404"), FileNotFoundError("bucket")]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        *((error, "away") for error in AWAY),
        *((error, "keys") for error in KEYS),
        *((error, "missing") for error in MISSING),
        (KeyError("a bug"), "other"),
        (OSError(errno.ENOSPC, "full"), "other"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_an_error_is_of_a_kind(error: Exception, kind: str) -> None:
    assert kind_of(error) == kind


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long was waited; no test waits."""
    clock, waited = [0.0], list[float]()

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        clock[0] += seconds

    monkeypatch.setattr(store_module.time, "sleep", sleep)
    monkeypatch.setattr(store_module.time, "monotonic", lambda: clock[0])
    return waited


def test_a_store_that_is_away_for_a_minute_is_waited_for(tmp_path, waits, caplog) -> None:
    faults = Faults(errors=list(AWAY))
    store = ObjectStore(StoreAddress("s3://bucket/models"), 180.0, FaultyFolder(tmp_path, faults))
    with caplog.at_level(logging.WARNING):
        store.write("name", b"content")
    assert store.read("name") == b"content"
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
    (said,) = caplog.messages
    assert said.startswith("s3://bucket/models/name does not answer (Could not connect to the endpoint URL")
    assert said.endswith("it is asked again, for up to 180 s.")


def test_patience_ends_with_a_sentence(tmp_path, waits) -> None:
    faults = Faults(errors=AWAY * 9)
    store = ObjectStore(StoreAddress("s3://bucket/models"), 30.0, FaultyFolder(tmp_path, faults))
    with pytest.raises(
        AwayError, match=r"^s3://bucket/models/name must be in a store that answers\. Received, for 26 s"
    ):
        store.write("name", b"content")
    assert sum(waits) <= 30


@pytest.mark.parametrize("error", KEYS, ids=lambda error: type(error).__name__)
def test_wrong_keys_are_not_waited_for(tmp_path, waits, error) -> None:
    with pytest.raises(ObjectStoreError, match=r"one that this user may write\. Received: .+ AWS_ACCESS_KEY_ID|`AWS_"):
        folder_store(tmp_path, Faults(errors=[error])).write("name", b"content")
    assert waits == []


def test_a_bucket_that_is_not_there_is_missed(tmp_path) -> None:
    store = ObjectStore(StoreAddress("s3://other/models"), 0.0, FaultyFolder(tmp_path, Faults()))
    with pytest.raises(MissingError, match=r"^s3://other/models must be there, and its bucket\."):
        store.objects()


def test_a_folder_without_an_object_is_an_empty_one(tmp_path) -> None:
    assert folder_store(tmp_path).objects() == {}


def test_what_is_no_answer_of_a_store_is_not_hidden(tmp_path, waits) -> None:
    with pytest.raises(KeyError):
        folder_store(tmp_path, Faults(errors=[KeyError("a bug")])).write("name", b"")


def test_a_listing_has_names_sizes_and_no_neighbours(tmp_path) -> None:
    store = folder_store(tmp_path)
    store.write("a/1", b"x")
    store.write("a/b/2", b"xyz")
    folder_store(tmp_path, address="s3://bucket/models/shop2").write("3", b"")
    assert {name: stored.size for name, stored in store.objects().items()} == {"a/1": 1, "a/b/2": 3}
    assert list(store.objects("a/b/")) == ["a/b/2"]


def test_without_its_library_a_scheme_is_refused(monkeypatch) -> None:
    import fsspec

    def no_library(*args, **kwargs):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "filesystem", no_library)
    store_module._filesystem_of.cache_clear()
    with pytest.raises(ObjectStoreError, match=r"s3:// needs the library s3fs\. .* `pip install 'warmspan\[s3\]'`"):
        ObjectStore(StoreAddress("s3://bucket/models"))
