"""TFX component: see `CatalogueGen`."""

from __future__ import annotations

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import component_spec

from components import artifacts
from components.catalogue_gen.deliveries import fingerprint_of
from components.catalogue_gen.executor import Executor
from components.catalogue_gen.settings import Settings


class CatalogueGenSpec(types.ComponentSpec):
    """The interface of `CatalogueGen`."""

    # A component's inputs and outputs may not share a name.
    INPUTS = {"yesterday": component_spec.ChannelParameter(type=artifacts.Catalogue, optional=True)}
    OUTPUTS = {"catalogue": component_spec.ChannelParameter(type=artifacts.Catalogue)}
    PARAMETERS = {
        "span": component_spec.ExecutionParameter(type=int),
        "settings": component_spec.ExecutionParameter(type=str),
        "fingerprint": component_spec.ExecutionParameter(type=str),
    }


class CatalogueGen(base_beam_component.BaseBeamComponent):
    """The catalogue as a span finds it: yesterday's, and what was delivered since, up to the span's own date.

    `outputs["catalogue"]` holds Parquet part files `items-*.parquet`, a row for each item that was ever named: `item`
    (binary), the spans `since` (of its first appearance) and `changed` (when anything of it was last other than before)
    int64, `withdrawn` (bool) and a column for each declared feature (`components/catalogue_gen/values.py`); rows keep
    their places. Beside them lie `rejects.csv` (file, line, reason, value) and what the next day needs. Custom
    properties, all int: `span`; `rows`, of the files read, = `kept` + `rejects` + `repeats` + `waiting` - `waited`,
    where what waits holds from a later day; `kept` = `added` + `changed` + `returned` + `unchanged` and those of
    `withdrawn` that are not `absent` from a snapshot; `items`, which are sold, of `all`; and, as JSON, `reject_reasons`
    and `unreadable` (values that are no numbers, by feature).

    Args:
      settings: where deliveries lie and how they are read.
      span: the span's number.
      yesterday: the catalogue of the span before; may resolve to nothing.
    """

    SPEC_CLASS = CatalogueGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(self, settings: Settings, span: int, yesterday: types.BaseChannel | None = None) -> None:
        super().__init__(
            spec=CatalogueGenSpec(
                yesterday=yesterday,
                catalogue=types.Channel(type=artifacts.Catalogue),
                span=span,
                settings=settings.to_json(),
                fingerprint=fingerprint_of(settings, span),
            )
        )
