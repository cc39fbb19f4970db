"""One process at a time may write a recommender's runs into a store that several machines share.

The lock on a root (pipeline/metadata_store/root_lock.py) can't tell of a runner with another root. This one lives in
the database server, and goes with the process, also after a kill.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from pipeline.config import Config
from pipeline.metadata_store.connection import connection_config
from pipeline.metadata_store.database_lock import TakenError, UnreachableError, held
from pipeline.metadata_store.root_lock import LockedError


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
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(held(config.name, connection_config(config)))
        except TakenError as error:
            raise LockedError(
                f"One run at a time may use a recommender's store. Received: `{config.name}` is held by "
                f"{error.holder}. Wait for it to end and run again."
            ) from None
        except UnreachableError as error:
            raise StoreError(f"`metadata` must name a server that answers. Received: {error}.") from None
        yield
