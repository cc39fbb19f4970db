"""Text with a backslash reaches PostgreSQL and comes back, at whatever depth of a message it stands."""

from __future__ import annotations

import pytest
from google.protobuf import message
from hypothesis import given
from hypothesis import strategies as st
from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2, metadata_store_service_pb2

from pipeline.config import Config
from pipeline.metadata_store.connection import connect, connection_config
from pipeline.metadata_store.postgres import BACKSLASH, STAND_IN, PostgresStore
from tests.pipeline.postgres_server import postgres

_DATA = {"path": "events", "columns": {"key": "user", "item": "item", "timestamp": "time"}}
_texts = st.text(st.sampled_from("\\\"'{}a\n"), max_size=6)


class _Remembering(PostgresStore):
    """Answers what it is asked, instead of a server."""

    def __init__(self) -> None:
        self.asked: message.Message | None = None


def _answer(self: _Remembering, method: str, request: message.Message, response: message.Message) -> None:
    self.asked = request
    response.ParseFromString(request.SerializeToString())


@given(name=_texts, uri=_texts, value=_texts, key=_texts)
def test_no_backslash_is_sent_and_every_one_comes_back(name, uri, value, key):
    request = metadata_store_service_pb2.PutArtifactsRequest()
    artifact = request.artifacts.add(name=name, uri=uri, type_id=3)
    artifact.custom_properties["text"].string_value = value
    artifact.custom_properties["number"].int_value = 92
    before = request.SerializeToString(deterministic=True)
    store, response = _Remembering(), metadata_store_service_pb2.PutArtifactsRequest()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metadata_store.MetadataStore, "_call_method", _answer)
        store._call_method("PutArtifacts", request, response)
    assert store.asked is not None
    assert BACKSLASH.encode() not in store.asked.SerializeToString().replace(b"\x08\\", b"")
    assert response.SerializeToString(deterministic=True) == before
    assert request.SerializeToString(deterministic=True) == before, "what the caller holds must stay"


def test_lists_of_text_too():
    by_type = metadata_store_service_pb2.GetContextsByTypeRequest(type_name="a\\b")
    by_uri = metadata_store_service_pb2.GetArtifactsByURIRequest(uris=["a\\b", "c"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metadata_store.MetadataStore, "_call_method", _answer)
        for request in (by_type, by_uri):
            store = _Remembering()
            store._call_method("any", request, type(request)())
            assert STAND_IN.encode() in store.asked.SerializeToString()


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.filterwarnings("default")
def test_a_real_server_keeps_what_the_library_alone_can_not_write():
    with postgres() as url:
        config = Config(name="shop", metadata=url, data=_DATA)
        execution = metadata_store_pb2.Execution()
        for number, text in enumerate(('{"a": "{\\"b\\": 1}"}', "\\d+'s", "line\nline", 'quo"te')):
            execution.custom_properties[f"text{number}"].string_value = text
        for store in (connect(config), metadata_store.MetadataStore(connection_config(config))):
            execution.type_id = store.put_execution_type(metadata_store_pb2.ExecutionType(name="any"))
            if isinstance(store, PostgresStore):
                (number,) = store.put_executions([execution])
                (read,) = connect(config).get_executions_by_id([number])
                assert read.custom_properties == execution.custom_properties
            else:
                # When this no longer fails, the stand-in is no longer needed.
                with pytest.raises(Exception, match="syntax error"):
                    store.put_executions([execution])
