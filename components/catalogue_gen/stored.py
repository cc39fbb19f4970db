"""What lies in the folder of a catalogue: its state, changes that hold from later on, and how far it has come."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pyarrow as pa

from components.catalogue_gen.checks import VALID_FROM, rows_schema
from components.catalogue_gen.deliveries import NOTHING_YET
from components.catalogue_gen.plausibility import implausible
from components.catalogue_gen.settings import CatalogueError, Settings
from components.catalogue_gen.state import Differences, apply_rows, load_table, save_table, state_schema, with_features
from trainer.features.declaration import WITHDRAWN, Feature

_ABOUT, _WAITING = "catalogue.json", "_waiting"


@dataclasses.dataclass(frozen=True)
class StoredCatalogue:
    """A catalogue, and what the next day needs to go on with it.

    Attributes:
      state: see `state_schema`.
      waiting: checked rows that do not hold yet (see `rows_schema`).
      through: the span of the delivery that was taken in last.
      read_as: says how rows were read.
    """

    state: pa.Table
    waiting: pa.Table
    through: int
    read_as: str

    @classmethod
    def empty(cls, settings: Settings) -> StoredCatalogue:
        nothing = state_schema(settings.features).empty_table(), rows_schema(settings).empty_table()
        return cls(*nothing, NOTHING_YET, _read_as(settings))

    @classmethod
    def load(cls, folder: str | Path | None, settings: Settings) -> StoredCatalogue:
        """Reads yesterday's; an empty one of None. Read in another way than now, its deliveries are due again.

        Raises:
          CatalogueError: the folder holds no catalogue.
        """
        empty = cls.empty(settings)
        if folder is None:
            return empty
        try:
            about = json.loads((Path(folder) / _ABOUT).read_text())
            state, waiting = load_table(folder), load_table(Path(folder) / _WAITING)
        except (OSError, ValueError, pa.ArrowInvalid) as error:
            raise CatalogueError(f"The state of a catalogue must be readable. Received: {folder} ({error}).") from None
        if state is None:
            raise CatalogueError(f"The state of a catalogue must have part files. Received: none in {folder}.")
        state = with_features(state, settings.features)
        if about["read_as"] != empty.read_as or waiting is None:
            return dataclasses.replace(empty, state=state)
        return cls(state, waiting.cast(empty.waiting.schema), about["through"], empty.read_as)

    def save(self, folder: str | Path) -> None:
        """Writes all of it into the existing `folder`."""
        save_table(self.state, folder)
        (Path(folder) / _WAITING).mkdir(exist_ok=True)
        save_table(self.waiting, Path(folder) / _WAITING)
        (Path(folder) / _ABOUT).write_text(json.dumps({"through": self.through, "read_as": self.read_as}))

    def advanced(
        self, rows: pa.Table, settings: Settings, span: int, through: int | None
    ) -> tuple[StoredCatalogue, Differences]:
        """The catalogue of `span`, after `rows` of the deliveries up to `through`, in their order; None of no delivery.

        Raises:
          CatalogueError: a snapshot leaves out too many of the items that were sold; a feature is not what it was.
        """
        end = settings.ends(span)
        rows = pa.concat_tables([self.waiting, rows])
        waiting = rows.slice(0, 0)
        if end is not None:
            since = rows[VALID_FROM].to_numpy()
            rows = rows.take(pa.array(np.argsort(since, kind="stable")))
            due = rows[VALID_FROM].to_numpy() < end
            rows, waiting = rows.filter(pa.array(due)), rows.filter(pa.array(~due))
        snapshot = settings.delivery == "snapshot" and through is not None
        state, differences = apply_rows(self.state, rows, span, snapshot)
        sold = int((~self.state[WITHDRAWN].to_numpy()).sum())
        if differences.absent > settings.max_withdrawn_fraction * sold:
            raise CatalogueError(
                f"A snapshot may leave out at most {settings.max_withdrawn_fraction:.0%} of the items that are sold "
                f"(`catalogue.max_withdrawn_fraction`). Received: one that leaves out {differences.absent:,} of "
                f"{sold:,}. Deliver it whole, or set a larger fraction for this day. Nothing was withdrawn."
            )
        most = settings.max_changed_fraction
        judged = most < 1 and self.through != NOTHING_YET  # else all may be other than before: it is read anew
        if judged and (doubts := list(implausible(self.state, state, settings.features, most, snapshot))):
            raise CatalogueError(
                f"A feature must be today what it was yesterday for all but {most:.0%} of the items "
                f"(`catalogue.max_changed_fraction`), in the same unit and encoding. Received: {'; '.join(doubts)}. "
                "Deliver the catalogue as it was, or set 1 for this day if that is right. Nothing was taken in."
            )
        until = self.through if through is None else through
        return StoredCatalogue(state, waiting, until, self.read_as), differences


def _how(feature: Feature) -> list[object]:
    """What of a feature says how its cells are read, in the order of its fields; a width where there is one."""
    fields = dataclasses.asdict(feature)
    width = fields.pop("width")
    del fields["encoder"]
    return [*fields.values(), *([] if width is None else [width])]


def _read_as(settings: Settings) -> str:
    """Of all that says what a row becomes."""
    read = [
        settings.delivery, settings.item, settings.withdrawn, settings.valid_from, settings.decimal_ids,
        [_how(feature) for feature in settings.features],
    ]  # fmt: skip
    return hashlib.blake2b(json.dumps(read).encode(), digest_size=16).hexdigest()
