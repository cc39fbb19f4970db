"""A causal Transformer over a key's history: SASRec."""

from __future__ import annotations

from typing import ClassVar

from trainer.models.sequence_model import SequenceModel
from trainer.models.transformer import CausalBlock


class SasRec(SequenceModel):
    """A `SequenceModel` whose blocks are a causal Transformer's; with `head: projected` as it was published.

    Kang and McAuley, "Self-attentive sequential recommendation", ICDM 2018. In its first revision the blocks' output
    kernels began as noise, and nothing brought what a block adds and the items that it adds to to one length: depth was
    of no use. Before its third what was counted was weighed by a few weights alone. `inner` times `dimension` is the
    width of the feed-forward layers.
    """

    revisions: ClassVar[tuple[int, ...]] = (1, 2, 3)

    def make_block(self, width: int, heads: int, inner: int, dropout: float) -> CausalBlock:
        return CausalBlock(width, heads, inner, dropout, silent=self.normalises)

    @property
    def normalises(self) -> bool:
        return self.revision > 1

    @property
    def weighs_by_network(self) -> bool:
        return self.revision > 2
