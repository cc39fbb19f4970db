"""ML Metadata on PostgreSQL, with text that has a backslash in it.

ML Metadata 1.16 quotes text with `PQescapeLiteral` and cuts the quotes off again as if they were always one character.
With a backslash the quoted form begins with ` E'`, and the statement is broken: `syntax error at or near "{"`. JSON in
JSON, a regular expression, or the lines of a node's error are enough. So no backslash is sent: a character of Unicode's
private use area stands for it in the database, and is a backslash again when read.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import message
from google.protobuf.descriptor import FieldDescriptor
from ml_metadata.metadata_store import metadata_store
from tfx.orchestration import metadata

BACKSLASH, STAND_IN = "\\", "\uf05c"


class PostgresStore(metadata_store.MetadataStore):
    """A store in which every text may have a backslash."""

    def _call_method(self, method_name: str, request: message.Message, response: message.Message) -> None:
        if BACKSLASH.encode() in request.SerializeToString():
            request = type(request).FromString(request.SerializeToString())
            _replace(request, BACKSLASH, STAND_IN)
        super()._call_method(method_name, request, response)
        if STAND_IN.encode() in response.SerializeToString():
            _replace(response, STAND_IN, BACKSLASH)


class PostgresMetadata(metadata.Metadata):
    """What TFX's launcher is handed, over such a store."""

    def __enter__(self) -> PostgresMetadata:
        self._store = PostgresStore(self._connection_config)
        self._users += 1
        return self


def _replace(of: message.Message, old: str, new: str) -> None:
    """Replaces in every text of a message, at any depth."""
    for field, value in of.ListFields():
        if field.type == FieldDescriptor.TYPE_STRING:
            if isinstance(value, str):
                setattr(of, field.name, value.replace(old, new))
            else:
                value[:] = [text.replace(old, new) for text in value]
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            for inner in _messages(field, value):
                _replace(inner, old, new)


def _messages(field: FieldDescriptor, value: Any) -> list[message.Message]:
    if isinstance(value, message.Message):
        return [value]
    if field.message_type.GetOptions().map_entry:
        return [inner for inner in value.values() if isinstance(inner, message.Message)]
    return list(value)
