"""The table: policy against quality and cost."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table

from pipeline.backtest.summary import Line, Measure
from pipeline.metrics import headline, title


def comparison(lines: Sequence[Line], metrics: Sequence[str], k: int) -> Table:
    """One row a line; columns that nothing stands in, of older spans or of a full retrain, are left out.

    Args:
      lines: what each policy comes to.
      metrics: their names.
      k: the cut-off of ranking metrics.
    """
    spans = max((line.spans for line in lines), default=0)
    table = Table(title=f"{spans} spans tested" if spans else "no span tested", title_justify="left", box=SIMPLE_HEAD)
    table.add_column("policy", no_wrap=True)
    columns = {title(name, k): [_measure(line.metrics.get(name)) for line in lines] for name in metrics}
    older = {
        f"retention {title(headline(metrics), k)}": [_measure(line.retention) for line in lines],
        "backward transfer": [_measure(line.backward_transfer, sign="+") for line in lines],
    }
    columns |= {name: cells for name, cells in older.items() if any(cells)}
    cost = {
        "seconds": [_number(line.seconds, ",.1f") for line in lines],
        "examples": [_number(line.examples, ",.0f") for line in lines],
        "seconds of retrain": [_number(line.seconds_share, ".0%") for line in lines],
        "examples of retrain": [_number(line.examples_share, ".0%") for line in lines],
    }
    columns |= {name: cells for name, cells in cost.items() if any(cells)}
    for name in columns:
        table.add_column(name, justify="right")
    for number, line in enumerate(lines):
        table.add_row(line.policy, *(cells[number] for cells in columns.values()))
    return table


def _measure(measure: Measure | None, sign: str = "") -> str:
    if measure is None:
        return ""
    mean = f"{measure.mean:{sign}.4f}"
    return mean if measure.spread is None else f"{mean} ± {measure.spread:.4f}"


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
