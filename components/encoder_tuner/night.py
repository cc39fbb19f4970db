"""One night of a text's encoder: it goes on from an earlier one, learns, and is perhaps published.

Its folder has the state that the next night goes on from in `tuning/` (see `TuningState`), and the revision that texts
are encoded with in `published/` (see `TunedWeights`); without that they are encoded with the encoder as it is.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from pathlib import Path

from components.encoder_tuner.publication import Publication, publication
from components.encoder_tuner.tuner import Tuned, Tuner
from components.item_encoder.published import PUBLISHED, published_folder, share_published
from trainer.encoders.text_positions import ItemTexts
from trainer.encoders.tuned_weights import TunedWeights
from trainer.encoders.tuning import TuningState
from trainer.input_pipeline import Positions, Sequences

TUNING = "tuning"


@dataclasses.dataclass(frozen=True)
class Before:
    """What a night goes on from.

    Attributes:
      folder: Its folder.
      since: The span in which its revision was published, or, where there is none, its tuning began.
    """

    folder: Path
    since: int


@dataclasses.dataclass(frozen=True)
class Night:
    """What has come of it.

    Attributes:
      encoder: The digest of the encoder that is tuned.
      revision: The digest of what texts are encoded with; empty for the encoder as it is.
      since: See `Before`.
      tried: The last span in which a revision was published, also one whose candidate was refused or taken back.
    """

    tuned: Tuned
    publication: Publication
    encoder: str
    revision: str
    since: int
    tried: int


def run_night(
    span: int,
    folder: Path,
    tuner: Tuner,
    items: ItemTexts,
    spans: Mapping[int, Sequences],
    held_out: Positions,
    before: Before | None,
    tried: int,
    from_nothing: bool,
) -> Night:
    """Tunes, and writes what came of it into `folder`, in the place of what an attempt that was cut off has left.

    Args:
      span: The number of the span.
      folder: Where to write.
      tuner: The encoder that learns.
      items, spans, held_out: See `Tuner.tune`.
      before: What it goes on from; None for the encoder as it is.
      tried: See `Night`, of the spans before; -1 for none.
      from_nothing: Whether the model that learns from the vectors begins with fresh weights.

    Raises:
      EncoderError: what it goes on from can't be read.
    """
    revision = None if before is None else published_folder(before.folder)
    present = None if revision is None else TunedWeights.load(revision)
    base = None if before is None else TuningState.load(before.folder / TUNING)
    if base is not None and not base.is_of(tuner.base):
        # Of another encoder: its vectors are learned from zero anyway.
        before = base = present = None
    elif base is not None and base.spec != tuner.spec:
        base = None
    tuned = tuner.tune(items, spans, held_out, base, present)
    since = span if before is None else before.since
    decided = publication(span, from_nothing, since, tried, tuner.settings.tuning.every, tuned.before, tuned.after)
    shutil.rmtree(folder, ignore_errors=True)
    tuned.state.save(folder / TUNING)
    if decided.now:
        tuned.weights.save(folder / PUBLISHED)
        present, since, tried = tuned.weights, span, span
    elif present is not None:
        assert before is not None
        share_published(before.folder, folder)
    return Night(tuned, decided, tuner.base, "" if present is None else present.digest, since, tried)
