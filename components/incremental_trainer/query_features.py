"""Features of key and context: what a trained model is told of them, and what a request may bring."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from components.incremental_trainer.settings import Settings
from components.span_example_gen.ids import WHOLE
from serving.bundle.query_inputs import RequestFeature
from trainer.features.declaration import OF_WORDS
from trainer.features.feature_state import FeatureState
from trainer.features.item_features import slots_of


def query_state(vocabulary: str | Path, settings: Settings) -> FeatureState:
    """Words and statistics, from the folder of a span's vocabulary; empty without any feature."""
    return FeatureState.load(vocabulary, settings.model.query_features or ())


def request_features(state: FeatureState, settings: Settings) -> list[RequestFeature]:
    """What the bundle takes with a request."""
    return [
        RequestFeature(
            name=feature.name,
            input=feature.vocabulary,
            kind=feature.kind,
            words=tuple(state.words[feature.name].ids.to_pylist()) if feature.kind in OF_WORDS else (),
            slots=slots_of(feature),
            separator=feature.separator,
            unit=feature.unit,
            whole_ids=settings.decimal_ids == WHOLE,
        )
        for feature in settings.model.query_features or ()
    ]


def features_of_manifest(settings: Settings) -> dict[str, Any]:
    """`features` of the manifest: whose each is, as it is declared; nothing without any."""
    asking, of_key = settings.model.query_features or (), settings.key_features or 0
    each = {"item": settings.model.features or (), "key": asking[:of_key], "context": asking[of_key:]}
    missing = 'left out of `features`, or given as ""'
    declared = {
        whose: [
            {**dataclasses.asdict(feature), **({} if whose == "item" else {"request_without": missing})}
            for feature in features
        ]
        for whose, features in each.items()
        if features
    }
    return {"features": declared} if declared else {}
