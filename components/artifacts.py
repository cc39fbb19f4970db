"""The artifact types that carry warmspan's state from one span to the next."""

import math
from collections.abc import Mapping
from pathlib import Path

from tfx.types import artifact, artifact_utils


class Vocabulary(artifact.Artifact):
    """Two vocabularies, items and keys, as Parquet files (`trainer/vocabulary.py`)."""

    TYPE_NAME = "WarmspanVocabulary"


class KeyHistory(artifact.Artifact):
    """The last events of every key, those still held out marked, as Parquet shards."""

    TYPE_NAME = "WarmspanKeyHistory"


class Catalogue(artifact.Artifact):
    """All items that the catalogue has ever named, as Parquet part files (`components/catalogue_gen/state.py`)."""

    TYPE_NAME = "WarmspanCatalogue"


class ReplayMemory(artifact.Artifact):
    """The exemplars of older spans that are trained on again."""

    TYPE_NAME = "WarmspanReplayMemory"


class Teacher(artifact.Artifact):
    """A model that teaches the one that is served; `state/` where it was refreshed (`components/teacher_trainer`)."""

    TYPE_NAME = "WarmspanTeacher"


class Decision(artifact.Artifact):
    """What is done with a span, skip, fine-tune or retrain, and why (`decision.json`)."""

    TYPE_NAME = "WarmspanDecision"


class NextSpanEvaluation(artifact.Artifact):
    """The champion's metrics on a span before anything trains on it (`metrics.json`)."""

    TYPE_NAME = "WarmspanNextSpanEvaluation"


class SpanProfile(artifact.Artifact):
    """What a span looks like beside those before it, and whether it is held (`components/span_guard/profile.py`)."""

    TYPE_NAME = "WarmspanSpanProfile"


# Properties of a profile: whether its span is held (1), that a person has released it since (1), and the span's files.
HELD, RELEASED, FILES = "held", "released", "files"


class PairedDifferences(artifact.Artifact):
    """What the candidate gains on the champion and on the anchor, event by event, and the judgement on it."""

    TYPE_NAME = "WarmspanPairedDifferences"


class ItemEncodings(artifact.Artifact):
    """The vectors of the items' texts, all by one encoder (`components/item_encoder/encodings.py`)."""

    TYPE_NAME = "WarmspanItemEncodings"


class TunedEncoder(artifact.Artifact):
    """What was tuned of a text's encoder, and the revision of it that is encoded with (`components/encoder_tuner`)."""

    TYPE_NAME = "WarmspanTunedEncoder"


# The property of a next-span evaluation that holds the champion's metrics on older spans, by span, as JSON.
OLDER = "older"


# The property of held-out positions that says how many are in the verdict part.
VERDICT_EVENTS = "verdict_events"


def verdict_events(held_out: artifact.Artifact) -> int:
    """How many held-out positions judge a candidate: all of a span from before there were parts."""
    name = VERDICT_EVENTS if held_out.has_custom_property(VERDICT_EVENTS) else "events"
    return held_out.get_int_custom_property(name)


def set_finite(target: artifact.Artifact, numbers: Mapping[str, float]) -> None:
    """Sets float custom properties. What is not finite is left out: ML Metadata fails on it when it is stored."""
    for name, value in numbers.items():
        if math.isfinite(value):
            target.set_float_custom_property(name, value)


def split_files(examples: artifact.Artifact, split: str) -> list[str]:
    """The record files of one split, in name order."""
    return sorted(str(path) for path in Path(artifact_utils.get_split_uri([examples], split)).glob("*.gz"))
