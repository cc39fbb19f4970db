"""What `warmspan gc` takes away lies in the trash for some days: one wrong command can be taken back."""

from __future__ import annotations

import dataclasses
import datetime
import errno
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from pipeline.config import Config
from pipeline.operations.disk_usage import TRASH
from trainer.atomic_write import atomic_write

_LIST, _FORMAT = "trash.json", 1
_STAMP = "%Y%m%dT%H%M%S%f"


@dataclasses.dataclass(frozen=True)
class TrashFolder:
    """What one gc has thrown away; it is listed before anything moves.

    Attributes:
      folder: where it lies, each file and folder under the path that it had below the root.
      since: when, in UTC.
      artifacts: ids in ML Metadata to the paths of their folders, below the root.
      paths: those of all else.
    """

    folder: Path
    since: datetime.datetime
    artifacts: Mapping[int, str]
    paths: tuple[str, ...]

    @classmethod
    def new(cls, root: Path, artifacts: Mapping[int, Path], paths: Iterable[Path]) -> TrashFolder:
        """Lists what is to be thrown away."""
        since = datetime.datetime.now(datetime.timezone.utc)
        trash = cls(
            root / TRASH / since.strftime(_STAMP),
            since,
            {id_: str(folder.relative_to(root)) for id_, folder in artifacts.items()},
            tuple(str(path.relative_to(root)) for path in paths),
        )
        raw = {"format": _FORMAT, "artifacts": trash.artifacts, "paths": trash.paths}
        with atomic_write(trash.folder / _LIST, durable=True) as beside:
            beside.write_text(json.dumps(raw, indent=1), encoding="utf-8")
        return trash

    def take(self, path: Path, root: Path) -> None:
        """Moves a file or folder from below the root into the trash."""
        _move(path, self.folder / path.relative_to(root))

    def give_back(self, root: Path) -> list[int]:
        """Moves all back to where nothing is now; the ids of the artifacts that are there then."""
        for path in (*self.artifacts.values(), *self.paths):
            thrown, place = self.folder / path, root / path
            if os.path.lexists(thrown) and not os.path.lexists(place):
                _move(thrown, place)
        return [id_ for id_, path in self.artifacts.items() if (root / path).exists()]

    def remove(self) -> None:
        """For good. The list goes last, so that what is cut off is ended by the next."""
        for path in sorted(self.folder.iterdir(), key=lambda path: path.name == _LIST):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.folder.rmdir()


def read_trash(config: Config) -> list[TrashFolder]:
    """What lies in the trash, oldest first."""
    folders = []
    for file in sorted((config.root / TRASH).glob(f"*/{_LIST}")):
        raw = json.loads(file.read_text(encoding="utf-8"))
        since = datetime.datetime.strptime(file.parent.name, _STAMP).replace(tzinfo=datetime.timezone.utc)
        artifacts = {int(id_): path for id_, path in raw["artifacts"].items()}
        folders.append(TrashFolder(file.parent, since, artifacts, tuple(raw["paths"])))
    return folders


def expired(config: Config) -> list[TrashFolder]:
    """What has lain there for `gc.trash_days`."""
    before = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=config.gc.trash_days)
    return [trash for trash in read_trash(config) if trash.since <= before]


def empty_trash(config: Config) -> None:
    """Removes all of it for good."""
    for trash in read_trash(config):
        trash.remove()
    clear_unlisted(config)


def clear_unlisted(config: Config) -> None:
    """Removes folders of the trash that were cut off before their list, or after it: nothing is in them."""
    for folder in (config.root / TRASH).glob("*"):
        if folder.is_dir() and all(path.name.endswith(".partial") for path in folder.iterdir()):
            shutil.rmtree(folder)


def _move(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.rename(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        # Between two disks there is no rename: a whole copy beside, then its own.
        beside = target.with_name(f".{target.name}.partial")
        shutil.rmtree(beside, ignore_errors=True)
        if source.is_dir():
            shutil.copytree(source, beside, symlinks=True)
        else:
            shutil.copy2(source, beside, follow_symlinks=False)
        os.rename(beside, target)
        shutil.rmtree(source) if source.is_dir() else source.unlink()
