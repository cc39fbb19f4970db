"""Tunes an encoder on what follows what, a span at a time; weights and optimizer slots go on from day to day."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np

from trainer.encoders.bert import BertEncoder
from trainer.encoders.contrastive import as_batch, loss, share_of_each
from trainer.encoders.folder import WEIGHTS, EncoderError, encoder_digest, read_architecture
from trainer.encoders.lora import add_lora
from trainer.encoders.text_positions import TextPositions, sampled
from trainer.encoders.tokens import TextTokens
from trainer.encoders.tuned_weights import TunedWeights
from trainer.encoders.tuning_settings import Tuning
from trainer.encoders.weights import load_weights, variables_of
from trainer.keras2 import tf
from trainer.optimizers import make_optimizer
from trainer.train_state import UNREADABLE, Arrays, build_slots, read_arrays

_WEIGHTS, _SLOTS, _ABOUT = "weights.npz", "slots.npz", "tuning.json"
_CLIP_NORM = 1.0


@dataclasses.dataclass(frozen=True)
class TuningState:
    """All that tuning changes.

    Attributes:
      spec: What two states must have in common for one to go on from the other, see `tuning_spec`.
      weights: Name to array, see `TunedWeights`.
      slots: Name to slot to array.
      iterations: Steps of the optimizer so far, over all days.
      learned: Spans, in order.
    """

    spec: str
    weights: Arrays
    slots: dict[str, Arrays]
    iterations: int
    learned: tuple[int, ...]

    def is_of(self, base: str) -> bool:
        """Whether the encoder of that digest was tuned."""
        return bool(json.loads(self.spec)["base"] == base)

    def save(self, folder: str | Path) -> None:
        """Writes it into `folder`, which is made; the same state as the same bytes."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(folder / _WEIGHTS, **self.weights)
        slots = {f"{name}|{slot}": value for name, of in self.slots.items() for slot, value in of.items()}
        np.savez(folder / _SLOTS, **slots)
        about = {"spec": self.spec, "iterations": self.iterations, "learned": list(self.learned)}
        (folder / _ABOUT).write_text(json.dumps(about, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> TuningState:
        """Reads what `save` wrote.

        Raises:
          EncoderError: a part is missing or can't be read.
        """
        folder = Path(folder)
        try:
            about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
            slots: dict[str, Arrays] = {}
            for name, value in read_arrays(folder / _SLOTS).items():
                of, slot = name.rsplit("|", 1)
                slots.setdefault(of, {})[slot] = value
            return cls(
                about["spec"], read_arrays(folder / _WEIGHTS), slots, about["iterations"], tuple(about["learned"])
            )
        except UNREADABLE as error:
            raise EncoderError(
                f"The state of a tuned encoder must be {_ABOUT}, {_WEIGHTS} and {_SLOTS}. Received: {folder} "
                f"({error}). Run the span again that tuned it."
            ) from None


def tuning_spec(base: str, settings: Tuning) -> str:
    """Of the encoder with the digest `base`, tuned by `settings`: which numbers are learned, as JSON."""
    lora = {"rank": settings.rank, "alpha": settings.alpha} if settings.method == "lora" else {}
    return json.dumps({"base": base, "method": settings.method, **lora}, sort_keys=True)


@dataclasses.dataclass(frozen=True)
class SpanLoss:
    """What a span has taught: the mean loss of its last epoch, NaN of nothing, and of how many positions it is."""

    loss: float
    positions: int


class EncoderTuning:
    """An encoder that learns; at first it is as it came.

    Args:
      folder, max_tokens, prefix: The encoder, see `encoder_digest`.
      settings: How it learns.
      seed: Of LoRA's first matrices, and, with the number of a span, of the order of its positions.

    Raises:
      MissingExtraError: tokenizers or safetensors is not installed.
      EncoderError: the folder is no encoder that can be run here.
    """

    def __init__(self, folder: str | Path, max_tokens: int, prefix: str, settings: Tuning, seed: int) -> None:
        folder = Path(folder)
        architecture = read_architecture(folder)
        self.base = encoder_digest(folder, max_tokens, prefix)
        self._settings, self._seed = settings, seed
        self._tokens = TextTokens(folder, architecture, max_tokens, prefix)
        self._encoder = BertEncoder(architecture)
        load_weights(self._encoder, folder / WEIGHTS)
        self._variables = _learned(self._encoder, settings, seed)
        self._optimizer = make_optimizer("adam", settings.rate, _CLIP_NORM, 0.0, 0.0)
        self._slots = build_slots(self._optimizer, self._variables)
        self._spans: tuple[int, ...] = ()
        self._fresh = self._weights()
        text = [tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([None], tf.int32)]
        batch = [
            tf.TensorSpec([None, None], tf.float32),
            tf.TensorSpec([None], tf.int32),
            tf.TensorSpec([None], tf.float32),
            tf.TensorSpec([None, None], tf.bool),
        ]
        self._step = tf.function(self._make_step, input_signature=[*text, *batch], autograph=False)

    @property
    def spec(self) -> str:
        """What a state must have in common with it, see `tuning_spec`."""
        return tuning_spec(self.base, self._settings)

    def go_on_from(self, state: TuningState | None) -> None:
        """Makes its weights and slots those of a state; None: those of the encoder as it came.

        Raises:
          EncoderError: the state is of another encoder or of other settings.
        """
        if state is not None and state.spec != self.spec:
            raise EncoderError(
                "A tuned encoder must go on from a state of the same encoder and settings. Received: a state of "
                f"{state.spec} for {self.spec}. Begin with the encoder as it came."
            )
        for name, array in (self._fresh if state is None else state.weights).items():
            self._variables[name].assign(array)
        for name, slots in self._slots.items():
            for slot, variable in slots.items():
                variable.assign(tf.zeros_like(variable) if state is None else state.slots[name][slot])
        self._optimizer.iterations.assign(0 if state is None else state.iterations)
        self._spans = () if state is None else state.learned

    def learn(self, number: int, positions: TextPositions) -> SpanLoss:
        """Learns the span `number`; nothing of one without a position.

        What is learned depends on the state before, on the span and on the seed alone: a span that is learned again
        from the same state gives the same weights.
        """
        seed = self._seed * 1_000_003 + number
        chosen = sampled(positions, self._settings.positions, seed)
        share, rng = share_of_each(chosen), np.random.default_rng(seed)
        tokens = self._tokens_of(chosen)
        losses: list[float] = []
        for _ in range(self._settings.epochs):
            order, losses = rng.permutation(len(chosen)), []
            # A position alone has no negatives.
            for part in np.array_split(order, max(1, len(order) // self._settings.batch)) if len(order) > 1 else []:
                batch = as_batch(chosen.take(part), share)
                padded = self._tokens.padded([tokens[code] for code in batch.texts])
                losses.append(float(self._step(*padded, batch.mix, batch.target, batch.log_probs, batch.before)))
        self._spans = (*self._spans, number)
        return SpanLoss(float(np.mean(losses)) if losses else float("nan"), len(chosen))

    def state(self) -> TuningState:
        """A copy of what was learned."""
        return TuningState(
            self.spec,
            self._weights(),
            {name: {slot: of.numpy() for slot, of in slots.items()} for name, slots in self._slots.items()},
            int(self._optimizer.iterations.numpy()),
            self._spans,
        )

    def tuned(self) -> TunedWeights:
        """A copy of the weights, to encode with."""
        scale = self._settings.scale if self._settings.method == "lora" else 1.0
        return TunedWeights(self.base, self._settings.method, scale, self._weights())

    def _weights(self) -> Arrays:
        return {name: variable.numpy() for name, variable in self._variables.items()}

    def _tokens_of(self, positions: TextPositions) -> dict[int, np.ndarray]:
        codes = np.unique(np.concatenate([positions.target, positions.history.ravel()]))
        codes = codes[codes >= 0]
        return dict(zip(codes.tolist(), self._tokens.of([positions.texts[code] for code in codes]), strict=True))

    def _make_step(
        self,
        token_ids: tf.Tensor,
        lengths: tf.Tensor,
        mix: tf.Tensor,
        target: tf.Tensor,
        log_probs: tf.Tensor,
        before: tf.Tensor,
    ) -> tf.Tensor:
        learned = list(self._variables.values())
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(learned)
            vectors = self._encoder(token_ids, lengths)
            value = loss(vectors, mix, target, log_probs, before, self._settings.temperature)
        self._optimizer.apply_gradients(zip(tape.gradient(value, learned), learned, strict=True))
        return value


def _learned(encoder: BertEncoder, settings: Tuning, seed: int) -> dict[str, tf.Variable]:
    """The variables that learn, by their names."""
    if settings.method == "lora":
        return add_lora(encoder, settings.rank, settings.scale, seed)
    return variables_of(encoder)
