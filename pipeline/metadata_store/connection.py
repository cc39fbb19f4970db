"""The connection to ML Metadata: SQLite under the root, or the user's MySQL or PostgreSQL by URL."""

from __future__ import annotations

import os
from urllib.parse import unquote, urlsplit

from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2

from pipeline.config import Config, ConfigError
from pipeline.config.root_address import not_readable
from pipeline.metadata_store.database_lock import UnreachableError, held
from pipeline.metadata_store.former_address import refuse_moved

_TABLES, _TABLES_WAIT = "tables of the store", 120.0  # seconds; several runners may be waiting
_FORM = "`metadata` must be a URL like mysql://user:password@host:3306/database or postgresql://…"


def connect(config: Config, anywhere: bool = False) -> metadata_store.MetadataStore:
    """Opens the store; its tables are made if it has none.

    Args:
      config: settings.
      anywhere: for a root that was moved or copied since it was made too.

    Raises:
      ConfigError: the URL can't be used.
      MovedRootError: the root does not stand where it was made.
      RuntimeError: the server can't be reached.
    """
    store = _connect(config)
    if not anywhere:
        refuse_moved(config, store)
    return store


def _connect(config: Config) -> metadata_store.MetadataStore:
    connection = connection_config(config)
    if config.metadata is None:
        return metadata_store.MetadataStore(connection)
    # Who opens a store while another makes its tables finds half of them.
    with held(_TABLES, connection, _TABLES_WAIT):
        if connection.HasField("postgresql"):
            from pipeline.metadata_store.postgres import PostgresStore

            return PostgresStore(connection)
        return metadata_store.MetadataStore(connection)


def connection_config(config: Config) -> metadata_store_pb2.ConnectionConfig:
    """MLMD's connection for `config.metadata`; without one, SQLite at `<root>/metadata.sqlite`.

    Raises:
      ConfigError: the URL has another scheme, or no database.
    """
    connection = metadata_store_pb2.ConnectionConfig()
    if config.metadata is None:
        config.root.mkdir(parents=True, exist_ok=True)
        connection.sqlite.filename_uri = str(config.root / "metadata.sqlite")
        connection.sqlite.connection_mode = metadata_store_pb2.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
        return connection
    url = urlsplit(config.metadata)
    database = url.path.lstrip("/")
    if not database or not url.hostname:
        raise ConfigError(f"{_FORM}. Received: {config.metadata!r}.")
    user, password = unquote(url.username or ""), unquote(url.password or "")
    if url.scheme == "mysql":
        mysql = connection.mysql
        mysql.host, mysql.port, mysql.database = url.hostname, url.port or 3306, database
        mysql.user, mysql.password = user, password
    elif url.scheme in {"postgresql", "postgres"}:
        postgres = connection.postgresql
        postgres.host, postgres.port, postgres.dbname = url.hostname, str(url.port or 5432), database
        postgres.user, postgres.password = user, password
    else:
        raise ConfigError(f"{_FORM}. Received: {config.metadata!r}.")
    return connection


def open_store(config: Config) -> metadata_store.MetadataStore | None:
    """ML Metadata; None if nothing has run yet.

    Raises:
      ConfigError: `metadata` names a server that can't be reached, or this user may not read the file under the root.
    """
    if config.metadata is None:
        database = config.root / "metadata.sqlite"
        if not database.exists():
            return None
        if not os.access(database, os.R_OK):  # SQLite says no more than that it can't open it
            raise not_readable(database)
    try:
        return connect(config)
    except UnreachableError as error:
        raise ConfigError(f"`metadata` must name a server that answers. Received: {error}.") from None
    except RuntimeError as error:
        if config.metadata is None:
            raise
        where = config.metadata.rpartition("@")[2]  # no password
        raise ConfigError(f"`metadata` must name a server that answers. Received: {where} ({error}).") from None
