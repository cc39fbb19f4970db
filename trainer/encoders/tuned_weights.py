"""What tuning has made of an encoder's weights, and how an encoder takes it over."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np

from trainer.encoders.bert import BertEncoder
from trainer.encoders.folder import EncoderError, encoder_digest
from trainer.encoders.lora import DOWN, UP
from trainer.encoders.tuning_settings import TuningMethod
from trainer.encoders.weights import variables_of
from trainer.train_state import UNREADABLE, Arrays, read_arrays

_WEIGHTS, _ABOUT = "weights.npz", "tuned.json"


@dataclasses.dataclass(frozen=True)
class TunedWeights:
    """A revision of an encoder.

    Attributes:
      base: The digest of the encoder that was tuned, see `encoder_digest`.
      method: `lora`: `arrays` are the two matrices of each kernel that is changed; `full`: all weights.
      scale: Of LoRA's products.
      arrays: By Hugging Face's names; kernels as Keras has them, `[given, width]`.
    """

    base: str
    method: TuningMethod
    scale: float
    arrays: Arrays

    @property
    def digest(self) -> str:
        """All that a text's vector depends on besides the text: the encoder's digest, and what was tuned of it."""
        digest = hashlib.sha256(json.dumps([self.base, self.method, self.scale]).encode())
        for name, array in sorted(self.arrays.items()):
            digest.update(json.dumps([name, array.shape, str(array.dtype)]).encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    @property
    def kernels(self) -> tuple[str, ...]:
        """The arrays of the encoder that are other than they were, by name."""
        ends = DOWN if self.method == "lora" else ""
        return tuple(sorted(name.removesuffix(ends) for name in self.arrays if name.endswith(ends)))

    def apply(self, encoder: BertEncoder) -> None:
        """Changes the weights of `encoder`, which has those that were tuned; nothing is added to it.

        Raises:
          EncoderError: the arrays are not of that encoder.
        """
        variables = variables_of(encoder)
        try:
            if self.method == "lora":
                for name in self.kernels:
                    change = (self.arrays[name + UP] @ self.arrays[name + DOWN]).T
                    variables[name].assign_add(np.float32(self.scale) * change)
            else:
                for name, array in self.arrays.items():
                    variables[name].assign(array)
        except (KeyError, ValueError) as error:
            raise EncoderError(
                f"Tuned weights must be of the encoder that they are put into. Received: others ({error}). Run the "
                "span again that tuned them."
            ) from None

    def save(self, folder: str | Path) -> None:
        """Writes it into `folder`, which is made; the same weights as the same bytes."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(folder / _WEIGHTS, **self.arrays)
        about = {"base": self.base, "method": self.method, "scale": self.scale}
        (folder / _ABOUT).write_text(json.dumps(about, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> TunedWeights:
        """Reads what `save` wrote.

        Raises:
          EncoderError: a part is missing or can't be read.
        """
        folder = Path(folder)
        try:
            about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
            return cls(**about, arrays=read_arrays(folder / _WEIGHTS))
        except UNREADABLE as error:
            raise EncoderError(
                f"Tuned weights must be {_ABOUT} and {_WEIGHTS}. Received: {folder} ({error}). Run the span again "
                "that tuned them."
            ) from None


@dataclasses.dataclass(frozen=True)
class EncoderIdentity:
    """Which encoder makes vectors.

    Attributes:
      digest: All that a vector depends on.
      column: How vectors are named for those who learn from them, after the name of the text.
    """

    digest: str
    column: str


def encoder_identity(
    name: str, folder: str | Path, max_tokens: int, prefix: str, tuned: TunedWeights | None
) -> EncoderIdentity:
    """The encoder in `folder`, or a tuned revision of it.

    A column is named after the encoder, and after the revision too: what was learned of one revision's vectors is known
    to be of the same encoder's.

    Args:
      name: Of the text.
      folder, max_tokens, prefix: See `encoder_digest`.
      tuned: What was tuned; None for the encoder as it is.

    Raises:
      EncoderError: as `encoder_digest`, or `tuned` is of another encoder.
    """
    base = encoder_digest(folder, max_tokens, prefix)
    if tuned is None:
        return EncoderIdentity(base, f"{name}_{base[:12]}")
    if tuned.base != base:
        raise EncoderError(
            f"Tuned weights must be of the encoder in its folder. Received: weights of {tuned.base[:12]} for "
            f"{base[:12]} in {folder}. Run the span again from its first node: the encoder was changed meanwhile."
        )
    return EncoderIdentity(tuned.digest, f"{name}_{base[:12]}_{tuned.digest[:12]}")
