"""The artifact types that carry warmspan's state from one span to the next."""

from tfx.types import artifact


class Vocabulary(artifact.Artifact):
    """Two append-only vocabularies, items and keys, as Parquet files (`trainer/vocabulary.py`)."""

    TYPE_NAME = "WarmspanVocabulary"


class KeyHistory(artifact.Artifact):
    """The last events of every key, those still held out marked, as Parquet shards."""

    TYPE_NAME = "WarmspanKeyHistory"


class ReplayMemory(artifact.Artifact):
    """The exemplars of older spans that are trained on again."""

    TYPE_NAME = "WarmspanReplayMemory"


class Decision(artifact.Artifact):
    """What is done with a span, skip, fine-tune or retrain, and why (`decision.json`)."""

    TYPE_NAME = "WarmspanDecision"


class NextSpanEvaluation(artifact.Artifact):
    """The champion's metrics on a span before anything trains on it (`metrics.json`)."""

    TYPE_NAME = "WarmspanNextSpanEvaluation"
