"""One process at a time may change a pipeline root and write a recommender's runs into the store."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import filelock

from pipeline.config import Config
from pipeline.config.root_address import RootAddress, at_home, decimal_ids_of
from pipeline.metadata_store.connection import connection_config, open_store
from pipeline.metadata_store.database_lock import TakenError, UnreachableError, held


class LockedError(RuntimeError):
    """Another process uses the root, or the recommender in the store; the message names the lock."""


class StoreError(LockedError):
    """The store can't be reached, and so not be locked; the message says which."""


@contextlib.contextmanager
def exclusive(config: Config, anywhere: bool = False) -> Iterator[None]:
    """Holds the root's lock, and the recommender's in a MySQL or PostgreSQL store. A new root gets its address.

    The first can't tell of a runner with another root; the second lives in the database server. Both go with the
    process, also after a kill. Commands that hold it call nothing that takes it again: it is not re-entrant.

    Args:
      config: settings.
      anywhere: for a root that was moved or copied since it was made too; it keeps the address that it has.

    Raises:
      LockedError: another process holds one of them, on whatever machine; or the root can't be written to.
      MovedRootError: the root does not stand where it was made.
      StoreError: the server can't be reached.
    """
    lock = filelock.FileLock(config.root / "run.lock", timeout=0, mode=0o644)
    with contextlib.ExitStack() as stack:
        try:
            config.root.mkdir(parents=True, exist_ok=True)
            stack.enter_context(lock)
            if config.metadata is not None:
                stack.enter_context(held(config.name, connection_config(config)))
        except filelock.Timeout:
            raise LockedError(
                f"One run at a time may use a pipeline root. Received: {lock.lock_file} is held by another process. "
                "Wait for it to end and run again."
            ) from None
        except OSError as error:
            raise LockedError(
                f"`root` must be a folder that this user may write. Received: {config.root} ({error.strerror}). "
                "Nothing was changed."
            ) from None
        except TakenError as error:
            raise LockedError(
                f"One run at a time may use a recommender's store. Received: `{config.name}` is held by "
                f"{error.holder}. Wait for it to end and run again."
            ) from None
        except UnreachableError as error:
            raise StoreError(f"`metadata` must name a server that answers. Received: {error}.") from None
        if foreign := next((path for path in _written_to(config) if not os.access(path, os.W_OK)), None):
            raise LockedError(
                "`root` must be a folder that this user may write, with what is in it. Received: no right to write to "
                f"{foreign}. Run as the user whom it belongs to, or give it to this one. Nothing was changed."
            )
        if not anywhere:
            _settle(config)
        yield


def _written_to(config: Config) -> Iterator[Path]:
    """What is written to on the way: one command of another user is enough, and a day would end in the middle."""
    patterns = ("metadata.sqlite", "artifacts", "artifacts/*", "artifacts/*/*", "logs", "logs/*", "serving")
    yield from (path for pattern in patterns for path in config.root.glob(pattern))
    yield from (path for path in (config.serving_path, *config.serving_path.glob("*")) if path.exists())


def _settle(config: Config) -> None:
    """Refuses a root that stands elsewhere, or has lost its ledger; gives its address to one that has none."""
    at_home(config)
    store = open_store(config)  # refuses a root of an earlier version that has moved
    if store is None and (of_runs := next(config.artifacts_path.glob("*/*/[0-9]*"), None)):
        raise LockedError(
            f"`root` must have its ledger beside its artifacts. Received: no {config.root / 'metadata.sqlite'}, but "
            f"{of_runs}. Put the ledger back from a copy, or name an empty folder. Nothing was changed."
        )
    if RootAddress.read(config.root) is None:
        RootAddress.new(config.root, decimal_ids_of(config)).write(config.root)
