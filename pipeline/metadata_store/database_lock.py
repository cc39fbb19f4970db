"""Locks that live in a database server: they belong to a connection, and go when the server sees that one end."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import time
from collections.abc import Iterator
from typing import Any

from ml_metadata.proto import metadata_store_pb2

_POSTGRES_NAME = 63  # bytes that PostgreSQL keeps of an application's name
_MYSQL_WAIT = 31_536_000  # seconds; a lock must outlast the longest node, and MySQL ends idle connections
_PAUSE = 0.1  # seconds between two attempts


class TakenError(RuntimeError):
    """Another connection holds the lock; `holder` says whose, where the server tells."""

    def __init__(self, holder: str) -> None:
        super().__init__(f"held by {holder}")
        self.holder = holder


class UnreachableError(RuntimeError):
    """The server can't be reached; the message says which, and what it said."""


@contextlib.contextmanager
def held(name: str, config: metadata_store_pb2.ConnectionConfig, wait: float = 0.0) -> Iterator[None]:
    """Holds the lock `name` in the MySQL or PostgreSQL server of `config`.

    Args:
      name: any text; each database of a server has locks of its own.
      config: MLMD's connection, to a server.
      wait: seconds for which it is tried.

    Raises:
      TakenError: another process holds it, on whatever machine.
      UnreachableError: the server can't be reached.
    """
    lock = _postgres if config.HasField("postgresql") else _mysql
    with lock(name, config, time.monotonic() + wait):
        yield


@contextlib.contextmanager
def _postgres(name: str, config: metadata_store_pb2.ConnectionConfig, deadline: float) -> Iterator[None]:
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
        while connection.run("SELECT pg_try_advisory_lock(:key)", key=key) != [[True]]:
            if time.monotonic() >= deadline:
                # The server shows the key in two halves.
                holders = connection.run(
                    "SELECT application_name FROM pg_locks JOIN pg_stat_activity USING (pid)"
                    " WHERE locktype = 'advisory' AND granted"
                    " AND classid::bigint = :high AND objid::bigint = :low",
                    high=(key >> 32) & 0xFFFFFFFF,
                    low=key & 0xFFFFFFFF,
                )
                raise _taken(holders)
            time.sleep(_PAUSE)
        yield


@contextlib.contextmanager
def _mysql(name: str, config: metadata_store_pb2.ConnectionConfig, deadline: float) -> Iterator[None]:
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
        key = _digest(f"{of.database}.{name}").hex()[:64]
        while cursor.execute("SELECT GET_LOCK(%s, 0)", (key,)) and cursor.fetchone() != (1,):
            if time.monotonic() >= deadline:
                raise _taken([])
            time.sleep(_PAUSE)
        yield


def _digest(name: str) -> bytes:
    return hashlib.sha256(f"warmspan.{name}".encode()).digest()


def _holder() -> str:
    return f"warmspan, process {os.getpid()} on {socket.gethostname()}"


def _taken(holders: list[Any]) -> TakenError:
    return TakenError(", ".join(str(row[0]) for row in holders) or "another process")


def _unreachable(where: str, error: Exception) -> UnreachableError:
    said = error.args[0] if error.args else error
    text = said.get("M", said) if isinstance(said, dict) else said
    return UnreachableError(f"{where} ({text})")
