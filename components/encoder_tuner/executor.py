"""Reads artifacts, tunes, says what came of it: no learning maths of its own."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from tfx.dsl.components.base import base_executor
from tfx.types import artifact

from components.artifacts import set_finite, split_files
from components.catalogue_gen.state import load_table
from components.encoder_tuner.item_texts import item_texts
from components.encoder_tuner.night import Before, Night, run_night
from components.encoder_tuner.settings import Settings
from components.encoder_tuner.tuner import Tuner
from components.resolvers import span_of
from components.update_decider.decision import Decision
from trainer.held_out_parts import SELECT, held_out_files
from trainer.input_pipeline import read_held_out, read_sequences
from trainer.row_numbers import Numbering
from trainer.vocabulary import Vocabulary

# Properties: since which span the revision is published, or tuning began; the last span in which any was published.
SINCE, TRIED = "since", "tried"


class Executor(base_executor.BaseExecutor):
    """See `EncoderTuner`."""

    def Do(
        self,
        input_dict: dict[str, list[artifact.Artifact]],
        output_dict: dict[str, list[artifact.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Tunes.

        Raises:
          EncoderError: the encoder can't be run, or what it goes on from can't be read.
        """
        started = time.perf_counter()
        span, settings = exec_properties["span"], Settings.from_json(exec_properties["settings"])
        decision = Decision.read(input_dict["decision"][0].uri)
        from_nothing = decision.action != "fine_tune"
        # A model from nothing descends from none, and neither may what it learns from.
        champions = [] if from_nothing else input_dict.get("base_tuned") or []
        before = [Before(Path(of.uri), of.get_int_custom_property(SINCE)) for of in champions]
        (catalogue,), (vocabulary,), (held_out,) = (
            input_dict[name] for name in ("catalogue", "vocabulary", "held_out")
        )
        table = load_table(catalogue.uri)
        assert table is not None
        items = Vocabulary.load(vocabulary.uri, "items")
        numbering = Numbering(items.row_numbers, Vocabulary.load(vocabulary.uri, "keys").row_numbers)
        sequences = {span_of(of): of for name in ("past_sequences", "sequences") for of in input_dict.get(name) or []}
        (output,) = output_dict["tuned"]
        night = run_night(
            span,
            Path(output.uri),
            Tuner(settings),
            item_texts(table, settings.text, items),
            {
                number: read_sequences(split_files(sequences[number], "train")).in_rows(numbering)
                for number in decision.train_on
            },
            read_held_out(held_out_files(held_out.uri, SELECT))[0].in_rows(numbering),
            before[0] if before else None,
            max((of.get_int_custom_property(TRIED) for of in input_dict.get("last_tuned") or []), default=-1),
            from_nothing,
        )
        for name in ("span", "version"):
            output.set_int_custom_property(name, exec_properties[name])
        _describe(output, night, settings)
        set_finite(output, {"seconds": time.perf_counter() - started})


def _describe(output: artifact.Artifact, night: Night, settings: Settings) -> None:
    numbers = {
        SINCE: night.since,
        TRIED: night.tried,
        "published": int(night.publication.now),
        "positions": night.tuned.positions,
        "iterations": night.tuned.state.iterations,
        "learned_spans": len(night.tuned.state.learned),
    }
    for name, number in numbers.items():
        output.set_int_custom_property(name, number)
    texts = {
        "text": settings.text,
        "method": settings.tuning.method,
        "encoder": night.encoder,
        "revision": night.revision,
        "reason": night.publication.reason,
    }
    for name, text in texts.items():
        output.set_string_custom_property(name, text)
    of = night.tuned
    losses = {"train_loss": of.loss, "held_out_before": of.before, "held_out_after": of.after, "moved": of.moved}
    set_finite(output, losses)
