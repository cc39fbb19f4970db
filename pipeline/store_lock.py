"""One process at a time may write a recommender's runs into a store that several machines share.

The lock on a root (pipeline/lock.py) can't tell of a runner with another root. This one lives in the database server,
belongs to a connection, and goes when the server sees that connection end: with the process, also after a kill.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
from collections.abc import Iterator
from typing import Any

from ml_metadata.proto import metadata_store_pb2

from pipeline.config import Config
from pipeline.lock import LockedError
from pipeline.store import connection_config

_POSTGRES_NAME = 63  # bytes that PostgreSQL keeps of an application's name
_MYSQL_WAIT = 31_536_000  # seconds; a lock must outlast the longest node, and MySQL ends idle connections


class StoreError(LockedError):
    """The store can't be reached, and so not be locked; the message says which."""


@contextlib.contextmanager
def alone_in_store(config: Config) -> Iterator[None]:
    """Holds the recommender's lock in the MySQL or PostgreSQL store; without one, in SQLite, the root's lock is enough.

    Raises:
      LockedError: another process holds it, on whatever machine.
      StoreError: the server can't be reached.
    """
    if config.metadata is None:
        yield
        return
    connection = connection_config(config)
    held = _postgres if connection.HasField("postgresql") else _mysql
    with held(config.name, connection):
        yield


@contextlib.contextmanager
def _postgres(name: str, config: metadata_store_pb2.ConnectionConfig) -> Iterator[None]:
    import pg8000.native

    of = config.postgresql
    try:
        connection = pg8000.native.Connection(
            user=of.user,
            host=of.host,
            port=int(of.port),
            database=of.dbname,
            password=of.password or None,
            application_name=_holder()[:_POSTGRES_NAME],
        )
    except (pg8000.native.InterfaceError, pg8000.native.DatabaseError, OSError) as error:
        raise _unreachable(f"{of.host}:{of.port}/{of.dbname}", error) from None
    with contextlib.closing(connection):
        # A server may end idle sessions, and with this one the lock.
        connection.run("SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'idle_session_timeout'")
        key = int.from_bytes(_digest(name)[:8], "big", signed=True)
        ((held,),) = connection.run("SELECT pg_try_advisory_lock(:key)", key=key)
        if not held:
            # The server shows the key in two halves.
            holders = connection.run(
                "SELECT application_name FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory'"
                " AND granted AND classid::bigint = :high AND objid::bigint = :low",
                high=(key >> 32) & 0xFFFFFFFF,
                low=key & 0xFFFFFFFF,
            )
            raise _held(name, holders)
        yield


@contextlib.contextmanager
def _mysql(name: str, config: metadata_store_pb2.ConnectionConfig) -> Iterator[None]:
    import pymysql

    of = config.mysql
    try:
        connection = pymysql.connect(
            host=of.host, port=of.port, user=of.user, password=of.password, database=of.database, autocommit=True
        )
    except pymysql.MySQLError as error:
        raise _unreachable(f"{of.host}:{of.port}/{of.database}", error) from None
    with contextlib.closing(connection), connection.cursor() as cursor:
        cursor.execute("SET SESSION wait_timeout = %s", (_MYSQL_WAIT,))
        # Locks belong to the server, not to a database in it.
        cursor.execute("SELECT GET_LOCK(%s, 0)", (_digest(f"{of.database}.{name}").hex()[:64],))
        if cursor.fetchone() != (1,):
            raise _held(name, [])
        yield


def _digest(name: str) -> bytes:
    return hashlib.sha256(f"warmspan.{name}".encode()).digest()


def _holder() -> str:
    return f"warmspan, process {os.getpid()} on {socket.gethostname()}"


def _held(name: str, holders: list[Any]) -> LockedError:
    by = ", ".join(str(row[0]) for row in holders) or "another process"
    return LockedError(
        f"One run at a time may use a recommender's store. Received: `{name}` is held by {by}. Wait for it to end and "
        "run again."
    )


def _unreachable(where: str, error: Exception) -> StoreError:
    said = error.args[0] if error.args else error
    text = said.get("M", said) if isinstance(said, dict) else said
    return StoreError(f"`metadata` must name a server that answers. Received: {where} ({text}).")
