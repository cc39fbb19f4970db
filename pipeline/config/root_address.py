"""Where a pipeline root was made: what is in its ledger are whole paths, which are wrong once it has moved."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import uuid
from pathlib import Path

from pipeline.config.config import Config, ConfigError
from trainer.atomic_write import atomic_write

ROOT_FILE, _FORMAT = "root.json", 1


class MovedRootError(ConfigError):
    """The root does not stand where it was made; the message says where that was, and what to do."""


@dataclasses.dataclass(frozen=True)
class RootAddress:
    """What a root says of itself.

    Attributes:
      id: the same for a root wherever it is moved; a copy that was made a root of its own has another.
      path: its folder, spelled as in the ledger.
      decimal_ids: how it reads ids such as 17850.0 (see `Data`), where the settings leave that to it. Roots of earlier
        versions do not say it.
    """

    id: str
    path: Path
    decimal_ids: str = "as_written"

    @classmethod
    def new(cls, path: Path, decimal_ids: str = "as_written") -> RootAddress:
        return cls(uuid.uuid4().hex, path, decimal_ids)

    @classmethod
    def read(cls, root: Path) -> RootAddress | None:
        """The address of `root`; None where it has none yet.

        Raises:
          ConfigError: its file is damaged, or this user may not read it.
        """
        file = root / ROOT_FILE
        try:
            raw = json.loads(file.read_text(encoding="utf-8"))
            if raw["format"] != _FORMAT:
                raise ValueError(f"format {raw['format']}")
            return cls(str(raw["id"]), Path(raw["path"]), str(raw.get("decimal_ids", "as_written")))
        except FileNotFoundError:
            return None
        except PermissionError:
            raise not_readable(file) from None
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise ConfigError(
                f"{file} must be the file by which a root knows itself. Received: {error!r}. Put it back from a copy, "
                "or remove it: the ledger is asked then."
            ) from None

    def write(self, root: Path) -> None:
        """Writes it beside and renames."""
        of_root = {"id": self.id, "path": str(self.path), "decimal_ids": self.decimal_ids}
        text = json.dumps({"format": _FORMAT, **of_root}, indent=1)
        with atomic_write(root / ROOT_FILE, durable=True) as beside:
            beside.write_text(text, encoding="utf-8")


def not_readable(path: Path) -> ConfigError:
    """The sentence for a part of a root that this user may not read."""
    return ConfigError(
        f"`root` must be a folder that this user may read. Received: {path} ({os.strerror(errno.EACCES)}). Run "
        "as the user whom it belongs to, or let this one read it. Nothing was changed."
    )


def at_home(config: Config) -> Config:
    """The settings with the root spelled as in its ledger, whatever links lead to it.

    Raises:
      MovedRootError: it was moved or copied since it was made.
    """
    address = RootAddress.read(config.root)
    if address is None or address.path == config.root:
        return config
    if same_folder(address.path, config.root):
        return config.model_copy(update={"root": address.path})
    raise moved(config.root, address.path, is_copy(address))


def decimal_ids_of(config: Config) -> str:
    """`data.decimal_ids`, or what the root began with: another would make every such key and item a new one."""
    if config.data.decimal_ids is not None:
        return config.data.decimal_ids
    address = RootAddress.read(config.root)
    if address is not None:
        return address.decimal_ids
    return "as_written" if config.artifacts_path.exists() else "whole"


def is_copy(address: RootAddress) -> bool:
    """Whether the root still stands at its address too."""
    try:
        there = RootAddress.read(address.path)
    except ConfigError:
        return False
    return there is not None and there.id == address.id


def same_folder(first: Path, second: Path) -> bool:
    """Whether two paths, that may not be there, lead to one folder."""
    try:
        return first.samefile(second)
    except OSError:
        return False


def moved(root: Path, address: Path, copied: bool) -> MovedRootError:
    """The sentence for a root that stands elsewhere."""
    what = f"a copy of {address}, which is still there" if copied else f"which was made as {address}"
    becomes = "a root of its own; the other is not touched" if copied else "whole at its new place"
    return MovedRootError(
        f"`root` must stand where it was made: its ledger and labels hold whole paths. Received: {root}, {what}. "
        f"`warmspan adopt` makes it {becomes}."
    )
