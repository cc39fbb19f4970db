"""The tuned encoder of each text of a backtest, as if no candidate were refused and none began from nothing later."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

from components.catalogue_gen.state import load_table
from components.encoder_tuner.item_texts import item_texts
from components.encoder_tuner.night import Before, run_night
from components.encoder_tuner.tuner import Tuner
from components.item_encoder.published import published_folder
from trainer.vocabulary import Vocabulary

if TYPE_CHECKING:
    from pipeline.backtest.prepared_spans import PreparedSpan

_ABOUT = "about.json"


def write_tuned(span: PreparedSpan, catalogue: Path, tuner: Tuner, yesterday: Path | None, folder: Path) -> str | None:
    """Tunes on a span whose sequences and vocabulary are there; returns the folder of the published revision, or None.

    All policies of a backtest see the same vectors: the encoder learns each span once, whatever they decide.

    Args:
      span: what is learned.
      catalogue: of that span.
      tuner: of the text.
      yesterday: what the span before has left; None on the first.
      folder: where to write.

    Raises:
      EncoderError: the encoder can't be run.
    """
    table = load_table(catalogue)
    assert table is not None
    before = None
    if yesterday is not None:
        before = Before(yesterday, json.loads((yesterday / _ABOUT).read_text(encoding="utf-8"))["since"])
    started, numbering = time.process_time(), span.sizes.numbering
    night = run_night(
        span.number,
        folder,
        tuner,
        item_texts(table, tuner.settings.text, Vocabulary.load(span.folder / "vocabulary", "items")),
        {span.number: span.sequences.in_rows(numbering)},
        span.select.in_rows(numbering),
        before,
        -1,
        yesterday is None,
    )
    about = {
        "since": night.since,
        "revision": night.revision,
        "reason": night.publication.reason,
        "positions": night.tuned.positions,
        "held_out_before": night.tuned.before,
        "held_out_after": night.tuned.after,
        "moved": night.tuned.moved,
        "seconds": time.process_time() - started,
    }
    (folder / _ABOUT).write_text(json.dumps(about, indent=1), encoding="utf-8")
    return published_folder(folder)
