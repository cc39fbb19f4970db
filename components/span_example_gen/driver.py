"""TFX's resolution of a span's version and fingerprint, by the files that are its data, with readable errors."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Sequence
from typing import Any

from tfx.components.example_gen import driver, input_processor, utils
from tfx.orchestration import data_types
from tfx.proto import example_gen_pb2, range_config_pb2

from components.data_files import FIRST_DELIVERY, DataFile, data_files, without_version
from components.object_store.address import is_address
from components.object_store.files import exists
from components.span_example_gen.errors import SpanError
from components.span_example_gen.fingerprint import DigestCache, fingerprint
from components.span_example_gen.same_file import refuse_same_file
from components.span_example_gen.settings import settings_in
from components.span_example_gen.span_window import REJECT


class SpanInputProcessor(input_processor.FileBasedInputProcessor):
    """Finds the newest version of a span; files without a version are version 0, older than any other."""

    def __init__(
        self,
        input_base_uri: str,
        splits: Iterable[example_gen_pb2.Input.Split],
        range_config: range_config_pb2.RangeConfig | None = None,
        digests: str | None = None,
    ) -> None:
        super().__init__(input_base_uri, splits, range_config)
        self._digests = digests
        self._earlier: list[DataFile] = []
        self._newest: list[DataFile] = []

    def resolve_span_and_version(self) -> tuple[int, int | None]:
        """Span and version.

        Raises:
          SpanError: the span has no files, a version that is no number, or lies in two places.
        """
        span = self._range_config.static_range.start_span_number
        pattern = next(iter(self._splits)).pattern
        if not exists(self._input_base_uri):
            raise SpanError(
                f"`data.path` must be the folder of all spans. Received: {self._input_base_uri}, not there."
            )
        every = data_files(self._input_base_uri, pattern)
        files = [file for file in every if file.span == span]
        if not files:
            raise SpanError(
                f"The span must have files. Received: none for {self._filled(pattern, span)!r} in "
                f"{self._input_base_uri}. Deliver the span, or correct `data.path` and `data.pattern`."
            )
        self._newest, version = newest_delivery(files)
        self._earlier = [file for file in every if file.span < span]
        return span, None if without_version(pattern) == pattern else version

    def get_pattern_for_span_version(self, pattern: str, span: int, version: int | None) -> str:
        """The pattern with span and version as they are written in the files' paths."""
        return self._newest[0].pattern

    def get_input_fingerprint(self, span: int, version: int | None) -> str:
        """Of what is in the files of the delivery."""
        cache = DigestCache(self._digests)
        whole = fingerprint([(file.path, file.name) for file in self._newest], cache)
        cache.save()
        return whole

    def refuse_same_file(self, format: str) -> None:
        """Raises SpanError where the span has a file of an earlier one (see `same_file`)."""
        cache = DigestCache(self._digests)
        refuse_same_file(self._newest, self._earlier, format, cache)
        cache.save()

    def tfx_fingerprint(self) -> str:
        """That of earlier versions: count, bytes and times of change, by TFX; empty where it can't be told."""
        if is_address(self._input_base_uri):
            return ""  # which no earlier version could read
        pattern = next(iter(self._splits)).pattern
        # A first delivery has no folder of a version, which TFX asks for.
        for variant in dict.fromkeys((pattern, without_version(pattern))):
            splits = [example_gen_pb2.Input.Split(name=split.name, pattern=variant) for split in self._splits]
            with contextlib.suppress(ValueError):
                processor = input_processor.FileBasedInputProcessor(self._input_base_uri, splits, self._range_config)
                span, version = processor.resolve_span_and_version()
                return processor.get_input_fingerprint(span, version) or ""
        return ""

    def _filled(self, pattern: str, span: int) -> str:
        filled = utils.get_pattern_for_span_version(
            pattern, bool(self._is_match_span), bool(self._is_match_date), False, span, None
        )
        return re.sub(utils.VERSION_FULL_REGEX, "*", filled)


def processor_of(base: str, pattern: str, span: int) -> SpanInputProcessor:
    """The processor of one span, outside of any graph."""
    return SpanInputProcessor(
        base,
        [example_gen_pb2.Input.Split(name="span", pattern=pattern)],
        range_config_pb2.RangeConfig(
            static_range=range_config_pb2.StaticRange(start_span_number=span, end_span_number=span)
        ),
    )


def newest_delivery(files: Sequence[DataFile]) -> tuple[list[DataFile], int]:
    """The files of the newest version of a span, out of all of that span, and that version.

    Raises:
      SpanError: a version is no number, or the span lies in two places.
    """
    for file in files:
        if file.version and not file.version.isdecimal():
            raise SpanError(
                f"The files of a span must name a version by a number. Received: {file.version!r} in {file.path}. "
                "Rename or remove the folder."
            )
    version = max(int(file.version or FIRST_DELIVERY) for file in files)
    newest = [file for file in files if int(file.version or FIRST_DELIVERY) == version]
    written = list(dict.fromkeys(file.pattern for file in newest))
    if len(written) > 1:
        raise SpanError(
            f"A span must lie in one place. Received: {', '.join(map(repr, written))}. Move one of them away."
        )
    return newest, version


class SpanDriver(driver.FileBasedDriver):
    """TFX's driver of file-based ExampleGens with the processor above."""

    _digests: str | None = None
    _processor: SpanInputProcessor | None = None

    def resolve_exec_properties(
        self,
        exec_properties: dict[str, Any],
        pipeline_info: data_types.PipelineInfo,
        component_info: data_types.ComponentInfo,
    ) -> dict[str, Any]:
        """As TFX's; the fingerprint's cache is among the settings.

        Raises:
          SpanError: the span can't be resolved, or has a file of an earlier one.
        """
        settings = settings_in(exec_properties)
        self._digests = settings.digests
        resolved = super().resolve_exec_properties(exec_properties, pipeline_info, component_info)
        if settings.late == REJECT and self._processor is not None:
            self._processor.refuse_same_file(settings.format)
        return resolved

    def get_input_processor(
        self,
        splits: Iterable[example_gen_pb2.Input.Split],
        range_config: range_config_pb2.RangeConfig | None = None,
        input_base_uri: str | None = None,
    ) -> SpanInputProcessor:
        """The processor for these splits."""
        assert input_base_uri
        self._processor = SpanInputProcessor(input_base_uri, splits, range_config, self._digests)
        return self._processor
