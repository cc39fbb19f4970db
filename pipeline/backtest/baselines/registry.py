"""The baselines by their names in the settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pipeline.backtest.baselines.base import Baseline
from pipeline.backtest.baselines.cooccurrence import Cooccurrence
from pipeline.backtest.baselines.half_life import HalfLifePopularity, Unit
from pipeline.backtest.baselines.most_popular import MostPopular
from pipeline.backtest.baselines.own_items import OwnItems
from pipeline.backtest.baselines.sequential_rules import SequentialRules
from pipeline.backtest.baselines.v_sknn import VSkNN
from pipeline.config.backtest import Backtest, BaselineName

_POPULAR_SPANS = 7


def make_baselines(settings: Backtest, unit: Unit) -> list[Baseline]:
    """Those that the settings name, in their order; `unit` is that of the half-life."""

    def popularity() -> HalfLifePopularity:
        return HalfLifePopularity(settings.half_life, unit)

    makers: Mapping[BaselineName, Callable[[], Baseline]] = {
        "most_popular": lambda: MostPopular(_POPULAR_SPANS),
        "half_life": popularity,
        "own_items": lambda: OwnItems(settings.own_items, popularity()),
        "cooccurrence": lambda: Cooccurrence(settings.pairs_per_item, popularity()),
        "sequential_rules": lambda: SequentialRules(settings.pairs_per_item, popularity()),
        "v_sknn": lambda: VSkNN(settings.sessions, settings.sample_size, settings.nearest, popularity()),
    }
    return [makers[name]() for name in settings.baselines]
