"""What a process sets that serves and does nothing else, before TensorFlow is imported."""

from __future__ import annotations

import contextlib
import ctypes
import os

# glibc's own numbers of its parameters (malloc.h).
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
# As much as glibc takes for the second; of the first, what the scores of a batch of 64 take at a million items.
_KEPT_BYTES, _OWN_PAGES_FROM_BYTES = 256 << 20, 32 << 20


def prepare_process() -> None:
    """Lets TensorFlow multiply with oneDNN, and keeps memory that is freed for the next batch.

    TensorFlow turns oneDNN on by itself where the processor has AVX-512 VNNI; where it has AVX2 alone it multiplies a
    batch in two thirds of the time, too. Nothing that the environment says already is changed.

    A batch frees as many megabytes of scores as it took. glibc gives them back to the system, which clears every page
    of them before the next batch: up to a third of its time.
    """
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    # Where the C library is another one, memory is as it decides.
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_THRESHOLD, _OWN_PAGES_FROM_BYTES)
        library.mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
